// Runs that wait and runs that are made, each for as long as somebody listens. Clients take turns.
import { randomBytes } from 'node:crypto';
import { Drain } from './drain.js';
import { type Engine, LONGEST, timeOf, Unavailable } from './engine.js';
import type { Limits } from './limits.js';
import { Memory } from './memory.js';
import type { Done, Job } from './messages.js';
import type { Observer, RunNote } from './observe.js';
import { Pace, timetable, type Work } from './pace.js';
import {
  checkShare,
  type Ending,
  Full,
  outcomeOf,
  Refused,
  type RunEvent,
  type Runs,
  seedsOf,
  sizeOf,
} from './runs.js';
import { type Client, keyOf, Turns } from './turns.js';

interface Entry {
  id: string;
  /** The request that asked for it. */
  request: string | undefined;
  /** When it came. */
  since: number;
  engine: Engine;
  job: Job;
  client: Client;
  /** Samples that an evaluation has, and how much is to be done in all: pixels times evaluations. */
  rows: number;
  /** Fair shares are of what the network does. */
  work: number;
  pictures: number;
  tell: (event: RunEvent) => void;
  cancelled: boolean;
  /** Has the model seen it? */
  checked: boolean;
  /** How many were ahead when this was last told. */
  ahead: number;
}

const workOf = ({ work, pictures }: Entry): Work => ({ network: work, pictures });

/** What of a run's time the network took. */
const networkShare = ({ timings: { networkTotalMs, totalMs } }: Done): number => networkTotalMs / totalMs;

/** Milliseconds until those who wait are told that they have moved. */
const MOMENT = 50;

/** Seconds that a network call may go on after a run's time is up before the process is ended. */
const GRACE = 10;

export class Queue implements Runs {
  readonly #limits: Limits;
  readonly #running = new Map<string, Entry>();
  readonly #waiting = new Turns<Entry>();
  /** Clients whose jobs are being checked, which have a place as well. */
  readonly #checking: { client: Client; engine: Engine }[] = [];
  readonly #memory: Memory<Engine>;
  /** Models that are being loaded because somebody asks for them. */
  readonly #loading = new Set<Engine>();
  readonly #pace: Pace;
  readonly #observer: Observer;
  #closed = false;
  #telling: NodeJS.Timeout | undefined;
  readonly #drain = new Drain(() => this.#running.size + this.#waiting.size + this.#checking.length);

  /**
   * @param memory of all models that there are
   * @param pace tests have a clock of their own in it
   */
  constructor(
    limits: Limits,
    observer: Observer = {},
    memory: Memory<Engine> = new Memory([]),
    pace: Pace = new Pace(),
  ) {
    this.#limits = limits;
    this.#pace = pace;
    this.#observer = observer;
    this.#memory = memory;
  }

  get open(): boolean {
    return !this.#closed && !this.#drain.begun;
  }

  drain(ms: number): Promise<void> {
    return this.#drain.wait(ms);
  }

  /**
   * Loads models, one after the other since each takes all the machine has: the first, and of the others those that fit
   * beside it. The rest is looked at, and loaded when somebody asks for it.
   *
   * @throws Error in one sentence for a model that cannot be loaded
   */
  async openAll(engines: readonly Engine[]): Promise<void> {
    for (const engine of engines) {
      this.#loading.add(engine);
      try {
        if (engines.length > 1) await engine.describe();
        if (this.#memory.makeRoom(engine, () => true)) await this.#opened(engine);
        else {
          await engine.release();
          this.#observer.released?.({ model: engine.name, bytes: 0 });
        }
      } finally {
        this.#loading.delete(engine);
        this.#advance();
      }
    }
  }

  get state(): { running: number; waiting: number } {
    return { running: this.#running.size, waiting: this.#waiting.size + this.#checking.length };
  }

  async enter(
    engine: Engine,
    job: Job,
    client: Client,
    tell: (event: RunEvent) => void,
    signal: AbortSignal,
    request?: string,
  ): Promise<string> {
    if (!this.open) throw new Unavailable('The server is shutting down', 5);
    const model = engine.about;
    if (!model) throw new Unavailable('The model is being loaded', engine.readyIn);
    const { rows, work, pictures } = sizeOf(job, model, this.#limits);
    this.#findPlace(client, { engine, rows });
    const id = randomBytes(16).toString('hex');
    // One that is not in memory looks at the job when it is.
    const checked = engine.model !== undefined;
    if (checked) await this.#check(id, engine, job, client, signal);
    const since = performance.now();
    const state = { cancelled: false, checked, ahead: -1 };
    this.#waiting.add({ id, request, since, engine, job, client, rows, work, pictures, tell, ...state });
    this.#advance();
    return id;
  }

  /** @throws Refused, Unavailable */
  async #check(id: string, engine: Engine, job: Job, client: Client, signal: AbortSignal): Promise<void> {
    const place = { client, engine };
    this.#checking.push(place);
    this.#memory.touch(engine);
    let error: string | undefined;
    // Who leaves meanwhile frees the place at once, however long the check goes on.
    let leave = (): void => undefined;
    try {
      error = await Promise.race([
        engine.check(id, job, this.#limits.checkSeconds),
        new Promise<never>((_, reject) => {
          leave = () => reject(new Unavailable('The client has gone', 0));
          if (signal.aborted) leave();
          else signal.addEventListener('abort', leave, { once: true });
        }),
      ]);
    } finally {
      signal.removeEventListener('abort', leave);
      this.#checking.splice(this.#checking.indexOf(place), 1);
      this.#drain.look();
      // Another model may wait for this one to be at rest.
      if (!this.#closed) queueMicrotask(() => this.#advance());
    }
    if (error !== undefined) throw new Refused(error);
    if (signal.aborted || this.#closed) throw new Unavailable('The server is shutting down', 5);
  }

  /** @throws Full */
  #findPlace(client: Client, run: Pick<Entry, 'engine' | 'rows'>): void {
    const { waiting } = this.#limits;
    const taken = this.#waiting.size + this.#checking.length;
    // One that would not wait needs no place to do so.
    if (taken >= waiting + (this.#hasRoom(run) ? 1 : 0)) throw new Full(`all ${waiting} are taken`, this.#freeIn());
    const holders = [...this.#checking, ...this.#entries()].map((entry) => entry.client);
    checkShare(holders, client, this.#limits, () => this.#freeIn(client));
  }

  #entries(): Entry[] {
    return [...this.#running.values(), ...this.#waiting];
  }

  /** Seconds until a place becomes free: anybody's, or one of a client's own. */
  #freeIn(client?: Client): number {
    const times = this.#timetable();
    const own = this.#entries().filter((entry) => client === undefined || entry.client.id === client.id);
    const first = Math.min(...own.map((entry) => times.get(entry)?.ends ?? 1));
    const most = this.#limits.seconds * (1 + this.#waiting.size);
    return Math.max(1, Math.ceil(Math.min(Number.isFinite(first) ? first : 1, most)));
  }

  /** When runs will begin and be over, in seconds from now. */
  #timetable(): ReturnType<typeof timetable<Entry>> {
    const due = (of: Entry) => ({
      of,
      seconds: this.#pace.leftOf(of.id) ?? this.#pace.secondsFor(of.engine, workOf(of)),
    });
    const running = [...this.#running.values()].map(due);
    const waiting = [...this.#waiting].map(due);
    const times = timetable(running, waiting, (one, beside) => this.#fits(one, beside));
    // One that is not in memory is loaded first.
    for (const { of } of waiting) {
      const time = times.get(of);
      if (!time || of.engine.model) continue;
      times.set(of, { begins: time.begins + of.engine.readyIn, ends: time.ends + of.engine.readyIn });
    }
    return times;
  }

  cancel(id: string): boolean {
    const waiting = this.#waiting.remove((entry) => entry.id === id);
    if (waiting) {
      waiting.tell({ event: 'cancelled', data: { ms: 0 } });
      // Another model's runs may have waited until it had been the turn of this one.
      this.#advance();
      this.#drain.look();
      return true;
    }
    const running = this.#running.get(id);
    if (!running) return false;
    running.cancelled = true;
    running.engine.cancel(id);
    return true;
  }

  close(): void {
    this.#closed = true;
    for (const { tell } of this.#entries()) {
      tell({ event: 'failed', data: { error: 'The server is shutting down' } });
    }
    this.#waiting.clear();
    clearTimeout(this.#telling);
  }

  /**
   * Who has come is told his place at once. Others have moved: they are told a moment later, all of them of whatever has
   * happened until then, since each who comes or goes moves all who wait.
   */
  #tellPlaces(): void {
    this.#tellMoved((entry) => entry.ahead === -1);
    if (this.#telling !== undefined || this.#waiting.size === 0) return;
    this.#telling = setTimeout(() => {
      this.#telling = undefined;
      this.#tellMoved(() => true);
    }, MOMENT);
  }

  #tellMoved(wanted: (entry: Entry) => boolean): void {
    const before = this.#running.size;
    const places = [...this.#waiting].entries();
    const moved = [...places].filter(([i, entry]) => entry.ahead !== i + before && wanted(entry));
    if (moved.length === 0) return;
    const times = this.#timetable();
    for (const [i, entry] of moved) {
      entry.ahead = i + before;
      const seconds = Math.round(times.get(entry)?.begins ?? 0);
      entry.tell({ event: 'queued', data: { id: entry.id, ahead: entry.ahead, seconds } });
    }
  }

  #advance(): void {
    this.#tellPlaces();
    // A model that is busy does not keep those from theirs who ask for another one.
    const busy = new Set<Engine>();
    for (const entry of [...this.#waiting]) {
      if (this.#closed) return;
      if (busy.has(entry.engine) || !this.#hasRoom(entry)) {
        busy.add(entry.engine);
        continue;
      }
      if (entry.engine.model === undefined && entry.engine.about !== undefined) {
        busy.add(entry.engine);
        // Nobody begins with those that have to give way for it.
        for (const other of this.#load(entry.engine)) busy.add(other);
        continue;
      }
      this.#waiting.take(entry);
      this.#running.set(entry.id, entry);
      this.#make(entry).finally(() => {
        this.#running.delete(entry.id);
        this.#advance();
        this.#drain.look();
      });
      this.#tellPlaces();
    }
  }

  /**
   * Loads a model that is not in memory, as soon as there is room for it.
   *
   * @returns who gives way, or has to be at rest first
   */
  #load(engine: Engine): Engine[] {
    if (this.#loading.has(engine)) return [];
    const atWork = (other: Engine): boolean =>
      this.#loading.has(other) || [...this.#running.values(), ...this.#checking].some((one) => one.engine === other);
    const released = this.#memory.makeRoom(engine, atWork);
    if (!released) return this.#memory.models.filter((other) => other !== engine && other.held);
    this.#loading.add(engine);
    this.#memory.touch(engine);
    this.#bring(engine, released).finally(() => {
      this.#loading.delete(engine);
      if (!this.#closed) this.#advance();
    });
    return released;
  }

  async #bring(engine: Engine, released: readonly Engine[]): Promise<void> {
    const { name: model } = engine;
    const asking = (): Entry[] => [...this.#waiting].filter((entry) => entry.engine === engine);
    try {
      for (const other of released) {
        const { bytes } = other.memory;
        await other.release();
        this.#observer.released?.({ model: other.name, bytes, room: model });
      }
      if (this.#closed) return;
      engine.onLoading = ({ done, of }) => {
        for (const { id, tell } of asking()) tell({ event: 'loading', data: { id, model, done, of } });
      };
      await this.#opened(engine);
    } catch (error) {
      // The next one who asks may find more room.
      await engine.release();
      for (const entry of asking()) {
        this.#waiting.remove((one) => one === entry);
        entry.tell({ event: 'failed', data: { error: (error as Error).message } });
      }
      this.#drain.look();
    } finally {
      engine.onLoading = undefined;
    }
  }

  async #opened(engine: Engine): Promise<void> {
    const since = performance.now();
    await engine.open();
    const seconds = (performance.now() - since) / 1000;
    this.#memory.touch(engine);
    this.#observer.loaded?.({ model: engine.name, seconds, bytes: engine.memory.bytes });
  }

  /** Is there room now? */
  #hasRoom(run: Pick<Entry, 'engine' | 'rows'>): boolean {
    return this.#fits(run, [...this.#running.values()]);
  }

  /** Runs share network calls as far as there is room in them. */
  #fits({ engine, rows }: Pick<Entry, 'engine' | 'rows'>, others: readonly Entry[]): boolean {
    const beside = others.filter((entry) => entry.engine === engine);
    if (beside.length === 0) return true;
    if (beside.length >= this.#limits.together) return false;
    return beside.reduce((sum, entry) => sum + entry.rows, rows) <= engine.room;
  }

  async #make(entry: Entry): Promise<void> {
    const { id, engine, job, tell } = entry;
    const { settings } = job;
    const { steps, checkSeconds } = this.#limits;
    if (!entry.checked) {
      const end = await engine.check(id, job, checkSeconds).then(
        (error): RunEvent | undefined =>
          error === undefined ? undefined : { event: 'failed', data: { error, refused: true } },
        (error: Error): RunEvent => ({ event: 'failed', data: { error: error.message } }),
      );
      if (this.#closed) return;
      const last: RunEvent | undefined = entry.cancelled ? { event: 'cancelled', data: { ms: 0 } } : end;
      if (last) return tell(last);
    }
    const seconds = Math.min(this.#limits.seconds, LONGEST - GRACE);
    const { seed, seeds } = seedsOf(settings);
    tell({ event: 'started', data: { id, seeds, settings: { ...settings, seed } } });
    let late = false;
    let grace: NodeJS.Timeout | undefined;
    const limit = setTimeout(() => {
      late = true;
      engine.cancel(id);
      grace = setTimeout(() => engine.kill(), GRACE * 1000);
    }, timeOf(seconds));
    const begun = performance.now();
    this.#pace.begin(id, engine, workOf(entry));
    this.#memory.touch(engine);
    const waited = (performance.now() - entry.since) / 1000;
    this.#observer.started?.({ ...this.#note(entry, waited), seconds: 0 });
    const outcome = await engine.run(id, job, keyOf(entry.client), seed, steps, {
      step: (data) => {
        const { step, steps, batch, batches } = data;
        // Nobody knows how many steps the adaptive method will make.
        if (steps > 0) this.#pace.tell(id, (batch + step / steps) / batches);
        if (!entry.cancelled && !late) tell({ event: 'step', data });
      },
    });
    clearTimeout(limit);
    clearTimeout(grace);
    // It is over, whoever else is told first.
    this.#running.delete(id);
    const ms = performance.now() - begun;
    this.#pace.end(id, outcome.type === 'done' ? networkShare(outcome.data) : undefined);
    const note = { ...this.#note(entry, waited), seconds: ms / 1000 };
    const end = (ending: Ending): void => {
      this.#observer.ended?.({ ...note, ...outcomeOf(ending) });
      if (!this.#closed) tell(ending);
    };
    if (late) end({ event: 'failed', data: { error: `The run took longer than the ${seconds} s that it may` } });
    else if (entry.cancelled) end({ event: 'cancelled', data: { ms } });
    else if (outcome.type === 'done') end({ event: 'done', data: outcome.data });
    else if (outcome.type === 'failed') end({ event: 'failed', data: { error: outcome.error } });
    else end({ event: 'cancelled', data: { ms } });
  }

  #note({ id, engine, client, request }: Entry, waited: number): Omit<RunNote, 'seconds'> {
    return { id, model: engine.name, client: client.id, user: client.user, request, waited };
  }
}
