// What the tests do in a page: bundled for it by test/web/chromium.ts, beside `dpm-solver/web` and onnxruntime-web.
import type * as web from '../../lib/web.js';
import type { DeviceValue, OrtWebNetwork, SampleOptions, SolverOptions, Tensor } from '../../lib/web.js';
import { type Case, casesOf } from '../engines/webgpu/table.js';
import { productGraph } from './product.js';

type Dpm = typeof web;
export type Device = 'auto' | 'cpu' | 'webgpu' | 'webnn';

const dims = [2, 3, 8, 8];
const n = 2 * 3 * 8 * 8;

export function openProduct({ OrtWebNetwork }: Dpm, device: Device, type: 'float32' | 'float16' = 'float32') {
  // SwiftShader has no halves.
  const forceCpuNodeNames = type === 'float16' ? ['wide', 'out'] : [];
  return OrtWebNetwork.open(productGraph(type), { device, forceCpuNodeNames });
}

interface Outcome {
  what: string;
  onHost: string | undefined;
  nfe: [number, number];
  /** Elements whose bits are others, of the sample and of the states between. */
  differ: number;
  of: number;
  /** The largest difference, and the largest number. */
  worst: number;
  size: number;
  undisposed: number;
}

/** Runs every case on a device, and on the host with the same network computed in JavaScript. */
export async function runCases(dpm: Dpm, device: Device, only?: string): Promise<Outcome[]> {
  const network = await openProduct(dpm, device);
  const outcomes: Outcome[] = [];
  for (const one of casesOf(dpm as never)) {
    if (only === undefined || one.what.includes(only)) outcomes.push(await runCase(dpm, network, one));
  }
  await network.dispose();
  return outcomes;
}

async function runCase(
  dpm: Dpm,
  network: OrtWebNetwork,
  { what, solver = {}, options, ...one }: Case,
): Promise<Outcome> {
  const { DPMSolver, NoiseSchedule, betas, randn } = dpm;
  const schedule =
    one.schedule === 'flow'
      ? NoiseSchedule.flow({ shift: 3 })
      : one.schedule === 'edm'
        ? NoiseSchedule.edm()
        : NoiseSchedule.discrete({ betas: betas('scaled_linear', 1000) });
  const xT = randn(dims, { seed: 5 });
  if (one.schedule === 'edm') xT.data.set(xT.data.map((value) => 80 * value));
  const gains = randn([4, 3, 8, 8], { seed: 6 }).data;
  const seen = new Set<DeviceValue>();
  const there = new DPMSolver(
    async (x, t, { signal }) => {
      const gain = { data: gains.slice(0, x.dims[0] * 192), dims: [...x.dims] };
      const value = await network.model({ gain })(x, t, signal ? { signal } : {});
      seen.add(x).add(value);
      return value;
    },
    schedule,
    { ...(solver as object), modelDevice: network.device as 'webgpu' },
  );
  const here = new DPMSolver(
    async (x) => ({ ...x, data: (x.data as Float32Array).map((v, i) => Math.fround(v * gains[i])) }) as Tensor,
    schedule,
    solver as SolverOptions,
  );
  const own = options as SampleOptions;
  const [a, b] = one.invert
    ? [await there.invert(xT, own as never), await here.invert(xT, own as never)]
    : [await there.sample(xT, own as never), await here.sample(xT, own as never)];
  const states = [a.sample, ...(a.intermediates ?? [])].map(({ data }) => data as Float32Array);
  const expected = [b.sample, ...(b.intermediates ?? [])].map(({ data }) => data as Float32Array);
  let differ = states.length === expected.length ? 0 : Infinity;
  let [worst, size] = [0, 0];
  for (const [i, state] of states.entries()) {
    for (const [j, value] of state.entries()) {
      size = Math.max(size, Math.abs(expected[i][j]));
      if (Object.is(value, expected[i][j])) continue;
      differ++;
      worst = Math.max(worst, Math.abs(value - expected[i][j]));
    }
  }
  return {
    ...{ what, differ, worst, size, of: n * states.length, onHost: a.transfers?.onHost, nfe: [a.nfe, b.nfe] },
    undisposed: [...seen].filter(({ disposed }) => !disposed).length,
  };
}

/** Thresholded steps of samples of many sizes, against the host: the bounds are quantiles of their own kind each. */
export async function thresholds(dpm: Dpm): Promise<{ of: number; differ: number; bounded: number }> {
  const { DPMSolver, NoiseSchedule, betas, randn } = dpm;
  const network = await openProduct(dpm, 'webgpu');
  const schedule = NoiseSchedule.discrete({ betas: betas('squaredcos_cap_v2', 1000) });
  let [of, differ, bounded] = [0, 0, 0];
  // Many small samples have many quantiles.
  for (const [batch, h, w] of [
    [3, 1, 1],
    [3, 1, 3],
    [100, 5, 7],
    [10, 16, 16],
    [2, 48, 48],
    // Several workgroups a sample: the last one with part of its share.
    [2, 80, 81],
  ]) {
    for (const thresholding of [
      true,
      { ratio: 0 },
      { ratio: 1 },
      { ratio: 0.5, maxValue: 0.01 },
      { ratio: 0.9, maxValue: 0.3, cap: 1.5 },
      { maxValue: 2, cap: 1.5 },
    ]) {
      const xT = randn([batch, 3, h, w], { seed: h });
      // Samples of several sizes, and one with few values, so that there are ties.
      xT.data.set(xT.data.map((v, i) => (i < 3 * h * w ? Math.round(2 * v) / 2 : v * 3)));
      const gain = { ...randn([batch, 3, h, w], { seed: w }) };
      const options = { modelType: 'x_start', thresholding } as const;
      const there = new DPMSolver(network.model({ gain }), schedule, { ...options, modelDevice: 'webgpu' });
      const product = (x: Tensor) =>
        ({ ...x, data: (x.data as Float32Array).map((v, i) => Math.fround(v * gain.data[i])) }) as Tensor;
      const here = new DPMSolver(product, schedule, options);
      const unbounded = new DPMSolver(product, schedule, { modelType: 'x_start' });
      const [a, b, c] = (
        await Promise.all([there, here, unbounded].map((solver) => solver.sample(xT as never, { steps: 2 })))
      ).map(({ sample }) => (sample as Tensor).data as Float32Array);
      of += a.length;
      for (let i = 0; i < a.length; i++) {
        if (!Object.is(a[i], b[i])) differ++;
        if (a[i] !== c[i]) bounded++;
      }
    }
  }
  await network.dispose();
  return { of, differ, bounded };
}

/** Noise that steps draw, against the host's: of states that are nothing else. */
export async function noise(dpm: Dpm): Promise<{ of: number; differ: number; uploaded: number[]; size: number }> {
  const { DPMSolver, NoiseSchedule, betas } = dpm;
  const network = await openProduct(dpm, 'webgpu');
  const schedule = NoiseSchedule.discrete({ betas: betas('linear', 1000) });
  const options = { algorithmType: 'sde-dpmsolver++', modelType: 'x_start' } as const;
  let [of, differ, squares] = [0, 0, 0];
  const uploaded: number[] = [];
  for (const [shape, seed] of [
    [[1, 3, 5, 7], -1],
    [[3, 3, 11, 1], 2 ** 40 + 3],
    [
      [2, 3, 64, 64],
      [5, 2 ** 33],
    ],
    [[4, 3, 96, 96], 7],
  ] as const) {
    const count = shape.reduce((a: number, b) => a * b, 1);
    const zeros = { data: new Float32Array(count), dims: shape };
    const there = new DPMSolver(network.model({ gain: zeros }), schedule, { ...options, modelDevice: 'webgpu' });
    const here = new DPMSolver((x: Tensor) => x, schedule, options);
    const own = { steps: 3, order: 1, seed, noise: 'philox', intermediates: true } as const;
    const [a, b] = await Promise.all([there, here].map((solver) => solver.sample({ ...zeros } as never, own as never)));
    uploaded.push(a!.transfers!.uploaded - 4 * count);
    // The first state is the noise of one step alone.
    const [mine, its] = [a!, b!].map(({ intermediates }) => (intermediates![1] as unknown as typeof zeros).data);
    const scale = Math.sqrt(its!.reduce((sum, v) => sum + v * v, 0) / count);
    of += count;
    mine!.forEach((value, i) => {
      if (!Object.is(value, its![i])) differ++;
      squares += (value / scale) ** 2;
    });
  }
  await network.dispose();
  return { of, differ, uploaded, size: squares / of };
}

/** Networks that take and give halves. */
export async function halves(dpm: Dpm): Promise<{ types: string[]; worst: number; differ: number }> {
  const { DPMSolver, NoiseSchedule, betas, randn } = dpm;
  const schedule = NoiseSchedule.discrete({ betas: betas('scaled_linear', 1000) });
  const [half, single] = [await openProduct(dpm, 'webgpu', 'float16'), await openProduct(dpm, 'webgpu')];
  const types = new Set<string>();
  let [worst, differ] = [0, 0];
  // An odd number of elements: halves go in pairs.
  for (const twice of [false, true]) {
    const xT = randn([1, 3, 5, 7], { seed: 5 });
    const guidance = { type: 'classifier-free', scale: twice ? 2 : 1 } as const;
    const gain = randn([twice ? 2 : 1, 3, 5, 7], { seed: 6 });
    const halved = new DPMSolver(
      async (x, t, context) => {
        types.add(x.type);
        const value = await half.model({ gain })(x, t, context);
        types.add(value.type);
        return value;
      },
      schedule,
      { modelDevice: 'webgpu', modelDtype: 'float16', guidance },
    );
    const host = new DPMSolver(
      async (x: Tensor) => {
        const { out } = await half.run({ sample: x as never, timestep: { data: Float32Array.of(0), dims: [] }, gain });
        return out as unknown as Tensor;
      },
      schedule,
      { modelDtype: 'float16', guidance },
    );
    const whole = new DPMSolver(single.model({ gain }), schedule, { modelDevice: 'webgpu', guidance });
    const [a, b, c] = [halved, host, whole].map((one) => one.sample(xT as never, { steps: 4 }));
    const [mine, hosts, wide] = (await Promise.all([a, b, c])).map(
      ({ sample }) => (sample as Tensor).data as Float32Array,
    );
    mine.forEach((value, i) => {
      if (!Object.is(value, hosts[i])) differ++;
      worst = Math.max(worst, Math.abs(value - wide[i]));
    });
  }
  await half.dispose();
  await single.dispose();
  return { types: [...types], worst, differ };
}

/** How many buffers there are on the graphics processor, and bytes of them, while runs come and go. */
export async function memory(dpm: Dpm, runs: number): Promise<{ before: number[]; after: number[] }> {
  const { DPMSolver, NoiseSchedule, betas, randn } = dpm;
  const { GPUBuffer, GPUDevice } = globalThis as unknown as Record<string, { prototype: Record<string, unknown> }>;
  const live = new Map<object, number>();
  const { createBuffer } = GPUDevice.prototype;
  const { destroy } = GPUBuffer.prototype;
  GPUDevice.prototype.createBuffer = function (options: { size: number }) {
    const buffer = (createBuffer as (options: object) => object).call(this, options);
    live.set(buffer, options.size);
    return buffer;
  };
  GPUBuffer.prototype.destroy = function () {
    live.delete(this as object);
    (destroy as () => void).call(this);
  };
  const network = await openProduct(dpm, 'webgpu');
  const schedule = NoiseSchedule.discrete({ betas: betas('scaled_linear', 1000) });
  const gain = randn([128, 3, 8, 8], { seed: 6 });
  const solver = new DPMSolver(network.model({ gain }), schedule, {
    ...{ modelDevice: 'webgpu', guidance: { type: 'classifier-free', scale: 2 }, algorithmType: 'sde-dpmsolver++' },
  } as never);
  const count = () => [live.size, [...live.values()].reduce((sum, size) => sum + size, 0)];
  const run = async (i: number) => {
    const stop = new AbortController();
    const end = i % 5 === 4 ? { signal: stop.signal, onStep: () => stop.abort(new Error('enough')) } : {};
    await solver.sample(randn([64, 3, 8, 8], { seed: i }) as never, { steps: 3, seed: i, ...end }).catch((error) => {
      if (error.message !== 'enough') throw error;
    });
  };
  for (let i = 0; i < 10; i++) await run(i);
  const before = count();
  for (let i = 0; i < runs; i++) await run(i);
  const after = count();
  await network.dispose();
  Object.assign(GPUDevice.prototype, { createBuffer });
  Object.assign(GPUBuffer.prototype, { destroy });
  return { before, after };
}

/** What is said of mistakes, and of outputs that are not finite. */
export async function mistakes(dpm: Dpm): Promise<Record<string, string>> {
  const { DPMSolver, NoiseSchedule, OrtWebNetwork, OrtWebValue, betas, randn, setOnnxRuntime } = dpm;
  const schedule = NoiseSchedule.discrete({ betas: betas('scaled_linear', 1000) });
  const network = await openProduct(dpm, 'webgpu');
  const gain = randn([2, 3, 8, 8], { seed: 6 });
  const xT = randn(dims, { seed: 5 });
  const said: Record<string, string> = {};
  const tell = async (name: string, work: () => unknown) => {
    try {
      await work();
      said[name] = 'nothing';
    } catch (error) {
      said[name] = `${(error as Error).name}: ${(error as Error).message}`;
    }
  };
  const there = { modelDevice: 'webgpu' } as const;
  const bad = { ...gain, data: gain.data.map((v, i) => (i === 200 ? Infinity : v)) };
  await tell('not finite', () => new DPMSolver(network.model({ gain: bad }), schedule, there).sample(xT));
  await tell('unchecked', () =>
    new DPMSolver(network.model({ gain: bad }), schedule, { ...there, checkFinite: false }).sample(xT),
  );
  await tell('a plain tensor', () =>
    new DPMSolver((async (x: unknown) => ({ ...gain, x })) as never, schedule, there).sample(xT),
  );
  await tell('wrong dims', () =>
    new DPMSolver(
      async () =>
        (
          await network.run(
            { sample: gain, timestep: { data: Float32Array.of(0), dims: [] }, gain },
            { outputs: { out: 'device' } },
          )
        ).out as never,
      schedule,
      there,
    ).sample(randn([1, 3, 8, 8], { seed: 1 })),
  );
  await tell('start', () => new DPMSolver(null, schedule, there).start(xT));
  await tell('device', () => OrtWebNetwork.open('/model.onnx', { device: 'cuda' as never }));
  await tell('graph', () => OrtWebNetwork.open(3 as never));
  await tell('option', () => OrtWebNetwork.open('/model.onnx', { providers: [] } as never));
  await tell('no file', () => OrtWebNetwork.open('/model.onnx'));
  await tell('no graph', () => OrtWebNetwork.open(Uint8Array.of(1, 2, 3), { path: 'three bytes', device: 'cpu' }));
  await tell('runtime', () => setOnnxRuntime({} as never));
  await tell('no input', () => network.run({ sample: gain }));
  await tell('another input', () => network.run({ noise: gain } as never));
  await tell('another type', () => network.run({ sample: { ...gain, type: 'float64' } } as never));
  await tell('elements', () => network.run({ sample: { ...gain, dims: [2, 3, 8, 9] } } as never));
  await tell('output', () => network.run({ sample: gain, timestep: gain, gain } as never, { outputs: ['noise'] }));
  await tell('aborted', () => network.run({}, { signal: AbortSignal.abort(new RangeError('over')) }));
  const { out } = await network.run(
    { sample: gain, timestep: { data: Float32Array.of(0), dims: [] }, gain },
    { outputs: { out: 'device' } },
  );
  const value = out as InstanceType<typeof OrtWebValue>;
  said.read = String(((await value.read()).data as Float32Array)[3] === Math.fround(gain.data[3] * gain.data[3]));
  value.dispose();
  value.dispose();
  await tell('disposed', () => value.read());
  await tell('disposed feed', () =>
    network.run({ sample: value, timestep: { data: Float32Array.of(0), dims: [] }, gain }),
  );
  await network.dispose();
  await tell('disposed network', () => network.run({}));
  return said;
}

/** What a denoiser is given for a picture. */
export interface Given {
  graph: string;
  states: number[];
  dims: number[];
  scale: number;
  steps: number;
}

interface Drawn {
  device: string;
  sample: number[];
  steps: number[];
  transfers: { uploaded: number; downloaded: number } | undefined;
  calls: number;
  /** Milliseconds outside of the network's calls; on WebGPU they are queued, and what waits for them is the step. */
  outside: number;
  /** By how much the page's timers came later than they should have, in milliseconds. */
  late: number[];
}

/** A few steps of a denoiser that takes a prompt's numbers, guided; once more before, where times are wanted. */
export async function denoise(
  { DPMSolver, NoiseSchedule, OrtWebNetwork, betas, randn }: Dpm,
  device: Device,
  { graph, states, dims: own, scale, steps }: Given,
  warm = false,
): Promise<Drawn> {
  const unet = await OrtWebNetwork.open(graph, { device });
  const encoder_hidden_states = { data: Float32Array.from(states), dims: own };
  const schedule = NoiseSchedule.discrete({ betas: betas('linear', 1000) });
  const model = unet.model({ encoder_hidden_states });
  let [calls, within] = [0, 0];
  const counted = async (...call: Parameters<typeof model>) => {
    const begun = performance.now();
    const output = await model(...call);
    calls++;
    within += performance.now() - begun;
    return output;
  };
  const solver = new DPMSolver(counted as never, schedule, {
    ...{ modelType: 'v', guidance: { type: 'classifier-free', scale }, modelDevice: unet.device },
  } as never);
  const told: number[] = [];
  const run = (count: number) =>
    solver.sample(randn([1, 3, 32, 32], { seed: 7 }) as never, {
      steps: count,
      // Who listens is shown copies, which cross.
      ...(warm ? {} : { onStep: ({ step }: { step: number }) => told.push(step) }),
    });
  if (warm) await run(2);
  calls = within = told.length = 0;
  const late: number[] = [];
  const every = 5;
  let asked = performance.now();
  const tick = () => {
    const now = performance.now();
    late.push(Math.max(0, now - asked - every));
    asked = now;
  };
  const timer = setInterval(tick, every);
  const started = performance.now();
  const { sample, transfers } = await run(steps);
  const total = performance.now() - started;
  clearInterval(timer);
  // The one that was due while the page was at work.
  tick();
  await unet.dispose();
  const { data } = sample as unknown as { data: Float32Array };
  const where = { device: unet.device, sample: [...data], steps: told, transfers };
  return { ...where, calls, outside: total - within, late };
}

/** Runs some cases with fewer buffers for a kernel than the graphics processor has. */
export async function withFewBuffers(dpm: Dpm, only: string): Promise<Outcome[]> {
  const { GPUSupportedLimits } = globalThis as unknown as { GPUSupportedLimits: { prototype: object } };
  const limit = 'maxStorageBuffersPerShaderStage';
  const own = Object.getOwnPropertyDescriptor(GPUSupportedLimits.prototype, limit) as PropertyDescriptor;
  Object.defineProperty(GPUSupportedLimits.prototype, limit, { ...own, get: () => 6 });
  try {
    return await runCases(dpm, 'webgpu', only);
  } finally {
    Object.defineProperty(GPUSupportedLimits.prototype, limit, own);
  }
}

/** Where a network goes by itself. */
export async function automatic(dpm: Dpm): Promise<{ device: string; reason?: string }> {
  const network = await openProduct(dpm, 'auto');
  const { device, reason } = network;
  await network.dispose();
  return { device, reason };
}

/** What a worker of the tests does: a run, in some of the workers with its graphics processor taken away after two steps. */
export async function runInWorker(
  dpm: Dpm,
  ort: { env: { webgpu: { device: Promise<{ destroy(): void }> } } },
  { which, loseIn = [], steps = 4 }: { which: number; loseIn?: number[]; steps?: number },
  { tell, signal }: { tell(message: unknown): void; signal: AbortSignal },
): Promise<{ which: number; data: number[] }> {
  const { DPMSolver, NoiseSchedule, betas, randn } = dpm;
  const network = await openProduct(dpm, 'webgpu');
  const schedule = NoiseSchedule.discrete({ betas: betas('scaled_linear', 1000) });
  const solver = new DPMSolver(network.model({ gain: randn(dims, { seed: 6 }) }), schedule, { modelDevice: 'webgpu' });
  const { sample } = await solver.sample(randn(dims, { seed: 5 }), {
    ...{ steps, signal },
    onStep: async ({ step }) => {
      tell({ which, step });
      if (step === 2 && loseIn.includes(which)) (await ort.env.webgpu.device).destroy();
    },
  });
  await network.dispose();
  return { which, data: [...sample.data] };
}

/** A worker that is lost now and then, as the page sees it. */
export async function losses({ NetworkWorker }: Dpm) {
  type Made = { which: number; data: number[] };
  const said: string[] = [];
  const started: number[] = [];
  const worker = new NetworkWorker((count) => {
    started.push(count);
    const { Worker } = globalThis as unknown as { Worker: new (url: string, options: object) => never };
    return new Worker('/worker.js', { type: 'module', name: String(count) });
  });
  const run = async (options: object, call = 'run', more = {}): Promise<Made | string> => {
    try {
      return await worker.call<Made>(call, options, more);
    } catch (error) {
      return `${(error as Error).name}: ${(error as Error).message}`;
    }
  };
  const heard = { onMessage: ({ which, step }: { which: number; step: number }) => said.push(`${which}.${step}`) };
  const whole = await run({}, 'run', heard);
  const lost = await run({ loseIn: [1] }, 'run', heard);
  const twice = await run({ loseIn: [2, 3] });
  const after = await run({});
  const unknown = await run({}, 'fly');
  const wrong = await run({ steps: 0 });
  const stop = new AbortController();
  const aborted = await run({}, 'run', { signal: stop.signal, onMessage: () => stop.abort(new RangeError('enough')) });
  const going = run({});
  worker.dispose();
  return { whole, lost, twice, after, unknown, wrong, aborted, ended: await going, late: await run({}), said, started };
}

/**
 * Some cases on 'webnn', with WebGPU where onnxruntime-web would ask the browser for WebNN: all of the way there but the browser's
 * own part.
 */
export async function asWebNN(dpm: Dpm, only: string): Promise<Outcome[]> {
  type Create = (model: Uint8Array, options: object) => Promise<never>;
  const { ort } = globalThis as unknown as { ort: { InferenceSession: { create: Create } } & web.OnnxRuntimeWeb };
  const create: Create = (model, options) => {
    const { executionProviders, preferredOutputLocation } = options as Record<string, unknown>;
    if (`${executionProviders}` !== 'webnn' || preferredOutputLocation !== 'ml-tensor')
      throw new Error('not for WebNN');
    const changed = { executionProviders: ['webgpu'], preferredOutputLocation: 'gpu-buffer' };
    return ort.InferenceSession.create(model, { ...options, ...changed });
  };
  const { Tensor, env } = ort;
  dpm.setOnnxRuntime({ Tensor, env, InferenceSession: { create: create as never } });
  try {
    return await runCases(dpm, 'webnn', only);
  } finally {
    dpm.setOnnxRuntime(ort);
  }
}
