// From prompts to pictures: one class for the directories that exported diffusion pipelines come in.
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { finiteNumber, knownOptions, oneOf, show, wholeNumber, wrongType } from '../check.js';
import { type Image, toImages } from '../image/image.js';
import { generator } from '../noise.js';
import { readJson } from '../onnx/files.js';
import type { SessionOptions } from '../onnx/graph.js';
import { DPMSolver } from '../solver/dpm-solver.js';
import type { SampleOptions, SolverOptions } from '../solver/options.js';
import type { Run } from '../solver/run.js';
import type { Tensor } from '../tensor.js';
import { nearest } from '../text.js';
import { Classifier } from './classifier.js';
import { type Conditioning, Denoiser, type Evaluate } from './denoiser.js';
import { readTraining, type Training } from './scheduler-config.js';
import { TextEncoder } from './text-encoder.js';

export interface PipelineOptions {
  /** onnxruntime's execution providers in order of preference; what `device` says where absent. */
  executionProviders?: SessionOptions['executionProviders'];
  /** Which graphs are taken where a directory has both: model_fp16.onnx comes before model.onnx for `'float16'`. */
  dtype?: 'float32' | 'float16';
  /**
   * Where the networks run: `'auto'` and `'cpu'` (the default) on the CPU, `'cuda'` on an NVIDIA card. The solver's step
   * runs on the CPU: onnxruntime hands outputs over in host memory.
   */
  device?: 'auto' | 'cpu' | 'cuda';
  /** Threads of one network operator; onnxruntime's choice where absent. */
  networkThreads?: number;
}

/** How a solver step is made, as the solver library has it. What is absent comes from the model's scheduler_config.json. */
export type SolverChoices = Pick<
  SolverOptions,
  'algorithmType' | 'thresholding' | 'thirdOrder' | 'correctX0' | 'correctXt' | 'checkFinite' | 'threads'
> &
  Pick<
    SampleOptions,
    | 'order'
    | 'method'
    | 'skipType'
    | 'solverType'
    | 'tStart'
    | 'tEnd'
    | 'lowerOrderFinal'
    | 'denoiseToZero'
    | 'atol'
    | 'rtol'
    | 'controller'
    | 'maxNfe'
    | 'noise'
  >;

export interface GenerateOptions extends SolverChoices {
  prompt: string | readonly string[];
  /** What the guidance leads away from; one for all prompts, or one each. The empty prompt. */
  negativePrompt?: string | readonly string[];
  /** Evaluations for a picture; 20. */
  steps?: number;
  /**
   * The classifier-free guidance scale w: unconditional + w (conditional - unconditional), two samples an evaluation.
   * 1 or null is the conditional network alone, 0 the unconditional one. 3 for networks in pixels, 7.5 otherwise; 0 with
   * `classifierScale`, which goes with 0 and 1 only.
   */
  guidance?: number | null;
  /** Classifier guidance with this scale, for directories with a classifier. */
  classifierScale?: number;
  /** Picture i is drawn from the seed `seed + i`; chosen at random where absent. */
  seed?: number;
  /** One seed a picture, instead of `seed`. */
  seeds?: readonly number[];
  /** Pictures of every prompt; 1. All pictures of the first prompt come first. */
  count?: number;
  /** Pictures made at once, at most; as many as make 65,536 numbers, up to 8. A picture does not depend on it. */
  batchSize?: number;
  /** What becomes of a prompt that is too long; `'refuse'`. */
  overlong?: 'refuse' | 'cut';
  /** Told about what went on differently than asked for (a prompt that was cut). */
  onWarning?: (message: string) => void;
  onStep?: (progress: Progress) => void;
  /** Looked at before every network call: the promise then rejects with its reason. */
  signal?: AbortSignal;
}

export interface Progress {
  /** Completed steps of this batch, and how many there will be (0 with the adaptive method, where nobody knows). */
  step: number;
  steps: number;
  /** Evaluations of this batch. */
  nfe: number;
  /** The schedule's time that the state has reached. */
  t: number;
  /** Which batch, from 0, of how many. */
  batch: number;
  batches: number;
  /** The state; overwritten by the next step. */
  x: Tensor;
}

export interface Generation {
  /** In the order of prompts, each one's pictures together. */
  images: Image[];
  /** What the pictures were made of: `[pictures, channels, height, width]`, float32. */
  sample: { type: 'float32'; data: Float32Array; dims: number[] };
  /** Network evaluations for a picture; the most, where the adaptive method took more for some than for others. */
  nfe: number;
  seeds: number[];
  /** The classifier-free guidance scale in effect. */
  guidance: number;
  timings: Timings;
}

/** Milliseconds. */
export interface Timings {
  /** The median network call; under classifier-free guidance it evaluates two samples a picture. */
  networkMs: number;
  networkTotalMs: number;
  networkCalls: number;
  /** The median solver step: guidance, update and checks of the whole batch, without the network. */
  stepMs: number;
  stepTotalMs: number;
  /** The median call of the classifier; absent without one. */
  classifierMs?: number;
  /** Tokenizing and encoding all prompts. */
  encodeMs: number;
  totalMs: number;
}

const generateOptions = [
  ...['prompt', 'negativePrompt', 'steps', 'guidance', 'classifierScale', 'seed', 'seeds', 'count', 'batchSize'],
  ...['overlong', 'onWarning', 'onStep', 'signal', 'algorithmType', 'thresholding', 'thirdOrder', 'correctX0'],
  ...['correctXt', 'checkFinite', 'threads', 'order', 'method', 'skipType', 'solverType', 'tStart', 'tEnd'],
  ...['lowerOrderFinal', 'denoiseToZero', 'atol', 'rtol', 'controller', 'maxNfe', 'noise'],
];

/** A base class whose instances are functions, so that a pipeline can be called. */
const Callable = class {
  constructor() {
    const call = (options: GenerateOptions): Promise<Generation> =>
      (call as unknown as DiffusionPipeline).generate(options);
    // biome-ignore lint/correctness/noConstructorReturn: what a constructor returns is what the subclass builds on
    return Object.setPrototypeOf(call, new.target.prototype);
  }
} as unknown as new () => (options: GenerateOptions) => Promise<Generation>;

interface Parts {
  denoiser: Denoiser;
  textEncoder: TextEncoder;
  training: Training;
  folder: string;
  classifierFolder: string | undefined;
  defaultGuidance: number;
  session: SessionOptions;
}

/**
 * A text-to-image pipeline: `const pipe = await DiffusionPipeline.fromPretrained(dir); await pipe({ prompt })`.
 */
export class DiffusionPipeline extends Callable {
  readonly #parts: Parts;
  #classifier: Promise<Classifier> | undefined;
  #disposed = false;

  private constructor(parts: Parts) {
    super();
    this.#parts = parts;
  }

  /**
   * Loads the pipeline in a directory with `model_index.json`, `unet/`, `text_encoder/`, `tokenizer/` and `scheduler/`.
   *
   * @throws Error in one sentence that names the file when one is missing, misnamed or corrupt; TypeError for options
   */
  static async fromPretrained(folder: string, options: PipelineOptions = {}): Promise<DiffusionPipeline> {
    if (typeof folder !== 'string') throw wrongType('the path of a folder', 'the model', folder);
    knownOptions(options, ['executionProviders', 'dtype', 'device', 'networkThreads'], 'fromPretrained');
    const dtype = oneOf(options.dtype ?? 'float32', 'dtype', ['float32', 'float16']);
    const device = oneOf(options.device ?? 'auto', 'device', ['auto', 'cpu', 'cuda']);
    const index = readJson(folder, ['model_index.json']).json;
    for (const part of ['vae_decoder', 'vae', 'text_encoder_2', 'transformer']) {
      if (Object.hasOwn(index, part) || existsSync(join(folder, part))) {
        throw new Error(`${folder} has a ${part}: only pipelines of one U-Net that works in pixels can be run so far`);
      }
    }
    const own = (index._dpm_solver ?? {}) as { space?: string; classifier?: string };
    const classifierFolder = own.classifier ?? (existsSync(join(folder, 'classifier')) ? 'classifier' : undefined);
    const scheduler = readJson(folder, ['scheduler/scheduler_config.json']);
    const training = readTraining(scheduler.json, scheduler.path);
    const graphs = dtype === 'float16' ? ['model_fp16.onnx', 'model.onnx'] : ['model.onnx'];
    const session: SessionOptions = {
      executionProviders: options.executionProviders ?? (device === 'cuda' ? ['cuda', 'cpu'] : ['cpu']),
      threads: options.networkThreads,
    };
    const textEncoder = await TextEncoder.open(folder, graphs, session);
    try {
      const denoiser = await Denoiser.open(folder, graphs, session);
      const defaultGuidance = own.space === 'pixel' ? 3 : 7.5;
      return new DiffusionPipeline({
        denoiser,
        textEncoder,
        training,
        folder,
        classifierFolder,
        defaultGuidance,
        session,
      });
    } catch (error) {
      await textEncoder.release();
      throw error;
    }
  }

  /**
   * What calling the pipeline does: makes `count` pictures of every prompt. A picture depends on its prompt, its seed
   * and the options, not on its place in a batch (within onnxruntime's rounding).
   *
   * @throws TypeError, RangeError before anything is run, when an option is not what it should be, options do not go
   *   together, or a prompt has unknown words or too many tokens; the signal's reason; Error for what onnxruntime
   *   reports or an output that is not finite
   */
  async generate(options: GenerateOptions): Promise<Generation> {
    const started = performance.now();
    const { denoiser, textEncoder, training } = this.#parts;
    if (this.#disposed) throw new Error('The pipeline has been disposed of');
    const request = readRequest(options, this.#parts);
    const { pictures, guidance, batchSize, encoding, signal } = request;
    signal?.throwIfAborted();
    for (const { prompt, negative } of pictures) {
      textEncoder.check(prompt, encoding);
      textEncoder.check(negative, encoding);
    }

    const classifier = options.classifierScale === undefined ? undefined : await this.#openClassifier();
    const labels = pictures.map(({ prompt }) => classifier?.labels(prompt) ?? []);
    const solver = new DPMSolver(null, training.schedule, solverOptions(options, request, this.#parts));
    const steps = options.steps ?? 20;
    // An order that nobody asked for gives way to few steps.
    const order = Math.min(training.defaults.order ?? 2, steps) as 1 | 2 | 3;
    const run: SampleOptions = { ...pick(training.defaults), order, ...pick(options), steps };
    // Refuses what does not go together before the networks are troubled.
    solver.start(this.#noise(pictures.slice(0, 1)), { ...run, seed: pictures.slice(0, 1).map(({ seed }) => seed) });

    const encodeStarted = performance.now();
    const encoded = await textEncoder.encode(
      pictures.flatMap(({ prompt, negative }) => [
        ...(guidance === 0 ? [] : [prompt]),
        ...(guidance === 1 ? [] : [negative]),
      ]),
      denoiser.conditioningType ?? 'float32',
      encoding,
    );
    const encodeMs = performance.now() - encodeStarted;

    const clock = new Clock();
    const [channels, height, width] = denoiser.shape;
    const sample = new Float32Array(pictures.length * channels * height * width);
    const batches = Math.ceil(pictures.length / batchSize);
    let nfe = 0;
    for (let batch = 0; batch < batches; batch++) {
      const begin = batch * batchSize;
      const part = pictures.slice(begin, begin + batchSize);
      const conditional = part.map(({ prompt }) => encoded.get(prompt) as Conditioning);
      const unconditional = part.map(({ negative }) => encoded.get(negative) as Conditioning);
      const network = denoiser.prepare(
        guidance === 1 ? conditional : guidance === 0 ? unconditional : [...unconditional, ...conditional],
      );
      const gradient = classifier?.prepare(labels.slice(begin, begin + batchSize), denoiser.shape);
      const sampling = solver.start(this.#noise(part), {
        ...run,
        seed: part.map(({ seed }) => seed),
        signal,
        onStep: options.onStep && ((progress) => options.onStep?.({ ...progress, batch, batches })),
      });
      await drive(sampling, network, gradient, clock, signal);
      nfe = Math.max(nfe, sampling.nfe);
      sample.set(sampling.result.data as Float32Array, begin * channels * height * width);
    }

    const dims = [pictures.length, channels, height, width];
    const images = toImages(sample, dims);
    return {
      images,
      sample: { type: 'float32', data: sample, dims },
      nfe,
      seeds: pictures.map(({ seed }) => seed),
      guidance,
      timings: { ...clock.timings(), encodeMs, totalMs: performance.now() - started },
    };
  }

  /** Frees the networks, after the runs that are under way. The pipeline cannot be used any more. */
  async dispose(): Promise<void> {
    this.#disposed = true;
    const classifier = await this.#classifier?.catch(() => undefined);
    await Promise.all([this.#parts.denoiser.release(), this.#parts.textEncoder.release(), classifier?.release()]);
  }

  /** Start states: every picture's own draw from its seed, as `torch.Generator().manual_seed(seed)` gives it. */
  #noise(pictures: readonly Picture[]): Tensor {
    const { shape } = this.#parts.denoiser;
    const n = shape.reduce((a, b) => a * b, 1);
    const data = new Float32Array(pictures.length * n);
    pictures.forEach(({ seed }, i) => {
      data.set(generator(seed).randn([1, ...shape]).data, i * n);
    });
    return { type: 'float32', data, dims: [pictures.length, ...shape] } as Tensor;
  }

  #openClassifier(): Promise<Classifier> {
    const { folder, classifierFolder, session } = this.#parts;
    if (classifierFolder === undefined) {
      throw new RangeError(`Expected no classifierScale for ${folder}, which has no classifier`);
    }
    // Loaded on first use, and again after a failure.
    this.#classifier ??= Classifier.open(folder, classifierFolder, session).catch((error) => {
      this.#classifier = undefined;
      throw error;
    });
    return this.#classifier;
  }
}

/** A picture to be made. */
interface Picture {
  prompt: string;
  negative: string;
  seed: number;
}

interface Request {
  pictures: Picture[];
  guidance: number;
  batchSize: number;
  encoding: { overlong: 'refuse' | 'cut'; warn?: (message: string) => void };
  signal?: AbortSignal;
}

/** The checked options of a call. */
function readRequest(options: GenerateOptions, { denoiser, defaultGuidance }: Parts): Request {
  checkKeys(options);
  const prompts = strings(options.prompt, 'prompt');
  const negatives = strings(options.negativePrompt ?? '', 'negativePrompt');
  if (negatives.length !== 1 && negatives.length !== prompts.length) {
    throw new RangeError(
      `Expected one negativePrompt or one for each of ${prompts.length} prompts but received ${negatives.length}`,
    );
  }
  if (options.steps !== undefined) wholeNumber(options.steps, 'steps', 1);
  const count = wholeNumber(options.count ?? 1, 'count', 1);
  const seeds = readSeeds(options, prompts.length * count);
  const pictures = seeds.map((seed, i) => {
    const p = Math.floor(i / count);
    return { prompt: prompts[p], negative: negatives[negatives.length === 1 ? 0 : p], seed };
  });
  let guidance: number;
  if (options.classifierScale !== undefined) {
    finiteNumber(options.classifierScale, 'classifierScale');
    guidance = options.guidance === null ? 1 : (options.guidance ?? 0);
    if (guidance !== 0 && guidance !== 1) {
      throw new RangeError(
        `Expected a guidance of 0 (unconditional) or 1 (conditional) beside classifierScale but received ${show(guidance)}`,
      );
    }
  } else {
    guidance = options.guidance === null ? 1 : finiteNumber(options.guidance ?? defaultGuidance, 'guidance');
  }
  const elements = denoiser.shape.reduce((a, b) => a * b, 1);
  const fitting = Math.max(1, Math.min(8, Math.floor(65536 / elements)));
  // The adaptive method takes its step sizes from the worst picture of a batch.
  const batchSize = options.method === 'adaptive' ? 1 : wholeNumber(options.batchSize ?? fitting, 'batchSize', 1);
  const overlong = oneOf(options.overlong ?? 'refuse', 'overlong', ['refuse', 'cut']);
  return { pictures, guidance, batchSize, encoding: { overlong, warn: options.onWarning }, signal: options.signal };
}

function checkKeys(options: unknown): void {
  if (typeof options !== 'object' || options === null) throw wrongType('an object with a prompt', 'the call', options);
  for (const key of Object.keys(options)) {
    if (generateOptions.includes(key)) continue;
    const meant = nearest(key, generateOptions);
    throw new TypeError(`The pipeline has no option ${show(key)}${meant ? `; did you mean '${meant}'?` : ''}`);
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
    return seeds.map((one, i) => wholeNumber(one, `seeds[${i}]`, Number.MIN_SAFE_INTEGER));
  }
  // Torch's generator on the CPU looks at 32 bits.
  const first = wholeNumber(seed ?? Math.floor(Math.random() * 2 ** 32), 'seed', Number.MIN_SAFE_INTEGER);
  wholeNumber(first + n - 1, 'seed + pictures - 1', Number.MIN_SAFE_INTEGER);
  return Array.from({ length: n }, (_, i) => first + i);
}

function solverOptions(options: GenerateOptions, { guidance }: Request, { training, denoiser }: Parts): SolverOptions {
  const { thirdOrder, correctX0, correctXt, checkFinite, threads, classifierScale } = options;
  const algorithmType = options.algorithmType ?? training.defaults.algorithmType;
  let { thresholding } = options;
  // A configuration's thresholding is meant for its own algorithm; noise forms have none.
  thresholding ??= algorithmType?.endsWith('++') === false ? undefined : training.defaults.thresholding;
  return {
    modelType: training.modelType,
    modelDtype: denoiser.type,
    device: 'cpu',
    guidance:
      classifierScale !== undefined
        ? { type: 'classifier', scale: classifierScale }
        : guidance === 0 || guidance === 1
          ? { type: 'uncond' }
          : { type: 'classifier-free', scale: guidance },
    ...defined({ algorithmType, thresholding, thirdOrder, correctX0, correctXt, checkFinite, threads }),
  };
}

/** The options of a run that have been set. */
function pick(options: SolverChoices): SampleOptions {
  const { order, method, skipType, solverType, tStart, tEnd, lowerOrderFinal, denoiseToZero } = options;
  const { atol, rtol, controller, maxNfe, noise } = options;
  const grid = { order, method, skipType, solverType, tStart, tEnd, lowerOrderFinal, denoiseToZero };
  return defined({ ...grid, atol, rtol, controller, maxNfe, noise });
}

function defined<T extends object>(options: T): T {
  return Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined)) as T;
}

/** The loop around a run, with the network's and the solver's time taken apart. */
async function drive(
  run: Run,
  network: Evaluate,
  gradient: Evaluate | undefined,
  clock: Clock,
  signal?: AbortSignal,
): Promise<void> {
  while (!run.done) {
    signal?.throwIfAborted();
    const { x, t } = run;
    const start = performance.now();
    const output = await network(x, t);
    const evaluated = performance.now();
    clock.network.push(evaluated - start);
    let g: Tensor | undefined;
    let ready = evaluated;
    if (gradient) {
      g = await gradient(x, t);
      ready = performance.now();
      clock.classifier.push(ready - evaluated);
    }
    run.advance(output, g);
    clock.step.push(performance.now() - ready);
  }
}

class Clock {
  readonly network: number[] = [];
  readonly step: number[] = [];
  readonly classifier: number[] = [];

  timings(): Omit<Timings, 'encodeMs' | 'totalMs'> {
    return {
      networkMs: median(this.network),
      networkTotalMs: sum(this.network),
      networkCalls: this.network.length,
      stepMs: median(this.step),
      stepTotalMs: sum(this.step),
      ...(this.classifier.length > 0 ? { classifierMs: median(this.classifier) } : {}),
    };
  }
}

function sum(values: readonly number[]): number {
  return values.reduce((a, b) => a + b, 0);
}

function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}
