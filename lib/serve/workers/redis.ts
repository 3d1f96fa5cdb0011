// The connection to Redis, and BullMQ on it: packages that only those need who have many machines.
import type * as BullMQ from 'bullmq';
import type { Redis } from 'ioredis';
import { firstLine } from '../../base/text.js';
import { optional } from '../../base/optional.js';
import { names, PROTOCOL } from './wire.js';

export type { Redis };
export type Bull = typeof BullMQ;

const INSTALL = 'bullmq ioredis';

/** Milliseconds without an answer after which a connection is given up and made anew. */
const SILENCE = 10_000;
/** Milliseconds that the first connection may take, and later a command before the queue counts as away. */
export const PATIENCE = 5000;

/** What was asked of Redis, or the reason that there is no answer. */
export async function patiently<T>(asked: Promise<T>, why: string): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(why)), PATIENCE);
  });
  try {
    return await Promise.race([asked, late]);
  } finally {
    clearTimeout(timer);
  }
}

/** BullMQ, for `what`, as the beginning of a sentence. */
export function openBull(what: string): Promise<Bull> {
  return optional<Bull>('bullmq', what, INSTALL);
}

/** An address as it may be shown. */
export function shown(url: string): string {
  try {
    const { protocol, host, pathname } = new URL(url);
    return `${protocol}//${host}${pathname}`;
  } catch {
    return url;
  }
}

/**
 * A connection that is there, and comes back by itself.
 *
 * @param patient do commands wait for it while it is away? Else they fail at once.
 * @throws Error in one sentence where nobody answers at first
 */
export async function connect(url: string, what: string, patient: boolean): Promise<Redis> {
  const { Redis: Client } = await optional<typeof import('ioredis')>('ioredis', what, INSTALL);
  let ended = false;
  const redis = new Client(url, {
    lazyConnect: true,
    connectTimeout: PATIENCE,
    socketTimeout: SILENCE,
    keepAlive: 5000,
    retryStrategy: (times) => (ended ? null : Math.min(100 * 2 ** times, 2000)),
    maxRetriesPerRequest: patient ? null : 1,
    enableOfflineQueue: patient,
  });
  // BullMQ waits for runs on another one like it, and where that was just being made anew it is left behind.
  const others: Redis[] = [];
  const duplicate = redis.duplicate.bind(redis);
  redis.duplicate = (override) => {
    const other = duplicate(override).on('error', () => undefined);
    others.push(other);
    return other;
  };
  redis.once('end', () => {
    ended = true;
    for (const other of others) other.disconnect();
  });
  let why = '';
  redis.on('error', (error: Error) => {
    why = firstLine(error.message);
  });
  try {
    await patiently(
      redis.connect().then(() => redis.ping()),
      'nobody answers',
    );
  } catch (cause) {
    redis.disconnect();
    const reason = why || firstLine((cause as Error).message);
    throw new Error(`The queue at ${shown(url)} cannot be reached: ${reason}`, { cause });
  }
  return redis;
}

/** Notes that a front end or a worker of this version has come. */
export async function greet(redis: Redis, role: 'front end' | 'worker', version: string): Promise<void> {
  await redis.hset(names.versions, `${role} ${PROTOCOL}`, version);
  await redis.expire(names.versions, 30 * 24 * 3600);
}

/** What is said where nobody is there who understands this side, but others are. */
export async function misunderstood(redis: Redis, own: 'front end' | 'worker'): Promise<string | undefined> {
  const other = own === 'worker' ? 'front end' : 'worker';
  const seen = await redis.hgetall(names.versions);
  const theirs = Object.entries(seen).filter(([key]) => key.startsWith(`${other} `));
  if (theirs.length === 0 || theirs.some(([key]) => key === `${other} ${PROTOCOL}`)) return undefined;
  const [[key, version]] = theirs;
  return `The ${other}s of this queue are of dpm-solver ${version}, which speaks protocol ${key.split(' ').at(-1)}, and this ${own} speaks ${PROTOCOL}: run the same version on both sides`;
}
