// `dpm-solver txt2img`, `img2img`, `inpaint` and `edit`: pictures with a model of one's own.
import { resolve } from 'node:path';
import { type ArgsDef, defineCommand } from 'citty';
import { list } from '../base/check.js';
import { encodePng, writeFileAtomically } from '../image/file.js';
import { fitted } from '../image/formats.js';
import type { Image } from '../image/image.js';
import type { GenerateOptions } from '../pipelines/index.js';
import { isFixed } from '../pipelines/solvers.js';
import { MOST_PIXELS } from '../image/png.js';
import { GUIDANCE_VARIANTS } from '../solver/guidance.js';
import { ALGORITHMS } from '../solver/options.js';
import {
  drawnArgs,
  machineArgs,
  memoryArgs,
  methodArgs,
  modelArgs,
  negativeArg,
  numberOf,
  type Place,
  readMemory,
  readPlace,
  readScheduler,
  readSolver,
  readTableFlag,
  schedulerName,
  sizeArgs,
  solverArgs,
  tableArgs,
  wholeOf,
  withPipeline,
} from './generate.js';
import { readPicture, readPrompts } from './input.js';
import { keeping, keepingArgs, latentsArg, readStart } from './latents.js';
import { checkPng, checkSheet, outputArgs, readDestination, report } from './output.js';
import { previewArgs } from './preview.js';
import { choice, UsageError } from './usage.js';

const guidanceArgs = {
  steps: drawnArgs.steps,
  guidance: drawnArgs.guidance,
  'guidance-rescale': {
    type: 'string',
    valueHint: 'PHI',
    description: 'Share, 0 to 1, to which guided outputs keep their deviation (Default: 0)',
  },
  cut: { type: 'boolean', description: 'Cut prompts that are too long instead of refusing them' },
} as const satisfies ArgsDef;

/** Where there is guidance, and of what kind. */
const pairArgs = {
  'guidance-interval': {
    type: 'string',
    valueHint: 'LOW,HIGH',
    description: 'sigma / alpha between which there is guidance; half the work outside (Default: all)',
  },
  'guidance-variant': {
    type: 'string',
    valueHint: 'NAME',
    description: 'cfg, cfg++, cfg-zero or apg (Default: cfg)',
  },
  'guidance-eta': {
    type: 'string',
    valueHint: 'X',
    description: 'Of apg: what stays of the parallel part (Default: 0)',
  },
  'guidance-norm': { type: 'string', valueHint: 'X', description: 'Of apg: length of the difference (Default: 5)' },
  'guidance-momentum': {
    type: 'string',
    valueHint: 'X',
    description: 'Of apg: what the last difference adds (Default: 0)',
  },
  'split-guidance': {
    type: 'boolean',
    description: 'Both predictions of guidance one after the other: half of what a call takes of memory',
  },
} as const satisfies ArgsDef;

const drawArgs = {
  prompts: drawnArgs.prompts,
  ...modelArgs,
  ...guidanceArgs,
  ...pairArgs,
  seed: drawnArgs.seed,
  count: drawnArgs.count,
  negative: negativeArg,
  ...solverArgs,
  ...methodArgs,
  ...memoryArgs,
  ...keepingArgs,
  ...tableArgs,
  ...machineArgs,
  batch: { type: 'string', valueHint: 'N', description: 'Pictures made at once, at most' },
  ...previewArgs,
  ...outputArgs,
} as const satisfies ArgsDef;

/** Of commands that begin with a picture. */
const fitArgs = {
  width: { ...sizeArgs.width, description: 'Pixels; the picture is scaled and cut to that (Default: its own)' },
  height: { ...sizeArgs.height, description: 'As --width, and in proportion where one of them is said' },
} as const satisfies ArgsDef;

const imageArgs = {
  image: { type: 'string', valueHint: 'FILE', description: 'Where to start from, a picture; - is standard input' },
} as const satisfies ArgsDef;

const maskArg = {
  type: 'string',
  valueHint: 'FILE',
  description: 'A picture of the same size: white is made anew',
} as const;

type Values = Record<string, unknown> & { _: string[] };

type HowGuided = Pick<
  GenerateOptions,
  'guidanceInterval' | 'guidanceVariant' | 'guidanceEta' | 'guidanceNorm' | 'guidanceMomentum' | 'splitGuidance'
>;

function readGuidanceFlags(values: Record<string, unknown>): HowGuided {
  const [text, variant] = [values['guidance-interval'], values['guidance-variant']] as (string | undefined)[];
  const found: HowGuided = {};
  const own = {
    guidanceEta: 'guidance-eta',
    guidanceNorm: 'guidance-norm',
    guidanceMomentum: 'guidance-momentum',
  } as const;
  for (const [name, flag] of Object.entries(own) as [keyof typeof own, string][]) {
    const value = numberOf(values, flag);
    if (value !== undefined) found[name] = value;
  }
  if (text !== undefined) {
    const ends = text.split(',').map((one) => (one.trim() === '' ? Number.NaN : Number(one)));
    if (ends.length !== 2 || !(ends[0] >= 0 && ends[0] <= ends[1])) {
      throw new UsageError(
        `Expected two numbers of at least 0, the lower one first, for --guidance-interval but received '${text}'`,
      );
    }
    found.guidanceInterval = [ends[0], ends[1]];
  }
  if (variant !== undefined) found.guidanceVariant = choice('guidance-variant', variant, GUIDANCE_VARIANTS);
  if (values['split-guidance'] === true) found.splitGuidance = true;
  return found;
}

/** What a file of latents says of itself. */
function wordsOf({ folder }: Place, prompts: readonly string[], seed: number | undefined) {
  return { model: folder, prompts: JSON.stringify(prompts), seed: String(seed) };
}

/** What a command starts from. */
async function readPictures(command: string, values: Values): Promise<Pictures> {
  if (command === 'txt2img') return {};
  const image = await readPicture('image', values.image as string | undefined);
  if (command === 'img2img') return { image };
  return { image, mask: await readPicture('mask', values.mask as string | undefined) };
}

interface Pictures {
  image?: Image;
  mask?: Image;
}

/** They in the size that {@link fitArgs} say; a side that is not said is the nearest one in proportion that the model takes. */
async function inSize(pictures: Pictures, values: Record<string, unknown>, multiple: number): Promise<Pictures> {
  const { image, mask } = pictures;
  const [width, height] = [wholeOf(values, 'width', 1), wholeOf(values, 'height', 1)];
  if (image === undefined || (width === undefined && height === undefined)) return pictures;
  const near = (side: number) => Math.max(1, Math.round(side / multiple)) * multiple;
  const size = {
    width: width ?? near(((height as number) * image.width) / image.height),
    height: height ?? near(((width as number) * image.height) / image.width),
  };
  if (size.width * size.height > MOST_PIXELS) {
    throw new RangeError(
      `Expected at most ${MOST_PIXELS} pixels but --width and --height make ${size.width} x ${size.height}`,
    );
  }
  // What that is wrong with is said where masks are checked.
  if (mask && (mask.width !== image.width || mask.height !== image.height)) return pictures;
  return { image: await fitted(image, size, 'cubic'), mask: mask && (await fitted(mask, size, 'nearest')) };
}

async function draw(command: string, values: Values, own: Partial<GenerateOptions>): Promise<void> {
  const prompts = await readPrompts(values._);
  if (prompts.length === 0) throw new UsageError('A prompt is missing: what to draw');
  const count = wholeOf(values, 'count', 1) as number;
  const settings = {
    steps: wholeOf(values, 'steps', 1),
    guidance: numberOf(values, 'guidance'),
    guidanceRescale: numberOf(values, 'guidance-rescale'),
    ...readGuidanceFlags(values),
    seed: wholeOf(values, 'seed'),
    count,
    ...readSolver(values),
    table: readTableFlag(values),
    batchSize: wholeOf(values, 'batch', 1),
    ...readMemory(values),
    overlong: values.cut === true ? ('cut' as const) : undefined,
  };
  const negativePrompt = values.negative as string | undefined;
  const place = readPlace(values);
  const destination = await readDestination(values);
  // Files are read when it is known that the result can be written.
  const pictures = await readPictures(command, values);
  const { width, height, strength, latents, denoisingStart } = own;
  const options = {
    prompt: prompts,
    negativePrompt,
    ...settings,
    width,
    height,
    strength,
    ...(latents === undefined ? {} : { latents, denoisingStart }),
  };
  await withPipeline(place, destination.json, async (pipe, telling) => {
    const { defaults } = pipe;
    const size = { width: width ?? defaults.width, height: height ?? defaults.height };
    const begins = await inSize(pictures, values, defaults.multiple);
    checkSheet(prompts.length, count, destination, begins.image ?? size);
    const scheduler = await readScheduler(values, pipe);
    const generation = await keeping(values, destination, telling, wordsOf(place, prompts, settings.seed), (told) =>
      pipe({ ...options, ...begins, ...scheduler, ...told }),
    );
    telling.stop();
    const rows = prompts.map((_, p) => generation.images.slice(p * count, (p + 1) * count));
    await report({ command, values }, generation, rows, destination, {
      ...{ prompts, negativePrompt, scheduler: schedulerName(values), ...settings, strength },
      steps: settings.steps ?? defaults.steps,
    });
  });
}

export const txt2img = defineCommand({
  meta: { name: 'txt2img', description: 'Draw pictures from prompts with a model of your own' },
  args: { ...drawArgs, ...latentsArg, ...sizeArgs },
  async run({ args }) {
    const size = { width: wholeOf(args, 'width', 1), height: wholeOf(args, 'height', 1) };
    await draw('txt2img', args, { ...size, ...(await readStart(args)) });
  },
});

export const img2img = defineCommand({
  meta: { name: 'img2img', description: 'Draw pictures from a picture and prompts' },
  args: {
    ...imageArgs,
    strength: { type: 'string', valueHint: 'S', description: 'Share of the picture made anew (Default: 0.8)' },
    ...fitArgs,
    ...drawArgs,
  },
  run: ({ args }) => draw('img2img', args, { strength: numberOf(args, 'strength') }),
});

export const inpaint = defineCommand({
  meta: { name: 'inpaint', description: 'Fill in the white part of a mask' },
  args: {
    ...imageArgs,
    mask: maskArg,
    strength: { type: 'string', valueHint: 'S', description: 'Share of it made anew (Default: 1)' },
    ...fitArgs,
    ...drawArgs,
  },
  run: ({ args }) => draw('inpaint', args, { strength: numberOf(args, 'strength') }),
});

export const edit = defineCommand({
  meta: { name: 'edit', description: 'Change what a picture shows, and keep the rest' },
  args: {
    ...imageArgs,
    ...fitArgs,
    source: { type: 'string', valueHint: 'PROMPT', description: 'What the picture shows' },
    target: { type: 'string', valueHint: 'PROMPT', description: 'What it is to show' },
    ...modelArgs,
    ...guidanceArgs,
    ...pairArgs,
    negative: negativeArg,
    strength: { type: 'string', valueHint: 'S', description: 'How far the picture is inverted (Default: 1)' },
    'fresh-noise': { type: 'string', valueHint: 'S', description: 'Noise drawn anew in the mask (Default: 1, all)' },
    mask: { ...maskArg, description: 'A picture: white is made anew (Default: found by contrasting the prompts)' },
    'mask-threshold': { type: 'string', valueHint: 'S', description: 'Contrast that counts, 0 to 1 (Default: 0.5)' },
    'mask-margin': { type: 'string', valueHint: 'N', description: 'Latents it is widened by (Default: a tenth)' },
    'mask-output': { type: 'string', valueHint: 'FILE', description: 'Where to write the mask, a PNG file' },
    seed: { type: 'string', default: '0', valueHint: 'N', description: 'Of the noise in the mask, and for finding it' },
    ...solverArgs,
    ...memoryArgs,
    ...keepingArgs,
    ...machineArgs,
    ...previewArgs,
    ...outputArgs,
  },
  async run({ args }) {
    const prompt = (name: 'source' | 'target'): string => {
      if (!args[name]) throw new UsageError(`The flag --${name} is missing: it is a prompt`);
      return args[name];
    };
    if (args._.length > 0) {
      throw new UsageError(`Expected prompts in --source and --target but received '${args._[0]}'`);
    }
    const { method: _method, denoiseToZero: _last, ...asked } = readSolver(args);
    if (isFixed(args.solver) && args.solver !== 'ddim') {
      const known = list(['ddim', ...ALGORITHMS], 'or');
      throw new UsageError(
        `Expected ${known} for --solver of an edit, which goes back too, but received '${args.solver}'`,
      );
    }
    const ddim = { algorithmType: 'dpmsolver++', order: 1 } as const;
    const solver = args.solver === 'ddim' ? { ...asked, ...ddim } : asked;
    const settings = {
      source: prompt('source'),
      target: prompt('target'),
      negativePrompt: args.negative,
      steps: wholeOf(args, 'steps', 1),
      guidance: numberOf(args, 'guidance'),
      guidanceRescale: numberOf(args, 'guidance-rescale'),
      ...readGuidanceFlags(args),
      strength: numberOf(args, 'strength'),
      freshNoise: numberOf(args, 'fresh-noise'),
      maskThreshold: numberOf(args, 'mask-threshold'),
      maskMargin: wholeOf(args, 'mask-margin'),
      seed: wholeOf(args, 'seed'),
      ...solver,
      ...readMemory(args),
      overlong: args.cut === true ? ('cut' as const) : undefined,
    };
    const place = readPlace(args);
    const destination = await readDestination(args);
    const maskOutput = args['mask-output'];
    if (maskOutput !== undefined) {
      checkPng('mask-output', maskOutput);
      if (resolve(maskOutput) === resolve(destination.output)) {
        throw new UsageError(
          `Expected another file for --mask-output than for --output but received '${maskOutput}' for both`,
        );
      }
    }
    const image = await readPicture('image', args.image);
    const mask = args.mask === undefined ? undefined : await readPicture('mask', args.mask);
    await withPipeline(place, destination.json, async (pipe, telling) => {
      const begins = await inSize({ image, mask }, args, pipe.defaults.multiple);
      checkSheet(1, 1, destination, begins.image ?? image);
      const made = await keeping(args, destination, telling, wordsOf(place, [settings.target], settings.seed), (told) =>
        pipe.edit({ ...settings, image, ...begins, ...told }),
      );
      telling.stop();
      if (maskOutput !== undefined) writeFileAtomically(maskOutput, encodePng(made.mask));
      await report({ command: 'edit', values: args }, made, [made.images], destination, {
        ...{ image: args.image, ...settings },
        steps: settings.steps ?? pipe.defaults.steps,
      });
    });
  },
});
