// Which of a scheduler's timesteps a call goes through: all of them, those that a picture's strength leaves, or one pipeline's
// share of what several make. Counted as diffusers' pipelines count, to the rounding.
import { roundHalfEven } from '../schedulers/grids.js';
import type { DenoiserKind } from './denoiser.js';
import type { Span } from './request.js';

/** What is known of a grid. */
export interface GridFacts {
  /** How many steps were asked for. */
  readonly steps: number;
  /** The labels of the evaluations, from noise to data, in training steps. */
  readonly labels: readonly number[];
  /** Evaluations of a step. */
  readonly order: number;
  /** Of the network's training. */
  readonly trainingSteps: number;
  readonly kind: DenoiserKind;
}

/**
 * The evaluations that are made, from the first index up to but without the last one.
 *
 * @throws RangeError where a share of the sampling has none
 */
export function evaluationsOf(span: Span, grid: GridFacts): readonly [begin: number, end: number] {
  const { labels, order, trainingSteps } = grid;
  const { start, end: share = 1 } = span;
  const cut = (at: number) => roundHalfEven(trainingSteps - at * trainingSteps);
  const end = share < 1 ? labels.filter((label) => label >= cut(share)).length : labels.length;
  let begin = 0;
  if (start !== undefined) {
    let left = labels.filter((label) => label < cut(start)).length;
    // Every label but the first comes twice: half a step is none.
    if (order === 2 && left % 2 === 0) left++;
    begin = Math.max(0, labels.length - left);
  } else if (span.known) {
    begin = Math.min(skipped(grid, span.strength) * order, labels.length - 1);
  }
  if (begin < end) return [begin, end];
  throw new RangeError(
    `Expected a step between denoisingStart ${start ?? 0} and denoisingEnd ${share} but of ${grid.steps} steps none is there`,
  );
}

/** Steps that are left out from a picture, at least one being made. */
function skipped({ steps, kind }: GridFacts, strength: number): number {
  const made = Math.min(steps * strength, steps);
  // diffusers cuts the steps that are made to a whole number, and those that are not for its transformers.
  const left = kind === 'sd3' || kind === 'flux' ? Math.trunc(Math.max(steps - made, 0)) : steps - Math.trunc(made);
  return Math.min(left, steps - 1);
}
