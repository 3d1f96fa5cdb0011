// What a folder's scheduler file says of its network, with what its other files say, in the words of the classes.
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { originOf } from '../../lib/folder/scheduler-keys.js';
import { betas, betasForZeroTerminalSnr, NoiseSchedule } from '../../lib/index.js';
import { DPMSolverMultistepScheduler, FlowMatchEulerDiscreteScheduler } from '../../lib/schedulers/index.js';
import { type NetworkFacts, readScheduler } from '../../lib/schedulers/network.js';
import { assertThrows, golden } from '../support.js';

const test = suite('scheduler of a folder');
const open = (json: Record<string, unknown>, facts: NetworkFacts = {}) => readScheduler(json, 'x.json', facts);
const read = (json: Record<string, unknown>, facts: NetworkFacts = {}) => open(json, facts).training;
const FLOW = { _class_name: 'FlowMatchEulerDiscreteScheduler', num_train_timesteps: 1000, shift: 3 };

/** The same curve, looked at in a few places. */
function assertSame(actual: NoiseSchedule, expected: NoiseSchedule): void {
  assert.equal([actual.T, actual.epsilon], [expected.T, expected.epsilon]);
  for (const t of [0.01, 0.3, 0.77]) {
    assert.is(actual.logAlpha(t), expected.logAlpha(t));
    assert.is(actual.modelTime(t), expected.modelTime(t));
  }
}

const discrete = (own: ArrayLike<number>) => NoiseSchedule.discrete({ betas: own, clip: false });

test('has the beta schedules of diffusers', () => {
  assertSame(read({}).schedule, discrete(betas('linear')));
  const stable = { beta_schedule: 'scaled_linear', beta_start: 0.00085, beta_end: 0.012 };
  assertSame(read(stable).schedule, discrete(betas('scaled_linear')));
  const plain = discrete(betas('scaled_linear', 500, { start: 0.0001, end: 0.02 }));
  assertSame(read({ beta_schedule: 'scaled_linear', num_train_timesteps: 500 }).schedule, plain);
  const cosine = discrete(betas('squaredcos_cap_v2'));
  assertSame(read({ beta_schedule: 'squaredcos_cap_v2', beta_start: 0.1 }).schedule, cosine);
});

test('prefers trained betas and rescales to zero terminal SNR', () => {
  const own = Array.from(betas('linear', 100, { start: 0.001, end: 0.3 }));
  assertSame(read({ trained_betas: own, num_train_timesteps: 100 }).schedule, discrete(own));
  assertSame(read({ trained_betas: null }).schedule, discrete(betas('linear')));
  assertSame(read({ rescale_betas_zero_snr: true }).schedule, discrete(betasForZeroTerminalSnr(betas('linear'))));
});

test('knows what networks predict', () => {
  const types = ['epsilon', 'sample', 'v_prediction'];
  assert.equal(
    types.map((prediction_type) => read({ prediction_type }).modelType),
    ['noise', 'x_start', 'v'],
  );
  const flow = { prediction_type: 'flow_prediction', use_flow_sigmas: true, flow_shift: 3 };
  assert.is(read(flow).modelType, 'flow');
  assertSame(read(flow).schedule, NoiseSchedule.flow({ shift: 3 }));
});

test('takes over how its authors sample', () => {
  assert.equal(read({}).defaults, {
    ...{ algorithmType: 'dpmsolver++', order: 2, solverType: 'dpmsolver', lowerOrderFinal: 15 },
  });
  const own = { algorithm_type: 'sde-dpmsolver++', solver_order: 3, solver_type: 'heun', use_karras_sigmas: true };
  assert.equal(read({ ...own, thresholding: true, sample_max_value: 1.5 }).defaults, {
    ...{ algorithmType: 'sde-dpmsolver++', order: 3, solverType: 'taylor', lowerOrderFinal: 15, skipType: 'karras' },
    thresholding: { ratio: 0.995, maxValue: 1, cap: 1.5 },
  });
  const ends = { euler_at_final: true, final_sigmas_type: 'sigma_min' };
  assert.is(read(ends).defaults.lowerOrderFinal, Infinity);
  assert.is(read({ lower_order_final: false }).defaults.lowerOrderFinal, false);
});

test('says which key is wrong, in the words of the class, and in which file', () => {
  const cases: Record<string, unknown>[] = [
    { prediction_type: 'noise' },
    { beta_schedule: 'quadratic' },
    { beta_end: 'high' },
    { beta_end: 2 },
    { trained_betas: [0.1, 'x'] },
    { num_train_timesteps: 0.5 },
    // It would take minutes and all memory.
    { num_train_timesteps: 1e9 },
    { trained_betas: 'linear' },
    { thresholding: true, sample_max_value: -1 },
    { final_sigmas_type: 'one' },
    { timestep_spacing: 'even' },
    { use_karras_sigmas: true, use_beta_sigmas: true },
  ];
  for (const json of cases) {
    let said = '';
    try {
      DPMSolverMultistepScheduler.fromConfig(json);
    } catch (error) {
      said = (error as Error).message;
    }
    assert.ok(said, JSON.stringify(json));
    assertThrows(() => read(json), Error, new RegExp(`^x\\.json: ${said.replace(/[.*+?^${}()|[\]\\]/g, '\\$&')}$`));
  }
});

test('reads flows, with a shift that may depend on the size', () => {
  const fixed = read(FLOW);
  assert.is(fixed.modelType, 'flow');
  assert.is(fixed.scheduleFor, undefined);
  assert.is(fixed.schedule.sigma(0.5), 0.75);
  const dynamic = { ...FLOW, use_dynamic_shifting: true, base_shift: 0.5, max_shift: 1.15 };
  const folder = open(dynamic);
  for (const [tokens, mu] of [
    [256, 0.5],
    [4096, 1.15],
    [2176, 0.825],
  ]) {
    assert.ok(Math.abs(folder.mu(tokens)! - mu) < 1e-12);
    const shift = Math.exp(mu);
    assert.ok(Math.abs(folder.training.scheduleFor!(tokens).sigma(0.5) - shift / (1 + shift)) < 1e-12);
  }
  assert.is(open(FLOW).mu(256), undefined);
  const linear = read({ ...dynamic, time_shift_type: 'linear' }).scheduleFor!;
  assert.ok(Math.abs(linear(4096).sigma(0.5) - 1.15 / 2.15) < 1e-12);
  assertThrows(() => read({ ...dynamic, time_shift_type: 'cubic' }), Error, /^x\.json: .* for time_shift_type/);
});

test("goes by model_index.json where it names another class, and by that class's training", () => {
  const pndm = open({ beta_end: 0.012 }, { named: 'PNDMScheduler' });
  assert.is(pndm.name, 'PNDMScheduler');
  assert.is(open({ ...FLOW }, { named: 'FlaxDPMSolverMultistepScheduler' }).name, 'DPMSolverMultistepScheduler');
  // Consistency models were trained with the betas of Stable Diffusion, which their files need not say.
  assertSame(read({ _class_name: 'LCMScheduler' }).schedule, discrete(betas('scaled_linear')));
});

test("corrects the first exports' files, as the pipelines of their time do", () => {
  const file = { _class_name: 'PNDMScheduler', beta_schedule: 'scaled_linear', skip_prk_steps: true };
  const fixed = open(file, { pipeline: 'StableDiffusionPipeline' });
  assert.is(fixed.config.steps_offset, 1);
  assert.is(open(file, { pipeline: 'StableDiffusionXLPipeline' }).config.steps_offset, undefined);
  const ddim = open({ _class_name: 'DDIMScheduler' }, { pipeline: 'OnnxStableDiffusionPipeline' });
  assert.equal([ddim.config.steps_offset, ddim.config.clip_sample], [1, false]);
});

test('takes of a file for noise only the shift where the network is one of flows, and refuses the converse', () => {
  const flow = open({ _class_name: 'PNDMScheduler', shift: 2 }, { trained: 'flow' });
  assert.equal([flow.name, flow.training.modelType], ['FlowMatchEulerDiscreteScheduler', 'flow']);
  assertSame(flow.training.schedule, NoiseSchedule.flow({ shift: 2 }));
  assertSame(read({}, { trained: 'flow' }).schedule, NoiseSchedule.flow({ shift: 3 }));
  const message =
    /^x\.json: Expected the scheduler of a network trained on noise, .* 'FlowMatchEulerDiscreteScheduler'$/;
  assertThrows(() => open(FLOW, { trained: 'noise' }), Error, message);
});

const TURBO = { _class_name: 'EulerAncestralDiscreteScheduler', timestep_spacing: 'trailing' };

test('keeps the scheduler of distilled networks, and of those that are evaluated otherwise', () => {
  for (const [json, facts] of [
    [{ _class_name: 'LCMScheduler' }, {}],
    [{ _class_name: 'TCDScheduler' }, {}],
    [{ _class_name: 'FlowMatchLCMScheduler' }, {}],
    [{ _class_name: 'CMStochasticIterativeScheduler' }, {}],
    [{ ...FLOW, stochastic_sampling: true }, {}],
    [TURBO, { names: ['sdxl-turbo'] }],
    [{ _class_name: 'EulerDiscreteScheduler' }, { names: ['', 'SDXL-Lightning'] }],
    [{ _class_name: 'DDIMScheduler' }, { names: ['hyper-sd15-onnx'] }],
    [{ _class_name: 'PNDMScheduler' }, { names: ['LatentConsistencyModelPipeline'] }],
    [FLOW, { names: ['FLUX.1-schnell'] }],
    [FLOW, { distilled: true }],
  ] as [Record<string, unknown>, NetworkFacts][]) {
    const folder = open(json, facts);
    assert.ok(folder.keeps && folder.distilled, folder.name);
    assert.match(folder.refusal!, /^Expected /);
    assert.is(folder.caution, undefined);
    folder.make().setTimesteps(4);
  }
  const edm = open({ _class_name: 'EDMEulerScheduler' });
  assert.equal([edm.keeps, edm.distilled, edm.caution], [true, false, undefined]);
  assert.match(edm.refusal!, /: its network is preconditioned as EDM$/);
});

test('keeps, and does not insist on, what may be the scheduler of a distilled network', () => {
  for (const json of [TURBO, { _class_name: 'EulerDiscreteScheduler', timestep_spacing: 'trailing' }]) {
    const folder = open(json, { names: ['stable-diffusion-xl-base-1.0', 'StableDiffusionXLPipeline'] });
    assert.equal([folder.keeps, folder.distilled, folder.refusal], [true, false, undefined]);
    assert.match(
      folder.caution!,
      /^The folder's scheduler, Euler\w+ with trailing timesteps, .* may not suit the network$/,
    );
    folder.training.grid(20);
  }
  // Names that are no proof, and schedulers that the authors of distilled networks solve with themselves.
  for (const [json, names] of [
    [{ _class_name: 'DDIMScheduler' }, ['hyperrealism', 'turbopixel', 'lightningbolt', 'dmdx', 'almsted']],
    [{ _class_name: 'DPMSolverMultistepScheduler' }, ['dreamshaper-xl-turbo']],
    [{ _class_name: 'UniPCMultistepScheduler' }, ['sdxl-lightning']],
    [{ ...TURBO, prediction_type: 'v_prediction' }, []],
    [{ ...TURBO, rescale_betas_zero_snr: true }, []],
    [{ ...TURBO, timestep_spacing: 'leading' }, []],
  ] as [Record<string, unknown>, string[]][]) {
    const folder = open(json, { names });
    assert.equal(
      [folder.keeps, folder.distilled, folder.refusal, folder.caution],
      [false, false, undefined, undefined],
      `${folder.name} ${names}`,
    );
  }
});

test('follows the networks of other schedulers, and refuses those that nothing is known of', () => {
  for (const _class_name of ['EulerAncestralDiscreteScheduler', 'HeunDiscreteScheduler', 'DDPMScheduler']) {
    const folder = open({ _class_name });
    assert.equal([folder.keeps, folder.refusal], [false, undefined]);
  }
  for (const _class_name of ['VQDiffusionScheduler', 'UnCLIPScheduler'])
    assertThrows(
      () => open({ _class_name }),
      Error,
      /^x\.json: Expected .* received one of (?:VQDiffusion|UnCLIP)Scheduler: how its network was trained is not known$/,
    );
});

interface Entry {
  readonly config: Record<string, unknown>;
}

test('goes through the sigmas of DPM-Solver made of the same file, for all files of public repositories', () => {
  const { cases: files } = golden<{ cases: Entry[] }>('real-configs');
  let compared = 0;
  for (const { config } of files) {
    let folder: ReturnType<typeof open>;
    let training: ReturnType<typeof read>;
    try {
      folder = open(config);
      training = folder.training;
    } catch {
      continue;
    }
    if (folder.refusal) continue;
    const ofFlows = originOf(String(folder.config._class_name))?.network === 'flow';
    const Class = ofFlows ? FlowMatchEulerDiscreteScheduler : DPMSolverMultistepScheduler;
    for (const steps of [4, 20]) {
      const one = Class.fromConfig(folder.config);
      const mu = folder.mu(4096);
      const own = ofFlows ? { sigmas: Array.from({ length: steps }, (_, i) => (steps - i) / steps) } : { steps };
      let told: number[];
      try {
        one.setTimesteps({ ...own, ...(mu === undefined ? {} : { mu }) });
        told = Array.from(one.timesteps);
      } catch (error) {
        assertThrows(() => training.grid(steps, 4096), Error, new RegExp((error as Error).message.slice(0, 20)));
        continue;
      }
      const grid = training.grid(steps, 4096);
      const unit = training.modelType === 'flow' ? Number(folder.config.num_train_timesteps ?? 1000) : 1;
      assert.is(grid.told.length, told.length);
      for (const [i, t] of told.entries()) assert.ok(Math.abs(grid.told[i] * unit - t) < 1e-3, `${folder.name} ${t}`);
      for (const [i, sigma] of Array.from(one.sigmas).entries()) {
        assert.ok(Math.abs(grid.sigmas[i] - sigma) <= 1e-6 * sigma + 1e-12, `${folder.name} ${sigma}`);
      }
      compared++;
    }
  }
  assert.ok(compared > 200, `${compared}`);
});

test.run();
