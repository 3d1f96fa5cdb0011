// What a pipeline is called with, and what it gives.
import '../base/globals.js';
import type { Tensor } from '../base/tensor.js';
import type { SampleOptions, SolverOptions } from '../dpm-solver.js';
import type { Image } from '../image/image.js';
import type { GraphDevice } from '../onnx/graph.js';
import type { OnProgress } from './stages.js';
import type { Tiles, VaeTiling } from './tiling.js';
import type { Transfers } from '../solver/engine.js';
import type { GuidanceVariant } from '../solver/guidance.js';
import type { SolverTable } from '../solver/table.js';

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

/** A scheduler object, as diffusers has them: what the pipeline uses of one. */
export interface SchedulerLike {
  /** Resets all state. */
  setTimesteps(steps: number): void;
  /** Anything that can be iterated over, or has `data` that can. */
  readonly timesteps:
    | Iterable<number | bigint>
    | {
        /** The timesteps in order. */
        readonly data: Iterable<number | bigint>;
      };
  /** The standard deviation of the start state; 1. */
  readonly initNoiseSigma?: number;
  /** The network's input for the state; the state itself where absent. */
  scaleModelInput?(x: Tensor, t: number): Tensor;
  /** The next state, or an object or an array with it. */
  step(
    output: Tensor,
    t: number,
    x: Tensor,
  ):
    | Tensor
    | {
        /** The next state. */
        readonly prevSample: Tensor;
      }
    | readonly Tensor[];
  /** Needed for `image` and `mask`. */
  addNoise?(x0: Tensor, noise: Tensor, t: number): Tensor;
  /** Told where a run from a picture begins. */
  setBeginIndex?(index: number): void;
}

/** What calls of a pipeline have in common. */
export interface CommonOptions extends SolverChoices {
  /**
   * The classifier-free guidance scale w: unconditional + w (conditional - unconditional), two samples an evaluation.
   * At most 1, or null, is the conditional network alone, as in diffusers. What the kind of network is used with where
   * absent: 3 in pixels, 7.5 for Stable Diffusion, 5 for XL, 7 for 3, and 1 for networks that were distilled to a few
   * steps. A network with guidance distilled into it takes it as an input and is evaluated once (3.5 for Flux, 8.5 for
   * LCM); one that takes none (Flux schnell) leaves it out, and `onWarning` is told.
   */
  guidance?: number | null;
  /**
   * Of networks that do without two predictions (Flux, LCM): classifier-free guidance all the same, by two samples an
   * evaluation, away from `negativePrompt`; what diffusers calls true_cfg_scale. 1, which is none.
   */
  trueGuidance?: number;
  /**
   * 0 to 1: how much of the guided output gets the standard deviation of the conditional one, per sample (Lin et al.
   * 2023, arXiv 2305.08891); 0.
   */
  guidanceRescale?: number;
  /**
   * sigma / alpha between which two predictions are made, the lower one first; outside, the network gets the batch as it is,
   * half of the work, and `nfe` counts half. All of it. See `DPMSolver`'s guidance for this and what follows; not with
   * scheduler objects, which are given the guided prediction. In edits on the way from the noise to the new picture, as the way
   * there is not guided.
   */
  guidanceInterval?: readonly [low: number, high: number];
  /** How the two predictions become one; `'cfg'`. */
  guidanceVariant?: GuidanceVariant;
  /** Of `'apg'`: how much of what is parallel to the conditional prediction stays; 0. */
  guidanceEta?: number;
  /** Of `'apg'`: the greatest length of the difference of the two, 0 for any; 5. */
  guidanceNorm?: number;
  /** Of `'apg'`: how much of the last difference goes on, -1 to 1; 0. */
  guidanceMomentum?: number;
  /**
   * Whether the two predictions of classifier-free guidance are made by two network calls, one after the other, in place of
   * one of twice the samples: less memory for a little time. false.
   */
  splitGuidance?: boolean;
  /** What becomes of a prompt that is too long; `'refuse'`. */
  overlong?: 'refuse' | 'cut';
  /** Told about what went on differently than asked for (a prompt that was cut). */
  onWarning?: (message: string) => void;
  /**
   * Told after each step. What it throws, or what a promise that it returns rejects with, ends the call. Promises are
   * waited for before the call is over, not between steps.
   */
  onStep?: (progress: Progress) => unknown;
  /** Told what the call is at, from its beginning on; promises as those of `onStep`. */
  onProgress?: OnProgress;
  /**
   * Whether pictures go through the autoencoder by tiles, which takes less memory, and differs a little in tone from one tile
   * to the next. `'auto'`, the default: where the whole would not fit into memory, by even tiles, and again by smaller ones
   * after an allocation that failed; `onWarning` is told. `true`: pictures larger than what the autoencoder was trained on,
   * by the very tiles of diffusers' `enable_tiling`. Numbers: by even tiles of that size at most. `false`: never.
   */
  vaeTiling?: VaeTiling;
  /**
   * Ends the call: the promise then rejects with its reason. It is looked at before every call of a network, encoders and
   * decoder included, and before every tile, and ends an evaluation that is under way where networks have threads of their own.
   */
  signal?: AbortSignal;
}

/** What a call of the pipeline takes. */
export interface GenerateOptions extends CommonOptions {
  /** What the pictures are to show; one text or several. */
  prompt: string | readonly string[];
  /** What the guidance leads away from; one for all prompts, or one each. The empty prompt. */
  negativePrompt?: string | readonly string[];
  /**
   * Evaluations for a picture, up to 100,000, or a million by a scheduler object of others; 20, or 4 of a network that was
   * distilled to a few. From an image, `strength` of them are made.
   */
  steps?: number;
  /**
   * Solver options, which count less than those given beside it, or a scheduler object (its own `step` is then called,
   * once an evaluation, with the guided output; the solver options have no meaning then).
   */
  scheduler?: SolverChoices | SchedulerLike;
  /**
   * A table of times and rows in place of a solver and its grid. `'auto'`, the default: the folder's own for this many
   * steps and this guidance (`scheduler/solver_tables.json`, see {@link DiffusionPipeline.calibrate}), where the call says
   * nothing of the solver; `'none'`: the solver of the folder's scheduler in any case.
   */
  table?: 'auto' | 'none' | SolverTable;
  /**
   * How much noise each step adds, from 0 to 1, where the scheduler is DDIM or TCD, whose steps have a share of it; 0, as in
   * diffusers' pipelines.
   */
  eta?: number;
  /** Classifier guidance with this scale, for directories with a classifier. */
  classifierScale?: number;
  /** Picture i is drawn from the seed `seed + i`; chosen at random where absent. */
  seed?: number;
  /** One seed a picture, instead of `seed`. */
  seeds?: readonly number[];
  /** Pictures of every prompt; 1. All pictures of the first prompt come first. */
  count?: number;
  /** Pixels; what the network was trained on, or what `image` has. A multiple of a latent's pixels. */
  width?: number;
  /** As `width`. */
  height?: number;
  /** Image to image: where to start from, 3 bytes a pixel; one for all prompts, or one each. */
  image?: Image | readonly Image[];
  /**
   * How much of the image is made anew, above 0 and up to 1: sampling makes the last int(steps strength) of the steps,
   * counted as diffusers' pipeline for the network does. 0.8; 1 with a mask.
   */
  strength?: number;
  /**
   * Latents in place of `image`, one for all prompts or one each, as {@link Generation.sample} has them: from the clean ones
   * sampling starts by `strength`, from noisy ones by `denoisingStart`.
   */
  latents?: Tensor;
  /**
   * Where sampling stops, as a share of all of it, above 0 and up to 1; 1. Below 1 the latents that come out are still
   * noisy and no pictures are made of them: another pipeline goes on by `denoisingStart`, as the refiner of Stable
   * Diffusion XL does with the base's.
   */
  denoisingEnd?: number;
  /** Where sampling begins, as a share of all of it, from 0 and below 1, with noisy `latents`; no noise is added. */
  denoisingStart?: number;
  /** Inpainting: white is made anew, black keeps the pixels of `image`; as large as it. */
  mask?: Image;
  /** Pictures made at once, at most; as many as make 65,536 numbers, up to 8. A picture does not depend on it. */
  batchSize?: number;
}

/** What {@link DiffusionPipeline.edit} takes (Couairon et al. 2022, arXiv 2210.11427). */
export interface EditOptions extends CommonOptions {
  /** What is edited. */
  image: Image;
  /** What the image shows. */
  source: string;
  /** What it is to show. */
  target: string;
  /** What the guidance leads away from; the empty prompt. */
  negativePrompt?: string;
  /** Evaluations of the inversion, and as many to denoise; 20. */
  steps?: number;
  /** How far the image is inverted: the share of the schedule's time, above 0 and up to 1; 1. */
  strength?: number;
  /**
   * 0 to 1: how much of the noise that the masked part starts from is drawn anew, instead of what the inversion has
   * found there. 1; with less, and with a lower `strength`, more of what was there stays, its shape first.
   */
  freshNoise?: number;
  /** White is made anew; found by contrasting the two prompts where absent. */
  mask?: Image;
  /** Noise levels at which the prompts are contrasted, as shares of the schedule's time; [0.4, 0.5, 0.6]. */
  maskStrength?: number | readonly number[];
  /** Draws of noise for each level; 4. */
  maskSamples?: number;
  /** Share of the largest contrast from which on a place is made anew, above 0 and below 1; 0.5. */
  maskThreshold?: number;
  /** Rows and columns of latents that the mask is widened by; a tenth of the shorter side's, so that shapes can grow. */
  maskMargin?: number;
  /** Of the noise that the masked part starts from and that the prompts are contrasted under; 0. */
  seed?: number;
}

/** What `onStep` is told. */
export interface Progress {
  /** Completed steps of this batch. */
  step: number;
  /** How many there will be; 0 with the adaptive method, where nobody knows. */
  steps: number;
  /** Evaluations of this batch. */
  nfe: number;
  /** The schedule's time that the state has reached; what the network was told with a scheduler object. */
  t: number;
  /** Which batch, from 0. */
  batch: number;
  /** Of how many. */
  batches: number;
  /** The state; overwritten by the next step. */
  x: Tensor;
  /**
   * Which share of the sampling is behind: with it as `denoisingStart`, and the state as `latents`, another call goes on from
   * here, with a first step of first order. Absent where the network's times do not say.
   */
  share?: number;
  /** What the network took the result to be at the last evaluation, `x`'s dims; absent where that cannot be said. */
  x0?: Tensor;
  /**
   * `x0` as pictures. Of latents what a small decoder makes of them, where there is one, or a linear map of their channels to
   * colours, a pixel a latent, which costs next to nothing; with `decode`, what the decoder makes of them. Empty without `x0`,
   * and of an autoencoder that nothing is known of until its first picture has been decoded.
   */
  preview: (options?: { decode?: boolean }) => Promise<Image[]>;
}

/** What a call gives. */
export interface Generation {
  /** In the order of prompts, each one's pictures together; none with `denoisingEnd` below 1. */
  images: Image[];
  /** What the pictures were made of, pixels or latents. */
  sample: {
    /** Always this. */
    type: 'float32';
    /** Row-major. */
    data: Float32Array;
    /** `[pictures, channels, height, width]`. */
    dims: number[];
  };
  /** Network evaluations for a picture; the most, where the adaptive method took more for some than for others. */
  nfe: number;
  /** What made the steps. */
  solver: Solving;
  /** The name of the table that made them; absent where a solver did. */
  table?: string;
  /** The published grid that `skipType` named, and for which network: `'ays for sdxl'`. */
  grid?: string;
  /** Of each picture. */
  seeds: number[];
  /** The classifier-free guidance scale in effect. */
  guidance: number;
  /** How the networks shared the memory: all at once, or each while its turn lasted. */
  memory: 'low' | 'fast';
  /** How the pictures were decoded by tiles; absent where they were decoded whole. */
  tiles?: Tiles;
  /** Where the networks ran; `'providers'` where executionProviders were given. */
  device: GraphDevice | 'providers';
  /**
   * Of networks on WebGPU: what crossed between host and graphics processor while sampling, and where the steps were made on the
   * host, why (`onHost`).
   */
  transfers?: Transfers;
  /** Where the time went. */
  timings: Timings;
}

/** What {@link DiffusionPipeline.edit} gives. */
export interface Edit extends Generation {
  /** White where the picture was made anew; of the image's size. */
  mask: Image;
}

/** What made the steps of a call. */
export interface Solving {
  /** An algorithm of DPM-Solver, a scheduler's class, or a table's name. */
  name: string;
  /** Of DPM-Solver, where its method has one. */
  order?: number;
  /** Of DPM-Solver. */
  method?: string;
  /**
   * How the times are spaced: a scheduler's `timestep_spacing`, `'karras'`, `'exponential'`, `'beta'` or `'lu'`, `'flow'` for a
   * flow's own, a `skipType` that the call named, or `'table'`; `'times of its own'` where
   * these are a list.
   */
  grid: string;
}

/** Milliseconds. */
export interface Timings {
  /** The median network call; under classifier-free guidance it evaluates two samples a picture. */
  networkMs: number;
  /** All of them. */
  networkTotalMs: number;
  /** How many. */
  networkCalls: number;
  /**
   * The median solver step: guidance, update and checks of the whole batch, without the network; 0 where states stay on
   * WebGPU, and what is waited for is the network and the step as one.
   */
  stepMs: number;
  /** All of them. */
  stepTotalMs: number;
  /** The median call of the classifier; absent without one. */
  classifierMs?: number;
  /** Tokenizing and encoding all prompts. */
  encodeMs: number;
  /** Pixels to latents and back; absent for networks in pixels. */
  vaeMs?: number;
  /** From the call to its answer. */
  totalMs: number;
}
