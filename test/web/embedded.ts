// What the embedded network draws in Node, for pages to be held to.
import { join } from 'node:path';
import { betas, DPMSolver, NoiseSchedule, randn, type Tensor } from '../../lib/index.js';
import { OrtNetwork, type OrtTensor } from '../../lib/onnx/index.js';
import { root } from './chromium.js';
import type { Given } from './page.js';

/** 'a red circle on a blue background' in some steps: what a page has to be given for it, and the sample. */
export async function embedded(steps: number): Promise<{ given: Given; expected: Float32Array }> {
  const unet = join(root, 'models/shapes/unet/model.onnx');
  const [scale, dims] = [3, [2, 8, 64]];
  // No words, and the prompt's.
  const ids = [Array<number>(8).fill(0), [2, 9, 17, 5, 2, 11, 6, 0]].flat();
  const encoder = await OrtNetwork.open(join(root, 'models/shapes/text_encoder/model.onnx'));
  const { type } = encoder.inputs.get('input_ids')!;
  const data = type === 'int64' ? BigInt64Array.from(ids, BigInt) : Int32Array.from(ids);
  const { last_hidden_state } = await encoder.run({ input_ids: { data, dims: [2, 8] } });
  await encoder.dispose();
  const states = (last_hidden_state as OrtTensor).data as Float32Array;
  const network = await OrtNetwork.open(unet);
  const solver = new DPMSolver(
    async (sample: Tensor, t) => {
      const timestep = { data: Float32Array.of(t), dims: [...network.inputs.get('timestep')!.dims].map(() => 1) };
      const feeds = { sample: sample as OrtTensor, timestep, encoder_hidden_states: { data: states, dims } };
      return (await network.run(feeds)).out_sample as unknown as Tensor;
    },
    NoiseSchedule.discrete({ betas: betas('linear', 1000) }),
    { modelType: 'v', guidance: { type: 'classifier-free', scale } },
  );
  const { sample } = await solver.sample(randn([1, 3, 32, 32], { seed: 7 }) as Tensor, { steps });
  await network.dispose();
  const given = { graph: '/models/shapes/unet/model.onnx', states: [...states], dims, scale, steps };
  return { given, expected: sample.data as Float32Array };
}

/** The root of the mean square. */
export function size(values: ArrayLike<number>): number {
  return Math.hypot(...Array.from(values)) / Math.sqrt(values.length);
}
