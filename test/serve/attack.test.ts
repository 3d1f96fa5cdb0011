// A short version of bench/serve/attack.ts: the server answers while it is attacked, and its memory stays as it was.
import { type ChildProcess, fork } from 'node:child_process';
import { connect } from 'node:net';
import { fileURLToPath } from 'node:url';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { type Attacked, attack, type Memory } from '../../bench/serve/attacks.js';
import { defaultLimits } from '../../lib/serve/limits.js';
import { Outbox } from '../../lib/serve/outbox.js';

const test = suite('server under attack');
const target = fileURLToPath(new URL('../../bench/serve/target.ts', import.meta.url));

test('answers all the while, and keeps nothing', async () => {
  const child: ChildProcess = fork(target, { execArgv: [...process.execArgv, '--expose-gc'] });
  const next = <T>() =>
    new Promise<T>((resolve, reject) => {
      child.once('message', (message) => resolve(message as T));
      child.once('exit', (code) => reject(new Error(`the server ended with ${code}`)));
    });
  try {
    const port = await next<number>();
    const memory = () => {
      const answer = next<Memory>();
      child.send('memory');
      return answer;
    };
    const results: Attacked[] = await attack({
      ...{ port, memory, connect: (p: number) => connect(p, '127.0.0.1') },
      // More than the connections that may be open.
      ...{ stalled: defaultLimits.connections + 44, halves: 12, bad: 320, rounds: 1 },
    });
    assert.is(results.length, 4);
    for (const { kind, answered, heapMiB } of results) {
      const [good, asked] = answered.split(' of ').map(Number);
      assert.ok(asked > 0 && good === asked, `${kind}: ${answered} were answered`);
      assert.ok(heapMiB[1] - heapMiB[0] < 8, `${kind}: the heap went from ${heapMiB[0]} to ${heapMiB[1]} MiB`);
    }
  } finally {
    const ended = new Promise((resolve) => child.once('exit', resolve));
    if (child.connected) child.send('end');
    else child.kill();
    await ended;
  }
});

test('leaves steps out for a reader who is slow, and nothing else', async () => {
  const outbox = new Outbox(1000);
  outbox.push({ event: 'started', data: 'x'.repeat(100) });
  for (let i = 0; i < 50; i++) outbox.push({ event: 'step', data: `${i} `.padEnd(100, '.') });
  outbox.push({ event: 'done', data: 'y'.repeat(500) });
  outbox.end();
  outbox.push({ event: 'step', data: 'too late' });
  const read: { event: string; data: string }[] = [];
  for (let letter = await outbox.next(1); letter; letter = await outbox.next(1)) read.push(letter);
  assert.is(read[0].event, 'started');
  assert.is(read[read.length - 1].event, 'done');
  assert.ok(read.reduce((n, { data }) => n + data.length, 0) <= 1000);
  // The latest ones are kept, in their order.
  assert.equal(
    read.filter(({ event }) => event === 'step').map(({ data }) => Number.parseInt(data, 10)),
    [46, 47, 48, 49],
  );
  assert.is(await outbox.next(1), null);
  const quiet = new Outbox(1000);
  assert.is(await quiet.next(1), undefined, 'nothing has come, and more may');
  const waiting = quiet.next(60_000);
  quiet.push({ event: 'done', data: '' });
  assert.is((await waiting)?.event, 'done');
});

test.run();
