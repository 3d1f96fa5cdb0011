// DDIM (Song et al. 2021, arXiv 2010.02502) and PNDM (Liu et al. 2022, arXiv 2202.09778) as diffusers' classes: from one
// training step to another.
import type { DDIMConfig, DDIMInverseConfig, PNDMConfig } from './configs.js';
import { ddimRow, type Node, pndmRow, ROW, SUM, TRANSFORM } from '../addon/coefficients.js';
import { finiteNumber, outOfRange } from '../base/check.js';
import { type ClassRules, clash } from '../folder/scheduler-config.js';
import { CLIPPING, TRAINING } from './defaults.js';
import { LabelScheduler, type LabelSchedule } from './label-scheduler.js';
import type { Plan, Progress, Schedule } from './progress.js';
import type { Request } from './request.js';
import type { StepOptions } from './scheduler.js';
import { MODEL, threshold } from './sigma-scheduler.js';

/**
 * DDIM (Song et al. 2021, arXiv 2010.02502, eqs. 12 and 16): first order, with `eta` in the options of `step` for its
 * stochastic form.
 */
export class DDIMScheduler extends LabelScheduler<DDIMConfig> {
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
    return this.stepping(this.labelsFor(request));
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

/**
 * DDIM towards noise (Song et al. 2021, section 4.3): from a picture to the noise that makes it. Its timesteps go up, and
 * as in diffusers the network is told the timestep where a step ends.
 */
export class DDIMInverseScheduler extends LabelScheduler<DDIMInverseConfig> {
  protected override readonly historyLength = 0;

  static override readonly rules: ClassRules = {
    name: 'DDIMInverseScheduler',
    flow: false,
    inverse: true,
    choices: { prediction_type: ['epsilon', 'sample', 'v_prediction'], timestep_spacing: ['leading', 'trailing'] },
    defaults: {
      ...TRAINING,
      clip_sample: true,
      set_alpha_to_one: true,
      steps_offset: 0,
      clip_sample_range: 1,
      timestep_spacing: 'leading',
      rescale_betas_zero_snr: false,
    },
  };

  protected override initial(): Schedule {
    return this.upwards(Array.from({ length: this.settings.num_train_timesteps }, (_, i) => i));
  }

  protected override schedule(request: Request): Schedule {
    this.refuse(request, ['timesteps', 'sigmas', 'mu']);
    return this.upwards([...this.spaced(request.steps)].reverse());
  }

  /** The state before each evaluation stands at the label before it; the first is the picture. */
  private upwards(timesteps: readonly number[]): Schedule {
    const ratio = ({ alpha, sigma }: Node) => sigma / alpha;
    const nodes = [-1, ...timesteps].map((t) => this.labelNode(t));
    return { timesteps, sigmas: Float32Array.from(nodes.map(ratio)), nodes, integer: true };
  }

  protected override nodeAt(schedule: Schedule, index: number): Node {
    return schedule.nodes[index];
  }

  protected override plan(schedule: Schedule, _progress: Progress, at: number, index: number): Plan {
    const s = this.settings;
    const current = schedule.nodes[at];
    this.check(ddimRow(this.row, 0, MODEL[s.prediction_type], current, schedule.nodes[index + 1]), current);
    if (s.clip_sample) {
      this.row[ROW.transform] = TRANSFORM.clamp;
      this.row[ROW.floor] = s.clip_sample_range;
    }
    return { base: 'sample', history: [], keep: null, save: null, draws: false };
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
}

/** Adams-Bashforth, orders 1 to 4. @internal */
export const ADAMS = [[1], [3 / 2, -1 / 2], [23 / 12, -16 / 12, 5 / 12], [55 / 24, -59 / 24, 37 / 24, -9 / 24]];

/**
 * PNDM (Liu et al. 2022, arXiv 2202.09778, eq. 9): linear multistep on the noise, started by three Runge-Kutta steps or,
 * with skip_prk_steps (Stable Diffusion), by one step that is made twice: one timestep of the schedule repeats.
 */
export class PNDMScheduler extends LabelScheduler<PNDMConfig> {
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
    const { skip_prk_steps: skips } = this.settings;
    if (!skips && steps < 4) {
      throw clash('skip_prk_steps false', `${steps} steps`, 'its Runge-Kutta steps take four of the timesteps');
    }
    const spaced = this.spaced(steps);
    const adams = (t: number, i: number): Move => ({
      ...{ from: t, to: spaced[i + 1] ?? -1, weights: null },
      ...{ base: 'sample', keep: true },
    });
    let timesteps: readonly number[] = spaced;
    let moves = spaced.map(adams);
    let rungeKutta = 0;
    if (!skips) {
      const cycles = [0, 1, 2].map((i) => runge(spaced[i], spaced[i + 1]));
      rungeKutta = 12;
      timesteps = [...cycles.flatMap((cycle) => cycle.times), ...spaced.slice(3)];
      moves = [...cycles.flatMap((cycle) => cycle.moves), ...moves.slice(3)];
    } else if (steps > 1) {
      // The first step again, with the mean of the slopes at its two ends.
      const [from, to] = spaced;
      const again: Move = { from, to, weights: [0.5, 0.5], base: 'kept', keep: false };
      timesteps = [from, to, ...spaced.slice(1)];
      moves = [moves[0], again, ...moves.slice(1)];
    }
    return { ...this.through(timesteps), targets: [], moves, rungeKutta };
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
    const { moves, timesteps, rungeKutta } = schedule;
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
    const from = timesteps[index];
    const to = timesteps.find((t, i) => i > index && t < from) ?? -1;
    return { from, to, weights: null, base: 'sample', keep: true };
  }
}

/** The four evaluations of a classical Runge-Kutta step between two timesteps (PNDM's pseudo Runge-Kutta). */
function runge(from: number, to: number): { times: number[]; moves: Move[] } {
  const middle = to + Math.floor((from - to) / 2);
  return {
    times: [from, middle, middle, to],
    moves: [
      { from, to: middle, weights: [1], base: 'sample', keep: true },
      { from, to: middle, weights: [1], base: 'kept', keep: true },
      { from, to, weights: [1], base: 'kept', keep: true },
      { from, to, weights: [1 / 6, 1 / 3, 1 / 3, 1 / 6], base: 'kept', keep: false, drop: 2 },
    ],
  };
}
