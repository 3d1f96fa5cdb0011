/// <reference lib="esnext.disposable" preserve="true" />
// A network on a thread of its own: JavaScript goes on while it runs.
import '../base/globals.js';
import { dirname, resolve } from 'node:path';
import { knownOptions, list, oneOf, optionalSignal, show, wholeNumber, wrongType } from '../base/check.js';
import { type Handle, native, type RawDeclared, type RawOperand, type RawSettings } from './addon.js';
import {
  arrayName,
  article,
  expectedArray,
  holds,
  type OrtData,
  type OrtType,
  typeName,
  typeNumber,
  view,
} from './elements.js';
import { loadLibrary } from './library.js';
import { deviceError, loadError, runError } from './messages.js';
import type { DeviceValue } from './value.js';

/** By the addon's numbers. */
const DEVICES: readonly OrtDevice[] = ['cpu', 'webgpu', 'cuda', 'coreml'];
const OPTIMIZATIONS = { none: 0, basic: 1, extended: 2, all: 99 } as const;
/** What the addon makes of an output that is not given: memory of its own on the host, or on the device. */
const MAKE = { cpu: 3, device: 4 } as const;

/** Where an {@link OrtNetwork} runs. */
export type OrtDevice = 'cpu' | 'webgpu' | 'cuda' | 'coreml';

/** A queue of work on a CUDA card: a `Stream` of dpm-solver/cuda is such. */
export interface CudaQueue {
  /** Index of its card. */
  readonly device: number;
  /** Its `cudaStream_t`. */
  readonly pointer: bigint;
}

/** Options of {@link OrtNetwork.open}. */
export interface OrtNetworkOptions {
  /** Where it runs; `'cpu'`. What a device has no kernel for runs on the CPU. */
  device?: OrtDevice;
  /** Threads of one operator, the network's own among them; as many as there are cores where absent. */
  threads?: number;
  /** Whether the threads wait in a loop for a while, which is faster and keeps cores busy; onnxruntime's own choice. */
  spinning?: boolean;
  /** How far onnxruntime may rewrite the graph; `'all'`. */
  optimization?: keyof typeof OPTIMIZATIONS;
  /** Plans memory once for inputs of the same dims, and keeps it; true. */
  memoryPattern?: boolean;
  /**
   * `'cpu'`: what a run takes besides the weights comes from memory that all networks of the process with this option have in
   * common, and is for the next run of any of them then; it is freed with the last of them. Each has its own where false,
   * the default.
   */
  sharedMemory?: boolean;
  /** What symbolic dimensions are, by their names, where that is known: more can then be planned when opening. */
  freeDimensions?: Readonly<Record<string, number>>;
  /** `'webgpu'`: names of nodes that run on the CPU all the same. */
  forceCpuNodeNames?: readonly string[];
  /** `'cuda'`: index of the card; the stream's, or the first one. */
  card?: number;
  /** `'cuda'`: a `Stream` of dpm-solver/cuda that the network's work is queued on. */
  stream?: CudaQueue;
  /** With bytes: the file that they are of, for messages, and beside which weights in files of their own lie. */
  path?: string;
  /** Gives up loading; `open` then rejects with its reason. */
  signal?: AbortSignal;
}
const OPTION_NAMES = [
  ...['device', 'threads', 'spinning', 'optimization', 'memoryPattern', 'sharedMemory', 'freeDimensions'],
  ...['forceCpuNodeNames', 'card', 'stream', 'path', 'signal'],
];

/** An input or output as the graph declares it. */
export interface OrtInfo {
  /** Its name. */
  readonly name: string;
  /** Its element type; `'no tensor'` for a sequence or a map. */
  readonly type: string;
  /** A symbolic dimension is its name, which may be empty. */
  readonly dims: readonly (number | string)[];
}

/** A tensor in the memory of JavaScript; onnxruntime's own tensors are such. */
export interface OrtTensor {
  /** Its elements, as many as `dims` say. */
  readonly data: OrtData;
  /** Its size in each dimension. */
  readonly dims: readonly number[];
  /** Of its elements; what the graph declares where absent. */
  readonly type?: string;
}

/** Memory on a CUDA card: a `DeviceTensor` of dpm-solver/cuda is such. */
export interface CudaMemory {
  /** Its address. */
  readonly pointer: bigint;
  /** Its size in each dimension. */
  readonly dims: readonly number[];
  /** Of its elements. */
  readonly type: string;
}

/** Options of {@link OrtNetwork.run}. */
export interface OrtRunOptions {
  /**
   * The outputs to compute, all of them where absent: their names, or for each name where it goes. A tensor, memory on the
   * card or a value is written to in place; `'cpu'` makes a new tensor, `'device'` a new {@link OrtValue}.
   */
  outputs?: readonly string[] | Readonly<Record<string, OrtTensor | CudaMemory | OrtValue | 'cpu' | 'device'>>;
  /** Ends the run, also while it is under way; it then rejects with the signal's reason. */
  signal?: AbortSignal;
}

/**
 * A tensor that a run has left where the network runs: it can be fed to another run, of this or another network on the same
 * device, and be written to by one. `dispose()` (or `using`) frees it at once. Its memory is the device's, so the garbage
 * collector does not know how much there is of it: dispose of every value.
 */
export class OrtValue implements DeviceValue {
  /** Of its elements. */
  readonly type: string;
  /** Its size in each dimension. */
  readonly dims: readonly number[];
  readonly #handle: Handle;
  #disposed = false;

  /** @internal */
  constructor(type: string, dims: readonly number[], handle: Handle) {
    this.type = type;
    this.dims = dims;
    this.#handle = handle;
  }

  /** Has it been freed? */
  get disposed(): boolean {
    return this.#disposed;
  }

  /** Frees it, once no run that has been started reads it any more. A second call does nothing. */
  dispose(): void {
    if (this.#disposed) return;
    this.#disposed = true;
    native.ortDispose(this.#handle);
  }

  /** As `dispose()`. */
  [Symbol.dispose](): void {
    this.dispose();
  }

  /** The addon's object, undefined where `value` is none of ours. @internal */
  static handle(value: object): Handle | undefined {
    return #handle in value ? value.#handle : undefined;
  }
}

/** An output of {@link OrtNetwork.run}: what was given for it, or what the run has made. */
export type OrtResult = OrtTensor | CudaMemory | OrtValue;

/**
 * An ONNX graph in a session of onnxruntime's C API, on a thread of its own. Made by {@link OrtNetwork.open}.
 *
 * Runs of one network are done one after the other. Each returns at once with a promise, and JavaScript goes on: the event
 * loop is not held up, whatever the batch. Results are those of onnxruntime-node's `session.run`, bit for bit.
 *
 * Until the promise of a run settles, no buffer in it may be written to, read, transferred or resized: the network works in
 * the caller's own memory.
 */
export class OrtNetwork {
  /** The graph's file, or what it was called where bytes were given. */
  readonly path: string;
  /** Where it runs. */
  readonly device: OrtDevice;
  /** By their names, in the graph's order. */
  readonly inputs: ReadonlyMap<string, OrtInfo>;
  /** By their names, in the graph's order. */
  readonly outputs: ReadonlyMap<string, OrtInfo>;
  readonly #handle: Handle;
  readonly #declared: { inputs: Declarations; outputs: Declarations };
  #next = 2;
  #disposed: Promise<void> | undefined;

  private constructor(path: string, device: OrtDevice, handle: Handle, inputs: RawDeclared[], outputs: RawDeclared[]) {
    this.path = path;
    this.device = device;
    this.#handle = handle;
    this.inputs = new Map(inputs.map((raw) => [raw.name, infoOf(raw)]));
    this.outputs = new Map(outputs.map((raw) => [raw.name, infoOf(raw)]));
    const numbered = (raw: RawDeclared[]) => new Map(raw.map(({ name, type }, index) => [name, { index, type }]));
    this.#declared = { inputs: numbered(inputs), outputs: numbered(outputs) };
  }

  /**
   * Loads a graph, on the thread that it will run on.
   *
   * @param graph the file, or the bytes of one, with `path` where its weights lie in files of their own
   * @throws TypeError, RangeError for wrong options; Error with the path and the reason where onnxruntime-node is missing or
   * too old, the file is no ONNX graph or the device cannot be used
   */
  static async open(graph: string | Uint8Array, options: OrtNetworkOptions = {}): Promise<OrtNetwork> {
    if (typeof graph !== 'string' && !(ArrayBuffer.isView(graph) && arrayName(graph) === 'Uint8Array')) {
      throw wrongType('a path or a Uint8Array', 'graph', graph);
    }
    const settings = readOptions(graph, options);
    const signal = optionalSignal(options.signal);
    signal?.throwIfAborted();
    const library = await loadLibrary();
    signal?.throwIfAborted();
    const device = DEVICES[settings.device];
    const { network, opened } = native.ortOpen(library.handle, settings);
    try {
      const { inputs, outputs } = await cancellable(network, 1, opened, signal);
      return new OrtNetwork(settings.path, device, network, inputs, outputs);
    } catch (cause) {
      await native.ortClose(network);
      if (signal?.aborted) throw signal.reason;
      const reason = deviceError(device, cause as Error, library.providers, library.version);
      throw loadError(settings.path, device === 'cpu' ? '' : ` for ${device}`, reason);
    }
  }

  /**
   * Runs the graph once. Inputs are read in place, and outputs written in place where memory is given for them: the run is
   * then tied to that memory, once for as long as the same comes again.
   *
   * @param feeds the graph's inputs by name
   * @returns the outputs by name
   * @throws TypeError, RangeError when names, types or dims are not what the graph declares, or the signal's reason; Error
   * with what onnxruntime says
   */
  async run(
    feeds: Readonly<Record<string, OrtTensor | CudaMemory | DeviceValue>>,
    options: OrtRunOptions = {},
  ): Promise<Record<string, OrtResult>> {
    const signal = optionalSignal(options.signal);
    signal?.throwIfAborted();
    if (this.#disposed) throw new Error(`The network of ${this.path} has been disposed of`);
    const inputs: RawOperand[] = [];
    for (const [name, feed] of Object.entries(feeds)) inputs.push(this.#operand(feed, name, 'input'));
    for (const name of this.inputs.keys()) {
      if (!Object.hasOwn(feeds, name)) {
        throw new TypeError(`Expected a tensor for the input ${name} of ${this.path} but received none`);
      }
    }
    const { outputs = [...this.outputs.keys()] } = options;
    const results: Record<string, OrtResult> = {};
    const fetches: RawOperand[] = [];
    const fetched: readonly (readonly [name: string, into: unknown])[] = Array.isArray(outputs)
      ? outputs.map((name) => [name, 'cpu'])
      : Object.entries(outputs);
    for (const [name, into] of fetched) {
      if (into === 'cpu' || into === 'device') {
        fetches.push([this.#find(name, 'output').index, MAKE[into]]);
      } else {
        fetches.push(this.#operand(into, name, 'output'));
        results[name] = into as OrtResult;
      }
    }
    const id = this.#next;
    this.#next = id < 0xffffffff ? id + 1 : 2;
    let made: Awaited<ReturnType<typeof native.ortRun>>;
    try {
      made = await cancellable(this.#handle, id, native.ortRun(this.#handle, id, inputs, fetches), signal);
    } catch (cause) {
      if (signal?.aborted) throw signal.reason;
      throw runError(this.path, cause);
    }
    signal?.throwIfAborted();
    const names = [...this.outputs.keys()];
    for (const [index, type, dims, data] of made) {
      results[names[index]] =
        data instanceof ArrayBuffer
          ? { type: typeName(type) as OrtType, dims, data: view(type, data) }
          : new OrtValue(typeName(type), dims, data);
    }
    return results;
  }

  /** Frees the session, after the runs that have been started. A second call waits for the same. */
  dispose(): Promise<void> {
    this.#disposed ??= native.ortClose(this.#handle);
    return this.#disposed;
  }

  /** As `dispose()`. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.dispose();
  }

  #find(name: string, kind: 'input' | 'output'): Declaration {
    const all = kind === 'input' ? this.#declared.inputs : this.#declared.outputs;
    const found = all.get(name);
    if (found) return found;
    const names = list([...all.keys()], 'and') || 'none';
    throw new TypeError(`Expected ${kind}s of ${this.path}, which has ${names}, but received one named ${show(name)}`);
  }

  /** An input or output as the addon takes it, checked against what the graph declares. */
  #operand(value: unknown, name: string, kind: 'input' | 'output'): RawOperand {
    const { index, type } = this.#find(name, kind);
    const what = `the ${kind} ${name} of ${this.path}`;
    if (typeof value !== 'object' || value === null) {
      throw new TypeError(`Expected a tensor for ${what} but received ${show(value)} of type ${typeof value}`);
    }
    const declared = (kind === 'input' ? this.inputs : this.outputs).get(name)!;
    const { dims, type: given } = value as Partial<OrtTensor>;
    if (typeNumber(declared.type) === undefined) {
      throw new TypeError(`Expected inputs and outputs that are tensors of numbers, but ${what} is ${declared.type}`);
    }
    if (!Array.isArray(dims)) throw new TypeError(`Expected dims for ${what} but received ${show(dims)}`);
    if (given !== undefined && given !== declared.type) {
      throw new TypeError(`Expected ${declared.type} for ${what} but received ${show(given)}`);
    }
    const fits =
      dims.length === declared.dims.length &&
      dims.every((dim, i) =>
        typeof declared.dims[i] === 'string' ? Number.isSafeInteger(dim) && dim >= 0 : dim === declared.dims[i],
      );
    if (!fits) {
      throw new RangeError(
        `Expected dims [${declared.dims.map((dim) => dim || '?')}] for ${what} but received [${dims}]`,
      );
    }
    const handle = OrtValue.handle(value);
    if (handle) {
      if ((value as OrtValue).disposed)
        throw new Error(`Expected a value for ${what} but received one that was disposed`);
      return [index, type, handle, ...dims];
    }
    const { pointer } = value as Partial<CudaMemory>;
    if (typeof pointer === 'bigint') {
      if (this.device === 'cuda') return [index, type, pointer, ...dims];
      throw new TypeError(`Expected memory of the host for ${what}, which is on ${this.device}, but received a card's`);
    }
    const { data } = value as Partial<OrtTensor>;
    if (!holds(type, data)) {
      const received = ArrayBuffer.isView(data) ? article(arrayName(data)) : show(data);
      throw new TypeError(`Expected ${expectedArray(type)} as data for ${what} but received ${received}`);
    }
    const elements = dims.reduce((product, dim) => product * dim, 1);
    if (data.length !== elements) {
      throw new RangeError(`Expected ${elements} elements for ${what} but received ${data.length}`);
    }
    if ((data.buffer as { resizable?: boolean }).resizable) {
      throw new TypeError(`Expected memory of a fixed size for ${what} but received a resizable buffer's`);
    }
    return [index, type, data, ...dims];
  }
}

type Declaration = { index: number; type: number };
type Declarations = ReadonlyMap<string, Declaration>;

function infoOf({ name, type, dims, symbols }: RawDeclared): OrtInfo {
  return { name, type: typeName(type), dims: dims.map((dim, i) => (dim < 0 ? symbols[i] : dim)) };
}

/** The task's end, which the signal brings about sooner. */
async function cancellable<T>(network: Handle, id: number, task: Promise<T>, signal?: AbortSignal): Promise<T> {
  if (!signal) return task;
  const cancel = () => native.ortCancel(network, id);
  signal.addEventListener('abort', cancel, { once: true });
  try {
    return await task;
  } finally {
    signal.removeEventListener('abort', cancel);
  }
}

function readOptions(graph: string | Uint8Array, options: OrtNetworkOptions): RawSettings {
  knownOptions(options, OPTION_NAMES, 'OrtNetwork.open');
  const { device = 'cpu', threads, spinning, optimization = 'all' } = options;
  const { memoryPattern = true, sharedMemory = false } = options;
  const { freeDimensions = {}, forceCpuNodeNames = [], stream, card, path } = options;
  oneOf(device, 'device', DEVICES);
  oneOf(optimization, 'optimization', Object.keys(OPTIMIZATIONS));
  if (spinning !== undefined) oneOf(spinning, 'spinning', [true, false]);
  oneOf(memoryPattern, 'memoryPattern', [true, false]);
  oneOf(sharedMemory, 'sharedMemory', [true, false]);
  if (threads !== undefined) wholeNumber(threads, 'threads', 1, 1024);
  if (card !== undefined) wholeNumber(card, 'card', 0, 1023);
  if (!Array.isArray(forceCpuNodeNames) || forceCpuNodeNames.some((name) => typeof name !== 'string')) {
    throw wrongType('an array of names', 'forceCpuNodeNames', forceCpuNodeNames);
  }
  for (const [name, size] of Object.entries(freeDimensions)) wholeNumber(size, `freeDimensions.${name}`, 1);
  if (path !== undefined && typeof path !== 'string') throw wrongType('a path', 'path', path);
  if (path !== undefined && typeof graph === 'string') {
    throw new TypeError('Expected path only for a graph in bytes but received it for one in a file');
  }
  const only = (given: boolean, name: string, where: OrtDevice) => {
    if (given && device !== where)
      throw new TypeError(`Expected ${name} only for device '${where}' but received it for '${device}'`);
  };
  only(sharedMemory, 'sharedMemory', 'cpu');
  only(forceCpuNodeNames.length > 0, 'forceCpuNodeNames', 'webgpu');
  only(card !== undefined, 'card', 'cuda');
  only(stream !== undefined, 'stream', 'cuda');
  if (stream !== undefined && typeof stream?.pointer !== 'bigint') throw wrongType('a Stream', 'stream', stream);
  if (stream !== undefined && card !== undefined && stream.device !== card) {
    throw new RangeError(`Expected a stream of card ${card} but received one of card ${stream.device}`);
  }
  return {
    path: typeof graph === 'string' ? graph : (path ?? 'the graph'),
    ...(typeof graph === 'string' ? {} : { bytes: graph }),
    device: DEVICES.indexOf(device),
    deviceId: card ?? stream?.device ?? 0,
    ...(stream ? { stream: stream.pointer } : {}),
    threads: threads ?? 0,
    optimization: OPTIMIZATIONS[optimization],
    memoryPattern,
    sharedMemory,
    config: [
      ...(spinning === undefined ? [] : ['session.intra_op.allow_spinning', spinning ? '1' : '0']),
      ...(path === undefined ? [] : ['session.model_external_initializers_file_folder_path', dirname(resolve(path))]),
    ],
    provider: forceCpuNodeNames.length > 0 ? ['forceCpuNodeNames', forceCpuNodeNames.join('\n')] : [],
    dimensions: Object.entries(freeDimensions).flat(),
  };
}
