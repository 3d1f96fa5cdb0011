// Several models that do not fit into the memory together: who gives way, when, and what those who ask for one are told.
import type { ChildProcess } from 'node:child_process';
import { EventEmitter } from 'node:events';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { Engine } from '../../lib/serve/engine.js';
import { defaultLimits } from '../../lib/serve/limits.js';
import { type Held, Memory } from '../../lib/serve/memory.js';
import type { Job, Needs, Order, Report } from '../../lib/serve/messages.js';
import type { Observer } from '../../lib/serve/observe.js';
import { Queue } from '../../lib/serve/queue.js';
import type { RunEvent } from '../../lib/serve/runs.js';
import { startServer } from '../../lib/serve/server.js';
import type { Settings } from '../../lib/serve/settings.js';
import { constant, layout } from '../pipelines/models.js';
import { all, eventually, json, post } from './client.js';

const GB = 1e9;
/** What a process is taken to have beside its networks. */
const PROCESS = 0.15 * GB;

const decisions = suite('who gives way');

interface Model extends Held {
  name: string;
}
const held = (name: string, bytes: number, more: Partial<Held> = {}): Model => ({
  ...{ name, memory: { bytes, most: bytes, run: true }, needs: undefined, sharing: 'fast', held: true },
  ...more,
});
const gone = (name: string, fast: number, low = fast): Model =>
  held(name, 0, {
    ...{ held: false, memory: { bytes: 0, most: 0, run: false } },
    needs: { fast: fast - PROCESS, low: low - PROCESS },
  });
const nobody = () => false;
const names = (models: readonly Model[] | undefined) => models?.map(({ name }) => name);

decisions('nobody where there is room', () => {
  const [a, b, c] = [held('a', 3 * GB), held('b', 3 * GB), gone('c', 3.5 * GB)];
  assert.equal(names(new Memory([a, b, c], 10 * GB, () => 100 * GB).makeRoom(c, nobody)), []);
});

decisions('those that were of use longest ago, and no more than have to', () => {
  const models = [held('a', 3 * GB), held('b', 3 * GB), held('c', 3 * GB), gone('d', 4 * GB)];
  for (const [used, expected] of [
    [[0, 1, 2], ['a']],
    [[2, 0, 1], ['c']],
    [[1, 2, 0, 1], ['c']],
    // Those that were of no use yet come first.
    [[0, 2], ['b']],
  ] as const) {
    const memory = new Memory(models, 10.5 * GB, () => 100 * GB);
    for (const i of used) memory.touch(models[i]);
    assert.equal(names(memory.makeRoom(models[3], nobody)), expected, String(used));
  }
});

decisions('as many as it takes, by the bytes that they had at most', () => {
  const a = held('a', 1 * GB, { memory: { bytes: 1 * GB, most: 5 * GB, run: true } });
  const models = [a, held('b', 3 * GB), gone('c', 6 * GB)];
  const memory = new Memory(models, 8.5 * GB, () => 100 * GB);
  memory.touch(a);
  memory.touch(models[1]);
  assert.equal(names(memory.makeRoom(models[2], nobody)), ['a', 'b']);
});

decisions('never those at work: they are waited for', () => {
  const models = [held('a', 3 * GB), held('b', 3 * GB), gone('c', 3 * GB)];
  const memory = new Memory(models, 6.5 * GB, () => 100 * GB);
  memory.touch(models[0]);
  memory.touch(models[1]);
  assert.equal(names(memory.makeRoom(models[2], ({ name }) => name === 'a')), ['b']);
  assert.is(
    memory.makeRoom(models[2], () => true),
    undefined,
  );
});

decisions('all, where it does not fit even by itself', () => {
  const models = [held('a', 3 * GB), gone('b', 30 * GB)];
  const memory = new Memory(models, 6 * GB, () => 100 * GB);
  assert.equal(names(memory.makeRoom(models[1], nobody)), ['a']);
  models[0] = { ...models[0], held: false };
  assert.equal(names(new Memory(models, 6 * GB, () => 100 * GB).makeRoom(models[1], nobody)), []);
});

decisions('what the machine leaves counts with what the models have of it', () => {
  const models = [held('a', 4 * GB), gone('b', 3 * GB)];
  const room = (left: number) => new Memory(models, undefined, () => left);
  assert.is(room(6 * GB).room, 0.9 * 10 * GB);
  assert.equal(names(room(6 * GB).makeRoom(models[1], nobody)), []);
  assert.equal(names(room(3 * GB).makeRoom(models[1], nobody)), ['a']);
});

decisions("takes what the graphs say until a run was measured, of 'auto' what its process will choose", () => {
  const one = (sharing: Held['sharing'], memory: Held['memory']) =>
    held('a', 0, { sharing, memory, needs: { fast: 8 * GB, low: 5 * GB } });
  const none = { bytes: 0, most: 0, run: false };
  const bytes = (model: Model, most: number) => new Memory([model], most, () => 100 * GB).bytesOf(model);
  assert.is(bytes(one('fast', none), 6 * GB), 8 * GB + PROCESS);
  assert.is(bytes(one('low', none), 60 * GB), 5 * GB + PROCESS);
  assert.is(bytes(one('auto', none), 60 * GB), 8 * GB + PROCESS);
  assert.is(bytes(one(undefined, none), 6 * GB), 5 * GB + PROCESS);
  assert.is(bytes(one('fast', { bytes: 1, most: 9 * GB, run: false }), 60 * GB), 9 * GB);
  assert.is(bytes(one('fast', { bytes: 1, most: 3 * GB, run: true }), 60 * GB), 3 * GB);
  // A card's memory is not the machine's.
  assert.is(bytes(held('a', 0, { memory: { bytes: 2, most: 2, run: false } }), GB), 2);
});

decisions.run();

const test = suite('several models');

const settings = { prompt: 'red', count: 1, steps: 2, solver: 'dpmsolver++' } as Settings;
const job: Job = { settings, coding: { format: 'png', quality: 100 }, previews: 'each' };

/** A process that draws for as long as it is told to, and takes memory as if it were a large one. */
class Process extends EventEmitter {
  readonly pid = 1;
  connected = true;
  exitCode: number | null = null;
  signalCode: string | null = null;
  readonly runs: string[] = [];
  readonly #name: string;
  readonly #needs: Needs;
  readonly #refuses: string | undefined;
  readonly #broken: ((name: string) => boolean) | undefined;
  constructor(
    name: string,
    bytes: number,
    { refuses, broken }: { refuses?: string; broken?: (name: string) => boolean } = {},
  ) {
    super();
    this.#name = name;
    this.#needs = { fast: bytes, low: bytes };
    this.#refuses = refuses;
    this.#broken = broken;
  }
  #tell(report: Report): void {
    setImmediate(() => this.connected && this.emit('message', report));
  }
  send(order: Order): void {
    const model = { name: this.#name, width: 8, height: 8, multiple: 8, guidance: 1, words: null };
    const load = (): void => {
      if (this.#broken?.(this.#name)) {
        this.#tell({ type: 'broken', error: `${this.#name} is broken` });
        return;
      }
      this.#tell({ type: 'loading', done: 0, of: 10 });
      this.#tell({ type: 'loading', done: 10, of: 10 });
      this.#tell({ type: 'memory', bytes: this.#needs.fast, most: this.#needs.fast });
      this.#tell({ type: 'opened' });
      this.#tell({ type: 'call', samples: 1, milliseconds: 1, batch: 32, room: 64 });
    };
    if (order.type === 'open') {
      this.#tell({ type: 'described', model, needs: this.#needs });
      if (!order.wait) load();
    } else if (order.type === 'load') load();
    else if (order.type === 'check') {
      this.#tell({ type: 'checked', id: order.id, ...(this.#refuses === undefined ? {} : { error: this.#refuses }) });
    } else if (order.type === 'run') this.runs.push(order.id);
    else if (order.type === 'cancel') this.#tell({ type: 'cancelled', id: order.id });
  }
  finish(): void {
    const timings = {} as never;
    const data = { images: [], width: 8, height: 8, nfe: 2, seeds: [0], guidance: 1, timings, solver: {} as never };
    this.#tell({ type: 'done', id: this.runs.shift() as string, data });
  }
  kill(): void {
    if (!this.connected) return;
    this.connected = false;
    this.signalCode = 'SIGKILL';
    setImmediate(() => this.emit('exit', null, 'SIGKILL'));
  }
}

type Told = { event: RunEvent['event']; data: unknown };

/** A server of models that need so many GB each. */
async function serverOf(
  room: number,
  needs: Record<string, number>,
  more: ConstructorParameters<typeof Process>[2] = {},
) {
  const processes = new Map<string, Process[]>();
  const notes: string[] = [];
  const observer: Observer = {
    loaded: ({ model }) => notes.push(`${model} loaded`),
    released: ({ model, room }) =>
      notes.push(room === undefined ? `${model} not loaded` : `${model} released for ${room}`),
  };
  const engines = Object.entries(needs).map(([name, bytes]) => {
    const made: Process[] = [];
    processes.set(name, made);
    const fork = (): ChildProcess => {
      made.push(new Process(name, bytes * GB, more));
      return made[made.length - 1] as unknown as ChildProcess;
    };
    return new Engine({ folder: name }, fork, { name, observer });
  });
  const memory = new Memory(engines, room * GB, () => 1000 * GB);
  const queue = new Queue(defaultLimits, observer, memory);
  await queue.openAll(engines);
  const of = (name: string): Engine => engines.find((engine) => engine.name === name) as Engine;
  const ask = async (name: string) => {
    const told: Told[] = [];
    const leave = new AbortController();
    const id = await queue.enter(of(name), job, { id: 'a' }, (event) => told.push(event), leave.signal);
    const events = () => told.map(({ event }) => event);
    return { id, told, events, comes: (event: string) => eventually(() => events().includes(event as never), event) };
  };
  const finish = (name: string) => processes.get(name)?.at(-1)?.finish();
  const close = async () => {
    queue.close();
    await Promise.all(engines.map((engine) => engine.close()));
  };
  const states = () => engines.map(({ model, released }) => (model ? 'loaded' : released ? 'released' : 'else')).join();
  return { queue, of, ask, finish, close, notes, states, processes };
}

test('those that fit are loaded at the start, the others are looked at', async () => {
  const server = await serverOf(10, { a: 4, b: 4, c: 4, d: 1 });
  assert.is(server.states(), 'loaded,loaded,released,loaded');
  assert.equal(server.notes, ['a loaded', 'b loaded', 'c not loaded', 'd loaded']);
  assert.is(server.of('c').about?.name, 'c', 'what is known of it without loading');
  await server.close();
});

test('the least recently used gives way for one that is asked for, which tells how far it is', async () => {
  const server = await serverOf(10, { a: 4, b: 4, c: 4 });
  const first = await server.ask('a');
  await first.comes('started');
  server.finish('a');
  await first.comes('done');
  const run = await server.ask('c');
  await run.comes('started');
  assert.is(server.states(), 'loaded,released,loaded', 'b was of use longest ago');
  assert.equal(
    run.told.filter(({ event }) => event === 'loading').map(({ data }) => data),
    [0, 10].map((done) => ({ id: run.id, model: 'c', done, of: 10 })),
  );
  assert.equal(
    run.events().filter((event) => event !== 'loading'),
    ['queued', 'started'],
  );
  server.finish('c');
  await run.comes('done');
  const again = await server.ask('b');
  await again.comes('started');
  assert.is(server.states(), 'released,loaded,loaded');
  assert.equal(server.notes.slice(3), ['b released for c', 'c loaded', 'a released for b', 'b loaded']);
  await server.close();
});

test('no model is released in the middle of a run, and none of its runs begins while another model waits for it', async () => {
  const server = await serverOf(5, { a: 4, b: 4 });
  const running = await server.ask('a');
  await running.comes('started');
  const waiting = await server.ask('b');
  const late = await server.ask('a');
  await new Promise((resolve) => setTimeout(resolve, 50));
  assert.is(server.states(), 'loaded,released');
  assert.equal([waiting.events(), late.events()], [['queued'], ['queued']]);
  server.finish('a');
  await waiting.comes('started');
  assert.equal(running.events().at(-1), 'done');
  assert.is(server.states(), 'released,loaded');
  server.finish('b');
  await late.comes('started');
  assert.equal(waiting.events().at(-1), 'done');
  assert.is(server.states(), 'loaded,released');
  server.finish('a');
  await late.comes('done');
  await server.close();
});

test('what only the model can judge is judged when it is loaded', async () => {
  const server = await serverOf(5, { a: 4, b: 4 }, { refuses: 'Expected words' });
  const run = await server.ask('b');
  await run.comes('failed');
  assert.equal(run.told.at(-1), { event: 'failed', data: { error: 'Expected words', refused: true } });
  await server.close();
});

test('one that cannot be loaded fails those who ask for it, and is tried again for the next', async () => {
  let broken = false;
  const server = await serverOf(5, { a: 4, b: 4 }, { broken: () => broken });
  broken = true;
  const run = await server.ask('b');
  await run.comes('failed');
  assert.equal(run.told.at(-1)?.data, { error: 'b is broken' });
  broken = false;
  const next = await server.ask('b');
  await next.comes('started');
  server.finish('b');
  await next.comes('done');
  await server.close();
});

test('who leaves while a model is loaded, or being waited for, leaves nothing behind', async () => {
  const server = await serverOf(5, { a: 4, b: 4 });
  const running = await server.ask('a');
  await running.comes('started');
  const waiting = await server.ask('b');
  const late = await server.ask('a');
  assert.equal(late.events(), ['queued']);
  assert.ok(server.queue.cancel(waiting.id));
  assert.equal(waiting.events(), ['queued', 'cancelled']);
  await late.comes('started');
  assert.is(server.states(), 'loaded,released');
  await server.close();
});

test('one that ends by itself and is being started again gives way, too', async () => {
  let broken = false;
  const server = await serverOf(5, { a: 4, b: 4 }, { broken: (name) => broken && name === 'a' });
  broken = true;
  server.processes.get('a')?.[0].kill();
  await eventually(() => server.of('a').model === undefined, 'it never ended');
  const run = await server.ask('b');
  await run.comes('started');
  assert.is(server.states(), 'released,loaded');
  await server.close();
});

test('real models in turn, over HTTP: told in the status, the figures and the events', async () => {
  // Less than the process of either takes.
  const folder = { first: constant, other: layout('sd') };
  const server = await startServer({ folder, port: 0, limits: { memory: 1e6 } });
  try {
    assert.equal(server.released, ['other']);
    const get = (path: string) => fetch(new URL(path, server.url));
    const states = async () => {
      const { models } = await json(await get('/api/status'));
      return models.map(({ id, state, bytes }: { id: string; state: string; bytes: number }) => {
        assert.is(bytes > 0, state === 'loaded', `${id} ${state} ${bytes}`);
        return state;
      });
    };
    assert.equal(await states(), ['loaded', 'released']);
    assert.equal(await json(await get('/readyz')), { ready: true });
    const draw = (model: string, more = {}) =>
      fetch(new URL('/v1/images/generations', server.url), {
        method: 'POST',
        headers: { 'Content-Type': 'application/json' },
        body: JSON.stringify({ prompt: 'red', steps: 2, model, ...more }),
      });
    assert.is((await draw('other', { size: '7x7' })).status, 400, 'judged when it is loaded');
    assert.is((await json(await draw('other'))).data.length, 1);
    assert.equal(await states(), ['released', 'loaded']);
    const found = await all(await post(server.url, { prompt: 'red', steps: 2 }));
    const [queued, ...others] = found.map(({ event }) => event);
    assert.equal([queued, others.at(-1)], ['queued', 'done']);
    assert.ok(others.indexOf('loading') < others.indexOf('started'));
    assert.equal(await states(), ['loaded', 'released']);
    const figures = await (await get('/metrics')).text();
    for (const line of [
      'dpm_solver_model_loads_total{model="first"} 2',
      'dpm_solver_model_loads_total{model="other"} 1',
      'dpm_solver_model_releases_total{model="first"} 1',
      'dpm_solver_model_bytes{model="other"} 0',
      'dpm_solver_model_ready{model="first"} 1',
    ]) {
      assert.ok(figures.split('\n').includes(line), line);
    }
  } finally {
    await server.close();
  }
});

test.run();
