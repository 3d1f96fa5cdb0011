// An end that waits for what is going on.

export class Drain {
  readonly #left: () => number;
  #drained: (() => void) | undefined;

  /** @param left how much is going on, or waits */
  constructor(left: () => number) {
    this.#left = left;
  }

  /** Has it begun? Nothing new is taken from then on. */
  get begun(): boolean {
    return this.#drained !== undefined;
  }

  /** Waits until nothing is left, for `ms` at most. */
  async wait(ms: number): Promise<void> {
    let timer: NodeJS.Timeout | undefined;
    await new Promise<void>((resolve) => {
      this.#drained = resolve;
      timer = setTimeout(resolve, ms);
      this.look();
    });
    clearTimeout(timer);
  }

  /** Something is over. */
  look(): void {
    if (this.#left() === 0) this.#drained?.();
  }
}
