// What goes around the solver: UniC as a corrector, iPNDM, and a first step without an evaluation.
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
import { UniPCMultistepScheduler } from '../../lib/schedulers/index.js';
import { assertClose, assertRejects, noise } from '../support.js';
import { denoise, type Kind, pointOf } from './mixture.js';

type Floats = Float32Array | Float64Array;
const LENGTH = 6;
const DIMS = [2, 3];
const start = (): { data: Float64Array; dims: number[] } => ({ data: noise(new Float64Array(LENGTH), 5), dims: DIMS });

function model(x: Tensor, t: number): Tensor {
  const data = x.data as Floats;
  const half = data.length / 2;
  const out = data.map((v, i) => Math.tanh(0.7 * v) + 0.1 * Math.cos(3 * t) + (i < half ? 0.05 * v : 0));
  return { data: out, dims: x.dims };
}

const linear = NoiseSchedule.linear();
const discrete = NoiseSchedule.discrete({ betas: betas('scaled_linear') });
const flow = NoiseSchedule.flow({ shift: 3 });
const edm = NoiseSchedule.edm();

async function run(schedule: NoiseSchedule, solver: SolverOptions, sample: SampleOptions) {
  const { sample: x, nfe, times } = await new DPMSolver(model, schedule, solver).sample(start(), sample);
  return { x: x.data as Float64Array, nfe, times };
}

// ---- UniC --------------------------------------------------------------------------------------------------------------

test('DPM-Solver++(2M) with the corrector is UniPC-2, in both forms', async () => {
  for (const [algorithmType, predict_x0] of [
    ['dpmsolver++', true],
    ['dpmsolver', false],
  ] as const) {
    for (const order of [1, 2] as const) {
      for (const steps of [3, 5, 8]) {
        const scheduler = UniPCMultistepScheduler.fromConfig({
          ...{ num_train_timesteps: 1000, beta_schedule: 'scaled_linear', beta_start: 0.0001, beta_end: 0.02 },
          ...{ solver_order: order, predict_x0, final_sigmas_type: 'sigma_min', lower_order_final: true },
        });
        const schedule = NoiseSchedule.discrete({ betas: betas('scaled_linear', 1000, { start: 0.0001, end: 0.02 }) });
        const labels = Array.from({ length: steps }, (_, i) => 999 - 120 * i);
        scheduler.setTimesteps({ timesteps: labels });
        let state: Tensor = start();
        for (const t of labels) state = scheduler.step(model(state, t), t, state);
        const times = [...labels.map((label) => (label + 1) / 1000), 1 / 1000];
        const found = await run(schedule, { algorithmType }, { skipType: times, order, corrector: 'unic' });
        assert.is(found.nfe, steps);
        // The scheduler keeps its sigmas in float32.
        assertClose(found.x, state.data as Float64Array, { atol: 2e-5 }, `${algorithmType} ${order} ${steps}`);
      }
    }
  }
});

/** The slope of the error over the number of steps, on a mixture whose score is exact, from a start-up that is exact. */
async function slope(kind: Kind, schedule: NoiseSchedule, solver: SolverOptions, sample: SampleOptions) {
  const network = (x: Tensor, t: number): Tensor => {
    const time = schedule.kind === 'flow' ? schedule.inverseLambda(Math.log((1 - t) / t)) : t;
    const { alpha, sigma } = pointOf(kind, schedule.lambda(time));
    return { data: denoise(x.data as Float64Array, { alpha, sigma }), dims: x.dims };
  };
  const [tStart, tEnd] = [schedule.inverseLambda(-0.5), schedule.inverseLambda(1.5)];
  const dpm = new DPMSolver(network, schedule, { ...solver, modelType: 'x_start' });
  const x = { data: noise(new Float64Array(16), 2), dims: [8, 2] };
  const end = async (steps: number, options: SampleOptions) =>
    (await dpm.sample(x, { steps, skipType: 'logSNR', tStart, tEnd, lowerOrderFinal: false, ...options })).sample.data;
  const exact = await end(3000, { order: 3 });
  const error = async (steps: number) => {
    const found = (await end(steps, sample)) as Float64Array;
    return Math.sqrt(found.reduce((sum, v, i) => sum + (v - (exact as Float64Array)[i]) ** 2, 0));
  };
  return Math.log2((await error(40)) / (await error(80)));
}

test('the corrector makes order 1 order 2, and 2 nearly 3', async () => {
  for (const algorithmType of ['dpmsolver++', 'dpmsolver'] as const) {
    const plain = await slope('preserving', linear, { algorithmType }, { order: 1 });
    const corrected = await slope('preserving', linear, { algorithmType }, { order: 1, corrector: 'unic' });
    assert.ok(plain < 1.2, `${algorithmType}: ${plain}`);
    assert.ok(corrected > 1.8, `${algorithmType}: ${corrected}`);
    const second = await slope('preserving', linear, { algorithmType }, { order: 2 });
    const third = await slope('preserving', linear, { algorithmType }, { order: 2, corrector: 'unic' });
    assert.ok(third > second + 0.4, `${algorithmType}: ${third} against ${second}`);
  }
});

test('the corrector goes with a last evaluation, thresholding and guidance', async () => {
  const guidance: GuidanceOption = { type: 'classifier-free', scale: 3 };
  const found = await run(
    linear,
    { guidance, thresholding: { ratio: 0.9, maxValue: 0.7 } },
    { steps: 5, corrector: 'unic', denoiseToZero: true },
  );
  assert.is(found.nfe, 6);
  assert.ok(found.x.every((v) => Math.abs(v) <= 1));
});

// ---- iPNDM -------------------------------------------------------------------------------------------------------------

const AB = [[1], [1.5, -0.5], [23 / 12, -16 / 12, 5 / 12], [55 / 24, -59 / 24, 37 / 24, -9 / 24]];

test('iPNDM: Adams and Bashforth’s weights over the noise, in sigma / alpha', async () => {
  for (const schedule of [linear, discrete, edm]) {
    for (const order of [1, 2, 3, 4] as const) {
      const { x, times, nfe } = await run(schedule, {}, { steps: 7, order, method: 'ipndm', skipType: 'karras' });
      assert.is(nfe, 7);
      const k = times.map((t) => Math.exp(-schedule.lambda(t)));
      let y = start().data.map((v) => v / schedule.alpha(times[0]));
      const d: Float64Array[] = [];
      for (let i = 0; i < 7; i++) {
        const alpha = schedule.alpha(times[i]);
        d.unshift(
          model({ data: y.map((v) => alpha * v), dims: DIMS }, schedule.modelTime(times[i])).data as Float64Array,
        );
        const w = AB[Math.min(order, i + 1) - 1];
        y = y.map((v, j) => v + (k[i + 1] - k[i]) * w.reduce((sum, one, n) => sum + one * d[n][j], 0));
      }
      assertClose(
        x,
        y.map((v) => schedule.alpha(times[7]) * v),
        { rtol: 1e-9, atol: 1e-9 },
      );
    }
  }
});

test('iPNDM on a flow: over the velocities, from pure noise to data', async () => {
  for (const order of [1, 2, 3, 4] as const) {
    const { x, times } = await run(flow, { modelType: 'flow' }, { steps: 6, order, method: 'ipndm' });
    const sigma = times.map((t) => flow.sigma(t));
    let y = start().data;
    const u: Float64Array[] = [];
    for (let i = 0; i < 6; i++) {
      u.unshift(model({ data: y, dims: DIMS }, sigma[i]).data as Float64Array);
      const w = AB[Math.min(order, i + 1) - 1];
      y = y.map((v, j) => v + (sigma[i + 1] - sigma[i]) * w.reduce((sum, one, n) => sum + one * u[n][j], 0));
    }
    assertClose(x, y, { rtol: 1e-9, atol: 1e-9 });
  }
});

test('iPNDM: order 3 unless told, 2 under guidance, where 4 is refused', async () => {
  const of = (solver: SolverOptions, sample: SampleOptions) =>
    run(linear, solver, { steps: 6, method: 'ipndm', ...sample });
  assert.equal((await of({}, {})).x, (await of({}, { order: 3 })).x);
  assert.not.equal((await of({}, {})).x, (await of({}, { order: 2 })).x);
  const guidance: GuidanceOption = { type: 'classifier-free', scale: 3 };
  assert.equal((await of({ guidance }, {})).x, (await of({ guidance }, { order: 2 })).x);
  await of({ guidance }, { order: 3 });
  await assertRejects(
    () => of({ guidance }, { order: 4 }),
    RangeError,
    /1, 2 or 3 under guidance .* for order but received 4/,
  );
  await assertRejects(() => of({}, { order: 5 as never }), RangeError, /a whole number from 1 to 4 for order/);
  await assertRejects(() => run(linear, {}, { order: 4 }), RangeError, /a whole number from 1 to 3 for order/);
});

test('what iPNDM does not go with', async () => {
  const refused = (schedule: NoiseSchedule, solver: SolverOptions, sample: SampleOptions, message: RegExp) =>
    assertRejects(() => run(schedule, solver, { steps: 6, method: 'ipndm', ...sample }), RangeError, message);
  await refused(
    linear,
    { thresholding: true },
    {},
    /false with method 'ipndm', which works in noise, for thresholding/,
  );
  await refused(linear, { correctX0: (x0) => x0 }, {}, /no function with method 'ipndm'/);
  await refused(linear, { algorithmType: 'sde-dpmsolver++' }, {}, /'dpmsolver\+\+' or 'dpmsolver' with method 'ipndm'/);
  await refused(flow, { modelType: 'v' }, {}, /another method than 'ipndm' on a flow schedule/);
  await refused(linear, {}, { corrector: 'unic' }, /'multistep' with a corrector for method/);
  await assertRejects(
    () => new DPMSolver(model, linear).invert(start(), { method: 'ipndm' }),
    RangeError,
    /another method than 'ipndm' for an inversion/,
  );
});

// ---- AFS ---------------------------------------------------------------------------------------------------------------

test('without the first evaluation: one step more, as many evaluations, and the noise of x_T itself', async () => {
  const seen: number[] = [];
  const watching = (x: Tensor, t: number) => {
    seen.push(t);
    return model(x, t);
  };
  for (const [solver, sample] of [
    [{}, { order: 2 }],
    [{ algorithmType: 'dpmsolver' }, { order: 3 }],
    [{}, { method: 'ipndm', order: 2 }],
  ] as [SolverOptions, SampleOptions][]) {
    seen.length = 0;
    const options = { steps: 5, skipType: 'karras', ...sample } as const;
    const x = { data: start().data.map((v) => 80 * v), dims: DIMS };
    const found = await new DPMSolver(watching, edm, solver).sample(x, { ...options, afs: true });
    assert.is(found.nfe, 5);
    // The same with a network that says so at the first of six times.
    const times: number[] = [];
    const helped = (y: Tensor, t: number): Tensor => {
      times.push(t);
      return t === 80 ? { data: (y.data as Floats).map((v) => v / Math.hypot(1, 80)), dims: y.dims } : model(y, t);
    };
    const expected = await new DPMSolver(helped, edm, solver).sample(x, { ...options, steps: 6 });
    assert.equal(seen, times.slice(1));
    assertClose(found.sample.data, expected.sample.data, { rtol: 1e-10, atol: 1e-10 });
  }
});

test('where AFS is refused', async () => {
  const refused = (schedule: NoiseSchedule, solver: SolverOptions, sample: SampleOptions, message: RegExp) =>
    assertRejects(() => run(schedule, solver, { steps: 6, afs: true, ...sample }), RangeError, message);
  await refused(
    NoiseSchedule.discrete({ betas: betas('scaled_linear', 1000, { start: 0.00085, end: 0.012 }) }),
    {},
    {},
    /a time with sigma \/ alpha of at least 40 with afs for tStart but received 1/,
  );
  await refused(linear, { algorithmType: 'sde-dpmsolver++' }, {}, /with afs for algorithmType/);
  await refused(linear, {}, { method: 'singlestep' }, /'multistep' or 'ipndm' with afs for method/);
  await refused(linear, {}, { corrector: 'unic' }, /no corrector with afs/);
  await refused(
    linear,
    {},
    { table: classicTable(linear, { steps: 6 }) },
    /false, as it says itself what is evaluated/,
  );
});

test.run();
