// The loop around a scheduler object: one of ours, or anything that has a diffusers scheduler's members.
import { convert } from '../addon/native.js';
import { outOfRange } from '../base/check.js';
import type { NetworkArray, Tensor } from '../base/tensor.js';
import { muOf } from '../schedulers/network.js';
import type { TimestepOptions } from '../schedulers/request.js';
import { Scheduler } from '../schedulers/scheduler.js';
import type { NetworkType, Shape } from './denoiser.js';
import type { Work } from './drive.js';
import { typed } from './latents.js';
import { keep, type Mask } from './mask.js';
import type { SchedulerLike } from './options.js';
import type { Parts } from './parts.js';
import type { Request } from './request.js';
import { tokensOf, trainingStepsOf } from './shape.js';
import { evaluationsOf } from './span.js';

/** A call whose pictures a scheduler object makes. */
export interface SchedulerPlan {
  readonly scheduler: SchedulerLike;
  /** What the network is told for a timestep of 1. */
  readonly unit: number;
  /** Evaluations of a batch, as far as is known before its first. */
  readonly steps: number;
  /** A scheduler of a batch's own, and the evaluations that it makes. */
  begin(): Begun;
}

/** A scheduler whose timesteps are set. */
interface Begun {
  readonly scheduler: SchedulerLike;
  /** All of them. */
  readonly timesteps: readonly number[];
  /** Those that are gone through: from the first index up to but without the last one. */
  readonly first: number;
  readonly end: number;
}

/** Classes that take the times of Flux' pipeline, which spaces them itself. */
const SPACED_BY_FLUX = ['FlowMatchEulerDiscreteScheduler', 'FlowMatchLCMScheduler'];

/**
 * Plans the run of a scheduler object.
 *
 * @throws what setTimesteps of ours throws, and RangeError where nothing is left to be made
 */
export function schedulerPlanOf(
  parts: Parts,
  scheduler: SchedulerLike,
  { steps, span, mask }: Pick<Request, 'steps' | 'span' | 'mask'>,
  shape: Shape,
): SchedulerPlan {
  const { denoiser, flow } = parts;
  const ours = scheduler instanceof Scheduler;
  const order = ours ? scheduler.order : 1;
  // The pipeline of consistency models makes their schedule for what a picture's strength leaves.
  const shortens = ours && denoiser.facts.guidanceWidth > 0 && span.strength < 1 && isDistilled(scheduler);
  const trainingSteps = flow ? 1000 : trainingStepsOf(parts);
  const begin = (): Begun => {
    // A run is in the object: ours is another for every batch, so that calls at the same time do not meet.
    const own = ours ? scheduler.clone() : scheduler;
    if (own instanceof Scheduler) {
      const request = requestOf(own, parts, steps, shape);
      own.setTimesteps(shortens ? { ...request, strength: span.strength } : request);
    } else own.setTimesteps(steps);
    const timesteps = labelsOf(own);
    const [first, end] = shortens
      ? [0, timesteps.length]
      : evaluationsOf(span, { steps, labels: timesteps, order, trainingSteps, kind: denoiser.kind });
    return { scheduler: own, timesteps, first, end };
  };
  // Another's scheduler is told once, when the call is made.
  const begun = ours ? begin() : undefined;
  if ((span.known || mask) && !scheduler.addNoise) {
    throw new TypeError('Expected a scheduler with addNoise for image and mask');
  }
  return { scheduler, unit: flow ? 1 / 1000 : 1, steps: begun ? begun.end - begun.first : steps, begin };
}

/** What one of our schedulers is asked for, by its class. */
function requestOf({ config }: Scheduler, parts: Parts, steps: number, shape: Shape): TimestepOptions {
  const mu = muOf(config, tokensOf(parts, shape));
  const spaced = parts.denoiser.kind === 'flux' && SPACED_BY_FLUX.includes(String(config._class_name));
  return {
    ...(spaced
      ? { sigmas: Array.from({ length: steps }, (_, i) => 1 - (i * (1 - 1 / steps)) / Math.max(steps - 1, 1)) }
      : { steps }),
    ...(mu === undefined ? {} : { mu }),
  };
}

function isDistilled(scheduler: Scheduler): boolean {
  return (scheduler.constructor as typeof Scheduler).rules.distillation === true;
}

function labelsOf({ timesteps }: SchedulerLike): number[] {
  const labels = Array.from('data' in timesteps ? timesteps.data : timesteps, Number);
  if (labels.length === 0) throw outOfRange('at least one timestep', 'the timesteps of the scheduler', 'none');
  return labels;
}

/** Have the steps of a scheduler a share of noise that the caller chooses? */
export function takesEta(scheduler: SchedulerLike | undefined): boolean {
  return (
    scheduler instanceof Scheduler && ['DDIMScheduler', 'TCDScheduler'].includes(String(scheduler.config._class_name))
  );
}

/** What a batch is made with. */
export interface SchedulerJob {
  readonly plan: SchedulerPlan;
  /** What the network takes. */
  readonly type: NetworkType;
  readonly noise: Float32Array;
  /** Where the run starts from pictures or latents. */
  readonly known: Float32Array | undefined;
  /** Is there noise in `known` already? */
  readonly noisy: boolean;
  /** Is what a mask covers made from noise alone? */
  readonly fresh: boolean;
  readonly mask: Mask | undefined;
  readonly dims: readonly number[];
  /** Of every sample's noise. */
  readonly seeds: readonly number[];
  /** The share of noise of steps that have one. */
  readonly eta: number;
}

/** Others' scheduler objects that a call is using. */
const busy = new WeakSet<SchedulerLike>();

/** Drives a scheduler through a batch. */
export async function driveScheduler(job: SchedulerJob, work: Work): Promise<{ sample: Float32Array; nfe: number }> {
  const { scheduler } = job.plan;
  if (scheduler instanceof Scheduler) return driven(job, work);
  if (busy.has(scheduler)) {
    throw new Error('Expected one call at a time for a scheduler object but another call is using this one');
  }
  busy.add(scheduler);
  try {
    return await driven(job, work);
  } finally {
    busy.delete(scheduler);
  }
}

async function driven(job: SchedulerJob, work: Work): Promise<{ sample: Float32Array; nfe: number }> {
  const { plan, noise, known, mask, dims, seeds, eta } = job;
  const { scheduler, timesteps, first, end } = plan.begin();
  const times = timesteps.slice(first, end);
  const tensor = (data: Float32Array) => ({ type: 'float32', data, dims }) as Tensor;
  const noisy = (t: number): Float32Array => {
    return scheduler.addNoise!(tensor(known as Float32Array), tensor(noise), t).data as Float32Array;
  };
  if (first > 0) scheduler.setBeginIndex?.(first);
  // Another's scheduler may keep what it is given, and give what it keeps.
  const own = scheduler instanceof Scheduler;
  const scale = scheduler.initNoiseSigma ?? 1;
  let x: Float32Array = new Float32Array(noise);
  if (scale !== 1) for (let i = 0; i < x.length; i++) x[i] *= scale;
  if (known && job.noisy) x = new Float32Array(known);
  else if (known && !job.fresh) x = new Float32Array(noisy(times[0]));
  for (const [i, t] of times.entries()) {
    work.signal?.throwIfAborted();
    const start = performance.now();
    const input = scheduler.scaleModelInput?.(tensor(x), t) ?? tensor(x);
    const output = await work.network(typed(input, job.type), plan.unit === 1 ? t : t * plan.unit, work.signal);
    const evaluated = performance.now();
    work.clock.network.push(evaluated - start);
    let taken = output.data as Float32Array;
    if (!own || output.type !== 'float32') {
      taken = new Float32Array(x.length);
      convert(output.data as NetworkArray, taken);
    }
    const looked = performance.now();
    work.watch?.see(input, tensor(taken), work.watch.timeOf(t * plan.unit), t * plan.unit);
    const ready = evaluated + performance.now() - looked;
    const made =
      scheduler instanceof Scheduler
        ? scheduler.step(tensor(taken), t, tensor(x), { seed: seeds, eta })
        : scheduler.step(tensor(taken), t, tensor(x));
    const next = Array.isArray(made) ? made[0] : 'prevSample' in made ? made.prevSample : made;
    x = (next as Tensor).data as Float32Array;
    if (!own) x = new Float32Array(x);
    if (mask && known) keep(x, first + i + 1 < timesteps.length ? noisy(timesteps[first + i + 1]) : known, mask);
    work.clock.step.push(performance.now() - ready);
    work.watch?.tell({ step: i + 1, steps: times.length, nfe: i + 1, t, x: tensor(x) });
  }
  // Our own have looked.
  if (!own && x.some((value) => !Number.isFinite(value))) {
    throw new Error('Expected finite numbers from the scheduler but received NaN or Infinity');
  }
  return { sample: x, nfe: times.length };
}
