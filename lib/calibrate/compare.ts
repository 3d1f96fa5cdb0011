// How far an end is from the teacher's.
import type { StateArray } from '../addon/native.js';

/** What values are clipped to before they are compared, where the network makes pixels. */
export type Range = readonly [low: number, high: number] | null;

const clip = (value: number, range: Range) =>
  range === null ? value : value < range[0] ? range[0] : value > range[1] ? range[1] : value;

/** end - target, element by element, both clipped. */
export function residual(end: StateArray, target: StateArray, range: Range): Float64Array {
  const out = new Float64Array(end.length);
  for (let i = 0; i < out.length; i++) out[i] = clip(end[i], range) - clip(target[i], range);
  return out;
}

/** Per sample, the root of the mean square of a residual. */
export function errorsOf(residual: Float64Array, size: number): number[] {
  return Array.from({ length: residual.length / size }, (_, s) => {
    let sum = 0;
    for (let i = s * size; i < (s + 1) * size; i++) sum += residual[i] * residual[i];
    return Math.sqrt(sum / size);
  });
}

export function mean(values: ArrayLike<number>): number {
  let sum = 0;
  for (let i = 0; i < values.length; i++) sum += values[i];
  return sum / values.length;
}

/** The middle of a list, or the mean of its two middle numbers. */
export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const half = (sorted.length - 1) / 2;
  return 0.5 * (sorted[Math.floor(half)] + sorted[Math.ceil(half)]);
}

/** Of the mean of a list. */
export function standardError(values: readonly number[]): number {
  const middle = mean(values);
  return Math.sqrt(values.reduce((sum, one) => sum + (one - middle) ** 2, 0) / (values.length - 1) / values.length);
}
