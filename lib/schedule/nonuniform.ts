// Times computed for a multistep solver, without a network: Xue et al. 2024, "Accelerating Diffusion Sampling with Optimized
// Time Steps" (arXiv 2402.17376; github.com/scxue/DM-NonUniform).
import { outOfRange } from '../base/check.js';

/** Networks in latents are off by about sigma^2 / alpha, those in pixels by sigma / alpha (the paper, section 4). */
export type NetworkError = 'latents' | 'pixels';

/** Up to so many steps the first few are weighed one by one, as published. */
const FEW = 7;
const FIRST = 3;

/**
 * What the paper makes small: a bound on what the network's errors do to the end. With lambda_0 .. lambda_N rising, the
 * step from lambda_s weighs the predictions at the last one, two or three points by J, the integrals of e^lambda times
 * their Lagrange polynomials (order 1 at both ends, 2 beside them, 3 inside). Each prediction's weights, times its error,
 * are summed over the steps with their signs, and these sums without.
 *
 * @param smooth 0 for the bound itself; above it, |x| is sqrt(x^2 + smooth^2)
 */
export function errorBound(lambdas: ArrayLike<number>, error: NetworkError, smooth = 0): number {
  const N = lambdas.length - 1;
  const size = (x: number) => Math.sqrt(x * x + smooth * smooth);
  const e = Array.from(lambdas, Math.exp);
  const h = Array.from({ length: N }, (_, n) => lambdas[n + 1] - lambdas[n]);
  const errors = Array.from(lambdas, (lambda) => {
    const sigma = 1 / Math.sqrt(1 + Math.exp(2 * lambda));
    return (error === 'latents' ? sigma * sigma : sigma) * Math.sqrt(1 + Math.exp(-2 * lambda));
  });
  const first = N <= FEW ? FIRST : 0;
  const sums = new Float64Array(N);
  let bound = 0;
  for (let s = 0; s < N; s++) {
    const order = Math.min(3, s + 1, N - s);
    const weights = lagrangeWeights(e[s], h, s, order);
    if (order === 1) {
      bound += size(weights[0] * errors[s]);
    } else if (s < first) {
      bound += Math.sqrt(weights.reduce((sum, w, k) => sum + (w * errors[s - order + 1 + k]) ** 2, 0));
    } else {
      weights.forEach((w, k) => {
        sums[s - order + 1 + k] += w * errors[s - order + 1 + k];
      });
    }
  }
  return sums.reduce((total, sum) => total + size(sum), bound);
}

/** J of the points s - order + 1 .. s in the step from s, of length h[s]; H_k is the integral of e^x x^k from 0 to h. */
function lagrangeWeights(e: number, h: readonly number[], s: number, order: number): number[] {
  const step = h[s];
  const H0 = Math.expm1(step);
  if (order === 1) return [e * H0];
  const H1 = Math.exp(step) * step - H0;
  const a = h[s - 1];
  if (order === 2) return [(-e * H1) / a, (e * (H1 + a * H0)) / a];
  const H2 = Math.exp(step) * step * step - 2 * H1;
  const b = h[s - 2];
  return [
    (e * (H2 + a * H1)) / (b * (b + a)),
    (-e * (H2 + (b + a) * H1)) / (b * a),
    (e * (H2 + (2 * a + b) * H1 + a * (b + a) * H0)) / (a * (b + a)),
  ];
}

/** Smoothings in turn, by the size of the bound where it begins: the corners of |x| come back step by step. */
const SMOOTHINGS = [1e-2, 1e-3, 1e-4, 1e-5];
const ITERATIONS = 200;
const known = new Map<string, Float64Array>();

/**
 * steps + 1 lambdas from `first` to `last`, rising, that make {@link errorBound} small: found from those even in lambda
 * and, for latents, from those given. Deterministic; the latest few are kept.
 *
 * @param even where a search for latents begins besides: lambdas of times even in t
 */
export function nonuniformLambdas(
  first: number,
  last: number,
  steps: number,
  error: NetworkError,
  even?: ArrayLike<number>,
): Float64Array {
  if (!(Number.isFinite(first) && Number.isFinite(last) && first < last)) {
    throw outOfRange('finite lambdas, rising, at both ends', 'lambda', `${first} and ${last}`);
  }
  const key = `${first} ${last} ${steps} ${error}`;
  const before = known.get(key);
  if (before) return before.slice();
  const starts = [Float64Array.from({ length: steps }, () => 0)];
  if (error === 'latents' && even)
    starts.push(Float64Array.from({ length: steps }, (_, i) => Math.log(even[i + 1] - even[i])));
  const found = starts.map((start) => descend(start, first, last, error));
  const best = found.reduce((a, b) => (errorBound(b, error) < errorBound(a, error) ? b : a));
  if (known.size >= 64) known.clear();
  known.set(key, best);
  return best.slice();
}

/** Lambdas whose distances are shares by a softmax: whatever the parameters, they rise from one end to the other. */
function lambdasOf(parameters: Float64Array, first: number, last: number): Float64Array {
  const most = parameters.reduce((a, b) => Math.max(a, b));
  const shares = parameters.map((p) => Math.exp(p - most));
  const total = shares.reduce((a, b) => a + b);
  const lambdas = new Float64Array(parameters.length + 1);
  let sum = 0;
  lambdas[0] = first;
  shares.forEach((share, i) => {
    sum += share;
    lambdas[i + 1] = first + ((last - first) * sum) / total;
  });
  lambdas[parameters.length] = last;
  return lambdas;
}

function descend(start: Float64Array, first: number, last: number, error: NetworkError): Float64Array {
  const size = errorBound(lambdasOf(start, first, last), error);
  let parameters = start;
  for (const smoothing of SMOOTHINGS) {
    parameters = minimize((p) => errorBound(lambdasOf(p, first, last), error, smoothing * size) / size, parameters);
  }
  return lambdasOf(parameters, first, last);
}

/** BFGS (Nocedal & Wright, Numerical Optimization, algorithm 6.1) with differences and a backtracking line search. */
function minimize(f: (x: Float64Array) => number, start: Float64Array): Float64Array {
  const n = start.length;
  let x = start.slice();
  let value = f(x);
  const gradient = (at: Float64Array) => {
    const h = 1e-6;
    return at.map((old, i) => {
      at[i] = old + h;
      const up = f(at);
      at[i] = old - h;
      const down = f(at);
      at[i] = old;
      return (up - down) / (2 * h);
    });
  };
  let g = gradient(x);
  // The inverse of the second derivatives, as far as it is known.
  const H = new Float64Array(n * n);
  for (let i = 0; i < n; i++) H[i * n + i] = 1;
  const times = (v: Float64Array) =>
    Float64Array.from({ length: n }, (_, i) => v.reduce((sum, one, j) => sum + H[i * n + j] * one, 0));
  const dot = (a: Float64Array, b: Float64Array) => a.reduce((sum, one, i) => sum + one * b[i], 0);
  for (let iteration = 0; iteration < ITERATIONS; iteration++) {
    const direction = times(g).map((one) => -one);
    const slope = dot(direction, g);
    if (!(slope < -1e-14)) break;
    let step = Math.min(1, 2 / Math.sqrt(dot(direction, direction)));
    let next = x;
    let reached = Number.NaN;
    for (let halvings = 0; halvings < 40; halvings++, step /= 2) {
      next = x.map((one, i) => one + step * direction[i]);
      reached = f(next);
      if (reached <= value + 1e-4 * step * slope) break;
    }
    if (!(reached < value)) break;
    const nextGradient = gradient(next);
    const s = next.map((one, i) => one - x[i]);
    const y = nextGradient.map((one, i) => one - g[i]);
    const sy = dot(s, y);
    if (sy > 1e-12 * Math.sqrt(dot(s, s) * dot(y, y))) {
      const Hy = times(y);
      const factor = (1 + dot(y, Hy) / sy) / sy;
      for (let i = 0; i < n; i++) {
        for (let j = 0; j < n; j++) H[i * n + j] += factor * s[i] * s[j] - (Hy[i] * s[j] + s[i] * Hy[j]) / sy;
      }
    }
    const gain = value - reached;
    [x, value, g] = [next, reached, nextGradient];
    if (gain <= 1e-12 * value) break;
  }
  return x;
}
