// Noise that is added before a step (Karras et al. 2022, arXiv 2206.00364, algorithm 2), as diffusers has it.
import { finiteNumber, outOfRange } from '../base/check.js';
import type { StepOptions } from './scheduler.js';

/** How far a step's sample is raised before it. */
export interface Churn {
  /** The sigma that it is raised to. */
  readonly raised: number;
  /** The coefficient of the noise that does so. */
  readonly amount: number;
  /** Is there any? */
  readonly draws: boolean;
}

/**
 * @param sigma where the sample stands
 * @param steps sigmas of the schedule without the last
 * @throws TypeError, RangeError for options that are no such numbers
 * @internal
 */
export function churnOf(options: StepOptions, sigma: number, steps: number): Churn {
  const { sChurn = 0, sTmin = 0, sTmax = Infinity, sNoise = 1 } = options;
  for (const [key, value] of Object.entries({ sChurn, sTmin, sNoise })) {
    if (finiteNumber(value, key) < 0) throw outOfRange('a number of at least 0', key, value);
  }
  if (typeof sTmax !== 'number' || !(sTmax >= 0)) throw outOfRange('a number of at least 0', 'sTmax', sTmax);
  const gamma = sigma >= sTmin && sigma <= sTmax ? Math.min(sChurn / steps, Math.SQRT2 - 1) : 0;
  const raised = sigma * (1 + gamma);
  return { raised, amount: sNoise * Math.sqrt(Math.max(0, raised ** 2 - sigma ** 2)), draws: gamma > 0 };
}
