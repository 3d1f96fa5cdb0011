// scheduler_config.json: conversion from other classes, keys that are not known, values that are wrong.
import { readFileSync } from 'node:fs';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { classNames, knownClass } from '../../lib/schedulers/from-config.js';
import * as schedulers from '../../lib/schedulers/index.js';
import { type Scheduler, type SchedulerConfig, schedulerFromConfig } from '../../lib/schedulers/index.js';
import { readScheduler } from '../../lib/schedulers/network.js';
import { assertClose, assertThrows, warnings } from '../support.js';

const {
  DPMSolverMultistepScheduler,
  DPMSolverSinglestepScheduler,
  DPMSolverMultistepInverseScheduler,
  EDMDPMSolverMultistepScheduler,
  UniPCMultistepScheduler,
  DEISMultistepScheduler,
  DDIMScheduler,
  PNDMScheduler,
} = schedulers;

const VP = {
  _diffusers_version: '0.30.0',
  num_train_timesteps: 1000,
  beta_start: 0.00085,
  beta_end: 0.012,
  beta_schedule: 'scaled_linear',
  trained_betas: null,
  prediction_type: 'epsilon',
};
const PNDM = { ...VP, _class_name: 'PNDMScheduler', skip_prk_steps: true, set_alpha_to_one: false, steps_offset: 1 };
const DDIM = { ...VP, _class_name: 'DDIMScheduler', clip_sample: false, set_alpha_to_one: false, steps_offset: 1 };
const EULER = {
  ...VP,
  _class_name: 'EulerDiscreteScheduler',
  interpolation_type: 'linear',
  timestep_spacing: 'leading',
  timestep_type: 'discrete',
  sigma_min: null,
  sigma_max: null,
  use_karras_sigmas: false,
  final_sigmas_type: 'zero',
  rescale_betas_zero_snr: false,
  steps_offset: 1,
};
const ANCESTRAL = { ...VP, _class_name: 'EulerAncestralDiscreteScheduler', steps_offset: 1 };
const SD3 = {
  _class_name: 'FlowMatchEulerDiscreteScheduler',
  base_image_seq_len: 256,
  base_shift: 0.5,
  max_image_seq_len: 4096,
  max_shift: 1.15,
  num_train_timesteps: 1000,
  shift: 3.0,
  use_dynamic_shifting: false,
};
const FLUX = { ...SD3, shift: 3.0, use_dynamic_shifting: true };
const LCM = { ...VP, _class_name: 'LCMScheduler', original_inference_steps: 50 };

const DPM = [DPMSolverMultistepScheduler, DPMSolverSinglestepScheduler, DPMSolverMultistepInverseScheduler];

/** Runs; the sample stays finite. */
function runs(s: Scheduler, options: { mu?: number } = {}): Scheduler {
  s.setTimesteps(10, options);
  let x = { data: Float32Array.of(1, -0.5), dims: [1, 2] };
  for (const t of s.timesteps) x = s.step({ data: x.data.map(Math.tanh), dims: [1, 2] }, t, x) as typeof x;
  assert.ok(x.data.every(Number.isFinite));
  return s;
}

test('configurations of other schedulers become DPM-Solver', () => {
  for (const Class of [...DPM, UniPCMultistepScheduler, DEISMultistepScheduler]) {
    for (const config of [PNDM, DDIM, EULER, ANCESTRAL, UniPCMultistepScheduler.fromConfig(VP).config]) {
      const s = runs(Class.fromConfig(config));
      assert.is(s.config._class_name, Class.name);
      assert.is(s.config.beta_end, 0.012);
    }
    const flow = runs(Class.fromConfig(SD3));
    assert.equal(
      [flow.config.prediction_type, flow.config.use_flow_sigmas, flow.config.flow_shift],
      ['flow_prediction', true, 3],
    );
    if (Class !== DPMSolverMultistepInverseScheduler) runs(Class.fromConfig(FLUX), { mu: 1.15 });
  }
  const shifted = DPMSolverMultistepScheduler.fromConfig(SD3);
  shifted.setTimesteps(8);
  assertClose(shifted.sigmas.slice(0, 3), [0.9996664524, 0.954198122, 0.8996397853], { rtol: 1e-6 });
  for (const [Class, config] of [
    [DDIMScheduler, PNDM],
    [PNDMScheduler, DDIM],
    [DDIMScheduler, DPMSolverMultistepScheduler.fromConfig(EULER).config],
  ] as const) {
    assert.is(runs(Class.fromConfig(config)).config._class_name, Class.name);
  }
});

test('the defaults of one class are not taken over by another', () => {
  // As in diffusers, where PNDM's timestep_spacing is 'leading' by default and DPM-Solver's 'linspace'.
  const pndm = PNDMScheduler.fromConfig(PNDM);
  assert.is(pndm.config.timestep_spacing, 'leading');
  const labels = (config: SchedulerConfig) => {
    const s = DPMSolverMultistepScheduler.fromConfig(config);
    s.setTimesteps(20);
    return [s.config.timestep_spacing, ...s.timesteps.slice(0, 3)];
  };
  assert.equal(labels(pndm.config), ['linspace', 999, 949, 899]);
  assert.equal(labels(JSON.parse(JSON.stringify(pndm.config))), ['linspace', 999, 949, 899]);
  // What was asked for is.
  const leading = PNDMScheduler.fromConfig(PNDM, { timestep_spacing: 'leading' });
  assert.equal(labels(leading.config), ['leading', 941, 894, 847]);
  // The same class again has the same configuration.
  assert.equal(PNDMScheduler.fromConfig(pndm.config).config, pndm.config);
  // What diffusers writes beside them is in the way of nothing.
  assert.is(DDIMScheduler.fromConfig({ ...VP, _use_default_values: ['clip_sample'] }).config.clip_sample, true);
});

test('schedulerFromConfig goes by the class name', () => {
  for (const [name, Class] of Object.entries(schedulers)) {
    if (!name.endsWith('Scheduler') || name === 'Scheduler') continue;
    // Networks of other kinds have other betas, or none.
    const config = /^(EDM|Cosine|CogVideoX|IPNDM|FlowMatch|LTX|MiniMax|CM)/.test(name) ? {} : VP;
    const s = schedulerFromConfig({ ...config, _class_name: name });
    assert.instance(s, Class);
    runs(s);
  }
  assert.instance(schedulerFromConfig(EULER), schedulers.EulerDiscreteScheduler);
  assert.instance(schedulerFromConfig(SD3), schedulers.FlowMatchEulerDiscreteScheduler);
  assert.instance(schedulerFromConfig(LCM), schedulers.LCMScheduler);
  // The same methods by other names, and one that is not here but whose network DPM-Solver can follow.
  assert.instance(schedulerFromConfig({ ...PNDM, _class_name: 'FlaxPNDMScheduler' }), PNDMScheduler);
  assert.instance(schedulerFromConfig({ ...DDIM, _class_name: 'DDIMParallelScheduler' }), DDIMScheduler);
  assert.instance(schedulerFromConfig({ _class_name: 'DPMSolverSDEScheduler' }), DPMSolverMultistepScheduler);
  assert.instance(schedulerFromConfig(JSON.stringify(PNDM)), PNDMScheduler);
  assertThrows(() => schedulerFromConfig(VP), TypeError, /a string for _class_name but received none/);
  assertThrows(
    () => DPMSolverMultistepScheduler.fromConfig(LCM),
    TypeError,
    /one of LCMScheduler: its network was distilled/,
  );
  assertThrows(
    () => schedulerFromConfig({ _class_name: 'FooScheduler' }),
    TypeError,
    /one of FooScheduler: how its network/,
  );
});

test('what cannot be converted is refused', () => {
  for (const Class of [DDIMScheduler, PNDMScheduler]) {
    assertThrows(() => Class.fromConfig(SD3), TypeError, /trained with flow matching/);
    assertThrows(() => Class.fromConfig({ ...VP, use_flow_sigmas: true }), RangeError, /use_flow_sigmas true with/);
  }
  assertThrows(
    () => EDMDPMSolverMultistepScheduler.fromConfig(PNDM),
    TypeError,
    /of PNDMScheduler: .+ preconditioning of EDM/,
  );
  const edm = { _class_name: 'EDMEulerScheduler' };
  assertThrows(() => DPMSolverMultistepScheduler.fromConfig(edm), TypeError, /preconditioned as EDM/);
  const mochi = { ...SD3, invert_sigmas: true };
  assertThrows(() => DPMSolverMultistepScheduler.fromConfig(mochi), TypeError, /invert_sigmas/);
  const continuous = { ...EULER, timestep_type: 'continuous', prediction_type: 'v_prediction' };
  assertThrows(() => DPMSolverMultistepScheduler.fromConfig(continuous), TypeError, /told log sigma/);
  runs(DPMSolverMultistepScheduler.fromConfig({ ...EULER, timestep_type: 'continuous' }));
  const flowOnly = schedulers.FlowMatchEulerDiscreteScheduler;
  assertThrows(() => flowOnly.fromConfig(EULER), TypeError, /of EulerDiscreteScheduler: .+ not trained with flow/);
  assertThrows(() => schedulers.IPNDMScheduler.fromConfig(PNDM), TypeError, /told a time from 1 to 0/);
  const minimax = { _class_name: 'MiniMaxH3Scheduler', shift: 12 };
  assertThrows(
    () => flowOnly.fromConfig(minimax),
    TypeError,
    /of MiniMaxH3Scheduler: .+ how much of the data there is/,
  );
  assertThrows(() => schedulers.MiniMaxH3Scheduler.fromConfig(SD3), TypeError, /told how much of the data there is/);
  const distilled = { _class_name: 'CMStochasticIterativeScheduler' };
  assertThrows(() => EDMDPMSolverMultistepScheduler.fromConfig(distilled), TypeError, /its network was distilled/);
  assertThrows(() => schedulers.CMStochasticIterativeScheduler.fromConfig(edm), TypeError, /for consistency models/);
  assertThrows(() => UniPCMultistepScheduler.fromConfig({ ...VP, solver_p: {} }), TypeError, /null for solver_p/);
});

/** All classes of diffusers 0.40 and 0.42, and some of before, that docs/schedulers.md lists as refused. */
const REFUSED = [
  ...[
    'UnCLIP',
    'DDPMWuerstchen',
    'SCM',
    'FlowMapEulerDiscrete',
    'Piflow',
    'Helios',
    'HeliosDMD',
    'Amused',
    'VQDiffusion',
  ],
  ...['BlockRefinement', 'DiscreteDDIM', 'EntropyBound', 'ConsistencyDecoder', 'RePaint', 'KarrasVe', 'ScoreSdeVe'],
  ...['ScoreSdeVp', 'DiTMoEFlowMatch', 'SomethingNew'],
];

for (const name of REFUSED) {
  test(`${name}: refused by every class, by its own name and by a folder, in the same words`, () => {
    const unknown = { _class_name: `${name}Scheduler` };
    const why = `received one of ${name}Scheduler: how its network was trained is not known$`;
    for (const Class of classNames().map(knownClass)) {
      assertThrows(() => new Class!(unknown), TypeError, new RegExp(`take the place of but ${why}`));
    }
    assertThrows(() => schedulerFromConfig(unknown), TypeError, new RegExp(why));
    assertThrows(() => readScheduler(unknown, 'a.json'), Error, new RegExp(`^a\\.json: Expected .* ${why}`));
  });
}

test('docs/schedulers.md lists them', () => {
  const page = readFileSync(new URL('../../docs/schedulers.md', import.meta.url), 'utf8');
  const listed = [...page.slice(page.indexOf('What stays refused')).matchAll(/^\| (`\w+Scheduler`.*?) \|/gm)]
    .flatMap(([, cell]) => [...cell.matchAll(/`(\w+)Scheduler`/g)].map(([, name]) => name))
    .sort();
  assert.equal(listed, REFUSED.slice(0, -2).sort());
});

test('the solver names of other classes are understood', () => {
  const s = DPMSolverMultistepScheduler.fromConfig({ ...VP, algorithm_type: 'deis', solver_type: 'bh1' });
  assert.equal([s.config.algorithm_type, s.config.solver_type], ['dpmsolver++', 'midpoint']);
  assert.is(UniPCMultistepScheduler.fromConfig({ ...VP, solver_type: 'heun' }).config.solver_type, 'bh2');
  const deis = DEISMultistepScheduler.fromConfig({ ...VP, algorithm_type: 'dpmsolver++', solver_type: 'midpoint' });
  assert.equal([deis.config.algorithm_type, deis.config.solver_type], ['deis', 'logrho']);
  assertThrows(
    () => DEISMultistepScheduler.fromConfig({ ...VP, algorithm_type: 'sde-dpmsolver++' }),
    TypeError,
    /'deis' for algorithm_type of DEISMultistepScheduler but received 'sde-dpmsolver\+\+'/,
  );
});

test('of a hundred thousand unknown keys a few are named, however long they are', async () => {
  const many = Object.fromEntries(
    Array.from({ length: 1e5 }, (_, i) => [`${'k'.repeat(i % 7 === 0 ? 500 : 5)}${i}`, i]),
  );
  const said = await warnings(() => void DPMSolverMultistepScheduler.fromConfig({ ...VP, ...many }));
  assert.is(said.length, 1);
  assert.match(said[0], / and 99\d\d\d more of its configuration /);
  assert.ok(said[0].length < 3000, `${said[0].length} characters`);
});

test('unknown keys are kept, with one warning', async () => {
  let s: Scheduler | undefined;
  const seen = await warnings(() => {
    s = DPMSolverMultistepScheduler.fromConfig({ ...PNDM, use_karras_sigma: true, colour: 'red' });
  });
  assert.is(seen.length, 1);
  assert.match(seen[0], /no key 'use_karras_sigma' \(is 'use_karras_sigmas' meant\?\), 'colour' of its configuration/);
  assert.equal([s!.config.use_karras_sigma, s!.config.colour], [true, 'red']);
  const none = await warnings(() => {
    for (const config of [PNDM, DDIM, EULER, ANCESTRAL, SD3, FLUX]) DPMSolverMultistepScheduler.fromConfig(config);
  });
  assert.equal(none, []);
});

test('defaults, null, text and overrides', () => {
  const s = DPMSolverMultistepScheduler.fromConfig('{"lambda_min_clipped": -Infinity, "solver_order": null}');
  assert.equal([s.config.lambda_min_clipped, s.config.solver_order, s.config.beta_end], [-Infinity, 2, 0.02]);
  assert.is(
    DPMSolverMultistepScheduler.fromConfig({ ...VP, lambda_min_clipped: null }).config.lambda_min_clipped,
    -Infinity,
  );
  const over = DPMSolverMultistepScheduler.fromConfig(PNDM, { use_karras_sigmas: true, beta_end: undefined });
  assert.equal([over.config.use_karras_sigmas, over.config.beta_end], [true, 0.012]);
  assert.ok(Object.isFrozen(over.config));
  assertThrows(() => DPMSolverMultistepScheduler.fromConfig('{'), TypeError, /text that is not JSON/);
  assertThrows(() => DPMSolverMultistepScheduler.fromConfig([] as unknown as SchedulerConfig), TypeError, /an object/);
  assert.equal([...new DPMSolverMultistepScheduler().timesteps].slice(0, 2), [999, 998]);
});

test('values that are wrong', () => {
  const wrong: [SchedulerConfig, typeof TypeError | typeof RangeError, RegExp][] = [
    [{ beta_schedule: 'cosine' }, TypeError, /'laplace' or 'exp' for beta_schedule/],
    [{ num_train_timesteps: 0 }, RangeError, /from 2 to 1000000 for num_train_timesteps/],
    [{ num_train_timesteps: 1e9 }, RangeError, /from 2 to 1000000 for num_train_timesteps/],
    [{ prediction_type: 'constructor' }, TypeError, /for prediction_type but received 'constructor'/],
    [{ num_train_timesteps: '1000' }, TypeError, /for num_train_timesteps/],
    [{ beta_start: 2 }, RangeError, /between 0 and 1 for beta_start/],
    [{ trained_betas: [0.1, 2] }, RangeError, /for trained_betas\[1\]/],
    [{ trained_betas: [0.1, 0.2] }, RangeError, /trained_betas of length 2 with num_train_timesteps 1000/],
    [{ prediction_type: 'noise' }, TypeError, /for prediction_type/],
    [{ solver_order: 4 }, RangeError, /from 1 to 3 for solver_order/],
    [{ algorithm_type: 'dpmsolver+++' }, TypeError, /for algorithm_type/],
    [{ solver_type: 'euler' }, TypeError, /for solver_type/],
    [{ use_karras_sigmas: 'yes' }, TypeError, /for use_karras_sigmas/],
    [{ timestep_spacing: 'even' }, TypeError, /for timestep_spacing/],
    [{ final_sigmas_type: 'none' }, TypeError, /for final_sigmas_type/],
    [{ steps_offset: 0.5 }, RangeError, /for steps_offset/],
    [{ lambda_min_clipped: '-5' }, TypeError, /for lambda_min_clipped/],
    [{ dynamic_thresholding_ratio: 1.5 }, RangeError, /from 0 to 1 for dynamic_thresholding_ratio/],
    [{ sample_max_value: 0 }, RangeError, /positive number for sample_max_value/],
    [{ flow_shift: -1 }, RangeError, /positive number for flow_shift/],
    [{ shift_terminal: 1 }, RangeError, /between 0 and 1 for shift_terminal/],
    [{ variance_type: 3 }, TypeError, /a string or null for variance_type/],
    [{ _class_name: 3 }, TypeError, /a string for _class_name/],
    [
      { use_karras_sigmas: true, use_beta_sigmas: true },
      RangeError,
      /use_karras_sigmas true with use_beta_sigmas true/,
    ],
    [{ use_lu_lambdas: true, use_flow_sigmas: true }, RangeError, /use_lu_lambdas true with use_flow_sigmas true/],
    [
      { prediction_type: 'flow_prediction' },
      RangeError,
      /prediction_type 'flow_prediction' with use_flow_sigmas false/,
    ],
    [{ sigma_min: 3, sigma_max: 2 }, RangeError, /sigma_min 3 with sigma_max 2/],
  ];
  for (const [config, kind, message] of wrong) {
    assertThrows(() => DPMSolverMultistepScheduler.fromConfig(config), kind, message);
  }
  assertThrows(
    () => UniPCMultistepScheduler.fromConfig({ disable_corrector: [0.5] }),
    RangeError,
    /disable_corrector\[0\]/,
  );
  assertThrows(
    () => UniPCMultistepScheduler.fromConfig(FLUX).setTimesteps(4),
    RangeError,
    /use_dynamic_shifting true with no mu/,
  );
  const clipped = DPMSolverMultistepScheduler.fromConfig({ ...VP, lambda_min_clipped: 50 });
  assertThrows(() => clipped.setTimesteps(4), RangeError, /lambda_min_clipped 50 with beta_schedule 'scaled_linear'/);
  const leading = DPMSolverMultistepScheduler.fromConfig({ ...VP, timestep_spacing: 'leading' });
  assertThrows(() => leading.setTimesteps(1000), RangeError, /timestep_spacing 'leading' with 1000 steps/);
  const plain = DPMSolverMultistepScheduler.fromConfig(SD3);
  assertThrows(() => plain.setTimesteps(4, { mu: 1 }), RangeError, /mu 1 with use_dynamic_shifting false/);
  const linear = DPMSolverMultistepScheduler.fromConfig(FLUX, { time_shift_type: 'linear' });
  assertThrows(() => linear.setTimesteps(4, { mu: -1 }), RangeError, /above 0 for time_shift_type 'linear' for mu/);
  assertThrows(
    () => EDMDPMSolverMultistepScheduler.fromConfig({ prediction_type: 'sample' }),
    RangeError,
    /prediction_type 'sample'/,
  );
  assertThrows(
    () => EDMDPMSolverMultistepScheduler.fromConfig({}).setTimesteps({ timesteps: [3] }),
    RangeError,
    /timesteps with _class_name 'EDM/,
  );
});

test('betas that leave nothing of the data are named, and not what needs some', () => {
  const last = { trained_betas: [0.01, 0.05, 0.1, 0.3, 0.5, 1], num_train_timesteps: 6 };
  const steep = { beta_start: 0.1, beta_end: 0.9, beta_schedule: 'linear' };
  for (const Class of [
    DPMSolverMultistepScheduler,
    DPMSolverSinglestepScheduler,
    DPMSolverMultistepInverseScheduler,
    UniPCMultistepScheduler,
    DEISMultistepScheduler,
  ]) {
    for (const grid of [{}, { use_karras_sigmas: true }, { use_beta_sigmas: true }]) {
      for (const prediction_type of ['epsilon', 'v_prediction', 'sample']) {
        assertThrows(
          () => Class.fromConfig({ ...last, ...grid, prediction_type }).setTimesteps(4),
          RangeError,
          /for trained_betas but nothing is left of it at step 5: rescale_betas_zero_snr keeps a little$/,
        );
        const s = Class.fromConfig({ ...last, ...grid, prediction_type, rescale_betas_zero_snr: true });
        s.setTimesteps(4);
        assert.ok(s.sigmas.every(Number.isFinite), `${Class.name} ${prediction_type}`);
      }
      assertThrows(
        () => Class.fromConfig({ ...steep, ...grid }).setTimesteps(4),
        RangeError,
        /for beta_start 0\.1 and beta_end 0\.9 but nothing is left of it at step \d+$/,
      );
    }
    // A flow has no betas.
    Class.fromConfig({ ...steep, prediction_type: 'flow_prediction', use_flow_sigmas: true }).setTimesteps(4);
  }
  const ddim = DDIMScheduler.fromConfig(last);
  const noise = /with trained_betas: the noise says nothing of the data where alpha is 0/;
  assertThrows(() => ddim.setTimesteps({ timesteps: [5, 3] }), RangeError, noise);
  const pndm = PNDMScheduler.fromConfig({
    ...last,
    trained_betas: [0.01, 0.05, 0.1, 0.3, 0.5, 0.6],
    prediction_type: 'v_prediction',
    skip_prk_steps: true,
    timestep_spacing: 'linspace',
    rescale_betas_zero_snr: true,
  });
  assertThrows(() => pndm.setTimesteps(4), RangeError, /with rescale_betas_zero_snr true: the noise says nothing/);
});

test('EDM: both sigma schedules, one step, sigmas of its own', () => {
  for (const sigma_schedule of ['karras', 'exponential']) {
    const s = EDMDPMSolverMultistepScheduler.fromConfig({ sigma_schedule, sigma_min: 0.01, sigma_max: 50 });
    for (const steps of [1, 2, 9]) {
      s.setTimesteps(steps);
      assertClose(s.sigmas[0], 50, { rtol: 1e-5 });
      if (steps > 1) assertClose(s.sigmas[steps - 1], 0.01, { rtol: 1e-5 });
      assert.is(s.sigmas[steps], 0);
    }
    runs(s);
  }
  for (const algorithm_type of ['dpmsolver', 'sde-dpmsolver', 'sde-dpmsolver++'])
    for (const solver_order of [1, 2, 3])
      runs(EDMDPMSolverMultistepScheduler.fromConfig({ algorithm_type, solver_order }));
  const s = EDMDPMSolverMultistepScheduler.fromConfig({});
  s.setTimesteps({ sigmas: [10, 1, 0.1] });
  assertClose(s.timesteps, [0.25 * Math.log(10), 0, 0.25 * Math.log(0.1)], { atol: 1e-6 });
  assert.is(s.timesteps.length, 3);
});

test('grids that come down to their end stop there, and one that begins at the last training step has its label', () => {
  for (const sigma_schedule of ['karras', 'exponential']) {
    const s = EDMDPMSolverMultistepScheduler.fromConfig({
      sigma_schedule,
      final_sigmas_type: 'sigma_min',
      algorithm_type: 'sde-dpmsolver++',
    });
    for (let steps = 2; steps <= 30; steps++) {
      s.setTimesteps(steps);
      assert.is(s.sigmas[steps], s.sigmas[steps - 1]);
    }
  }
  // Zero terminal SNR of linear betas: sigma falls from 15406 to 4096 at the last training step.
  for (const grid of ['use_karras_sigmas', 'use_exponential_sigmas', 'use_beta_sigmas', 'use_lu_lambdas']) {
    const s = DPMSolverMultistepScheduler.fromConfig({ rescale_betas_zero_snr: true, [grid]: true });
    s.setTimesteps(5);
    assert.is(s.timesteps[0], 999, grid);
  }
});

test('a flow whose sigmas are placed anew keeps the ends of its own, shifted grid', () => {
  for (const Class of [...DPM, UniPCMultistepScheduler, DEISMultistepScheduler, schedulers.SASolverScheduler]) {
    for (const placed of ['use_karras_sigmas', 'use_exponential_sigmas', 'use_beta_sigmas']) {
      for (const final_sigmas_type of ['zero', 'sigma_min']) {
        const ends = (config: SchedulerConfig) => {
          const { sigmas, timesteps } = runs(Class.fromConfig({ ...SD3, final_sigmas_type, ...config }));
          return [sigmas[0], sigmas[timesteps.length - 1]].sort();
        };
        if (Class !== DPMSolverMultistepInverseScheduler) {
          assertClose(ends({ [placed]: true }), ends({}), { rtol: 1e-6 }, `${Class.name}, ${placed}`);
        }
        const own = ends({ [placed]: true, sigma_min: 0.05, sigma_max: 0.9 });
        assertClose(own, [0.05, 0.9], { rtol: 1e-6 }, `${Class.name}, ${placed}, sigma_min and sigma_max`);
        const beyond = Class.fromConfig({ ...SD3, [placed]: true, sigma_max: 14.6 });
        assertThrows(() => beyond.setTimesteps(4), RangeError, /sigma_max 14\.6 with use_flow_sigmas true: a flow's/);
      }
    }
  }
});

test('a single step from pure noise is not stretched to shift_terminal', () => {
  const config = { use_flow_sigmas: true, prediction_type: 'flow_prediction', shift_terminal: 0.1 };
  const s = UniPCMultistepScheduler.fromConfig(config);
  s.setTimesteps(1);
  assertClose(s.sigmas, [1 - 1e-6, 0], { atol: 1e-7 });
});

test('shifts: mu is the log of the shift or the shift, shift_terminal stretches', () => {
  const sigmas = (config: SchedulerConfig, mu?: number) => {
    const s = UniPCMultistepScheduler.fromConfig({ ...FLUX, ...config });
    s.setTimesteps(5, mu === undefined ? {} : { mu });
    return s.sigmas;
  };
  const base = [1 - 1e-6, 0.8002, 0.6004, 0.4006, 0.2008];
  const shift = Math.exp(0.9);
  const expected = base.map((s, i) => (i === 0 ? s : (shift * s) / (1 + (shift - 1) * s)));
  assertClose(sigmas({}, 0.9).slice(0, 5), expected, { atol: 1e-6 });
  assertClose(sigmas({ time_shift_type: 'linear' }, shift).slice(0, 5), expected, { atol: 1e-6 });
  const stretched = sigmas({ shift_terminal: 0.1 }, 0.9);
  assertClose(stretched[4], 0.1, { atol: 1e-6 });
  assertClose(stretched[0], 1, { atol: 1e-5 });
});

test.run();
