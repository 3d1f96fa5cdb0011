// Mixtures whose components have the same variances, quick enough for millions of evaluations.
import { Mixture, type Point } from '../error/mixture.js';

/** Samples that go through the components together: each mean that is read serves all of them. */
const TOGETHER = 4;
/** Less does not show in double precision. */
const LEAST_SHARE = 1e-17;

/**
 * As {@link Mixture}, by inner products: of log N(x; alpha m_k, v), with v = alpha^2 variance + sigma^2, what differs
 * between the components is alpha (x / v) m_k - alpha^2 (m_k / v) m_k / 2, and E[x0 | x] is
 * (alpha variance x + sigma^2 sum_k r_k m_k) / v.
 */
export class SharedMixture extends Mixture {
  readonly #variance: Float64Array;
  readonly #inverse: Float64Array;
  readonly #log: Float64Array;
  /** Of the samples that go together: x / v, log-weights by component, sums of means. */
  readonly #scaled: Float64Array;
  readonly #share: Float64Array;
  readonly #sum: Float64Array;

  /** @param variance of each dimension, the same for all components */
  constructor(size: number, weights: Float64Array, means: Float64Array, variance: Float64Array) {
    super(
      size,
      weights,
      means,
      Float64Array.from(means, (_, i) => variance[i % size]),
    );
    this.#variance = variance;
    this.#inverse = new Float64Array(size);
    this.#log = new Float64Array(weights.length);
    this.#scaled = new Float64Array(TOGETHER * size);
    this.#share = new Float64Array(TOGETHER * weights.length);
    this.#sum = new Float64Array(size);
  }

  override denoise(x: Float64Array, { alpha, sigma }: Point, out: Float64Array): void {
    const { size, components, weights, means } = this;
    const [inverse, log] = [this.#inverse, this.#log];
    for (let d = 0; d < size; d++) inverse[d] = 1 / (alpha * alpha * this.#variance[d] + sigma * sigma);
    for (let k = 0; k < components; k++) {
      let square = 0;
      for (let d = 0; d < size; d++) square += means[k * size + d] ** 2 * inverse[d];
      log[k] = Math.log(weights[k]) - 0.5 * alpha * alpha * square;
    }
    const count = x.length / size;
    for (let first = 0; first < count; first += TOGETHER) {
      const samples = Math.min(TOGETHER, count - first);
      this.#logWeights(x, first, samples, alpha);
      for (let s = 0; s < samples; s++) this.#expect(x, first + s, s, { alpha, sigma }, out);
    }
  }

  /** Those of `samples` from `first` on; of the last ones there may be fewer than TOGETHER. */
  #logWeights(x: Float64Array, first: number, samples: number, alpha: number): void {
    const { size, components, means } = this;
    const [scaled, inverse, log, share] = [this.#scaled, this.#inverse, this.#log, this.#share];
    for (let s = 0; s < samples; s++) {
      for (let d = 0; d < size; d++) scaled[s * size + d] = x[(first + s) * size + d] * inverse[d];
    }
    for (let k = 0; k < components; k++) {
      const row = k * size;
      let a = 0;
      let b = 0;
      let c = 0;
      let e = 0;
      for (let d = 0; d < size; d++) {
        const mean = means[row + d];
        a += mean * scaled[d];
        b += mean * scaled[size + d];
        c += mean * scaled[2 * size + d];
        e += mean * scaled[3 * size + d];
      }
      share[k] = log[k] + alpha * a;
      share[components + k] = log[k] + alpha * b;
      share[2 * components + k] = log[k] + alpha * c;
      share[3 * components + k] = log[k] + alpha * e;
    }
  }

  /** E[x0 | x] of sample `at`, the s-th of those that go together. */
  #expect(x: Float64Array, at: number, s: number, { alpha, sigma }: Point, out: Float64Array): void {
    const { size, components, means } = this;
    const [share, sum, variance, inverse] = [this.#share, this.#sum, this.#variance, this.#inverse];
    const from = s * components;
    let most = Number.NEGATIVE_INFINITY;
    for (let k = from; k < from + components; k++) if (share[k] > most) most = share[k];
    let total = 0;
    for (let k = from; k < from + components; k++) {
      share[k] = Math.exp(share[k] - most);
      total += share[k];
    }
    sum.fill(0);
    for (let k = 0; k < components; k++) {
      const part = share[from + k] / total;
      if (part < LEAST_SHARE) continue;
      const row = k * size;
      for (let d = 0; d < size; d++) sum[d] += part * means[row + d];
    }
    const begin = at * size;
    const noise = sigma * sigma;
    for (let d = 0; d < size; d++) {
      out[begin + d] = (alpha * variance[d] * x[begin + d] + noise * sum[d]) * inverse[d];
    }
  }
}

/** The same mixture, quick where its components allow it. */
export function quick(mixture: Mixture): Mixture {
  const { size, weights, means, variances } = mixture;
  if (!variances.every((variance, i) => variance === variances[i % size])) return mixture;
  return new SharedMixture(size, weights, means, variances.slice(0, size));
}
