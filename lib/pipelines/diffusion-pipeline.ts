// From prompts to pictures: one class for the directories that exported diffusion pipelines come in.
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { convert, type NetworkArray } from '../addon/native.js';
import { type Generator, generator } from '../addon/noise.js';
import { knownOptions, oneOf, wholeNumber, wrongType } from '../base/check.js';
import { allocate, type Tensor } from '../base/tensor.js';
import { DPMSolver, type SampleOptions, type SolverOptions } from '../dpm-solver.js';
import { readJson } from '../folder/files.js';
import { readTraining, type Training } from '../folder/training.js';
import { type Image, toImages, toPixels } from '../image/image.js';
import type { SessionOptions } from '../onnx/graph.js';
import type { NoiseSchedule } from '../schedule/noise-schedule.js';
import { Scheduler } from '../schedulers/scheduler.js';
import type { Run } from '../solver/run.js';
import { Classifier } from './classifier.js';
import { Conditioner, type Size } from './conditioner.js';
import { type Conditioning, Denoiser, type Evaluate, type Shape } from './denoiser.js';
import { guided, predictX0 } from './guidance.js';
import { dilate, grow, keep, keepNoisy, type Mask, maskImage, pasteBack, renoise, shrink } from './mask.js';
import {
  type CommonOptions,
  type Edit,
  type EditOptions,
  type EditRequest,
  type GenerateOptions,
  type Generation,
  type Limits,
  type Picture,
  type Progress,
  type Request,
  readEditRequest,
  readRequest,
  type SchedulerLike,
  type SolverChoices,
  type Timings,
} from './options.js';
import { Vae } from './vae.js';

/** How {@link DiffusionPipeline.fromPretrained} loads a folder. */
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
  /** Threads of one network operator; onnxruntime's choice where absent or 0. */
  networkThreads?: number;
}

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
  conditioner: Conditioner;
  /** null: the network works in pixels. */
  vae: Vae | null;
  training: Training;
  schedulerConfig: Readonly<Record<string, unknown>>;
  folder: string;
  classifierFolder: string | undefined;
  limits: Limits;
  session: SessionOptions;
}

/** Guidance scales that the kinds of networks are used with. */
const defaultScales: Record<Denoiser['kind'], number> = { plain: 7.5, xl: 5, sd3: 7, flux: 1 };

/**
 * A text-to-image pipeline: `const pipe = await DiffusionPipeline.fromPretrained(dir); await pipe({ prompt })`. With
 * `image` it starts from a picture, with `mask` it fills in, and {@link edit} changes what a picture shows.
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
   * Loads the pipeline in a directory with `model_index.json`, `unet/` or `transformer/`, one to three `text_encoder/`
   * and `tokenizer/`, `vae_decoder/` and `vae_encoder/` (unless it works in pixels) and `scheduler/`, as Optimum and
   * diffusers.js have them.
   *
   * @throws Error in one sentence that names the file when one is missing, misnamed or corrupt, or the input when a graph
   *   wants what nothing is known about; TypeError for options
   */
  static async fromPretrained(folder: string, options: PipelineOptions = {}): Promise<DiffusionPipeline> {
    if (typeof folder !== 'string') throw wrongType('the path of a folder', 'the model', folder);
    knownOptions(options, ['executionProviders', 'dtype', 'device', 'networkThreads'], 'fromPretrained');
    const dtype = oneOf(options.dtype ?? 'float32', 'dtype', ['float32', 'float16']);
    const { executionProviders, networkThreads } = options;
    if (executionProviders !== undefined && !Array.isArray(executionProviders)) {
      throw wrongType('an array of names or objects', 'executionProviders', executionProviders);
    }
    if (networkThreads !== undefined) wholeNumber(networkThreads, 'networkThreads', 0);
    const device = oneOf(options.device ?? 'auto', 'device', ['auto', 'cpu', 'cuda']);
    const index = readJson(folder, ['model_index.json']).json;
    const has = (part: string) => Object.hasOwn(index, part) || existsSync(join(folder, part));
    const own = (index._dpm_solver ?? {}) as { space?: string; classifier?: string };
    const classifierFolder = own.classifier ?? (existsSync(join(folder, 'classifier')) ? 'classifier' : undefined);
    const scheduler = readJson(folder, ['scheduler/scheduler_config.json']);
    const training = readTraining(scheduler.json, scheduler.path);
    const graphs = dtype === 'float16' ? ['model_fp16.onnx', 'model.onnx'] : ['model.onnx'];
    const session: SessionOptions = {
      executionProviders: executionProviders ?? (device === 'cuda' ? ['cuda', 'cpu'] : ['cpu']),
      threads: networkThreads,
    };
    // Every file is looked for before gigabytes are loaded.
    const network = has('transformer') ? 'transformer' : 'unet';
    const latent = own.space !== 'pixel' && ['vae_decoder', 'vae_encoder', 'vae'].some(has);
    const encoders = Conditioner.find(folder, index, graphs);
    Denoiser.find(folder, network, graphs);
    if (latent) Vae.find(folder, graphs);

    const opened: { release(): Promise<void> }[] = [];
    try {
      const denoiser = await Denoiser.open(folder, network, graphs, session);
      opened.push(denoiser);
      // Pixels have one or three channels.
      if (!latent && ![1, 3].includes(denoiser.channels)) Vae.find(folder, graphs);
      const conditioner = await Conditioner.open(folder, index, encoders, denoiser, graphs, session);
      opened.push(conditioner);
      const vae = latent ? await Vae.open(folder, graphs, session, denoiser.kind === 'plain') : null;
      const factor = vae?.factor ?? 1;
      const [height, width] = denoiser.size;
      const { channels, patch, distilled } = denoiser;
      const scale = distilled ? 3.5 : own.space === 'pixel' ? 3 : defaultScales[denoiser.kind];
      const size = { width: width * factor, height: height * factor };
      const inpainting = denoiser.extraChannels > 0;
      const limits = { channels, factor, patch, size, defaultGuidance: scale, distilled, inpainting };
      return new DiffusionPipeline({
        ...{ denoiser, conditioner, vae, training, folder, classifierFolder, limits, session },
        schedulerConfig: scheduler.json,
      });
    } catch (error) {
      await Promise.all(opened.map((part) => part.release()));
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
    const { denoiser, conditioner, training, limits } = this.#parts;
    const plan = await this.#plan(options);
    const { signal } = options;
    const { request, shape, schedule, run, scale, solverOptions, classifier, labels } = plan;
    const { pictures, guidance, rescale, batchSize, encoding, size, mask, scheduler } = request;

    const clock = new Clock();
    const encodeStarted = performance.now();
    const encoded = await conditioner.encode(
      pictures.flatMap(({ prompt, negative }) => [
        ...(guidance === 0 && !limits.distilled ? [] : [prompt]),
        ...(scale === undefined && (guidance !== 0 || limits.distilled) ? [] : [negative]),
      ]),
      size,
      encoding,
    );
    const encodeMs = performance.now() - encodeStarted;
    const latents = await this.#encodeImages(pictures, clock);
    const small = mask && shrink(mask, limits.factor);
    const extras = await this.#inpaintingInputs(pictures, mask, small, clock);

    const n = elements(shape);
    const sample = new Float32Array(pictures.length * n);
    const batches = Math.ceil(pictures.length / batchSize);
    let nfe = 0;
    for (let batch = 0; batch < batches; batch++) {
      const begin = batch * batchSize;
      const part = pictures.slice(begin, begin + batchSize);
      const network = this.#network(
        part.map(({ prompt }) => encoded.get(prompt) as Conditioning),
        part.map(({ negative }) => encoded.get(negative) as Conditioning),
        {
          guidance,
          rescale,
          shape,
          fold: !scheduler,
          extra: extras && part.map((one) => extras.get(one.image as Image)!),
        },
      );
      const noise = this.#noise(part, shape);
      const known = request.fromImage ? joined(part.map(({ image }) => latents.get(image as Image)!)) : undefined;
      const watch =
        options.onStep && new Watch(this, options.onStep, { batch, batches }, schedule, training, network.scale);
      const work = { network: network.evaluate, clock, signal, watch };
      let result: Float32Array;
      if (scheduler) {
        const job = { scheduler, steps: request.steps, strength: request.strength, type: denoiser.type };
        const made = await driveScheduler({ ...job, noise, known, mask: small, dims: [part.length, ...shape] }, work);
        result = made.sample;
        nfe = Math.max(nfe, made.nfe);
      } else {
        const gradient = classifier?.prepare(labels.slice(begin, begin + batchSize), shape);
        const blend = small && known && blending(schedule, known, noise, small, solverOptions.correctXt);
        const solver = new DPMSolver(null, schedule, { ...solverOptions, ...(blend ? { correctXt: blend } : {}) });
        let xT = { type: 'float32', data: noise, dims: [part.length, ...shape] } as Tensor;
        // All that a mask covers is made anew at full strength, so nothing of it is in the start state.
        if (known && !(small && request.strength === 1)) {
          xT = solver.addNoise({ ...xT, data: known }, run.tStart ?? schedule.T, xT);
        }
        const sampling = solver.start(xT, {
          ...run,
          seed: part.map(({ seed }) => seed),
          signal,
          ...(watch ? { onStep: (progress) => watch.tell(progress) } : {}),
        });
        await drive(sampling, { ...work, gradient });
        nfe = Math.max(nfe, sampling.nfe);
        result = sampling.result.data as Float32Array;
      }
      if (small && known) keep(result, known, small);
      sample.set(result, begin * n);
    }

    const dims = [pictures.length, ...shape];
    const images = await this.decode({ data: sample, dims }, clock);
    if (mask) for (const [i, image] of images.entries()) pasteBack(image, pictures[i].image as Image, mask);
    return {
      images,
      sample: { type: 'float32', data: sample, dims },
      nfe,
      seeds: pictures.map(({ seed }) => seed),
      guidance,
      timings: this.#timings(clock, encodeMs, started),
    };
  }

  /**
   * Refuses what calling the pipeline would refuse, and runs no network: for those who queue calls and want to answer at
   * once.
   *
   * @throws TypeError, RangeError as {@link generate} before anything is run
   */
  async check(options: GenerateOptions): Promise<void> {
    await this.#plan(options);
  }

  /** All that can be said of a call before the networks are troubled. */
  async #plan(options: GenerateOptions) {
    const { conditioner, limits } = this.#parts;
    this.#checkAlive();
    const request = readRequest(options, limits);
    const { pictures, guidance, rescale, encoding, size, scheduler } = request;
    options.signal?.throwIfAborted();
    const shape = this.#shape(size);
    for (const { prompt, negative } of pictures) {
      conditioner.check(prompt, encoding);
      conditioner.check(negative ?? '', encoding);
    }
    if (request.fromImage) this.#parts.vae?.findEncoder();

    const classifier = options.classifierScale === undefined ? undefined : await this.#openClassifier();
    const labels = pictures.map(({ prompt }) => classifier?.labels(prompt) ?? []);
    const schedule = this.#schedule(shape);
    const { run } = this.#sampleOptions(request, schedule);
    const scale = usesPair(guidance, limits) ? guidance : undefined;
    const solverOptions: SolverOptions = {
      ...this.#solverOptions(request.choices),
      guidance:
        options.classifierScale !== undefined
          ? { type: 'classifier', scale: options.classifierScale }
          : scale !== undefined && rescale === 0
            ? { type: 'classifier-free', scale }
            : { type: 'uncond' },
    };
    if (!scheduler) {
      const [{ seed }] = pictures;
      new DPMSolver(null, schedule, solverOptions).start(zeros([1, ...shape]), { ...run, seed: [seed] });
    }
    return { request, shape, schedule, run, scale, solverOptions, classifier, labels };
  }

  /**
   * Changes what a picture shows, from the `source` prompt to the `target` prompt, after DiffEdit (Couairon et al. 2022,
   * arXiv 2210.11427): where the network's predictions for the two differ is made anew; the picture is inverted under
   * the source prompt along DPM-Solver's ODE, and denoised under the target prompt, with everything else as it was on
   * the way there. What is made anew starts from noise of its own, so that it can take another shape; with
   * `freshNoise: 0` it starts from the inverted picture, as in the paper, and keeps the old one's. `nfe` counts the
   * mask's evaluations, the inversion's and the denoising's.
   *
   * @throws as {@link generate}; RangeError when the two prompts differ nowhere or everywhere
   */
  async edit(options: EditOptions): Promise<Edit> {
    const started = performance.now();
    const { conditioner, limits, training, vae } = this.#parts;
    this.#checkAlive();
    const request = readEditRequest(options, limits);
    const { image, source, target, negative, guidance, rescale, size, encoding, choices } = request;
    const { signal } = options;
    signal?.throwIfAborted();
    const shape = this.#shape(size);
    for (const prompt of [source, target, negative ?? '']) conditioner.check(prompt, encoding);
    vae?.findEncoder();
    const schedule = this.#schedule(shape);
    const { run, steps } = this.#sampleOptions({ ...request, strength: 1, fromImage: false }, schedule);
    const tEnd = schedule.epsilon;
    const tStart = tEnd + request.strength * (schedule.T - tEnd);
    const plain = { ...this.#solverOptions(choices), guidance: { type: 'uncond' } as const };
    const inverter = new DPMSolver(async (x, t) => invertNetwork(x, t), schedule, {
      ...plain,
      ...odeOf(plain.algorithmType),
      thresholding: false,
    });
    const there: SampleOptions = { ...run, tStart: tEnd, tEnd: tStart, steps, intermediates: true, signal };

    const clock = new Clock();
    const encodeStarted = performance.now();
    const encoded = await conditioner.encode([source, target, negative], size, encoding);
    const encodeMs = performance.now() - encodeStarted;
    const [from, to, away] = [source, target, negative].map((prompt) => encoded.get(prompt) as Conditioning);
    const x0 = (await this.#encodeImages([{ image }], clock)).get(image)!;

    const draws = generator(request.seed);
    const noise = draws.randn([1, ...shape]).data as Float32Array;
    const contrast = request.mask
      ? undefined
      : await this.#contrast(request, draws, schedule, x0, [from, to], shape, clock, signal);
    const small = request.mask ? shrink(request.mask, limits.factor) : contrastMask(contrast!, shape, request);

    const single = { guidance: 1, rescale: 0, shape, fold: true };
    const sourceNetwork = this.#network([from], [away], single).evaluate;
    const invertNetwork = clock.timed(sourceNetwork);
    const dims = [1, ...shape];
    const inversion = await inverter.invert({ type: 'float32', data: x0, dims } as Tensor, there);
    const states = (inversion.intermediates as Tensor[]).map(({ data }) => data as Float32Array);
    const times = inversion.times.toReversed();
    const begin = states[steps].slice();
    renoise(begin, x0, noise, schedule.node(times[0]), small, request.freshNoise);

    const scale = usesPair(guidance, limits) ? guidance : undefined;
    const network = this.#network([to], [away], { guidance, rescale, shape, fold: true });
    const solver = new DPMSolver(null, schedule, {
      ...plain,
      guidance: scale !== undefined && rescale === 0 ? { type: 'classifier-free', scale } : { type: 'uncond' },
      correctXt: (x, _t, step) => {
        const data = new Float32Array(x.data as Float32Array);
        keep(data, states[steps - step], small);
        return { type: 'float32', data, dims };
      },
    });
    const watch =
      options.onStep && new Watch(this, options.onStep, { batch: 0, batches: 1 }, schedule, training, network.scale);
    const sampling = solver.start(
      { type: 'float32', data: begin, dims },
      {
        ...run,
        steps,
        skipType: times,
        seed: [request.seed],
        signal,
        ...(watch ? { onStep: (progress) => watch.tell(progress) } : {}),
      },
    );
    await drive(sampling, { network: network.evaluate, clock, signal, watch });
    const sample = sampling.result.data as Float32Array;
    keep(sample, x0, small);

    const images = await this.decode({ data: sample, dims }, clock);
    const mask = request.mask ?? grow(small, limits.factor);
    pasteBack(images[0], image, mask);
    return {
      images,
      mask: maskImage(mask),
      sample: { type: 'float32', data: sample, dims },
      nfe: (contrast?.nfe ?? 0) + inversion.nfe + sampling.nfe,
      seeds: [request.seed],
      guidance,
      timings: this.#timings(clock, encodeMs, started),
    };
  }

  /** What a call does where it does not say. */
  get defaults(): {
    /** Pixels a row. */
    width: number;
    /** Rows. */
    height: number;
    /** What either has to be a multiple of. */
    multiple: number;
    /** The scale of classifier-free guidance. */
    guidance: number;
  } {
    const { size, factor, patch, defaultGuidance } = this.#parts.limits;
    return { ...size, multiple: factor * patch, guidance: defaultGuidance };
  }

  /** What scheduler_config.json holds: a scheduler object for this model is made from it. */
  get schedulerConfig(): Readonly<Record<string, unknown>> {
    return this.#parts.schedulerConfig;
  }

  /** Frees the networks, after the runs that are under way. The pipeline cannot be used any more. */
  async dispose(): Promise<void> {
    this.#disposed = true;
    const classifier = await this.#classifier?.catch(() => undefined);
    const { denoiser, conditioner, vae } = this.#parts;
    await Promise.all([denoiser.release(), conditioner.release(), vae?.release(), classifier?.release()]);
  }

  /** @internal States as pictures: decoded, or by the linear map of the preview. */
  async decode(
    { data, dims }: { data: Float32Array; dims: readonly number[] },
    clock?: Clock,
    how: 'decode' | 'project' = 'decode',
  ): Promise<Image[]> {
    const { vae } = this.#parts;
    if (!vae) return toImages(data, dims);
    const begun = performance.now();
    const [batch, ...shape] = dims;
    const n = elements(shape);
    const images: Image[] = [];
    for (let b = 0; b < batch; b++) {
      const latents = data.slice(b * n, (b + 1) * n);
      if (how === 'project') {
        images.push(...toImages(await vae.project(latents, shape), [1, 3, shape[1], shape[2]]));
      } else {
        const pixels = await vae.decode(latents, shape);
        images.push(...toImages(pixels.data, [1, ...pixels.dims]));
      }
    }
    if (clock) clock.vae += performance.now() - begun;
    return images;
  }

  #checkAlive(): void {
    if (this.#disposed) throw new Error('The pipeline has been disposed of');
  }

  #shape({ width, height }: Size): Shape {
    const { denoiser, limits } = this.#parts;
    const shape = [limits.channels, height / limits.factor, width / limits.factor] as const;
    denoiser.checkSize(shape[1], shape[2], limits.factor);
    return shape;
  }

  #schedule([, height, width]: Shape): NoiseSchedule {
    const { training, limits } = this.#parts;
    return training.scheduleFor?.((height * width) / limits.patch ** 2) ?? training.schedule;
  }

  /** The options of a run, and its steps: from an image, the share of them that its strength says. */
  #sampleOptions(
    { choices, steps: asked, strength, fromImage }: Pick<Request, 'choices' | 'steps' | 'strength' | 'fromImage'>,
    schedule: NoiseSchedule,
  ): { run: SampleOptions; steps: number } {
    const { defaults } = this.#parts.training;
    const steps = fromImage ? Math.max(1, Math.floor(asked * strength + 1e-6)) : asked;
    // An order that nobody asked for gives way to few steps.
    const order = Math.min(defaults.order ?? 2, steps) as 1 | 2 | 3;
    const run: SampleOptions = { ...pickRun(defaults), order, ...pickRun(choices), steps };
    // So does one that goes with the steps asked for, to the fewer steps that strength leaves.
    if (run.order !== undefined && run.order <= asked) run.order = Math.min(run.order, steps) as 1 | 2 | 3;
    if (strength < 1) {
      const end = choices.tEnd ?? schedule.epsilon;
      run.tStart = end + strength * (schedule.T - end);
    }
    return { run, steps };
  }

  #solverOptions(choices: SolverChoices): SolverOptions {
    const { training, denoiser } = this.#parts;
    const { thirdOrder, correctX0, correctXt, checkFinite, threads } = choices;
    const algorithmType = choices.algorithmType ?? training.defaults.algorithmType;
    let { thresholding } = choices;
    // A configuration's thresholding is meant for its own algorithm; noise forms have none.
    thresholding ??= algorithmType?.endsWith('++') === false ? undefined : training.defaults.thresholding;
    return {
      modelType: training.modelType,
      modelDtype: denoiser.type,
      device: 'cpu',
      ...defined({ algorithmType, thresholding, thirdOrder, correctX0, correctXt, checkFinite, threads }),
    };
  }

  /** The network for one batch, with guidance folded into the solver's step (then with its scale) or done here. */
  #network(
    conditional: readonly Conditioning[],
    unconditional: readonly Conditioning[],
    how: { guidance: number; rescale: number; shape: Shape; fold: boolean; extra?: readonly Float32Array[] },
  ): { evaluate: Evaluate; scale?: number } {
    const { denoiser, limits, training } = this.#parts;
    const { guidance, rescale, shape, extra } = how;
    // Stable Diffusion 3 counts a flow's time in thousandths, as its training did.
    const timeScale = denoiser.kind === 'sd3' && training.modelType === 'flow' ? 1000 : 1;
    if (!usesPair(guidance, limits)) {
      const conditionings = guidance === 0 && !limits.distilled ? unconditional : conditional;
      return {
        evaluate: denoiser.prepare(conditionings, shape, { extra: extra && joined(extra), guidance, timeScale }),
      };
    }
    const doubled = extra && joined([...extra, ...extra]);
    const both = denoiser.prepare([...unconditional, ...conditional], shape, { extra: doubled, timeScale });
    if (how.fold && rescale === 0) return { evaluate: both, scale: guidance };
    return { evaluate: guided(both, guidance, rescale) };
  }

  /** Start noise: every picture's own draw from its seed, as `torch.Generator().manual_seed(seed)` gives it. */
  #noise(pictures: readonly { seed: number }[], shape: Shape): Float32Array {
    return joined(pictures.map(({ seed }) => generator(seed).randn([1, ...shape]).data as Float32Array));
  }

  /** Every image, in the network's space. */
  async #encodeImages(pictures: readonly Pick<Picture, 'image'>[], clock: Clock): Promise<Map<Image, Float32Array>> {
    const found = new Map<Image, Float32Array>();
    for (const { image } of pictures) {
      if (image && !found.has(image)) found.set(image, await this.#encodePixels(toPixels(image), image, clock));
    }
    return found;
  }

  async #encodePixels(pixels: Float32Array, { width, height }: Size, clock: Clock): Promise<Float32Array> {
    const { vae } = this.#parts;
    if (!vae) return pixels;
    const begun = performance.now();
    const { data } = await vae.encode(pixels, height, width);
    clock.vae += performance.now() - begun;
    return data;
  }

  /** What an inpainting network gets besides the state: the mask, and the picture with grey where it is white. */
  async #inpaintingInputs(
    pictures: readonly Picture[],
    mask: Mask | undefined,
    small: Mask | undefined,
    clock: Clock,
  ): Promise<Map<Image, Float32Array> | undefined> {
    if (!this.#parts.limits.inpainting || !mask || !small) return undefined;
    const found = new Map<Image, Float32Array>();
    for (const { image } of pictures) {
      if (!image || found.has(image)) continue;
      const pixels = toPixels(image);
      for (let i = 0; i < pixels.length; i++) if (mask.data[i % mask.data.length] === 1) pixels[i] = 0;
      found.set(image, joined([new Float32Array(small.data), await this.#encodePixels(pixels, image, clock)]));
    }
    return found;
  }

  /** How much the network's predictions for two prompts differ, place by place. */
  async #contrast(
    { maskStrengths, maskSamples }: EditRequest,
    draws: Generator,
    schedule: NoiseSchedule,
    x0: Float32Array,
    pair: readonly Conditioning[],
    shape: Shape,
    clock: Clock,
    signal: AbortSignal | undefined,
  ): Promise<{ data: Float64Array; nfe: number }> {
    const { denoiser, training, limits } = this.#parts;
    const timeScale = denoiser.kind === 'sd3' && training.modelType === 'flow' ? 1000 : 1;
    const options = { timeScale, guidance: limits.defaultGuidance };
    const evaluate = clock.timed(denoiser.prepare(pair, shape, options));
    const n = elements(shape);
    const plane = shape[1] * shape[2];
    const data = new Float64Array(plane);
    const both = new Float32Array(2 * n);
    const dims = [2, ...shape];
    let nfe = 0;
    for (let draw = 0; draw < maskSamples; draw++) {
      for (const strength of maskStrengths) {
        signal?.throwIfAborted();
        const t = schedule.epsilon + strength * (schedule.T - schedule.epsilon);
        const { alpha, sigma } = schedule.node(t);
        const noise = draws.randn([1, ...shape]).data;
        for (let i = 0; i < n; i++) {
          both[i] = alpha * x0[i] + sigma * noise[i];
          both[n + i] = both[i];
        }
        const x = typed({ type: 'float32', data: both, dims } as Tensor, denoiser.type);
        const output = await evaluate(x, schedule.modelTime(t));
        const wide = new Float32Array(2 * n);
        convert(output.data as NetworkArray, wide);
        for (let i = 0; i < n; i++) data[i % plane] += Math.abs(wide[n + i] - wide[i]);
        nfe++;
      }
    }
    return { data, nfe };
  }

  #timings(clock: Clock, encodeMs: number, started: number): Timings {
    const vaeMs = this.#parts.vae ? { vaeMs: clock.vae } : {};
    return { ...clock.timings(), encodeMs, ...vaeMs, totalMs: performance.now() - started };
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

/** Is the network evaluated with and without the prompt? */
function usesPair(guidance: number, { distilled }: Limits): boolean {
  return !distilled && guidance !== 0 && guidance !== 1;
}

/** An inversion has no noise: an SDE's picture is inverted along the ODE of the same form. */
function odeOf(algorithmType: SolverOptions['algorithmType']): Pick<SolverOptions, 'algorithmType'> {
  if (algorithmType === undefined) return {};
  return { algorithmType: algorithmType.endsWith('++') ? 'dpmsolver++' : 'dpmsolver' };
}

/** Where two prompts' predictions differ by more than a share of the most, a little widened. */
function contrastMask(
  { data }: { data: Float64Array },
  [, height, width]: Shape,
  { maskThreshold, maskMargin = Math.floor(Math.min(width, height) / 10) }: EditRequest,
): Mask {
  // A few places may stand out: the largest hundredth counts as one.
  const sorted = new Float64Array(data).sort();
  const most = sorted[Math.floor(0.99 * (sorted.length - 1))];
  const found = Uint8Array.from(data, (value) => (value > maskThreshold * most ? 1 : 0));
  const mask = dilate({ width, height, data: found }, maskMargin);
  if (!found.includes(1))
    throw new RangeError('Expected prompts that differ somewhere in the picture, but they do not');
  if (!mask.data.includes(0)) {
    throw new RangeError('Expected prompts that agree somewhere in the picture, but they do not: pass a mask');
  }
  return mask;
}

/** The known part of a state, put in place after every step. */
function blending(
  schedule: NoiseSchedule,
  known: Float32Array,
  noise: Float32Array,
  mask: Mask,
  before: SolverOptions['correctXt'],
): SolverOptions['correctXt'] {
  return (x, t, step) => keepNoisy(before ? before(x, t, step) : x, known, noise, schedule.node(t), mask);
}

function elements(shape: readonly number[]): number {
  return shape.reduce((a, b) => a * b, 1);
}

function zeros(dims: readonly number[]): Tensor {
  return { type: 'float32', data: new Float32Array(elements(dims)), dims } as Tensor;
}

function joined(parts: readonly Float32Array[]): Float32Array {
  const all = new Float32Array(parts.reduce((n, part) => n + part.length, 0));
  let at = 0;
  for (const part of parts) {
    all.set(part, at);
    at += part.length;
  }
  return all;
}

/** A tensor in the type that a network takes. */
function typed(x: Tensor, type: 'float32' | 'float16' | 'float64'): Tensor {
  if (type === 'float32') return x;
  const data = allocate(type, (x.data as Float32Array).length);
  convert(x.data as Float32Array, data);
  return { type, data, dims: x.dims } as Tensor;
}

/** The options of a run that have been set. */
function pickRun(options: SolverChoices): SampleOptions {
  const { order, method, skipType, solverType, tStart, tEnd, lowerOrderFinal, denoiseToZero } = options;
  const { atol, rtol, controller, maxNfe, noise } = options;
  const grid = { order, method, skipType, solverType, tStart, tEnd, lowerOrderFinal, denoiseToZero };
  return defined({ ...grid, atol, rtol, controller, maxNfe, noise });
}

function defined<T extends object>(options: T): T {
  return Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined)) as T;
}

/** Passes progress on, with what the network took the result to be. */
class Watch {
  readonly #pipe: DiffusionPipeline;
  readonly #onStep: NonNullable<CommonOptions['onStep']>;
  readonly #place: { batch: number; batches: number };
  readonly #training: { schedule: NoiseSchedule; modelType: Training['modelType'] };
  readonly #scale: number | undefined;
  #x0: Float32Array | undefined;

  constructor(
    pipe: DiffusionPipeline,
    onStep: NonNullable<CommonOptions['onStep']>,
    place: { batch: number; batches: number },
    schedule: NoiseSchedule,
    { modelType }: Training,
    scale: number | undefined,
  ) {
    this.#pipe = pipe;
    this.#onStep = onStep;
    this.#place = place;
    this.#training = { schedule, modelType };
    this.#scale = scale;
  }

  /** Looks at an evaluation. */
  see(x: Tensor, output: Tensor, time: number | undefined): void {
    this.#x0 = time === undefined ? undefined : predictX0(x, output, this.#training, time, this.#scale);
  }

  /** The schedule's time for what a network is told, where the two go together. */
  timeOf(t: number): number | undefined {
    const { schedule } = this.#training;
    const [low, high] = [schedule.epsilon, schedule.T];
    const [first, last] = [schedule.modelTime(low), schedule.modelTime(high)];
    const time = low + ((high - low) * (t - first)) / (last - first);
    return schedule.kind === 'discrete' && time >= low && time <= high ? time : undefined;
  }

  tell(progress: Omit<Progress, 'batch' | 'batches' | 'x0' | 'preview'>): void {
    const data = this.#x0;
    const { dims } = progress.x;
    const preview: Progress['preview'] = async ({ decode = false } = {}) =>
      data ? this.#pipe.decode({ data, dims }, undefined, decode ? 'decode' : 'project') : [];
    const x0 = data && ({ type: 'float32', data, dims } as Tensor);
    this.#onStep({ ...progress, ...this.#place, ...(x0 ? { x0 } : {}), preview });
  }
}

interface Work {
  network: Evaluate;
  gradient?: Evaluate;
  clock: Clock;
  signal?: AbortSignal;
  watch?: Watch;
}

/** The loop around a run, with the network's and the solver's time taken apart. */
async function drive(run: Run, { network, gradient, clock, signal, watch }: Work): Promise<void> {
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
    if (watch) {
      // What it costs to look is not the step's time.
      watch.see(x, output, run.time);
      ready = performance.now();
    }
    run.advance(output, g);
    clock.step.push(performance.now() - ready);
  }
}

interface SchedulerJob {
  scheduler: SchedulerLike;
  steps: number;
  strength: number;
  type: Denoiser['type'];
  noise: Float32Array;
  known: Float32Array | undefined;
  mask: Mask | undefined;
  dims: readonly number[];
}

/** The loop around a scheduler object. */
async function driveScheduler(job: SchedulerJob, work: Work): Promise<{ sample: Float32Array; nfe: number }> {
  const { scheduler, steps, strength, noise, known, mask, dims } = job;
  scheduler.setTimesteps(steps);
  const { timesteps } = scheduler;
  const all = Array.from('data' in timesteps ? timesteps.data : timesteps, Number);
  const begin = known ? Math.min(all.length - 1, Math.floor(all.length * (1 - strength) + 1e-6)) : 0;
  const times = all.slice(begin);
  const tensor = (data: Float32Array) => ({ type: 'float32', data, dims }) as Tensor;
  const noisy = (t: number): Float32Array => {
    if (!scheduler.addNoise) throw new TypeError('Expected a scheduler with addNoise for image and mask');
    return scheduler.addNoise(tensor(known as Float32Array), tensor(noise), t).data as Float32Array;
  };
  if (begin > 0) scheduler.setBeginIndex?.(begin);
  // Another's scheduler may keep what it is given, and give what it keeps.
  const own = scheduler instanceof Scheduler;
  const scale = scheduler.initNoiseSigma ?? 1;
  let x: Float32Array = new Float32Array(noise);
  if (scale !== 1) for (let i = 0; i < x.length; i++) x[i] *= scale;
  if (known && !(mask && strength === 1)) x = new Float32Array(noisy(times[0]));
  for (const [i, t] of times.entries()) {
    work.signal?.throwIfAborted();
    const start = performance.now();
    const input = scheduler.scaleModelInput?.(tensor(x), t) ?? tensor(x);
    const output = await work.network(typed(input, job.type), t);
    const evaluated = performance.now();
    work.clock.network.push(evaluated - start);
    let taken = output.data as Float32Array;
    if (!own || output.type !== 'float32') {
      taken = new Float32Array(x.length);
      convert(output.data as NetworkArray, taken);
    }
    const looked = performance.now();
    work.watch?.see(input, tensor(taken), work.watch.timeOf(t));
    const ready = evaluated + performance.now() - looked;
    const made = scheduler.step(tensor(taken), t, tensor(x));
    const next = Array.isArray(made) ? made[0] : 'prevSample' in made ? made.prevSample : made;
    x = (next as Tensor).data as Float32Array;
    if (!own) x = new Float32Array(x);
    if (mask && known) keep(x, i + 1 < times.length ? noisy(times[i + 1]) : known, mask);
    work.clock.step.push(performance.now() - ready);
    work.watch?.tell({ step: i + 1, steps: times.length, nfe: i + 1, t, x: tensor(x) });
  }
  // Our own have looked.
  if (!own && x.some((value) => !Number.isFinite(value))) {
    throw new Error('Expected finite numbers from the scheduler but received NaN or Infinity');
  }
  return { sample: x, nfe: times.length };
}

class Clock {
  readonly network: number[] = [];
  readonly step: number[] = [];
  readonly classifier: number[] = [];
  /** Spent in the autoencoder. */
  vae = 0;

  /** A network whose calls are counted. */
  timed(network: Evaluate): Evaluate {
    return async (x, t) => {
      const start = performance.now();
      const output = await network(x, t);
      this.network.push(performance.now() - start);
      return output;
    };
  }

  timings(): Omit<Timings, 'encodeMs' | 'vaeMs' | 'totalMs'> {
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
