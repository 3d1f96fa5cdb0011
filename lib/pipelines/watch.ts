// What onStep is told: the run's progress, and what the network took the result to be.
import type { Tensor } from '../base/tensor.js';
import type { NoiseSchedule } from '../schedule/noise-schedule.js';
import type { Training } from '../schedulers/network.js';
import { predictX0 } from './guidance.js';
import { glimpse } from './latents.js';
import type { CommonOptions, Progress } from './options.js';
import type { Parts } from './parts.js';

type Count = Pick<Progress, 'step' | 'steps' | 'batch' | 'batches'>;

/** Passes progress on, with what the network took the result to be. */
export class Watch {
  readonly #vae: Parts['vae'];
  readonly #onStep: CommonOptions['onStep'];
  readonly #count: ((progress: Count) => void) | undefined;
  readonly #place: { batch: number; batches: number };
  readonly #training: { schedule: NoiseSchedule; modelType: Training['modelType'] };
  readonly #scale: number | undefined;
  #x0: Float32Array | undefined;

  /**
   * @param onStep told all; what the network took the result to be is worked out for it only
   * @param scale of classifier-free guidance, where the network's output is unconditional and conditional
   * @param count told how far it is
   */
  constructor(
    { vae, training }: Parts,
    onStep: CommonOptions['onStep'],
    place: { batch: number; batches: number },
    schedule: NoiseSchedule,
    scale: number | undefined,
    count?: (progress: Count) => void,
  ) {
    this.#vae = vae;
    this.#count = count;
    this.#onStep = onStep;
    this.#place = place;
    this.#training = { schedule, modelType: training.modelType };
    this.#scale = scale;
  }

  /** Looks at an evaluation. */
  see(x: Tensor, output: Tensor, time: number | undefined): void {
    if (!this.#onStep) return;
    this.#x0 = time === undefined ? undefined : predictX0(x, output, this.#training, time, this.#scale);
  }

  /** The schedule's time for what a network is told, where the two go together. */
  timeOf(t: number): number | undefined {
    const { schedule } = this.#training;
    const [low, high] = [schedule.epsilon, schedule.T];
    const [first, last] = [schedule.modelTime(low), schedule.modelTime(high)];
    const time = low + ((high - low) * (t - first)) / (last - first);
    return schedule.kind === 'discrete' && time >= low && time <= high ? time : undefined;
  }

  tell(progress: Omit<Progress, 'batch' | 'batches' | 'x0' | 'preview'>): void {
    this.#count?.({ ...progress, ...this.#place });
    if (!this.#onStep) return;
    const data = this.#x0;
    const { dims } = progress.x;
    const preview: Progress['preview'] = async ({ decode: decoded = false } = {}) =>
      data ? glimpse(this.#vae, { data, dims }, decoded ? 'decode' : 'project') : [];
    const x0 = data && ({ type: 'float32', data, dims } as Tensor);
    this.#onStep({ ...progress, ...this.#place, ...(x0 ? { x0 } : {}), preview });
  }
}
