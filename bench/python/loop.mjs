// The loop of loop.py with this package and onnxruntime-node: a line of JSON in, a line out.
//
//     node loop.mjs MODEL THREADS SPINNING
import { createInterface } from 'node:readline';
import { performance } from 'node:perf_hooks';
import { readFileSync } from 'node:fs';
import { betas, DPMSolver, NoiseSchedule, randn } from 'dpm-solver';
import { InferenceSession, Tensor } from 'onnxruntime-node';

const [model, threads, spinning] = process.argv.slice(2);
const unet = await InferenceSession.create(`${model}/unet/model.onnx`, {
  intraOpNumThreads: Number(threads),
  extra: { session: { intra_op: { allow_spinning: spinning } } },
});
const config = JSON.parse(readFileSync(`${model}/scheduler/scheduler_config.json`, 'utf8'));
const { beta_schedule, num_train_timesteps, beta_start: start, beta_end: end } = config;
const schedule = NoiseSchedule.discrete({ betas: betas(beta_schedule, num_train_timesteps, { start, end }) });
const guidance = { type: 'classifier-free', scale: 3 };
const solver = new DPMSolver(null, schedule, { modelType: 'v', guidance, threads: Number(threads) });

async function sample(batch) {
  const { data, dims } = randn([batch, 3, 32, 32], { seed: 0 });
  const xT = new Tensor('float32', data, dims);
  const states = new Tensor('float32', new Float32Array(2 * batch * 8 * 64), [2 * batch, 8, 64]);
  let inside = 0;
  const began = performance.now();
  const run = solver.start(xT, { steps: 6, order: 2 });
  while (!run.done) {
    const feeds = { sample: run.x, timestep: new Tensor('float32', [run.t], [1]), encoder_hidden_states: states };
    const before = performance.now();
    const { out_sample } = await unet.run(feeds);
    inside += performance.now() - before;
    run.advance(out_sample);
  }
  const whole = performance.now() - began;
  const mean = Math.sqrt(run.result.data.reduce((sum, x) => sum + x * x, 0) / run.result.data.length);
  return { outside: (whole - inside) / 1000, inside: inside / 1000, mean };
}

for await (const line of createInterface({ input: process.stdin })) {
  console.log(JSON.stringify(await sample(JSON.parse(line).batch)));
}
