// Front ends and workers of a test, on a queue of its own.
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Redis } from 'ioredis';
import { type Serving, startServer } from '../../lib/serve/server.js';
import { type FrontEnd, startFront, startWorker, type Working } from '../../lib/serve/workers/start.js';
import { constant } from '../pipelines/models.js';
import { all, type Event, eventually, post } from './client.js';
import { TestRedis } from './redis.js';

export const limits = { steps: 3000 };
/** Enough evaluations for much longer than a test. */
export const endless = { prompt: 'red', steps: 3000, guidance: 1, seed: 1 };
export const draw = { prompt: 'red', steps: 5, guidance: 1 };
/** As {@link Fleet.worker} draws. */
const made = { folder: constant, limits, reproducible: true, maxBatch: 4 };

export const ready = (url: string): Promise<void> =>
  eventually(async () => (await fetch(new URL('/readyz', url))).status === 200, 'no worker came');
export const called = (found: readonly Event[], name: string): Event[] => found.filter(({ event }) => event === name);

export class Fleet {
  /** What is to be ended, the last first. */
  readonly #open: (() => Promise<unknown>)[] = [];
  #plain: Promise<Serving> | undefined;

  after(end: () => Promise<unknown>): void {
    this.#open.push(end);
  }

  async #ending<T extends { close(): Promise<unknown> }>(started: Promise<T>): Promise<T> {
    const running = await started;
    this.after(() => running.close());
    return running;
  }

  front = (url: string, more = {}): Promise<FrontEnd> =>
    this.#ending(startFront({ url, port: 0, models: ['constant'], limits, ...more }));

  worker = (url: string, more = {}): Promise<Working> => this.#ending(startWorker({ url, ...made, ...more }));

  redis = async (kept = false): Promise<TestRedis> => {
    const own = await TestRedis.start(kept);
    this.after(() => own.stop());
    return own;
  };

  client = (url: string): Redis => {
    const client = new Redis(url);
    this.after(async () => client.disconnect());
    return client;
  };

  folder = (): string => {
    const folder = mkdtempSync(join(tmpdir(), 'dpm-solver-workers-'));
    this.after(async () => rmSync(folder, { recursive: true }));
    return folder;
  };

  /** The pictures of the same run by one machine, undisturbed. */
  undisturbed = async (settings: object): Promise<string[]> => {
    this.#plain ??= startServer({ port: 0, ...made });
    const found = await all(await post((await this.#plain).url, settings));
    return (found.at(-1) as Event).data.images;
  };

  /** Ends what a test has started. */
  async end(): Promise<void> {
    for (const close of this.#open.splice(0).reverse()) await close();
  }

  async close(): Promise<void> {
    await (await this.#plain)?.close();
  }
}
