// Solver tables: the times of a run, what the network is told there, and one row for each step. What a multistep solver
// of any kind does can be written as one.
import { MODEL_TYPE, type ModelType } from '../addon/coefficients.js';
import { finiteNumber, knownOptions, numbers, oneOf, outOfRange, wrongType } from '../base/check.js';
import type { NoiseSchedule, ScheduleKind } from '../schedule/noise-schedule.js';
import { fingerprint, nodeOf, sameFingerprint, sigmaOf, timeOfSigma } from '../schedule/sigmas.js';
import { type ClassifierFreeGuidance, type GuidanceVariant, readClassifierFree } from './guidance.js';

export const TABLE_FORMAT = 'dpm-solver-table/1';
const KINDS = ['discrete', 'linear', 'cosine', 'flow', 'edm'] as const;
const FORMS = ['data', 'noise', 'output'] as const satisfies TableForm[];

/** What the rows of a table combine: x0, epsilon, or the network's own outputs after guidance. */
export type TableForm = 'data' | 'noise' | 'output';

/**
 * A solver as numbers, for a network and a number of steps; JSON. For i = 0 .. n - 1 the network is asked at x_i, its
 * output becomes m_i (in the table's form, at sigmas[i]), and
 *
 *     x_i+1 = a y_i + c_i m_i + c_i-1 m_i-1 + ... + noise_i z
 *
 * with y_i = x_i, unless `correct` says otherwise.
 */
export interface SolverTable {
  /** Says what this is, and by which rules. */
  format: 'dpm-solver-table/1';
  /** What it is called. */
  name: string;
  /** Who made it, from what. */
  source?: string;
  /** What the network predicts; refused for another one. */
  modelType: ModelType;
  /** What it was made for; refused for another one. */
  schedule: {
    /** As in NoiseSchedule. */
    kind: ScheduleKind;
    /** `tableSchedule` makes it: lambda at five times. */
    hash?: string;
  };
  /** What the rows combine. */
  form: TableForm;
  /** n + 1, falling: sigma / alpha, for flow sigma itself, in [0, 1] and after the shift; the last may be 0. */
  sigmas: readonly number[];
  /** n + 1: the schedule's times of these sigmas, where they are known to more digits than the sigmas tell. */
  times?: readonly number[];
  /**
   * n: what the network is told, where that is not the time of sigmas[i]. null: no evaluation, and m_i is what
   * `derive[i]` says.
   */
  modelTimes?: readonly (number | null)[];
  /** Of entries without an evaluation [ex, d1, d2, d3]: m_i = ex x_i + d1 m_i-1 + d2 m_i-2 + d3 m_i-3; `[]` elsewhere. */
  derive?: readonly (readonly number[])[];
  /**
   * n rows [a, c_i, c_i-1, ...], at most i + 2 entries, added in this order. Absent: the solver's own rows on these
   * sigmas.
   */
  rows?: readonly (readonly number[])[];
  /**
   * n correctors [A, C_i, C_i-1, ...] or null: y_i = A y_i-1 + C_i m_i + C_i-1 m_i-1 + ... is what the step starts from;
   * what the network saw stays x_i. The first is null.
   */
  correct?: readonly (readonly number[] | null)[];
  /** n weights of fresh noise. */
  noise?: readonly number[];
  /** What the network was guided with when it was made. */
  guidance?: TableGuidance;
  /** How it did on samples that it was not fitted to: smaller is better. */
  heldOut?: {
    /** What was measured. */
    metric: string;
    /** With the table. */
    table: number;
    /** With the classic solver that these samples choose. */
    classic: number;
    /** How many there were. */
    samples: number;
  };
}

/** Options of a `'classifier-free'` guidance, as a table keeps them. */
export interface TableGuidance {
  /** s of u + s (c - u). */
  scale: number;
  /** How the two predictions are combined; `'cfg'`. */
  variant?: GuidanceVariant;
  /** sigma / alpha between which the network is guided, the lower one first. */
  interval?: readonly [number, number];
  /** Of `'apg'`: how much of the parallel part stays. */
  eta?: number;
  /** Of `'apg'`: the most that the difference may be. */
  norm?: number;
  /** Of `'apg'`: how much of earlier differences goes on. */
  momentum?: number;
  /** Of `'apg'`: what the difference is added to; `'cond'`. */
  base?: 'cond' | 'uncond';
  /** How much of the guided prediction's deviation is that of the conditional one. */
  rescale?: number;
}

const KEYS = [
  'format',
  'name',
  'source',
  'modelType',
  'schedule',
  'form',
  'sigmas',
  'times',
  'modelTimes',
  'derive',
  'rows',
  'correct',
  'noise',
  'guidance',
  'heldOut',
] as const satisfies (keyof SolverTable)[];

/**
 * A table, checked and copied, so that nobody changes it under a run.
 *
 * @param value what came, as from JSON.parse
 * @param name what it is, for errors
 * @throws TypeError, RangeError that name the entry for a table that is none
 */
export function readTable(value: unknown, name = 'table'): SolverTable {
  knownOptions(value, KEYS, name);
  const given = value as Record<string, unknown>;
  oneOf(given.format as string, `${name}.format`, [TABLE_FORMAT]);
  const sigmas = readSigmas(given.sigmas, `${name}.sigmas`);
  const n = sigmas.length - 1;
  const schedule = given.schedule as SolverTable['schedule'];
  knownOptions(schedule, ['kind', 'hash'], `${name}.schedule`);
  const table: SolverTable = {
    format: TABLE_FORMAT,
    name: text(given.name, `${name}.name`),
    modelType: oneOf(given.modelType as ModelType, `${name}.modelType`, Object.keys(MODEL_TYPE) as ModelType[]),
    schedule: {
      kind: oneOf(schedule.kind, `${name}.schedule.kind`, KINDS),
      ...(schedule.hash === undefined ? {} : { hash: text(schedule.hash, `${name}.schedule.hash`) }),
    },
    form: oneOf(given.form as TableForm, `${name}.form`, FORMS),
    sigmas: Array.from(sigmas),
  };
  if (table.schedule.kind === 'flow' && sigmas[0] > 1) {
    throw outOfRange('sigmas of at most 1 with a flow schedule', `${name}.sigmas`, sigmas[0], ' at index 0');
  }
  if (given.source !== undefined) table.source = text(given.source, `${name}.source`);
  if (given.times !== undefined) table.times = readTimes(given.times, n, `${name}.times`);
  if (given.modelTimes !== undefined) table.modelTimes = readModelTimes(given.modelTimes, n, `${name}.modelTimes`);
  if (given.derive !== undefined || table.modelTimes?.includes(null)) {
    table.derive = readDerive(given.derive, table.modelTimes, n, `${name}.derive`);
  }
  if (given.rows !== undefined) {
    table.rows = entries(given.rows, n, `${name}.rows`).map((row, i) => readRow(row, i, `${name}.rows[${i}]`));
  }
  if (given.correct !== undefined) table.correct = readCorrect(given.correct, n, `${name}.correct`);
  if (given.noise !== undefined) table.noise = readNoise(given.noise, n, `${name}.noise`);
  if (given.guidance !== undefined) table.guidance = readTableGuidance(given.guidance, `${name}.guidance`);
  if (given.heldOut !== undefined) table.heldOut = readHeldOut(given.heldOut, `${name}.heldOut`);
  checkParts(table, name);
  return table;
}

function text(value: unknown, name: string): string {
  if (typeof value !== 'string') throw wrongType('a string', name, value);
  return value;
}

function finiteNumbers(value: unknown, name: string): number[] {
  return Array.from(numbers(value, name), (number, i) => finiteNumber(number, `${name}[${i}]`));
}

/** A list of `n` things. */
function entries(value: unknown, n: number, name: string): unknown[] {
  if (!Array.isArray(value)) throw wrongType('an array', name, value);
  if (value.length !== n) throw outOfRange(`${n} entries, one a step,`, name, value.length);
  return value;
}

function readSigmas(value: unknown, name: string): number[] {
  const sigmas = finiteNumbers(value, name);
  if (sigmas.length < 2) throw outOfRange('at least two numbers', name, sigmas.length);
  sigmas.forEach((sigma, i) => {
    if (sigma < 0) throw outOfRange('numbers of at least 0', name, sigma, ` at index ${i}`);
    if (i > 0 && !(sigma < sigmas[i - 1])) {
      throw outOfRange('strictly falling numbers', name, sigma, ` after ${sigmas[i - 1]} at index ${i}`);
    }
  });
  return sigmas;
}

function readTimes(value: unknown, n: number, name: string): number[] {
  const times = finiteNumbers(value, name);
  if (times.length !== n + 1) throw outOfRange(`${n + 1} times, as there are sigmas,`, name, times.length);
  return times;
}

function readModelTimes(value: unknown, n: number, name: string): (number | null)[] {
  const times = entries(value, n, name).map((t, i) => (t === null ? null : finiteNumber(t, `${name}[${i}]`)));
  if (times.every((t) => t === null)) throw outOfRange('at least one evaluation', name, 'null throughout');
  return times;
}

function readDerive(value: unknown, modelTimes: SolverTable['modelTimes'], n: number, name: string): number[][] {
  return entries(value, n, name).map((one, i) => {
    const numbers = finiteNumbers(one, `${name}[${i}]`);
    const derived = modelTimes?.[i] === null;
    const most = derived ? Math.min(4, i + 1) : 0;
    if (numbers.length <= most && (!derived || numbers.length > 0)) return numbers;
    const expected = derived
      ? `1 to ${most} numbers, as there is no evaluation,`
      : 'no numbers, as there is an evaluation,';
    throw outOfRange(expected, `${name}[${i}]`, numbers.length);
  });
}

/** What the state counts, and what each of at most i + 1 predictions does. */
function readRow(value: unknown, i: number, name: string): number[] {
  const row = finiteNumbers(value, name);
  if (row.length >= 2 && row.length <= i + 2) return row;
  throw outOfRange(`${i === 0 ? '2' : `2 to ${i + 2}`} numbers, as there are ${i + 1} predictions,`, name, row.length);
}

function readCorrect(value: unknown, n: number, name: string): (number[] | null)[] {
  const rows = entries(value, n, name).map((row, i) => (row === null ? null : readRow(row, i, `${name}[${i}]`)));
  if (rows[0] !== null) throw outOfRange('null, as nothing comes before the first step,', `${name}[0]`, 'an array');
  return rows;
}

function readNoise(value: unknown, n: number, name: string): number[] {
  const noise = finiteNumbers(value, name);
  if (noise.length !== n) throw outOfRange(`${n} numbers, one a step,`, name, noise.length);
  noise.forEach((one, i) => {
    if (one < 0) throw outOfRange('numbers of at least 0', name, one, ` at index ${i}`);
  });
  return noise;
}

function readTableGuidance(value: unknown, name: string): TableGuidance {
  knownOptions(value, ['scale', 'variant', 'interval', 'eta', 'norm', 'momentum', 'base', 'rescale'], name);
  const given = value as Omit<ClassifierFreeGuidance, 'type'>;
  finiteNumber(given.scale, `${name}.scale`);
  return readClassifierFree(given, (key) => `${name}.${key}`) as TableGuidance;
}

function readHeldOut(value: unknown, name: string): NonNullable<SolverTable['heldOut']> {
  knownOptions(value, ['metric', 'table', 'classic', 'samples'], name);
  const { metric, table, classic, samples } = value as Record<string, unknown>;
  return {
    metric: text(metric, `${name}.metric`),
    table: finiteNumber(table, `${name}.table`),
    classic: finiteNumber(classic, `${name}.classic`),
    samples: finiteNumber(samples, `${name}.samples`),
  };
}

/** What each part allows, but two together do not. */
function checkParts(table: SolverTable, name: string): void {
  const refuse = (what: string, beside: string) => {
    throw outOfRange(`no ${what} beside ${beside}`, `${name}.${what}`, 'one');
  };
  const derives = table.modelTimes?.includes(null) ?? false;
  if (derives && table.correct) refuse('correct', 'steps without an evaluation');
  if (derives && table.noise) refuse('noise', 'steps without an evaluation');
  if (table.correct && !table.rows) refuse('correct', "the solver's own rows");
  if (table.noise && !table.rows) refuse('noise', "the solver's own rows");
  if (table.form === 'output' && !table.rows) {
    throw outOfRange("'data' or 'noise' without rows", `${name}.form`, table.form);
  }
}

/** Evaluations of a run with this table. */
export function evaluationsOf({ sigmas, modelTimes }: SolverTable): number {
  return modelTimes ? modelTimes.filter((t) => t !== null).length : sigmas.length - 1;
}

/** What a table says of the schedule that it is made for. */
export function tableSchedule(schedule: NoiseSchedule): SolverTable['schedule'] {
  return { kind: schedule.kind, hash: fingerprint(schedule) };
}

/** A table and the times of a schedule that it fits. */
export interface FittedTable {
  readonly table: SolverTable;
  /** Of its sigmas. */
  readonly times: Float64Array;
}

/**
 * The schedule's times of a table, n + 1 of them; 0 where sigma is 0.
 *
 * @throws RangeError for a table of another schedule or another kind of network
 */
export function tableTimes(
  table: SolverTable,
  { schedule, modelType }: { schedule: NoiseSchedule; modelType: ModelType },
): Float64Array {
  const what = `table '${table.name}'`;
  if (table.modelType !== modelType) {
    throw outOfRange(`'${table.modelType}' with ${what}`, 'modelType', modelType);
  }
  const { kind, hash } = table.schedule;
  if (kind !== schedule.kind) {
    throw outOfRange(`a schedule of kind '${kind}' with ${what}`, 'schedule', schedule.kind);
  }
  if (hash !== undefined && !sameFingerprint(hash, fingerprint(schedule))) {
    throw new RangeError(
      `Expected the schedule that ${what} was made for, with lambda ${hash}, for schedule but received one with lambda ${fingerprint(schedule)}`,
    );
  }
  const { sigmas, times } = table;
  if (!times) return Float64Array.from(sigmas, (sigma, i) => timeOfSigma(schedule, sigma, `sigmas[${i}] of ${what}`));
  return Float64Array.from(times, (t, i) => {
    const within = t === 0 && sigmas[i] === 0 ? 0 : schedule.within(t, `times[${i}] of ${what}`);
    const sigma = sigmas[i] === 0 ? nodeOf(schedule, within).sigma : sigmaOf(schedule, within);
    if (Math.abs(sigma - sigmas[i]) <= 1e-6 * sigma) return within;
    throw outOfRange(`the time of sigma ${sigmas[i]}`, `times[${i}] of ${what}`, t, `, which is that of ${sigma}`);
  });
}
