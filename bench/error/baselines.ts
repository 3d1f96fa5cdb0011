// Solvers that the library does not have: Runge-Kutta methods for the probability flow, in time and in lambda, and the
// stochastic samplers that came before.
import { type Mixture, pointOf } from './mixture.js';
import { beta, lambdaEnd, lambdaOf, lambdaStart, pointAt, tEnd, tStart } from './problems.js';

/** What a run gives. */
export interface Outcome {
  data: Float64Array;
  nfe: number;
}

type Slope = (x: Float64Array, at: number, out: Float64Array) => void;

/** dx/dt = f(t) x + g(t)^2 / (2 sigma) noise(x): DPM-Solver, eq. 2.7. */
export function inTime(mixture: Mixture): Slope {
  return (x, t, out) => {
    const point = pointAt(t);
    mixture.noise(x, point, out);
    const half = 0.5 * beta(t);
    for (let i = 0; i < x.length; i++) out[i] = half * (out[i] / point.sigma - x[i]);
  };
}

/** dx/dlambda = sigma^2 x - sigma noise(x): the same in lambda, appendix of DPM-Solver. */
export function inLambda(mixture: Mixture): Slope {
  return (x, lambda, out) => {
    const { alpha, sigma } = pointOf(lambda);
    mixture.noise(x, { alpha, sigma }, out);
    for (let i = 0; i < x.length; i++) out[i] = sigma * (sigma * x[i] - out[i]);
  };
}

/** a: one row per stage after the first; b: the weights; c: where the stages stand. */
interface Tableau {
  a: readonly (readonly number[])[];
  b: readonly number[];
  c: readonly number[];
}
/** The midpoint rule, and Heun's third-order rule: the Runge-Kutta methods that DPM-Solver-2 and -3 become at h -> 0. */
export const RK2: Tableau = { a: [[1 / 2]], b: [0, 1], c: [0, 1 / 2] };
export const RK3: Tableau = { a: [[1 / 3], [0, 2 / 3]], b: [1 / 4, 0, 3 / 4], c: [0, 1 / 3, 2 / 3] };

/** Equal steps from `from` to `to`. */
export function rungeKutta(
  slope: Slope,
  { a, b, c }: Tableau,
  x: Float64Array,
  from: number,
  to: number,
  steps: number,
): Outcome {
  const h = (to - from) / steps;
  const k = c.map(() => new Float64Array(x.length));
  const stage = new Float64Array(x.length);
  const y = x.slice();
  const add = (weights: readonly number[], out: Float64Array) => {
    out.set(y);
    weights.forEach((w, j) => {
      if (w !== 0) for (let i = 0; i < out.length; i++) out[i] += h * w * k[j][i];
    });
    return out;
  };
  for (let s = 0; s < steps; s++) {
    slope(y, from + s * h, k[0]);
    for (let j = 1; j < c.length; j++) slope(add(a[j - 1], stage), from + (s + c[j]) * h, k[j]);
    y.set(add(b, stage));
  }
  return { data: y, nfe: steps * c.length };
}

/** RK2 and RK3 with as many whole steps as `nfe` evaluations allow. */
export function fixed(
  mixture: Mixture,
  x: Float64Array,
  tableau: Tableau,
  variable: 't' | 'lambda',
  nfe: number,
): Outcome {
  const steps = Math.floor(nfe / tableau.c.length);
  return variable === 't'
    ? rungeKutta(inTime(mixture), tableau, x, tStart, tEnd, steps)
    : rungeKutta(inLambda(mixture), tableau, x, lambdaStart, lambdaEnd, steps);
}

const DP_A = [
  [1 / 5],
  [3 / 40, 9 / 40],
  [44 / 45, -56 / 15, 32 / 9],
  [19372 / 6561, -25360 / 2187, 64448 / 6561, -212 / 729],
  [9017 / 3168, -355 / 33, 46732 / 5247, 49 / 176, -5103 / 18656],
  [35 / 384, 0, 500 / 1113, 125 / 192, -2187 / 6784, 11 / 84],
];
const DP_C = [0, 1 / 5, 3 / 10, 4 / 5, 8 / 9, 1, 1];
const DP_E = [71 / 57600, 0, -71 / 16695, 71 / 1920, -17253 / 339200, 22 / 525, -1 / 40];

/**
 * RK45: Dormand and Prince's pair in time with the step-size control of scipy.integrate.solve_ivp, the whole batch one
 * system (as score_sde uses it); rtol = atol.
 */
export function rk45(mixture: Mixture, x: Float64Array, tolerance: number): Outcome {
  const slope = inTime(mixture);
  const k = DP_C.map(() => new Float64Array(x.length));
  const stage = new Float64Array(x.length);
  const rms = (of: (i: number) => number) => {
    let sum = 0;
    for (let i = 0; i < x.length; i++) sum += of(i) ** 2;
    return Math.sqrt(sum / x.length);
  };
  let y = x.slice();
  let t = tStart;
  slope(y, t, k[0]);
  let nfe = 1;
  const scale = (i: number) => tolerance * (1 + Math.abs(y[i]));
  // Hairer, Norsett and Wanner, II.4: a first step from the sizes of y, y' and y''.
  const d0 = rms((i) => y[i] / scale(i));
  const d1 = rms((i) => k[0][i] / scale(i));
  const h0 = d0 < 1e-5 || d1 < 1e-5 ? 1e-6 : (0.01 * d0) / d1;
  for (let i = 0; i < y.length; i++) stage[i] = y[i] - h0 * k[0][i];
  slope(stage, t - h0, k[1]);
  nfe++;
  const d2 = rms((i) => (k[1][i] - k[0][i]) / scale(i)) / h0;
  const h1 = Math.max(d1, d2) <= 1e-15 ? Math.max(1e-6, h0 * 1e-3) : (0.01 / Math.max(d1, d2)) ** (1 / 5);
  let h = Math.min(100 * h0, h1);
  let rejected = false;
  while (t > tEnd) {
    h = Math.min(h, t - tEnd);
    for (let j = 1; j < 7; j++) {
      for (let i = 0; i < y.length; i++) {
        let sum = 0;
        for (let m = 0; m < j; m++) sum += DP_A[j - 1][m] * k[m][i];
        stage[i] = y[i] - h * sum;
      }
      slope(stage, t - DP_C[j] * h, k[j]);
      nfe++;
    }
    const error = rms((i) => {
      let sum = 0;
      for (let j = 0; j < 7; j++) sum += DP_E[j] * k[j][i];
      return (h * sum) / (tolerance * (1 + Math.max(Math.abs(y[i]), Math.abs(stage[i]))));
    });
    if (error < 1) {
      t = h === t - tEnd ? tEnd : t - h;
      y = stage.slice();
      k[0].set(k[6]);
      const most = rejected ? 1 : 10;
      h *= error === 0 ? most : Math.min(most, 0.9 * error ** (-1 / 5));
      rejected = false;
    } else {
      h *= Math.max(0.2, 0.9 * error ** (-1 / 5));
      rejected = true;
    }
  }
  return { data: y, nfe };
}

// ---- stochastic -------------------------------------------------------------------------------------------------------

/** n + 1 times, evenly from tStart to tEnd. */
export const evenTimes = (n: number) =>
  Array.from({ length: n + 1 }, (_, i) => (i === n ? tEnd : tStart + ((tEnd - tStart) * i) / n));

/** Euler and Maruyama for the reverse SDE, dx = (f x - g^2 score) dt + g dw. */
export function eulerMaruyama(mixture: Mixture, x: Float64Array, n: number, gauss: () => number): Float64Array {
  const times = evenTimes(n);
  const y = x.slice();
  const noise = new Float64Array(x.length);
  for (let s = 0; s < n; s++) {
    const t = times[s];
    const dt = t - times[s + 1];
    const point = pointAt(t);
    mixture.noise(y, point, noise);
    const b = beta(t);
    const root = Math.sqrt(b * dt);
    for (let i = 0; i < y.length; i++) {
      y[i] += dt * (0.5 * b * y[i] - (b * noise[i]) / point.sigma) + root * gauss();
    }
  }
  return y;
}

/**
 * E |noise(x_t)|^2 / size at the times given, by Monte Carlo over `samples` draws: what Analytic-DPM asks of the network
 * once (Bao et al. 2022, eq. 8: Gamma, times sigma^2).
 */
export function noisePower(mixture: Mixture, times: readonly number[], samples: number, seed: number): number[] {
  return times.map((t, i) => {
    const x = mixture.draw(samples, seed + i, pointAt(t));
    const noise = mixture.noise(x, pointAt(t));
    return noise.reduce((sum, value) => sum + value * value, 0) / noise.length;
  });
}

/**
 * Ancestral sampling (Ho et al. 2020) from t to s: the mean of q(x_s | x_t, x0) at the predicted x0, and its variance,
 * sigma_s^2 (1 - e^(2 lambda_t - 2 lambda_s)), here lambda^2. With `power` the variance of Analytic-DPM (Bao et al. 2022,
 * theorem 1): lambda^2 + (sigma_t alpha_s / alpha_t - sqrt(sigma_s^2 - lambda^2))^2 (1 - power).
 */
export function ancestral(
  mixture: Mixture,
  x: Float64Array,
  n: number,
  gauss: () => number,
  power?: readonly number[],
): Float64Array {
  const times = evenTimes(n);
  const y = x.slice();
  const noise = new Float64Array(x.length);
  for (let s = 0; s < n; s++) {
    const from = pointAt(times[s]);
    const to = pointAt(times[s + 1]);
    mixture.noise(y, from, noise);
    const exponent = 2 * (lambdaOf(times[s]) - lambdaOf(times[s + 1]));
    const variance = to.sigma ** 2 * -Math.expm1(exponent);
    // x_s = alpha_s x0 + sqrt(sigma_s^2 - lambda^2) noise
    const direction = Math.sqrt(to.sigma ** 2 - variance);
    const scale = to.alpha / from.alpha;
    const added = power ? (scale * from.sigma - direction) ** 2 * Math.max(0, 1 - power[s]) : 0;
    const deviation = Math.sqrt(variance + added);
    for (let i = 0; i < y.length; i++) {
      const x0 = y[i] - from.sigma * noise[i];
      y[i] = scale * x0 + direction * noise[i] + deviation * gauss();
    }
  }
  return y;
}
