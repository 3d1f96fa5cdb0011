// How far a calibration has come, and how long it will take.
import type { CalibrateProgress } from './options.js';

/** Tells a callback; evaluations that were done before a calibration was stopped take no time. */
export class Progress {
  readonly #tell: ((progress: CalibrateProgress) => void) | undefined;
  readonly #began = performance.now();
  #stage: Pick<CalibrateProgress, 'stage' | 'steps'> = { stage: 'teacher' };
  #of = 0;
  #first: { done: number; at: number } | undefined;

  constructor(tell: ((progress: CalibrateProgress) => void) | undefined) {
    this.#tell = tell;
  }

  /** Evaluations that all will take, about. */
  expect(evaluations: number): void {
    this.#of = evaluations;
  }

  stage(stage: CalibrateProgress['stage'], steps?: number): void {
    this.#stage = { stage, ...(steps === undefined ? {} : { steps }) };
  }

  /** After a call of the model. */
  tell(done: number): void {
    if (!this.#tell) return;
    const now = performance.now();
    this.#first ??= { done, at: now };
    const made = done - this.#first.done;
    const of = Math.max(this.#of, done);
    const left = made > 0 ? (((now - this.#first.at) / made) * (of - done)) / 1000 : undefined;
    this.#tell({
      ...this.#stage,
      done,
      of,
      seconds: (now - this.#began) / 1000,
      ...(left === undefined ? {} : { left }),
    });
  }
}
