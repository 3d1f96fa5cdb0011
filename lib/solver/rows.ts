// One row: the prediction at a node, guidance folded in, and the update that follows.

import {
  type Form,
  type Node,
  ROW,
  STATUS,
  type Status,
  TRANSFORM,
  type Update,
  updateRow,
} from '../addon/coefficients.js';
import { list } from '../base/check.js';
import type { ScheduleNode } from '../schedule/noise-schedule.js';
import { keepUnconditional, predictGuided, scaleAt } from './guidance.js';
import type { Solver } from './options.js';

/**
 * Fills row `index` with the prediction at `node` and the update that follows; says whether P is an x0.
 *
 * An inversion in data prediction that starts at sigma = 0 learns nothing from x0, which is x itself there: this one
 * step goes in noise prediction, and what the history keeps is x / alpha. An SDE in noise prediction that ends at
 * sigma = 0 would end in noise, of which its limit adds as much as the step has left to take away: this one step goes in
 * data prediction, whose limit is x0.
 */
export function fillRow(
  solver: Solver,
  rows: Float64Array,
  index: number,
  time: number,
  node: ScheduleNode,
  update: Omit<Update, 'form' | 'exact' | 'tau2'>,
): boolean {
  const { exact, tau2 } = solver;
  const fromClean = solver.form === 'data' && update.base.end === 1;
  const toClean = solver.form === 'noise' && tau2 > 0 && update.target.end === 1;
  const form: Form = fromClean ? 'noise' : toClean ? 'data' : solver.form;
  predict(solver, rows, index, node, form, time);
  if (fromClean) {
    rows[index * ROW.length + ROW.ep] = 0;
    rows[index * ROW.length + ROW.ex] = 1 / node.alpha;
  }
  const status = fromClean
    ? updateRow(rows, index, { ...update, method: 'multistep', order: 1, nodes: [update.base], form, tau2 })
    : updateRow(rows, index, { ...update, form, exact, tau2 });
  if (status !== STATUS.ok) noValue(solver, time, status);
  keepNoise(solver, rows, index, node);
  return form === 'data';
}

/** CFG++: the row goes on with the noise of the unconditional prediction. */
export function keepNoise({ guidance, modelType }: Solver, rows: Float64Array, index: number, node: Node): void {
  if (guidance.type !== 'classifier-free' || guidance.variant !== 'cfg++') return;
  if (scaleAt(guidance, node) !== undefined) keepUnconditional(rows, index, modelType, node);
}

/** Fills the second sum of row `index`. */
export function fillSecond(
  solver: Solver,
  rows: Float64Array,
  index: number,
  time: number,
  update: Omit<Update, 'form' | 'exact' | 'tau2'>,
): void {
  const { exact, tau2, form } = solver;
  const status = updateRow(rows, index, { ...update, form, exact, tau2 }, 'second');
  if (status !== STATUS.ok) noValue(solver, time, status);
}

/** Fills the prediction of row `index`, in a form, with guidance and thresholding. */
export function predict(solver: Solver, rows: Float64Array, index: number, node: Node, form: Form, time: number): void {
  const { guidance, modelType, thresholding } = solver;
  const status = predictGuided(rows, index, { modelType, form, node, guidance });
  if (status !== STATUS.ok) noValue(solver, time, status);
  if (thresholding && form === 'data') {
    const at = index * ROW.length;
    rows[at + ROW.transform] = TRANSFORM.quantile;
    rows[at + ROW.ratio] = thresholding.ratio;
    // s = max(quantile, maxValue), as published: in-range data is divided by maxValue.
    rows[at + ROW.floor] = thresholding.maxValue;
    rows[at + ROW.cap] = thresholding.cap;
  }
}

/** Throws for a row that has no value at a time. */
export function noValue(solver: Solver, time: number, status: Status): never {
  const names = [`modelType '${solver.modelType}'`, `algorithmType '${solver.algorithmType}'`];
  if (solver.guidance.type === 'classifier') names.push("guidance 'classifier'");
  const what = list(names, 'and');
  if (status === STATUS.atNoise) {
    throw new RangeError(
      `Expected a time with alpha above 0 with ${what} but received ${time}, where alpha is 0: set tStart (or tEnd of an inversion) below it`,
    );
  }
  if (status === STATUS.atClean) {
    throw new RangeError(
      `Expected a time with sigma above 0 with ${what} but received ${time}, where sigma is 0: set tEnd (or tStart of an inversion) above it`,
    );
  }
  throw new RangeError(`Expected times with finite coefficients with ${what} but received ${time} (status ${status})`);
}
