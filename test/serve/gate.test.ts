import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { Gate } from '../../lib/serve/gate.js';

const test = suite('requests that come together');

/** A gate with a clock and turns of its own, and the names of what it has begun since they were asked for last. */
function gateOf(most = 100) {
  let time = 0;
  let next: (() => void) | undefined;
  const begun: string[] = [];
  const gate = new Gate(
    most,
    () => time,
    (work) => {
      assert.is(next, undefined, 'one turn at a time');
      next = work;
    },
  );
  const told = (): string => begun.splice(0).join(' ');
  return {
    told,
    came: () => gate.came(),
    enter: (name: string, first = false) => gate.enter(() => begun.push(name), first),
    pass: (ms: number) => (time += ms),
    /** What is begun in the next turn; undefined where none waits. */
    turn(): string | undefined {
      const work = next;
      next = undefined;
      work?.();
      return work && told();
    },
  };
}

test('a request by itself is begun at once', () => {
  const gate = gateOf();
  for (const first of [false, true]) {
    gate.enter('a', first);
    assert.is(gate.told(), 'a');
    assert.is(gate.turn(), '');
    assert.is(gate.turn(), undefined, 'nothing goes on while nobody asks');
  }
});

test('of many one is begun at a turn, in their order, and what is quick goes before them', () => {
  const gate = gateOf();
  for (const name of ['a', 'b', 'c']) gate.enter(name);
  assert.is(gate.told(), 'a');
  gate.enter('status', true);
  gate.enter('health', true);
  assert.equal(
    Array.from({ length: 6 }, () => gate.turn()),
    ['status', 'health', 'b', 'c', '', undefined],
  );
});

test('while connections come only what is quick is begun, for as long as the others can wait', () => {
  const gate = gateOf();
  gate.came();
  gate.enter('a');
  gate.enter('b');
  for (let i = 0; i < 3; i++) {
    gate.came();
    assert.is(gate.turn(), '');
  }
  gate.enter('status', true);
  gate.came();
  assert.is(gate.turn(), 'status');
  gate.pass(20);
  gate.came();
  assert.is(gate.turn(), 'a', 'it has waited for long enough');
  gate.came();
  assert.is(gate.turn(), '', 'and the next one waits in its turn');
  assert.is(gate.turn(), 'b', 'nobody has come');
});

test('no more are put off than may be', () => {
  const gate = gateOf(2);
  gate.came();
  gate.enter('a');
  gate.enter('b');
  gate.came();
  assert.is(gate.turn(), 'a');
  gate.came();
  assert.is(gate.turn(), '');
});

test('one that fails to begin does not keep the others', () => {
  const turns: (() => void)[] = [];
  const begun: string[] = [];
  const gate = new Gate(
    100,
    () => 0,
    (work) => turns.push(work),
  );
  const fail = (): never => {
    throw new Error('no');
  };
  assert.throws(() => gate.enter(fail, false), /no/);
  gate.enter(() => begun.push('a'), false);
  turns.shift()?.();
  assert.equal(begun, ['a']);
});

test.run();
