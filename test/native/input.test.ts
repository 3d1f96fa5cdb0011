// Bad input: one sentence each, no crash, nothing written.
import { types } from 'node:util';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { addon, convert, scratchBytes, step } from '../../lib/addon/native.js';
import {
  assertSame,
  type Call,
  GIVEN,
  multistepRow,
  positional,
  QUANTILE,
  R,
  Random,
  reference,
  run,
  zeros,
} from './support.js';

const [batch, n] = [2, 24];
const total = batch * n;
/** Positions of the arguments. */
const NAMES = [
  ...['rows', 'first', 'batch', 'flags', 'threads', 'scratch', 'x', 'm', 'u', 'g', 'base', 'p', 'd1', 'd2', 'd3', 'z'],
  ...['d0', 'out', 'out2', 'next'],
];
const BUFFERS = NAMES.slice(6);

function full(): Call {
  const random = new Random(40);
  const rows = new Float64Array(32 * batch);
  for (let b = 0; b < batch; b++) rows.set(multistepRow({ guidance: true }), 32 * b);
  const call: Call = { wide: false, batch, n, rows, scratch: new Uint8Array(64), threads: 1 };
  for (const name of BUFFERS) (call as unknown as Record<string, Float32Array>)[name] = random.state32(total);
  return call;
}

/** Calls with one argument replaced and expects the error; the outputs stay as they were. */
function refuses(
  name: string,
  value: unknown,
  kind: ErrorConstructor,
  pattern = /^Expected .+ but received .+$/,
): void {
  const call = full();
  const args = positional(call);
  args[NAMES.indexOf(name)] = value;
  refusesCall(args, kind, pattern, `${name} = ${typeof value === 'object' ? 'an object' : String(value)}`);
}
function refusesCall(args: unknown[], kind: ErrorConstructor, pattern: RegExp, what: string): void {
  const outputs = args.slice(16).filter((array) => types.isFloat32Array(array) && array.length > 0) as Float32Array[];
  const before = outputs.map((array) => array.slice());
  try {
    (addon.step as (...all: unknown[]) => number)(...args);
  } catch (error) {
    assert.instance(error, kind, `${what}: ${error}`);
    assert.match((error as Error).message, pattern, what);
    assert.not.match((error as Error).message, /\n|\.\s/, what);
    outputs.forEach((array, k) => {
      if (array.length === before[k]!.length) assertSame(array, before[k]!, what);
    });
    return;
  }
  assert.unreachable(`${what}: was taken`);
}

/** Length 0 afterwards. */
function detach<T extends ArrayBufferView<ArrayBuffer>>(view: T): T {
  structuredClone(view.buffer, { transfer: [view.buffer] });
  return view;
}

test('1.0 the call that the others spoil is fine', () => {
  assert.is(run(full()), -1);
});

test('1.1 things that are not buffers', () => {
  const foreign = [
    1,
    'x',
    true,
    Symbol('s'),
    10n,
    () => 1,
    {},
    [],
    [1, 2],
    new Date(),
    new DataView(new ArrayBuffer(8)),
  ];
  const more = [new ArrayBuffer(total * 4), new Proxy(new Float32Array(total), {}), Buffer, new Error('e'), new Map()];
  for (const name of ['rows', 'scratch', ...BUFFERS]) {
    for (const value of [...foreign, ...more]) {
      const call = full();
      const args = positional(call);
      args[NAMES.indexOf(name)] = value;
      refusesCall(args, TypeError, new RegExp(`^Expected a.+ for ${name} but received .+$`), name);
    }
  }
  refuses('rows', null, TypeError, /^Expected a Float64Array for rows but received null$/);
  refuses('rows', undefined, TypeError, /^Expected a Float64Array for rows but received undefined$/);
});

test('1.2 typed arrays of another kind', () => {
  const kinds = [Int8Array, Uint8Array, Uint8ClampedArray, Int16Array, Int32Array, Uint32Array, BigInt64Array];
  for (const name of BUFFERS) for (const kind of kinds) refuses(name, new kind(total), TypeError);
  for (const name of ['x', 'base', 'p', 'd1', 'd2', 'd3', 'z', 'd0', 'out', 'out2']) {
    refuses(name, new Uint16Array(total), TypeError, new RegExp(`for ${name} but received a Uint16Array$`));
  }
  for (const name of ['m', 'u', 'g', 'base', 'd1', 'z', 'd0', 'out', 'out2', 'p']) {
    refuses(name, new Float64Array(total), TypeError, new RegExp(`for ${name} but received a Float64Array$`));
  }
  refuses('rows', new Float32Array(64), TypeError, /^Expected a Float64Array for rows but received a Float32Array$/);
  refuses('scratch', new Float32Array(64), TypeError);
});

test('1.3 Float16Array where it exists: taken from and for the network, refused as state', () => {
  const Float16 = (globalThis as { Float16Array?: new (n: number) => Float32Array }).Float16Array;
  if (!Float16) return;
  refuses('x', new Float16(total), TypeError, /Float16Array/);
  refuses('out', new Float16(total), TypeError, /Float16Array/);
  const call = full();
  call.m = new Float16(total);
  call.u = new Float16(total);
  call.next = new Float16(total);
  assert.is(run(call), -1);
});

test('1.4 lengths', () => {
  for (const name of BUFFERS) {
    for (const length of [0, 1, total - 1, total + 1, 3 * total + 1]) {
      if (name === 'x' && length === 0) continue;
      refuses(name, new Float32Array(length), RangeError);
    }
  }
  refuses('x', new Float32Array(0), RangeError);
  refuses('x', new Float32Array(total + 2), RangeError); // then everything else is too short
});

test('1.5 the rows', () => {
  refuses('rows', new Float64Array(0), RangeError, /for rows but received 0 numbers$/);
  refuses('rows', new Float64Array(63), RangeError);
  refuses('first', 1, RangeError, /^Expected rows for samples 1 to 2 /);
  refuses('first', 2 ** 53 - 1, RangeError);
  refuses('batch', 3, RangeError);
  refuses('batch', 2 ** 53 - 1, RangeError);
  const spoil = (offset: number, values: number[], transform: number) => {
    for (const value of values) {
      const call = full();
      call.rows[32 + R.transform] = transform;
      call.rows.set([0.9, 1, 2], 32 + R.ratio);
      call.rows[R.transform] = transform;
      call.rows.set([0.9, 1, 2], R.ratio);
      call.rows[32 + offset] = value;
      refusesCall(positional(call), RangeError, /^Expected .+ row 1 but received .+$/, `row[${offset}] = ${value}`);
    }
  };
  spoil(R.transform, [-1, 4, 0.5, Number.NaN, Number.POSITIVE_INFINITY], 0);
  spoil(R.ratio, [-0.1, 1.1, Number.NaN, Number.POSITIVE_INFINITY], QUANTILE);
  spoil(R.floor, [0, -1, Number.NaN, 1e-50], QUANTILE);
  spoil(R.cap, [0, -1, Number.NaN, 1e-50], QUANTILE);
  spoil(R.floor, [-1, Number.NaN], 1);
});

test('1.6 integers', () => {
  const bad = [-1, 0.5, Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY, 2 ** 60];
  for (const name of ['first', 'batch', 'flags', 'threads']) {
    for (const value of bad) {
      refuses(
        name,
        value,
        RangeError,
        new RegExp(`^Expected an integer from \\d+ to \\d+ for ${name} but received .+$`),
      );
    }
    for (const value of ['1', null, undefined, {}, 1n, true, new Number(1)]) {
      refuses(name, value, TypeError, new RegExp(`^Expected a number for ${name} but received .+$`));
    }
  }
  refuses('batch', 0, RangeError);
  refuses('threads', 1025, RangeError);
});

test('1.7 combinations', () => {
  const without = (change: Partial<Call>, kind: ErrorConstructor, pattern: RegExp) => {
    refusesCall(positional({ ...full(), ...change }), kind, pattern, JSON.stringify(Object.keys(change)));
  };
  without({ x: null, base: null, p: null, out: null, next: null }, TypeError, /^Expected one of x, base, p and out /);
  without({ x: null, m: null, u: null }, TypeError, /^Expected x or m to predict from but received neither$/);
  without({ out: null }, RangeError, /^Expected out beside next but received none$/);
  without({ m: null }, TypeError, /^Expected m beside u but received null$/);
  // An empty view points somewhere all the same.
  without({ m: null, u: new Float32Array(new ArrayBuffer(4), 4, 0) }, TypeError, /^Expected m beside u /);
  without({ doubled: true }, RangeError, /for m but received|no u beside a doubled m/);
  without({ doubled: true, m: new Float32Array(2 * total) }, RangeError, /^Expected no u beside a doubled m /);
  without({ doubled: true, u: null }, RangeError, /^Expected 96 .+ elements for m but received 48$/);
  without({ doubled: true, u: null, m: null }, TypeError, /^Expected a doubled m for m but received null$/);
  const rows = full().rows;
  rows[R.transform] = GIVEN;
  without({ rows }, RangeError, /^Expected transform 3 in all rows of a call or in none but received a mixture$/);
  rows[32 + R.transform] = GIVEN;
  without({ rows, p: null }, RangeError, /^Expected p for rows with transform 3 but received none$/);
});

test('1.8 too few arguments', () => {
  const args = positional(full());
  for (let count = 0; count < 5; count++) {
    refusesCall(args.slice(0, count), TypeError, /^Expected .+ for \w+ but received undefined$/, `${count} arguments`);
  }
  // From here on what is missing is absent.
  for (const count of [5, 6]) {
    const message = /^Expected one of x, base, p and out for step but received none$/;
    refusesCall(args.slice(0, count), TypeError, message, `${count} arguments`);
  }
});

test('2.1 detached buffers', () => {
  for (const name of BUFFERS) refuses(name, detach(new Float32Array(total)), RangeError);
  refuses('rows', detach(new Float64Array(64)), RangeError);
  // Detached scratch is no scratch.
  assert.is(run({ ...full(), scratch: detach(new Uint8Array(64)) }), -1);
});

type Resizable = ArrayBuffer & { resize(bytes: number): void };
const resizable = (bytes: number, most: number) =>
  new (ArrayBuffer as unknown as new (n: number, o: object) => Resizable)(bytes, { maxByteLength: most });

test('2.2 resizable buffers that have shrunk or grown', () => {
  for (const name of BUFFERS) {
    const buffer = resizable(4 * total, 8 * total);
    const fixed = new Float32Array(buffer, 0, total);
    const following = new Float32Array(buffer);
    const args = positional(full());
    args[NAMES.indexOf(name)] = following;
    assert.is((addon.step as (...all: unknown[]) => number)(...args), -1, name);
    buffer.resize(4 * total - 4);
    refuses(name, fixed, RangeError);
    refuses(name, following, RangeError);
    buffer.resize(0);
    refuses(name, fixed, RangeError);
    refuses(name, following, RangeError);
    buffer.resize(4 * total + 4);
    refuses(name, following, RangeError);
    args[NAMES.indexOf(name)] = fixed;
    assert.is((addon.step as (...all: unknown[]) => number)(...args), -1, name);
  }
});

test('2.3 views of shared memory work like others', () => {
  const call = full();
  const expected = reference(call);
  for (const name of BUFFERS) {
    const own = (call as unknown as Record<string, Float32Array>)[name]!;
    const shared = new Float32Array(new SharedArrayBuffer(own.byteLength));
    shared.set(own);
    (call as unknown as Record<string, Float32Array>)[name] = shared;
  }
  assert.is(run(call), -1);
  assertSame(call.out!, expected.out, 'out');
});

test('2.4 views that begin anywhere', () => {
  for (let offset = 1; offset < 20; offset += 3) {
    const call = full();
    const expected = reference(call);
    for (const name of BUFFERS) {
      const own = (call as unknown as Record<string, Float32Array>)[name]!;
      const moved = new Float32Array(total + 40).subarray(offset, offset + total);
      moved.set(own);
      (call as unknown as Record<string, Float32Array>)[name] = moved;
    }
    assert.is(run(call), -1);
    assertSame(call.out!, expected.out, `offset ${offset}`);
  }
});

test('3.1 quantile, errorNorm, standardDeviation, convert, scratchBytes', () => {
  const x = new Float32Array(8);
  const out = new Float64Array(2);
  const rows = new Float64Array(64);
  const apg = Float64Array.of(2, 3, 0.5, 1, 0.5, 0, 1, -0.5, 1, -0.5);
  const cases: [string, unknown[], ErrorConstructor][] = [
    ['quantile', [], TypeError],
    ['quantile', [new Uint16Array(8), 2, 0.5, 1, out], TypeError],
    ['quantile', [x, 3, 0.5, 1, out], RangeError],
    ['quantile', [x, 2, 0.5, 1, new Float64Array(1)], RangeError],
    ['quantile', [x, 2, 1.5, 1, out], RangeError],
    ['quantile', [x, 2, Number.NaN, 1, out], RangeError],
    ['quantile', [x, 2, '0.5', 1, out], TypeError],
    ['quantile', [x, 0, 0.5, 1, out], RangeError],
    ['quantile', [x, 2, 0.5, -1, out], RangeError],
    ['quantile', [new Float32Array(0), 2, 0.5, 1, out], RangeError],
    ['quantile', [detach(new Float32Array(8)), 2, 0.5, 1, out], RangeError],
    ['guide', [], TypeError],
    ['guide', [rows, 0, 2, apg, 1, x, new Float32Array(15), null], RangeError],
    ['guide', [rows, 0, 2, apg, 1, x, new Float64Array(16), null], TypeError],
    ['guide', [rows, 0, 2, apg, 1, x, new Float32Array(16), new Float64Array(8)], TypeError],
    ['guide', [rows, 0, 2, apg, 1, x, new Float32Array(16), new Float32Array(7)], RangeError],
    ['guide', [rows, 0, 2, apg.with(0, 3), 1, x, new Float32Array(16), null], RangeError],
    ['guide', [rows, 0, 2, apg.with(9, 0), 1, x, new Float32Array(16), null], RangeError],
    ['guide', [rows, 0, 2, apg.with(1, Number.NaN), 1, x, new Float32Array(16), null], RangeError],
    ['guide', [rows, 0, 2, apg.subarray(1), 1, x, new Float32Array(16), null], RangeError],
    ['guide', [rows, 1, 2, apg, 1, x, new Float32Array(16), null], RangeError],
    ['guide', [rows, 0, 3, apg, 1, x, new Float32Array(16), null], RangeError],
    ['guide', [x, 0, 2, apg, 1, x, new Float32Array(16), null], TypeError],
    ['errorNorm', [x, x, new Float64Array(8), 2, 0.1, 0.1, 1, out], RangeError],
    ['errorNorm', [x, x, new Float32Array(7), 2, 0.1, 0.1, 1, out], RangeError],
    ['errorNorm', [x, x, x, 3, 0.1, 0.1, 1, out], RangeError],
    ['errorNorm', [x, x, x, 2, -0.1, 0.1, 1, out], RangeError],
    ['errorNorm', [x, x, x, 2, 0.1, Number.NaN, 1, out], RangeError],
    ['errorNorm', [x, x, x, 2, 0.1, 0.1, 1, x], TypeError],
    ['standardDeviation', [x, 8, new Float64Array(8)], RangeError],
    ['standardDeviation', [x, 3, out], RangeError],
    ['standardDeviation', [null, 2, out], TypeError],
    ['convert', [x, new Float64Array(7)], RangeError],
    ['convert', [x, new Int32Array(8)], TypeError],
    ['convert', [x, null], TypeError],
    ['scratchBytes', [0, 1, -1, 0.5, 1], RangeError],
    ['scratchBytes', [0, 1, 10, 2, 1], RangeError],
    ['scratchBytes', [0, 0, 10, 0.5, 1], RangeError],
    // More bytes than 64 bits count.
    ['scratchBytes', [1, 2 ** 53 - 1, 2 ** 53 - 1, 0, 1024], RangeError],
    ['scratchBytes', [1, 2 ** 30, 2 ** 30, 0, 1], RangeError],
  ];
  for (const [name, args, kind] of cases) {
    try {
      (addon[name] as (...all: unknown[]) => unknown)(...args);
    } catch (error) {
      assert.instance(error, kind, `${name}: ${error}`);
      assert.match((error as Error).message, /^Expected .+ but received .+$/);
      continue;
    }
    assert.unreachable(`${name}(${args.map(String).join(', ')}) was taken`);
  }
  assert.equal([...out], [0, 0]);
  assert.throws(() => convert(x, new Float64Array(x.buffer as ArrayBuffer, 0, 4) as never), RangeError);
  const both = new ArrayBuffer(64);
  assert.throws(() => convert(new Float32Array(both, 0, 8), new Uint16Array(both, 0, 8)), /overlap/);
  assert.ok(scratchBytes('float64', 2, 1000, 0.5) > 0);
});

test('3.2 messages stay one short line, whatever came', () => {
  const call = (name: string, ...args: unknown[]): string => {
    try {
      (addon[name] as (...all: unknown[]) => unknown)(...args);
    } catch (error) {
      return (error as Error).message;
    }
    return assert.unreachable(`${name} was taken`) as never;
  };
  const long = 'a\nb\u2028c'.repeat(100_000);
  const rows = new Float64Array(32);
  for (const args of [
    ['step', long],
    ['convert', long],
    ['predictionRow', long],
    ['predictionRow', rows, long],
    ['predictionRow', rows, 1e300],
    ['predictionRow', rows, -1e-300],
    ['elementary', long],
    ['torchSeed', long],
    ['philoxRandn', long],
    ['torchSkip', new Uint32Array(628), 1, long],
  ] as [string, ...unknown[]][]) {
    const message = call(...args);
    assert.match(message, /^Expected [^\n]+ but received [^\n]+$/, args[0]);
    assert.ok(message.length < 200, `${args[0]}: ${message.length} characters`);
  }
  // Numbers as they are, in the fewest digits that tell them apart.
  assert.match(call('predictionRow', rows, 1e300), /but received 1e\+300$/);
  assert.match(call('predictionRow', rows, 0.1), /but received 0\.1$/);
  assert.match(call('step', rows, 2 ** 53), /but received 9007199254740992$/);
  assert.match(call('step', rows, 0.1 + 0.2), /but received 0\.30000000000000004$/);
  assert.match(call('elementary', 'sinus'), /but received 'sinus'$/);
});

test('3.3 the public step looks at everything that is not null', () => {
  const call = full();
  const { rows, wide: _, n: __, batch: ___, threads: ____, scratch: _____, ...buffers } = call;
  assert.is(step(rows, buffers, { batch }), -1);
  for (const name of BUFFERS) {
    assert.throws(
      () => step(rows, { ...buffers, [name]: {} as never }, { batch }),
      /^Expected .+ but received an object$/,
      name,
    );
  }
  assert.throws(() => step(rows, buffers, { batch, scratch: {} as never }), /for scratch but received an object$/);
  assert.throws(() => step(rows, buffers, {} as never), /^Expected a number for batch but received undefined$/);
  assert.is(step(rows, { x: zeros(false, total), out: zeros(false, total) as Float32Array }, { batch }), -1);
});

test.run();
