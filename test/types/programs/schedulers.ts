// What the scheduler classes are typed as: keys completed and checked, class by class, and files as they come.
import {
  DDIMScheduler,
  DPMSolverMultistepScheduler,
  FlowMatchEulerDiscreteScheduler,
  type Scheduler,
  type SchedulerConfig,
  schedulerFromConfig,
  UniPCMultistepScheduler,
} from 'dpm-solver/schedulers';
import { is } from './check.js';

declare class Theirs {
  constructor(type: string, data: unknown, dims: number[]);
  readonly data: Float32Array;
  readonly dims: number[];
}
declare const theirs: Theirs;
/** As `import config from './scheduler_config.json'` has it: strings are any strings. */
declare const file: { _class_name: string; beta_schedule: string; num_train_timesteps: number; clip_sample: boolean };
declare const parsed: SchedulerConfig;

const dpm = new DPMSolverMultistepScheduler({
  solver_order: 3,
  use_karras_sigmas: true,
  algorithm_type: 'sde-dpmsolver++',
});
is<1 | 2 | 3>()(dpm.config.solver_order, true);
is<unknown>()(dpm.config.a_key_of_somebody_else, true);
is<Theirs>()(dpm.step(theirs, 999, theirs), true);
is<Theirs>()(dpm.scaleModelInput(theirs, 999), true);
is<Theirs>()(dpm.addNoise(theirs, theirs, 999), true);
for (const t of dpm.timesteps) is<number>()(t, true);

is<DDIMScheduler>()(DDIMScheduler.fromConfig(file, { timestep_spacing: 'trailing', set_alpha_to_one: false }), true);
is<UniPCMultistepScheduler>()(UniPCMultistepScheduler.fromConfig(parsed, { solver_type: 'bh1' }), true);
is<UniPCMultistepScheduler>()(UniPCMultistepScheduler.fromConfig('{}'), true);
is<Scheduler>()(schedulerFromConfig(file), true);
export const all: Scheduler[] = [
  dpm,
  FlowMatchEulerDiscreteScheduler.fromConfig(dpm.config, { shift: 3, max_shift: 1.15 }),
];
const Class = all.length > 1 ? DDIMScheduler : DPMSolverMultistepScheduler;
is<DDIMScheduler | DPMSolverMultistepScheduler>()(Class.fromConfig(dpm.config), true);

// @ts-expect-error: another order
new DPMSolverMultistepScheduler({ solver_order: 4 });
// @ts-expect-error: a word of UniPC
DPMSolverMultistepScheduler.fromConfig(file, { solver_type: 'bh2' });
// @ts-expect-error: DDIM has no such grid
new DDIMScheduler({ use_karras_sigmas: true });
// @ts-expect-error: a name in other letters
DDIMScheduler.fromConfig(file, { timestepSpacing: 'trailing' });
