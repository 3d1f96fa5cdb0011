// Measured order of convergence on a mixture whose score is exact, against an integrator of its own.
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { type Form, ROW, updateRow } from '../../lib/addon/coefficients.js';
import { DPMSolver, NoiseSchedule, type SampleOptions, type SolverOptions, type Tensor } from '../../lib/index.js';
import { step } from '../../lib/native.js';
import { assertClose, noise } from '../support.js';
import { denoise, distance, exactStates, type Kind, noiseOf, pointOf, slopeOf } from './mixture.js';

interface Case {
  schedule: NoiseSchedule;
  kind: Kind;
  /** lambda from what the network is told, by the schedule's definition. */
  lambdaOf: (modelTime: number) => number;
  /** The same from the schedule's time. */
  lambdaAt: (t: number) => number;
  tStart: number;
  tEnd: number;
}

/** log(alpha / sigma) for alpha^2 + sigma^2 = 1. */
function preserving(logAlpha: number): number {
  return logAlpha - 0.5 * Math.log(-Math.expm1(2 * logAlpha));
}
const linearLambda = (t: number) => preserving(-0.25 * t * t * (20 - 0.1) - 0.5 * t * 0.1);
const cosineLambda = (t: number) =>
  preserving(
    Math.log(Math.cos(((Math.PI / 2) * (t + 0.008)) / 1.008)) - Math.log(Math.cos(((Math.PI / 2) * 0.008) / 1.008)),
  );
const flowLambda = (sigma: number) => Math.log((1 - sigma) / sigma);
const CASES: Record<string, Case> = {
  linear: {
    schedule: NoiseSchedule.linear(),
    kind: 'preserving',
    lambdaOf: linearLambda,
    lambdaAt: linearLambda,
    tStart: 0.8,
    tEnd: 0.1,
  },
  // Starts where the prediction changes fast, so that an order-1 start shows.
  middle: {
    schedule: NoiseSchedule.linear(),
    kind: 'preserving',
    lambdaOf: linearLambda,
    lambdaAt: linearLambda,
    tStart: 0.35,
    tEnd: 0.1,
  },
  cosine: {
    schedule: NoiseSchedule.cosine(),
    kind: 'preserving',
    lambdaOf: cosineLambda,
    lambdaAt: cosineLambda,
    tStart: 0.9,
    tEnd: 0.15,
  },
  flow: {
    schedule: NoiseSchedule.flow({ shift: 2 }),
    kind: 'flow',
    lambdaOf: flowLambda,
    lambdaAt: (t) => flowLambda((2 * t) / (1 + t)),
    tStart: 0.8,
    tEnd: 0.1,
  },
  edm: {
    schedule: NoiseSchedule.edm(),
    kind: 'exploding',
    lambdaOf: (sigma) => -Math.log(sigma),
    lambdaAt: (sigma) => -Math.log(sigma),
    tStart: 5,
    tEnd: 0.3,
  },
};

const SAMPLES = 4;

/** Points of the distribution's own scale at this lambda, the same ones for every test. */
function startState(kind: Kind, lambda: number): Float64Array {
  const { alpha, sigma } = pointOf(kind, lambda);
  const scale = Math.hypot(1.2 * alpha, sigma);
  return noise(new Float64Array(2 * SAMPLES), 7).map((value) => 1.5 * scale * value);
}

function modelOf(c: Case): (x: Tensor, t: number) => Tensor {
  return (x, t) => ({ data: noiseOf(x.data as Float64Array, pointOf(c.kind, c.lambdaOf(t))), dims: x.dims });
}

const references = new Map<string, { start: Float64Array; end: Float64Array }>();

/** Start and exact end of a run from tStart to tEnd, or back. */
function reference(name: string, inverse: boolean) {
  const known = references.get(`${name} ${inverse}`);
  if (known) return known;
  const { kind, lambdaAt, tStart, tEnd } = CASES[name];
  const lambdas = [lambdaAt(tStart), lambdaAt(tEnd)];
  if (inverse) lambdas.reverse();
  const start = startState(kind, lambdas[0]);
  const found = { start, end: exactStates(kind, start, lambdas)[1] };
  references.set(`${name} ${inverse}`, found);
  return found;
}

async function errorOf(name: string, inverse: boolean, solverOptions: SolverOptions, options: SampleOptions) {
  const c = CASES[name];
  const { start, end } = reference(name, inverse);
  const solver = new DPMSolver(modelOf(c), c.schedule, solverOptions);
  const x = { data: start, dims: [SAMPLES, 2] };
  const result = inverse
    ? await solver.invert(x, { tStart: c.tEnd, tEnd: c.tStart, ...options })
    : await solver.sample(x, { tStart: c.tStart, tEnd: c.tEnd, ...options });
  return { error: distance(result.sample.data as Float64Array, end), nfe: result.nfe };
}

async function measure(
  name: string,
  inverse: boolean,
  solverOptions: SolverOptions,
  options: SampleOptions,
  // An even grid in t reaches its order later than one in lambda.
  counts = options.skipType === 'time_uniform' ? [96, 288] : [48, 144],
) {
  const errors: number[] = [];
  for (const steps of counts) errors.push((await errorOf(name, inverse, solverOptions, { ...options, steps })).error);
  return { slope: slopeOf(counts, errors), errors };
}

/** DPM_SOLVER_SLOPES=1 prints what was measured. */
function report(what: string, slope: number, errors: readonly number[]): void {
  if (!process.env.DPM_SOLVER_SLOPES) return;
  console.log(`${slope.toFixed(2)}  ${what}  ${errors.map((error) => error.toExponential(1)).join(' ')}`);
}

test('the reference does not change with its own number of steps', () => {
  for (const { kind, lambdaAt, tStart, tEnd } of Object.values(CASES)) {
    const lambdas = [lambdaAt(tStart), lambdaAt(tEnd)];
    const start = startState(kind, lambdas[0]);
    const fine = exactStates(kind, start, lambdas, { steps: 4000 })[1];
    assert.ok(distance(exactStates(kind, start, lambdas)[1], fine) < 1e-11);
  }
});

// What theory says. A singlestep run of order 3 ends in steps of lower order, the last of which is of order 1 or 2 with
// a local error of h^2 or h^3: it is of order 2 as run where the last step is of order 1 (3 evaluations or 1 left over).
const METHODS: { method: SampleOptions['method']; order: 1 | 2 | 3; expected: number }[] = [
  { method: 'multistep', order: 1, expected: 1 },
  { method: 'multistep', order: 2, expected: 2 },
  { method: 'multistep', order: 3, expected: 2 },
  { method: 'singlestep', order: 1, expected: 1 },
  { method: 'singlestep', order: 2, expected: 2 },
  { method: 'singlestep', order: 3, expected: 2 },
  { method: 'singlestep_fixed', order: 1, expected: 1 },
  { method: 'singlestep_fixed', order: 2, expected: 2 },
  { method: 'singlestep_fixed', order: 3, expected: 3 },
];

for (const name of ['linear', 'cosine', 'flow', 'edm']) {
  for (const algorithmType of ['dpmsolver++', 'dpmsolver'] as const) {
    for (const inverse of [false, true]) {
      const title = `${algorithmType}, ${name}${inverse ? ', inverted' : ''}`;
      test(`order of convergence: ${title}`, async () => {
        for (const { method, order, expected } of METHODS) {
          for (const skipType of ['logSNR', 'time_uniform'] as const) {
            for (const solverType of ['dpmsolver', 'taylor'] as const) {
              const free = order === 1 || (method === 'multistep' && order === 3);
              if (free && solverType === 'taylor') continue;
              const options: SampleOptions = { method, order, skipType, solverType };
              // Where the lower-order end falls on a fine part of the grid, its error comes in late, and of either sign.
              if (method === 'singlestep' && order === 3 && skipType === 'time_uniform') continue;
              const { slope, errors } = await measure(name, inverse, { algorithmType }, options);
              const what = `${title}: ${method} ${order} ${skipType} ${solverType}`;
              report(what, slope, errors);
              // Two orders mix in it, with either sign.
              const slack = method === 'singlestep' && order === 3 ? 0.35 : 0.2;
              assert.ok(slope > expected - slack, `${what}: slope ${slope}, errors ${errors}`);
            }
          }
        }
      });
    }
  }
}

/** Row after row by hand: lambda's grid, the states and predictions at the first nodes given, multistep of `order`. */
function multistepByHand(
  kind: Kind,
  lambdas: readonly number[],
  start: readonly ArrayLike<number>[],
  update: { form: Form; order: 1 | 2 | 3; exact?: boolean; taylor?: boolean; tau2: 0 | 1 },
): Float64Array {
  const nodes = lambdas.map((lambda) => ({ ...pointOf(kind, lambda), lambda }));
  const predict = (x: ArrayLike<number>, i: number) =>
    update.form === 'data' ? denoise(x, nodes[i]) : noiseOf(x, nodes[i]);
  const kept = start.map((x, i) => predict(x, i));
  const row = new Float64Array(ROW.length);
  let x = Float64Array.from(start[start.length - 1]);
  for (let i = start.length - 1; i < lambdas.length - 1; i++) {
    const m = i < start.length ? kept[i] : predict(x, i);
    kept[i] = m;
    row[ROW.cm] = 1;
    row[ROW.ep] = 1;
    const { form, order, exact, taylor, tau2 } = update;
    updateRow(row, 0, {
      method: 'multistep',
      form,
      order,
      exact,
      taylor,
      tau2,
      target: nodes[i + 1],
      base: nodes[i],
      nodes: [nodes[i], nodes[i - 1], nodes[i - 2]].slice(0, order),
    });
    const out = new Float64Array(x.length);
    // No z: the noise of an SDE row takes no part.
    const [d1, d2] = [kept[i - 1], kept[i - 2]];
    assert.is(step(row, { x, m, base: x, d1, d2, out }, { batch: 1 }), -1);
    x = out;
  }
  return x;
}

const even = (from: number, to: number, n: number) =>
  Array.from({ length: n + 1 }, (_, i) => from + ((to - from) * i) / n);

for (const [thirdOrder, expected] of [
  ['published', 2],
  ['exact', 3],
] as const) {
  test(`the ${thirdOrder} third-order multistep update is of order ${expected} after two singlestep-3 steps`, async () => {
    for (const name of ['linear', 'flow', 'edm']) {
      const { schedule, kind, lambdaAt, lambdaOf, tStart, tEnd } = CASES[name];
      for (const form of ['data', 'noise'] as const) {
        for (const inverse of [false, true]) {
          const [from, to] = inverse ? [tEnd, tStart] : [tStart, tEnd];
          const { start, end } = reference(name, inverse);
          const model = modelOf({ ...CASES[name], lambdaOf });
          const solver = new DPMSolver(model, schedule, {
            algorithmType: form === 'data' ? 'dpmsolver++' : 'dpmsolver',
          });
          const counts = [24, 48, 96];
          const errors: number[] = [];
          for (const n of counts) {
            const lambdas = even(lambdaAt(from), lambdaAt(to), n);
            const first: ArrayLike<number>[] = [start];
            for (let i = 0; i < 2; i++) {
              const x = { data: Float64Array.from(first[i]), dims: [SAMPLES, 2] };
              const [t0, t1] = [schedule.inverseLambda(lambdas[i]), schedule.inverseLambda(lambdas[i + 1])];
              const options = { method: 'singlestep_fixed', order: 3, steps: 3, skipType: 'logSNR' } as const;
              const run = await solver.sample(x, { ...options, tStart: t0, tEnd: t1 });
              first.push(run.sample.data as Float64Array);
            }
            const exact = thirdOrder === 'exact';
            errors.push(distance(multistepByHand(kind, lambdas, first, { form, order: 3, exact, tau2: 0 }), end));
          }
          const slope = slopeOf(counts, errors);
          const what = `${thirdOrder} 3M, ${name}, ${form}${inverse ? ', inverted' : ''}, started by singlestep-3`;
          report(what, slope, errors);
          assert.ok(slope > expected - 0.25, `${what}: slope ${slope}, errors ${errors}`);
          assert.ok(slope < expected + 0.6, `${what}: slope ${slope}, errors ${errors}`);
        }
      }
    }
  });
}

test("a run with thirdOrder 'exact' is held to order 2 by its first-order first step", async () => {
  for (const algorithmType of ['dpmsolver++', 'dpmsolver'] as const) {
    const options: SampleOptions = { method: 'multistep', order: 3, skipType: 'logSNR' };
    const { slope, errors } = await measure('middle', false, { algorithmType, thirdOrder: 'exact' }, options);
    report(`${algorithmType}, exact 3M as run`, slope, errors);
    assert.ok(slope > 1.85 && slope < 2.5, `slope ${slope}, errors ${errors}`);
  }
  // Started where the prediction hardly changes, it shows its third order, and the published update its second.
  for (const [thirdOrder, low, high] of [
    ['published', 1.85, 2.4],
    ['exact', 2.7, 3.5],
  ] as const) {
    const options: SampleOptions = { method: 'multistep', order: 3, skipType: 'logSNR' };
    const { slope, errors } = await measure('linear', false, { thirdOrder }, options);
    report(`${thirdOrder} 3M from a quiet start`, slope, errors);
    assert.ok(slope > low && slope < high, `${thirdOrder}: slope ${slope}, errors ${errors}`);
  }
});

test('the SDE updates without their noise are of their order', () => {
  for (const [form, kinds] of [
    ['data', ['preserving', 'flow', 'exploding']],
    ['noise', ['preserving', 'flow', 'exploding']],
  ] as const) {
    for (const kind of kinds) {
      const [from, to] = [-1.5, 1.5];
      const start = startState(kind, from);
      const end = exactStates(kind, start, [from, to], { tau2: 1, form })[1];
      for (const [order, exact, taylor, expected] of [
        [1, false, false, 1],
        [2, false, false, 2],
        [2, false, true, 2],
        [3, false, true, 2],
        [3, true, true, 3],
      ] as const) {
        const counts = [48, 96, 192];
        const errors = counts.map((n) => {
          const lambdas = even(from, to, n);
          const first = exactStates(kind, start, lambdas.slice(0, order), { tau2: 1, form, steps: 200 });
          return distance(multistepByHand(kind, lambdas, first, { form, order, exact, taylor, tau2: 1 }), end);
        });
        const slope = slopeOf(counts, errors);
        const what = `SDE without noise, ${form}, ${kind}, order ${order}${exact ? ' exact' : ''}${taylor ? ' taylor' : ''}`;
        report(what, slope, errors);
        assert.ok(slope > expected - 0.2, `${what}: slope ${slope}, errors ${errors}`);
      }
    }
  }
});

test('the third-order SDE update is exact for predictions that are quadratic in lambda', () => {
  // data: x_t = sigma_t/sigma_s e^-h x_s + alpha_t int 2 e^{2(l - lambda_t)} D(l) dl,
  // noise: x_t = alpha_t/alpha_s x_s - 2 sigma_t int e^{lambda_t - l} epsilon(l) dl; by Simpson's rule, fine enough.
  const f = (l: number) => 0.7 - 1.3 * l + 2.1 * l * l;
  for (const kind of ['preserving', 'flow', 'exploding'] as const) {
    for (const form of ['data', 'noise'] as const) {
      const lambdas = [-0.9, -0.5, 0.1, 0.45];
      const [d2, d1, s, t] = lambdas.map((lambda) => ({ ...pointOf(kind, lambda), lambda }));
      const h = t.lambda - s.lambda;
      const weight = (l: number) => (form === 'data' ? 2 * Math.exp(2 * (l - t.lambda)) : 2 * Math.exp(t.lambda - l));
      let integral = 0;
      const n = 2000;
      for (let i = 0; i < n; i++) {
        const [a, b] = [s.lambda + (h * i) / n, s.lambda + (h * (i + 1)) / n];
        const [fa, fm, fb] = [a, (a + b) / 2, b].map((l) => weight(l) * f(l));
        integral += ((b - a) / 6) * (fa + 4 * fm + fb);
      }
      const x = 0.83;
      const expected =
        form === 'data'
          ? (t.sigma / s.sigma) * Math.exp(-h) * x + t.alpha * integral
          : (t.alpha / s.alpha) * x - t.sigma * integral;
      const row = new Float64Array(ROW.length);
      row[ROW.cm] = 1;
      updateRow(row, 0, {
        method: 'multistep',
        form,
        order: 3,
        exact: true,
        tau2: 1,
        target: t,
        base: s,
        nodes: [s, d1, d2],
      });
      const out = new Float64Array(1);
      const one = (value: number) => Float64Array.of(value);
      const buffers = { m: one(f(s.lambda)), base: one(x), d1: one(f(d1.lambda)), d2: one(f(d2.lambda)), out };
      step(row, buffers, { batch: 1 });
      assertClose(out[0], expected, { rtol: 1e-11 }, `${kind}, ${form}`);
    }
  }
});

test('SDE runs end in the right distribution', async () => {
  // x0 normal with mean 0.6 and deviation 0.8: what a run should end in is normal too.
  const [mu, s] = [0.6, 0.8];
  const n = 16000;
  // Singlestep stages draw noise of their own, which the full step's is independent of: the variance is of first order.
  const cases: [string, SolverOptions['algorithmType'], SampleOptions, bias?: number][] = [
    ['linear', 'sde-dpmsolver++', { order: 1, steps: 200 }],
    ['linear', 'sde-dpmsolver++', { order: 2, steps: 60 }],
    ['linear', 'sde-dpmsolver++', { order: 3, steps: 60, noise: 'philox' }],
    ['flow', 'sde-dpmsolver++', { order: 2, steps: 60, solverType: 'taylor' }],
    ['edm', 'sde-dpmsolver++', { order: 3, steps: 60 }],
    ['linear', 'sde-dpmsolver++', { order: 2, steps: 400, method: 'singlestep' }, 0.035],
    ['linear', 'sde-dpmsolver', { order: 2, steps: 100 }],
    ['cosine', 'sde-dpmsolver', { order: 3, steps: 100, noise: 'philox' }],
    ['linear', 'sde-dpmsolver', { order: 2, steps: 400, method: 'singlestep' }, 0.05],
  ];
  for (const [name, algorithmType, options, bias = 0.02] of cases) {
    const { schedule, kind, lambdaOf, tStart, tEnd } = CASES[name];
    const model = (x: Tensor, t: number): Tensor => {
      const { alpha, sigma } = pointOf(kind, lambdaOf(t));
      const gain = sigma / (alpha * alpha * s * s + sigma * sigma);
      return { data: (x.data as Float64Array).map((value) => gain * (value - alpha * mu)), dims: x.dims };
    };
    const solver = new DPMSolver(model, schedule, { algorithmType });
    // The start has the exact mean and deviation at tStart, and as good as no chance in it.
    const at = schedule.node(tStart);
    const wide = Math.hypot(at.alpha * s, at.sigma);
    const start = Float64Array.from({ length: n }, (_, i) => at.alpha * mu + wide * normalQuantile((i + 0.5) / n));
    const { sample } = await solver.sample(
      { data: start, dims: [1, n] },
      { tStart, tEnd, skipType: 'logSNR', seed: 5, ...options },
    );
    const x = sample.data as Float64Array;
    const mean = x.reduce((sum, value) => sum + value, 0) / n;
    const variance = x.reduce((sum, value) => sum + (value - mean) ** 2, 0) / (n - 1);
    const end = schedule.node(tEnd);
    const expected = (end.alpha * s) ** 2 + end.sigma ** 2;
    const what = `${algorithmType} ${JSON.stringify(options)} on ${name}`;
    // Four standard errors, and a little for the finite number of steps.
    assertClose(mean, end.alpha * mu, { atol: 4 * Math.sqrt(expected / n) + 0.004 }, `${what}: mean`);
    assertClose(variance, expected, { atol: expected * (4 * Math.sqrt(2 / n) + bias) }, `${what}: variance`);
  }
});

/** Inverse of the normal distribution function, by bisection on its series: plain and exact enough. */
function normalQuantile(p: number): number {
  let [low, high] = [-8, 8];
  for (let i = 0; i < 40; i++) {
    const middle = (low + high) / 2;
    if (normalDistribution(middle) < p) low = middle;
    else high = middle;
  }
  return (low + high) / 2;
}

/** Zelen and Severo's approximation (Abramowitz and Stegun 26.2.17), within 7.5e-8. */
function normalDistribution(x: number): number {
  const t = 1 / (1 + 0.2316419 * Math.abs(x));
  const poly = t * (0.31938153 + t * (-0.356563782 + t * (1.781477937 + t * (-1.821255978 + t * 1.330274429))));
  const tail = (Math.exp((-x * x) / 2) / Math.sqrt(2 * Math.PI)) * poly;
  return x > 0 ? 1 - tail : tail;
}

for (const controller of ['pi', 'integral'] as const) {
  for (const inverse of [false, true]) {
    test(`adaptive, ${controller}${inverse ? ', inverted' : ''}: the error falls with the tolerance`, async () => {
      for (const name of ['linear', 'cosine', 'flow', 'edm']) {
        for (const algorithmType of ['dpmsolver++', 'dpmsolver'] as const) {
          for (const order of [2, 3] as const) {
            const errors: number[] = [];
            const evaluations: number[] = [];
            const tolerances = [1e-2, 1e-3, 1e-4];
            for (const tolerance of tolerances) {
              const options: SampleOptions = {
                method: 'adaptive',
                order,
                controller,
                atol: tolerance,
                rtol: tolerance,
              };
              const { error, nfe } = await errorOf(name, inverse, { algorithmType }, { ...options, maxNfe: 20000 });
              errors.push(error);
              evaluations.push(nfe);
            }
            const what = `adaptive ${order} ${controller}, ${algorithmType}, ${name}${inverse ? ', inverted' : ''}`;
            const slope = slopeOf(evaluations, errors);
            report(`${what} (${evaluations})`, slope, errors);
            for (let i = 1; i < errors.length; i++) {
              assert.ok(errors[i] < errors[i - 1], `${what}: errors ${errors}`);
            }
            // The estimate is the lower order's error, so that the result is better than asked for.
            assert.ok(errors[2] < 100 * 1e-4, `${what}: errors ${errors}`);
          }
        }
      }
    });
  }
}

test('runs over the whole of flow, whose ends have no finite lambda, keep their order', async () => {
  const schedule = NoiseSchedule.flow();
  const points = noise(new Float64Array(2 * SAMPLES), 7).map((value) => 1.5 * value);
  // Next to an end the exact path is straight: x = alpha E[x0] + sigma x_1 at noise, and alpha x_0 at the clean end.
  const near = 1e-6;
  const atNoise = denoise(points, { alpha: 0, sigma: 1 }).map((x0, i) => near * x0 + (1 - near) * points[i]);
  const down = exactStates('flow', atNoise, [flowLambda(1 - near), flowLambda(near)], { steps: 8000 })[1];
  const atClean = points.map((x0) => (1 - near) * x0);
  const up = exactStates('flow', atClean, [flowLambda(near), flowLambda(0.8)], { steps: 6000 })[1];
  const model = (x: Tensor, sigma: number): Tensor => {
    const point = { alpha: 1 - sigma, sigma };
    const seen = x.data as Float64Array;
    const x0 = denoise(seen, point);
    const data = sigma === 0 ? x0.map((value) => -value) : noiseOf(seen, point).map((e, i) => e - x0[i]);
    return { data, dims: x.dims };
  };
  for (const [algorithmType, inverse] of [
    ['dpmsolver++', false],
    ['dpmsolver++', true],
    ['dpmsolver', true],
  ] as const) {
    for (const [method, order, expected] of [
      ['multistep', 1, 1],
      ['multistep', 2, 2],
      ['multistep', 3, 2],
      ['singlestep_fixed', 2, 2],
    ] as const) {
      const counts = [96, 192, 384];
      const errors: number[] = [];
      for (const steps of counts) {
        const solver = new DPMSolver(model, schedule, { algorithmType, modelType: 'flow' });
        const x = { data: points, dims: [SAMPLES, 2] };
        const options = { method, order, steps };
        const run = inverse ? await solver.invert(x, { ...options, tEnd: 0.8 }) : await solver.sample(x, options);
        errors.push(distance(run.sample.data as Float64Array, inverse ? up : down));
      }
      // The infinite steps at the ends cost a logarithm of the number of steps.
      const slope = slopeOf(counts, errors);
      const what = `flow from end to end, ${algorithmType}${inverse ? ', inverted' : ''}: ${method} ${order}`;
      report(what, slope, errors);
      assert.ok(slope > expected - 0.3, `${what}: slope ${slope}, errors ${errors}`);
    }
  }
});

test.run();
