// Where the times of a calibrated solver stand: a place between 0 (noise) and 1 (data) on an axis that is finite at both
// ends of every schedule, and along which the network's predictions change about evenly.
import type { NoiseSchedule, ScheduleNode } from '../schedule/noise-schedule.js';

/** Beyond these lambdas half of the axis does not move: data of unit size is all noise or all data there. */
const SPAN = [-5.5, 7] as const;
/** Halvings until two lambdas are neighbours, from the widest bracket. */
const HALVINGS = 100;

/**
 * Half of the axis is lambda = log(alpha / sigma), clipped where nothing happens any more, the other half the angle
 * atan(sigma / alpha), which goes on to the ends where lambda is infinite (rectified flow, zero terminal SNR).
 */
export class Axis {
  readonly #schedule: NoiseSchedule;
  readonly tStart: number;
  readonly tEnd: number;
  readonly #first: number;
  readonly #last: number;
  readonly #low: number;
  readonly #high: number;
  readonly #offset: number;
  readonly #length: number;

  /** From `tStart` down to `tEnd`, which are times of the schedule. */
  constructor(schedule: NoiseSchedule, tStart: number = schedule.T, tEnd: number = schedule.epsilon) {
    this.#schedule = schedule;
    this.tStart = tStart;
    this.tEnd = tEnd;
    this.#first = schedule.lambda(tStart);
    this.#last = schedule.lambda(tEnd);
    this.#low = Math.max(this.#first, SPAN[0]);
    this.#high = Math.min(this.#last, SPAN[1]);
    this.#offset = this.#raw(this.#first);
    this.#length = this.#raw(this.#last) - this.#offset;
  }

  #raw(lambda: number): number {
    const clipped = Math.min(Math.max(lambda, this.#low), this.#high);
    // A run between two times that both lie where nothing happens has the angle alone.
    const share = this.#high > this.#low ? (clipped - this.#low) / (this.#high - this.#low) : 0;
    return share - (2 / Math.PI) * Math.atan(Math.exp(-lambda));
  }

  /** Where a time stands. */
  placeOf(t: number): number {
    if (t === this.tStart) return 0;
    if (t === this.tEnd) return 1;
    return (this.#raw(this.#schedule.lambda(t)) - this.#offset) / this.#length;
  }

  /** The time that stands at a place; the ends for what lies beyond them. */
  timeAt(place: number): number {
    if (place <= 0) return this.tStart;
    if (place >= 1) return this.tEnd;
    const raw = this.#offset + place * this.#length;
    // Twice as far as lambda is looked at in double precision at all.
    let [low, high] = [Math.max(this.#first, -80), Math.min(this.#last, 80)];
    for (let i = 0; i < HALVINGS; i++) {
      const middle = 0.5 * (low + high);
      if (middle <= low || middle >= high) break;
      if (this.#raw(middle) < raw) low = middle;
      else high = middle;
    }
    return this.#schedule.inverseLambda(0.5 * (low + high));
  }

  /** alpha, sigma and lambda at a place. */
  nodeAt(place: number): ScheduleNode {
    return this.#schedule.node(this.timeAt(place));
  }
}
