// How far a calibration has come, and how long it will take.
import { type Listener, listening } from '../base/listener.js';
import type { CalibrateProgress } from './options.js';

/** Tells a callback; evaluations that were done before a calibration was stopped take no time. */
export class Progress {
  readonly #listener: Listener<CalibrateProgress> | undefined;
  readonly #began = performance.now();
  #stage: Pick<CalibrateProgress, 'stage' | 'steps'> = { stage: 'teacher' };
  #of = 0;
  #first: { done: number; at: number } | undefined;

  constructor(tell: ((progress: CalibrateProgress) => void) | undefined) {
    this.#listener = tell && listening(tell);
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
    if (!this.#listener) return;
    const now = performance.now();
    this.#first ??= { done, at: now };
    const made = done - this.#first.done;
    const of = Math.max(this.#of, done);
    const left = made > 0 ? (((now - this.#first.at) / made) * (of - done)) / 1000 : undefined;
    this.#listener.tell({
      ...this.#stage,
      done,
      of,
      seconds: (now - this.#began) / 1000,
      ...(left === undefined ? {} : { left }),
    });
  }

  /** Waits for what the callback has begun. */
  async heard(): Promise<void> {
    await this.#listener?.done();
  }
}
