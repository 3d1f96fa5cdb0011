// DEIS (Zhang & Chen 2023, arXiv 2204.13902) as diffusers' class.
import type { DEISMultistepConfig } from './configs.js';
import type { ClassRules } from '../folder/scheduler-config.js';
import { CLIPPING, GRIDS, SHIFTING, SPACING, TRAINING } from './defaults.js';
import { MultistepScheduler } from './dpm-solver.js';
import type { GridRules } from './grids.js';

/**
 * DEIS in log-rho (Zhang & Chen 2023, arXiv 2204.13902), multistep: polynomials in log(sigma / alpha) through the noise
 * predictions, integrated exactly. That is DPM-Solver's multistep form with all its derivatives.
 */
export class DEISMultistepScheduler extends MultistepScheduler<DEISMultistepConfig> {
  static override readonly rules: ClassRules = {
    name: 'DEISMultistepScheduler',
    flow: true,
    synonyms: {
      algorithm_type: { dpmsolver: 'deis', 'dpmsolver++': 'deis', data_prediction: 'deis', noise_prediction: 'deis' },
      solver_type: { midpoint: 'logrho', heun: 'logrho', bh1: 'logrho', bh2: 'logrho' },
    },
    choices: { algorithm_type: ['deis'] },
    defaults: {
      ...TRAINING,
      ...CLIPPING,
      solver_order: 2,
      algorithm_type: 'deis',
      solver_type: 'logrho',
      lower_order_final: true,
      ...GRIDS,
      ...SPACING,
      ...SHIFTING,
    },
  };

  protected override get gridRules(): GridRules {
    return { sigmaMin: 'grid', cutsCosine: false, flowStart: 'step' };
  }

  protected override get exact(): boolean {
    return true;
  }

  /** It never ends at 0: what it integrates is divided by sigma. */
  protected override lastSigma(converted: boolean, sigmas: readonly number[]): number {
    return converted ? sigmas[sigmas.length - 1] : this.training.sigmas[0];
  }
}
