// The schedulers of networks that were distilled to a few steps: LCM (Luo et al. 2023, arXiv 2310.04378) and TCD (Zheng et
// al. 2024, arXiv 2402.19159), as diffusers' classes.
import type { DistilledConfig } from './configs.js';
import { ddimRow, type Node, predictionRow, ROW, SUM, TRANSFORM } from '../addon/coefficients.js';
import { finiteNumber, outOfRange } from '../base/check.js';
import { type ClassRules, clash, type SchedulerConfig } from '../folder/scheduler-config.js';
import type { Settings } from '../folder/scheduler-keys.js';
import { CLIPPING, SCALED_TRAINING } from './defaults.js';
import { LabelScheduler, type LabelSchedule } from './label-scheduler.js';
import type { Plan, Progress, Schedule } from './progress.js';
import type { Request } from './request.js';
import type { StepOptions } from './scheduler.js';
import { MODEL, threshold } from './sigma-scheduler.js';

const DEFAULTS: Partial<Settings> = {
  ...SCALED_TRAINING,
  original_inference_steps: 50,
  clip_sample: false,
  clip_sample_range: 1,
  set_alpha_to_one: true,
  steps_offset: 0,
  ...CLIPPING,
  timestep_spacing: 'leading',
  timestep_scaling: 10,
  rescale_betas_zero_snr: false,
};

abstract class DistilledScheduler<C extends object = SchedulerConfig> extends LabelScheduler<C> {
  protected override readonly historyLength = 0;

  /**
   * The labels that the network was distilled at, from data to noise: every one, or every `num_train_timesteps /
   * original`-th, of which `strength` says how many.
   */
  protected abstract distilled(request: Request, original: number): number[];

  protected override schedule(request: Request): LabelSchedule {
    this.refuse(request, ['sigmas', 'mu']);
    const { num_train_timesteps: n, original_inference_steps } = this.settings;
    const original = request.originalSteps ?? original_inference_steps;
    const { steps, strength } = request;
    if (original > n) {
      throw clash(`${original} original steps`, `num_train_timesteps ${n}`, 'a step is at least one training step');
    }
    if (request.timesteps) {
      const all = this.labelsFor(request);
      const kept = Math.min(Math.floor(all.length * (strength ?? 1)), all.length);
      if (kept === 0) throw clash(`${all.length} timesteps`, `strength ${strength}`, 'no timestep is left');
      return this.stepping(all.slice(all.length - kept));
    }
    const labels = this.distilled(request, original);
    if (steps > original || labels.length < steps) {
      const share = strength === null ? '' : ` of strength ${strength}`;
      throw clash(`${steps} steps`, `${original} original steps${share}`, 'a step is at least one of those');
    }
    labels.reverse();
    const take = labels.length / steps;
    return this.stepping(Array.from({ length: steps }, (_, i) => labels[Math.floor(i * take)]));
  }

  /** The label after `index`; null at the last. */
  protected next(schedule: Schedule, index: number): number | null {
    return schedule.timesteps[index + 1] ?? null;
  }
}

/** `count` labels of a distillation from `original` steps. */
function strided(n: number, original: number, strength: number | null): number[] {
  const k = Math.floor(n / original);
  return Array.from({ length: Math.floor(original * (strength ?? 1)) }, (_, i) => (i + 1) * k - 1);
}

/**
 * LCM (Luo et al. 2023, arXiv 2310.04378): every step goes to x0, c_out x0 + c_skip x, and adds the noise of the next
 * timestep; the last one does not.
 */
export class LCMScheduler extends DistilledScheduler<DistilledConfig> {
  static override readonly rules: ClassRules = {
    name: 'LCMScheduler',
    flow: false,
    distillation: true,
    choices: { prediction_type: ['epsilon', 'sample', 'v_prediction'] },
    defaults: DEFAULTS,
  };

  protected override distilled({ strength }: Request, original: number): number[] {
    return strided(this.settings.num_train_timesteps, original, strength);
  }

  protected override plan(schedule: Schedule, _: Progress, at: number, index: number): Plan {
    const s = this.settings;
    const t = schedule.timesteps[at];
    const current = this.labelNode(t);
    this.check(predictionRow(this.row, 0, MODEL[s.prediction_type], 'data', current), current);
    if (s.thresholding) {
      threshold(this.row, s);
    } else if (s.clip_sample) {
      this.row[ROW.transform] = TRANSFORM.clamp;
      this.row[ROW.floor] = s.clip_sample_range;
    }
    // The boundary condition of a consistency function, with sigma_data = 1/2.
    const scaled = t * s.timestep_scaling;
    const root = Math.hypot(scaled, 0.5);
    const next = this.next(schedule, index);
    const { alpha, sigma } = next === null ? { alpha: 1, sigma: 0 } : this.labelNode(next);
    this.row[ROW.first + SUM.bp] = alpha * (scaled / root);
    this.row[ROW.first + SUM.a] = alpha * (0.5 / root) ** 2;
    this.row[ROW.first + SUM.n] = sigma;
    return { base: 'sample', history: [], keep: null, save: null, draws: next !== null };
  }
}

/**
 * TCD (Zheng et al. 2024, arXiv 2402.19159): a step of DDIM to s = (1 - eta) t', and from there to the next timestep t' by
 * noise; `eta` in the options of `step` is 0.3 unless told.
 */
export class TCDScheduler extends DistilledScheduler<DistilledConfig> {
  static override readonly rules: ClassRules = {
    name: 'TCDScheduler',
    flow: false,
    distillation: true,
    choices: { prediction_type: ['epsilon', 'sample', 'v_prediction'] },
    defaults: DEFAULTS,
  };

  protected override distilled({ strength, originalSteps }: Request, original: number): number[] {
    const n = this.settings.num_train_timesteps;
    if (originalSteps === null) return strided(n, original, strength);
    return Array.from({ length: Math.floor(n * (strength ?? 1)) }, (_, i) => i);
  }

  protected override plan(schedule: Schedule, _: Progress, at: number, index: number, options: StepOptions): Plan {
    const { eta = 0.3 } = options;
    finiteNumber(eta, 'eta');
    if (!(eta >= 0 && eta <= 1)) throw outOfRange('a number from 0 to 1', 'eta', eta);
    const current = this.labelNode(schedule.timesteps[at]);
    const next = this.next(schedule, index);
    const target = this.labelNode(Math.floor((1 - eta) * (next ?? 0)));
    this.check(ddimRow(this.row, 0, MODEL[this.settings.prediction_type], current, target), current);
    const draws = eta > 0 && next !== null;
    if (draws) this.noisier(target, this.labelNode(next));
    return { base: 'sample', history: [], keep: null, save: null, draws };
  }

  /** From `s` on to the noisier node of the next timestep: x <- (alpha / alpha_s) x + sqrt(1 - (alpha / alpha_s)^2) z. */
  private noisier(s: Node, { alpha }: Node): void {
    const ratio = alpha / s.alpha;
    this.row[ROW.first + SUM.bp] *= ratio;
    this.row[ROW.first + SUM.b0] *= ratio;
    this.row[ROW.first + SUM.n] = Math.sqrt(Math.max(0, (1 - ratio) * (1 + ratio)));
  }
}
