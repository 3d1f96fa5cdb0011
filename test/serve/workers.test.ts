// Many machines on one queue: what goes wrong on the way, and that nothing is lost by it, and nothing twice.
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { setTimeout as sleep } from 'node:timers/promises';
import { Redis } from 'ioredis';
import OpenAI from 'openai';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { type Serving, startServer } from '../../lib/serve/server.js';
import { type FrontEnd, startFront, startWorker, type Working } from '../../lib/serve/workers/start.js';
import { LOCK, names } from '../../lib/serve/workers/wire.js';
import { start } from '../cli/command.js';
import { constant } from '../pipelines/models.js';
import { all, type Event, events, eventually, json, post, status, until } from './client.js';
import { Cable, hasRedis, TestRedis } from './redis.js';

if (!hasRedis) console.log('skipped: no redis-server here');
const run = suite('workers');

const limits = { steps: 3000 };
/** Enough evaluations for much longer than a test. */
const endless = { prompt: 'red', steps: 3000, guidance: 1, seed: 1 };
const draw = { prompt: 'red', steps: 5, guidance: 1 };

/** What is to be ended after a test, the last first. */
const open: (() => Promise<unknown>)[] = [];
async function ending<T extends { close(): Promise<unknown> }>(started: Promise<T>): Promise<T> {
  const running = await started;
  open.push(() => running.close());
  return running;
}
const front = (url: string, more = {}): Promise<FrontEnd> =>
  ending(startFront({ url, port: 0, models: ['constant'], limits, ...more }));
const worker = (url: string, more = {}): Promise<Working> =>
  ending(startWorker({ url, folder: constant, limits, reproducible: true, maxBatch: 4, ...more }));

async function redis(kept = false): Promise<TestRedis> {
  const own = await TestRedis.start(kept);
  open.push(() => own.stop());
  return own;
}
const ready = (url: string) =>
  eventually(async () => (await fetch(new URL('/readyz', url))).status === 200, 'no worker came');
const called = (found: readonly Event[], name: string) => found.filter(({ event }) => event === name);

run.after.each(async () => {
  for (const close of open.splice(0).reverse()) await close();
});

let plain: Serving;
const real = hasRedis ? run : run.skip;
run.before(async () => {
  if (hasRedis) plain = await startServer({ folder: constant, port: 0, limits, reproducible: true, maxBatch: 4 });
});
run.after(() => plain?.close());

/** The pictures of the same run by one machine, undisturbed. */
async function undisturbed(settings: object): Promise<string[]> {
  const found = await all(await post(plain.url, settings));
  return (found.at(-1) as Event).data.images;
}

async function step(stream: AsyncGenerator<Event>): Promise<Event> {
  return until(stream, 'step');
}

real('draws by a worker as by itself: events, refusals, pictures, and each only once', async () => {
  const { url } = await redis();
  const one = await front(url);
  const early = await post(one.url, draw);
  assert.is(early.status, 503);
  assert.match((await json(early)).error, /^No worker that draws with constant has come/);
  await worker(url);
  const two = await front(url);
  await ready(one.url);
  await ready(two.url);
  const found = await all(await post(one.url, { ...draw, seed: 7, count: 2 }));
  assert.equal(
    found.map(({ event }) => event),
    ['queued', 'started', 'step', 'step', 'step', 'step', 'step', 'done'],
  );
  const [queued, started] = found;
  assert.is(queued.data.id, started.data.id);
  assert.equal(started.data.seeds, [7, 8]);
  const last = found.at(-1) as Event;
  assert.equal(last.data.images, await undisturbed({ ...draw, seed: 7, count: 2 }));
  // The same run of another front end has the stored result, without a step.
  const again = await all(await post(two.url, { ...draw, seed: 7, count: 2 }));
  assert.equal(
    again.map(({ event }) => event),
    ['queued', 'started', 'done'],
  );
  assert.equal(again.at(-1)?.data.images, last.data.images);
  const wrong = await post(one.url, { ...draw, width: 3 });
  assert.is(wrong.status, 400);
  assert.match((await json(wrong)).error, /^Expected 4 for width but received 3/);
  assert.equal(await status(two.url), { ready: true, running: 0, waiting: 0 });
});

real('streams partial images to the official client', async () => {
  const { url } = await redis();
  const own = await front(url);
  await worker(url);
  await ready(own.url);
  const openai = new OpenAI({ baseURL: `${own.url}v1`, apiKey: 'none', maxRetries: 0 });
  const stream = await openai.images.generate({ prompt: 'red', stream: true, partial_images: 2 });
  const told: string[] = [];
  for await (const event of stream) {
    told.push(event.type === 'image_generation.completed' ? event.type : `partial ${event.partial_image_index}`);
  }
  assert.equal(told, ['partial 0', 'partial 1', 'image_generation.completed']);
});

real('sends each partial image once, whatever becomes of the process that draws', async () => {
  const { url } = await redis();
  const own = await front(url);
  const working = await worker(url);
  await ready(own.url);
  const openai = new OpenAI({ baseURL: `${own.url}v1`, apiKey: 'none', maxRetries: 0 });
  const body = { prompt: 'red', stream: true, partial_images: 3, steps: 80 } as const;
  const told: number[] = [];
  for await (const event of await openai.images.generate(body)) {
    if (event.type === 'image_generation.completed') continue;
    told.push(event.partial_image_index);
    if (event.partial_image_index === 1) working.engines[0].kill();
  }
  assert.equal(told, [0, 1, 2]);
});

real('cancels what waits and what is made, also for a client that has gone, and takes turns', async () => {
  const { url } = await redis();
  const own = await front(url);
  await worker(url, { limits: { ...limits, together: 1 } });
  await ready(own.url);
  const made = events(await post(own.url, endless));
  const { id } = (await until(made, 'started')).data;
  await step(made);
  const waiting = events(await post(own.url, { ...endless, seed: 2 }));
  const second = (await until(waiting, 'queued')).data.id;
  const leaving = new AbortController();
  await post(own.url, { ...endless, seed: 3 }, { signal: leaving.signal });
  const remove = (run: string) => fetch(new URL(`/api/runs/${run}`, own.url), { method: 'DELETE' });
  assert.is((await remove(second)).status, 204);
  await until(waiting, 'cancelled');
  leaving.abort();
  assert.is((await remove(id)).status, 204);
  await until(made, 'cancelled');
  assert.is((await remove(id)).status, 404);
  await eventually(async () => {
    const { running, waiting: left } = await status(own.url);
    return running + left === 0;
  }, 'runs were left');
  const done = await all(await post(own.url, draw));
  assert.is(done.at(-1)?.event, 'done');
});

real('gives up a run that ends the process each time, and spares those beside it', async () => {
  const { url } = await redis();
  const own = await front(url);
  const working = await worker(url);
  await ready(own.url);
  const poison = events(await post(own.url, endless));
  let attempts = 0;
  const poisoned = (async () => {
    for await (const event of poison) {
      if (event.event === 'failed') return event.data.error;
      if (event.event !== 'step' || event.data.step !== 1) continue;
      attempts++;
      working.engines[0].kill();
    }
    return 'nothing';
  })();
  const beside = all(await post(own.url, { ...draw, steps: 60, seed: 5 }));
  assert.match(await poisoned, /^The process that draws has ended each time that the run was made/);
  assert.is(attempts, 3);
  const found = await beside;
  assert.is(called(found, 'done').length, 1);
  assert.equal(found.at(-1)?.data.images, await undisturbed({ ...draw, steps: 60, seed: 5 }));
});

real('goes on where Redis has ended and begun without what it had', async () => {
  const own = await redis();
  const one = await front(own.url);
  await worker(own.url, { limits: { ...limits, together: 1 } });
  await ready(one.url);
  const stopped = events(await post(one.url, { ...endless, seed: 11 }));
  const { id } = (await until(stopped, 'started')).data;
  await step(stopped);
  const waiting = all(await post(one.url, { ...draw, seed: 12 }));
  await own.kill();
  await eventually(
    async () => (await fetch(new URL('/readyz', one.url))).status === 503,
    'it is ready without a queue',
  );
  const refused = await post(one.url, draw);
  assert.is(refused.status, 503);
  assert.match((await json(refused)).error, /^The queue cannot be reached/);
  await own.begin();
  await ready(one.url);
  await fetch(new URL(`/api/runs/${id}`, one.url), { method: 'DELETE' });
  const found = await waiting;
  assert.is(called(found, 'done').length, 1);
  assert.equal(found.at(-1)?.data.images, await undisturbed({ ...draw, seed: 12 }));
  await until(stopped, 'cancelled');
});

real('goes on where a cable was cut, on either side', async () => {
  const own = await redis();
  const [left, right] = [await Cable.to(own.port), await Cable.to(own.port)];
  open.push(
    () => left.close(),
    () => right.close(),
  );
  const one = await front(left.url);
  await worker(right.url);
  await ready(one.url);
  for (const cable of [left, right]) {
    const seed = cable === left ? 21 : 22;
    const stream = events(await post(one.url, { ...draw, steps: 60, seed }));
    await step(stream);
    cable.cut();
    await sleep(500);
    cable.mend();
    const found: Event[] = [];
    for await (const event of stream) found.push(event);
    assert.is(called(found, 'done').length, 1);
    assert.is(called(found, 'failed').length, 0);
    assert.equal(found.at(-1)?.data.images, await undisturbed({ ...draw, steps: 60, seed }));
    await ready(one.url);
  }
});

/** A run whose network is busy for longer than a lock lasts without a sign of life. */
async function busy(): Promise<void> {
  const { url } = await redis();
  const own = await front(url);
  const working = await worker(url);
  await ready(own.url);
  const settings = { ...draw, steps: 40, seed: 41 };
  const stream = events(await post(own.url, settings));
  await step(stream);
  const late = monitorEventLoopDelay();
  late.enable();
  // As long as a network call that never comes back: the whole process that draws stands still.
  process.kill(working.engines[0].pid as number, 'SIGSTOP');
  await sleep(LOCK * 1.5);
  process.kill(working.engines[0].pid as number, 'SIGCONT');
  const found: Event[] = [];
  for await (const event of stream) found.push(event);
  late.disable();
  assert.is(called(found, 'done').length, 1);
  assert.equal(found.at(-1)?.data.images, await undisturbed(settings));
  // This process renews the lock, and may itself have stood still where others have all of the machine.
  if (late.max / 1e6 < LOCK / 2) assert.is(called(found, 'started').length, 0, 'nobody else got the run');
}

real('gives the runs of a worker that is killed to another one, and none of one that is busy', async () => {
  await Promise.all([killed(), busy()]);
});

async function killed(): Promise<void> {
  const { url } = await redis();
  const own = await front(url);
  const folder = mkdtempSync(join(tmpdir(), 'dpm-solver-workers-'));
  const args = ['worker', '--queue', url, '--model', constant, '--reproducible', '--batch', '4'];
  const first = start(folder, args);
  await ready(own.url);
  const settings = { ...draw, steps: 60, seed: 31 };
  const stream = events(await post(own.url, settings));
  await step(stream);
  first.child.kill('SIGKILL');
  await first.ended;
  await worker(url);
  const found: Event[] = [];
  for await (const event of stream) found.push(event);
  const again = found.findLastIndex(({ event }) => event === 'started');
  assert.ok(again >= 0, 'the stream starts again');
  assert.is(called(found.slice(again), 'step')[0].data.step, 1);
  assert.is(called(found, 'done').length, 1);
  assert.equal(found.at(-1)?.data.images, await undisturbed(settings));
  rmSync(folder, { recursive: true });
}

real('says in a sentence that the other side speaks another protocol', async () => {
  const { url } = await redis();
  const own = new Redis(url);
  await own.hset(names.versions, 'worker 99', '9.9.9');
  const one = await front(url);
  const refused = await post(one.url, draw);
  assert.is(refused.status, 503);
  assert.match(
    (await json(refused)).error,
    /^The workers of this queue are of dpm-solver 9\.9\.9, which speaks protocol 99, and this front end speaks 1: run the same version on both sides$/,
  );
  own.disconnect();
});

run.run();
