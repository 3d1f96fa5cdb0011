// `dpm-solver serve`: a page to play with a model, and the interface beneath it.
import { type ArgsDef, defineCommand } from 'citty';
import { list } from '../base/check.js';
import { modelName } from '../hub/index.js';
import type { ServeOptions } from '../serve/server.js';
import { machineArgs, modelArgs, readPlace, shapesArg, wholeOf } from './generate.js';
import {
  fetchModels,
  limitsOf,
  logOf,
  namesOf,
  readEntries,
  readModels,
  readQueue,
  readStore,
  runArgs,
  storeArgs,
  untilEnded,
  type Values,
} from './service.js';
import { say } from './say.js';
import { UsageError } from './usage.js';

/** What the help ends with. */
export const examples = [
  'dpm-solver serve',
  'dpm-solver serve --model ./sd-v1-5 --port 8080',
  'dpm-solver serve --queue redis://127.0.0.1',
];

const args = {
  ...modelArgs,
  model: shapesArg,
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
  waiting: {
    type: 'string',
    valueHint: 'N',
    description: 'Runs that may wait (Default: 32; with --queue 1024)',
  },
  queue: {
    type: 'string',
    valueHint: 'redis://...',
    description: 'A queue that workers draw from: this machine then draws nothing, and --model names theirs',
  },
  'per-client': {
    type: 'string',
    valueHint: 'N',
    description: 'Runs that one client may have (Default: half of all places)',
  },
  ...runArgs,
  ...storeArgs,
  'max-pixels': {
    type: 'string',
    valueHint: 'N',
    description: "Pixels of a picture, where the model's own size has no more (Default: 1048576)",
  },
  ...machineArgs,
} as const satisfies ArgsDef;

export const serve = defineCommand({
  meta: { name: 'serve', description: 'Serve a page to play with a model, and interfaces for programs' },
  args,
  async run({ args: values }) {
    if (values._.length > 0) throw new UsageError(`Expected flags only but received '${values._[0]}'`);
    const port = wholeOf(values, 'port', 0);
    if ((port ?? 0) > 65535) throw new UsageError(`Expected a port of at most 65535 for --port but received '${port}'`);
    const text = (name: string) => values[name] as string | undefined;
    // Node takes the empty address for all that the machine has.
    if (text('host')?.trim() === '') throw new UsageError('The flag --host needs a value');
    const said = text('api-key') ?? process.env.DPM_SOLVER_API_KEY;
    const keys = namesOf(said);
    // An empty one would let everybody in.
    if (said !== undefined && keys.length === 0) throw new UsageError('Expected a key for --api-key but received none');
    const limits = limitsOf(values, {
      waiting: ['waiting', 0],
      perClient: ['per-client', 1],
      seconds: ['time-limit', 1],
      together: ['together', 1],
      area: ['max-pixels', 1],
    });
    const address = { port, host: text('host'), keys, hosts: namesOf(text('allow-host')), limits, log: logOf(values) };
    // Wrong ones are told before anything is begun.
    wholeOf(values, 'drain', 0);
    const queue = text('queue');
    if (queue !== undefined) await serveQueue(readQueue(queue), values, address);
    else await serveHere(values, address);
  },
});

type Address = Pick<ServeOptions, 'port' | 'host' | 'keys' | 'hosts' | 'limits' | 'log'>;

async function serveHere(values: Values, address: Address): Promise<void> {
  const useless = Object.keys(storeArgs).find((name) => values[name] !== undefined);
  if (useless !== undefined) throw new UsageError(`The flag --${useless} is for --queue, which was not given`);
  const folders = readModels(values);
  const { device, dtype, memory } = readPlace(values, 'shapes');
  const maxBatch = wholeOf(values, 'batch', 1);
  // Imported here, so that the other commands start as fast as they did.
  const { startServer } = await import('../serve/server.js');
  const folder = await fetchModels(folders, values);
  const reproducible = values.reproducible as boolean | undefined;
  const server = await startServer({ ...address, device, dtype, memory, folder, maxBatch, reproducible });
  const names = typeof folders === 'string' ? server.model.name : list(Object.keys(folders), 'and');
  say(`${server.url} draws with ${names}; Ctrl-C ends it`);
  if (server.released.length > 0) {
    say(`There is no room for ${list(server.released, 'and')} beside it: loaded when somebody asks for it`);
  }
  untilEnded(values, server);
}

/** What says how this machine draws, which does not. */
const DRAWING = [
  'device',
  'dtype',
  'memory',
  'max-memory',
  'batch',
  'reproducible',
  'together',
  'time-limit',
  'revision',
  'subfolder',
];

async function serveQueue(url: string, values: Values, address: Address): Promise<void> {
  const useless = DRAWING.find((name) => values[name] !== undefined);
  if (useless !== undefined)
    throw new UsageError(`The flag --${useless} is for the workers of a queue: give it to them`);
  const models = readNames(values);
  const store = readStore(values);
  const { startFront } = await import('../serve/workers/start.js');
  const front = await startFront({ ...address, url, store, models });
  say(`${front.url} takes runs of ${list(models, 'and')} for workers; Ctrl-C ends it`);
  untilEnded(values, front);
}

/** What workers call their models: the names of `--models`, or as they name that of `--model`. */
function readNames(values: Values): string[] {
  const entries = readEntries(values);
  if (entries === undefined) return [modelName(readPlace(values, 'shapes').folder)];
  return entries.map((entry) => entry.split('=', 1)[0]);
}
