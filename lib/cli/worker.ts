// `dpm-solver worker`: draws what comes to a queue that front ends share, `dpm-solver serve --queue`.
import { type ArgsDef, defineCommand } from 'citty';
import { list } from '../base/check.js';
import { machineArgs, modelArgs, readPlace, shapesArg, wholeOf } from './generate.js';
import { say, warn } from './say.js';
import {
  fetchModels,
  limitsOf,
  logOf,
  readModels,
  readQueue,
  readStore,
  runArgs,
  storeArgs,
  untilEnded,
} from './service.js';
import { UsageError } from './usage.js';

/** What the help ends with. */
export const examples = ['dpm-solver worker --queue redis://127.0.0.1 --model ./sd-v1-5'];

const args = {
  ...modelArgs,
  model: shapesArg,
  queue: { type: 'string', valueHint: 'redis://...', description: 'The queue that runs come from' },
  port: {
    type: 'string',
    valueHint: 'N',
    description: 'Where to answer /healthz, /readyz and /metrics; 0 for any that is free (Default: nowhere)',
  },
  host: { type: 'string', valueHint: 'ADDRESS', description: 'The address for that (Default: 127.0.0.1)' },
  ...runArgs,
  ...storeArgs,
  ...machineArgs,
} as const satisfies ArgsDef;

export const worker = defineCommand({
  meta: { name: 'worker', description: 'Draw what comes to a queue, beside as many machines as there are' },
  args,
  async run({ args: values }) {
    if (values._.length > 0) throw new UsageError(`Expected flags only but received '${values._[0]}'`);
    const queue = values.queue as string | undefined;
    if (queue === undefined)
      throw new UsageError('The flag --queue is missing: it names the queue that runs come from');
    const url = readQueue(queue);
    const port = wholeOf(values, 'port', 0);
    const folders = readModels(values);
    const { device, dtype, memory } = readPlace(values, 'shapes');
    const maxBatch = wholeOf(values, 'batch', 1);
    const reproducible = values.reproducible as boolean | undefined;
    if (reproducible && maxBatch === undefined) {
      throw new UsageError('Expected --batch with --reproducible, the same for all workers, but received none');
    }
    const limits = limitsOf(values, { seconds: ['time-limit', 1], together: ['together', 1] });
    const log = logOf(values);
    wholeOf(values, 'drain', 0);
    const store = readStore(values);
    const { startWorker } = await import('../serve/workers/start.js');
    const working = await startWorker({
      ...{ url, store, limits, log, device, dtype, memory, maxBatch, reproducible, warn },
      ...{ folder: await fetchModels(folders, values), port, host: values.host as string | undefined },
    });
    const where = working.url === undefined ? '' : `, and answers at ${working.url}`;
    say(`Draws with ${list(working.models, 'and')} what comes to the queue${where}; Ctrl-C ends it`);
    untilEnded(values, working);
  },
});
