import { knownOptions, numbers, oneOf, outOfRange, positiveNumber, wrongType } from '../base/check.js';
import { type Curve, cosineCurve, discreteCurve, edmCurve, flowCurve, linearCurve } from './curves.js';

/** Which of the five constructors made a schedule. */
export type ScheduleKind = 'discrete' | 'linear' | 'cosine' | 'flow' | 'edm';

/** What becomes of the noisiest training steps, those with lambda < -5.1; see {@link NoiseSchedule.discrete}. */
export type Clip = 'tail' | 'official' | false;

/** What {@link NoiseSchedule.discrete} takes: either betas or their cumulative products. */
export type DiscreteOptions = (
  | {
      /** Training variances, two or more in (0, 1); the last may be 1 with `clip: false`. */
      betas: ArrayLike<number>;
      /** Not beside betas. */
      alphasCumprod?: undefined;
    }
  | {
      /** Products of 1 - beta, two or more in (0, 1), falling strictly; the last may be 0 with `clip: false`. */
      alphasCumprod: ArrayLike<number>;
      /** Not beside alphasCumprod. */
      betas?: undefined;
    }
) & {
  /** `'tail'`. */
  clip?: Clip;
};

/** A schedule at one time. */
export interface ScheduleNode {
  /** 0 at a noise end. */
  readonly alpha: number;
  /** 0 at a clean end. */
  readonly sigma: number;
  /** log(alpha / sigma): Infinity at a clean end, -Infinity at a noise end. */
  readonly lambda: number;
  /** 0: regular; 1: clean, sigma = 0; 2: noise, alpha = 0. */
  readonly end: 0 | 1 | 2;
}

/** Below this lambda the published code clips: numerical_clip_alpha of github.com/LuChengTHU/dpm-solver. */
const CLIP_LAMBDA = -5.1;

/** Relative size of what passes for a rounding error where a time or a lambda lies outside of the schedule. */
const ROUNDING = 1e-12;

/**
 * A noise schedule: x_t = alpha_t x_0 + sigma_t noise, and lambda_t = log(alpha_t / sigma_t), half of the log
 * signal-to-noise ratio, strictly falling in t. In double precision and without cancellation at either end. Immutable.
 *
 * Lu et al. 2022, "DPM-Solver: A Fast ODE Solver for Diffusion Probabilistic Model Sampling in Around 10 Steps".
 */
export class NoiseSchedule {
  /** Which constructor made it. */
  readonly kind: ScheduleKind;
  /** Where sampling starts by default: the largest time, or sigmaMax. */
  readonly T: number;
  /** Where sampling ends by default. */
  readonly epsilon: number;
  /** The smallest and the largest time that may be asked for, both included. */
  readonly range: readonly [low: number, high: number];
  readonly #curve: Curve;

  private constructor(kind: ScheduleKind, curve: Curve, T: number, epsilon: number) {
    if (typeof curve?.low !== 'number') {
      throw new TypeError(
        'Expected NoiseSchedule.discrete(), linear(), cosine(), flow() or edm() but received new NoiseSchedule()',
      );
    }
    this.kind = kind;
    this.T = T;
    this.epsilon = epsilon;
    this.range = Object.freeze([curve.low, curve.high] as const);
    this.#curve = curve;
    Object.freeze(this);
  }

  /**
   * The schedule of a network trained at N discrete steps: log alpha is linear in t between t_n = (n + 1) / N (Lu et al.
   * 2022, arXiv 2206.00927).
   *
   * `clip` is about the noisiest steps, those with lambda < -5.1, which cosine betas have:
   * - `'tail'` (default): dropped. T = kept / N, epsilon = 1 / N, and the network is given t N - 1, every kept step's
   *   own label.
   * - `'official'`: dropped, and times and labels are stretched over the N' that remain, as the published code does:
   *   T = 1, epsilon = 1 / N', and the network is given 1000 (t - 1 / N').
   * - `false`: kept. Zero-terminal-SNR sequences (last beta 1, last alphasCumprod 0) need this.
   *
   * @param o exactly one of `betas`, at least two numbers in (0, 1), and `alphasCumprod`, at least two strictly
   *   decreasing numbers in (0, 1); and `clip`. The array is copied.
   * @throws TypeError for an unknown option, neither or both arrays, or an array of something else; RangeError for
   *   numbers out of range
   */
  static discrete(o: DiscreteOptions): NoiseSchedule {
    const name = 'NoiseSchedule.discrete';
    knownOptions(o, ['betas', 'alphasCumprod', 'clip'], name);
    const clip = oneOf(o.clip === undefined ? 'tail' : o.clip, 'clip', ['tail', 'official', false]);
    if ((o.betas === undefined) === (o.alphasCumprod === undefined)) {
      const came = o.betas === undefined ? 'neither' : 'both';
      throw new TypeError(`Expected either betas or alphasCumprod for ${name} but received ${came}`);
    }
    const all = o.betas !== undefined ? logAlphasOfBetas(o.betas) : logAlphasOfAlphasCumprod(o.alphasCumprod!);
    const N = all.length;
    const source = o.betas !== undefined ? 'betas' : 'alphasCumprod';
    if (N < 2) throw new RangeError(`Expected at least two numbers for ${source} but received ${N}`);
    if (clip === false) return NoiseSchedule.#discrete(all, N, (t) => t * N - 1);
    if (all[N - 1] === -Infinity) {
      throw new RangeError(`Expected clip: false for ${source} with zero terminal SNR but received '${clip}'`);
    }
    let kept = N;
    while (kept > 0 && all[kept - 1] - 0.5 * Math.log(-Math.expm1(2 * all[kept - 1])) < CLIP_LAMBDA) kept--;
    if (kept < 2) {
      const rest = `clip: '${clip}' leaves ${kept} of ${N} steps`;
      throw new RangeError(`Expected at least two steps with lambda >= ${CLIP_LAMBDA} for ${source} but ${rest}`);
    }
    const logAlphas = all.slice(0, kept);
    if (clip === 'tail') return NoiseSchedule.#discrete(logAlphas, N, (t) => t * N - 1);
    return NoiseSchedule.#discrete(logAlphas, kept, (t) => (t - 1 / kept) * 1000);
  }

  /**
   * Continuous-time variance-preserving schedule with beta(t) linear from `beta0` (0.1) to `beta1` (20) on [0, 1] (Song
   * et al. 2021, arXiv 2011.13456); t = 0 is a clean end. T = 1, epsilon = 1e-3, and the network is given t.
   *
   * @throws TypeError for an unknown option; RangeError unless 0 < beta0 < beta1 < Infinity
   */
  static linear(o: { beta0?: number; beta1?: number } = {}): NoiseSchedule {
    knownOptions(o, ['beta0', 'beta1'], 'NoiseSchedule.linear');
    const { beta0 = 0.1, beta1 = 20 } = o;
    positiveNumber(beta0, 'beta0');
    positiveNumber(beta1, 'beta1');
    if (!(beta0 < beta1)) throw outOfRange(`a number above beta0 = ${beta0}`, 'beta1', beta1);
    return new NoiseSchedule('linear', linearCurve(beta0, beta1), 1, 1e-3);
  }

  /**
   * Continuous-time cosine schedule with offset `s` (0.008) on [0, 0.9946] (Nichol & Dhariwal 2021, arXiv 2102.09672);
   * t = 0 is a clean end. T = 0.9946, beyond which alpha is too small to be of use (Lu et al. 2022, arXiv 2206.00927),
   * epsilon = 1e-3, and the network is given t.
   *
   * @throws TypeError for an unknown option; RangeError unless 0 < s < Infinity
   */
  static cosine(o: { s?: number } = {}): NoiseSchedule {
    knownOptions(o, ['s'], 'NoiseSchedule.cosine');
    const { s = 0.008 } = o;
    const T = 0.9946;
    return new NoiseSchedule('cosine', cosineCurve(positiveNumber(s, 's'), T), T, 1e-3);
  }

  /**
   * Rectified flow (Liu et al. 2022, arXiv 2209.03003) on [0, 1]: sigma = s t / (1 + (s - 1) t) with `shift` s (1) of
   * Esser et al. 2024 (arXiv 2403.03206), alpha = 1 - sigma; t = 0 is a clean and t = 1 a noise end. T = 1, epsilon = 0, and the network is given sigma.
   *
   * @throws TypeError for an unknown option; RangeError unless 0 < shift < Infinity
   */
  static flow(o: { shift?: number } = {}): NoiseSchedule {
    knownOptions(o, ['shift'], 'NoiseSchedule.flow');
    const { shift = 1 } = o;
    return new NoiseSchedule('flow', flowCurve(positiveNumber(shift, 'shift')), 1, 0);
  }

  /**
   * alpha = 1 and sigma = t on [0, Infinity) (Karras et al. 2022, arXiv 2206.00364); t = 0 is a clean end. T = `sigmaMax` (80), epsilon = `sigmaMin` (0.002),
   * and the network is given sigma.
   *
   * @throws TypeError for an unknown option; RangeError unless 0 < sigmaMin < sigmaMax < Infinity
   */
  static edm(o: { sigmaMin?: number; sigmaMax?: number } = {}): NoiseSchedule {
    knownOptions(o, ['sigmaMin', 'sigmaMax'], 'NoiseSchedule.edm');
    const { sigmaMin = 0.002, sigmaMax = 80 } = o;
    positiveNumber(sigmaMin, 'sigmaMin');
    positiveNumber(sigmaMax, 'sigmaMax');
    if (!(sigmaMin < sigmaMax)) throw outOfRange(`a number above sigmaMin = ${sigmaMin}`, 'sigmaMax', sigmaMax);
    return new NoiseSchedule('edm', edmCurve(), sigmaMax, sigmaMin);
  }

  /** log alpha_t; -Infinity at a noise end. RangeError outside of {@link range}, as for every function of t here. */
  logAlpha(t: number): number {
    return this.#curve.logAlpha(this.within(t));
  }

  /** alpha_t, what is left of the data: 1 to 0. */
  alpha(t: number): number {
    return this.#curve.alpha(this.within(t));
  }

  /** sigma_t, the standard deviation of the noise. */
  sigma(t: number): number {
    return this.#curve.sigma(this.within(t));
  }

  /** log(alpha_t / sigma_t); Infinity at a clean end, -Infinity at a noise end. */
  lambda(t: number): number {
    return this.#curve.lambda(this.within(t));
  }

  /**
   * The time at which lambda_t = lambda; Infinity and -Infinity give the end, where the schedule has it. A lambda of a
   * rounding error outside of the schedule gives its end.
   *
   * @throws RangeError where the schedule has no such time
   */
  inverseLambda(lambda: number): number {
    if (typeof lambda !== 'number') throw wrongType('a number', 'lambda', lambda);
    const [low, high] = this.range;
    const most = this.#curve.lambda(low);
    const least = this.#curve.lambda(high);
    if (!(lambda <= most + ROUNDING * (1 + Math.abs(most)) && lambda >= least - ROUNDING * (1 + Math.abs(least)))) {
      throw new RangeError(
        `Expected a lambda between ${least} and ${most} but received ${lambda}, which is outside the schedule`,
      );
    }
    if (lambda >= most) return low;
    if (lambda <= least) return high;
    return Math.min(Math.max(this.#curve.inverseLambda(lambda), low), high);
  }

  /** What the network is given for t: a training label (fractions allowed), t itself or sigma, by kind of schedule. */
  modelTime(t: number): number {
    return this.#curve.modelTime(this.within(t));
  }

  /** alpha, sigma, lambda and what kind of end, if any, t is. */
  node(t: number): ScheduleNode {
    const inside = this.within(t);
    const lambda = this.#curve.lambda(inside);
    // The curves give an infinite lambda at their ends and nowhere else, so this is the kind of time and no threshold.
    const end = lambda === Infinity ? 1 : lambda === -Infinity ? 2 : 0;
    return { alpha: this.#curve.alpha(inside), sigma: this.#curve.sigma(inside), lambda, end };
  }

  /**
   * t itself, or the end where t is a rounding error outside of it.
   *
   * @param name what t is, for the error
   * @throws TypeError for anything but a number; RangeError outside of {@link range}
   */
  within(t: number, name = 't'): number {
    if (typeof t !== 'number') throw wrongType('a number', name, t);
    const [low, high] = this.range;
    if (t >= low && t <= high) return t;
    if (t < low && low - t <= ROUNDING * low) return low;
    if (t > high && t - high <= ROUNDING * high) return high;
    const most = high === Number.MAX_VALUE ? 'Infinity' : high;
    throw new RangeError(
      `Expected a time between ${low} and ${most} for ${name} but received ${t}, which is outside the schedule`,
    );
  }

  static #discrete(logAlphas: Float64Array, count: number, label: (t: number) => number): NoiseSchedule {
    const curve = discreteCurve(logAlphas, count, (t) => whole(label(t)));
    return new NoiseSchedule('discrete', curve, curve.high, curve.low);
  }
}

/** log alpha_n = sum of log(1 - beta_i) / 2 over i <= n; -Infinity in the end where the last beta is 1. */
function logAlphasOfBetas(source: ArrayLike<number>): Float64Array {
  const betas = numbers(source, 'betas');
  const last = betas.length - 1;
  let sum = 0;
  let lost = 0;
  return betas.map((beta, i) => {
    if (!(beta > 0 && (beta < 1 || (beta === 1 && i === last)))) {
      throw outOfRange('numbers between 0 and 1', 'betas', beta, ` at index ${i}`);
    }
    // Compensated: what the rounded sum lost is kept beside it.
    const term = 0.5 * Math.log1p(-beta);
    const next = sum + term;
    if (next === -Infinity) return next;
    lost += Math.abs(sum) >= Math.abs(term) ? sum - next + term : term - next + sum;
    sum = next;
    return sum + lost;
  });
}

/** log alpha_n = log(alphaBar_n) / 2; -Infinity in the end where the last one is 0. */
function logAlphasOfAlphasCumprod(source: ArrayLike<number>): Float64Array {
  const alphasCumprod = numbers(source, 'alphasCumprod');
  const last = alphasCumprod.length - 1;
  return alphasCumprod.map((product, i) => {
    if (!(product < 1 && (product > 0 || (product === 0 && i === last)))) {
      throw outOfRange('numbers between 0 and 1', 'alphasCumprod', product, ` at index ${i}`);
    }
    if (i > 0 && !(product < alphasCumprod[i - 1])) {
      throw outOfRange('strictly decreasing numbers', 'alphasCumprod', product, ` at index ${i}`);
    }
    return 0.5 * Math.log(product);
  });
}

/** Training labels are whole numbers: (n + 1) / N * N - 1 must not come out as n - 1e-13, which a cast would floor. */
function whole(label: number): number {
  const n = Math.round(label);
  return Math.abs(label - n) <= 16 * Number.EPSILON * (Math.abs(n) + 1) ? n + 0 : label;
}
