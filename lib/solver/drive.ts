// From a run to its sample, with the network's calls between.

import type { Tensor } from '../base/tensor.js';
import type { Transfers } from './engine.js';
import type { InternalRun } from './run.js';

/** What `DPMSolver.sample` and `DPMSolver.invert` resolve to. */
export interface Sampling<T = Tensor> {
  /** In xT's class and type, the caller's own. */
  sample: T;
  /** Network evaluations made: a doubled batch counts once, and in a guided run one with the condition alone half. */
  nfe: number;
  /** Of the SDE's noise: what was given, or chosen; absent for an ODE. */
  seed?: number | number[];
  /** The start, each completed step, and the denoised result; with `intermediates: true`. */
  intermediates?: T[];
  /** The schedule's times of the start and of each completed step; 0 for a denoised result. */
  times: number[];
  /** Of a run on a card: what went between host and card, and how long the run waited for it. */
  transfers?: Transfers;
}

type Evaluation = () => Tensor | Promise<Tensor>;

/**
 * Calls the network (and the gradient) until the run is done. Rejects with what they throw, or with the signal's reason.
 * @internal
 */
export async function drive(
  run: InternalRun,
  signal: AbortSignal | undefined,
  model: Evaluation,
  gradientOf: Evaluation | undefined,
): Promise<Sampling> {
  if (run.ready) await run.ready;
  while (!run.done) {
    signal?.throwIfAborted();
    if (run.engine.fetches) await run.fetch();
    let output: Tensor;
    let gradient: Tensor | undefined;
    try {
      output = await model();
      gradient = gradientOf ? await gradientOf() : undefined;
    } catch (error) {
      // A model that gives up because it was told to: the reason counts.
      signal?.throwIfAborted();
      throw error;
    }
    signal?.throwIfAborted();
    const going = run.proceed(output, gradient);
    // A promise costs a turn of the event loop: only where there is one.
    if (going instanceof Promise) await going;
  }
  const sampling: Sampling = { sample: await run.finish(), nfe: run.nfe, times: run.times };
  if (run.seed !== undefined) sampling.seed = typeof run.seed === 'number' ? run.seed : [...run.seed];
  if (run.intermediates.length > 0) sampling.intermediates = run.intermediates;
  return sampling;
}
