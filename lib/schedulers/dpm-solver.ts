// DPM-Solver and DPM-Solver++ (Lu et al. 2022, arXiv 2206.00927 and 2211.01095) as diffusers' classes.
import type {
  DPMSolverMultistepConfig,
  DPMSolverMultistepInverseConfig,
  DPMSolverSinglestepConfig,
} from './configs.js';
import { END, type Form, type Node, ROW, STATUS, SUM, updateRow } from '../addon/coefficients.js';
import { type ClassRules, clash, type SchedulerConfig } from '../folder/scheduler-config.js';
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
import type { Plan, Progress, Schedule } from './progress.js';
import type { Request } from './request.js';
import type { StepOptions } from './scheduler.js';
import { SigmaScheduler } from './sigma-scheduler.js';

// Other classes' words for a solver stand for the default here, as in diffusers.
export const DPM_SYNONYMS: ClassRules['synonyms'] = {
  algorithm_type: { deis: 'dpmsolver++', data_prediction: 'dpmsolver++', noise_prediction: 'dpmsolver' },
  solver_type: { logrho: 'midpoint', bh1: 'midpoint', bh2: 'midpoint' },
};

abstract class DpmScheduler<C extends object = SchedulerConfig> extends SigmaScheduler<C> {
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

export abstract class MultistepScheduler<C extends object = SchedulerConfig> extends DpmScheduler<C> {
  /** Is the last step one of order 1, however long the run is? */
  protected get endsInEuler(): boolean {
    return false;
  }

  /** Does the solver use the exact weights of its polynomials instead of the published ones? */
  protected get exact(): boolean {
    return false;
  }

  protected override plan(
    schedule: Schedule,
    progress: Progress,
    at: number,
    index: number,
    _options: StepOptions,
  ): Plan {
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
export class DPMSolverMultistepScheduler extends MultistepScheduler<DPMSolverMultistepConfig> {
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
export class DPMSolverMultistepInverseScheduler extends MultistepScheduler<DPMSolverMultistepInverseConfig> {
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
      ({ timesteps, sigmas } = sigmaGrid(s, training, this.gridRules, steps, this.shiftOf(request), null, true));
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
export class DPMSolverSinglestepScheduler extends DpmScheduler<DPMSolverSinglestepConfig> {
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
