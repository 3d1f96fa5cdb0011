// A solver on its way to a table: times, and for every step a classic row with corrections added to it. Corrections are
// added to the row of a theory, which moves along with the times, as in arXiv 2510.17699 ("GAS", algorithm 1).
import { ROW, STATUS, SUM, updateRow } from '../addon/coefficients.js';
import { multistepOrders, type Order } from '../schedule/orders.js';
import type { ScheduleNode } from '../schedule/noise-schedule.js';
import type { Axis } from './axis.js';

/** Of one step: what the state counts, then what the predictions of x0 count, the latest first. */
export type Row = Float64Array;

/** A solver that is being calibrated. */
export interface Student {
  /** Of its n + 1 times on the axis, rising from 0 to 1. */
  readonly places: Float64Array;
  /** What is added to a place where the network is told of it. */
  readonly shifts: Float64Array;
  /** Of each step of DPM-Solver++ multistep, whose rows are corrected. */
  readonly orders: readonly Order[];
  /** Per step, how much of each of {@link directions} is added. */
  readonly corrections: readonly Float64Array[];
}

/**
 * The classic solver on these times.
 *
 * @param order of all steps, lower at both ends (below 10 steps, or below `lowerOrderFinal`), or of each
 */
export function classicStudent(
  places: ArrayLike<number>,
  order: Order | readonly Order[],
  window: number,
  lowerOrderFinal: boolean | number = true,
): Student {
  const steps = places.length - 1;
  return {
    places: Float64Array.from(places),
    shifts: new Float64Array(steps),
    orders: typeof order === 'number' ? (multistepOrders(steps, order, lowerOrderFinal) as Order[]) : order,
    // One for the noise, one for each prediction that a row reads.
    corrections: Array.from({ length: steps }, (_, i) => new Float64Array(1 + Math.min(window, i + 1))),
  };
}

export function copyStudent({ places, shifts, orders, corrections }: Student): Student {
  return { places: places.slice(), shifts: shifts.slice(), orders, corrections: corrections.map((c) => c.slice()) };
}

/**
 * Row `i` of DPM-Solver++ multistep (data prediction) of an order, as long as `length`; `nodes` are those of the times.
 *
 * @param exact order 3 with the second derivative that makes it third order
 */
export function classicRow(
  nodes: readonly ScheduleNode[],
  i: number,
  order: Order,
  length: number,
  exact = false,
): Row {
  const native = new Float64Array(ROW.length);
  const status = updateRow(native, 0, {
    method: 'multistep',
    form: 'data',
    order,
    exact,
    target: nodes[i + 1],
    base: nodes[i],
    nodes: Array.from({ length: order }, (_, k) => nodes[i - k]),
  });
  if (status !== STATUS.ok) throw new RangeError(`Expected times with finite coefficients (status ${status})`);
  const row = new Float64Array(length);
  const entries = [SUM.a, SUM.bp, SUM.b1, SUM.b2];
  for (let k = 0; k < Math.min(length, entries.length); k++) row[k] = native[ROW.first + entries[k]];
  return row;
}

/**
 * What a row may be corrected by, as rows: the noise (x - alpha m_i) / sigma, the prediction m_i, and the differences
 * m_i - m_i-1, m_i-1 - m_i-2, ... The size of each is what a step moves: kappa = alpha' - alpha sigma' / sigma is what
 * the predictions count in any consistent row, and its share kappa / alpha' of the noise is what is taken away. (A step
 * that ends at sigma = 0 has no noise left; a tenth of what is there, at most of one, is what it may still be wrong by.)
 */
export function directions(nodes: readonly ScheduleNode[], i: number, count: number): Row[] {
  const [from, to] = [nodes[i], nodes[i + 1]];
  const kappa = to.alpha - (from.alpha * to.sigma) / from.sigma;
  const noise = ((kappa / to.alpha) * (to.sigma + 0.1 * Math.min(from.sigma, 1))) / from.sigma;
  return Array.from({ length: count }, (_, k) => {
    const row = new Float64Array(count);
    if (k === 0) {
      row[0] = noise;
      row[1] = -noise * from.alpha;
    } else if (k === 1) {
      row[1] = kappa;
    } else {
      row[k - 1] = kappa;
      row[k] = -kappa;
    }
    return row;
  });
}

export function nodesOf(student: Student, axis: Axis): ScheduleNode[] {
  return Array.from(student.places, (place) => axis.nodeAt(place));
}

/** All rows of a student. */
export function rowsOf(student: Student, nodes: readonly ScheduleNode[]): Row[] {
  return student.orders.map((order, i) => correctedRow(student, nodes, i, order));
}

/** Row `i` of a student. */
export function correctedRow({ corrections }: Student, nodes: readonly ScheduleNode[], i: number, order: Order): Row {
  const row = classicRow(nodes, i, order, corrections[i].length);
  directions(nodes, i, row.length).forEach((direction, k) => {
    for (let j = 0; j < row.length; j++) row[j] += corrections[i][k] * direction[j];
  });
  return row;
}
