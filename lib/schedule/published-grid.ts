// Times of a run by a published grid, for any number of steps.
import { list, outOfRange, show } from '../base/check.js';
import { timeGrid } from './grid.js';
import type { NoiseSchedule } from './noise-schedule.js';
import { nonuniformLambdas } from './nonuniform.js';
import { PUBLISHED, type PublishedGrid } from './published.js';
import { timeOfSigma } from './sigmas.js';

/** The names of grids that skipType takes besides SKIP_TYPES. */
export const PUBLISHED_TYPES = ['ays', 'oss', 'gits', 'dmn'] as const;

/**
 * Grids made for networks of one kind ({@link NetworkKind}), by search: `'ays'` (Align Your Steps, arXiv 2404.14507),
 * `'oss'` (Optimal Stepsize, arXiv 2503.21774), `'gits'` (arXiv 2405.11326); and `'dmn'`, computed for the schedule alone
 * (Optimized Time Steps, arXiv 2402.17376).
 */
export type PublishedType = (typeof PUBLISHED_TYPES)[number];

export const NETWORK_KINDS = ['sd15', 'sdxl', 'sd3', 'svd', 'flux', 'wan', 'chroma', 'pixels'] as const;

/**
 * Which network a published grid is for: Stable Diffusion 1.5, XL or 3, Stable Video Diffusion, Flux, Wan, Chroma, or any
 * that works in pixels (all others work in latents).
 */
export type NetworkKind = (typeof NETWORK_KINDS)[number];

/** Lists by kind of network, as published.ts has them. */
function gridsOf(type: Exclude<PublishedType, 'dmn'>): Partial<Record<NetworkKind, PublishedGrid>> {
  return PUBLISHED[type];
}

/** The kinds of network that there is such a grid for. */
export function kindsOf(type: PublishedType): NetworkKind[] {
  if (type === 'dmn') return [...NETWORK_KINDS];
  return NETWORK_KINDS.filter((kind) => gridsOf(type)[kind] !== undefined);
}

/**
 * The sigmas of a published grid for any number of steps: of the list with as many, or of the nearest one, between whose
 * numbers the logarithm is interpolated over the index, as NVIDIA's code for Align Your Steps does.
 */
export function publishedSigmas(type: Exclude<PublishedType, 'dmn'>, kind: NetworkKind, steps: number): number[] {
  const grid = gridsOf(type)[kind];
  if (!grid) throw noGrid(type, kind);
  const { lists } = grid;
  const nearest = lists.reduce((a, b) => (Math.abs(b.length - 1 - steps) < Math.abs(a.length - 1 - steps) ? b : a));
  if (nearest.length === steps + 1) return [...nearest];
  const last = nearest.length - 1;
  return Array.from({ length: steps + 1 }, (_, i) => {
    if (i === 0) return nearest[0];
    if (i === steps) return nearest[last];
    const at = (i * last) / steps;
    const low = Math.floor(at);
    const share = at - low;
    return Math.exp((1 - share) * Math.log(nearest[low]) + share * Math.log(nearest[low + 1]));
  });
}

function noGrid(type: PublishedType, kind: NetworkKind | undefined): RangeError {
  return outOfRange(`${list(kindsOf(type).map(show), 'or')} with skipType '${type}'`, 'network', kind);
}

/**
 * steps + 1 falling times. `'ays'`, `'oss'` and `'gits'` go from their own first time to the schedule's epsilon (0 for
 * flow), as their last number is only where the network's range ends; `'dmn'` from tStart to tEnd.
 *
 * @throws RangeError for a kind of network that there is no such grid for, or a schedule that it does not fit
 */
export function publishedTimes(
  schedule: NoiseSchedule,
  type: PublishedType,
  { network, steps, tStart, tEnd }: { network?: NetworkKind; steps: number; tStart?: number; tEnd?: number },
): Float64Array {
  if (type === 'dmn') {
    const [from, to] = [tStart ?? schedule.T, tEnd ?? schedule.epsilon];
    // The grid even in lambda says what is wrong with the ends.
    timeGrid(schedule, { skipType: 'logSNR', steps: 1, tStart: from, tEnd: to });
    const lambda = (t: number) => schedule.lambda(t);
    const error = network === undefined || network === 'pixels' ? 'pixels' : 'latents';
    const even = timeGrid(schedule, { skipType: 'time_uniform', steps, tStart: from, tEnd: to }).map(lambda);
    const lambdas = nonuniformLambdas(lambda(from), lambda(to), steps, error, even);
    return lambdas.map((one, i) => (i === 0 ? from : i === steps ? to : schedule.inverseLambda(one)));
  }
  if (network === undefined) throw noGrid(type, network);
  const sigmas = publishedSigmas(type, network, steps);
  const times = Float64Array.from(sigmas, (sigma, i) =>
    i === steps ? schedule.epsilon : timeOfSigma(schedule, sigma, `the sigmas of skipType '${type}'`),
  );
  for (const [value, at, name] of [
    [tStart, times[0], 'tStart'],
    [tEnd, times[steps], 'tEnd'],
  ] as const) {
    if (value !== undefined && value !== at) throw outOfRange(`${at}, as skipType '${type}' has it,`, name, value);
  }
  return times;
}
