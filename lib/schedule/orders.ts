// Which order each step of a run has.
import { outOfRange, wholeNumber, wrongType } from '../base/check.js';

export type Order = 1 | 2 | 3;

/**
 * The order of each of the `steps` multistep updates: 1, 2, ... up to `order` while the history fills, and 2, 1 again at
 * the end if `lowerOrderFinal` says so: `true` below 10 steps, as in the published code, or a number, below that many.
 *
 * Lu et al. 2022, "DPM-Solver++"; `sample` in github.com/LuChengTHU/dpm-solver.
 *
 * @throws TypeError or RangeError unless steps is at least 1, order 1, 2 or 3 and lowerOrderFinal a boolean or a number
 *   of at least 0
 */
export function multistepOrders(steps: number, order: number, lowerOrderFinal: boolean | number): number[] {
  wholeNumber(steps, 'steps', 1);
  wholeNumber(order, 'order', 1, 3);
  if (typeof lowerOrderFinal !== 'boolean') {
    if (typeof lowerOrderFinal !== 'number')
      throw wrongType('true, false or a number', 'lowerOrderFinal', lowerOrderFinal);
    if (!(lowerOrderFinal >= 0)) throw outOfRange('a number of at least 0', 'lowerOrderFinal', lowerOrderFinal);
  }
  const below = lowerOrderFinal === true ? 10 : Number(lowerOrderFinal);
  const lowerFinal = steps < below;
  return Array.from({ length: steps }, (_, i) => Math.min(order, i + 1, lowerFinal ? steps - i : order));
}

/**
 * The orders of the singlestep updates that make exactly `steps` evaluations together: as many of `order` as fit, and
 * lower ones at the end. Order 3 always ends in a lower one: 3, ..., 3, 2, 1 or 3, ..., 3, 1 or 3, ..., 3, 2.
 *
 * Lu et al. 2022, "DPM-Solver"; `get_orders_and_timesteps_for_singlestep_solver` in github.com/LuChengTHU/dpm-solver.
 *
 * @throws TypeError or RangeError unless steps is at least 1 and order 1, 2 or 3
 */
export function singlestepOrders(steps: number, order: number): number[] {
  wholeNumber(steps, 'steps', 1);
  wholeNumber(order, 'order', 1, 3);
  const full = order === 3 && steps % 3 === 0 ? steps / 3 - 1 : Math.floor(steps / order);
  const orders = new Array<number>(full).fill(order);
  const rest = steps - full * order;
  if (rest === 3) orders.push(2, 1);
  else if (rest > 0) orders.push(rest);
  return orders;
}

/**
 * floor(steps / order) singlestep updates, all of `order`; the steps % order evaluations left over are not made.
 *
 * @throws TypeError or RangeError unless order is 1, 2 or 3 and steps at least order
 */
export function fixedOrders(steps: number, order: number): number[] {
  wholeNumber(order, 'order', 1, 3);
  wholeNumber(steps, 'steps', order);
  return new Array<number>(Math.floor(steps / order)).fill(order);
}
