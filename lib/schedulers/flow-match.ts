// The schedulers of networks trained with flow matching, x = (1 - sigma) x0 + sigma epsilon, as diffusers' classes:
// the network predicts u = epsilon - x0 = d x / d sigma, and is told 1000 sigma.
import type {
  FlowMatchEulerDiscreteConfig,
  FlowMatchHeunDiscreteConfig,
  FlowMatchLCMConfig,
  LTXEulerAncestralRFConfig,
  MiniMaxH3Config,
} from './configs.js';
import { type Node, predictionRow, ROW, STATUS, SUM } from '../addon/coefficients.js';
import { outOfRange } from '../base/check.js';
import { churnOf } from './churn.js';
import { type ClassRules, clash, type SchedulerConfig } from '../folder/scheduler-config.js';
import { linspace, shifted, spacedSigmas, stretched } from './grids.js';
import type { Plan, Progress, Schedule } from './progress.js';
import type { Request } from './request.js';
import { Scheduler, type StepOptions } from './scheduler.js';
import { flowNode, withoutMu } from './sigma-scheduler.js';
import { linspace32 } from './training.js';

const f32 = Math.fround;

/** Keys that every class of diffusers for flows has. */
const PLAIN = { num_train_timesteps: 1000, shift: 1 } as const;
const PLACED = {
  use_dynamic_shifting: false,
  invert_sigmas: false,
  shift_terminal: null,
  use_karras_sigmas: false,
  use_exponential_sigmas: false,
  use_beta_sigmas: false,
  time_shift_type: 'exponential',
} as const;

abstract class FlowMatchScheduler<C extends object = SchedulerConfig> extends Scheduler<C> {
  protected override readonly historyLength: number = 0;

  /** Sigmas of training, from noise to data, in float32: shifted, unless the shift depends on the picture. */
  private get training(): readonly number[] {
    const { num_train_timesteps: n, shift, use_dynamic_shifting } = this.settings;
    const plain = Array.from({ length: n }, (_, i) => f32((n - i) / n));
    if (use_dynamic_shifting) return plain;
    return plain.map((sigma) => f32(f32(shift * sigma) / f32(1 + f32((shift - 1) * sigma))));
  }

  protected override initial(): Schedule {
    const sigmas = this.training;
    return { ...this.standing(sigmas, [...sigmas, 0]), nodes: [] };
  }

  protected override trainingNode(): null {
    return null;
  }

  /** What the network is told at a sigma. */
  protected told(sigma: number): number {
    return f32(sigma * this.settings.num_train_timesteps);
  }

  protected override schedule(request: Request): Schedule {
    const sigmas = this.placed(request).map(f32);
    if (!this.settings.invert_sigmas || !('invert_sigmas' in this.rules.defaults)) return this.through(sigmas);
    // Time turned round: from noise at 0 to data at 1.
    const turned = sigmas.map((sigma) => f32(1 - sigma));
    return this.standing(turned, [...turned, 1]);
  }

  /** A schedule through these sigmas, to the data. */
  protected through(sigmas: readonly number[]): Schedule {
    return this.standing(sigmas, [...sigmas, 0]);
  }

  /** A schedule whose evaluations stand at the first of these sigmas; the last is the end. */
  protected standing(told: readonly number[], sigmas: readonly number[]): Schedule {
    const turned = this.settings.invert_sigmas && 'invert_sigmas' in this.rules.defaults;
    return {
      timesteps: told.map((sigma) => this.told(sigma)),
      sigmas: Float32Array.from(sigmas),
      nodes: sigmas.map((sigma) => flowNode(turned ? 1 - sigma : sigma)),
      integer: false,
    };
  }

  /** Sigmas that a request gives, or those of the timesteps that it gives. */
  protected given(request: Request): readonly number[] | null {
    const { num_train_timesteps: n } = this.settings;
    const sigmas = request.sigmas ?? request.timesteps?.map((t) => t / n);
    if (!sigmas) return null;
    const [name, most] = request.sigmas ? (['sigmas', 1] as const) : (['timesteps', n] as const);
    if (sigmas[0] > 1) throw outOfRange(`numbers up to ${most}`, `${name}[0]`, request[name]![0]);
    if (sigmas[sigmas.length - 1] <= 0) throw outOfRange('numbers above 0', name, request[name]!.at(-1));
    return sigmas;
  }

  protected placed(request: Request): readonly number[] {
    const s = this.settings;
    const { num_train_timesteps: n } = s;
    const has = (key: keyof typeof PLACED) => key in this.rules.defaults;
    const shift = this.shiftOf(request);
    let plain = this.given(request);
    if (!plain) {
      // The ends are those of training, and so shifted twice, as in diffusers.
      const ends = this.training;
      plain = linspace(ends[0] * n, ends[n - 1] * n, request.steps).map((t) => t / n);
    }
    let sigmas = plain.map((sigma) => shifted(sigma, shift));
    if (has('shift_terminal') && s.shift_terminal !== null) sigmas = stretched(sigmas, s.shift_terminal);
    const kind = (['karras', 'exponential', 'beta'] as const).find(
      (name) => has(`use_${name}_sigmas`) && s[`use_${name}_sigmas`],
    );
    if (!kind) return sigmas;
    return spacedSigmas(kind, s.sigma_max ?? sigmas[0], s.sigma_min ?? sigmas[sigmas.length - 1], sigmas.length);
  }

  private shiftOf({ mu }: Request): number {
    const s = this.settings;
    if (!s.use_dynamic_shifting) {
      if (mu !== null) throw clash(`mu ${mu}`, 'use_dynamic_shifting false', 'the shift is shift then');
      return s.shift;
    }
    if (mu === null) throw withoutMu();
    if (s.time_shift_type === 'exponential') return Math.exp(mu);
    if (mu <= 0) throw outOfRange("a number above 0 for time_shift_type 'linear'", 'mu', mu);
    return mu;
  }

  /** P = u, the network's output: the derivative of x in sigma. */
  protected slope(): void {
    this.row[ROW.cm] = 1;
    this.row[ROW.ep] = 1;
  }

  /** x' = (1 - sigma') x0 + sigma' z, where x0 is what the network takes the data to be. */
  protected renoise(current: Node, target: Node): Plan {
    if (this.settings.invert_sigmas) {
      throw clash(
        'invert_sigmas true',
        `_class_name '${this.name}'`,
        'a network whose time is turned round tells no x0 here',
      );
    }
    const status = predictionRow(this.row, 0, 'flow', 'data', current);
    if (status !== STATUS.ok)
      throw clash(`sigma ${current.sigma}`, `_class_name '${this.name}'`, 'it has no finite row');
    this.row[ROW.first + SUM.bp] = target.alpha;
    this.row[ROW.first + SUM.n] = target.sigma;
    return { base: 'sample', history: [], keep: null, save: null, draws: true };
  }
}

/**
 * Euler's method on a flow (Esser et al. 2024, arXiv 2403.03206), with its shifts: `shift`, or, with
 * `use_dynamic_shifting`, that of `mu`; `shift_terminal`; `stochastic_sampling` for networks that were distilled for it.
 */
export class FlowMatchEulerDiscreteScheduler extends FlowMatchScheduler<FlowMatchEulerDiscreteConfig> {
  static override readonly rules: ClassRules = {
    name: 'FlowMatchEulerDiscreteScheduler',
    flow: true,
    takes: ['flow'],
    defaults: { ...PLAIN, ...PLACED, stochastic_sampling: false },
  };

  protected override plan(schedule: Schedule, _: Progress, at: number, index: number): Plan {
    const { nodes, sigmas } = schedule;
    if (this.settings.stochastic_sampling) return this.renoise(nodes[at], nodes[index + 1]);
    this.slope();
    this.row[ROW.first + SUM.a] = 1;
    this.row[ROW.first + SUM.bp] = sigmas[index + 1] - sigmas[at];
    return { base: 'sample', history: [], keep: null, save: null, draws: false };
  }
}

/** The steps of a network that was distilled into a consistency model of a flow: to x0, and noise again. */
export class FlowMatchLCMScheduler extends FlowMatchScheduler<FlowMatchLCMConfig> {
  static override readonly rules: ClassRules = {
    name: 'FlowMatchLCMScheduler',
    flow: true,
    takes: ['flow'],
    defaults: { ...PLAIN, ...PLACED, scale_factors: null },
  };

  protected override schedule(request: Request): Schedule {
    if (this.settings.scale_factors !== null) {
      throw clash('scale_factors', `_class_name '${this.name}'`, 'the sample would grow in the middle of a run');
    }
    return super.schedule(request);
  }

  protected override plan({ nodes }: Schedule, _: Progress, at: number, index: number): Plan {
    return this.renoise(nodes[at], nodes[index + 1]);
  }
}

/** Heun's method on a flow: second order, two evaluations a step but for the last one. */
export class FlowMatchHeunDiscreteScheduler extends FlowMatchScheduler<FlowMatchHeunDiscreteConfig> {
  override readonly order = 2;
  protected override readonly historyLength = 1;
  protected override readonly churns = true;

  static override readonly rules: ClassRules = {
    name: 'FlowMatchHeunDiscreteScheduler',
    flow: true,
    takes: ['flow'],
    defaults: PLAIN,
  };

  protected override through(sigmas: readonly number[]): Schedule {
    const twice = sigmas.flatMap((sigma, i) => (i === 0 ? [sigma] : [sigma, sigma]));
    return this.standing(twice, [...twice, 0]);
  }

  protected override plan(
    schedule: Schedule,
    { history }: Progress,
    at: number,
    index: number,
    options: StepOptions,
  ): Plan {
    const { nodes, timesteps } = schedule;
    const { row } = this;
    const current = nodes[at];
    this.slope();
    row[ROW.first + SUM.a] = 1;
    if (index % 2 === 1) {
      // The slopes at both ends, from where the step began; what was added there is in it. diffusers draws here, too.
      const from = history[0].node;
      const { raised, draws } = churnOf(options, from.sigma, timesteps.length);
      const half = (current.sigma - raised) / 2;
      row[ROW.first + SUM.bp] = half;
      row[ROW.first + SUM.b1] = half * (from.sigma / raised);
      return { base: 'kept', history, keep: null, drop: 1, save: null, draws };
    }
    const { raised, amount, draws } = churnOf(options, current.sigma, timesteps.length);
    row[ROW.first + SUM.bp] = (nodes[index + 1].sigma - raised) * (current.sigma / raised);
    row[ROW.first + SUM.n] = amount;
    if (index + 1 === timesteps.length) return { base: 'sample', history: [], keep: null, save: null, draws };
    row[ROW.second + SUM.a] = 1;
    row[ROW.second + SUM.n] = amount;
    return { base: 'sample', history: [], keep: current, save: current, draws };
  }
}

/**
 * Euler's method on a flow with ancestral noise (ComfyUI's sample_euler_ancestral_RF, as LTX-Video has it): with `eta` each
 * step leads below the next sigma, to sigma' (1 + eta (sigma' / sigma - 1)), and noise back up to it. Sigmas that are given
 * are taken as they are, without a shift.
 */
export class LTXEulerAncestralRFScheduler extends FlowMatchScheduler<LTXEulerAncestralRFConfig> {
  static override readonly rules: ClassRules = {
    name: 'LTXEulerAncestralRFScheduler',
    flow: true,
    takes: ['flow'],
    defaults: { ...PLAIN, ...PLACED, eta: 1, s_noise: 1 },
  };

  protected override placed(request: Request): readonly number[] {
    return this.given(request) ?? super.placed(request);
  }

  protected override schedule(request: Request): Schedule {
    if (this.settings.invert_sigmas) {
      throw clash('invert_sigmas true', `_class_name '${this.name}'`, 'its noise is that of a time that is not turned');
    }
    return super.schedule(request);
  }

  protected override plan({ sigmas }: Schedule, _: Progress, at: number, index: number): Plan {
    const { eta, s_noise } = this.settings;
    const [sigma, next] = [sigmas[at], sigmas[index + 1]];
    const below = next * (1 + (next / sigma - 1) * eta);
    // From the state at `below`, (1 - below) x0 + below epsilon, to that at `next`.
    const draws = next > 0 && eta > 0 && s_noise > 0;
    // diffusers goes on from below where no noise is added.
    const scale = draws ? (1 - next) / (1 - below) : 1;
    this.slope();
    this.row[ROW.first + SUM.a] = scale;
    this.row[ROW.first + SUM.bp] = scale * (below - sigma);
    if (draws) this.row[ROW.first + SUM.n] = s_noise * Math.sqrt(Math.max(0, next ** 2 - (below * scale) ** 2));
    return { base: 'sample', history: [], keep: null, save: null, draws };
  }
}

/**
 * Euler's method on the flow of MiniMax-H3, whose network is told 1 - sigma and predicts x0 - epsilon. Its steps count the
 * sigmas, the last of which is 0: there is one evaluation less.
 */
export class MiniMaxH3Scheduler extends FlowMatchScheduler<MiniMaxH3Config> {
  static override readonly rules: ClassRules = {
    name: 'MiniMaxH3Scheduler',
    flow: true,
    takes: ['minimax'],
    defaults: { shift: 12 },
  };

  protected override initial(): Schedule {
    return this.through(this.even(1001));
  }

  protected override told(sigma: number): number {
    return f32(1 - sigma);
  }

  protected override placed(request: Request): readonly number[] {
    if (request.mu !== null) throw clash(`mu ${request.mu}`, `_class_name '${this.name}'`, 'the shift is shift');
    if (request.timesteps) throw clash('timesteps', `_class_name '${this.name}'`, 'give sigmas');
    const given = this.given(request);
    if (given) return given;
    if (request.steps < 2)
      throw outOfRange('at least 2, as the end is one of them,', 'the number of steps', request.steps);
    return this.even(request.steps);
  }

  /** Shifted in float32, where sigmas near 1 may meet: the end is left out. */
  private even(count: number): number[] {
    const { shift } = this.settings;
    const all = [...linspace32(1, 0, count)].map((s) => f32(f32(f32(shift) * s) / f32(1 + f32(f32(shift - 1) * s))));
    return all.filter((sigma, i) => sigma !== all[i - 1]).slice(0, -1);
  }

  protected override plan({ sigmas, timesteps }: Schedule, _: Progress, at: number, index: number): Plan {
    this.slope();
    this.row[ROW.first + SUM.a] = 1;
    // By the sigma that the network was told, as in diffusers.
    this.row[ROW.first + SUM.bp] = (1 - sigmas[index + 1] / sigmas[at]) * (1 - timesteps[at]);
    return { base: 'sample', history: [], keep: null, save: null, draws: false };
  }
}
