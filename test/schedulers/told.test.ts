// What the network is told, for every class, spacing and kind of network: the noise level of the state that it is given.
//
// The oracle is a network that knows the answer: of data that are one point x0, the noise in x at a label is
// (x - alpha x0) / sigma, with alpha and sigma those of the label that it is told. Every step of every solver is exact for
// it, so that a run ends at x0 itself, unless the label and the state do not go together.
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { betas } from '../../lib/index.js';
import * as schedulers from '../../lib/schedulers/index.js';
import type { Scheduler, SchedulerConfig } from '../../lib/schedulers/index.js';
import { assertClose } from '../support.js';
import { drive, type State } from './goldens.js';

const test = suite('what the network is told');

const STABLE = { beta_start: 0.00085, beta_end: 0.012, beta_schedule: 'scaled_linear' };
const SPACINGS = ['linspace', 'leading', 'trailing'] as const;
type Class = { fromConfig(json: SchedulerConfig, overrides?: SchedulerConfig): Scheduler; name: string };

/** sigma / alpha of the labels, which for labels between are interpolated as diffusers does: linear in it. */
const TABLE = (() => {
  let product = 1;
  return Array.from(betas('scaled_linear'), (beta) => {
    product *= 1 - beta;
    return Math.sqrt((1 - product) / product);
  });
})();
function levelOf(t: number): number {
  const low = Math.min(Math.floor(t), TABLE.length - 2);
  return TABLE[low] + (TABLE[low + 1] - TABLE[low]) * (t - low);
}

const X0 = [0.7, -1.3, 0.2];
const START = [1.1, -0.4, 2.3];

/** The noise or the flow in the network's own input at a label, for data that are X0. */
function oracle(kind: 'vp' | 'flow', timescale = 1000) {
  return (x: Float32Array | Float64Array, t: number) => {
    if (kind === 'flow') return x.map((v, i) => (v - X0[i]) / (t / timescale));
    const ratio = levelOf(t);
    const alpha = 1 / Math.sqrt(1 + ratio * ratio);
    return x.map((v, i) => (v - alpha * X0[i]) / (ratio * alpha));
  };
}

const quiet = (draw: number) => new Array<number>(3).fill(0 * draw);
const run = (s: Scheduler, network: ReturnType<typeof oracle>, begin = 0) =>
  drive(s, START, [1, 3], network, quiet, { begin });

/**
 * A run from x0 and noise of the first label's level, of a network that returns that noise at all times: a step that ends
 * beside its label takes the noise for less or more than there is.
 */
function withNoise(s: Scheduler, begin = 0): Float32Array | Float64Array {
  const ratio = levelOf(s.timesteps[begin]);
  // In the samplers in sigma the data are as they are.
  const alpha = s.initNoiseSigma === 1 ? 1 / Math.sqrt(1 + ratio * ratio) : 1;
  const start = X0.map((x, i) => (alpha * (x + ratio * START[i])) / s.initNoiseSigma);
  const network = (x: Float32Array | Float64Array) => x.map((_, i) => START[i]);
  return drive(s, start, [1, 3], network, quiet, { begin }).at(-1)!;
}

/** Those that end at x0, with the noise off; at most so far from it, for what rounds labels. */
const VP: readonly [Class, SchedulerConfig][] = [
  [schedulers.DDIMScheduler, { clip_sample: false }],
  [schedulers.PNDMScheduler, { skip_prk_steps: true, set_alpha_to_one: true }],
  [schedulers.PNDMScheduler, { skip_prk_steps: false, set_alpha_to_one: true }],
  [schedulers.DPMSolverMultistepScheduler, {}],
  [schedulers.DPMSolverSinglestepScheduler, {}],
  [schedulers.UniPCMultistepScheduler, {}],
  [schedulers.EulerDiscreteScheduler, {}],
  [schedulers.HeunDiscreteScheduler, {}],
  [schedulers.LMSDiscreteScheduler, {}],
  [schedulers.KDPM2DiscreteScheduler, {}],
  [schedulers.EulerAncestralDiscreteScheduler, {}],
  [schedulers.KDPM2AncestralDiscreteScheduler, {}],
  [schedulers.DDPMScheduler, { clip_sample: false }],
  [schedulers.LCMScheduler, { timestep_scaling: 1e6 }],
  [schedulers.CogVideoXDDIMScheduler, { snr_shift_scale: 1, clip_sample: false }],
];

for (const [Class, config] of VP) {
  for (const timestep_spacing of SPACINGS) {
    for (const steps_offset of [0, 1]) {
      const own = `${Class.name}${'skip_prk_steps' in config ? `, skip_prk_steps ${config.skip_prk_steps}` : ''}`;
      test(`${own}, ${timestep_spacing}, steps_offset ${steps_offset}: a network that knows the noise is led to the data`, () => {
        for (const steps of [1, 2, 3, 4, 5, 7, 10, 13, 15, 20, 24, 30, 50]) {
          if (config.skip_prk_steps === false && steps < 4) continue;
          const s = Class.fromConfig({ ...STABLE, timestep_spacing, steps_offset, ...config });
          s.setTimesteps(steps);
          // The label and the level of the sample go together, to the rounding of a float32 table.
          const ratios = s.sigmas.length === s.timesteps.length + 1 && !/PNDM|LCM/.test(Class.name);
          if (ratios) {
            const told = [...s.timesteps].map(levelOf);
            // The middles of KDPM2 lie between labels, which are interpolated in log sigma.
            const rtol = Class.name.startsWith('KDPM2') ? 3e-3 : 3e-5;
            assertClose(s.sigmas.slice(0, -1), told, { rtol }, `${steps} steps: sigmas of the labels`);
          }
          const end = run(s, oracle('vp')).at(-1)!;
          s.setTimesteps(steps);
          // The state may be 1000 times the data, and its level is known to float32.
          assertClose(end, X0, { atol: 2e-4 }, `${steps} steps`);
          // With the noise of a step left out, the stochastic ones hold less than a label says.
          if (/Ancestral|DDPM|LCM/.test(Class.name)) continue;
          assertClose(withNoise(s), X0, { atol: 2e-4 }, `${steps} steps, the same noise at all times`);
        }
      });
    }
  }
}

test('DEIS and SA-Solver: the label is of the level of the state, for every spacing', () => {
  for (const Class of [schedulers.DEISMultistepScheduler, schedulers.SASolverScheduler]) {
    for (const timestep_spacing of SPACINGS) {
      for (const steps_offset of [0, 1]) {
        for (const steps of [1, 2, 3, 4, 5, 7, 10, 13, 15, 20, 24, 30, 50]) {
          const s = Class.fromConfig({ ...STABLE, timestep_spacing, steps_offset });
          s.setTimesteps(steps);
          const told = [...s.timesteps].map(levelOf);
          assertClose(
            s.sigmas.slice(0, -1),
            told,
            { rtol: 3e-5 },
            `${Class.name}, ${timestep_spacing}, ${steps} steps`,
          );
        }
      }
    }
  }
});

test('DDIM and PNDM: a run that is a part of the schedule ends at the data, too', () => {
  for (const [Class, config] of VP.slice(0, 2)) {
    for (const timestep_spacing of SPACINGS) {
      for (const [steps, begin] of [
        [15, 4],
        [24, 11],
        [10, 9],
      ]) {
        const s = Class.fromConfig({ ...STABLE, timestep_spacing, ...config });
        s.setTimesteps(steps);
        assertClose(run(s, oracle('vp'), begin).at(-1)!, X0, { atol: 2e-4 }, `${Class.name}, ${timestep_spacing}`);
        s.setTimesteps(steps);
        assertClose(withNoise(s, begin), X0, { atol: 2e-4 }, `${Class.name}, ${timestep_spacing}, the same noise`);
      }
    }
  }
});

test('DDIMInverse: goes up the labels that DDIM comes down', () => {
  for (const timestep_spacing of ['leading', 'trailing']) {
    const up = schedulers.DDIMInverseScheduler.fromConfig({ ...STABLE, timestep_spacing, clip_sample: false });
    const down = schedulers.DDIMScheduler.fromConfig({ ...STABLE, timestep_spacing, clip_sample: false });
    for (const steps of [4, 7, 15]) {
      up.setTimesteps(steps);
      down.setTimesteps(steps);
      assert.equal([...up.timesteps], [...down.timesteps].reverse());
      // A network whose noise does not depend on the time is inverted exactly.
      const constant = (x: Float32Array | Float64Array) => x.map((_, i) => START[i]);
      const noisy = drive(up, X0, [1, 3], constant, quiet).at(-1)!;
      const back = drive(down, noisy, [1, 3], constant, quiet).at(-1)!;
      assertClose(back, X0, { atol: 1e-6 }, `${timestep_spacing}, ${steps} steps`);
    }
  }
});

const FLOW: readonly Class[] = [
  schedulers.FlowMatchEulerDiscreteScheduler,
  schedulers.FlowMatchHeunDiscreteScheduler,
  schedulers.FlowMatchLCMScheduler,
  schedulers.LTXEulerAncestralRFScheduler,
  schedulers.DPMSolverMultistepScheduler,
  schedulers.DPMSolverSinglestepScheduler,
  schedulers.UniPCMultistepScheduler,
  schedulers.DEISMultistepScheduler,
  schedulers.SASolverScheduler,
];
const PLACED = [{}, { use_karras_sigmas: true }, { use_exponential_sigmas: true }, { use_beta_sigmas: true }];
const SHIFTS: readonly [SchedulerConfig, number | undefined][] = [
  [{ shift: 1 }, undefined],
  [{ shift: 3 }, undefined],
  [{ use_dynamic_shifting: true }, 0.63],
  [{ use_dynamic_shifting: true, time_shift_type: 'linear' }, 1.88],
  [{ shift: 3, shift_terminal: 0.1 }, undefined],
];

for (const Class of FLOW) {
  test(`${Class.name}: a flow is told 1000 sigma, from the noise on, whatever shifts and places it`, () => {
    for (const placed of PLACED) {
      for (const [shifting, mu] of SHIFTS) {
        for (const steps of [1, 2, 3, 4, 9, 20]) {
          const s = Class.fromConfig({ _class_name: 'FlowMatchEulerDiscreteScheduler', ...shifting, ...placed });
          s.setTimesteps({ steps, ...(mu === undefined ? {} : { mu }) });
          const what = `${JSON.stringify({ ...placed, ...shifting })}, ${steps} steps`;
          const told = [...s.timesteps].map((t) => t / 1000);
          // Cut to whole numbers where diffusers' class has those.
          const slack = s.timesteps instanceof Int32Array ? 1.0001e-3 : 1e-7;
          told.forEach((sigma, i) => {
            assert.ok(
              sigma <= s.sigmas[i] + 1e-7 && sigma >= s.sigmas[i] - slack,
              `${what}: ${sigma} at ${s.sigmas[i]}`,
            );
          });
          // A run begins at the noise or one training step below it.
          assert.ok(s.sigmas[0] > 0.9985 && s.sigmas[0] <= 1, `${what} begins at ${s.sigmas[0]}`);
          if (
            shifting.shift_terminal !== undefined &&
            steps > 1 &&
            Class !== schedulers.FlowMatchHeunDiscreteScheduler
          ) {
            assertClose(s.sigmas[s.timesteps.length - 1], 0.1, { rtol: 2e-4 }, what);
          }
        }
      }
    }
  });
}

test('the classes of flows lead a network that knows the flow to the data', () => {
  for (const Class of FLOW.slice(0, 4)) {
    for (const placed of PLACED) {
      const s = Class.fromConfig({ _class_name: 'FlowMatchEulerDiscreteScheduler', shift: 3, ...placed });
      for (const steps of [1, 2, 5, 12]) {
        s.setTimesteps(steps);
        const seen = (x: Float32Array | Float64Array, t: number) => oracle('flow')(x, t);
        assertClose(run(s, seen).at(-1)!, X0, { atol: 1e-5 }, `${Class.name}, ${steps} steps`);
      }
    }
  }
});

test('dynamic shifting without mu is refused by every class in one sentence', () => {
  for (const Class of FLOW) {
    const s = Class.fromConfig({
      _class_name: 'FlowMatchEulerDiscreteScheduler',
      use_dynamic_shifting: true,
      shift: 3,
    });
    assert.throws(
      () => s.setTimesteps(4),
      /^Expected options that go together but received use_dynamic_shifting true with no mu: setTimesteps takes the shift/,
    );
  }
});

test('two runs of one scheduler: a clone has its own place, history and schedule', () => {
  const classes = Object.values(schedulers).filter(
    (value) => typeof value === 'function' && 'rules' in value && value !== (schedulers.Scheduler as unknown),
  ) as unknown as Class[];
  assert.is(classes.length, 30);
  for (const Class of classes) {
    const s = Class.fromConfig({});
    s.setTimesteps(4);
    const copy = s.clone();
    assert.ok(copy instanceof (Class as unknown as typeof schedulers.Scheduler));
    assert.equal([...copy.timesteps], [...s.timesteps]);
    assert.is.not(copy.timesteps, s.timesteps);
    const network = (x: Float32Array | Float64Array) => x.map((v) => Math.tanh(v));
    const dims = [1, 3];
    const step = (one: Scheduler, i: number, x: State): State => {
      const seen = one.scaleModelInput(x, one.timesteps[i]);
      const output = { data: network(seen.data), dims };
      return one.step(output, one.timesteps[i], x, { noise: { data: new Float64Array(3), dims } });
    };
    const start = (): State => ({ data: Float64Array.from(START, (v) => v * s.initNoiseSigma), dims });
    const alone = Class.fromConfig({});
    alone.setTimesteps(4);
    let [a, b, c] = [start(), start(), start()];
    for (let i = 0; i < s.timesteps.length; i++) {
      // One after the other, as calls at the same time do.
      a = step(s, i, a);
      b = step(copy, i, b);
      c = step(alone, i, c);
    }
    assert.equal([a.data, b.data], [c.data, c.data], Class.name);
    copy.setTimesteps(6);
    assert.is.not(copy.timesteps.length, s.timesteps.length);
  }
});

test.run();
