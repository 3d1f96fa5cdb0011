// The only file that knows the addon: what it exports, opened when it is first used, and the fused step over it.
import type { NetworkArray, StateArray } from '../base/tensor.js';
import { type Backend, open } from './backend.js';

export type { NetworkArray, StateArray };

/** What the addon exports: positional arguments, every one checked by the addon itself. */
interface Addon {
  step(
    rows: Float64Array,
    first: number,
    batch: number,
    flags: number,
    threads: number,
    scratch: Uint8Array | null,
    x: StateArray | null,
    m: NetworkArray | null,
    u: NetworkArray | null,
    g: NetworkArray | null,
    base: StateArray | null,
    p: StateArray | null,
    d1: StateArray | null,
    d2: StateArray | null,
    d3: StateArray | null,
    z: StateArray | null,
    d0: StateArray | null,
    out: StateArray | null,
    out2: StateArray | null,
    next: NetworkArray | null,
  ): number;
  guide(
    rows: Float64Array,
    first: number,
    batch: number,
    guide: Float64Array,
    threads: number,
    x: StateArray,
    m: NetworkArray,
    kept: StateArray | null,
  ): void;
  quantile(x: StateArray, batch: number, ratio: number, threads: number, out: Float64Array): void;
  errorNorm(
    low: StateArray,
    high: StateArray,
    previous: StateArray,
    batch: number,
    atol: number,
    rtol: number,
    threads: number,
    out: Float64Array,
  ): void;
  standardDeviation(x: StateArray, batch: number, out: Float64Array): void;
  convert(from: NetworkArray, to: NetworkArray): void;
  scratchBytes(wide: 0 | 1, batch: number, n: number, ratio: number, threads: number): number;
  info(): { simd: string; simdAvailable: string[]; threads: number };
  [name: string | symbol]: unknown;
}

/**
 * The addon, opened when it is first used: its functions are then copied here, so that later calls find them at once.
 * @internal
 */
export const addon: Addon = Object.create(
  new Proxy(Object.prototype, {
    get(_, name) {
      Object.assign(addon, open().exports);
      return Object.hasOwn(addon, name) ? addon[name] : undefined;
    },
  }),
);

/** Bits of the `flags` argument of the addon's step; higher ones say which buffers are absent. @internal */
export const CHECK_FINITE = 1;
/** @internal */
export const DOUBLED = 2;

/** Buffers of one {@link step}, each of `batch * n` elements unless said otherwise. */
export interface StepBuffers {
  /** The tensor that the network saw. */
  x?: StateArray | null;
  /**
   * What it returned; under `doubled` the unconditional outputs of all samples, then the conditional ones
   * (`2 * batch * n` elements). Samples may be longer than n (a network that also predicts a variance): the first n
   * elements of each count.
   */
  m?: NetworkArray | null;
  /** The unconditional output, where it comes in a buffer of its own. */
  u?: NetworkArray | null;
  /** The gradient of log p(c | x) in x, for classifier guidance. */
  g?: NetworkArray | null;
  /** The state that the step starts from. */
  base?: StateArray | null;
  /** Written: the prediction after its transform; read instead where the rows' transform is `given`. */
  p?: StateArray | null;
  /** Earlier history entries, the latest first. */
  d1?: StateArray | null;
  /** The one before d1. */
  d2?: StateArray | null;
  /** The one before d2. */
  d3?: StateArray | null;
  /** Standard normal noise, for rows with an n. */
  z?: StateArray | null;
  /** Written: the new history entry. */
  d0?: StateArray | null;
  /** Written: the sum `first` of the rows. */
  out?: StateArray | null;
  /** Written: the sum `second` of the rows. */
  out2?: StateArray | null;
  /** Written: `out` in this array's own type, once or twice (by its length). */
  next?: NetworkArray | null;
}

/** Options of one {@link step}. */
export interface StepOptions {
  /** Samples in the batch, one coefficient row each. */
  batch: number;
  /** Index of the first sample's row; 0. */
  first?: number;
  /** `m` holds the unconditional outputs and then the conditional ones; false. */
  doubled?: boolean;
  /** Stop at a prediction that is not finite; true. */
  checkFinite?: boolean;
  /** Threads to use; 0, the default, takes as many as pay off (one below half a million elements). */
  threads?: number;
  /**
   * Working space for quantile rows, of {@link scratchBytes} bytes; without it such a call allocates. Not of a
   * SharedArrayBuffer: no other thread may write to it meanwhile.
   */
  scratch?: Uint8Array | null;
}

/**
 * Runs one fused step: one call, one pass over memory (two where a quantile has to be found first).
 *
 * For every sample b with its row `rows[(first + b) * ROW.length ...]` (offsets: {@link ROW})
 *
 *     P   = T(cx x + cm m + cu u + cg g)
 *     d0  = ep P + ex x + em m + eu u
 *     out = a base + bp P + b0 d0 + b1 d1 + b2 d2 + b3 d3 + n z      (out2 likewise, with the second sum)
 *
 * A term takes part if its buffer is given and its coefficient is not zero. The sums are taken in this order, rounded
 * after every operation: the same bits on every processor and for every number of threads.
 *
 * Memory: `d0`, `out` and `out2` may each be the very buffer of an input (same start, same length, same type): it is
 * read before it is overwritten. Any other overlap is refused, so are outputs that overlap each other; `next` must be
 * apart from everything. Nothing is allocated.
 *
 * @returns -1 when all is well, or the index of the first sample whose prediction P is not finite (before its
 *   transform; `out`, `out2`, `d0` and `next` are then undefined)
 * @throws TypeError for a buffer of another kind or type than expected, RangeError for lengths, indices or overlaps
 */
export function step(rows: Float64Array, buffers: StepBuffers, options: StepOptions): number {
  const b = buffers;
  const flags =
    (options.checkFinite === false ? 0 : CHECK_FINITE) |
    (options.doubled ? DOUBLED : 0) |
    // What is not there is not looked for: from bit 2 on, in the order of the arguments.
    (b.x ? 0 : 1 << 2) |
    (b.m ? 0 : 1 << 3) |
    (b.u ? 0 : 1 << 4) |
    (b.g ? 0 : 1 << 5) |
    (b.base ? 0 : 1 << 6) |
    (b.p ? 0 : 1 << 7) |
    (b.d1 ? 0 : 1 << 8) |
    (b.d2 ? 0 : 1 << 9) |
    (b.d3 ? 0 : 1 << 10) |
    (b.z ? 0 : 1 << 11) |
    (b.d0 ? 0 : 1 << 12) |
    (b.out ? 0 : 1 << 13) |
    (b.out2 ? 0 : 1 << 14) |
    (b.next ? 0 : 1 << 15) |
    (options.scratch ? 0 : 1 << 16);
  return addon.step(
    rows,
    options.first ?? 0,
    options.batch,
    flags,
    options.threads ?? 0,
    options.scratch ?? null,
    b.x ?? null,
    b.m ?? null,
    b.u ?? null,
    b.g ?? null,
    b.base ?? null,
    b.p ?? null,
    b.d1 ?? null,
    b.d2 ?? null,
    b.d3 ?? null,
    b.z ?? null,
    b.d0 ?? null,
    b.out ?? null,
    b.out2 ?? null,
    b.next ?? null,
  );
}

/**
 * Bytes of `scratch` with which {@link step} allocates nothing.
 *
 * @param type the state's type
 * @param batch samples, 1 or more
 * @param n elements of one sample, 1 or more; batch n at most 2^53 - 1
 * @param ratio the rows' largest share of elements above the quantile decides: pass the smallest ratio, 0 to 1
 * @param threads as the step will have them; 0 is as many as pay off
 * @throws TypeError, RangeError for arguments of another type or out of range
 */
export function scratchBytes(
  type: 'float32' | 'float64',
  batch: number,
  n: number,
  ratio: number,
  threads = 0,
): number {
  return addon.scratchBytes(type === 'float64' ? 1 : 0, batch, n, ratio, threads);
}

/**
 * Copies element by element between float16, float32 and float64, rounding to nearest, ties to even.
 *
 * @param to written; as long as `from`, and memory of its own
 * @throws TypeError for arrays of another kind, RangeError for lengths that differ
 */
export function convert(from: NetworkArray, to: NetworkArray): void {
  addon.convert(from, to);
}

export type { Backend };

/** What the step runs on. */
export function info(): {
  /** The native addon, or its sources compiled to WebAssembly. DPM_SOLVER_BACKEND insists on one. */
  backend: Backend;
  /**
   * The instruction set in use: `'avx512'`, `'avx2'`, `'sse2'`, `'neon'` or, in WebAssembly, `'simd128'`.
   * DPM_SOLVER_SIMD chooses another one.
   */
  simd: string;
  /** Those that this processor has. */
  simdAvailable: string[];
  /** Processors that this process may use; one in WebAssembly. */
  threads: number;
} {
  return { backend: open().backend, ...addon.info() };
}
