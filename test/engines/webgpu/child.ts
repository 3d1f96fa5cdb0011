// Runs on WebGPU, in a process of their own for their driver (test/engines/webgpu/engine.test.ts brings SwiftShader).
import * as assert from 'uvu/assert';
import { betas, DPMSolver, NoiseSchedule, randn } from '../../../lib/index.js';
import type { OrtValue } from '../../../lib/onnx/index.js';
import { CASES, cfg, openTanh, runCase } from './cases.js';

const network = await openTanh('webgpu');
for (const one of CASES) {
  const difference = await runCase(network, 'webgpu', one);
  assert.ok(difference < 1e-5, `${one.what}: ${difference} of the size`);
}

// 200 runs of a network of two nodes leave nothing behind. States of 1.5 MB would show one that is kept.
const schedule = NoiseSchedule.discrete({ betas: betas('scaled_linear', 1000) });
const solver = new DPMSolver(
  async (sample: OrtValue) => (await network.run({ sample }, { outputs: { out: 'device' } })).out as OrtValue,
  schedule,
  { modelDevice: 'webgpu', guidance: cfg },
);
const xT = randn([256, 3, 8, 8], { seed: 1 });
let before = 0;
for (let i = 0; i < 200; i++) {
  if (i === 20) before = process.memoryUsage.rss();
  await solver.sample(xT, { steps: 2, order: 2 });
}
const grown = (process.memoryUsage.rss() - before) / 2 ** 20;
assert.ok(grown < 100, `${grown.toFixed(0)} MB more`);
await network.dispose();
console.log('fine');
