// Whose samples the next network call has: deficit round robin (Shreedhar and Varghese 1995), by clients, over sizes.

/** An evaluation that somebody waits for. */
export interface Asking {
  readonly client: string;
  /** Evaluations of one group can share a call. */
  readonly group: string;
  /** Samples that have not been evaluated yet. */
  rows: number;
  /** What one of them costs. */
  readonly cost: number;
}

/** A client's place in the line. */
interface Place {
  /** What it may still spend in its turn; below 0 where it has paid for more. */
  credit: number;
  /** Has its turn begun? */
  begun: boolean;
  /** The group that it chose last. */
  last: string | undefined;
}

/** What a call has: of each, how many samples. */
export type Call<T> = Map<T, number>;

/**
 * Clients stand in line. The one at the head chooses which samples can be in the call, of its groups one after the
 * other, until it has had its share and goes to the end; the others fill the call up with what goes with them, a sample each
 * in turn, and pay for it as well. So a client with large pictures gets as much of the machine as one with small ones, and
 * one with many runs no more than one with a single run.
 */
export class Rounds<T extends Asking> {
  readonly #waiting = new Set<T>();
  /** In the order of the line. */
  readonly #line = new Map<string, Place>();

  get size(): number {
    return this.#waiting.size;
  }

  add(asking: T): void {
    this.#waiting.add(asking);
    const place = this.#line.get(asking.client);
    if (!place) this.#line.set(asking.client, { credit: 0, begun: false, last: undefined });
  }

  remove(asking: T): boolean {
    return this.#waiting.delete(asking);
  }

  /**
   * Takes samples for the next call.
   *
   * @param most of a group: how many a call may have
   */
  next(most: (group: string) => number): Call<T> {
    const call: Call<T> = new Map();
    if (this.#waiting.size === 0) return call;
    this.#forget();
    const group = this.#lead();
    const line = [...this.#line];
    let left = most(group);
    for (let more = true; left > 0 && more; ) {
      more = false;
      for (const [client, place] of line) {
        const asking = left > 0 ? this.#oldest(client, group) : undefined;
        if (!asking) continue;
        more = true;
        left--;
        asking.rows--;
        call.set(asking, (call.get(asking) ?? 0) + 1);
        place.credit -= asking.cost;
        if (asking.rows === 0) this.#waiting.delete(asking);
      }
    }
    return call;
  }

  /** The group that the client at the head chooses. */
  #lead(): string {
    const share = Math.max(...Array.from(this.#waiting, ({ cost }) => cost));
    for (;;) {
      const [[client, place]] = this.#line;
      if (!place.begun) place.credit += share;
      place.begun = true;
      const { name, cost } = this.#groupAfter(client, place.last);
      if (place.credit >= cost) {
        place.last = name;
        return name;
      }
      // Who has paid for more than a turn's share sits out as many turns.
      place.begun = false;
      this.#line.delete(client);
      this.#line.set(client, place);
    }
  }

  /** The next of a client's groups, so that they take turns as well. */
  #groupAfter(client: string, last: string | undefined): { name: string; cost: number } {
    const groups = new Map<string, number>();
    for (const { client: own, group, cost } of this.#waiting) if (own === client) groups.set(group, cost);
    const names = [...groups.keys()].sort();
    const name = names.find((one) => last === undefined || one > last) ?? names[0];
    return { name, cost: groups.get(name) as number };
  }

  #oldest(client: string, group: string): T | undefined {
    for (const one of this.#waiting) if (one.client === client && one.group === group && one.rows > 0) return one;
    return undefined;
  }

  /** Those who wait for nothing leave the line, and take no credit with them. */
  #forget(): void {
    const here = new Set(Array.from(this.#waiting, ({ client }) => client));
    for (const client of this.#line.keys()) if (!here.has(client)) this.#line.delete(client);
  }
}
