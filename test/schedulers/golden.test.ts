// Trajectories of diffusers (test/golden/diffusers.json), in float32 and float64.
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { type SchedulerConfig, schedulerFromConfig } from '../../lib/schedulers/index.js';
import { assertClose, golden } from '../support.js';

interface Case {
  id: string;
  scheduler: string;
  steps: number;
  config: SchedulerConfig;
  expected: { timesteps: number[]; trajectory: number[][]; init_noise_sigma: number; sigmas?: number[] };
}
const file = golden<{ shape: number[]; x_init: number[]; step_noise: number[][]; cases: Case[] }>('diffusers');

type Floats = Float32Array | Float64Array;

/** tanh(0.7 x) + 0.1 cos(t / 200) */
function toy(x: Floats, t: number): Floats {
  const bias = 0.1 * Math.cos(t / 200);
  return x.map((value) => Math.tanh(0.7 * value) + bias);
}

function run({ scheduler, steps, config, expected }: Case, Floats: typeof Float32Array | typeof Float64Array) {
  const s = schedulerFromConfig({ ...config, _class_name: scheduler });
  s.setTimesteps(steps);
  const dims = file.shape;
  let x: { data: Floats; dims: number[] } = { data: Floats.from(file.x_init.map((v) => v * s.initNoiseSigma)), dims };
  const states = [...s.timesteps].map((t, i) => {
    const seen = s.scaleModelInput(x, t);
    const output = { data: toy(seen.data as Floats, t), dims };
    x = s.step(output, t, x, { noise: { data: Floats.from(file.step_noise[i % 12]), dims } }) as typeof x;
    return x.data;
  });
  assert.is(states.length, expected.trajectory.length);
  return { s, states };
}

for (const one of file.cases) {
  for (const Floats of [Float32Array, Float64Array]) {
    test(`${one.id} in ${Floats.name}: ${one.scheduler}, ${one.steps} steps`, () => {
      const { s, states } = run(one, Floats);
      const { expected } = one;
      if (s.timesteps instanceof Int32Array) assert.equal(Array.from(s.timesteps), expected.timesteps);
      else assertClose(s.timesteps, expected.timesteps, { atol: 1e-6 }, 'timesteps');
      if (expected.sigmas) assertClose(s.sigmas, expected.sigmas, { rtol: 1e-6, atol: 1e-9 }, 'sigmas');
      assertClose(s.initNoiseSigma, expected.init_noise_sigma, { rtol: 1e-12 });
      states.forEach((state, i) => {
        assertClose(state, expected.trajectory[i], { rtol: 2e-4, scale: 'max' }, `state ${i + 1}`);
      });
    });
  }
}

test.run();
