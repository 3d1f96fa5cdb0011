// One class for the directories that exported diffusion pipelines come in. What it does is in the files beside it: parts.ts
// loads, plan.ts says what a call will do, generate.ts and edit.ts do it.
import type { Image } from '../image/image.js';
import type { Calibration } from '../calibrate/index.js';
import { calibrate, type PipelineCalibrateOptions } from './calibrate.js';
import { Classifier } from './classifier.js';
import { type DecodeOptions, decodeLatents } from './decode.js';
import { edit } from './edit.js';
import { generate } from './generate.js';
import type { Needs } from './memory.js';
import type { Edit, EditOptions, GenerateOptions, Generation } from './options.js';
import { type Described, loadParts, type Parts, type PipelineOptions, releaseParts } from './parts.js';
import { type Plan, planOf } from './plan.js';
import type { Limits } from './request.js';
import { PipelineSession, type SessionOptions } from './session.js';
import { telling } from './stages.js';

/** A base class whose instances are functions, so that a pipeline can be called. */
const Callable = class {
  constructor() {
    const call = (options: GenerateOptions): Promise<Generation> =>
      (call as unknown as DiffusionPipeline).generate(options);
    // biome-ignore lint/correctness/noConstructorReturn: what a constructor returns is what the subclass builds on
    return Object.setPrototypeOf(call, new.target.prototype);
  }
} as unknown as new () => (options: GenerateOptions) => Promise<Generation>;

/**
 * A text-to-image pipeline: `const pipe = await DiffusionPipeline.fromPretrained(dir); await pipe({ prompt })`. With
 * `image` it starts from a picture, with `mask` it fills in, and {@link edit} changes what a picture shows.
 */
export class DiffusionPipeline extends Callable {
  readonly #parts: Parts;
  #classifier: Promise<Classifier> | undefined;
  /** What is under way. */
  readonly #calls = new Set<Promise<unknown>>();
  #disposed: Promise<void> | undefined;

  private constructor(parts: Parts) {
    if (typeof parts !== 'object' || parts === null) {
      throw new TypeError(
        'Expected await DiffusionPipeline.fromPretrained(folder) but received new DiffusionPipeline()',
      );
    }
    super();
    this.#parts = parts;
  }

  /**
   * Loads the pipeline in a directory with `model_index.json`, `unet/` or `transformer/`, one to three `text_encoder/`
   * and `tokenizer/`, `vae_decoder/` and `vae_encoder/` (unless it works in pixels) and `scheduler/`, as Optimum and
   * diffusers.js have them; `'shapes'` is the model that comes with this package. A name such as `org/name`, where there is
   * no folder of this path, is that of a repository on a Hugging Face hub, whose files are fetched as `pull` does.
   *
   * @throws Error in one sentence that names the file when one is missing, misnamed or corrupt, or the input when a graph
   *   wants what nothing is known about, or what `pull` throws; TypeError for options
   */
  static async fromPretrained(model: string, options: PipelineOptions = {}): Promise<DiffusionPipeline> {
    return new DiffusionPipeline(await loadParts(model, options));
  }

  /**
   * The same in two: what is known before anything is loaded is told first, and loading waits for what the teller returns.
   *
   * @internal
   */
  static async described(
    model: string,
    options: PipelineOptions,
    tell: (known: { defaults: DiffusionPipeline['defaults']; needs: Needs | undefined }) => Promise<void>,
  ): Promise<DiffusionPipeline> {
    const gate = ({ limits, needs }: Described) => tell({ defaults: defaultsOf(limits), needs });
    return new DiffusionPipeline(await loadParts(model, options, gate));
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
    return this.#during(() =>
      telling(options, async (told) => generate(this.#parts, await this.#plan(told), told, started)),
    );
  }

  /**
   * Refuses what calling the pipeline would refuse, and runs no network: for those who queue calls and want to answer at
   * once.
   *
   * @throws TypeError, RangeError as {@link generate} before anything is run
   */
  async check(options: GenerateOptions): Promise<void> {
    await this.#during(() => this.#plan(options));
  }

  /**
   * For those who make pictures for many at once: calls of a session share network calls, each at its own step, with its own
   * solver and guidance, and join and leave between evaluations. See {@link PipelineSession}.
   *
   * @throws RangeError for options
   */
  session(options: SessionOptions = {}): PipelineSession {
    return new PipelineSession(this.#parts, options, (parts, call) =>
      this.#during(() => {
        const started = performance.now();
        return telling(call, async (told) => generate(parts, await this.#plan(told), told, started));
      }),
    );
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
    return this.#during(() => telling(options, (told) => edit(this.#parts, told, started)));
  }

  /**
   * Makes pictures of latents: of {@link Generation.sample}, or of `error.latents` of a call whose decoding failed.
   *
   * @param latents `[pictures, channels, height, width]`; they are not written to
   * @throws TypeError, RangeError for what is not latents of this model; DecodeError; the signal's reason
   */
  async decode(
    latents: {
      /** Row-major. */
      readonly data: Float32Array;
      /** `[pictures, channels, height, width]`. */
      readonly dims: readonly number[];
    },
    options: DecodeOptions = {},
  ): Promise<Image[]> {
    return this.#during(async () => {
      return (await telling(options, (told) => decodeLatents(this.#parts, latents, told))).images;
    });
  }

  /**
   * Finds a table of times and rows for this network at a guidance scale, by forward passes alone: see `calibrate` of
   * dpm-solver/calibrate. `scheduler/solver_tables.json` in the folder is where calls look for `tables`.
   *
   * @throws TypeError, RangeError for options; what `calibrate` throws
   */
  async calibrate(options: PipelineCalibrateOptions): Promise<Calibration> {
    return this.#during(() => calibrate(this.#parts, options));
  }

  /** What a call does where it does not say. */
  get defaults(): {
    /** Pixels a row. */
    width: number;
    /** Rows. */
    height: number;
    /** What either has to be a multiple of. */
    multiple: number;
    /** Evaluations for a picture. */
    steps: number;
    /** The scale of classifier-free guidance. */
    guidance: number;
  } {
    return defaultsOf(this.#parts.limits);
  }

  /** Was the network distilled to a few steps, so that it keeps its own scheduler? */
  get distilled(): boolean {
    return this.#parts.scheduler.distilled;
  }

  /** How the networks share the memory: what `'auto'` chose, where that was asked for. */
  get memory(): 'low' | 'fast' {
    return this.#parts.memory;
  }

  /**
   * What scheduler_config.json holds, with what it leaves to other files and to its class: a scheduler object for this
   * model is made from it.
   */
  get schedulerConfig(): Readonly<Record<string, unknown>> {
    return this.#parts.scheduler.config;
  }

  /**
   * Makes ready what a first preview takes: where the colours of this autoencoder are not known, one small picture is decoded.
   *
   * @internal
   */
  preparePreviews(): Promise<void> {
    return this.#during(async () => this.#parts.previewer?.prepare(this.#parts.limits.channels));
  }

  /** Frees the networks, after the calls that are under way. The pipeline cannot be used any more. */
  dispose(): Promise<void> {
    this.#disposed ??= this.#release();
    return this.#disposed;
  }

  async #release(): Promise<void> {
    await Promise.allSettled(this.#calls);
    const classifier = await this.#classifier?.catch(() => undefined);
    await Promise.all([releaseParts(this.#parts), classifier?.release()]);
  }

  /** Does something that the networks are needed for. */
  async #during<T>(work: () => Promise<T>): Promise<T> {
    if (this.#disposed) throw new Error('The pipeline has been disposed of');
    const call = work();
    this.#calls.add(call);
    try {
      return await call;
    } finally {
      this.#calls.delete(call);
    }
  }

  #plan(options: GenerateOptions): Promise<Plan> {
    return planOf(this.#parts, options, () => this.#openClassifier());
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

function defaultsOf({ size, factor, unit, defaultSteps, defaultGuidance }: Limits): DiffusionPipeline['defaults'] {
  return { ...size, multiple: factor * unit, steps: defaultSteps, guidance: defaultGuidance };
}
