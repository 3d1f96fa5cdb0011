// The fused step on the card.
import { native } from './native.js';
import type { Stream } from './stream.js';
import type { DeviceTensor, DeviceType } from './tensor.js';

/** Offsets into a row that a call has to look at. */
const ROW_LENGTH = 32;
const NETWORK: Partial<Record<DeviceType, number>> = { float16: 0, float32: 1, float64: 2, bfloat16: 4 };
/** Elements whose squares one block sums up (native/cuda/args.h). */
const REDUCE_BLOCK = 4096;

/** Bits of a sample's flag word. */
export const NOT_FINITE = 1;
/** A row asks for a quantile but the call was made without `quantile: true`: the sample was left alone. */
export const NEEDS_QUANTILE = 2;

/**
 * Buffers of one {@link deviceStep}, as of the CPU's `step`, in the card's memory. State, history and noise are float32;
 * or all of them, and the network's outputs, are float64.
 */
export interface DeviceBuffers {
  /** What the network saw, float32; batch n elements, as for all buffers but m, u, g, next, flags and noise. */
  x?: DeviceTensor | null;
  /** float32, float16 or bfloat16 (float64 where the state is); under `doubled` the unconditional outputs of all samples, then the conditional. */
  m?: DeviceTensor | null;
  /** The unconditional output, where it has a buffer of its own; of the type and length of m. */
  u?: DeviceTensor | null;
  /** A classifier's gradient, of the type of m. */
  g?: DeviceTensor | null;
  /** The state that the step starts from, float32. */
  base?: DeviceTensor | null;
  /** Predictions, float32: written after the transform, or read where the rows' transform is `given`. */
  p?: DeviceTensor | null;
  /** The latest earlier history entry, float32. */
  d1?: DeviceTensor | null;
  /** The one before d1. */
  d2?: DeviceTensor | null;
  /** The one before d2. */
  d3?: DeviceTensor | null;
  /** Standard normal noise, float32. */
  z?: DeviceTensor | null;
  /** Written: the new history entry, float32. */
  d0?: DeviceTensor | null;
  /** Written: the sum `first` of the rows, float32. */
  out?: DeviceTensor | null;
  /** Written: the sum `second` of the rows, float32. */
  out2?: DeviceTensor | null;
  /** `out` once or twice (by its length) as float32, float16 or bfloat16, or float64 where the state is. */
  next?: DeviceTensor | null;
  /** uint32, one word a sample: {@link NOT_FINITE} and {@link NEEDS_QUANTILE} are added, nothing is cleared. */
  flags?: DeviceTensor | null;
  /**
   * uint32, four words a sample, where there is no z: seed (low, high), evaluation, stream. The noise is made in the
   * kernel: the numbers of PhiloxNoise.
   */
  noise?: DeviceTensor | null;
}

/** How {@link deviceStep} is made. */
export interface DeviceStepOptions {
  /** Where it is queued; of the card that the tensors are on. */
  stream: Stream;
  /** Samples, 1 or more, one row each. */
  batch: number;
  /** Index of the first sample's row; 0. */
  first?: number;
  /** `m` holds the unconditional outputs and then the conditional ones; false. */
  doubled?: boolean;
  /** Some row may ask for a quantile: takes the kernels that can find one. */
  quantile?: boolean;
}

const ORDER = ['x', 'm', 'u', 'g', 'base', 'p', 'd1', 'd2', 'd3', 'z', 'noise', 'flags', 'd0', 'out', 'out2'] as const;
/** Words of a call, as native/addon/cuda/step.cpp reads it: addresses, then numbers, then which kernel was taken. */
const WORDS = [
  ...['rows', ...ORDER, 'next', 'next2'],
  ...['batch', 'n', 'stride', 'type', 'nextType', 'quantile', 'kernel'],
] as const;
/**
 * Where a word is.
 *
 * @internal
 */
export const AT = Object.fromEntries(WORDS.map((name, i) => [name, i])) as Readonly<
  Record<(typeof WORDS)[number], number>
>;
/** By their numbers in native/cuda/plan.h. */
const KERNELS: readonly StepKernel[] = ['step', 'cluster', 'team', 'wide', 'wide-select'];

/**
 * Queues one fused step on a stream: the same rows, rules and bits as the CPU's `step`.
 * Nothing is read on the host: rows are in the card's memory, so that a captured step takes whatever they hold when it
 * runs. d0, out and out2 may each be the tensor of an input; nothing else may overlap.
 *
 * @param rows float64, 32 numbers a sample
 * @returns which kernel was taken
 * @throws TypeError, RangeError for tensors of another type, length or card, and for outputs that overlap other tensors;
 *   Error with CUDA's name for it as `code` where the card refuses
 */
export function deviceStep(rows: DeviceTensor, buffers: DeviceBuffers, options: DeviceStepOptions): StepKernel {
  return prepareStep(rows, buffers, options)();
}

/**
 * Which kernel a step took: one pass, or with a quantile by clusters, or by blocks that meet in global memory; in double
 * precision one pass, or with a quantile a block a sample.
 */
export type StepKernel = 'step' | 'cluster' | 'team' | 'wide' | 'wide-select';

/**
 * Checks everything that {@link deviceStep} does, and returns what queues the step: for loops in which a call counts in
 * microseconds. The tensors and the stream are kept alive, and must not be disposed.
 */
export function prepareStep(rows: DeviceTensor, buffers: DeviceBuffers, options: DeviceStepOptions): () => StepKernel {
  const { stream, batch, first = 0, doubled = false, quantile = false } = options;
  const b = buffers;
  if (rows.type !== 'float64' || !(first >= 0) || rows.length < (first + batch) * ROW_LENGTH) {
    throw new RangeError(
      `Expected rows ${first} to ${first + batch - 1} of ${ROW_LENGTH} float64 numbers each for rows but received ${rows.length} of ${rows.type}`,
    );
  }
  const lead = b.x ?? b.base ?? b.p ?? b.out;
  if (!lead) throw new TypeError('Expected one of x, base, p and out for step but received none');
  const total = lead.length;
  const n = total / batch;
  if (!Number.isSafeInteger(batch) || batch < 1 || !Number.isSafeInteger(n)) {
    throw new RangeError(`Expected a multiple of the batch (${batch}) but received ${total} elements`);
  }
  const call = new BigUint64Array(WORDS.length);
  call[AT.rows] = rows.pointer + BigInt(first * ROW_LENGTH * 8);
  const state: DeviceType = lead.type === 'float64' ? 'float64' : 'float32';
  let type: DeviceType = state;
  for (const name of ORDER) {
    const tensor = b[name];
    if (!tensor) continue;
    stream.uses(name, tensor);
    call[AT[name]] = tensor.pointer;
    if (name === 'm' || name === 'u' || name === 'g') {
      if (state === 'float64' ? tensor.type !== state : !(tensor.type in NETWORK) || tensor.type === 'float64') {
        throw new TypeError(`Expected ${networkTypes(state)} for ${name} but received ${tensor.type}`);
      }
      type = tensor.type;
      if (name !== 'g') continue;
    } else {
      const expected = name === 'flags' || name === 'noise' ? 'uint32' : state;
      if (tensor.type !== expected) throw new TypeError(`Expected ${expected} for ${name} but received ${tensor.type}`);
    }
    const length = name === 'flags' ? batch : name === 'noise' ? 4 * batch : total;
    if (tensor.length !== length) throw wrongLength(name, String(length), tensor);
  }
  for (const name of ['m', 'u', 'g'] as const) {
    const tensor = b[name];
    if (tensor && tensor.type !== type) throw new TypeError(`Expected ${type} for ${name} but received ${tensor.type}`);
  }
  let stride = n;
  if (b.m) {
    const parts = doubled ? 2 * batch : batch;
    stride = b.m.length / parts;
    if (!Number.isInteger(stride) || stride < n) throw wrongLength('m', `${parts} samples of ${n} or more`, b.m);
    if (doubled) {
      if (b.u) throw new RangeError('Expected no u beside a doubled m but received one');
      call[AT.u] = b.m.pointer;
      call[AT.m] = b.m.pointer + BigInt(b.m.bytes / 2);
    } else if (b.u && b.u.length !== b.m.length) {
      throw wrongLength('u', `${b.m.length}`, b.u);
    }
  } else if (b.u) {
    throw new TypeError('Expected m beside u but received none');
  }
  let nextType: DeviceType = 'float32';
  if (b.next) {
    nextType = b.next.type;
    if (!(nextType in NETWORK) || (nextType === 'float64' && state !== 'float64')) {
      throw new TypeError(`Expected float32, float16 or bfloat16 for next but received ${nextType}`);
    }
    if (!b.out || (b.next.length !== total && b.next.length !== 2 * total)) {
      throw b.out
        ? wrongLength('next', `${total} or ${2 * total}`, b.next)
        : new TypeError('Expected out beside next but received none');
    }
    call[AT.next] = b.next.pointer;
    if (b.next.length !== total) call[AT.next2] = b.next.pointer + BigInt(b.next.bytes / 2);
  }
  stream.uses('rows', rows);
  if (b.next) stream.uses('next', b.next);
  checkMemory(b, doubled || stride !== n);
  for (const [name, value] of Object.entries({
    batch,
    n,
    stride,
    type: NETWORK[type]!,
    nextType: NETWORK[nextType]!,
  })) {
    call[AT[name as 'batch']] = BigInt(value);
  }
  call[AT.quantile] = quantile ? 1n : 0n;
  const used = [rows, ...Object.values(b)].filter((tensor): tensor is DeviceTensor => !!tensor);
  return () => {
    for (const tensor of used) {
      if (tensor.disposed) throw new Error('Expected living tensors for a step but received one that was disposed');
    }
    if (stream.capturing) stream.uses('step', ...used);
    native.cudaStep(stream.handle, call);
    return KERNELS[Number(call[AT.kernel])]!;
  };
}

/**
 * A step whose buffers are known to be right, as those of a run are: nothing is checked, and what stays the same from step
 * to step is written once. Words are addresses, 0n for none, and numbers.
 *
 * @internal
 */
export class KnownStep {
  readonly #call = new BigUint64Array(WORDS.length);
  #network: DeviceType | null = null;
  #next: DeviceType | null = null;

  /** By its place ({@link AT}): a name would be looked up for every word of every step. */
  set(at: number, value: bigint): void {
    this.#call[at] = value;
  }
  /** Of the network's outputs, of the input that is written beside the state; whether rows may ask for a quantile. */
  types(network: DeviceType, next: DeviceType, quantile: boolean): void {
    this.#call[AT.quantile] = quantile ? 1n : 0n;
    if (network === this.#network && next === this.#next) return;
    this.#network = network;
    this.#next = next;
    this.#call[AT.type] = BigInt(NETWORK[network]!);
    this.#call[AT.nextType] = BigInt(NETWORK[next]!);
  }
  queue(stream: Stream): void {
    native.cudaStep(stream.handle, this.#call);
  }
}

function networkTypes(state: DeviceType): string {
  return state === 'float64' ? 'float64' : 'float32, float16 or bfloat16';
}

/** Outputs apart from each other; apart from every input but one that they are element by element. */
function checkMemory(b: DeviceBuffers, strided: boolean): void {
  const outputs = ['d0', 'out', 'out2', 'next', 'p', 'flags'] as const;
  const inputs = ['x', 'm', 'u', 'g', 'base', 'd1', 'd2', 'd3', 'z', 'noise'] as const;
  const overlap = (s: DeviceTensor, t: DeviceTensor) =>
    s.pointer < t.pointer + BigInt(t.bytes) && t.pointer < s.pointer + BigInt(s.bytes);
  for (const [i, name] of outputs.entries()) {
    const out = b[name];
    if (!out) continue;
    for (const other of outputs.slice(0, i)) {
      const second = b[other];
      if (second && overlap(out, second)) {
        throw new RangeError(`Expected separate memory for ${other} and ${name} but received buffers that overlap`);
      }
    }
    for (const other of inputs) {
      const input = b[other];
      if (!input || !overlap(out, input)) continue;
      const same = out.pointer === input.pointer && out.bytes === input.bytes && out.type === input.type;
      const network = strided && (other === 'm' || other === 'u');
      if (same && !network && (name === 'd0' || name === 'out' || name === 'out2')) continue;
      throw new RangeError(
        `Expected ${name} to be ${other} itself or to share no memory with it but received buffers that overlap`,
      );
    }
  }
}

function wrongLength(name: string, expected: string, tensor: DeviceTensor): RangeError {
  return new RangeError(`Expected ${expected} elements for ${name} but received ${tensor.length}`);
}

/**
 * Queues the error of an adaptive step (Lu et al. 2022, arXiv 2206.00927: DPM-Solver-12 and -23) of every sample,
 * sqrt(mean(((high - low) / max(atol, rtol max(|low|, |previous|)))^2)), with the CPU's bits.
 *
 * Of its tensors, low, high and previous are float32 or float64, of one type and length; out is float64, one number a
 * sample; partial is float64, working space of {@link errorNormSpace} numbers.
 *
 * @throws TypeError, RangeError for tensors of another type or length
 */
export function deviceErrorNorm(
  { low, high, previous, out, partial }: Record<'low' | 'high' | 'previous' | 'out' | 'partial', DeviceTensor>,
  { stream, atol, rtol }: { stream: Stream; atol: number; rtol: number },
): void {
  const batch = out.length;
  const n = low.length / batch;
  for (const [name, tensor] of Object.entries({ low, high, previous })) {
    if ((tensor.type !== 'float32' && tensor.type !== 'float64') || tensor.type !== low.type) {
      throw new TypeError(
        `Expected ${low.type === 'float64' ? 'float64' : 'float32'} for ${name} but received ${tensor.type}`,
      );
    }
    if (tensor.length !== low.length || !Number.isInteger(n))
      throw wrongLength(name, `${low.length}, a multiple of ${batch},`, tensor);
  }
  const space = errorNormSpace(batch, n);
  if (partial.type !== 'float64' || partial.length < space)
    throw wrongLength('partial', `${space} or more float64`, partial);
  if (out.type !== 'float64') throw new TypeError(`Expected float64 for out but received ${out.type}`);
  for (const [name, tensor] of Object.entries({ low, high, previous, out, partial })) stream.uses(name, tensor);
  native.cudaErrorNorm(
    stream.handle,
    low.pointer,
    high.pointer,
    previous.pointer,
    partial.pointer,
    out.pointer,
    batch,
    n,
    low.type === 'float64' ? 1 : 0,
    Float64Array.of(atol, rtol),
  );
}

/** What {@link queueGuide} is told: addresses on the card, and numbers. */
interface GuideCall {
  /** Rows whose entries of the prediction are written. */
  readonly rows: bigint;
  /** The parameters, on the card and here. */
  readonly guide: bigint;
  readonly parameters: Float64Array;
  readonly x: bigint;
  readonly u: bigint;
  readonly m: bigint;
  readonly kept: bigint | null;
  /** Of {@link guideSpace} numbers. */
  readonly work: bigint;
  readonly batch: number;
  readonly n: number;
  /** Of the network's outputs. */
  readonly type: DeviceType;
}

/** Queues what weighs the two answers of each sample (native/step/guidance.h). @internal */
export function queueGuide(stream: Stream, call: GuideCall): void {
  const { rows, guide, parameters, x, u, m, kept, work, batch, n, type } = call;
  const [kind, , , , rescale] = parameters;
  const numbers = Float64Array.of(batch, n, n, NETWORK[type]!, kind === 0 ? 0 : 1, rescale === 0 ? 0 : 1);
  native.cudaGuide(stream.handle, rows, guide, x, m, u, kept, work, numbers);
}

/** Numbers of working space for guidance: five sums a stretch, and four weights a sample. @internal */
export function guideSpace(batch: number, n: number): number {
  return batch * (5 * Math.ceil(n / REDUCE_BLOCK) + 4);
}

/** Numbers of `partial` that {@link deviceErrorNorm} needs for `batch` samples of n elements. */
export function errorNormSpace(batch: number, n: number): number {
  return batch * Math.ceil(n / REDUCE_BLOCK);
}

/**
 * Queues noise into a float32 or float64 tensor of `batch` samples: the numbers that PhiloxNoise gives for this evaluation.
 *
 * @param keys one a sample: its seed in two words, and its stream
 * @param evaluation which of the run's draws, from 0
 * @throws RangeError unless `to` is float32 or float64 and a multiple of the samples
 */
export function deviceNoise(
  to: DeviceTensor,
  keys: readonly { seedLow: number; seedHigh: number; stream: number }[],
  evaluation: number,
  stream: Stream,
): void {
  const n = to.length / keys.length;
  const wide = to.type === 'float64';
  if ((to.type !== 'float32' && !wide) || !Number.isSafeInteger(n)) {
    throw new RangeError(
      `Expected ${keys.length} equal samples of float32 or float64 but received ${to.length} of ${to.type}`,
    );
  }
  stream.uses('to', to);
  for (const [i, key] of keys.entries()) {
    const address = to.pointer + BigInt((i * to.bytes) / keys.length);
    native.cudaNoise(stream.handle, key.seedLow, key.seedHigh, evaluation, key.stream, address, n, wide ? 1 : 0);
  }
}
