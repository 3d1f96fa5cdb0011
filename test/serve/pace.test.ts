// What is said of when runs begin and end, held to closed forms and to a network of known duration, on a clock of its own.
import type { ChildProcess } from 'node:child_process';
import { EventEmitter } from 'node:events';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { Engine } from '../../lib/serve/engine.js';
import { defaultLimits } from '../../lib/serve/limits.js';
import type { Job, Order, Report } from '../../lib/serve/messages.js';
import { begins, Pace, timetable } from '../../lib/serve/pace.js';
import { Queue } from '../../lib/serve/queue.js';
import type { RunEvent } from '../../lib/serve/runs.js';
import type { Settings } from '../../lib/serve/settings.js';
import { eventually } from './client.js';

const test = suite('waiting');

const due = (runs: Record<string, number>) => Object.entries(runs).map(([of, seconds]) => ({ of, seconds }));
const table = (running: Record<string, number>, waiting: Record<string, number>, together: number) =>
  Object.fromEntries(timetable(due(running), due(waiting), (_, beside) => beside.length < together));

test('one after the other, each begins when those before it are over', () => {
  assert.equal(table({ a: 3 }, { b: 4, c: 5 }, 1), {
    a: { begins: 0, ends: 3 },
    b: { begins: 3, ends: 7 },
    c: { begins: 7, ends: 12 },
  });
});

test('runs at once have equal shares of the machine', () => {
  // Both until a is over at 4; b has 3 s left, beside c, which is over at 4 + 2 x 2; then b alone for a second.
  assert.equal(table({ a: 2, b: 5 }, { c: 2 }, 2), {
    a: { begins: 0, ends: 4 },
    c: { begins: 4, ends: 8 },
    b: { begins: 0, ends: 9 },
  });
});

test('the last is over when all work is done, whatever goes on at once', () => {
  for (const together of [1, 2, 3, 8]) {
    const times = Object.values(table({ a: 3.5 }, { b: 1.25, c: 6, d: 2 }, together));
    assert.ok(Math.abs(Math.max(...times.map(({ ends }) => ends)) - 12.75) < 1e-9);
  }
});

const model = {};
const other = {};

/** A clock that the test winds. */
function clocked() {
  let now = 0;
  const pace = new Pace(() => now);
  const pass = (seconds: number) => {
    now += 1000 * seconds;
  };
  return { pace, pass };
}

test('learns what each model takes, of the network and of the rest', () => {
  const { pace, pass } = clocked();
  assert.is(pace.secondsFor(model, { network: 10, pictures: 1 }), 5, 'nothing is known');
  // 2 s a unit of the network and 5 s a picture.
  pace.begin('1', model, { network: 10, pictures: 1 });
  pass(25);
  pace.end('1', 20 / 25);
  assert.is(pace.secondsFor(model, { network: 30, pictures: 2 }), 70);
  pace.begin('2', other, { network: 10, pictures: 1 });
  pass(1);
  pace.end('2', 1);
  assert.is(pace.secondsFor(other, { network: 30, pictures: 2 }), 3);
  assert.is(pace.secondsFor(model, { network: 30, pictures: 2 }), 70, 'that of the one says nothing of the other');
});

test('one that was cancelled or failed says nothing', () => {
  const { pace, pass } = clocked();
  pace.begin('1', model, { network: 10, pictures: 1 });
  pass(2);
  pace.end('1', undefined);
  assert.is(pace.secondsFor(model, { network: 10, pictures: 1 }), 5);
});

test('those at once take what each would take by itself', () => {
  const { pace, pass } = clocked();
  pace.begin('1', model, { network: 10, pictures: 1 });
  pass(4);
  pace.begin('2', model, { network: 10, pictures: 1 });
  pass(12);
  pace.end('1', 1);
  assert.is(pace.secondsFor(model, { network: 10, pictures: 1 }), 4 + 12 / 2);
  assert.is(pace.leftOf('2'), 4);
  assert.is(pace.first(), 4);
});

test('before one is over, and where it takes longer than others did, how far it has come says it', () => {
  const { pace, pass } = clocked();
  pace.begin('1', model, { network: 8, pictures: 1 });
  pass(6);
  pace.tell('1', 2 / 8);
  assert.is(pace.leftOf('1'), 18);
  assert.is(pace.secondsFor(model, { network: 4, pictures: 1 }), 12);
  pass(18);
  pace.end('1', 1);
  pace.begin('2', model, { network: 8, pictures: 1 });
  pass(24);
  pace.tell('2', 1 / 2);
  assert.is(pace.leftOf('2'), 24, 'half of it took 24 s and not 12');
});

test('a long first step is not taken for the pace of those after it', () => {
  const { pace, pass } = clocked();
  const near = (value: number | undefined, expected: number, what: string) =>
    assert.ok(Math.abs((value as number) - expected) < 1e-9, `${what}: ${value}, not ${expected}`);
  // 2 s of prompt and memory, then 8 calls of 3 s, and 4 s for the picture.
  const run = (id: string, steps: number) => {
    pace.begin(id, model, { network: 8, pictures: 1 });
    pass(2);
    for (let i = 1; i <= steps; i++) {
      pass(3);
      pace.tell(id, i / 8);
    }
  };
  run('1', 3);
  near(pace.leftOf('1'), 5 * 3, 'by the calls that it has made, and nothing is known of pictures');
  pass(1);
  near(pace.leftOf('1'), 5 * 3 - 1, 'a second later');
  pass(14);
  pace.tell('1', 1);
  pass(4);
  pace.end('1', 24 / 30);
  for (const steps of [2, 3, 7]) {
    run(`2 of ${steps}`, steps);
    // What is not the network's, 6 s, is told as the picture's.
    near(pace.leftOf(`2 of ${steps}`), (8 - steps) * 3 + 6, `after ${steps}`);
    pace.end(`2 of ${steps}`, undefined);
  }
  pace.begin('3', model, { network: 2, pictures: 1 });
  pass(5);
  pace.tell('3', 1 / 2);
  near(pace.leftOf('3'), 3 + 6, 'after one call, its beginning taken off');
});

/** Seconds that the stub takes: for an evaluation of a sample, and for decoding. */
const CALL = 2;
const DECODE = 7;

/** A process whose runs go as the test winds the clock: to each an equal share, as far as it is let in. */
class Stub extends EventEmitter {
  readonly pid = 1;
  connected = true;
  exitCode: number | null = null;
  signalCode: string | null = null;
  readonly runs = new Map<string, { steps: number; done: number }>();
  readonly #room: number;
  constructor(room: number) {
    super();
    this.#room = room;
  }
  tell(report: Report): void {
    this.emit('message', report);
  }
  send(order: Order): void {
    setImmediate(() => {
      if (order.type === 'open') {
        const known = { name: 'm', width: 8, height: 8, multiple: 8, guidance: 1, words: null };
        this.tell({ type: 'described', model: known, needs: undefined });
        this.tell({ type: 'opened' });
        this.tell({ type: 'call', samples: 1, milliseconds: 1, batch: 1, room: this.#room });
      } else if (order.type === 'check') this.tell({ type: 'checked', id: order.id });
      else if (order.type === 'run') this.runs.set(order.id, { steps: order.job.settings.steps, done: 0 });
    });
  }
  /** A second passes. */
  second(): void {
    const share = 1 / this.runs.size;
    for (const [id, run] of [...this.runs]) {
      run.done += share;
      const { steps, done } = run;
      const step = Math.min(steps, Math.floor(done / CALL));
      const common = { nfe: step, t: 0, first: 0, ms: 0, width: 8, height: 8, images: [] };
      if (step > 0) this.tell({ type: 'step', id, data: { step, steps, batch: 0, batches: 1, ...common } });
      const all = steps * CALL + DECODE;
      if (done < all - 1e-9) continue;
      this.runs.delete(id);
      const timings = { networkTotalMs: 1000 * steps * CALL, totalMs: 1000 * all } as never;
      const data = {
        images: [],
        width: 8,
        height: 8,
        nfe: steps,
        seeds: [0],
        guidance: 1,
        solver: {} as never,
        timings,
      };
      this.tell({ type: 'done', id, data });
    }
  }
  kill(): void {
    this.connected = false;
    this.signalCode = 'SIGKILL';
    setImmediate(() => this.emit('exit', null, 'SIGKILL'));
  }
}

for (const room of [1, 2, 3]) {
  test(`who waits is told when the run begins, right within a third, with ${room} at once`, async () => {
    let now = 0;
    const stub = new Stub(room);
    const engine = new Engine({ folder: 'm' }, () => stub as unknown as ChildProcess);
    const queue = new Queue({ ...defaultLimits, perClient: 99 }, {}, undefined, new Pace(() => 1000 * now));
    await engine.open();
    await eventually(() => engine.room === room, 'no room');
    type Run = { id: string; told: { at: number; seconds: number }[]; began: number | undefined; over: boolean };
    const ask = async (steps: number): Promise<Run> => {
      const run: Run = { id: '', told: [], began: undefined, over: false };
      const tell = (event: RunEvent): void => {
        if (event.event === 'queued') run.told.push({ at: now, seconds: event.data.seconds ?? Number.NaN });
        if (event.event === 'started') run.began = now;
        if (event.event === 'done') run.over = true;
      };
      const settings = { prompt: 'red', count: 1, steps, solver: 'dpmsolver++' } as Settings;
      const job: Job = { settings, coding: { format: 'png', quality: 100 }, previews: 'each' };
      run.id = await queue.enter(engine, job, { id: 'a' }, tell, new AbortController().signal);
      return run;
    };
    /** Winds the clock until all are over; what has been started has to have arrived before the next second. */
    const until = async (runs: readonly Run[]): Promise<void> => {
      while (!runs.every(({ over }) => over)) {
        await eventually(
          () => runs.every(({ id, began, over }) => began === undefined || over || stub.runs.has(id)),
          'run',
        );
        now++;
        stub.second();
        await new Promise((resolve) => setImmediate(resolve));
      }
    };
    await until([await ask(6)]);
    const runs: Run[] = [];
    for (const steps of [10, 4, 20, 7, 12, 5, 9]) runs.push(await ask(steps));
    await until(runs);
    let waited = 0;
    for (const [i, { told, began }] of runs.entries()) {
      assert.ok(told.length > 0 && began !== undefined);
      for (const { at, seconds } of told) {
        const really = (began as number) - at;
        if (really > 0) waited++;
        assert.ok(
          Math.abs(seconds - really) <= Math.max(1, really / 3),
          `run ${i}: ${seconds} s, and it was ${really}`,
        );
      }
    }
    assert.ok(waited >= 7 - room, 'some had to wait');
    queue.close();
    await engine.close();
  });
}

test('those who wait are told once of all who have gone at a moment', async () => {
  const stub = new Stub(1);
  const engine = new Engine({ folder: 'm' }, () => stub as unknown as ChildProcess);
  const queue = new Queue({ ...defaultLimits, perClient: 99 });
  await engine.open();
  const settings = { prompt: 'red', count: 1, steps: 9 } as Settings;
  const job: Job = { settings, coding: { format: 'png', quality: 100 }, previews: 'each' };
  const places: number[][] = [];
  const ids: string[] = [];
  for (let i = 0; i < 12; i++) {
    const told: number[] = [];
    const tell = (event: RunEvent): void => void (event.event === 'queued' && told.push(event.data.ahead));
    places.push(told);
    ids.push(await queue.enter(engine, job, { id: 'a' }, tell, new AbortController().signal));
  }
  assert.equal(
    places.map((told) => told[0]),
    [...places.keys()],
    'at once',
  );
  for (const id of ids.slice(1, 9)) assert.ok(queue.cancel(id));
  await eventually(() => places[11].length > 1, 'not told');
  assert.equal(places.slice(9), [
    [9, 1],
    [10, 2],
    [11, 3],
  ]);
  queue.close();
  await engine.close();
});

test('in a queue of many front ends, those that are not ours are taken for ones like ours', () => {
  // Two of ours go on and two that are not, which have half left; all four are over at 4 x 2, when four come in.
  assert.equal(begins([2, 2], new Map([[0, 6]]), 4, 4), [8]);
  assert.equal(
    begins([2, 2], new Map([[5, 4]]), 4, 4).map((at) => at),
    [8, 8, 8, 8, 24, 24],
    'whoever has the other places',
  );
  assert.equal(begins([], new Map([[1, 4]]), 1, 4), [2, 6]);
  assert.equal(begins([], new Map(), 0, 4), []);
});

test('says within a third when a run begins that waits with those of another front end', () => {
  // Four go on at once, at equal shares; ours and theirs are of 2 to 6 units and take turns.
  const { pace, pass } = clocked();
  let state = 7;
  const random = (): number => {
    state = (state * 48271) % 0x7fffffff;
    return state / 0x7fffffff;
  };
  type One = { id: string; ours: boolean; work: number; left: number; said?: number; at?: number };
  const queue = Array.from({ length: 60 }, (_, i): One => {
    const work = 2 + 4 * random();
    return { id: String(i), ours: random() < 0.5, work, left: work };
  });
  const going: One[] = [];
  const workOf = ({ work }: One) => ({ network: work, pictures: 1 });
  let now = 0;
  const errors: number[] = [];
  while (queue.length + going.length > 0) {
    while (going.length < 4 && queue.length > 0) {
      const one = queue.shift() as One;
      going.push(one);
      if (!one.ours) continue;
      pace.begin(one.id, model, workOf(one));
      if (one.said !== undefined && one.at !== undefined && now - one.at > 5) {
        errors.push(Math.abs(one.said - (now - one.at)) / (now - one.at));
      }
    }
    pace.others = going.filter(({ ours }) => !ours).length;
    const ours = going.filter((one) => one.ours);
    const places = new Map([...queue.entries()].filter(([, one]) => one.ours));
    const seconds = new Map([...places].map(([place, one]) => [place, pace.secondsFor(model, workOf(one))]));
    const typical = [...seconds.values()].reduce((a, b) => a + b, 0) / Math.max(1, seconds.size);
    const times = begins(
      ours.map(({ id }) => pace.leftOf(id) as number),
      ...([seconds, going.length, typical] as const),
    );
    // Once the first of ours has been made.
    if (now > 20)
      for (const [place, one] of places) if (one.said === undefined) [one.said, one.at] = [times[place], now];
    const least = Math.min(...going.map(({ left }) => left));
    pass(least * going.length);
    now += least * going.length;
    for (const one of going) {
      one.left -= least;
      if (one.ours && one.left > 1e-9) pace.tell(one.id, 1 - one.left / one.work);
      if (one.ours && one.left <= 1e-9) pace.end(one.id, 1);
    }
    going.splice(0, going.length, ...going.filter(({ left }) => left > 1e-9));
  }
  assert.ok(errors.length > 10, `${errors.length} were told`);
  assert.ok(Math.max(...errors) < 1 / 3, errors.map((error) => error.toFixed(2)).join(' '));
});

test.run();
