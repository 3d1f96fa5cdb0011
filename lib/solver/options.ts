// The options of a solver and of a run, and what is wrong with them.
import '../base/globals.js';
import {
  finiteNumber,
  knownOptions,
  numbers,
  oneOf,
  optionalFunction,
  optionalSignal,
  outOfRange,
  positiveNumber,
  safeInteger,
  stepCount,
  wholeNumber,
  wrongType,
} from '../base/check.js';
import type { Tensor, TensorType } from '../base/tensor.js';
import { SKIP_TYPES, type SkipType, timeGrid } from '../schedule/grid.js';
import type { NoiseSchedule } from '../schedule/noise-schedule.js';
import {
  NETWORK_KINDS,
  type NetworkKind,
  PUBLISHED_TYPES,
  type PublishedType,
  publishedTimes,
} from '../schedule/published-grid.js';
import { type GuidanceOption, isGuided, readGuidance } from './guidance.js';
import { evaluationsOf, type FittedTable, readTable, type SolverTable, tableTimes } from './table.js';

/**
 * A network: called with the state ([B, ...], or [2B, ...] under classifier-free guidance) and modelTime, gives its
 * prediction in a tensor of the same dims, of the state's type or in float16 for a float32 state. It must not write to x,
 * which may be the state itself; what it returns may be x, or one tensor again and again.
 */
export type Model<T extends Tensor = Tensor> = (x: T, t: number, signal?: AbortSignal) => Tensor | Promise<Tensor>;

export const ALGORITHMS = ['dpmsolver++', 'dpmsolver', 'sde-dpmsolver++', 'sde-dpmsolver'] as const;
/** Data prediction (`++`, arXiv 2211.01095) or noise prediction (arXiv 2206.00927), as ODE or as SDE (`sde-`). */
export type AlgorithmType = (typeof ALGORITHMS)[number];
export const MODEL_TYPES = ['noise', 'x_start', 'v', 'score', 'flow'] as const;
/** What a network predicts: epsilon, x0, v = alpha epsilon - sigma x0, the score -epsilon / sigma, epsilon - x0. */
export type NetworkType = (typeof MODEL_TYPES)[number];
export const METHODS = ['multistep', 'singlestep', 'singlestep_fixed', 'adaptive', 'ipndm'] as const;
/** Forms of the second-order term. */
export const SOLVER_TYPES = ['dpmsolver', 'taylor'] as const;
/**
 * Steps with earlier predictions, steps with stages of their own, the same in one order only, steps of controlled size, or
 * steps with earlier predictions of the noise in the weights of Adams and Bashforth (iPNDM), whatever the algorithm.
 */
export type SolverMethod = (typeof METHODS)[number];

/** What belongs to a network and its solver, wherever they run. */
export interface CommonSolverOptions<T extends Tensor = Tensor> {
  /** `'dpmsolver++'`: data prediction (default); `'dpmsolver'`: noise prediction; `sde-`: their stochastic forms. */
  algorithmType?: AlgorithmType;
  /** What the network predicts; `'noise'`. */
  modelType?: NetworkType;
  /** `{ type: 'uncond' }`. */
  guidance?: GuidanceOption<T>;
  /**
   * Dynamic thresholding (Saharia et al. 2022, arXiv 2205.11487): x0 is clipped to [-s, s] and divided by s, where s is a
   * quantile of |x0| in the sample. Data-prediction algorithms only; false.
   */
  thresholding?:
    | boolean
    | {
        /** Which quantile, 0 to 1; 0.995. */
        ratio?: number;
        /** s is at least this, above 0; 1. */
        maxValue?: number;
        /** s is at most this, above 0; Infinity. diffusers' schedulers have their `sample_max_value` here. */
        cap?: number;
      };
  /** The third-order multistep update as published, which is of second order (default), or corrected. */
  thirdOrder?: 'published' | 'exact';
  /**
   * Changes x0 after thresholding, at every evaluation; synchronous; data-prediction algorithms only. t is the
   * schedule's time. x0 is float32, or float64 where the state is, in xT's class, and may be changed in place.
   */
  correctX0?: (x0: T, t: number) => Tensor;
  /**
   * Changes the state after each completed step, counted from 1; t is the schedule's time there. x is float32, or
   * float64 where the state is, in xT's class, and may be changed in place. What it throws ends the run.
   */
  correctXt?: (x: T, t: number, step: number) => Tensor;
  /** What the network is given, where that is not xT's type. */
  modelDtype?: TensorType;
  /** Stop with an error where xT, the network's output or a corrector's result is not finite; true. */
  checkFinite?: boolean;
  /** Threads of the native step, 1 to 1024; as many as pay off. */
  threads?: number;
}

/** What belongs to one run, wherever that is. */
export interface CommonSampleOptions<X = Tensor> {
  /**
   * Network evaluations, 1 to 100,000; 20. `'singlestep_fixed'` makes floor(steps / order) order of them, adaptive runs
   * as many as they need.
   */
  steps?: number;
  /** Of the method; 2. Adaptive runs: 2 or 3. iPNDM: 1 to 4, 3 unless told, and 2 under guidance, where 4 is refused. */
  order?: 1 | 2 | 3 | 4;
  /** `'multistep'`. */
  method?: SolverMethod;
  /**
   * `'time_uniform'`, a published grid for a kind of `network` (multistep, not for inversions), or steps + 1 strictly
   * monotone times, both ends included.
   */
  skipType?: SkipType | PublishedType | readonly number[] | Float64Array;
  /** What a published grid is for; with such a skipType only. `'dmn'` takes the network for one in pixels without it. */
  network?: NetworkKind;
  /** Second and third order: the papers' weights, `'dpmsolver'` (default), or those of the Taylor expansion. */
  solverType?: 'dpmsolver' | 'taylor';
  /**
   * `'unic'`: each prediction corrects the step that led to it (UniC, Zhao et al. 2023, arXiv 2302.04867), at no further
   * evaluation. Multistep updates of an ODE; neither thought of for, nor better under, strong guidance.
   */
  corrector?: 'unic';
  /**
   * The first step takes no evaluation: the noise is x_T itself, but for its size (AFS, Dockhorn et al. 2022, arXiv
   * 2210.05475); false. Multistep and iPNDM, from sigma / alpha of 40 or more: what is left out is the data's mean.
   */
  afs?: boolean;
  /** The schedule's time at which the run begins; its T. */
  tStart?: number;
  /** The schedule's time at which it ends; its epsilon. */
  tEnd?: number;
  /** Lower orders at the end: below 10 steps (true, default), never (false), or below that many. */
  lowerOrderFinal?: boolean | number;
  /** One more evaluation at the end, whose x0 is the result; false. */
  denoiseToZero?: boolean;
  /** Adaptive: absolute tolerance; 0.0078. */
  atol?: number;
  /** Adaptive: relative tolerance; 0.05. */
  rtol?: number;
  /** Adaptive: PI step-size control with one stage reused after a rejection (default), or as published. */
  controller?: 'pi' | 'integral';
  /** Adaptive: most evaluations, then a RangeError; 1000. */
  maxNfe?: number;
  /** Of the SDE's noise: one for the whole batch, or one per sample. Chosen and returned where absent. */
  seed?: number | readonly number[];
  /**
   * Of SDE runs: `'torch'` (default), the draws of a torch script after the one of xT, or `'philox'`, drawn element by
   * element and so the same on every device.
   */
  noise?: 'torch' | 'philox';
  /** Return the states between; false. */
  intermediates?: boolean;
  /**
   * After each step. `x` is a view that the next step overwrites; `steps` is 0 for adaptive runs. What it throws, or a promise
   * that it returns rejects with, ends the run: at the next step, or when `sample` ends, which waits for such promises.
   */
  onStep?: (progress: Progress<X>) => unknown;
  /**
   * Times and rows made for this network (`dpm-solver/calibrate`, or imported), in place of a grid and of the solver's
   * own rows; with `steps` and `skipType` absent or agreeing. Multistep only, not for inversions, and what the rows
   * combine is the table's `form`, whatever the algorithm.
   */
  table?: SolverTable;
  /** Looked at between model calls; `sample` rejects with its reason. */
  signal?: AbortSignal;
}

/** What `onStep` of a run is told. */
export interface Progress<X = Tensor> {
  /** Completed steps. */
  step: number;
  /** How many there will be; 0 for adaptive runs, where nobody knows. */
  steps: number;
  /** Network evaluations so far. */
  nfe: number;
  /** The schedule's time that the state has reached. */
  t: number;
  /** The state, [B, ...]: a view that the next step overwrites, and that is not to be written to. Of xT's class. */
  x: X;
}

/** What a network may be given: which of them, says the engine. @internal */
export type NetworkDtype = TensorType | 'bfloat16';

/** Solver options, complete and checked. @internal */
export interface Solver {
  readonly schedule: NoiseSchedule;
  readonly algorithmType: AlgorithmType;
  readonly form: 'data' | 'noise';
  readonly tau2: 0 | 1;
  readonly modelType: NetworkType;
  readonly guidance: GuidanceOption;
  readonly thresholding: { readonly ratio: number; readonly maxValue: number; readonly cap: number } | null;
  readonly exact: boolean;
  readonly correctX0?: (x0: Tensor, t: number) => Tensor;
  readonly correctXt?: (x: Tensor, t: number, step: number) => Tensor;
  readonly modelDtype?: NetworkDtype;
  readonly checkFinite: boolean;
  readonly threads: number;
}

/** Sample options, complete and checked against the solver's. @internal */
export interface Sampler {
  readonly steps: number;
  readonly order: 1 | 2 | 3 | 4;
  readonly method: SolverMethod;
  readonly skipType: SkipType | Float64Array;
  readonly taylor: boolean;
  readonly tStart: number;
  readonly tEnd: number;
  readonly lowerOrderFinal: boolean | number;
  readonly denoiseToZero: boolean;
  readonly atol: number;
  readonly rtol: number;
  readonly controller: 'pi' | 'integral';
  readonly maxNfe: number;
  readonly seed?: number | readonly number[];
  readonly noise: 'torch' | 'philox';
  readonly intermediates: boolean;
  readonly onStep?: (progress: Progress) => unknown;
  readonly signal?: AbortSignal;
  readonly table?: FittedTable;
  readonly corrector?: 'unic';
  readonly afs: boolean;
}

/** @internal */
export const SOLVER_KEYS = [
  'algorithmType',
  'modelType',
  'guidance',
  'thresholding',
  'thirdOrder',
  'correctX0',
  'correctXt',
  'modelDtype',
  'checkFinite',
  'threads',
] as const satisfies (keyof CommonSolverOptions)[];

/** @internal */
export const SAMPLE_KEYS = [
  'steps',
  'order',
  'method',
  'skipType',
  'network',
  'solverType',
  'corrector',
  'afs',
  'tStart',
  'tEnd',
  'lowerOrderFinal',
  'denoiseToZero',
  'atol',
  'rtol',
  'controller',
  'maxNfe',
  'seed',
  'noise',
  'intermediates',
  'onStep',
  'table',
  'signal',
] as const satisfies (keyof CommonSampleOptions)[];

function boolean(value: unknown, name: string): boolean {
  return oneOf(value, name, [true, false]);
}

/**
 * @param modelDtypes what the engine can give the network
 * @internal
 */
export function readSolverOptions(
  schedule: NoiseSchedule,
  options: CommonSolverOptions,
  modelDtypes: readonly NetworkDtype[],
): Solver {
  const algorithmType = oneOf(options.algorithmType ?? 'dpmsolver++', 'algorithmType', ALGORITHMS);
  const threads = options.threads ?? 0;
  if (options.threads !== undefined) wholeNumber(threads, 'threads', 1, 1024);
  return {
    schedule,
    algorithmType,
    form: algorithmType.endsWith('++') ? 'data' : 'noise',
    tau2: algorithmType.startsWith('sde-') ? 1 : 0,
    modelType: oneOf(options.modelType ?? 'noise', 'modelType', MODEL_TYPES),
    guidance: readGuidance(options.guidance ?? { type: 'uncond' }),
    thresholding: readThresholding(options.thresholding ?? false),
    exact: oneOf(options.thirdOrder ?? 'published', 'thirdOrder', ['published', 'exact'] as const) === 'exact',
    correctX0: optionalFunction(options.correctX0, 'correctX0'),
    correctXt: optionalFunction(options.correctXt, 'correctXt'),
    modelDtype:
      options.modelDtype === undefined ? undefined : oneOf<NetworkDtype>(options.modelDtype, 'modelDtype', modelDtypes),
    checkFinite: boolean(options.checkFinite ?? true, 'checkFinite'),
    threads,
  };
}

function readThresholding(thresholding: CommonSolverOptions['thresholding']): Solver['thresholding'] {
  if (thresholding === false) return null;
  if (thresholding === true) return { ratio: 0.995, maxValue: 1, cap: Infinity };
  knownOptions(thresholding, ['ratio', 'maxValue', 'cap'], 'thresholding');
  const { ratio = 0.995, maxValue = 1, cap = Infinity } = thresholding as Partial<NonNullable<Solver['thresholding']>>;
  finiteNumber(ratio, 'thresholding.ratio');
  if (ratio < 0 || ratio > 1) throw outOfRange('a number from 0 to 1', 'thresholding.ratio', ratio);
  positiveNumber(maxValue, 'thresholding.maxValue');
  if (cap !== Infinity) positiveNumber(cap, 'thresholding.cap');
  return { ratio, maxValue, cap };
}

function readSkipType(skipType: unknown): SkipType | PublishedType | Float64Array {
  if (typeof skipType === 'string') {
    return oneOf(skipType as SkipType | PublishedType, 'skipType', [...SKIP_TYPES, ...PUBLISHED_TYPES]);
  }
  const times = numbers(skipType, 'skipType');
  if (times.length < 2) throw outOfRange('at least two times', 'skipType', times.length);
  return times;
}

/** The times of a published grid; whatever else skipType is, it stays. */
function resolvePublished(
  schedule: NoiseSchedule,
  skipType: SkipType | PublishedType | Float64Array,
  options: CommonSampleOptions,
  method: SolverMethod,
  inverse: boolean,
): SkipType | Float64Array {
  const { network, tStart, tEnd } = options;
  const kind = network === undefined ? undefined : oneOf(network, 'network', NETWORK_KINDS);
  const type = PUBLISHED_TYPES.find((one) => one === skipType);
  if (!type) {
    if (kind !== undefined) throw outOfRange('no network without a published grid for skipType', 'network', kind);
    return skipType as SkipType | Float64Array;
  }
  if (method !== 'multistep' && method !== 'ipndm') {
    throw outOfRange(`'multistep' or 'ipndm' with skipType '${type}'`, 'method', method);
  }
  if (inverse) throw outOfRange('another grid for an inversion', 'skipType', type);
  const steps = stepCount(options.steps ?? 20, 'steps') + (options.afs ? 1 : 0);
  return publishedTimes(schedule, type, { network: kind, steps, tStart, tEnd });
}

function readLowerOrderFinal(value: unknown): boolean | number {
  if (typeof value === 'boolean') return value;
  if (typeof value !== 'number') throw wrongType('true, false or a number', 'lowerOrderFinal', value);
  if (!(value >= 0)) throw outOfRange('a number of at least 0', 'lowerOrderFinal', value);
  return value;
}

/** Copied: what a run returns as its seeds is what it began with. */
function readSeed(seed: unknown): number | readonly number[] | undefined {
  if (seed === undefined) return undefined;
  if (Array.isArray(seed)) return Object.freeze(Array.from(seed, (one, i) => safeInteger(one, `seed[${i}]`)));
  if (typeof seed !== 'number') throw wrongType('a number or an array of numbers', 'seed', seed);
  return safeInteger(seed, 'seed');
}

/** @internal */
export function readSampleOptions(solver: Solver, options: CommonSampleOptions, inverse: boolean): Sampler {
  if (options.table !== undefined) return readTableOptions(solver, options, inverse);
  return afterZeroSteps(solver, readGridOptions(solver, options, inverse));
}

function readGridOptions(solver: Solver, options: CommonSampleOptions, inverse: boolean): Sampler {
  const { schedule } = solver;
  const method = oneOf(options.method ?? 'multistep', 'method', METHODS);
  const ipndm = method === 'ipndm';
  const guided = isGuided(solver.guidance);
  const order = wholeNumber(options.order ?? (ipndm && !guided ? 3 : 2), 'order', 1, ipndm ? 4 : 3) as 1 | 2 | 3 | 4;
  const afs = boolean(options.afs ?? false, 'afs');
  const skipType = resolvePublished(
    schedule,
    readSkipType(options.skipType ?? 'time_uniform'),
    options,
    method,
    inverse,
  );
  const times = typeof skipType === 'string' ? undefined : skipType;
  // Without its first evaluation a run has one step more than evaluations.
  const more = afs ? 1 : 0;
  const steps = stepCount(options.steps ?? (times ? times.length - 1 - more : 20), 'steps') + more;
  const tStart = options.tStart ?? times?.[0] ?? (inverse ? schedule.epsilon : schedule.T);
  const tEnd = options.tEnd ?? times?.[times.length - 1] ?? (inverse ? schedule.T : schedule.epsilon);
  const solverType = oneOf(options.solverType ?? 'dpmsolver', 'solverType', SOLVER_TYPES);
  const signal = optionalSignal(options.signal);
  const sampler: Sampler = {
    steps,
    order,
    method,
    skipType,
    taylor: solverType === 'taylor',
    tStart: schedule.within(tStart, options.tStart === undefined && times ? 'skipType[0]' : 'tStart'),
    tEnd: schedule.within(tEnd, options.tEnd === undefined && times ? `skipType[${times.length - 1}]` : 'tEnd'),
    lowerOrderFinal: readLowerOrderFinal(options.lowerOrderFinal ?? true),
    denoiseToZero: boolean(options.denoiseToZero ?? false, 'denoiseToZero'),
    atol: positiveNumber(options.atol ?? 0.0078, 'atol'),
    rtol: positiveNumber(options.rtol ?? 0.05, 'rtol'),
    controller: oneOf(options.controller ?? 'pi', 'controller', ['pi', 'integral'] as const),
    maxNfe: wholeNumber(options.maxNfe ?? 1000, 'maxNfe', 1),
    seed: readSeed(options.seed),
    noise: oneOf(options.noise ?? 'torch', 'noise', ['torch', 'philox'] as const),
    intermediates: boolean(options.intermediates ?? false, 'intermediates'),
    onStep: optionalFunction(options.onStep, 'onStep'),
    signal,
    afs,
    ...(options.corrector === undefined ? {} : { corrector: oneOf(options.corrector, 'corrector', ['unic'] as const) }),
  };
  checkTogether(solver, sampler, inverse);
  return sampler;
}

/**
 * CFG-Zero* lets the first steps of a flow pass without a velocity: what is left of the grid begins with x_T where they end.
 */
function afterZeroSteps({ guidance, schedule }: Solver, sampler: Sampler): Sampler {
  if (guidance.type !== 'classifier-free' || guidance.variant !== 'cfg-zero') return sampler;
  const { steps, method, tStart, tEnd } = sampler;
  const flow = schedule.kind === 'flow';
  const multistep = method === 'multistep' || method === 'ipndm';
  const zero = guidance.zeroSteps ?? (flow && multistep && tStart > tEnd && steps > PUBLISHED_ZERO_ABOVE ? 1 : 0);
  if (zero === 0) return sampler;
  if (!flow) throw outOfRange('0 but on a flow schedule', 'guidance.zeroSteps', zero);
  if (!multistep) throw outOfRange(`0 with method '${method}'`, 'guidance.zeroSteps', zero);
  if (tStart < tEnd) throw outOfRange('0 for an inversion', 'guidance.zeroSteps', zero);
  if (zero >= steps) throw outOfRange(`fewer than the ${steps} steps`, 'guidance.zeroSteps', zero);
  const times = timeGrid(schedule, sampler).subarray(zero);
  return { ...sampler, steps: steps - zero, skipType: times, tStart: times[0] };
}

/** Runs of no more steps have none to spare. */
const PUBLISHED_ZERO_ABOVE = 10;

/** The options of a run with a table, which says what most of them would. */
function readTableOptions(solver: Solver, options: CommonSampleOptions, inverse: boolean): Sampler {
  const { table: given, steps, skipType, tStart, tEnd, ...rest } = options;
  const table = readTable(given);
  const refuse = (expected: string, name: string, received: unknown): never => {
    throw outOfRange(`${expected} with table '${table.name}'`, name, received);
  };
  if (inverse) throw outOfRange('no table for an inversion', 'table', table.name);
  const method = options.method ?? 'multistep';
  if (method !== 'multistep') refuse("'multistep'", 'method', method);
  if (table.rows) {
    for (const name of ['order', 'solverType', 'lowerOrderFinal'] as const) {
      if (options[name] !== undefined) refuse(`no ${name}, as it has rows of its own,`, name, options[name]);
    }
  }
  const times = tableTimes(table, solver);
  const evaluations = evaluationsOf(table);
  if (steps !== undefined && steps !== evaluations) refuse(`${evaluations}`, 'steps', steps);
  const last = times[times.length - 1];
  if (tStart !== undefined && tStart !== times[0]) refuse(`${times[0]}`, 'tStart', tStart);
  if (tEnd !== undefined && tEnd !== last) refuse(`${last}`, 'tEnd', tEnd);
  if (skipType !== undefined) {
    const agrees =
      typeof skipType !== 'string' && skipType.length === times.length && times.every((t, i) => t === skipType[i]);
    if (!agrees) refuse('its own times, or none,', 'skipType', typeof skipType === 'string' ? skipType : 'others');
  }
  checkTableForm(solver, table);
  if (options.denoiseToZero && (last === 0 || table.form === 'output')) {
    refuse(last === 0 ? 'false, as it ends at sigma 0,' : "false, as its form is 'output',", 'denoiseToZero', true);
  }
  if (options.corrector !== undefined) refuse('no corrector but its own', 'corrector', options.corrector);
  if (options.afs) refuse('false, as it says itself what is evaluated,', 'afs', true);
  // The grid is only looked at for what the ends of a schedule allow; a table may go beyond the last time, to sigma 0.
  const order = table.rows ? 1 : options.order;
  const sampler = readGridOptions(solver, { ...rest, order, steps: times.length - 1, tStart: times[0] }, false);
  return { ...sampler, steps: evaluations, tEnd: last, table: { table, times } };
}

/** What a table's rows combine decides what else may be done to it. */
function checkTableForm(solver: Solver, table: SolverTable): void {
  const what = `with table '${table.name}', whose form is '${table.form}'`;
  const { thresholding, correctX0, guidance, tau2 } = solver;
  if (table.form !== 'data' && thresholding) throw outOfRange(`false ${what}`, 'thresholding', true);
  if (table.form !== 'data' && correctX0) throw outOfRange(`no function ${what}`, 'correctX0', 'a function');
  if (guidance.type === 'classifier-free') {
    const { variant, zeroSteps = 0 } = guidance;
    if (zeroSteps > 0) throw outOfRange(`0 ${what}`, 'guidance.zeroSteps', zeroSteps);
    const plain = table.form === 'data' && !table.correct && !table.modelTimes?.includes(null);
    if (variant === 'cfg++' && !plain) {
      throw outOfRange(
        `a variant other than 'cfg++' with table '${table.name}', whose form is not 'data' or which has more than rows,`,
        'guidance.variant',
        variant,
      );
    }
  }
  if (table.form === 'output' && guidance.type === 'classifier') {
    throw outOfRange(`'uncond' or 'classifier-free' ${what}`, 'guidance.type', guidance.type);
  }
  const noisy = table.noise !== undefined || (!table.rows && tau2 > 0);
  if (tau2 > 0 && !noisy) {
    throw outOfRange(
      `'dpmsolver++' or 'dpmsolver' with table '${table.name}', which adds no noise,`,
      'algorithmType',
      solver.algorithmType,
    );
  }
  if (tau2 === 0 && noisy) {
    throw outOfRange(
      `'sde-dpmsolver++' or 'sde-dpmsolver' with table '${table.name}', which adds noise,`,
      'algorithmType',
      solver.algorithmType,
    );
  }
  if (tau2 > 0 && table.modelTimes?.includes(null)) {
    throw outOfRange(
      `'dpmsolver++' or 'dpmsolver' with table '${table.name}', which has steps without an evaluation,`,
      'algorithmType',
      solver.algorithmType,
    );
  }
}

/** What each option allows, but the two together do not. */
function checkTogether(solver: Solver, sampler: Sampler, inverse: boolean): void {
  const { tStart, tEnd, method, order, steps } = sampler;
  const refuse = (expected: string, name: string, received: unknown): never => {
    throw new RangeError(`Expected ${expected} for ${name} but received ${String(received)}`);
  };
  if (tStart === tEnd) refuse('a time other than tStart', 'tEnd', tEnd);
  if (inverse && tStart > tEnd) refuse('a time above tStart, as invert goes from data to noise,', 'tEnd', tEnd);
  const towardsNoise = tStart < tEnd;
  if (solver.tau2 > 0 && towardsNoise) {
    refuse("'dpmsolver++' or 'dpmsolver', as an SDE cannot be inverted,", 'algorithmType', `'${solver.algorithmType}'`);
  }
  if (towardsNoise && sampler.denoiseToZero) refuse('false, as an inversion ends in noise,', 'denoiseToZero', true);
  if (sampler.corrector && method !== 'multistep') refuse("'multistep' with a corrector", 'method', `'${method}'`);
  if (sampler.corrector && solver.tau2 > 0) {
    refuse("'dpmsolver++' or 'dpmsolver' with a corrector", 'algorithmType', `'${solver.algorithmType}'`);
  }
  if (sampler.afs) checkAfs(solver, sampler);
  if (method === 'ipndm') checkIpndm(solver, sampler);
  checkVariant(solver, sampler);
  if (solver.form === 'noise' && solver.thresholding) {
    refuse(
      "a data-prediction algorithm ('dpmsolver++' or 'sde-dpmsolver++') with thresholding",
      'algorithmType',
      `'${solver.algorithmType}'`,
    );
  }
  if (solver.form === 'noise' && solver.correctX0) {
    refuse(
      "a data-prediction algorithm ('dpmsolver++' or 'sde-dpmsolver++') with correctX0",
      'algorithmType',
      `'${solver.algorithmType}'`,
    );
  }
  if (method === 'adaptive') {
    if (solver.tau2 > 0) {
      refuse(
        "'dpmsolver++' or 'dpmsolver', as an adaptive run has no SDE form,",
        'algorithmType',
        `'${solver.algorithmType}'`,
      );
    }
    if (order === 1) refuse('2 or 3 with an adaptive run', 'order', order);
    if (typeof sampler.skipType !== 'string') refuse('no list of times with an adaptive run', 'skipType', 'an array');
    if (solver.correctXt) refuse('no function with an adaptive run', 'correctXt', 'a function');
  } else if ((method === 'multistep' || method === 'singlestep_fixed') && steps < order) {
    refuse(`at least ${order}, the order of a ${method} run,`, 'steps', steps);
  }
}

function checkVariant({ guidance, form }: Solver, { method, tStart, tEnd, corrector, afs }: Sampler): void {
  if (guidance.type !== 'classifier-free') return;
  const { variant = 'cfg', momentum = 0 } = guidance;
  if (variant === 'apg' && momentum !== 0 && method === 'adaptive') {
    throw outOfRange("0 with method 'adaptive', which tries steps again,", 'guidance.momentum', momentum);
  }
  if (variant !== 'cfg++') return;
  const what = "with guidance variant 'cfg++'";
  if (form !== 'data') throw outOfRange(`'dpmsolver++' or 'sde-dpmsolver++' ${what}`, 'algorithmType', 'dpmsolver');
  if (method !== 'multistep') throw outOfRange(`'multistep' ${what}`, 'method', method);
  if (tStart < tEnd) throw outOfRange('another variant for an inversion', 'guidance.variant', variant);
  if (corrector) throw outOfRange(`no corrector ${what}`, 'corrector', corrector);
  if (afs) throw outOfRange(`false ${what}`, 'afs', true);
}

/** Below this sigma / alpha the data's mean is seen in the first direction: see bench/few. */
const LEAST_AFS = 40;

function checkAfs(solver: Solver, { method, tStart, tEnd, corrector }: Sampler): void {
  if (method !== 'multistep' && method !== 'ipndm')
    throw outOfRange("'multistep' or 'ipndm' with afs", 'method', method);
  if (solver.tau2 > 0) throw outOfRange("'dpmsolver++' or 'dpmsolver' with afs", 'algorithmType', solver.algorithmType);
  if (tStart < tEnd) throw outOfRange('false for an inversion', 'afs', true);
  if (corrector) throw outOfRange('no corrector with afs', 'corrector', corrector);
  const { alpha, sigma } = solver.schedule.node(tStart);
  if (!(sigma >= LEAST_AFS * alpha)) {
    throw outOfRange(`a time with sigma / alpha of at least ${LEAST_AFS} with afs`, 'tStart', tStart);
  }
}

function checkIpndm(solver: Solver, { order, tStart, tEnd }: Sampler): void {
  const { guidance, schedule, modelType, tau2, algorithmType, thresholding, correctX0 } = solver;
  if (order === 4 && isGuided(guidance)) {
    throw outOfRange("1, 2 or 3 under guidance with method 'ipndm'", 'order', order);
  }
  if (tStart < tEnd) throw outOfRange("another method than 'ipndm' for an inversion", 'method', 'ipndm');
  if (tau2 > 0) throw outOfRange("'dpmsolver++' or 'dpmsolver' with method 'ipndm'", 'algorithmType', algorithmType);
  if (thresholding) throw outOfRange("false with method 'ipndm', which works in noise,", 'thresholding', true);
  if (correctX0) throw outOfRange("no function with method 'ipndm', which works in noise,", 'correctX0', 'a function');
  if (schedule.kind === 'flow' && (modelType !== 'flow' || guidance.type === 'classifier')) {
    throw outOfRange("another method than 'ipndm' on a flow schedule, but for a network of flow,", 'method', 'ipndm');
  }
}
