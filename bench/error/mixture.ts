// Gaussian mixtures whose score is known exactly, and the noise level that everything here is measured on.

/** alpha and sigma at one time. */
export interface Point {
  readonly alpha: number;
  readonly sigma: number;
}

/** alpha and sigma from lambda = log(alpha / sigma), variance-preserving. */
export function pointOf(lambda: number): Point {
  return { alpha: 1 / Math.sqrt(1 + Math.exp(-2 * lambda)), sigma: 1 / Math.sqrt(1 + Math.exp(2 * lambda)) };
}

/** Uniform numbers in (0, 1) from a seed: mulberry32. */
export function uniform(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let z = Math.imul(state ^ (state >>> 15), state | 1);
    z = (z + Math.imul(z ^ (z >>> 7), z | 61)) ^ z;
    return (((z ^ (z >>> 14)) >>> 0) + 0.5) / 2 ** 32;
  };
}

/** Standard normal numbers from a seed (Box and Muller). */
export function normal(seed: number): () => number {
  const random = uniform(seed);
  let kept: number | undefined;
  return () => {
    if (kept !== undefined) {
      const value = kept;
      kept = undefined;
      return value;
    }
    const r = Math.sqrt(-2 * Math.log(random()));
    const angle = 2 * Math.PI * random();
    kept = r * Math.sin(angle);
    return r * Math.cos(angle);
  };
}

/** Components with diagonal covariances. */
export class Mixture {
  readonly components: number;
  readonly #inverse: Float64Array;
  readonly #gain: Float64Array;
  readonly #log: Float64Array;
  readonly #r: Float64Array;

  /**
   * @param size dimensions of a sample
   * @param weights of the components; they sum to 1
   * @param means, variances [components, size]
   */
  constructor(
    readonly size: number,
    readonly weights: Float64Array,
    readonly means: Float64Array,
    readonly variances: Float64Array,
  ) {
    this.components = weights.length;
    this.#inverse = new Float64Array(means.length);
    this.#gain = new Float64Array(means.length);
    this.#log = new Float64Array(this.components);
    this.#r = new Float64Array(this.components);
  }

  /** E[x0 | x] for x = alpha x0 + sigma noise; x and out are [n, size] and may be the same. */
  denoise(x: Float64Array, { alpha, sigma }: Point, out: Float64Array): void {
    const { size, components, weights, means, variances } = this;
    const [inverse, gain, log, r] = [this.#inverse, this.#gain, this.#log, this.#r];
    for (let k = 0; k < components; k++) {
      let determinant = 0;
      for (let d = k * size; d < (k + 1) * size; d++) {
        const variance = alpha * alpha * variances[d] + sigma * sigma;
        inverse[d] = 1 / variance;
        gain[d] = (alpha * variances[d]) / variance;
        determinant += Math.log(variance);
      }
      log[k] = Math.log(weights[k]) - 0.5 * determinant;
    }
    for (let begin = 0; begin < x.length; begin += size) {
      let most = -Infinity;
      for (let k = 0; k < components; k++) {
        const row = k * size;
        let square = 0;
        for (let d = 0; d < size; d++) {
          const from = x[begin + d] - alpha * means[row + d];
          square += from * from * inverse[row + d];
        }
        r[k] = log[k] - 0.5 * square;
        most = Math.max(most, r[k]);
      }
      let sum = 0;
      for (let k = 0; k < components; k++) {
        r[k] = Math.exp(r[k] - most);
        sum += r[k];
      }
      for (let k = 0; k < components; k++) r[k] = r[k] < 1e-30 * sum ? 0 : r[k] / sum;
      for (let d = 0; d < size; d++) {
        const at = x[begin + d];
        let x0 = 0;
        for (let k = 0, i = d; k < components; k++, i += size) {
          if (r[k] !== 0) x0 += r[k] * (means[i] + gain[i] * (at - alpha * means[i]));
        }
        out[begin + d] = x0;
      }
    }
  }

  /** The noise that belongs to it, (x - alpha E[x0 | x]) / sigma: minus sigma times the score. */
  noise(x: Float64Array, point: Point, out: Float64Array = new Float64Array(x.length)): Float64Array {
    const { alpha, sigma } = point;
    const from = out === x ? x.slice() : x;
    this.denoise(from, point, out);
    for (let i = 0; i < x.length; i++) out[i] = (from[i] - alpha * out[i]) / sigma;
    return out;
  }

  /** Draws from the distribution of alpha x0 + sigma noise: [n, size]. */
  draw(n: number, seed: number, { alpha, sigma }: Point): Float64Array {
    const { size, weights, means, variances } = this;
    const pick = uniform(seed);
    const gauss = normal(seed + 0x9e3779b9);
    const out = new Float64Array(n * size);
    for (let b = 0; b < n; b++) {
      let u = pick();
      let k = 0;
      while (k < weights.length - 1 && u >= weights[k]) u -= weights[k++];
      for (let d = 0; d < size; d++) {
        const i = k * size + d;
        out[b * size + d] = alpha * means[i] + Math.sqrt(alpha * alpha * variances[i] + sigma * sigma) * gauss();
      }
    }
    return out;
  }
}
