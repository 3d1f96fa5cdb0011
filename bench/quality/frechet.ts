// The Frechet distance between two normal distributions with the means and covariances of two sets of features:
// |m1 - m2|^2 + tr(C1 + C2 - 2 (C1^(1/2) C2 C1^(1/2))^(1/2)) (Dowson & Landau 1982; as FID in Heusel et al. 2017).

/** Mean and covariance of rows of `width` numbers. */
export interface Moments {
  mean: Float64Array;
  /** width x width, row by row. */
  covariance: Float64Array;
}

/** @param picks which rows count, how often; all once where absent */
export function momentsOf(rows: Float32Array, width: number, picks?: Int32Array): Moments {
  const count = picks ? picks.length : rows.length / width;
  const mean = new Float64Array(width);
  for (let k = 0; k < count; k++) {
    const at = (picks ? picks[k] : k) * width;
    for (let i = 0; i < width; i++) mean[i] += rows[at + i];
  }
  for (let i = 0; i < width; i++) mean[i] /= count;
  const covariance = new Float64Array(width * width);
  const centred = new Float64Array(width);
  for (let k = 0; k < count; k++) {
    const at = (picks ? picks[k] : k) * width;
    for (let i = 0; i < width; i++) centred[i] = rows[at + i] - mean[i];
    for (let i = 0; i < width; i++) {
      const c = centred[i];
      for (let j = 0; j <= i; j++) covariance[i * width + j] += c * centred[j];
    }
  }
  for (let i = 0; i < width; i++) {
    for (let j = 0; j <= i; j++) {
      covariance[i * width + j] /= count - 1;
      covariance[j * width + i] = covariance[i * width + j];
    }
  }
  return { mean, covariance };
}

/**
 * Eigenvalues, and eigenvectors as columns where asked for, of a symmetric matrix, by Jacobi's rotations (Golub & Van
 * Loan, Matrix Computations, 8.5).
 */
export function eigen(
  matrix: Float64Array,
  n: number,
  vectors = true,
): { values: Float64Array; columns: Float64Array } {
  const a = Float64Array.from(matrix);
  const v = new Float64Array(vectors ? n * n : 0);
  if (vectors) for (let i = 0; i < n; i++) v[i * n + i] = 1;
  const norm = Math.sqrt(a.reduce((sum, x) => sum + x * x, 0));
  for (let sweep = 0; sweep < 60; sweep++) {
    let off = 0;
    for (let i = 0; i < n; i++) for (let j = 0; j < i; j++) off += a[i * n + j] ** 2;
    if (Math.sqrt(2 * off) <= 1e-14 * norm) break;
    for (let p = 0; p < n - 1; p++) {
      for (let q = p + 1; q < n; q++) {
        const apq = a[p * n + q];
        if (Math.abs(apq) <= 1e-17 * norm) continue;
        const theta = (a[q * n + q] - a[p * n + p]) / (2 * apq);
        const t = (theta >= 0 ? 1 : -1) / (Math.abs(theta) + Math.sqrt(theta * theta + 1));
        const c = 1 / Math.sqrt(t * t + 1);
        const s = t * c;
        for (let k = 0; k < n; k++) {
          const x = a[p * n + k];
          const y = a[q * n + k];
          a[p * n + k] = c * x - s * y;
          a[q * n + k] = s * x + c * y;
        }
        for (let k = 0; k < n; k++) {
          const x = a[k * n + p];
          const y = a[k * n + q];
          a[k * n + p] = c * x - s * y;
          a[k * n + q] = s * x + c * y;
          if (vectors) {
            const vx = v[k * n + p];
            const vy = v[k * n + q];
            v[k * n + p] = c * vx - s * vy;
            v[k * n + q] = s * vx + c * vy;
          }
        }
      }
    }
  }
  return { values: Float64Array.from({ length: n }, (_, i) => a[i * n + i]), columns: v };
}

/** The square root of a covariance. */
function rootOf(covariance: Float64Array, n: number): Float64Array {
  const { values, columns } = eigen(covariance, n);
  const root = new Float64Array(n * n);
  for (let k = 0; k < n; k++) {
    const value = Math.sqrt(Math.max(0, values[k]));
    for (let i = 0; i < n; i++) {
      for (let j = 0; j < n; j++) root[i * n + j] += value * columns[i * n + k] * columns[j * n + k];
    }
  }
  return root;
}

function product(a: Float64Array, b: Float64Array, n: number): Float64Array {
  const c = new Float64Array(n * n);
  for (let i = 0; i < n; i++) {
    for (let k = 0; k < n; k++) {
      const x = a[i * n + k];
      for (let j = 0; j < n; j++) c[i * n + j] += x * b[k * n + j];
    }
  }
  return c;
}

/** Distances from one distribution, whose root is taken once. */
export class FrechetDistance {
  readonly #to: Moments;
  readonly #root: Float64Array;
  readonly #n: number;

  constructor(to: Moments) {
    this.#to = to;
    this.#n = to.mean.length;
    this.#root = rootOf(to.covariance, this.#n);
  }

  from({ mean, covariance }: Moments): number {
    const n = this.#n;
    let distance = 0;
    for (let i = 0; i < n; i++) {
      distance += (mean[i] - this.#to.mean[i]) ** 2 + covariance[i * n + i] + this.#to.covariance[i * n + i];
    }
    const inner = product(product(this.#root, covariance, n), this.#root, n);
    for (const value of eigen(inner, n, false).values) distance -= 2 * Math.sqrt(Math.max(0, value));
    return distance;
  }

  /**
   * The distance of a set of features, and the standard deviation of the distances of sets drawn from it with
   * replacement. Those are larger on the average, as repeated rows make any covariance of so many look narrower, so
   * that their spread and not their quantiles goes into an interval.
   */
  bootstrap(rows: Float32Array, draws: number, random: () => number): { distance: number; error: number } {
    const n = this.#n;
    const count = rows.length / n;
    const picks = new Int32Array(count);
    const distances = Array.from({ length: draws }, () => {
      for (let i = 0; i < count; i++) picks[i] = Math.floor(random() * count);
      return this.from(momentsOf(rows, n, picks));
    });
    const mean = distances.reduce((a, b) => a + b, 0) / draws;
    const error = Math.sqrt(distances.reduce((sum, d) => sum + (d - mean) ** 2, 0) / (draws - 1));
    return { distance: this.from(momentsOf(rows, n)), error };
  }
}
