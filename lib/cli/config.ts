// Where the values of flags come from that nobody typed: the environment, and a file. What is said first counts: the flag, the
// picture of --like, the variable, the file's part for the command, and what the file says to all commands.
import { homedir } from 'node:os';
import { join } from 'node:path';
import type { ArgsDef } from 'citty';
import { nearest } from '../base/text.js';
import { readAtMost } from '../base/read.js';
import { beforeDashes, UsageError } from './usage.js';

type Definitions = Readonly<Record<string, ArgsDef>>;
type Flag = ArgsDef[string];
type Values = Map<string, string | boolean>;

export const configArg = {
  config: {
    type: 'string',
    valueHint: 'FILE',
    description: 'A JSON file with flags (Default: DPM_SOLVER_CONFIG, or dpm-solver/config.json in ~/.config)',
  },
} as const satisfies ArgsDef;

/** Bytes of a file of flags. */
const MOST = 2 ** 20;
/** What no file may say: these name files themselves. */
const NOT_THERE = ['config', 'like'];

/** What the variable of a flag is called: `DPM_SOLVER_SERVE_TIME_LIMIT` says `--time-limit` to `serve`. */
const variableOf = (command: string, flag: string): string =>
  `DPM_SOLVER_${command}_${flag}`.replaceAll('-', '_').toUpperCase();

/**
 * The file that a command reads: `given` by the flag, or named by the environment, or the one in the user's folder of
 * configurations; undefined where a name is empty, or nothing is there and nobody named it.
 */
export function configPath(command: string, given?: string): { path: string; named: boolean } | undefined {
  const { DPM_SOLVER_CONFIG, XDG_CONFIG_HOME, APPDATA } = process.env;
  const named = given ?? process.env[variableOf(command, 'config')] ?? DPM_SOLVER_CONFIG;
  if (named !== undefined) return named === '' ? undefined : { path: named, named: true };
  const own = process.platform === 'win32' ? APPDATA : undefined;
  const folder = XDG_CONFIG_HOME || own || join(homedir(), '.config');
  return { path: join(folder, 'dpm-solver', 'config.json'), named: false };
}

/**
 * What the file and the environment say of a command, as flags; the later ones count.
 *
 * @param raw what was typed
 * @throws UsageError for a file that cannot be read, or has what no flag is called
 */
export function configFlags(command: string, raw: readonly string[], definitions: Definitions): string[] {
  const args = definitions[command];
  const place = configPath(command, typed(raw));
  const config = place && readConfig(place);
  const values: Values = place && config ? valuesFor(command, config, place.path, definitions) : new Map();
  for (const [name, { type }] of Object.entries(args)) {
    const variable = variableOf(command, name);
    const said = process.env[variable];
    if (type === 'positional' || NOT_THERE.includes(name) || said === undefined) continue;
    values.set(name, type === 'boolean' ? truthOf(variable, said) : said);
  }
  // Who names several models does not want the usual one.
  if (raw.some((word) => /^--models(=|$)/.test(word))) values.delete('model');
  return [...values].map(([name, value]) => {
    if (typeof value === 'string') return `--${name}=${value}`;
    return value ? `--${name}` : `--no-${name}`;
  });
}

/** The value of `--config`. */
function typed(raw: readonly string[]): string | undefined {
  const flags = beforeDashes(raw);
  const at = flags.findLastIndex((word) => word === '--config' || word.startsWith('--config='));
  if (at < 0) return undefined;
  return flags[at] === '--config' ? flags[at + 1] : flags[at].slice('--config='.length);
}

/** What a file has; undefined where there is none, and nobody named it. */
function readConfig({ path, named }: { path: string; named: boolean }): Record<string, unknown> | undefined {
  let json: unknown;
  try {
    json = JSON.parse(readAtMost(path, MOST).toString('utf8'));
  } catch (cause) {
    const { code, message } = cause as NodeJS.ErrnoException;
    if (code === 'ENOENT' && !named) return undefined;
    const why = code === 'ENOENT' ? 'it does not exist' : message.split('\n', 1)[0];
    throw new UsageError(`The configuration ${path} cannot be read: ${why}`, { cause });
  }
  return objectOf(json, path);
}

function objectOf(json: unknown, where: string): Record<string, unknown> {
  if (typeof json === 'object' && json !== null && !Array.isArray(json)) return json as Record<string, unknown>;
  throw new UsageError(`Expected an object of options in ${where}`);
}

/** The whole file is checked, whatever the command: a mistake shows at once, and not when its command is used. */
function valuesFor(command: string, config: Record<string, unknown>, path: string, definitions: Definitions): Values {
  const [common, own]: Values[] = [new Map(), new Map()];
  const take = (values: Values, name: string, value: unknown) => {
    const flag = flagOf(definitions[command], name);
    const read = flag && readValue(name, value, flag);
    if (read !== undefined) values.set(name, read);
  };
  for (const [key, value] of Object.entries(config)) {
    if (!Object.hasOwn(definitions, key)) {
      checkValue(key, value, Object.values(definitions), Object.keys(definitions), `in ${path}`);
      take(common, key, value);
      continue;
    }
    for (const [name, one] of Object.entries(objectOf(value, `${path} for ${key}`))) {
      checkValue(name, one, [definitions[key]], [], `for ${key} in ${path}`);
      if (key === command) take(own, name, one);
    }
  }
  return new Map([...common, ...own]);
}

/**
 * Refuses what none of some commands has a flag for, and a value that no such flag takes: one may be a switch of one command and
 * have a value in another.
 *
 * @param others what else may be meant
 */
function checkValue(
  name: string,
  value: unknown,
  commands: readonly ArgsDef[],
  others: readonly string[],
  where: string,
): void {
  const flags = commands.flatMap((args) => flagOf(args, name) ?? []);
  if (flags.length === 0) throw unknown(name, [...commands.flatMap((args) => Object.keys(args)), ...others], where);
  if (flags.some((flag) => readValue(name, value, flag) !== undefined)) return;
  const expected = flags[0].type === 'boolean' ? 'true or false' : 'a string or a number';
  throw new UsageError(`Expected ${expected} for ${name} ${where} but received ${JSON.stringify(value)}`);
}

function flagOf(args: ArgsDef, name: string): Flag | undefined {
  const found = Object.hasOwn(args, name) && !NOT_THERE.includes(name) ? args[name] : undefined;
  return found?.type === 'positional' ? undefined : found;
}

function unknown(name: string, names: readonly string[], where: string): UsageError {
  const meant = nearest(
    name,
    names.filter((one) => !NOT_THERE.includes(one)),
  );
  return new UsageError(`There is no option '${name}' ${where}${meant ? `; did you mean '${meant}'?` : ''}`);
}

/** As a flag has it: lists are written with commas, models as `name=DIR`; undefined for what is of another kind. */
function readValue(name: string, value: unknown, { type }: Flag): string | boolean | undefined {
  if (type === 'boolean') return typeof value === 'boolean' ? value : undefined;
  if (typeof value === 'string' || typeof value === 'number') return String(value);
  if (Array.isArray(value) && value.every((one) => typeof one === 'string' || typeof one === 'number')) {
    return value.join(',');
  }
  if (name === 'models' && typeof value === 'object' && value !== null) {
    return Object.entries(value)
      .map(([key, folder]) => `${key}=${folder}`)
      .join(',');
  }
  return undefined;
}

function truthOf(variable: string, value: string): boolean {
  if (value === '1' || value === 'true') return true;
  if (value === '' || value === '0' || value === 'false') return false;
  throw new UsageError(`Expected true or false for ${variable} but received '${value}'`);
}
