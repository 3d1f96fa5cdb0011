// What the schedulers that go from sigma to sigma share: training tables, grids, nodes, and the network's output as x0
// or noise.

import {
  END,
  type Form,
  keepNoise,
  type ModelType,
  type Node,
  predictionRow,
  ROW,
  STATUS,
  type Status,
  TRANSFORM,
} from '../addon/coefficients.js';
import { outOfRange } from '../base/check.js';
import { clash, type SchedulerConfig } from '../folder/scheduler-config.js';
import type { Settings } from '../folder/scheduler-keys.js';
import {
  convertedGrid,
  type Grid,
  type GridRules,
  keptSteps,
  labelOf,
  roundHalfEven,
  sigmaAt,
  sigmaGrid,
  spacedTimesteps,
} from './grids.js';
import type { Schedule } from './progress.js';
import { type Request, wholeTimesteps } from './request.js';
import { Scheduler } from './scheduler.js';
import { type Training, trainingTables } from './training.js';

/** @internal */
export const MODEL: Record<Settings['prediction_type'], ModelType> = {
  epsilon: 'noise',
  sample: 'x_start',
  v_prediction: 'v',
  flow_prediction: 'flow',
};

/** The node at sigma / alpha = `sigma` of a variance-preserving process. @internal */
export function variancePreservingNode(sigma: number): Node {
  if (sigma === 0) return { alpha: 1, sigma: 0, lambda: Infinity, end: END.clean };
  const alpha = 1 / Math.sqrt(sigma * sigma + 1);
  return { alpha, sigma: sigma * alpha, lambda: -Math.log(sigma) };
}

/** The node at `sigma` of x = x0 + sigma epsilon. @internal */
export function varianceExplodingNode(sigma: number): Node {
  if (sigma === 0) return { alpha: 1, sigma: 0, lambda: Infinity, end: END.clean };
  return { alpha: 1, sigma, lambda: -Math.log(sigma) };
}

/** The node at `sigma` of a flow, alpha = 1 - sigma. @internal */
export function flowNode(sigma: number): Node {
  if (sigma === 0) return { alpha: 1, sigma: 0, lambda: Infinity, end: END.clean };
  if (sigma >= 1) return { alpha: 0, sigma: 1, lambda: -Infinity, end: END.noise };
  return { alpha: 1 - sigma, sigma, lambda: Math.log1p(-sigma) - Math.log(sigma) };
}

/**
 * Where a grid ends. Those that come down to the end themselves, rounded, end there: a step of length 0, not one back.
 *
 * @internal
 */
export function endOf(sigmas: ArrayLike<number>, end: number): number {
  const last = sigmas[sigmas.length - 1];
  return Math.abs(end - last) <= 1e-6 * end ? last : end;
}

/** Dynamic shifting needs the size of the picture. @internal */
export function withoutMu(): RangeError {
  return clash('use_dynamic_shifting true', 'no mu', 'setTimesteps takes the shift of this resolution as mu');
}

/** Dynamic thresholding as diffusers has it: s = the quantile, at least 1 and at most sample_max_value. @internal */
export function threshold(row: Float64Array, s: Settings): void {
  row[ROW.transform] = TRANSFORM.quantile;
  row[ROW.ratio] = s.dynamic_thresholding_ratio;
  row[ROW.floor] = 1;
  row[ROW.cap] = s.sample_max_value;
}

export abstract class SigmaScheduler<C extends object = SchedulerConfig> extends Scheduler<C> {
  private tables: Training | undefined;

  protected abstract readonly gridRules: GridRules;
  /** What the solver integrates: x0 or the noise. */
  protected abstract readonly form: Form;

  protected get training(): Training {
    this.tables ??= trainingTables(this.settings, false);
    return this.tables;
  }

  protected nodeOf(sigma: number): Node {
    return this.settings.use_flow_sigmas ? flowNode(sigma) : variancePreservingNode(sigma);
  }

  protected override initial(): Schedule {
    const { sigmas } = this.training;
    return {
      integer: true,
      timesteps: Array.from(sigmas, (_, i) => sigmas.length - 1 - i),
      sigmas: Float32Array.from([...sigmas.slice().reverse(), 0]),
      nodes: [],
    };
  }

  protected override trainingNode(t: number): Node | null {
    const { sigmas } = this.training;
    return this.settings.use_flow_sigmas || t < 0 || t >= sigmas.length ? null : this.nodeOf(sigmas[t]);
  }

  protected override schedule(request: Request): Schedule {
    return this.withNodes(this.grid(request));
  }

  protected withNodes({ timesteps, sigmas }: Grid): Schedule {
    return { timesteps, sigmas, nodes: Array.from(sigmas, (sigma) => this.nodeOf(sigma)), integer: true };
  }

  /** The grid of a denoising run. */
  protected grid(request: Request): Grid {
    const s = this.settings;
    const { training } = this;
    const kind = convertedGrid(s);
    const shift = this.shiftOf(request);
    let timesteps: readonly number[];
    let sigmas: readonly number[];
    if (request.timesteps) {
      if (kind) throw clash('timesteps', this.optionOf(kind), 'its sigmas are not those of the labels');
      timesteps = wholeTimesteps(request.timesteps);
      const last = s.num_train_timesteps - 1;
      if (timesteps[0] > last || timesteps[timesteps.length - 1] < 0) {
        throw outOfRange(`timesteps from 0 to ${last}`, 'timesteps', `${timesteps[0]} to ${timesteps.at(-1)}`);
      }
      sigmas = timesteps.map((t) => sigmaAt(training, t));
    } else if (request.sigmas && kind !== 'flow') {
      if (kind) throw clash('sigmas', this.optionOf(kind), 'it places them itself');
      sigmas = request.sigmas;
      timesteps = sigmas.map((sigma) => roundHalfEven(labelOf(training, sigma)));
    } else if (kind) {
      if (request.sigmas && request.sigmas[0] > 1)
        throw outOfRange('flow times up to 1', 'sigmas[0]', request.sigmas[0]);
      ({ timesteps, sigmas } = sigmaGrid(s, training, this.gridRules, request.steps, shift, request.sigmas));
    } else {
      timesteps = this.spaced(request.steps);
      sigmas = timesteps.map((t) => sigmaAt(training, t));
    }
    return this.ended(timesteps, sigmas, kind !== null, request.endsAtZero);
  }

  /** The labels of a grid that is even in them. */
  protected spaced(steps: number): number[] {
    return spacedTimesteps(this.settings, steps, keptSteps(this.settings, this.training));
  }

  /** A grid and the sigma that it ends at. */
  protected ended(
    timesteps: readonly number[],
    sigmas: readonly number[],
    converted: boolean,
    endsAtZero = false,
  ): Grid {
    const end = endsAtZero ? 0 : endOf(sigmas, this.lastSigma(converted, sigmas));
    return { timesteps, sigmas: Float32Array.from([...sigmas, end]) };
  }

  /** Where the run ends. */
  protected lastSigma(converted: boolean, sigmas: readonly number[]): number {
    const { final_sigmas_type, use_flow_sigmas } = this.settings;
    if (final_sigmas_type === 'zero') return 0;
    // A flow has no training steps of that table.
    const own = this.gridRules.sigmaMin === 'grid' || use_flow_sigmas;
    return converted && own ? sigmas[sigmas.length - 1] : this.training.sigmas[0];
  }

  private optionOf(kind: string): string {
    const option = { karras: 'use_karras_sigmas', lu: 'use_lu_lambdas', flow: 'use_flow_sigmas' }[kind];
    return `${option ?? `use_${kind}_sigmas`} true`;
  }

  /** What flow times are shifted by. */
  protected shiftOf({ mu }: Request): number {
    const s = this.settings;
    if (mu === null) {
      if (s.use_dynamic_shifting) throw withoutMu();
      return s.flow_shift;
    }
    if (!s.use_dynamic_shifting) throw clash(`mu ${mu}`, 'use_dynamic_shifting false', 'the shift is flow_shift then');
    if (s.time_shift_type === 'exponential') return Math.exp(mu);
    if (mu <= 0) throw outOfRange("a number above 0 for time_shift_type 'linear'", 'mu', mu);
    return mu;
  }

  /** P (and, in `finish`, D0) of the row: x0 or noise, clipped if the configuration says so. */
  protected predict(node: Node, form = this.form): Status {
    const s = this.settings;
    const status = predictionRow(this.row, 0, MODEL[s.prediction_type], s.thresholding ? 'data' : form, node);
    if (s.thresholding) threshold(this.row, s);
    return status;
  }

  /** After the sums: where P is x0 and the solver wants noise, D0 becomes the noise. */
  protected finish(node: Node, form = this.form): Status {
    return form === 'noise' && this.settings.thresholding ? keepNoise(this.row, 0, node) : STATUS.ok;
  }

  /** RangeError with the two options at fault, unless all is well. */
  protected check(status: Status, from: Node, to: Node): void {
    if (status === STATUS.ok) return;
    const { algorithm_type, prediction_type, final_sigmas_type } = this.settings;
    const algorithm = `algorithm_type '${algorithm_type}'`;
    if (status === STATUS.atNoise) {
      throw clash(
        `prediction_type '${prediction_type}'`,
        'sigmas that start at pure noise',
        `${algorithm} needs data there`,
      );
    }
    if (status === STATUS.sdeInversion) {
      throw clash(
        algorithm,
        `final_sigmas_type '${final_sigmas_type}'`,
        `the step from sigma ${from.sigma} to ${to.sigma} adds noise, which a reverse SDE cannot`,
      );
    }
    throw clash(
      algorithm,
      `prediction_type '${prediction_type}'`,
      `the step from sigma ${from.sigma} to ${to.sigma} has no finite coefficients`,
    );
  }
}
