// A page that runs a network by onnxruntime-web, with what its bundler makes of both packages.
import * as ort from 'onnxruntime-web/jspi';
import { betas, DPMSolver, NoiseSchedule, OrtWebNetwork, randn, setOnnxRuntime } from 'dpm-solver/web';
import { graph, options, seed, steps } from './web-run.mjs';

async function main() {
  setOnnxRuntime(ort);
  const made = {};
  for (const device of ['webgpu', 'cpu']) {
    const network = await OrtWebNetwork.open(Uint8Array.from(graph), { device });
    const schedule = NoiseSchedule.discrete({ betas: betas('linear', 1000) });
    const gain = randn([2, 3, 8, 8], { seed: seed + 1 });
    const solver = new DPMSolver(network.model({ gain }), schedule, { ...options, modelDevice: network.device });
    const { sample } = await solver.sample(randn([2, 3, 8, 8], { seed }), { ...steps });
    await network.dispose();
    made[device] = { device: network.device, sample: [...sample.data] };
  }
  return made;
}

main().then(
  (made) => {
    globalThis.result = made;
  },
  (error) => {
    globalThis.result = { error: String(error.stack) };
  },
);
