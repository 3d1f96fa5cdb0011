// Events between a run, which does not wait, and a reader, who may.

export interface Letter {
  event: string;
  data: string;
}

/**
 * Holds events until they are read. Where more than `backlog` characters wait, the oldest steps give way: their pictures
 * are previews, and the next ones are better.
 */
export class Outbox {
  readonly #backlog: number;
  readonly #letters: Letter[] = [];
  #size = 0;
  #ended = false;
  #wake: (() => void) | undefined;

  constructor(backlog: number) {
    this.#backlog = backlog;
  }

  /** Characters that wait. */
  get size(): number {
    return this.#size;
  }

  push(letter: Letter): void {
    if (this.#ended) return;
    this.#letters.push(letter);
    this.#size += letter.data.length;
    for (let i = 0; this.#size > this.#backlog && i < this.#letters.length - 1; ) {
      if (this.#letters[i].event === 'step') this.#size -= this.#letters.splice(i, 1)[0].data.length;
      else i++;
    }
    this.#wake?.();
  }

  /** What has been pushed can still be read. */
  end(): void {
    this.#ended = true;
    this.#wake?.();
  }

  /**
   * The next event; null after the last one, and undefined when `ms` have passed without any.
   */
  async next(ms: number): Promise<Letter | null | undefined> {
    if (this.#letters.length === 0 && !this.#ended) {
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, ms);
        this.#wake = () => {
          clearTimeout(timer);
          resolve();
        };
      });
      this.#wake = undefined;
    }
    const letter = this.#letters.shift();
    if (letter) {
      this.#size -= letter.data.length;
      return letter;
    }
    return this.#ended ? null : undefined;
  }
}
