// `dpm-solver serve`: a page to play with a model, and the interface beneath it.
import { type ArgsDef, defineCommand } from 'citty';
import { printable } from '../base/text.js';
import { fetched, machineArgs, modelArgs, readPlace, shapesArg, wholeOf } from './generate.js';
import { UsageError } from './usage.js';

/** What the help ends with. */
export const examples = ['dpm-solver serve', 'dpm-solver serve --model ./sd-v1-5 --port 8080'];

const args = {
  ...modelArgs,
  model: shapesArg,
  port: { type: 'string', default: '8321', valueHint: 'N', description: 'Where to listen; 0 for any that is free' },
  host: {
    type: 'string',
    default: '127.0.0.1',
    valueHint: 'ADDRESS',
    description: 'The address to listen at: others than this machine can reach it where that is not the loopback one',
  },
  'allow-host': {
    type: 'string',
    valueHint: 'NAMES',
    description: 'Names that the server is called by, besides localhost and addresses: a,b',
  },
  queue: { type: 'string', default: '32', valueHint: 'N', description: 'Runs that may wait' },
  together: {
    type: 'string',
    default: '64',
    valueHint: 'N',
    description: 'Runs that share network calls, at most, as far as there is room in them',
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
  'api-key': {
    type: 'string',
    valueHint: 'KEYS',
    description: 'A key that clients have to show, or several: a,b (Default: DPM_SOLVER_API_KEY, or none)',
  },
  'time-limit': { type: 'string', default: '300', valueHint: 'SECONDS', description: 'What one run may take' },
  ...machineArgs,
} as const satisfies ArgsDef;

const namesOf = (value: string | undefined): string[] =>
  (value ?? '')
    .split(',')
    .map((name) => name.trim())
    .filter((name) => name !== '');

export const serve = defineCommand({
  meta: { name: 'serve', description: 'Serve a page to play with a model' },
  args,
  async run({ args }) {
    if (args._.length > 0) throw new UsageError(`Expected flags only but received '${args._[0]}'`);
    const port = wholeOf(args, 'port', 0) as number;
    if (port > 65535) throw new UsageError(`Expected a port of at most 65535 for --port but received '${args.port}'`);
    const place = readPlace(args, 'shapes');
    // Node takes the empty address for all that the machine has.
    if (args.host.trim() === '') throw new UsageError('The flag --host needs a value');
    const hosts = namesOf(args['allow-host']);
    const given = args['api-key'] ?? process.env.DPM_SOLVER_API_KEY;
    const keys = namesOf(given);
    // An empty one would let everybody in.
    if (given !== undefined && keys.length === 0)
      throw new UsageError('Expected a key for --api-key but received none');
    const limits = {
      waiting: wholeOf(args, 'queue', 0),
      seconds: wholeOf(args, 'time-limit', 1),
      together: wholeOf(args, 'together', 1),
    };
    const maxBatch = wholeOf(args, 'batch', 1);
    const { reproducible } = args;
    // Imported here, so that the other commands start as fast as they did.
    const { startServer } = await import('../serve/server.js');
    const here = await fetched(place, false);
    const { url, model, close } = await startServer({
      ...here,
      maxBatch,
      reproducible,
      port,
      host: args.host,
      hosts,
      keys,
      limits,
    });
    console.log(printable(`${url} draws with ${model.name}; Ctrl-C ends it`));
    let closing = false;
    for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
      process.on(signal, () => {
        // Whoever asks twice does not want to wait.
        if (closing) process.exit(1);
        closing = true;
        close().then(() => process.exit(0));
      });
    }
  },
});
