// `dpm-solver calibrate`: tables of times and rows for a model, kept in its folder.
import { existsSync, mkdirSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { type ArgsDef, defineCommand } from 'citty';
import { readAtMost } from '../base/read.js';
import type { CalibrateProgress, Calibration } from '../calibrate/index.js';
import { TABLES } from '../hub/needed.js';
import { checkWritable, writeFileAtomically } from '../image/file.js';
import { readTableFile } from '../pipelines/tables.js';
import type { SolverTable } from '../solver/table.js';
import {
  fetched,
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
import { withBar } from './progress.js';
import { say } from './say.js';
import { UsageError, whole } from './usage.js';

/** What the help ends with. */
export const examples = [
  'dpm-solver calibrate --steps 5,6,8 -o tables.json --report tables.svg',
  'dpm-solver calibrate --model ./sd-v1-5 --prompts prompts.txt --steps 6,8 --guidance 7.5 --resume ./calibration',
];

/** Of the shapes that come with the package: every shape and colour, in prompts that `dpm-solver sample` does not use. */
function shapesPrompts(): string[] {
  const shapes = ['circle', 'square', 'triangle', 'star', 'cross', 'ring'];
  const colors = ['red', 'green', 'blue', 'yellow', 'purple', 'cyan', 'white', 'black'];
  return Array.from({ length: 48 }, (_, i) => {
    const color = colors[i % 8];
    // A step of its own for each round through the colours, so that pairs do not come again.
    const background = colors[(i + 1 + (Math.floor(i / 8) % 7)) % 8];
    return `a ${color} ${shapes[(i + Math.floor(i / 8)) % 6]} on a ${background} background`;
  });
}

const args = {
  steps: {
    type: 'string',
    default: '5,6,8',
    valueHint: 'NUMBERS',
    description: 'Evaluations that tables are made for',
  },
  prompts: { type: 'string', valueHint: 'FILE', description: 'Prompts, one a line; needed with --model' },
  guidance: guidanceArg,
  negative: negativeArg,
  samples: { type: 'string', default: '32', valueHint: 'N', description: 'Pictures that tables are fitted to' },
  'held-out': { type: 'string', default: '128', valueHint: 'N', description: 'Further pictures that choose' },
  budget: { type: 'string', default: '5000', valueHint: 'N', description: 'Evaluations that fitting may take, each' },
  seed: { type: 'string', default: '0', valueHint: 'N', description: 'Picture i has the seed N + i' },
  threads: {
    type: 'string',
    valueHint: 'N',
    description: 'Of the network: 1 is quickest beside other work (Default: all)',
  },
  ...sizeArgs,
  ...modelArgs,
  model: shapesArg,
  ...machineArgs,
  resume: { type: 'string', valueHint: 'DIR', description: 'Keeps what has been done, and goes on there' },
  output: {
    type: 'string',
    alias: 'o',
    valueHint: 'FILE',
    description: `Tables, JSON, added to those that are there (Default: DIR/${TABLES})`,
  },
  report: { type: 'string', valueHint: 'FILE', description: 'The report as a picture, an SVG file' },
  json: { type: 'boolean', description: 'Print the report as one JSON object' },
} as const satisfies ArgsDef;

export const calibrate = defineCommand({
  meta: { name: 'calibrate', description: 'Find times and rows for a model, for few evaluations' },
  args,
  async run({ args }) {
    if (args._.length > 0) throw new UsageError(`Expected flags only but received '${args._[0]}'`);
    const steps = args.steps.split(',').map((part) => whole('steps', part, 2) as number);
    const asked = readPlace(args, 'shapes');
    if (args.output !== undefined && !/\.json$/i.test(args.output)) {
      throw new UsageError(`Expected a file name ending in .json for --output but received '${args.output}'`);
    }
    if (args.report !== undefined && !/\.svg$/i.test(args.report)) {
      throw new UsageError(`Expected a file name ending in .svg for --report but received '${args.report}'`);
    }
    const prompts = readPrompts(args.prompts, args.model);
    const place = await fetched(asked, args.json ?? false);
    const output = args.output ?? join(place.folder, TABLES);
    const before = existsSync(output) ? readTableFile(output) : [];
    mkdirSync(dirname(output), { recursive: true });
    for (const path of [output, args.report]) if (path !== undefined) checkWritable(path);
    const made = await withPipeline(place, args.json ?? false, (pipe, { stop }) => {
      // The line of loading, which another one follows.
      stop();
      return withStages((onProgress) =>
        pipe.calibrate({
          ...{ prompts, steps, onProgress, resume: args.resume, negativePrompt: args.negative },
          ...{
            guidance: numberOf(args, 'guidance'),
            samples: wholeOf(args, 'samples'),
            heldOut: wholeOf(args, 'held-out'),
          },
          ...{ width: wholeOf(args, 'width', 1), height: wholeOf(args, 'height', 1), seed: wholeOf(args, 'seed') },
          budget: { evaluations: wholeOf(args, 'budget') },
        }),
      );
    });
    writeFileAtomically(output, Buffer.from(`${JSON.stringify(merged(before, made.tables), null, 1)}\n`));
    if (args.report !== undefined) {
      const { calibrationSvg } = await import('../calibrate/index.js');
      writeFileAtomically(args.report, Buffer.from(calibrationSvg(made)));
    }
    if (args.json) say(JSON.stringify({ output, ...made, tables: undefined }));
    else for (const line of linesOf(made, output)) say(line);
  },
});

/** Bytes of a file of prompts. */
const MOST_PROMPTS = 2 ** 26;

function readPrompts(path: string | undefined, model: string | undefined): readonly string[] {
  if (path === undefined) {
    if (model === undefined) return shapesPrompts();
    throw new UsageError('The flag --prompts is missing: it names a file of prompts, one a line');
  }
  const prompts = readAtMost(path, MOST_PROMPTS)
    .toString('utf8')
    .split('\n')
    .map((line) => line.trim())
    .filter((line) => line !== '');
  if (prompts.length === 0) throw new UsageError(`Expected prompts, one a line, in ${path}, which has none`);
  return prompts;
}

/** The new ones, and those of the old ones that were made for something else. */
function merged(before: readonly SolverTable[], made: readonly SolverTable[]): SolverTable[] {
  const same = (a: SolverTable, b: SolverTable) =>
    a.sigmas.length === b.sigmas.length &&
    (a.guidance?.scale ?? 1) === (b.guidance?.scale ?? 1) &&
    a.schedule.kind === b.schedule.kind &&
    a.schedule.hash === b.schedule.hash;
  const kept = before.filter((old) => !made.some((one) => same(old, one)));
  return [...kept, ...made].sort((a, b) => a.sigmas.length - b.sigmas.length);
}

function linesOf({ report, teacherEvaluations }: Calibration, output: string): string[] {
  const lines = report.map(({ steps, kept, heldOut, classic, classicName, evaluations }) => {
    const cost = evaluations.classics + evaluations.fit + evaluations.choice;
    const found =
      kept === 'table'
        ? `a table, off by ${heldOut.toPrecision(3)} where ${classicName} is off by ${classic.toPrecision(3)}`
        : `${classicName}, which no table was better than, off by ${classic.toPrecision(3)}`;
    return `${steps} evaluations: ${found} (${cost} evaluations to find it)`;
  });
  return [
    ...lines,
    `${output}: ${report.length === 1 ? 'one table' : `${report.length} tables`}; the teacher took ${teacherEvaluations} evaluations`,
  ];
}

/** A bar of what is being done. */
function withStages<T>(work: (onProgress?: (progress: CalibrateProgress) => void) => Promise<T>): Promise<T> {
  return withBar((show) =>
    work(
      show &&
        (({ stage, steps, done, of, left }) => {
          const percent = Math.floor((100 * done) / of);
          const what = steps === undefined ? stage : `${stage} for ${steps}`;
          show(of, done, `${percent}% ${what}, ${timeOf(left)} left`);
        }),
    ),
  );
}

function timeOf(seconds: number | undefined): string {
  if (seconds === undefined) return 'some time';
  return seconds < 90 ? `${Math.ceil(seconds)} s` : `${Math.round(seconds / 60)} min`;
}
