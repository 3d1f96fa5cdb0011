// DPM-Solver and DPM-Solver++ (Lu et al. 2022, arXiv 2206.00927 and 2211.01095) as diffusers' classes, and DEIS.
import {
  END,
  edmPredictionRow,
  type Form,
  keepNoise,
  type Node,
  ROW,
  STATUS,
  type Status,
  SUM,
  updateRow,
} from '../addon/coefficients.js';
import type { Tensor } from '../base/tensor.js';
import { type ClassRules, clash } from '../folder/scheduler-config.js';
import type { Settings } from '../folder/scheduler-keys.js';
import { CLIPPING, GRIDS, SHIFTING, SOLVER, SPACING, TRAINING } from './defaults.js';
import {
  convertedGrid,
  type Grid,
  type GridRules,
  keptSteps,
  linspace,
  shifted,
  sigmaAt,
  sigmaGrid,
  spacedTimesteps,
} from './grids.js';
import type { Plan, Progress, Request, Schedule } from './scheduler.js';
import { endOf, SigmaScheduler, threshold } from './sigma-scheduler.js';
import { linspace32 } from './training.js';

// Other classes' words for a solver stand for the default here, as in diffusers.
const DPM_SYNONYMS: ClassRules['synonyms'] = {
  algorithm_type: { deis: 'dpmsolver++' },
  solver_type: { logrho: 'midpoint', bh1: 'midpoint', bh2: 'midpoint' },
};

abstract class DpmScheduler extends SigmaScheduler {
  protected get form(): Form {
    return this.settings.algorithm_type.endsWith('++') ? 'data' : 'noise';
  }

  protected override get historyLength(): number {
    return this.settings.solver_order - 1;
  }

  /** Fills the row with one update; what the step draws is decided by the algorithm alone. */
  protected update(
    method: 'multistep' | 'singlestep',
    order: number,
    target: Node,
    base: Node,
    nodes: readonly Node[],
    exact = false,
  ): boolean {
    const { algorithm_type, solver_type } = this.settings;
    const current = nodes[0];
    const sde = algorithm_type.startsWith('sde');
    // At sigma = 0 the SDE in noise form would add as much noise as is left: the limit of the data form is x0.
    const form = sde && target.end === END.clean ? 'data' : this.form;
    this.check(this.predict(current, form), current, target);
    const taylor = exact || solver_type === 'heun';
    const status = updateRow(this.row, 0, {
      method,
      form,
      order: order as 1 | 2 | 3,
      taylor,
      exact,
      tau2: sde ? 1 : 0,
      target,
      base,
      nodes,
    });
    this.check(status === STATUS.ok ? this.finish(current, form) : status, base, target);
    return sde;
  }
}

abstract class MultistepScheduler extends DpmScheduler {
  /** Is the last step one of order 1, however long the run is? */
  protected get endsInEuler(): boolean {
    return false;
  }

  /** Does the solver use the exact weights of its polynomials instead of the published ones? */
  protected get exact(): boolean {
    return false;
  }

  protected override plan(schedule: Schedule, progress: Progress, at: number, index: number): Plan {
    const steps = schedule.timesteps.length;
    const order = fallingOrder(this.settings, progress.history.length, steps - index, steps, this.endsInEuler);
    const current = schedule.nodes[at];
    const history = progress.history.slice(0, order - 1);
    const nodes = [current, ...history.map((kept) => kept.node)];
    const draws = this.update('multistep', order, schedule.nodes[index + 1], current, nodes, this.exact);
    return { base: 'sample', history, keep: this.historyLength > 0 ? current : null, save: null, draws };
  }
}

/** `min` of the solver's order, the predictions there are, and 2 and 1 at the end of short runs. */
function fallingOrder(s: Settings, count: number, left: number, steps: number, euler: boolean): number {
  const short = s.lower_order_final && steps < 15;
  if (left === 1 && (short || euler)) return 1;
  return Math.min(s.solver_order, count + 1, short ? Math.max(left, 1) : s.solver_order);
}

/**
 * DPM-Solver(++) in multistep form (Lu et al. 2022, arXiv 2206.00927 and 2211.01095): one evaluation a step, orders 1 to
 * 3, ODE and SDE.
 *
 * Takes the keys of diffusers' class of this name with its defaults. Where that class ends in NaN or an error (repeated
 * sigmas, repeated timesteps, third-order SDEs), this one does not; docs/schedulers.md has the list.
 */
export class DPMSolverMultistepScheduler extends MultistepScheduler {
  static override readonly rules: ClassRules = {
    name: 'DPMSolverMultistepScheduler',
    flow: true,
    synonyms: DPM_SYNONYMS,
    defaults: {
      ...TRAINING,
      ...SOLVER,
      ...CLIPPING,
      lower_order_final: true,
      euler_at_final: false,
      ...GRIDS,
      use_lu_lambdas: false,
      final_sigmas_type: 'zero',
      lambda_min_clipped: -Infinity,
      variance_type: null,
      ...SPACING,
      rescale_betas_zero_snr: false,
      ...SHIFTING,
    },
  };

  protected override get gridRules(): GridRules {
    return { sigmaMin: 'training', cutsCosine: true, flowStart: 'step' };
  }

  protected override get endsInEuler(): boolean {
    return this.settings.euler_at_final || this.settings.final_sigmas_type === 'zero';
  }
}

/**
 * DPM-Solver(++) towards noise: from a picture to the noise that makes it, for editing. Its timesteps go up; the ODE
 * algorithms only.
 */
export class DPMSolverMultistepInverseScheduler extends MultistepScheduler {
  static override readonly rules: ClassRules = {
    name: 'DPMSolverMultistepInverseScheduler',
    flow: true,
    inverse: true,
    synonyms: DPM_SYNONYMS,
    defaults: {
      ...TRAINING,
      ...SOLVER,
      ...CLIPPING,
      lower_order_final: true,
      euler_at_final: false,
      ...GRIDS,
      lambda_min_clipped: -Infinity,
      variance_type: null,
      ...SPACING,
    },
  };

  protected override get gridRules(): GridRules {
    return { sigmaMin: 'grid', cutsCosine: false, flowStart: 'step' };
  }

  protected override initial(): Schedule {
    const { sigmas } = this.training;
    const last = sigmas[sigmas.length - 1];
    return {
      integer: true,
      timesteps: Array.from(sigmas, (_, i) => i),
      sigmas: Float32Array.from([...sigmas, last]),
      nodes: [],
    };
  }

  protected override grid(request: Request): Grid {
    const s = this.settings;
    const { training } = this;
    const { steps } = request;
    for (const key of ['timesteps', 'sigmas'] as const) {
      if (request[key]) throw clash(key, `_class_name '${this.name}'`, 'it goes the other way, by a number of steps');
    }
    const kind = convertedGrid(s);
    let timesteps: number[];
    let sigmas: number[];
    if (kind === 'flow') {
      // As for other noise: from the training step nearest to the data, and the last one is where the run ends.
      const least = 1 / s.num_train_timesteps;
      const shift = this.shiftOf(request);
      sigmas = linspace(least, 1 - least, steps + 1).map((sigma) => shifted(sigma, shift));
      timesteps = sigmas.slice(0, -1).map((sigma) => Math.trunc(sigma * s.num_train_timesteps));
    } else if (kind) {
      ({ timesteps, sigmas } = sigmaGrid(s, training, this.gridRules, steps, 1, null, true));
      sigmas.push(sigmas[steps - 1]);
    } else {
      const kept = keptSteps(s, training);
      timesteps = this.spacedUpwards(steps, kept);
      sigmas = [...timesteps.map((t) => sigmaAt(training, t)), training.sigmas[kept - 1]];
    }
    // Repeated labels are left out, and their sigmas with them.
    const first = timesteps.map((t, i) => i === 0 || t !== timesteps[i - 1]);
    return {
      timesteps: timesteps.filter((_, i) => first[i]),
      sigmas: Float32Array.from(sigmas.filter((_, i) => first[i] ?? true)),
    };
  }

  /** spacedTimesteps upwards: its points, but without the last and with the first. */
  private spacedUpwards(steps: number, kept: number): number[] {
    const s = this.settings;
    if (s.timestep_spacing === 'trailing') return spacedTimesteps(s, steps, kept).reverse();
    const down = spacedTimesteps(s, steps, kept).reverse();
    const start = s.timestep_spacing === 'leading' ? s.steps_offset : 0;
    return [start, ...down.slice(0, -1)];
  }

  protected override get endsInEuler(): boolean {
    return this.settings.euler_at_final;
  }
}

/**
 * DPM-Solver(++) in singlestep form (Lu et al. 2022, arXiv 2206.00927 and 2211.01095): steps of two or three
 * evaluations, each of which starts from the state at the step's beginning. One call of `step` per evaluation.
 */
export class DPMSolverSinglestepScheduler extends DpmScheduler {
  private stages: { steps: number; orders: readonly number[] } = { steps: 0, orders: [] };

  static override readonly rules: ClassRules = {
    name: 'DPMSolverSinglestepScheduler',
    flow: true,
    synonyms: DPM_SYNONYMS,
    defaults: {
      ...TRAINING,
      ...SOLVER,
      ...CLIPPING,
      lower_order_final: false,
      ...GRIDS,
      final_sigmas_type: 'zero',
      lambda_min_clipped: -Infinity,
      variance_type: null,
      ...SHIFTING,
    },
  };

  protected override get gridRules(): GridRules {
    return { sigmaMin: 'training', cutsCosine: false, flowStart: 'step' };
  }

  /** diffusers' class has no timestep_spacing: it is linspace, whatever another class's configuration says. */
  protected override spaced(steps: number): number[] {
    return spacedTimesteps(
      { ...this.settings, timestep_spacing: 'linspace' },
      steps,
      keptSteps(this.settings, this.training),
    );
  }

  protected override plan(schedule: Schedule, progress: Progress, at: number, index: number): Plan {
    const s = this.settings;
    const steps = schedule.timesteps.length;
    if (this.stages.steps !== steps) this.stages = { steps, orders: stageOrders(s, steps) };
    const current = schedule.nodes[at];
    const target = schedule.nodes[index + 1];
    // A run that begins inside of a step begins one there.
    const order = Math.min(this.stages.orders[index], progress.count + 1);
    if (order === 1) {
      const draws = this.update('singlestep', 1, target, current, [current]);
      if (s.solver_order === 1) return { base: 'sample', history: [], keep: null, save: null, draws };
      this.row[ROW.second + SUM.a] = 1;
      return { base: 'sample', history: [], keep: current, save: current, draws };
    }
    const history = progress.history.slice(0, order - 1);
    const nodes = [current, ...history.map((kept) => kept.node)];
    const draws = this.update('singlestep', order, target, progress.base!, nodes);
    return { base: 'kept', history, keep: current, save: null, draws };
  }
}

/** The order of each evaluation's update: 1, 2, ... within a step, and lower ones at the end. */
function stageOrders(s: Settings, steps: number): number[] {
  const order = s.solver_order;
  const stages = (p: number) => Array.from({ length: p }, (_, i) => i + 1);
  const lower = s.lower_order_final || s.final_sigmas_type === 'zero' || steps % order !== 0;
  const rest = lower && order > 1 ? steps % order || order : 0;
  const list = Array.from({ length: (steps - rest) / order }, () => stages(order)).flat();
  // The last `order` evaluations are never one step: 1, 1 or 1, 2, 1.
  return rest === order ? [...list, ...stages(order - 1), 1] : [...list, ...stages(rest)];
}

/**
 * DEIS in log-rho (Zhang & Chen 2023, arXiv 2204.13902), multistep: polynomials in log(sigma / alpha) through the noise
 * predictions, integrated exactly. That is DPM-Solver's multistep form with all its derivatives.
 */
export class DEISMultistepScheduler extends MultistepScheduler {
  static override readonly rules: ClassRules = {
    name: 'DEISMultistepScheduler',
    flow: true,
    synonyms: {
      algorithm_type: { dpmsolver: 'deis', 'dpmsolver++': 'deis' },
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
