// Checks of the command line that citty leaves open: it ignores flags that it does not know.
import type { ArgsDef } from 'citty';
import { list } from '../base/check.js';
import { nearest } from '../base/text.js';

/** A mistake in the command line, told in one sentence; the exit code is 2. */
export class UsageError extends Error {
  override name = 'UsageError';
}

/** Those that there is a script for the Tab key of. */
export const SHELLS = ['bash', 'zsh', 'fish'] as const;

/** Throws a UsageError for a flag that `args` does not define, and for one without the value it needs. */
export function checkFlags(raw: readonly string[], args: ArgsDef): void {
  const flags = new Map<string, { boolean: boolean; name: string }>();
  for (const [name, definition] of Object.entries(args)) {
    if (definition.type === 'positional') continue;
    const { type, alias } = definition as { type?: string; alias?: string | string[] };
    const entry = { boolean: type === 'boolean', name };
    flags.set(`--${name}`, entry);
    for (const other of [alias ?? []].flat()) flags.set(other.length === 1 ? `-${other}` : `--${other}`, entry);
  }
  for (let i = 0; i < raw.length; i++) {
    const word = raw[i];
    if (word === '--') return;
    if (!word.startsWith('-') || word === '-') continue;
    const long = word.startsWith('--');
    const flag = long ? word.split('=', 1)[0] : word.slice(0, 2);
    const inline = long ? word.includes('=') : word.length > 2;
    const negated = flag.startsWith('--no-') ? flags.get(`--${flag.slice(5)}`) : undefined;
    const found = flags.get(flag) ?? (negated?.boolean ? negated : undefined);
    if (!found) {
      const candidates = [...flags.keys(), '--help'];
      const meant = nearest(flag, candidates);
      throw new UsageError(`There is no flag ${flag}${meant ? `; did you mean ${meant}?` : '; see --help'}`);
    }
    if (found.boolean) {
      if (inline) throw new UsageError(`The flag ${flag} takes no value but received ${word}`);
      continue;
    }
    if (inline) continue;
    i++;
    // A value may be a negative number or standard output, not another flag.
    if (i >= raw.length || /^-(?![\d.]|$)/.test(raw[i])) throw new UsageError(`The flag ${flag} needs a value`);
  }
}

/** The words that may be flags and their values: behind `--` nothing is. */
export function beforeDashes(raw: readonly string[]): readonly string[] {
  const end = raw.indexOf('--');
  return end < 0 ? raw : raw.slice(0, end);
}

/** The number in a flag's value. */
export function number(flag: string, value: string | undefined): number | undefined {
  if (value === undefined) return undefined;
  const result = Number(value);
  if (value.trim() === '' || !Number.isFinite(result)) {
    throw new UsageError(`Expected a number for --${flag} but received '${value}'`);
  }
  return result;
}

/** The whole number of at least `least` in a flag's value. */
export function whole(flag: string, value: string | undefined, least = Number.MIN_SAFE_INTEGER): number | undefined {
  const result = number(flag, value);
  if (result === undefined || (Number.isSafeInteger(result) && result >= least)) return result;
  const kind = least === Number.MIN_SAFE_INTEGER ? 'a whole number' : `a whole number of at least ${least}`;
  throw new UsageError(`Expected ${kind} for --${flag} but received '${value}'`);
}

/** A flag's value that has to be one of `choices`. */
export function choice<T extends string>(
  flag: string,
  value: string | undefined,
  choices: readonly T[],
): T | undefined {
  if (value === undefined || choices.includes(value as T)) return value as T | undefined;
  const meant = nearest(value, choices);
  const hint = meant ? `; did you mean ${meant}?` : '';
  throw new UsageError(`Expected ${list(choices, 'or')} for --${flag} but received '${value}'${hint}`);
}
