// A known part of the states, which follows a picture while the rest is made anew: what a mask of a pipeline is to a run.
import type { Tensor } from '../base/tensor.js';
import type { ScheduleNode } from '../schedule/noise-schedule.js';

/** alpha x0 + sigma noise where the mask is 0, in every channel of every sample. @internal */
export interface Known {
  readonly x0: Float32Array;
  readonly noise: Float32Array;
  /** One number a place, row by row, 1 or 0. */
  readonly mask: Uint8Array;
}

/** The same at some time. @internal */
export interface KnownAt extends Known, Pick<ScheduleNode, 'alpha' | 'sigma'> {}

/** A `correctXt` that does nothing but put a known part in its place: engines may do that where the state is. @internal */
export interface PutsKnown {
  (x: Tensor, t: number, step: number): Tensor;
  readonly known: Known;
}
