// The table of a classic solver: what its plan says, as a table says it.
import { ROW, SUM } from '../addon/coefficients.js';
import { outOfRange } from '../base/check.js';
import type { SkipType } from '../schedule/grid.js';
import type { NoiseSchedule } from '../schedule/noise-schedule.js';
import type { NetworkKind, PublishedType } from '../schedule/published-grid.js';
import { sigmaOf } from '../schedule/sigmas.js';
import { type AlgorithmType, type NetworkType, readSampleOptions, readSolverOptions } from './options.js';
import { fixedPlan } from './planner.js';
import { type SolverTable, TABLE_FORMAT, tableSchedule } from './table.js';

/** What a classic solver's table depends on: as for `DPMSolver` and its `sample`. */
export interface ClassicOptions {
  /** `'dpmsolver++'`. */
  algorithmType?: AlgorithmType;
  /** What the network predicts; `'noise'`. */
  modelType?: NetworkType;
  /** The third-order update as published (default), or corrected. */
  thirdOrder?: 'published' | 'exact';
  /** Network evaluations; 20. */
  steps?: number;
  /** 1 to 3; 2. */
  order?: 1 | 2 | 3;
  /** `'time_uniform'`, a published grid, or steps + 1 falling times. */
  skipType?: SkipType | PublishedType | readonly number[] | Float64Array;
  /** What a published grid is for. */
  network?: NetworkKind;
  /** The papers' weights, `'dpmsolver'` (default), or those of the Taylor expansion. */
  solverType?: 'dpmsolver' | 'taylor';
  /** The schedule's time at which the run begins; its T. */
  tStart?: number;
  /** The schedule's time at which it ends; its epsilon. */
  tEnd?: number;
  /** Lower orders at the end: below 10 steps (true, default), never (false), or below that many. */
  lowerOrderFinal?: boolean | number;
  /** What the table is called. */
  name?: string;
}

/**
 * The table of DPM-Solver or DPM-Solver++ multistep: a run with it is the classic run, bit for bit. A beginning for
 * tables of one's own.
 *
 * @param schedule what it is for
 * @param options as for `DPMSolver` and its `sample`
 * @throws TypeError, RangeError as those do
 */
export function classicTable(schedule: NoiseSchedule, options: ClassicOptions = {}): SolverTable {
  const { name, algorithmType, modelType, thirdOrder, ...sample } = options;
  const solver = readSolverOptions(schedule, { algorithmType, modelType, thirdOrder }, ['float32']);
  const sampler = readSampleOptions(solver, sample, false);
  if (sampler.tStart < sampler.tEnd) throw outOfRange('a time below tStart', 'tEnd', sampler.tEnd);
  const { evaluations, rows, start } = fixedPlan(solver, sampler);
  const times = [start, ...evaluations.map(({ reached }) => reached!)];
  const sum = (row: number, offset: number) => rows[row * ROW.length + ROW.first + offset];
  const noise = evaluations.map(({ row }) => sum(row, SUM.n));
  return {
    format: TABLE_FORMAT,
    name: name ?? `${solver.algorithmType}, order ${sampler.order}, ${evaluations.length} evaluations`,
    modelType: solver.modelType,
    schedule: tableSchedule(schedule),
    form: solver.form,
    sigmas: times.map((t) => sigmaOf(schedule, t)),
    times,
    rows: evaluations.map(({ row, history }) =>
      [SUM.a, SUM.bp, SUM.b1, SUM.b2].slice(0, 2 + history.length).map((offset) => sum(row, offset)),
    ),
    ...(noise.some((n) => n !== 0) ? { noise } : {}),
  };
}
