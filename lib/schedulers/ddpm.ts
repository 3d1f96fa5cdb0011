// DDPM (Ho et al. 2020, arXiv 2006.11239) as diffusers' class.
import type { DDPMConfig } from './configs.js';
import type { StateArray } from '../base/tensor.js';
import { predictionRow, ROW, SUM, TRANSFORM } from '../addon/coefficients.js';
import type { ClassRules } from '../folder/scheduler-config.js';
import { CLIPPING, TRAINING } from './defaults.js';
import { LabelScheduler, type LabelSchedule } from './label-scheduler.js';
import type { Plan, Progress, Schedule } from './progress.js';
import type { Request } from './request.js';
import { MODEL, threshold } from './sigma-scheduler.js';

/** What diffusers takes a variance of 0 for. */
const LEAST = 1e-20;

/**
 * Ancestral sampling (Ho et al. 2020, eqs. 6 and 7) between any two training steps, with the variances of Nichol & Dhariwal
 * 2021 (arXiv 2102.09672, eq. 15): fixed, or what the second half of the network's channels says.
 */
export class DDPMScheduler extends LabelScheduler<DDPMConfig> {
  protected override readonly historyLength = 0;

  static override readonly rules: ClassRules = {
    name: 'DDPMScheduler',
    flow: false,
    choices: {
      prediction_type: ['epsilon', 'sample', 'v_prediction'],
      variance_type: ['fixed_small', 'fixed_small_log', 'fixed_large', 'fixed_large_log', 'learned', 'learned_range'],
    },
    defaults: {
      ...TRAINING,
      variance_type: 'fixed_small',
      clip_sample: true,
      ...CLIPPING,
      clip_sample_range: 1,
      timestep_spacing: 'leading',
      steps_offset: 0,
      rescale_betas_zero_snr: false,
    },
  };

  protected override schedule(request: Request): LabelSchedule {
    this.refuse(request, ['sigmas', 'mu']);
    return this.stepping(this.labelsFor(request));
  }

  protected override plan(schedule: Schedule, _: Progress, at: number, index: number): Plan {
    const s = this.settings;
    const { row } = this;
    const t = schedule.timesteps[at];
    const current = this.labelNode(t);
    this.check(predictionRow(row, 0, MODEL[s.prediction_type], 'data', current), current);
    if (s.thresholding) {
      threshold(row, s);
    } else if (s.clip_sample) {
      row[ROW.transform] = TRANSFORM.clamp;
      row[ROW.floor] = s.clip_sample_range;
    }
    // The mean and the variance of q(x_t' | x_t, x0), where alphas are products over the steps between.
    const next = (schedule as LabelSchedule).targets[index];
    const { alphasCumprod } = this.training;
    const [a, b] = [alphasCumprod[t], next < 0 ? 1 : alphasCumprod[next]];
    const alpha = a / b;
    row[ROW.first + SUM.bp] = (Math.sqrt(b) * (1 - alpha)) / (1 - a);
    row[ROW.first + SUM.a] = (Math.sqrt(alpha) * (1 - b)) / (1 - a);
    const least = Math.max(((1 - b) / (1 - a)) * (1 - alpha), LEAST);
    const draws = t > 0;
    const plan: Plan = { base: 'sample', history: [], keep: null, save: null, draws };
    const type = s.variance_type ?? 'fixed_small';
    if (!draws) return plan;
    if (type.startsWith('learned')) {
      row[ROW.first + SUM.n] = 1;
      const deviation = type === 'learned' ? Math.sqrt : between(Math.log(least), Math.log(1 - alpha));
      return { ...plan, shapes: (z, variance, out) => shape(z, variance, out, deviation) };
    }
    row[ROW.first + SUM.n] = Math.sqrt(type.startsWith('fixed_large') ? 1 - alpha : least);
    return plan;
  }
}

/** The deviation of a log variance that lies v of the way from one to another, v from -1 to 1. */
function between(low: number, high: number): (v: number) => number {
  return (v) => Math.exp(0.5 * (((v + 1) / 2) * high + (1 - (v + 1) / 2) * low));
}

function shape(
  z: StateArray,
  variance: (i: number) => number,
  out: StateArray,
  deviation: (v: number) => number,
): void {
  for (let i = 0; i < z.length; i++) out[i] = z[i] * deviation(variance(i));
}
