// alpha_t, sigma_t and lambda_t = log(alpha_t / sigma_t) of each noise schedule, as functions that check nothing: the
// caller stays within [low, high]. Every form is chosen so that no two nearly equal numbers are subtracted. The ends
// come out exact: sigma = 0 and lambda = Infinity at a clean one, alpha = 0 and lambda = -Infinity at a noise one.

/** One noise schedule as pure functions of the time t in [low, high]; lambda falls as t grows. */
export interface Curve {
  readonly low: number;
  readonly high: number;
  logAlpha(t: number): number;
  alpha(t: number): number;
  sigma(t: number): number;
  lambda(t: number): number;
  /** The time with this lambda, which lies between lambda(high) and lambda(low); may be a rounding error outside. */
  inverseLambda(lambda: number): number;
  /** What the network is given for t. */
  modelTime(t: number): number;
}

/** alpha, sigma and lambda of a variance-preserving schedule (alpha^2 + sigma^2 = 1), all from log alpha. */
function variancePreserving(logAlpha: (t: number) => number): Pick<Curve, 'logAlpha' | 'alpha' | 'sigma' | 'lambda'> {
  // sigma^2 = 1 - exp(2 log alpha); "0 -" and not a sign, so that the clean end is 0 and not -0.
  const variance = (l: number) => 0 - Math.expm1(2 * l);
  return {
    logAlpha,
    alpha: (t) => Math.exp(logAlpha(t)),
    sigma: (t) => Math.sqrt(variance(logAlpha(t))),
    lambda: (t) => {
      const l = logAlpha(t);
      return l - 0.5 * Math.log(variance(l));
    },
  };
}

/** -2 log alpha = log(1 + exp(-2 lambda)) of a variance-preserving schedule; overflows nowhere. */
function minusTwoLogAlpha(lambda: number): number {
  const x = -2 * lambda;
  return Math.max(x, 0) + Math.log1p(Math.exp(-Math.abs(x)));
}

/** log alpha = -t^2 (beta1 - beta0) / 4 - t beta0 / 2. Song et al. 2021, "Score-Based Generative Modeling through SDEs". */
export function linearCurve(beta0: number, beta1: number): Curve {
  const slope = beta1 - beta0;
  return {
    low: 0,
    high: 1,
    ...variancePreserving((t) => 0 - t * (0.25 * t * slope + 0.5 * beta0)),
    inverseLambda: (lambda) => {
      // The positive root of slope t^2 / 2 + beta0 t = log(1 + e^(-2 lambda)), with the root in the denominator.
      const g = minusTwoLogAlpha(lambda);
      return (2 * g) / (Math.sqrt(beta0 * beta0 + 2 * slope * g) + beta0);
    },
    modelTime: (t) => t,
  };
}

/**
 * alpha = cos(a + d) / cos a, where a = pi/2 s / (1 + s) and d = pi/2 t / (1 + s). Nichol & Dhariwal 2021, "Improved
 * Denoising Diffusion Probabilistic Models", the cosine schedule; in continuous time Lu et al. 2022, "DPM-Solver".
 */
export function cosineCurve(s: number, high: number): Curve {
  const scale = Math.PI / 2 / (1 + s);
  const a = scale * s;
  const sinA = Math.sin(a);
  // cos a = sin(pi/2 - a): exact where a large s brings a close to pi/2.
  const cosA = Math.sin(scale);
  const tanA = sinA / cosA;
  const logAlpha = (t: number) => {
    const d = scale * t;
    const half = Math.sin(d / 2);
    const oneMinusAlpha = 2 * half * half + tanA * Math.sin(d);
    // Near the data alpha is 1 - something small, near the noise a small sine of the angle left to pi/2.
    return oneMinusAlpha < 0.5 ? Math.log1p(-oneMinusAlpha) : Math.log(Math.sin(scale * (1 - t)) / cosA);
  };
  return {
    low: 0,
    high,
    ...variancePreserving((t) => (t === 0 ? 0 : logAlpha(t))),
    inverseLambda: (lambda) => {
      // With theta = a + d and cos theta = alpha cos a:  sin theta = sqrt(sin^2 a + sigma^2 cos^2 a), and
      // sin d = cos a (sin theta - alpha sin a) = cos a sigma^2 / (sin theta + alpha sin a). An arccos of alpha cos a
      // would lose half of the digits near the data.
      const alpha = 1 / Math.sqrt(1 + Math.exp(-2 * lambda));
      const variance = 1 / (1 + Math.exp(2 * lambda));
      const sinTheta = Math.sqrt(sinA * sinA + variance * cosA * cosA);
      const sinD = (cosA * variance) / (sinTheta + alpha * sinA);
      const cosD = alpha * cosA * cosA + sinTheta * sinA;
      return Math.atan2(sinD, cosD) / scale;
    },
    modelTime: (t) => t,
  };
}

/**
 * sigma = s t / (1 + (s - 1) t) and alpha = 1 - sigma. Liu et al. 2022, "Flow Straight and Fast"; the shift s is that
 * by resolution of Esser et al. 2024, "Scaling Rectified Flow Transformers". It moves lambda by -log s. The network gets
 * sigma.
 */
export function flowCurve(s: number): Curve {
  // 1 + (s - 1) t, as a sum of two positive numbers.
  const denominator = (t: number) => 1 - t + s * t;
  const alpha = (t: number) => (1 - t) / denominator(t);
  const sigma = (t: number) => (s * t) / denominator(t);
  return {
    low: 0,
    high: 1,
    logAlpha: (t) => {
      const sigmaT = sigma(t);
      return sigmaT < 0.5 ? 0 + Math.log1p(-sigmaT) : Math.log(alpha(t));
    },
    alpha,
    sigma,
    lambda: (t) => Math.log1p(-t) - Math.log(t) - Math.log(s),
    inverseLambda: (lambda) => {
      if (lambda > 0) {
        const e = Math.exp(-lambda);
        return e / (s + e);
      }
      return 1 / (1 + s * Math.exp(lambda));
    },
    modelTime: sigma,
  };
}

/** alpha = 1 and sigma = t. Karras et al. 2022, "Elucidating the Design Space of Diffusion-Based Generative Models". */
export function edmCurve(): Curve {
  return {
    low: 0,
    high: Number.MAX_VALUE,
    logAlpha: () => 0,
    alpha: () => 1,
    sigma: (t) => t,
    lambda: (t) => 0 - Math.log(t),
    inverseLambda: (lambda) => Math.exp(-lambda),
    modelTime: (t) => t,
  };
}

/**
 * log alpha piecewise linear in t through logAlphas[n] at t_n = (n + 1) / count, n < logAlphas.length; the discrete-time
 * schedule of Lu et al. 2022, "DPM-Solver". Where the last entry is -Infinity (zero terminal SNR), it is
 * alpha and not log alpha that is linear between the last two nodes: still continuous and monotone.
 */
export function discreteCurve(logAlphas: Float64Array, count: number, modelTime: (t: number) => number): Curve {
  const last = logAlphas.length - 1;
  const noiseEnd = logAlphas[last] === -Infinity;
  const high = (last + 1) / count;
  const logAlpha = (t: number) => {
    const place = Math.min(Math.max(t * count - 1, 0), last);
    const n = Math.min(Math.floor(place), last - 1);
    // high - t is exact here: alpha keeps its relative precision down to 0.
    if (noiseEnd && n === last - 1) return logAlphas[n] + Math.log(Math.min((high - t) * count, 1));
    const w = place - n;
    return logAlphas[n] * (1 - w) + logAlphas[n + 1] * w;
  };
  return {
    low: 1 / count,
    high,
    ...variancePreserving(logAlpha),
    inverseLambda: (lambda) => {
      const l = -0.5 * minusTwoLogAlpha(lambda);
      // The segment [n, n + 1] with logAlphas[n] >= l > logAlphas[n + 1].
      let n = 0;
      let above = last;
      while (above - n > 1) {
        const middle = (n + above) >> 1;
        if (logAlphas[middle] >= l) n = middle;
        else above = middle;
      }
      if (noiseEnd && n === last - 1) return high - Math.exp(l - logAlphas[n]) / count;
      return (n + 1 + (logAlphas[n] - l) / (logAlphas[n] - logAlphas[n + 1])) / count;
    },
    modelTime,
  };
}
