// What scheduler_config.json says.
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { readTraining } from '../../lib/folder/training.js';
import { betas, betasForZeroTerminalSnr, NoiseSchedule } from '../../lib/index.js';
import { assertThrows } from '../support.js';

const test = suite('scheduler_config.json');
const read = (json: Record<string, unknown>) => readTraining(json, 'scheduler_config.json');

/** The same curve, looked at in a few places. */
function assertSame(actual: NoiseSchedule, expected: NoiseSchedule): void {
  assert.equal([actual.T, actual.epsilon], [expected.T, expected.epsilon]);
  for (const t of [0.01, 0.3, 0.77]) {
    assert.is(actual.logAlpha(t), expected.logAlpha(t));
    assert.is(actual.modelTime(t), expected.modelTime(t));
  }
}

test('has the beta schedules of diffusers', () => {
  assertSame(read({}).schedule, NoiseSchedule.discrete({ betas: betas('linear') }));
  const stable = { beta_schedule: 'scaled_linear', beta_start: 0.00085, beta_end: 0.012 };
  assertSame(read(stable).schedule, NoiseSchedule.discrete({ betas: betas('scaled_linear') }));
  const plain = NoiseSchedule.discrete({ betas: betas('scaled_linear', 500, { start: 0.0001, end: 0.02 }) });
  assertSame(read({ beta_schedule: 'scaled_linear', num_train_timesteps: 500 }).schedule, plain);
  const cosine = NoiseSchedule.discrete({ betas: betas('squaredcos_cap_v2') });
  assertSame(read({ beta_schedule: 'squaredcos_cap_v2', beta_start: 0.1 }).schedule, cosine);
});

test('prefers trained betas and rescales to zero terminal SNR', () => {
  const own = Array.from(betas('linear', 100, { start: 0.001, end: 0.3 }));
  assertSame(read({ trained_betas: own }).schedule, NoiseSchedule.discrete({ betas: own }));
  assertSame(read({ trained_betas: null }).schedule, NoiseSchedule.discrete({ betas: betas('linear') }));
  const rescaled = NoiseSchedule.discrete({ betas: betasForZeroTerminalSnr(betas('linear')), clip: false });
  assertSame(read({ rescale_betas_zero_snr: true }).schedule, rescaled);
});

test('knows what networks predict', () => {
  const types = ['epsilon', 'sample', 'v_prediction', 'flow_prediction'];
  assert.equal(
    types.map((prediction_type) => read({ prediction_type }).modelType),
    ['noise', 'x_start', 'v', 'flow'],
  );
  assert.is(read({}).modelType, 'noise');
  const flow = read({ prediction_type: 'flow_prediction', flow_shift: 3 }).schedule;
  assertSame(flow, NoiseSchedule.flow({ shift: 3 }));
});

test('lowers the order at the end as the configuration says', () => {
  assert.equal(read({ lower_order_final: true, final_sigmas_type: 'sigma_min' }).defaults, { lowerOrderFinal: 15 });
  assert.equal(read({ lower_order_final: false }).defaults, { lowerOrderFinal: false });
  for (const json of [{ euler_at_final: true }, { final_sigmas_type: 'zero', lower_order_final: false }]) {
    assert.equal(read(json).defaults, { lowerOrderFinal: Infinity });
  }
});

test('takes over how its authors sample', () => {
  assert.equal(read({}).defaults, {});
  const json = {
    algorithm_type: 'sde-dpmsolver++',
    solver_order: 3,
    solver_type: 'heun',
    use_karras_sigmas: true,
    thresholding: true,
    sample_max_value: 1.5,
  };
  assert.equal(read(json).defaults, {
    algorithmType: 'sde-dpmsolver++',
    order: 3,
    skipType: 'karras',
    solverType: 'taylor',
    thresholding: { ratio: 0.995, maxValue: 1.5 },
  });
  assert.equal(read({ algorithm_type: 'deis', solver_order: 7, solver_type: 'logrho' }).defaults, {});
});

test('says which key is wrong', () => {
  const cases: [Record<string, unknown>, RegExp][] = [
    [
      { prediction_type: 'noise' },
      /^Expected epsilon, .* for prediction_type in scheduler_config\.json but found 'noise'$/,
    ],
    [{ beta_schedule: 'sigmoid' }, /^Expected linear, .* for beta_schedule in .* 'sigmoid'$/],
    [{ beta_end: 'high' }, /^Expected a positive number for beta_end in .* 'high'$/],
    [{ beta_end: 2 }, /^scheduler_config\.json: Expected .* end but received 2$/],
    [{ trained_betas: [0.1, 'x'] }, /^scheduler_config\.json: .*betas\[1\]/],
    [
      { num_train_timesteps: 0.5 },
      /^Expected a whole number from 1 to 1000000 for num_train_timesteps in .* but found 0\.5$/,
    ],
    // It would take minutes and all memory.
    [{ num_train_timesteps: 1e9 }, /for num_train_timesteps in scheduler_config\.json but found 1000000000$/],
    [{ trained_betas: 'linear' }, /^Expected numbers for trained_betas in scheduler_config\.json but found 'linear'$/],
    [{ thresholding: true, sample_max_value: -1 }, /for sample_max_value in/],
  ];
  for (const [json, message] of cases) assertThrows(() => read(json), Error, message);
});

test('reads flows, with a shift that may depend on the size', () => {
  const plain = { _class_name: 'FlowMatchEulerDiscreteScheduler', num_train_timesteps: 1000, shift: 3 };
  const fixed = readTraining(plain, 'x.json');
  assert.is(fixed.modelType, 'flow');
  assert.is(fixed.scheduleFor, undefined);
  assert.is(fixed.schedule.sigma(0.5), 0.75);
  const dynamic = { ...plain, use_dynamic_shifting: true, base_shift: 0.5, max_shift: 1.15 };
  const { scheduleFor } = readTraining(dynamic, 'x.json');
  // mu is 0.5 at 256 tokens and 1.15 at 4096.
  for (const [tokens, mu] of [
    [256, 0.5],
    [4096, 1.15],
    [2176, 0.825],
  ]) {
    const shift = Math.exp(mu);
    assert.ok(Math.abs(scheduleFor!(tokens).sigma(0.5) - shift / (1 + shift)) < 1e-12);
  }
  const linear = readTraining({ ...dynamic, time_shift_type: 'linear' }, 'x.json').scheduleFor!;
  assert.ok(Math.abs(linear(4096).sigma(0.5) - 1.15 / 2.15) < 1e-12);
  const wrong = () => readTraining({ ...dynamic, time_shift_type: 'cubic' }, 'x.json');
  assert.throws(wrong, /Expected exponential or linear for time_shift_type in x\.json but found 'cubic'/);
});

test('refuses configurations of networks that are evaluated otherwise', () => {
  for (const name of ['LCMScheduler', 'TCDScheduler', 'VQDiffusionScheduler', 'EDMEulerScheduler', 'UnCLIPScheduler']) {
    assert.throws(() => readTraining({ _class_name: name }, 'x.json'), /^x\.json is of '\w+', whose networks are not/);
  }
  for (const name of [
    'EulerAncestralDiscreteScheduler',
    'HeunDiscreteScheduler',
    'DDPMScheduler',
    'LMSDiscreteScheduler',
  ]) {
    readTraining({ _class_name: name }, 'x.json');
  }
});

test.run();
