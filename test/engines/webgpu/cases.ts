// Runs whose states stay where the network is, held against the engine of the host with the same network.
import * as assert from 'uvu/assert';
import { hostEngine } from '../../../lib/engines/host/engine.js';
import { sampleThere } from '../../../lib/engines/webgpu/sample.js';
import * as dpm from '../../../lib/index.js';
import { betas, DPMSolver, NoiseSchedule, randn, type Tensor } from '../../../lib/index.js';
import { OrtNetwork, type OrtTensor, type OrtValue } from '../../../lib/onnx/index.js';
import { writeGraph } from '../../../lib/onnx/write.js';
import { readSampleOptions, readSolverOptions } from '../../../lib/solver/options.js';
import { type Case, casesOf } from './table.js';

export { cfg } from './table.js';

export type Where = 'cpu' | 'webgpu';

const schedule = NoiseSchedule.discrete({ betas: betas('scaled_linear', 1000) });
const flow = NoiseSchedule.flow({ shift: 3 });

/** tanh of the state, in a type: a network of two nodes or three. */
export function openTanh(device: Where, type: 'float32' | 'float16' = 'float32'): Promise<OrtNetwork> {
  const dims = ['batch', 3, 8, 8];
  const cast = (from: string, to: string, number: number) =>
    ({ type: 'Cast', inputs: [from], outputs: [to], attributes: { to: number } }) as const;
  const inner = { type: 'Tanh', inputs: ['wide'], outputs: ['bent'] };
  const graph = writeGraph({
    inputs: [{ name: 'sample', type, dims }],
    outputs: [{ name: 'out', type, dims }],
    nodes: [cast('sample', 'wide', 1), inner, cast('bent', 'out', type === 'float16' ? 10 : 1)],
  });
  return OrtNetwork.open(graph, { device, threads: 1 });
}

/** See table.ts. */
export const CASES = casesOf(dpm);

const rms = (values: ArrayLike<number>) => {
  let sum = 0;
  for (let i = 0; i < values.length; i++) sum += values[i] ** 2;
  return Math.sqrt(sum / values.length);
};

/** How far two results are from each other, in the size of the second. */
export function apart(a: Tensor, b: Tensor): number {
  const expected = b.data as Float32Array;
  return rms(expected.map((value, i) => (a.data as Float32Array)[i] - value)) / rms(expected);
}

/** Runs a case on a device and on the host, with the same network, and says how far apart the results are. */
export async function runCase(
  network: OrtNetwork,
  where: Where,
  { solver = {}, options, ...one }: Case,
): Promise<number> {
  const own = one.schedule === 'flow' ? flow : one.schedule === 'edm' ? NoiseSchedule.edm() : schedule;
  const xT = randn([2, 3, 8, 8], { seed: 5 }) as Tensor;
  const noise = xT.data as Float32Array;
  if (one.schedule === 'edm') noise.set(noise.map((value) => 80 * value));
  const kept = noise.slice();
  const seen = new Set<OrtValue>();
  const common = readSolverOptions(own, solver, ['float32', 'float16']);
  const sampler = readSampleOptions(common, options, one.invert ?? false);
  const there = await sampleThere(
    { device: where, hostEngine },
    async (x, _, { signal }) => {
      const { out } = await network.run({ sample: x }, { outputs: { out: 'device' }, signal });
      seen.add(x).add(out as OrtValue);
      return out as OrtValue;
    },
    common,
    sampler,
    xT,
  );
  const onHost = new DPMSolver(
    async (x) => (await network.run({ sample: x as OrtTensor })).out as unknown as Tensor,
    own,
    solver,
  );
  const here = await (one.invert ? onHost.invert(xT, options) : onHost.sample(xT, options));
  assert.equal([there.nfe, there.seed, there.times], [here.nfe, here.seed, here.times]);
  assert.equal(xT.data, kept, 'xT is not written to');
  const { transfers } = there;
  assert.is(transfers!.onHost, one.onHost);
  for (const value of seen) assert.ok(value.disposed, 'every state and every output has been freed');
  const bytes = kept.byteLength;
  const known = solver.correctXt !== undefined && 'known' in solver.correctXt;
  if (!one.onHost && (!solver.correctXt || known) && !options.intermediates) {
    // xT and the result cross, noise and a known part where there are any, and next to nothing else.
    const draws = common.tau2 === 1 ? sampler.steps : 0;
    const times = 1 + draws + (known ? 2 : 0);
    assert.ok(transfers!.uploaded < times * bytes + 2000, `${transfers!.uploaded} bytes went there`);
    assert.ok(transfers!.downloaded < bytes + 500, `${transfers!.downloaded} bytes came back`);
  }
  assert.is(there.intermediates?.length, here.intermediates?.length);
  const states = (there.intermediates ?? []).map((state, i) => apart(state, here.intermediates![i]));
  return Math.max(apart(there.sample, here.sample), ...states);
}
