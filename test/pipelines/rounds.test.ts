// Whose samples a network call has, by itself: fair among clients and sizes, and nobody waits for ever.
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { type Asking, Rounds } from '../../lib/pipelines/rounds.js';

const test = suite('rounds');

/** Runs of clients that ask again as soon as they have been served: what each got, in cost, after so many calls. */
function serve(runs: readonly Asking[], most: number, calls: number): { got: Record<string, number>; filled: number } {
  const rounds = new Rounds<Asking>();
  const sizes = new Map(runs.map((run) => [run, run.rows]));
  for (const run of runs) rounds.add(run);
  const got: Record<string, number> = {};
  let filled = 0;
  for (let i = 0; i < calls; i++) {
    const call = rounds.next(() => most);
    assert.is(new Set(Array.from(call.keys(), ({ group }) => group)).size, 1, 'one group a call');
    for (const [run, count] of call) {
      got[run.client] = (got[run.client] ?? 0) + count * run.cost;
      filled += count;
      if (run.rows > 0) continue;
      run.rows = sizes.get(run) as number;
      rounds.add(run);
    }
  }
  return { got, filled };
}

const run = (client: string, group = 'small', cost = 1, rows = 2): Asking => ({ client, group, cost, rows });

test('fills calls, and gives each client as much, however many runs it has', () => {
  const { got, filled } = serve([run('a'), run('a'), run('a'), run('a'), run('b'), run('c')], 3, 300);
  assert.is(filled, 900);
  for (const client of ['a', 'b', 'c']) assert.ok(Math.abs(got[client] - 300) <= 6, JSON.stringify(got));
});

test('gives those with large pictures as much of the machine as those with small ones', () => {
  const { got } = serve([run('a'), run('a'), run('b', 'large', 16, 1), run('c', 'middle', 4, 2)], 2, 4000);
  const values = Object.values(got);
  assert.is(values.length, 3);
  assert.ok(Math.max(...values) / Math.min(...values) < 1.05, JSON.stringify(got));
});

test('one client gets no more by asking for many sizes', () => {
  const greedy = ['s', 'm', 'l', 'x'].map((group, i) => run('a', group, 1 + i, 1));
  const { got } = serve([...greedy, run('b', 's', 1, 1)], 1, 4000);
  assert.ok(Math.abs(got.a / got.b - 1) < 0.05, JSON.stringify(got));
});

test('everybody is in a call again soon, whoever comes and goes', () => {
  const rounds = new Rounds<Asking>();
  const patient = run('patient', 'large', 50, 1);
  rounds.add(patient);
  let waited = 0;
  for (let i = 0; i < 1000; i++) {
    rounds.add(run(`passer-by ${i}`, 'small', 1, 1));
    const call = rounds.next(() => 4);
    if (call.has(patient)) {
      assert.ok(waited <= 120, `${waited} calls`);
      waited = 0;
      patient.rows = 1;
      rounds.add(patient);
    } else waited++;
  }
  assert.ok(waited <= 120, `${waited} calls`);
});

test('those who leave are in no call', () => {
  const rounds = new Rounds<Asking>();
  const [a, b] = [run('a'), run('b')];
  rounds.add(a);
  rounds.add(b);
  assert.ok(rounds.remove(a));
  assert.not.ok(rounds.remove(a));
  assert.equal([...rounds.next(() => 8).keys()], [b]);
  assert.is(rounds.size, 0);
  assert.is(rounds.next(() => 8).size, 0);
});

test.run();
