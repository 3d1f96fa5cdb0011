// How fast work is done, and what can be said from it of when something will be over.

/** Seconds that a run is taken to need before one has been made. */
const USUAL = 5;

interface Begun {
  work: number;
  at: number;
  /** The sum over its time of how many went on at once. */
  shared: number;
}

/** Measures runs, which share the machine while several go on. */
export class Pace {
  readonly #going = new Map<string, Begun>();
  /** Units of work in a second, of all runs together, smoothed; undefined until one has been made. */
  #rate: number | undefined;
  #seen = performance.now();

  begin(id: string, work: number): void {
    this.#pass();
    this.#going.set(id, { work, at: this.#seen, shared: 0 });
  }

  /**
   * @param whole was all of it done?
   * @returns its milliseconds
   */
  end(id: string, whole: boolean): number {
    this.#pass();
    const begun = this.#going.get(id) as Begun;
    this.#going.delete(id);
    const ms = this.#seen - begun.at;
    if (whole && ms > 0) {
      const rate = (begun.work * Math.max(1, begun.shared / ms)) / (ms / 1000);
      this.#rate = this.#rate === undefined ? rate : this.#rate + (rate - this.#rate) / 4;
    }
    return ms;
  }

  /** What the work takes by itself. */
  secondsFor(work: number): number {
    return this.#rate === undefined ? USUAL : work / this.#rate;
  }

  /** Seconds until the first of all runs is over; at least 1. */
  first(): number {
    return this.#going.size === 0 ? 1 : this.firstOf(this.#going.keys());
  }

  /** Seconds until the first of these runs is over, in whole ones, at least 1. */
  firstOf(ids: Iterable<string>): number {
    const now = performance.now();
    const together = this.#going.size;
    let least = Number.POSITIVE_INFINITY;
    for (const id of ids) {
      const { work, at } = this.#going.get(id) as Begun;
      const spent = (now - at) / 1000;
      // One that takes longer than was to be expected is likely to go on for a while.
      least = Math.min(least, Math.max(this.secondsFor(work) * together - spent, spent / 10));
    }
    return Math.max(1, Math.ceil(least));
  }

  #pass(): void {
    const now = performance.now();
    for (const begun of this.#going.values()) begun.shared += (now - this.#seen) * this.#going.size;
    this.#seen = now;
  }
}
