// scheduler_config.json of a folder, key by key: the pictures of a folder that has a value in its file are those of the class
// that is made of the file, and what the class refuses the folder refuses, in the same sentence.
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { CLASSES, KEYS } from '../../lib/folder/scheduler-keys.js';
import { DiffusionPipeline, type GenerateOptions, type SchedulerLike } from '../../lib/pipelines/index.js';
import * as schedulers from '../../lib/schedulers/index.js';
import type { SchedulerConfig } from '../../lib/schedulers/index.js';
import { assertClose, assertRejects } from '../support.js';
import { changed, layout, removeCopies } from './models.js';

const test = suite('scheduler file of a folder');
test.after(removeCopies);

const STABLE = { beta_start: 0.00085, beta_end: 0.012, beta_schedule: 'scaled_linear' };
const DPM = { _class_name: 'DPMSolverMultistepScheduler', ...STABLE, timestep_spacing: 'trailing' };
const FLOW = {
  ...{ _class_name: 'DPMSolverMultistepScheduler', prediction_type: 'flow_prediction', use_flow_sigmas: true },
  flow_shift: 3,
};

/** What the files of other classes have: trailing steps of theirs may be those of a distilled network, which keeps its own. */
const NOISE_FILE = { ...STABLE, timestep_spacing: 'leading', steps_offset: 1 };
/** What the flow classes' files have. */
const FLOW_FILE = { num_train_timesteps: 1000, shift: 3 };

/** A folder with this file, and nothing else that says what its scheduler is. */
function folderWith(config: SchedulerConfig, model: 'sd' | 'sd3'): string {
  return changed((folder) => {
    const path = join(folder, 'model_index.json');
    const { scheduler: _, ...index } = JSON.parse(readFileSync(path, 'utf8'));
    // The pipelines of Stable Diffusion 1 correct their files.
    writeFileSync(path, JSON.stringify({ ...index, _class_name: 'DiffusionPipeline' }));
    writeFileSync(join(folder, 'scheduler/scheduler_config.json'), JSON.stringify(config));
  }, layout(model));
}

const ask: GenerateOptions = { prompt: 'red', guidance: 1, steps: 8, seed: 3 };

/** What a call gives, or the sentence that refuses it, without the file's name. */
async function outcome(work: () => Promise<Float32Array>): Promise<Float32Array | string> {
  try {
    return await work();
  } catch (error) {
    return (error as Error).message.replace(/^\S+scheduler_config\.json: /, '');
  }
}

/** The folder's own pictures, and those of a scheduler object of the class. */
async function compare(config: SchedulerConfig, model: 'sd' | 'sd3', what: string): Promise<void> {
  let pipe: DiffusionPipeline | undefined;
  const byFolder = await outcome(async () => {
    pipe = await DiffusionPipeline.fromPretrained(folderWith(config, model));
    return (await pipe(ask)).sample.data;
  });
  const byClass = await outcome(async () => {
    const scheduler = schedulers.DPMSolverMultistepScheduler.fromConfig(config);
    if (!pipe) throw new Error('made of it, and not loaded');
    return (await pipe({ ...ask, scheduler })).sample.data;
  });
  await pipe?.dispose();
  if (typeof byClass === 'string') assert.is(byFolder, byClass, what);
  else if (typeof byFolder === 'string') assert.unreachable(`${what}: ${byFolder}`);
  else assertClose(byFolder, byClass, { rtol: 2e-5, scale: 'max' }, what);
}

/**
 * A folder of a flow refuses what its file's own class refuses, in the same words. Its grid is the file's, and not that of the
 * DPM-Solver class, so that their pictures differ; what the network is told is held by test/cli/real-configs.
 */
async function refuses(config: SchedulerConfig, what: string): Promise<void> {
  const run = async () => {
    const pipe = await DiffusionPipeline.fromPretrained(folderWith(config, 'sd3'));
    const { sample } = await pipe({ ...ask, steps: 2 });
    await pipe.dispose();
    return sample.data;
  };
  const [byFolder, byClass] = [
    await outcome(run),
    await outcome(async () => {
      const scheduler = schedulers.schedulerFromConfig(config);
      scheduler.setTimesteps(2, config.use_dynamic_shifting === true ? { mu: 1 } : {});
      return scheduler.sigmas;
    }),
  ];
  if (typeof byClass === 'string' || typeof byFolder === 'string') assert.is(byFolder, byClass, what);
}

/** Values for the keys that a class heeds, of networks trained on noise. */
const NOISE: Record<string, unknown[]> = {
  num_train_timesteps: [200, 1e9, 1.5],
  beta_start: [0.001, 0, 'low'],
  beta_end: [0.02, 1],
  beta_schedule: ['linear', 'squaredcos_cap_v2', 'constructor'],
  trained_betas: [[0.1, 'x'], Array.from({ length: 1000 }, (_, i) => 1e-4 + 2e-5 * i), [0.1, 0.2]],
  rescale_betas_zero_snr: [true, 'yes'],
  prediction_type: ['v_prediction', 'sample', 'flow_prediction', 'constructor'],
  variance_type: ['fixed_small', 3],
  clip_sample: [true],
  thresholding: [true],
  dynamic_thresholding_ratio: [0.9, 2],
  sample_max_value: [0.5, 0],
  solver_order: [1, 3, 4],
  algorithm_type: ['dpmsolver', 'sde-dpmsolver++', 'sde-dpmsolver', 'deis', 'data_prediction', 'euler'],
  solver_type: ['heun', 'logrho', 'bh2', 'rk4'],
  lower_order_final: [false],
  euler_at_final: [true],
  final_sigmas_type: ['zero', 'sigma_min', 'one'],
  use_karras_sigmas: [true],
  use_exponential_sigmas: [true],
  use_beta_sigmas: [true],
  use_lu_lambdas: [true],
  timestep_spacing: ['linspace', 'leading', 'even'],
  steps_offset: [1, -1],
  lambda_min_clipped: [-5.1, '-Infinity', 'low'],
  snr_shift_scale: [0],
};

test('networks trained on noise: every key, as the class has it', async () => {
  for (const [key, values] of Object.entries(NOISE)) {
    assert.ok(KEYS[key], key);
    for (const value of values) {
      await compare({ ...DPM, [key]: value }, 'sd', `${key}: ${JSON.stringify(value).slice(0, 40)}`);
    }
  }
});

/** Values for the keys of the table that the DPM-Solver classes do not have, or that nobody heeds; wrong ones, too. */
const OTHERS: Record<string, unknown[]> = {
  predict_x0: [false, 'no'],
  disable_corrector: [[0, 1], [-1]],
  set_alpha_to_one: [true, 'no'],
  skip_prk_steps: [true, 1],
  clip_sample_range: [0.5, 0],
  sigma_min: [0.1, -1],
  sigma_max: [0.9, 'high'],
  sigma_data: [1, 0],
  sigma_schedule: ['exponential', 'even'],
  rho: [5, 0],
  timestep_type: ['continuous', 'odd'],
  interpolation_type: ['log_linear', 'cubic'],
  invert_sigmas: [true, 1],
  stochastic_sampling: [true, 1],
  scale_factors: [null, [2, 1]],
  original_inference_steps: [20, 0],
  timestep_scaling: [5, 0],
  predictor_order: [3, 9],
  corrector_order: [1, 0],
  tau_func: [null, 'half'],
  eta: [0.5, 2],
  s_noise: [0.5, -1],
  clip_denoised: [false, 1],
  shift: [2, 0],
  use_flow_sigmas: [true],
  flow_shift: [3],
  use_dynamic_shifting: [true],
  time_shift_type: ['linear'],
  shift_terminal: [0.1],
  base_shift: [0.7],
  max_shift: [1.3],
  base_image_seq_len: [128],
  max_image_seq_len: [2048],
  solver_p: [null, {}],
  predict_epsilon: [true, false],
  s_churn: [1],
  skip_type: ['quad'],
  noise_sampler_seed: [3],
  use_tau: [true],
  upscale_mode: ['bilinear'],
  fixed_step_sampler_config: [null, {}],
};

test('the keys of other classes, and those that nobody heeds: as the class has them', async () => {
  const told = new Set([...Object.keys(NOISE), ...Object.keys(OTHERS)]);
  const names = ['_class_name', '_diffusers_version', '_use_default_values', '_name_or_path'];
  assert.equal(
    Object.keys(KEYS).filter((key) => !told.has(key) && !names.includes(key)),
    [],
    'every key of the table is tried',
  );
  const owners = Object.values(schedulers).flatMap((Class) => {
    const rules = (Class as { rules?: { name: string; defaults: object } }).rules;
    const origin = rules && CLASSES.get(rules.name);
    // The folder of a distilled network runs its own class, and other kinds need other networks.
    return rules && origin && !origin.distilled && (origin.network === 'noise' || origin.network === 'flow')
      ? [{ ...rules, network: origin.network }]
      : [];
  });
  for (const [key, values] of Object.entries(OTHERS)) {
    const own = owners.filter(({ defaults }) => Object.hasOwn(defaults, key));
    const tried = own.length > 0 ? own : owners.filter(({ name }) => name === 'DPMSolverMultistepScheduler');
    for (const { name, network } of tried) {
      for (const value of values) {
        const what = `${name}, ${key}: ${JSON.stringify(value)}`;
        if (network === 'noise') await compare({ ...NOISE_FILE, _class_name: name, [key]: value }, 'sd', what);
        else await refuses({ ...FLOW_FILE, _class_name: name, [key]: value }, what);
      }
    }
  }
});

test('together: zero terminal SNR, final sigmas and clipping with every grid', async () => {
  const grids = [
    {},
    { use_karras_sigmas: true },
    { use_exponential_sigmas: true },
    { use_beta_sigmas: true },
    { use_lu_lambdas: true },
  ];
  for (const grid of grids) {
    for (const more of [
      { rescale_betas_zero_snr: true, prediction_type: 'v_prediction' },
      { final_sigmas_type: 'sigma_min' },
      { final_sigmas_type: 'sigma_min', euler_at_final: true },
      { lambda_min_clipped: -5.1 },
      { thresholding: true, sample_max_value: 1 },
      { thresholding: true, algorithm_type: 'dpmsolver', dynamic_thresholding_ratio: 0.8, sample_max_value: 2 },
    ]) {
      await compare({ ...DPM, ...grid, ...more }, 'sd', JSON.stringify({ ...grid, ...more }));
    }
  }
});

test('flows: every key, as the class has it', async () => {
  const all: Record<string, unknown[]> = {
    flow_shift: [1, 0],
    final_sigmas_type: ['sigma_min'],
    use_karras_sigmas: [true],
    use_exponential_sigmas: [true],
    use_beta_sigmas: [true],
    use_lu_lambdas: [true],
    shift_terminal: [0.1, 2],
    algorithm_type: ['sde-dpmsolver++'],
    solver_order: [1, 3],
    time_shift_type: ['cubic'],
  };
  for (const [key, values] of Object.entries(all)) {
    for (const value of values) await compare({ ...FLOW, [key]: value }, 'sd3', `${key}: ${value}`);
  }
});

test('two calls at once with one scheduler object: each is alone with its run', async () => {
  const pipe = await DiffusionPipeline.fromPretrained(folderWith(DPM, 'sd'));
  for (const Class of [
    schedulers.UniPCMultistepScheduler,
    schedulers.PNDMScheduler,
    schedulers.LMSDiscreteScheduler,
    schedulers.DPMSolverMultistepScheduler,
  ]) {
    const scheduler = Class.fromConfig(pipe.schedulerConfig);
    const asks = [ask, { ...ask, seed: 9, steps: 5 }, { ...ask, seed: 4 }];
    const together = await Promise.all(asks.map((one) => pipe({ ...one, scheduler })));
    for (const [i, one] of asks.entries()) {
      const alone = await pipe({ ...one, scheduler: Class.fromConfig(pipe.schedulerConfig) });
      assertClose(together[i].sample.data, alone.sample.data, { atol: 0 }, `${Class.name}, call ${i}`);
    }
  }
  // One of others has its run in itself.
  const own = schedulers.UniPCMultistepScheduler.fromConfig(pipe.schedulerConfig);
  const foreign: SchedulerLike = {
    setTimesteps: (steps) => own.setTimesteps(steps),
    get timesteps() {
      return own.timesteps;
    },
    step: (output, t, x) => own.step(output, t, x),
  };
  const first = pipe({ ...ask, scheduler: foreign });
  const message = /^Expected one call at a time for a scheduler object but another call is using this one$/;
  await assertRejects(pipe({ ...ask, scheduler: foreign }), Error, message);
  const alone = await pipe({ ...ask, scheduler: schedulers.UniPCMultistepScheduler.fromConfig(pipe.schedulerConfig) });
  assertClose((await first).sample.data, alone.sample.data, { rtol: 1e-6, scale: 'max' });
  await pipe.dispose();
});

test.run();
