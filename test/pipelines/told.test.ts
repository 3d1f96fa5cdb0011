// What the networks of folders are told, where the scheduler's file is another network's, has no class, another one than
// model_index.json, or keys that are easily left out. Labels are worked out here from the files, by diffusers' rules.
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { runCommand } from 'citty';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { compare } from '../../lib/cli/compare.js';
import { DiffusionPipeline } from '../../lib/pipelines/index.js';
import { knownClass } from '../../lib/schedulers/from-config.js';
import { DDIMScheduler, type SchedulerConfig, schedulerFromConfig } from '../../lib/schedulers/index.js';
import { assertClose } from '../support.js';
import { heard, listen } from './heard.js';
import { changed, layout, removeCopies } from './models.js';

const test = suite('what folders tell their networks');
test.before(() => listen(true));
test.after(removeCopies);

const classOf = (name: string) => knownClass(name) as unknown as typeof DDIMScheduler;
type Model = 'sd' | 'sdxl' | 'sd3' | 'flux';
const STABLE = { beta_start: 0.00085, beta_end: 0.012, beta_schedule: 'scaled_linear', num_train_timesteps: 1000 };

/** A folder with this file; `scheduler` is what model_index.json has for it. */
function folder(model: Model, config: object, scheduler?: string): string {
  return changed((copy) => {
    const path = join(copy, 'model_index.json');
    const { scheduler: _, ...index } = JSON.parse(readFileSync(path, 'utf8'));
    const named = scheduler === undefined ? {} : { scheduler: ['diffusers', scheduler] };
    writeFileSync(path, JSON.stringify({ ...index, ...named }));
    writeFileSync(join(copy, 'scheduler/scheduler_config.json'), JSON.stringify(config));
  }, layout(model));
}

interface Told {
  told: number[];
  sample: Float32Array;
  config: SchedulerConfig;
}
async function tell(path: string, options: object = {}, Class?: string): Promise<Told> {
  const pipe = await DiffusionPipeline.fromPretrained(path);
  try {
    heard();
    const made = Class && {
      scheduler: classOf(Class).fromConfig(pipe.schedulerConfig),
    };
    const { sample } = await pipe({ prompt: 'red', guidance: 1, steps: 4, seed: 3, ...made, ...options });
    return { told: heard(), sample: sample.data, config: pipe.schedulerConfig };
  } finally {
    await pipe.dispose();
  }
}

/** What a flow of this shift is told, even in time before it: thousandths where networks count in them. */
const flow = (shift: number, steps: number, scale: number) =>
  Array.from({ length: steps }, (_, i) => {
    const t = (steps - i) / steps;
    return (scale * shift * t) / (1 + (shift - 1) * t);
  });

/** The classes that take a flow with dynamic shifting. */
const FLOWS = [
  ...['FlowMatchEulerDiscrete', 'FlowMatchHeunDiscrete', 'FlowMatchLCM', 'LTXEulerAncestralRF', 'DPMSolverMultistep'],
  ...['DPMSolverSinglestep', 'DEISMultistep', 'UniPCMultistep', 'SASolver'],
];

const VP_FILES = [
  'PNDMScheduler',
  'EulerDiscreteScheduler',
  'DDIMScheduler',
  'DPMSolverMultistepScheduler',
  'UniPCMultistepScheduler',
];

test('a network of flows is told times of a flow, whatever the file is of', async () => {
  for (const [model, scale] of [
    ['sd3', 1000],
    ['flux', 1],
  ] as const) {
    for (const file of [
      {},
      { num_train_timesteps: 1000 },
      ...VP_FILES.map((_class_name) => ({ ...STABLE, _class_name })),
    ]) {
      for (const steps of [4, 10]) {
        const { told } = await tell(folder(model, file), { steps });
        assertClose(told, flow(3, steps, scale), { rtol: 1e-6 }, `${model}, ${JSON.stringify(file)}`);
      }
    }
  }
});

test('labels of a flow are 1000 sigma where a U-Net takes whole ones, and never times', async () => {
  for (const model of ['sd', 'sdxl'] as const) {
    const { told } = await tell(folder(model, { _class_name: 'FlowMatchEulerDiscreteScheduler', shift: 3 }));
    assert.equal(told, [1000, 900, 750, 500]);
  }
});

test('no class in the file: model_index.json has it, and it goes before another one in the file', async () => {
  for (const [model, file, scheduler, Class] of [
    [
      'sd3',
      { num_train_timesteps: 1000, shift: 3, use_dynamic_shifting: false },
      'FlowMatchEulerDiscreteScheduler',
      undefined,
    ],
    ['sd', { ...STABLE }, 'LCMScheduler', 'LCMScheduler'],
    ['sd', { ...STABLE, _class_name: 'PNDMScheduler' }, 'LCMScheduler', 'LCMScheduler'],
    [
      'sd',
      { ...STABLE, _class_name: 'PNDMScheduler', timestep_spacing: 'trailing' },
      'EulerDiscreteScheduler',
      'EulerDiscreteScheduler',
    ],
  ] as [Model, object, string, string | undefined][]) {
    const path = folder(model, file, scheduler);
    const own = await tell(path);
    assert.is(own.config._class_name, scheduler);
    if (Class === undefined) assertClose(own.told, flow(3, 4, 1000), { rtol: 1e-6 });
    else assert.equal(own.told, (await tell(path, {}, Class)).told);
  }
  // And what the file says is not taken for a distilled network's where the index says otherwise.
  const { config } = await tell(folder('sd', { ...STABLE, _class_name: 'LCMScheduler' }, 'PNDMScheduler'));
  assert.is(config._class_name, 'PNDMScheduler');
});

test("Flax' names are PyTorch's: by class, by folder and in compare", async () => {
  for (const name of ['DDIM', 'PNDM', 'DPMSolverMultistep', 'EulerDiscrete', 'LMSDiscrete', 'DDPM']) {
    const file = { ...STABLE, prediction_type: 'epsilon' };
    const [plain, flax] = ['', 'Flax'].map((word) => folder('sd', { ...file, _class_name: `${word}${name}Scheduler` }));
    const [a, b] = [await tell(plain), await tell(flax)];
    assert.equal(b.told, a.told, name);
    assertClose(b.sample, a.sample, { atol: 0 }, name);
    const config = { ...file, _class_name: `Flax${name}Scheduler` };
    const { _class_name } = schedulerFromConfig(config).config;
    assert.is(_class_name, `${name}Scheduler`);
    if (name !== 'DDIM') continue;
    const print = console.log;
    console.log = () => undefined;
    try {
      heard();
      const rawArgs = [
        'red',
        '--model',
        flax,
        '--solvers',
        'ddim,dpmsolver++',
        '--steps',
        '2',
        '-o',
        join(flax, 'c.png'),
      ];
      await runCommand(compare, { rawArgs });
      assert.is(heard().length, 4);
    } finally {
      console.log = print;
    }
  }
});

test('what a file leaves out is the default of the class that it names, for the folder and the class', async () => {
  // Of diffusers: betas of 0.0001 to 0.02 but for those of k-diffusion and of distilled networks.
  const stable = ['Heun', 'KDPM2', 'KDPM2Ancestral'].map((name) => `${name}DiscreteScheduler`);
  const scaled = ['LCMScheduler', 'TCDScheduler'];
  const plain = [
    ...['DDIM', 'DDPM', 'PNDM', 'DPMSolverMultistep', 'DPMSolverSinglestep', 'UniPCMultistep', 'DEISMultistep'],
    ...['SASolver', 'EulerDiscrete', 'EulerAncestralDiscrete', 'LMSDiscrete'],
  ].map((name) => `${name}Scheduler`);
  const expected = new Map<string, [number, number, string]>([
    ...[...plain].map((name) => [name, [0.0001, 0.02, 'linear']] as const),
    ...[...stable, 'DPMSolverSDEScheduler'].map((name) => [name, [0.00085, 0.012, 'linear']] as const),
    ...scaled.map((name) => [name, [0.00085, 0.012, 'scaled_linear']] as const),
  ] as [string, [number, number, string]][]);
  for (const [_class_name, [low, high, kind]] of expected) {
    // The same with all of it written out.
    const whole = { _class_name, beta_start: low, beta_end: high, beta_schedule: kind };
    const [short, long] = [await tell(folder('sd', { _class_name })), await tell(folder('sd', whole))];
    assert.equal(short.told, long.told, _class_name);
    assertClose(short.sample, long.sample, { atol: 0 }, _class_name);
    const Class = knownClass(_class_name);
    if (Class) {
      const { config } = classOf(_class_name).fromConfig({ _class_name });
      assert.equal([config.beta_start, config.beta_end, config.beta_schedule], [low, high, kind], _class_name);
    }
    if (low === 0.0001) continue;
    const other = await tell(
      folder('sd', { _class_name, beta_start: 0.0001, beta_end: 0.02, beta_schedule: 'linear' }),
    );
    assert.not.equal([...other.sample], [...short.sample], `${_class_name}: betas that change nothing`);
  }
});

test('stochastic sampling of a distilled flow is the folder’s own, of the seed’s noise', async () => {
  const file = { _class_name: 'FlowMatchEulerDiscreteScheduler', shift: 3 };
  const [plain, drawn] = [folder('sd3', file), folder('sd3', { ...file, stochastic_sampling: true })];
  const own = await tell(drawn);
  const byClass = await tell(drawn, {}, 'FlowMatchEulerDiscreteScheduler');
  assert.equal(own.told, byClass.told);
  assertClose(own.sample, byClass.sample, { atol: 0 });
  const { sample } = await tell(plain, {}, 'FlowMatchEulerDiscreteScheduler');
  const apart = Math.hypot(...sample.map((v, i) => v - own.sample[i])) / Math.hypot(...sample);
  assert.ok(apart > 0.1, `${apart} from the one that draws nothing`);
  const other = await tell(drawn, { seed: 4 });
  assert.not.equal([...other.sample], [...own.sample]);
});

test('times of another sampler in a flow’s file are refused, not dropped', async () => {
  const file = {
    _class_name: 'FlowMatchEulerDiscreteScheduler',
    shift: 3,
    fixed_step_sampler_config: { t_list: [0.999, 0.5, 0] },
  };
  const message = /Expected null for fixed_step_sampler_config of .* but received the times of another sampler$/;
  for (const work of [() => tell(folder('sd3', file)), async () => schedulerFromConfig(file)]) {
    let said = '';
    await work().catch((error: Error) => {
      said = error.message;
    });
    assert.match(said, message);
  }
});

test('sigma_min and sigma_max of a file bound what its folder goes through, as they bound the class', async () => {
  const file = { ...STABLE, sigma_min: 0.1, sigma_max: 10, use_karras_sigmas: true };
  for (const name of ['Euler', 'Heun', 'DPMSolverMultistep', 'UniPCMultistep', 'DEISMultistep']) {
    const Class = `${name}${/Euler|Heun/.test(name) ? 'Discrete' : ''}Scheduler` as string;
    for (const steps of [4, 10]) {
      const path = folder('sd', { ...file, _class_name: Class });
      const { told } = await tell(path, { steps });
      // Karras et al. 2022, equation 5.
      const ramp = Array.from({ length: steps }, (_, i) => {
        const [low, high] = [0.1 ** (1 / 7), 10 ** (1 / 7)];
        return (high + (i / (steps - 1)) * (low - high)) ** 7;
      });
      assert.equal(told, ramp.map(labelOf), `${Class}, ${steps} steps`);
    }
  }
});

/** The whole label of a sigma, between the training steps around it in log sigma. */
function labelOf(sigma: number): number {
  const table: number[] = [];
  let kept = 1;
  for (let i = 0; i < 1000; i++) {
    const root = Math.sqrt(0.00085) + ((Math.sqrt(0.012) - Math.sqrt(0.00085)) * i) / 999;
    kept *= 1 - root * root;
    table.push(Math.log(Math.sqrt((1 - kept) / kept)));
  }
  const log = Math.log(sigma);
  let low = 0;
  while (low < 998 && table[low + 1] <= log) low++;
  return Math.round(low + (log - table[low]) / (table[low + 1] - table[low]));
}

test('dynamic shifting goes by the number of tokens, in the folder’s own run and for every class of flows', async () => {
  // Black Forest Labs' line through (256, 0.5) and (4096, 1.15), which the file has; a token is 16 x 16 pixels.
  const pipe = await DiffusionPipeline.fromPretrained(layout('flux'));
  const steps = 4;
  const even = Array.from({ length: steps }, (_, i) => (steps - i) / steps);
  try {
    for (const name of [undefined, ...FLOWS]) {
      const Class = name === undefined ? undefined : classOf(`${name}Scheduler`);
      // Where the class places its own times, those are its times without a shift.
      const bare = Class?.fromConfig(pipe.schedulerConfig);
      bare?.setTimesteps({ ...(/^FlowMatch(?:Euler|LCM)/.test(name!) ? { sigmas: even } : { steps }), mu: 0 });
      const before = bare ? Array.from(bare.timesteps, (t) => t / 1000) : even;
      // Whole labels are cut, before the shift and after.
      const slack = bare?.timesteps instanceof Int32Array ? 5e-3 : 1e-5;
      for (const [width, height] of [
        [16, 32],
        [64, 64],
        [256, 128],
        [256, 320],
      ]) {
        const mu = 0.5 + ((1.15 - 0.5) * ((width * height) / 256 - 256)) / (4096 - 256);
        const shift = Math.exp(mu);
        heard();
        await pipe({
          ...{ prompt: 'red', guidance: 1, steps, seed: 3, width, height },
          ...(Class && { scheduler: Class.fromConfig(pipe.schedulerConfig) }),
        });
        const right = before.map((t) => (shift * t) / (1 + (shift - 1) * t));
        assertClose(heard(), right, { atol: slack }, `${name}, ${width} x ${height}`);
      }
    }
  } finally {
    await pipe.dispose();
  }
});

test('what is not a scheduler’s own begins with an underscore: nobody is warned of it', async () => {
  const heardOf: string[] = [];
  const emit = process.emitWarning;
  process.emitWarning = ((message: string) => void heardOf.push(message)) as typeof process.emitWarning;
  try {
    const file = { ...STABLE, _class_name: 'DDIMScheduler', _executorch: 1, _private: { deep: [1] }, __proto: null };
    await tell(folder('sd', file));
    await tell(folder('sd', file), {}, 'DPMSolverMultistepScheduler');
    for (const name of ['DDIMScheduler', 'EulerDiscreteScheduler', 'UniPCMultistepScheduler'] as const) {
      const { config } = classOf(name).fromConfig(file);
      assert.is(config._executorch, 1);
    }
    assert.equal(heardOf, []);
    DDIMScheduler.fromConfig({ ...file, executorch: 1 });
    assert.is(heardOf.length, 1);
  } finally {
    process.emitWarning = emit;
  }
});

test('files of the first exports are corrected as their pipelines correct them', async () => {
  const file = { ...STABLE, _class_name: 'DDIMScheduler', clip_sample: true, steps_offset: 0, set_alpha_to_one: false };
  for (const model of ['sd', 'sdxl'] as const) {
    const { config } = await tell(folder(model, file));
    const corrected = model === 'sd';
    assert.equal([config.steps_offset, config.clip_sample], corrected ? [1, false] : [0, true], model);
  }
});

test('given timesteps of a flow are labels as the table of sigmas has them', () => {
  for (const name of [
    'FlowMatchEulerDiscreteScheduler',
    'FlowMatchHeunDiscreteScheduler',
    'FlowMatchLCMScheduler',
  ] as const) {
    for (const shift of [1, 3]) {
      const s = classOf(name).fromConfig({ shift });
      s.setTimesteps({ timesteps: [1000, 750, 500, 250] });
      // Told what it is given, 1000 sigma: labels of the shifted sigmas, where diffusers from 0.42 on keeps the labels.
      const sigmas = [...s.sigmas].filter((_, i) => name !== 'FlowMatchHeunDiscreteScheduler' || i % 2 === 0);
      for (const [i, t] of [...s.timesteps].entries()) {
        assertClose([t], [1000 * s.sigmas[i]], { rtol: 1e-6 }, `${name}, shift ${shift}`);
      }
      assert.ok(sigmas.length >= 4);
    }
  }
});

test.run();
