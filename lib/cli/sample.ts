// `dpm-solver sample`: prompts to a sheet of pictures.
import { type ArgsDef, defineCommand } from 'citty';
import type { GenerateOptions } from '../pipelines/index.js';
import {
  drawnArgs,
  machineArgs,
  methodArgs,
  negativeArg,
  readPlace,
  readScheduler,
  readSolver,
  readTableFlag,
  schedulerName,
  shapesArg,
  solverArgs,
  tableArgs,
  withPipeline,
} from './generate.js';
import { readPrompts } from './input.js';
import { checkSheet, outputArgs, readDestination, report } from './output.js';
import { openPreview, previewArgs } from './preview.js';
import { number, whole } from './usage.js';

/** What the help ends with. */
export const examples = [
  'dpm-solver sample "a red circle on a blue background" --count 8 -o circles.png',
  'dpm-solver sample "a small white star on a black background" --steps 20 --order 3 --method singlestep',
  'dpm-solver sample "a green ring on a white background" --classifier-scale 4 --json',
];

/** What `npm start` draws: every shape, and colours that are easily told apart. */
const defaultPrompts = [
  'a red circle on a blue background',
  'a yellow star on a purple background',
  'a green triangle on a white background',
  'a cyan ring on a black background',
  'a white cross on a red background',
  'a small blue square on a yellow background',
];

const args = {
  ...drawnArgs,
  'classifier-scale': { type: 'string', valueHint: 'S', description: 'Classifier guidance with this scale instead' },
  negative: negativeArg,
  ...solverArgs,
  ...methodArgs,
  ...tableArgs,
  model: shapesArg,
  ...machineArgs,
  batch: { type: 'string', valueHint: 'N', description: 'Pictures made at once, at most' },
  ...previewArgs,
  ...outputArgs,
} as const satisfies ArgsDef;

export const sample = defineCommand({
  meta: { name: 'sample', description: 'Draw pictures from prompts' },
  args,
  async run({ args }) {
    const prompts = args._.length > 0 ? await readPrompts(args._) : defaultPrompts;
    const count = whole('count', args.count, 1) as number;
    const options: GenerateOptions = {
      prompt: prompts,
      negativePrompt: args.negative,
      steps: whole('steps', args.steps, 1),
      guidance: number('guidance', args.guidance),
      classifierScale: number('classifier-scale', args['classifier-scale']),
      seed: whole('seed', args.seed),
      count,
      ...readSolver(args),
      table: readTableFlag(args),
      batchSize: whole('batch', args.batch, 1),
    };
    const place = readPlace(args, 'shapes');
    const destination = await readDestination(args);
    await withPipeline(place, destination.json, async (pipe, telling) => {
      const { onProgress, stop } = telling;
      checkSheet(prompts.length, count, destination, pipe.defaults);
      const scheduler = await readScheduler(args, pipe);
      const preview = openPreview(args, destination.json, telling);
      const generation = await pipe({ ...options, ...scheduler, onProgress, ...preview.options });
      stop();
      await preview.finish(generation.images);
      const rows = prompts.map((_, p) => generation.images.slice(p * count, (p + 1) * count));
      const { prompt: _prompt, negativePrompt, ...settings } = options;
      await report({ command: 'sample', values: args }, generation, rows, destination, {
        prompts,
        negativePrompt,
        scheduler: schedulerName(args),
        ...settings,
        steps: settings.steps ?? pipe.defaults.steps,
      });
    });
  },
});
