// How sure a figure is that was measured on some samples.
import { picker } from '../../lib/calibrate/bootstrap.js';
import { mean } from '../../lib/calibrate/compare.js';

/** A figure and the ends of its interval of 95%. */
export type Measured = readonly [value: number, low: number, high: number];

/** As many digits as such a figure has. */
export const short = ([value, low, high]: Measured): Measured => {
  const digits = (number: number) => Number(number.toPrecision(4));
  return [digits(value), digits(low), digits(high)];
};

/** z of 95% on both sides. */
const Z = 1.96;

/** 95% of the bootstraps of something of a list. */
export function interval(
  values: ArrayLike<number>,
  of: (picked: Float64Array) => number,
  draws = 2000,
): [low: number, high: number] {
  const pick = picker(1);
  const drawn = Float64Array.from({ length: draws }, () =>
    of(Float64Array.from(values, () => values[pick(values.length)])),
  ).sort();
  return [drawn[Math.floor(0.025 * draws)], drawn[Math.ceil(0.975 * draws) - 1]];
}

export const rootMeanSquare = (errors: ArrayLike<number>) => Math.sqrt(mean(Float64Array.from(errors, (e) => e * e)));

/** The upper one of two middle numbers, between the order statistics that 95% of medians of so many lie between. */
export function medianOf(values: ArrayLike<number>): Measured {
  const sorted = Float64Array.from(values).sort();
  const count = sorted.length;
  const half = 0.5 * Z * Math.sqrt(count);
  const at = (rank: number) => sorted[Math.min(Math.max(Math.floor(rank), 0), count - 1)];
  return [at(count / 2), at(count / 2 - half), at(count / 2 + half)];
}

/** Of a mean or a root mean square, whose square is a mean: by the standard error of that mean. */
export function meanOf(values: ArrayLike<number>): Measured {
  const middle = mean(values);
  let sum = 0;
  for (let i = 0; i < values.length; i++) sum += (values[i] - middle) ** 2;
  const error = Z * Math.sqrt(sum / (values.length - 1) / values.length);
  return [middle, Math.max(0, middle - error), middle + error];
}

export function rootMeanSquareOf(values: ArrayLike<number>): Measured {
  const [value, low, high] = meanOf(Float64Array.from(values, (e) => e * e));
  return [Math.sqrt(value), Math.sqrt(low), Math.sqrt(high)];
}

/** A share, by Wilson (1927). */
export function shareOf(hits: number, count: number): Measured {
  const p = hits / count;
  const z2 = Z * Z;
  const middle = (p + z2 / (2 * count)) / (1 + z2 / count);
  const half = (Z * Math.sqrt((p * (1 - p)) / count + z2 / (4 * count * count))) / (1 + z2 / count);
  return [p, Math.max(0, middle - half), Math.min(1, middle + half)];
}
