// The options of a calibration, and what is wrong with them.
import '../base/globals.js';
import {
  finiteNumber,
  knownOptions,
  oneOf,
  optionalFunction,
  optionalSignal,
  outOfRange,
  safeInteger,
  stepCount,
  wholeNumber,
  wrongType,
} from '../base/check.js';
import type { Tensor } from '../base/tensor.js';
import { NoiseSchedule } from '../schedule/noise-schedule.js';
import { MODEL_TYPES, type NetworkType } from '../solver/options.js';
import type { Range } from './compare.js';

/** As DPMSolver's. */
export interface CalibratedGuidance {
  /** The only kind. */
  type: 'classifier-free';
  /** s of u + s (c - u). */
  scale: number;
}

/** What is calibrated and how much it may cost. */
export interface CalibrateOptions {
  /** What the network predicts; `'noise'`. */
  modelType?: NetworkType;
  /** Classifier-free guidance: the model is called with the batch doubled. A number is its scale. */
  guidance?: number | CalibratedGuidance;
  /** Evaluations that a table is wanted for, 2 to 100, one or several. */
  steps: number | readonly number[];
  /** The start of sample i, [1, ...], noise scaled as the schedule has it at tStart; the same every time it is asked for. */
  sample: (i: number) => Tensor;
  /** Samples that tables are fitted to; 32. */
  samples?: number;
  /** Further samples that choose between tables and classic solvers; 128. */
  heldOut?: number;
  /** What fitting may cost for each number of steps, in evaluations of one sample; the teacher and the choice come beside it. */
  budget?: {
    /** 5,000. */
    evaluations?: number;
  };
  /** What samples are compared with. */
  teacher?: {
    /** Evaluations that it takes; 60. */
    steps?: number;
  };
  /** The schedule's time at which runs begin; its T. */
  tStart?: number;
  /** The schedule's time at which they end; its epsilon. */
  tEnd?: number;
  /** What ends are clipped to before they are compared, where the network makes pixels: [-1, 1], as a rule. */
  range?: readonly [low: number, high: number];
  /** Samples that share a call of the model; as many as make 2^18 numbers, at most 64. */
  batch?: number;
  /** Chooses bootstraps; 0. */
  seed?: number;
  /** What the tables are called; the number of evaluations is added. */
  name?: string;
  /** Told after each call of the model. */
  onProgress?: (progress: CalibrateProgress) => void;
  /** Looked at before each call of the model; the promise rejects with its reason. */
  signal?: AbortSignal;
  /** A folder that keeps what has been done: with the same options a calibration that was stopped goes on there. */
  resume?: string;
}

/** How far a calibration has come. */
export interface CalibrateProgress {
  /** What is being done. */
  stage: 'teacher' | 'classics' | 'search' | 'fit' | 'choose';
  /** For how many evaluations; absent for the teacher, whom all share. */
  steps?: number;
  /** Evaluations so far, of one sample each. */
  done: number;
  /** How many there will be at most, about. */
  of: number;
  /** Since the beginning. */
  seconds: number;
  /** About how many more; absent at the very beginning. */
  left?: number;
}

/** Options, complete and checked. */
export interface Settings {
  readonly schedule: NoiseSchedule;
  readonly modelType: NetworkType;
  readonly scale: number;
  readonly steps: readonly number[];
  readonly sample: (i: number) => Tensor;
  readonly samples: number;
  readonly heldOut: number;
  readonly budget: number;
  readonly teacherSteps: number;
  readonly tStart: number;
  readonly tEnd: number;
  readonly range: Range;
  readonly batch: number | undefined;
  readonly seed: number;
  readonly name: string;
  readonly onProgress?: (progress: CalibrateProgress) => void;
  readonly signal?: AbortSignal;
  readonly resume?: string;
}

const KEYS = [
  'modelType',
  'guidance',
  'steps',
  'sample',
  'samples',
  'heldOut',
  'budget',
  'teacher',
  'tStart',
  'tEnd',
  'range',
  'batch',
  'seed',
  'name',
  'onProgress',
  'signal',
  'resume',
] as const satisfies (keyof CalibrateOptions)[];

/** Fewer say nothing about others. */
const LEAST_SAMPLES = 4;
const LEAST_HELD_OUT = 8;

export function readCalibrateOptions(schedule: unknown, options: CalibrateOptions): Settings {
  if (!(schedule instanceof NoiseSchedule)) throw wrongType('a NoiseSchedule', 'schedule', schedule);
  knownOptions(options, KEYS, 'calibrate');
  const { budget = {}, teacher = {} } = options;
  knownOptions(budget, ['evaluations'], 'budget');
  knownOptions(teacher, ['steps'], 'teacher');
  if (typeof options.sample !== 'function') throw wrongType('a function', 'sample', options.sample);
  const tStart = schedule.within(options.tStart ?? schedule.T, 'tStart');
  const tEnd = schedule.within(options.tEnd ?? schedule.epsilon, 'tEnd');
  if (!(tEnd < tStart)) throw outOfRange('a time below tStart', 'tEnd', tEnd);
  const steps = readSteps(options.steps);
  const teacherSteps = wholeNumber(teacher.steps ?? 60, 'teacher.steps', 2, 1000);
  const most = Math.max(...steps);
  if (teacherSteps < 2 * most)
    throw outOfRange(`at least ${2 * most}, twice the steps,`, 'teacher.steps', teacherSteps);
  const { resume, name } = options;
  if (resume !== undefined && typeof resume !== 'string') throw wrongType('a folder', 'resume', resume);
  if (name !== undefined && typeof name !== 'string') throw wrongType('a string', 'name', name);
  return {
    schedule,
    modelType: oneOf(options.modelType ?? 'noise', 'modelType', MODEL_TYPES),
    scale: readScale(options.guidance),
    steps,
    sample: options.sample,
    samples: wholeNumber(options.samples ?? 32, 'samples', LEAST_SAMPLES),
    heldOut: wholeNumber(options.heldOut ?? 128, 'heldOut', LEAST_HELD_OUT),
    budget: wholeNumber(budget.evaluations ?? 5000, 'budget.evaluations', 1),
    teacherSteps,
    tStart,
    tEnd,
    range: readRange(options.range),
    batch: options.batch === undefined ? undefined : wholeNumber(options.batch, 'batch', 1),
    seed: safeInteger(options.seed ?? 0, 'seed'),
    name: name ?? 'calibrated',
    onProgress: optionalFunction(options.onProgress, 'onProgress'),
    signal: optionalSignal(options.signal),
    resume,
  };
}

function readSteps(steps: unknown): number[] {
  const list = Array.isArray(steps) ? steps : [steps];
  if (list.length === 0) throw outOfRange('at least one number', 'steps', 'none');
  const read = list.map((one) => wholeNumber(stepCount(one, 'steps'), 'steps', 2, 100));
  const twice = read.find((one, i) => read.indexOf(one) !== i);
  if (twice !== undefined) throw outOfRange('each number of steps once', 'steps', twice, ' twice');
  return read;
}

function readScale(guidance: CalibrateOptions['guidance']): number {
  if (guidance === undefined) return 1;
  if (typeof guidance === 'number') return finiteNumber(guidance, 'guidance');
  knownOptions(guidance, ['type', 'scale'], 'guidance');
  oneOf(guidance.type, 'guidance.type', ['classifier-free']);
  return finiteNumber(guidance.scale, 'guidance.scale');
}

function readRange(range: unknown): Range {
  if (range === undefined) return null;
  if (!Array.isArray(range) || range.length !== 2) throw wrongType('two numbers', 'range', range);
  const [low, high] = range.map((one, i) => finiteNumber(one, `range[${i}]`));
  if (!(low < high)) throw outOfRange('two numbers, the lower one first,', 'range', `${low}, ${high}`);
  return [low, high];
}
