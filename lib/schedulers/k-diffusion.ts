// The samplers of k-diffusion (Karras et al. 2022, arXiv 2206.00364) as diffusers' classes: the sample is
// x = x0 + sigma epsilon with sigma = sigma / alpha of training, and the network is given x / sqrt(sigma^2 + 1).
import type {
  EulerAncestralDiscreteConfig,
  EulerDiscreteConfig,
  HeunDiscreteConfig,
  KDiffusionConfig,
} from './configs.js';
import {
  type Form,
  keepNoise,
  lmsRow,
  type Node,
  predictionRow,
  ROW,
  type Status,
  STATUS,
  SUM,
  TRANSFORM,
  updateRow,
} from '../addon/coefficients.js';
import type { Tensor } from '../base/tensor.js';
import { outOfRange } from '../base/check.js';
import { churnOf } from './churn.js';
import { type ClassRules, clash, type SchedulerConfig } from '../folder/scheduler-config.js';
import { SPACING, STABLE_TRAINING, TRAINING } from './defaults.js';
import { countDown, type GridRules, labelOf, linspace, roundHalfEven, sigmaAt, spacedSigmas } from './grids.js';
import type { Plan, Progress, Schedule } from './progress.js';
import type { Request } from './request.js';
import type { StepOptions } from './scheduler.js';
import { MODEL, SigmaScheduler, varianceExplodingNode, variancePreservingNode } from './sigma-scheduler.js';

/** Where the evaluations of a run stand, and what the network is told there. */
interface Levels {
  readonly timesteps: readonly number[];
  readonly sigmas: readonly number[];
}

/** Keys that place the sigmas. */
const PLACED = { use_karras_sigmas: false, use_exponential_sigmas: false, use_beta_sigmas: false } as const;

abstract class KScheduler<C extends object = SchedulerConfig> extends SigmaScheduler<C> {
  protected override readonly form: Form = 'data';

  protected override get gridRules(): GridRules {
    return { sigmaMin: 'training', cutsCosine: false, flowStart: 'step' };
  }

  protected override get historyLength(): number {
    return 0;
  }

  /** The largest sigma, or with 'leading', whose first timestep is not the last of training, sqrt(sigma^2 + 1). */
  override get initNoiseSigma(): number {
    const most = this.latest.sigmas.reduce((a, b) => Math.max(a, b));
    return this.settings.timestep_spacing === 'leading' ? Math.sqrt(most * most + 1) : most;
  }

  /** x / sqrt(sigma^2 + 1), as a new tensor. */
  override scaleModelInput<T extends Tensor>(x: T, t: number | bigint): T {
    const { sigma } = this.inputNode(t);
    return this.scaled(x, 1 / Math.sqrt(sigma * sigma + 1)) as T;
  }

  protected override nodeOf(sigma: number): Node {
    return varianceExplodingNode(sigma);
  }

  protected override initial(): Schedule {
    const { sigmas } = this.training;
    return {
      integer: false,
      timesteps: Array.from(sigmas, (_, i) => sigmas.length - 1 - i),
      sigmas: Float32Array.from([...sigmas.slice().reverse(), 0]),
      nodes: [],
    };
  }

  protected override schedule(request: Request): Schedule {
    if (request.mu !== null) throw clash('mu', `_class_name '${this.name}'`, 'it has no shift');
    return this.through(this.placed(request));
  }

  /** The schedule of a run through these sigmas, to the end. */
  protected through({ timesteps, sigmas }: Levels): Schedule {
    return this.standing(timesteps, [...sigmas, this.end]);
  }

  /** A schedule whose evaluations stand at these sigmas. */
  protected standing(timesteps: readonly number[], sigmas: readonly number[]): Schedule {
    const levels = Float32Array.from(sigmas);
    const nodes = Array.from(levels, varianceExplodingNode);
    return { timesteps: timesteps.map(Math.fround), sigmas: levels, nodes, integer: false };
  }

  /** Where the run ends. */
  protected get end(): number {
    return 0;
  }

  /** The sigmas of a request without the end, and their labels. */
  protected placed(request: Request): Levels {
    const s = this.settings;
    const { training } = this;
    const labelled = (sigmas: readonly number[]) => ({ sigmas, timesteps: sigmas.map((x) => labelOf(training, x)) });
    const kind = this.placing;
    if (request.sigmas) {
      if (kind) throw clash('sigmas', `use_${kind}_sigmas true`, 'it places them itself');
      return labelled(request.sigmas);
    }
    if (request.timesteps && kind) {
      throw clash('timesteps', `use_${kind}_sigmas true`, 'its sigmas are not those of the labels');
    }
    const timesteps = (request.timesteps ?? this.spaced(request.steps)).map(Math.fround);
    const last = s.num_train_timesteps - 1;
    if (request.timesteps && (timesteps[0] > last || timesteps[timesteps.length - 1] < 0)) {
      throw outOfRange(`timesteps from 0 to ${last}`, 'timesteps', `${timesteps[0]} to ${timesteps.at(-1)}`);
    }
    const sigmas = timesteps.map((t) => sigmaAt(training, t));
    if (!kind) return { timesteps, sigmas };
    const high = s.sigma_max ?? sigmas[0];
    return labelled(spacedSigmas(kind, high, s.sigma_min ?? sigmas[sigmas.length - 1], request.steps));
  }

  private get placing(): 'karras' | 'exponential' | 'beta' | null {
    const has = (key: keyof typeof PLACED) => key in this.rules.defaults && this.settings[key];
    if (has('use_karras_sigmas')) return 'karras';
    if (has('use_exponential_sigmas')) return 'exponential';
    return has('use_beta_sigmas') ? 'beta' : null;
  }

  /** Labels of `steps` sigmas (Lin et al. 2023, table 2), fractions with 'linspace'. */
  protected override spaced(steps: number): number[] {
    const { num_train_timesteps: n, timestep_spacing, steps_offset } = this.settings;
    if (timestep_spacing === 'linspace') return linspace(0, n - 1, steps).reverse();
    if (timestep_spacing === 'trailing') return countDown(n, n / steps, steps).map((t) => t - 1);
    const ratio = Math.floor(n / steps);
    if (ratio === 0) {
      throw clash("timestep_spacing 'leading'", `${steps} steps`, `there are ${n} training steps to go through`);
    }
    return Array.from({ length: steps }, (_, i) => (steps - 1 - i) * ratio + steps_offset);
  }

  /** P = x0: what a network of the variance-preserving process says of x / sqrt(sigma^2 + 1). */
  protected override predict({ sigma }: Node): Status {
    const node = variancePreservingNode(sigma);
    const status = predictionRow(this.row, 0, MODEL[this.settings.prediction_type], 'data', node);
    this.row[ROW.cx] *= node.alpha;
    return status;
  }

  /** D0 = d x / d sigma = (x - P) / sigma takes the place of P in the sums, which are to be filled before. */
  protected derive(node: Node): Status {
    return keepNoise(this.row, 0, node);
  }

  protected override check(status: Status, from: Node, to: Node): void {
    if (status === STATUS.ok) return;
    throw clash(
      `prediction_type '${this.settings.prediction_type}'`,
      `_class_name '${this.name}'`,
      `the step from sigma ${from.sigma} to ${to.sigma} has no finite coefficients`,
    );
  }

  /** One step of Euler's method: order 1 of DPM-Solver++, which in x = x0 + sigma epsilon is the same. */
  protected euler(current: Node, target: Node, tau2: 0 | 1): void {
    this.check(this.predict(current), current, target);
    const update = {
      method: 'multistep',
      form: 'data',
      order: 1,
      tau2,
      target,
      base: current,
      nodes: [current],
    } as const;
    this.check(updateRow(this.row, 0, update), current, target);
  }
}

/**
 * Euler's method (Karras et al. 2022, algorithm 2 with one evaluation a step), with the noise of `sChurn` in the options
 * of `step`. With `timestep_type: 'continuous'` and v_prediction (Stable Video Diffusion) the network is told
 * log(sigma) / 4.
 */
export class EulerDiscreteScheduler extends KScheduler<EulerDiscreteConfig> {
  protected override readonly churns = true;

  static override readonly rules: ClassRules = {
    name: 'EulerDiscreteScheduler',
    flow: false,
    choices: { prediction_type: ['epsilon', 'sample', 'v_prediction'] },
    defaults: {
      ...TRAINING,
      interpolation_type: 'linear',
      ...PLACED,
      sigma_min: null,
      sigma_max: null,
      timestep_type: 'discrete',
      ...SPACING,
      rescale_betas_zero_snr: false,
      final_sigmas_type: 'zero',
    },
  };

  protected override get end(): number {
    return this.settings.final_sigmas_type === 'zero' ? 0 : this.training.sigmas[0];
  }

  protected override placed(request: Request): Levels {
    const s = this.settings;
    if (request.timesteps && this.continuous) {
      throw clash('timesteps', "timestep_type 'continuous'", 'its times are functions of sigma: give sigmas');
    }
    if (s.interpolation_type === 'linear' || request.sigmas || request.timesteps) return super.placed(request);
    // Equispaced in log sigma, and one more than there are steps: the last of them is where the run ends.
    const { logSigmas } = this.training;
    const sigmas = linspace(logSigmas[logSigmas.length - 1], logSigmas[0], request.steps + 1).map(Math.exp);
    return super.placed({ ...request, sigmas: sigmas.slice(0, -1) });
  }

  protected override through(levels: Levels): Schedule {
    const schedule = super.through(levels);
    if (!this.continuous) return schedule;
    const told = Array.from(schedule.sigmas.subarray(0, -1), (sigma) =>
      Math.fround(0.25 * Math.fround(Math.log(sigma))),
    );
    return { ...schedule, timesteps: told };
  }

  private get continuous(): boolean {
    return this.settings.timestep_type === 'continuous' && this.settings.prediction_type === 'v_prediction';
  }

  protected override plan(schedule: Schedule, _: Progress, at: number, index: number, options: StepOptions): Plan {
    const current = schedule.nodes[at];
    const target = schedule.nodes[index + 1];
    const churn = churnOf(options, current.sigma, schedule.timesteps.length);
    this.euler(current, target, 0);
    if (churn.draws) this.raise(current, target, churn.raised, churn.amount);
    return { base: 'sample', history: [], keep: null, save: null, draws: churn.draws };
  }

  /**
   * The step from x + amount z at `raised`: x' = x^ + (x^ - P(x^)) / raised (target - raised). P is that of epsilon at
   * the raised sigma, and of v, as in diffusers, at the one below.
   */
  private raise(current: Node, target: Node, raised: number, amount: number): void {
    const { row } = this;
    if (this.settings.prediction_type === 'epsilon') {
      this.check(this.predict(varianceExplodingNode(raised)), current, target);
    }
    const weight = (raised - target.sigma) / raised;
    row[ROW.first + SUM.a] = 1 - weight;
    row[ROW.first + SUM.bp] = weight;
    row[ROW.first + SUM.n] = amount * (1 - weight + weight * row[ROW.cx]);
  }
}

/**
 * Euler's method with ancestral noise: the whole of the noise of a DDPM step of that length. In x = x0 + sigma epsilon it is
 * SDE-DPM-Solver++ of order 1.
 */
export class EulerAncestralDiscreteScheduler extends KScheduler<EulerAncestralDiscreteConfig> {
  static override readonly rules: ClassRules = {
    name: 'EulerAncestralDiscreteScheduler',
    flow: false,
    choices: { prediction_type: ['epsilon', 'sample', 'v_prediction'] },
    defaults: { ...TRAINING, ...SPACING, rescale_betas_zero_snr: false },
  };

  protected override plan(schedule: Schedule, _: Progress, at: number, index: number): Plan {
    this.euler(schedule.nodes[at], schedule.nodes[index + 1], 1);
    return { base: 'sample', history: [], keep: null, save: null, draws: true };
  }
}

/** Linear multistep in sigma, up to order 4 (k-diffusion's LMS). */
export class LMSDiscreteScheduler extends KScheduler<KDiffusionConfig> {
  static override readonly rules: ClassRules = {
    name: 'LMSDiscreteScheduler',
    flow: false,
    choices: { prediction_type: ['epsilon', 'sample', 'v_prediction'] },
    defaults: { ...TRAINING, ...PLACED, ...SPACING },
  };

  protected override get historyLength(): number {
    return 3;
  }

  protected override plan(schedule: Schedule, { history }: Progress, at: number, index: number): Plan {
    const current = schedule.nodes[at];
    const target = schedule.nodes[index + 1];
    this.check(this.predict(current), current, target);
    const sigmas = [current, ...history.map((kept) => kept.node)].map(({ sigma }) => sigma);
    this.check(lmsRow(this.row, 0, target.sigma, sigmas), current, target);
    this.check(this.derive(current), current, target);
    return { base: 'sample', history, keep: current, save: null, draws: false };
  }
}

abstract class TwoStageScheduler<C extends object = SchedulerConfig> extends KScheduler<C> {
  override readonly order = 2;

  /** The first evaluation of a step: to `target`, and the sample is kept where another evaluation follows. */
  protected first(current: Node, target: Node, more: boolean): Plan {
    this.check(this.predict(current), current, target);
    this.clip();
    this.row[ROW.first + SUM.a] = 1;
    this.row[ROW.first + SUM.bp] = target.sigma - current.sigma;
    this.check(this.derive(current), current, target);
    if (more) this.row[ROW.second + SUM.a] = 1;
    const kept = more ? current : null;
    return { base: 'sample', history: [], keep: this.historyLength > 0 ? kept : null, save: kept, draws: false };
  }

  protected clip(): void {}
}

/** Heun's method (Karras et al. 2022, algorithm 1): second order, two evaluations a step but for the last one. */
export class HeunDiscreteScheduler extends TwoStageScheduler<HeunDiscreteConfig> {
  static override readonly rules: ClassRules = {
    name: 'HeunDiscreteScheduler',
    flow: false,
    choices: { prediction_type: ['epsilon', 'sample', 'v_prediction'] },
    defaults: {
      ...STABLE_TRAINING,
      ...PLACED,
      clip_sample: false,
      clip_sample_range: 1,
      ...SPACING,
    },
  };

  protected override get historyLength(): number {
    return 1;
  }

  protected override through({ timesteps, sigmas }: Levels): Schedule {
    const twice = (list: readonly number[]) => list.flatMap((x, i) => (i === 0 ? [x] : [x, x]));
    return this.standing(twice(timesteps), [...twice(sigmas), 0]);
  }

  protected override clip(): void {
    if (!this.settings.clip_sample) return;
    this.row[ROW.transform] = TRANSFORM.clamp;
    this.row[ROW.floor] = this.settings.clip_sample_range;
  }

  protected override plan(schedule: Schedule, { history }: Progress, at: number, index: number): Plan {
    const current = schedule.nodes[at];
    if (index % 2 === 0) return this.first(current, schedule.nodes[index + 1], index + 1 < schedule.timesteps.length);
    // The slopes at both ends, from where the step began.
    const from = history[0].node;
    this.check(this.predict(current), from, current);
    this.clip();
    const half = (current.sigma - from.sigma) / 2;
    this.row[ROW.first + SUM.a] = 1;
    this.row[ROW.first + SUM.bp] = half;
    this.row[ROW.first + SUM.b1] = half;
    this.check(this.derive(current), from, current);
    return { base: 'kept', history, keep: null, drop: 1, save: null, draws: false };
  }
}

abstract class MidpointScheduler<C extends object = SchedulerConfig> extends TwoStageScheduler<C> {
  /** Where a step's second evaluation stands, from `from` towards `to`; 0 where there is none. */
  protected abstract middle(from: number, to: number): number;

  protected override through({ timesteps, sigmas }: Levels): Schedule {
    const levels = Array.from(Float32Array.from([...sigmas, 0]));
    const middles = levels.slice(0, -2).map((sigma, i) => Math.fround(this.middle(sigma, levels[i + 1])));
    const told = timesteps.map((t) => (this.settings.use_karras_sigmas ? roundHalfEven(t) : t));
    const between = <T>(list: readonly T[], of: readonly T[]) =>
      list.flatMap((x, i) => (i < of.length ? [x, of[i]] : [x]));
    const labels = middles.map((sigma) => labelOf(this.training, sigma));
    return this.standing(between(told, labels), [...between(levels.slice(0, -1), middles), 0]);
  }

  protected override plan(schedule: Schedule, _: Progress, at: number, index: number): Plan {
    const current = schedule.nodes[at];
    if (index % 2 === 0) return this.first(current, schedule.nodes[index + 1], index + 1 < schedule.timesteps.length);
    const from = schedule.nodes[index - 1];
    const to = schedule.nodes[index + 1];
    this.check(this.predict(current), from, to);
    const { end, noise } = this.target(from.sigma, to.sigma);
    this.row[ROW.first + SUM.a] = 1;
    this.row[ROW.first + SUM.bp] = end - from.sigma;
    this.row[ROW.first + SUM.n] = noise ?? 0;
    this.check(this.derive(current), from, to);
    return { base: 'kept', history: [], keep: null, save: null, draws: noise !== null };
  }

  /** Where the slope leads from `from`, and how much noise is added there. */
  protected abstract target(from: number, to: number): { end: number; noise: number | null };
}

/** DPM-Solver-2 in sigma as k-diffusion has it: the midpoint rule, in the middle of log sigma. */
export class KDPM2DiscreteScheduler extends MidpointScheduler<KDiffusionConfig> {
  static override readonly rules: ClassRules = {
    name: 'KDPM2DiscreteScheduler',
    flow: false,
    choices: { prediction_type: ['epsilon', 'sample', 'v_prediction'] },
    defaults: { ...STABLE_TRAINING, ...PLACED, ...SPACING },
  };

  protected override middle(from: number, to: number): number {
    return Math.sqrt(from * to);
  }

  protected override target(_from: number, to: number): { end: number; noise: null } {
    return { end: to, noise: null };
  }
}

/** The same with ancestral noise: the midpoint rule leads below the next sigma, and noise back to it. */
export class KDPM2AncestralDiscreteScheduler extends MidpointScheduler<KDiffusionConfig> {
  static override readonly rules: ClassRules = {
    name: 'KDPM2AncestralDiscreteScheduler',
    flow: false,
    choices: { prediction_type: ['epsilon', 'sample', 'v_prediction'] },
    defaults: { ...STABLE_TRAINING, ...PLACED, ...SPACING },
  };

  protected override middle(from: number, to: number): number {
    return Math.sqrt(from * this.target(from, to).end);
  }

  /** sigma_down = sigma_t^2 / sigma_s, and sigma_up^2 = sigma_t^2 - sigma_down^2. */
  protected override target(from: number, to: number): { end: number; noise: number } {
    const end = (to * to) / from;
    return { end, noise: Math.sqrt(Math.max(0, (to - end) * (to + end))) };
  }
}
