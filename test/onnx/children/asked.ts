// Opens the embedded network, compares its bits with session.run's and ends a run by a signal; prints the version and what
// it has seen, or why it could not.
import { createRequire } from 'node:module';
import { fileURLToPath } from 'node:url';
import type { InferenceSession as Session, Tensor as OrtOwn } from 'onnxruntime-node';
import { OrtNetwork, type OrtTensor, ortLibrary } from '../../../lib/onnx/index.js';

async function main(): Promise<string> {
  const { version } = await ortLibrary();
  const { InferenceSession, Tensor } = createRequire(import.meta.url)('onnxruntime-node') as {
    InferenceSession: typeof Session;
    Tensor: typeof OrtOwn;
  };
  const graph = fileURLToPath(new URL('../../../models/shapes/unet/model.onnx', import.meta.url));
  const tensor = (dims: number[]) => {
    const length = dims.reduce((n, d) => n * d, 1);
    return new Tensor(
      'float32',
      Float32Array.from({ length }, (_, i) => Math.sin(i)),
      dims,
    );
  };
  const feeds = { sample: tensor([2, 3, 32, 32]), timestep: tensor([1]), encoder_hidden_states: tensor([2, 8, 64]) };
  const session = await InferenceSession.create(graph);
  const network = await OrtNetwork.open(graph);
  const expected = (await session.run(feeds)).out_sample.data as Float32Array;
  const { data } = (await network.run(feeds as never)).out_sample as OrtTensor;
  const same = expected.every((value, i) => Object.is(value, data[i]));
  let ended = false;
  for (let i = 0; i < 20 && !ended; i++) {
    const controller = new AbortController();
    const run = network.run(feeds as never, { signal: controller.signal });
    setImmediate(() => controller.abort(new Error('by its signal')));
    ended = await run.then(
      () => false,
      (error) => error.message === 'by its signal',
    );
  }
  await network.dispose();
  return `${version}, ${same ? 'the' : 'other'} bits of session.run, ${ended ? 'ended' : 'not ended'} by its signal`;
}

console.log(await main().catch((error) => error.message));
