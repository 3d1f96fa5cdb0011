// One's own loop with onnxruntime's tensors, without a single cast.
import ort from 'onnxruntime-node';
import { DPMSolver, NoiseSchedule, randn } from 'dpm-solver';
import { networkDevices } from 'dpm-solver/onnx';
import { is } from './check.js';

const session = await ort.InferenceSession.create('unet.onnx');
const { data, dims } = randn([1, 4, 64, 64], { seed: 7 });
const noise = new ort.Tensor('float32', data, dims);

const run = new DPMSolver(null, NoiseSchedule.linear()).start(noise, { steps: 10 });
while (!run.done) {
  const timestep = new ort.Tensor('float32', [run.t], [1]);
  const { out_sample } = await session.run({ sample: run.x, timestep });
  if (out_sample) run.advance(out_sample);
}
is<ort.TypedTensor<'float32'>>()(run.result, true);

const solver = new DPMSolver(async (x: ort.Tensor, t: number) => {
  const { out_sample } = await session.run({ sample: x, timestep: new ort.Tensor('float32', [t], [1]) });
  if (!out_sample) throw new Error('no output');
  return out_sample;
}, NoiseSchedule.linear());
is<ort.TypedTensor<'float32'>>()((await solver.sample(noise)).sample, true);
export { networkDevices };
