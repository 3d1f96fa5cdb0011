import { ROW, SUM } from './addon/coefficients.js';
import { combine } from './addon/combine.js';
import { randn } from './addon/noise.js';
import { outOfRange, wrongType } from './base/check.js';
import { readTensor, sameDims, type Tensor } from './base/tensor.js';
import { DeviceTensor } from './cuda/tensor.js';
import { CardRuns } from './engines/cuda/sample.js';
import { NoiseSchedule } from './schedule/noise-schedule.js';
import { AdaptiveRun } from './solver/adaptive.js';
import { drive, type Sampling } from './solver/drive.js';
import {
  type DeviceModel,
  type DeviceSolverOptions,
  type Model,
  readSampleOptions,
  readSolverOptions,
  type SampleOptions,
  type Sampler,
  type Solver,
  type SolverOptions,
} from './solver/options.js';
import { FixedRun, type InternalRun, type Run } from './solver/run.js';

export type { Sampling } from './solver/drive.js';

/**
 * DPM-Solver and DPM-Solver++ (Lu et al. 2022, arXiv 2206.00927 and 2211.01095) for one network and noise schedule.
 * Immutable; every call builds a run of its own.
 */
export class DPMSolver {
  readonly #model: Model | DeviceModel | null;
  readonly #solver: Solver;
  #cards: CardRuns | null = null;

  /**
   * @param model the network, or null where only {@link start} is used
   * @throws TypeError or RangeError for options that are unknown, of another type or out of range
   */
  constructor(model: Model | null, schedule: NoiseSchedule, options?: SolverOptions);
  /**
   * With a network on a card.
   *
   * @param model the network, or null where only {@link start} is used
   */
  constructor(model: DeviceModel | null, schedule: NoiseSchedule, options: DeviceSolverOptions);
  constructor(
    model: Model | DeviceModel | null,
    schedule: NoiseSchedule,
    options: SolverOptions | DeviceSolverOptions = {},
  ) {
    if (model !== null && typeof model !== 'function') throw wrongType('a function or null', 'model', model);
    if (!(schedule instanceof NoiseSchedule)) throw wrongType('a NoiseSchedule', 'schedule', schedule);
    this.#model = model;
    this.#solver = readSolverOptions(schedule, options);
  }

  /**
   * Samples from noise to data.
   *
   * @param xT noise, [B, ...], scaled as the schedule has it at tStart; not written to. One on a card must not be
   *   disposed before the promise is kept
   * @returns rejects with what the model throws, with the signal's reason, with an Error for an output that is not
   *   finite, and with what {@link start} throws
   */
  async sample<T extends Tensor>(xT: T, options?: SampleOptions): Promise<Sampling<T>>;
  /** The same from noise on a card; the sample is there too. */
  async sample(xT: DeviceTensor, options?: SampleOptions): Promise<Sampling<DeviceTensor>>;
  async sample(xT: Tensor | DeviceTensor, options: SampleOptions = {}): Promise<unknown> {
    return this.#run(xT, options, false);
  }

  /**
   * Goes from data to noise along the same ODE.
   *
   * @param x0 data, [B, ...]; not written to
   * @param options tStart defaults to the schedule's epsilon, tEnd, which is above it, to T; no `denoiseToZero`, no SDE
   * @returns rejects as {@link sample} does
   */
  async invert<T extends Tensor>(x0: T, options?: SampleOptions): Promise<Sampling<T>>;
  /** The same from data on a card. */
  async invert(x0: DeviceTensor, options?: SampleOptions): Promise<Sampling<DeviceTensor>>;
  async invert(x0: Tensor | DeviceTensor, options: SampleOptions = {}): Promise<unknown> {
    return this.#run(x0, options, true);
  }

  /**
   * The loop turned inside out, for those who own it. On a card, with modelDevice `'cuda'`, xT, `run.x`, the outputs and
   * the result are DeviceTensors, `advance` only queues, and what is not finite is told by `result`, which waits.
   *
   * @param xT noise, [B, ...]; not written to
   * @returns a run that stands before its first evaluation; signal is not looked at
   * @throws TypeError or RangeError for options that are unknown, out of range or do not go together
   */
  start<T extends Tensor>(xT: T, options?: SampleOptions): Run<T, Tensor>;
  /** The same on a card. */
  start(xT: DeviceTensor, options?: SampleOptions): Run<DeviceTensor>;
  start(xT: Tensor | DeviceTensor, options: SampleOptions = {}): unknown {
    const sampler = readSampleOptions(this.#solver, options, false);
    if (!CardRuns.wants(this.#solver, xT)) return this.#build(xT as Tensor, sampler);
    if (sampler.graph) throw new RangeError('Expected false for graph with start() but received true');
    const { onCard } = this.#solver;
    if (onCard !== xT instanceof DeviceTensor) {
      throw wrongType(
        onCard ? "a DeviceTensor with modelDevice 'cuda'" : 'a tensor on the host with start()',
        'xT',
        xT,
      );
    }
    return this.#onCards().build(sampler, xT);
  }

  /** Frees the stream and the graphs that runs on a card have left; sampling makes them anew. */
  dispose(): void {
    this.#cards?.dispose();
    this.#cards = null;
  }
  /** As `dispose`, for `using`. */
  [Symbol.dispose](): void {
    this.dispose();
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
  addNoise<T extends Tensor>(x0: T, t: number, noise?: Tensor): T {
    const x = readTensor(x0, 'x0');
    const { alpha, sigma } = this.#solver.schedule.node(t);
    const row = new Float64Array(ROW.length);
    row[ROW.first + SUM.a] = alpha;
    row[ROW.first + SUM.n] = sigma;
    const { threads } = this.#solver;
    if (noise === undefined) {
      const seed = Math.floor(Math.random() * 2 ** 32);
      const type = x.type === 'float64' ? 'float64' : 'float32';
      return combine(x, randn([...x.dims], { seed, type }), row, threads) as T;
    }
    const view = readTensor(noise, 'noise');
    if (!sameDims(view.dims, x.dims)) {
      throw outOfRange(`dims [${x.dims.join(', ')}]`, 'noise', `[${view.dims.join(', ')}]`);
    }
    if (view.type !== x.type) throw wrongType(`type '${x.type}'`, 'noise', view.type);
    return combine(x, view, row, threads) as T;
  }

  #onCards(): CardRuns {
    this.#cards ??= new CardRuns(this.#solver);
    return this.#cards;
  }

  #build(xT: Tensor, sampler: Sampler): InternalRun {
    return sampler.method === 'adaptive'
      ? AdaptiveRun.build(this.#solver, sampler, xT)
      : FixedRun.build(this.#solver, sampler, xT);
  }

  async #run(xT: Tensor | DeviceTensor, options: SampleOptions, inverse: boolean): Promise<Sampling> {
    const sampler = readSampleOptions(this.#solver, options, inverse);
    const { guidance } = this.#solver;
    const gradientOf = guidance.type === 'classifier' && guidance.scale !== 0 ? guidance.gradient : undefined;
    const onCard = CardRuns.wants(this.#solver, xT);
    const run = onCard ? null : this.#build(xT as Tensor, sampler);
    if (!this.#model) throw new TypeError('Expected a model for sample and invert but received null: use start()');
    if (guidance.type === 'classifier' && guidance.scale !== 0 && !gradientOf) {
      throw new TypeError(
        "Expected a function for guidance.gradient with guidance 'classifier' but received undefined",
      );
    }
    if (!run) return this.#onCards().sample(this.#model, sampler, options, xT);
    const model = this.#model as Model;
    const { signal } = options;
    const gradient = gradientOf && (() => gradientOf(run.x, run.t));
    return drive(run, signal, () => model(run.x, run.t, signal), gradient);
  }
}
