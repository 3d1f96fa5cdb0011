// `dpm-solver serve`: a page to play with a model, and the interface beneath it.
import { type ArgsDef, defineCommand } from 'citty';
import { list } from '../base/check.js';
import { LOG_LEVELS } from '../serve/log.js';
import { fetched, machineArgs, modelArgs, numberOf, readPlace, shapesArg, wholeOf } from './generate.js';
import { say } from './say.js';
import { choice, UsageError } from './usage.js';

type Values = Record<string, unknown>;

/** What the help ends with. */
export const examples = ['dpm-solver serve', 'dpm-solver serve --model ./sd-v1-5 --port 8080'];

const args = {
  ...modelArgs,
  model: shapesArg,
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
  port: { type: 'string', valueHint: 'N', description: 'Where to listen; 0 for any that is free (Default: 8321)' },
  host: {
    type: 'string',
    valueHint: 'ADDRESS',
    description: 'The address to listen at; by another one than 127.0.0.1, the default, other machines can reach it',
  },
  'allow-host': {
    type: 'string',
    valueHint: 'NAMES',
    description: 'Names that the server is called by, besides localhost and addresses: a,b',
  },
  'api-key': {
    type: 'string',
    valueHint: 'KEYS',
    description: 'A key that clients have to show, or several: a,b (Default: DPM_SOLVER_API_KEY, or none)',
  },
  queue: { type: 'string', valueHint: 'N', description: 'Runs that may wait (Default: 32)' },
  'per-client': {
    type: 'string',
    valueHint: 'N',
    description: 'Runs that one client may have (Default: half of all places)',
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
  ...machineArgs,
} as const satisfies ArgsDef;

/** Seconds, as {@link Limits} has them where nobody says. */
const DRAIN = 30;

const namesOf = (value: string | undefined): string[] =>
  (value ?? '')
    .split(',')
    .map((name) => name.trim())
    .filter((name) => name !== '');

/** What `--model` names, or `--models`. */
function readModels(values: Values): string | Record<string, string> {
  const models = values.models as string | undefined;
  if (models === undefined) return readPlace(values, 'shapes').folder;
  if (values.model !== undefined) throw new UsageError('Expected either --model or --models but received both');
  const folders: Record<string, string> = {};
  for (const entry of namesOf(models)) {
    const [, name, own] = /^([\w.-]+)=(.+)$/.exec(entry) ?? [];
    if (name === undefined) throw new UsageError(`Expected NAME=DIR for --models but received '${entry}'`);
    if (Object.hasOwn(folders, name))
      throw new UsageError(`Expected one folder for the model ${name} but received two`);
    folders[name] = own;
  }
  if (Object.keys(folders).length === 0) throw new UsageError('The flag --models needs a value');
  return folders;
}

/** Bytes of a flag in gigabytes. */
function gigabytesOf(values: Values, name: string): number | undefined {
  const number = numberOf(values, name);
  if (number === undefined || number > 0) return number && number * 1e9;
  throw new UsageError(`Expected a number of GB above 0 for --${name} but received '${values[name]}'`);
}

/** Their folders, fetched from a hub where they are not there. */
async function fetchModels(models: string | Record<string, string>, values: Values) {
  const folderOf = async (model: string) => (await fetched(readPlace({ ...values, model }), false)).folder;
  if (typeof models === 'string') return folderOf(models);
  const folders: Record<string, string> = {};
  for (const [name, model] of Object.entries(models)) folders[name] = await folderOf(model);
  return folders;
}

export const serve = defineCommand({
  meta: { name: 'serve', description: 'Serve a page to play with a model, and interfaces for programs' },
  args,
  async run({ args: values }) {
    if (values._.length > 0) throw new UsageError(`Expected flags only but received '${values._[0]}'`);
    const port = wholeOf(values, 'port', 0);
    if ((port ?? 0) > 65535) throw new UsageError(`Expected a port of at most 65535 for --port but received '${port}'`);
    const folders = readModels(values);
    const { device, dtype, memory } = readPlace(values, 'shapes');
    const text = (name: string) => values[name] as string | undefined;
    // Node takes the empty address for all that the machine has.
    if (text('host')?.trim() === '') throw new UsageError('The flag --host needs a value');
    const said = text('api-key') ?? process.env.DPM_SOLVER_API_KEY;
    const keys = namesOf(said);
    // An empty one would let everybody in.
    if (said !== undefined && keys.length === 0) throw new UsageError('Expected a key for --api-key but received none');
    const limits = {
      waiting: wholeOf(values, 'queue', 0),
      perClient: wholeOf(values, 'per-client', 1),
      seconds: wholeOf(values, 'time-limit', 1),
      together: wholeOf(values, 'together', 1),
      memory: gigabytesOf(values, 'max-memory'),
    };
    const drain = wholeOf(values, 'drain', 0) ?? DRAIN;
    // Imported here, so that the other commands start as fast as they did.
    const { startServer } = await import('../serve/server.js');
    const server = await startServer({
      ...{
        device,
        dtype,
        memory,
        folder: await fetchModels(folders, values),
        port,
        host: text('host'),
        keys,
        hosts: namesOf(text('allow-host')),
      },
      limits: Object.fromEntries(Object.entries(limits).filter(([, value]) => value !== undefined)),
      maxBatch: wholeOf(values, 'batch', 1),
      reproducible: values.reproducible as boolean | undefined,
      log: choice('log', text('log'), LOG_LEVELS),
    });
    const names = typeof folders === 'string' ? server.model.name : list(Object.keys(folders), 'and');
    say(`${server.url} draws with ${names}; Ctrl-C ends it`);
    if (server.released.length > 0) {
      say(`There is no room for ${list(server.released, 'and')} beside it: loaded when somebody asks for it`);
    }
    let closing = false;
    for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
      process.on(signal, () => {
        // Whoever asks twice does not want to wait.
        if (closing) process.exit(1);
        closing = true;
        // Who stops a service wants its runs to end well; who sits in front of it does not.
        const done = signal === 'SIGTERM' ? server.drain(drain) : Promise.resolve();
        done.then(() => server.close()).then(() => process.exit(0));
      });
    }
  },
});
