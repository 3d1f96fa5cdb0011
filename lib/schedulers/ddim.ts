// DDIM (Song et al. 2021, arXiv 2010.02502) and PNDM (Liu et al. 2022, arXiv 2202.09778) as diffusers' classes: from one
// training step to another.

import { ddimRow, END, type Node, pndmRow, ROW, STATUS, type Status, SUM, TRANSFORM } from '../addon/coefficients.js';
import { finiteNumber, outOfRange } from '../base/check.js';
import { type ClassRules, clash } from '../folder/scheduler-config.js';
import { CLIPPING, TRAINING } from './defaults.js';
import { countDown, linspace, roundHalfEven } from './grids.js';
import type { Plan, Progress, Schedule } from './progress.js';
import type { Request } from './request.js';
import { Scheduler, type StepOptions } from './scheduler.js';
import { MODEL, threshold } from './sigma-scheduler.js';
import { betasOption, type Training, trainingTables } from './training.js';

/** Where each evaluation's update starts and ends, by label; negative ones are the end of the process. */
interface LabelSchedule extends Schedule {
  readonly targets: readonly number[];
}

abstract class LabelScheduler extends Scheduler {
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

  /** How many labels a step takes. */
  protected stride(steps: number): number {
    return Math.floor(this.settings.num_train_timesteps / steps);
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

/**
 * DDIM (Song et al. 2021, arXiv 2010.02502, eqs. 12 and 16): first order, with `eta` in the options of `step` for its
 * stochastic form.
 */
export class DDIMScheduler extends LabelScheduler {
  protected override readonly historyLength = 0;

  static override readonly rules: ClassRules = {
    name: 'DDIMScheduler',
    flow: false,
    choices: { prediction_type: ['epsilon', 'sample', 'v_prediction'] },
    defaults: {
      ...TRAINING,
      clip_sample: true,
      set_alpha_to_one: true,
      steps_offset: 0,
      ...CLIPPING,
      clip_sample_range: 1,
      timestep_spacing: 'leading',
      rescale_betas_zero_snr: false,
    },
  };

  protected override schedule(request: Request): LabelSchedule {
    this.refuse(request, ['sigmas', 'mu']);
    const last = this.settings.num_train_timesteps - 1;
    if (request.timesteps) {
      const { timesteps } = request;
      if (timesteps[0] > last || timesteps[timesteps.length - 1] < 0) {
        throw outOfRange(`timesteps from 0 to ${last}`, 'timesteps', `${timesteps[0]} to ${timesteps.at(-1)}`);
      }
      return { ...this.through(timesteps), targets: [...timesteps.slice(1), -1] };
    }
    const stride = this.stride(request.steps);
    const schedule = this.through(this.spaced(request.steps));
    return { ...schedule, targets: schedule.timesteps.map((t) => t - stride) };
  }

  protected override plan(
    schedule: Schedule,
    _progress: Progress,
    at: number,
    index: number,
    options: StepOptions,
  ): Plan {
    const s = this.settings;
    const { eta = 0, useClippedModelOutput = false } = options;
    finiteNumber(eta, 'eta');
    if (!(eta >= 0 && eta <= 1)) throw outOfRange('a number from 0 to 1', 'eta', eta);
    const current = this.labelNode(schedule.timesteps[at]);
    const target = this.labelNode((schedule as LabelSchedule).targets[index]);
    const model = MODEL[s.prediction_type];
    this.check(ddimRow(this.row, 0, model, current, target, eta, useClippedModelOutput === true), current);
    if (s.thresholding) {
      threshold(this.row, s);
    } else if (s.clip_sample) {
      this.row[ROW.transform] = TRANSFORM.clamp;
      this.row[ROW.floor] = s.clip_sample_range;
    }
    return { base: 'sample', history: [], keep: null, save: null, draws: eta > 0 };
  }
}

/** One evaluation of PNDM. */
interface Move {
  /** The labels between which its update goes. */
  readonly from: number;
  readonly to: number;
  /** Weights of P, D1, D2, D3; null: those of Adams-Bashforth, as far as the history goes. */
  readonly weights: readonly number[] | null;
  /** Does it start from the state that came in, which is kept for the next ones, or from the kept one? */
  readonly base: 'sample' | 'kept';
  readonly keep: boolean;
  readonly drop?: number;
}

interface PndmSchedule extends LabelSchedule {
  readonly moves: readonly Move[];
  /** How many evaluations the Runge-Kutta steps take. */
  readonly rungeKutta: number;
  readonly stride: number;
}

/** Adams-Bashforth, orders 1 to 4. */
const ADAMS = [[1], [3 / 2, -1 / 2], [23 / 12, -16 / 12, 5 / 12], [55 / 24, -59 / 24, 37 / 24, -9 / 24]];

/**
 * PNDM (Liu et al. 2022, arXiv 2202.09778, eq. 9): linear multistep on the noise, started by three Runge-Kutta steps or,
 * with skip_prk_steps (Stable Diffusion), by one step that is made twice: one timestep of the schedule repeats.
 */
export class PNDMScheduler extends LabelScheduler {
  static override readonly rules: ClassRules = {
    name: 'PNDMScheduler',
    flow: false,
    choices: { prediction_type: ['epsilon', 'v_prediction'] },
    defaults: {
      ...TRAINING,
      skip_prk_steps: false,
      set_alpha_to_one: false,
      timestep_spacing: 'leading',
      steps_offset: 0,
    },
  };

  protected override get historyLength(): number {
    return this.settings.skip_prk_steps ? 3 : 5;
  }

  protected override schedule(request: Request): PndmSchedule {
    this.refuse(request, ['timesteps', 'sigmas', 'mu']);
    const { steps } = request;
    const { skip_prk_steps: skips, num_train_timesteps: n } = this.settings;
    if (!skips && steps < 4) {
      throw clash('skip_prk_steps false', `${steps} steps`, 'its Runge-Kutta steps take four of the timesteps');
    }
    const stride = this.stride(steps);
    const spaced = this.spaced(steps);
    const adams = (t: number): Move => ({ from: t, to: t - stride, weights: null, base: 'sample', keep: true });
    let timesteps: number[];
    let moves: Move[];
    let rungeKutta = 0;
    if (skips) {
      timesteps = steps > 1 ? [spaced[0], spaced[1], ...spaced.slice(1)] : spaced;
      moves = timesteps.map(adams);
      // The first step again, with the mean of the slopes at its two ends.
      if (steps > 1) {
        const from = Math.min(spaced[1] + stride, n - 1);
        moves[1] = { from, to: spaced[1], weights: [0.5, 0.5], base: 'kept', keep: false };
      }
    } else {
      const half = Math.floor(stride / 2);
      const cycles = [0, 1, 2].map((i) => runge(spaced[i], spaced[i + 1], half));
      rungeKutta = 12;
      timesteps = [...cycles.flatMap((cycle) => cycle.times), ...spaced.slice(3)];
      moves = [...cycles.flatMap((cycle) => cycle.moves), ...spaced.slice(3).map(adams)];
    }
    return { ...this.through(timesteps), targets: [], moves, rungeKutta, stride };
  }

  protected override plan(schedule: Schedule, progress: Progress, _at: number, index: number): Plan {
    const move = this.moveAt(schedule as PndmSchedule, progress, index);
    if (move === null) {
      this.row[ROW.first + SUM.a] = 1;
      return { base: 'sample', history: [], keep: null, save: null, draws: false };
    }
    const weights = move.weights ?? ADAMS[Math.min(progress.history.length, 3)];
    const from = this.labelNode(move.from);
    const model = this.settings.prediction_type === 'v_prediction' ? 'v' : 'noise';
    this.check(pndmRow(this.row, 0, model, from, this.labelNode(move.to), weights), from);
    const starts = move.base === 'sample' && this.isKept(schedule as PndmSchedule, index);
    if (starts) this.row[ROW.second + SUM.a] = 1;
    return {
      base: move.base,
      history: progress.history.slice(0, weights.length - 1),
      keep: move.keep ? from : null,
      drop: move.drop,
      save: starts ? from : null,
      draws: false,
    };
  }

  /** Do later evaluations start from the state that comes in at `index`? */
  private isKept({ moves }: PndmSchedule, index: number): boolean {
    return moves[index + 1]?.base === 'kept' || moves[index + 2]?.base === 'kept';
  }

  /** What the evaluation at `index` does; null: nothing, since a run began at a timestep that repeats. */
  private moveAt(schedule: PndmSchedule, progress: Progress, index: number): Move | null {
    const { moves, timesteps, rungeKutta, stride } = schedule;
    const { begin } = progress;
    if (begin === 0) return moves[index];
    const repeats = begin + 1 < timesteps.length && timesteps[begin] === timesteps[begin + 1];
    if (begin < rungeKutta) {
      // The end of one Runge-Kutta step is the start of the next.
      const inside = begin % 4;
      if (inside === 3 && index === begin) return moves[index + 1];
      if (inside === 3 && index === begin + 1) return null;
      if (inside === 1 || inside === 2) {
        throw clash(
          'skip_prk_steps false',
          `a run that begins at timestep ${timesteps[begin]}`,
          'it lies inside a step',
        );
      }
      return moves[index];
    }
    if (repeats && index === begin + 1 && progress.count === 1) return null;
    const t = timesteps[index];
    return { from: t, to: t - stride, weights: null, base: 'sample', keep: true };
  }
}

/** The four evaluations of a classical Runge-Kutta step between two timesteps (PNDM's pseudo Runge-Kutta). */
function runge(from: number, to: number, half: number): { times: number[]; moves: Move[] } {
  const middle = to + half;
  return {
    times: [from, middle, middle, to],
    moves: [
      { from, to: from - half, weights: [1], base: 'sample', keep: true },
      { from, to: middle, weights: [1], base: 'kept', keep: true },
      { from, to: middle - half, weights: [1], base: 'kept', keep: true },
      { from, to, weights: [1 / 6, 1 / 3, 1 / 3, 1 / 6], base: 'kept', keep: false, drop: 2 },
    ],
  };
}
