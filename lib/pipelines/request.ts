// A call as it is carried out: read from its options, with a sentence for whatever is wrong with them.

import { convert } from '../addon/native.js';
import {
  finiteNumber,
  oneOf,
  optionalFunction,
  optionalSignal,
  outOfRange,
  safeInteger,
  show,
  wholeNumber,
  wrongType,
} from '../base/check.js';
import { meantOption, meantValue } from '../base/names.js';
import { readTensor } from '../base/tensor.js';
import { checkImage, type Image } from '../image/image.js';
import { picturesAtOnce } from './batch-speed.js';
import type { Size } from './conditioner.js';
import { type ClassifierFreeGuidance, readClassifierFree } from '../solver/guidance.js';
import { ALGORITHMS } from '../solver/options.js';
import { type SolverTable, evaluationsOf, readTable } from '../solver/table.js';
import { asksTwice } from './guidance.js';
import { type Mask, readMask } from './mask.js';
import type { CommonOptions, EditOptions, GenerateOptions, SchedulerLike, SolverChoices } from './options.js';
import { readTiling, type Tiling } from './tiling.js';

const solverKeys = [
  ...['algorithmType', 'thresholding', 'thirdOrder', 'correctX0', 'correctXt', 'checkFinite', 'threads', 'order'],
  ...['method', 'skipType', 'solverType', 'tStart', 'tEnd', 'lowerOrderFinal', 'denoiseToZero', 'atol', 'rtol'],
  ...['controller', 'maxNfe', 'noise'],
];
const commonKeys = [
  'guidance',
  'trueGuidance',
  'guidanceRescale',
  'guidanceInterval',
  'guidanceVariant',
  'guidanceEta',
  'guidanceNorm',
  'guidanceMomentum',
  'overlong',
  'onWarning',
  'onStep',
  'onProgress',
  'vaeTiling',
  'splitGuidance',
  'signal',
  ...solverKeys,
];
const generateKeys = [
  ...['prompt', 'negativePrompt', 'steps', 'scheduler', 'classifierScale', 'seed', 'seeds', 'count', 'width', 'height'],
  ...[
    'image',
    'latents',
    'strength',
    'mask',
    'batchSize',
    'denoisingStart',
    'denoisingEnd',
    'eta',
    'table',
    ...commonKeys,
  ],
];
const editKeys = [
  ...['image', 'source', 'target', 'negativePrompt', 'steps', 'strength', 'mask', 'maskStrength', 'maskSamples'],
  ...['maskThreshold', 'maskMargin', 'freshNoise', 'seed', ...commonKeys],
];

/** What the networks say about sizes and guidance. */
export interface Limits {
  /** Is there an autoencoder? */
  latent: boolean;
  /** Of the network's states. */
  channels: number;
  /** Pixels a latent, and latents that go together. */
  factor: number;
  patch: number;
  /** Latents that heights and widths are multiples of. */
  unit: number;
  /** Pixels of the pictures that the network was trained on. */
  size: Size;
  defaultSteps: number;
  defaultGuidance: number;
  /** How a guidance scale comes in: by two predictions, as an input of the network, or not at all. */
  guidance: 'pair' | 'input' | 'none';
  inpainting: boolean;
}

/** A picture to be made. */
export interface Picture {
  prompt: string;
  /** undefined: nobody gave one. */
  negative: string | undefined;
  seed: number;
  image?: Image;
  /** In place of an image. */
  latents?: Float32Array;
}

/** How the prompts come in. */
export interface Guidance {
  /** The scale in effect. */
  readonly scale: number;
  /** Of the two predictions that an evaluation makes; undefined where it makes one. */
  readonly pair: number | undefined;
  /** Is the one prediction that without the prompt? */
  readonly unconditional: boolean;
  /** How the two become one, and where, as far as the call says. */
  readonly how?: GuidanceHow;
}

/** All of a classifier-free guidance but its scale and rescaling. */
export type GuidanceHow = Omit<ClassifierFreeGuidance, 'type' | 'scale' | 'rescale'>;

/** A part of the steps. */
export interface Span {
  /** Does it start from pictures, or from latents? */
  readonly known: boolean;
  /** Below 1, or 1: the share of the steps that is made of a picture. */
  readonly strength: number;
  /** Shares of all of the sampling, where the run is a part of one that several pipelines make. */
  readonly start: number | undefined;
  readonly end: number | undefined;
}

/** A checked call. */
export interface Request {
  pictures: Picture[];
  guidance: Guidance;
  rescale: number;
  /** Are the two predictions of guidance two calls? */
  split: boolean;
  size: Size;
  steps: number;
  /** Which part of the steps is made. */
  span: Span;
  mask?: Mask;
  batchSize: number;
  scheduler?: SchedulerLike;
  /** undefined: nobody asked for one. */
  eta: number | undefined;
  choices: SolverChoices;
  table: 'auto' | 'none' | SolverTable;
  encoding: { overlong: 'refuse' | 'cut'; warn?: (message: string) => void };
  tiling: Tiling;
}

/**
 * More are a slip of the keyboard, which would end in hours of work or without memory. Of steps, the solver and our own
 * schedulers take fewer still (`stepCount`).
 */
const MOST_STEPS = 1e6;
const MOST_PIXELS = 2 ** 30;

/** Reads a call's options, and refuses what does not fit the network or each other. */
export function readRequest(options: GenerateOptions, limits: Limits): Request {
  checkKeys(options, generateKeys, 'an object with a prompt');
  checkListeners(options);
  const prompts = strings(options.prompt, 'prompt');
  const negatives = options.negativePrompt === undefined ? [] : strings(options.negativePrompt, 'negativePrompt');
  if (negatives.length > 1 && negatives.length !== prompts.length) {
    throw new RangeError(
      `Expected one negativePrompt or one for each of ${prompts.length} prompts but received ${negatives.length}`,
    );
  }
  const steps = wholeNumber(options.steps ?? limits.defaultSteps, 'steps', 1, MOST_STEPS);
  const count = wholeNumber(options.count ?? 1, 'count', 1);
  const images = options.image === undefined ? [] : readImages(options.image, prompts.length);
  const latents = options.latents === undefined ? undefined : readLatents(options, prompts.length, count, limits);
  const size = latents?.size ?? readSize(options, images, limits);
  const all = prompts.length * count;
  if (all * size.width * size.height > MOST_PIXELS) {
    throw new RangeError(
      `Expected at most ${MOST_PIXELS} pixels in all pictures of a call but received ${all} of ${size.width} x ${size.height}`,
    );
  }
  const seeds = readSeeds(options, all);
  const mask = options.mask === undefined ? undefined : readPictureMask(options.mask, images[0]);
  if (limits.inpainting && !mask) {
    throw new TypeError('Expected an image and a mask, as the model is an inpainting network, but received none');
  }
  const span = readSpan(options, images.length > 0, latents !== undefined);
  const { choices, scheduler } = readScheduler(options);
  if (scheduler && readHow(options, 1)) {
    throw new TypeError('Expected no kind of guidance with a scheduler object, which is given the guided prediction');
  }
  if (span.strength < 1 && choices.tStart !== undefined) {
    throw new TypeError('Expected either strength or tStart but received both');
  }
  if (mask && choices.method === 'adaptive') {
    throw new RangeError(
      "Expected a method other than 'adaptive' with mask, as its states are corrected at every step",
    );
  }
  const guidance = readGuidance(options, limits);
  if (scheduler && options.classifierScale !== undefined) {
    throw new TypeError('Expected no classifierScale with a scheduler object, which has no classifier guidance');
  }
  const pictures = seeds.map((seed, i) => {
    const p = Math.floor(i / count);
    const negative = negatives[negatives.length === 1 ? 0 : p];
    const image = images[images.length === 1 ? 0 : p];
    return { prompt: prompts[p], negative, seed, image, ...(latents ? { latents: latents.of(i) } : {}) };
  });
  warnOfGuidance(options, guidance, limits);
  const elements = (limits.channels * size.width * size.height) / limits.factor ** 2;
  const asked = wholeNumber(options.batchSize ?? picturesAtOnce(elements), 'batchSize', 1);
  return {
    pictures,
    guidance,
    rescale: readRescale(options.guidanceRescale),
    split: oneOf(options.splitGuidance ?? false, 'splitGuidance', [true, false]),
    size,
    steps,
    span,
    mask,
    // The adaptive method takes its step sizes from the worst picture of a batch.
    batchSize: choices.method === 'adaptive' ? 1 : asked,
    scheduler,
    eta: options.eta === undefined ? undefined : readShare(options.eta, 'eta'),
    choices,
    table: readTableOption(options, choices, scheduler, span, steps),
    encoding: readEncoding(options),
    tiling: readTiling(options.vaeTiling, limits),
  };
}

/** A checked edit. */
export interface EditRequest {
  image: Image;
  source: string;
  target: string;
  negative: string | undefined;
  steps: number;
  guidance: Guidance;
  rescale: number;
  split: boolean;
  strength: number;
  mask?: Mask;
  maskStrengths: readonly number[];
  maskSamples: number;
  maskThreshold: number;
  /** undefined: as wide as the latents say. */
  maskMargin: number | undefined;
  freshNoise: number;
  seed: number;
  size: Size;
  choices: SolverChoices;
  encoding: Request['encoding'];
  tiling: Tiling;
}

/** Reads an edit's options, as {@link readRequest} does a call's. */
export function readEditRequest(options: EditOptions, limits: Limits): EditRequest {
  checkKeys(options, editKeys, 'an object with an image, a source and a target');
  checkListeners(options);
  const prompt = (name: 'source' | 'target'): string => {
    if (typeof options[name] !== 'string') throw wrongType('a string', name, options[name]);
    return options[name];
  };
  const [source, target] = [prompt('source'), prompt('target')];
  if (source === target) throw new RangeError('Expected a target other than the source but received the same prompt');
  const { negativePrompt } = options;
  if (negativePrompt !== undefined && typeof negativePrompt !== 'string') {
    throw wrongType('a string', 'negativePrompt', negativePrompt);
  }
  if (options.image === undefined) throw wrongType('a picture', 'image', options.image);
  const [image] = readImages(options.image, 1);
  const size = readSize({}, [image], limits);
  if (limits.inpainting) throw new TypeError('Expected a network of the whole picture for edit, not an inpainting one');
  for (const name of ['method', 'tStart', 'tEnd', 'correctXt'] as const) {
    if (options[name] !== undefined) throw new TypeError(`Expected no ${name} for edit, which goes there and back`);
  }
  if (Array.isArray(options.skipType)) throw wrongType('the name of a grid', 'skipType', options.skipType);
  const levels = options.maskStrength ?? [0.4, 0.5, 0.6];
  const maskStrengths = (Array.isArray(levels) ? levels : [levels]).map((level) => readStrength(level, 'maskStrength'));
  if (maskStrengths.length === 0) throw new RangeError('Expected at least one number for maskStrength');
  const maskThreshold = finiteNumber(options.maskThreshold ?? 0.5, 'maskThreshold');
  if (!(maskThreshold > 0 && maskThreshold < 1))
    throw outOfRange('a number between 0 and 1', 'maskThreshold', maskThreshold);
  return {
    ...{ image, source, target, size, maskStrengths, maskThreshold },
    negative: negativePrompt,
    steps: wholeNumber(options.steps ?? limits.defaultSteps, 'steps', 1, MOST_STEPS),
    guidance: readGuidance(options, limits),
    rescale: readRescale(options.guidanceRescale),
    split: oneOf(options.splitGuidance ?? false, 'splitGuidance', [true, false]),
    strength: readStrength(options.strength ?? 1),
    freshNoise: readShare(options.freshNoise ?? 1, 'freshNoise'),
    mask: options.mask === undefined ? undefined : checkMask(options.mask, image),
    maskSamples: wholeNumber(options.maskSamples ?? 4, 'maskSamples', 1),
    maskMargin: options.maskMargin === undefined ? undefined : wholeNumber(options.maskMargin, 'maskMargin', 0),
    seed: wholeNumber(options.seed ?? 0, 'seed', Number.MIN_SAFE_INTEGER),
    choices: pickChoices(options),
    encoding: readEncoding(options),
    tiling: readTiling(options.vaeTiling, limits),
  };
}

/** Grids and kinds of steps, which a table has of its own. */
const IN_TABLES = [
  'order',
  'method',
  'skipType',
  'solverType',
  'tStart',
  'tEnd',
  'lowerOrderFinal',
  'denoiseToZero',
] as const;

/** Does a run go from noise to the end? */
export function isWhole({ known, start, end }: Span): boolean {
  return !known && start === undefined && end === undefined;
}

function readTableOption(
  { table = 'auto', steps: asked }: GenerateOptions,
  choices: SolverChoices,
  scheduler: SchedulerLike | undefined,
  span: Span,
  steps: number,
): Request['table'] {
  if (typeof table === 'string') return oneOf(table, 'table', ['auto', 'none'] as const);
  const read = readTable(table);
  const beside = IN_TABLES.find((name) => choices[name] !== undefined);
  if (beside !== undefined) throw new TypeError(`Expected no ${beside} beside table, which has its own times and rows`);
  if (scheduler) throw new TypeError('Expected either table or a scheduler object but received both');
  if (!isWhole(span)) {
    throw new TypeError(
      'Expected no table with image, latents, denoisingStart or denoisingEnd, as a table goes from noise to the end',
    );
  }
  const evaluations = evaluationsOf(read);
  if (asked !== undefined && steps !== evaluations) {
    throw outOfRange(`${evaluations}, as the table has it,`, 'steps', steps);
  }
  return read;
}

function readEncoding({ overlong, onWarning }: CommonOptions): Request['encoding'] {
  return { overlong: oneOf(overlong ?? 'refuse', 'overlong', ['refuse', 'cut']), warn: onWarning };
}

/** The guidance that a call asks for, or the network's own. */
export function readGuidance(options: CommonOptions & { classifierScale?: number }, limits: Limits): Guidance {
  if (options.classifierScale !== undefined) {
    finiteNumber(options.classifierScale, 'classifierScale');
    const guidance = options.guidance === null ? 1 : (options.guidance ?? 0);
    if (readHow(options, 1))
      throw new TypeError('Expected no kind of guidance beside classifierScale but received one');
    if (guidance === 0 || guidance === 1) return { scale: guidance, pair: undefined, unconditional: guidance === 0 };
    throw new RangeError(
      `Expected a guidance of 0 (unconditional) or 1 (conditional) beside classifierScale but received ${show(guidance)}`,
    );
  }
  const scale = options.guidance === null ? 1 : finiteNumber(options.guidance ?? limits.defaultGuidance, 'guidance');
  const { trueGuidance } = options;
  const pairs = limits.guidance === 'pair';
  if (trueGuidance !== undefined && pairs) {
    throw new TypeError('Expected guidance, and not trueGuidance, for a network that is guided by two predictions');
  }
  const pair = pairs ? scale : finiteNumber(trueGuidance ?? 1, 'trueGuidance');
  const how = readHow(options, pair);
  return {
    scale: limits.guidance === 'none' ? 1 : scale,
    pair: asksTwice(pair, how?.variant) ? pair : undefined,
    unconditional: false,
    ...(how ? { how } : {}),
  };
}

/** What a call says of guidance beside its scale. */
function readHow(options: CommonOptions, scale: number): GuidanceHow | undefined {
  const { guidanceInterval: interval, guidanceVariant: variant, guidanceEta: eta } = options;
  const { guidanceNorm: norm, guidanceMomentum: momentum } = options;
  const given = Object.fromEntries(
    Object.entries({ interval, variant, eta, norm, momentum }).filter(([, value]) => value !== undefined),
  ) as GuidanceHow;
  if (Object.keys(given).length === 0) return undefined;
  const named = (key: string) => `guidance${key[0].toUpperCase()}${key.slice(1)}`;
  const rescale = readRescale(options.guidanceRescale);
  const { scale: _, rescale: __, ...how } = readClassifierFree({ scale, ...given, rescale }, named);
  return how;
}

/** What was asked for and does nothing. */
function warnOfGuidance(options: GenerateOptions, { pair }: Guidance, limits: Limits): void {
  const { guidance, negativePrompt, onWarning } = options;
  if (limits.guidance === 'none' && typeof guidance === 'number' && guidance > 1) {
    onWarning?.('The guidance scale is not used: the network takes none, and trueGuidance guides by two predictions');
  }
  if (limits.guidance !== 'pair' && negativePrompt !== undefined && pair === undefined) {
    onWarning?.(
      'The negative prompt is not used: the guidance is distilled into the network, unless trueGuidance is given',
    );
  }
}

function readRescale(value: unknown): number {
  return readShare(value ?? 0, 'guidanceRescale');
}

function readShare(value: unknown, name: string): number {
  const share = finiteNumber(value, name);
  if (!(share >= 0 && share <= 1)) throw outOfRange('a number from 0 to 1', name, share);
  return share;
}

function readStrength(value: unknown, name = 'strength'): number {
  const strength = finiteNumber(value, name);
  if (!(strength > 0 && strength <= 1)) throw outOfRange('a number above 0 and up to 1', name, strength);
  return strength;
}

function readPictureMask(mask: Image, image: Image | undefined): Mask {
  if (!image) throw new TypeError('Expected an image with mask but received none');
  return checkMask(mask, image);
}

/** Which part of the steps is made. */
function readSpan(options: GenerateOptions, ofImage: boolean, ofLatents: boolean): Span {
  const { strength, denoisingStart, denoisingEnd } = options;
  const known = ofImage || ofLatents;
  if (!known && strength !== undefined) throw new TypeError('Expected an image with strength but received none');
  const end = denoisingEnd === undefined ? undefined : readStrength(denoisingEnd, 'denoisingEnd');
  if (denoisingStart !== undefined) {
    if (!ofLatents) throw new TypeError('Expected latents with denoisingStart but received none');
    if (strength !== undefined) throw new TypeError('Expected either strength or denoisingStart but received both');
    const start = finiteNumber(denoisingStart, 'denoisingStart');
    if (!(start >= 0 && start < (end ?? 1))) {
      throw outOfRange(`a number from 0 and below ${end ?? 1}`, 'denoisingStart', start);
    }
    return { known: true, strength: 1, start, end };
  }
  if (end !== undefined && end < 1 && options.mask !== undefined) {
    throw new TypeError('Expected no denoisingEnd below 1 with a mask, whose known part is put in place in the end');
  }
  return { known, strength: known ? readStrength(strength ?? (options.mask ? 1 : 0.8)) : 1, start: undefined, end };
}

/** Latents in place of images: for all pictures, for each prompt, or for each picture. */
function readLatents(
  options: GenerateOptions,
  prompts: number,
  count: number,
  limits: Limits,
): { size: Size; of(picture: number): Float32Array } {
  if (options.image !== undefined) throw new TypeError('Expected either image or latents but received both');
  const { data, dims, batch, length } = readTensor(options.latents, 'latents');
  const [, channels, height, width] = dims;
  if (dims.length !== 4 || channels !== limits.channels) {
    throw outOfRange(`dims [n, ${limits.channels}, height, width]`, 'latents', `[${dims.join(', ')}]`);
  }
  if (![1, prompts, prompts * count].includes(batch)) {
    const expected = [...new Set([1, prompts, prompts * count])].join(' or ');
    throw outOfRange(`${expected} latents`, 'latents', batch);
  }
  const size = readSize(options, [{ width: width * limits.factor, height: height * limits.factor }], limits);
  const all = new Float32Array(length);
  convert(data, all);
  if (!all.every(Number.isFinite))
    throw new RangeError('Expected finite numbers for latents but received NaN or Infinity');
  const n = length / batch;
  const at = (picture: number) => (batch === 1 ? 0 : batch === prompts ? Math.floor(picture / count) : picture);
  return { size, of: (picture) => all.subarray(at(picture) * n, (at(picture) + 1) * n) };
}

function readImages(value: Image | readonly Image[], prompts: number): readonly Image[] {
  const images = Array.isArray(value) ? (value as readonly Image[]) : [value as Image];
  if (images.length !== 1 && images.length !== prompts) {
    throw new RangeError(`Expected one image or one for each of ${prompts} prompts but received ${images.length}`);
  }
  for (const image of images) checkImage(image, 'image', [3]);
  return images;
}

function checkMask(mask: Image, image: Image): Mask {
  checkImage(mask, 'mask', [1, 3]);
  if (mask.width !== image.width || mask.height !== image.height) {
    throw new RangeError(
      `Expected a mask of the image's size, ${image.width} x ${image.height}, but received one of ${mask.width} x ${mask.height}`,
    );
  }
  return readMask(mask);
}

function readSize(options: Partial<Size>, images: readonly Size[], limits: Limits): Size {
  const unit = limits.factor * limits.unit;
  const [first] = images;
  const read = (name: 'width' | 'height'): number => {
    for (const image of images) {
      const asked = options[name] ?? first[name];
      if (image[name] !== asked) {
        throw new RangeError(`Expected images with a ${name} of ${asked} pixels but received one of ${image[name]}`);
      }
    }
    const value = wholeNumber(options[name] ?? first?.[name] ?? limits.size[name], name, 1);
    if (value % unit !== 0) throw outOfRange(`a multiple of ${unit}, as the model's latents have it,`, name, value);
    return value;
  };
  return { width: read('width'), height: read('height') };
}

/** What makes a scheduler of a class, of its name, or of another code's name for a solver. */
function schedulerOf(value: unknown): string {
  const name = typeof value === 'function' ? value.name : String(value);
  if (/^\w+Scheduler$/.test(name)) return `${name}.fromConfig(pipe.schedulerConfig) of dpm-solver/schedulers makes one`;
  const solver = typeof value === 'string' ? meantValue('algorithmType', value, ALGORITHMS) : undefined;
  return solver ? `{ algorithmType: '${solver}' }` : '';
}

function readScheduler(options: GenerateOptions): { choices: SolverChoices; scheduler?: SchedulerLike } {
  const own = pickChoices(options);
  const { scheduler } = options;
  if (scheduler === undefined) return { choices: own };
  if (typeof scheduler !== 'object' || scheduler === null) {
    throw wrongType('an object of solver options or a scheduler', 'scheduler', scheduler, schedulerOf(scheduler));
  }
  if (isScheduler(scheduler)) {
    const beside = Object.keys(own)[0];
    if (beside !== undefined) {
      throw new TypeError(`Expected no option ${beside} beside a scheduler object, which has its own steps`);
    }
    return { choices: {}, scheduler };
  }
  checkKeys(scheduler, solverKeys, 'an object of solver options', 'The scheduler option');
  return { choices: { ...pickChoices(scheduler), ...own } };
}

function isScheduler(value: object): value is SchedulerLike {
  return (
    typeof (value as SchedulerLike).step === 'function' && typeof (value as SchedulerLike).setTimesteps === 'function'
  );
}

function pickChoices(options: SolverChoices): SolverChoices {
  return Object.fromEntries(
    Object.entries(options).filter(([key, value]) => solverKeys.includes(key) && value !== undefined),
  );
}

/** What is called in the middle of a run must be known to be callable before. */
function checkListeners({ onStep, onProgress, onWarning, signal }: CommonOptions): void {
  optionalFunction(onProgress, 'onProgress');
  optionalFunction(onStep, 'onStep');
  optionalFunction(onWarning, 'onWarning');
  optionalSignal(signal);
}

function checkKeys(options: unknown, known: readonly string[], what: string, subject = 'The pipeline'): void {
  if (typeof options !== 'object' || options === null) {
    throw wrongType(what, 'the call', options, typeof options === 'string' ? 'pass { prompt }' : '');
  }
  for (const key of Object.keys(options)) {
    if (known.includes(key)) continue;
    const meant = meantOption(key, known);
    throw new TypeError(`${subject} has no option ${show(key)}${meant ? `; did you mean '${meant}'?` : ''}`);
  }
}

function strings(value: unknown, name: string): readonly string[] {
  const all = Array.isArray(value) ? value : [value];
  if (all.length === 0) throw new RangeError(`Expected at least one string for ${name} but received none`);
  for (const one of all) if (typeof one !== 'string') throw wrongType('a string or strings', name, one);
  return all;
}

function readSeeds({ seed, seeds }: GenerateOptions, n: number): number[] {
  if (seeds !== undefined) {
    if (seed !== undefined) throw new TypeError('Expected either seed or seeds but received both');
    if (!Array.isArray(seeds)) throw wrongType('an array of numbers', 'seeds', seeds);
    if (seeds.length !== n) throw new RangeError(`Expected ${n} seeds, one a picture, but received ${seeds.length}`);
    return seeds.map((one, i) => safeInteger(one, `seeds[${i}]`));
  }
  // Torch's generator on the CPU looks at 32 bits.
  if (Array.isArray(seed)) throw wrongType('a number', 'seed', seed, 'seeds takes one for each picture');
  const first = safeInteger(seed ?? Math.floor(Math.random() * 2 ** 32), 'seed');
  wholeNumber(first + n - 1, 'seed + pictures - 1', Number.MIN_SAFE_INTEGER);
  return Array.from({ length: n }, (_, i) => first + i);
}
