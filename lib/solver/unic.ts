// UniC (Zhao et al. 2023, arXiv 2302.04867, algorithm 1) after the updates of another solver: the prediction at a new state
// corrects the step that led there, and the next step starts from the corrected state. No further evaluation.
import { type Form, ROW, STATUS, SUM, uniPCRow } from '../addon/coefficients.js';
import type { Order } from '../schedule/orders.js';
import type { ScheduleNode } from '../schedule/noise-schedule.js';

/**
 * The corrector of the step from nodes[i - 1] to nodes[i], UniC-p with B(h) = e^h - 1, as a table has it: [A, C_i, C_i-1,
 * ...] over the corrected state before and the predictions, the latest first.
 *
 * @param order p, of the step that it corrects; what comes out is of order p + 1
 */
export function unicRow(form: Form, nodes: readonly ScheduleNode[], i: number, order: Order): number[] {
  const row = new Float64Array(ROW.length);
  const status = uniPCRow(row, 0, {
    ...{ form, predictorOrder: 1, correctorOrder: order, solverType: 'bh2' },
    // Only the predictor goes there.
    target: nodes[i],
    current: nodes[i],
    history: Array.from({ length: order }, (_, k) => nodes[i - 1 - k]),
  });
  if (status !== STATUS.ok)
    throw new RangeError(`Expected times with finite coefficients for a corrector (status ${status})`);
  const second = [SUM.a, SUM.bp, SUM.b1, SUM.b2, SUM.b3].slice(0, 2 + order);
  return second.map((offset) => row[ROW.second + offset]);
}
