import fc from 'fast-check';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { assertBitsEqual, assertClose, assertRejects, assertThrows, check, golden, noise } from './support.js';

/** The message of the assertion that fails in `fn`. */
function failure(fn: () => unknown): string {
  try {
    fn();
  } catch (error) {
    return (error as Error).message;
  }
  return assert.unreachable('nothing failed') as never;
}

async function rejection(promise: Promise<unknown>): Promise<string> {
  return promise.then(
    () => assert.unreachable('nothing failed') as never,
    (error: Error) => error.message,
  );
}

test('assertClose: what is close', () => {
  assertClose(1 + 1e-9, 1, { rtol: 1e-8 });
  assertClose(1e-9, 0, { atol: 1e-8 });
  assertClose([1, 2], new Float32Array([1, 2]), {});
  assertClose([], [], {});
  assertClose(-0, 0, {});
  assertClose([100, 1e-7], [100, 0], { rtol: 1e-8, scale: 'max' });
  assertClose(Number.POSITIVE_INFINITY, Number.POSITIVE_INFINITY, {});
});

test('assertClose: tells the worst element', () => {
  assert.is(
    failure(() => assertClose([1, 2.5, 3.1], [1, 2, 3], { rtol: 0.01 }, 'sample')),
    'sample at [1]: 2.5, expected 2, error 0.500, tolerance 0.0200, 2 of 3 elements are off',
  );
  assert.match(
    failure(() => assertClose([1, 9, 3.1], [1, 2, 3], {})),
    /at \[1\]/,
  );
  assert.is(
    failure(() => assertClose(2, 1, { atol: 0.5 })),
    'the value: 2, expected 1, error 1.00, tolerance 0.500',
  );
});

test('assertClose: NaN, infinities and lengths fail, whatever the tolerance', () => {
  const wide = { rtol: 1e9, atol: 1e9 };
  assert.match(
    failure(() => assertClose([1, Number.NaN], [1, 2], wide)),
    /at \[1\]: NaN/,
  );
  assert.match(
    failure(() => assertClose([1], [Number.NaN], wide)),
    /expected NaN/,
  );
  assert.match(
    failure(() => assertClose(Number.NaN, Number.NaN, wide)),
    /NaN/,
  );
  assert.match(
    failure(() => assertClose([3, 1], [Number.POSITIVE_INFINITY, 1], wide)),
    /at \[0\]/,
  );
  assert.match(
    failure(() => assertClose([Number.POSITIVE_INFINITY], [Number.NEGATIVE_INFINITY], { ...wide, scale: 'max' })),
    /-Infinity/,
  );
  assert.match(
    failure(() => assertClose([1], [1, 2], wide)),
    /1 elements, expected 2/,
  );
  assert.match(
    failure(() => assertClose(1, [1], wide)),
    /compared with an array/,
  );
  assert.match(
    failure(() => assertClose([Number.NaN, 1], [1, 2], { rtol: Number.NaN })),
    /at \[0\]/,
  );
});

test('assertBitsEqual: bits, not values', () => {
  assertBitsEqual(new Float32Array([1, Number.NaN]), new Float32Array([1, Number.NaN]));
  assertBitsEqual(new Float32Array([9, 1, 2]).subarray(1), new Float32Array([1, 2]));
  assert.is(
    failure(() => assertBitsEqual(new Float32Array([1, -0, 3]), new Float32Array([1, 0, 4]))),
    'the array at [1]: -0 (0x80000000), expected 0 (0x00000000), 2 of 3 elements differ',
  );
  assert.match(
    failure(() => assertBitsEqual<ArrayBufferView>(new Float32Array(2), new Float64Array(1))),
    /Float64Array/,
  );
  assert.match(
    failure(() => assertBitsEqual(new Float32Array(2), new Float32Array(1))),
    /8 bytes/,
  );
});

test('assertThrows: the class, the pattern, one sentence', () => {
  const raise = (error: unknown) => () => {
    throw error;
  };
  assert.is(assertThrows(raise(new RangeError('steps: 0')), RangeError, /steps/).message, 'steps: 0');
  assert.match(
    failure(() => assertThrows(() => 1, Error, /x/)),
    /nothing was thrown/,
  );
  assert.match(
    failure(() => assertThrows(raise(new TypeError('x')), RangeError, /x/)),
    /threw a TypeError/,
  );
  assert.match(
    failure(() => assertThrows(raise(new TypeError('x')), Error, /x/)),
    /threw a TypeError/,
  );
  assert.match(
    failure(() => assertThrows(raise('x'), Error, /x/)),
    /threw a string/,
  );
  assert.match(
    failure(() => assertThrows(raise(new Error('y')), Error, /x/)),
    /does not match/,
  );
  assert.match(
    failure(() => assertThrows(raise(new Error('x\ny')), Error, /x/)),
    /not one sentence/,
  );
  assert.match(
    failure(() => assertThrows(() => Promise.reject(new Error('x')), Error, /x/)),
    /assertRejects/,
  );
});

test('assertRejects: the same for promises', async () => {
  await assertRejects(Promise.reject(new RangeError('x')), RangeError, /x/);
  await assertRejects(async () => Promise.reject(new RangeError('x')), RangeError, /x/);
  assert.match(await rejection(assertRejects(Promise.resolve(1), Error, /x/)), /nothing was rejected/);
  assert.match(await rejection(assertRejects(Promise.reject(), Error, /x/)), /threw a undefined/);
  const throws = () => {
    throw new Error('x');
  };
  assert.match(await rejection(assertRejects(throws, Error, /x/)), /instead of rejecting/);
});

test('check: a failing property tells how to replay it', async () => {
  await check(fc.property(fc.integer(), (n) => Number.isInteger(n)));
  await check(fc.asyncProperty(fc.integer(), async (n) => Number.isInteger(n)));
  const message = await rejection(check(fc.property(fc.nat(), (n) => assert.ok(n < 10, `${n} is too large`))));
  assert.match(message, /10 is too large\n {4}for \[10\], replay with FC_SEED=-?\d+ FC_PATH=[\d:]+$/);
});

test('golden: a missing file is told by its name', () => {
  assert.throws(() => golden('no-such-table'), /no-such-table\.json/);
});

test('noise: the same numbers every time, inside [-1, 1)', () => {
  const a = noise(new Float32Array(1000));
  assertBitsEqual(a, noise(new Float32Array(1000)));
  assert.ok(a.every((x) => x >= -1 && x < 1));
  assert.is.not(a[0], noise(new Float32Array(1), 2)[0]);
});

test.run();
