// Many machines on one queue: what they draw, and that nothing is lost where one of them or the queue fails, and nothing comes twice.
import { setTimeout as sleep } from 'node:timers/promises';
import { Redis } from 'ioredis';
import OpenAI from 'openai';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { names } from '../../lib/serve/workers/wire.js';
import { all, type Event, events, eventually, json, post, status, until } from './client.js';
import { called, draw, endless, Fleet, limits, ready } from './fleet.js';
import { Cable, hasRedis } from './redis.js';

if (!hasRedis) console.log('skipped: no redis-server here');
const run = suite('workers');
const real = hasRedis ? run : run.skip;
const fleet = new Fleet();
const { front, worker, redis, undisturbed } = fleet;
run.after.each(() => fleet.end());
run.after(() => fleet.close());

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
  await until(made, 'step');
  const waiting = events(await post(own.url, { ...endless, seed: 2 }));
  const { id: second, seconds } = (await until(waiting, 'queued')).data;
  assert.ok(Number.isSafeInteger(seconds) && seconds >= 0, 'it is told when it begins');
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
  await until(stopped, 'step');
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
  fleet.after(() => left.close());
  fleet.after(() => right.close());
  const one = await front(left.url);
  await worker(right.url);
  await ready(one.url);
  for (const cable of [left, right]) {
    const seed = cable === left ? 21 : 22;
    const stream = events(await post(one.url, { ...draw, steps: 60, seed }));
    await until(stream, 'step');
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
