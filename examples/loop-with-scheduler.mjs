// A hand-written onnxruntime loop as exported diffusers pipelines have it. Change `DDIMScheduler` to
// `DPMSolverMultistepScheduler`, and nothing else, to get DPM-Solver++:
//
//     node node_modules/dpm-solver/examples/loop-with-scheduler.mjs "a large red circle on a blue background" picture.ppm
import { writeFileSync } from 'node:fs';
import { randn } from 'dpm-solver';
import { DPMSolverMultistepScheduler as Scheduler } from 'dpm-solver/schedulers';
import { Tensor } from 'onnxruntime-node';
import { loadUnet, schedulerConfig, toPpm } from './shapes.mjs';

const [prompt = 'a red circle on a blue background', file = 'picture.ppm'] = process.argv.slice(2);
const guidance = 3;
const unet = await loadUnet(prompt);
const scheduler = Scheduler.fromConfig(schedulerConfig);
scheduler.setTimesteps(15);

const noise = randn([1, 3, 32, 32], { seed: 0 });
let latents = new Tensor('float32', noise.data, noise.dims);
for (const t of scheduler.timesteps) {
  const twice = new Float32Array(2 * latents.data.length);
  twice.set(latents.data);
  twice.set(latents.data, latents.data.length);
  const out = await unet(scheduler.scaleModelInput(new Tensor('float32', twice, [2, 3, 32, 32]), t), Number(t));
  const n = latents.data.length;
  const guided = new Float32Array(n);
  for (let i = 0; i < n; i++) guided[i] = out.data[i] + guidance * (out.data[n + i] - out.data[i]);
  latents = scheduler.step(new Tensor('float32', guided, latents.dims), t, latents);
}
writeFileSync(file, toPpm(latents));
