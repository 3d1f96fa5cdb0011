// How many samples a network call should have: no more than make it faster.

/** A gain of less than this, by twice as many samples, is none: the call only takes longer for all who wait for it. */
const GAIN = 1.05;
/** Calls of a size before it counts, and after which larger ones are tried again. */
const ENOUGH = 3;
const AGAIN = 200;

/** Milliseconds of network calls, by their samples. */
export class BatchSpeed {
  readonly #sizes = new Map<number, { calls: number; ms: number }>();
  #calls = 0;

  saw(samples: number, ms: number): void {
    this.#calls++;
    const seen = this.#sizes.get(samples);
    if (!seen) this.#sizes.set(samples, { calls: 1, ms });
    else {
      seen.calls++;
      // What was an accident is forgotten.
      seen.ms += (ms - seen.ms) / Math.min(seen.calls, 8);
    }
  }

  /** The smallest size that is as fast, a sample, as any that is larger and at most `limit`. */
  most(limit: number): number {
    if (this.#calls % AGAIN < ENOUGH) return limit;
    const known = [...this.#sizes].filter(([size, { calls }]) => size <= limit && calls >= ENOUGH);
    const largest = Math.max(...known.map(([size]) => size), 0);
    // Until a full one has been seen nothing is known of what it would gain.
    if (largest * 2 <= limit) return limit;
    const best = Math.min(...known.map(([size, { ms }]) => ms / size));
    const enough = known.filter(([size, { ms }]) => ms / size <= best * GAIN).map(([size]) => size);
    return Math.min(...enough, limit);
  }
}
