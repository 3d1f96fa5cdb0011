// What onStep is told: the run's progress, and what the network took the result to be.
import { type Listener, listening } from '../base/listener.js';
import type { Tensor } from '../base/tensor.js';
import { toImages } from '../image/image.js';
import type { NoiseSchedule } from '../schedule/noise-schedule.js';
import { timeOfSigma } from '../schedule/sigmas.js';
import type { Training } from '../schedulers/network.js';
import type { Shape } from './denoiser.js';
import { predictX0 } from './guidance.js';
import type { CommonOptions, Progress } from './options.js';
import type { Parts } from './parts.js';
import { tokensOf, trainingStepsOf } from './shape.js';

type Count = Pick<Progress, 'step' | 'steps' | 'batch' | 'batches'>;

export interface WatchOptions {
  /** Of the run; what the network was trained on where that is a scheduler's. */
  readonly schedule: NoiseSchedule | undefined;
  /** Of classifier-free guidance, where the network's output is unconditional and conditional. */
  readonly scale: number | undefined;
  /** Pictures of a batch: an evaluation of no more has the conditional output alone. */
  readonly samples?: number;
  readonly shape: Shape;
  /** Is the grid the one that `denoisingStart` counts by? */
  readonly resumable?: boolean;
  /** Told how far it is. */
  readonly count?: (progress: Count) => void;
}

/** Passes progress on, with what the network took the result to be. */
export class Watch {
  readonly #previewer: Parts['previewer'];
  readonly #listener: Listener<Progress> | undefined;
  readonly #count: ((progress: Count) => void) | undefined;
  readonly #place: { batch: number; batches: number };
  /** undefined for networks that the solver's schedules have no place for. */
  readonly #training: { schedule: NoiseSchedule; modelType: Training['modelType'] } | undefined;
  readonly #scale: number | undefined;
  readonly #samples: number | undefined;
  /** The network's training steps, and how many of them are 1 of what it is told; undefined where a run cannot be gone on with. */
  readonly #labels: { steps: number; unit: number } | undefined;
  #x0: Float32Array | undefined;
  #share: number | undefined;

  /** Listens for all batches of a call. */
  static listen(onStep: NonNullable<CommonOptions['onStep']>): Listener<Progress> {
    return listening(onStep);
  }

  /** @param listener told all; what the network took the result to be is worked out for it only */
  constructor(
    parts: Parts,
    listener: Listener<Progress> | undefined,
    place: { batch: number; batches: number },
    { schedule, scale, samples, shape, count, resumable = false }: WatchOptions,
  ) {
    this.#previewer = parts.previewer;
    this.#count = count;
    this.#listener = listener;
    this.#place = place;
    const training = trainingOf(parts);
    const own = schedule ?? training?.scheduleFor?.(tokensOf(parts, shape)) ?? training?.schedule;
    this.#training = training && own && { schedule: own, modelType: training.modelType };
    this.#scale = scale;
    this.#samples = samples;
    const labels = own?.kind === 'flow' ? { steps: 1000, unit: 1000 } : { steps: trainingStepsOf(parts), unit: 1 };
    this.#labels = resumable && own ? labels : undefined;
  }

  /** Is there somebody to be told more than how far it is? */
  get listens(): boolean {
    return this.#listener !== undefined;
  }

  /** Counts a step that nobody looks at. */
  count(step: number): void {
    this.#count?.({ step, steps: 0, ...this.#place });
  }

  /**
   * Looks at an evaluation.
   *
   * @param told what the network was told as its time
   */
  see(x: Tensor, output: Tensor, time: number | undefined, told: number): void {
    if (!this.#listener) return;
    this.#share = this.#labels && shareOf(told, this.#labels);
    const known = time !== undefined && this.#training;
    this.#x0 = known
      ? predictX0(x, output, known, time, x.dims[0] === this.#samples ? undefined : this.#scale)
      : undefined;
  }

  /** The schedule's time for what a network is told, a flow's being sigma, where the two go together. */
  timeOf(t: number): number | undefined {
    if (!this.#training) return undefined;
    const { schedule } = this.#training;
    if (schedule.kind === 'flow') return t > 0 && t <= 1 ? timeOfSigma(schedule, t, 'the time') : undefined;
    const [low, high] = [schedule.epsilon, schedule.T];
    const [first, last] = [schedule.modelTime(low), schedule.modelTime(high)];
    const time = low + ((high - low) * (t - first)) / (last - first);
    return schedule.kind === 'discrete' && time >= low && time <= high ? time : undefined;
  }

  tell(progress: Omit<Progress, 'batch' | 'batches' | 'share' | 'x0' | 'preview'>): void {
    this.#count?.({ ...progress, ...this.#place });
    if (!this.#listener) return;
    const data = this.#x0;
    const { dims } = progress.x;
    const preview: Progress['preview'] = async ({ decode: decoded = false } = {}) => {
      const previewer = this.#previewer;
      if (!data) return [];
      if (!previewer) return toImages(data, dims);
      return decoded ? previewer.decoded({ data, dims }) : previewer.images({ data, dims });
    };
    const x0 = data && ({ type: 'float32', data, dims } as Tensor);
    const share = this.#share === undefined ? {} : { share: this.#share };
    this.#listener.tell({ ...progress, ...this.#place, ...share, ...(x0 ? { x0 } : {}), preview });
  }
}

/** The share that leaves all times after this one, counted as `denoisingStart` is; undefined beyond its ends. */
function shareOf(told: number, { steps, unit }: { steps: number; unit: number }): number | undefined {
  // Times of float32 may be a little below the whole number that they stand for.
  const share = 1 - Math.floor(told * unit + 1e-3) / steps;
  return share >= 0 && share < 1 ? share : undefined;
}

function trainingOf({ scheduler }: Parts): Training | undefined {
  try {
    return scheduler.training;
  } catch {
    return undefined;
  }
}
