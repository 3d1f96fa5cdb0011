// UniPC (Zhao et al. 2023, arXiv 2302.04867) as diffusers' class.
import type { UniPCMultistepConfig } from './configs.js';
import { type Form, STATUS, uniPCRow } from '../addon/coefficients.js';
import type { ClassRules } from '../folder/scheduler-config.js';
import { CLIPPING, GRIDS, SHIFTING, SPACING, TRAINING } from './defaults.js';
import type { GridRules } from './grids.js';
import type { Plan, Progress, Schedule } from './progress.js';
import { SigmaScheduler } from './sigma-scheduler.js';

/**
 * UniPC (Zhao et al. 2023, arXiv 2302.04867), `bh1` and `bh2`, orders 1 to 3, data and noise form.
 *
 * A predictor of order p and a corrector that makes it p + 1 from the same evaluations: the prediction at the new state
 * corrects the step that led there, and the next step starts from the corrected state.
 */
export class UniPCMultistepScheduler extends SigmaScheduler<UniPCMultistepConfig> {
  static override readonly rules: ClassRules = {
    name: 'UniPCMultistepScheduler',
    flow: true,
    synonyms: { solver_type: { midpoint: 'bh2', heun: 'bh2', logrho: 'bh2' } },
    defaults: {
      ...TRAINING,
      ...CLIPPING,
      solver_order: 2,
      predict_x0: true,
      solver_type: 'bh2',
      lower_order_final: true,
      disable_corrector: [],
      ...GRIDS,
      ...SHIFTING,
      ...SPACING,
      final_sigmas_type: 'zero',
      rescale_betas_zero_snr: false,
    },
  };

  protected override get gridRules(): GridRules {
    return { sigmaMin: 'grid', cutsCosine: false, flowStart: 'noise' };
  }

  protected override get form(): Form {
    return this.settings.predict_x0 ? 'data' : 'noise';
  }

  protected override get historyLength(): number {
    return this.settings.solver_order;
  }

  protected override plan(schedule: Schedule, progress: Progress, at: number, index: number): Plan {
    const s = this.settings;
    const steps = schedule.timesteps.length;
    const order = (i: number, count: number) =>
      Math.min(s.solver_order, s.lower_order_final ? steps - i : s.solver_order, count + 1) as 1 | 2 | 3;
    const corrects = progress.count > 0 && !Array.prototype.includes.call(s.disable_corrector, index - 1);
    const current = schedule.nodes[at];
    const target = schedule.nodes[index + 1];
    this.check(this.predict(current), current, target);
    const status = uniPCRow(this.row, 0, {
      form: this.form,
      predictorOrder: order(index, progress.count),
      correctorOrder: corrects ? order(index - 1, progress.count - 1) : 0,
      solverType: s.solver_type === 'bh1' ? 'bh1' : 'bh2',
      target,
      current,
      history: progress.history.map((kept) => kept.node),
    });
    this.check(status === STATUS.ok ? this.finish(current) : status, current, target);
    return {
      base: corrects ? 'kept' : 'sample',
      history: progress.history,
      keep: current,
      save: current,
      draws: false,
    };
  }
}
