// The loop around a scheduler object: one of ours, or anything that has a diffusers scheduler's members.
import { convert } from '../addon/native.js';
import type { NetworkArray, Tensor } from '../base/tensor.js';
import { Scheduler } from '../schedulers/scheduler.js';
import type { NetworkType } from './denoiser.js';
import type { Work } from './drive.js';
import { typed } from './latents.js';
import { keep, type Mask } from './mask.js';
import type { SchedulerLike } from './options.js';

/** What a scheduler object is driven with. */
export interface SchedulerJob {
  scheduler: SchedulerLike;
  steps: number;
  strength: number;
  /** What the network takes. */
  type: NetworkType;
  noise: Float32Array;
  /** Where the run starts from a picture. */
  known: Float32Array | undefined;
  mask: Mask | undefined;
  dims: readonly number[];
}

export async function driveScheduler(job: SchedulerJob, work: Work): Promise<{ sample: Float32Array; nfe: number }> {
  const { scheduler, steps, strength, noise, known, mask, dims } = job;
  scheduler.setTimesteps(steps);
  const { timesteps } = scheduler;
  const all = Array.from('data' in timesteps ? timesteps.data : timesteps, Number);
  const begin = known ? Math.min(all.length - 1, Math.floor(all.length * (1 - strength) + 1e-6)) : 0;
  const times = all.slice(begin);
  const tensor = (data: Float32Array) => ({ type: 'float32', data, dims }) as Tensor;
  const noisy = (t: number): Float32Array => {
    if (!scheduler.addNoise) throw new TypeError('Expected a scheduler with addNoise for image and mask');
    return scheduler.addNoise(tensor(known as Float32Array), tensor(noise), t).data as Float32Array;
  };
  if (begin > 0) scheduler.setBeginIndex?.(begin);
  // Another's scheduler may keep what it is given, and give what it keeps.
  const own = scheduler instanceof Scheduler;
  const scale = scheduler.initNoiseSigma ?? 1;
  let x: Float32Array = new Float32Array(noise);
  if (scale !== 1) for (let i = 0; i < x.length; i++) x[i] *= scale;
  if (known && !(mask && strength === 1)) x = new Float32Array(noisy(times[0]));
  for (const [i, t] of times.entries()) {
    work.signal?.throwIfAborted();
    const start = performance.now();
    const input = scheduler.scaleModelInput?.(tensor(x), t) ?? tensor(x);
    const output = await work.network(typed(input, job.type), t);
    const evaluated = performance.now();
    work.clock.network.push(evaluated - start);
    let taken = output.data as Float32Array;
    if (!own || output.type !== 'float32') {
      taken = new Float32Array(x.length);
      convert(output.data as NetworkArray, taken);
    }
    const looked = performance.now();
    work.watch?.see(input, tensor(taken), work.watch.timeOf(t));
    const ready = evaluated + performance.now() - looked;
    const made = scheduler.step(tensor(taken), t, tensor(x));
    const next = Array.isArray(made) ? made[0] : 'prevSample' in made ? made.prevSample : made;
    x = (next as Tensor).data as Float32Array;
    if (!own) x = new Float32Array(x);
    if (mask && known) keep(x, i + 1 < times.length ? noisy(times[i + 1]) : known, mask);
    work.clock.step.push(performance.now() - ready);
    work.watch?.tell({ step: i + 1, steps: times.length, nfe: i + 1, t, x: tensor(x) });
  }
  // Our own have looked.
  if (!own && x.some((value) => !Number.isFinite(value))) {
    throw new Error('Expected finite numbers from the scheduler but received NaN or Infinity');
  }
  return { sample: x, nfe: times.length };
}
