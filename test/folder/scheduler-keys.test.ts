// The table of keys and classes does what it says, in both entries: a scheduler class made of a configuration, and the
// pipeline of a folder that has it.
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { CLASSES, KEYS, type KeyRule, type NetworkKind, type Settings } from '../../lib/folder/scheduler-keys.js';
import { readTraining } from '../../lib/folder/training.js';
import {
  DDIMScheduler,
  DPMSolverMultistepScheduler,
  EDMDPMSolverMultistepScheduler,
  type SchedulerConfig,
} from '../../lib/schedulers/index.js';
import { assertThrows, warnings } from '../support.js';

const keys = suite('keys of scheduler_config.json');
const names = Object.keys(KEYS);
const by = (is: KeyRule['inClass']['is']) => names.filter((key) => KEYS[key].inClass.is === is);

keys('class: what is heeded has a standard that its own check takes, and refuses what is nothing', () => {
  for (const key of by('heeded')) {
    const { inClass } = KEYS[key];
    if (inClass.is !== 'heeded') continue;
    inClass.check(inClass.standard, key);
    // A key of distilled networks alone says by itself that the class cannot follow.
    const foreign = key === 'original_inference_steps' ? 'one of LCMScheduler: its network' : `for ${key}`;
    for (const wrong of [{ some: 'object' }, Symbol('one')]) {
      assertThrows(() => DPMSolverMultistepScheduler.fromConfig({ [key]: wrong }), TypeError, new RegExp(foreign));
    }
    // null is the standard, or the class's own.
    const { config } = DPMSolverMultistepScheduler.fromConfig({ [key]: null });
    const own = DPMSolverMultistepScheduler.rules.defaults[key as keyof Settings];
    assert.equal(config[key], own ?? inClass.standard, key);
  }
});

keys('class: what is kept stays in the configuration, and nobody is warned', async () => {
  const kept = by('kept').filter((key) => !key.startsWith('_'));
  assert.ok(kept.length > 10);
  const seen = await warnings(() => {
    for (const key of kept) {
      const value = { some: 'object' };
      assert.is(DPMSolverMultistepScheduler.fromConfig({ [key]: value }).config[key], value);
    }
  });
  assert.equal(seen, []);
});

keys('class: what is refused is, for the reason that the table gives', () => {
  assert.equal(by('refused'), ['solver_p']);
  assertThrows(() => DPMSolverMultistepScheduler.fromConfig({ solver_p: {} }), TypeError, /null for solver_p of/);
  assert.is(DPMSolverMultistepScheduler.fromConfig({ solver_p: null }).config.solver_p, null);
});

const FLOW = { _class_name: 'FlowMatchEulerDiscreteScheduler' };
const DYNAMIC = { ...FLOW, use_dynamic_shifting: true };
/** For each key that a folder heeds: a configuration in which it counts, and a value that changes what comes of it. */
const HEEDED: Record<string, [config: SchedulerConfig, value: unknown]> = {
  num_train_timesteps: [{}, 500],
  beta_start: [{}, 0.001],
  beta_end: [{}, 0.01],
  beta_schedule: [{}, 'scaled_linear'],
  trained_betas: [{}, [0.1, 0.2, 0.3]],
  rescale_betas_zero_snr: [{}, true],
  prediction_type: [{}, 'v_prediction'],
  thresholding: [{}, true],
  dynamic_thresholding_ratio: [{ thresholding: true }, 0.5],
  sample_max_value: [{ thresholding: true }, 2],
  solver_order: [{}, 3],
  algorithm_type: [{}, 'sde-dpmsolver'],
  solver_type: [{}, 'heun'],
  lower_order_final: [{}, false],
  euler_at_final: [{}, true],
  final_sigmas_type: [{}, 'zero'],
  use_karras_sigmas: [{}, true],
  use_exponential_sigmas: [{}, true],
  use_beta_sigmas: [{}, true],
  use_lu_lambdas: [{}, true],
  flow_shift: [FLOW, 2],
  shift: [FLOW, 2],
  use_dynamic_shifting: [FLOW, true],
  time_shift_type: [DYNAMIC, 'linear'],
  base_shift: [DYNAMIC, 0.7],
  max_shift: [DYNAMIC, 2],
  base_image_seq_len: [DYNAMIC, 100],
  max_image_seq_len: [DYNAMIC, 10000],
};

/** All that a sampler is told. */
function told(config: SchedulerConfig): unknown {
  const { schedule, scheduleFor, modelType, defaults } = readTraining({ ...config }, 'x.json');
  const seen = (s: typeof schedule) => [s.kind, s.T, s.epsilon, ...[0.5, 0.7, 0.9].map((t) => s.logAlpha(t))];
  return [modelType, defaults, seen(schedule), scheduleFor && [500, 3000].map((tokens) => seen(scheduleFor(tokens)))];
}

keys(
  'folder: what is heeded changes what a sampler is told, and a value that is wrong is refused or passed over',
  () => {
    assert.equal(Object.keys(HEEDED).sort(), names.filter((key) => KEYS[key].inFolder).sort());
    for (const [key, [config, value]] of Object.entries(HEEDED)) {
      assert.not.equal(told({ ...config, [key]: value }), told(config), key);
      assert.equal(told({ ...config, [key]: null }), told(config), key);
      const wrong = () => told({ ...config, [key]: { some: 'object' } });
      if (KEYS[key].inFolder!.expected)
        assertThrows(wrong, Error, new RegExp(` for ${key} in x\\.json but found Object$`));
      else assert.equal(wrong(), told(config), key);
    }
  },
);

keys('folder: what is kept changes nothing', () => {
  const kept = names.filter((key) => !KEYS[key].inFolder && key !== '_class_name');
  assert.ok(kept.length > 30);
  for (const config of [{}, FLOW, DYNAMIC, { thresholding: true, solver_order: 3 }]) {
    for (const key of kept) {
      for (const value of [true, 7, 'x', { some: 'object' }])
        assert.equal(told({ ...config, [key]: value }), told(config), key);
    }
  }
});

keys('folder: where a key does not count it is not looked at', () => {
  for (const [config, key] of [
    [FLOW, 'beta_start'],
    [FLOW, 'trained_betas'],
    [{ trained_betas: [0.1, 0.2] }, 'beta_schedule'],
    [{}, 'flow_shift'],
    [FLOW, 'base_shift'],
    [{ ...FLOW, flow_shift: 2 }, 'shift'],
    [{}, 'sample_max_value'],
  ] as const) {
    assert.equal(told({ ...config, [key]: 'wrong' }), told(config), key);
  }
});

keys('classes: each kind of network goes where the table says, and an unknown class nowhere in silence', () => {
  const takes = (call: () => unknown): boolean => {
    try {
      call();
      return true;
    } catch (error) {
      assert.match((error as Error).message, /^(?:Expected the configuration of a scheduler|x\.json is of ')/);
      return false;
    }
  };
  const expected: Record<NetworkKind, [multistep: boolean, ddim: boolean, edm: boolean, folder: boolean]> = {
    noise: [true, true, false, true],
    flow: [true, false, false, true],
    edm: [false, false, true, false],
    cosine: [false, false, false, false],
    cogvideox: [false, false, false, false],
    ipndm: [false, false, false, false],
  };
  const kinds = new Set([...CLASSES.values()].map(({ network }) => network));
  assert.equal([...kinds].sort(), Object.keys(expected).sort());
  for (const [name, { network, distilled }] of CLASSES) {
    for (const _class_name of [name, `Flax${name}`]) {
      const config = { _class_name };
      assert.equal(
        [
          takes(() => DPMSolverMultistepScheduler.fromConfig(config)),
          takes(() => DDIMScheduler.fromConfig(config)),
          takes(() => EDMDPMSolverMultistepScheduler.fromConfig(config)),
          takes(() => readTraining(config, 'x.json')),
        ],
        distilled ? [false, false, false, false] : expected[network],
        _class_name,
      );
    }
  }
  assert.not.ok(takes(() => DPMSolverMultistepScheduler.fromConfig({ _class_name: 'constructor' })));
});

keys.run();
