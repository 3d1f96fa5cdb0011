// What the commands share that run until they are ended: `serve` and `worker`.
import type { ArgsDef } from 'citty';
import { LOG_LEVELS } from '../serve/log.js';
import { fetched, numberOf, readPlace, wholeOf } from './generate.js';
import { choice, UsageError } from './usage.js';

export type Values = Record<string, unknown>;

/** Which models, and how runs are made. */
export const runArgs = {
  models: {
    type: 'string',
    valueHint: 'NAME=DIR,...',
    description: 'Several models by name, in place of --model; the first draws what asks for none by name',
  },
  'max-memory': {
    type: 'string',
    valueHint: 'GB',
    description: 'Memory for all models together: those that were of use longest ago give way (Default: what is left)',
  },
  together: {
    type: 'string',
    valueHint: 'N',
    description: 'Runs that share network calls, at most, as far as there is room in them (Default: 64)',
  },
  batch: {
    type: 'string',
    valueHint: 'N',
    description: 'Samples of a network call, at most: a picture has two under guidance (Default: measured)',
  },
  reproducible: {
    type: 'boolean',
    description: 'Make every network call with as many samples, so that bits do not depend on who shares it',
  },
  'time-limit': { type: 'string', valueHint: 'SECONDS', description: 'What one run may take (Default: 300)' },
  drain: {
    type: 'string',
    valueHint: 'SECONDS',
    description: 'How long runs may go on after SIGTERM (Default: 30)',
  },
  log: {
    type: 'string',
    valueHint: 'LEVEL',
    description: `What is written to stderr, a line of JSON each: ${LOG_LEVELS.join(', ')} (Default: none)`,
  },
} as const satisfies ArgsDef;

/** Where workers leave what they have made. */
export const storeArgs = {
  store: {
    type: 'string',
    valueHint: 'PLACE',
    description:
      'Where results of a queue lie: redis, a folder that all machines see, or s3://BUCKET/PREFIX (Default: redis)',
  },
  'store-limit': {
    type: 'string',
    valueHint: 'MIB',
    description: 'Of results in Redis, whose oldest give way (Default: 256)',
  },
} as const satisfies ArgsDef;

/** Seconds. */
const DRAIN = 30;

export const namesOf = (value: string | undefined): string[] =>
  (value ?? '')
    .split(',')
    .map((name) => name.trim())
    .filter((name) => name !== '');

/** The entries of `--models`; undefined where `--model` names the only one. */
export function readEntries(values: Values): string[] | undefined {
  const models = values.models as string | undefined;
  if (models === undefined) return undefined;
  if (values.model !== undefined) throw new UsageError('Expected either --model or --models but received both');
  const entries = namesOf(models);
  if (entries.length === 0) throw new UsageError('The flag --models needs a value');
  return entries;
}

/** What `--model` names, or `--models`. */
export function readModels(values: Values): string | Record<string, string> {
  const entries = readEntries(values);
  if (entries === undefined) return readPlace(values, 'shapes').folder;
  const folders: Record<string, string> = {};
  for (const entry of entries) {
    const [, name, own] = /^([\w.-]+)=(.+)$/.exec(entry) ?? [];
    if (name === undefined) throw new UsageError(`Expected NAME=DIR for --models but received '${entry}'`);
    if (Object.hasOwn(folders, name))
      throw new UsageError(`Expected one folder for the model ${name} but received two`);
    folders[name] = own;
  }
  return folders;
}

/** Bytes of a flag in gigabytes. */
function gigabytesOf(values: Values, name: string): number | undefined {
  const number = numberOf(values, name);
  if (number === undefined || number > 0) return number && number * 1e9;
  throw new UsageError(`Expected a number of GB above 0 for --${name} but received '${values[name]}'`);
}

/** Their folders, fetched from a hub where they are not there. */
export async function fetchModels(models: string | Record<string, string>, values: Values) {
  const folderOf = async (model: string) => (await fetched(readPlace({ ...values, model }), false)).folder;
  if (typeof models === 'string') return folderOf(models);
  const folders: Record<string, string> = {};
  for (const [name, model] of Object.entries(models)) folders[name] = await folderOf(model);
  return folders;
}

/** Where results lie. */
export function readStore(values: Values): { place?: string; limit?: number } {
  const place = values.store as string | undefined;
  if (place !== undefined && place.trim() === '') throw new UsageError('The flag --store needs a value');
  const limit = wholeOf(values, 'store-limit', 1);
  return {
    ...(place === undefined ? {} : { place }),
    ...(limit === undefined ? {} : { limit: limit * 1024 * 1024 }),
  };
}

/** A queue's address. */
export function readQueue(value: string): string {
  if (!/^rediss?:\/\/./.test(value) || !URL.canParse(value)) {
    const hint = /^\d+$/.test(value) ? '; how many runs may wait is --waiting' : '';
    throw new UsageError(
      `Expected an address such as redis://127.0.0.1:6379 for --queue but received '${value}'${hint}`,
    );
  }
  return value;
}

/** The limits that were given. */
export function limitsOf(values: Values, flags: Readonly<Record<string, readonly [flag: string, least: number]>>) {
  const given: [string, number | undefined][] = Object.entries(flags).map(([name, [flag, least]]) => [
    name,
    wholeOf(values, flag, least),
  ]);
  given.push(['memory', gigabytesOf(values, 'max-memory')]);
  return Object.fromEntries(given.filter(([, value]) => value !== undefined)) as Record<string, number>;
}

export const logOf = (values: Values) => choice('log', values.log as string | undefined, LOG_LEVELS);

/**
 * Ends it when it is asked to: at once, or on SIGTERM when its runs are over. Who asks a second time does not want to wait for
 * them, but what is left is still given back in order; a third time ends the process.
 */
export function untilEnded(values: Values, running: { drain(seconds: number): Promise<void>; close(): Promise<void> }) {
  const drain = wholeOf(values, 'drain', 0) ?? DRAIN;
  let stage: 'running' | 'draining' | 'closing' = 'running';
  const close = (): void => {
    if (stage === 'closing') return;
    stage = 'closing';
    running.close().then(() => process.exit(0));
  };
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
    process.on(signal, () => {
      if (stage === 'closing') process.exit(1);
      // Who stops a service wants its runs to end well; who sits in front of it does not.
      if (stage === 'draining' || signal !== 'SIGTERM') return close();
      stage = 'draining';
      running.drain(drain).then(close);
    });
  }
}
