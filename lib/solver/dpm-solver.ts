import { outOfRange, wrongType } from '../check.js';
import { ROW, SUM } from '../coefficients.js';
import { combine } from '../combine.js';
import { randn } from '../noise.js';
import { NoiseSchedule } from '../schedule/noise-schedule.js';
import { readTensor, sameDims, type Tensor } from '../tensor.js';
import { AdaptiveRun } from './adaptive.js';
import {
  type Model,
  readSampleOptions,
  readSolverOptions,
  type SampleOptions,
  type Solver,
  type SolverOptions,
} from './options.js';
import { FixedRun, type InternalRun, type Run } from './run.js';

/** What {@link DPMSolver.sample} and {@link DPMSolver.invert} resolve to. */
export interface Sampling {
  /** In xT's class and type, the caller's own. */
  sample: Tensor;
  /** Network evaluations made; a doubled batch counts once. */
  nfe: number;
  /** Of the SDE's noise: what was given, or chosen; absent for an ODE. */
  seed?: number | number[];
  /** The start, each completed step, and the denoised result; with `intermediates: true`. */
  intermediates?: Tensor[];
  /** The schedule's times of the start and of each completed step; 0 for a denoised result. */
  times: number[];
}

/**
 * DPM-Solver and DPM-Solver++ (Lu et al. 2022, arXiv 2206.00927 and 2211.01095) for one network and noise schedule.
 * Immutable; every call builds a run of its own.
 */
export class DPMSolver {
  readonly #model: Model | null;
  readonly #solver: Solver;

  /**
   * @param model the network, or null where only {@link start} is used
   * @throws TypeError or RangeError for options that are unknown, of another type or out of range
   */
  constructor(model: Model | null, schedule: NoiseSchedule, options: SolverOptions = {}) {
    if (model !== null && typeof model !== 'function') throw wrongType('a function or null', 'model', model);
    if (!(schedule instanceof NoiseSchedule)) throw wrongType('a NoiseSchedule', 'schedule', schedule);
    this.#model = model;
    this.#solver = readSolverOptions(schedule, options);
  }

  /**
   * Samples from noise to data.
   *
   * @param xT noise, [B, ...], scaled as the schedule has it at tStart; not written to
   * @returns rejects with what the model throws, with the signal's reason, with an Error for an output that is not
   *   finite, and with what {@link start} throws
   */
  async sample(xT: Tensor, options: SampleOptions = {}): Promise<Sampling> {
    return this.#drive(this.#build(xT, options, false), options);
  }

  /**
   * Goes from data to noise along the same ODE.
   *
   * @param x0 data, [B, ...]; not written to
   * @param options tStart defaults to the schedule's epsilon, tEnd, which is above it, to T; no `denoiseToZero`, no SDE
   * @returns rejects as {@link sample} does
   */
  async invert(x0: Tensor, options: SampleOptions = {}): Promise<Sampling> {
    return this.#drive(this.#build(x0, options, true), options);
  }

  /**
   * The loop turned inside out, for those who own it.
   *
   * @param xT noise, [B, ...]; not written to
   * @returns a run that stands before its first evaluation; signal is not looked at
   * @throws TypeError or RangeError for options that are unknown, out of range or do not go together
   */
  start(xT: Tensor, options: SampleOptions = {}): Run {
    return this.#build(xT, options, false);
  }

  /**
   * alpha_t x0 + sigma_t noise.
   *
   * @param x0 data, [B, ...]; not written to
   * @param t a time within the schedule
   * @param noise a tensor of the dims and type of x0; standard normal noise from a random seed where absent
   * @returns a tensor of x0's class, type and dims
   * @throws TypeError, RangeError for tensors that do not fit or a time outside of the schedule
   */
  addNoise(x0: Tensor, t: number, noise?: Tensor): Tensor {
    const x = readTensor(x0, 'x0');
    const { alpha, sigma } = this.#solver.schedule.node(t);
    const row = new Float64Array(ROW.length);
    row[ROW.first + SUM.a] = alpha;
    row[ROW.first + SUM.n] = sigma;
    const { threads } = this.#solver;
    if (noise === undefined) {
      const seed = Math.floor(Math.random() * 2 ** 32);
      const type = x.type === 'float64' ? 'float64' : 'float32';
      return combine(x, randn([...x.dims], { seed, type }), row, threads);
    }
    const view = readTensor(noise, 'noise');
    if (!sameDims(view.dims, x.dims)) {
      throw outOfRange(`dims [${x.dims.join(', ')}]`, 'noise', `[${view.dims.join(', ')}]`);
    }
    if (view.type !== x.type) throw wrongType(`type '${x.type}'`, 'noise', view.type);
    return combine(x, view, row, threads);
  }

  #build(xT: Tensor, options: SampleOptions, inverse: boolean): InternalRun {
    const sampler = readSampleOptions(this.#solver, options, inverse);
    return sampler.method === 'adaptive'
      ? AdaptiveRun.build(this.#solver, sampler, xT)
      : FixedRun.build(this.#solver, sampler, xT);
  }

  async #drive(run: InternalRun, options: SampleOptions): Promise<Sampling> {
    const model = this.#model;
    if (!model) throw new TypeError('Expected a model for sample and invert but received null: use start()');
    const { signal } = options;
    const { guidance } = this.#solver;
    const gradientOf = guidance.type === 'classifier' && guidance.scale !== 0 ? guidance.gradient : undefined;
    if (guidance.type === 'classifier' && guidance.scale !== 0 && !gradientOf) {
      throw new TypeError(
        "Expected a function for guidance.gradient with guidance 'classifier' but received undefined",
      );
    }
    while (!run.done) {
      signal?.throwIfAborted();
      let output: Tensor;
      let gradient: Tensor | undefined;
      try {
        output = await model(run.x, run.t, signal);
        gradient = gradientOf ? await gradientOf(run.x, run.t) : undefined;
      } catch (error) {
        // A model that gives up because it was told to: the reason counts.
        signal?.throwIfAborted();
        throw error;
      }
      signal?.throwIfAborted();
      run.advance(output, gradient);
    }
    const sampling: Sampling = { sample: run.result, nfe: run.nfe, times: run.times };
    if (run.seed !== undefined) sampling.seed = typeof run.seed === 'number' ? run.seed : [...run.seed];
    if (run.intermediates.length > 0) sampling.intermediates = run.intermediates;
    return sampling;
  }
}
