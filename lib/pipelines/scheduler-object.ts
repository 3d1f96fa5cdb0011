// The loop around a scheduler object: one of ours, or anything that has a diffusers scheduler's members.
import { convert } from '../addon/native.js';
import type { NetworkArray, Tensor } from '../base/tensor.js';
import type { TimestepOptions } from '../schedulers/request.js';
import { Scheduler } from '../schedulers/scheduler.js';
import type { NetworkType, Shape } from './denoiser.js';
import type { Work } from './drive.js';
import { typed } from './latents.js';
import { keep, type Mask } from './mask.js';
import type { SchedulerLike } from './options.js';
import type { Parts } from './parts.js';
import { tokensOf } from './plan.js';

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
  /** Of every sample's noise. */
  seeds: readonly number[];
  /** What one of our schedulers is asked for, by its class. */
  request: (scheduler: Scheduler) => TimestepOptions;
  /** What the network is told for a timestep of 1. */
  unit: number;
}

/**
 * What a scheduler object has to know of the folder: the network of a flow is told the time, of which timesteps are
 * thousandths, and dynamic shifting goes by the picture's size.
 */
export function schedulingOf(parts: Parts, steps: number, shape: Shape): Pick<SchedulerJob, 'request' | 'unit'> {
  const { scheduler: own, training, denoiser } = parts;
  const mu = own.mu(tokensOf(parts, shape));
  const count = own.config.num_train_timesteps;
  return {
    unit: training.modelType === 'flow' ? 1 / (typeof count === 'number' ? count : 1000) : 1,
    request: ({ config }) => ({
      // Flux' pipeline spaces the times itself where the scheduler is one of flows alone.
      ...(denoiser.kind === 'flux' && String(config._class_name).startsWith('FlowMatch')
        ? { sigmas: Array.from({ length: steps }, (_, i) => 1 - (i * (1 - 1 / steps)) / Math.max(steps - 1, 1)) }
        : { steps }),
      ...(mu !== undefined && config.use_dynamic_shifting === true ? { mu } : {}),
    }),
  };
}

/** Others' scheduler objects that a call is using. */
const busy = new WeakSet<SchedulerLike>();

export async function driveScheduler(job: SchedulerJob, work: Work): Promise<{ sample: Float32Array; nfe: number }> {
  // A run is in the object: ours is another for every call, so that calls at the same time do not meet.
  if (job.scheduler instanceof Scheduler) return driven({ ...job, scheduler: job.scheduler.clone() }, work);
  if (busy.has(job.scheduler)) {
    throw new Error('Expected one call at a time for a scheduler object but another call is using this one');
  }
  busy.add(job.scheduler);
  try {
    return await driven(job, work);
  } finally {
    busy.delete(job.scheduler);
  }
}

async function driven(job: SchedulerJob, work: Work): Promise<{ sample: Float32Array; nfe: number }> {
  const { scheduler, steps, strength, noise, known, mask, dims, unit, seeds } = job;
  if (scheduler instanceof Scheduler) scheduler.setTimesteps(job.request(scheduler));
  else scheduler.setTimesteps(steps);
  const { timesteps } = scheduler;
  const all = Array.from('data' in timesteps ? timesteps.data : timesteps, Number);
  // As diffusers counts: so many of the steps, each of `order` evaluations.
  const left = Math.min(Math.max(1, Math.floor(steps * strength + 1e-6)), steps);
  const order = scheduler instanceof Scheduler ? scheduler.order : 1;
  const begin = known ? Math.min(all.length - 1, (steps - left) * order) : 0;
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
    const output = await work.network(typed(input, job.type), unit === 1 ? t : t * unit, work.signal);
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
    const made =
      scheduler instanceof Scheduler
        ? scheduler.step(tensor(taken), t, tensor(x), { seed: seeds })
        : scheduler.step(tensor(taken), t, tensor(x));
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
