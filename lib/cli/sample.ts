// `dpm-solver sample`: prompts to a sheet of pictures.
import { fileURLToPath } from 'node:url';
import { type ArgsDef, defineCommand } from 'citty';
import { Presets, SingleBar } from 'cli-progress';
import { checkWritable, encodePng, writeFileAtomically } from '../image/file.js';
import { sheet } from '../image/image.js';
import { loadRuntime } from '../onnx/runtime.js';
import type { GenerateOptions, Generation, Progress } from '../pipelines/index.js';
import { ALGORITHMS, METHODS } from '../solver/options.js';
import { choice, number, UsageError, whole } from './usage.js';

const skipTypes = ['time_uniform', 'logSNR', 'time_quadratic', 'karras', 'exponential', 'beta'] as const;
const devices = ['auto', 'cpu', 'cuda'] as const;

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
  prompts: { type: 'positional', required: false, description: 'What to draw, one row of the sheet each' },
  steps: { type: 'string', default: '10', valueHint: 'N', description: 'Network evaluations for a picture' },
  guidance: { type: 'string', valueHint: 'W', description: 'Classifier-free guidance scale (Default: 3); 1 is none' },
  'classifier-scale': { type: 'string', valueHint: 'S', description: 'Classifier guidance with this scale instead' },
  seed: { type: 'string', default: '0', valueHint: 'N', description: 'Picture i of the sheet has the seed N + i' },
  count: { type: 'string', default: '4', valueHint: 'N', description: 'Pictures of every prompt' },
  negative: { type: 'string', valueHint: 'PROMPT', description: 'What guidance leads away from' },
  solver: {
    type: 'string',
    default: 'dpmsolver++',
    valueHint: 'NAME',
    description: `Algorithm: ${ALGORITHMS.join(', ')}`,
  },
  order: { type: 'string', default: '2', valueHint: '1|2|3', description: 'Order of the solver' },
  method: {
    type: 'string',
    default: 'multistep',
    valueHint: 'NAME',
    description: `Kind of step: ${METHODS.join(', ')}`,
  },
  'skip-type': {
    type: 'string',
    default: 'time_uniform',
    valueHint: 'NAME',
    description: `Step grid: ${skipTypes.join(', ')}`,
  },
  'solver-type': { type: 'string', valueHint: 'NAME', description: 'Form of the second-order term: dpmsolver, taylor' },
  thresholding: { type: 'boolean', description: 'Dynamic thresholding of the predicted picture' },
  'denoise-to-zero': { type: 'boolean', description: 'One more evaluation at the end, without noise' },
  model: {
    type: 'string',
    valueHint: 'DIR',
    description: 'Model directory (Default: the shapes that come with the package)',
  },
  device: { type: 'string', valueHint: 'NAME', description: 'Where the network runs: cpu, cuda (Default: cpu)' },
  batch: { type: 'string', valueHint: 'N', description: 'Pictures made at once, at most' },
  scale: { type: 'string', valueHint: 'N', description: 'Enlargement of the pictures (Default: 4 for small ones)' },
  output: { type: 'string', alias: 'o', default: 'out.png', valueHint: 'FILE', description: 'The sheet, a PNG file' },
  json: { type: 'boolean', description: 'Print one JSON object instead of a line' },
} as const satisfies ArgsDef;

export const sample = defineCommand({
  meta: { name: 'sample', description: 'Draw pictures from prompts' },
  args,
  async run({ args }) {
    const options: GenerateOptions = {
      prompt: args._.length > 0 ? args._ : defaultPrompts,
      negativePrompt: args.negative,
      steps: whole('steps', args.steps, 1),
      guidance: number('guidance', args.guidance),
      classifierScale: number('classifier-scale', args['classifier-scale']),
      seed: whole('seed', args.seed),
      count: whole('count', args.count, 1),
      algorithmType: choice('solver', args.solver, ALGORITHMS),
      order: Number(choice('order', args.order, ['1', '2', '3'])) as 1 | 2 | 3,
      method: choice('method', args.method, METHODS),
      skipType: choice('skip-type', args['skip-type'], skipTypes),
      solverType: choice('solver-type', args['solver-type'], ['dpmsolver', 'taylor']),
      thresholding: args.thresholding || undefined,
      denoiseToZero: args['denoise-to-zero'] || undefined,
      batchSize: whole('batch', args.batch, 1),
    };
    const device = choice('device', args.device, devices);
    const scale = whole('scale', args.scale, 1);
    const output = args.output;
    if (!/\.png$/i.test(output))
      throw new UsageError(`Expected a file name ending in .png for --output but received '${output}'`);
    checkWritable(output);
    const folder = args.model ?? fileURLToPath(new URL('../../models/shapes', import.meta.url));
    if (folder === '') throw new UsageError('The flag --model needs a value');

    // Imported here, so that `--help` works where the addon is missing, and the loader's advice comes as a message.
    const { DiffusionPipeline } = await import('../pipelines/index.js');
    // onnxruntime's own log would repeat at length what the error says in a sentence.
    (await loadRuntime()).env.logLevel = 'fatal';
    const pipe = await DiffusionPipeline.fromPretrained(folder, { device });
    try {
      const generation = await withProgress((onStep) => pipe({ ...options, onStep }));
      write(generation, options, output, scale, args.json ?? false);
    } finally {
      await pipe.dispose();
    }
  },
});

/** A bar on a terminal; nothing elsewhere. */
async function withProgress(work: (onStep?: (progress: Progress) => void) => Promise<Generation>): Promise<Generation> {
  if (!process.stderr.isTTY) return work();
  const bar = new SingleBar(
    // A Ctrl-C ends the process at once: no listeners, and a cursor that was never hidden.
    { format: '{bar} step {step}/{steps}{batch}', gracefulExit: false, hideCursor: null, linewrap: null, barsize: 30 },
    Presets.shades_classic,
  );
  let started = false;
  try {
    return await work(({ step, steps, batch, batches }) => {
      const total = Math.max(steps, step);
      const payload = { step, steps: total, batch: batches > 1 ? `, batch ${batch + 1}/${batches}` : '' };
      // Of the adaptive method nobody knows how many steps it will take.
      if (!started) bar.start(total * batches, 0, payload);
      started = true;
      bar.setTotal(total * batches);
      bar.update(total * batch + step, payload);
    });
  } finally {
    if (started) bar.stop();
  }
}

function write(
  generation: Generation,
  options: GenerateOptions,
  output: string,
  scale: number | undefined,
  json: boolean,
): void {
  const { images, nfe, seeds, guidance, timings } = generation;
  const prompts = options.prompt as readonly string[];
  const count = options.count as number;
  const rows = prompts.map((_, p) => images.slice(p * count, (p + 1) * count));
  const enlargement = scale ?? (images[0].width <= 128 ? 4 : 1);
  const picture = sheet(rows, { scale: enlargement, margin: 8 });
  writeFileAtomically(output, encodePng(picture));
  if (json) {
    const { prompt, negativePrompt, onStep, ...settings } = options;
    const { width, height } = picture;
    const made = { output, width, height, prompts, negativePrompt, seeds, ...settings, guidance, nfe, timings };
    console.log(JSON.stringify(made));
    return;
  }
  const pictures = `${images.length} picture${images.length === 1 ? '' : 's'}`;
  console.log(
    `${output}: ${pictures}, ${nfe} evaluations each; ${ms(timings.networkMs)} per network call, ` +
      `${ms(timings.stepMs)} per solver step; ${(timings.totalMs / 1000).toFixed(1)} s in all`,
  );
}

function ms(value: number): string {
  return `${value < 100 ? Number(value.toPrecision(2)) : Math.round(value)} ms`;
}
