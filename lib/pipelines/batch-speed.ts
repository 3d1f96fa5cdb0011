// How many samples a network call should have: no more than make it faster, and than there is memory for.

/** A gain of less than this, by twice as many samples, is none: the call only takes longer for all who wait for it. */
const GAIN = 1.05;
/** Calls of a size before it counts, and after which larger ones are tried again. */
const ENOUGH = 3;
const AGAIN = 200;

/** Pictures of so many elements each that are made at once where nobody says how many. */
export function picturesAtOnce(elements: number): number {
  return Math.max(1, Math.min(8, Math.floor(65536 / elements)));
}

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

  /**
   * The smallest size that is as fast, a sample, as any that is larger; or where the largest that was seen is still the
   * fastest, twice that.
   *
   * @param usual what it is before anything is known
   * @param limit what it is at most
   */
  most(usual: number, limit = usual): number {
    const first = Math.min(usual, limit);
    const known = [...this.#sizes].filter(([size, { calls }]) => size <= limit && calls >= ENOUGH);
    const largest = Math.max(...known.map(([size]) => size), 0);
    const more = Math.min(limit, Math.max(first, 2 * largest));
    // Until a full one has been seen nothing is known of what it would gain.
    if (largest * 2 <= first || this.#calls % AGAIN < ENOUGH) return more;
    const best = Math.min(...known.map(([size, { ms }]) => ms / size));
    const enough = Math.min(...known.filter(([size, { ms }]) => ms / size <= best * GAIN).map(([size]) => size));
    return enough === largest ? more : enough;
  }
}
