// A Gaussian mixture in the plane whose score is known exactly, and a plain integrator for its probability flow: what
// the solvers are measured against. Nothing here uses the library.

/** Where alpha and sigma come from: lambda alone, by the schedule's constraint. */
export type Kind = 'preserving' | 'flow' | 'exploding';

export interface Point {
  alpha: number;
  sigma: number;
}

/** alpha and sigma from lambda = log(alpha / sigma): alpha^2 + sigma^2 = 1, alpha + sigma = 1, or alpha = 1. */
export function pointOf(kind: Kind, lambda: number): Point {
  if (kind === 'preserving') {
    return { alpha: 1 / Math.sqrt(1 + Math.exp(-2 * lambda)), sigma: 1 / Math.sqrt(1 + Math.exp(2 * lambda)) };
  }
  if (kind === 'flow') return { alpha: 1 / (1 + Math.exp(-lambda)), sigma: 1 / (1 + Math.exp(lambda)) };
  return { alpha: 1, sigma: Math.exp(-lambda) };
}

/** Weights, means and covariances [xx, xy, yy]. */
const COMPONENTS = [
  { weight: 0.3, mx: 1.1, my: 0.4, xx: 0.5, xy: 0.1, yy: 0.35 },
  { weight: 0.3, mx: -0.9, my: 0.8, xx: 0.4, xy: -0.15, yy: 0.6 },
  { weight: 0.25, mx: -0.3, my: -1.2, xx: 0.45, xy: 0.05, yy: 0.3 },
  { weight: 0.15, mx: 1.0, my: -1.0, xx: 0.3, xy: 0, yy: 0.5 },
];

/** E[x0 | x_t = x] for points (x, y), (x, y), ... at alpha and sigma. */
export function denoise(x: ArrayLike<number>, { alpha, sigma }: Point): Float64Array {
  const out = new Float64Array(x.length);
  // Per component: the covariance of x_t, C = alpha^2 S + sigma^2 I, and log(weight / sqrt(det C)).
  const parts = COMPONENTS.map(({ weight, mx, my, xx, xy, yy }) => {
    const cxx = alpha * alpha * xx + sigma * sigma;
    const cxy = alpha * alpha * xy;
    const cyy = alpha * alpha * yy + sigma * sigma;
    const det = cxx * cyy - cxy * cxy;
    return { mx, my, xx, xy, yy, cxx, cxy, cyy, det, log: Math.log(weight) - 0.5 * Math.log(det) };
  });
  for (let i = 0; i < x.length; i += 2) {
    let most = -Infinity;
    let sum = 0;
    let sx = 0;
    let sy = 0;
    for (const { mx, my, xx, xy, yy, cxx, cxy, cyy, det, log } of parts) {
      // E[x0 | x, component] = mu + alpha S C^-1 (x - alpha mu)
      const dx = x[i] - alpha * mx;
      const dy = x[i + 1] - alpha * my;
      const ux = (cyy * dx - cxy * dy) / det;
      const uy = (cxx * dy - cxy * dx) / det;
      const logarithm = log - 0.5 * (dx * ux + dy * uy);
      // The sums are scaled by the largest term so far.
      const scale = logarithm > most ? Math.exp(most - logarithm) : 1;
      most = Math.max(most, logarithm);
      const r = Math.exp(logarithm - most);
      sum = sum * scale + r;
      sx = sx * scale + r * (mx + alpha * (xx * ux + xy * uy));
      sy = sy * scale + r * (my + alpha * (xy * ux + yy * uy));
    }
    out[i] = sx / sum;
    out[i + 1] = sy / sum;
  }
  return out;
}

/** The noise that belongs to denoise: (x - alpha x0) / sigma. */
export function noiseOf(x: ArrayLike<number>, point: Point): Float64Array {
  return denoise(x, point).map((x0, i) => (x[i] - point.alpha * x0) / point.sigma);
}

/**
 * The states at the given lambdas, the first of which is where x stands: Runge-Kutta of order 4 in lambda with `steps`
 * steps in all. `tau2` 0: the probability flow, d(x/alpha) = -e^-lambda epsilon dlambda. 1: the reverse SDE with its
 * noise left out, in data form d(x e^lambda / sigma) = 2 e^2lambda x0 dlambda, in noise form
 * d(x/alpha) = -2 e^-lambda epsilon dlambda.
 */
export function exactStates(
  kind: Kind,
  x: ArrayLike<number>,
  lambdas: readonly number[],
  { tau2 = 0, form = 'noise', steps = 2000 }: { tau2?: 0 | 1; form?: 'data' | 'noise'; steps?: number } = {},
): Float64Array[] {
  const data = form === 'data' && tau2 === 1;
  const scale = (lambda: number) => {
    const { alpha, sigma } = pointOf(kind, lambda);
    return data ? Math.exp(lambda) / sigma : 1 / alpha;
  };
  const slope = (y: Float64Array, lambda: number) => {
    const s = scale(lambda);
    const state = y.map((value) => value / s);
    const point = pointOf(kind, lambda);
    if (data) return denoise(state, point).map((x0) => 2 * Math.exp(2 * lambda) * x0);
    return noiseOf(state, point).map((e) => -(1 + tau2) * Math.exp(-lambda) * e);
  };
  const span = Math.abs(lambdas[lambdas.length - 1] - lambdas[0]);
  const states = [Float64Array.from(x)];
  let y = states[0].map((value) => value * scale(lambdas[0]));
  for (let i = 1; i < lambdas.length; i++) {
    const n = Math.max(1, Math.ceil((steps * Math.abs(lambdas[i] - lambdas[i - 1])) / span));
    const h = (lambdas[i] - lambdas[i - 1]) / n;
    for (let j = 0; j < n; j++) {
      const at = lambdas[i - 1] + j * h;
      const k1 = slope(y, at);
      const k2 = slope(
        y.map((value, e) => value + (h / 2) * k1[e]),
        at + h / 2,
      );
      const k3 = slope(
        y.map((value, e) => value + (h / 2) * k2[e]),
        at + h / 2,
      );
      const k4 = slope(
        y.map((value, e) => value + h * k3[e]),
        at + h,
      );
      y = y.map((value, e) => value + (h / 6) * (k1[e] + 2 * k2[e] + 2 * k3[e] + k4[e]));
    }
    const s = scale(lambdas[i]);
    states.push(y.map((value) => value / s));
  }
  return states;
}

/** The largest difference between two states. */
export function distance(a: ArrayLike<number>, b: ArrayLike<number>): number {
  let most = 0;
  for (let i = 0; i < b.length; i++) most = Math.max(most, Math.abs(a[i] - b[i]));
  return most;
}

/** How the error falls with the number of steps: minus the slope of the least-squares line through the logarithms. */
export function slopeOf(counts: readonly number[], errors: readonly number[]): number {
  const x = counts.map(Math.log);
  const y = errors.map(Math.log);
  const mean = (list: readonly number[]) => list.reduce((sum, value) => sum + value, 0) / list.length;
  const [mx, my] = [mean(x), mean(y)];
  const above = x.reduce((sum, value, i) => sum + (value - mx) * (y[i] - my), 0);
  return -above / x.reduce((sum, value) => sum + (value - mx) ** 2, 0);
}
