// SA-Solver (Xue et al. 2023, arXiv 2309.05019) as diffusers' class.
import type { SASolverConfig } from './configs.js';
import { type Form, STATUS, saSolverRow } from '../addon/coefficients.js';
import { outOfRange } from '../base/check.js';
import { type ClassRules, clash } from '../folder/scheduler-config.js';
import { CLIPPING, GRIDS, SPACING, TRAINING } from './defaults.js';
import type { GridRules } from './grids.js';
import type { Plan, Progress, Schedule } from './progress.js';
import { SigmaScheduler } from './sigma-scheduler.js';

type Order = 1 | 2 | 3 | 4;

/**
 * SA-Solver: stochastic Adams methods, a predictor and a corrector of orders 1 to 4 from the same evaluations, with as much
 * noise as `tau_func` says at each timestep: a function of the label, or, as in diffusers, 1 from 200 to 800 and else 0.
 */
export class SASolverScheduler extends SigmaScheduler<SASolverConfig> {
  static override readonly rules: ClassRules = {
    name: 'SASolverScheduler',
    flow: true,
    synonyms: {
      algorithm_type: {
        'dpmsolver++': 'data_prediction',
        'sde-dpmsolver++': 'data_prediction',
        deis: 'data_prediction',
        dpmsolver: 'noise_prediction',
        'sde-dpmsolver': 'noise_prediction',
      },
    },
    choices: { algorithm_type: ['data_prediction', 'noise_prediction'] },
    defaults: {
      ...TRAINING,
      predictor_order: 2,
      corrector_order: 2,
      tau_func: null,
      ...CLIPPING,
      algorithm_type: 'data_prediction',
      lower_order_final: true,
      ...GRIDS,
      lambda_min_clipped: -Infinity,
      variance_type: null,
      ...SPACING,
    },
  };

  protected override get gridRules(): GridRules {
    return { sigmaMin: 'grid', cutsCosine: false, flowStart: 'step' };
  }

  protected override get form(): Form {
    return this.settings.algorithm_type === 'noise_prediction' ? 'noise' : 'data';
  }

  protected override get historyLength(): number {
    return Math.max(this.settings.predictor_order, this.settings.corrector_order) - 1 || 1;
  }

  /** It never ends at 0: what is left of the noise there is that of the least noisy training step. */
  protected override lastSigma(converted: boolean, sigmas: readonly number[]): number {
    return converted ? sigmas[sigmas.length - 1] : this.training.sigmas[0];
  }

  /** tau^2 of the step that begins at a timestep. */
  private tau2(t: number): number {
    const { tau_func } = this.settings;
    if (tau_func === null) return t >= 200 && t <= 800 ? 1 : 0;
    const tau = tau_func(t);
    if (!(typeof tau === 'number' && tau >= 0 && tau < Infinity)) {
      throw outOfRange('a number of at least 0', `tau_func(${t})`, tau);
    }
    return tau * tau;
  }

  protected override plan(schedule: Schedule, progress: Progress, at: number, index: number): Plan {
    const s = this.settings;
    const { timesteps, nodes } = schedule;
    const { history, count } = progress;
    const left = s.lower_order_final ? timesteps.length - index : Infinity;
    const predictorOrder = Math.min(s.predictor_order, left, history.length + 1) as Order;
    const correctorOrder = count > 0 ? (Math.min(s.corrector_order, left + 2, history.length + 1) as Order) : 0;
    const current = nodes[at];
    const target = nodes[index + 1];
    this.check(this.predict(current), current, target);
    const status = saSolverRow(this.row, 0, {
      form: this.form,
      predictorOrder,
      correctorOrder,
      tau2: this.tau2(timesteps[index]),
      lastTau2: index > 0 ? this.tau2(timesteps[index - 1]) : 0,
      target,
      current,
      history: history.map((kept) => kept.node),
    });
    if (status === STATUS.sdeInversion) {
      throw clash(
        'tau_func',
        `a step from sigma ${current.sigma} to ${target.sigma}`,
        'noise cannot be added on the way',
      );
    }
    this.check(status === STATUS.ok ? this.finish(current) : status, current, target);
    return {
      base: correctorOrder > 0 ? 'kept' : 'sample',
      history,
      keep: current,
      save: current,
      draws: true,
    };
  }
}
