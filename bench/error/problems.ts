/**
 * What solvers are compared on: three mixtures under the linear variance-preserving schedule of continuous time, from
 * t = 1 to t = 1e-3, and the exact end of each trajectory.
 */
import { randn } from '../../lib/index.js';
import { NoiseSchedule } from '../../lib/schedule/noise-schedule.js';
import { DPMSolverMultistepScheduler } from '../../lib/schedulers/index.js';
import { Mixture, normal, type Point, pointOf, uniform } from './mixture.js';

// ---- the schedule ----------------------------------------------------------------------------------------------------

const [BETA0, BETA1] = [0.1, 20];
export const schedule = NoiseSchedule.linear({ beta0: BETA0, beta1: BETA1 });
/** d log alpha / dt = -beta(t) / 2 */
export const beta = (t: number) => BETA0 + (BETA1 - BETA0) * t;
const logAlphaOf = (t: number) => -0.25 * t * t * (BETA1 - BETA0) - 0.5 * t * BETA0;
/** alpha and sigma at a time. */
export const pointAt = (t: number): Point => {
  const log = logAlphaOf(t);
  return { alpha: Math.exp(log), sigma: Math.sqrt(-Math.expm1(2 * log)) };
};
export const lambdaOf = (t: number) => logAlphaOf(t) - 0.5 * Math.log(-Math.expm1(2 * logAlphaOf(t)));

/** Betas of n training steps at t = 1e-3 ... 1, for the schedulers that know labels only. */
export function trainingBetas(n: number): Float64Array {
  let before = 0;
  return Float64Array.from({ length: n }, (_, j) => {
    const now = logAlphaOf(1e-3 + ((1 - 1e-3) * j) / (n - 1));
    const step = -Math.expm1(2 * (now - before));
    before = now;
    return step;
  });
}

/** What the schedulers of dpm-solver/schedulers are configured with. */
export const schedulerConfig = (betas = trainingBetas(1000)) => ({
  trained_betas: betas,
  num_train_timesteps: betas.length,
  final_sigmas_type: 'sigma_min',
});

// The schedulers keep sigma / alpha in float32, so that the ends are numbers that float32 has: everyone starts and ends
// at the same lambda, in every digit.
const probe = DPMSolverMultistepScheduler.fromConfig(schedulerConfig());
probe.setTimesteps(1);
function roundedDown(value: number): number {
  const f = new Float32Array([value]);
  if (f[0] > value) new Uint32Array(f.buffer)[0]--;
  return f[0];
}
/** sigma / alpha at the end, and at the start (the float32 below that of t = 1). */
export const kEnd = probe.sigmas[1];
export const kStart = roundedDown(Math.exp(-lambdaOf(1)));
export const lambdaStart = -Math.log(kStart);
export const lambdaEnd = -Math.log(kEnd);
export const tStart = schedule.inverseLambda(lambdaStart);
export const tEnd = schedule.inverseLambda(lambdaEnd);

// ---- the mixtures ----------------------------------------------------------------------------------------------------

export interface Problem {
  name: string;
  description: string;
  dims: readonly number[];
  mixture: Mixture;
}

function plane(): Mixture {
  const parts = [
    { weight: 0.28, mean: [-1.15, 0.75], deviation: [0.16, 0.3] },
    { weight: 0.22, mean: [1.05, 0.95], deviation: [0.3, 0.14] },
    { weight: 0.2, mean: [0.15, -0.2], deviation: [0.2, 0.2] },
    { weight: 0.18, mean: [1.25, -0.95], deviation: [0.12, 0.25] },
    { weight: 0.12, mean: [-0.9, -1.1], deviation: [0.28, 0.12] },
  ];
  return new Mixture(
    2,
    Float64Array.from(parts, (p) => p.weight),
    Float64Array.from(parts.flatMap((p) => p.mean)),
    Float64Array.from(parts.flatMap((p) => p.deviation.map((s) => s * s))),
  );
}

/** 20 components in 48 dimensions with their means from N(0, scale^2). */
function high(scale: number, deviation: () => number): Mixture {
  const [size, components] = [48, 20];
  const gauss = normal(48);
  return new Mixture(
    size,
    new Float64Array(components).fill(1 / components),
    Float64Array.from({ length: components * size }, () => scale * gauss()),
    Float64Array.from({ length: components * size }, () => deviation() ** 2),
  );
}

/**
 * Ten kinds of picture, 3 x 16 x 16, in the basis of the cosine transform, where a stationary covariance is diagonal:
 * with variance falling as 1 / (1 + f^2)^1.5, as in photographs, down to a deviation of 0.01; means likewise, smooth. The
 * solvers' updates are affine and do not see the basis.
 */
function pictures(): Mixture {
  const [side, components] = [16, 10];
  const size = 3 * side * side;
  const spectrum = Float64Array.from({ length: size }, (_, i) => {
    const [u, v] = [i % side, Math.floor(i / side) % side];
    return 1 / (1 + u * u + v * v) ** 1.5;
  });
  const total = spectrum.reduce((a, b) => a + b);
  const gauss = normal(768);
  const means = new Float64Array(components * size);
  const variances = new Float64Array(components * size);
  for (let i = 0; i < means.length; i++) {
    const share = (spectrum[i % size] / total) * size;
    // A mean square of 0.5^2 of a pixel in the means, and a variance of 0.25^2 around them.
    means[i] = 0.5 * Math.sqrt(share) * gauss();
    variances[i] = 0.25 ** 2 * share + 0.01 ** 2;
  }
  return new Mixture(size, new Float64Array(components).fill(1 / components), means, variances);
}

const random = uniform(20);
export const PROBLEMS: readonly Problem[] = [
  { name: '2-D', description: '5 components in the plane', dims: [2], mixture: plane() },
  {
    name: '48-D',
    description: '20 narrow components: means from N(0, 0.5²), deviation 0.05',
    dims: [48],
    mixture: high(0.5, () => 0.05),
  },
  {
    name: '48-D wide',
    description: '20 wide components: means from N(0, 1), deviations from 0.1 to 0.6, evenly in the logarithm',
    dims: [48],
    mixture: high(1, () => 0.1 * 6 ** random()),
  },
  {
    name: '3x16x16',
    description: '10 kinds of picture: with the spectrum of photographs',
    dims: [3, 16, 16],
    mixture: pictures(),
  },
];

/** Standard normal noise, [n, size]: where sampling starts. */
export function startNoise(problem: Problem, n: number, seed = 5): Float64Array {
  return randn([n, problem.mixture.size], { seed, type: 'float64' }).data as Float64Array;
}

// ---- the exact solution ----------------------------------------------------------------------------------------------

/**
 * x at lambda `to` on the probability flow through x at lambda `from`: dx / dlambda = sigma^2 x - sigma noise(x), by
 * the extrapolated midpoint rule of Gragg, Bulirsch and Stoer with a table of eight rows (order 16).
 */
export function exact(mixture: Mixture, x: Float64Array, from: number, to: number, steps: number): Float64Array {
  const rows = [2, 4, 6, 8, 10, 12, 14, 16];
  const H = (to - from) / steps;
  const slope = (state: Float64Array, lambda: number, out: Float64Array) => {
    const point = pointOf(lambda);
    mixture.noise(state, point, out);
    const { sigma } = point;
    for (let i = 0; i < out.length; i++) out[i] = sigma * (sigma * state[i] - out[i]);
    return out;
  };
  const make = () => new Float64Array(x.length);
  const [first, f] = [make(), make()];
  const table = rows.map(make);
  let y = x.slice();
  for (let s = 0; s < steps; s++) {
    const at = from + s * H;
    slope(y, at, first);
    rows.forEach((n, j) => {
      const h = H / n;
      let before = y;
      let now = y.map((value, i) => value + h * first[i]);
      for (let m = 1; m < n; m++) {
        slope(now, at + m * h, f);
        const next = before.map((value, i) => value + 2 * h * f[i]);
        before = now;
        now = next;
      }
      slope(now, at + H, f);
      const end = table[j];
      for (let i = 0; i < end.length; i++) end[i] = 0.5 * (now[i] + before[i] + h * f[i]);
    });
    // Neville's scheme in h^2, in place.
    for (let column = 1; column < rows.length; column++) {
      for (let j = rows.length - 1; j >= column; j--) {
        const ratio = (rows[j] / rows[j - column]) ** 2 - 1;
        const [a, b] = [table[j], table[j - 1]];
        for (let i = 0; i < a.length; i++) a[i] += (a[i] - b[i]) / ratio;
      }
    }
    y = table[rows.length - 1].slice();
  }
  return y;
}

/** The exact end: with more and more steps until the last increase by half changed no number by more than 1e-10. */
export function reference(problem: Problem, x: Float64Array, from: number, to: number) {
  let steps = 40;
  let end = exact(problem.mixture, x, from, to, steps);
  for (;;) {
    const rough = end;
    steps = Math.round(1.5 * steps);
    end = exact(problem.mixture, x, from, to, steps);
    const difference = end.reduce((most, value, i) => Math.max(most, Math.abs(value - rough[i])), 0);
    if (difference <= 1e-10 || steps > 500) return { end, difference };
  }
}

/** Per sample, the root mean square over its elements of a - b. */
export function errors(a: ArrayLike<number>, b: ArrayLike<number>, size: number): number[] {
  return Array.from({ length: b.length / size }, (_, sample) => {
    let sum = 0;
    for (let i = sample * size; i < (sample + 1) * size; i++) sum += (a[i] - b[i]) ** 2;
    return Math.sqrt(sum / size);
  });
}

/** Quantiles of a list, linear between its numbers. */
export function quantiles(values: readonly number[], at: readonly number[]): number[] {
  const sorted = [...values].sort((a, b) => a - b);
  return at.map((q) => {
    const place = q * (sorted.length - 1);
    const low = Math.floor(place);
    const high = Math.min(low + 1, sorted.length - 1);
    return sorted[low] + (place - low) * (sorted[high] - sorted[low]);
  });
}
