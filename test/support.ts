// What the tests share beside uvu/assert.
import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import { Assertion } from 'uvu/assert';

type Numbers = ArrayLike<number>;
type FloatArray = Float32Array | Float64Array;
// biome-ignore lint/suspicious/noExplicitAny: any constructor of errors will do
type ErrorClass = abstract new (...args: any[]) => Error;

export interface Tolerance {
  /** Relative to |expected|, element by element, or to its maximum with `scale: 'max'`. Default 0. */
  rtol?: number;
  /** Absolute, added to the relative one. Default 0. */
  atol?: number;
  scale?: 'each' | 'max';
}

/**
 * |actual - expected| <= atol + rtol * |expected| for a number or for every element of two equally long arrays.
 * Tells the worst element rather than a diff. NaN is close to nothing; an infinity only to itself.
 */
export function assertClose(
  actual: number | Numbers,
  expected: number | Numbers,
  { rtol = 0, atol = 0, scale = 'each' }: Tolerance,
  what = 'the value',
): void {
  if (typeof actual === 'number' || typeof expected === 'number') {
    if (typeof actual !== typeof expected) fail(`${what}: a number was compared with an array`, actual, expected);
    assertClose([actual as number], [expected as number], { rtol, atol, scale }, what);
    return;
  }
  if (actual.length !== expected.length) {
    fail(`${what}: ${actual.length} elements, expected ${expected.length}`, actual.length, expected.length);
  }
  let largest = 0;
  for (let i = 0; i < expected.length; i++) largest = Math.max(largest, Math.abs(expected[i]!));

  let worst = -1;
  let worstExcess = 0;
  let wrong = 0;
  for (let i = 0; i < expected.length; i++) {
    if (actual[i] === expected[i]) continue;
    const error = Math.abs(actual[i]! - expected[i]!);
    const tolerance = allowed(expected[i]!);
    // Written so that NaN, and an infinity on either side, fails.
    if (error <= tolerance && error < Number.POSITIVE_INFINITY) continue;
    wrong++;
    const excess = Number.isNaN(error) || tolerance === 0 ? Number.POSITIVE_INFINITY : error / tolerance;
    // Where nothing is allowed the larger error is the worse one.
    if (worst < 0 || excess > worstExcess || (excess === worstExcess && error > errorAt(worst))) {
      worst = i;
      worstExcess = excess;
    }
  }
  if (worst < 0) return;
  const place = expected.length === 1 ? '' : ` at [${worst}]`;
  const count = expected.length === 1 ? '' : `, ${wrong} of ${expected.length} elements are off`;
  fail(
    `${what}${place}: ${actual[worst]}, expected ${expected[worst]}, ` +
      `error ${errorAt(worst).toPrecision(3)}, tolerance ${allowed(expected[worst]!).toPrecision(3)}${count}`,
    actual[worst],
    expected[worst],
  );

  function allowed(value: number): number {
    return atol + rtol * (scale === 'max' ? largest : Math.abs(value));
  }
  function errorAt(i: number): number {
    return Math.abs((actual as Numbers)[i]! - (expected as Numbers)[i]!);
  }
}

/** The same class, length and bits: tells 0 from -0, and NaN equals the same NaN. */
export function assertBitsEqual<T extends ArrayBufferView>(actual: T, expected: T, what = 'the array'): void {
  const [a, b] = [actual.constructor.name, expected.constructor.name];
  if (a !== b) fail(`${what}: a ${a}, expected a ${b}`, a, b);
  const [x, y] = [bytes(actual), bytes(expected)];
  if (x.length !== y.length) fail(`${what}: ${x.length} bytes, expected ${y.length}`, x.length, y.length);
  if (Buffer.compare(x, y) === 0) return;

  const size = (actual as unknown as { BYTES_PER_ELEMENT?: number }).BYTES_PER_ELEMENT ?? 1;
  let first = -1;
  let wrong = 0;
  for (let i = 0; i < x.length; i += size) {
    if (x.compare(y, i, i + size, i, i + size) === 0) continue;
    if (first < 0) first = i / size;
    wrong++;
  }
  const show = (array: T, all: Buffer) => {
    const element = (array as unknown as Numbers)[first];
    const hex = Buffer.from(all.subarray(first * size, (first + 1) * size)).reverse();
    return `${Object.is(element, -0) ? '-0' : (element ?? '')} (0x${hex.toString('hex')})`;
  };
  fail(
    `${what} at [${first}]: ${show(actual, x)}, expected ${show(expected, y)}, ` +
      `${wrong} of ${x.length / size} elements differ`,
    undefined,
    undefined,
  );
}

function bytes(view: ArrayBufferView): Buffer {
  return Buffer.from(view.buffer, view.byteOffset, view.byteLength);
}

/** `fn` throws an error of this class with one sentence that matches; `Error` is then no TypeError. Returns the error. */
export function assertThrows<E extends ErrorClass>(fn: () => unknown, errorClass: E, pattern: RegExp): InstanceType<E> {
  let result: unknown;
  try {
    result = fn();
  } catch (error) {
    return checkError(error, errorClass, pattern);
  }
  if (result instanceof Promise) {
    result.catch(() => {});
    fail('the function returned a promise: use assertRejects', result, errorClass.name);
  }
  return fail(`nothing was thrown, expected a ${errorClass.name} with ${pattern}`, result, errorClass.name);
}

/** As assertThrows for a promise, or a function that returns one; a synchronous throw does not count. */
export async function assertRejects<E extends ErrorClass>(
  promise: Promise<unknown> | (() => Promise<unknown>),
  errorClass: E,
  pattern: RegExp,
): Promise<InstanceType<E>> {
  let pending: Promise<unknown>;
  try {
    pending = typeof promise === 'function' ? promise() : promise;
  } catch (error) {
    return fail(`the function threw instead of rejecting: ${error}`, error, errorClass.name);
  }
  let result: unknown;
  try {
    result = await pending;
  } catch (error) {
    return checkError(error, errorClass, pattern);
  }
  return fail(`nothing was rejected, expected a ${errorClass.name} with ${pattern}`, result, errorClass.name);
}

function checkError<E extends ErrorClass>(error: unknown, errorClass: E, pattern: RegExp): InstanceType<E> {
  const name = error instanceof Error ? error.constructor.name : typeof error;
  // A TypeError that comes from a mistake of ours must not pass where a plain Error is promised.
  const tooSpecial = (errorClass as unknown) === Error ? [TypeError, RangeError, ReferenceError, SyntaxError] : [];
  if (!(error instanceof errorClass) || tooSpecial.some((special) => error instanceof special)) {
    fail(`threw a ${name} (${error}), expected a ${errorClass.name} with ${pattern}`, name, errorClass.name);
  }
  if (!pattern.test(error.message)) {
    fail(`the message ${JSON.stringify(error.message)} does not match ${pattern}`, error.message, String(pattern));
  }
  if (error.message.trim() === '' || error.message.includes('\n')) {
    fail(`the message ${JSON.stringify(error.message)} is not one sentence`, error.message, 'one sentence');
  }
  return error as InstanceType<E>;
}

/** The warnings of the process during a call. */
export async function warnings(call: () => void): Promise<string[]> {
  const seen: string[] = [];
  const note = (warning: Error) => seen.push(warning.message);
  process.on('warning', note);
  call();
  await new Promise((done) => setImmediate(done));
  process.off('warning', note);
  return seen;
}

/** The parsed test/golden/NAME.json. */
export function golden<T = unknown>(name: string): T {
  return JSON.parse(readFileSync(new URL(`./golden/${name}.json`, import.meta.url), 'utf8')) as T;
}

/**
 * Checks a property of fast-check: `await check(fc.property(fc.double(), (x) => ...))`. A failure tells the seed and
 * the path; FC_SEED and FC_PATH replay it, FC_RUNS sets the number of cases.
 */
export async function check<T>(
  property: fc.IProperty<T> | fc.IAsyncProperty<T>,
  parameters: fc.Parameters<T> = {},
): Promise<void> {
  const { FC_SEED, FC_PATH, FC_RUNS } = process.env;
  const result = await fc.check(property as fc.IAsyncProperty<T>, {
    ...parameters,
    ...(FC_SEED ? { seed: Number(FC_SEED) } : {}),
    ...(FC_PATH ? { path: FC_PATH } : {}),
    ...(FC_RUNS ? { numRuns: Number(FC_RUNS) } : {}),
  });
  if (!result.failed) return;
  const cause = result.errorInstance;
  const found = result.counterexample === null ? 'too many cases were skipped' : fc.stringify(result.counterexample);
  const reason = cause instanceof Error ? cause.message : String(cause ?? 'no reason given');
  const error = new Error(
    `${reason}\n    for ${found}, replay with FC_SEED=${result.seed} FC_PATH=${result.counterexamplePath ?? ''}`,
  );
  if (cause instanceof Error && cause.stack) {
    error.stack = `${error.message}\n${cause.stack.slice(cause.stack.indexOf('\n    at '))}`;
  }
  throw error;
}

/** Numbers below 2^24 in a fixed pseudo-random order, mapped to [-1, 1): data for tests where any numbers will do. */
export function noise<T extends FloatArray>(array: T, seed = 1): T {
  let state = seed >>> 0;
  for (let i = 0; i < array.length; i++) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    array[i] = (state >>> 8) / 2 ** 23 - 1;
  }
  return array;
}

function fail(message: string, actual: unknown, expects: unknown): never {
  throw new Assertion({ message, details: '', generated: false, operator: '', actual, expects });
}
