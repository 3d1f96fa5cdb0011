// The same times, told by what is left of the noise, as tables and published grids tell them: sigma / alpha, or for
// rectified flow sigma itself, between 0 and 1 and after the shift.
import { outOfRange } from '../base/check.js';
import type { NoiseSchedule, ScheduleNode } from './noise-schedule.js';

/** sigma = 0: what is left is the data. Every schedule has such an end, but not every one has a time for it. */
const CLEAN: ScheduleNode = { alpha: 1, sigma: 0, lambda: Infinity, end: 1 };

/** An end that was published in 5 digits may lie so far beyond the schedule's, in lambda. */
const BEYOND = 1e-3;
/** What is so near to an end is that end, in 8 digits. */
const AT_END = 1e-7;

/** What a time is told by: see the head of this file. */
export function sigmaOf(schedule: NoiseSchedule, t: number): number {
  if (schedule.kind === 'flow') return schedule.sigma(t);
  if (schedule.kind === 'edm') return t;
  const { lambda } = schedule.node(t);
  return Math.exp(-lambda);
}

/**
 * The time that is told by `sigma`; 0 for sigma = 0, whether or not the schedule goes so far.
 *
 * @param name what sigma is, for the error
 * @throws RangeError where the schedule has no such time
 */
export function timeOfSigma(schedule: NoiseSchedule, sigma: number, name: string): number {
  if (sigma === 0) return 0;
  if (schedule.kind === 'edm') return schedule.within(sigma, name);
  const lambda = schedule.kind === 'flow' ? Math.log((1 - sigma) / sigma) : -Math.log(sigma);
  const [clean, noise] = schedule.range.map((t) => schedule.lambda(t));
  if (!(lambda >= noise - BEYOND && lambda <= clean + BEYOND)) {
    const [low, high] = schedule.range.map((t) => sigmaOf(schedule, t).toPrecision(5));
    throw outOfRange(`a sigma between ${low} and ${high}, or 0,`, name, sigma);
  }
  const [low, high] = schedule.range;
  if (lambda >= clean - AT_END) return low;
  if (lambda <= noise + AT_END) return high;
  return schedule.inverseLambda(lambda);
}

/** alpha, sigma and lambda at a time, or at time 0 at sigma = 0, where the schedule itself may not go. */
export function nodeOf(schedule: NoiseSchedule, t: number): ScheduleNode {
  return t === 0 ? CLEAN : schedule.node(t);
}

/** Where a fingerprint is taken, between the last and the first time. */
const FRACTIONS = [0, 0.25, 0.5, 0.75, 1];
/** Lambdas of the same schedule, from betas of whatever precision, are nearer to each other than this. */
const SAME = 0.02;

/** What a schedule is known by: lambda at five times, or the infinite ones as `-inf` and `inf`. */
export function fingerprint(schedule: NoiseSchedule): string {
  const { T, epsilon } = schedule;
  const told = (lambda: number) => (Number.isFinite(lambda) ? lambda.toFixed(3) : lambda > 0 ? 'inf' : '-inf');
  return FRACTIONS.map((f) => told(schedule.lambda(f === 1 ? T : epsilon + f * (T - epsilon)))).join('/');
}

/** Are two fingerprints those of one schedule? */
export function sameFingerprint(a: string, b: string): boolean {
  const [p, q] = [a.split('/'), b.split('/')];
  return p.length === q.length && p.every((one, i) => one === q[i] || Math.abs(Number(one) - Number(q[i])) <= SAME);
}
