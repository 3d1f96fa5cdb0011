// iPNDM (Liu et al. 2022, arXiv 2202.09778, as Zhang & Chen use it in arXiv 2204.13902): Adams and Bashforth's weights for even
// steps over the noise, whatever the steps are. That makes it first order on uneven ones, and steady where few steps
// are made.
import type { ScheduleNode } from '../schedule/noise-schedule.js';

/** Adams-Bashforth of orders 1 to 4 (Hairer, Norsett & Wanner, III.1), the latest first. */
const WEIGHTS = [[1], [3 / 2, -1 / 2], [23 / 12, -16 / 12, 5 / 12], [55 / 24, -59 / 24, 37 / 24, -9 / 24]] as const;

/**
 * Rows as a table has them: x' / alpha' = x / alpha + (sigma' / alpha' - sigma / alpha) (w_0 epsilon_i + w_1 epsilon_i-1 +
 * ...). On rectified flow, where sigma / alpha is infinite at the start, x' = x + (sigma' - sigma) (w_0 u_i + ...) over
 * the velocities u, which are the network's own outputs.
 */
export function ipndmRows(nodes: readonly ScheduleNode[], order: number, flow: boolean): number[][] {
  return nodes.slice(0, -1).map((from, i) => {
    const to = nodes[i + 1];
    const [a, step] = flow
      ? [1, to.sigma - from.sigma]
      : [to.alpha / from.alpha, to.sigma - from.sigma * (to.alpha / from.alpha)];
    return [a, ...WEIGHTS[Math.min(order, i + 1) - 1].map((w) => step * w)];
  });
}
