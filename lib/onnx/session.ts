// What runs a graph: a thread of its own, or where that is not to be had onnxruntime-node's session.run.
import { readFileSync } from 'node:fs';
import { dirname, resolve } from 'node:path';
import type { InferenceSession, Tensor } from 'onnxruntime-node';
import type { ValueInfo } from '../folder/graph-file.js';
import { nodesIn, timeEmbedding } from '../folder/graph-nodes.js';
import { readWire } from '../folder/wire-file.js';
import { libraryProblem } from './library.js';
import { loadError, runError } from './messages.js';
import { OrtNetwork } from './network.js';
import { loadRuntime } from './runtime.js';
import type { Slot } from './slots.js';

/**
 * Where a network can run: on the CPU, on any graphics processor by WebGPU, on an NVIDIA card, by CoreML on macOS and by
 * DirectML on Windows.
 */
export type GraphDevice = 'cpu' | 'webgpu' | 'cuda' | 'coreml' | 'dml';

export const GRAPH_DEVICES: readonly GraphDevice[] = ['cpu', 'webgpu', 'cuda', 'coreml', 'dml'];

export interface SessionOptions {
  /** Where it runs; `'cpu'`. What a device has no kernel for runs on the CPU. */
  device?: GraphDevice;
  /**
   * In place of `device`: onnxruntime's names ('cpu', 'cuda', ...) or its objects with settings, in order of preference. All
   * but the CPU alone are for onnxruntime-node's `session.run`, which stops JavaScript while the network runs.
   */
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
  /** Load the graph without the normal noise that it draws, so that equal inputs have equal outputs; false. */
  noiseless?: boolean;
  /** Whether the first call plans the memory of later ones; true. */
  memoryPattern?: boolean;
  /** Whether runs take memory that is everybody's, where the network has a thread of its own on the CPU; false. */
  sharedMemory?: boolean;
}

/** A graph that has been loaded. */
export interface Session {
  /** As onnxruntime knows them, which may be more than the file says. */
  readonly outputs: ReadonlyMap<string, ValueInfo>;
  /** Why `session.run` runs it, which stops JavaScript meanwhile; absent where it has a thread of its own. */
  readonly reason?: string;
  /** What has that thread: for runs whose tensors stay on its device. */
  readonly network?: OrtNetwork;
  /**
   * @param outputs slots that are written in place, or names of outputs that are made
   * @param signal ends the run, where it has a thread of its own also while it is under way
   * @returns the outputs that were made
   */
  run(
    feeds: Readonly<Record<string, Slot>>,
    outputs: Readonly<Record<string, Slot>> | readonly string[],
    signal?: AbortSignal,
  ): Promise<Record<string, Slot>>;
  release(): Promise<void>;
}

/** The graph's file, and its bytes where they are not the file's. */
export interface GraphSource {
  readonly path: string;
  readonly bytes?: Uint8Array;
}

/**
 * Loads a graph.
 *
 * @throws Error with the path and the reason when it cannot be loaded or a provider cannot be used
 */
export async function openSession(source: GraphSource, options: SessionOptions): Promise<Session> {
  const reason = await whyNoThread(options);
  return reason === undefined ? openThread(source, options) : openPlain(source, options, reason);
}

/** Why a graph with these options is run by `session.run`; undefined where it has a thread of its own. */
export async function whyNoThread({ device, executionProviders }: SessionOptions = {}): Promise<string | undefined> {
  // Providers with settings of their own are onnxruntime-node's to read.
  if (executionProviders !== undefined && (executionProviders.length !== 1 || executionProviders[0] !== 'cpu')) {
    const names = executionProviders.map((one) => (typeof one === 'string' ? one : one.name));
    return `executionProviders are given: ${names.join(', ')}`;
  }
  await loadRuntime();
  return device === 'dml' ? 'DirectML is reached by session.run alone' : libraryProblem();
}

async function openThread(source: GraphSource, options: SessionOptions): Promise<Session> {
  const { device = 'cpu', threads, memoryPattern, sharedMemory = false } = options;
  const { path } = source;
  const embedding =
    device === 'webgpu' && !source.bytes ? timeEmbedding(readWire(path, nodesIn), () => readFileSync(path)) : undefined;
  const bytes = source.bytes ?? embedding?.bytes;
  const network = await OrtNetwork.open(bytes ?? path, {
    device: device as Exclude<GraphDevice, 'dml'>,
    ...(embedding ? { forceCpuNodeNames: embedding.names } : {}),
    // 0 is onnxruntime's choice, as for session.run.
    ...(threads ? { threads } : {}),
    ...(bytes ? { path } : {}),
    ...(memoryPattern === undefined ? {} : { memoryPattern }),
    sharedMemory: sharedMemory && device === 'cpu',
  });
  return {
    outputs: new Map(
      [...network.outputs].map(([name, { type, dims }]) => [name, { name, type, shape: [...dims] }] as const),
    ),
    network,
    run: async (feeds, outputs, signal) =>
      (await network.run(feeds, { outputs, ...(signal ? { signal } : {}) })) as unknown as Record<string, Slot>,
    release: () => network.dispose(),
  };
}

async function openPlain(source: GraphSource, options: SessionOptions, reason: string): Promise<Session> {
  const { path, bytes } = source;
  const { device = 'cpu', executionProviders = [device], threads, memoryPattern = true } = options;
  const { InferenceSession, Tensor } = await loadRuntime();
  let session: InferenceSession;
  try {
    session = await InferenceSession.create((bytes ?? path) as string, {
      executionProviders: [...executionProviders] as InferenceSession.ExecutionProviderConfig[],
      ...(threads === undefined ? {} : { intraOpNumThreads: threads }),
      enableMemPattern: memoryPattern,
      // Warnings (initializers that are also inputs and the like) say nothing to who runs someone's export, and what an error
      // is told with comes back as its message.
      logSeverityLevel: 4,
      // Weights in files of their own lie beside the graph, wherever its bytes come from.
      ...(bytes
        ? { extra: { session: { model_external_initializers_file_folder_path: dirname(resolve(path)) } } }
        : {}),
    });
  } catch (cause) {
    const names = executionProviders.map((provider) => (typeof provider === 'string' ? provider : provider.name));
    // The reason may be a provider's, and then not the file's.
    throw loadError(path, names.join() === 'cpu' ? '' : ` for ${names.join(', ')}`, cause);
  }
  // Outputs that are given have to be onnxruntime's own tensors; one over our array makes it write there.
  const wrapped = new WeakMap<object, Record<string, Tensor>>();
  const wrap = (outputs: Readonly<Record<string, Slot>>): Record<string, Tensor> => {
    const known = wrapped.get(outputs);
    if (known) return known;
    const made: Record<string, Tensor> = {};
    for (const [name, { type, data, dims }] of Object.entries(outputs)) {
      made[name] = new Tensor(type, data as Float32Array, dims);
    }
    wrapped.set(outputs, made);
    return made;
  };
  return {
    outputs: new Map(
      session.outputMetadata.map((m) => [
        m.name,
        { name: m.name, type: m.isTensor ? m.type : 'no tensor', shape: m.isTensor ? m.shape : [] },
      ]),
    ),
    reason,
    run: async (feeds, outputs, signal) => {
      signal?.throwIfAborted();
      const given = Array.isArray(outputs) ? {} : (outputs as Readonly<Record<string, Slot>>);
      if (Object.values(given).some(({ type }) => type === 'float16') && 'Float16Array' in globalThis) {
        // Where JavaScript has halves, onnxruntime finds no space in an output of them (microsoft/onnxruntime#32323).
        try {
          const results = await session.run(feeds as unknown as Record<string, Tensor>, Object.keys(given));
          for (const [name, { data }] of Object.entries(given)) data.set(bitsOf(results[name]) as never);
          return {};
        } catch (cause) {
          throw runError(path, cause);
        }
      }
      const named = Array.isArray(outputs) ? outputs : wrap(outputs as Readonly<Record<string, Slot>>);
      try {
        // Where outputs were given, the returned tensors are copies: what counts is in our buffers.
        const results = await session.run(feeds as unknown as Record<string, Tensor>, named as Record<string, Tensor>);
        return results as unknown as Record<string, Slot>;
      } catch (cause) {
        throw runError(path, cause);
      }
    },
    release: () => session.release(),
  };
}

/** A tensor's data, halves as their bits. */
function bitsOf({ type, data }: Tensor): Slot['data'] {
  if (type !== 'float16') return data as Slot['data'];
  const { buffer, byteOffset, length } = data as Uint16Array;
  return new Uint16Array(buffer, byteOffset, length);
}
