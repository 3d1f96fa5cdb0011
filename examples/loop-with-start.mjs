// The same loop with `solver.start()`: doubling the batch, guidance and the update are one native pass.
//
//     node node_modules/dpm-solver/examples/loop-with-start.mjs "a large red circle on a blue background" picture.ppm
import { writeFileSync } from 'node:fs';
import { betas, DPMSolver, NoiseSchedule, randn } from 'dpm-solver';
import { Tensor } from 'onnxruntime-node';
import { loadUnet, schedulerConfig, toPpm } from './shapes.mjs';

const [prompt = 'a red circle on a blue background', file = 'picture.ppm'] = process.argv.slice(2);
const unet = await loadUnet(prompt);
const { beta_schedule, num_train_timesteps, beta_start: start, beta_end: end } = schedulerConfig;
const schedule = NoiseSchedule.discrete({ betas: betas(beta_schedule, num_train_timesteps, { start, end }) });
const solver = new DPMSolver(null, schedule, { modelType: 'v', guidance: { type: 'classifier-free', scale: 3 } });

const noise = randn([1, 3, 32, 32], { seed: 0 });
const run = solver.start(new Tensor('float32', noise.data, noise.dims), { steps: 15 });
while (!run.done) run.advance(await unet(run.x, run.t));
writeFileSync(file, toPpm(run.result));
