import { rmSync } from 'node:fs';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import type { Stream as CardStream, DeviceTensor as CardTensor } from '../../../lib/cuda/index.js';
import type { DeviceModel, Model, SampleOptions, SolverOptions, SolverTable, Tensor } from '../../../lib/index.js';
import { card, chosen, freeBytes } from '../../cuda/card.js';
import { assertBitsEqual, assertRejects, assertThrows, noise } from '../../support.js';

// Whole runs on a card, real or emulated, against the same runs on the CPU, bit for bit. The networks are steps
// themselves, so that the same network runs on both: clip(k x, -c, c), with another k for every sample.
const { able, folder, real } = await card();
const { DeviceTensor, deviceStep, Stream, cudaInfo } = await import('../../../lib/cuda/index.js');
const { DPMSolver, NoiseSchedule } = await import('../../../lib/index.js');
const { convert, step } = await import('../../../lib/native.js');

const solver = suite(`DPMSolver on ${real ? 'the CUDA' : 'an emulated CUDA'} card`);
const test = chosen(solver, able);
const stream = able ? new Stream() : (null as unknown as InstanceType<typeof Stream>);
const schedule = NoiseSchedule.linear();
const DIMS = [2, 3, 4, 4];
const N = 48;
type Floats = Float32Array | Float64Array;

solver.after(() => {
  if (able) stream.dispose();
  rmSync(folder, { recursive: true, force: true });
});

/** One row a sample: clip(k v, -0.9, 0.9) of x or m. */
function networkRows(batch: number, sign = 1): Float64Array {
  const rows = new Float64Array(32 * batch);
  for (let b = 0; b < batch; b++) {
    const k = sign * (0.4 + 0.15 * b);
    for (const [at, value] of Object.entries({ 0: k, 1: k, 4: 1, 6: 0.9, 8: 1, 13: 1 }))
      rows[32 * b + Number(at)] = value;
  }
  return rows;
}

function hostNetwork(sign = 1): Model {
  return (x) => {
    const data = x.data as Floats | Uint16Array;
    const batch = x.dims[0]!;
    const wide = data instanceof Uint16Array ? new Float32Array(data.length) : data;
    if (wide !== data) convert(data, wide);
    const out = new (wide.constructor as Float32ArrayConstructor)(data.length);
    step(networkRows(batch, sign), { x: wide as Float32Array, out }, { batch, threads: 1 });
    return { data: out, dims: x.dims };
  };
}

/** The same on the card; its outputs are made once for every shape and type. */
function deviceNetwork(sign = 1, seen: { t: CardTensor; x: CardTensor }[] = []): DeviceModel {
  const made = new Map<string, { rows: CardTensor; outs: CardTensor[] }>();
  let calls = 0;
  return (x, t, context) => {
    assert.instance(x, DeviceTensor);
    assert.equal([t.type, t.dims], ['float32', [x.dims[0]]]);
    assert.instance(context.stream, Stream);
    const state = x.type === 'float64' ? 'float64' : 'float32';
    const key = `${x.dims} ${state}`;
    let one = made.get(key);
    if (!one) {
      const rows = DeviceTensor.alloc([32 * x.dims[0]!], 'float64');
      rows.transferNow(networkRows(x.dims[0]!, sign), context.stream, 'up');
      one = { rows, outs: [0, 1].map(() => DeviceTensor.alloc(x.dims, state)) };
      made.set(key, one);
    }
    const out = one.outs[calls++ % 2]!;
    const source = x.type === state ? { x } : { m: x };
    deviceStep(one.rows, { ...source, out }, { stream: context.stream, batch: x.dims[0]! });
    seen.push({ t, x });
    return out;
  };
}

function start(type: 'float32' | 'float64' | 'float16' = 'float32', seed = 3): Tensor {
  const data = noise(new Float64Array(2 * N), seed);
  if (type === 'float64') return { type, data: Float64Array.from(data), dims: DIMS };
  if (type === 'float32') return { type, data: Float32Array.from(data), dims: DIMS };
  const bits = new Uint16Array(2 * N);
  convert(Float32Array.from(data), bits);
  return { type, data: bits, dims: DIMS };
}

const toCard = (x: Tensor) => DeviceTensor.from(x.data as Float32Array, stream, { dims: x.dims });
async function toHost(x: CardTensor): Promise<Floats | Uint16Array> {
  const Class = { float32: Float32Array, float64: Float64Array }[x.type as string] ?? Uint16Array;
  return x.copyTo(new (Class as Float32ArrayConstructor)(x.length), stream);
}

type Case = [name: string, solver: SolverOptions, sample: SampleOptions, type?: 'float32' | 'float64' | 'float16'];
const THRESHOLD = { ratio: 0.9, maxValue: 0.5 };
const CASES: Case[] = [
  ['multistep, order 1', {}, { order: 1 }],
  ['multistep, order 2', {}, { order: 2 }],
  ['multistep, order 3', {}, { order: 3 }],
  ['multistep, order 3, corrected', { thirdOrder: 'exact' }, { order: 3, lowerOrderFinal: false }],
  ['singlestep, order 3', {}, { method: 'singlestep', order: 3, steps: 7 }],
  ['singlestep_fixed, order 2, taylor', {}, { method: 'singlestep_fixed', order: 2, solverType: 'taylor' }],
  ['noise prediction', { algorithmType: 'dpmsolver' }, { order: 3, denoiseToZero: true }],
  ['a network of x0, denoised', { modelType: 'x_start' }, { denoiseToZero: true }],
  ['guidance', { guidance: { type: 'classifier-free', scale: 3 } }, { order: 2 }],
  ['guidance in float16', { guidance: { type: 'classifier-free', scale: 3 }, modelDtype: 'float16' }, { order: 2 }],
  ['thresholding', { thresholding: THRESHOLD }, { order: 2 }],
  ['SDE, torch', { algorithmType: 'sde-dpmsolver++' }, { seed: 7 }],
  ['SDE, torch, a seed a sample', { algorithmType: 'sde-dpmsolver++' }, { seed: [7, 8] }],
  ['SDE, philox', { algorithmType: 'sde-dpmsolver' }, { seed: 7, noise: 'philox' }],
  [
    'SDE, philox, thresholding',
    { algorithmType: 'sde-dpmsolver++', thresholding: THRESHOLD },
    { seed: [1, 2], noise: 'philox' },
  ],
  ['float64', {}, { order: 3 }, 'float64'],
  [
    'float64, thresholding and guidance',
    { thresholding: THRESHOLD, guidance: { type: 'classifier-free', scale: 2 } },
    { order: 2 },
    'float64',
  ],
  ['float64, SDE, philox', { algorithmType: 'sde-dpmsolver++' }, { seed: 5, noise: 'philox' }, 'float64'],
  ['float16', {}, { order: 2 }, 'float16'],
  ['adaptive, order 2', {}, { method: 'adaptive', order: 2 }],
  ['adaptive, order 3, as published', {}, { method: 'adaptive', order: 3, controller: 'integral' }],
  ['adaptive, float64', {}, { method: 'adaptive', order: 3, rtol: 0.01, atol: 0.001 }, 'float64'],
];

const guidedBy = (options: object): SolverOptions => ({
  guidance: { type: 'classifier-free', scale: 3, ...options },
});
CASES.push(
  ['guidance in an interval', guidedBy({ interval: [0.3, 4] }), { order: 2 }],
  ['guidance in an interval, float16', { ...guidedBy({ interval: [0.3, 4] }), modelDtype: 'float16' }, { order: 3 }],
  ['CFG++', guidedBy({ variant: 'cfg++', scale: 0.6 }), { order: 2 }],
  ['CFG-Zero*, rescaled', guidedBy({ variant: 'cfg-zero', rescale: 0.6 }), { order: 2 }],
  ['rescaled guidance, float16', { ...guidedBy({ rescale: 0.6 }), modelDtype: 'float16' }, { order: 2 }],
  ['APG with momentum', guidedBy({ variant: 'apg', norm: 1, eta: 0.2, momentum: -0.5 }), { order: 3 }],
  [
    'APG in an interval, float64',
    guidedBy({ variant: 'apg', interval: [0, 4], momentum: 0.3 }),
    { order: 2 },
    'float64',
  ],
  ['APG, thresholding', { ...guidedBy({ variant: 'apg', base: 'uncond' }), thresholding: THRESHOLD }, { order: 2 }],
  ['CFG-Zero*, adaptive', guidedBy({ variant: 'cfg-zero', interval: [0.1, 10] }), { method: 'adaptive', order: 2 }],
);

/** Tables with all that a plan does not have otherwise. */
const sigmas = [9, 4, 2, 1, 0.5, 0.2, 0.1, 0];
const rowsUpTo = (most: number) =>
  Array.from({ length: 7 }, (_, i) => [
    0.9,
    ...Array.from({ length: Math.min(most, i + 1) }, (_, k) => 0.3 * Math.cos(3 * i + k)),
  ]);
const table = (more: Partial<SolverTable>): SolverTable => ({
  ...{ format: 'dpm-solver-table/1', name: 'of a test', modelType: 'noise', schedule: { kind: 'linear' } },
  ...{ form: 'data', sigmas, rows: rowsUpTo(7) },
  ...more,
});
const correct = [null, ...rowsUpTo(3).slice(1)];
const guided: SolverOptions = { guidance: { type: 'classifier-free', scale: 3 } };
CASES.push(
  ['a table with long rows', {}, { table: table({}) }],
  ['a table with long rows, thresholding', { thresholding: THRESHOLD }, { table: table({}) }],
  ['a table with a corrector', {}, { table: table({ rows: rowsUpTo(3), correct }) }],
  [
    'a table with a long corrector, float64',
    {},
    { table: table({ correct: [null, ...rowsUpTo(7).slice(1)] }) },
    'float64',
  ],
  [
    'a table with a corrector here and there, guided',
    guided,
    { table: table({ correct: correct.map((row, i) => (i % 3 ? row : null)) }) },
  ],
  [
    'a table without a first evaluation',
    guided,
    {
      table: table({
        form: 'output',
        modelTimes: [null, 0.7, 0.6, null, 0.3, 0.2, 0.1],
        derive: [[0.4], [], [], [0.2, 0.5, 0.1], [], [], []],
      }),
    },
  ],
  [
    'a table with noise',
    { algorithmType: 'sde-dpmsolver++' },
    { seed: 7, table: table({ noise: [0, 0.5, 0, 0.25, 0.1, 0, 0] }) },
  ],
);

/** Under sanitizers, in every `npm test`: one of each kernel and way. */
const FEW = /in float16|^thresholding|philox, thresholding|float64, thresholding|adaptive, float64/;
const cases = process.env.DPM_SOLVER_FEW_CASES ? CASES.filter(([name]) => FEW.test(name)) : CASES;

for (const [name, options, sample, type] of cases) {
  const settings = { steps: 6, ...sample };
  if (settings.method === 'adaptive' || settings.table) delete (settings as SampleOptions).steps;
  test(`${name}: the CPU's bits, wherever xT and the network are`, async () => {
    const xT = start(type);
    const before = (xT.data as Floats).slice();
    const expected = await new DPMSolver(hostNetwork(), schedule, { ...options, device: 'cpu' }).sample(xT, settings);
    const bits = expected.sample.data as Float32Array;
    const host = await new DPMSolver(hostNetwork(), schedule, { ...options, device: 'cuda' }).sample(xT, settings);
    assertBitsEqual(host.sample.data as Float32Array, bits, 'a network on the host');
    assert.equal([host.nfe, host.times, host.seed], [expected.nfe, expected.times, expected.seed]);
    const onCard = { ...options, modelDevice: 'cuda' as const } as Parameters<typeof make>[0];
    const there = await make(onCard).sample(xT, settings);
    assertBitsEqual(there.sample.data as Float32Array, bits, 'a network on the card');
    assert.equal([there.nfe, there.times, there.seed], [expected.nfe, expected.times, expected.seed]);
    const device = await toCard(xT);
    const all = await make({ ...onCard, stream }).sample(device, settings as SampleOptions<CardTensor>);
    assert.instance(all.sample, DeviceTensor);
    assert.equal([all.sample.type, all.sample.dims], [device.type, DIMS]);
    assertBitsEqual((await toHost(all.sample)) as Float32Array, bits, 'everything on the card');
    assertBitsEqual((await toHost(device)) as Float32Array, before as Float32Array, 'xT afterwards');
    assertBitsEqual(xT.data as Float32Array, before as Float32Array, 'xT afterwards');
    if (settings.method === 'adaptive') return;
    const captured = make(onCard);
    for (const seed of [3, 9]) {
      const other = start(type, seed);
      const again = await new DPMSolver(hostNetwork(), schedule, options).sample(other, settings);
      const graph = await captured.sample(other, { ...settings, graph: true });
      assertBitsEqual(graph.sample.data as Float32Array, again.sample.data as Float32Array, 'a graph');
      assert.equal([graph.nfe, graph.times, graph.seed], [again.nfe, again.times, again.seed]);
    }
    captured.dispose();
  });
}

function make(
  options: Omit<SolverOptions, 'modelDevice' | 'device' | 'correctX0' | 'correctXt'> & { modelDevice: 'cuda' },
  model = deviceNetwork(),
) {
  return new DPMSolver<Tensor, 'cuda'>(model, schedule, options);
}

test('a gradient for classifier guidance is queued as the network is', async () => {
  const guidance = { type: 'classifier', scale: 0.7 } as const;
  const xT = start();
  const gradient = hostNetwork(-1);
  const expected = await new DPMSolver(hostNetwork(), schedule, {
    guidance: { ...guidance, gradient: gradient as never },
  }).sample(xT, { steps: 5 });
  for (const graph of [false, true]) {
    const one = make({ modelDevice: 'cuda', guidance: { ...guidance, gradient: deviceNetwork(-1) as never } });
    const found = await one.sample(xT, { steps: 5, graph });
    assertBitsEqual(found.sample.data as Float32Array, expected.sample.data as Float32Array);
    one.dispose();
  }
});

test('auto stays on the CPU unless xT or the network is on a card', async () => {
  const auto = new DPMSolver(hostNetwork(), schedule);
  assert.is((await auto.sample(start(), { steps: 3 })).transfers, undefined);
  const xT = await toCard(start());
  const found = await auto.sample(xT, { steps: 3 });
  assert.instance(found.sample, DeviceTensor);
  assert.ok(found.transfers!.downloaded > 0);
  const cpu = new DPMSolver(hostNetwork(), schedule, { device: 'cpu' });
  await assertRejects(() => cpu.sample(xT, { steps: 3 }), TypeError, /a tensor on the host with device 'cpu' for xT/);
  assertThrows(
    () => new DPMSolver(deviceNetwork(), schedule, { device: 'cpu' as 'cuda', modelDevice: 'cuda' }),
    RangeError,
    /'auto' or 'cuda' for device with a network on a card but received 'cpu'/,
  );
});

test('the cost of a network on the host is shown', async () => {
  const xT = start();
  const { transfers, nfe } = await new DPMSolver(hostNetwork(), schedule, { device: 'cuda' }).sample(xT, { steps: 4 });
  const bytes = 4 * 2 * N;
  assert.is(nfe, 4);
  // Every evaluation the input down and the output up; the result down, xT and the rows up.
  assert.is(transfers!.downloaded, 5 * bytes);
  assert.ok(transfers!.uploaded >= 5 * bytes);
  assert.ok(transfers!.milliseconds > 0);
  const there = await make({ modelDevice: 'cuda' }).sample(xT, { steps: 4 });
  assert.is(there.transfers!.downloaded, bytes);
});

test('the network is told the time of every sample', async () => {
  const seen: { t: CardTensor; x: CardTensor }[] = [];
  const copies: CardTensor[] = [];
  const inner = deviceNetwork(1, seen);
  const spare = Array.from({ length: 12 }, () => DeviceTensor.alloc([4]));
  const guided = make({ modelDevice: 'cuda', guidance: { type: 'classifier-free', scale: 2 } }, (x, t, context) => {
    const copy = spare[copies.length]!;
    copy.copy(t, context.stream);
    copies.push(copy);
    return inner(x, t, context);
  });
  const run = await guided.sample(start(), { steps: 3, graph: true });
  // The call that comes before the capture, and the three of the graph.
  assert.is(copies.length, 4);
  const times = async () => Promise.all(copies.slice(1).map(async (one) => [...(await toHost(one))]));
  assert.equal(
    await times(),
    run.times.slice(0, 3).map((t) => new Array(4).fill(Math.fround(t))),
  );
  // Another schedule of the same length: the same graph, which calls nobody, with other times and other coefficients.
  const other = { steps: 3, skipType: 'logSNR', tStart: 0.8 } as const;
  const second = await guided.sample(start(), { ...other, graph: true });
  assert.is(copies.length, 4);
  assert.equal(
    await times(),
    second.times.slice(0, 3).map((t) => new Array(4).fill(Math.fround(t))),
  );
  const expected = await new DPMSolver(hostNetwork(), schedule, {
    guidance: { type: 'classifier-free', scale: 2 },
  }).sample(start(), other);
  assertBitsEqual(second.sample.data as Float32Array, expected.sample.data as Float32Array);
  guided.dispose();
});

test('launches of one graph may overlap, and other shapes have their own', async () => {
  const captured = make({ modelDevice: 'cuda' });
  const plain = new DPMSolver(hostNetwork(), schedule);
  const jobs: [Tensor, SampleOptions][] = [];
  for (let seed = 1; seed <= 4; seed++) jobs.push([start('float32', seed), { steps: 4 }]);
  for (const steps of [5, 6, 7, 8, 9]) jobs.push([start(), { steps }]);
  const found = await Promise.all(jobs.map(([x, o]) => captured.sample(x, { ...o, graph: true })));
  for (const [i, [x, o]] of jobs.entries()) {
    assertBitsEqual(found[i]!.sample.data as Float32Array, (await plain.sample(x, o)).sample.data as Float32Array);
  }
  const before = freeBytes(cudaInfo());
  captured.dispose();
  await new Promise((resolve) => setTimeout(resolve, 10));
  assert.ok(freeBytes(cudaInfo()) > before, 'dispose frees the tensors of the graphs');
  // And it goes on.
  await captured.sample(start(), { steps: 4, graph: true });
  captured.dispose();
});

test('a graph that was captured takes as many seeds as there are samples', async () => {
  const captured = make({ modelDevice: 'cuda', algorithmType: 'sde-dpmsolver++' });
  const options = { steps: 3, graph: true, noise: 'philox' } as const;
  await captured.sample(start(), { ...options, seed: [1, 2] });
  for (const seed of [[1], [1, 2, 3]]) {
    const pattern = new RegExp(`^Expected one seed per sample \\(2\\) for seed but received ${seed.length}$`);
    await assertRejects(captured.sample(start(), { ...options, seed }), RangeError, pattern);
  }
  captured.dispose();
});

const free = () => freeBytes(cudaInfo());

/** The card's free memory, once what earlier tests have left to the garbage collector is free, too. */
async function freeAtRest(): Promise<number> {
  setFlagsFromString('--expose-gc');
  const gc = runInNewContext('gc') as () => void;
  let last = -1;
  for (let k = 0; k < 100 && free() !== last; k++) {
    last = free();
    for (let i = 0; i < 2; i++) {
      gc();
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
  }
  return free();
}

test('what a run has taken it gives back', async () => {
  const one = new DPMSolver(hostNetwork(), schedule, { device: 'cuda', stream });
  const big: Tensor = { data: new Float32Array(2 ** 20).fill(0.5), dims: [2, 2 ** 19] };
  const model: Model = (x) => x;
  const before = await freeAtRest();
  await one.sample(start(), { steps: 3 });
  const broken = new DPMSolver(model, schedule, { device: 'cuda', stream });
  await assertRejects(
    () => new DPMSolver(() => Promise.reject(new Error('no')), schedule, { device: 'cuda', stream }).sample(start()),
    Error,
    /^no$/,
  );
  if (real) await broken.sample(big, { steps: 2 });
  assert.ok(free() >= before, `${before - free()} bytes are still held`);
});

test('a run that does not fit the card is a rejection that names call and size, and gives back what it took', async () => {
  const small = DeviceTensor.alloc([4]);
  const huge = DeviceTensor.wrap(small.pointer, [1, 2 ** 38], 'float32', { owner: small });
  const before = await freeAtRest();
  for (const graph of [false, true]) {
    const one = make({ modelDevice: 'cuda', stream });
    const error = await assertRejects(
      () => one.sample(huge, { steps: 2, graph }),
      Error,
      /^Allocating \d{13} bytes on card 0 failed: /,
    );
    assert.is((error as NodeJS.ErrnoException).code, 'cudaErrorMemoryAllocation');
  }
  assert.ok(free() >= before);
  small.dispose();
});

test('start() drives a run on the card by hand', async () => {
  const network = deviceNetwork();
  const run = new DPMSolver(null as unknown as DeviceModel, schedule, { modelDevice: 'cuda', stream }).start(
    await toCard(start()),
    { steps: 4 },
  );
  const t = DeviceTensor.alloc([2]);
  while (!run.done) {
    t.transferNow(new Float32Array(2).fill(run.t), stream, 'up');
    run.advance((await network(run.x, t, { stream })) as CardTensor);
  }
  const expected = await new DPMSolver(hostNetwork(), schedule).sample(start(), { steps: 4 });
  assertBitsEqual((await toHost(run.result)) as Float32Array, expected.sample.data as Float32Array);
  // With a network on the host as well: every look at x waits.
  const host = new DPMSolver(null, schedule, { device: 'cuda' }).start(start(), { steps: 4 });
  const model = hostNetwork();
  while (!host.done) host.advance(model(host.x, host.t) as Tensor);
  assertBitsEqual(host.result.data as Float32Array, expected.sample.data as Float32Array);
});

test('correctors work on the card, and onStep and intermediates see what they see on the CPU', async () => {
  const half = networkRows(2, 1);
  const rows = await DeviceTensor.from(half, stream);
  const there = (x: CardTensor): CardTensor => {
    deviceStep(rows, { x, out: x }, { stream, batch: 2 });
    return x;
  };
  const onHost = (x: Tensor): Tensor => {
    step(half, { x: x.data as Float32Array, out: x.data as Float32Array }, { batch: 2, threads: 1 });
    return x;
  };
  const log = (into: unknown[]) => (p: { step: number; t: number; nfe: number; x: Tensor }) =>
    into.push([p.step, p.t, p.nfe, (p.x.data as Float32Array).slice()]);
  const [one, two]: unknown[][] = [[], []];
  const options = { steps: 4, order: 2, intermediates: true } as const;
  const expected = await new DPMSolver(hostNetwork(), schedule, { correctX0: onHost, correctXt: onHost }).sample(
    start(),
    { ...options, onStep: log(one) },
  );
  const found = await new DPMSolver(deviceNetwork(), schedule, {
    modelDevice: 'cuda',
    stream,
    correctX0: there,
    correctXt: there,
  }).sample(start(), { ...options, onStep: log(two) });
  assertBitsEqual(found.sample.data as Float32Array, expected.sample.data as Float32Array);
  assert.is(found.intermediates!.length, 5);
  for (const [i, x] of found.intermediates!.entries())
    assertBitsEqual(x.data as Float32Array, expected.intermediates![i]!.data as Float32Array);
  assert.equal(two, one);
});

test('what is not finite is told with step and sample, with a network on the host before it is called again', async () => {
  let calls = 0;
  const bad: Model = (x) => {
    const out = hostNetwork()(x, 0) as Tensor;
    if (++calls === 3) (out.data as Float32Array)[N + 2] = Number.NaN;
    return out;
  };
  const sample = () => new DPMSolver(bad, schedule, { device: 'cuda' }).sample(start(), { steps: 6 });
  await assertRejects(
    sample,
    Error,
    /^Expected finite numbers for the network output but received NaN or Infinity for sample 1 at evaluation 3 \(step 3, time 0\.\d+\)$/,
  );
  assert.is(calls, 3);
  const infinite = await DeviceTensor.from(new Float32Array(2 * N).fill(Number.POSITIVE_INFINITY), stream, {
    dims: DIMS,
  });
  for (const graph of [false, true]) {
    let count = 0;
    const inner = deviceNetwork();
    // The graph's first call is the one that comes before the capture.
    const model: DeviceModel = (x, t, context) => (++count === (graph ? 3 : 2) ? infinite : inner(x, t, context));
    const one = make({ modelDevice: 'cuda' }, model);
    await assertRejects(
      () => one.sample(start(), { steps: 4, graph }),
      Error,
      /for sample 0 at evaluation 2 \(step 2, time/,
    );
    one.dispose();
  }
  await assertRejects(
    () => make({ modelDevice: 'cuda', stream }).sample(infinite, { steps: 4 }),
    RangeError,
    /^Expected finite numbers for xT but received NaN or Infinity for sample 0$/,
  );
  const far = start();
  (far.data as Float32Array)[5] = Number.NaN;
  await assertRejects(
    () => make({ modelDevice: 'cuda' }).sample(far, { steps: 4 }),
    RangeError,
    /finite numbers for xT\.data .* at index 5/,
  );
  const unchecked = await make({ modelDevice: 'cuda', checkFinite: false }).sample(far, { steps: 4 });
  assert.ok((unchecked.sample.data as Float32Array).some(Number.isNaN));
});

test('wrong arguments are told in one sentence', async () => {
  const x = start();
  const there = await toCard(x);
  const on = { modelDevice: 'cuda' } as const;
  const cases: [() => Promise<unknown>, typeof Error, RegExp][] = [
    [
      () => new DPMSolver(hostNetwork(), schedule).sample(x, { graph: true }),
      RangeError,
      /false for graph without modelDevice 'cuda'/,
    ],
    [
      () => make(on).sample(x, { graph: true, method: 'adaptive' }),
      RangeError,
      /false for graph with method 'adaptive'/,
    ],
    [() => make(on).sample(x, { graph: true, intermediates: true }), RangeError, /false for graph with intermediates/],
    [() => make(on).sample(x, { graph: true, onStep: () => {} }), RangeError, /false for graph with onStep/],
    [
      () => make(on, (async (y: CardTensor) => y) as DeviceModel).sample(x, { graph: true }),
      TypeError,
      /a DeviceTensor, at once, from a network that is captured/,
    ],
    [() => make(on, (() => x) as never).sample(x), TypeError, /a DeviceTensor for the network output/],
    [
      () => make(on, () => there.part(0, [2, 3, 4])).sample(x),
      RangeError,
      /dims \[2, 3, 4, 4\] for the network output but received \[2, 3, 4\]/,
    ],
    [
      () => make(on, () => DeviceTensor.alloc(DIMS, 'float64')).sample(x),
      TypeError,
      /'float32', 'float16' or 'bfloat16' for the network output/,
    ],
    [() => make({ ...on, modelDtype: 'float64' }).sample(x), RangeError, /for modelDtype but received 'float64'/],
    [() => make(on).sample(DeviceTensor.alloc([2, 2], 'uint32')), TypeError, /for xT but received 'uint32'/],
    [
      () => new DPMSolver(hostNetwork(), schedule, { correctX0: (y) => y }).sample(there),
      RangeError,
      /no function for correctX0 with a run on a card/,
    ],
    [async () => make(on).start(x), TypeError, /a DeviceTensor with modelDevice 'cuda' for xT/],
    [async () => make(on).start(there, { graph: true }), RangeError, /false for graph with start\(\)/],
    [async () => make({ ...on, stream: 1 as unknown as CardStream }), TypeError, /a Stream for stream/],
    [async () => there.part(90, [7]), RangeError, /a part of 96 elements but received 7 from element 90 on/],
  ];
  for (const [fn, type, pattern] of cases) await assertRejects(fn, type, pattern);
});

test('a signal ends a run between calls', async () => {
  const controller = new AbortController();
  const inner = deviceNetwork();
  let calls = 0;
  const model: DeviceModel = (x, t, context) => {
    assert.is(context.signal, controller.signal);
    if (++calls === 2) controller.abort(new Error('enough'));
    return inner(x, t, context);
  };
  await assertRejects(
    () => make({ modelDevice: 'cuda' }, model).sample(start(), { signal: controller.signal }),
    Error,
    /^enough$/,
  );
  assert.is(calls, 2);
});

solver.run();
