// A run of a scheduler as it goes on: its schedule, what each evaluation does, and how far it has come.
import type { Node } from '../addon/coefficients.js';
import type { StateArray } from '../base/tensor.js';

/** A prediction that the history keeps: where it was made, and in which of the scheduler's buffers it is. */
export interface Kept {
  readonly node: Node;
  readonly slot: number;
}

/** How far a run has come. */
export interface Progress {
  /** Evaluations so far. */
  readonly count: number;
  /** The index of the first one. */
  readonly begin: number;
  /** Kept predictions, the latest first. */
  readonly history: readonly Kept[];
  /** Where the kept state stands, if one is kept. */
  readonly base: Node | null;
}

/** What one evaluation does besides its row. */
export interface Plan {
  /** What `base` in the row is: the sample that comes in, or the state that was kept. */
  readonly base: 'sample' | 'kept';
  /** Which entries of the history are D1, D2, D3. */
  readonly history: readonly Kept[];
  /** Where this prediction was made, if it is to be kept. */
  readonly keep: Node | null;
  /** How many of the latest kept ones are dropped. */
  readonly drop?: number;
  /** Where the state stands that `second` writes and is to be kept; null leaves what is kept as it is. */
  readonly save: Node | null;
  /** Does the algorithm draw noise here, whether or not its coefficient is 0? */
  readonly draws: boolean;
  /** Draws that diffusers makes before, and does not use. */
  readonly idle?: number;
  /** Writes the noise with the deviations that the second half of the network's channels, `variance`, asks for. */
  readonly shapes?: (z: StateArray, variance: (i: number) => number, out: StateArray) => void;
}

/** A run's schedule. */
export interface Schedule {
  readonly timesteps: readonly number[];
  /** One more than timesteps. */
  readonly sigmas: Float32Array;
  /** Where the states before and after each evaluation stand. */
  readonly nodes: readonly Node[];
  /** Are the timesteps integers? */
  readonly integer: boolean;
}

export const FRESH: Progress = { count: 0, begin: 0, history: [], base: null };

/** How far the run is after an evaluation whose prediction, if it is kept, is in `slot`. */
export function after(progress: Progress, plan: Plan, slot: number, length: number): Progress {
  const earlier = progress.history.slice(plan.drop ?? 0);
  return {
    count: progress.count + 1,
    begin: progress.begin,
    history: plan.keep ? [{ node: plan.keep, slot }, ...earlier].slice(0, length) : earlier,
    base: plan.save ?? progress.base,
  };
}

/** A buffer that holds no kept prediction: what a failed step has written is then nobody's. */
export function freeSlot(history: readonly Kept[]): number {
  let slot = 0;
  while (history.some((kept) => kept.slot === slot)) slot++;
  return slot;
}
