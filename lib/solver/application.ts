import type { Guide } from './guidance.js';

/** What one native step reads and writes, by slot; -1 for none. */
export interface Application {
  /** Index of its row in `rows`. */
  readonly row: number;
  readonly seen: number;
  readonly base: number;
  readonly out: number;
  readonly out2?: number;
  readonly keep: number;
  readonly history: readonly number[];
  readonly noisy?: boolean;
  /** Thresholding and correctX0 apply. */
  readonly predictsData: boolean;
  readonly time: number;
  /** The network's output is of a doubled batch, weighed by `guide` where that is there. */
  readonly doubled?: boolean;
  readonly guide?: Guide;
}
