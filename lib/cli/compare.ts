// `dpm-solver compare`: one prompt and one seed, solvers in rows and step counts in columns.
import { type ArgsDef, defineCommand } from 'citty';
import { list } from '../base/check.js';
import { nearest } from '../base/text.js';
import { checkSide } from '../image/formats.js';
import type { Image } from '../image/image.js';
import { sheet, sheetSize } from '../image/sheet.js';
import type { DiffusionPipeline, GenerateOptions } from '../pipelines/index.js';
import { fewSteps, namedScheduler, SOLVERS, type SolverName } from '../pipelines/solvers.js';
import {
  guidanceArg,
  machineArgs,
  modelArgs,
  negativeArg,
  numberOf,
  readPlace,
  shapesArg,
  sizeArgs,
  wholeOf,
  withPipeline,
} from './generate.js';
import { readDestination, sayMade, scaleOf, sheetArgs, writePicture } from './output.js';
import { openPreview, previewArgs } from './preview.js';
import type { Telling } from './progress.js';
import { say } from './say.js';
import { UsageError, whole } from './usage.js';

/** The rows where nobody names some, but for those that the model's network cannot follow. */
const USUAL: readonly SolverName[] = ['ddim', 'pndm', 'deis', 'unipc', 'dpmsolver', 'dpmsolver++'];

const args = {
  prompt: { type: 'positional', required: false, description: 'What to draw' },
  solvers: {
    type: 'string',
    valueHint: 'NAMES',
    description: `Rows: ${SOLVERS.join(', ')}, or classes of dpm-solver/schedulers (Default: ${USUAL.join(', ')}; of these what the model can follow, and its own)`,
  },
  steps: { type: 'string', default: '10,15,20,25,50', valueHint: 'NUMBERS', description: 'Columns: evaluations' },
  table: { type: 'boolean', description: "One row more: the model's tables, where it has some for these steps" },
  guidance: guidanceArg,
  negative: negativeArg,
  seed: { type: 'string', default: '0', valueHint: 'N', description: 'Of every picture' },
  ...sizeArgs,
  ...modelArgs,
  model: shapesArg,
  ...machineArgs,
  ...previewArgs,
  ...sheetArgs,
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
    const named = args.solvers === undefined ? undefined : parts('solvers', args.solvers);
    for (const name of named ?? []) {
      if ((SOLVERS as readonly string[]).includes(name) || name.endsWith('Scheduler')) continue;
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
    const destination = await readDestination(args);
    const { output, json } = destination;
    await withPipeline(place, json, async (pipe, telling) => {
      const { width = pipe.defaults.width, height = pipe.defaults.height } = shared;
      // All of them are there, and can make their steps, before the first picture.
      const rowsOf = named === undefined ? usualRows : namedRows;
      const entries = await rowsOf(
        named ?? USUAL,
        async (name) => {
          const entry = await namedScheduler(name, pipe);
          for (const steps of counts) await pipe.check({ ...shared, ...ready(entry, steps), steps });
          return entry;
        },
        pipe,
        telling.warn,
      );
      if (args.table) entries.set('table', {});
      const names = [...entries.keys()];
      const labels = {
        scale: scaleOf(destination.scale, width),
        rowNames: names,
        columnNames: counts.map((count) => `${count} ${count === 1 ? 'step' : 'steps'}`),
        title: prompt,
      };
      checkSide(destination.coding.format, sheetSize(names.length, counts.length, { width, height }, labels));
      const preview = openPreview(args, json, telling);
      const started = performance.now();
      const runs: { solver: string; table?: string; steps: number; nfe: number; totalMs: number }[] = [];
      const rows: Image[][] = [];
      for (const [name, entry] of entries) {
        const row: Image[] = [];
        for (const steps of counts) {
          telling.at(runs.length, names.length * counts.length);
          const { onProgress } = telling;
          const made = await pipe({ ...shared, ...fewSteps(entry, steps), steps, onProgress, ...preview.options });
          row.push(made.images[0]);
          if (name === 'table' && made.table === undefined) {
            preview.options.onWarning?.(
              `The model has no table for ${steps} steps and guidance ${made.guidance}: its own solver drew that picture`,
            );
          }
          runs.push({ solver: name, table: made.table, steps, nfe: made.nfe, totalMs: made.timings.totalMs });
        }
        rows.push(row);
      }
      telling.stop();
      const picture = sheet(rows, labels);
      await preview.finish([picture]);
      await writePicture(destination, 0, picture);
      if (json) {
        const size = { width: picture.width, height: picture.height };
        say(JSON.stringify({ output, ...size, prompt, seed, solvers: names, steps: counts, runs }), output);
        return;
      }
      const seconds = ((performance.now() - started) / 1000).toFixed(1);
      sayMade(output, `${names.length} solvers with ${counts.join(', ')} steps; ${seconds} s in all`);
    });
  },
});

type Entry = Awaited<ReturnType<typeof namedScheduler>>;

/** An entry for so many steps, whose schedule they have been tried on. */
function ready(entry: Entry, steps: number): Entry {
  const choice = fewSteps(entry, steps);
  const { scheduler } = choice;
  // Dynamic shifting goes by the picture's size, which the pipeline knows.
  const dynamic = (scheduler as { config?: { use_dynamic_shifting?: unknown } })?.config?.use_dynamic_shifting === true;
  if (scheduler && 'setTimesteps' in scheduler && !dynamic) scheduler.setTimesteps(steps);
  return choice;
}

type Open = (name: string) => Promise<Entry>;

/** The rows that somebody asked for: what one of them cannot do is an error. */
async function namedRows(names: readonly string[], open: Open): Promise<Map<string, Entry>> {
  return new Map(await Promise.all(names.map(async (name) => [name, await open(name)] as const)));
}

/** Those that the model's network can follow; its own scheduler beside them, where there are others. */
async function usualRows(
  names: readonly string[],
  open: Open,
  pipe: DiffusionPipeline,
  warn: Telling['warn'],
): Promise<Map<string, Entry>> {
  const rows = new Map<string, Entry>();
  const left: [string, unknown][] = [];
  const { _class_name: own } = pipe.schedulerConfig;
  for (const name of names) {
    try {
      rows.set(name, await open(name));
    } catch (error) {
      left.push([name, error]);
    }
  }
  if (left.length === 0) return rows;
  const known = typeof own === 'string' ? await open(own).catch(() => undefined) : undefined;
  if (known === undefined && rows.size === 0) throw left[0][1];
  for (const [name, error] of left) warn(`${name} is left out: ${(error as Error).message}`);
  return new Map([...(known ? [[own as string, known] as const] : []), ...rows]);
}

function parts(flag: string, value: string): string[] {
  const all = value.split(',').map((part) => part.trim());
  if (all.some((part) => part === ''))
    throw new UsageError(`Expected a list like a,b for --${flag} but received '${value}'`);
  return all;
}
