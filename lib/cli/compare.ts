// `dpm-solver compare`: one prompt and one seed, solvers in rows and step counts in columns.
import { type ArgsDef, defineCommand } from 'citty';
import { list } from '../base/check.js';
import { nearest } from '../base/text.js';
import { encodePng, writeFileAtomically } from '../image/file.js';
import type { Image } from '../image/image.js';
import { sheet, sheetSize } from '../image/sheet.js';
import type { GenerateOptions } from '../pipelines/index.js';
import { fewSteps, namedScheduler, SOLVERS, type SolverName } from '../pipelines/solvers.js';
import {
  machineArgs,
  modelArgs,
  numberOf,
  outputArgs,
  readDestination,
  readPlace,
  scaleOf,
  wholeOf,
  withPipeline,
  withProgress,
} from './generate.js';
import { UsageError, whole } from './usage.js';

const args = {
  prompt: { type: 'positional', required: false, description: 'What to draw' },
  solvers: {
    type: 'string',
    default: 'ddim,pndm,deis,unipc,dpmsolver,dpmsolver++',
    valueHint: 'NAMES',
    description: `Rows: ${SOLVERS.join(', ')}`,
  },
  steps: { type: 'string', default: '10,15,20,25,50', valueHint: 'NUMBERS', description: 'Columns: evaluations' },
  guidance: { type: 'string', valueHint: 'W', description: "Guidance scale (Default: the kind of model's); 1 is none" },
  negative: { type: 'string', valueHint: 'PROMPT', description: 'What guidance leads away from' },
  seed: { type: 'string', default: '0', valueHint: 'N', description: 'Of every picture' },
  width: { type: 'string', valueHint: 'N', description: "Pixels (Default: the model's)" },
  height: { type: 'string', valueHint: 'N', description: "Pixels (Default: the model's)" },
  ...modelArgs,
  model: {
    type: 'string',
    valueHint: 'DIR',
    description: 'Model directory (Default: the shapes that come with the package)',
  },
  ...machineArgs,
  ...outputArgs,
} as const satisfies ArgsDef;

export const compare = defineCommand({
  meta: { name: 'compare', description: 'Draw one prompt with several solvers and numbers of steps' },
  args,
  async run({ args }) {
    if (args._.length !== 1) {
      throw new UsageError(
        args._.length === 0 ? 'A prompt is missing: what to draw' : `Expected one prompt but received ${args._.length}`,
      );
    }
    const [prompt] = args._;
    const names = parts('solvers', args.solvers);
    for (const name of names) {
      if ((SOLVERS as readonly string[]).includes(name)) continue;
      const meant = nearest(name, SOLVERS);
      const hint = meant ? `; did you mean ${meant}?` : '';
      throw new UsageError(`Expected ${list(SOLVERS, 'or')} in --solvers but received '${name}'${hint}`);
    }
    const counts = parts('steps', args.steps).map((part) => whole('steps', part, 1) as number);
    const seed = wholeOf(args, 'seed');
    const shared: GenerateOptions = {
      prompt,
      seed,
      negativePrompt: args.negative,
      guidance: numberOf(args, 'guidance'),
      width: wholeOf(args, 'width', 1),
      height: wholeOf(args, 'height', 1),
    };
    const place = readPlace(args, 'shapes');
    const destination = readDestination(args);
    const { output, json } = destination;
    await withPipeline(place, async (pipe) => {
      const { width = pipe.defaults.width, height = pipe.defaults.height } = shared;
      const labels = {
        scale: scaleOf(destination.scale, width),
        rowNames: names,
        columnNames: counts.map((count) => `${count} ${count === 1 ? 'step' : 'steps'}`),
        title: prompt,
      };
      sheetSize(names.length, counts.length, { width, height }, labels);
      // All of them are there, and can make their steps, before the first picture.
      const entries = await Promise.all(names.map((name) => namedScheduler(name as SolverName, pipe)));
      for (const entry of entries) {
        for (const steps of counts) {
          const { scheduler } = fewSteps(entry, steps);
          if (scheduler && 'setTimesteps' in scheduler) scheduler.setTimesteps(steps);
          await pipe.check({ ...shared, scheduler, steps });
        }
      }
      const started = performance.now();
      const runs: { solver: string; steps: number; nfe: number; totalMs: number }[] = [];
      const rows: Image[][] = [];
      await withProgress(async (onStep) => {
        const batches = names.length * counts.length;
        for (const [r, name] of names.entries()) {
          const row: Image[] = [];
          for (const steps of counts) {
            const batch = runs.length;
            const own = onStep && ((progress: Parameters<typeof onStep>[0]) => onStep({ ...progress, batch, batches }));
            const made = await pipe({ ...shared, ...fewSteps(entries[r], steps), steps, onStep: own });
            row.push(made.images[0]);
            runs.push({ solver: name, steps, nfe: made.nfe, totalMs: made.timings.totalMs });
          }
          rows.push(row);
        }
      });
      const picture = sheet(rows, labels);
      writeFileAtomically(output, encodePng(picture));
      if (json) {
        const size = { width: picture.width, height: picture.height };
        console.log(JSON.stringify({ output, ...size, prompt, seed, solvers: names, steps: counts, runs }));
        return;
      }
      const seconds = ((performance.now() - started) / 1000).toFixed(1);
      console.log(`${output}: ${names.length} solvers with ${counts.join(', ')} steps; ${seconds} s in all`);
    });
  },
});

function parts(flag: string, value: string): string[] {
  const all = value.split(',').map((part) => part.trim());
  if (all.some((part) => part === ''))
    throw new UsageError(`Expected a list like a,b for --${flag} but received '${value}'`);
  return all;
}
