// What the readers of the pages have: a network and the file of its scheduler.
import { readFileSync } from 'node:fs';
import type { Tensor } from 'dpm-solver';
import type { SchedulerConfig } from 'dpm-solver/schedulers';

/** Any tensor in, one of its kind out; half the input, so that every solver stays finite. */
export async function unet(x: Tensor, _t: number): Promise<Tensor> {
  const data = Float32Array.from(x.data as Float32Array, (value) => value / 2);
  return { type: 'float32', data, dims: [...x.dims] };
}

/** A scheduler_config.json of Stable Diffusion. */
export const json: SchedulerConfig = JSON.parse(
  readFileSync(`${process.env.FIXTURES}/sd/scheduler/scheduler_config.json`, 'utf8'),
);
