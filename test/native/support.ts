// A plain TypeScript model of the native step, written from its documentation, and what its tests share.
import { Buffer } from 'node:buffer';
import * as assert from 'uvu/assert';
import { addon, CHECK_FINITE, DOUBLED, type NetworkArray, type StateArray } from '../../lib/addon/native.js';

/** Offsets of a coefficient row. */
export const R = { cx: 0, cm: 1, cu: 2, cg: 3, transform: 4, ratio: 5, floor: 6, cap: 7, ep: 8, ex: 9, em: 10, eu: 11 };
/** Where the two sums begin, and the offsets in each: a, bp, b0, b1, b2, b3, n. */
export const FIRST = 12;
export const SECOND = 20;
export const ROW_LENGTH = 32;
export const [NONE, CLAMP, QUANTILE, GIVEN] = [0, 1, 2, 3] as const;

// ---- numbers -------------------------------------------------------------------------------------------------------

/** Numbers from a seed (mulberry32), so that a failure can be repeated. */
export class Random {
  private state: number;
  constructor(seed: number) {
    this.state = seed >>> 0;
  }
  /** 32 bits. */
  bits(): number {
    this.state = (this.state + 0x6d2b79f5) >>> 0;
    let t = this.state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return (t ^ (t >>> 14)) >>> 0;
  }
  /** In [0, 1). */
  uniform(): number {
    return this.bits() / 4294967296;
  }
  integer(low: number, high: number): number {
    return low + Math.floor(this.uniform() * (high - low + 1));
  }
  pick<T>(from: readonly T[]): T {
    return from[this.integer(0, from.length - 1)]!;
  }
  /** About normal with the given standard deviation: the sum of four uniforms. */
  normal(deviation = 1): number {
    return deviation * Math.sqrt(3) * (this.uniform() + this.uniform() + this.uniform() + this.uniform() - 2);
  }
  state32(n: number, deviation = 1): Float32Array {
    return Float32Array.from({ length: n }, () => this.normal(deviation));
  }
  array(wide: boolean, n: number, deviation = 1): StateArray {
    const out = wide ? new Float64Array(n) : new Float32Array(n);
    for (let i = 0; i < n; i++) out[i] = this.normal(deviation);
    return out;
  }
  halves(n: number): Uint16Array {
    const out = new Uint16Array(n);
    for (let i = 0; i < n; i++) out[i] = numberToHalf(this.normal());
    return out;
  }
}

/** binary16 -> number. */
export function halfToNumber(bits: number): number {
  const sign = bits & 0x8000 ? -1 : 1;
  const exponent = (bits >> 10) & 31;
  const fraction = bits & 1023;
  if (exponent === 31) return fraction ? Number.NaN : sign * Number.POSITIVE_INFINITY;
  return exponent === 0 ? sign * fraction * 2 ** -24 : sign * (1024 + fraction) * POWERS[exponent - 25 + 64]!;
}
const POWERS = Float64Array.from({ length: 128 }, (_, i) => 2 ** (i - 64));
const f64 = new Float64Array(1);
const f64Words = new Uint32Array(f64.buffer);

/** number -> binary16 by its definition: the nearest multiple of the unit in the last place, ties to even. */
export function numberToHalf(value: number): number {
  f64[0] = value;
  const high = f64Words[1]!;
  const sign = high >>> 31 ? 0x8000 : 0;
  const magnitude = Math.abs(value);
  if (Number.isNaN(magnitude)) return sign | 0x7e00 | ((high >>> 10) & 0x3ff);
  if (magnitude >= 65536) return sign | 0x7c00;
  const exponent = Math.max(((high >>> 20) & 0x7ff) - 1023, -14);
  const units = magnitude * POWERS[10 - exponent + 64]!; // exact
  let whole = Math.floor(units);
  const rest = units - whole;
  if (rest > 0.5 || (rest === 0.5 && whole % 2 === 1)) whole++;
  // A carry out of the fraction moves the exponent by itself.
  return sign | (whole >= 1024 ? ((exponent + 14) << 10) + whole : whole);
}

/** Element by element, to the bits; all NaN are one. */
export function assertSame(actual: ArrayLike<number>, expected: ArrayLike<number>, what: string): void {
  if (actual.length !== expected.length)
    assert.unreachable(`${what}: ${actual.length} elements, not ${expected.length}`);
  if (actual.constructor === expected.constructor && ArrayBuffer.isView(actual) && ArrayBuffer.isView(expected)) {
    if (Buffer.compare(bytes(actual), bytes(expected)) === 0) return;
  }
  for (let i = 0; i < actual.length; i++) {
    if (!Object.is(actual[i], expected[i])) {
      assert.unreachable(`${what}: ${actual[i]} at ${i} of ${actual.length}, expected ${expected[i]}`);
    }
  }
}

export function bytes(view: ArrayBufferView): Buffer {
  return Buffer.from(view.buffer, view.byteOffset, view.byteLength);
}

// ---- one call of the step ------------------------------------------------------------------------------------------

export interface Call {
  wide: boolean;
  batch: number;
  n: number;
  rows: Float64Array;
  first?: number;
  doubled?: boolean;
  checkFinite?: boolean;
  threads?: number;
  scratch?: Uint8Array | null;
  x?: StateArray | null;
  m?: NetworkArray | null;
  u?: NetworkArray | null;
  g?: NetworkArray | null;
  base?: StateArray | null;
  p?: StateArray | null;
  d1?: StateArray | null;
  d2?: StateArray | null;
  d3?: StateArray | null;
  z?: StateArray | null;
  d0?: StateArray | null;
  out?: StateArray | null;
  out2?: StateArray | null;
  next?: NetworkArray | null;
}
export const INPUTS = ['x', 'm', 'u', 'g', 'base', 'd1', 'd2', 'd3', 'z'] as const;
export const OUTPUTS = ['d0', 'out', 'out2'] as const;

/** The addon's step with the arguments of `call`, in the order in which it takes them. */
export function run(call: Call): number {
  return (addon.step as (...all: unknown[]) => number)(...positional(call));
}
export function positional(call: Call): unknown[] {
  const flags = (call.checkFinite === false ? 0 : CHECK_FINITE) | (call.doubled ? DOUBLED : 0);
  const c = call;
  return [
    ...[c.rows, c.first ?? 0, c.batch, flags, c.threads ?? 1, c.scratch ?? null, c.x, c.m, c.u, c.g, c.base, c.p],
    ...[c.d1, c.d2, c.d3, c.z, c.d0, c.out, c.out2, c.next].map((value) => value ?? null),
  ].map((value) => value ?? null);
}

export function zeros(wide: boolean, n: number): StateArray {
  return wide ? new Float64Array(n) : new Float32Array(n);
}

/** |p| sorted, at position ratio (n - 1), linear in between; rounded to the state's type. NaN if there is one. */
export function quantile(p: ArrayLike<number>, ratio: number, wide: boolean): number {
  const sorted = Float64Array.from(p, Math.abs).sort();
  if (Number.isNaN(sorted[sorted.length - 1]!)) return Number.NaN;
  const position = ratio * (sorted.length - 1);
  const k = Math.floor(position);
  const weight = position - k;
  const below = sorted[k]!;
  const above = sorted[k + 1] ?? below;
  const value = weight > 0 && above > below ? below + weight * (above - below) : below;
  return wide ? value : Math.fround(value);
}

/** What the step is to give: the first sample that is not finite (or -1), and the outputs. */
export interface Expected {
  bad: number;
  p: StateArray;
  d0: StateArray;
  out: StateArray;
  out2: StateArray;
}

export function reference(call: Call): Expected {
  const { wide, batch, n } = call;
  const round = wide ? (value: number) => value : Math.fround;
  const total = batch * n;
  const first = call.first ?? 0;
  const result: Expected = {
    bad: -1,
    p: zeros(wide, total),
    d0: zeros(wide, total),
    out: zeros(wide, total),
    out2: zeros(wide, total),
  };
  type Term = [coefficient: number, at: (i: number) => number];
  const sum = (terms: Term[], i: number): number => {
    let value = 0;
    terms.forEach(([c, at], k) => {
      const product = round(c * at(i));
      value = k === 0 ? product : round(value + product);
    });
    return value;
  };
  for (let b = 0; b < batch; b++) {
    const row = call.rows.subarray((first + b) * ROW_LENGTH, (first + b + 1) * ROW_LENGTH);
    const reader = (array: NetworkArray | null | undefined, offset: number) => {
      if (!array) return null;
      if (array instanceof Uint16Array) return (i: number) => halfToNumber(array[offset + i]!);
      return (i: number) => array[offset + i]!;
    };
    const parts = call.doubled ? 2 * batch : batch;
    const stride = call.m ? call.m.length / parts : 0;
    const state = (array: StateArray | null | undefined) => reader(array, b * n);
    const m = reader(call.m, (call.doubled ? batch + b : b) * stride);
    const u = call.doubled ? reader(call.m, b * stride) : reader(call.u, b * stride);
    const x = state(call.x);
    const p: number[] | Float64Array = new Float64Array(n);
    const terms = (list: [number, ((i: number) => number) | null][]): Term[] =>
      list.filter(([c, at]) => c !== 0 && at).map(([c, at]) => [round(c), at!]);

    const transform = row[R.transform];
    if (transform === GIVEN) {
      for (let i = 0; i < n; i++) p[i] = call.p![b * n + i]!;
    } else {
      const made = terms([
        [row[R.cx]!, x],
        [row[R.cm]!, m],
        [row[R.cu]!, u],
        [row[R.cg]!, reader(call.g, b * n)],
      ]);
      for (let i = 0; i < n; i++) p[i] = sum(made, i);
    }
    if (result.bad < 0 && !p.every(Number.isFinite)) result.bad = b;
    const clip = (value: number, s: number) => Math.max(Math.min(value, s), -s);
    if (transform === CLAMP) {
      const s = round(row[R.floor]!);
      for (let i = 0; i < n; i++) p[i] = clip(p[i]!, s);
    } else if (transform === QUANTILE) {
      const [floor, cap] = [round(row[R.floor]!), round(row[R.cap]!)];
      // Where the cap is not above the floor the quantile does not matter.
      const s = floor < cap ? Math.min(Math.max(quantile(p, row[R.ratio]!, wide), floor), cap) : cap;
      for (let i = 0; i < n; i++) p[i] = round(clip(p[i]!, s) / s);
    }
    const atP = (i: number) => p[i]!;
    const kept = row[R.ep] === 1 && row[R.ex] === 0 && row[R.em] === 0 && row[R.eu] === 0;
    const d0 = new Float64Array(n);
    if (kept) {
      d0.set(p);
    } else {
      const made = terms([
        [row[R.ep]!, atP],
        [row[R.ex]!, x],
        [row[R.em]!, m],
        [row[R.eu]!, u],
      ]);
      for (let i = 0; i < n; i++) d0[i] = sum(made, i);
    }
    result.p.set(p, b * n);
    result.d0.set(d0, b * n);
    for (const [from, out] of [
      [FIRST, result.out],
      [SECOND, result.out2],
    ] as const) {
      const [a, bp, b0, b1, b2, b3, noise] = row.subarray(from, from + 7);
      const made = terms([
        [a!, state(call.base)],
        // Where D0 is P itself, the two coefficients are one.
        [kept ? bp! + b0! : bp!, atP],
        [kept ? 0 : b0!, (i) => d0[i]!],
        [b1!, state(call.d1)],
        [b2!, state(call.d2)],
        [b3!, state(call.d3)],
        [noise!, state(call.z)],
      ]);
      for (let i = 0; i < n; i++) out[b * n + i] = sum(made, i);
    }
  }
  return result;
}

/** `out` as the network takes it: in `type`, `copies` times. */
export function asNext<T extends NetworkArray>(out: StateArray, like: T): T {
  const next = new (like.constructor as new (n: number) => T)(like.length);
  for (let i = 0; i < next.length; i++) {
    const value = out[i % out.length]!;
    next[i] = next instanceof Uint16Array ? numberToHalf(value) : value;
  }
  return next;
}

/** Runs `call` and compares every output that it has with the reference. */
export function check(call: Call, what: string): void {
  const expected = reference(call);
  const status = run(call);
  if (status !== expected.bad) assert.unreachable(`${what}: returned ${status}, expected ${expected.bad}`);
  for (const name of ['p', 'd0', 'out', 'out2'] as const) {
    const array = call[name];
    if (array) assertSame(array, expected[name], `${what}, ${name}`);
  }
  if (call.next) assertSame(call.next, asNext(call.out!, call.next), `${what}, next`);
}

/** A row of random coefficients; some are zero, some are one. */
export function randomRow(random: Random, transform: number): Float64Array {
  const row = new Float64Array(ROW_LENGTH);
  for (let k = 0; k < ROW_LENGTH; k++) row[k] = random.uniform() < 0.1 ? 0 : random.normal();
  row[R.transform] = transform;
  row[R.ratio] = random.pick([0, 0.5, 0.9, 0.995, 1, random.uniform()]);
  row[R.floor] = random.pick([1, 0.25, 2 ** -20]);
  row[R.cap] = random.pick([1, 1.5, 100, Number.POSITIVE_INFINITY]);
  if (random.uniform() < 0.6) row.set([1, 0, 0, 0], R.ep);
  return row;
}
export function randomRows(random: Random, batch: number, transform: number | 'any'): Float64Array {
  const rows = new Float64Array(batch * ROW_LENGTH);
  for (let b = 0; b < batch; b++) {
    rows.set(randomRow(random, transform === 'any' ? random.integer(0, 2) : transform), b * ROW_LENGTH);
  }
  return rows;
}

/** The multistep step of second order: P = cx x + cm m (+ cu u), out = a base + bp P + b1 D1. */
export function multistepRow(
  options: { guidance?: boolean; ratio?: number; floor?: number; cap?: number } = {},
): Float64Array {
  const row = new Float64Array(ROW_LENGTH);
  row[R.cx] = 1.25;
  row[R.cm] = options.guidance ? -2.3 : -0.77;
  row[R.cu] = options.guidance ? 1.53 : 0;
  row[R.ep] = 1;
  if (options.ratio !== undefined) {
    row.set([QUANTILE, options.ratio, options.floor ?? 1, options.cap ?? 100], R.transform);
  }
  row.set([0.81, 0.43, 0, -0.12], FIRST);
  return row;
}
