// How strongly the prior holds: found by leaving samples out. Within the linear model that the normal equations are, what a
// student fitted to some samples does to the others is known without running it.
import type { Equations } from './equations.js';
import { solveSymmetric } from './linear.js';

/** Parts that the samples are split into, each left out once. */
const FOLDS = 8;
/** Strengths that are tried, by the mean square of what is left. */
const STRENGTHS = [1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 3e-2, 1e-1, 3e-1, 1, 3];

/** A weighted sum of samples' equations. */
export function sumOf(equations: readonly Equations[], weights: readonly number[]): Equations {
  const [{ A: first, b: rest }] = equations;
  const A = new Float64Array(first.length);
  const b = new Float64Array(rest.length);
  let square = 0;
  equations.forEach((one, s) => {
    const w = weights[s];
    for (let i = 0; i < A.length; i++) A[i] += w * one.A[i];
    for (let i = 0; i < b.length; i++) b[i] += w * one.b[i];
    square += w * one.square;
  });
  return { A, b, square };
}

/**
 * The step that minimises |r + J d|^2 + strength |(strains + d) / deviations|^2, damped as Marquardt has it (1963: by the
 * diagonal), or null where it has no solution.
 */
export function stepOf(
  { A, b }: Pick<Equations, 'A' | 'b'>,
  {
    strength,
    strains,
    deviations,
    damping,
  }: { strength: number; strains: Float64Array; deviations: Float64Array; damping: number },
): Float64Array | null {
  const P = b.length;
  const left = A.slice();
  const right = b.slice();
  for (let i = 0; i < P; i++) {
    const held = strength / deviations[i] ** 2;
    left[i * P + i] = (left[i * P + i] + held) * (1 + damping);
    right[i] -= (strength / deviations[i]) * strains[i];
  }
  return solveSymmetric(left, right);
}

/**
 * The strength under which what is left of samples that were left out is least, by the mean over the folds.
 *
 * @param weights of the samples
 */
export function chooseStrength(
  equations: readonly Equations[],
  weights: readonly number[],
  prior: { strains: Float64Array; deviations: Float64Array; damping: number },
): number {
  const total = sumOf(equations, weights);
  const folds = Array.from({ length: Math.min(FOLDS, equations.length) }, (_, f) => {
    const inside = equations.map((_, s) => s % FOLDS === f);
    return sumOf(
      equations,
      weights.map((w, s) => (inside[s] ? w : 0)),
    );
  });
  const unit = total.square;
  let best = { strength: STRENGTHS[STRENGTHS.length - 1] * unit, loss: Infinity };
  for (const share of STRENGTHS) {
    const strength = share * unit;
    let loss = 0;
    for (const fold of folds) {
      const rest = { A: total.A.map((a, i) => a - fold.A[i]), b: total.b.map((b, i) => b - fold.b[i]) };
      const step = stepOf(rest, { ...prior, strength });
      loss += step ? leftAfter(fold, step) : Infinity;
    }
    // The weaker of two that do alike would be the less certain one.
    if (loss <= best.loss) best = { strength, loss };
  }
  return best.strength;
}

/** |r + J d|^2 */
export function leftAfter({ A, b, square }: Equations, step: Float64Array): number {
  const P = step.length;
  let sum = square;
  for (let i = 0; i < P; i++) {
    sum += step[i] * (A[i * P + i] * step[i] - 2 * b[i]);
    for (let j = 0; j < i; j++) sum += 2 * step[i] * A[i * P + j] * step[j];
  }
  return sum;
}
