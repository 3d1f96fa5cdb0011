// The process that draws, started again and again: whatever the system refuses, and however long a check takes, the server
// goes on and draws as soon as it can.
import type { ChildProcess } from 'node:child_process';
import { EventEmitter } from 'node:events';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { Engine, timeOf, Unavailable } from '../../lib/serve/engine.js';
import { defaultLimits } from '../../lib/serve/limits.js';
import type { Job, Model, Order } from '../../lib/serve/messages.js';
import { Queue } from '../../lib/serve/queue.js';
import type { Settings } from '../../lib/serve/settings.js';
import { assertRejects } from '../support.js';

const test = suite('the process that draws');
const model: Model = { name: 'a', width: 8, height: 8, multiple: 8, guidance: 1, words: null };
const settings = { prompt: 'red', count: 1, steps: 2, solver: 'dpmsolver++' } as Settings;
const job = (prompt = 'red'): Job => ({
  settings: { ...settings, prompt },
  coding: { format: 'png', quality: 100 },
  previews: 'each',
});
const later = (ms: number) => new Promise((go) => setTimeout(go, ms));

/** A process that answers as it is told to. */
class Process extends EventEmitter {
  readonly pid: number | undefined;
  connected = true;
  exitCode: number | null = null;
  signalCode: string | null = null;
  readonly orders: Order[] = [];
  constructor(answer: (order: Order, tell: (report: unknown) => void) => void, pid: number | undefined = 1) {
    super();
    this.pid = pid;
    this.#answer = answer;
  }
  readonly #answer: (order: Order, tell: (report: unknown) => void) => void;
  send(order: Order): void {
    this.orders.push(order);
    setImmediate(() => this.#answer(order, (report) => this.emit('message', report)));
  }
  kill(): void {
    if (!this.connected) return;
    this.connected = false;
    this.signalCode = 'SIGKILL';
    setImmediate(() => this.emit('exit', null, 'SIGKILL'));
  }
}

const works = (order: Order, tell: (report: unknown) => void): void => {
  if (order.type === 'open') tell({ type: 'described', model });
  if (order.type === 'open') tell({ type: 'opened' });
  if (order.type === 'check') tell({ type: 'checked', id: order.id });
};
const system = (code: string) => Object.assign(new Error(`spawn ${code}`), { code });

/** How a start can come to nothing. */
const failures: [string, () => Process][] = [
  [
    'fork throws, as without memory',
    () => {
      throw system('ENOMEM');
    },
  ],
  ...['EAGAIN', 'EMFILE', 'ENFILE'].map((code): [string, () => Process] => [
    `only an error comes, ${code}`,
    () => {
      const one = new Process(() => undefined, undefined);
      Object.defineProperty(one, 'pid', { value: undefined });
      one.connected = false;
      setImmediate(() => one.emit('error', system(code)));
      return one;
    },
  ]),
  [
    'it ends before the model is loaded',
    () => {
      const one = new Process(() => undefined);
      setImmediate(() => one.kill());
      return one;
    },
  ],
  ['the model cannot be loaded', () => new Process((_, tell) => tell({ type: 'broken', error: 'no memory' }))],
];
for (const [what, fails] of failures) {
  test(`${what}: at the first start that is said`, async () => {
    const engine = new Engine({ folder: 'a' }, () => fails() as unknown as ChildProcess);
    await assertRejects(engine.open(), Error, /^The process that draws |^no memory$/);
    await engine.close();
  });

  test(`${what}: later it is tried again`, async () => {
    const starts: Process[] = [];
    let left = 2;
    const engine = new Engine({ folder: 'a' }, () => {
      if (starts.length > 0 && left-- > 0) return fails() as unknown as ChildProcess;
      starts.push(new Process(works));
      return starts[starts.length - 1] as unknown as ChildProcess;
    });
    await engine.open();
    starts[0].kill();
    // At once, after a second, and after three more.
    for (let waited = 0; starts.length < 2 && waited < 8000; waited += 50) await later(50);
    await later(20);
    assert.is(starts.length, 2);
    assert.equal(engine.model, model);
    await engine.close();
  });

  test(`${what}: a run is told so, and the next one is drawn`, async () => {
    const starts: Process[] = [];
    let failing = false;
    const engine = new Engine({ folder: 'a' }, () => {
      if (failing) return fails() as unknown as ChildProcess;
      starts.push(new Process(works));
      return starts[starts.length - 1] as unknown as ChildProcess;
    });
    await engine.open();
    failing = true;
    starts[0].kill();
    await later(10);
    const outcome = await engine.run('1', job(), 'client', 0, 10, { step: () => undefined });
    assert.is(outcome.type, 'failed');
    failing = false;
    await engine.open();
    assert.equal(engine.model, model);
    await engine.close();
  });
}

test('a check that does not end ends the process, and nobody else’s', async () => {
  const starts: Process[] = [];
  const stuck = (order: Order, tell: (report: unknown) => void): void => {
    if (order.type !== 'check' || order.job.settings.prompt !== 'stuck') works(order, tell);
  };
  const engine = new Engine({ folder: 'a' }, () => {
    starts.push(new Process(stuck));
    return starts[starts.length - 1] as unknown as ChildProcess;
  });
  await engine.open();
  assert.is(await engine.check('1', job(), 0.2), undefined);
  const message = await engine.check('2', job('stuck'), 0.2);
  assert.is(message, 'Expected settings that can be checked within 0.2 s but these took longer');
  for (let waited = 0; !(starts.length > 1 && engine.model) && waited < 3000; waited += 20) await later(20);
  assert.is(await engine.check('3', job(), 0.2), undefined);
  await engine.close();
});

test('who leaves while a check goes on frees the place at once', async () => {
  const engine = new Engine({ folder: 'a' }, () => {
    const never = (order: Order, tell: (report: unknown) => void): void => {
      if (order.type === 'open') works(order, tell);
    };
    return new Process(never) as unknown as ChildProcess;
  });
  await engine.open();
  const queue = new Queue({ ...defaultLimits, waiting: 0, checkSeconds: 60 });
  const gone = new AbortController();
  const entered = queue.enter(engine, job(), { id: 'a' }, () => undefined, gone.signal);
  assert.is(queue.state.waiting, 1);
  await assertRejects(
    queue.enter(engine, job(), { id: 'a' }, () => undefined, new AbortController().signal),
    Error,
    /^Expected a place/,
  );
  gone.abort();
  await assertRejects(entered, Unavailable, /gone/);
  assert.is(queue.state.waiting, 0);
  queue.close();
  await engine.close();
});

test('a limit of any size is a time that a timer can wait', () => {
  assert.is(timeOf(300), 300_000);
  for (const seconds of [2_147_484, 1e9, Number.MAX_SAFE_INTEGER]) assert.is(timeOf(seconds), 2 ** 31 - 1);
});

test.run();
