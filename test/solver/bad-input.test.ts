// What the solver refuses, with which error, and what is left of a run after one.
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import {
  betas,
  DPMSolver,
  devices,
  NoiseSchedule,
  type SampleOptions,
  type SolverOptions,
  type Tensor,
} from '../../lib/index.js';
import { assertBitsEqual, assertRejects, assertThrows, noise } from '../support.js';

const linear = NoiseSchedule.linear();
const flow = NoiseSchedule.flow();

type Floats = Float32Array | Float64Array;
// biome-ignore lint/suspicious/noExplicitAny: wrong types are the point
type Anything = any;

const DIMS = [2, 3];
function noiseTensor(): Tensor & { data: Float32Array } {
  return { type: 'float32', data: noise(new Float32Array(6)), dims: DIMS };
}

/** A network of no interest: 0.3 x. */
function scaled(x: Tensor): Tensor {
  return { data: (x.data as Floats).map((value) => 0.3 * value), dims: x.dims };
}

type ErrorClass = typeof TypeError | typeof RangeError | typeof Error;

/** Thrown by start(), and what sample() rejects with. */
async function refused(
  what: { solver?: Anything; options?: Anything; schedule?: NoiseSchedule; x?: Anything; inverse?: boolean },
  errorClass: ErrorClass,
  pattern: RegExp,
): Promise<void> {
  const { solver = {}, options = {}, schedule = linear, inverse = false } = what;
  const x = 'x' in what ? what.x : noiseTensor();
  const made = new DPMSolver(scaled, schedule, solver);
  const run = () => (inverse ? made.invert(x, options) : made.sample(x, options));
  const error = await assertRejects(run, errorClass, pattern);
  assert.match(error.message, /^Expected [^\n]+[^.\n]$/);
  if (!inverse) assertThrows(() => made.start(x, options), errorClass, pattern);
}

function accepted(what: { solver?: SolverOptions; options?: SampleOptions; schedule?: NoiseSchedule; x?: Tensor }) {
  const { solver, options, schedule = linear, x = noiseTensor() } = what;
  return new DPMSolver(scaled, schedule, solver).sample(x, options);
}

// The tensor that a run starts from

test('xT that is no tensor', async () => {
  for (const x of [undefined, null, 5, 'x', Symbol('x'), () => 0, [], new Float32Array(6), {}]) {
    await refused({ x }, TypeError, /for xT(\.data)? but received/);
  }
});

test('data of another kind', async () => {
  const others = [
    [1, 2, 3, 4, 5, 6],
    new ArrayBuffer(24),
    new DataView(new ArrayBuffer(24)),
    new Uint8Array(6),
    new Int8Array(6),
    new Uint8ClampedArray(6),
    new Int16Array(6),
    new Uint16Array(6),
    new Int32Array(6),
    new Uint32Array(6),
    new BigInt64Array(6),
    new BigUint64Array(6),
    'float',
    null,
  ];
  for (const data of others) await refused({ x: { data, dims: DIMS } }, TypeError, /for xT\.data but received/);
});

test('a type that is not that of the data', async () => {
  const data = new Float32Array(6);
  for (const type of ['float64', 'float16', 'int64', 'FLOAT32', 7, null]) {
    await refused({ x: { data, dims: DIMS, type } }, TypeError, /'float32', as its Float32Array says, for xT\.type/);
  }
  const bits = new Uint16Array(6);
  for (const type of [undefined, 'uint16', 'float32']) {
    await refused({ x: { data: bits, dims: DIMS, type } }, TypeError, /Uint16Array with type 'float16'.*Uint16Array/);
  }
});

test('a Float16Array where a Float32Array is meant', async () => {
  const Float16Array = (globalThis as Anything).Float16Array;
  if (!Float16Array) return;
  const data = new Float16Array(6);
  await refused({ x: { data, dims: DIMS, type: 'float32' } }, TypeError, /'float16', as its Float16Array says/);
  const run = new DPMSolver(null, linear).start({ data: new Float64Array(6), dims: DIMS });
  assertThrows(() => run.advance({ data, dims: DIMS }), TypeError, /'float64' for the network output.*'float16'/);
  const { sample } = await accepted({ x: { data, dims: DIMS }, solver: { modelDtype: 'float32' } });
  assert.instance(sample.data, Float16Array);
});

test('dims that are no sizes', async () => {
  const data = new Float32Array(6);
  for (const dims of [undefined, null, 6, '6', {}]) {
    await refused({ x: { data, dims } }, TypeError, /an array of sizes for xT\.dims/);
  }
  for (const dims of [[], [0], [-6], [1.5, 4], [NaN], [Infinity], ['6'], [6n], [2, null]]) {
    await refused({ x: { data, dims } }, RangeError, /sizes of at least 1 for xT\.dims/);
  }
});

test('dims and data that disagree', async () => {
  for (const dims of [[2, 2], [7], [2, 3, 2], [2 ** 40, 2 ** 40]]) {
    await refused({ x: { data: new Float32Array(6), dims } }, RangeError, /the product of its dims .* for xT\.data/);
  }
});

test('a detached buffer as xT', async () => {
  const data = new Float32Array(6);
  structuredClone(data.buffer, { transfer: [data.buffer] });
  await refused({ x: { data, dims: DIMS } }, RangeError, /6 elements.* for xT\.data but received 0/);
});

test('a resizable buffer that has shrunk, as xT or as an output', async () => {
  const buffer = new (ArrayBuffer as Anything)(24, { maxByteLength: 48 });
  const [tracking, fixed] = [new Float32Array(buffer), new Float32Array(buffer, 0, 6)];
  assert.is((await accepted({ x: { data: tracking, dims: DIMS } })).nfe, 20);
  const run = new DPMSolver(null, linear).start({ data: tracking, dims: DIMS }, { steps: 2 });
  run.advance({ data: tracking, dims: DIMS });
  buffer.resize(16);
  for (const data of [tracking, fixed]) {
    await refused({ x: { data, dims: DIMS } }, RangeError, /6 elements.* for xT\.data but received [04]/);
    assertThrows(() => run.advance({ data, dims: DIMS }), RangeError, /for the network output\.data but received/);
  }
  buffer.resize(24);
  run.advance({ data: fixed, dims: DIMS });
  assert.ok(run.done);
});

test('views of shared memory give what views of their own memory give', async () => {
  const shared = new Float32Array(new SharedArrayBuffer(24));
  shared.set(noiseTensor().data);
  const solver = new DPMSolver(
    (x) => {
      const out = new Float32Array(new SharedArrayBuffer(24));
      out.set((x.data as Float32Array).map((value) => 0.3 * value));
      return { data: out, dims: x.dims };
    },
    linear,
    {},
  );
  const { sample } = await solver.sample({ data: shared, dims: DIMS });
  const expected = (await accepted({})).sample;
  assertBitsEqual(sample.data as Float32Array, expected.data as Float32Array);
  assert.not.instance((sample.data as Float32Array).buffer, SharedArrayBuffer);
  assertBitsEqual(shared.slice(), noiseTensor().data);
});

test('numbers in xT that are not finite are not blamed on the network', async () => {
  for (const bad of [NaN, Infinity, -Infinity]) {
    for (const method of ['multistep', 'adaptive']) {
      const x = noiseTensor();
      x.data[4] = bad;
      await refused({ x, options: { method } }, RangeError, /finite numbers for xT\.data but received .* at index 4/);
      // x_start: the prediction does not see the state, which would carry them to the end.
      await refused({ x, options: { method }, solver: { modelType: 'x_start' } }, RangeError, /finite numbers for xT/);
    }
  }
  const bits = new Uint16Array(6);
  bits[2] = 0x7c00;
  await refused({ x: { data: bits, dims: DIMS, type: 'float16' } }, RangeError, /received Infinity at index 2/);
  const x = noiseTensor();
  x.data[0] = NaN;
  const { sample } = await accepted({ x, solver: { checkFinite: false } });
  assert.ok(Number.isNaN((sample.data as Float32Array)[0]));
});

// The solver's own arguments

test('a model or schedule of another kind', () => {
  for (const model of [undefined, 5, {}, 'model']) {
    assertThrows(() => new DPMSolver(model as Anything, linear), TypeError, /a function or null for model/);
  }
  for (const schedule of [undefined, null, {}, 'linear', NoiseSchedule]) {
    assertThrows(() => new DPMSolver(scaled, schedule as Anything), TypeError, /a NoiseSchedule for schedule/);
  }
});

test('sample and invert without a model', async () => {
  const solver = new DPMSolver(null, linear);
  await assertRejects(() => solver.sample(noiseTensor()), TypeError, /a model for sample and invert.*start\(\)/);
  await assertRejects(() => solver.invert(noiseTensor()), TypeError, /a model for sample and invert.*start\(\)/);
});

test('solver options of another type, unknown or out of range', () => {
  const wrong: [Anything, ErrorClass, RegExp][] = [
    [null, TypeError, /an object of options for the solver/],
    [[], TypeError, /an object of options for the solver/],
    ['dpmsolver', TypeError, /an object of options for the solver/],
    [{ algorithm_type: 'dpmsolver' }, TypeError, /the option 'algorithm_type'/],
    [{ algorithmtype: 'dpmsolver' }, TypeError, /the option 'algorithmtype'/],
    [{ steps: 20 }, TypeError, /the option 'steps'/],
    [{ algorithmType: 'dpmsolver+' }, TypeError, /'dpmsolver\+\+', 'dpmsolver', .* for algorithmType .*'dpmsolver\+'/],
    [{ algorithmType: 1 }, TypeError, /for algorithmType/],
    [{ modelType: 'epsilon' }, TypeError, /'noise', 'x_start', 'v', 'score' or 'flow' for modelType.*'epsilon'/],
    [{ modelType: ['noise'] }, TypeError, /for modelType/],
    [{ guidance: 'classifier-free' }, TypeError, /for guidance/],
    [{ guidance: { type: 'cfg', scale: 2 } }, TypeError, /for guidance\.type.*'cfg'/],
    [{ guidance: { scale: 2 } }, TypeError, /for guidance\.type/],
    [{ guidance: { type: 'uncond', scale: 2 } }, TypeError, /the option 'scale'/],
    [{ guidance: { type: 'classifier-free' } }, TypeError, /a number for guidance\.scale/],
    [{ guidance: { type: 'classifier-free', scale: '2' } }, TypeError, /a number for guidance\.scale/],
    [{ guidance: { type: 'classifier-free', scale: NaN } }, RangeError, /a finite number for guidance\.scale/],
    [{ guidance: { type: 'classifier-free', scale: Infinity } }, RangeError, /a finite number for guidance\.scale/],
    [{ guidance: { type: 'classifier-free', scale: 2, gradient: scaled } }, TypeError, /the option 'gradient'/],
    [{ guidance: { type: 'classifier', scale: 2, gradient: 5 } }, TypeError, /a function for guidance\.gradient/],
    [{ thresholding: 1 }, TypeError, /for thresholding/],
    [{ thresholding: 'yes' }, TypeError, /for thresholding/],
    [{ thresholding: { ratio: 0.9, max: 1 } }, TypeError, /the option 'max'/],
    [{ thresholding: { ratio: '0.9' } }, TypeError, /a number for thresholding\.ratio/],
    [{ thresholding: { ratio: 1.01 } }, RangeError, /from 0 to 1 for thresholding\.ratio/],
    [{ thresholding: { ratio: -0.1 } }, RangeError, /from 0 to 1 for thresholding\.ratio/],
    [{ thresholding: { ratio: NaN } }, RangeError, /for thresholding\.ratio/],
    [{ thresholding: { maxValue: 0 } }, RangeError, /a positive number for thresholding\.maxValue/],
    [{ thresholding: { maxValue: Infinity } }, RangeError, /a positive number for thresholding\.maxValue/],
    [{ thresholding: { maxValue: '1' } }, TypeError, /a positive number for thresholding\.maxValue/],
    [{ thirdOrder: 'corrected' }, TypeError, /'published' or 'exact' for thirdOrder/],
    [{ thirdOrder: true }, TypeError, /'published' or 'exact' for thirdOrder/],
    [{ correctX0: true }, TypeError, /a function for correctX0/],
    [{ correctXt: {} }, TypeError, /a function for correctXt/],
    [{ modelDtype: 'half' }, TypeError, /'float32', 'float16' or 'float64' for modelDtype/],
    [{ checkFinite: 0 }, TypeError, /true or false for checkFinite/],
    [{ checkFinite: 'no' }, TypeError, /true or false for checkFinite/],
    [{ threads: 0 }, RangeError, /for threads/],
    [{ threads: 1.5 }, RangeError, /for threads/],
    [{ threads: 1e6 }, RangeError, /for threads/],
    [{ threads: '2' }, TypeError, /for threads/],
    [{ device: 'gpu' }, TypeError, /'auto', 'cpu', 'cuda', 'webgpu' or 'webnn' for device/],
  ];
  for (const [options, errorClass, pattern] of wrong) {
    const error = assertThrows(() => new DPMSolver(scaled, linear, options), errorClass, pattern);
    assert.match(error.message, /^Expected [^\n]+[^.\n]$/);
  }
});

test('a device that is not there', () => {
  if (devices().some(({ type }) => type === 'cuda')) return;
  assertThrows(() => new DPMSolver(scaled, linear, { device: 'cuda' }), RangeError, /for device but received 'cuda'/);
});

test('sample options of another type, unknown or out of range', async () => {
  const wrong: [Anything, ErrorClass, RegExp][] = [
    [null, TypeError, /an object of options for the run/],
    [[], TypeError, /an object of options for the run/],
    [20, TypeError, /an object of options for the run/],
    [{ step: 20 }, TypeError, /the option 'step'/],
    [{ skip_type: 'logSNR' }, TypeError, /the option 'skip_type'/],
    [{ denoise_to_zero: true }, TypeError, /the option 'denoise_to_zero'/],
    [{ algorithmType: 'dpmsolver' }, TypeError, /the option 'algorithmType'/],
    [{ steps: '20' }, TypeError, /for steps/],
    [{ steps: 0 }, RangeError, /at least 1 for steps/],
    [{ steps: -1 }, RangeError, /at least 1 for steps/],
    [{ steps: 2.5 }, RangeError, /a whole number .* for steps/],
    [{ steps: NaN }, RangeError, /for steps/],
    [{ steps: Infinity }, RangeError, /for steps/],
    [{ steps: 1e5 + 1 }, RangeError, /at most 100000 for steps but received 100001/],
    [{ steps: Number.MAX_SAFE_INTEGER, method: 'singlestep' }, RangeError, /at most 100000 for steps/],
    [{ order: 0 }, RangeError, /from 1 to 3 for order/],
    [{ order: 4 }, RangeError, /from 1 to 3 for order/],
    [{ order: '2' }, TypeError, /from 1 to 3 for order/],
    [{ method: 'multi' }, TypeError, /'multistep', 'singlestep', 'singlestep_fixed', 'adaptive' or 'ipndm' for method/],
    [{ method: 2 }, TypeError, /for method/],
    [{ skipType: 'quad' }, TypeError, /for skipType.*'quad'/],
    [{ skipType: 'logsnr', method: 'adaptive' }, TypeError, /for skipType.*'logsnr'/],
    [{ skipType: 5 }, TypeError, /for skipType/],
    [{ skipType: {} }, TypeError, /for skipType/],
    [{ skipType: [1, '0.5', 0.1] }, TypeError, /for skipType\[1\]/],
    [{ skipType: [1, null, 0.1] }, TypeError, /for skipType\[1\]/],
    [{ skipType: ['1', 0.5, 0.1] }, TypeError, /for skipType\[0\]/],
    [{ skipType: [] }, RangeError, /at least two times for skipType/],
    [{ skipType: [1] }, RangeError, /at least two times for skipType/],
    [{ skipType: [1, 0.5, 0.5, 0.1] }, RangeError, /strictly monotone times for skipType/],
    [{ skipType: [1, 0.4, 0.5, 0.1] }, RangeError, /strictly monotone times for skipType/],
    [{ skipType: [1, 0.5, 0.4, 1] }, RangeError, /for (skipType|tEnd)/],
    [{ skipType: [1.5, 0.5, 0.1] }, RangeError, /a time between 0 and 1 for skipType\[0\] but received 1\.5/],
    [{ skipType: [1, 0.5, -0.1] }, RangeError, /a time between 0 and 1 for skipType\[2\] but received -0\.1/],
    [{ skipType: [0.1, 1, 2], tStart: 0.1 }, RangeError, /a time between 0 and 1 for skipType\[2\] but received 2/],
    [{ skipType: [1, 2], tEnd: 3 }, RangeError, /for tEnd but received 3/],
    [{ skipType: [1, NaN, 0.1] }, RangeError, /for skipType\[1\]/],
    [
      { skipType: 'a long\nname '.repeat(1000) },
      TypeError,
      /for skipType but received 'a long name a long .{0,60}\.\.\.' of type/,
    ],
    [{ ['step\n'.repeat(1000)]: 1 }, TypeError, /the option 'step step .{0,60}\.\.\.'$/],
    [{ skipType: [1, 0.5, 0.1], steps: 3 }, RangeError, /2, as the times in skipType have it, for steps/],
    [{ skipType: [1, 0.5, 0.1], tStart: 0.9 }, RangeError, /1, as the times in skipType have it, for tStart/],
    [{ skipType: [1, 0.5, 0.1], tEnd: 0.2 }, RangeError, /0\.1, as the times in skipType have it, for tEnd/],
    [{ solverType: 'heun' }, TypeError, /'dpmsolver' or 'taylor' for solverType/],
    [{ tStart: '1' }, TypeError, /for tStart/],
    [{ tStart: 1.5 }, RangeError, /a time between 0 and 1 for tStart but received 1\.5, which is outside/],
    [{ tStart: -0.1 }, RangeError, /a time between 0 and 1 for tStart/],
    [{ tStart: NaN }, RangeError, /for tStart/],
    [{ tEnd: 1000 }, RangeError, /a time between 0 and 1 for tEnd/],
    [{ tEnd: -1 }, RangeError, /a time between 0 and 1 for tEnd/],
    [{ tEnd: Infinity }, RangeError, /for tEnd/],
    [{ tEnd: true }, TypeError, /for tEnd/],
    [{ tStart: 0.5, tEnd: 0.5 }, RangeError, /a time other than tStart for tEnd/],
    [{ lowerOrderFinal: 'yes' }, TypeError, /true, false or a number for lowerOrderFinal/],
    [{ lowerOrderFinal: -1 }, RangeError, /for lowerOrderFinal/],
    [{ lowerOrderFinal: NaN }, RangeError, /for lowerOrderFinal/],
    [{ lowerOrderFinal: 'yes', method: 'singlestep' }, TypeError, /for lowerOrderFinal/],
    [{ lowerOrderFinal: 'yes', method: 'adaptive' }, TypeError, /for lowerOrderFinal/],
    [{ denoiseToZero: 1 }, TypeError, /true or false for denoiseToZero/],
    [{ atol: 0 }, RangeError, /a positive number for atol/],
    [{ atol: -1 }, RangeError, /a positive number for atol/],
    [{ atol: '1' }, TypeError, /a positive number for atol/],
    [{ rtol: NaN }, RangeError, /a positive number for rtol/],
    [{ rtol: [1] }, TypeError, /a positive number for rtol/],
    [{ controller: 'PI' }, TypeError, /'pi' or 'integral' for controller/],
    [{ maxNfe: 0 }, RangeError, /for maxNfe/],
    [{ maxNfe: 10.5 }, RangeError, /for maxNfe/],
    [{ maxNfe: '10' }, TypeError, /for maxNfe/],
    [{ seed: '1' }, TypeError, /for seed/],
    [{ seed: 1n }, TypeError, /for seed/],
    [{ noise: 'gauss' }, TypeError, /'torch' or 'philox' for noise/],
    [{ noise: noiseTensor() }, TypeError, /'torch' or 'philox' for noise/],
    [{ intermediates: 'yes' }, TypeError, /true or false for intermediates/],
    [{ onStep: true }, TypeError, /a function for onStep/],
    [{ signal: {} }, TypeError, /an AbortSignal for signal/],
    [{ signal: new AbortController() }, TypeError, /an AbortSignal for signal/],
  ];
  for (const [options, errorClass, pattern] of wrong) await refused({ options }, errorClass, pattern);
});

test('seeds, with a stochastic algorithm and without', async () => {
  for (const algorithmType of ['sde-dpmsolver++', 'dpmsolver++']) {
    for (const noise of ['torch', 'philox']) {
      const solver = { algorithmType };
      for (const seed of [0.5, NaN, Infinity, 2 ** 53]) {
        await refused({ solver, options: { seed, noise } }, RangeError, /a safe integer for seed/);
        await refused({ solver, options: { seed: [1, seed], noise } }, RangeError, /a safe integer for seed/);
      }
      for (const seed of [
        [1, '2'],
        [null, 1],
        [1n, 2],
      ]) {
        await refused({ solver, options: { seed, noise } }, TypeError, /a number for seed/);
      }
      for (const seed of [[], [1], [1, 2, 3]]) {
        await refused({ solver, options: { seed, noise } }, RangeError, /one seed per sample/);
      }
    }
  }
});

// What does not go together

test('refused when the run is built', async () => {
  const sde = ['sde-dpmsolver++', 'sde-dpmsolver'] as const;
  for (const algorithmType of sde) {
    const solver = { algorithmType };
    await refused({ solver, inverse: true }, RangeError, /an SDE cannot be inverted.* for algorithmType/);
    await refused({ solver, options: { tStart: 0.1, tEnd: 0.9 } }, RangeError, /an SDE cannot be inverted/);
    await refused({ solver, options: { method: 'adaptive' } }, RangeError, /has no SDE form.* for algorithmType/);
  }
  await refused({ options: { method: 'adaptive', order: 1 } }, RangeError, /2 or 3 with an adaptive run for order/);
  await refused({ options: { method: 'adaptive', skipType: [1, 0.5, 0.1] } }, RangeError, /no list of times/);
  await refused(
    { solver: { correctXt: scaled }, options: { method: 'adaptive' } },
    RangeError,
    /no function with an adaptive run for correctXt/,
  );
  await refused({ options: { denoiseToZero: true }, inverse: true }, RangeError, /ends in noise.* for denoiseToZero/);
  for (const algorithmType of ['dpmsolver', 'sde-dpmsolver']) {
    for (const method of ['multistep', 'singlestep', 'singlestep_fixed']) {
      const options = { method };
      await refused({ solver: { algorithmType, thresholding: true }, options }, RangeError, /with thresholding/);
      await refused({ solver: { algorithmType, correctX0: scaled }, options }, RangeError, /with correctX0/);
    }
  }
  for (const [steps, order] of [
    [1, 2],
    [1, 3],
    [2, 3],
  ]) {
    for (const method of ['multistep', 'singlestep_fixed']) {
      const pattern = new RegExp(`at least ${order}, the order of a ${method} run, for steps but received ${steps}`);
      await refused({ options: { steps, order, method } }, RangeError, pattern);
    }
    assert.is((await accepted({ options: { steps, order: order as 2, method: 'singlestep' } })).nfe, steps);
  }
  await refused({ options: { skipType: [1, 0.1], order: 2 } }, RangeError, /the order of a multistep run/);
  await refused(
    { options: { skipType: [1, 0.5, 0.3, 0.1], order: 2, method: 'singlestep_fixed' } },
    RangeError,
    /a multiple of order = 2 for skipType/,
  );
  await refused({ inverse: true, options: { tStart: 0.9, tEnd: 0.1 } }, RangeError, /from data to noise.* for tEnd/);
});

test('grids and controllers in lambda need finite lambda at both ends', async () => {
  for (const options of [
    { skipType: 'logSNR' },
    { skipType: 'exponential' },
    { skipType: 'karras' },
    { skipType: 'beta' },
    { method: 'adaptive' },
    { skipType: 'logSNR', method: 'singlestep' },
  ]) {
    const solver = { modelType: 'flow' };
    await refused({ solver, schedule: flow, options }, RangeError, /finite lambda for tStart .*set tStart below it/);
    const short = { ...options, tStart: 0.99 };
    await refused({ solver, schedule: flow, options: short }, RangeError, /finite lambda for tEnd .*set tEnd above it/);
    await refused(
      { solver, schedule: flow, options, inverse: true },
      RangeError,
      /finite lambda for tStart .*set tStart above it/,
    );
    const inside = { ...short, tEnd: 0.01 } as SampleOptions;
    assert.ok((await accepted({ solver: { modelType: 'flow' }, schedule: flow, options: inside })).nfe > 0);
  }
  await refused({ options: { skipType: 'logSNR', tEnd: 0 } }, RangeError, /finite lambda for tEnd/);
  await refused({ options: { method: 'adaptive', tEnd: 0 } }, RangeError, /finite lambda for tEnd/);
});

// Ends of schedules

const MODEL_TYPES = ['noise', 'x_start', 'v', 'score', 'flow'] as const;

test('default runs on flow and zero terminal SNR: every model type that has a value there', async () => {
  const alphasCumprod = Float64Array.from({ length: 100 }, (_, i) => (99 - i) / 100.5);
  const zeroSnr = NoiseSchedule.discrete({ alphasCumprod, clip: false });
  for (const schedule of [flow, NoiseSchedule.flow({ shift: 3 }), zeroSnr]) {
    for (const modelType of MODEL_TYPES) {
      for (const method of ['multistep', 'singlestep', 'singlestep_fixed'] as const) {
        for (const order of [1, 2, 3] as const) {
          const options: SampleOptions = { method, order, steps: 7, lowerOrderFinal: false };
          await refused(
            { solver: { modelType, algorithmType: 'dpmsolver' }, schedule, options },
            RangeError,
            /alpha is 0/,
          );
          if (modelType === 'noise' || modelType === 'score') {
            await refused({ solver: { modelType }, schedule, options }, RangeError, /alpha is 0: set tStart.*below it/);
            continue;
          }
          const guidance = { type: 'classifier', scale: 2, gradient: scaled };
          // It is the classifier that has no value there, not the network.
          const named =
            /algorithmType 'dpmsolver\+\+' and guidance 'classifier' but received 1, where alpha is 0: set tSt/;
          await refused({ solver: { modelType, guidance }, schedule, options }, RangeError, named);
          for (const algorithmType of ['dpmsolver++', 'sde-dpmsolver++'] as const) {
            const { sample } = await accepted({ solver: { modelType, algorithmType }, schedule, options });
            assert.ok((sample.data as Float32Array).every(Number.isFinite), `${modelType} ${algorithmType} ${method}`);
          }
        }
      }
    }
  }
});

test('an x_start network that is right ends at its own prediction on flow', async () => {
  // A target of one point: x0 is known, the flow is a straight line, every method is exact.
  const x0 = Float64Array.of(0.4, -1.2, 0.1);
  const x = { data: Float64Array.of(1, 2, -3), dims: [1, 3] };
  for (const method of ['multistep', 'singlestep', 'singlestep_fixed'] as const) {
    for (const order of [1, 2, 3] as const) {
      const solver = new DPMSolver(() => ({ data: x0, dims: [1, 3] }), flow, { modelType: 'x_start' });
      const { sample } = await solver.sample(x, { method, order, steps: 6 });
      (sample.data as Float64Array).forEach((value, i) => {
        assert.ok(Math.abs(value - x0[i]) < 1e-14, `${method} ${order}: ${value}`);
      });
    }
  }
});

test('inversion from the clean end of flow, where the network type has a value', async () => {
  // One point as the target again: v = epsilon - x0 and epsilon are constant along each line.
  const x0 = Float64Array.of(0.4, -1.2, 0.1);
  const epsilon = Float64Array.of(1, 2, -3);
  const outputs: Record<string, (sigma: number) => Float64Array> = {
    noise: () => epsilon,
    flow: () => epsilon.map((e, i) => e - x0[i]),
    v: (sigma) => epsilon.map((e, i) => (1 - sigma) * e - sigma * x0[i]),
  };
  for (const algorithmType of ['dpmsolver++', 'dpmsolver'] as const) {
    for (const method of ['multistep', 'singlestep', 'singlestep_fixed'] as const) {
      for (const order of [1, 2, 3] as const) {
        for (const modelType of MODEL_TYPES) {
          const model = (x: Tensor, t: number) => ({ data: outputs[modelType](t), dims: x.dims });
          const solver = new DPMSolver(model, flow, { algorithmType, modelType });
          const x = { data: x0.slice(), dims: [1, 3] };
          const options = { method, order, steps: 6, tEnd: 0.9 };
          if (modelType === 'x_start' || modelType === 'score') {
            await assertRejects(
              () => solver.invert(x, options),
              RangeError,
              /sigma is 0: set .*tStart of an inversion\) above/,
            );
            continue;
          }
          const { sample } = await solver.invert(x, options);
          (sample.data as Float64Array).forEach((value, i) => {
            const expected = 0.1 * x0[i] + 0.9 * epsilon[i];
            assert.ok(Math.abs(value - expected) < 1e-12, `${algorithmType} ${method} ${order} ${modelType}: ${value}`);
          });
        }
      }
    }
  }
});

test('inversion to the noise end of flow is the noise itself', async () => {
  const epsilon = Float64Array.of(1, 2, -3);
  for (const algorithmType of ['dpmsolver++', 'dpmsolver'] as const) {
    const solver = new DPMSolver((x) => ({ data: epsilon, dims: x.dims }), flow, { algorithmType });
    const { sample, times } = await solver.invert(
      { data: Float64Array.of(0.4, -1.2, 0.1), dims: [1, 3] },
      { steps: 5 },
    );
    assert.is(times[5], 1);
    (sample.data as Float64Array).forEach((value, i) => {
      assert.ok(Math.abs(value - epsilon[i]) < 1e-12, `${algorithmType}: ${value}`);
    });
  }
});

test('edm runs from sigmaMax to 0 and back from sigmaMin', async () => {
  const edm = NoiseSchedule.edm();
  for (const modelType of MODEL_TYPES) {
    for (const algorithmType of ['dpmsolver++', 'dpmsolver'] as const) {
      const solver = new DPMSolver(scaled, edm, { modelType, algorithmType });
      const x = { data: noise(new Float64Array(6)), dims: DIMS };
      for (const result of [
        await solver.sample(x, { tEnd: 0 }),
        await solver.sample(x, { skipType: 'karras', order: 3 }),
        await solver.invert(x),
      ]) {
        assert.ok((result.sample.data as Float64Array).every(Number.isFinite), `${modelType} ${algorithmType}`);
      }
    }
  }
});

// What the network returns

test('an output of another shape, type or kind leaves the run as it was', () => {
  const run = new DPMSolver(null, linear).start(noiseTensor(), { steps: 2 });
  const data = new Float32Array(6);
  const wrong: [Anything, ErrorClass, RegExp][] = [
    [undefined, TypeError, /a tensor .* for the network output but received undefined/],
    [null, TypeError, /a tensor .* for the network output/],
    [data, TypeError, /for the network output but received Float32Array alone/],
    [Promise.resolve({ data, dims: DIMS }), TypeError, /for the network output/],
    [{ data, dims: [3, 2] }, RangeError, /dims \[2, 3\] for the network output but received \[3, 2\]/],
    [{ data, dims: [6] }, RangeError, /dims \[2, 3\] for the network output/],
    [{ data, dims: [2, 3, 1] }, RangeError, /dims \[2, 3\] for the network output/],
    [{ data: new Float32Array(12), dims: [4, 3] }, RangeError, /dims \[2, 3\] for the network output/],
    [{ data: new Float32Array(5), dims: DIMS }, RangeError, /6 elements.*for the network output\.data but received 5/],
    [{ data: new Float64Array(6), dims: DIMS }, TypeError, /'float32' or 'float16' for the network output.*'float64'/],
    [{ data: new Int32Array(6), dims: DIMS }, TypeError, /for the network output\.data but received Int32Array/],
    [{ data: new Uint16Array(6), dims: DIMS }, TypeError, /for the network output\.data but received Uint16Array/],
  ];
  for (const [output, errorClass, pattern] of wrong) {
    assertThrows(() => run.advance(output), errorClass, pattern);
    assert.is(run.nfe, 0);
    assertBitsEqual((run.x.data as Float32Array).slice(), noiseTensor().data);
  }
  assertThrows(
    () => run.advance({ data, dims: DIMS }, { data, dims: DIMS }),
    TypeError,
    /no gradient for guidance 'uncond'/,
  );
  run.advance({ data, dims: DIMS });
  assert.is(run.nfe, 1);
});

test('float64 states take float64 outputs only', () => {
  const run = new DPMSolver(null, linear).start({ data: new Float64Array(6), dims: DIMS });
  for (const output of [
    { data: new Float32Array(6), dims: DIMS },
    { data: new Uint16Array(6), dims: DIMS, type: 'float16' },
  ]) {
    assertThrows(() => run.advance(output), TypeError, /type 'float64' for the network output but received '/);
  }
});

test('gradients are checked as outputs are', async () => {
  const guidance = { type: 'classifier', scale: 2 } as const;
  const run = new DPMSolver(null, linear, { guidance }).start(noiseTensor());
  const output = { data: new Float32Array(6), dims: DIMS };
  assertThrows(() => run.advance(output), TypeError, /a gradient beside the network output/);
  assertThrows(() => run.advance(output, { data: new Float32Array(6), dims: [6] }), RangeError, /for the gradient/);
  assertThrows(() => run.advance(output, { data: new Float64Array(6), dims: DIMS }), TypeError, /for the gradient/);
  const bad = { data: new Float32Array(6).fill(NaN), dims: DIMS };
  assertThrows(() => run.advance(output, bad), Error, /finite numbers for the network output/);
  const solver = new DPMSolver(scaled, linear, { guidance });
  await assertRejects(() => solver.sample(noiseTensor()), TypeError, /a function for guidance\.gradient/);
});

test('an output that is not finite names its step, keeps the state and ends the run', () => {
  for (const bad of [NaN, Infinity, -Infinity]) {
    for (const options of [
      { method: 'multistep', order: 3 },
      { method: 'singlestep', order: 3 },
      { method: 'singlestep_fixed', order: 2 },
      { method: 'adaptive', order: 3 },
    ] as SampleOptions[]) {
      for (const solver of [{}, { algorithmType: 'dpmsolver' }, { modelType: 'v' }] as SolverOptions[]) {
        for (const at of [1, 2, 5]) {
          const run = new DPMSolver(null, linear, solver).start(noiseTensor(), { steps: 9, ...options });
          for (let i = 1; i < at; i++) run.advance(scaled(run.x));
          const before = (run.x.data as Float32Array).slice();
          const [t, time] = [run.t, run.time];
          const output = scaled(run.x);
          (output.data as Float32Array)[4] = bad;
          const error = assertThrows(() => run.advance(output), Error, /finite numbers for the network output/);
          assert.match(error.message, new RegExp(`sample 1 at evaluation ${at} \\(step \\d, time ${time}\\)$`));
          assertBitsEqual((run.x.data as Float32Array).slice(), before);
          assert.equal([run.t, run.time, run.nfe, run.done], [t, time, at - 1, false]);
          assertThrows(() => run.advance(scaled(run.x)), Error, /no further advance, as this run has failed: Expected/);
          assertThrows(() => run.result, Error, /a finished run for result/);
        }
      }
    }
  }
});

test('the published adaptive code never returns after a NaN: here the run rejects', async () => {
  let calls = 0;
  const model = (x: Tensor): Tensor => {
    const out = scaled(x);
    if (++calls >= 8) (out.data as Float32Array)[0] = NaN;
    return out;
  };
  for (const controller of ['pi', 'integral'] as const) {
    calls = 0;
    const solver = new DPMSolver(model, linear);
    await assertRejects(
      () => solver.sample(noiseTensor(), { method: 'adaptive', controller }),
      Error,
      /sample 0 at evaluation 8/,
    );
    calls = 0;
    const blind = new DPMSolver(model, linear, { checkFinite: false });
    await assertRejects(
      () => blind.sample(noiseTensor(), { method: 'adaptive', controller, maxNfe: 300 }),
      RangeError,
      /maxNfe = 300/,
    );
  }
});

test('the published adaptive code never returns from an inversion: here it ends', async () => {
  for (const controller of ['pi', 'integral'] as const) {
    for (const order of [2, 3] as const) {
      for (const algorithmType of ['dpmsolver++', 'dpmsolver'] as const) {
        const solver = new DPMSolver(scaled, linear, { algorithmType });
        const { nfe, times } = await solver.invert(noiseTensor(), { method: 'adaptive', controller, order });
        assert.ok(nfe < 300, `${nfe} evaluations`);
        assert.is(times[0], 1e-3);
        assert.is(times[times.length - 1], 1);
        for (let i = 1; i < times.length; i++) assert.ok(times[i] > times[i - 1]);
      }
    }
  }
});

test('adaptive on an interval shorter than its first step', async () => {
  for (const controller of ['pi', 'integral'] as const) {
    const { nfe, times } = await new DPMSolver(scaled, linear).sample(noiseTensor(), {
      method: 'adaptive',
      controller,
      tStart: 0.009,
      tEnd: 0.0088,
    });
    assert.is(nfe, 2);
    assert.equal(times, [0.009, 0.0088]);
  }
});

test('maxNfe is never passed, and the error tells where the run stood', async () => {
  for (const controller of ['pi', 'integral'] as const) {
    for (const order of [2, 3] as const) {
      for (const maxNfe of [1, 2, 3, 10, 25]) {
        let calls = 0;
        const solver = new DPMSolver((x) => {
          calls++;
          return scaled(x);
        }, linear);
        const options = { method: 'adaptive', controller, order, maxNfe, atol: 1e-9, rtol: 1e-9 } as const;
        const error = await assertRejects(() => solver.sample(noiseTensor(), options), RangeError, /within maxNfe = /);
        const pattern = new RegExp(
          `stood at time [\\d.]+ of 0\\.001 after ${calls}, with a step size of ([\\d.e-]+|Infinity) in lambda$`,
        );
        assert.match(error.message, pattern);
        assert.ok(calls <= maxNfe, `${calls} calls`);
      }
    }
  }
});

test('a tolerance that next to no step can meet: steps get short, and none has no length', async () => {
  for (const controller of ['pi', 'integral'] as const) {
    const solver = new DPMSolver(scaled, linear);
    const steps = [linear.T];
    const options: SampleOptions = {
      method: 'adaptive',
      controller,
      maxNfe: 400,
      atol: 1e-300,
      rtol: 1e-300,
      onStep: ({ t }) => steps.push(t),
    };
    const error = await assertRejects(() => solver.sample(noiseTensor(), options), RangeError, /within maxNfe/);
    assert.match(error.message, /with a step size of [\d.e-]*[1-9]/);
    for (let i = 1; i < steps.length; i++) assert.ok(steps[i] < steps[i - 1], `${controller}: ${steps}`);
  }
});

test('maxNfe counts denoiseToZero, and a run that fits ends', async () => {
  const options = { method: 'adaptive', denoiseToZero: true } as const;
  const solver = new DPMSolver(scaled, linear);
  const { nfe } = await solver.sample(noiseTensor(), options);
  assert.is((await solver.sample(noiseTensor(), { ...options, maxNfe: nfe })).nfe, nfe);
  await assertRejects(() => solver.sample(noiseTensor(), { ...options, maxNfe: nfe - 1 }), RangeError, /maxNfe/);
});

test('after maxNfe the run stands where the error says, and goes no further', () => {
  const run = new DPMSolver(null, linear).start(noiseTensor(), { method: 'adaptive', maxNfe: 20 });
  let error: Error | undefined;
  while (!error) {
    try {
      run.advance(scaled(run.x));
    } catch (thrown) {
      error = thrown as Error;
    }
  }
  assert.match(error.message, new RegExp(`stood at time ${run.time} of`));
  assert.is(run.t, run.time);
  assert.ok(run.nfe <= 20 && !run.done);
  assertThrows(() => run.advance(scaled(run.x)), Error, /this run has failed: Expected an adaptive run to end within/);
});

test('a network that throws or rejects: sample rejects with it, a run by hand goes on', async () => {
  const reason = new Error('out of memory on the card');
  const throwing = new DPMSolver(() => {
    throw reason;
  }, linear);
  assert.is(await throwing.sample(noiseTensor()).catch((error) => error), reason);
  const rejecting = new DPMSolver(() => Promise.reject('no Error at all'), linear);
  assert.is(await rejecting.invert(noiseTensor()).catch((error) => error), 'no Error at all');

  const expected = await accepted({ options: { steps: 5 } });
  let calls = 0;
  const flaky = (x: Tensor): Tensor => {
    if (++calls % 2 === 1) throw reason;
    return scaled(x);
  };
  const run = new DPMSolver(null, linear).start(noiseTensor(), { steps: 5 });
  while (!run.done) {
    try {
      run.advance(flaky(run.x));
    } catch (error) {
      assert.is(error, reason);
    }
  }
  assertBitsEqual(run.result.data as Float32Array, expected.sample.data as Float32Array);
});

test('a gradient that throws or rejects', async () => {
  const reason = new Error('no gradient today');
  const guidance = { type: 'classifier', scale: 1, gradient: () => Promise.reject(reason) } as const;
  assert.is(await new DPMSolver(scaled, linear, { guidance }).sample(noiseTensor()).catch((error) => error), reason);
});

// Callbacks

test('advance from inside a callback of the same run', () => {
  const x = noiseTensor();
  const output = { data: new Float32Array(6), dims: DIMS };
  let run: Anything;
  const again = () => assertThrows(() => run.advance(output), Error, /one advance at a time/);
  let called = 0;
  const correct = (tensor: Tensor) => {
    called++;
    again();
    return tensor;
  };
  const solver = new DPMSolver(null, linear, { correctX0: correct, correctXt: correct });
  run = solver.start(x, {
    steps: 2,
    onStep: () => {
      called++;
      again();
    },
  });
  run.advance(output);
  run.advance(output);
  assert.is(called, 6);
  assert.ok(run.done);
  const adaptive = new DPMSolver(null, linear);
  run = adaptive.start(x, { method: 'adaptive', onStep: again });
  run.advance(output);
  run.advance(output);
  // And through a tensor's getters, which run inside advance.
  run = adaptive.start(x);
  const sly = {
    dims: DIMS,
    get data() {
      again();
      return new Float32Array(6);
    },
  };
  run.advance(sly);
});

test('correctX0 that throws or returns nonsense leaves the run as it was, its noise included', () => {
  const reason = new Error('not now');
  for (const noise of ['torch', 'philox'] as const) {
    const make = (correctX0?: (x0: Tensor) => Tensor) =>
      new DPMSolver(null, linear, { algorithmType: 'sde-dpmsolver++', correctX0 }).start(noiseTensor(), {
        steps: 4,
        seed: 3,
        noise,
      });
    const straight = make();
    while (!straight.done) straight.advance(scaled(straight.x));

    const wrong: [() => Anything, ErrorClass, RegExp][] = [
      [
        () => {
          throw reason;
        },
        Error,
        /not now/,
      ],
      [() => undefined, TypeError, /a tensor .* for correctX0's result but received undefined/],
      [() => Promise.resolve(noiseTensor()), TypeError, /for correctX0's result/],
      [() => ({ data: new Float32Array(6), dims: [6] }), RangeError, /dims \[2, 3\] for correctX0's result/],
      [() => ({ data: new Int32Array(6), dims: DIMS }), TypeError, /for correctX0's result\.data/],
    ];
    let trouble: (() => Anything) | undefined;
    const run = make((x0) => (trouble ? trouble() : x0));
    while (!run.done) {
      const [nfe, before] = [run.nfe, (run.x.data as Float32Array).slice()];
      for (const [make, errorClass, pattern] of wrong) {
        trouble = make;
        assertThrows(() => run.advance(scaled(run.x)), errorClass, pattern);
        assert.is(run.nfe, nfe);
        assertBitsEqual((run.x.data as Float32Array).slice(), before);
      }
      trouble = undefined;
      run.advance(scaled(run.x));
    }
    assertBitsEqual(run.result.data as Float32Array, straight.result.data as Float32Array);
  }
});

test('correctX0 that makes it non-finite is named', () => {
  const solver = new DPMSolver(null, linear, {
    correctX0: (x0) => ({ data: (x0.data as Float32Array).map(() => NaN), dims: x0.dims }),
  });
  const run = solver.start(noiseTensor());
  assertThrows(() => run.advance(scaled(run.x)), Error, /finite numbers for correctX0's result .* evaluation 1/);
  assertThrows(() => run.advance(scaled(run.x)), Error, /has failed/);
});

test('correctXt that throws or returns nonsense ends the run with the state of before', () => {
  const reason = new Error('not now');
  const wrong: [() => Anything, ErrorClass, RegExp][] = [
    [
      () => {
        throw reason;
      },
      Error,
      /not now/,
    ],
    [() => undefined, TypeError, /a tensor .* for correctXt's result/],
    [() => ({ data: new Float32Array(6), dims: [6] }), RangeError, /dims \[2, 3\] for correctXt's result/],
    [() => ({ data: new Float32Array(6).fill(NaN), dims: DIMS }), Error, /finite numbers for correctXt's result .*NaN/],
  ];
  for (const [trouble, errorClass, pattern] of wrong) {
    let called = 0;
    const solver = new DPMSolver(null, linear, { correctXt: (x) => (++called === 2 ? trouble() : x) });
    const run = solver.start(noiseTensor(), { steps: 4 });
    run.advance(scaled(run.x));
    const before = (run.x.data as Float32Array).slice();
    assertThrows(() => run.advance(scaled(run.x)), errorClass, pattern);
    assertBitsEqual((run.x.data as Float32Array).slice(), before);
    assert.is(run.nfe, 1);
    assertThrows(() => run.advance(scaled(run.x)), Error, /this run has failed/);
  }
});

test('onStep that throws: sample rejects with it, a run by hand has made the step', async () => {
  const reason = new Error('stop');
  const onStep = ({ step }: { step: number }) => {
    if (step === 2) throw reason;
  };
  const solver = new DPMSolver(scaled, linear);
  assert.is(await solver.sample(noiseTensor(), { onStep }).catch((error) => error), reason);
  const run = solver.start(noiseTensor(), { steps: 3, onStep });
  run.advance(scaled(run.x));
  assertThrows(() => run.advance(scaled(run.x)), Error, /^stop$/);
  assert.is(run.nfe, 2);
  run.advance(scaled(run.x));
  const expected = await accepted({ options: { steps: 3 } });
  assertBitsEqual(run.result.data as Float32Array, expected.sample.data as Float32Array);
});

// Out of turn

test('result before the end, advance after it', () => {
  for (const method of ['multistep', 'singlestep', 'adaptive'] as const) {
    const run = new DPMSolver(null, linear).start(noiseTensor(), { steps: 3, method });
    while (!run.done) {
      assertThrows(() => run.result, Error, /a finished run for result but received one after \d+ evaluations/);
      run.advance(scaled(run.x));
    }
    const result = (run.result.data as Float32Array).slice();
    assertThrows(() => run.advance(scaled(run.x)), Error, /no further advance, as this run is done/);
    assertBitsEqual(run.result.data as Float32Array, result);
  }
});

test("a network that takes the run's memory away", async () => {
  const solver = new DPMSolver((x) => {
    const output = scaled(x);
    const { buffer } = x.data as Float32Array;
    structuredClone(buffer, { transfer: [buffer as ArrayBuffer] });
    return output;
  }, linear);
  const error = await solver.sample(noiseTensor()).catch((thrown) => thrown);
  assert.instance(error, Error);
  assert.match(error.message, /^Expected [^\n]+$/);
});

test('an output in the memory of an earlier x is either right or refused', () => {
  for (const solver of [
    {},
    { thresholding: true },
    { modelDtype: 'float16' },
    { guidance: { type: 'classifier-free', scale: 3 } },
  ] as SolverOptions[]) {
    for (const method of ['multistep', 'singlestep', 'adaptive'] as const) {
      const [stale, own] = [0, 1].map(() =>
        new DPMSolver(null, linear, solver).start(noiseTensor(), { steps: 6, method }),
      );
      let [x, copy] = [stale, own].map((run) => ({ ...run.x, data: (run.x.data as Float32Array).slice() }) as Tensor);
      for (let i = 0; i < 6 && !own.done; i++) {
        const [seen, seenCopy] = [stale.x, { ...own.x, data: (own.x.data as Float32Array).slice() }];
        const before = (seen.data as Float32Array).slice();
        try {
          stale.advance(x);
        } catch (error) {
          assert.instance(error, RangeError);
          assert.match((error as Error).message, /overlap/);
          assertBitsEqual(seen.data as Float32Array, before);
          stale.advance({ ...x, data: (x.data as Float32Array).slice() });
        }
        own.advance(copy);
        assertBitsEqual((stale.x.data as Float32Array).slice(), (own.x.data as Float32Array).slice());
        [x, copy] = [seen, seenCopy];
      }
    }
  }
});

test('addNoise', () => {
  const solver = new DPMSolver(null, linear);
  const x0 = noiseTensor();
  const add = (x: Anything, t: Anything, z?: Anything) => () => solver.addNoise(x, t, z);
  assertThrows(add(5, 0.5), TypeError, /a tensor .* for x0/);
  assertThrows(add(x0, 1.5), RangeError, /a time between 0 and 1 for t but received 1\.5/);
  assertThrows(add(x0, NaN), RangeError, /for t/);
  assertThrows(add(x0, '0.5'), TypeError, /for t/);
  assertThrows(add(x0, 0.5, 5), TypeError, /a tensor .* for noise/);
  assertThrows(add(x0, 0.5, { data: new Float32Array(6), dims: [6] }), RangeError, /dims .*2, 3.* for noise/);
  assertThrows(add(x0, 0.5, { data: new Float64Array(6), dims: DIMS }), TypeError, /type 'float32' for noise/);
});

test('betas that leave nothing at T are refused by their own schedule, not by the run', () => {
  const last = betas('linear');
  last[999] = 1;
  assertThrows(() => NoiseSchedule.discrete({ betas: last }), RangeError, /clip: false/);
});

// The WebAssembly build's part of Node-API is JavaScript, which has a heap.
const ofAddon = process.env.DPM_SOLVER_BACKEND === 'wasm' ? test.skip : test;
ofAddon('steady runs allocate next to nothing per step', () => {
  const gc = (globalThis as Anything).gc as (() => void) | undefined;
  const measure = (solver: SolverOptions, options: SampleOptions, batch: number) => {
    const x = { data: noise(new Float32Array(batch * 16)), dims: [batch, 16] };
    const doubled = solver.guidance?.type === 'classifier-free';
    const output = { data: new Float32Array((doubled ? 2 : 1) * batch * 16), dims: [(doubled ? 2 : 1) * batch, 16] };
    const [warm, steps] = [500, 1500];
    const run = new DPMSolver(null, linear, solver).start(x, { steps: warm + steps, ...options });
    for (let i = 0; i < warm; i++) run.advance(output);
    gc?.();
    const before = process.memoryUsage();
    for (let i = 0; i < steps; i++) run.advance(output);
    const after = process.memoryUsage();
    return {
      heap: (after.heapUsed - before.heapUsed) / steps,
      external: (after.arrayBuffers - before.arrayBuffers) / steps,
    };
  };
  for (const [solver, options] of [
    [{}, {}],
    [{}, { order: 3 }],
    [{ guidance: { type: 'classifier-free', scale: 3 } }, {}],
    [{ thresholding: true }, {}],
    [{ algorithmType: 'sde-dpmsolver++' }, { seed: 1 }],
    [{ correctX0: (x0: Tensor) => x0 }, {}],
    [{}, { method: 'singlestep', order: 3 }],
  ] as [SolverOptions, SampleOptions][]) {
    for (const batch of [1, 3]) {
      // A collection in between makes it less, a compilation more: the middle of several tries counts.
      const found = [1, 2, 3].map(() => measure(solver, options, batch));
      const middle = (values: number[]) => values.sort((a, b) => a - b)[1];
      const heap = middle(found.map((one) => one.heap));
      const external = middle(found.map((one) => one.external));
      const what = `${JSON.stringify(solver)} ${JSON.stringify(options)}, batch ${batch}`;
      if (process.env.DPM_SOLVER_HEAP) console.log(what, heap, external);
      assert.ok(heap < 1024, `${what}: ${heap} bytes of heap per step`);
      assert.ok(external < 1, `${what}: ${external} bytes of buffers per step`);
    }
  }
});

test.run();
