// The step as a plain TypeScript loop, written with care: what the native step is measured against.

/** out = a x + bp P + b1 d1 with P = d0 = cx x + cm m (+ cu u), over [begin, end) of one buffer. */
export interface Coefficients {
  cx: number;
  cm: number;
  cu: number;
  a: number;
  bp: number;
  b1: number;
}

type F32 = Float32Array;

export function plain(c: Coefficients, x: F32, m: F32, d1: F32, d0: F32, out: F32): void {
  const { cx, cm, a, bp, b1 } = c;
  for (let i = 0; i < x.length; i++) {
    const p = cx * x[i]! + cm * m[i]!;
    const old = d1[i]!;
    d0[i] = p;
    out[i] = a * x[i]! + bp * p + b1 * old;
  }
}

/** m: the unconditional half, then the conditional one. */
export function guided(c: Coefficients, x: F32, m: F32, d1: F32, d0: F32, out: F32): void {
  const { cx, cm, cu, a, bp, b1 } = c;
  const n = x.length;
  for (let i = 0; i < n; i++) {
    const p = cx * x[i]! + cm * m[n + i]! + cu * m[i]!;
    const old = d1[i]!;
    d0[i] = p;
    out[i] = a * x[i]! + bp * p + b1 * old;
  }
}

/** Space for {@link thresholded}, made once. */
export class Work {
  readonly p: F32;
  readonly keys: Uint32Array;
  readonly counts = new Uint32Array(2048);
  constructor(n: number) {
    this.p = new Float32Array(n);
    this.keys = new Uint32Array(this.p.buffer);
  }
}

export function thresholded(
  c: Coefficients,
  [ratio, cap]: [number, number],
  batch: number,
  x: F32,
  m: F32,
  d1: F32,
  d0: F32,
  out: F32,
  work: Work,
): void {
  const { cx, cm, cu, a, bp, b1 } = c;
  const n = x.length / batch;
  const withU = m.length > x.length;
  const { p } = work;
  for (let begin = 0; begin < x.length; begin += n) {
    if (withU) {
      const half = x.length;
      for (let i = 0; i < n; i++) {
        p[i] = cx * x[begin + i]! + cm * m[half + begin + i]! + cu * m[begin + i]!;
      }
    } else {
      for (let i = 0; i < n; i++) p[i] = cx * x[begin + i]! + cm * m[begin + i]!;
    }
    const position = ratio * (n - 1);
    const k = Math.floor(position);
    const below = kthMagnitude(work, n, k);
    const above = k + 1 < n ? kthMagnitude(work, n, k + 1) : below;
    const s = Math.min(Math.max(below + (position - k) * (above - below), 1), cap);
    const inverse = 1 / s;
    for (let i = 0; i < n; i++) {
      const q = Math.min(Math.max(p[i]!, -s), s) * inverse;
      const old = d1[begin + i]!;
      d0[begin + i] = q;
      out[begin + i] = a * x[begin + i]! + bp * q + b1 * old;
    }
  }
}

const one = new Float32Array(1);
const oneKey = new Uint32Array(one.buffer);

/** The k-th smallest |p|, by its bits: 11, 10 and 10 at a time. Faster than a sort by an order of magnitude. */
function kthMagnitude({ keys, counts }: Work, n: number, k: number): number {
  let prefix = 0;
  let mask = 0;
  for (const [shift, bins] of STAGES) {
    counts.fill(0);
    if (mask === 0) {
      for (let i = 0; i < n; i++) counts[(keys[i]! >>> shift) & bins]!++;
    } else {
      for (let i = 0; i < n; i++) {
        const key = keys[i]!;
        if ((key & mask) === prefix) counts[(key >>> shift) & bins]!++;
      }
    }
    let bin = 0;
    while (k >= counts[bin]!) k -= counts[bin++]!;
    prefix |= bin << shift;
    mask |= bins << shift;
  }
  oneKey[0] = prefix;
  return one[0]!;
}
const STAGES = [
  [20, 2047],
  [10, 1023],
  [0, 1023],
] as const;
