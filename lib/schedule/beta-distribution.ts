// Quantiles of the beta distribution, for the 'beta' grid.

/**
 * The x in [0, 1] below which a fraction p of the Beta(a, b) distribution lies: the inverse of the regularised
 * incomplete beta function, I_x(a, b) = p. Relative error about 1e-14, near 0 and (in 1 - x) near 1 alike.
 *
 * @param p in [0, 1]
 * @param a above 0
 * @param b above 0
 */
export function betaQuantile(p: number, a: number, b: number): number {
  if (p <= 0) return 0;
  if (p >= 1) return 1;
  // The continued fraction converges fast below this x, and that of the mirrored distribution above. The two halves
  // add up to the complete beta function, which therefore needs no gamma function.
  const middle = (a + 1) / (a + b + 2);
  const lower = Math.exp(logLowerBeta(Math.log(middle), a, b));
  const upper = Math.exp(logLowerBeta(Math.log1p(-middle), b, a));
  const total = lower + upper;
  if (p <= lower / total) return solve(Math.log(p) + Math.log(total), Math.log(middle), a, b);
  return 1 - solve(Math.log(1 - p) + Math.log(total), Math.log1p(-middle), b, a);
}

/** The x <= exp(logMiddle) with logLowerBeta(log x) = target, by Newton's method in log x within a shrinking bracket. */
function solve(target: number, logMiddle: number, a: number, b: number): number {
  // (1 - t)^(b-1) lies between 1 and its value at the middle, which brackets the integral of t^(a-1) (1 - t)^(b-1).
  const bend = (b - 1) * Math.log(-Math.expm1(logMiddle));
  const first = (target + Math.log(a)) / a;
  let low = first - Math.max(bend, 0) / a - 1e-9;
  let high = Math.min(logMiddle, first - Math.min(bend, 0) / a + 1e-9);
  let y = Math.min(Math.max(first, low), high);
  for (let i = 0; i < 100; i++) {
    const value = logLowerBeta(y, a, b);
    const miss = value - target;
    if (miss > 0) high = y;
    else low = y;
    // d log B_x / d log x = x^a (1 - x)^(b-1) / B_x, close to a throughout: Newton's steps are good from the start.
    const slope = Math.exp(a * y + (b - 1) * Math.log(-Math.expm1(y)) - value);
    let next = y - miss / slope;
    if (!(next >= low && next <= high)) next = (low + high) / 2;
    if (Math.abs(next - y) <= 1e-16 * (1 + Math.abs(y))) return Math.exp(next);
    y = next;
  }
  return Math.exp(y);
}

/**
 * log of the integral of t^(a-1) (1 - t)^(b-1) over [0, x], by the continued fraction of DLMF 8.17.22 in Lentz's
 * method. x is given as log x, at most log((a + 1) / (a + b + 2)).
 */
function logLowerBeta(logX: number, a: number, b: number): number {
  const x = Math.exp(logX);
  let c = 1;
  let d = 1 / (1 - ((a + b) * x) / (a + 1));
  let fraction = d;
  for (let m = 1; m < 10000; m++) {
    const even = (m * (b - m) * x) / ((a + 2 * m - 1) * (a + 2 * m));
    d = 1 / (1 + even * d);
    c = 1 + even / c;
    fraction *= d * c;
    const odd = (-(a + m) * (a + b + m) * x) / ((a + 2 * m) * (a + 2 * m + 1));
    d = 1 / (1 + odd * d);
    c = 1 + odd / c;
    fraction *= d * c;
    if (Math.abs(d * c - 1) < Number.EPSILON) break;
  }
  return a * logX + b * Math.log1p(-x) + Math.log(fraction) - Math.log(a);
}
