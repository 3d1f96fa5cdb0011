// DPM-Solver++ for networks with the preconditioning of EDM, as diffusers' class.
import { END, edmPredictionRow, type Form, keepNoise, type Node, STATUS, type Status } from '../addon/coefficients.js';
import type { Tensor } from '../base/tensor.js';
import { type ClassRules, clash } from '../folder/scheduler-config.js';
import { CLIPPING } from './defaults.js';
import { DPM_SYNONYMS, MultistepScheduler } from './dpm-solver.js';
import type { GridRules } from './grids.js';
import type { Schedule } from './progress.js';
import type { Request } from './request.js';
import { endOf, threshold } from './sigma-scheduler.js';
import { linspace32 } from './training.js';

/**
 * DPM-Solver++ for networks with the preconditioning of EDM (Karras et al. 2022, arXiv 2206.00364): alpha = 1, and
 * timesteps are log(sigma) / 4, fractions.
 */
export class EDMDPMSolverMultistepScheduler extends MultistepScheduler {
  static override readonly rules: ClassRules = {
    name: 'EDMDPMSolverMultistepScheduler',
    flow: false,
    edm: true,
    synonyms: DPM_SYNONYMS,
    defaults: {
      sigma_min: 0.002,
      sigma_max: 80,
      sigma_data: 0.5,
      sigma_schedule: 'karras',
      num_train_timesteps: 1000,
      prediction_type: 'epsilon',
      rho: 7,
      solver_order: 2,
      ...CLIPPING,
      algorithm_type: 'dpmsolver++',
      solver_type: 'midpoint',
      lower_order_final: true,
      euler_at_final: false,
      final_sigmas_type: 'zero',
    },
  };

  override get initNoiseSigma(): number {
    return Math.sqrt(this.settings.sigma_max! ** 2 + 1);
  }

  /** x / sqrt(sigma^2 + sigma_data^2), as a new tensor. */
  override scaleModelInput<T extends Tensor>(x: T, t: number | bigint): T {
    const { sigma } = this.inputNode(t);
    return this.scaled(x, 1 / Math.sqrt(sigma * sigma + this.settings.sigma_data ** 2)) as T;
  }

  protected override get gridRules(): GridRules {
    return { sigmaMin: 'grid', cutsCosine: false, flowStart: 'step' };
  }

  protected override nodeOf(sigma: number): Node {
    if (sigma === 0) return { alpha: 1, sigma: 0, lambda: Infinity, end: END.clean };
    return { alpha: 1, sigma, lambda: -Math.log(sigma) };
  }

  protected override trainingNode(): null {
    return null;
  }

  protected override initial(): Schedule {
    return this.schedule({ steps: this.settings.num_train_timesteps, timesteps: null, sigmas: null, mu: null });
  }

  protected override schedule(request: Request): Schedule {
    if (request.timesteps)
      throw clash('timesteps', `_class_name '${this.name}'`, 'its times are functions of sigma: give sigmas');
    if (request.mu !== null) throw clash('mu', `_class_name '${this.name}'`, 'it has no shift');
    const s = this.settings;
    const sigmas = Float32Array.from(request.sigmas ?? this.ownSigmas(request.steps));
    const end = s.final_sigmas_type === 'zero' ? 0 : s.sigma_min!;
    return {
      ...this.withNodes({
        timesteps: Array.from(sigmas, (sigma) => Math.fround(0.25 * Math.fround(Math.log(sigma)))),
        sigmas: Float32Array.from([...sigmas, endOf(sigmas, end)]),
      }),
      integer: false,
    };
  }

  private ownSigmas(steps: number): Float32Array {
    const { sigma_min: low, sigma_max: high, rho, sigma_schedule } = this.settings;
    if (steps === 1) return Float32Array.of(high!);
    if (sigma_schedule === 'exponential') {
      return linspace32(Math.log(low!), Math.log(high!), steps).map(Math.exp).reverse();
    }
    const first = high! ** (1 / rho);
    const last = low! ** (1 / rho);
    return linspace32(0, 1, steps).map((w) => Math.fround(first + Math.fround(w * (last - first))) ** rho);
  }

  protected override predict(node: Node, _form?: Form): Status {
    const s = this.settings;
    const model = s.prediction_type === 'v_prediction' ? 'v' : 'noise';
    const status = edmPredictionRow(this.row, 0, model, s.sigma_data, node);
    if (s.thresholding) threshold(this.row, s);
    return status;
  }

  /** The network is one of x0, whatever the solver wants. */
  protected override finish(node: Node, form = this.form): Status {
    return form === 'noise' ? keepNoise(this.row, 0, node) : STATUS.ok;
  }

  protected override get endsInEuler(): boolean {
    return this.settings.euler_at_final || this.settings.final_sigmas_type === 'zero';
  }
}
