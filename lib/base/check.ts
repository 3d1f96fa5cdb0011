// Argument checks of the schedules and grids: one sentence that says what was expected, for what, and what came.
import { meantOption, meantValue } from './names.js';
import { printable } from './text.js';

/**
 * TypeError for a value of the wrong type, or a name that is not known.
 *
 * @param hint what to do about it; a promise is to be awaited, whatever was expected
 */
export function wrongType(expected: string, name: string, value: unknown, hint = ''): TypeError {
  const more = isPromise(value) ? 'await it' : hint;
  return new TypeError(
    `Expected ${expected} for ${name} but received ${show(value)} of type ${typeof value}${more && `: ${more}`}`,
  );
}

/** Is it what an asynchronous call gives that nobody has awaited? It is refused, so its rejection must not end the process. */
export function isPromise(value: unknown): boolean {
  if (typeof (value as Promise<unknown> | null | undefined)?.then !== 'function') return false;
  (value as Promise<unknown>).then(undefined, () => undefined);
  return true;
}

/** RangeError for a value of the right type that is out of range. */
export function outOfRange(expected: string, name: string, value: unknown, where = ''): RangeError {
  return new RangeError(`Expected ${expected} for ${name} but received ${show(value)}${where}`);
}

/** `value` if it is a finite number, TypeError or RangeError otherwise. */
export function finiteNumber(value: unknown, name: string): number {
  if (typeof value !== 'number') throw wrongType('a number', name, value);
  if (!Number.isFinite(value)) throw outOfRange('a finite number', name, value);
  return value;
}

/** `value` if it is a finite number above 0, TypeError or RangeError otherwise. */
export function positiveNumber(value: unknown, name: string): number {
  if (typeof value !== 'number') throw wrongType('a positive number', name, value);
  if (!(value > 0 && value < Infinity)) throw outOfRange('a positive number', name, value);
  return value;
}

/** `value` if it is an integer that a double holds exactly, TypeError or RangeError otherwise. */
export function safeInteger(value: unknown, name: string): number {
  if (typeof value !== 'number') throw wrongType('a number', name, value);
  if (!Number.isSafeInteger(value)) throw outOfRange('a safe integer', name, value);
  return value;
}

/** `value` if it is an integer of at least `least` (and at most `most`), TypeError or RangeError otherwise. */
export function wholeNumber(value: unknown, name: string, least: number, most = Infinity): number {
  const expected =
    most === Infinity ? `a whole number of at least ${least}` : `a whole number from ${least} to ${most}`;
  if (typeof value !== 'number') throw wrongType(expected, name, value);
  if (!Number.isSafeInteger(value) || value < least || value > most) throw outOfRange(expected, name, value);
  return value;
}

/** `value` if it is a number of steps: a whole one of at least 1, and so few that a plan of them fits into memory. */
export function stepCount(value: unknown, name: string): number {
  const steps = wholeNumber(value, name, 1);
  if (steps > 1e5) throw outOfRange('at most 100000', name, steps);
  return steps;
}

/** `value` if it is one of `choices`, TypeError otherwise. */
export function oneOf<T extends string | boolean>(value: unknown, name: string, choices: readonly T[]): T {
  if (choices.includes(value as T)) return value as T;
  const error = wrongType(list(choices.map(show), 'or'), name, value);
  const words = choices.filter((choice) => typeof choice === 'string');
  const meant = typeof value === 'string' && value.length <= 60 ? meantValue(name, value, words) : undefined;
  throw meant === undefined ? error : new TypeError(`${error.message}; did you mean ${show(meant)}?`);
}

/** Copies an array of numbers. TypeError for anything that is not an array of numbers throughout. */
export function numbers(value: unknown, name: string): Float64Array {
  const source = value as ArrayLike<unknown>;
  if (typeof value !== 'object' || value === null || !Number.isSafeInteger(source.length) || source.length < 0) {
    throw wrongType('an array of numbers', name, value);
  }
  const copy = new Float64Array(source.length);
  for (let i = 0; i < copy.length; i++) {
    const x = source[i];
    if (typeof x !== 'number') throw wrongType('numbers', `${name}[${i}]`, x);
    copy[i] = x;
  }
  return copy;
}

/** `value` if it is an AbortSignal or undefined, TypeError otherwise. */
export function optionalSignal(value: unknown): AbortSignal | undefined {
  if (value === undefined || typeof (value as AbortSignal | null)?.throwIfAborted === 'function') {
    return value as AbortSignal | undefined;
  }
  const controller = typeof (value as AbortController | null)?.signal?.throwIfAborted === 'function';
  throw wrongType('an AbortSignal', 'signal', value, controller ? 'pass its signal' : '');
}

/** `value` if it is a function or undefined, TypeError otherwise. */
export function optionalFunction<T>(value: T | undefined, name: string): T | undefined {
  if (value !== undefined && typeof value !== 'function') throw wrongType('a function', name, value);
  return value;
}

/** A call that takes what another one does not. */
export interface Elsewhere {
  /** As in `with sample() or start()`. */
  readonly name: string;
  readonly known: readonly string[];
}

/**
 * TypeError unless `options` is an object whose keys are all among `known`: a misspelt option must not be ignored.
 *
 * @param elsewhere where an option may belong that is none of these
 */
export function knownOptions(
  options: unknown,
  known: readonly string[],
  name: string,
  ...elsewhere: readonly Elsewhere[]
): void {
  if (typeof options !== 'object' || options === null || Array.isArray(options)) {
    throw wrongType('an object of options', name, options);
  }
  for (const key of Object.keys(options)) if (!known.includes(key)) throw unknownOption(key, known, name, elsewhere);
}

function unknownOption(
  key: string,
  known: readonly string[],
  name: string,
  elsewhere: readonly Elsewhere[],
): TypeError {
  const place = elsewhere.find((one) => one.known.includes(key));
  if (place) return new TypeError(`Expected the option ${show(key)} with ${place.name} but received it for ${name}`);
  const meant = meantOption(key, known);
  const received = `received the option ${show(key)}`;
  for (const { name: where, known: others } of meant === undefined ? elsewhere : []) {
    const other = meantOption(key, others);
    if (other === undefined) continue;
    return new TypeError(`Expected the option ${show(other)} with ${where} but ${received} for ${name}`);
  }
  const all = known.length === 0 ? 'no options' : `the option${known.length > 1 ? 's' : ''} ${list(known, 'and')}`;
  // A long list hides the one that is meant.
  const expected = meant !== undefined && known.length > 6 ? 'a known option' : all;
  const hint = meant === undefined ? '' : `; did you mean ${show(meant)}?`;
  return new TypeError(`Expected ${expected} for ${name} but ${received}${hint}`);
}

/** A value as it stands in a message. */
export function show(value: unknown): string {
  if (typeof value === 'string') {
    // One short line, whatever the string.
    return printable(`'${value.length > 60 ? `${value.slice(0, 60)}...` : value}'`.replace(/\s/g, ' '));
  }
  if (typeof value === 'function') return 'a function';
  if (typeof value === 'object' && value !== null) return value.constructor?.name ?? 'an object';
  return String(value);
}

/** Words as "a, b or c". */
export function list(words: readonly string[], joiner: 'and' | 'or'): string {
  if (words.length < 2) return words.join();
  return `${words.slice(0, -1).join(', ')} ${joiner} ${words[words.length - 1]}`;
}
