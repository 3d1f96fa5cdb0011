// What a run with given times will do: for every network evaluation one coefficient row, and which buffers it reads and
// writes.
import type { Application } from './application.js';
import type { Guide } from './guidance.js';

/** One network evaluation and the update that follows it. States and history entries are numbered slots. */
export interface Evaluation {
  /** The schedule's time at which the network is asked, and what it is told. */
  readonly time: number;
  readonly modelTime: number;
  /** Index of its row. */
  readonly row: number;
  /** State slots: what the network sees, what the step starts from, where the result goes. */
  readonly seen: number;
  readonly base: number;
  readonly out: number;
  /** History slots: where this prediction is kept (-1: nowhere), and the earlier ones that are read. */
  readonly keep: number;
  readonly history: readonly number[];
  /** Where the result stands if it completes a step; undefined for a stage. */
  readonly reached?: number;
  /** Does the update draw noise? */
  readonly noisy: boolean;
  /** Is the result the predicted x0 (denoiseToZero)? */
  readonly denoises: boolean;
  /** Is P an x0, so that thresholding and correctX0 apply? */
  readonly predictsData: boolean;
  /** Is the network asked twice, without and with the condition? */
  readonly doubled: boolean;
  /** What weighs the two answers, where they decide themselves. */
  readonly guide?: Guide;
  /** Where the second sum goes: the state that a corrector has made of the one that the network sees. */
  readonly out2?: number;
  /** Steps that complete this one's sums, where they have more entries than one step adds. */
  readonly more?: readonly Further[];
}

/** A step without the network: over a prediction that a history slot holds, or over none (-1). */
export interface Further extends Application {
  readonly kept: number;
}

export interface Plan {
  readonly evaluations: readonly Evaluation[];
  /** One row of ROW.length doubles per evaluation. */
  readonly rows: Float64Array;
  readonly stateSlots: number;
  readonly historySlots: number;
  readonly steps: number;
  /** The schedule's time at the start. */
  readonly start: number;
  /** What is done to the start before the first evaluation. */
  readonly begin?: Further;
}
