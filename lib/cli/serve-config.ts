// Where the server's options come from: flags, the environment, a file; what is said first counts.
import { readFileSync } from 'node:fs';
import type { ArgsDef } from 'citty';
import { nearest } from '../base/text.js';
import { UsageError } from './usage.js';

type Values = Record<string, unknown>;

/** What the variable of a flag is called: `DPM_SOLVER_SERVE_TIME_LIMIT` says `--time-limit`. */
const variableOf = (flag: string): string => `DPM_SOLVER_SERVE_${flag.replaceAll('-', '_').toUpperCase()}`;

/**
 * The flags' values, with those of the environment and of the file that `--config` names where a flag was not given.
 *
 * @throws UsageError for a file that cannot be read, or has what no flag is called
 */
export function withConfig(given: Values, args: ArgsDef): Values {
  const config = (given.config ?? process.env[variableOf('config')]) as string | undefined;
  const file = config === undefined ? {} : readConfig(config, args);
  const values: Values = { ...given };
  for (const [name, { type }] of Object.entries(args)) {
    if (values[name] !== undefined) continue;
    const said = process.env[variableOf(name)];
    if (said === undefined) values[name] = file[name];
    else values[name] = type === 'boolean' ? readTruth(name, said) : said;
  }
  return values;
}

function readTruth(name: string, value: string): boolean {
  if (value === '1' || value === 'true') return true;
  if (value === '' || value === '0' || value === 'false') return false;
  throw new UsageError(`Expected true or false for ${variableOf(name)} but received '${value}'`);
}

function readConfig(path: string, args: ArgsDef): Values {
  let json: unknown;
  try {
    json = JSON.parse(readFileSync(path, 'utf8'));
  } catch (cause) {
    const { code, message } = cause as NodeJS.ErrnoException;
    const why = code === 'ENOENT' ? 'it does not exist' : message.split('\n', 1)[0];
    throw new UsageError(`The configuration ${path} cannot be read: ${why}`);
  }
  if (typeof json !== 'object' || json === null || Array.isArray(json)) {
    throw new UsageError(`Expected an object of options in ${path}`);
  }
  const values: Values = {};
  for (const [name, value] of Object.entries(json)) {
    if (!Object.hasOwn(args, name) || name === 'config') {
      const meant = nearest(name, Object.keys(args));
      throw new UsageError(`There is no option '${name}' in ${path}${meant ? `; did you mean '${meant}'?` : ''}`);
    }
    values[name] = readValue(path, name, value, args[name].type === 'boolean');
  }
  return values;
}

/** As a flag has it: lists are written with commas, models as `name=DIR`. */
function readValue(path: string, name: string, value: unknown, truth: boolean): unknown {
  if (truth) {
    if (typeof value === 'boolean') return value;
    throw new UsageError(`Expected true or false for ${name} in ${path} but received ${JSON.stringify(value)}`);
  }
  if (typeof value === 'string' || typeof value === 'number') return String(value);
  if (Array.isArray(value) && value.every((one) => typeof one === 'string')) return value.join(',');
  if (name === 'models' && typeof value === 'object' && value !== null) {
    return Object.entries(value)
      .map(([key, folder]) => `${key}=${folder}`)
      .join(',');
  }
  throw new UsageError(`Expected a string or a number for ${name} in ${path} but received ${JSON.stringify(value)}`);
}
