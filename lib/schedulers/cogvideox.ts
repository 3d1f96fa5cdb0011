// The schedulers of CogVideoX (Yang et al. 2024, arXiv 2408.06072) as diffusers' classes: DDIM and SDE-DPM-Solver++ on noise
// levels whose signal-to-noise ratio is divided by snr_shift_scale.
import type { CogVideoXConfig } from './configs.js';
import { ddimRow, END, type Node, predictionRow, updateRow } from '../addon/coefficients.js';
import { betas } from '../schedule/betas.js';
import type { ClassRules, SchedulerConfig } from '../folder/scheduler-config.js';
import type { Settings } from '../folder/scheduler-keys.js';
import { SCALED_TRAINING } from './defaults.js';
import { LabelScheduler, type LabelSchedule } from './label-scheduler.js';
import type { Plan, Progress, Schedule } from './progress.js';
import type { Request } from './request.js';
import { MODEL } from './sigma-scheduler.js';
import { type Training, trainingTables } from './training.js';

const DEFAULTS: Partial<Settings> = {
  ...SCALED_TRAINING,
  clip_sample: true,
  set_alpha_to_one: true,
  steps_offset: 0,
  clip_sample_range: 1,
  sample_max_value: 1,
  timestep_spacing: 'leading',
  rescale_betas_zero_snr: false,
  snr_shift_scale: 3,
};

abstract class CogVideoXScheduler<C extends object = SchedulerConfig> extends LabelScheduler<C> {
  private levels64: Training | undefined;

  protected override get training(): Training {
    this.levels64 ??= shiftedTraining(this.settings);
    return this.levels64;
  }

  protected override schedule(request: Request): LabelSchedule {
    this.refuse(request, ['timesteps', 'sigmas', 'mu']);
    return this.stepping(this.labelsFor(request));
  }
}

/** a / (s + (1 - s) a), and then shifted to end at 0 if the configuration says so. */
function shiftedTraining(s: Settings): Training {
  const alphas = plainAlphas(s).map((a) => a / (s.snr_shift_scale + (1 - s.snr_shift_scale) * a));
  if (s.rescale_betas_zero_snr) {
    const [first, last] = [Math.sqrt(alphas[0]), Math.sqrt(alphas[alphas.length - 1])];
    for (let i = 0; i < alphas.length; i++) alphas[i] = ((Math.sqrt(alphas[i]) - last) * (first / (first - last))) ** 2;
  }
  const sigmas = Float32Array.from(alphas, (a) => Math.sqrt((1 - a) / a));
  return { alphasCumprod: alphas, sigmas, logSigmas: sigmas.map(Math.log) };
}

/** diffusers makes these in double precision for the betas that CogVideoX has, and else in float32. */
function plainAlphas(s: Settings): Float64Array {
  const { beta_schedule, trained_betas, num_train_timesteps: n, beta_start: start, beta_end: end } = s;
  if (trained_betas !== null || beta_schedule !== 'scaled_linear') {
    return Float64Array.from(trainingTables({ ...s, rescale_betas_zero_snr: false }, true).alphasCumprod);
  }
  let product = 1;
  return betas(beta_schedule, n, { start, end }).map((beta) => {
    product *= 1 - beta;
    return product;
  });
}

/** DDIM on CogVideoX' noise levels. */
export class CogVideoXDDIMScheduler extends CogVideoXScheduler<CogVideoXConfig> {
  protected override readonly historyLength = 0;

  static override readonly rules: ClassRules = {
    name: 'CogVideoXDDIMScheduler',
    flow: false,
    takes: ['cogvideox'],
    choices: { prediction_type: ['epsilon', 'sample', 'v_prediction'] },
    defaults: DEFAULTS,
  };

  protected override plan(schedule: Schedule, _: Progress, at: number, index: number): Plan {
    const current = this.labelNode(schedule.timesteps[at]);
    const target = this.labelNode((schedule as LabelSchedule).targets[index]);
    this.check(ddimRow(this.row, 0, MODEL[this.settings.prediction_type], current, target), current);
    return { base: 'sample', history: [], keep: null, save: null, draws: false };
  }
}

/** SDE-DPM-Solver++(2M) on CogVideoX' noise levels; the last step is one of order 1. */
export class CogVideoXDPMScheduler extends CogVideoXScheduler<CogVideoXConfig> {
  protected override readonly historyLength = 1;

  static override readonly rules: ClassRules = {
    name: 'CogVideoXDPMScheduler',
    flow: false,
    takes: ['cogvideox'],
    choices: { prediction_type: ['epsilon', 'sample', 'v_prediction'] },
    defaults: DEFAULTS,
  };

  protected override plan(schedule: Schedule, { history }: Progress, at: number, index: number): Plan {
    const current: Node = this.labelNode(schedule.timesteps[at]);
    const last = (schedule as LabelSchedule).targets[index] < 0;
    const target = this.labelNode((schedule as LabelSchedule).targets[index]);
    this.check(predictionRow(this.row, 0, MODEL[this.settings.prediction_type], 'data', current), current);
    const second = history.length > 0 && !last && target.end !== END.clean;
    const nodes = second ? [current, history[0].node] : [current];
    const order = second ? 2 : 1;
    const update = { method: 'multistep', form: 'data', order, tau2: 1, target, base: current, nodes } as const;
    this.check(updateRow(this.row, 0, update), current);
    const used = second ? history : [];
    return { base: 'sample', history: used, keep: current, save: null, draws: true, idle: second ? 1 : 0 };
  }
}
