// Networks that make no mistake: E[x0 | x] of mixtures, with and without a condition, under any schedule.
import { Axis } from '../../lib/calibrate/axis.js';
import type { CalibratedModel } from '../../lib/calibrate/index.js';
import { Network } from '../../lib/calibrate/network.js';
import { teach } from '../../lib/calibrate/teacher.js';
import { DPMSolver, NoiseSchedule, type SampleOptions, type Tensor } from '../../lib/index.js';
import { Mixture, normal } from '../error/mixture.js';

export const SCHEDULES = {
  VP: NoiseSchedule.linear(),
  cosine: NoiseSchedule.cosine(),
  EDM: NoiseSchedule.edm(),
  flow: NoiseSchedule.flow(),
};
export type ScheduleName = keyof typeof SCHEDULES;

/** Steps of the solution that ends are compared with. */
const TRUTH = 400;

/** Components of one deviation, as many as are wanted, at places drawn from a normal distribution. */
export function randomMixture(size: number, components: number, deviation: number, seed: number): Mixture {
  const draw = normal(seed);
  const means = Float64Array.from({ length: components * size }, draw);
  const weights = new Float64Array(components).fill(1 / components);
  return new Mixture(size, weights, means, new Float64Array(components * size).fill(deviation ** 2));
}

/** The first few components of a mixture: what a condition leaves of it. */
export function firstOf(mixture: Mixture, count: number): Mixture {
  const { size, means, variances } = mixture;
  const weights = new Float64Array(count).fill(1 / count);
  return new Mixture(size, weights, means.slice(0, count * size), variances.slice(0, count * size));
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
    const { size } = this.mixture;
    const network = (x: Tensor, t: number) => this.model(x, t, { samples: [] });
    const solver = new DPMSolver(network, this.schedule, { modelType: 'x_start' });
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

export interface Figures {
  median: number;
  mean: number;
  rmse: number;
  /** Share that ends in another component than the exact solution. */
  elsewhere: number;
}

export function figuresOf(exact: Exact, ends: Float64Array, truth: Float64Array): Figures {
  const { size } = exact.mixture;
  const errors = Float64Array.from({ length: ends.length / size }, (_, s) => {
    let sum = 0;
    for (let i = s * size; i < (s + 1) * size; i++) sum += (ends[i] - truth[i]) ** 2;
    return Math.sqrt(sum / size);
  });
  const [ours, theirs] = [exact.modes(ends), exact.modes(truth)];
  const sorted = errors.slice().sort();
  const count = errors.length;
  return {
    median: sorted[count >> 1],
    mean: errors.reduce((a, b) => a + b, 0) / count,
    rmse: Math.sqrt(errors.reduce((a, b) => a + b * b, 0) / count),
    elsewhere: ours.reduce((sum, k, i) => sum + (k === theirs[i] ? 0 : 1), 0) / count,
  };
}
