// Sequences of training variances beta_n, as diffusion networks were trained with.
import { finiteNumber, knownOptions, numbers, oneOf, outOfRange, wholeNumber } from '../base/check.js';

/** The names that {@link betas} knows, those of diffusers. */
export type BetaSchedule = 'linear' | 'scaled_linear' | 'sigmoid' | 'squaredcos_cap_v2' | 'laplace' | 'exp';

/** @internal Those names as a list. */
export const BETA_SCHEDULES: readonly BetaSchedule[] = [
  'linear',
  'scaled_linear',
  'sigmoid',
  'squaredcos_cap_v2',
  'laplace',
  'exp',
];

/** Those that have ends, and the ends they have unless told. */
const ENDS: Partial<Record<BetaSchedule, readonly [start: number, end: number]>> = {
  linear: [0.0001, 0.02],
  scaled_linear: [0.00085, 0.012],
  sigmoid: [0.0001, 0.02],
};

/**
 * The variances beta_0 ... beta_{n-1} of a discrete-time diffusion process.
 *
 * - `'linear'`: equispaced from `start` (0.0001) to `end` (0.02). Ho et al. 2020, "Denoising Diffusion Probabilistic
 *   Models", in its experiments.
 * - `'scaled_linear'`: squares of equispaced roots, from `start` (0.00085) to `end` (0.012); Stable Diffusion.
 * - `'squaredcos_cap_v2'`: 1 - alphaBar((i+1)/n) / alphaBar(i/n), at most 0.999, where alphaBar(t) =
 *   cos^2(pi/2 (t + 0.008) / 1.008). Nichol & Dhariwal 2021, "Improved Denoising Diffusion Probabilistic Models",
 *   the cosine schedule. It has neither `start` nor `end`.
 * - `'sigmoid'`: from `start` (0.0001) to `end` (0.02) by the logistic function of equispaced numbers from -6 to 6. Xu et
 *   al. 2022, "GeoDiff".
 * - `'laplace'`: as the cosine schedule with alphaBar(t)^2 = 1 / (1 + q), q = sqrt(2t + 1e-6) up to t = 1/2 and
 *   1 / sqrt(2 (1 - t) + 1e-6) beyond. Hang & Gu 2024, "Improved Noise Schedule for Diffusion Training", as diffusers has it.
 * - `'exp'`: as the cosine schedule with alphaBar(t) = e^(-12 t). The last two have no ends either.
 *
 * @param n number of training steps, at least 1; 1000 unless told
 * @throws TypeError for another name or an unknown option; RangeError for n < 1 or an end outside (0, 1)
 */
export function betas(name: BetaSchedule, n = 1000, options: { start?: number; end?: number } = {}): Float64Array {
  oneOf(name, 'the betas', BETA_SCHEDULES);
  wholeNumber(n, 'the number of betas', 1);
  const ends = ENDS[name];
  knownOptions(options, ends ? ['start', 'end'] : [], `betas('${name}')`);
  const result = new Float64Array(n);
  if (!ends) {
    const beta = { squaredcos_cap_v2: cosine, laplace, exp: exponential }[
      name as 'squaredcos_cap_v2' | 'laplace' | 'exp'
    ];
    for (let i = 0; i < n; i++) result[i] = Math.min(beta(i, n), 0.999);
    return result;
  }
  const { start = ends[0], end = ends[1] } = options;
  unit(start, 'start');
  unit(end, 'end');
  const last = Math.max(n - 1, 1);
  for (let i = 0; i < n; i++) {
    const w = i / last;
    if (name === 'linear') result[i] = start * (1 - w) + end * w;
    else if (name === 'sigmoid') result[i] = start + (end - start) / (1 + Math.exp(6 - 12 * w));
    else result[i] = (Math.sqrt(start) * (1 - w) + Math.sqrt(end) * w) ** 2;
  }
  if (name === 'sigmoid') return result;
  // The square of a rounded root is an ulp off at the ends.
  result[0] = start;
  if (n > 1) result[n - 1] = end;
  return result;
}

/**
 * cos^2 a - cos^2 b = sin(b - a) sin(a + b): 1 - cos^2 b / cos^2 a without its cancellation at small i. Near the noise, where
 * a and b come close to pi/2, angles are counted from there: pi/2 - a = scale (1 - i/n).
 */
function cosine(i: number, n: number): number {
  const scale = Math.PI / 2 / 1.008;
  const left = 2 * (n - i) - 1;
  const sinSum = Math.sin(2 * i < n ? scale * ((2 * i + 1) / n + 0.016) : (scale * left) / n);
  const cosA = Math.sin((scale * (n - i)) / n);
  return (Math.sin(scale / n) * sinSum) / cosA ** 2;
}

/** 1 - sqrt((1 + p) / (1 + q)) for p and q at the step's ends, of which q - p needs no subtraction but in the middle. */
function laplace(i: number, n: number): number {
  const tiny = 1e-6;
  const root = (k: number) => Math.sqrt((2 * k <= n ? 2 * k : 2 * (n - k)) / n + tiny);
  const [a, b] = [root(i), root(i + 1)];
  const inverse = [i, i + 1].map((k) => 2 * k > n);
  const p = inverse[0] ? 1 / a : a;
  const q = inverse[1] ? 1 / b : b;
  const step = 2 / n / (a + b);
  const difference = inverse[0] ? step / (a * b) : inverse[1] ? q - p : step;
  return -Math.expm1(-0.5 * Math.log1p(difference / (1 + p)));
}

function exponential(_: number, n: number): number {
  return -Math.expm1(-12 / n);
}

/**
 * Rescales betas so that nothing is left of the data at the last training step (its beta is 1): sqrt(alphaBar) is
 * shifted to 0 at the end and scaled back to its old value at the start. Such betas need `clip: false`.
 * Lin et al. 2023, "Common Diffusion Noise Schedules and Sample Steps are Flawed", algorithm 1.
 *
 * @param betas at least two variances in (0, 1); not changed
 * @throws TypeError for anything but numbers; RangeError for fewer than two, or one outside (0, 1)
 */
export function betasForZeroTerminalSnr(betas: ArrayLike<number>): Float64Array {
  const old = numbers(betas, 'betas');
  if (old.length < 2) throw outOfRange('at least two numbers', 'betas', old.length);
  const n = old.length;
  const root = new Float64Array(n); // sqrt(alphaBar)
  let logRoot = 0;
  for (let i = 0; i < n; i++) {
    if (!(old[i] > 0 && old[i] < 1)) throw outOfRange('numbers between 0 and 1', 'betas', old[i], ` at index ${i}`);
    logRoot += 0.5 * Math.log1p(-old[i]);
    root[i] = Math.exp(logRoot);
  }
  const rescaled = new Float64Array(n);
  rescaled[0] = old[0];
  for (let i = 1; i < n; i++) {
    // 1 - (q/p)^2 = (p - q)(p + q) / p^2 for consecutive shifted roots p and q, where p - q needs no subtraction of
    // near-equal numbers: it is root[i-1] (1 - sqrt(1 - beta)). The common scale factor cancels.
    const p = root[i - 1] - root[n - 1];
    const q = root[i] - root[n - 1];
    const difference = -root[i - 1] * Math.expm1(0.5 * Math.log1p(-old[i]));
    rescaled[i] = (difference * (p + q)) / (p * p);
  }
  rescaled[n - 1] = 1;
  return rescaled;
}

function unit(value: number, name: string): void {
  finiteNumber(value, name);
  if (!(value > 0 && value < 1)) throw outOfRange('a number between 0 and 1', name, value);
}
