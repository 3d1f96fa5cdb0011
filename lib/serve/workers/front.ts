// A front end: what the interfaces ask for goes to a queue that many machines share, and what the workers tell comes back.
// Whatever a channel may lose is found again: the queue itself is asked every second what has become of each run, and a run
// that it does not know any more is put there once more. Runs are their settings and seeds, so that does no harm.
import { randomBytes, randomInt } from 'node:crypto';
import type { Queue as BullQueue } from 'bullmq';
import { Drain } from '../drain.js';
import { Unavailable } from '../engine.js';
import type { Limits } from '../limits.js';
import type { Done, Job, Model } from '../messages.js';
import type { Observer, RunNote } from '../observe.js';
import { begins, Pace, type Work } from '../pace.js';
import {
  checkShare,
  type Drawer,
  type Ending,
  Full,
  outcomeOf,
  Refused,
  type RunEvent,
  type Runs,
  seedsOf,
  sizeOf,
} from '../runs.js';
import { type Client, keyOf } from '../turns.js';
import { type Bull, misunderstood, PATIENCE, patiently, type Redis } from './redis.js';
import type { Store } from './store.js';
import {
  BEAT,
  CANCELLED,
  FRONT_SECONDS,
  KEPT,
  type Known,
  MOST_LOST,
  type Note,
  names,
  PREFIX,
  type Question,
  queueOf,
  type Result,
  type Task,
  UNHEARD,
  type Worker,
} from './wire.js';

/** Milliseconds after which a run that was cancelled is over for who cancelled it, whether or not its worker has said so. */
const LONG_ENOUGH = 15_000;

/** A model that workers draw with. */
class Remote implements Drawer {
  readonly name: string;
  readonly queue: BullQueue<Task, Result>;
  readonly loading = undefined;
  readonly released = false;
  /** It takes nothing here. */
  readonly memory = { bytes: 0 };
  readonly batch = 0;
  readonly readyIn = 5;
  about: Model | undefined;
  absent: string;
  readonly pace = new Pace();
  workers: Worker[] = [];
  waiting = 0;
  active = 0;

  get model(): Model | undefined {
    return this.about;
  }

  constructor(name: string, queue: BullQueue<Task, Result>) {
    this.name = name;
    this.queue = queue;
    this.absent = `No worker that draws with ${name} has come to the queue so far`;
  }
}

interface Entry {
  id: string;
  request: string | undefined;
  since: number;
  remote: Remote;
  job: Job;
  client: Client;
  work: number;
  seeds: number[];
  tell: (event: RunEvent) => void;
  /** When it was cancelled. */
  cancelled: number | undefined;
  /** How many were ahead when this was last told. */
  ahead: number;
  /** The attempt that is told of; 0 while it waits. */
  attempt: number;
  startedAt: number;
  /** How much of it is known to be done; 0 of one whose result was there already, which says nothing of how long others take. */
  share: number;
  waited: number;
  settling: boolean;
  priority: number;
}

export interface FrontOptions {
  bull: Bull;
  redis: Redis;
  listener: Redis;
  store: Store;
  limits: Limits;
  observer: Observer;
  /** Of the models that are served. */
  models: readonly string[];
}

export class Front implements Runs {
  readonly id = randomBytes(8).toString('hex');
  readonly #options: FrontOptions;
  readonly #limits: Limits;
  readonly models: readonly Remote[];
  readonly #runs = new Map<string, Entry>();
  /** Clients whose jobs are being checked, which have a place as well. */
  readonly #entering: Client[] = [];
  readonly #checks = new Map<string, (note: Note & { type: 'checked' }) => void>();
  /** Runs that nobody wants any more, but the queue could not be told. */
  readonly #unsaid = new Map<string, Pick<Entry, 'id' | 'remote'>>();
  #beat: NodeJS.Timeout | undefined;
  #beating = false;
  #closed = false;
  readonly #drain = new Drain(() => this.#runs.size + this.#entering.length);
  /** Runs that were begun anew. */
  again = 0;

  constructor(options: FrontOptions) {
    const { bull, redis, models, limits } = options;
    this.#options = options;
    this.#limits = limits;
    this.models = models.map(
      (name) =>
        new Remote(
          name,
          new bull.Queue<Task, Result>(queueOf(name), {
            ...{ connection: redis, prefix: PREFIX, streams: { events: { maxLen: 100 } } },
          }),
        ),
    );
    for (const { queue } of this.models) queue.on('error', () => undefined);
  }

  /** Is the queue there? */
  get connected(): boolean {
    return this.#options.redis.status === 'ready';
  }

  get open(): boolean {
    return !this.#closed && !this.#drain.begun && this.connected;
  }

  get state(): { running: number; waiting: number } {
    const running = [...this.#runs.values()].filter(({ attempt }) => attempt > 0).length;
    return { running, waiting: this.#runs.size - running + this.#entering.length };
  }

  async begin(): Promise<void> {
    const { listener } = this.#options;
    listener.on('message', (_, text) => this.#hear(JSON.parse(text) as Note));
    await listener.subscribe(names.toFront(this.id));
    await this.#live();
    this.#beat = setInterval(() => void this.#live(), BEAT);
  }

  /** Says that it is there, and finds what was missed. */
  async #live(): Promise<void> {
    if (this.#beating || this.#closed) return;
    this.#beating = true;
    const { redis, listener } = this.#options;
    try {
      await redis.set(names.front(this.id), '1', 'EX', FRONT_SECONDS);
      await listener.ping();
      await this.#learn();
      for (const { id, remote } of this.#unsaid.values()) await this.#withdraw(id, remote);
      await Promise.all([...this.#runs.values()].map((entry) => this.#settle(entry)));
      await this.#tellPlaces();
    } catch {
      // While the queue is away nothing can be said; it is tried again.
    } finally {
      this.#beating = false;
    }
  }

  /** What there is of workers and models. */
  async #learn(): Promise<void> {
    const { redis } = this.#options;
    const ids = await redis.smembers(names.workers);
    const said = ids.length === 0 ? [] : await redis.mget(ids.map(names.worker));
    const gone = ids.filter((_, i) => said[i] === null);
    if (gone.length > 0) await redis.srem(names.workers, ...gone);
    const workers = said.flatMap((text) => (text === null ? [] : [JSON.parse(text) as Worker]));
    const known = await redis.hmget(names.models, ...this.models.map(({ name }) => name));
    for (const [i, remote] of this.models.entries()) {
      remote.workers = workers.filter(({ models }) => models.includes(remote.name));
      const text = known[i];
      // What was known stays: runs may wait for a worker to come.
      if (typeof text === 'string') remote.about = (JSON.parse(text) as Known).model;
      const {
        waiting = 0,
        prioritized = 0,
        delayed = 0,
        active = 0,
      } = await remote.queue.getJobCounts(...(['waiting', 'prioritized', 'delayed', 'active'] as const));
      remote.waiting = waiting + prioritized + delayed;
      remote.active = active;
      remote.pace.others = Math.max(0, active - this.#running(remote).length);
      if (!remote.about) {
        remote.absent = (await misunderstood(redis, 'front end')) ?? remote.absent;
      }
    }
  }

  async enter(
    drawer: Drawer,
    job: Job,
    client: Client,
    tell: (event: RunEvent) => void,
    signal: AbortSignal,
    request?: string,
  ): Promise<string> {
    if (this.#closed || this.#drain.begun) throw new Unavailable('The server is shutting down', 5);
    if (!this.connected) throw new Unavailable('The queue cannot be reached', 5);
    const remote = drawer as Remote;
    const { about: model } = remote;
    if (!model) throw new Unavailable(remote.absent, remote.readyIn);
    const { work } = sizeOf(job, model, this.#limits);
    this.#findPlace(client, remote);
    const id = randomBytes(16).toString('hex');
    const { settings } = job;
    const { seed, seeds } = seedsOf(settings);
    const seeded = { ...job, settings: { ...settings, seed } };
    this.#entering.push(client);
    try {
      await this.#sendInputs(id, seeded);
      const error = await this.#check(id, remote, this.#taskOf(seeded, client, request), signal);
      if (error !== undefined) throw new Refused(error);
      if (signal.aborted || this.#closed) throw new Unavailable('The server is shutting down', 5);
      const entry: Entry = {
        ...{ id, request, since: performance.now(), remote, job: seeded, client, tell },
        ...{ work, seeds },
        ...{ cancelled: undefined, ahead: -1, attempt: 0, startedAt: 0, share: 0, waited: 0, settling: false },
        // Clients take turns: the second run of one waits for the first of all others, and so on.
        priority: 1 + [...this.#runs.values()].filter((other) => keyOf(other.client) === keyOf(client)).length,
      };
      await this.#add(entry);
      this.#runs.set(id, entry);
      this.#tell(remote, new Map([[remote.waiting++, entry]]));
      return id;
    } catch (error) {
      // It may be in the queue even where nobody has said so.
      this.#withdraw(id, remote).catch(() => this.#unsaid.set(id, { id, remote }));
      if (error instanceof Unavailable || error instanceof Refused) throw error;
      throw new Unavailable('The queue cannot be reached', 5);
    } finally {
      this.#entering.splice(this.#entering.indexOf(client), 1);
      this.#drain.look();
    }
  }

  #taskOf({ uploads, ...job }: Job, client: Client, request: string | undefined): Task {
    const { image: _, mask: __, ...how } = uploads ?? {};
    const trace = request === undefined ? undefined : this.#options.observer.carrier?.(request);
    return {
      front: this.id,
      client: keyOf(client),
      job,
      ...(trace ? { trace } : {}),
      ...(uploads ? { uploads: how as Task['uploads'] } : {}),
    };
  }

  /** The pictures that a run starts from lie beside the queue until it is over. */
  async #sendInputs(id: string, { uploads }: Job): Promise<void> {
    if (!uploads) return;
    const { image, mask } = uploads;
    const key = names.inputs(id);
    const fields = { image: Buffer.from(image), ...(mask ? { mask: Buffer.from(mask) } : {}) };
    await soon(
      this.#options.redis
        .multi()
        .hset(key, fields)
        .expire(key, 24 * KEPT)
        .exec(),
    );
  }

  /** Asks a worker what is wrong with a job. Where none is there it is found when the run begins. */
  async #check(id: string, { name, workers }: Remote, task: Task, signal: AbortSignal): Promise<string | undefined> {
    if (workers.length === 0) return undefined;
    const { checkSeconds: seconds } = this.#limits;
    const { id: worker } = workers[randomInt(workers.length)];
    const question: Question = { type: 'check', id, front: this.id, model: name, task, seconds };
    let answered: (error: string | undefined) => void = () => undefined;
    const answer = new Promise<string | undefined>((resolve) => {
      answered = resolve;
    });
    const leave = (): void => answered(undefined);
    // Its worker may have ended, or be so busy that the run begins elsewhere first.
    const timer = setTimeout(leave, Math.min(seconds * 1000, PATIENCE));
    signal.addEventListener('abort', leave, { once: true });
    this.#checks.set(id, ({ error }) => answered(error));
    try {
      await soon(this.#options.redis.publish(names.toWorker(worker), JSON.stringify(question)));
      return await answer;
    } finally {
      clearTimeout(timer);
      signal.removeEventListener('abort', leave);
      this.#checks.delete(id);
    }
  }

  #add({ id, remote, job, client, request, priority }: Entry): Promise<unknown> {
    return soon(
      remote.queue.add('run', this.#taskOf(job, client, request), {
        ...{ jobId: id, priority: Math.min(priority, 2_000_000), attempts: MOST_LOST },
        ...{ removeOnComplete: { age: KEPT }, removeOnFail: { age: KEPT }, stackTraceLimit: 0 },
      }),
    );
  }

  /** @throws Full */
  #findPlace(client: Client, remote: Remote): void {
    const { waiting } = this.#limits;
    if (remote.waiting + this.#entering.length >= waiting) {
      throw new Full(`all ${waiting} are taken`, this.#freeIn(remote));
    }
    const holders = [...this.#entering, ...[...this.#runs.values()].map((entry) => entry.client)];
    checkShare(holders, client, this.#limits, () => this.#freeIn(remote));
  }

  /** Seconds until a place becomes free, of one of ours. */
  #freeIn({ pace, waiting }: Remote): number {
    return Math.ceil(pace.first() / Math.max(1, Math.min(waiting, 8)));
  }

  /** Runs of ours that go on. */
  #running(remote: Remote): Entry[] {
    return [...this.#runs.values()].filter((entry) => entry.remote === remote && entry.attempt > 0);
  }

  /** Seconds until runs of ours begin that wait, by their places in the queue. */
  #begins(remote: Remote, places: ReadonlyMap<number, Entry>): number[] {
    const { pace, active } = remote;
    const running = this.#running(remote);
    const seconds = new Map(
      Array.from(places, ([place, entry]) => [place, pace.secondsFor(remote, workOf(entry))] as const),
    );
    const typical = [...seconds.values()].reduce((sum, one) => sum + one, 0) / Math.max(1, seconds.size);
    return begins(
      running.map(({ id }) => pace.leftOf(id) as number),
      ...([seconds, active, typical] as const),
    );
  }

  async #tellPlaces(): Promise<void> {
    const waiting = [...this.#runs.values()].filter(
      ({ attempt, cancelled }) => attempt === 0 && cancelled === undefined,
    );
    if (waiting.length === 0) return;
    const pipeline = this.#options.redis.pipeline();
    for (const { id, remote } of waiting) pipeline.zrank(remote.queue.toKey('prioritized'), id);
    const ranks = (await pipeline.exec()) ?? [];
    for (const remote of this.models) {
      const places = new Map<number, Entry>();
      for (const [i, entry] of waiting.entries()) {
        const rank = ranks[i][1];
        if (entry.remote === remote && typeof rank === 'number') places.set(rank, entry);
      }
      this.#tell(remote, places);
    }
  }

  /** Tells those whose places have changed. */
  #tell(remote: Remote, places: ReadonlyMap<number, Entry>): void {
    const aheadOf = (place: number): number => place + remote.active;
    const moved = [...places].filter(([place, entry]) => entry.attempt === 0 && entry.ahead !== aheadOf(place));
    if (moved.length === 0) return;
    const times = this.#begins(remote, places);
    for (const [place, entry] of moved) {
      entry.ahead = aheadOf(place);
      const seconds = Math.round(times[place]);
      entry.tell({ event: 'queued', data: { id: entry.id, ahead: entry.ahead, seconds } });
    }
  }

  #hear(note: Note): void {
    if (note.type === 'checked') {
      this.#checks.get(note.id)?.(note);
      return;
    }
    const entry = this.#runs.get(note.run);
    if (!entry) return;
    if (note.type === 'over') {
      const { key } = note;
      // What goes wrong here is done again by the next look.
      (key === undefined ? this.#settle(entry) : this.#finish(entry, key)).catch(() => undefined);
      return;
    }
    if (entry.cancelled !== undefined) return;
    const { attempt, event } = note;
    // A worker that was given up may go on: what it tells is told by another one.
    if (attempt < entry.attempt) return;
    if (attempt > entry.attempt) this.#started(entry, attempt);
    if (event.event === 'started') return;
    const { step, steps, batch, batches } = event.data;
    if (steps > 0) {
      entry.share = (batch + step / steps) / batches;
      entry.remote.pace.tell(note.run, entry.share);
    }
    entry.tell(event);
  }

  #started(entry: Entry, attempt: number): void {
    const { id, remote, seeds, job, since } = entry;
    if (entry.attempt > 0) {
      this.again++;
      remote.pace.end(id, undefined);
    }
    entry.attempt = attempt;
    entry.share = 0;
    entry.startedAt = performance.now();
    entry.waited = (entry.startedAt - since) / 1000;
    remote.pace.begin(id, remote, workOf(entry));
    entry.tell({ event: 'started', data: { id, seeds, settings: job.settings } });
    this.#options.observer.started?.({ ...this.#note(entry), seconds: 0 });
  }

  #note({ id, remote, client, request, waited }: Entry): Omit<RunNote, 'seconds'> {
    return { id, model: remote.name, client: client.id, user: client.user, request, waited };
  }

  /** Looks what has become of a run. */
  async #settle(entry: Entry): Promise<void> {
    const { id, remote } = entry;
    if (entry.settling || !this.#runs.has(id)) return;
    entry.settling = true;
    try {
      const found = await soon(remote.queue.getJob(id));
      if (!this.#runs.has(id)) return;
      if (entry.cancelled !== undefined) {
        const over = found === undefined || found.finishedOn !== undefined;
        if (over || performance.now() - entry.cancelled > LONG_ENOUGH) await this.#end(entry, cancelledOf(entry));
      } else if (found === undefined) {
        // Redis has begun anew without what it had.
        await this.#sendInputs(id, entry.job);
        await this.#add(entry);
      } else if (found.finishedOn !== undefined) {
        const { returnvalue, failedReason } = found;
        if (failedReason === undefined || failedReason === '') {
          if (!(await this.#finish(entry, returnvalue.key))) await this.#repeat(entry);
        } else if (failedReason === UNHEARD) await this.#repeat(entry);
        else if (failedReason === CANCELLED) await this.#end(entry, cancelledOf(entry));
        else await this.#end(entry, { event: 'failed', data: { error: failedReason } });
      }
    } finally {
      entry.settling = false;
    }
  }

  /** Ends a run with what is stored; false where that is not there any more. */
  async #finish(entry: Entry, key: string): Promise<boolean> {
    if (entry.cancelled !== undefined) return true;
    const text = await this.#options.store.get(key);
    if (text === undefined) return false;
    await this.#end(entry, { event: 'done', data: JSON.parse(text) as Done });
    return true;
  }

  /** Its result is gone, or it was taken for one that nobody listens to while this front end was cut off. */
  async #repeat(entry: Entry): Promise<void> {
    await soon(entry.remote.queue.remove(entry.id));
    await this.#sendInputs(entry.id, entry.job);
    await this.#add(entry);
  }

  async #end(entry: Entry, ending: Ending): Promise<void> {
    const { id, remote, attempt, tell } = entry;
    if (!this.#runs.delete(id)) return;
    if (ending.event === 'done' && attempt === 0) this.#started(entry, 1);
    const ms = entry.attempt > 0 ? performance.now() - entry.startedAt : 0;
    if (entry.attempt > 0) remote.pace.end(id, ending.event === 'done' && entry.share > 0 ? 1 : undefined);
    this.#options.observer.ended?.({ ...this.#note(entry), seconds: ms / 1000, ...outcomeOf(ending) });
    if (!this.#closed) tell(ending);
    this.#drain.look();
    // What was wanted of it is here.
    await soon(
      Promise.all([remote.queue.remove(id), this.#options.redis.del(names.inputs(id), names.cancelled(id))]),
    ).catch(() => undefined);
  }

  cancel(id: string): boolean {
    const entry = this.#runs.get(id);
    if (!entry) return false;
    if (entry.cancelled !== undefined) return true;
    entry.cancelled = performance.now();
    this.#withdraw(id, entry.remote)
      .then((removed) => (removed ? this.#end(entry, cancelledOf(entry)) : undefined))
      .catch(() => this.#unsaid.set(id, entry));
    return true;
  }

  /** Takes a run back: out of the queue where it waits, else its worker is told. True where nothing is left of it. */
  async #withdraw(id: string, { queue }: Remote): Promise<boolean> {
    const { redis } = this.#options;
    await soon(redis.set(names.cancelled(id), '1', 'EX', KEPT));
    await soon(redis.publish(names.cancel, id));
    this.#unsaid.delete(id);
    const removed = await soon(queue.remove(id));
    // Its worker has them already, where it was begun.
    await soon(redis.del(names.inputs(id)));
    return removed === 1;
  }

  drain(ms: number): Promise<void> {
    return this.#drain.wait(ms);
  }

  close(): void {
    this.#closed = true;
    for (const { tell } of this.#runs.values()) {
      tell({ event: 'failed', data: { error: 'The server is shutting down' } });
    }
  }

  /** Takes back what is left, and says that nobody is here any more. */
  async leave(): Promise<void> {
    this.close();
    clearInterval(this.#beat);
    const { redis } = this.#options;
    if (this.connected) {
      const runs = [...this.#runs.values()];
      await Promise.all(runs.map(({ id, remote }) => this.#withdraw(id, remote).catch(() => undefined)));
      await soon(redis.del(names.front(this.id))).catch(() => undefined);
    }
    this.#runs.clear();
    await Promise.all(this.models.map(({ queue }) => queue.close().catch(() => undefined)));
  }
}

/** What decoding takes of it is not known here. */
const workOf = ({ work }: Entry): Work => ({ network: work, pictures: 1 });

function cancelledOf({ attempt, startedAt }: Entry): RunEvent & { event: 'cancelled' } {
  return { event: 'cancelled', data: { ms: attempt === 0 ? 0 : performance.now() - startedAt } };
}

/** Nobody waits long for a queue that does not answer. */
function soon<T>(asked: Promise<T>): Promise<T> {
  return patiently(asked, 'The queue does not answer');
}
