// The rows of UniPC, DDIM, PNDM and EDM against what defines them.
import fc from 'fast-check';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import {
  ddimRow,
  END,
  edmPredictionRow,
  keepNoise,
  lmsRow,
  type Node,
  pndmRow,
  predictionRow,
  ROW,
  STATUS,
  SUM,
  saSolverRow,
  uniPCRow,
  updateRow,
} from '../../lib/addon/coefficients.js';
import { assertClose, check } from '../support.js';

const node = (lambda: number): Node => {
  const alpha = 1 / Math.sqrt(1 + Math.exp(-2 * lambda));
  return { alpha, sigma: alpha * Math.exp(-lambda), lambda };
};
const CLEAN: Node = { alpha: 1, sigma: 0, lambda: Infinity, end: END.clean };
const NOISE: Node = { alpha: 0, sigma: 1, lambda: -Infinity, end: END.noise };

/** The exact step where the prediction is f(lambda): x_t = a x + gain times the integral, by Gauss-Legendre. */
function exact(form: 'data' | 'noise', from: Node, to: Node, x: number, f: (lambda: number) => number): number {
  const points = [
    0.1252334085114689, 0.3678314989981802, 0.5873179542866175, 0.7699026741943047, 0.9041172563704749,
    0.9815606342467192,
  ];
  const weights = [
    0.2491470458134028, 0.2334925365383548, 0.2031674267230659, 0.1600783285433462, 0.1069393259953184,
    0.0471753363865118,
  ];
  const half = (to.lambda - from.lambda) / 2;
  let sum = 0;
  points.forEach((p, i) => {
    for (const q of [-p, p]) {
      const lambda = from.lambda + half * (1 + q);
      const kernel = form === 'data' ? Math.exp(lambda - to.lambda) : Math.exp(to.lambda - lambda);
      sum += weights[i] * kernel * f(lambda);
    }
  });
  if (form === 'data') return (to.sigma / from.sigma) * x + to.alpha * half * sum;
  return (to.alpha / from.alpha) * x - to.sigma * half * sum;
}

const rows = new Float64Array(ROW.length);
const sum = (at: number, base: number, p: number, d: readonly number[]) =>
  rows[at + SUM.a] * base +
  rows[at + SUM.bp] * p +
  rows[at + SUM.b1] * d[0] +
  rows[at + SUM.b2] * d[1] +
  rows[at + SUM.b3] * d[2];

test('UniPC integrates polynomials in lambda: the predictor of degree p - 1, the corrector of degree p', async () => {
  const gap = fc.double({ min: 0.05, max: 0.8, noNaN: true });
  await check(
    fc.property(
      fc.constantFrom('data' as const, 'noise' as const),
      fc.constantFrom('bh1' as const, 'bh2' as const),
      fc.tuple(gap, gap, gap, gap),
      fc.double({ min: -2, max: 0.5, noNaN: true }),
      fc.array(fc.double({ min: -1, max: 1, noNaN: true }), { minLength: 4, maxLength: 4 }),
      (form, solverType, gaps, start, c) => {
        const lambdas = [start];
        for (const g of gaps) lambdas.push(lambdas[lambdas.length - 1] + g);
        const nodes = lambdas.map(node);
        const [n3, n2, n1, current, target] = nodes;
        const history = [n1, n2, n3];
        for (const p of [1, 3] as const) {
          const f = (lambda: number) => c.slice(0, p).reduceRight((value, k) => value * lambda + k, 0);
          const update = { form, predictorOrder: p, correctorOrder: 0, solverType, target, current, history } as const;
          assert.is(uniPCRow(rows, 0, update), STATUS.ok);
          const d = history.map((n) => f(n.lambda));
          const found = sum(ROW.first, 0.7, f(current.lambda), d);
          assertClose(found, exact(form, current, target, 0.7, f), { atol: 1e-11, rtol: 1e-11 }, `predictor ${p}`);
          assertClose(sum(ROW.second, 0.7, 9, d), 0.7, {}, 'without a corrector');
        }
        for (const p of [2, 3] as const) {
          const f = (lambda: number) => c.slice(0, p + 1).reduceRight((value, k) => value * lambda + k, 0);
          const update = { form, predictorOrder: 1, correctorOrder: p, solverType, target, current, history } as const;
          assert.is(uniPCRow(rows, 0, update), STATUS.ok);
          const d = history.map((n) => f(n.lambda));
          const corrected = sum(ROW.second, 0.7, f(current.lambda), d);
          assertClose(corrected, exact(form, n1, current, 0.7, f), { atol: 1e-11, rtol: 1e-10 }, `corrector ${p}`);
          // The predictor goes on from the corrected state.
          const next = exact(form, current, target, corrected, () => f(current.lambda));
          assertClose(sum(ROW.first, 0.7, f(current.lambda), d), next, { atol: 1e-11, rtol: 1e-10 });
        }
      },
    ),
    { numRuns: 100 },
  );
});

test('UniPC at ends and repeated nodes: the order falls, every coefficient is finite', () => {
  const [a, b] = [node(-1), node(0)];
  for (const form of ['data', 'noise'] as const) {
    for (const solverType of ['bh1', 'bh2'] as const) {
      const base = { form, predictorOrder: 3, correctorOrder: 3, solverType } as const;
      const cases: [Node, Node, Node[]][] = [
        [CLEAN, b, [a, node(-2), node(-3)]],
        [b, b, [a, node(-2), node(-3)]],
        [node(1), b, [b, a, node(-2)]],
        [node(1), b, [a, a, a]],
      ];
      if (form === 'data') cases.push([node(1), b, [NOISE, NOISE, NOISE]], [node(1), b, [a, NOISE, NOISE]]);
      for (const [target, current, history] of cases) {
        assert.is(uniPCRow(rows, 0, { ...base, target, current, history }), STATUS.ok);
        assert.ok(rows.every(Number.isFinite));
      }
    }
  }
  const update = { form: 'data', predictorOrder: 1, correctorOrder: 0, solverType: 'bh2', target: CLEAN } as const;
  uniPCRow(rows, 0, { ...update, current: b, history: [] });
  assert.equal([...rows.slice(ROW.first, ROW.first + SUM.length)], [0, 1, 0, 0, 0, 0, 0]);
  const before = rows.slice();
  const wrong = { ...update, predictorOrder: 0 as 1, current: b, history: [] };
  assert.is(uniPCRow(rows, 0, wrong), STATUS.invalid);
  assert.equal(rows, before);
});

/** The mean of the SDE's step where the prediction is f(lambda), by Simpson's rule: SA-Solver, eqs. 10 and 12. */
function mean(form: 'data' | 'noise', tau2: number, from: Node, to: Node, x: number, f: (lambda: number) => number) {
  const h = to.lambda - from.lambda;
  const n = 2000;
  let integral = 0;
  for (let i = 0; i <= n; i++) {
    const lambda = from.lambda + (h * i) / n;
    const kernel = form === 'data' ? Math.exp((1 + tau2) * (lambda - to.lambda)) : Math.exp(to.lambda - lambda);
    integral += ((i === 0 || i === n ? 1 : i % 2 === 1 ? 4 : 2) * h * kernel * f(lambda)) / (3 * n);
  }
  if (form === 'data') return (to.sigma / from.sigma) * Math.exp(-tau2 * h) * x + (1 + tau2) * to.alpha * integral;
  return (to.alpha / from.alpha) * x - (1 + tau2) * to.sigma * integral;
}

test('SA-Solver integrates polynomials in lambda: predictor and corrector of order p those of degree p - 1', async () => {
  const gap = fc.double({ min: 0.05, max: 0.8, noNaN: true });
  await check(
    fc.property(
      fc.constantFrom('data' as const, 'noise' as const),
      fc.tuple(gap, gap, gap, gap),
      fc.double({ min: -2, max: 0.5, noNaN: true }),
      fc.array(fc.double({ min: -1, max: 1, noNaN: true }), { minLength: 4, maxLength: 4 }),
      fc.constantFrom(0, 0.3, 1),
      fc.constantFrom(0, 0.5, 1),
      (form, gaps, start, c, tau2, lastTau2) => {
        const lambdas = [start];
        for (const g of gaps) lambdas.push(lambdas[lambdas.length - 1] + g);
        const [n3, n2, n1, current, target] = lambdas.map(node);
        const history = [n1, n2, n3];
        const close = { atol: 1e-8, rtol: 1e-8 };
        const base = 0.7;
        for (const predictorOrder of [1, 2, 3, 4] as const) {
          for (const correctorOrder of [0, 1, 2, 3, 4] as const) {
            const update = { form, predictorOrder, correctorOrder, tau2, lastTau2, target, current, history };
            assert.is(saSolverRow(rows, 0, update), STATUS.ok);
            const degree = Math.min(predictorOrder, correctorOrder || 4);
            const f = (lambda: number) => c.slice(0, degree).reduceRight((value, k) => value * lambda + k, 0);
            const d = history.map((n) => f(n.lambda));
            // The base of a corrector has been moved on to where P was evaluated: the mean without the integral.
            const x0 = 0.9;
            const moved = mean(form, lastTau2, n1, current, x0, () => 0);
            const corrected = correctorOrder === 0 ? base : mean(form, lastTau2, n1, current, x0, f);
            const given = correctorOrder === 0 ? base : moved;
            // The data form's one slope is that of short steps, as published.
            const slope = (order: number) => form === 'data' && order === 2;
            if (slope(predictorOrder) || slope(correctorOrder)) continue;
            const what = `${form}, predictor ${predictorOrder}, corrector ${correctorOrder}`;
            const next = mean(form, tau2, current, target, corrected, f);
            assertClose(sum(ROW.first, given, f(current.lambda), d), next, close, what);
            const kept = mean(form, tau2, current, target, corrected, () => 0);
            assertClose(sum(ROW.second, given, f(current.lambda), d), kept, close, `${what}: what is kept`);
            // The noise of the step, which is in both.
            const h = target.lambda - current.lambda;
            const n =
              form === 'data'
                ? target.sigma * Math.sqrt(1 - Math.exp(-2 * tau2 * h))
                : Math.sqrt(tau2) * target.sigma * Math.sqrt(Math.expm1(2 * h));
            assertClose(
              [rows[ROW.first + SUM.n], rows[ROW.second + SUM.n]],
              [n, n],
              { atol: 1e-14, rtol: 1e-12 },
              what,
            );
          }
        }
      },
    ),
    { numRuns: 40 },
  );
  const [a, b] = [node(0), node(1)];
  const wrong = { form: 'data', predictorOrder: 0 as 1, correctorOrder: 0, tau2: 0, lastTau2: 0 } as const;
  assert.is(saSolverRow(rows, 0, { ...wrong, target: b, current: a, history: [] }), STATUS.invalid);
  const up = { ...wrong, predictorOrder: 1, tau2: 1, target: a, current: b, history: [] } as const;
  assert.is(saSolverRow(rows, 0, up), STATUS.sdeInversion);
});

test("SA-Solver's single slope in the data form weighs (1 + tau^2) h / 2, as published", () => {
  const [n1, current, target] = [node(-1), node(-0.4), node(0.3)];
  for (const tau2 of [0, 1]) {
    const update = { form: 'data', predictorOrder: 2, correctorOrder: 0, tau2, lastTau2: 0 } as const;
    saSolverRow(rows, 0, { ...update, target, current, history: [n1] });
    const expected = (-target.alpha * (1 + tau2) * 0.7 ** 2) / 2 / 0.6;
    assertClose(rows[ROW.first + SUM.b1], expected, { rtol: 1e-12 });
  }
});

test('LMS integrates polynomials in sigma of degree order - 1, to sigma 0 as well', async () => {
  const level = fc.double({ min: 0.01, max: 2, noNaN: true });
  await check(
    fc.property(
      fc.tuple(level, level, level, level),
      fc.array(fc.double({ min: -1, max: 1, noNaN: true }), { minLength: 4, maxLength: 4 }),
      fc.boolean(),
      (gaps, c, zero) => {
        const sigmas: number[] = [];
        let sigma = zero ? 0 : 0.4;
        for (const g of gaps) {
          sigma += g;
          sigmas.push(sigma);
        }
        const target = zero ? 0 : 0.4;
        for (const order of [1, 2, 3, 4]) {
          const f = (s: number) => c.slice(0, order).reduceRight((value, k) => value * s + k, 0);
          const primitive = (s: number) =>
            c.slice(0, order).reduce((value, k, i) => value + (k * s ** (i + 1)) / (i + 1), 0);
          assert.is(lmsRow(rows, 0, target, sigmas.slice(0, order)), STATUS.ok);
          const found = sum(
            ROW.first,
            0.7,
            f(sigmas[0]),
            [1, 2, 3].map((i) => f(sigmas[i])),
          );
          const expected = 0.7 + primitive(target) - primitive(sigmas[0]);
          assertClose(found, expected, { atol: 1e-9, rtol: 1e-9 }, `order ${order}`);
        }
      },
    ),
    { numRuns: 200 },
  );
  // One that repeats another takes no part.
  lmsRow(rows, 0, 1, [2, 2, 3]);
  const three = rows.slice();
  lmsRow(rows, 0, 1, [2, 3]);
  assert.is(three[ROW.first + SUM.b2], rows[ROW.first + SUM.b1]);
  assert.is(three[ROW.first + SUM.b1], 0);
  const before = rows.slice();
  assert.is(lmsRow(rows, 0, -1, [2]), STATUS.invalid);
  assert.is(lmsRow(rows, 0, 1, []), STATUS.invalid);
  assert.equal(rows, before);
});

test('DDIM without noise is DPM-Solver-1, and PNDM with the weight 1 as well', () => {
  const [current, target] = [node(-0.7), node(0.4)];
  const dpm = new Float64Array(ROW.length);
  const update = { method: 'multistep', form: 'noise', order: 1, target, base: current, nodes: [current] } as const;
  updateRow(dpm, 0, update);
  const [a, w] = [dpm[ROW.first + SUM.a], dpm[ROW.first + SUM.bp]];
  assert.is(ddimRow(rows.fill(0), 0, 'noise', current, target), STATUS.ok);
  const [x, m] = [0.3, -1.1];
  const p = rows[ROW.cx] * x + rows[ROW.cm] * m;
  const d0 = rows[ROW.ep] * p + rows[ROW.ex] * x + rows[ROW.em] * m;
  assertClose(rows[ROW.first + SUM.bp] * p + rows[ROW.first + SUM.b0] * d0, a * x + w * m, { rtol: 1e-14 });
  assert.is(pndmRow(rows.fill(0), 0, 'noise', current, target, [1]), STATUS.ok);
  assertClose([rows[ROW.first + SUM.a], rows[ROW.first + SUM.bp]], [a, w], {});
  assert.is(pndmRow(rows.fill(0), 0, 'v', current, target, [0.5, 0.25, 0.125, 0.125]), STATUS.ok);
  // epsilon = alpha v + sigma x
  assertClose(rows[ROW.first + SUM.a], a + w * current.sigma, { rtol: 1e-14 });
  assertClose(rows[ROW.first + SUM.b1], 0.25 * w * current.alpha, { rtol: 1e-14 });
});

test('DDIM with eta keeps the variance, s^2 + b0^2 = sigma_t^2', () => {
  const [current, target] = [node(-0.7), node(0.4)];
  for (const eta of [0, 0.3, 1]) {
    assert.is(ddimRow(rows, 0, 'v', current, target, eta), STATUS.ok);
    const [b0, n] = [rows[ROW.first + SUM.b0], rows[ROW.first + SUM.n]];
    assertClose(Math.hypot(b0, n), target.sigma, { rtol: 1e-14 });
  }
  const ratio = (current.alpha / target.alpha) ** 2;
  assertClose(rows[ROW.first + SUM.n], (target.sigma / current.sigma) * Math.sqrt(1 - ratio), { rtol: 1e-14 });
  const before = rows.slice();
  assert.is(ddimRow(rows, 0, 'noise', NOISE, target), STATUS.atNoise);
  assert.is(ddimRow(rows, 0, 'noise', target, current, 1), STATUS.sdeInversion);
  assert.is(ddimRow(rows, 0, 'noise', current, target, -1), STATUS.invalid);
  assert.is(ddimRow(rows, 0, 'noise', current, target, 5), STATUS.invalid);
  assert.equal(rows, before);
});

test('a network of x0 in noise form keeps the noise that belongs to its x0', () => {
  const at = node(-0.3);
  predictionRow(rows.fill(0), 0, 'noise', 'data', at);
  rows[ROW.first + SUM.bp] = 2;
  rows[ROW.second + SUM.bp] = 3;
  assert.is(keepNoise(rows, 0, at), STATUS.ok);
  const [x, m] = [0.3, -1.1];
  const p = rows[ROW.cx] * x + rows[ROW.cm] * m;
  assertClose(rows[ROW.ep] * p + rows[ROW.ex] * x, m, { rtol: 1e-14 });
  assert.equal([rows[ROW.first + SUM.bp], rows[ROW.first + SUM.b0]], [0, 2]);
  assert.equal([rows[ROW.second + SUM.bp], rows[ROW.second + SUM.b0]], [0, 3]);
  assert.is(keepNoise(rows, 0, CLEAN), STATUS.atClean);
});

test('the preconditioning of EDM', () => {
  const at = { alpha: 1, sigma: 2, lambda: -Math.log(2) };
  assert.is(edmPredictionRow(rows, 0, 'noise', 0.5, at), STATUS.ok);
  assertClose([rows[ROW.cx], rows[ROW.cm]], [0.25 / 4.25, 1 / Math.sqrt(4.25)], { rtol: 1e-15 });
  assert.is(edmPredictionRow(rows, 0, 'v', 0.5, at), STATUS.ok);
  assertClose(rows[ROW.cm], -1 / Math.sqrt(4.25), { rtol: 1e-15 });
  assert.is(edmPredictionRow(rows, 0, 'v', 0, at), STATUS.invalid);
  assert.is(edmPredictionRow(rows, 0, 'v', 0.5, node(0)), STATUS.invalid);
});

test.run();
