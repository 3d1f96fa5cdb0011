/// <reference lib="esnext.disposable" preserve="true" />
// A network in a browser, by onnxruntime-web: what lib/onnx/network.ts is in Node, whose place it takes in dist/web.js.
import '../../base/globals.js';
import { knownOptions, list, oneOf, optionalSignal, show, wrongType } from '../../base/check.js';
import type { Tensor } from '../../base/tensor.js';
import { firstLine } from '../../base/text.js';
import { nodesIn, timeEmbedding } from '../../folder/graph-nodes.js';
import { WireFile } from '../../folder/wire.js';
import type { OrtData, OrtType } from '../elements.js';
import { fill, timeSlot } from '../slots.js';
import type { DeviceValue } from '../value.js';
import { inTurn, leaveDevice, onnxRuntime, type WebSession, type WebTensor, watchDevice } from './runtime.js';

/** Where an {@link OrtWebNetwork} can run: by WebAssembly on the CPU, by WebGPU, or by WebNN. */
export type WebDevice = 'cpu' | 'webgpu' | 'webnn';
/** Where tensors stay on a device, what onnxruntime-web calls their place. */
const LOCATIONS = { webgpu: 'gpu-buffer', webnn: 'ml-tensor' } as const;

/** Options of {@link OrtWebNetwork.open}. */
export interface OrtWebNetworkOptions {
  /**
   * Where it runs. `'auto'`, the default: by WebGPU where the browser and onnxruntime-web have it, else by WebAssembly, which is
   * what `'cpu'` and `'wasm'` are.
   */
  device?: 'auto' | WebDevice | 'wasm';
  /**
   * `'webgpu'`: names of nodes that run on the CPU all the same. Where absent, those that make the sines and cosines of an input
   * `timestep`, which graphics processors may compute too coarsely.
   */
  forceCpuNodeNames?: readonly string[];
  /** Threads of WebAssembly, for which a page has to be isolated (COOP and COEP); onnxruntime-web's own choice. */
  threads?: number;
  /** With bytes: what they are called in messages. */
  path?: string;
  /** Gives up loading; `open` then rejects with its reason. */
  signal?: AbortSignal;
}
const OPTION_NAMES = ['device', 'forceCpuNodeNames', 'threads', 'path', 'signal'];

/** A tensor in the memory of JavaScript; onnxruntime's own are such. */
export interface OrtWebTensor {
  /** Its elements, as many as `dims` say. */
  readonly data: OrtData;
  /** Its size in each dimension. */
  readonly dims: readonly number[];
  /** Of its elements; what the graph declares where absent. */
  readonly type?: string;
}

/** An input or output as the graph declares it. */
export interface OrtWebInfo {
  /** Its name. */
  readonly name: string;
  /** Its element type; `'no tensor'` for a sequence or a map. */
  readonly type: string;
  /** A symbolic dimension is its name, which may be empty. */
  readonly dims: readonly (number | string)[];
}

/** Options of {@link OrtWebNetwork.run}. */
export interface OrtWebRunOptions {
  /**
   * The outputs to compute, all of them where absent: their names, or for each name where it goes. A tensor is written to in
   * place; `'cpu'` makes a new tensor, `'device'` an {@link OrtWebValue}.
   */
  outputs?: readonly string[] | Readonly<Record<string, OrtWebTensor | 'cpu' | 'device'>>;
  /** Looked at before the run and after it, as onnxruntime-web cannot end one; it then rejects with the signal's reason. */
  signal?: AbortSignal;
}

/**
 * A tensor that a run has left where the network runs; it can be fed to another run. Its memory is the device's, so the garbage
 * collector does not know how much there is of it: dispose of every value.
 */
export class OrtWebValue implements DeviceValue {
  /** Of its elements. */
  readonly type: string;
  /** Its size in each dimension. */
  readonly dims: readonly number[];
  readonly #tensor: WebTensor;
  readonly #free: () => void;
  #disposed = false;

  /** @internal */
  constructor(tensor: WebTensor, free: () => void = () => tensor.dispose()) {
    this.type = tensor.type;
    this.dims = tensor.dims;
    this.#tensor = tensor;
    this.#free = free;
  }

  /** onnxruntime-web's own tensor, whose `gpuBuffer` or `mlTensor` it is. */
  get tensor(): unknown {
    return this.#tensor;
  }

  /** Has it been freed? */
  get disposed(): boolean {
    return this.#disposed;
  }

  /** A copy of it in the memory of JavaScript. */
  async read(): Promise<OrtWebTensor> {
    if (this.#disposed) throw new Error('Expected a value to read but received one that was disposed of');
    const data = (await inTurn(() => this.#tensor.getData())) as OrtData;
    return { type: this.type, data: bitsOf(this.type, data), dims: [...this.dims] };
  }

  /** Frees it. A second call does nothing. */
  dispose(): void {
    if (this.#disposed) return;
    this.#disposed = true;
    this.#free();
  }

  /** As `dispose()`, for `using`. */
  [Symbol.dispose](): void {
    this.dispose();
  }

  /** onnxruntime-web's tensor; undefined where `value` is none of ours. @internal */
  static tensorOf(value: object): WebTensor | undefined {
    return #tensor in value ? value.#tensor : undefined;
  }
}

/** What {@link OrtWebNetwork.model} is told of the graph. */
export interface WebModelOptions {
  /** The input that the state goes into; `'sample'`. */
  state?: string;
  /** The input that the time goes into; `'timestep'`. */
  time?: string;
  /** The output that is the prediction; the first one. */
  output?: string;
}

/** A network as `DPMSolver` calls it, wherever it runs. */
export interface WebModel {
  /** Where it runs by WebAssembly. */
  (x: Tensor, t: number, signal?: AbortSignal): Promise<Tensor>;
  /** Where it does not: what it gives is the caller's to dispose of, and a run does so. */
  (
    x: DeviceValue,
    t: number,
    context?: {
      /** Ends the run. */
      signal?: AbortSignal;
    },
  ): Promise<DeviceValue>;
}

/** An ONNX graph in a session of onnxruntime-web. Made by {@link OrtWebNetwork.open}. */
export class OrtWebNetwork {
  /** The graph's address, or what it was called where bytes were given. */
  readonly path: string;
  /** Where it runs. */
  readonly device: WebDevice;
  /** With device `'auto'`: why it does not run by WebGPU; undefined where it does. */
  readonly reason: string | undefined;
  /** By their names, in the graph's order. */
  readonly inputs: ReadonlyMap<string, OrtWebInfo>;
  /** By their names, in the graph's order. */
  readonly outputs: ReadonlyMap<string, OrtWebInfo>;
  readonly #session: WebSession;
  #disposed: Promise<void> | undefined;

  private constructor(path: string, device: WebDevice, session: WebSession, reason: string | undefined) {
    this.path = path;
    this.device = device;
    this.reason = reason;
    this.#session = session;
    this.inputs = new Map(session.inputMetadata.map((one) => [one.name, infoOf(one)]));
    this.outputs = new Map(session.outputMetadata.map((one) => [one.name, infoOf(one)]));
  }

  /**
   * Loads a graph, whose weights have to be in the same file.
   *
   * @param graph its address, which is fetched, or its bytes
   * @throws TypeError, RangeError for wrong options; Error with the address and the reason where it cannot be fetched, is no ONNX
   * graph or the device cannot be used
   */
  static async open(graph: string | URL | Uint8Array, options: OrtWebNetworkOptions = {}): Promise<OrtWebNetwork> {
    knownOptions(options, OPTION_NAMES, 'OrtWebNetwork.open');
    const { device = 'auto', path = 'the graph' } = options;
    oneOf(device, 'device', ['auto', 'cpu', 'wasm', 'webgpu', 'webnn']);
    const signal = optionalSignal(options.signal);
    signal?.throwIfAborted();
    const address = typeof graph === 'string' || graph instanceof URL ? String(graph) : undefined;
    if (address === undefined && !(graph instanceof Uint8Array))
      throw wrongType('an address or a Uint8Array', 'graph', graph);
    const bytes = address === undefined ? (graph as Uint8Array) : await fetched(address, signal);
    const create = async (where: WebDevice, reason?: string) => {
      const session = await opened(bytes, address ?? path, where, options);
      return new OrtWebNetwork(address ?? path, where, session, reason);
    };
    const network = await (device === 'auto' ? automatic(create) : create(device === 'wasm' ? 'cpu' : device));
    if (!signal?.aborted) return network;
    await network.dispose();
    throw signal.reason;
  }

  /**
   * Runs the graph once, after the runs that have been begun before.
   *
   * @param feeds the graph's inputs by name
   * @returns the outputs by name
   * @throws TypeError where names are not what the graph declares, or the signal's reason; Error with what onnxruntime says
   */
  async run(
    feeds: Readonly<Record<string, OrtWebTensor | DeviceValue>>,
    options: OrtWebRunOptions = {},
  ): Promise<Record<string, OrtWebTensor | OrtWebValue>> {
    const signal = optionalSignal(options.signal);
    signal?.throwIfAborted();
    if (this.#disposed) throw new Error(`The network of ${this.path} has been disposed of`);
    const inputs: Record<string, WebTensor> = {};
    for (const [name, feed] of Object.entries(feeds)) inputs[name] = this.#feed(feed, name);
    for (const name of this.inputs.keys()) {
      if (!Object.hasOwn(feeds, name)) {
        throw new TypeError(`Expected a tensor for the input ${name} of ${this.path} but received none`);
      }
    }
    const { outputs = [...this.outputs.keys()] } = options;
    const wanted: readonly (readonly [name: string, into: OrtWebTensor | 'cpu' | 'device'])[] = Array.isArray(outputs)
      ? outputs.map((name) => [name, 'cpu'])
      : Object.entries(outputs);
    for (const [name] of wanted) this.#find(name, 'output');
    const made = await inTurn(async () => {
      try {
        return (await this.#session.run(inputs as never, wanted.map(([name]) => name) as never)) as Record<
          string,
          WebTensor
        >;
      } catch (cause) {
        throw new Error(`Running ${this.path} failed: ${firstLine((cause as Error).message)}`, { cause });
      }
    });
    const results: Record<string, OrtWebTensor | OrtWebValue> = {};
    for (const [name, into] of wanted) {
      const value = new OrtWebValue(made[name]);
      if (into === 'device') {
        results[name] = value;
        continue;
      }
      const tensor = await value.read();
      value.dispose();
      if (into !== 'cpu') into.data.set(tensor.data as never);
      results[name] = into === 'cpu' ? tensor : into;
    }
    if (!signal?.aborted) return results;
    for (const result of Object.values(results)) if (result instanceof OrtWebValue) result.dispose();
    throw signal.reason;
  }

  /**
   * The network as `DPMSolver` calls it:
   *
   *     const unet = await OrtWebNetwork.open('unet.onnx');
   *     new DPMSolver(unet.model({ encoder_hidden_states }), schedule, { modelDevice: unet.device });
   *
   * @param feeds what the graph takes besides the state and the time, for as many samples as it is called with: under
   *   classifier-free guidance first without the condition, then with it
   */
  model(feeds: Readonly<Record<string, OrtWebTensor | DeviceValue>> = {}, options: WebModelOptions = {}): WebModel {
    knownOptions(options, ['state', 'time', 'output'], 'model');
    const { state = 'sample', time = 'timestep', output = [...this.outputs.keys()][0] } = options;
    const { type, dims } = this.#find(time, 'input');
    this.#find(state, 'input');
    this.#find(output, 'output');
    const there = this.device !== 'cpu';
    const evaluate = async (x: Tensor | DeviceValue, t: number, context?: unknown) => {
      const timestep = timeSlot({ type, shape: dims }, x.dims[0], this.path);
      fill(timestep, t);
      const signal = (there ? (context as { signal?: AbortSignal } | undefined)?.signal : context) as AbortSignal;
      const made = await this.run(
        { ...feeds, [state]: x as OrtWebTensor, [time]: timestep as OrtWebTensor },
        { outputs: { [output]: there ? 'device' : 'cpu' }, ...(signal ? { signal } : {}) },
      );
      return made[output];
    };
    return evaluate as unknown as WebModel;
  }

  /** Frees the session, after the runs that have been begun. A second call waits for the same. */
  dispose(): Promise<void> {
    this.#disposed ??= inTurn(() => {
      if (this.device === 'webgpu') leaveDevice();
      return this.#session.release();
    });
    return this.#disposed;
  }

  /** As `dispose()`. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.dispose();
  }

  #find(name: string, kind: 'input' | 'output'): OrtWebInfo {
    const all = kind === 'input' ? this.inputs : this.outputs;
    const found = all.get(name);
    if (found) return found;
    const names = list([...all.keys()], 'and') || 'none';
    throw new TypeError(`Expected ${kind}s of ${this.path}, which has ${names}, but received one named ${show(name)}`);
  }

  #feed(feed: unknown, name: string): WebTensor {
    const declared = this.#find(name, 'input');
    const what = `the input ${name} of ${this.path}`;
    if (typeof feed !== 'object' || feed === null) throw wrongType('a tensor', what, feed);
    const own = OrtWebValue.tensorOf(feed);
    if (own && (feed as OrtWebValue).disposed) {
      throw new Error(`Expected a value for ${what} but received one that was disposed of`);
    }
    const { type = declared.type, data, dims } = feed as OrtWebTensor;
    if (type !== declared.type) throw wrongType(declared.type, what, type);
    if (own) return own;
    if (!ArrayBuffer.isView(data)) throw wrongType('a tensor with data', what, data);
    const elements = dims.reduce((product, dim) => product * dim, 1);
    if (data.length !== elements) {
      throw new RangeError(`Expected ${elements} elements for ${what} but received ${data.length}`);
    }
    return new (onnxRuntime().Tensor)(type as never, data as never, dims);
  }
}

// For who expects Node's names, whose place this file takes.
export { OrtWebNetwork as OrtNetwork, OrtWebValue as OrtValue };

async function fetched(address: string, signal: AbortSignal | undefined): Promise<Uint8Array> {
  const response = await fetch(address, signal ? { signal } : {});
  if (!response.ok) throw new Error(`Cannot fetch ${address}: the server answered ${response.status}`);
  return new Uint8Array(await response.arrayBuffer());
}

async function automatic(
  create: (device: WebDevice, reason?: string) => Promise<OrtWebNetwork>,
): Promise<OrtWebNetwork> {
  const reason = await whyNoWebGpu();
  if (reason !== undefined) return create('cpu', reason);
  try {
    return await create('webgpu');
  } catch (error) {
    return create('cpu', firstLine((error as Error).message));
  }
}

/** Why nothing runs by WebGPU here; undefined where the browser has a graphics processor. */
async function whyNoWebGpu(): Promise<string | undefined> {
  const { gpu } = ((globalThis as { navigator?: object }).navigator ?? {}) as {
    gpu?: { requestAdapter(): Promise<unknown> };
  };
  if (!gpu) return 'this browser has no WebGPU, or the page did not come by https';
  return (await gpu.requestAdapter().catch(() => null)) ? undefined : 'WebGPU finds no graphics processor';
}

async function opened(
  bytes: Uint8Array,
  path: string,
  device: WebDevice,
  { forceCpuNodeNames, threads }: OrtWebNetworkOptions,
): Promise<WebSession> {
  const runtime = onnxRuntime();
  const name = device === 'cpu' ? 'wasm' : device;
  const forced = device === 'webgpu' ? forcedOf(bytes, forceCpuNodeNames) : { names: [], bytes };
  const options = {
    executionProviders: [forced.names.length > 0 ? { name, forceCpuNodeNames: forced.names } : name],
    logSeverityLevel: 4,
    ...(threads ? { intraOpNumThreads: threads } : {}),
    ...(device === 'cpu' ? {} : { preferredOutputLocation: LOCATIONS[device] }),
  };
  try {
    const session = await inTurn(() => runtime.InferenceSession.create(forced.bytes, options as never));
    if (device === 'webgpu') await watchDevice();
    return session;
  } catch (cause) {
    throw new Error(`Cannot load ${path} for ${name}: ${firstLine((cause as Error).message)}`, { cause });
  }
}

/** The nodes that run on the CPU, and the graph in which they have names. */
function forcedOf(
  bytes: Uint8Array,
  names: readonly string[] | undefined,
): { names: readonly string[]; bytes: Uint8Array } {
  if (names) return { names, bytes };
  try {
    return { bytes, ...(timeEmbedding(nodesIn(WireFile.of(bytes)), () => bytes) ?? { names: [] }) };
  } catch {
    // What is no graph onnxruntime says itself.
    return { names: [], bytes };
  }
}

function infoOf(declared: { name: string; isTensor: boolean }): OrtWebInfo {
  const { type, shape } = declared as unknown as { type: string; shape: readonly (number | string)[] };
  const { name, isTensor } = declared;
  return isTensor ? { name, type, dims: shape } : { name, type: 'no tensor', dims: [] };
}

/** Halves as their bits, in a `Uint16Array`. */
function bitsOf(type: OrtType | string, data: OrtData): OrtData {
  if (type !== 'float16') return data;
  return new Uint16Array(data.buffer as ArrayBuffer, data.byteOffset, data.length);
}
