// Trajectories of diffusers: of its eight classes of DPM-Solver's kind (test/golden/diffusers.json) in float32 and float64,
// of the others (diffusers-more.json), and over their keys (diffusers-keys.json, made by test/fixtures/schedulers.py).
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { Scheduler, SchedulerConfig, StepOptions, TimestepOptions } from '../../lib/schedulers/index.js';
import { assertClose, golden } from '../support.js';
import { classOf, drive, type Floats } from './goldens.js';

interface Expected {
  timesteps: number[];
  trajectory: number[][];
  init_noise_sigma: number;
  sigmas?: number[];
}
interface Case {
  id: string;
  scheduler: string;
  steps: number;
  config: SchedulerConfig;
  expected: Expected;
}
interface More extends Case {
  sigmas?: number[];
  set?: { mu?: number; sigmas?: number[] };
  step?: StepOptions;
}
interface Keyed {
  class: string;
  config: SchedulerConfig;
  request: { num_inference_steps?: number; timesteps?: number[]; sigmas?: number[]; mu?: number; strength?: number } & {
    original_inference_steps?: number;
  };
  step?: { s_churn?: number; s_tmin?: number; s_tmax?: number; s_noise?: number; eta?: number };
  begin?: number;
  learned?: boolean;
  timesteps: number[];
  sigmas?: number[];
  init?: number;
  states: number[][];
}

/** tanh(0.7 x) + 0.1 cos(t / 200) */
function toy(x: Floats, t: number): Floats {
  const bias = 0.1 * Math.cos(t / 200);
  return x.map((value) => Math.tanh(0.7 * value) + bias);
}

function assertTimes(s: Scheduler, expected: Pick<Expected, 'timesteps' | 'sigmas'>): void {
  const { use_exponential_sigmas: exponential, use_beta_sigmas: beta } = s.config;
  if (s.timesteps instanceof Int32Array && (exponential || beta)) {
    // Cut, and so 998 or 999 by the last bit of the tables of a version of torch.
    assertClose(s.timesteps, expected.timesteps, { atol: 1 }, 'timesteps');
    assertClose(s.timesteps.slice(1, -1), expected.timesteps.slice(1, -1), {}, 'timesteps between the ends');
  } else if (s.timesteps instanceof Int32Array) assert.equal(Array.from(s.timesteps), expected.timesteps);
  // Interpolated in float32 there: a few units in the last place of labels up to 1000.
  else assertClose(s.timesteps, expected.timesteps, { rtol: 4e-7, atol: 2e-4 }, 'timesteps');
  if (!expected.sigmas) return;
  // Those of two stages between sigmas: diffusers shows the next sigma where the evaluation is in the middle.
  if (/KDPM2/.test(s.constructor.name)) {
    const whole = expected.sigmas.filter((_, i) => i % 2 === 0).slice(0, s.sigmas.length / 2);
    assertClose(s.sigmas.filter((_, i) => i % 2 === 0).slice(0, whole.length), whole, { rtol: 1e-6 }, 'sigmas');
  } else assertClose(s.sigmas, expected.sigmas, { rtol: 1e-6, atol: 1e-9 }, 'sigmas');
}

const own = golden<{ shape: number[]; x_init: number[]; step_noise: number[][]; cases: Case[] }>('diffusers');
for (const { id, scheduler, steps, config, expected } of own.cases) {
  for (const Type of [Float32Array, Float64Array]) {
    test(`${id} in ${Type.name}: ${scheduler}, ${steps} steps`, () => {
      const s = classOf(scheduler, config);
      s.setTimesteps(steps);
      let i = 0;
      // Noise is by step there, whether or not a step draws.
      const next = (x: Floats, t: number, index: number) => {
        i = index;
        return toy(x, t);
      };
      const states = drive(s, own.x_init, own.shape, next, () => own.step_noise[i % 12], { Floats: Type });
      assert.is(states.length, expected.trajectory.length);
      assertTimes(s, expected);
      assertClose(s.initNoiseSigma, expected.init_noise_sigma, { rtol: 1e-12 });
      states.forEach((state, k) => {
        assertClose(state, expected.trajectory[k], { rtol: 2e-4, scale: 'max' }, `state ${k + 1}`);
      });
    });
  }
}

const more = golden<{ x_init: number[]; step_noise: number[][]; cases: More[] }>('diffusers-more');
for (const { id, scheduler, steps, config, sigmas, set, step, expected } of more.cases) {
  test(`${id}: ${scheduler}`, () => {
    const s = classOf(scheduler, config);
    const given = sigmas ?? set?.sigmas;
    s.setTimesteps({ ...(given ? { sigmas: given } : { steps }), ...(set?.mu === undefined ? {} : { mu: set.mu }) });
    let i = 0;
    // The network was told diffusers' labels, which are float32.
    const next = (x: Floats, _: number, index: number) => {
      i = index;
      return toy(x, expected.timesteps[index]);
    };
    const states = drive(s, more.x_init, [1, more.x_init.length], next, () => more.step_noise[i], { step });
    assert.is(states.length, expected.trajectory.length);
    assertTimes(s, expected);
    assertClose(s.initNoiseSigma, expected.init_noise_sigma, { rtol: 1e-6 });
    states.forEach((state, k) => {
      assertClose(state, expected.trajectory[k], { rtol: 1e-5, scale: 'max' }, `state ${k + 1}`);
    });
  });
}

const keyed = golden<{ shape: number[]; x_init: number[]; step_noise: number[][]; cases: Keyed[] }>('diffusers-keys');
keyed.cases.forEach((one, n) => {
  test(`${n + 1}: ${one.class}, ${JSON.stringify(one.config).slice(0, 90)}`, () => {
    const s = classOf(one.class, one.config);
    const { num_inference_steps: steps, original_inference_steps: originalInferenceSteps, ...rest } = one.request;
    s.setTimesteps(
      Object.fromEntries(
        Object.entries({ steps, originalInferenceSteps, ...rest }).filter((entry) => entry[1] !== undefined),
      ) as TimestepOptions,
    );
    const { s_churn: sChurn, s_tmin: sTmin, s_tmax: sTmax, s_noise: sNoise, eta } = one.step ?? {};
    const step = Object.fromEntries(
      Object.entries({ sChurn, sTmin, sTmax, sNoise, eta }).filter((entry) => entry[1] !== undefined),
    );
    const network = (x: Floats, _: number, i: number) => {
      const out = toy(x, one.timesteps[i]);
      return one.learned ? Float64Array.from([...out, ...x.map((v) => 0.3 + 0.2 * Math.tanh(v))]) : out;
    };
    const redraws = one.class === 'CogVideoXDPMScheduler';
    // Where diffusers draws twice and takes the second, the first is passed over.
    const draw = (i: number) =>
      keyed.step_noise[redraws ? Math.max(0, 2 * i) - (i === one.states.length - 1 ? 1 : 0) : i];
    const states = drive(s, keyed.x_init, keyed.shape, network, draw, { begin: one.begin, step });
    assertTimes(s, one);
    assertClose(s.initNoiseSigma, one.init ?? 1, { rtol: 1e-6 });
    assert.is(states.length, one.states.length);
    states.forEach((state, k) => {
      assertClose(state, one.states[k], { rtol: 1e-5, scale: 'max' }, `state ${k + 1}`);
    });
  });
});

test.run();
