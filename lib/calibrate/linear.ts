// Symmetric systems of a few dozen unknowns.

/**
 * The solution of A x = b by Cholesky's factorisation (Golub & Van Loan, Matrix Computations, 4.2.5), or null where A is
 * not positive definite to rounding.
 *
 * @param a n x n, symmetric, row by row; only its lower triangle is read, and nothing is written
 */
export function solveSymmetric(a: Float64Array, b: ArrayLike<number>): Float64Array | null {
  const n = b.length;
  const l = a.slice();
  for (let j = 0; j < n; j++) {
    for (let i = j; i < n; i++) {
      let sum = l[i * n + j];
      for (let k = 0; k < j; k++) sum -= l[i * n + k] * l[j * n + k];
      if (i > j) {
        l[i * n + j] = sum / l[j * n + j];
        continue;
      }
      if (!(sum > 0)) return null;
      l[j * n + j] = Math.sqrt(sum);
    }
  }
  const x = Float64Array.from(b);
  for (let i = 0; i < n; i++) {
    for (let k = 0; k < i; k++) x[i] -= l[i * n + k] * x[k];
    x[i] /= l[i * n + i];
  }
  for (let i = n - 1; i >= 0; i--) {
    for (let k = i + 1; k < n; k++) x[i] -= l[k * n + i] * x[k];
    x[i] /= l[i * n + i];
  }
  return x.every(Number.isFinite) ? x : null;
}
