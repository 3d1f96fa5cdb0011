// Rows fitted one after the other to a teacher's states, along the student's own path: least squares over all numbers of
// all samples, held near the classic row.
import type { StateArray } from '../addon/native.js';
import { solveSymmetric } from './linear.js';
import { classicRow, directions, type Row } from './student.js';
import type { ScheduleNode } from '../schedule/noise-schedule.js';
import type { Order } from '../schedule/orders.js';

/** How much a correction of one counts against the mean square of what a step moves. */
const RIDGE = 1e-3;

/**
 * The corrections to a classic row that take a step nearest to where the teacher is.
 *
 * @param batches the state, the predictions (the latest first) and the teacher's next state of each batch
 * @param count of {@link directions}
 */
export function fitRow(
  nodes: readonly ScheduleNode[],
  i: number,
  order: Order,
  count: number,
  batches: readonly { state: StateArray; predictions: readonly StateArray[]; target: StateArray }[],
): Float64Array {
  const classic = classicRow(nodes, i, order, count);
  const ways = directions(nodes, i, count);
  const A = new Float64Array(count * count);
  const b = new Float64Array(count);
  let total = 0;
  for (const { state, predictions, target } of batches) {
    const gram = gramOf([state, ...predictions.slice(0, count - 1)], target, classic);
    total += gram.length;
    // From inner products of states and predictions to those of the directions.
    for (let p = 0; p < count; p++) {
      for (let q = 0; q < count; q++) b[p] += ways[p][q] * gram.right[q];
      for (let r = 0; r <= p; r++) {
        let sum = 0;
        for (let q = 0; q < count; q++) {
          for (let s = 0; s < count; s++) sum += ways[p][q] * ways[r][s] * gram.left[q * count + s];
        }
        A[p * count + r] += sum;
      }
    }
  }
  for (let p = 0; p < count; p++) A[p * count + p] += RIDGE * (A[p * count + p] + total * kappaOf(nodes, i) ** 2);
  return solveSymmetric(A, b) ?? new Float64Array(count);
}

/** What the predictions count in a consistent row. */
function kappaOf(nodes: readonly ScheduleNode[], i: number): number {
  const [from, to] = [nodes[i], nodes[i + 1]];
  return to.alpha - (from.alpha * to.sigma) / from.sigma;
}

/** Inner products of the operands with each other, and with what a row leaves of the target. */
function gramOf(operands: readonly StateArray[], target: StateArray, row: Row) {
  const n = operands.length;
  const left = new Float64Array(n * n);
  const right = new Float64Array(n);
  const { length } = target;
  const values = new Float64Array(n);
  for (let k = 0; k < length; k++) {
    let rest = target[k];
    for (let p = 0; p < n; p++) {
      values[p] = operands[p][k];
      rest -= row[p] * values[p];
    }
    for (let p = 0; p < n; p++) {
      right[p] += values[p] * rest;
      for (let q = 0; q <= p; q++) left[p * n + q] += values[p] * values[q];
    }
  }
  for (let p = 0; p < n; p++) for (let q = 0; q < p; q++) left[q * n + p] = left[p * n + q];
  return { left, right, length };
}
