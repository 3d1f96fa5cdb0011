// A worker: takes runs from the queue that many machines share into this machine's batch.
import { randomBytes } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Job as BullJob, Worker as BullWorker } from 'bullmq';
import { firstLine } from '../../base/text.js';
import { type Engine, GONE, Unavailable } from '../engine.js';
import type { Job } from '../messages.js';
import type { Observer } from '../observe.js';
import type { Queue } from '../queue.js';
import { type Ending, Refused, type RunEvent, rowsOf } from '../runs.js';
import type { Limits } from '../limits.js';
import type { Own } from '../local.js';
import { fingerprint } from './fingerprint.js';
import type { Bull, Redis } from './redis.js';
import type { Store } from './store.js';
import {
  BEAT,
  CANCELLED,
  KEPT,
  type Known,
  keyOf,
  LOCK,
  LOOK,
  MOST_LEFT,
  MOST_LOST,
  type Note,
  names,
  PREFIX,
  type Question,
  queueOf,
  type Result,
  SUSPECT_LEFT,
  type Task,
  UNHEARD,
  WORKER_SECONDS,
  type Worker as Self,
} from './wire.js';

/** How often a store is asked, after waits that double from half a second. */
const STORE_TRIES = 7;

type Held = BullJob<Task, Result>;

/** What a run of this worker has come to. */
type Outcome = { type: 'stored'; key: string } | { type: 'failed'; error: string } | { type: 'again'; error: string };

interface Going {
  run: string;
  front: string;
  rows: number;
  /** Its id in this machine's queue, once it is there. */
  local: string | undefined;
  /** Why it is ended; undefined where it is not. */
  ended: string | undefined;
  leave: AbortController;
  outcome: Promise<Outcome>;
}

export interface ConsumerOptions {
  bull: Bull;
  /** For commands, and for what is told. */
  redis: Redis;
  listener: Redis;
  queue: Queue;
  store: Store;
  version: string;
  limits: Limits;
  observer: Observer;
  /** The samples of every call, where bits are promised. */
  reproducible: number | null;
  /** Told in a sentence what goes wrong without ending anything. */
  warn(sentence: string): void;
}

/** All that a process does for the queue, for each of its models. */
export class Consumer {
  readonly id = randomBytes(8).toString('hex');
  readonly #options: ConsumerOptions;
  readonly #models: readonly Own[];
  readonly #lines: Line[] = [];
  #beat: NodeJS.Timeout | undefined;
  #beating = false;
  #closed = false;

  constructor(models: readonly Own[], options: ConsumerOptions) {
    this.#models = models;
    this.#options = options;
  }

  /** Takes runs from now on. */
  async open(): Promise<void> {
    const { redis, listener } = this.#options;
    for (const { id, engine, folder } of this.#models) {
      const known = {
        model: engine.about as NonNullable<Engine['about']>,
        print: await fingerprint(folder),
        reproducible: this.#options.reproducible,
      };
      await this.#tellModel(id, known);
      this.#lines.push(new Line(id, engine, known, this.#options));
    }
    listener.on('message', (channel, text) => this.#hear(channel, text));
    await listener.subscribe(names.cancel, names.toWorker(this.id));
    await this.#live();
    this.#beat = setInterval(() => void this.#live(), BEAT);
    for (const line of this.#lines) line.open();
    redis.on('ready', () => void this.#retell());
  }

  /** Redis may have lost what was told. */
  async #retell(): Promise<void> {
    for (const line of this.#lines) await this.#tellModel(line.name, line.known).catch(() => undefined);
  }

  async #tellModel(name: string, known: Known): Promise<void> {
    const { redis, warn } = this.#options;
    const text = JSON.stringify(known);
    const before = await redis.hget(names.models, name);
    if (before !== null && before !== text) {
      const { print, reproducible } = JSON.parse(before) as Known;
      if (print !== known.print) warn(`The model ${name} has other files here than where it was served before`);
      else if (reproducible !== known.reproducible) {
        const said = (batch: number | null) => (batch === null ? 'none' : `${batch} samples a call`);
        warn(
          `Expected --reproducible and --batch as the workers of ${name} had them, ${said(reproducible)}, but received ${said(known.reproducible)}: a run may have other bits here`,
        );
      }
    }
    await redis.hset(names.models, name, text);
  }

  /** Says that it is there, and asks what it may have missed. */
  async #live(): Promise<void> {
    if (this.#beating || this.#closed) return;
    this.#beating = true;
    const { redis, listener, store, version } = this.#options;
    try {
      const self: Self = { id: this.id, version, models: this.#models.map(({ id }) => id), store: store.name };
      await redis
        .multi()
        .sadd(names.workers, this.id)
        .set(names.worker(this.id), JSON.stringify(self), 'EX', WORKER_SECONDS)
        .exec();
      // So that it is noticed when nothing comes any more because nothing can.
      await listener.ping();
      for (const line of this.#lines) await line.look();
    } catch {
      // It is tried again.
    } finally {
      this.#beating = false;
    }
  }

  #hear(channel: string, text: string): void {
    if (channel === names.cancel) {
      for (const line of this.#lines) line.end(text, CANCELLED);
      return;
    }
    const question = JSON.parse(text) as Question;
    const line = this.#lines.find(({ name }) => name === question.model);
    void line?.answer(question);
  }

  get state(): { held: number } {
    return { held: this.#lines.reduce((sum, line) => sum + line.held, 0) };
  }

  /** Takes no more runs; those that are here go on for `ms` at most. */
  async drain(ms: number): Promise<void> {
    const lines = Promise.all(this.#lines.map((line) => line.drain()));
    await this.#gone();
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise((resolve) => {
      timer = setTimeout(resolve, ms);
    });
    await Promise.race([lines, late]);
    clearTimeout(timer);
  }

  /** Nobody is to ask it any more. */
  async #gone(): Promise<void> {
    this.#closed = true;
    clearInterval(this.#beat);
    const { redis } = this.#options;
    if (redis.status !== 'ready') return;
    await redis
      .multi()
      .srem(names.workers, this.id)
      .del(names.worker(this.id))
      .exec()
      .catch(() => undefined);
  }

  /** What is here goes back to the queue. */
  async close(): Promise<void> {
    await this.#gone();
    await Promise.all(this.#lines.map((line) => line.close()));
  }
}

/** The runs of one model. */
class Line {
  readonly name: string;
  readonly known: Known;
  readonly #engine: Engine;
  readonly #options: ConsumerOptions;
  readonly #worker: BullWorker<Task, Result>;
  /** Those that this worker has the lock of, by its token. */
  readonly #held = new Map<string, Held>();
  readonly #going = new Map<string, Going>();
  #renewal: NodeJS.Timeout | undefined;
  #renewing = false;
  #tokens = 0;
  #closing = false;
  #loop: Promise<void> = Promise.resolve();
  /** Called when something that was waited for may have come. */
  #wake: (() => void) | undefined;

  constructor(name: string, engine: Engine, known: Known, options: ConsumerOptions) {
    this.name = name;
    this.known = known;
    this.#engine = engine;
    this.#options = options;
    const { bull, redis } = options;
    // Without a function for jobs: how many are taken depends on the room in network calls.
    this.#worker = new bull.Worker<Task, Result>(queueOf(name), null as never, {
      ...{ connection: redis, prefix: PREFIX, autorun: false, skipLockRenewal: true },
      ...{ lockDuration: LOCK, stalledInterval: LOOK, maxStalledCount: MOST_LEFT, drainDelay: 5 },
      ...{ removeOnComplete: { age: KEPT }, removeOnFail: { age: KEPT } },
    });
    // What went wrong with the connection is tried again.
    this.#worker.on('error', () => undefined);
  }

  get held(): number {
    return this.#held.size;
  }

  open(): void {
    void this.#worker.startStalledCheckTimer();
    // On this thread, which no network call blocks: they are made in another process.
    this.#renewal = setInterval(() => void this.#renew(), LOCK / 4);
    this.#loop = this.#take();
  }

  async #renew(): Promise<void> {
    if (this.#renewing || this.#held.size === 0) return;
    this.#renewing = true;
    try {
      const held = [...this.#held];
      // A lock that is lost changes nothing here: whoever comes to the end first has made the result.
      await this.#worker.extendJobLocks(
        held.map(([, { id }]) => id as string),
        held.map(([token]) => token),
        LOCK,
      );
    } catch {
      // It is tried again before the lock is over.
    } finally {
      this.#renewing = false;
    }
  }

  /** Takes one job after the other, as long as there is room. */
  async #take(): Promise<void> {
    while (!this.#closing) {
      if (!this.#hasRoom()) {
        await this.#until(() => this.#closing || this.#hasRoom());
        continue;
      }
      const token = `${this.#worker.id}:${this.#tokens++}`;
      let job: Held | undefined;
      try {
        // A model that is not there has no use for a run.
        if (!this.#engine.about) await this.#engine.open();
        job = (await this.#worker.getNextJob(token, { block: true })) as Held | undefined;
      } catch {
        await sleep(BEAT);
      }
      if (!job) continue;
      if (this.#closing) {
        await job.moveToWait(token).catch(() => undefined);
        return;
      }
      this.#held.set(token, job);
      if (!isSuspect(job)) {
        void this.#make(job, token);
        continue;
      }
      // It may end the process that draws, and is to take nobody along.
      await this.#until(() => this.#going.size === 0);
      await this.#make(job, token);
    }
  }

  #hasRoom(): boolean {
    if (this.#going.size === 0) return true;
    if (this.#going.size >= this.#options.limits.together) return false;
    // One more, which at least has guidance.
    return [...this.#going.values()].reduce((sum, { rows }) => sum + rows, 2) <= this.#engine.room;
  }

  async #until(what: () => boolean): Promise<void> {
    while (!what()) {
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, BEAT);
        this.#wake = () => {
          clearTimeout(timer);
          resolve();
        };
      });
    }
  }

  /** Makes a run, or waits for the one that goes on here already, and says what has come of it. */
  async #make(job: Held, token: string): Promise<void> {
    const run = job.id as string;
    let going = this.#going.get(run);
    if (!going) {
      const { front, job: asked } = job.data;
      const rows = rowsOf(asked.settings, this.known.model);
      const made: Going = {
        ...{ run, front, rows, local: undefined, ended: undefined, leave: new AbortController() },
        outcome: Promise.resolve({ type: 'failed', error: '' }),
      };
      going = made;
      this.#going.set(run, made);
      made.outcome = this.#draw(job, made).finally(() => {
        this.#going.delete(run);
        this.#wake?.();
      });
    }
    const outcome = await going.outcome.catch(
      (error: Error): Outcome => ({ type: 'again', error: error.message || String(error) }),
    );
    await this.#finish(job, token, outcome).catch(() => undefined);
    this.#held.delete(token);
    this.#wake?.();
  }

  async #finish(job: Held, token: string, outcome: Outcome): Promise<void> {
    const { bull } = this.#options;
    const over = { type: 'over', run: job.id as string } as const;
    // Where the lock is lost nothing can be said to the queue: another worker has the run, or will have it.
    if (outcome.type === 'stored') {
      const { key } = outcome;
      // Told first: for who waits nothing else counts.
      await this.#tell(job.data.front, { ...over, key });
      await job.moveToCompleted({ key }, token, false);
      return;
    }
    if (outcome.type === 'failed') await job.moveToFailed(new bull.UnrecoverableError(outcome.error), token, false);
    else if (this.#closing) await job.moveToWait(token);
    else {
      await job.moveToFailed(new Error(outcome.error), token, false);
      if (job.attemptsMade < MOST_LOST) return;
    }
    await this.#tell(job.data.front, over);
  }

  async #draw(held: Held, going: Going): Promise<Outcome> {
    const { store, redis, queue, version, observer } = this.#options;
    const { deferredFailure, attemptsStarted: attempt } = held;
    // BullMQ has given it up, and leaves it to a worker to say so.
    if (deferredFailure)
      return {
        type: 'failed',
        error: `The run was begun ${attempt - 1} times, and each time its worker ended before it was done`,
      };
    const { front, client, trace } = held.data;
    if (trace) observer.carried?.(going.run, trace);
    const [cancelled, heard] = await Promise.all([
      redis.exists(names.cancelled(going.run)),
      redis.exists(names.front(front)),
    ]);
    if (cancelled) return { type: 'failed', error: CANCELLED };
    if (!heard) return { type: 'failed', error: UNHEARD };
    const job = await withInputs(redis, going.run, held.data);
    if (!job) return { type: 'failed', error: 'The pictures that the run starts from are not there any more' };
    const key = keyOf(job, { version, name: this.name, ...this.known });
    if ((await store.get(key)) !== undefined) return { type: 'stored', key };
    const tell = (event: RunEvent): void => {
      if (event.event !== 'started' && event.event !== 'step') return;
      if (going.ended === undefined) {
        void this.#tell(front, { type: 'event', run: going.run, attempt, event });
      }
    };
    for (;;) {
      if (going.ended !== undefined) return { type: 'failed', error: going.ended };
      try {
        const last = await this.#entered(queue, going, job, client, tell);
        if (last.event === 'done') {
          await this.#keep(key, JSON.stringify(last.data));
          return { type: 'stored', key };
        }
        if (last.event === 'cancelled') return { type: 'failed', error: going.ended ?? CANCELLED };
        return { type: last.data.error === GONE || this.#closing ? 'again' : 'failed', error: lostTo(last.data.error) };
      } catch (error) {
        if (error instanceof Refused) return { type: 'failed', error: error.message };
        if (!(error instanceof Unavailable) || this.#closing) throw error;
        if (going.ended === undefined) await this.#engine.open();
      }
    }
  }

  /** Stores a result, however long the store may be away: it was made, and the queue keeps the run for this worker. */
  async #keep(key: string, value: string): Promise<void> {
    const { store, warn } = this.#options;
    for (let i = 0; ; i++) {
      try {
        await store.put(key, value);
        return;
      } catch (error) {
        if (i === STORE_TRIES || this.#closing) throw error;
        if (i === 0) warn(`A result could not be stored so far: ${firstLine((error as Error).message)}`);
        await sleep(500 * 2 ** i);
      }
    }
  }

  /** The last event of a run of this machine's queue. */
  #entered(queue: Queue, going: Going, job: Job, client: string, tell: (event: RunEvent) => void): Promise<Ending> {
    return new Promise((resolve, reject) => {
      const heard = (event: RunEvent): void => {
        if (event.event === 'done' || event.event === 'cancelled' || event.event === 'failed') resolve(event);
        else tell(event);
      };
      queue
        .enter(this.#engine, job, { id: client }, heard, going.leave.signal, going.run)
        .then((id) => {
          going.local = id;
          if (going.ended !== undefined) queue.cancel(id);
        })
        .catch(reject);
    });
  }

  /** Ends a run, where it is here. */
  end(run: string, why: string): void {
    const going = this.#going.get(run);
    if (!going || going.ended !== undefined) return;
    going.ended = why;
    going.leave.abort();
    if (going.local !== undefined) this.#options.queue.cancel(going.local);
  }

  /** Does somebody listen to those that go on? A channel may have been down when it was said. */
  async look(): Promise<void> {
    const { redis } = this.#options;
    const going = [...this.#going.values()].filter(({ ended }) => ended === undefined);
    if (going.length === 0) return;
    const [cancelled, fronts] = await Promise.all([
      redis.mget(going.map(({ run }) => names.cancelled(run))),
      redis.mget(going.map(({ front }) => names.front(front))),
    ]);
    for (const [i, { run }] of going.entries()) {
      if (cancelled[i] !== null) this.end(run, CANCELLED);
      else if (fronts[i] === null) this.end(run, UNHEARD);
    }
  }

  /** What is wrong with a job that has not been queued yet. */
  async answer({ id, front, task, seconds }: Question): Promise<void> {
    const job = await withInputs(this.#options.redis, id, task);
    let error: string | undefined;
    try {
      error = job && (await this.#engine.check(id, job, seconds));
    } catch {
      // The process has ended, perhaps by this: nobody is told, and the run's own start will tell.
      return;
    }
    await this.#tell(front, { type: 'checked', id, ...(error === undefined ? {} : { error }) });
  }

  async #tell(front: string, note: Note): Promise<void> {
    // While nobody can be reached there is no sense in waiting: what counts stands in the queue.
    const { redis } = this.#options;
    if (redis.status !== 'ready') return;
    await redis.publish(names.toFront(front), JSON.stringify(note)).catch(() => undefined);
  }

  /** Takes no more, and waits for those that are here. */
  async drain(): Promise<void> {
    this.#closing = true;
    this.#wake?.();
    while (this.#held.size > 0) await this.#until(() => this.#held.size === 0);
  }

  async close(): Promise<void> {
    this.#closing = true;
    this.#wake?.();
    for (const going of this.#going.values()) going.leave.abort();
    this.#options.queue.close();
    await this.#until(() => this.#held.size === 0);
    clearInterval(this.#renewal);
    await this.#worker.close(true);
    await this.#loop;
  }
}

/** Has it gone wrong so often that it may be the run itself? */
function isSuspect({ attemptsMade, stalledCounter }: Held): boolean {
  return attemptsMade > 0 || stalledCounter >= SUSPECT_LEFT;
}

function lostTo(error: string): string {
  return error === GONE ? 'The process that draws has ended each time that the run was made' : error;
}

/** The job with the pictures that it starts from; nothing where they are gone. */
async function withInputs(redis: Redis, run: string, { job, uploads }: Task): Promise<Job | undefined> {
  if (!uploads) return job;
  const { image, mask } = await redis.hgetallBuffer(names.inputs(run));
  if (!image) return undefined;
  return {
    ...job,
    uploads: {
      ...uploads,
      image: new Uint8Array(image),
      ...(mask ? { mask: new Uint8Array(mask) } : {}),
    },
  };
}
