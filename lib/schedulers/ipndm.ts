// Improved PNDM (Zhang & Chen 2023, arXiv 2204.13902, section 3; crowsonkb's v-diffusion) as diffusers' class.
import type { IPNDMConfig } from './configs.js';
import { END, type Node, pndmRow, predictionRow, ROW, STATUS, type Status, SUM } from '../addon/coefficients.js';
import { type ClassRules, clash } from '../folder/scheduler-config.js';
import { ADAMS } from './ddim.js';
import type { Plan, Progress, Schedule } from './progress.js';
import type { Request } from './request.js';
import { Scheduler } from './scheduler.js';
import { linspace32 } from './training.js';

const f32 = Math.fround;

/**
 * Linear multistep of order 4 on the noise of a network that predicts v, with sigma = sin(pi s / 2)^2 for s from 1 to 0;
 * its timesteps are fractions, the angle of (alpha, sigma) in right angles.
 */
export class IPNDMScheduler extends Scheduler<IPNDMConfig> {
  protected override readonly historyLength = 3;

  static override readonly rules: ClassRules = {
    name: 'IPNDMScheduler',
    flow: false,
    takes: ['ipndm'],
    defaults: { num_train_timesteps: 1000, trained_betas: null },
  };

  protected override initial(): Schedule {
    return this.spread(this.settings.num_train_timesteps);
  }

  protected override trainingNode(): null {
    return null;
  }

  protected override schedule(request: Request): Schedule {
    for (const key of ['timesteps', 'sigmas', 'mu'] as const) {
      if (request[key] !== null)
        throw clash(key, `_class_name '${this.name}'`, 'its noise levels are sines of the step');
    }
    if (this.settings.trained_betas !== null) {
      throw clash('trained_betas', `_class_name '${this.name}'`, 'its noise levels are sines of the step');
    }
    return this.spread(request.steps);
  }

  private spread(steps: number): Schedule {
    const sigmas = linspace32(1, 0, steps + 1).map((s) => f32(Math.sin(f32(f32(s * f32(Math.PI)) / 2))) ** 2);
    sigmas[steps] = 0;
    const alphas = sigmas.map((sigma) => Math.sqrt(f32(1 - f32(sigma * sigma))));
    const nodes = Array.from(sigmas, (sigma, i): Node => {
      const alpha = alphas[i];
      if (sigma === 0) return { alpha: 1, sigma: 0, lambda: Infinity, end: END.clean };
      if (alpha === 0) return { alpha: 0, sigma: 1, lambda: -Infinity, end: END.noise };
      return { alpha, sigma, lambda: Math.log(alpha / sigma) };
    });
    const angle = (i: number) => f32(f32(f32(Math.atan2(sigmas[i], alphas[i])) / f32(Math.PI)) * 2);
    return { timesteps: Array.from({ length: steps }, (_, i) => angle(i)), sigmas, nodes, integer: false };
  }

  protected override plan({ nodes }: Schedule, { history }: Progress, at: number, index: number): Plan {
    const current = nodes[at];
    const target = nodes[index + 1];
    const weights = ADAMS[Math.min(history.length, 3)];
    if (current.end === END.noise) {
      // Nothing of the data is seen in the noise alone: what is left of it at the target is all that there is.
      this.row[ROW.first + SUM.bp] = target.sigma;
    } else {
      this.check(pndmRow(this.row, 0, 'noise', current, target, weights));
    }
    // What is weighed is the noise that v = alpha epsilon - sigma x0 tells of.
    this.check(predictionRow(this.row, 0, 'v', 'noise', current));
    return { base: 'sample', history: history.slice(0, weights.length - 1), keep: current, save: null, draws: false };
  }

  private check(status: Status): void {
    if (status !== STATUS.ok) throw clash('its steps', `_class_name '${this.name}'`, 'one has no finite coefficients');
  }
}
