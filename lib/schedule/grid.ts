// The times of a run: where its steps begin and end, and where the stages in between are evaluated.

import { numbers, oneOf, outOfRange, wholeNumber } from '../base/check.js';
import { betaQuantile } from './beta-distribution.js';
import type { NoiseSchedule } from './noise-schedule.js';
import { fixedOrders, singlestepOrders } from './orders.js';

export { fixedOrders, multistepOrders, type Order, singlestepOrders } from './orders.js';

/** The names that skipType takes. */
export const SKIP_TYPES = ['time_uniform', 'logSNR', 'time_quadratic', 'karras', 'exponential', 'beta'] as const;

/**
 * How the times of a run are spaced: `'time_uniform'` in t, `'time_quadratic'` in sqrt(t) (Song et al. 2021, arXiv
 * 2010.02502), `'logSNR'` and `'exponential'` in lambda (Lu et al. 2022, arXiv 2206.00927), `'karras'` in
 * (sigma / alpha)^(1/7) (Karras et al. 2022, arXiv 2206.00364, eq. 5), `'beta'` by quantiles of Beta(0.6, 0.6) in
 * sigma / alpha (Lee et al. 2024, "Beta Sampling is All You Need"). All but the first two need finite lambda at both ends.
 */
export type SkipType = (typeof SKIP_TYPES)[number];

export interface GridOptions {
  /** `'time_uniform'` unless told, or the times themselves. */
  skipType?: SkipType | ArrayLike<number>;
  /** Number of intervals, at least 1; needed unless skipType is a list of times, with which it has to agree. */
  steps?: number;
  /** The schedule's T unless told. */
  tStart?: number;
  /** The schedule's epsilon unless told; above tStart for an inversion, from data to noise. */
  tEnd?: number;
}

export interface SinglestepPlan {
  /** The order of each step. */
  orders: number[];
  /** Where the steps begin and end: orders.length + 1 times. */
  outer: Float64Array;
  /** For each step the times of its inner stages, in order of evaluation: one fewer than its order. */
  inner: number[][];
}

/**
 * steps + 1 times from tStart to tEnd, strictly monotone in either direction, both ends exact.
 *
 * - `'time_uniform'`: equispaced in t.
 * - `'time_quadratic'`: equispaced in sqrt(t). Both from Song et al. 2021, "Denoising Diffusion Implicit Models".
 * - `'logSNR'`, `'exponential'`: equispaced in lambda. Lu et al. 2022, "DPM-Solver".
 * - `'karras'`: equispaced in (sigma / alpha)^(1/7). Karras et al. 2022, "Elucidating the Design Space", eq. 5.
 * - `'beta'`: quantiles of Beta(0.6, 0.6) in sigma / alpha. Lee et al. 2024, "Beta Sampling is All You Need".
 * - a list: those times, steps + 1 of them.
 *
 * @throws TypeError for another skipType or a value of another type; RangeError for steps < 1, times outside the
 *   schedule, equal ends, a list that is not strictly monotone or disagrees with another option, and infinite lambda at
 *   an end where the grid is not in t
 */
export function timeGrid(schedule: NoiseSchedule, options: GridOptions): Float64Array {
  const { skipType = 'time_uniform', tStart: start = schedule.T, tEnd: end = schedule.epsilon } = options;
  if (typeof skipType !== 'string') return givenGrid(schedule, skipType, options);
  oneOf(skipType, 'skipType', SKIP_TYPES);
  const steps = wholeNumber(options.steps, 'steps', 1);
  const tStart = schedule.within(start, 'tStart');
  const tEnd = schedule.within(end, 'tEnd');
  if (tStart === tEnd) throw outOfRange('another time than tStart', 'tEnd', tEnd);
  if (!inTime(skipType)) {
    requireFiniteLambda(schedule, tStart, 'tStart', `skipType '${skipType}'`);
    requireFiniteLambda(schedule, tEnd, 'tEnd', `skipType '${skipType}'`);
  }
  return nodesBetween(schedule, skipType, tStart, tEnd, steps);
}

/**
 * The steps of a singlestep run: their orders, ends and inner stages.
 *
 * As published (github.com/LuChengTHU/dpm-solver, `get_orders_and_timesteps_for_singlestep_solver`): without `fixed`, a
 * step of order p takes p intervals of the grid of `steps` evaluations, except that grids in lambda space the steps
 * evenly, whatever their orders; with `fixed`, floor(steps / order) steps of one order are the intervals of a grid. The
 * stages of a step divide it as a grid of the same skipType does.
 *
 * With a list of n + 1 times for n evaluations, a step of order p takes p of its intervals, and the stages stand at 1/2
 * or 1/3 and 2/3 in lambda.
 *
 * Where a step touches an infinite lambda (flow, zero terminal SNR), nothing can stand at a fraction of it in lambda.
 * `'time_uniform'` and `'time_quadratic'` place stages in t and need nothing; every other grid throws, a list only if
 * that step has stages.
 *
 * @throws what {@link timeGrid} throws; RangeError for an order other than 1, 2 and 3, for `fixed` with fewer steps
 *   than order, or with a list of times whose evaluations are not a multiple of order
 */
export function singlestepPlan(
  schedule: NoiseSchedule,
  options: GridOptions & { order: number; fixed: boolean },
): SinglestepPlan {
  const { order, fixed, skipType = 'time_uniform' } = options;
  wholeNumber(order, 'order', 1, 3);
  if (typeof skipType !== 'string') {
    const grid = givenGrid(schedule, skipType, options);
    const steps = grid.length - 1;
    if (fixed && steps % order !== 0) {
      throw outOfRange(`one time more than a multiple of order = ${order}`, 'skipType', grid.length);
    }
    const orders = fixed ? fixedOrders(steps, order) : singlestepOrders(steps, order);
    const outer = stepEnds(grid, orders);
    return { orders, outer, inner: orders.map((p, i) => stagesInLambda(schedule, outer[i], outer[i + 1], p)) };
  }
  const orders = fixed ? fixedOrders(options.steps!, order) : singlestepOrders(options.steps!, order);
  const even = fixed || skipType === 'logSNR' || skipType === 'exponential';
  const outer = even
    ? timeGrid(schedule, { ...options, steps: orders.length })
    : stepEnds(timeGrid(schedule, options), orders);
  const inner = orders.map((p, i) =>
    p === 1 ? [] : Array.from(nodesBetween(schedule, skipType, outer[i], outer[i + 1], p).subarray(1, p)),
  );
  return { orders, outer, inner };
}

/**
 * Nothing, or a RangeError that asks for another time where lambda is infinite at t.
 *
 * @param name what t is: tStart or tEnd
 * @param need what cannot do with an infinite lambda
 */
export function requireFiniteLambda(schedule: NoiseSchedule, t: number, name: 'tStart' | 'tEnd', need: string): void {
  const { end, lambda } = schedule.node(t);
  if (end === 0) return;
  const side = end === 1 ? 'above' : 'below';
  throw new RangeError(
    `Expected a time with finite lambda for ${name} with ${need} but received ${t}, where lambda is ${lambda}: set ${name} ${side} it`,
  );
}

function inTime(skipType: SkipType): boolean {
  return skipType === 'time_uniform' || skipType === 'time_quadratic';
}

/** n + 1 times from tStart to tEnd, which lie in the schedule and differ, with finite lambda where skipType needs it. */
function nodesBetween(
  schedule: NoiseSchedule,
  skipType: SkipType,
  tStart: number,
  tEnd: number,
  n: number,
): Float64Array {
  // Built from noise to data and turned round for an inversion, so that both directions see the same times.
  const inversion = tStart < tEnd;
  const from = inversion ? tEnd : tStart;
  const to = inversion ? tStart : tEnd;
  const grid = spaced(schedule, skipType, from, to, n);
  grid[0] = from;
  grid[n] = to;
  for (let i = 0; i < n; i++) {
    if (grid[i] > grid[i + 1]) continue;
    throw outOfRange(`fewer than ${n} steps between ${tStart} and ${tEnd}, where times coincide,`, 'steps', n);
  }
  return inversion ? grid.reverse() : grid;
}

function spaced(schedule: NoiseSchedule, skipType: SkipType, from: number, to: number, n: number): Float64Array {
  switch (skipType) {
    case 'time_uniform':
      return linspace(from, to, n);
    case 'time_quadratic':
      return linspace(Math.sqrt(from), Math.sqrt(to), n).map((root) => root * root);
  }
  const first = schedule.lambda(from);
  const last = schedule.lambda(to);
  const span = last - first;
  // karras and beta are in s = (sigma / alpha) / (sigma / alpha at the start) = exp(first - lambda), which is 1 at the
  // start and cannot overflow.
  switch (skipType) {
    case 'logSNR':
    case 'exponential':
      return linspace(first, last, n).map((lambda, i) => (inside(i, n) ? schedule.inverseLambda(lambda) : 0));
    case 'karras': {
      const rho = 7;
      return linspace(1, Math.exp(-span / rho), n).map((x, i) =>
        inside(i, n) ? schedule.inverseLambda(first - rho * Math.log(x)) : 0,
      );
    }
    case 'beta': {
      const sEnd = Math.exp(-span);
      return Float64Array.from({ length: n + 1 }, (_, i) => {
        if (!inside(i, n)) return 0;
        const s = sEnd - Math.expm1(-span) * betaQuantile((n - i) / n, 0.6, 0.6);
        return schedule.inverseLambda(first - Math.log(s));
      });
    }
  }
}

/** Whether i is none of the two ends, which take the given times and not their images under lambda and back. */
function inside(i: number, n: number): boolean {
  return i > 0 && i < n;
}

/** n + 1 equispaced numbers, counted from the nearer end. */
function linspace(from: number, to: number, n: number): Float64Array {
  const width = to - from;
  return Float64Array.from({ length: n + 1 }, (_, i) =>
    2 * i < n ? from + (width * i) / n : to - (width * (n - i)) / n,
  );
}

/** Checks and copies a list of times. */
function givenGrid(schedule: NoiseSchedule, times: ArrayLike<number>, options: GridOptions): Float64Array {
  const grid = numbers(times, 'skipType').map((t, i) => schedule.within(t, `skipType[${i}]`));
  const n = grid.length - 1;
  if (n < 1) throw outOfRange('at least two times', 'skipType', grid.length);
  for (let i = 0; i < n; i++) {
    if (grid[0] > grid[n] ? grid[i] > grid[i + 1] : grid[i] < grid[i + 1]) continue;
    throw outOfRange('strictly monotone times', 'skipType', grid[i + 1], ` after ${grid[i]} at index ${i + 1}`);
  }
  agree(options.steps, n, 'steps');
  agree(options.tStart, grid[0], 'tStart');
  agree(options.tEnd, grid[n], 'tEnd');
  return grid;
}

function agree(value: number | undefined, given: number, name: string): void {
  if (value === undefined || value === given) return;
  throw outOfRange(`${given}, as the times in skipType have it,`, name, value);
}

/** The nodes of a grid at which steps of these orders begin and end. */
function stepEnds(grid: Float64Array, orders: readonly number[]): Float64Array {
  const ends = new Float64Array(orders.length + 1);
  let node = 0;
  ends[0] = grid[0];
  for (let i = 0; i < orders.length; i++) {
    node += orders[i];
    ends[i + 1] = grid[node];
  }
  return ends;
}

/** The p - 1 times between s and t that divide the step evenly in lambda. */
function stagesInLambda(schedule: NoiseSchedule, s: number, t: number, p: number): number[] {
  if (p === 1) return [];
  requireFiniteLambda(schedule, s, 'tStart', `a step of order ${p}`);
  requireFiniteLambda(schedule, t, 'tEnd', `a step of order ${p}`);
  return Array.from(nodesBetween(schedule, 'logSNR', s, t, p).subarray(1, p));
}
