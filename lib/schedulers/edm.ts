// The schedulers of networks with the preconditioning of EDM (Karras et al. 2022, arXiv 2206.00364, table 1) as diffusers'
// classes: x = x0 + sigma epsilon, and the network is given x / sqrt(sigma^2 + sigma_data^2).
import type {
  CMStochasticIterativeConfig,
  CosineDPMSolverMultistepConfig,
  EDMDPMSolverMultistepConfig,
  EDMEulerConfig,
} from './configs.js';
import {
  edmPredictionRow,
  type Form,
  keepNoise,
  type Node,
  ROW,
  type Status,
  STATUS,
  SUM,
  TRANSFORM,
} from '../addon/coefficients.js';
import { outOfRange } from '../base/check.js';
import type { Tensor } from '../base/tensor.js';
import { churnOf } from './churn.js';
import { type ClassRules, clash, type SchedulerConfig } from '../folder/scheduler-config.js';
import { CLIPPING } from './defaults.js';
import { DPM_SYNONYMS, MultistepScheduler } from './dpm-solver.js';
import { type GridRules, linspace } from './grids.js';
import type { Plan, Progress, Schedule } from './progress.js';
import { type Request, stepsOnly, wholeTimesteps } from './request.js';
import type { StepOptions } from './scheduler.js';
import { endOf, threshold, varianceExplodingNode } from './sigma-scheduler.js';
import { linspace32 } from './training.js';

abstract class EdmScheduler<C extends object = SchedulerConfig> extends MultistepScheduler<C> {
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
    return varianceExplodingNode(sigma);
  }

  protected override trainingNode(): null {
    return null;
  }

  protected override initial(): Schedule {
    return this.schedule(stepsOnly(this.settings.num_train_timesteps));
  }

  protected override schedule(request: Request): Schedule {
    if (request.timesteps)
      throw clash('timesteps', `_class_name '${this.name}'`, 'its times are functions of sigma: give sigmas');
    if (request.mu !== null) throw clash('mu', `_class_name '${this.name}'`, 'it has no shift');
    const s = this.settings;
    const sigmas = Float32Array.from(request.sigmas ?? this.ownSigmas(request.steps));
    const end = s.final_sigmas_type === 'zero' || request.endsAtZero ? 0 : s.sigma_min!;
    return {
      ...this.withNodes({
        timesteps: Array.from(sigmas, (sigma) => Math.fround(this.told(sigma))),
        sigmas: Float32Array.from([...sigmas, endOf(sigmas, end)]),
      }),
      integer: false,
    };
  }

  /** What the network is told at a sigma. */
  protected told(sigma: number): number {
    return 0.25 * Math.fround(Math.log(sigma));
  }

  protected ownSigmas(steps: number): Float32Array {
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

/**
 * DPM-Solver++ for networks with the preconditioning of EDM (Karras et al. 2022, arXiv 2206.00364): alpha = 1, and
 * timesteps are log(sigma) / 4, fractions.
 */
export class EDMDPMSolverMultistepScheduler extends EdmScheduler<EDMDPMSolverMultistepConfig> {
  static override readonly rules: ClassRules = {
    name: 'EDMDPMSolverMultistepScheduler',
    flow: false,
    edm: true,
    takes: ['edm'],
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
}

/** Euler's method for such networks, with the noise of `sChurn` in the options of `step`. */
export class EDMEulerScheduler extends EdmScheduler<EDMEulerConfig> {
  protected override readonly churns = true;

  static override readonly rules: ClassRules = {
    name: 'EDMEulerScheduler',
    flow: false,
    edm: true,
    takes: ['edm'],
    fixed: { algorithm_type: 'dpmsolver++', solver_order: 1 },
    defaults: {
      sigma_min: 0.002,
      sigma_max: 80,
      sigma_data: 0.5,
      sigma_schedule: 'karras',
      num_train_timesteps: 1000,
      prediction_type: 'epsilon',
      rho: 7,
      final_sigmas_type: 'zero',
    },
  };

  /** In double precision, where diffusers' other class rounds on the way. */
  protected override ownSigmas(steps: number): Float32Array {
    const { sigma_min: low, sigma_max: high, rho, sigma_schedule } = this.settings;
    if (steps === 1 || sigma_schedule === 'exponential') return super.ownSigmas(steps);
    const [first, last] = [high! ** (1 / rho), low! ** (1 / rho)];
    return Float32Array.from(linspace(0, 1, steps), (w) => (first + w * (last - first)) ** rho);
  }

  protected override plan(
    schedule: Schedule,
    progress: Progress,
    at: number,
    index: number,
    options: StepOptions,
  ): Plan {
    const current = schedule.nodes[at];
    const target = schedule.nodes[index + 1];
    const { raised, amount, draws } = churnOf(options, current.sigma, schedule.timesteps.length);
    if (!draws) return super.plan(schedule, progress, at, index, options);
    // x' = x^ + (x^ - P(x^)) / raised (target - raised), from x^ = x + amount z.
    this.check(this.predict(varianceExplodingNode(raised)), current, target);
    const weight = (raised - target.sigma) / raised;
    this.row[ROW.first + SUM.a] = 1 - weight;
    this.row[ROW.first + SUM.bp] = weight;
    this.row[ROW.first + SUM.n] = amount * (1 - weight + weight * this.row[ROW.cx]);
    return { base: 'sample', history: [], keep: null, save: null, draws };
  }
}

/**
 * SDE-DPM-Solver++ as Stable Audio has it: networks with the preconditioning of EDM that are told the angle
 * 2 atan(sigma) / pi. diffusers draws its noise from a Brownian tree; here every step has a draw of its own, of the same
 * distribution.
 */
export class CosineDPMSolverMultistepScheduler extends EdmScheduler<CosineDPMSolverMultistepConfig> {
  static override readonly rules: ClassRules = {
    name: 'CosineDPMSolverMultistepScheduler',
    flow: false,
    edm: true,
    takes: ['cosine'],
    fixed: { algorithm_type: 'sde-dpmsolver++' },
    synonyms: DPM_SYNONYMS,
    defaults: {
      sigma_min: 0.3,
      sigma_max: 500,
      sigma_data: 1,
      sigma_schedule: 'exponential',
      num_train_timesteps: 1000,
      solver_order: 2,
      prediction_type: 'v_prediction',
      rho: 7,
      solver_type: 'midpoint',
      lower_order_final: true,
      euler_at_final: false,
      final_sigmas_type: 'zero',
    },
  };

  protected override told(sigma: number): number {
    return Math.fround(Math.fround(Math.atan(sigma)) / Math.PI) * 2;
  }
}

/**
 * Consistency models (Song et al. 2023, arXiv 2303.01469, algorithm 1): every step goes to x0 and adds the noise of the next
 * sigma. `timesteps` are places among the sigmas of training, counted from the noise, as in diffusers: [22, 0] of 40 is two
 * steps, which begin at sigma_max.
 */
export class CMStochasticIterativeScheduler extends EdmScheduler<CMStochasticIterativeConfig> {
  static override readonly rules: ClassRules = {
    name: 'CMStochasticIterativeScheduler',
    flow: false,
    edm: true,
    takes: ['consistency'],
    fixed: { algorithm_type: 'dpmsolver++', solver_order: 1, final_sigmas_type: 'sigma_min' },
    defaults: {
      num_train_timesteps: 40,
      sigma_min: 0.002,
      sigma_max: 80,
      sigma_data: 0.5,
      s_noise: 1,
      rho: 7,
      clip_denoised: true,
    },
  };

  /** The standard deviation of the noise that a run starts from: sigma_max. */
  override get initNoiseSigma(): number {
    return this.settings.sigma_max!;
  }

  protected override told(sigma: number): number {
    return 250 * Math.log(sigma);
  }

  protected override schedule(request: Request): Schedule {
    if (request.sigmas) {
      throw clash('sigmas', `_class_name '${this.name}'`, 'its network knows those that it was distilled at alone');
    }
    const { num_train_timesteps: n, sigma_min: low, sigma_max: high, rho } = this.settings;
    const { steps } = request;
    if (steps > n) throw clash(`${steps} steps`, `num_train_timesteps ${n}`, 'a step is at least one of those');
    const places = request.timesteps
      ? wholeTimesteps(request.timesteps)
      : Array.from({ length: steps }, (_, i) => (steps - 1 - i) * Math.floor(n / steps));
    if (places[0] >= n || places[places.length - 1] < 0) {
      throw outOfRange(`timesteps from 0 to ${n - 1}`, 'timesteps', `${places[0]} to ${places.at(-1)}`);
    }
    const [first, last] = [high! ** (1 / rho), low! ** (1 / rho)];
    const sigmas = [...places].reverse().map((place) => (first + (place / (n - 1)) * (last - first)) ** rho);
    return super.schedule({ ...request, timesteps: null, sigmas });
  }

  protected override plan(schedule: Schedule, _: Progress, at: number, index: number): Plan {
    const { sigma_min, sigma_max, sigma_data, s_noise, clip_denoised } = this.settings;
    const { sigma } = schedule.nodes[at];
    const low = sigma_min!;
    // Consistency functions are x at sigma_min (appendix C).
    this.row[ROW.cx] = sigma_data ** 2 / ((sigma - low) ** 2 + sigma_data ** 2);
    this.row[ROW.cm] = ((sigma - low) * sigma_data) / Math.hypot(sigma, sigma_data);
    this.row[ROW.ep] = 1;
    if (clip_denoised) {
      this.row[ROW.transform] = TRANSFORM.clamp;
      this.row[ROW.floor] = 1;
    }
    this.row[ROW.first + SUM.bp] = 1;
    const next = Math.min(Math.max(schedule.nodes[index + 1].sigma, low), sigma_max!);
    this.row[ROW.first + SUM.n] = s_noise * Math.sqrt((next - low) * (next + low));
    const draws = schedule.timesteps.length > 1;
    return { base: 'sample', history: [], keep: null, save: null, draws };
  }
}
