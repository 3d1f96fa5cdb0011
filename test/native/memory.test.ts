// Outputs that are inputs, and buffers that overlap.
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { addon, type NetworkArray, type StateArray } from '../../lib/addon/native.js';
import { assertSame, type Call, GIVEN, INPUTS, OUTPUTS, Random, randomRows, reference, run, zeros } from './support.js';

type Buffers = Record<string, NetworkArray | null | undefined>;

function fresh(random: Random, wide: boolean, batch: number, n: number, form: 'fused' | 'pieces' | 'given'): Call {
  const total = batch * n;
  const rows = randomRows(random, batch, form === 'given' ? GIVEN : 'any');
  const call: Call = { wide, batch, n, rows, out: zeros(wide, total), d0: zeros(wide, total) };
  const names = form === 'fused' ? (['x', 'm', 'u', 'base', 'd1', 'd2'] as const) : INPUTS;
  for (const name of names) (call as unknown as Buffers)[name] = random.array(wide, total);
  if (form === 'fused') {
    for (let b = 0; b < batch; b++) {
      rows.set([1, 0, 0, 0], 32 * b + 8);
      rows[32 * b + 14] = 0;
    }
  } else {
    call.out2 = zeros(wide, total);
  }
  if (form === 'given') call.p = random.array(wide, total);
  return call;
}
function copy(call: Call): Call {
  const result = { ...call } as unknown as Buffers;
  for (const [name, value] of Object.entries(result)) {
    if (ArrayBuffer.isView(value)) result[name] = (value as StateArray).slice();
  }
  return result as unknown as Call;
}

test('1.1 an output that is an input gives what separate buffers give', () => {
  const random = new Random(20);
  for (const form of ['fused', 'pieces', 'given'] as const) {
    for (const [batch, n] of [
      [1, 1],
      [2, 37],
      [1, 3000],
      [1, 140000],
    ] as const) {
      for (const wide of [false, true]) {
        const original = fresh(random, wide, batch, n, form);
        const expected = reference(original);
        for (const output of OUTPUTS) {
          for (const input of [...INPUTS, 'p'] as const) {
            const [target, source] = [original[output], original[input]];
            if (!target || !source) continue;
            for (const threads of n > 100000 ? [1, 2] : [1]) {
              const call = copy(original);
              (call as unknown as Buffers)[output] = call[input];
              assert.is(run({ ...call, threads }), -1);
              const what = `${form}, ${output} is ${input}, ${batch} x ${n}`;
              for (const name of OUTPUTS) if (call[name]) assertSame(call[name]!, expected[name], `${what}: ${name}`);
            }
          }
        }
      }
    }
  }
});

test('1.2 several at once: the history in place, the state in place', () => {
  const random = new Random(21);
  for (const form of ['fused', 'pieces'] as const) {
    for (const n of [100, 5000, 600000]) {
      const original = fresh(random, false, 1, n, form);
      original.base = original.x;
      const expected = n > 100000 ? null : reference(original);
      const apart = copy(original);
      run(apart);
      for (const [d0, out] of [
        ['d1', 'x'],
        ['d2', 'x'],
        ['x', 'd1'],
        ['d1', 'm'],
        ['u', 'm'],
      ] as const) {
        const call = copy(original);
        call.base = call.x;
        call.d0 = call[d0] as StateArray;
        call.out = call[out] as StateArray;
        assert.is(run({ ...call, threads: n > 100000 ? 2 : 1 }), -1);
        for (const name of ['d0', 'out'] as const) {
          assertSame(call[name]!, (expected ?? apart)[name]!, `${form}, d0 is ${d0}, out is ${out}, n ${n}: ${name}`);
        }
      }
    }
  }
});

test('1.3 half of a doubled network output', () => {
  const random = new Random(22);
  const [batch, n] = [2, 500];
  const total = batch * n;
  const rows = randomRows(random, batch, 'any');
  const x = random.array(false, total);
  const m = random.array(false, 2 * total);
  const expected = reference({ wide: false, batch, n, rows, doubled: true, x, m });
  for (const half of [0, 1]) {
    const own = m.slice();
    const out = own.subarray(half * total, (half + 1) * total);
    assert.is(run({ wide: false, batch, n, rows, doubled: true, x, m: own, out }), -1);
    assertSame(out, expected.out, `half ${half}`);
  }
});

test('2.1 partial overlap is refused, and nothing is written', () => {
  const random = new Random(23);
  const n = 64;
  for (const output of [...OUTPUTS, 'p', 'next'] as const) {
    for (const input of [...INPUTS, 'rows'] as const) {
      for (const shift of [-1, 1, 8, n - 1]) {
        const call = fresh(random, false, 1, n, 'pieces');
        call.p = zeros(false, n);
        call.next = zeros(false, n);
        const bytes = new ArrayBuffer(4 * (3 * n + 2 * 64));
        const space = new Float32Array(bytes);
        space.set(random.state32(space.length));
        if (input === 'rows') {
          const own = new Float64Array(bytes, 4 * n, 32);
          own.set(call.rows);
          call.rows = own;
        } else {
          (call as unknown as Buffers)[input] = space.subarray(n, 2 * n);
        }
        (call as unknown as Buffers)[output] = space.subarray(n + shift, 2 * n + shift);
        const before = space.slice();
        assert.throws(
          () => run(call),
          (error: Error) =>
            error instanceof RangeError && /^Expected .* but received buffers that overlap$/.test(error.message),
          `${output} over ${input} by ${shift}`,
        );
        assertSame(space, before, `${output} over ${input} by ${shift}`);
      }
    }
  }
});

test('2.2 outputs that share memory are refused, however', () => {
  const names = [...OUTPUTS, 'p', 'next'] as const;
  for (const a of names) {
    for (const b of names) {
      if (a === b) continue;
      for (const shift of [0, 1, 63]) {
        const call = fresh(new Random(24), false, 1, 64, 'pieces');
        const space = zeros(false, 200);
        (call as unknown as Buffers)[a] = space.subarray(64, 128);
        (call as unknown as Buffers)[b] = space.subarray(64 + shift, 128 + shift);
        assert.throws(() => run(call), /^Expected separate memory for \w+ and \w+ but received buffers that overlap$/);
        assert.ok(
          space.every((value) => value === 0),
          `${a} and ${b}`,
        );
      }
    }
  }
});

test('2.3 an output over an input of another type, or over longer samples, is refused', () => {
  const random = new Random(25);
  const call = fresh(random, false, 1, 64, 'pieces');
  const bytes = new ArrayBuffer(256);
  const half = new Uint16Array(bytes, 0, 64);
  assert.throws(() => run({ ...call, m: half, u: null, out: new Float32Array(bytes) }), RangeError);
  const long = random.array(false, 128);
  assert.throws(() => run({ ...call, m: long, u: null, out: long.subarray(0, 64) as StateArray }), RangeError);
});

test('2.4 scratch in shared memory is refused: another thread could send the selection out of bounds', () => {
  const call = fresh(new Random(26), false, 1, 64, 'fused');
  const before = (call.out as StateArray).slice();
  assert.throws(
    () => run({ ...call, scratch: new Uint8Array(new SharedArrayBuffer(4096)) }),
    (error: Error) =>
      error instanceof TypeError &&
      error.message === "Expected memory of this thread's own for scratch but received shared memory",
  );
  assertSame(call.out!, before, 'out');
  assert.is(run({ ...call, scratch: new Uint8Array(4096) }), -1);
});

test('2.5 a generator that would overwrite itself is refused', () => {
  const call = addon as unknown as Record<string, (...all: unknown[]) => unknown>;
  const words = new Uint32Array(1000);
  const state = words.subarray(0, 628);
  call.torchSeed!(state, 7, 0);
  const before = words.slice();
  for (const at of [0, 4, 4 * 620]) {
    const out = new Float32Array(words.buffer, at, 100);
    assert.throws(
      () => call.torchRandn!(state, out),
      (error: Error) =>
        error instanceof RangeError &&
        error.message === 'Expected separate memory for state and out but received buffers that overlap',
    );
  }
  assertSame(words, before, 'state');
  call.torchRandn!(state, new Float32Array(words.buffer, 4 * 628, 100));
});

test('2.6 results may lie among the numbers that they are made of', () => {
  const random = new Random(27);
  const [batch, n] = [100, 3];
  const numbers = random.array(true, batch * n) as Float64Array;
  const high = random.array(true, batch * n) as Float64Array;
  const calls: ((x: Float64Array, out: Float64Array) => void)[] = [
    (x, out) => addon.quantile(x, batch, 0.7, 1, out),
    (x, out) => addon.errorNorm(x, high, x, batch, 0.1, 0.1, 1, out),
    (x, out) => addon.standardDeviation(x, batch, out),
  ];
  for (const call of calls) {
    const apart = new Float64Array(batch);
    call(numbers, apart);
    for (const at of [0, 1, 100, 200]) {
      const own = numbers.slice();
      const out = own.subarray(at, at + batch);
      call(own, out);
      assertSame(out, apart, `at ${at}`);
    }
  }
});

test.run();
