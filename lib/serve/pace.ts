// How fast work is done, and what can be said from it of when something will begin and be over.

/** Seconds that a run is taken to need before anything is known. */
const USUAL = 5;

/** What is to be done: of the network pixels times samples times evaluations, and pixels of pictures that are made of the result. */
export interface Work {
  network: number;
  pictures: number;
}

/**
 * Seconds that a unit of each takes by itself, and those of a run's beginning: its first step has the prompt before it, and a
 * first call takes its memory, so that it lasts longer than those after it.
 */
type Rates = { [part in keyof Work]: number } & { start: number };

/** A run that has come so far. */
interface Told {
  /** How much of the network's work was done. */
  share: number;
  /** Seconds that it would have taken until then by itself. */
  alone: number;
}

interface Begun {
  model: object;
  work: Work;
  /** Seconds that it would have taken so far by itself: while n go on at once each has an nth of the machine. */
  alone: number;
  /** The first and the last that it has told. */
  first?: Told;
  last?: Told;
}

/** Seconds of all of a run's network work, by what lies between what it told; its beginning is not in them. */
function paceOf({ first, last }: Begun, start: number): number | undefined {
  if (!first || !last) return undefined;
  if (last.share > first.share) return (last.alone - first.alone) / (last.share - first.share);
  return Math.max(first.alone - start, first.alone / 4) / first.share;
}

/** Measures runs, which share the machine while several go on. */
export class Pace {
  readonly #now: () => number;
  readonly #going = new Map<string, Begun>();
  /** By model, smoothed. */
  readonly #rates = new WeakMap<object, Rates>();
  #seen: number;
  #others = 0;

  /** @param now milliseconds; for tests a clock of their own */
  constructor(now: () => number = () => performance.now()) {
    this.#now = now;
    this.#seen = now();
  }

  /** How many runs go on that are measured elsewhere, and have their shares of the machine. */
  set others(others: number) {
    this.#pass();
    this.#others = others;
  }

  begin(id: string, model: object, work: Work): void {
    this.#pass();
    this.#going.set(id, { model, work, alone: 0 });
  }

  /** @param share how much of the network's work is done */
  tell(id: string, share: number): void {
    const begun = this.#going.get(id);
    if (!begun || !(share > (begun.last?.share ?? 0) && share <= 1)) return;
    this.#pass();
    begun.last = { share, alone: begun.alone };
    begun.first ??= begun.last;
  }

  /** @param done of its time, what the network took, where all of it was done: 0 to 1 */
  end(id: string, done: number | undefined): void {
    this.#pass();
    const begun = this.#going.get(id) as Begun;
    this.#going.delete(id);
    const { model, work, alone } = begun;
    if (done === undefined || !(done >= 0 && done <= 1) || alone === 0) return;
    // One that told of its beginning alone has told of its end by being over.
    const last = begun.first && begun.last === begun.first ? { share: 1, alone: alone * done } : begun.last;
    const pace = begun.first && begun.first.share < 1 ? paceOf({ ...begun, last }, 0) : undefined;
    const start = begun.first && pace !== undefined ? Math.max(0, begun.first.alone - pace * begun.first.share) : 0;
    const measured: Rates = {
      network: (alone * done) / work.network,
      pictures: (alone * (1 - done)) / work.pictures,
      start,
    };
    const rates = this.#rates.get(model);
    const smooth = (part: keyof Rates) => (rates ? rates[part] + (measured[part] - rates[part]) / 2 : measured[part]);
    this.#rates.set(model, { network: smooth('network'), pictures: smooth('pictures'), start: smooth('start') });
  }

  /** What the work takes by itself. */
  secondsFor(model: object, { network, pictures }: Work): number {
    const rates = this.#rates.get(model);
    if (rates) return network * rates.network + pictures * rates.pictures;
    // Before a run has been made, from how far one has come.
    const begun = [...this.#going.values()].find((one) => one.model === model && one.last);
    return begun ? (paceOf(begun, 0) as number) * (network / begun.work.network) : USUAL;
  }

  /** What the rest of a run takes by itself; undefined of one that has not begun. */
  leftOf(id: string): number | undefined {
    this.#pass();
    const begun = this.#going.get(id);
    if (!begun) return undefined;
    const { model, work, alone, last } = begun;
    const all = this.secondsFor(model, work);
    // One that takes longer than was to be expected is likely to go on for a while.
    const rest = (seconds: number, since: number) => Math.max(seconds - since, since / 10);
    if (!last) return rest(all, alone);
    const pictures = this.secondsFor(model, { network: 0, pictures: work.pictures });
    // Once it has come some way its own pace says more than that of others.
    const own = paceOf(begun, this.#rates.get(model)?.start ?? 0) as number;
    return rest((1 - last.share) * (last.share < 0.25 ? all - pictures : own) + pictures, alone - last.alone);
  }

  /** Seconds until the first of all runs that go on is over, in whole ones, at least 1. */
  first(): number {
    const left = [...this.#going.keys()].map((id) => this.leftOf(id) as number);
    return left.length === 0 ? 1 : Math.max(1, Math.ceil(Math.min(...left) * left.length));
  }

  #pass(): void {
    const now = this.#now();
    const each = (now - this.#seen) / 1000 / (this.#going.size + this.#others);
    for (const begun of this.#going.values()) begun.alone += each;
    this.#seen = now;
  }
}

/** A run that goes on or waits, with the seconds that it takes by itself. */
export interface Due<T> {
  of: T;
  seconds: number;
}

/**
 * When runs begin and are over, in seconds from now: those that go on have equal shares of the machine, and whenever one is
 * over those that wait come in, in their order, as far as there is room for them.
 *
 * @param room is there room for one beside others?
 */
export function timetable<T>(
  running: readonly Due<T>[],
  waiting: readonly Due<T>[],
  room: (one: T, beside: readonly T[]) => boolean,
): Map<T, { begins: number; ends: number }> {
  const found = new Map<T, { begins: number; ends: number }>();
  let going = running.map(({ of, seconds }) => ({ of, left: seconds, begins: 0 }));
  let queue = [...waiting];
  let now = 0;
  for (;;) {
    const beside = going.map(({ of }) => of);
    queue = queue.filter(({ of, seconds }) => {
      if (!room(of, beside)) return true;
      beside.push(of);
      going.push({ of, left: seconds, begins: now });
      return false;
    });
    if (going.length === 0) break;
    const least = Math.min(...going.map(({ left }) => left));
    now += least * going.length;
    for (const { of, left, begins } of going) if (left <= least) found.set(of, { begins, ends: now });
    going = going.filter(({ left }) => left > least).map((one) => ({ ...one, left: one.left - least }));
  }
  for (const { of } of queue) found.set(of, { begins: now, ends: now });
  return found;
}

/**
 * Seconds until each place of a queue begins which others fill, too: their runs are taken for ones like ours. As many go on at
 * once as do now.
 *
 * @param running seconds of those of ours that go on
 * @param waiting the same of those that wait, by their places
 * @param active how many go on in all
 * @param typical seconds of a run that nothing is known of
 */
export function begins(
  running: readonly number[],
  waiting: ReadonlyMap<number, number>,
  active: number,
  typical: number,
): number[] {
  // Of one that began at any time half is left.
  const theirs = Array.from({ length: Math.max(0, active - running.length) }, () => typical / 2);
  const going = [...running, ...theirs].map((seconds) => ({ of: {}, seconds }));
  const places = Array.from({ length: 1 + Math.max(-1, ...waiting.keys()) }, (_, place) => ({
    ...{ of: {}, seconds: waiting.get(place) ?? typical },
  }));
  const times = timetable<object>(going, places, (_, beside) => beside.length < Math.max(1, going.length));
  return places.map(({ of }) => times.get(of)?.begins ?? 0);
}
