// What the schedulers share: the loop that a pipeline drives with setTimesteps and step, its place in the schedule, its
// history, and the native step over them. A scheduler says what its rows are.
import { type Node, ROW, SUM } from '../addon/coefficients.js';
import { combine } from '../addon/combine.js';
import { addon, CHECK_FINITE, DOUBLED } from '../addon/native.js';
import { TorchNoise } from '../addon/noise.js';
import { finiteNumber, knownOptions, numbers, outOfRange, wholeNumber } from '../base/check.js';
import {
  allocate,
  makeTensor,
  readTensor,
  type StateArray,
  sameDims,
  type Tensor,
  type TensorView,
  wrongDims,
} from '../base/tensor.js';
import { type ClassRules, resolveConfig, type SchedulerConfig } from '../folder/scheduler-config.js';
import type { Settings } from '../folder/scheduler-keys.js';
import { Buffers, stateTypeOf } from './buffers.js';
import { after, FRESH, freeSlot, type Plan, type Progress, type Schedule } from './progress.js';
import { type Request, readRequest, type TimestepOptions } from './request.js';

/** Numbers that are iterable as they are and have the `data` that diffusers.js reads: one and the same array. */
export type Sequence<T extends Int32Array | Float32Array = Int32Array | Float32Array> = T & {
  /** The array itself. */
  readonly data: T;
};

/** What {@link Scheduler.step} takes besides tensors. */
export interface StepOptions {
  /** The noise of this step, shaped as the sample, for algorithms that draw; drawn with `seed` unless given. */
  noise?: Tensor;
  /**
   * Seed of the run's noise, or one seed per sample. The draws are those of a torch script that drew the initial noise
   * from the same generator first, and they continue from step to step while the seed stays the same.
   */
  seed?: number | readonly number[];
  /**
   * Classifier-free guidance in the step: the model output then holds 2B samples, the unconditional predictions and then
   * the conditional ones, and uncond + guidanceScale (cond - uncond) is taken, in the same pass over memory.
   */
  guidanceScale?: number;
  /** How much noise a step adds, 0 to 1: DDIMScheduler (0 unless told) and TCDScheduler (0.3). */
  eta?: number;
  /** DDIMScheduler: takes the noise from the clipped x0 and not from the network; false. */
  useClippedModelOutput?: boolean;
  /**
   * The Euler classes, FlowMatchHeun and EDMEuler: noise that is added before a step, as in Karras et al. 2022,
   * algorithm 2, where sigma lies from sTmin to sTmax; the network has seen the sample without it, as in diffusers.
   */
  sChurn?: number;
  /** 0 */
  sTmin?: number;
  /** Infinity */
  sTmax?: number;
  /** The standard deviation of that noise; 1. */
  sNoise?: number;
}

/** The constructor of a scheduler whose configuration has the keys of C. */
export type SchedulerClass<C extends object = SchedulerConfig> = new (json?: C | string, overrides?: C) => Scheduler;
/** The keys of a class's configuration. */
export type ConfigOf<C extends SchedulerClass<never>> = C extends new (
  json?: never,
  overrides?: infer O,
) => unknown
  ? NonNullable<O>
  : never;

/**
 * A scheduler as diffusers pipelines drive it:
 *
 *     scheduler.setTimesteps(20);
 *     for (const t of scheduler.timesteps) {
 *       const output = await unet(scheduler.scaleModelInput(x, t), t);
 *       x = scheduler.step(output, t, x);
 *     }
 *
 * Tensors are anything shaped { data, dims, type? }; what comes back has the class of what came in, in memory of its
 * own, and nothing that is passed in is written.
 */
export abstract class Scheduler<C extends object = SchedulerConfig> {
  /** The configuration with this class's defaults filled in, by diffusers' keys. Unknown keys are in it too. */
  readonly config: Readonly<Required<C>> & SchedulerConfig;
  /** Evaluations per step, as diffusers' pipelines ask for it: 2 for those that have two stages, 1 for all others. */
  readonly order: number = 1;
  protected readonly settings: Settings;
  protected readonly name: string;
  protected readonly rules: ClassRules;
  /** The row that `plan` fills. */
  protected readonly row: Float64Array = new Float64Array(ROW.length);
  // No #private members: pipelines and frameworks wrap schedulers in proxies, which do not have them.
  private labels: Sequence | null = null;
  private levels: Sequence<Float32Array> | null = null;
  private current: Schedule | null = null;
  private progress: Progress = FRESH;
  private beginIndex: number | null = null;
  /** The index of the next evaluation, and of the node at which the sample stands; null before the first step. */
  private nextIndex: number | null = null;
  private buffers: Buffers | null = null;
  private noiseSource: { key: string; source: TorchNoise } | null = null;
  /** buffers.noise holds the draw of a step that has not been made yet. */
  private drawn = false;

  /** What tells a class from the others; every class has its own. */
  static readonly rules: ClassRules;

  /**
   * @param json scheduler_config.json of this class, or of one whose network it can follow, as an object or as text
   * @param overrides keys that replace those of the configuration
   * @throws TypeError, RangeError for values that are wrong or do not go together; TypeError for a configuration of
   *   another kind of network. Unknown keys are kept, with a warning
   */
  static fromConfig<C extends SchedulerClass<never>>(
    this: C,
    json: SchedulerConfig | string,
    overrides?: ConfigOf<C>,
  ): InstanceType<C> {
    return new this(json as never, overrides as never) as InstanceType<C>;
  }

  /**
   * As {@link Scheduler.fromConfig}, with the keys of this class by name; without arguments, with the defaults of
   * diffusers.
   */
  constructor(json: C | string = {} as C, overrides?: C) {
    const { rules } = new.target;
    const { settings, config } = resolveConfig(rules, json, overrides);
    this.name = rules.name;
    this.rules = rules;
    this.settings = settings;
    this.config = config as Readonly<Required<C>> & SchedulerConfig;
  }

  /** The schedule of the run, or, before setTimesteps, that of training. */
  protected get latest(): Schedule {
    return this.current ?? this.initial();
  }

  /**
   * The labels that the network is given, in order: an Int32Array where the class has training steps, a Float32Array
   * where they may lie between those. Before setTimesteps, those of training.
   */
  get timesteps(): Sequence {
    this.labels ??= labelsOf(this.initial());
    return this.labels;
  }

  /** sigma / alpha (flow: sigma) at each timestep, and after the last. */
  get sigmas(): Sequence<Float32Array> {
    this.levels ??= sequence(this.initial().sigmas);
    return this.levels;
  }

  /** The standard deviation of the noise that a run starts from. */
  get initNoiseSigma(): number {
    return 1;
  }

  /**
   * Starts a run anew: its schedule, and nothing left of the last one.
   *
   * @param steps the number of steps, 1 to 100,000, or { steps | timesteps | sigmas, mu }. A step is one evaluation, but
   *   for the classes of two stages (`order` 2), which make 2 steps - 1, and PNDM
   * @throws TypeError for anything else; RangeError for timesteps or sigmas that no schedule can have, and for options
   *   of the configuration that do not go together with them
   */
  setTimesteps(
    steps: number | TimestepOptions,
    options?: Pick<TimestepOptions, 'mu' | 'originalInferenceSteps' | 'strength'>,
  ): void {
    const request = readRequest(typeof steps === 'object' ? { ...steps, ...options } : { steps, ...options });
    if (this.rules.distillation !== true) {
      for (const key of ['originalSteps', 'strength'] as const) {
        if (request[key] !== null) throw notDistilled(this.name, key);
      }
    }
    const schedule = this.schedule(request);
    this.rehearse(schedule);
    this.current = schedule;
    Object.assign(this, this.shown());
    this.restart(null);
  }

  /**
   * Where the run starts, for pipelines that go through a part of the schedule. Without it the first step finds its
   * place by its timestep. Call it after setTimesteps.
   *
   * @throws TypeError, RangeError unless it is the index of a timestep
   */
  setBeginIndex(index: number): void {
    const last = this.ready('setBeginIndex').timesteps.length - 1;
    const begin = wholeNumber(index, 'the begin index', 0, last);
    if (this.order === 2 && begin % 2 === 1) {
      throw outOfRange('an even number: two evaluations make a step', 'the begin index', begin);
    }
    this.restart(begin);
  }

  /**
   * A scheduler of the same configuration and schedule, with a run of its own: for calls that go on at the same time,
   * since a run is in the object.
   */
  clone(): this {
    const copy = Object.assign(Object.create(Object.getPrototypeOf(this)), this) as this;
    Object.assign(copy, { row: new Float64Array(ROW.length), buffers: null, ...this.shown() });
    copy.restart(null);
    return copy;
  }

  /** The numbers of the schedule, which a caller may write to. */
  private shown(): { labels: Sequence | null; levels: Sequence<Float32Array> | null } {
    const { current } = this;
    return current
      ? { labels: labelsOf(current), levels: sequence(current.sigmas.slice()) }
      : { labels: null, levels: null };
  }

  /** What the network is given for a sample: the sample itself, but for EDM. */
  scaleModelInput<T extends Tensor>(x: T, _t?: number | bigint): T {
    return x;
  }

  /**
   * One update: from the network's output for `x` at `t` to the next sample. The calls of a run go through the
   * timesteps in order.
   *
   * @param modelOutput a tensor of the dims of x, of its type or float16; with a `variance_type` that is learned, twice
   *   the channels, of which the first half counts
   * @param t the timestep that the network was given
   * @param x the sample that the network was given, before scaleModelInput
   * @returns the next sample, of x's class, type and dims
   * @throws Error before setTimesteps and for an output that is not finite (the run stays where it was); RangeError for a
   *   timestep that is not the next one and after the last; TypeError, RangeError for tensors that do not fit
   */
  step<T extends Tensor>(modelOutput: Tensor, t: number | bigint, x: T, options: StepOptions = {}): T {
    const schedule = this.ready('step');
    knownOptions(options, STEP_OPTIONS, 'step');
    if (!this.churns) {
      for (const key of CHURN_OPTIONS) {
        if (options[key] !== undefined)
          throw new TypeError(`Expected no ${key} for step of ${this.name}, which adds none`);
      }
    }
    const time = timeOf(t);
    const { index, at, begin } = this.locate(schedule, time);
    const m = readTensor(modelOutput, 'the model output');
    const sample = readTensor(x, 'the sample');
    const buffers = this.buffersFor(sample);
    const { guidanceScale: scale } = options;
    if (scale !== undefined) finiteNumber(scale, 'guidanceScale');
    this.fits(m, sample, buffers, scale !== undefined);

    this.row.fill(0);
    const progress = begin === this.progress.begin ? this.progress : { ...this.progress, begin };
    const plan = this.plan(schedule, progress, at, index, options);
    if (scale !== undefined) guide(this.row, scale);
    spread(this.row, buffers.rows, buffers.batch);
    const z = shaped(plan, this.noiseFor(plan, buffers, options), m, buffers, scale !== undefined);
    const state = buffers.widened(sample);
    const slot = plan.keep ? freeSlot(progress.history) : -1;
    const kept = buffers.kept[buffers.which];
    const save = plan.save ? buffers.state(buffers.kept, 1 - buffers.which) : null;
    const narrow = sample.type === 'float16';
    const result = allocate(sample.type, buffers.length, sample.data);
    const earlier = (i: number) => (plan.history[i] ? (buffers.history[plan.history[i].slot] ?? null) : null);

    const bad = addon.step(
      buffers.rows,
      0,
      buffers.batch,
      CHECK_FINITE | (scale === undefined ? 0 : DOUBLED),
      0,
      buffers.scratchFor(this.row),
      state,
      m.data,
      null,
      null,
      plan.base === 'kept' ? (kept ?? null) : state,
      null,
      earlier(0),
      earlier(1),
      earlier(2),
      z,
      slot < 0 ? null : buffers.state(buffers.history, slot),
      narrow ? buffers.wideResult() : (result as StateArray),
      save,
      narrow ? result : null,
    );
    if (bad >= 0) {
      throw new Error(
        `Expected finite numbers for the model output but received NaN or Infinity for sample ${bad} at timestep ${time} (step ${index + 1} of ${schedule.timesteps.length})`,
      );
    }
    this.drawn = false;
    if (save) buffers.which = buffers.which === 0 ? 1 : 0;
    this.progress = after(progress, plan, slot, this.historyLength);
    this.nextIndex = index + 1;
    return makeTensor(sample.source, sample.type, result, sample.dims) as T;
  }

  /**
   * alpha_t x0 + sigma_t noise, of x0's class, type and dims: where a run starts that begins at `t`.
   *
   * @param t a timestep of the schedule, or one for each sample; a training label where the schedule has no such one
   * @throws TypeError, RangeError for tensors or timesteps that do not fit
   */
  addNoise<T extends Tensor>(x0: T, noise: Tensor, t: number | bigint | ArrayLike<number>): T {
    const clean = readTensor(x0, 'x0');
    const z = readTensor(noise, 'the noise');
    if (!sameDims(z.dims, clean.dims)) throw wrongDims(clean.dims, 'the noise', z.dims);
    const times = typeof t === 'object' ? Array.from(numbers(t, 't')) : new Array<number>(clean.batch).fill(timeOf(t));
    if (times.length === 1) times.push(...new Array<number>(clean.batch - 1).fill(times[0]));
    if (times.length !== clean.batch) throw outOfRange(`${clean.batch} timesteps, one per sample,`, 't', times.length);
    const rows = new Float64Array(clean.batch * ROW.length);
    times.forEach((time, b) => {
      const { alpha, sigma } = this.noiseNode(time);
      rows[b * ROW.length + ROW.first + SUM.a] = alpha;
      rows[b * ROW.length + ROW.first + SUM.n] = sigma;
    });
    return combine(clean, z, rows) as T;
  }

  /** Does `step` take sChurn and its like? */
  protected readonly churns: boolean = false;

  /** What stands before setTimesteps: all of training. */
  protected abstract initial(): Schedule;
  protected abstract schedule(request: Request): Schedule;
  /** How many predictions are kept. */
  protected abstract readonly historyLength: number;
  /**
   * Fills `row`, which is all zeros, for the evaluation at `index`, of a sample that stands at node `at`: the same, but
   * where a repeated timestep was skipped.
   */
  protected abstract plan(
    schedule: Schedule,
    progress: Progress,
    at: number,
    index: number,
    options: StepOptions,
  ): Plan;
  /** alpha and sigma of a training label that the schedule does not have; null if there is none. */
  protected abstract trainingNode(t: number): Node | null;

  /** Where the sample stands before the evaluation at an index. */
  protected nodeAt(schedule: Schedule, index: number): Node {
    return schedule.nodes[index];
  }

  /** A multiple of a sample, of its class. */
  protected scaled(x: Tensor, factor: number): Tensor {
    const view = readTensor(x, 'the sample');
    const rows = new Float64Array(view.batch * ROW.length);
    for (let b = 0; b < view.batch; b++) rows[b * ROW.length + ROW.first + SUM.a] = factor;
    return combine(view, null, rows);
  }

  /** Where a sample at timestep `t` stands, before the step that it is for. */
  protected inputNode(t: number | bigint): Node {
    const schedule = this.ready('scaleModelInput');
    return this.nodeAt(schedule, this.locate(schedule, timeOf(t)).at);
  }

  /** Goes through the whole schedule without tensors, so that what has no value throws before the run. */
  private rehearse(schedule: Schedule): void {
    let progress: Progress = FRESH;
    for (let i = 0; i < schedule.timesteps.length; i++) {
      this.row.fill(0);
      const plan = this.plan(schedule, progress, i, i, {});
      progress = after(progress, plan, plan.keep ? freeSlot(progress.history) : -1, this.historyLength);
    }
  }

  private restart(begin: number | null): void {
    this.beginIndex = begin;
    this.nextIndex = null;
    this.progress = begin === null ? FRESH : { ...FRESH, begin };
    this.noiseSource = null;
    this.drawn = false;
  }

  private ready(what: string): Schedule {
    if (this.current) return this.current;
    throw new Error(`Expected setTimesteps to be called before ${what} but ${this.name} has no timesteps yet`);
  }

  /** The place of a timestep: the index of its evaluation, and of the node at which the sample stands. */
  private locate(schedule: Schedule, time: number): { index: number; at: number; begin: number } {
    const { timesteps } = schedule;
    const last = timesteps.length - 1;
    const next = this.nextIndex ?? this.beginIndex;
    if (next === null) {
      let found = timesteps.indexOf(time);
      // Of the two evaluations of a step at one timestep it is the second that begins the next step.
      if (this.order === 2 && found % 2 === 1 && timesteps[found + 1] === time) found++;
      if (found >= 0) return { index: found, at: found, begin: found };
      throw new RangeError(
        `Expected one of the ${last + 1} timesteps of the schedule, ${timesteps[0]} to ${timesteps[last]}, for t but received ${time}`,
      );
    }
    if (next > last) {
      throw new RangeError(
        `Expected at most ${last + 1 - this.progress.begin} steps after setTimesteps but received one more: setTimesteps starts another run`,
      );
    }
    const begin = this.progress.begin;
    if (timesteps[next] === time) return { index: next, at: next, begin };
    // A part of the schedule may have begun at any of several equal timesteps; the first one was assumed.
    const began = this.beginIndex === null && next > 0 && timesteps[next] === timesteps[begin];
    if (began) {
      let index = next;
      while (index <= last && timesteps[index] === timesteps[begin]) index++;
      if (timesteps[index] === time) return { index, at: next, begin };
    }
    throw new RangeError(
      `Expected timestep ${timesteps[next]}, the next one of the schedule, for t but received ${time}`,
    );
  }

  private buffersFor(sample: TensorView): Buffers {
    const old = this.buffers;
    if (old?.fit(sample)) return old;
    if (old && this.progress.count > 0) {
      throw old.stateType === stateTypeOf(sample)
        ? wrongDims(old.dims, 'the sample', sample.dims)
        : new TypeError(
            `Expected type '${old.stateType}', as at the run's first step, for the sample but received '${sample.type}'`,
          );
    }
    // The draws of a first step of another shape that failed.
    this.noiseSource = null;
    this.drawn = false;
    this.buffers = new Buffers(sample, this.historyLength);
    return this.buffers;
  }

  private fits(m: TensorView, sample: TensorView, buffers: Buffers, doubled: boolean): void {
    if (m.type !== buffers.stateType && !(m.type === 'float16' && buffers.stateType === 'float32')) {
      const allowed = buffers.stateType === 'float64' ? "type 'float64'" : "type 'float32' or 'float16'";
      throw new TypeError(`Expected ${allowed} for the model output but received '${m.type}'`);
    }
    const expected = [...sample.dims];
    if (doubled) expected[0] *= 2;
    if (sameDims(m.dims, expected)) return;
    const twice = [...expected];
    twice[1] *= 2;
    const { variance_type: variance } = this.settings;
    const learned = variance === 'learned' || variance === 'learned_range';
    if (learned && sample.dims.length > 1 && sameDims(m.dims, twice)) return;
    throw wrongDims(expected, 'the model output', m.dims);
  }

  private noiseFor(plan: Plan, buffers: Buffers, options: StepOptions): StateArray | null {
    if (!plan.draws) return null;
    const { noise: own } = options;
    if (own !== undefined) {
      const given = readTensor(own, 'the noise');
      if (!sameDims(given.dims, buffers.dims)) throw wrongDims(buffers.dims, 'the noise', given.dims);
      return given.type === buffers.stateType ? (given.data as StateArray) : buffers.converted(given.data);
    }
    const seed = options.seed;
    const key = Array.isArray(seed) ? `[${seed.join()}]` : String(seed);
    if (this.noiseSource === null || (seed !== undefined && this.noiseSource.key !== key)) {
      const source = new TorchNoise(seed === undefined ? Math.floor(Math.random() * 2 ** 32) : seed);
      source.skip(buffers.length, buffers.batch, buffers.stateType);
      this.noiseSource = { key, source };
      this.drawn = false;
    }
    const noise = buffers.noise();
    if (!this.drawn) {
      const { source } = this.noiseSource;
      for (let i = 0; i < (plan.idle ?? 0); i++) source.skip(buffers.length, buffers.batch, buffers.stateType);
      source.fill(noise, buffers.batch);
    }
    this.drawn = true;
    return noise;
  }

  private noiseNode(time: number): Node {
    const schedule = this.current;
    if (schedule) {
      // As diffusers: with a begin index it is where the run stands, whatever the timestep.
      if (this.beginIndex !== null) {
        return this.nodeAt(schedule, Math.min(this.nextIndex ?? this.beginIndex, schedule.timesteps.length - 1));
      }
      const index = schedule.timesteps.indexOf(time);
      if (index >= 0) return this.nodeAt(schedule, index);
    }
    const node = Number.isInteger(time) ? this.trainingNode(time) : null;
    if (node) return node;
    throw outOfRange('a timestep of the schedule or of training', 't', time);
  }
}

const CHURN_OPTIONS = ['sChurn', 'sTmin', 'sTmax', 'sNoise'] as const;
const STEP_OPTIONS = ['guidanceScale', 'noise', 'seed', 'eta', 'useClippedModelOutput', ...CHURN_OPTIONS];

function notDistilled(name: string, key: 'originalSteps' | 'strength'): TypeError {
  const option = key === 'strength' ? key : 'originalInferenceSteps';
  return new TypeError(`Expected no ${option} for setTimesteps of ${name}, whose schedule does not depend on it`);
}

/** Noise times what the second half of the output's channels says, where the plan asks for that. */
function shaped(
  plan: Plan,
  z: StateArray | null,
  m: TensorView,
  buffers: Buffers,
  doubled: boolean,
): StateArray | null {
  if (!plan.shapes || !z) return z;
  const { batch, length, dims } = buffers;
  const n = length / batch;
  if (m.length !== (doubled ? 4 : 2) * length) {
    const expected = [doubled ? 2 * batch : batch, 2 * dims[1], ...dims.slice(2)];
    throw wrongDims(expected, 'the model output, with its variance,', m.dims);
  }
  const wide = new Float64Array(m.length);
  addon.convert(m.data, wide);
  // Of a doubled batch it is the conditional half that counts.
  const first = doubled ? 2 * length : 0;
  const out = buffers.shaped();
  plan.shapes(z, (i) => wide[first + 2 * (i - (i % n)) + n + (i % n)], out);
  return out;
}

/** u + scale (m - u) wherever a row takes the network's output m. */
function guide(row: Float64Array, scale: number): void {
  row[ROW.cu] = (1 - scale) * row[ROW.cm];
  row[ROW.cm] *= scale;
  row[ROW.eu] = (1 - scale) * row[ROW.em];
  row[ROW.em] *= scale;
}

function spread(row: Float64Array, rows: Float64Array, batch: number): void {
  for (let b = 0; b < batch; b++) rows.set(row, b * ROW.length);
}

function sequence<T extends Int32Array | Float32Array>(array: T): Sequence<T> {
  return Object.defineProperty(array, 'data', { value: array }) as Sequence<T>;
}

function labelsOf({ integer, timesteps }: Schedule): Sequence {
  return integer ? sequence(Int32Array.from(timesteps)) : sequence(Float32Array.from(timesteps));
}

function timeOf(t: unknown): number {
  if (typeof t === 'bigint') return Number(t);
  return finiteNumber(t, 't');
}
