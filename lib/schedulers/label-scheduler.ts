// What the schedulers that go from one training step to another share: their tables by label, and the spacing of labels.
import { END, type Node, STATUS, type Status } from '../addon/coefficients.js';
import { outOfRange } from '../base/check.js';
import { clash, type SchedulerConfig } from '../folder/scheduler-config.js';
import { countDown, linspace, roundHalfEven } from './grids.js';
import type { Schedule } from './progress.js';
import { type Request, wholeTimesteps } from './request.js';
import { Scheduler } from './scheduler.js';
import { betasOption, type Training, trainingTables } from './training.js';

/** Where each evaluation's update starts and ends, by label; negative ones are the end of the process. */
export interface LabelSchedule extends Schedule {
  readonly targets: readonly number[];
}

export abstract class LabelScheduler<C extends object = SchedulerConfig> extends Scheduler<C> {
  private tables: Training | undefined;

  protected get training(): Training {
    this.tables ??= trainingTables(this.settings, true);
    return this.tables;
  }

  /** The node of a label; below 0, of the end: alpha = 1 if set_alpha_to_one, else the first training step. */
  protected labelNode(t: number): Node {
    const { alphasCumprod } = this.training;
    if (t < 0 && this.settings.set_alpha_to_one) return { alpha: 1, sigma: 0, lambda: Infinity, end: END.clean };
    const a = alphasCumprod[Math.max(t, 0)];
    if (a === 0) return { alpha: 0, sigma: 1, lambda: -Infinity, end: END.noise };
    return { alpha: Math.sqrt(a), sigma: Math.sqrt(1 - a), lambda: 0.5 * (Math.log(a) - Math.log1p(-a)) };
  }

  protected override trainingNode(t: number): Node | null {
    return t < 0 || t >= this.settings.num_train_timesteps ? null : this.labelNode(t);
  }

  protected override nodeAt(schedule: Schedule, index: number): Node {
    return this.labelNode(schedule.timesteps[index]);
  }

  protected override initial(): Schedule {
    const n = this.settings.num_train_timesteps;
    return this.through(Array.from({ length: n }, (_, i) => n - 1 - i));
  }

  /** A schedule through these labels. */
  protected through(timesteps: readonly number[]): Schedule {
    const ratio = ({ alpha, sigma }: Node) => sigma / alpha;
    const sigmas = [...timesteps, -1].map((t) => ratio(this.labelNode(t)));
    return { timesteps, sigmas: Float32Array.from(sigmas), nodes: [], integer: true };
  }

  /** Labels of `steps` evaluations, from noise to data (Lin et al. 2023, table 2). */
  protected spaced(steps: number): number[] {
    const { num_train_timesteps: n, timestep_spacing, steps_offset } = this.settings;
    if (steps > n) throw clash(`${steps} steps`, `num_train_timesteps ${n}`, 'a step is at least one training step');
    if (timestep_spacing === 'linspace') {
      return linspace(0, n - 1, steps)
        .map(roundHalfEven)
        .reverse();
    }
    if (timestep_spacing === 'trailing') return countDown(n, n / steps, steps).map((t) => t - 1);
    const times = Array.from({ length: steps }, (_, i) => (steps - 1 - i) * Math.floor(n / steps) + steps_offset);
    if (times[0] >= n) {
      throw clash(`steps_offset ${steps_offset}`, `${steps} steps`, `the first timestep would be ${times[0]} of ${n}`);
    }
    return times;
  }

  /** The labels of a request: given ones, or spaced ones. */
  protected labelsFor(request: Request): readonly number[] {
    if (!request.timesteps) return this.spaced(request.steps);
    const timesteps = wholeTimesteps(request.timesteps);
    const last = this.settings.num_train_timesteps - 1;
    if (timesteps[0] > last || timesteps[timesteps.length - 1] < 0) {
      throw outOfRange(`timesteps from 0 to ${last}`, 'timesteps', `${timesteps[0]} to ${timesteps.at(-1)}`);
    }
    return timesteps;
  }

  /** From each label to the next one, and from the last to the end of the process. */
  protected stepping(timesteps: readonly number[]): LabelSchedule {
    return { ...this.through(timesteps), targets: [...timesteps.slice(1), -1] };
  }

  protected refuse(request: Request, keys: readonly ('timesteps' | 'sigmas' | 'mu')[]): void {
    for (const key of keys) {
      if (request[key] !== null)
        throw clash(key, `_class_name '${this.name}'`, 'its steps are evenly spaced training steps');
    }
  }

  protected check(status: Status, from: Node): void {
    if (status === STATUS.ok) return;
    const prediction = `prediction_type '${this.settings.prediction_type}'`;
    if (status === STATUS.atNoise || from.end === END.noise) {
      const betas = this.settings.rescale_betas_zero_snr ? 'rescale_betas_zero_snr true' : betasOption(this.settings);
      throw clash(prediction, betas, 'the noise says nothing of the data where alpha is 0');
    }
    throw clash(
      prediction,
      `timestep_spacing '${this.settings.timestep_spacing}'`,
      'a step has no finite coefficients',
    );
  }
}
