// One ONNX graph: its session, what it declares, and runs that read and write the caller's own buffers.
import '../base/globals.js';
import { readFileSync } from 'node:fs';
import { list } from '../base/check.js';
import { bytesOf, checkWeights, type GraphFile, readGraph, type ValueInfo } from '../folder/graph-file.js';
import type { OrtNetwork } from './network.js';
import { openSession, type Session, type SessionOptions } from './session.js';
import type { Slot } from './slots.js';
import { draws, withoutNoise } from './without-noise.js';

/**
 * From this size on the plan of a call's memory that onnxruntime makes at the first call is left out: it spares a small network
 * 10 to 25% of its time, but takes a large one's memory a second time, by 1.1 GB of 2.7 for a decoder of 200 MB. Large ones
 * also have the memory of their calls in common, which come one after the other in a pipeline.
 */
const LARGE = 64e6;

export { GRAPH_DEVICES, type GraphDevice, type SessionOptions } from './session.js';
export { type ElementArray, type ElementType, fill, type Slot, slot, toHalf } from './slots.js';

/**
 * A graph, by its file; loaded when it is first run or {@link load} is called, and {@link unload}ed between runs where memory
 * is short. {@link release} it when done, since sessions hold native memory.
 */
export class Graph {
  /** What the file says, weights and all. */
  readonly file: GraphFile;
  readonly inputs: ReadonlyMap<string, ValueInfo>;
  readonly #options: SessionOptions;
  readonly #pending = new Set<Promise<unknown>>();
  #outputs: ReadonlyMap<string, ValueInfo>;
  #loaded: Promise<Session> | undefined;
  #reason: string | undefined;
  #holders = 0;
  #alone = false;
  #released = false;

  private constructor(file: GraphFile, options: SessionOptions) {
    this.file = file;
    this.#options = options;
    this.inputs = named(file.inputs);
    this.#outputs = named(file.outputs);
  }

  /**
   * Reads what the graph in the file `path` declares, and looks at the files of its weights; nothing is loaded.
   *
   * @throws Error with the path and the reason when a file is missing, cut short, or no ONNX graph
   */
  static describe(path: string, options: SessionOptions = {}): Graph {
    const file = readGraph(path);
    checkWeights(file);
    return new Graph(file, options);
  }

  /**
   * Loads the graph in the file `path`.
   *
   * @throws Error as {@link describe}, or when a provider cannot be used
   */
  static async open(path: string, options: SessionOptions = {}): Promise<Graph> {
    const graph = Graph.describe(path, options);
    await graph.load();
    return graph;
  }

  get path(): string {
    return this.file.path;
  }

  /** As the file declares them, or once it is loaded the session, which may know more of their sizes. */
  get outputs(): ReadonlyMap<string, ValueInfo> {
    return this.#outputs;
  }

  /** Bytes on disk, weights and all. */
  get bytes(): number {
    return bytesOf(this.file);
  }

  /**
   * Why `session.run` runs it, which stops JavaScript meanwhile; undefined where it has a thread of its own, and before it is
   * loaded.
   */
  get reason(): string | undefined {
    return this.#reason;
  }

  /** Is it loaded, or being loaded? */
  get loaded(): boolean {
    return this.#loaded !== undefined;
  }

  /**
   * Loads it, where it is not.
   *
   * @throws Error with the path and the reason when it cannot be loaded or a provider cannot be used
   */
  async load(): Promise<void> {
    await this.#session();
  }

  /**
   * The graph on WebGPU, loaded where it is not, for runs whose tensors stay there; undefined elsewhere. Whoever uses it
   * {@link hold}s it.
   */
  async there(): Promise<OrtNetwork | undefined> {
    if (this.#options.device !== 'webgpu') return undefined;
    return (await this.#session()).network;
  }

  /**
   * From the next load on its runs take memory of their own: where nobody else's is there to be had, onnxruntime's arena takes less
   * for a decoder than blocks that are never cut.
   */
  setAlone(): void {
    this.#alone = true;
  }

  /** Keeps it loaded, until {@link drop} has been called as often. */
  hold(): void {
    this.#holders++;
  }

  /**
   * Undoes one {@link hold}.
   *
   * @param unload whether it is unloaded where nobody else holds it: it is then loaded again for the next run
   */
  async drop(unload: boolean): Promise<void> {
    this.#holders--;
    if (unload && this.#holders === 0) await this.unload();
  }

  /** Frees the session, after the runs that are under way; the next run loads it again. */
  async unload(): Promise<void> {
    const loaded = this.#loaded;
    if (!loaded) return;
    this.#loaded = undefined;
    await Promise.allSettled(this.#pending);
    const found = await loaded.catch(() => undefined);
    await found?.release();
  }

  #session(): Promise<Session> {
    if (this.#released) return Promise.reject(new Error(`The session of ${this.path} has been released`));
    if (this.#loaded) return this.#loaded;
    const loading: Promise<Session> = this.#open().catch((error) => {
      // A failed load is not kept: the next one may find more memory.
      if (this.#loaded === loading) this.#loaded = undefined;
      throw error;
    });
    this.#loaded = loading;
    return loading;
  }

  async #open(): Promise<Session> {
    const { path } = this;
    const bytes = this.#options.noiseless && draws(this.file) ? withoutNoise(readFileSync(path)) : undefined;
    const session = await openSession(
      { path, ...(bytes ? { bytes } : {}) },
      { memoryPattern: this.bytes < LARGE, sharedMemory: this.bytes >= LARGE && !this.#alone, ...this.#options },
    );
    this.#outputs = session.outputs;
    this.#reason = session.reason;
    return session;
  }

  /**
   * The declared input or output of that name.
   *
   * @throws Error that lists what the graph has instead
   */
  input(name: string): ValueInfo {
    return find(this.inputs, name, `an input ${name} of ${this.path}`);
  }

  output(name: string): ValueInfo {
    return find(this.outputs, name, `an output ${name} of ${this.path}`);
  }

  /**
   * Ties the graph's inputs and outputs to buffers, once for many runs. Inputs are read and outputs written in place.
   * Between runs a caller may change a buffer's contents and also put another one (same type and length) into
   * `feeds[name].data`.
   *
   * @throws Error when names, types or dims are not what the graph declares
   */
  bind(feeds: Record<string, Slot>, outputs: Record<string, Slot>): Binding {
    for (const name of this.inputs.keys()) {
      if (feeds[name] === undefined) throw new Error(`Nothing is known to feed the input ${name} of ${this.path} with`);
    }
    for (const [name, value] of Object.entries(feeds))
      checkSlot(value, this.input(name), `the input ${name}`, this.path);
    for (const [name, value] of Object.entries(outputs)) {
      checkSlot(value, this.output(name), `the output ${name}`, this.path);
    }
    return new Binding(feeds, async (inputs, signal) => {
      await this.#run(inputs, outputs, signal);
    });
  }

  /**
   * Runs the graph once, for outputs whose size only a run tells.
   *
   * @param outputs names of the outputs to compute
   * @param signal ends the run
   * @returns new arrays; float16 as a `Uint16Array` or, from `session.run` where there is one, a `Float16Array`
   * @throws Error when names, types or dims are not what the graph declares; the signal's reason
   */
  async call(
    feeds: Record<string, Slot>,
    outputs: readonly string[],
    signal?: AbortSignal,
  ): Promise<Record<string, Slot>> {
    for (const name of outputs) this.output(name);
    for (const name of this.inputs.keys()) {
      if (feeds[name] === undefined) throw new Error(`Nothing is known to feed the input ${name} of ${this.path} with`);
    }
    for (const [name, value] of Object.entries(feeds))
      checkSlot(value, this.input(name), `the input ${name}`, this.path);
    const results = await this.#run(feeds, outputs, signal);
    return Object.fromEntries(
      outputs.map((name) => {
        const { type, data, dims } = results[name];
        return [name, { type, data, dims }];
      }),
    );
  }

  async #run(
    feeds: Record<string, Slot>,
    outputs: Record<string, Slot> | readonly string[],
    signal?: AbortSignal,
  ): Promise<Record<string, Slot>> {
    const running = this.#session().then((session) => session.run(feeds, outputs, signal));
    this.#pending.add(running);
    try {
      return await running;
    } finally {
      this.#pending.delete(running);
    }
  }

  /** Frees the session, after the runs that are under way; it cannot be run any more. A second call does nothing. */
  async release(): Promise<void> {
    this.#released = true;
    await this.unload();
  }
}

/** Buffers tied to a graph by {@link Graph.bind}. */
export class Binding {
  readonly feeds: Record<string, Slot>;
  readonly #execute: (feeds: Record<string, Slot>, signal?: AbortSignal) => Promise<void>;
  #busy = false;

  /** @internal */
  constructor(
    feeds: Record<string, Slot>,
    execute: (feeds: Record<string, Slot>, signal?: AbortSignal) => Promise<void>,
  ) {
    this.feeds = feeds;
    this.#execute = execute;
  }

  /**
   * Runs the graph. Until the promise settles no buffer of this binding may be read or written: onnxruntime may be
   * working in them.
   *
   * @param signal ends the run
   * @throws Error when a run of this binding is still under way, or what onnxruntime reports; the signal's reason
   */
  async run(signal?: AbortSignal): Promise<void> {
    if (this.#busy) throw new Error('A run with these buffers is still under way');
    this.#busy = true;
    try {
      await this.#execute(this.feeds, signal);
    } finally {
      this.#busy = false;
    }
  }
}

function named(values: readonly ValueInfo[]): Map<string, ValueInfo> {
  return new Map(values.map((value) => [value.name, value]));
}

function find(values: ReadonlyMap<string, ValueInfo>, name: string, what: string): ValueInfo {
  const found = values.get(name);
  if (found) return found;
  throw new Error(`Expected ${what}, which has ${list([...values.keys()], 'and') || 'none'}`);
}

function checkSlot(value: Slot, info: ValueInfo, what: string, path: string): void {
  const size = value.dims.reduce((n, d) => n * d, 1);
  if (value.type !== info.type) {
    throw new Error(`Expected ${value.type} for ${what} of ${path}, which declares ${info.type}`);
  }
  const fits =
    value.dims.length === info.shape.length &&
    value.dims.every((d, i) => typeof info.shape[i] === 'string' || info.shape[i] === d);
  if (!fits) {
    throw new Error(`Expected dims [${value.dims}] for ${what} of ${path}, which declares [${info.shape.join(',')}]`);
  }
  if (value.data.length !== size) {
    throw new RangeError(`Expected ${size} elements for ${what} of ${path} but received ${value.data.length}`);
  }
}
