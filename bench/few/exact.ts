// Networks that make no mistake: E[x0 | x] of mixtures, with and without a condition, under any schedule.
import { Axis } from '../../lib/calibrate/axis.js';
import { errorsOf, residual } from '../../lib/calibrate/compare.js';
import type { CalibratedModel } from '../../lib/calibrate/index.js';
import { Network } from '../../lib/calibrate/network.js';
import { teach } from '../../lib/calibrate/teacher.js';
import { DPMSolver, NoiseSchedule, type SampleOptions, type Tensor } from '../../lib/index.js';
import { Mixture, normal } from '../error/mixture.js';
import { type Measured, meanOf, medianOf, rootMeanSquareOf, shareOf, short } from './intervals.js';
import { quick } from './shared-mixture.js';

export const SCHEDULES = {
  VP: NoiseSchedule.linear(),
  cosine: NoiseSchedule.cosine(),
  EDM: NoiseSchedule.edm(),
  flow: NoiseSchedule.flow(),
};
export type ScheduleName = keyof typeof SCHEDULES;

/** Steps of the solution that ends are compared with: it is off by 1e-5 or less in the median, by 1e-4 at the ends of rectified flow. */
const TRUTH = 240;

/** Components of one deviation, as many as are wanted, at places drawn from a normal distribution. */
export function randomMixture(size: number, components: number, deviation: number, seed: number): Mixture {
  const draw = normal(seed);
  const means = Float64Array.from({ length: components * size }, draw);
  const weights = new Float64Array(components).fill(1 / components);
  return quick(new Mixture(size, weights, means, new Float64Array(components * size).fill(deviation ** 2)));
}

/** `count` components of a mixture: what a condition leaves of it. */
export function partOf(mixture: Mixture, from: number, count: number): Mixture {
  const { size, means, variances } = mixture;
  const weights = new Float64Array(count).fill(1 / count);
  const part = (all: Float64Array) => all.slice(from * size, (from + count) * size);
  return quick(new Mixture(size, weights, part(means), part(variances)));
}

export class Exact {
  readonly schedule: NoiseSchedule;
  readonly axis: Axis;
  readonly #scale: number;

  /** @param condition guided towards where it is given */
  constructor(
    readonly mixture: Mixture,
    name: ScheduleName,
    readonly condition?: Mixture,
    readonly guidance = 1,
  ) {
    this.schedule = SCHEDULES[name];
    this.axis = new Axis(this.schedule);
    const { T } = this.schedule;
    this.#scale = this.schedule.modelTime(T) / T;
  }

  /** The guided prediction. */
  model: CalibratedModel = (x, t) => {
    const node = this.schedule.node(t / this.#scale);
    const data = x.data as Float64Array;
    const out = new Float64Array(data.length);
    (this.condition ?? this.mixture).denoise(data, node, out);
    if (this.condition && this.guidance !== 1) {
      const without = new Float64Array(data.length);
      this.mixture.denoise(data, node, without);
      for (let i = 0; i < out.length; i++) out[i] = without[i] + this.guidance * (out[i] - without[i]);
    }
    return { data: out, dims: x.dims };
  };

  /** Both predictions, as classifier-free guidance asks for them: of `count` samples twice, or of those with the condition. */
  pair(count: number): (x: Tensor, t: number) => Tensor {
    const { mixture, condition = mixture } = this;
    const length = count * mixture.size;
    return (x, t) => {
      const node = this.schedule.node(t / this.#scale);
      const data = x.data as Float64Array;
      const out = new Float64Array(data.length);
      const twice = data.length > length;
      if (twice) mixture.denoise(data.subarray(0, length), node, out.subarray(0, length));
      const from = twice ? length : 0;
      condition.denoise(data.subarray(from), node, out.subarray(from));
      return { data: out, dims: x.dims };
    };
  }

  /** Noise, scaled as the schedule has it. */
  starts(count: number, seed: number): Float64Array {
    const draw = normal(seed);
    const { sigma } = this.schedule.node(this.schedule.T);
    return Float64Array.from({ length: count * this.mixture.size }, () => sigma * draw());
  }

  /** Where the exact solution ends. */
  async truth(starts: Float64Array): Promise<Float64Array> {
    const { size } = this.mixture;
    const like = { data: starts.subarray(0, size), dims: [1, size] };
    const network = new Network(this.model, { modelType: 'x_start', scale: 1, like });
    const modelTime = (t: number) => this.schedule.modelTime(t);
    const samples = Array.from({ length: starts.length / size }, (_, i) => i);
    const lesson = { steps: TRUTH, samples, start: starts, keep: false };
    return (await teach(network, this.axis, modelTime, lesson)).end as Float64Array;
  }

  async run(starts: Float64Array, options: SampleOptions): Promise<Float64Array> {
    const { schedule } = this;
    const { size } = this.mixture;
    const data = (x: Tensor, t: number) => this.model(x, t, { samples: [] }) as Tensor;
    // On flow schedules iPNDM is defined over the velocity (x - x0) / t alone.
    const velocity = schedule.kind === 'flow' && options.method === 'ipndm';
    const network = (x: Tensor, t: number) => {
      const prediction = data(x, t);
      if (!velocity) return prediction;
      const [state, x0] = [x.data as Float64Array, prediction.data as Float64Array];
      const { sigma } = schedule.node(t / this.#scale);
      return { data: x0.map((value, i) => (state[i] - value) / sigma), dims: x.dims };
    };
    const solver = new DPMSolver(network, schedule, { modelType: velocity ? 'flow' : 'x_start' });
    const x = { data: starts, dims: [starts.length / size, size] };
    return (await solver.sample(x, options)).sample.data as Float64Array;
  }

  /** The component that each end most likely belongs to. */
  modes(ends: Float64Array): Int32Array {
    const { size, components, weights, means, variances } = this.mixture;
    return Int32Array.from({ length: ends.length / size }, (_, s) => {
      let [best, at] = [Number.NEGATIVE_INFINITY, 0];
      for (let k = 0; k < components; k++) {
        let log = Math.log(weights[k]);
        for (let d = 0; d < size; d++) {
          const v = variances[k * size + d];
          log -= 0.5 * ((ends[s * size + d] - means[k * size + d]) ** 2 / v + Math.log(v));
        }
        if (log > best) [best, at] = [log, k];
      }
      return at;
    });
  }
}

/** Per sample, the root of the mean square of what is between two ends. */
export function distancesOf(exact: Exact, ends: Float64Array, truth: Float64Array): Float64Array {
  return Float64Array.from(errorsOf(residual(ends, truth, null), exact.mixture.size));
}

/** Of distances from the exact ends. */
export interface Figures {
  median: Measured;
  mean: Measured;
  rmse: Measured;
  /** Share that ends in another component than the exact solution. */
  elsewhere: Measured;
}

export function figuresOf(exact: Exact, ends: Float64Array, truth: Float64Array): Figures {
  const errors = distancesOf(exact, ends, truth);
  const [ours, theirs] = [exact.modes(ends), exact.modes(truth)];
  return {
    median: short(medianOf(errors)),
    mean: short(meanOf(errors)),
    rmse: short(rootMeanSquareOf(errors)),
    elsewhere: short(
      shareOf(
        ours.reduce((sum, k, i) => sum + (k === theirs[i] ? 0 : 1), 0),
        errors.length,
      ),
    ),
  };
}
