// What bench/error measures with: mixtures, the exact solution and the baselines, against closed forms.
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { ancestral, evenTimes, fixed, noisePower, RK2, RK3, rk45 } from '../../bench/error/baselines.js';
import { Mixture, normal, pointOf } from '../../bench/error/mixture.js';
import { exact, lambdaEnd, lambdaStart, PROBLEMS, pointAt } from '../../bench/error/problems.js';
import { assertClose } from '../support.js';

const MEAN = Float64Array.of(0.3, -1.2);
const DEVIATION = Float64Array.of(0.5, 0.08);
const one = new Mixture(2, Float64Array.of(1), MEAN, DEVIATION.map((s) => s * s)); // biome-ignore format: one line reads better
const x = Float64Array.of(0.7, -0.2, -1.9, 1.1, 0, 2.5);

/** On the probability flow of a normal distribution a sample keeps its place: (x - alpha mean) / deviation. */
function moved(from: number, to: number): Float64Array {
  const [a, b] = [pointOf(from), pointOf(to)];
  return x.map((value, i) => {
    const [mean, s] = [MEAN[i % 2], DEVIATION[i % 2]];
    const ratio = Math.hypot(b.alpha * s, b.sigma) / Math.hypot(a.alpha * s, a.sigma);
    return b.alpha * mean + (value - a.alpha * mean) * ratio;
  });
}

test('the exact solution is that of a normal distribution, both ways', () => {
  for (const [from, to] of [
    [lambdaStart, lambdaEnd],
    [lambdaEnd, lambdaStart],
  ]) {
    assertClose(exact(one, x, from, to, 60), moved(from, to), { rtol: 1e-11, scale: 'max' });
  }
});

test("a mixture's noise is minus sigma times the score", () => {
  const { mixture } = PROBLEMS[0];
  const { weights, means, variances } = mixture;
  const logDensity = (y: readonly number[], alpha: number, sigma: number) =>
    Math.log(
      weights.reduce((sum, weight, k) => {
        let term = weight;
        for (const d of [0, 1]) {
          const v = alpha ** 2 * variances[2 * k + d] + sigma ** 2;
          term *= Math.exp(-((y[d] - alpha * means[2 * k + d]) ** 2) / (2 * v)) / Math.sqrt(v);
        }
        return sum + term;
      }, 0),
    );
  for (const lambda of [-2, 0.3, 2]) {
    const { alpha, sigma } = pointOf(lambda);
    const noise = mixture.noise(Float64Array.of(0.4, -0.7), { alpha, sigma });
    const h = 1e-5;
    const slopes = [
      [h, 0],
      [0, h],
    ].map(
      ([a, b]) =>
        (logDensity([0.4 + a, -0.7 + b], alpha, sigma) - logDensity([0.4 - a, -0.7 - b], alpha, sigma)) / (2 * h),
    );
    assertClose(noise, slopes.map((slope) => -sigma * slope), { rtol: 1e-7, atol: 1e-8 }); // biome-ignore format: one line reads better
  }
});

test('Runge-Kutta methods have their order, and RK45 its tolerance', () => {
  const end = moved(lambdaStart, lambdaEnd);
  const error = (data: Float64Array) => data.reduce((most, value, i) => Math.max(most, Math.abs(value - end[i])), 0);
  for (const [tableau, order] of [
    [RK2, 2],
    [RK3, 3],
  ] as const) {
    for (const variable of ['t', 'lambda'] as const) {
      const [rough, fine] = [960, 1920].map((nfe) => error(fixed(one, x, tableau, variable, nfe).data));
      const found = Math.log2(rough / fine);
      assert.ok(Math.abs(found - order) < 0.2, `RK${order} (${variable}): ${found}`);
    }
  }
  const errors = [1e-4, 1e-6, 1e-8].map((tolerance) => error(rk45(one, x, tolerance).data));
  assert.ok(errors[0] < 1e-3 && errors[1] < 1e-5 && errors[2] < 1e-7, errors.join(' '));
});

// Bao et al. 2022: the optimal variance makes every step of the reverse process exact for a normal distribution.
test("Analytic-DPM draws exactly from a normal distribution in three steps, DDPM's variance is too small", () => {
  const [n, steps, deviation] = [20000, 3, 0.5];
  const mixture = new Mixture(1, Float64Array.of(1), Float64Array.of(0), Float64Array.of(deviation ** 2));
  const start = mixture.draw(n, 1, pointOf(lambdaStart));
  const { alpha, sigma } = pointOf(lambdaEnd);
  const share = (data: Float64Array) =>
    data.reduce((sum, value) => sum + value * value, 0) / n / ((alpha * deviation) ** 2 + sigma ** 2);
  // E noise^2, whose estimate's error counts times (alpha_s / alpha_t)^2: here as it is, the estimate apart.
  const times = evenTimes(steps).slice(0, steps);
  const power = times.map((t) => {
    const point = pointAt(t);
    return point.sigma ** 2 / ((point.alpha * deviation) ** 2 + point.sigma ** 2);
  });
  assertClose(noisePower(mixture, times, 20000, 5), power, { rtol: 0.05 });
  // The standard deviation of a variance of 20,000 draws is 1%.
  const analytic = share(ancestral(mixture, start, steps, normal(2), power));
  assert.ok(Math.abs(analytic - 1) < 0.04, String(analytic));
  const ddpm = share(ancestral(mixture, start, steps, normal(2)));
  assert.ok(ddpm < 0.7, String(ddpm));
});

test.run();
