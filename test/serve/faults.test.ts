// Many machines on one queue, of which some end, stand still or cannot be reached for longer than a lock lasts.
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { setTimeout as sleep } from 'node:timers/promises';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { LOCK, names, PREFIX } from '../../lib/serve/workers/wire.js';
import { start } from '../cli/command.js';
import { constant } from '../pipelines/models.js';
import { all, type Event, events, eventually, post, until } from './client.js';
import { called, draw, endless, Fleet, ready } from './fleet.js';
import { Cable, hasRedis } from './redis.js';

if (!hasRedis) console.log('skipped: no redis-server here');
const run = suite('workers that fail');
const real = hasRedis ? run : run.skip;
const fleet = new Fleet();
const { front, worker, redis, undisturbed } = fleet;
run.after.each(() => fleet.end());
run.after(() => fleet.close());

/** What is left of a stream. */
async function rest(stream: AsyncGenerator<Event>): Promise<Event[]> {
  const found: Event[] = [];
  for await (const event of stream) found.push(event);
  return found;
}

/** A run whose network is busy for longer than a lock lasts without a sign of life. */
async function busy(): Promise<void> {
  const { url } = await redis();
  const own = await front(url);
  const working = await worker(url);
  await ready(own.url);
  const settings = { ...draw, steps: 40, seed: 41 };
  const stream = events(await post(own.url, settings));
  await until(stream, 'step');
  const late = monitorEventLoopDelay();
  late.enable();
  // As long as a network call that never comes back: the whole process that draws stands still.
  process.kill(working.engines[0].pid as number, 'SIGSTOP');
  await sleep(LOCK * 1.5);
  process.kill(working.engines[0].pid as number, 'SIGCONT');
  const found = await rest(stream);
  late.disable();
  assert.is(called(found, 'done').length, 1);
  assert.equal(found.at(-1)?.data.images, await undisturbed(settings));
  // This process renews the lock, and may itself have stood still where others have all of the machine.
  if (late.max / 1e6 < LOCK / 2) assert.is(called(found, 'started').length, 0, 'nobody else got the run');
}

real('gives the runs of a worker that is killed to another one, and none of one that is busy', async () => {
  await Promise.all([killed(), busy()]);
});

real('goes on where a network was silent for longer than a lock lasts, on either side', async () => {
  await Promise.all([silentWorker(), silentFront()]);
});

real('gives the runs of a worker back that is told to end, and none is lost with a front end', async () => {
  await Promise.all([drained(), deadFront()]);
});

/** A worker that nothing reaches, and from which nothing comes, while its connections stay. */
async function silentWorker(): Promise<void> {
  const own = await redis();
  const cable = await Cable.to(own.port);
  fleet.after(() => cable.close());
  const one = await front(own.url);
  await worker(cable.url);
  await ready(one.url);
  const settings = { ...draw, steps: 60, seed: 51 };
  const short = events(await post(one.url, settings));
  await until(short, 'step');
  cable.mute();
  await sleep(1500);
  cable.unmute();
  const found = await rest(short);
  assert.is(called(found, 'done').length, 1);
  assert.equal(found.at(-1)?.data.images, await undisturbed(settings));
  // For as long as it takes until another worker has the run.
  const long = events(await post(one.url, { ...settings, seed: 52 }));
  await until(long, 'step');
  cable.mute();
  const other = await worker(own.url);
  await until(long, 'started');
  const again = await rest(long);
  assert.is(called(again, 'done').length, 1);
  assert.is(called(again, 'failed').length, 0);
  assert.equal(again.at(-1)?.data.images, await undisturbed({ ...settings, seed: 52 }));
  cable.unmute();
  await other.close();
  // It is as good as before.
  const last = await all(await post(one.url, { ...draw, seed: 53 }));
  assert.equal(last.at(-1)?.data.images, await undisturbed({ ...draw, seed: 53 }));
}

/** The same of a front end: it says so to who asks, and a run that was made meanwhile is told. */
async function silentFront(): Promise<void> {
  const own = await redis();
  const cable = await Cable.to(own.port);
  fleet.after(() => cable.close());
  const one = await front(cable.url);
  await worker(own.url);
  await ready(one.url);
  const settings = { ...draw, steps: 60, seed: 61 };
  const stream = events(await post(one.url, settings));
  await until(stream, 'step');
  cable.mute();
  await eventually(
    async () => (await fetch(new URL('/readyz', one.url))).status === 503,
    'it is ready without a queue',
  );
  assert.is((await post(one.url, draw)).status, 503);
  cable.unmute();
  const found = await rest(stream);
  assert.is(called(found, 'done').length, 1);
  assert.is(called(found, 'failed').length, 0);
  assert.equal(found.at(-1)?.data.images, await undisturbed(settings));
  await ready(one.url);
}

/** SIGTERM: what was begun is finished and nothing else begun; a second one gives it back, too. */
async function drained(): Promise<void> {
  const { url } = await redis();
  const one = await front(url);
  const args = ['worker', '--queue', url, '--model', constant, '--reproducible', '--batch', '4', '--drain', '600'];
  const client = fleet.client(url);
  const waits = () => client.zrange(`${PREFIX}:constant:prioritized`, '0', '-1');
  const first = start(fleet.folder(), args);
  await ready(one.url);
  const settings = { ...draw, steps: 60, seed: 71 };
  const begun = events(await post(one.url, settings));
  await until(begun, 'step');
  first.child.kill('SIGTERM');
  await eventually(async () => (await client.scard(names.workers)) === 0, 'the worker stays');
  const second = events(await post(one.url, { ...draw, seed: 72 }));
  const { id } = (await until(second, 'queued')).data;
  const found = await rest(begun);
  assert.is(called(found, 'started').length, 0, 'it is not begun again');
  assert.equal(found.at(-1)?.data.images, await undisturbed(settings));
  assert.is((await first.ended).code, 0);
  assert.equal(await waits(), [id]);

  const third = start(fleet.folder(), args);
  await until(second, 'done');
  const unending = events(await post(one.url, endless));
  const { id: given } = (await until(unending, 'started')).data;
  await until(unending, 'step');
  third.child.kill('SIGTERM');
  await eventually(async () => (await client.scard(names.workers)) === 0, 'the worker stays');
  assert.equal(await waits(), []);
  third.child.kill('SIGTERM');
  assert.is((await third.ended).code, 0);
  // At once: nobody had to find that its worker is gone.
  assert.equal(await waits(), [given]);
  await worker(url);
  await until(unending, 'started');
  await fetch(new URL(`/api/runs/${given}`, one.url), { method: 'DELETE' });
  await until(unending, 'cancelled');
}

/** A front end that is killed: its clients ask another one, which has what was made for them. */
async function deadFront(): Promise<void> {
  const { url } = await redis();
  const { child, ended } = start(fleet.folder(), ['serve', '--queue', url, '--models', 'constant', '--port', '0']);
  const dead = await new Promise<string>((resolve) => {
    child.stdout!.once('data', (text) => resolve(String(text).split(' ')[0]));
  });
  const other = await front(url);
  await worker(url);
  await ready(dead);
  await ready(other.url);
  const settings = { ...draw, steps: 20, seed: 81 };
  const stream = events(await post(dead, settings));
  await until(stream, 'step');
  child.kill('SIGKILL');
  await ended;
  const cut = await stream.next().catch(() => 'cut');
  if (cut !== 'cut') await stream.return(undefined);
  const client = fleet.client(url);
  await eventually(async () => (await client.llen(`${PREFIX}:constant:active`)) === 0, 'the run goes on for ever');
  const found = await all(await post(other.url, settings));
  assert.equal(
    found.map(({ event }) => event),
    ['queued', 'started', 'done'],
    'it was made already',
  );
  assert.equal(found.at(-1)?.data.images, await undisturbed(settings));
}

async function killed(): Promise<void> {
  const { url } = await redis();
  const own = await front(url);
  const args = ['worker', '--queue', url, '--model', constant, '--reproducible', '--batch', '4'];
  const first = start(fleet.folder(), args);
  await ready(own.url);
  const settings = { ...draw, steps: 60, seed: 31 };
  const stream = events(await post(own.url, settings));
  await until(stream, 'step');
  first.child.kill('SIGKILL');
  await first.ended;
  await worker(url);
  const found = await rest(stream);
  const again = found.findLastIndex(({ event }) => event === 'started');
  assert.ok(again >= 0, 'the stream starts again');
  assert.is(called(found.slice(again), 'step')[0].data.step, 1);
  assert.is(called(found, 'done').length, 1);
  assert.equal(found.at(-1)?.data.images, await undisturbed(settings));
}

run.run();
