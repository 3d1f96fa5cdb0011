// Tables from solvers that were published in other forms.
import { finiteNumber, numbers, outOfRange, wholeNumber, wrongType } from '../base/check.js';
import type { NoiseSchedule } from '../schedule/noise-schedule.js';
import { multistepOrders, type Order } from '../schedule/orders.js';
import { nodeOf, sigmaOf } from '../schedule/sigmas.js';
import { classicTable } from './classic-table.js';
import type { NetworkType } from './options.js';
import { RATIOS_SD21 } from './published-ratios.js';
import { readTable, type SolverTable, TABLE_FORMAT, tableSchedule } from './table.js';
import { unicRow } from './unic.js';

/** What is said of a table that is made from published numbers. */
export interface ImportOptions {
  /** What the network predicts; `'noise'`. */
  modelType?: NetworkType;
  /** What the table is called. */
  name?: string;
  /** Where the numbers are from. */
  source?: string;
}

/**
 * A table of times alone, for the solver's own rows: what LD3 (Tong et al. 2025, arXiv 2405.15506) and its like find.
 *
 * @param times the schedule's, falling, one more than evaluations
 * @param modelTimes what the network is told instead, where that was found apart from the times
 */
export function timesTable(
  schedule: NoiseSchedule,
  times: ArrayLike<number>,
  { modelType = 'noise', name, source, modelTimes }: ImportOptions & { modelTimes?: ArrayLike<number> } = {},
): SolverTable {
  const list = Array.from(numbers(times, 'times'), (t, i) => (t === 0 ? 0 : schedule.within(t, `times[${i}]`)));
  return readTable({
    format: TABLE_FORMAT,
    name: name ?? `${list.length - 1} given times`,
    ...(source === undefined ? {} : { source }),
    ...{ modelType, schedule: tableSchedule(schedule), form: 'data', times: list },
    sigmas: list.map((t) => (t === 0 ? 0 : sigmaOf(schedule, t))),
    ...(modelTimes === undefined ? {} : { modelTimes: Array.from(numbers(modelTimes, 'modelTimes')) }),
  });
}

/** One step of a solver over all that came before: x_i+1 = a x_i + c_i m_i + ... + b_i-1 x_i-1 + b_i-2 x_i-2 + ... */
export interface GeneralRow {
  /** Of x_i. */
  a: number;
  /** Of m_i, m_i-1, ... */
  c: readonly number[];
  /** Of x_i-1, x_i-2, ... */
  b?: readonly number[];
}

/**
 * Rows over predictions alone from rows over earlier states too (BNS, arXiv 2403.01329; GS, arXiv 2510.17699): x_j = (x_j+1
 * - sum of c m) / a_j, again and again.
 *
 * @throws RangeError where an earlier state cannot be told from later ones, as its a is 0
 */
export function rowsOverPredictions(rows: readonly GeneralRow[]): number[][] {
  const done: number[][] = [];
  rows.forEach(({ a, c, b = [] }, i) => {
    if (c.length < 1 || c.length > i + 1) throw outOfRange(`1 to ${i + 1} numbers`, `rows[${i}].c`, c.length);
    if (b.length > i) throw outOfRange(`at most ${i} numbers`, `rows[${i}].b`, b.length);
    // The weight of x_i, and of m_0 .. m_i.
    let state = finiteNumber(a, `rows[${i}].a`);
    const weights = new Float64Array(i + 1);
    c.forEach((weight, k) => {
      weights[i - k] += finiteNumber(weight, `rows[${i}].c[${k}]`);
    });
    b.forEach((weight, k) => {
      if (finiteNumber(weight, `rows[${i}].b[${k}]`) === 0) return;
      // x_j over x_i and predictions, j = i - 1 - k: undo the rows from j on, the latest first.
      let share = weight;
      for (let n = i - 1; n >= i - 1 - k; n--) {
        const [scale] = done[n];
        if (scale === 0) throw outOfRange('a state whose weight is not 0', `rows[${n}].a`, scale);
        share /= scale;
      }
      // x_j = share' x_i - ..., from x_n+1 = a_n x_n + sum of c m, unrolled from j up.
      state += share;
      let factor = share;
      for (let n = i - 1; n >= i - 1 - k; n--) {
        done[n].slice(1).forEach((one, m) => {
          weights[n - m] -= factor * one;
        });
        factor *= done[n][0];
      }
    });
    done.push([state, ...Array.from({ length: i + 1 }, (_, k) => weights[i - k])]);
  });
  return done;
}

/** Options of {@link dcSolverTable}. */
export interface DcSolverOptions extends ImportOptions {
  /** Evaluations, 3 or more. */
  steps: number;
  /** One number a step; 1 leaves it alone. */
  ratios?: ArrayLike<number>;
  /** In place of ratios: those that the authors' polynomials give for Stable Diffusion 2.1 at this scale of guidance. */
  guidance?: number;
  /** Times, one more than steps; even in the schedule's time, rounded to whole training steps, as diffusers has it. */
  times?: ArrayLike<number>;
  /** Evaluations whose step is not corrected; the first one, as its authors have it. */
  disableCorrector?: readonly number[];
}

/**
 * DC-Solver (Zhao et al. 2024, arXiv 2409.03755): UniPC-2 whose newest prediction is replaced, from the third step on, by
 * the value at t_i-1 + ratio (t_i - t_i-1) of the polynomial through it and the two before. What was replaced stays so
 * for later steps, so that the rows reach back to the first evaluation.
 *
 * @throws TypeError, RangeError for ratios or times that do not fit
 */
export function dcSolverTable(schedule: NoiseSchedule, options: DcSolverOptions): SolverTable {
  const { steps, modelType = 'noise', guidance, disableCorrector = [0] } = options;
  wholeNumber(steps, 'steps', 3);
  if ((options.ratios === undefined) === (guidance === undefined)) {
    throw wrongType('either ratios or guidance', 'dcSolverTable', options.ratios === undefined ? 'neither' : 'both');
  }
  const ratios = options.ratios ? numbers(options.ratios, 'ratios') : publishedRatios(steps, guidance!);
  if (ratios.length !== steps) throw outOfRange(`${steps} numbers, one a step,`, 'ratios', ratios.length);
  const times = options.times ? numbers(options.times, 'times') : wholeTimes(schedule, steps);
  const classic = classicTable(schedule, { modelType, steps, order: 2, skipType: times, lowerOrderFinal: steps + 1 });
  const nodes = Array.from(times, (t) => nodeOf(schedule, t));
  const orders = multistepOrders(steps, 2, steps + 1) as Order[];
  /** What the history holds for each evaluation, over the predictions as they were made. */
  const history: Float64Array[] = [];
  const over = (row: readonly number[], latest: number): number[] => {
    // [a, c_i, c_i-1, ...] over the history becomes the same over predictions.
    const sum = new Float64Array(latest + 1);
    row.slice(1).forEach((weight, k) => {
      history[latest - k].forEach((one, j) => {
        sum[j] += weight * one;
      });
    });
    return [row[0], ...sum.reverse()];
  };
  const rows: number[][] = [];
  const correct: (number[] | null)[] = [];
  for (let i = 0; i < steps; i++) {
    history.push(Float64Array.from({ length: i + 1 }, (_, j) => (j === i ? 1 : 0)));
    // The corrector sees the newest prediction as it is.
    const corrects = i > 0 && !disableCorrector.includes(i - 1);
    correct.push(corrects ? over(unicRow('data', nodes, i, orders[i - 1]), i) : null);
    if (i >= 2 && ratios[i] !== 1) history[i] = compensated(times, history, i, ratios[i]);
    rows.push(over(classic.rows![i], i));
  }
  const { name = `DC-Solver, ${steps} evaluations`, source = 'Zhao et al. 2024, arXiv 2409.03755' } = options;
  return readTable({
    ...{ format: TABLE_FORMAT, name, source, modelType, schedule: tableSchedule(schedule), form: 'data' },
    ...{ sigmas: classic.sigmas, times: classic.times, rows, correct },
    ...(guidance === undefined ? {} : { guidance: { scale: guidance } }),
  });
}

/** The polynomial through the last three entries, elsewhere. */
function compensated(times: Float64Array, history: readonly Float64Array[], i: number, ratio: number): Float64Array {
  const at = times[i - 1] + ratio * (times[i] - times[i - 1]);
  const points = [i, i - 1, i - 2];
  const sum = new Float64Array(i + 1);
  for (const p of points) {
    const weight = points.reduce((w, q) => (q === p ? w : (w * (at - times[q])) / (times[p] - times[q])), 1);
    history[p].forEach((one, j) => {
      sum[j] += weight * one;
    });
  }
  return sum;
}

/** diffusers' 'linspace' spacing: whole labels, rounded as numpy does, the last time that of the first label. */
function wholeTimes(schedule: NoiseSchedule, steps: number): Float64Array {
  if (schedule.kind !== 'discrete') throw outOfRange('times with a schedule that is not discrete', 'times', undefined);
  const N = Math.round(1 / schedule.epsilon);
  const last = Math.round(schedule.T * N) - 1;
  return Float64Array.from({ length: steps + 1 }, (_, i) => (roundHalfEven((last * (steps - i)) / steps) + 1) / N);
}

function roundHalfEven(x: number): number {
  const down = Math.floor(x);
  return x - down === 0.5 ? down + (down % 2) : Math.round(x);
}

/** Cascade polynomial regression (section 3.3): the ratio of step i (from 1) of `steps` at a scale of guidance. */
function publishedRatios(steps: number, guidance: number): Float64Array {
  finiteNumber(guidance, 'guidance');
  const u = steps / 50;
  const z = guidance / 12;
  return Float64Array.from({ length: steps }, (_, i) => {
    if (i < 2) return 1;
    const x = (i + 1) / steps;
    return RATIOS_SD21.coefficients.reduce((sum, [A, B, C], k) => {
      const [a, b, c] = [A, B, C].map(([q2, q1, q0]) => (q2 * u + q1) * u + q0);
      return sum + ((a * z + b) * z + c) * x ** k;
    }, 0);
  });
}
