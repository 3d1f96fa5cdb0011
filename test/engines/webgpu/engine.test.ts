// The engine whose steps are graphs: on onnxruntime's CPU provider, whose code it is everywhere, and on WebGPU where that runs.
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { hostEngine } from '../../../lib/engines/host/engine.js';
import { sampleThere } from '../../../lib/engines/webgpu/sample.js';
import { betas, DPMSolver, NoiseSchedule, randn, type Tensor } from '../../../lib/index.js';
import { OrtNetwork, type OrtValue } from '../../../lib/onnx/index.js';
import { writeGraph } from '../../../lib/onnx/write.js';
import { readSampleOptions, readSolverOptions } from '../../../lib/solver/options.js';
import { inChild } from '../../native/children.js';
import { webGpuEnv, whyNoWebGpu } from '../../onnx/webgpu.js';
import { assertRejects, assertThrows } from '../../support.js';
import { CASES, openTanh, runCase } from './cases.js';

const test = suite('steps as graphs');
const schedule = NoiseSchedule.discrete({ betas: betas('scaled_linear', 1000) });
const network = await openTanh('cpu');
test.after(() => network.dispose());

for (const one of CASES) {
  test(`${one.what}: what the host does`, async () => {
    const difference = await runCase(network, 'cpu', one);
    assert.ok(difference < (one.onHost ? 1e-9 : 3e-6), `${difference} of the size`);
  });
}

/** A run on the CPU provider by a function of the state. */
const sampleBy = (
  model: Parameters<typeof sampleThere>[1],
  xT: Tensor,
  solver: Parameters<typeof readSolverOptions>[1] = {},
  options: Parameters<typeof readSampleOptions>[1] = {},
) => {
  const read = readSolverOptions(schedule, solver, ['float32', 'float16']);
  const sampler = readSampleOptions(read, options, false);
  return sampleThere({ device: 'cpu', hostEngine }, model, read, sampler, xT);
};

const tanh = async (x: OrtValue) => (await network.run({ sample: x }, { outputs: { out: 'device' } })).out as OrtValue;
const start = () => randn([2, 3, 8, 8], { seed: 5 }) as Tensor;

test('a network in float16 gets and gives halves', async () => {
  const halves = await openTanh('cpu', 'float16');
  const types = new Set<string>();
  const guidance = { type: 'classifier-free', scale: 2 } as const;
  const { sample } = await sampleBy(
    async (x) => {
      const { out } = await halves.run({ sample: x }, { outputs: { out: 'device' } });
      types.add(x.type).add((out as OrtValue).type);
      return out as OrtValue;
    },
    start(),
    { modelDtype: 'float16', guidance },
    { steps: 4 },
  );
  const wide = await sampleBy(tanh, start(), { guidance }, { steps: 4 });
  await halves.dispose();
  assert.equal([...types], ['float16']);
  const worst = (sample.data as Float32Array).reduce((most, value, i) => {
    return Math.max(most, Math.abs(value - (wide.sample.data as Float32Array)[i]));
  }, 0);
  assert.ok(worst > 0 && worst < 0.05, `${worst}`);
});

test('a state in float64 wants answers in float64, as on the host', async () => {
  const xT = randn([2, 3, 8, 8], { seed: 5, type: 'float64' }) as Tensor;
  for (const type of ['float64', 'float32'] as const) {
    const dims = ['batch', 3, 8, 8];
    const graph = writeGraph({
      inputs: [{ name: 'sample', type: 'float64', dims }],
      outputs: [{ name: 'out', type, dims }],
      nodes: [{ type: 'Cast', inputs: ['sample'], outputs: ['out'], attributes: { to: type === 'float64' ? 11 : 1 } }],
    });
    const same = await OrtNetwork.open(graph, { threads: 1 });
    const model = async (x: OrtValue) =>
      (await same.run({ sample: x }, { outputs: { out: 'device' } })).out as OrtValue;
    const running = sampleBy(model, xT, {}, { steps: 4 });
    if (type === 'float64') {
      const { sample, transfers } = await running;
      assert.equal([sample.type, transfers?.onHost], ['float64', 'a state in float64']);
      const here = await new DPMSolver((x) => x, schedule).sample(xT, { steps: 4 });
      assert.equal(sample.data, here.sample.data);
    } else {
      const pattern = /^Expected type 'float64' for the network output but received 'float32'$/;
      await assertRejects(running, TypeError, pattern);
    }
    await same.dispose();
  }
});

test('what is not finite is told by sample and step, and everything is freed', async () => {
  const dims = ['batch', 3, 8, 8];
  const root = await OrtNetwork.open(
    writeGraph({
      inputs: [{ name: 'sample', type: 'float32', dims }],
      outputs: [{ name: 'out', type: 'float32', dims }],
      nodes: [{ type: 'Sqrt', inputs: ['sample'], outputs: ['out'] }],
    }),
    { threads: 1 },
  );
  const xT = start();
  // Roots of the second sample's are no numbers.
  (xT.data as Float32Array).forEach((value, i, all) => {
    all[i] = i < 192 ? Math.abs(value) : value;
  });
  const seen: OrtValue[] = [];
  const model = async (x: OrtValue) => {
    const { out } = await root.run({ sample: x }, { outputs: { out: 'device' } });
    seen.push(x, out as OrtValue);
    return out as OrtValue;
  };
  await assertRejects(
    sampleBy(model, xT, {}, { steps: 4 }),
    Error,
    /^Expected finite numbers for the network output but received NaN or Infinity for sample 1 at evaluation 1 \(step 1, /,
  );
  assert.ok(seen.length === 2 && seen.every(({ disposed }) => disposed));
  await root.dispose();
});

test('an abort and a failing network free everything', async () => {
  const seen: OrtValue[] = [];
  const controller = new AbortController();
  const reason = new Error('enough');
  const aborting = sampleBy(
    async (x) => {
      seen.push(x);
      if (seen.length === 2) controller.abort(reason);
      return tanh(x);
    },
    start(),
    {},
    { steps: 4, signal: controller.signal },
  );
  assert.is(await aborting.catch((error) => error), reason);
  const failing = sampleBy(() => Promise.reject(reason), start(), {}, { steps: 4 });
  assert.is(await failing.catch((error) => error), reason);
  assert.ok(seen.length === 2 && seen.every(({ disposed }) => disposed));
});

test('onStep is shown each state, and may end the run', async () => {
  const told: [number, number][] = [];
  const last: { data?: Float32Array } = {};
  const { sample } = await sampleBy(
    tanh,
    start(),
    {},
    {
      steps: 4,
      onStep: ({ step, steps, x }) => {
        told.push([step, steps]);
        last.data = (x.data as Float32Array).slice();
      },
    },
  );
  assert.equal(
    told,
    [1, 2, 3, 4].map((step) => [step, 4]),
  );
  assert.equal(last.data, sample.data);
});

test('refuses what is no output of the network', async () => {
  await assertRejects(
    sampleBy(async () => ({}) as OrtValue, start()),
    TypeError,
    /^Expected a value on its device for the network output but received /,
  );
  const single = async () => {
    const sample = { data: new Float32Array(192), dims: [1, 3, 8, 8] };
    return (await network.run({ sample }, { outputs: { out: 'device' } })).out as OrtValue;
  };
  await assertRejects(sampleBy(single, start()), RangeError, /^Expected dims \[2, 3, 8, 8\] for the network output/);
});

test('a solver says where it cannot be', async () => {
  const model = async (x: OrtValue) => x;
  const solver = new DPMSolver(model, schedule, { modelDevice: 'webgpu' });
  assertThrows(
    () => solver.start(start()),
    RangeError,
    /^Expected 'cpu' or 'cuda' for modelDevice with start\(\) but received 'webgpu': use sample\(\)$/,
  );
  assertThrows(
    () => new DPMSolver(null, schedule, { device: 'webgpu' } as never),
    RangeError,
    /^Expected 'webgpu' for modelDevice with device 'webgpu' but received 'cpu': steps follow their network$/,
  );
  assertThrows(
    () => new DPMSolver(model as never, schedule, { device: 'cpu', modelDevice: 'webgpu' } as never),
    RangeError,
    /^Expected 'auto' or 'webgpu' for device with a network on WebGPU but received 'cpu'$/,
  );
  assertThrows(
    () => new DPMSolver(model as never, schedule, { modelDevice: 'webgpu', modelDtype: 'float64' } as never),
    TypeError,
    /^Expected 'float32' or 'float16' for modelDtype but received 'float64'/,
  );
});

const reason = await whyNoWebGpu();
if (reason) console.log(`skipped: ${reason}`);

(reason ? test.skip : test)('WebGPU: what the host does, and memory stays flat', async () => {
  const child = new URL('./child.ts', import.meta.url);
  const { code, output, errors } = await inChild(child, { env: webGpuEnv });
  assert.equal([code, output], [0, 'fine\n'], errors);
});

test.run();
