// onnxruntime-web, which whoever makes the page brings along: one of its builds, with its files where the page has them.
import { wrongType } from '../../base/check.js';

/** A tensor of onnxruntime-web, as far as it is used here. */
export interface WebTensor {
  /** Such as `'float32'`. */
  readonly type: string;
  /** Its size in each dimension. */
  readonly dims: readonly number[];
  /** `'cpu'`, `'gpu-buffer'` or `'ml-tensor'`. */
  readonly location: string;
  /** A copy of it in the memory of JavaScript, wherever it is. */
  getData(): Promise<unknown>;
  /** Frees it. */
  dispose(): void;
}

/** A session of onnxruntime-web, as far as it is used here. */
export interface WebSession {
  /** What the graph declares of each input, in its order. */
  readonly inputMetadata: readonly WebDeclared[];
  /** The same of its outputs. */
  readonly outputMetadata: readonly WebDeclared[];
  /** Runs it once. */
  run(feeds: never, fetches: never): Promise<unknown>;
  /** Frees it. */
  release(): Promise<void>;
}

/** An input or output as onnxruntime-web declares it. */
export interface WebDeclared {
  /** Its name. */
  readonly name: string;
  /** Is it a tensor? */
  readonly isTensor: boolean;
}

/** What is used of onnxruntime-web: each of its modules (`onnxruntime-web/jspi`, `/webgpu`, `/wasm`) is such. */
export interface OnnxRuntimeWeb {
  /** Makes sessions. */
  readonly InferenceSession: {
    /** Of a graph's bytes. */
    create(model: Uint8Array, options?: never): Promise<WebSession>;
  };
  /** Makes tensors. */
  readonly Tensor: {
    /** Over an array. */
    new (type: never, data: never, dims: readonly number[]): WebTensor;
    /** Over a buffer of the graphics processor, which is not copied. */
    fromGpuBuffer(buffer: never, options: never): WebTensor;
  };
  /** Its settings. */
  readonly env: {
    /** Of WebGPU: the device that its sessions share. */
    readonly webgpu: {
      /** Kept once there is a session on it. */
      readonly device: unknown;
    };
  };
}

let runtime: OnnxRuntimeWeb | undefined;

/**
 * Says which onnxruntime-web networks run by; before the first one is opened.
 *
 *     import * as ort from 'onnxruntime-web/jspi';
 *     setOnnxRuntime(ort);
 *
 * @param ort a module of onnxruntime-web. Where its files lie, it is told itself: `ort.env.wasm.wasmPaths`.
 * @throws TypeError for what is none
 */
export function setOnnxRuntime(ort: OnnxRuntimeWeb): void {
  if (typeof ort?.InferenceSession?.create !== 'function' || typeof ort.Tensor !== 'function') {
    throw wrongType('the module onnxruntime-web', 'ort', ort);
  }
  runtime = ort;
}

/** The one that was set. @internal */
export function onnxRuntime(): OnnxRuntimeWeb {
  if (runtime) return runtime;
  throw new Error("Expected setOnnxRuntime(ort), with ort imported from 'onnxruntime-web', before a network is opened");
}

let last: Promise<unknown> = Promise.resolve();

/** One call of onnxruntime at a time: in a page all sessions share one thread, and a graphics processor. @internal */
export function inTurn<T>(work: () => Promise<T>): Promise<T> {
  const mine = last.then(work);
  last = mine.catch(() => {});
  return mine;
}

const watched = new WeakSet<object>();
const losses = new Set<(reason: string) => void>();

/**
 * Tells when the graphics processor is gone: its driver was started anew, it was taken away, or it ran out of memory. No network
 * can be opened in this page or worker any more; a `NetworkWorker` begins with another one.
 *
 * @param listener is told why; by the next one it is the same
 */
export function onDeviceLost(listener: (reason: string) => void): void {
  losses.add(listener);
}

/** Networks on WebGPU: with the last one onnxruntime-web lets go of its device, which is no loss. */
let users = 0;

/** Looks after the device of a network on WebGPU, until that is over. @internal */
export async function watchDevice(): Promise<void> {
  users++;
  const device = (await onnxRuntime().env.webgpu.device) as
    | { lost: Promise<{ reason: string; message: string }> }
    | undefined;
  if (!device || watched.has(device)) return;
  watched.add(device);
  device.lost.then(({ reason, message }) => {
    if (users === 0) return;
    for (const listener of losses) listener(message || reason);
  });
}

/** Says that a network on WebGPU is about to end. @internal */
export function leaveDevice(): void {
  users--;
}
