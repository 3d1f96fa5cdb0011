// In which order requests are begun that come together.

/** Milliseconds for which those who come are let in before what is there is begun. */
const PATIENCE = 20;

/**
 * Begins one request at a turn of the event loop, so that whoever comes meanwhile, a step that is to be sent, or a client that
 * leaves, waits for one of them and not for hundreds. What is quickly done goes first.
 *
 * Node lets one connection in at each turn, too: who comes as the hundredth would wait for a hundred turns, however short his
 * own request is. So while connections come turns are kept short, and the rest is begun when nobody stands at the door, or
 * has waited for long enough, or is too many.
 */
export class Gate {
  readonly #first: (() => void)[] = [];
  readonly #others: (() => void)[] = [];
  readonly #most: number;
  readonly #now: () => number;
  readonly #soon: (work: () => void) => void;
  #going = false;
  /** Has a connection come since the last turn? */
  #came = false;
  /** Since when none of the others has been begun. */
  #since = 0;

  /**
   * @param most requests that may be put off
   * @param now milliseconds, and `soon` the next turn; for tests others
   */
  constructor(
    most: number,
    now = () => performance.now(),
    soon: (work: () => void) => void = (work) => void setImmediate(work),
  ) {
    this.#most = most;
    this.#now = now;
    this.#soon = soon;
  }

  /** A connection has come. */
  came(): void {
    this.#came = true;
  }

  /** @param first is it quickly done? */
  enter(begin: () => void, first: boolean): void {
    if (!first && this.#others.length === 0) this.#since = this.#now();
    (first ? this.#first : this.#others).push(begin);
    if (this.#going) return;
    this.#going = true;
    this.#turn();
  }

  #turn(): void {
    const begin = this.#first.shift() ?? this.#other();
    this.#came = false;
    this.#going = begin !== undefined || this.#others.length > 0;
    // Before it is begun: whatever comes of it, there is a next turn.
    if (this.#going) this.#soon(() => this.#turn());
    begin?.();
  }

  #other(): (() => void) | undefined {
    const now = this.#now();
    if (this.#came && this.#others.length < this.#most && now - this.#since < PATIENCE) return undefined;
    this.#since = now;
    return this.#others.shift();
  }
}
