// Classifier-free guidance and its variants: diffusers' own guiders (test/golden/guidance.json), closed forms, and what they cost.
import { readFileSync } from 'node:fs';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import {
  betas,
  classicTable,
  DPMSolver,
  type GuidanceOption,
  NoiseSchedule,
  type SampleOptions,
  type SolverOptions,
  type Tensor,
} from '../../lib/index.js';
import { assertBitsEqual, assertClose, assertRejects, noise } from '../support.js';

type ClassifierFree = Extract<GuidanceOption, { type: 'classifier-free' }>;

const edm = NoiseSchedule.edm();
const linear = NoiseSchedule.linear();
const flow = NoiseSchedule.flow();
const discrete = NoiseSchedule.discrete({ betas: betas('scaled_linear') });

const free = (options: Omit<ClassifierFree, 'type'>): ClassifierFree => ({ type: 'classifier-free', ...options });

// ---- diffusers ---------------------------------------------------------------------------------------------------------

interface Golden {
  shape: number[];
  conditional: number[][];
  unconditional: number[][];
  cases: { guidance: Omit<ClassifierFree, 'type'>; guided: number[][] }[];
}
const golden: Golden = JSON.parse(readFileSync(new URL('../golden/guidance.json', import.meta.url), 'utf8'));

/** What the solver makes of two answers at each of three evaluations, as x0. */
async function guidedX0(guidance: GuidanceOption, modelType: 'x_start' | 'noise', threads?: number) {
  const found: Float64Array[] = [];
  const seen: { x: Float64Array; t: number }[] = [];
  const length = golden.conditional[0].length;
  let evaluation = 0;
  const model = (x: Tensor, t: number): Tensor => {
    const i = evaluation++;
    const guided = x.dims[0] === 2 * golden.shape[0];
    seen.push({ x: Float64Array.from(x.data as Float64Array).subarray(0, length), t });
    const answers = guided ? [...golden.unconditional[i], ...golden.conditional[i]] : golden.conditional[i];
    return { data: Float64Array.from(answers), dims: x.dims };
  };
  const correctX0 = (x0: Tensor): Tensor => {
    found.push(Float64Array.from(x0.data as Float64Array));
    return x0;
  };
  const xT = { data: noise(new Float64Array(length), 3), dims: golden.shape };
  const solver = new DPMSolver(model, edm, { modelType, guidance, correctX0, threads });
  await solver.sample(xT, { skipType: [2, 1, 0.5, 0.2] });
  return { found, seen };
}

test('every guider of diffusers that is one of the variants', async () => {
  assert.ok(golden.cases.length >= 39);
  for (const { guidance, guided } of golden.cases) {
    const { variant = 'cfg' } = guidance;
    const options = { ...guidance, ...(variant === 'cfg-zero' ? { zeroSteps: 0 } : {}) };
    for (const threads of [1, 3]) {
      // Projected where x0 is what the network gives; the others look at what it gives, whatever that is.
      const { found } = await guidedX0(free(options), 'x_start', threads);
      if (variant !== 'cfg-zero') {
        for (const [i, x0] of found.entries()) {
          assertClose(x0, guided[i], { rtol: 1e-12, scale: 'max' }, `${JSON.stringify(guidance)}, evaluation ${i}`);
        }
      }
      if (variant === 'apg') continue;
      const { found: ofNoise, seen } = await guidedX0(free(options), 'noise', threads);
      ofNoise.forEach((x0, i) => {
        const { x, t } = seen[i];
        const noise = x0.map((value, k) => (x[k] - value) / t);
        // diffusers takes CFG-Zero*'s products in float32.
        assertClose(
          noise,
          guided[i],
          { rtol: variant === 'cfg-zero' ? 1e-6 : 1e-11, scale: 'max' },
          `${JSON.stringify(guidance)} of noise, evaluation ${i}`,
        );
      });
    }
  }
});

// ---- a network with a closed form --------------------------------------------------------------------------------------

/** Data of one component each: N(2, 0.5^2) with the condition, N(0, 1) without; the exact x0, for any schedule. */
const CONDITIONAL = { mean: 2, deviation: 0.5 };
const UNCONDITIONAL = { mean: 0, deviation: 1 };
function exactX0(x: number, alpha: number, sigma: number, { mean, deviation }: typeof CONDITIONAL): number {
  const v = deviation ** 2;
  return (mean * sigma ** 2 + alpha * v * x) / (alpha ** 2 * v + sigma ** 2);
}
function exactModel(schedule: NoiseSchedule, scaleOfTime: number, calls: number[] = []) {
  return (x: Tensor, t: number): Tensor => {
    const { alpha, sigma } = schedule.node(t / scaleOfTime);
    const data = x.data as Float64Array;
    const batch = x.dims[0];
    calls.push(batch);
    const half = data.length / 2;
    const out = data.map((value, i) =>
      exactX0(value, alpha, sigma, batch === 4 && i < half ? UNCONDITIONAL : CONDITIONAL),
    );
    return { data: out, dims: x.dims };
  };
}
const xT = () => ({ data: Float64Array.of(0.4, -1.2, 0.9, 2.1, -0.3, 1.4), dims: [2, 3] });

async function run(
  schedule: NoiseSchedule,
  guidance: GuidanceOption,
  sample: SampleOptions,
  solver: SolverOptions = {},
) {
  const calls: number[] = [];
  const made = await new DPMSolver(exactModel(schedule, 1, calls), schedule, {
    ...{ modelType: 'x_start', guidance },
    ...solver,
  }).sample(xT(), sample);
  return { ...made, data: made.sample.data as Float64Array, calls };
}

test('an interval: half of the batch and half the price outside, and the same as calls of their own', async () => {
  for (const [schedule, low, high] of [
    [linear, 0.3, 4],
    [edm, 0.1, 10],
    [flow, 0.2, 1.5],
  ] as const) {
    const guidance = free({ scale: 3, interval: [low, high] });
    const steps = 12;
    const { data, nfe, calls, times } = await run(schedule, guidance, {
      steps,
      tEnd: schedule === flow ? 0.01 : undefined,
    });
    const inside = times.slice(0, -1).map((t) => {
      const { alpha, sigma } = schedule.node(t);
      return sigma / alpha >= low && sigma / alpha <= high;
    });
    assert.ok(inside.includes(true) && inside.includes(false));
    assert.equal(
      calls,
      inside.map((guided) => (guided ? 4 : 2)),
    );
    assert.is(
      nfe,
      inside.reduce((sum, guided) => sum + (guided ? 1 : 0.5), 0),
    );
    // The same by hand: a network that is guided, or not, before the solver sees it.
    const node = (t: number) => schedule.node(t);
    const byHand = (x: Tensor, t: number): Tensor => {
      const { alpha, sigma } = node(t);
      const guided = sigma / alpha >= low && sigma / alpha <= high;
      const out = (x.data as Float64Array).map((value) => {
        const c = exactX0(value, alpha, sigma, CONDITIONAL);
        const u = exactX0(value, alpha, sigma, UNCONDITIONAL);
        return guided ? u + 3 * (c - u) : c;
      });
      return { data: out, dims: x.dims };
    };
    const expected = await new DPMSolver(byHand, schedule, { modelType: 'x_start' }).sample(xT(), {
      ...{ steps, tEnd: schedule === flow ? 0.01 : undefined },
    });
    assertClose(data, expected.sample.data as Float64Array, { rtol: 1e-12 }, schedule.kind);
  }
});

test('an interval with every method, in tables and in loops of one’s own', async () => {
  const guidance = free({ scale: 3, interval: [0.3, 4] });
  const methods: SampleOptions[] = [
    ...(['multistep', 'singlestep', 'ipndm'] as const).map((method) => ({ method, steps: 10 })),
    { method: 'adaptive' },
    { table: classicTable(linear, { steps: 10, modelType: 'x_start' }) },
    { steps: 10, corrector: 'unic' },
    { steps: 10, denoiseToZero: true },
  ];
  for (const options of methods) {
    const { calls, nfe, data } = await run(linear, guidance, options);
    assert.ok(calls.includes(2) && calls.includes(4), JSON.stringify(options));
    assert.is(
      nfe,
      calls.reduce((sum, batch) => sum + batch / 4, 0),
    );
    const whole = await run(linear, free({ scale: 3, interval: [0, Infinity] }), options);
    assert.ok(whole.calls.every((batch) => batch === 4));
    const plain = await run(linear, free({ scale: 3 }), options);
    assertBitsEqual(whole.data, plain.data, 'all of it');
    assert.ok(data.every(Number.isFinite));
  }
  const loop = new DPMSolver(null, linear, { modelType: 'x_start', guidance }).start(xT(), { steps: 10 });
  const model = exactModel(linear, 1);
  let price = 0;
  while (!loop.done) {
    price += loop.x.dims[0] / 4;
    loop.advance(model(loop.x as Tensor, loop.t));
  }
  assert.is(loop.nfe, price);
  assertBitsEqual(loop.result.data as Float64Array, (await run(linear, guidance, { steps: 10 })).data, 'start()');
});

/** `scale`, with what it was asked for noted. */
function told(list: number[], sigma: number, scale: number): number {
  list.push(sigma);
  return scale;
}

test('a scale as a function of sigma', async () => {
  const steps = 9;
  const constant = await run(linear, free({ scale: () => 2.5 }), { steps });
  assertBitsEqual(constant.data, (await run(linear, free({ scale: 2.5 }), { steps })).data, 'a constant');
  // A function that is one outside of an interval is that interval.
  const asked: number[] = [];
  const stepped = await run(
    linear,
    free({ scale: (sigma) => told(asked, sigma, sigma >= 0.3 && sigma <= 4 ? 3 : 1) }),
    { steps },
  );
  const interval = await run(linear, free({ scale: 3, interval: [0.3, 4] }), { steps });
  assertBitsEqual(stepped.data, interval.data, 'steps');
  assert.equal(stepped.calls, interval.calls);
  for (const t of stepped.times.slice(0, -1)) {
    const { alpha, sigma } = linear.node(t);
    assert.ok(asked.includes(sigma / alpha));
  }
  // On flow sigma / alpha is infinite at the start.
  const seen: number[] = [];
  await run(flow, free({ scale: (sigma) => told(seen, sigma, 1 + 1 / (1 + sigma)) }), { steps });
  assert.ok(seen.includes(Infinity) && seen.every((sigma) => sigma > 0));
});

/** Ends of the ODE dx/dsigma = (x - D(x)) / sigma at EDM's sigmas, by RK4 on a fine grid in log sigma. */
function solve(D: (x: number, sigma: number) => number, x: number, from: number, to: number): number {
  const steps = 40_000;
  const h = Math.log(to / from) / steps;
  const f = (y: number, l: number) => {
    const sigma = Math.exp(l);
    return y - D(y, sigma);
  };
  let y = x;
  for (let i = 0; i < steps; i++) {
    const l = Math.log(from) + i * h;
    const k1 = f(y, l);
    const k2 = f(y + (h / 2) * k1, l + h / 2);
    const k3 = f(y + (h / 2) * k2, l + h / 2);
    const k4 = f(y + h * k3, l + h);
    y += (h / 6) * (k1 + 2 * k2 + 2 * k3 + k4);
  }
  return y;
}

test('variants converge with the order of the method', async () => {
  // One element a sample, so that inner products are products.
  const of = (x: number, sigma: number) => ({
    c: exactX0(x, 1, sigma, CONDITIONAL),
    u: exactX0(x, 1, sigma, UNCONDITIONAL),
  });
  const variants: [ClassifierFree, (x: number, sigma: number) => number][] = [
    [
      free({ scale: 2, variant: 'apg', eta: 0.5, norm: 0.4 }),
      (x, sigma) => {
        const { c, u } = of(x, sigma);
        const d = Math.sign(c - u) * Math.min(Math.abs(c - u), 0.4);
        return c + 2 * 0.5 * d; // all of it is parallel
      },
    ],
    [
      free({ scale: 2, variant: 'apg', base: 'uncond', eta: 1, norm: 0 }),
      (x, sigma) => {
        const { c, u } = of(x, sigma);
        return u + 2 * (c - u);
      },
    ],
    [
      free({ scale: (sigma) => 1 + 2 / (1 + sigma) }),
      (x, sigma) => {
        const { c, u } = of(x, sigma);
        return u + (1 + 2 / (1 + sigma)) * (c - u);
      },
    ],
  ];
  const start = [1.5, -2.5];
  for (const [guidance, D] of variants) {
    const twice = (x: Tensor, t: number): Tensor => {
      const data = x.data as Float64Array;
      return {
        data: data.map((value, i) => (i < 2 ? of(value, t).u : of(value, t).c)),
        dims: x.dims,
      };
    };
    const exact = start.map((x) => solve(D, x, 3, 0.5));
    for (const order of [1, 2, 3] as const) {
      // A multistep run of order 3 begins with a step of order 1, and singlestep ends with one.
      const method = order === 3 ? 'singlestep_fixed' : 'multistep';
      const errors = [60, 120].map(async (steps) => {
        const solver = new DPMSolver(twice, edm, { modelType: 'x_start', guidance, thirdOrder: 'exact' });
        const { sample } = await solver.sample(
          { data: Float64Array.from(start), dims: [2, 1] },
          { steps, order, method, skipType: 'logSNR', tStart: 3, tEnd: 0.5, lowerOrderFinal: false },
        );
        return Math.max(...(sample.data as Float64Array).map((x, i) => Math.abs(x - exact[i])));
      });
      const [coarse, fine] = await Promise.all(errors);
      const rate = Math.log2(coarse / fine);
      // A length that is cut off has a corner: what is left there is of second order.
      const least = Math.min(order, guidance.norm === 0.4 ? 2 : 3) - 0.3;
      assert.ok(rate > least || fine < 1e-9, `${JSON.stringify(guidance)}, order ${order}: ${rate}`);
    }
  }
});

test('CFG-Zero* of one element is the conditional answer, whatever the scale', async () => {
  // q u = c: the projection of c on u is c itself.
  const one = (x: Tensor, t: number): Tensor => ({
    data: (x.data as Float64Array).map((value, i) => Math.sin(value + t) + (i < x.dims[0] / 2 ? 1.5 : 2.5)),
    dims: x.dims,
  });
  const start = () => ({ data: Float64Array.of(0.3, -1.1, 0.8), dims: [3, 1] });
  const guided = await new DPMSolver(one, linear, { guidance: free({ scale: 6, variant: 'cfg-zero' }) }).sample(
    start(),
    { steps: 8 },
  );
  const alone = await new DPMSolver(
    (x, t) => ({ data: (x.data as Float64Array).map((value) => Math.sin(value + t) + 2.5), dims: x.dims }),
    linear,
  ).sample(start(), { steps: 8 });
  assertClose(guided.sample.data as Float64Array, alone.sample.data as Float64Array, { rtol: 1e-5 }, 'cfg-zero');
});

test('CFG-Zero* leaves the first step of a flow out, where there are enough', async () => {
  const guidance = free({ scale: 4, variant: 'cfg-zero' });
  for (const [steps, made] of [
    [10, 10],
    [11, 10],
    [20, 19],
  ] as const) {
    const { times, calls } = await run(flow, guidance, { steps, tEnd: 0.01 });
    assert.is(calls.length, made, `${steps} steps`);
    assert.is(times.length, made + 1);
  }
  // The state is x_T where the steps that are left begin, and its history is empty: the rest of the grid by itself.
  const { times, data } = await run(flow, free({ scale: 4, variant: 'cfg-zero', zeroSteps: 2 }), {
    steps: 8,
    tEnd: 0.01,
  });
  const rest = await run(flow, free({ scale: 4, variant: 'cfg-zero', zeroSteps: 0 }), { skipType: times });
  assertBitsEqual(data, rest.data, 'the rest');
  assert.is(times.length, 7);
  // Not on other schedules.
  assert.is((await run(linear, guidance, { steps: 20 })).calls.length, 20);
});

test('CFG++ goes on with the unconditional noise', async () => {
  const scale = 0.7;
  for (const schedule of [linear, edm, discrete]) {
    const label = schedule === discrete ? (t: number) => schedule.modelTime(t) : (t: number) => t;
    const answers = (t: number, x: ArrayLike<number>) => {
      const { alpha, sigma } = schedule.node(t);
      return Array.from(x, (value) => ({
        c: exactX0(value, alpha, sigma, CONDITIONAL),
        u: exactX0(value, alpha, sigma, UNCONDITIONAL),
      }));
    };
    for (const order of [1, 2] as const) {
      const steps = 7;
      const byTime = new Map<number, number>();
      const model = (x: Tensor, t: number): Tensor => {
        const time = byTime.get(t)!;
        const found = answers(time, x.data as Float64Array);
        return { data: Float64Array.from(found, ({ c, u }, i) => (i < 6 ? u : c)), dims: x.dims };
      };
      const options: SampleOptions = { steps, order, lowerOrderFinal: false };
      const dry = new DPMSolver(() => ({ data: new Float64Array(6), dims: [2, 3] }), schedule, {
        modelType: 'x_start',
      });
      const { times } = await dry.sample(xT(), options);
      for (const t of times) byTime.set(label(t), t);
      const made = await new DPMSolver(model, schedule, {
        ...{ modelType: 'x_start', guidance: free({ scale, variant: 'cfg++' }) },
      }).sample(xT(), options);
      // By its definition, x / alpha over sigma / alpha; the second order as in ComfyUI's sample_dpmpp_2m_cfg_pp.
      let x = Float64Array.from(xT().data);
      let last: { u: number }[] | undefined;
      for (let i = 0; i < steps; i++) {
        const [from, to] = [schedule.node(times[i]), schedule.node(times[i + 1])];
        const found = answers(times[i], x);
        const h = to.lambda - from.lambda;
        x = Float64Array.from(x, (value, k) => {
          const { c, u } = found[k];
          const guided = u + scale * (c - u);
          let next = to.alpha * guided + (to.sigma / from.sigma) * (value - from.alpha * u);
          if (order === 2 && last) {
            const r = (from.lambda - schedule.node(times[i - 1]).lambda) / h;
            next += (to.alpha * -Math.expm1(-h) * (guided - last[k].u)) / (2 * r);
          }
          return next;
        });
        last = found;
      }
      assertClose(made.sample.data as Float64Array, x, { rtol: 1e-11 }, `${schedule.kind}, order ${order}`);
      // A table of the same rows does the same.
      const table = classicTable(schedule, { steps, order, lowerOrderFinal: false, modelType: 'x_start' });
      const byTable = await new DPMSolver(model, schedule, {
        ...{ modelType: 'x_start', guidance: free({ scale, variant: 'cfg++' }) },
      }).sample(xT(), { table });
      assertClose(byTable.sample.data as Float64Array, x, { rtol: 1e-11 }, `${schedule.kind}, order ${order}, table`);
    }
  }
});

test('the same bits in float16, whatever the threads and how the batch is split', async () => {
  const n = 5000;
  const model = (x: Tensor): Tensor => {
    const { length } = x.data as Float32Array;
    const half = new Uint16Array(length);
    for (let i = 0; i < length; i++) half[i] = 0x3000 + ((i * 7919) % 4096) + (i % 3 === 0 ? 0x8000 : 0);
    return { type: 'float16', data: half, dims: x.dims };
  };
  for (const guidance of [
    free({ scale: 3, variant: 'cfg-zero', rescale: 0.5 }),
    free({ scale: 3, variant: 'apg', eta: 0.2, norm: 20, momentum: -0.4 }),
    free({ scale: 3, rescale: 0.7 }),
  ]) {
    const made: Float32Array[] = [];
    for (const threads of [1, 2, 5]) {
      const data = noise(new Float32Array(2 * n), 9);
      const solver = new DPMSolver(model, linear, { guidance, threads });
      made.push((await solver.sample({ data, dims: [2, n] }, { steps: 5 })).sample.data as Float32Array);
    }
    assertBitsEqual(made[1], made[0], '2 threads');
    assertBitsEqual(made[2], made[0], '5 threads');
  }
});

test('what does not go together is refused', async () => {
  const cases: [GuidanceOption, SampleOptions, SolverOptions, RegExp][] = [
    [
      free({ scale: 2, interval: [3, 1] }),
      {},
      {},
      /two numbers of at least 0, the lower one first, for guidance.interval/,
    ],
    [free({ scale: 2, interval: [1] as never }), {}, {}, /for guidance.interval but received '1'/],
    [free({ scale: 2, variant: 'cgf' as never }), {}, {}, /'cfg'.*for guidance.variant but/],
    [free({ scale: 2, eta: 0 }), {}, {}, /no guidance.eta without variant 'apg'/],
    [free({ scale: 2, variant: 'apg', norm: -1 }), {}, {}, /at least 0 for guidance.norm/],
    [free({ scale: 2, variant: 'apg', momentum: 2 }), {}, {}, /from -1 to 1 for guidance.momentum/],
    [free({ scale: 2, rescale: 2 }), {}, {}, /from 0 to 1 for guidance.rescale/],
    [free({ scale: 2, variant: 'cfg++', rescale: 0.5 }), {}, {}, /0 with variant 'cfg\+\+' for guidance.rescale/],
    [free({ scale: 2, variant: 'cfg++' }), { method: 'singlestep' }, {}, /'multistep' with guidance variant 'cfg\+\+'/],
    [free({ scale: 2, variant: 'cfg++' }), { corrector: 'unic' }, {}, /no corrector with guidance variant/],
    [
      free({ scale: 2, variant: 'cfg++' }),
      {},
      { algorithmType: 'dpmsolver' },
      /'dpmsolver\+\+'.*with guidance variant/,
    ],
    [free({ scale: 2, variant: 'cfg-zero', zeroSteps: 1 }), {}, {}, /0 but on a flow schedule for guidance.zeroSteps/],
    [free({ scale: 2, variant: 'apg', momentum: 0.5 }), { method: 'adaptive' }, {}, /0 with method 'adaptive'/],
    [free({ scale: () => Number.NaN }), {}, {}, /a finite number for guidance.scale\(/],
    [free({ scale: 'two' as never }), {}, {}, /a number for guidance.scale/],
  ];
  for (const [guidance, sample, solver, message] of cases) {
    const kind = /'cfg'|a number for/.test(message.source) ? TypeError : RangeError;
    await assertRejects(() => run(linear, guidance, { steps: 6, ...sample }, solver), kind, message);
  }
});

test.run();
