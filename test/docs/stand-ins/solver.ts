// What the pages' blocks speak of without making it: a network, tensors, a schedule, a scheduler.
import { readFileSync } from 'node:fs';
import { betas, DPMSolver, NoiseSchedule, randn, type Tensor } from 'dpm-solver';
import { DPMSolverMultistepScheduler, type Scheduler, type SchedulerConfig } from 'dpm-solver/schedulers';

/** Any tensor in, one of its kind out; half the input, so that every solver stays finite. */
export async function unet(x: Tensor, _t: number): Promise<Tensor> {
  const data = Float32Array.from(x.data as Float32Array, (value) => value / 2);
  return { type: 'float32', data, dims: [...x.dims] };
}

export const xT: Tensor = randn([1, 4, 8, 8], { seed: 0 });
export const x0: Tensor = randn([1, 4, 8, 8], { seed: 1 });
export const noise: Tensor = randn([1, 4, 8, 8], { seed: 2 });
export const x: Tensor = xT;

export const schedule: NoiseSchedule = NoiseSchedule.discrete({ betas: betas('scaled_linear') });
export const solver: DPMSolver = new DPMSolver(unet, schedule);

/** A scheduler_config.json of Stable Diffusion. */
export const json: SchedulerConfig = JSON.parse(readFileSync('fixtures/sd/scheduler/scheduler_config.json', 'utf8'));
export const scheduler: Scheduler = DPMSolverMultistepScheduler.fromConfig(json);

export const controller: AbortController = new AbortController();
export const signal: AbortSignal = controller.signal;

/** Looks at pictures, or at anything else. */
export function show(..._shown: unknown[]): void {}
