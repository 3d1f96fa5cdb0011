// What a result says made its steps, and how many the command line makes where nobody says.
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { runCommand } from 'citty';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { txt2img } from '../../lib/cli/draw.js';
import { DiffusionPipeline, type GenerateOptions, type Solving } from '../../lib/pipelines/index.js';
import {
  EulerDiscreteScheduler,
  FlowMatchEulerDiscreteScheduler,
  UniPCMultistepScheduler,
} from '../../lib/schedulers/index.js';
import { changed, layout, removeCopies } from './models.js';

const test = suite('what made the steps');
test.after(removeCopies);

const folder = (model: 'sd' | 'sd3', config: object) =>
  changed((copy) => {
    const path = join(copy, 'model_index.json');
    const { scheduler: _, ...index } = JSON.parse(readFileSync(path, 'utf8'));
    writeFileSync(path, JSON.stringify(index));
    writeFileSync(join(copy, 'scheduler/scheduler_config.json'), JSON.stringify(config));
  }, layout(model));
const STABLE = { beta_start: 0.00085, beta_end: 0.012, beta_schedule: 'scaled_linear' };
const multistep = { name: 'dpmsolver++', order: 2, method: 'multistep' };

type Options = Partial<GenerateOptions> & { scheduler?: unknown };
const table: ['sd' | 'sd3', object, (config: object) => Options, Solving][] = [
  [
    'sd',
    { ...STABLE, _class_name: 'DPMSolverMultistepScheduler', timestep_spacing: 'trailing' },
    () => ({}),
    { ...multistep, grid: 'trailing' },
  ],
  [
    'sd',
    { ...STABLE, _class_name: 'DPMSolverMultistepScheduler', use_karras_sigmas: true },
    () => ({}),
    { ...multistep, grid: 'karras' },
  ],
  ['sd', { ...STABLE, _class_name: 'PNDMScheduler' }, () => ({}), { ...multistep, grid: 'linspace' }],
  [
    'sd',
    { ...STABLE, _class_name: 'PNDMScheduler', timestep_spacing: 'leading' },
    () => ({ order: 3 }),
    { ...multistep, order: 3, grid: 'leading' },
  ],
  [
    'sd',
    { ...STABLE, _class_name: 'PNDMScheduler' },
    () => ({ skipType: 'logSNR', algorithmType: 'dpmsolver' }),
    { ...multistep, name: 'dpmsolver', grid: 'logSNR' },
  ],
  [
    'sd',
    { ...STABLE, _class_name: 'PNDMScheduler' },
    () => ({ method: 'singlestep' }),
    { ...multistep, method: 'singlestep', grid: 'time_uniform' },
  ],
  ['sd', { ...STABLE, _class_name: 'LCMScheduler' }, () => ({}), { name: 'LCMScheduler', grid: 'leading' }],
  [
    'sd',
    { ...STABLE, _class_name: 'PNDMScheduler' },
    (config) => ({ scheduler: EulerDiscreteScheduler.fromConfig({ ...config }) }),
    { name: 'EulerDiscreteScheduler', grid: 'linspace' },
  ],
  [
    'sd',
    { ...STABLE, _class_name: 'PNDMScheduler' },
    (config) => ({ scheduler: UniPCMultistepScheduler.fromConfig({ ...config }, { use_beta_sigmas: true }) }),
    { name: 'UniPCMultistepScheduler', grid: 'beta' },
  ],
  ['sd3', { _class_name: 'FlowMatchEulerDiscreteScheduler', shift: 3 }, () => ({}), { ...multistep, grid: 'flow' }],
  [
    'sd3',
    { _class_name: 'FlowMatchEulerDiscreteScheduler', shift: 3 },
    (config) => ({ scheduler: FlowMatchEulerDiscreteScheduler.fromConfig({ ...config }) }),
    { name: 'FlowMatchEulerDiscreteScheduler', grid: 'flow' },
  ],
];
for (const [model, config, options, expected] of table) {
  test(`${JSON.stringify(expected)} of ${model}`, async () => {
    const pipe = await DiffusionPipeline.fromPretrained(folder(model, config));
    const made = options(pipe.schedulerConfig);
    const { solver } = await pipe({ prompt: 'red', guidance: 1, steps: 6, seed: 0, ...made } as GenerateOptions);
    await pipe.dispose();
    assert.equal(solver, expected);
  });
}

test('the command line makes the folder’s own steps, and tells what made them', async () => {
  const print = console.log;
  for (const [config, own, nfe] of [
    [{ ...STABLE, _class_name: 'LCMScheduler' }, { name: 'LCMScheduler', grid: 'leading' }, 4],
    [{ ...STABLE, _class_name: 'DDIMScheduler', timestep_spacing: 'trailing' }, { ...multistep, grid: 'trailing' }, 20],
  ] as const) {
    const place = folder('sd', config);
    const pipe = await DiffusionPipeline.fromPretrained(place);
    assert.is(pipe.defaults.steps, nfe);
    await pipe.dispose();
    for (const [flags, steps] of [
      [[], nfe],
      [['--steps', '3'], 3],
    ] as const) {
      const lines: string[] = [];
      console.log = (line: string) => lines.push(line);
      try {
        await runCommand(txt2img, {
          rawArgs: ['red', '--model', place, '--guidance', '1', '--json', '-o', join(place, 'o.png'), ...flags],
        });
      } finally {
        console.log = print;
      }
      const told = JSON.parse(lines[0]);
      assert.equal([told.nfe, told.steps, told.solver], [steps, steps, own]);
    }
  }
});

test.run();
