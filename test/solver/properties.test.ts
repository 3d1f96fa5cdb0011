// What holds for every solver, method, schedule and network, and what API.md says of runs.
import { runInNewContext } from 'node:vm';
import fc from 'fast-check';
import ort from 'onnxruntime-node';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { type Node, predictionRow, ROW, SUM, updateRow } from '../../lib/addon/coefficients.js';
import {
  type AlgorithmType,
  betas,
  DPMSolver,
  devices,
  generator,
  type Model,
  type NetworkType,
  NoiseSchedule,
  type Progress,
  type Run,
  type SampleOptions,
  type ScheduleNode,
  type SolverOptions,
  type Tensor,
} from '../../lib/index.js';
import { convert, step } from '../../lib/native.js';
import { timeGrid } from '../../lib/schedule/grid.js';
import { assertBitsEqual, assertClose, assertRejects, check, noise } from '../support.js';

type Floats = Float32Array | Float64Array;
// biome-ignore lint/suspicious/noExplicitAny: classes of any shape
type Anything = any;

const SCHEDULES = {
  discrete: NoiseSchedule.discrete({ betas: betas('scaled_linear') }),
  official: NoiseSchedule.discrete({ betas: betas('squaredcos_cap_v2'), clip: 'official' }),
  linear: NoiseSchedule.linear(),
  cosine: NoiseSchedule.cosine(),
  flow: NoiseSchedule.flow({ shift: 1.5 }),
  edm: NoiseSchedule.edm(),
};
const MODEL_TYPES = ['noise', 'x_start', 'v', 'score', 'flow'] as const;
const ODE = ['dpmsolver++', 'dpmsolver'] as const;
const SDE = ['sde-dpmsolver++', 'sde-dpmsolver'] as const;
const FIXED = ['multistep', 'singlestep', 'singlestep_fixed'] as const;
const GRIDS = ['time_uniform', 'logSNR', 'time_quadratic', 'karras', 'exponential', 'beta'] as const;
const ORDERS = [1, 2, 3] as const;

/** Both ends with finite lambda. */
function interval(schedule: NoiseSchedule): { tStart: number; tEnd: number } {
  return schedule.kind === 'flow' ? { tStart: 0.97, tEnd: 0.02 } : { tStart: schedule.T, tEnd: schedule.epsilon };
}

/** A noise prediction of no meaning, smooth and bounded. */
const epsilonOf = (x: number, lambda: number) => Math.tanh(0.7 * x) + 0.1 * Math.cos(lambda);

/** The same network in the terms of a model type. */
function outputOf(type: NetworkType, x: number, epsilon: number, { alpha, sigma }: Node): number {
  const x0 = (x - sigma * epsilon) / alpha;
  switch (type) {
    case 'noise':
      return epsilon;
    case 'x_start':
      return x0;
    case 'v':
      return alpha * epsilon - sigma * x0;
    case 'score':
      return -epsilon / sigma;
    case 'flow':
      return epsilon - x0;
  }
}

/** Drives a run by hand with a function of element and node. */
function drive(
  solver: DPMSolver,
  schedule: NoiseSchedule,
  x: Tensor,
  options: SampleOptions,
  f: (x: number, node: ScheduleNode) => number,
): Floats {
  const run = solver.start(x, options);
  while (!run.done) {
    const node = schedule.node(run.time);
    run.advance({ data: (run.x.data as Floats).map((value) => f(value, node)), dims: run.x.dims });
  }
  return run.result.data as Floats;
}

function tensor<T extends Floats>(data: T, dims: number[] = [1, data.length]): Tensor & { data: T; dims: number[] } {
  return { data, dims };
}

const someFloats = (length: number) =>
  fc
    .array(fc.double({ min: -3, max: 3, noNaN: true }), { minLength: length, maxLength: length })
    .map((list) => Float64Array.from(list));

// The mathematics

test('data and noise form agree at order 1, for every model type and schedule', async () => {
  for (const schedule of Object.values(SCHEDULES)) {
    for (const modelType of MODEL_TYPES) {
      await check(
        fc.property(
          someFloats(4),
          fc.constantFrom(...FIXED),
          fc.constantFrom(...GRIDS),
          fc.integer({ min: 1, max: 12 }),
          fc.boolean(),
          (x, method, skipType, steps, back) => {
            const { tStart, tEnd } = interval(schedule);
            // A long step towards noise is a small difference of large terms in data form: it cannot be exact.
            const ends = back ? { tStart: schedule.inverseLambda(1.5), tEnd: tStart } : { tStart, tEnd };
            const [data, noisy] = ODE.map((algorithmType) => {
              const solver = new DPMSolver(null, schedule, { algorithmType, modelType });
              const options = { method, skipType, steps, order: 1, ...ends } as const;
              return drive(solver, schedule, tensor(x), options, (value, node) =>
                outputOf(modelType, value, epsilonOf(value, node.lambda), node),
              );
            });
            assertClose(data, noisy, { rtol: 1e-12, atol: 1e-12, scale: 'max' });
          },
        ),
        { numRuns: 12 },
      );
    }
  }
});

test('the five model types describe one network and give one sample', async () => {
  await check(
    fc.property(
      fc.constantFrom(...Object.values(SCHEDULES)),
      someFloats(4),
      fc.constantFrom(...ODE, ...SDE),
      fc.constantFrom(...FIXED, 'adaptive' as const),
      fc.constantFrom(...ORDERS),
      fc.integer({ min: 3, max: 12 }),
      fc.boolean(),
      (schedule, x, algorithmType, method, order, steps, taylor) => {
        const adaptive = method === 'adaptive';
        if (adaptive && (order === 1 || algorithmType.startsWith('sde'))) return;
        const solverType = taylor ? 'taylor' : 'dpmsolver';
        const options: SampleOptions = { method, order, steps, seed: 3, solverType, ...interval(schedule) };
        const samples = MODEL_TYPES.map((modelType) => {
          const solver = new DPMSolver(null, schedule, { algorithmType, modelType });
          return drive(solver, schedule, tensor(x), options, (value, node) =>
            outputOf(modelType, value, epsilonOf(value, node.lambda), node),
          );
        });
        const rtol = adaptive ? 1e-6 : 1e-9;
        for (const sample of samples) assertClose(sample, samples[0], { rtol, atol: rtol, scale: 'max' });
      },
    ),
    { numRuns: 200 },
  );
});

test('a step of size zero is the identity', async () => {
  await check(
    fc.property(
      fc.double({ min: -8, max: 8, noNaN: true }),
      fc.constantFrom('multistep' as const, 'singlestep' as const),
      fc.constantFrom('data' as const, 'noise' as const),
      fc.constantFrom(...ORDERS),
      fc.boolean(),
      fc.constantFrom(0, 1),
      someFloats(5),
      (lambda, method, form, order, taylor, tau2, values) => {
        const at = (l: number): Node => ({
          alpha: 1 / Math.sqrt(1 + Math.exp(-2 * l)),
          sigma: 1 / Math.sqrt(1 + Math.exp(2 * l)),
          lambda: l,
        });
        const here = at(lambda);
        const others = method === 'multistep' ? [at(lambda - 0.1), at(lambda - 0.3)] : [here, here];
        const nodes = method === 'multistep' ? [here, ...others].slice(0, order) : new Array(order).fill(here);
        const rows = new Float64Array(ROW.length);
        assert.is(predictionRow(rows, 0, 'noise', form, here), 0);
        assert.is(updateRow(rows, 0, { method, form, order, taylor, tau2, target: here, base: here, nodes }), 0);
        const base = Float32Array.from(values);
        const other = () => noise(new Float32Array(5));
        const out = new Float32Array(5);
        const buffers = { x: base, m: other(), base, d1: other(), d2: other(), z: other(), out };
        assert.is(step(rows, buffers, { batch: 1 }), -1);
        assertBitsEqual(out, base);
      },
    ),
    { numRuns: 200 },
  );
});

test('samples that stand at different steps of different grids equal runs of their own, bit for bit', async () => {
  // Sample b begins b rounds later than the first; before and after, its row is that of a step of size zero.
  await check(
    fc.property(
      fc.constantFrom('data' as const, 'noise' as const),
      fc.constantFrom(2 as const, 3 as const),
      fc.array(
        fc.record({
          steps: fc.integer({ min: 3, max: 7 }),
          scale: fc.double({ min: -1, max: 8, noNaN: true }).filter((scale) => scale !== 1),
          skipType: fc.constantFrom(...GRIDS),
          tStart: fc.double({ min: 0.5, max: 1, noNaN: true }),
        }),
        { minLength: 1, maxLength: 4 },
      ),
      (form, order, samples) => {
        const schedule = SCHEDULES.linear;
        const n = 6;
        const B = samples.length;
        const start = noise(new Float32Array(B * n), 11);
        const network = (x: number, t: number, conditional: boolean) =>
          Math.fround(Math.tanh(0.7 * x) + 0.1 * Math.cos(t) + (conditional ? 0.2 * Math.sin(x) : 0));
        const grids = samples.map(({ steps, skipType, tStart }) =>
          timeGrid(schedule, { steps, skipType, tStart, tEnd: 1e-3 }),
        );
        const rounds = Math.max(...samples.map(({ steps }, b) => steps + b));
        const rows = new Float64Array(B * ROW.length);
        let x = start.slice();
        let out = new Float32Array(B * n);
        const m = new Float32Array(2 * B * n);
        const history = Array.from({ length: order - 1 }, () => new Float32Array(B * n));
        for (let round = 0; round < rounds; round++) {
          rows.fill(0);
          samples.forEach(({ steps, scale }, b) => {
            const i = round - b;
            const busy = i >= 0 && i < steps;
            const t = grids[b][busy ? i : 0];
            for (let e = b * n; e < (b + 1) * n; e++) {
              m[e] = network(x[e], t, false);
              m[B * n + e] = network(x[e], t, true);
            }
            if (!busy) {
              rows[b * ROW.length + ROW.first + SUM.a] = 1;
              return;
            }
            const nodes = [i, i - 1, i - 2].filter((k) => k >= 0).map((k) => schedule.node(grids[b][k]));
            const p = Math.min(order, i + 1, steps - i) as 1 | 2 | 3;
            predictionRow(rows, b, 'noise', form, nodes[0], 'classifierFree', scale);
            const target = schedule.node(grids[b][i + 1]);
            const update = { method: 'multistep', form, order: p, target, base: nodes[0] } as const;
            assert.is(updateRow(rows, b, { ...update, nodes: nodes.slice(0, p) }), 0);
          });
          // Of the histories the oldest is overwritten while it is read.
          const oldest = history[history.length - 1];
          const buffers = { x, m, base: x, d1: history[0], d2: history[1], d0: oldest, out };
          assert.is(step(rows, buffers, { batch: B, doubled: true }), -1);
          [x, out] = [out, x];
          history.unshift(history.pop()!);
        }
        samples.forEach(({ steps, scale, skipType, tStart }, b) => {
          const solver = new DPMSolver(null, schedule, {
            algorithmType: form === 'data' ? 'dpmsolver++' : 'dpmsolver',
            guidance: { type: 'classifier-free', scale },
          });
          const xT = tensor(start.slice(b * n, (b + 1) * n));
          const run = solver.start(xT, { steps, order, skipType, tStart, tEnd: 1e-3 });
          while (!run.done) {
            const seen = run.x.data as Float32Array;
            const { time } = run;
            run.advance({ data: seen.map((value, e) => network(value, time, e >= n)), dims: run.x.dims });
          }
          assertBitsEqual(x.slice(b * n, (b + 1) * n), run.result.data as Float32Array, `sample ${b}`);
        });
      },
    ),
    { numRuns: 60 },
  );
});

test("invert, then sample, returns to the start to the method's order", async () => {
  for (const schedule of [SCHEDULES.linear, SCHEDULES.flow, SCHEDULES.edm]) {
    // Both ends where the network changes fast enough for the error to show.
    const [tStart, tEnd] = schedule.kind === 'edm' ? [3, 0.3] : [0.6, 0.15];
    for (const algorithmType of ODE) {
      for (const [method, order, expected] of [
        ['multistep', 1, 1],
        ['multistep', 2, 2],
        ['multistep', 3, 2],
        ['singlestep_fixed', 2, 2],
        ['singlestep_fixed', 3, 3],
      ] as const) {
        const x0 = noise(new Float64Array(8), 5);
        const errors = [24, 96].map((steps) => {
          const solver = new DPMSolver(null, schedule, { algorithmType });
          const options = { method, order, steps, skipType: 'logSNR' } as const;
          const f = (x: number, node: ScheduleNode) => {
            // The exact noise of a normal target with deviation 0.7, and a ripple.
            const gain = node.sigma / (0.49 * node.alpha * node.alpha + node.sigma * node.sigma);
            return gain * (x + 0.1 * Math.sin(2 * x));
          };
          const xT = drive(solver, schedule, tensor(x0), { ...options, tStart: tEnd, tEnd: tStart }, f);
          const again = drive(solver, schedule, tensor(xT as Float64Array), { ...options, tStart, tEnd }, f);
          return Math.max(...again.map((value, i) => Math.abs(value - x0[i])));
        });
        const slope = Math.log(errors[0] / errors[1]) / Math.log(4);
        assert.ok(slope > expected - 0.3, `${schedule.kind} ${algorithmType} ${method} ${order}: ${slope}, ${errors}`);
      }
    }
  }
});

// Batches

/** Acts on every element alone, in a tensor of x's type. */
function elementwise(guidance: SolverOptions['guidance'], batch: number): Model {
  return (x, t) => {
    const data = x.data as Floats;
    const doubled = x.dims[0] === 2 * batch;
    const out = data.map((value, i) => {
      const conditional = guidance?.type === 'classifier-free' && (!doubled || i >= data.length / 2);
      return Math.tanh(0.7 * value) + 0.1 * Math.cos(t) + (conditional ? 0.3 * Math.sin(value) : 0);
    });
    return { data: out, dims: x.dims };
  };
}
const gradient = (x: Tensor): Tensor => ({ data: (x.data as Floats).map((value) => 0.3 * (1 - value)), dims: x.dims });

test('a batch equals its samples alone, bit for bit', async () => {
  await check(
    fc.asyncProperty(
      fc.constantFrom(...ODE, ...SDE),
      fc.constantFrom(...FIXED),
      fc.constantFrom(...ORDERS),
      fc.constantFrom('uncond', 'classifier-free', 'classifier', 'conditional'),
      fc.boolean(),
      fc.integer({ min: 2, max: 4 }),
      fc.constantFrom(1, 7, 16, 19, 64),
      fc.constantFrom('torch' as const, 'philox' as const),
      fc.constantFrom(Float32Array, Float64Array),
      fc.boolean(),
      async (algorithmType, method, order, guided, thresholding, B, n, source, Type, denoiseToZero) => {
        const guidance: SolverOptions['guidance'] =
          guided === 'uncond'
            ? { type: 'uncond' }
            : guided === 'classifier'
              ? { type: 'classifier', scale: 2, gradient }
              : { type: 'classifier-free', scale: guided === 'conditional' ? 1 : 4.5 };
        const data = algorithmType.endsWith('++');
        const solver: SolverOptions = { algorithmType, guidance, thresholding: data && thresholding };
        const seeds = Array.from({ length: B }, (_, b) => 100 + 7 * b);
        const options: SampleOptions = { method, order, steps: 7, noise: source, denoiseToZero };
        const x = noise<Floats>(new Type(B * n), 3);
        const run = (from: Floats, dims: number[], seed: number[]) =>
          new DPMSolver(elementwise(guidance, dims[0]), SCHEDULES.discrete, solver).sample(tensor(from, dims), {
            ...options,
            seed,
          });
        const all = (await run(x, [B, n], seeds)).sample.data as Floats;
        for (let b = 0; b < B; b++) {
          const one = (await run(x.slice(b * n, (b + 1) * n), [1, n], [seeds[b]])).sample.data as Floats;
          assertBitsEqual(all.slice(b * n, (b + 1) * n), one, `sample ${b}`);
        }
      },
    ),
    { numRuns: 150 },
  );
});

// Noise

test('one seed: the draws continue after one randn of the dims of xT', async () => {
  // The network predicts x0 = 0: an SDE step of first order adds its noise and nothing else.
  for (const type of ['float32', 'float64'] as const) {
    for (const dims of [
      [2, 3],
      [2, 10],
      [3, 1, 7],
    ]) {
      const g = generator(42);
      const xT = g.randn(dims, { type });
      const schedule = SCHEDULES.linear;
      const run = new DPMSolver(null, schedule, { algorithmType: 'sde-dpmsolver++', modelType: 'x_start' }).start(xT, {
        steps: 3,
        order: 1,
        seed: 42,
        skipType: [1, 0.6, 0.3, 0.1],
      });
      let x = Float64Array.from(xT.data);
      const zero = tensor(type === 'float64' ? new Float64Array(x.length) : new Float32Array(x.length), dims);
      for (const [s, t] of [
        [1, 0.6],
        [0.6, 0.3],
        [0.3, 0.1],
      ]) {
        run.advance(zero);
        const [from, to] = [schedule.node(s), schedule.node(t)];
        const h = to.lambda - from.lambda;
        const z = g.randn(dims, { type }).data;
        const sqrt = Math.sqrt(-Math.expm1(-2 * h));
        x = x.map((value, i) => (to.sigma / from.sigma) * Math.exp(-h) * value + to.sigma * sqrt * z[i]);
      }
      assertClose(run.result.data as Floats, x, { rtol: type === 'float64' ? 1e-13 : 1e-6, scale: 'max' });
    }
  }
});

test('a seed reproduces, another one does not, and a chosen one is returned', async () => {
  const x = tensor(noise(new Float32Array(12)), [3, 4]);
  for (const algorithmType of SDE) {
    for (const source of ['torch', 'philox'] as const) {
      for (const method of FIXED) {
        const solver = new DPMSolver(elementwise(undefined, 3), SCHEDULES.linear, { algorithmType });
        const sample = async (seed?: number | number[]) =>
          await solver.sample(x, { steps: 4, seed, noise: source, method });
        const data = async (seed?: number | number[]) => (await sample(seed)).sample.data as Float32Array;
        assertBitsEqual(await data(5), await data(5));
        assertBitsEqual(await data([5, 6, 7]), await data([5, 6, 7]));
        assert.not.equal(await data(5), await data(6));
        const chosen = await sample();
        assert.type(chosen.seed, 'number');
        assertBitsEqual(await data(chosen.seed as number), chosen.sample.data as Float32Array);
        assert.not.equal((await sample()).seed, chosen.seed);
        const seeds = [5, 6, 7];
        const given = await sample(seeds);
        assert.equal(given.seed, seeds);
        assert.is.not(given.seed, seeds);
      }
    }
  }
  // A run by hand tells it too.
  const byHand = (seed?: number) => {
    const solver = new DPMSolver(null, SCHEDULES.linear, { algorithmType: 'sde-dpmsolver++' });
    const run = solver.start(x, { steps: 2, seed });
    while (!run.done) run.advance(run.x);
    return run;
  };
  const chosen = byHand();
  assertBitsEqual(byHand(chosen.seed as number).result.data as Float32Array, chosen.result.data as Float32Array);
  const ode = await new DPMSolver(elementwise(undefined, 3), SCHEDULES.linear).sample(x, { steps: 4, seed: 5 });
  assert.is(ode.seed, undefined);
});

test('seeds may be negative, and stages of SDE steps draw noise of their own', async () => {
  const x = tensor(new Float64Array(20));
  for (const source of ['torch', 'philox'] as const) {
    const states: Float64Array[] = [];
    const zero = { data: new Float64Array(20), dims: x.dims };
    const solver = new DPMSolver(null, SCHEDULES.linear, { algorithmType: 'sde-dpmsolver++', modelType: 'x_start' });
    const run = solver.start(x, { method: 'singlestep_fixed', order: 2, steps: 2, seed: -7, noise: source });
    while (!run.done) {
      run.advance(zero);
      states.push((run.x.data as Float64Array).slice());
    }
    // Stage and step: each sigma_t sqrt(1 - e^-2h) z from the same start, so that equal z would be proportional.
    const ratio = states[1][0] / states[0][0];
    assert.ok(states[1].some((value, i) => Math.abs(value / states[0][i] - ratio) > 1e-3));
  }
});

// The run

test('start() driven by hand equals sample(), bit for bit', async () => {
  for (const algorithmType of [...ODE, ...SDE]) {
    for (const method of [...FIXED, 'adaptive'] as const) {
      for (const order of ORDERS) {
        if (method === 'adaptive' && (order === 1 || algorithmType.startsWith('sde'))) continue;
        for (const guidance of [
          { type: 'uncond' },
          { type: 'classifier-free', scale: 3 },
          { type: 'classifier', scale: 3, gradient },
        ] as const) {
          const model = elementwise(guidance, 2);
          const x = tensor(noise(new Float32Array(10)), [2, 5]);
          const options: SampleOptions = { method, order, steps: 7, seed: 8, denoiseToZero: true };
          const { sample, nfe } = await new DPMSolver(model, SCHEDULES.cosine, { algorithmType, guidance }).sample(
            x,
            options,
          );
          const run = new DPMSolver(null, SCHEDULES.cosine, { algorithmType, guidance }).start(x, options);
          while (!run.done) {
            assert.is(run.t, SCHEDULES.cosine.modelTime(run.time));
            assert.is(run.x.dims[0], guidance.type === 'classifier-free' ? 4 : 2);
            const g = guidance.type === 'classifier' ? gradient(run.x) : undefined;
            run.advance((await model(run.x, run.t)) as Tensor, g);
          }
          assert.is(run.nfe, nfe);
          assertBitsEqual(run.result.data as Float32Array, sample.data as Float32Array);
          assert.is.not(run.result.data, run.x.data);
        }
      }
    }
  }
});

test('classifier-free guidance is a run on the combined model', async () => {
  for (const scale of [0, 0.5, 1, 7.5, -2]) {
    for (const algorithmType of ODE) {
      for (const modelType of MODEL_TYPES) {
        const seen: number[] = [];
        const guided: Model = (x, t) => {
          seen.push(x.dims[0]);
          return elementwise({ type: 'classifier-free', scale }, 2)(x, t);
        };
        const combined: Model = (x, t) => {
          const data = (x.data as Float64Array).map((value) => {
            const u = Math.tanh(0.7 * value) + 0.1 * Math.cos(t);
            return u + scale * 0.3 * Math.sin(value);
          });
          return { data, dims: x.dims };
        };
        const x = tensor(noise(new Float64Array(8)), [2, 4]);
        const schedule = SCHEDULES.flow;
        const options = { ...interval(schedule), steps: 6, order: 3 } as const;
        const guidance = { type: 'classifier-free', scale } as const;
        const a = await new DPMSolver(guided, schedule, { algorithmType, modelType, guidance }).sample(x, options);
        const b = await new DPMSolver(combined, schedule, { algorithmType, modelType }).sample(x, options);
        assertClose(a.sample.data as Floats, b.sample.data as Floats, { rtol: 1e-9, scale: 'max' });
        assert.equal(seen, new Array(6).fill(scale === 1 ? 2 : 4));
        assert.is(a.nfe, 6);
        assert.equal(a.sample.dims, [2, 4]);
      }
    }
  }
});

test('the two halves of a doubled batch are both the state', () => {
  for (const modelDtype of [undefined, 'float16'] as const) {
    const solver = new DPMSolver(null, SCHEDULES.linear, {
      guidance: { type: 'classifier-free', scale: 2 },
      modelDtype,
    });
    const run = solver.start(tensor(noise(new Float32Array(6)), [2, 3]), { steps: 4, order: 2, method: 'singlestep' });
    while (!run.done) {
      const data = run.x.data as Float32Array;
      assert.equal(run.x.dims, [4, 3]);
      assertBitsEqual(data.slice(0, 6), data.slice(6));
      run.advance({ data: new Float32Array(12).fill(0.1), dims: [4, 3] });
    }
    assert.equal(run.result.dims, [2, 3]);
  }
});

test('classifier guidance is a run on the combined model, whatever the model type', async () => {
  for (const schedule of [SCHEDULES.linear, SCHEDULES.edm, SCHEDULES.flow]) {
    for (const algorithmType of ODE) {
      for (const modelType of MODEL_TYPES) {
        for (const scale of [0, 1, 3.5]) {
          const x = tensor(noise(new Float64Array(6)), [2, 3]);
          const options = { ...interval(schedule), steps: 6 };
          const run = new DPMSolver(null, schedule, {
            algorithmType,
            modelType,
            guidance: { type: 'classifier', scale },
          }).start(x, options);
          while (!run.done) {
            const node = schedule.node(run.time);
            const data = (run.x.data as Float64Array).map((value) =>
              outputOf(modelType, value, epsilonOf(value, node.lambda), node),
            );
            run.advance({ data, dims: run.x.dims }, gradient(run.x));
          }
          const plain = new DPMSolver(null, schedule, { algorithmType, modelType: 'noise' });
          const expected = drive(
            plain,
            schedule,
            x,
            options,
            (value, node) => epsilonOf(value, node.lambda) - scale * node.sigma * 0.3 * (1 - value),
          );
          assertClose(run.result.data as Floats, expected, { rtol: 1e-9, scale: 'max' });
        }
      }
    }
  }
});

test('the classifier is asked at x and t of every evaluation, and counts for nothing', async () => {
  const asked: [number, number][] = [];
  const solver = new DPMSolver(
    (x, t) => {
      asked.push([t, (x.data as Float32Array)[0]]);
      return elementwise(undefined, 1)(x, t);
    },
    SCHEDULES.discrete,
    {
      guidance: {
        type: 'classifier',
        scale: 2,
        gradient: async (x, t) => {
          assert.equal([t, (x.data as Float32Array)[0]], asked[asked.length - 1]);
          return gradient(x);
        },
      },
    },
  );
  const { nfe } = await solver.sample(tensor(noise(new Float32Array(4))), { steps: 5 });
  assert.is(nfe, 5);
  assert.is(asked.length, 5);
});

test('evaluations are as many as documented', async () => {
  for (const method of FIXED) {
    for (const order of ORDERS) {
      for (let steps = 1; steps <= 20; steps++) {
        if (method !== 'singlestep' && steps < order) continue;
        for (const denoiseToZero of [false, true]) {
          for (const skipType of ['time_uniform', 'logSNR'] as const) {
            let calls = 0;
            const model: Model = (x) => {
              calls++;
              return { data: new Float32Array((x.data as Float32Array).length), dims: x.dims };
            };
            const guidance = { type: 'classifier-free', scale: 2 } as const;
            const solver = new DPMSolver(model, SCHEDULES.linear, { guidance });
            const options = { method, order, steps, denoiseToZero, skipType };
            const { nfe } = await solver.sample(tensor(new Float32Array(2)), options);
            const expected = method === 'singlestep_fixed' ? Math.floor(steps / order) * order : steps;
            assert.is(nfe, expected + (denoiseToZero ? 1 : 0), JSON.stringify(options));
            assert.is(calls, nfe);
          }
        }
      }
    }
  }
});

test('adaptive ignores steps', async () => {
  const solver = new DPMSolver(elementwise(undefined, 1), SCHEDULES.linear);
  const x = tensor(noise(new Float32Array(4)));
  const [a, b] = [1, 500].map((steps) => solver.sample(x, { method: 'adaptive', steps }));
  assertBitsEqual((await a).sample.data as Float32Array, (await b).sample.data as Float32Array);
  assert.is((await a).nfe, (await b).nfe);
});

test('rejected steps of the PI controller reuse their first evaluation, those of the published one do not', async () => {
  for (const controller of ['pi', 'integral'] as const) {
    for (const order of [2, 3] as const) {
      const asked: number[] = [];
      const solver = new DPMSolver((x, t) => {
        asked.push(t);
        // A network that turns over near t = 0.4 makes the steps too long there.
        return {
          data: (x.data as Float64Array).map((value) => Math.tanh(value) + Math.tanh(40 * (t - 0.4))),
          dims: x.dims,
        };
      }, SCHEDULES.linear);
      const options = { method: 'adaptive', order, controller, atol: 1e-3, rtol: 1e-3 } as const;
      const { nfe, times } = await solver.sample(tensor(noise(new Float64Array(4))), options);
      const starts = times.slice(0, -1);
      const repeats = starts.map((t) => asked.filter((at) => at === t).length);
      assert.is(asked.length, nfe);
      const rejected = repeats.some((count) => count > 1);
      if (controller === 'pi') {
        assert.not(rejected);
        // One evaluation at each start; order - 1 for each attempt.
        assert.is((nfe - starts.length) % (order - 1), 0);
        assert.ok((nfe - starts.length) / (order - 1) > starts.length, 'no step was rejected');
      } else {
        assert.ok(rejected, 'no step was rejected');
        assert.is(nfe % order, 0);
      }
    }
  }
});

test('a PI run goes all the way to tEnd', async () => {
  // The published code stops 1e-5 short of it. x0 = 0.5 for sure: every step is exact.
  const model: Model = (x) => ({ data: new Float64Array([0.5]), dims: x.dims });
  const solver = new DPMSolver(model, SCHEDULES.edm, { modelType: 'x_start' });
  const x = tensor(Float64Array.of(3));
  const { sample, times } = await solver.sample(x, { method: 'adaptive', tStart: 1e-3, tEnd: 1e-8 });
  assert.is(times[times.length - 1], 1e-8);
  assertClose((sample.data as Float64Array)[0] - 0.5, 2.5e-5, { rtol: 1e-9 });
});

test('an adaptive batch takes its largest error', async () => {
  const quiet = noise(new Float64Array(4), 2).map((value) => 1e-6 * value);
  const loud = noise(new Float64Array(4), 3);
  const both = Float64Array.of(...quiet, ...loud);
  const run = (data: Float64Array, dims: number[]) =>
    new DPMSolver(elementwise(undefined, dims[0]), SCHEDULES.edm).sample(
      { data, dims },
      { method: 'adaptive', order: 3, atol: 1e-3, rtol: 1e-3 },
    );
  const [a, b, c] = [await run(quiet, [1, 4]), await run(loud, [1, 4]), await run(both, [2, 4])];
  assert.ok(a.nfe <= c.nfe && b.nfe <= c.nfe, `${a.nfe} ${b.nfe} ${c.nfe}`);
});

// States

test("times and intermediates: start, each completed step, denoised result; the memory is the caller's own", async () => {
  const counts: Record<string, (steps: number, order: number) => number> = {
    multistep: (steps) => steps,
    singlestep: (steps, order) => Math.ceil(steps / order) + (order === 3 && steps % 3 === 0 ? 1 : 0),
    singlestep_fixed: (steps, order) => Math.floor(steps / order),
  };
  for (const method of [...FIXED, 'adaptive'] as const) {
    for (const order of ORDERS) {
      if (method === 'adaptive' && order === 1) continue;
      for (const denoiseToZero of [false, true]) {
        for (const Type of [Float32Array, Float64Array]) {
          const x = tensor(noise<Floats>(new Type(4)), [2, 2]);
          const copies: Floats[] = [(x.data as Floats).slice()];
          const progress: Progress[] = [];
          const solver = new DPMSolver(elementwise(undefined, 2), SCHEDULES.linear);
          const result = await solver.sample(x, {
            method,
            order,
            steps: 7,
            denoiseToZero,
            intermediates: true,
            onStep: (p) => {
              copies.push((p.x.data as Floats).slice());
              progress.push({ ...p });
            },
          });
          const { sample, intermediates, times, nfe } = result;
          const steps = method === 'adaptive' ? times.length - 1 - (denoiseToZero ? 1 : 0) : counts[method](7, order);
          const what = `${method} ${order} ${denoiseToZero}`;
          assert.is(times.length, steps + (denoiseToZero ? 2 : 1), what);
          assert.is(intermediates!.length, times.length, what);
          assert.is(times[0], 1);
          assert.is(times[steps], 1e-3);
          if (denoiseToZero) assert.is(times[steps + 1], 0);
          for (let i = 1; i < times.length; i++) assert.ok(times[i] < times[i - 1], what);
          intermediates!.forEach((state, i) => {
            assertBitsEqual(state.data as Floats, copies[i], `${what}, state ${i}`);
            assert.equal(state.dims, [2, 2]);
          });
          assertBitsEqual(sample.data as Floats, copies[copies.length - 1]);
          const buffers = new Set([x, sample, ...intermediates!].map((one) => (one.data as Floats).buffer));
          assert.is(buffers.size, intermediates!.length + 2);
          // onStep
          progress.forEach((p, i) => {
            assert.is(p.step, i + 1);
            assert.is(p.steps, method === 'adaptive' ? 0 : times.length - 1);
            assert.is(p.t, times[i + 1]);
            if (i > 0) assert.ok(p.nfe > progress[i - 1].nfe);
            assert.equal(p.x.dims, [2, 2]);
          });
          assert.is(progress[progress.length - 1].nfe, nfe);
        }
      }
    }
  }
  const plain = await new DPMSolver(elementwise(undefined, 1), SCHEDULES.linear).sample(tensor(new Float32Array(2)));
  assert.not('intermediates' in plain);
  assert.is(plain.times.length, 21);
});

test('the ends of runs: defaults, either direction, lists of times', async () => {
  const model = elementwise(undefined, 1);
  const x = tensor(noise(new Float32Array(3)));
  const ends = async (promise: Promise<{ times: number[] }>) => {
    const { times } = await promise;
    return [times[0], times[times.length - 1], times.length - 1];
  };
  for (const schedule of [SCHEDULES.discrete, SCHEDULES.linear, SCHEDULES.cosine, SCHEDULES.edm]) {
    const solver = new DPMSolver(model, schedule);
    assert.equal(await ends(solver.sample(x)), [schedule.T, schedule.epsilon, 20]);
    assert.equal(await ends(solver.invert(x)), [schedule.epsilon, schedule.T, 20]);
  }
  const solver = new DPMSolver(model, SCHEDULES.linear);
  assert.equal(await ends(solver.sample(x, { tStart: 0.7, tEnd: 0.2, steps: 5 })), [0.7, 0.2, 5]);
  assert.equal(await ends(solver.invert(x, { tStart: 0.2, tEnd: 0.7, steps: 5 })), [0.2, 0.7, 5]);
  assert.equal(await ends(solver.sample(x, { tStart: 0.2, tEnd: 0.7, steps: 5 })), [0.2, 0.7, 5]);
  const skipType = [0.9, 0.5, 0.45, 0.1];
  assert.equal((await solver.sample(x, { skipType })).times, skipType);
  assert.equal((await solver.sample(x, { skipType, steps: 3, tStart: 0.9, tEnd: 0.1 })).times, skipType);
  assert.equal((await solver.invert(x, { skipType: [0.1, 0.5, 0.9] })).times, [0.1, 0.5, 0.9]);
  // Singlestep takes outer nodes of the list and puts stages between them in lambda.
  const asked: number[] = [];
  const own = new DPMSolver((seen, t) => {
    asked.push(t);
    return model(seen, t);
  }, SCHEDULES.linear);
  const { times, nfe } = await own.sample(x, { skipType, method: 'singlestep', order: 2 });
  assert.equal(times, [0.9, 0.45, 0.1]);
  assert.is(nfe, 3);
  const [a, b] = [0.9, 0.45].map((t) => SCHEDULES.linear.lambda(t));
  assertClose(SCHEDULES.linear.lambda(asked[1]), (a + b) / 2, { rtol: 1e-12 });
});

test('a list of times equals the grid that it lists', async () => {
  for (const skipType of GRIDS) {
    const schedule = SCHEDULES.cosine;
    const list = [...timeGrid(schedule, { skipType, steps: 6 })];
    const solver = new DPMSolver(elementwise(undefined, 1), schedule);
    const x = tensor(noise(new Float32Array(3)));
    const [a, b] = await Promise.all([solver.sample(x, { skipType, steps: 6 }), solver.sample(x, { skipType: list })]);
    assertBitsEqual(a.sample.data as Float32Array, b.sample.data as Float32Array, skipType);
  }
});

test('lowerOrderFinal: below 10 steps, never, or below a number', async () => {
  const x = tensor(noise(new Float64Array(3)));
  const solver = new DPMSolver(elementwise(undefined, 1), SCHEDULES.linear);
  const run = async (steps: number, lowerOrderFinal?: boolean | number) =>
    (await solver.sample(x, { steps, order: 3, lowerOrderFinal })).sample.data as Float64Array;
  assertBitsEqual(await run(9), await run(9, true));
  assertBitsEqual(await run(9), await run(9, 10));
  assert.not.equal(await run(9), await run(9, false));
  assertBitsEqual(await run(10), await run(10, false));
  assert.not.equal(await run(10), await run(10, 15));
  assertBitsEqual(await run(15, 15), await run(15, false));
});

test('nothing that the caller passes in is written to', async () => {
  for (const algorithmType of [...ODE, ...SDE]) {
    for (const method of [...FIXED, 'adaptive'] as const) {
      if (method === 'adaptive' && algorithmType.startsWith('sde')) continue;
      for (const guidance of [
        { type: 'uncond' },
        { type: 'classifier-free', scale: 3 },
        { type: 'classifier', scale: 3 },
      ] as const) {
        const xT = noise(new Float32Array(6));
        const before = xT.slice();
        const seeds = [1, 2];
        const data = algorithmType.endsWith('++');
        const solver = new DPMSolver(null, SCHEDULES.linear, { algorithmType, guidance, thresholding: data });
        const run = solver.start(tensor(xT, [2, 3]), { method, order: 3, steps: 6, seed: seeds, denoiseToZero: true });
        while (!run.done && run.nfe < 30) {
          const n = (run.x.data as Float32Array).length;
          const output = noise(new Float32Array(n), run.nfe + 1);
          const g = guidance.type === 'classifier' ? noise(new Float32Array(n), run.nfe + 50) : undefined;
          const [keptOutput, keptGradient] = [output.slice(), g?.slice()];
          run.advance({ data: output, dims: run.x.dims }, g && { data: g, dims: run.x.dims });
          assertBitsEqual(output, keptOutput);
          if (g) assertBitsEqual(g, keptGradient!);
        }
        assertBitsEqual(xT, before);
        assert.equal(seeds, [1, 2]);
      }
    }
  }
});

test('a network may return what it was given, or one tensor again and again', async () => {
  const x = tensor(noise(new Float32Array(6)), [2, 3]);
  for (const method of [...FIXED, 'adaptive'] as const) {
    const fresh: Model = (seen) => ({ data: (seen.data as Float32Array).slice(), dims: seen.dims });
    const out = { data: new Float32Array(6), dims: [2, 3] };
    const models: Model[] = [
      (seen) => seen,
      (seen) => {
        out.data.set(seen.data as Float32Array);
        return out;
      },
    ];
    const options = { method, order: 3, steps: 7 } as const;
    const expected = await new DPMSolver(fresh, SCHEDULES.edm).sample(x, options);
    for (const model of models) {
      const { sample } = await new DPMSolver(model, SCHEDULES.edm).sample(x, options);
      assertBitsEqual(sample.data as Float32Array, expected.sample.data as Float32Array);
    }
  }
});

test('runs of one solver do not disturb each other', async () => {
  const solver = new DPMSolver(async (x, t) => elementwise(undefined, 1)(x, t), SCHEDULES.linear, {
    algorithmType: 'sde-dpmsolver++',
    thresholding: true,
  });
  const inputs = [1, 2, 3].map((seed) => tensor(noise(new Float32Array(5), seed)));
  const together = await Promise.all(inputs.map((x, seed) => solver.sample(x, { seed, order: 3 })));
  for (let seed = 0; seed < 3; seed++) {
    const alone = await solver.sample(inputs[seed], { seed, order: 3 });
    assertBitsEqual(together[seed].sample.data as Float32Array, alone.sample.data as Float32Array);
  }
});

// Types and tensor classes

function half(values: ArrayLike<number>): Uint16Array {
  const bits = new Uint16Array(values.length);
  convert(Float32Array.from(values), bits);
  return bits;
}
function single(bits: Anything): Float32Array {
  const values = new Float32Array(bits.length);
  convert(bits, values);
  return values;
}

test('a float16 xT: the network and the results are float16, the state is float32', async () => {
  const bits = half(noise(new Float32Array(6)));
  const seen: Tensor[] = [];
  const model: Model = (x) => {
    seen.push(x);
    assert.is(x.type, 'float16');
    assert.instance(x.data, Uint16Array);
    return { data: half(single(x.data).map((value) => 0.5 * value)), dims: x.dims, type: 'float16' };
  };
  const solver = new DPMSolver(model, SCHEDULES.linear);
  const options = { steps: 12, order: 2, intermediates: true } as const;
  const { sample, intermediates } = await solver.sample({ data: bits, dims: [2, 3], type: 'float16' }, options);
  assert.is(sample.type, 'float16');
  for (const state of [sample, ...intermediates!]) assert.instance(state.data, Uint16Array);
  assert.equal(intermediates![0].data, bits);
  // By hand with a float32 state that is rounded for the network only.
  const run = new DPMSolver(null, SCHEDULES.linear).start(tensor(single(bits), [2, 3]), options);
  while (!run.done) {
    const data = half(single(half(run.x.data as Float32Array)).map((value) => 0.5 * value));
    run.advance({ data, dims: [2, 3], type: 'float16' });
  }
  assert.equal(sample.data, half(run.result.data as Float32Array));
});

test('modelDtype: what the network is given, whatever the state', async () => {
  for (const [Type, type] of [
    [Float32Array, 'float32'],
    [Float64Array, 'float64'],
  ] as const) {
    for (const modelDtype of ['float16', 'float32', 'float64'] as const) {
      const classes = { float16: Uint16Array, float32: Float32Array, float64: Float64Array };
      const model: Model = (x) => {
        assert.is(x.type, modelDtype);
        assert.instance(x.data, classes[modelDtype]);
        const values = new Type((x.data as Floats).length);
        convert(x.data as Floats, values);
        return { data: values.map((value) => 0.5 * value), dims: x.dims };
      };
      const solver = new DPMSolver(model, SCHEDULES.linear, { modelDtype });
      const onStep = ({ x }: Progress) => assert.instance(x.data, Type);
      const { sample } = await solver.sample(tensor(noise<Floats>(new Type(4))), { steps: 5, onStep });
      assert.instance(sample.data, Type);
      assert.is(sample.type, type);
      const plain = new DPMSolver(
        (x) => ({ data: (x.data as Floats).map((v) => 0.5 * v), dims: x.dims }),
        SCHEDULES.linear,
      );
      const expected = await plain.sample(tensor(noise<Floats>(new Type(4))), { steps: 5 });
      const rtol = modelDtype === 'float16' ? 2e-2 : 1e-6;
      assertClose(sample.data as Floats, expected.sample.data as Floats, { rtol, scale: 'max' });
    }
  }
});

test('a float16 xT with a float32 network', async () => {
  const bits = half(noise(new Float32Array(6)));
  const states: Tensor[] = [];
  const model: Model = (x) => {
    assert.instance(x.data, Float32Array);
    assert.is(x.type, 'float32');
    return { data: (x.data as Float32Array).map((value) => 0.5 * value), dims: x.dims };
  };
  const solver = new DPMSolver(model, SCHEDULES.linear, { modelDtype: 'float32' });
  const options = { steps: 5, onStep: ({ x }: Progress) => states.push({ ...x }) } as const;
  const { sample } = await solver.sample({ data: bits, dims: [2, 3], type: 'float16' }, options);
  const plain = await new DPMSolver(model, SCHEDULES.linear).sample(tensor(single(bits), [2, 3]), { steps: 5 });
  assert.equal(sample.data, half(plain.sample.data as Float32Array));
  for (const state of states) assert.instance(state.data, Uint16Array);
});

class OwnTensor {
  reads = { data: 0, dims: 0, type: 0 };
  readonly #parts: { type: string; data: unknown; dims: number[] };
  constructor(type: string, data: unknown, dims: number[]) {
    assert.type(type, 'string');
    this.#parts = { type, data, dims };
  }
  get data() {
    this.reads.data++;
    return this.#parts.data;
  }
  get dims() {
    this.reads.dims++;
    return this.#parts.dims;
  }
  get type() {
    this.reads.type++;
    return this.#parts.type;
  }
}

/** As transformers.js' tensors are: what comes out of the constructor is a proxy. */
class ProxyTensor extends OwnTensor {
  constructor(type: string, data: unknown, dims: number[]) {
    super(type, data, dims);
    // biome-ignore lint/correctness/noConstructorReturn: that is what such classes do
    return new Proxy(this, { get: (target, key) => Reflect.get(target, key, target) });
  }
}

test('what comes back has the class of what came in', async () => {
  for (const Class of [OwnTensor, ProxyTensor]) {
    for (const method of [...FIXED, 'adaptive'] as const) {
      const xT = new Class('float32', noise(new Float32Array(6)), [2, 3]);
      const outputs: OwnTensor[] = [];
      const model: Model = (x) => {
        assert.instance(x, Class);
        const out = new Class(
          'float32',
          (x.data as Float32Array).map((value) => 0.3 * value),
          [...x.dims],
        );
        outputs.push(out);
        return out;
      };
      const solver = new DPMSolver(model, SCHEDULES.linear);
      const { sample, intermediates } = await solver.sample(xT, { steps: 6, method, intermediates: true });
      assert.instance(sample, Class);
      for (const state of intermediates!) assert.instance(state, Class);
      // Each access may cost: once per call.
      for (const { reads } of [xT, ...outputs]) assert.equal(reads, { data: 1, dims: 1, type: 1 });
      assert.equal(sample.dims, [2, 3]);
      assert.is(sample.type, 'float32');
    }
  }
  const plain = await new DPMSolver((x) => x, SCHEDULES.linear).sample(tensor(noise(new Float32Array(2))));
  assert.is(Object.getPrototypeOf(plain.sample), Object.prototype);
  const bare = Object.assign(Object.create(null), tensor(noise(new Float32Array(2))));
  const { sample } = await new DPMSolver((x) => x, SCHEDULES.linear).sample(bare);
  assert.is(Object.getPrototypeOf(sample), Object.prototype);
  assert.equal(sample.data, plain.sample.data);
});

test('members of a tensor are read once per call', () => {
  const reads: string[] = [];
  class Counted {
    declare readonly type: string;
    declare readonly data: Float32Array;
    declare readonly dims: number[];
    constructor(type: string, data: Float32Array, dims: number[]) {
      Object.assign(this, { type, data, dims });
      // biome-ignore lint/correctness/noConstructorReturn: as tensor classes that are proxies do
      return new Proxy(this, {
        get(target, key, receiver) {
          if (key !== 'constructor') reads.push(String(key));
          return Reflect.get(target, key, receiver);
        },
      });
    }
  }
  const once = (call: () => unknown) => {
    reads.length = 0;
    const result = call();
    assert.equal(reads.sort(), ['data', 'dims', 'type']);
    return result;
  };
  const schedule = NoiseSchedule.linear();
  for (const scale of [1, 2]) {
    for (const [method, order] of [
      ['multistep', 3],
      ['singlestep', 3],
      ['adaptive', 2],
    ] as const) {
      const solver = new DPMSolver(null, schedule, { guidance: { type: 'classifier-free', scale } });
      const xT = new Counted('float32', Float32Array.of(1, -1, 0.5, 2), [2, 2]);
      const run = once(() => solver.start(xT, { steps: 6, method, order })) as Run;
      while (!run.done) {
        const n = scale === 1 ? 4 : 8;
        const output = new Counted('float32', new Float32Array(n).fill(0.1), [n / 2, 2]);
        once(() => run.advance(output));
      }
      assert.instance(run.result, Counted);
      once(() => solver.addNoise(xT, 0.5));
    }
  }
});

test('arrays of another realm', async () => {
  const Foreign = runInNewContext('Float32Array') as typeof Float32Array;
  const values = noise(new Float32Array(4));
  const solver = new DPMSolver((x) => ({ data: Foreign.from(x.data as Float32Array), dims: [4] }), SCHEDULES.linear);
  const { sample } = await solver.sample({ data: Foreign.from(values), dims: [4] }, { steps: 3 });
  const own = new DPMSolver((x) => x, SCHEDULES.linear);
  const expected = await own.sample({ data: values, dims: [4] }, { steps: 3 });
  assertBitsEqual(Float32Array.from(sample.data as Float32Array), expected.sample.data as Float32Array);
});

test('plain objects of another realm', async () => {
  const data = noise(new Float32Array(4));
  const foreign = runInNewContext('({ data, dims: [1, 4] })', { data }) as Tensor;
  const bare = runInNewContext('Object.assign(Object.create(null), { data, dims: [1, 4] })', { data }) as Tensor;
  const own = { data, dims: [1, 4] };
  const solver = new DPMSolver((x) => x, SCHEDULES.linear, { modelDtype: 'float16' });
  const expected = await solver.sample(own, { steps: 3 });
  for (const xT of [foreign, bare]) {
    const { sample } = await solver.sample(xT, { steps: 3 });
    assert.equal(sample, expected.sample);
    assert.equal(solver.addNoise(xT, 0.5, own), solver.addNoise(own, 0.5, own));
  }
});

test("onnxruntime's tensors, in and out", async () => {
  const data = noise(new Float32Array(12));
  const model: Model = (x) => {
    assert.instance(x, ort.Tensor);
    return new ort.Tensor(
      'float32',
      (x.data as Float32Array).map((value) => 0.3 * value),
      x.dims,
    );
  };
  const guidance = { type: 'classifier-free', scale: 2 } as const;
  for (const options of [{}, { guidance }, { correctX0: (x0: Tensor) => x0 }, { correctXt: (x: Tensor) => x }]) {
    const solver = new DPMSolver(model, SCHEDULES.linear, options);
    const { sample, intermediates } = await solver.sample(new ort.Tensor('float32', data.slice(), [1, 3, 2, 2]), {
      steps: 5,
      intermediates: true,
    });
    assert.instance(sample, ort.Tensor);
    assert.instance(intermediates![2], ort.Tensor);
    assert.equal(sample.dims, [1, 3, 2, 2]);
    const plain = new DPMSolver(
      (x) => ({ data: (x.data as Float32Array).map((value) => 0.3 * value), dims: x.dims }),
      SCHEDULES.linear,
      options,
    );
    const expected = await plain.sample(tensor(data.slice(), [1, 3, 2, 2]), { steps: 5 });
    assertBitsEqual(sample.data as Float32Array, expected.sample.data as Float32Array);
  }
  const added = new DPMSolver(null, SCHEDULES.linear).addNoise(
    new ort.Tensor('float64', new Float64Array(4), [4]),
    0.5,
  );
  assert.instance(added, ort.Tensor);
  assert.is(added.type, 'float64');
});

test('addNoise is alpha x0 + sigma noise, in the class and type of x0', () => {
  for (const schedule of Object.values(SCHEDULES)) {
    const solver = new DPMSolver(null, schedule);
    for (const t of [interval(schedule).tEnd, 0.5, interval(schedule).tStart]) {
      const { alpha, sigma } = schedule.node(t);
      const [x0, z] = [noise(new Float64Array(6), 1), noise(new Float64Array(6), 2)];
      const kept = [x0.slice(), z.slice()];
      const added = solver.addNoise(tensor(x0, [2, 3]), t, tensor(z, [2, 3]));
      const expected = x0.map((value, i) => alpha * value + sigma * z[i]);
      assertClose(added.data as Floats, expected, { rtol: 1e-15, scale: 'max' });
      assert.equal([x0, z], kept);
      assert.equal(added.dims, [2, 3]);
    }
  }
  const solver = new DPMSolver(null, SCHEDULES.flow);
  const x0 = tensor(noise(new Float32Array(4000)), [4, 1000]);
  assertBitsEqual(solver.addNoise(x0, 0).data as Float32Array, x0.data);
  // Noise of its own where none is given: standard normal, another one each time.
  const [a, b] = [1, 2].map(() => solver.addNoise(x0, 1).data as Float32Array);
  assert.not.equal(a, b);
  const variance = a.reduce((sum, value) => sum + value * value, 0) / a.length;
  assertClose(variance, 1, { atol: 0.12 });
  const bits = solver.addNoise({ data: half(x0.data), dims: [4, 1000], type: 'float16' }, 0);
  assert.equal(bits.data, half(x0.data));
});

// Thresholding and correctors

/** Dynamic thresholding (Saharia et al. 2022): the quantile of each sample with linear interpolation. */
function threshold(x0: Float64Array, n: number, ratio: number, maxValue: number): Float64Array {
  const out = new Float64Array(x0.length);
  for (let from = 0; from < x0.length; from += n) {
    const sorted = x0
      .slice(from, from + n)
      .map(Math.abs)
      .sort();
    const at = ratio * (n - 1);
    const i = Math.floor(at);
    const quantile = sorted[i] + (at - i) * (sorted[Math.min(i + 1, n - 1)] - sorted[i]);
    const s = Math.max(quantile, maxValue);
    for (let e = from; e < from + n; e++) out[e] = Math.min(Math.max(x0[e], -s), s) / s;
  }
  return out;
}

test('thresholding against a reference, alone and with guidance', async () => {
  await check(
    fc.property(
      fc.constantFrom<SolverOptions['thresholding']>(
        true,
        {},
        { ratio: 0.9 },
        { ratio: 0 },
        { ratio: 1, maxValue: 0.5 },
        { ratio: 0.7, maxValue: 2 },
      ),
      fc.constantFrom(1, 2, 5, 33),
      fc.constantFrom(...FIXED),
      fc.integer({ min: 1, max: 1000 }),
      (thresholding, n, method, seed) => {
        const { ratio = 0.995, maxValue = 1 } = thresholding === true ? {} : (thresholding as Anything);
        const schedule = SCHEDULES.linear;
        const x = tensor(noise(new Float64Array(2 * n), seed), [2, n]);
        const f = (value: number, node: ScheduleNode) => 3 * epsilonOf(value, node.lambda);
        const options = { method, steps: 6, order: 2 } as const;
        const guided = new DPMSolver(null, schedule, { thresholding, guidance: { type: 'classifier-free', scale: 3 } });
        const run = guided.start(x, options);
        while (!run.done) {
          const node = schedule.node(run.time);
          const data = (run.x.data as Float64Array).map((value, i) => (i < 2 * n ? 1 : 1.5) * f(value, node));
          run.advance({ data, dims: run.x.dims });
        }
        // The reference hands the solver an x0 that is thresholded already.
        const plain = new DPMSolver(null, schedule, { modelType: 'x_start' }).start(x, options);
        while (!plain.done) {
          const { alpha, sigma, lambda, end } = schedule.node(plain.time);
          const x0 = (plain.x.data as Float64Array).map((value) => {
            const e = f(value, { alpha, sigma, lambda, end });
            return (value - sigma * (e + 3 * (1.5 * e - e))) / alpha;
          });
          plain.advance({ data: threshold(x0, n, ratio, maxValue), dims: plain.x.dims });
        }
        assertClose(run.result.data as Floats, plain.result.data as Floats, { rtol: 1e-9, scale: 'max' });
      },
    ),
    { numRuns: 100 },
  );
});

test('correctX0: after thresholding, at every evaluation, synchronous, and what it returns counts', async () => {
  for (const method of [...FIXED, 'adaptive'] as const) {
    for (const inPlace of [true, false]) {
      const times: number[] = [];
      const asked: number[] = [];
      const solver = new DPMSolver(
        (x, t) => {
          asked.push(t);
          return { data: (x.data as Float32Array).map((value) => 9 * Math.sin(value)), dims: x.dims };
        },
        SCHEDULES.linear,
        {
          thresholding: true,
          correctX0: (x0, t) => {
            times.push(t);
            const data = x0.data as Float32Array;
            assert.ok(data.every((value) => Math.abs(value) <= 1));
            assert.equal(x0.dims, [2, 3]);
            if (!inPlace) return { data: data.map((value) => 0.5 * value), dims: x0.dims };
            for (let i = 0; i < data.length; i++) data[i] *= 0.5;
            return x0;
          },
        },
      );
      const x = tensor(noise(new Float32Array(6)), [2, 3]);
      const options = { method, steps: 7, order: 3, denoiseToZero: true, maxNfe: 5000 } as const;
      const { sample, nfe } = await solver.sample(x, options);
      assert.is(times.length, nfe);
      // linear: the network is told t itself.
      assert.equal(times, asked);
      assert.ok((sample.data as Float32Array).every((value) => Math.abs(value) <= 0.5));
      const half = new DPMSolver(null, SCHEDULES.linear, { thresholding: { maxValue: 1 }, modelType: 'x_start' });
      const run = half.start(x, options);
      if (method === 'adaptive') continue;
      // The same by hand: x0 thresholded and halved before the solver sees it.
      const plain = new DPMSolver(null, SCHEDULES.linear, { modelType: 'x_start' }).start(x, options);
      while (!plain.done) {
        const { alpha, sigma } = SCHEDULES.linear.node(plain.time);
        const x0 = Float64Array.from(
          plain.x.data as Float32Array,
          (value) => (value - sigma * Math.fround(9 * Math.sin(value))) / alpha,
        );
        const data = Float32Array.from(threshold(x0, 3, 0.995, 1), (value) => 0.5 * value);
        plain.advance({ data, dims: plain.x.dims });
      }
      assertClose(sample.data as Floats, plain.result.data as Floats, { rtol: 1e-3, scale: 'max' }, method);
      assert.not(run.done);
    }
  }
});

test('correctX0 sees the guided prediction of the batch as the caller knows it', async () => {
  for (const type of ['float32', 'float16'] as const) {
    const guidance = { type: 'classifier-free', scale: 3 } as const;
    const seen: number[][] = [];
    const correctX0 = (x0: Tensor) => {
      seen.push([...x0.dims]);
      assert.instance(x0.data, Float32Array);
      return { data: new Float32Array(6).fill(0.5), dims: x0.dims };
    };
    const model: Model = ({ dims }) => ({ data: new Float32Array(12), dims });
    const solver = new DPMSolver(model, NoiseSchedule.flow(), { guidance, correctX0, modelType: 'flow' });
    const values = noise(new Float32Array(6));
    const x = { data: type === 'float16' ? half(values) : values, dims: [2, 3], type };
    const { sample } = await solver.sample(x, { steps: 4 });
    assert.equal(seen, new Array(4).fill([2, 3]));
    const data = type === 'float16' ? single(sample.data) : (sample.data as Float32Array);
    assertClose(data, new Float32Array(6).fill(0.5), { rtol: 1e-6 });
  }
});

test('correctXt: after each completed step, counted from 1, never on stages, and what it returns counts', async () => {
  for (const method of FIXED) {
    for (const inPlace of [true, false]) {
      const calls: [number, number][] = [];
      const states: number[] = [];
      const solver = new DPMSolver(elementwise(undefined, 1), SCHEDULES.linear, {
        correctXt: (x, t, step) => {
          calls.push([t, step]);
          const data = x.data as Float32Array;
          if (!inPlace) return { data: data.map((value, i) => (i === 0 ? step : value)), dims: x.dims };
          data[0] = step;
          return x;
        },
      });
      const { times, sample, intermediates } = await solver.sample(tensor(noise(new Float32Array(3))), {
        method,
        steps: 7,
        order: 3,
        intermediates: true,
        denoiseToZero: true,
        onStep: ({ x }) => states.push((x.data as Float32Array)[0]),
      });
      // A denoised result stands where it was denoised.
      const expected = times.slice(1).map((t, i) => [t === 0 ? 1e-3 : t, i + 1]);
      assert.equal(calls, expected);
      assert.equal(
        states,
        expected.map(([, step]) => step),
      );
      intermediates!.slice(1).forEach((state, i) => {
        assert.is((state.data as Float32Array)[0], i + 1);
      });
      assert.is((sample.data as Float32Array)[0], expected.length);
    }
  }
});

test('a correctXt that changes nothing changes nothing', async () => {
  for (const [x, modelDtype] of [
    [tensor(noise(new Float32Array(6)), [2, 3]), undefined],
    [tensor(noise(new Float64Array(6)), [2, 3]), undefined],
    [tensor(noise(new Float32Array(6)), [2, 3]), 'float16'],
    [{ data: half(noise(new Float32Array(6))), dims: [2, 3], type: 'float16' }, undefined],
  ] as [Tensor, 'float16' | undefined][]) {
    for (const scale of [1, 3]) {
      const guidance = { type: 'classifier-free', scale } as const;
      const model: Model = ({ dims }) => {
        const length = dims[0] * 3;
        const data = x.data instanceof Float64Array ? new Float64Array(length) : new Float32Array(length);
        return { data: data.fill(0.123456), dims };
      };
      const run = (correctXt?: (x: Tensor) => Tensor) =>
        new DPMSolver(model, SCHEDULES.linear, { guidance, modelDtype, correctXt }).sample(x, { steps: 8 });
      const [plain, corrected] = [await run(), await run((state) => state)];
      assert.equal(corrected.sample.data, plain.sample.data);
      assert.is(corrected.sample.type, plain.sample.type);
    }
  }
});

test('correctXt reaches the network under guidance and with another modelDtype', async () => {
  for (const modelDtype of [undefined, 'float16'] as const) {
    for (const scale of [1, 3]) {
      let steps = 0;
      const solver = new DPMSolver(
        (x) => {
          const data = modelDtype ? single(x.data) : (x.data as Float32Array);
          if (steps > 0) for (const value of data) assert.is(value, 0.25 * steps);
          return { data: new Float32Array(data.length), dims: x.dims };
        },
        SCHEDULES.linear,
        {
          modelDtype,
          guidance: { type: 'classifier-free', scale },
          correctXt: (x, _t, step) => {
            steps = step;
            return { data: new Float64Array(6).fill(0.25 * step), dims: x.dims };
          },
        },
      );
      const { sample } = await solver.sample(tensor(noise(new Float32Array(6)), [2, 3]), { steps: 4 });
      assert.equal(sample.data, new Float32Array(6).fill(1));
    }
  }
});

// Calls and cancellation

test('the model gets x, modelTime and the signal', async () => {
  const { signal } = new AbortController();
  for (const schedule of Object.values(SCHEDULES)) {
    const times: number[] = [];
    const solver = new DPMSolver((x, t, given) => {
      assert.is(given, signal);
      times.push(t);
      return x;
    }, schedule);
    const { times: reached } = await solver.sample(tensor(noise(new Float32Array(2))), {
      steps: 4,
      signal,
      ...interval(schedule),
    });
    assert.equal(
      times,
      reached.slice(0, -1).map((t) => schedule.modelTime(t)),
    );
  }
});

test('abort before the run: no call, and the reason as it is', async () => {
  for (const reason of [undefined, new Error('changed my mind'), 'a string', 42]) {
    const controller = new AbortController();
    controller.abort(reason);
    let calls = 0;
    const solver = new DPMSolver((x) => {
      calls++;
      return x;
    }, SCHEDULES.linear);
    const { signal } = controller;
    const error = await solver.sample(tensor(new Float32Array(2)), { signal }).catch((thrown) => thrown);
    assert.is(error, signal.reason);
    if (reason === undefined) assert.is((error as Error).name, 'AbortError');
    assert.is(calls, 0);
    assert.is(await solver.invert(tensor(new Float32Array(2)), { signal }).catch((thrown) => thrown), signal.reason);
  }
});

test('abort during the run: in the model, in onStep, and by a model that gives up', async () => {
  const reason = new Error('enough');
  const x = tensor(noise(new Float32Array(2)));
  for (const where of ['model', 'onStep', 'gives up'] as const) {
    for (const method of ['multistep', 'adaptive'] as const) {
      const controller = new AbortController();
      let calls = 0;
      let steps = 0;
      const model: Model = async (seen, _t, signal) => {
        calls++;
        await null;
        if (where === 'model' && calls === 3) controller.abort(reason);
        if (where === 'gives up' && calls === 3) {
          controller.abort(reason);
          if (signal!.aborted) throw new Error('cancelled by the network');
        }
        return seen;
      };
      const onStep = () => {
        if (++steps === 2 && where === 'onStep') controller.abort(reason);
      };
      const solver = new DPMSolver(model, SCHEDULES.linear);
      const options = { steps: 9, method, signal: controller.signal, onStep } as const;
      assert.is(await solver.sample(x, options).catch((thrown) => thrown), reason);
      assert.is(calls, where === 'onStep' ? (method === 'adaptive' ? 4 : 2) : 3);
    }
  }
});

test('checkFinite: false lets numbers that are not finite through', async () => {
  const model: Model = (x) => ({ data: (x.data as Float32Array).map(() => NaN), dims: x.dims });
  const x = tensor(noise(new Float32Array(3)));
  const { sample } = await new DPMSolver(model, SCHEDULES.linear, { checkFinite: false }).sample(x, { steps: 3 });
  assert.ok((sample.data as Float32Array).every(Number.isNaN));
  await assertRejects(() => new DPMSolver(model, SCHEDULES.linear).sample(x, { steps: 3 }), Error, /evaluation 1/);
});

test('any number of threads gives the same bits', async () => {
  const x = tensor(noise(new Float32Array(3 * 70000)), [3, 70000]);
  const results: Float32Array[] = [];
  for (const threads of [undefined, 1, 2, 5]) {
    const solver = new DPMSolver((seen) => seen, SCHEDULES.edm, { threads, thresholding: true });
    results.push((await solver.sample(x, { steps: 4 })).sample.data as Float32Array);
  }
  for (const result of results) assertBitsEqual(result, results[0]);
});

test('a target of one point is what every algorithm ends at where sigma is 0', async () => {
  const x0 = Float64Array.of(0.4, -1.2, 0.1);
  for (const [name, tStart] of [
    ['flow', 0.9],
    ['linear', 1],
    ['cosine', 0.9946],
    ['edm', 80],
  ] as const) {
    const schedule = SCHEDULES[name];
    for (const algorithmType of [...ODE, ...SDE]) {
      for (const method of FIXED) {
        for (const order of ORDERS) {
          for (const modelType of ['noise', 'v', 'flow'] as const) {
            const solver = new DPMSolver(null, schedule, { algorithmType, modelType });
            const xT = { data: Float64Array.of(1, 2, -3), dims: [1, 3] };
            const run = solver.start(xT, { method, order, steps: 12, tStart, tEnd: 0, seed: 1 });
            while (!run.done) {
              const node = schedule.node(run.time);
              const output = (run.x.data as Float64Array).map((x, i) =>
                outputOf(modelType, x, (x - node.alpha * x0[i]) / node.sigma, node),
              );
              run.advance({ data: output, dims: [1, 3] });
            }
            const what = `${name} ${algorithmType} ${method} ${order} ${modelType}`;
            assertClose(run.result.data as Float64Array, x0, { atol: 1e-7 }, what);
          }
        }
      }
    }
  }
});

test('denoiseToZero ends in the predicted x0', async () => {
  for (const algorithmType of [...ODE, ...SDE]) {
    for (const method of [...FIXED, 'adaptive'] as const) {
      if (method === 'adaptive' && algorithmType.startsWith('sde')) continue;
      const x = tensor(noise(new Float64Array(3)));
      const schedule = SCHEDULES.linear;
      const solver = new DPMSolver(elementwise(undefined, 1), schedule, { algorithmType });
      const options = { method, steps: 6, order: 2, seed: 1 } as const;
      const { sample } = await solver.sample(x, options);
      const { sample: denoised } = await solver.sample(x, { ...options, denoiseToZero: true });
      const { alpha, sigma } = schedule.node(1e-3);
      const expected = (sample.data as Float64Array).map(
        (value) => (value - sigma * (Math.tanh(0.7 * value) + 0.1 * Math.cos(1e-3))) / alpha,
      );
      assertClose(denoised.data as Floats, expected, { rtol: 1e-13, scale: 'max' });
    }
  }
});

test('defaults: dpmsolver++, multistep, order 2, 20 steps, time_uniform', async () => {
  const x = tensor(noise(new Float32Array(3)));
  const model = elementwise(undefined, 1);
  const plain = await new DPMSolver(model, SCHEDULES.discrete).sample(x);
  const algorithmType: AlgorithmType = 'dpmsolver++';
  const told = await new DPMSolver(model, SCHEDULES.discrete, {
    algorithmType,
    modelType: 'noise',
    guidance: { type: 'uncond' },
    thresholding: false,
    thirdOrder: 'published',
    checkFinite: true,
    device: 'auto',
  }).sample(x, {
    steps: 20,
    order: 2,
    method: 'multistep',
    skipType: 'time_uniform',
    solverType: 'dpmsolver',
    lowerOrderFinal: true,
    denoiseToZero: false,
    intermediates: false,
  });
  assertBitsEqual(plain.sample.data as Float32Array, told.sample.data as Float32Array);
  const adaptive = await new DPMSolver(model, SCHEDULES.discrete).sample(x, { method: 'adaptive' });
  const explicit = await new DPMSolver(model, SCHEDULES.discrete, { device: 'cpu' }).sample(x, {
    method: 'adaptive',
    atol: 0.0078,
    rtol: 0.05,
    controller: 'pi',
    maxNfe: 1000,
  });
  assertBitsEqual(adaptive.sample.data as Float32Array, explicit.sample.data as Float32Array);
});

test('devices: the CPU first', () => {
  const [cpu] = devices();
  assert.is(cpu.type, 'cpu');
  assert.type(cpu.name, 'string');
});

test.run();
