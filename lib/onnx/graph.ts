// One ONNX graph: its session, what it declares, and runs that read and write the caller's own buffers.
import type { InferenceSession, Tensor } from 'onnxruntime-node';
import { list } from '../base/check.js';
import { bytesOf, checkWeights, type GraphFile, readGraph, type ValueInfo } from '../folder/graph-file.js';
import { loadError, runError } from './messages.js';
import { loadRuntime, type Runtime } from './runtime.js';

/** The element types that the networks of diffusion pipelines use. */
export type ElementType = 'float32' | 'float64' | 'float16' | 'int32' | 'int64';
export type ElementArray = Float32Array | Float64Array | Uint16Array | Int32Array | BigInt64Array;

/**
 * A buffer of ours that the graph reads or writes: `data` has as many elements as `dims` say, float16 as bits in a
 * `Uint16Array`. It is a feed in onnxruntime's eyes as it is.
 */
export interface Slot {
  type: ElementType;
  data: ElementArray;
  dims: readonly number[];
  location?: 'cpu';
}

export interface SessionOptions {
  /** onnxruntime's names ('cpu', 'cuda', ...) or its objects with settings, in order of preference; `['cpu']`. */
  executionProviders?: readonly (
    | string
    | {
        /** Such as `'cuda'`. */
        name: string;
        /** Whatever onnxruntime takes for it. */
        [setting: string]: unknown;
      }
  )[];
  /** Threads of one operator; onnxruntime's own choice where absent. */
  threads?: number;
}

const arrays: Record<ElementType, new (length: number) => ElementArray> = {
  float32: Float32Array,
  float64: Float64Array,
  float16: Uint16Array,
  int32: Int32Array,
  int64: BigInt64Array,
};

/** A new buffer of zeros. */
export function slot(type: ElementType, dims: readonly number[]): Slot {
  return { type, data: new arrays[type](dims.reduce((n, d) => n * d, 1)), dims: [...dims], location: 'cpu' };
}

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
  #loaded: Promise<Loaded> | undefined;
  #holders = 0;
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
    await found?.session.release();
  }

  #session(): Promise<Loaded> {
    if (this.#released) return Promise.reject(new Error(`The session of ${this.path} has been released`));
    if (this.#loaded) return this.#loaded;
    const loading: Promise<Loaded> = this.#create().catch((error) => {
      // A failed load is not kept: the next one may find more memory.
      if (this.#loaded === loading) this.#loaded = undefined;
      throw error;
    });
    this.#loaded = loading;
    return loading;
  }

  async #create(): Promise<Loaded> {
    const runtime = await loadRuntime();
    const { executionProviders = ['cpu'], threads } = this.#options;
    try {
      const session = await runtime.InferenceSession.create(this.path, {
        executionProviders: [...executionProviders] as InferenceSession.ExecutionProviderConfig[],
        ...(threads === undefined ? {} : { intraOpNumThreads: threads }),
        // Warnings (initializers that are also inputs and the like) say nothing to who runs someone's export.
        logSeverityLevel: 3,
      });
      this.#outputs = describe(session.outputMetadata);
      return { session, runtime };
    } catch (cause) {
      const names = executionProviders.map((provider) => (typeof provider === 'string' ? provider : provider.name));
      // The reason may be a provider's, and then not the file's.
      throw loadError(this.path, names.join() === 'cpu' ? '' : ` for ${names.join(', ')}`, cause);
    }
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
    let fetches: Record<string, Tensor> | undefined;
    return new Binding(feeds, async (inputs) => {
      await this.#run(inputs, ({ Tensor }) => {
        // Pre-allocated outputs have to be onnxruntime's own tensors; one over our array makes it write there.
        fetches ??= Object.fromEntries(
          Object.entries(outputs).map(([name, { type, data, dims }]) => [
            name,
            new Tensor(type, data as Float32Array, dims),
          ]),
        );
        return fetches;
      });
    });
  }

  /**
   * Runs the graph once, for outputs whose size only a run tells.
   *
   * @param outputs names of the outputs to compute
   * @returns onnxruntime's arrays; float16 as a `Uint16Array` or, where there is one, a `Float16Array`
   * @throws Error when names, types or dims are not what the graph declares
   */
  async call(feeds: Record<string, Slot>, outputs: readonly string[]): Promise<Record<string, Slot>> {
    for (const name of outputs) this.output(name);
    for (const name of this.inputs.keys()) {
      if (feeds[name] === undefined) throw new Error(`Nothing is known to feed the input ${name} of ${this.path} with`);
    }
    for (const [name, value] of Object.entries(feeds))
      checkSlot(value, this.input(name), `the input ${name}`, this.path);
    const results = await this.#run(feeds, () => outputs);
    return Object.fromEntries(
      outputs.map((name) => {
        const { type, data, dims } = results[name];
        return [name, { type, data, dims } as unknown as Slot];
      }),
    );
  }

  async #run(
    feeds: Record<string, Slot>,
    fetches: (runtime: Runtime) => Record<string, Tensor> | readonly string[],
  ): Promise<InferenceSession.OnnxValueMapType> {
    const running = this.#start(feeds, fetches);
    this.#pending.add(running);
    try {
      // Where outputs were given, the returned tensors are copies: what counts is in our buffers.
      return await running;
    } finally {
      this.#pending.delete(running);
    }
  }

  async #start(
    feeds: Record<string, Slot>,
    fetches: (runtime: Runtime) => Record<string, Tensor> | readonly string[],
  ): Promise<InferenceSession.OnnxValueMapType> {
    const { session, runtime } = await this.#session();
    try {
      return await session.run(feeds as unknown as Record<string, Tensor>, fetches(runtime) as Record<string, Tensor>);
    } catch (cause) {
      throw runError(this.path, cause);
    }
  }

  /** Frees the session, after the runs that are under way; it cannot be run any more. A second call does nothing. */
  async release(): Promise<void> {
    this.#released = true;
    await this.unload();
  }
}

/** A session, and what made it. */
interface Loaded {
  readonly session: InferenceSession;
  readonly runtime: Runtime;
}

/** Buffers tied to a graph by {@link Graph.bind}. */
export class Binding {
  readonly feeds: Record<string, Slot>;
  readonly #execute: (feeds: Record<string, Slot>) => Promise<void>;
  #busy = false;

  /** @internal */
  constructor(feeds: Record<string, Slot>, execute: (feeds: Record<string, Slot>) => Promise<void>) {
    this.feeds = feeds;
    this.#execute = execute;
  }

  /**
   * Runs the graph. Until the promise settles no buffer of this binding may be read or written: onnxruntime may be
   * working in them.
   *
   * @throws Error when a run of this binding is still under way, or what onnxruntime reports
   */
  async run(): Promise<void> {
    if (this.#busy) throw new Error('A run with these buffers is still under way');
    this.#busy = true;
    try {
      await this.#execute(this.feeds);
    } finally {
      this.#busy = false;
    }
  }
}

/**
 * A number as the graph wants it: written into every element of `slot`, rounded to the nearest where the type is an
 * integer (networks exported with integer timesteps know nothing between them).
 */
export function fill({ type, data }: Slot, value: number): void {
  if (type === 'int64') (data as BigInt64Array).fill(BigInt(Math.round(value)));
  else if (type === 'int32') (data as Int32Array).fill(Math.round(value));
  else if (type === 'float16') (data as Uint16Array).fill(toHalf(value));
  else (data as Float32Array).fill(value);
}

const scratch = new Float32Array(1);
const scratchBits = new Uint32Array(scratch.buffer);

/** The bits of `value` in float16, rounded to nearest, ties to even. */
export function toHalf(value: number): number {
  scratch[0] = value;
  const bits = scratchBits[0];
  const sign = (bits >>> 16) & 0x8000;
  const magnitude = Math.abs(scratch[0]);
  if (Number.isNaN(magnitude)) return sign | 0x7e00;
  if (magnitude >= 65520) return sign | 0x7c00;
  // Below 2^-14 halves are spaced 2^-24 apart, above by 2^-10 of their power of two.
  const exponent = Math.max(Math.floor(Math.log2(magnitude)), -14);
  const units = roundEven(magnitude / 2 ** (exponent - 10));
  return sign | (units < 1024 ? units : ((exponent + 14) << 10) + units);
}

function roundEven(x: number): number {
  const low = Math.floor(x);
  const rest = x - low;
  return rest > 0.5 || (rest === 0.5 && low % 2 === 1) ? low + 1 : low;
}

function named(values: readonly ValueInfo[]): Map<string, ValueInfo> {
  return new Map(values.map((value) => [value.name, value]));
}

function describe(metadata: readonly InferenceSession.ValueMetadata[]): Map<string, ValueInfo> {
  return new Map(
    metadata.map((m) => [
      m.name,
      { name: m.name, type: m.isTensor ? m.type : 'no tensor', shape: m.isTensor ? m.shape : [] },
    ]),
  );
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
