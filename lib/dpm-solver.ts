/// <reference lib="esnext.disposable" preserve="true" />
// The face of the solver: options in, an engine chosen, a run out.
import { ROW, SUM } from './addon/coefficients.js';
import { combine } from './addon/combine.js';
import { randn } from './addon/noise.js';
import { knownOptions, oneOf, wrongType } from './base/check.js';
import { readTensor, sameDims, type Tensor, wrongDims } from './base/tensor.js';
import { cudaInfo } from './cuda/info.js';
import { Stream } from './cuda/stream.js';
import { DeviceTensor, type DeviceType } from './cuda/tensor.js';
import { type CardSolver, checkGraph, type DeviceModel } from './engines/cuda/options.js';
import { CardRuns } from './engines/cuda/sample.js';
import { hostEngine } from './engines/host/engine.js';
import type { WebGpuModel } from './engines/webgpu/options.js';
import { NoiseSchedule } from './schedule/noise-schedule.js';
import { AdaptiveRun } from './solver/adaptive.js';
import { drive, type Sampling } from './solver/drive.js';
import type { GuidanceOption } from './solver/guidance.js';
import {
  type CommonSampleOptions,
  type CommonSolverOptions,
  type Model,
  readSampleOptions,
  readSolverOptions,
  SAMPLE_KEYS,
  type Sampler,
  SOLVER_KEYS,
} from './solver/options.js';
import { FixedRun, type InternalRun, type Run } from './solver/run.js';

/**
 * What belongs to a network and its solver, of tensors of class T; what is unknown or out of range is a TypeError or a
 * RangeError.
 */
export interface SolverOptions<T extends Tensor = Tensor> extends CommonSolverOptions<T> {
  /**
   * Where state and history live and the step runs. `'auto'` (default): on the CPU, unless xT or the network is on a
   * card.
   */
  device?: 'auto' | 'cpu' | 'cuda';
  /** Where the network is. `'cpu'` (default): with a run on a card every evaluation copies to the host and back. */
  modelDevice?: 'cpu';
  /** What is queued on, where the run is on a card; one is made where absent. */
  stream?: Stream;
}

/** With a network on a card. */
export interface DeviceSolverOptions
  extends Omit<SolverOptions, 'device' | 'modelDevice' | 'modelDtype' | 'guidance' | 'correctX0' | 'correctXt'> {
  /** Both are the card. */
  device?: 'auto' | 'cuda';
  /** The model is a {@link DeviceModel}. */
  modelDevice: 'cuda';
  /** As {@link SolverOptions.modelDtype}. */
  modelDtype?: Exclude<DeviceType, 'uint32'>;
  /** As {@link SolverOptions.guidance}; a gradient is queued as the network is. */
  guidance?:
    | GuidanceOption
    | {
        /** With a gradient that is on the card. */
        type: 'classifier';
        /** s; finite. */
        scale: number;
        /** Of log p(condition | x) in x. */
        gradient?: DeviceModel;
      };
  /** As {@link SolverOptions.correctX0}: x0 is on the card, and what changes it is queued on `stream`. */
  correctX0?: (x0: DeviceTensor, t: number) => DeviceTensor;
  /** As {@link SolverOptions.correctXt}: x is on the card, and what changes it is queued on `stream`. */
  correctXt?: (x: DeviceTensor, t: number, step: number) => DeviceTensor;
}

/** With a network on WebGPU, or in a browser on WebNN. */
export interface WebGpuSolverOptions extends Omit<SolverOptions, 'device' | 'modelDevice' | 'modelDtype' | 'stream'> {
  /** Both are the graphics processor. */
  device?: 'auto' | 'webgpu' | 'webnn';
  /**
   * The model is a {@link WebGpuModel}: states, earlier predictions and the step stay where it is, and xT and the result are
   * on the host. Thresholding, `correctX0`, adaptive runs, classifier guidance and guidance that looks at the answers
   * (`rescale`, `'cfg-zero'`, `'apg'`) have their steps on the host, where each evaluation then copies to and from;
   * `transfers` of the result says so. `correctXt` and `onStep` are shown copies. {@link DPMSolver.sample} and
   * {@link DPMSolver.invert} only.
   */
  modelDevice: 'webgpu' | 'webnn';
  /** As {@link SolverOptions.modelDtype}. */
  modelDtype?: 'float32' | 'float16';
}

/** What belongs to one run, which begins with a tensor of class X. */
export interface SampleOptions<X = Tensor> extends CommonSampleOptions<X> {
  /**
   * With a network on a card: all that the run queues becomes one CUDA graph, which later runs of the same shape launch
   * anew, whatever their times; false. The first time the network is called once more for each size of its batch, for it
   * to make what it needs; after that it is not called any more, so all that it is told has to be in tensors that stay
   * where they are.
   */
  graph?: boolean;
}

/** Where a network is: `modelDevice` of the options. */
export type ModelDevice = 'cpu' | 'cuda' | 'webgpu' | 'webnn';
/** The network of a solver, where it is there. One signature and not an overload each: what is said of a mistake is one thing. */
export type ModelOn<M extends ModelDevice, T extends Tensor = Tensor> = M extends 'cuda'
  ? DeviceModel
  : M extends 'webgpu' | 'webnn'
    ? WebGpuModel
    : Model<T>;
/** The options of a solver whose network is there. */
export type SolverOptionsOn<M extends ModelDevice, T extends Tensor = Tensor> = {
  /** Where the network is; `'cpu'`. */
  modelDevice?: M;
} & (M extends 'cuda' ? DeviceSolverOptions : M extends 'webgpu' | 'webnn' ? WebGpuSolverOptions : SolverOptions<T>);

/**
 * DPM-Solver and DPM-Solver++ (Lu et al. 2022, arXiv 2206.00927 and 2211.01095) for one network and noise schedule.
 * Immutable; every call builds a run of its own.
 *
 * T is the class of the network's tensors, which its parameter says: `(x: ort.Tensor, t) => ...` takes noise that is an
 * `ort.Tensor`. A network whose parameter says nothing takes any tensor.
 */
export class DPMSolver<T extends Tensor = Tensor, M extends ModelDevice = 'cpu'> {
  readonly #model: Model | DeviceModel | WebGpuModel | null;
  readonly #solver: CardSolver;
  readonly #device: Device;
  #cards: CardRuns | null = null;

  /**
   * @param model the network, or null where only {@link start} is used; with `modelDevice: 'cuda'` a
   *   {@link DeviceModel}, with `'webgpu'` and `'webnn'` a {@link WebGpuModel}
   * @throws TypeError or RangeError for options that are unknown, of another type or out of range
   */
  constructor(model: ModelOn<M, T> | null, schedule: NoiseSchedule, options: SolverOptionsOn<M, T> = {} as never) {
    if (model !== null && typeof model !== 'function') {
      const session = typeof (model as { run?: unknown } | undefined)?.run === 'function';
      const swapped = (model as unknown) instanceof NoiseSchedule ? 'the schedule comes after it' : '';
      throw wrongType(`a function${session ? ' that runs it' : ''} or null`, 'model', model, swapped);
    }
    if (!(schedule instanceof NoiseSchedule)) {
      const named = typeof schedule === 'string' || 'beta_schedule' in Object(schedule);
      const hint = named ? 'NoiseSchedule.discrete({ betas: betas(name) }) makes one' : '';
      throw wrongType('a NoiseSchedule', 'schedule', schedule, hint);
    }
    this.#model = model as Model | DeviceModel | WebGpuModel | null;
    const run = { name: 'sample() or start()', known: RUN_KEYS };
    knownOptions(options, CONSTRUCTOR_KEYS, 'the solver', run, ...SCHEDULES);
    const { device, ...place } = readPlace(options);
    this.#device = device;
    // Options for the host and for a card differ in what their functions are called with.
    const common = options as CommonSolverOptions;
    const dtypes = isThere(device) ? WEBGPU_DTYPES : place.onCard ? CARD_DTYPES : HOST_DTYPES;
    this.#solver = { ...readSolverOptions(schedule, common, dtypes), ...place };
  }

  /**
   * Samples from noise to data.
   *
   * @param xT noise, [B, ...], scaled as the schedule has it at tStart; not written to. With one on a card the sample is
   *   there, too, and xT must not be disposed before the promise is kept
   * @returns rejects with what the model throws, with the signal's reason, with an Error for an output that is not
   *   finite, and with what {@link start} throws
   */
  async sample<X extends T | DeviceTensor>(xT: X, options: SampleOptions<NoInfer<X>> = {}): Promise<Sampling<X>> {
    return this.#run(xT, options, false);
  }

  /**
   * Goes from data to noise along the same ODE.
   *
   * @param x0 data, [B, ...], on a card or not; not written to
   * @param options tStart defaults to the schedule's epsilon, tEnd, which is above it, to T; no `denoiseToZero`, no SDE
   * @returns rejects as {@link sample} does
   */
  async invert<X extends T | DeviceTensor>(x0: X, options: SampleOptions<NoInfer<X>> = {}): Promise<Sampling<X>> {
    return this.#run(x0, options, true);
  }

  /**
   * The loop turned inside out, for those who own it. On a card, with modelDevice `'cuda'`, xT, `run.x`, the outputs and
   * the result are DeviceTensors, `advance` only queues, and what is not finite is told by `result`, which waits. Not on
   * WebGPU, where nothing is done at once.
   *
   * @param xT noise, [B, ...]; not written to
   * @returns a run that stands before its first evaluation; signal is not looked at
   * @throws TypeError or RangeError for options that are unknown, out of range or do not go together
   */
  start<X extends T | DeviceTensor>(xT: X, options: SampleOptions<NoInfer<X>> = {}): Run<X, OutputFor<X>> {
    return this.#start(xT, options as SampleOptions) as unknown as Run<X, OutputFor<X>>;
  }

  #start(xT: Tensor | DeviceTensor, options: SampleOptions): InternalRun {
    if (isThere(this.#device)) {
      throw new RangeError(
        `Expected 'cpu' or 'cuda' for modelDevice with start() but received '${this.#device}': use sample()`,
      );
    }
    const { sampler, graph } = this.#read(options, false);
    if (!this.#takesCard(xT)) return this.#build(xT as Tensor, sampler);
    if (graph) throw new RangeError('Expected false for graph with start() but received true');
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
  addNoise<X extends Tensor>(x0: X, t: number, noise?: Tensor): X {
    const x = readTensor(x0, 'x0');
    const { alpha, sigma } = this.#solver.schedule.node(t);
    const row = new Float64Array(ROW.length);
    row[ROW.first + SUM.a] = alpha;
    row[ROW.first + SUM.n] = sigma;
    const { threads } = this.#solver;
    if (noise === undefined) {
      const seed = Math.floor(Math.random() * 2 ** 32);
      const type = x.type === 'float64' ? 'float64' : 'float32';
      return combine(x, randn([...x.dims], { seed, type }), row, threads) as X;
    }
    const view = readTensor(noise, 'noise');
    if (!sameDims(view.dims, x.dims)) throw wrongDims(x.dims, 'noise', view.dims);
    if (view.type !== x.type) throw wrongType(`type '${x.type}'`, 'noise', view.type);
    return combine(x, view, row, threads) as X;
  }

  #read(options: SampleOptions, inverse: boolean): { sampler: Sampler; graph: boolean } {
    knownOptions(options, RUN_KEYS, 'the run', { name: 'new DPMSolver()', known: CONSTRUCTOR_KEYS });
    const sampler = readSampleOptions(this.#solver, options, inverse);
    const graph = oneOf(options.graph ?? false, 'graph', [true, false]);
    if (graph) checkGraph(this.#solver, sampler);
    return { sampler, graph };
  }

  /** Does a run that begins with xT belong on a card? Throws where it was to be on the CPU. */
  #takesCard(xT: Tensor | DeviceTensor): boolean {
    const there = xT instanceof DeviceTensor;
    if (there && this.#device === 'cpu') throw wrongType("a tensor on the host with device 'cpu'", 'xT', xT);
    return this.#device === 'cuda' || there || this.#solver.onCard;
  }

  #onCards(): CardRuns {
    this.#cards ??= new CardRuns(this.#solver);
    return this.#cards;
  }

  #build(xT: Tensor, sampler: Sampler): InternalRun {
    return sampler.method === 'adaptive'
      ? AdaptiveRun.build(this.#solver, sampler, xT, hostEngine)
      : FixedRun.build(this.#solver, sampler, xT, hostEngine);
  }

  async #run<X>(x: X, given: SampleOptions<X>, inverse: boolean): Promise<Sampling<X>> {
    const xT = x as Tensor | DeviceTensor;
    const options = given as SampleOptions;
    const { sampler, graph } = this.#read(options, inverse);
    const { guidance } = this.#solver;
    if (isThere(this.#device)) {
      if (!this.#model) throw noModel();
      if (xT instanceof DeviceTensor) {
        throw wrongType(`a tensor on the host with modelDevice '${this.#device}'`, 'xT', xT);
      }
      const { sampleThere } = await import('./engines/webgpu/sample.js');
      const place = { device: this.#device, hostEngine };
      const there = sampleThere(place, this.#model as WebGpuModel, this.#solver, sampler, xT);
      return there as Promise<Sampling<X>>;
    }
    const gradientOf = guidance.type === 'classifier' && guidance.scale !== 0 ? guidance.gradient : undefined;
    const run = this.#takesCard(xT) ? null : this.#build(xT as Tensor, sampler);
    if (!this.#model) throw noModel();
    if (guidance.type === 'classifier' && guidance.scale !== 0 && !gradientOf) {
      throw new TypeError(
        "Expected a function for guidance.gradient with guidance 'classifier' but received undefined",
      );
    }
    if (!run) {
      return this.#onCards().sample(
        this.#model as Model | DeviceModel,
        sampler,
        { graph, signal: sampler.signal },
        xT,
      ) as Promise<Sampling<X>>;
    }
    const model = this.#model as Model;
    const { signal } = options;
    const gradient = gradientOf && (() => gradientOf(run.x, run.t));
    return drive(run, signal, () => model(run.x, run.t, signal), gradient) as Promise<Sampling<X>>;
  }
}

/** What `advance` of a run takes, by what it began with. */
export type OutputFor<X> = X extends DeviceTensor ? DeviceTensor : Tensor;

type Device = 'auto' | 'cpu' | 'cuda' | There;
/** Where steps follow their network. */
type There = 'webgpu' | 'webnn';
const isThere = (device: string): device is There => device === 'webgpu' || device === 'webnn';

const noModel = () => new TypeError('Expected a model for sample and invert but received null: use start()');

const CONSTRUCTOR_KEYS = [...SOLVER_KEYS, 'device', 'modelDevice', 'stream'];
const RUN_KEYS = [...SAMPLE_KEYS, 'graph'];
/** What a configuration says of the schedule. */
const SCHEDULES = [
  { name: 'NoiseSchedule.discrete()', known: ['betas', 'alphasCumprod', 'clip'] },
  { name: 'NoiseSchedule.flow()', known: ['shift'] },
  { name: 'NoiseSchedule.edm()', known: ['sigmaMin', 'sigmaMax'] },
];

const HOST_DTYPES = ['float32', 'float16', 'float64'] as const;
const CARD_DTYPES = [...HOST_DTYPES, 'bfloat16'] as const;
const WEBGPU_DTYPES = ['float32', 'float16'] as const;

/** Where the run and its network are to be. */
function readPlace(options: {
  device?: unknown;
  modelDevice?: unknown;
  stream?: unknown;
}): Pick<CardSolver, 'onCard' | 'stream'> & { device: Device } {
  const { stream } = options;
  const device = oneOf<Device>((options.device ?? 'auto') as Device, 'device', [
    ...(['auto', 'cpu', 'cuda', 'webgpu', 'webnn'] as const),
  ]);
  const modelDevice = oneOf<ModelDevice>((options.modelDevice ?? 'cpu') as ModelDevice, 'modelDevice', [
    ...(['cpu', 'cuda', 'webgpu', 'webnn'] as const),
  ]);
  const onCard = modelDevice === 'cuda';
  if (stream !== undefined && !(stream instanceof Stream)) throw wrongType('a Stream', 'stream', stream);
  if (isThere(modelDevice)) return withNetwork(modelDevice, device, stream);
  if (isThere(device)) {
    throw new RangeError(
      `Expected '${device}' for modelDevice with device '${device}' but received '${modelDevice}': steps follow their network`,
    );
  }
  if (onCard && device === 'cpu') {
    throw new RangeError("Expected 'auto' or 'cuda' for device with a network on a card but received 'cpu'");
  }
  if (device === 'cuda' || onCard) {
    const { available, reason } = cudaInfo();
    const name = device === 'cuda' ? 'device' : 'modelDevice';
    const others = device === 'cuda' ? "'auto' or 'cpu'" : "'cpu'";
    if (!available) throw new RangeError(`Expected ${others} for ${name} but received 'cuda': ${reason}`);
  }
  return { device, onCard, stream };
}

/** Network and step are there, or neither. */
function withNetwork(there: There, device: Device, stream: Stream | undefined): ReturnType<typeof readPlace> {
  if (device !== 'auto' && device !== there) {
    const name = there === 'webgpu' ? 'WebGPU' : 'WebNN';
    throw new RangeError(`Expected 'auto' or '${there}' for device with a network on ${name} but received '${device}'`);
  }
  if (stream) throw wrongType(`undefined with modelDevice '${there}', which has no streams`, 'stream', stream);
  return { device: there, onCard: false, stream };
}
