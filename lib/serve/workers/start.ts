// The two sides of a queue that many machines share: a front end, which answers, and a worker, which draws.
import { version } from '../../base/version.js';
import type { Engine } from '../engine.js';
import { type Address, answerAt, answerHealth, type Http } from '../http.js';
import { defaultLimits, type Limits } from '../limits.js';
import { type LocalOptions, openLocal } from '../local.js';
import { type LogLevel, openLog } from '../log.js';
import { all, type Observer } from '../observe.js';
import { Front } from './front.js';
import { connect, greet, misunderstood, openBull, type Redis } from './redis.js';
import { openTraces } from '../traces.js';
import { openStore, type Store, type StoreOptions } from './store.js';
import { Consumer } from './worker.js';

export interface SharedOptions {
  /** `redis://` or `rediss://`, with a password where it needs one. */
  url: string;
  /** Where results lie; the same for front ends and workers. */
  store?: StoreOptions;
  limits?: Partial<Limits>;
  log?: LogLevel;
}

/** Runs that may wait where many machines take them, in place of one. */
const WAITING = 1024;

interface Shared {
  redis: Redis;
  listener: Redis;
  store: Store;
  end(): Promise<void>;
}

async function open(url: string, what: string, patient: boolean, options: StoreOptions = {}): Promise<Shared> {
  const redis = await connect(url, what, patient);
  const listener = await connect(url, what, true);
  const end = async (): Promise<void> => {
    redis.disconnect();
    listener.disconnect();
  };
  try {
    return { redis, listener, store: await openStore(redis, options), end };
  } catch (error) {
    await end();
    throw error;
  }
}

export interface FrontEnd {
  url: string;
  drain(seconds: number): Promise<void>;
  close(): Promise<void>;
}

/**
 * Answers for workers.
 *
 * @throws Error in one sentence for a queue that cannot be reached, or a port that cannot be had; Missing
 */
export async function startFront(options: SharedOptions & Address & { models: readonly string[] }): Promise<FrontEnd> {
  const { url, store: place, limits: given, log, models: served, ...address } = options;
  const what = 'The flag --queue with an address';
  const bull = await openBull(what);
  const limits = { ...defaultLimits, waiting: WAITING, ...given };
  const observers: Observer[] = log ? [await openLog(log)] : [];
  const observer = all(observers);
  const { redis, listener, store, end } = await open(url, what, false, place);
  const front = new Front({ bull, redis, listener, store, limits, observer, models: served });
  const models = front.models.map((engine) => ({ id: engine.name, engine }));
  let http: Http;
  try {
    await greet(redis, 'front end', version);
    await front.begin();
    http = await answerAt(address, { models, queue: front, limits, observer, observers, shared: front });
  } catch (error) {
    await front.leave();
    await end();
    throw error;
  }
  return {
    url: http.url,
    drain: (seconds) => front.drain(seconds * 1000),
    async close() {
      front.close();
      await http.close(front.leave());
      await end();
    },
  };
}

export interface WorkerOptions extends SharedOptions, LocalOptions {
  /** Where it answers whether it is well; nowhere where there is no port. */
  port?: number;
  host?: string;
  warn?(sentence: string): void;
}

export interface Working {
  /** Where it answers whether it is well. */
  url: string | undefined;
  models: readonly string[];
  /** The processes that draw, for tests. @internal */
  engines: readonly Engine[];
  /** Takes no more runs, and waits for those that are here for so many seconds at most. */
  drain(seconds: number): Promise<void>;
  /** Gives what is left back to the queue. */
  close(): Promise<void>;
}

/**
 * Loads a model and draws what comes to the queue.
 *
 * @throws Error in one sentence for a model that cannot be loaded, or a queue that cannot be reached; Missing
 */
export async function startWorker(options: WorkerOptions): Promise<Working> {
  const { url, store: place, limits: given, log, port, host, warn = () => undefined, ...own } = options;
  const { maxBatch, reproducible } = own;
  if (reproducible && maxBatch === undefined) {
    throw new TypeError('Expected maxBatch with reproducible, the same for all workers, but received none');
  }
  const what = 'The command worker';
  const bull = await openBull(what);
  // What may wait, and for whom, is decided where it comes in.
  const all_ = { waiting: Number.POSITIVE_INFINITY, perClient: Number.POSITIVE_INFINITY };
  const limits = { ...defaultLimits, ...given, ...all_ };
  const observers: Observer[] = log ? [await openLog(log)] : [];
  const observer = all(observers);
  const { redis, listener, store, end } = await open(url, what, true, place);
  const { models, engines, queue, close: closeEngines } = openLocal(own, limits, observer);
  const consumer = new Consumer(models, {
    ...{ bull, redis, listener, queue, store, version, limits, observer, warn },
    reproducible: reproducible ? (maxBatch as number) : null,
  });
  let http: Http | undefined;
  try {
    if (port !== undefined) http = await answerHealth({ port, host }, { models, queue, limits, observer, observers });
    else observers.push(...(await openTraces()));
    await queue.openAll(engines);
    await greet(redis, 'worker', version);
    const sentence = await misunderstood(redis, 'worker');
    if (sentence !== undefined) warn(sentence);
    await consumer.open();
  } catch (error) {
    await consumer.close().catch(() => undefined);
    await Promise.all([http?.close(closeEngines()) ?? closeEngines(), end()]);
    throw error;
  }
  return {
    url: http?.url,
    models: models.map(({ id }) => id),
    engines,
    drain: (seconds) => consumer.drain(seconds * 1000),
    async close() {
      await consumer.close();
      await (http?.close(closeEngines()) ?? closeEngines());
      await end();
    },
  };
}
