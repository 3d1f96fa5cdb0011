// Levenberg-Marquardt on the end state, by forward passes alone: times, rows and shifts together.
//
// What is made small is a pseudo-Huber loss of each sample's error e (Charbonnier et al. 1997), 2 d^2 (sqrt(1 + e^2 / d^2)
// - 1) with d the median error: samples that end in another mode than the teacher's would otherwise outweigh all others.
// A prior holds all numbers near those of the start as far as the samples do not say otherwise (prior.ts).
import { mean, median } from './compare.js';
import { type Bench, equationsOf, runAll } from './equations.js';
import { deviationOf, type Free, moved, parametersOf, strainsOf } from './parameters.js';
import { unlessNotFinite } from './network.js';
import type { Path } from './path.js';
import { chooseStrength, stepOf, sumOf } from './prior.js';
import type { Student } from './student.js';

/** A student between two iterations; all that the next one needs. */
export interface Fit {
  readonly student: Student;
  /** Where it began, which is what the prior holds on to. */
  readonly origin: Student;
  readonly damping: number;
  /** Iterations in a row that gained next to nothing. */
  readonly stalled: number;
  /** Each sample's error at the end. */
  readonly errors: readonly number[];
  readonly done: boolean;
}

const DAMPING = { first: 1e-2, least: 1e-8, down: 5, up: 6, attempts: 6 } as const;
/** Less is next to nothing. */
const LEAST_GAIN = 0.01;
const MOST_STALLED = 3;

/** A fit that has not begun. */
export function firstFit(student: Student, errors: readonly number[]): Fit {
  return { student, origin: student, damping: DAMPING.first, stalled: 0, errors, done: false };
}

/** See the head of this file. */
export function lossOf(errors: ArrayLike<number>, d: number): number {
  return mean(Float64Array.from(errors, (e) => 2 * d * d * (Math.sqrt(1 + (e / d) ** 2) - 1)));
}

/**
 * One iteration: the derivatives, then steps with more and more damping until one makes the loss smaller.
 *
 * @param affordable may one more step be tried?
 */
export async function refine(
  bench: Bench,
  fit: Fit,
  free: Free,
  paths: readonly Path[],
  affordable: () => boolean,
): Promise<{ fit: Fit; paths: readonly Path[] }> {
  const { student, origin, errors } = fit;
  const parameters = parametersOf(student, free);
  const equations = await equationsOf(bench, student, parameters, paths);
  const d = Math.max(median([...errors]), Number.MIN_VALUE);
  const weights = errors.map((e) => 1 / Math.sqrt(1 + (e / d) ** 2));
  const deviations = Float64Array.from(parameters, (parameter) => deviationOf(student, parameter));
  const strains = strainsOf(student, origin, parameters);
  let { damping } = fit;
  const strength = chooseStrength(equations, weights, { strains, deviations, damping });
  const total = sumOf(equations, weights);
  const lossWith = (found: readonly number[], other: Student) => {
    const held = strainsOf(other, origin, parameters).reduce((sum, z) => sum + z * z, 0);
    return lossOf(found, d) + (strength * held) / found.length;
  };
  const before = lossWith(errors, student);
  for (let attempt = 0; attempt < DAMPING.attempts; attempt++, damping *= DAMPING.up) {
    if (!affordable()) break;
    const step = stepOf(total, { strength, strains, deviations, damping });
    if (!step) continue;
    const other = moved(student, parameters, step);
    const made = await unlessNotFinite(runAll(bench, other));
    if (!made) continue;
    const { paths: tried, errors: found } = made;
    const after = lossWith(found, other);
    if (!(after < before)) continue;
    const stalled = 1 - after / before < LEAST_GAIN ? fit.stalled + 1 : 0;
    const less = Math.max(damping / DAMPING.down, DAMPING.least);
    const next = { ...fit, student: other, damping: less, stalled, errors: found, done: stalled >= MOST_STALLED };
    return { fit: next, paths: tried };
  }
  return { fit: { ...fit, damping, done: true }, paths };
}
