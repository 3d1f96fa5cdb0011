// A pipeline of diffusers.js with DPM-Solver++ and with what surrounds its scheduler fused.
import { knownOptions, wrongType } from '../base/check.js';
import type { Tensor } from '../base/tensor.js';
import { DPMSolverMultistepScheduler, type Scheduler, type SchedulerConfig } from '../schedulers/index.js';

/** What {@link accelerate} touches of a pipeline: those of diffusers.js have it. */
export interface AcceleratedPipeline {
  /** Replaced; its configuration is what the new one is made of. */
  scheduler: {
    /** scheduler_config.json of the network. */
    config: SchedulerConfig;
  };
  /** Its outputs are recorded under guidance. */
  unet: {
    /** Gives `out_sample` for `sample`. */
    run(feeds: Record<string, unknown>): Promise<Record<string, unknown>>;
  };
  /** Latents to pixels. */
  vaeDecoder?: {
    /** Gives `sample` for `latent_sample`. */
    run(feeds: Record<string, unknown>): Promise<Record<string, unknown>>;
    /** May have `scaling_factor`; 0.18215. */
    config?: object;
  };
  /** Replaced, where there is a decoder. */
  makeImages?: (latents: never) => Promise<unknown>;
}

/** What {@link accelerate} does. */
export interface AccelerateOptions {
  /** The scheduler, or its class; DPMSolverMultistepScheduler. */
  scheduler?:
    | Scheduler
    | {
        /** Makes one from the pipeline's configuration and {@link AccelerateOptions.config}. */
        fromConfig(config: SchedulerConfig, overrides?: SchedulerConfig): Scheduler;
      };
  /** Keys that replace those of the pipeline's scheduler configuration, such as `{ use_karras_sigmas: true }`. */
  config?: SchedulerConfig;
  /** Fuse the guidance arithmetic into the step; true. */
  guidance?: boolean;
  /** Fuse the arithmetic before and after the VAE's decoder; true. */
  images?: boolean;
}

/** A tensor of diffusers.js, as far as it is used here. */
interface JsTensor extends Tensor {
  readonly data: Float32Array;
  readonly dims: number[];
  slice(range: [number, number]): JsTensor;
  add(other: JsTensor): JsTensor;
  sub(other: JsTensor): JsTensor;
  mul(factor: number): JsTensor;
}

/** Network outputs of both halves of a batch, and the scale that their difference is to be multiplied with. */
interface Guided {
  readonly doubled: JsTensor;
  readonly scale: number;
  /** Has somebody got the sum's own numbers? What is written to those counts. */
  readonly handedOut: () => boolean;
}

/**
 * Swaps a diffusers.js pipeline's scheduler, and fuses the arithmetic that sits outside it.
 *
 *     const pipe = await DiffusionPipeline.fromPretrained(id);
 *     const { restore } = accelerate(pipe);
 *
 * These pipelines take the network's output apart and put it together again for guidance, in five passes over tensors
 * whose elements are reached through a proxy. Here those five calls are recorded instead, and the scheduler's step gets
 * both halves and the scale; anything else that is done with the output sees the tensor it would have seen.
 *
 * @returns `restore`, which undoes everything, and the scheduler
 * @throws TypeError for what is no such pipeline, and for one whose network DPM-Solver cannot follow (LCM)
 */
export function accelerate(
  pipe: AcceleratedPipeline,
  options: AccelerateOptions = {},
): {
  /** What the pipeline steps with now. */
  scheduler: Scheduler;
  /** Puts back everything that was there. */
  restore(): void;
} {
  knownOptions(options, ['scheduler', 'config', 'guidance', 'images'], 'accelerate');
  if (typeof pipe?.unet?.run !== 'function' || typeof pipe.scheduler?.config !== 'object') {
    throw wrongType('a diffusers.js pipeline (with unet.run and scheduler.config)', 'pipe', pipe);
  }
  const { scheduler: wanted = DPMSolverMultistepScheduler, config, guidance = true, images = true } = options;
  const scheduler = 'fromConfig' in wanted ? wanted.fromConfig(pipe.scheduler.config, config) : wanted;
  const undo: (() => void)[] = [];
  // Methods are replaced on the instance, so that undoing uncovers what the class or the caller had there.
  const replace = <T extends object, K extends keyof T>(owner: T, key: K, value: T[K]) => {
    const own = Object.getOwnPropertyDescriptor(owner, key);
    owner[key] = value;
    undo.push(() => {
      if (own) Object.defineProperty(owner, key, own);
      else delete owner[key];
    });
  };

  if (guidance) {
    const guided = new WeakMap<object, Guided>();
    const run = pipe.unet.run.bind(pipe.unet);
    replace(pipe.unet, 'run', async (feeds) => {
      const outputs = await run(feeds);
      const out = outputs.out_sample as JsTensor | undefined;
      const dims = out?.dims;
      if (!out || !dims || dims[0] !== 2) return outputs;
      return { ...outputs, out_sample: record(out, dims, guided) };
    });
    const step = scheduler.step.bind(scheduler);
    replace(scheduler, 'step', (output, t, x, stepOptions) => {
      const pair = guided.get(output);
      return pair && !pair.handedOut()
        ? step(pair.doubled, t, x, { ...stepOptions, guidanceScale: pair.scale })
        : step(output, t, x, stepOptions);
    });
  }
  if (images && typeof pipe.makeImages === 'function' && pipe.vaeDecoder) {
    const decoder = pipe.vaeDecoder;
    replace(pipe, 'makeImages', ((latents: JsTensor) => decode(decoder, latents)) as typeof pipe.makeImages);
  }
  replace(pipe, 'scheduler', scheduler);
  return {
    scheduler,
    restore() {
      for (const step of undo.splice(0).reverse()) step();
    },
  };
}

/** The VAE's decoder between one pass over the latents and one over the picture: to [0, 1], clipped. */
async function decode(decoder: NonNullable<AcceleratedPipeline['vaeDecoder']>, latents: JsTensor): Promise<JsTensor[]> {
  const { scaling_factor: factor } = (decoder.config ?? {}) as { scaling_factor?: number };
  const { data, dims } = latents;
  // Stable Diffusion's factor, which older exports leave out.
  const scale = factor || 0.18215;
  const scaled = make(
    latents,
    data.map((value) => value / scale),
    dims,
  );
  const { sample } = (await decoder.run({ latent_sample: scaled })) as { sample: JsTensor };
  const picture = sample.data;
  const pixels = new Float32Array(picture.length);
  for (let i = 0; i < pixels.length; i++) {
    const value = Math.fround(picture[i] / 2 + 0.5);
    pixels[i] = value < 0 ? 0 : value > 1 ? 1 : value;
  }
  return [make(sample, pixels, sample.dims)];
}

function make(like: JsTensor, data: Float32Array, dims: number[]): JsTensor {
  return new (like.constructor as new (type: string, data: Float32Array, dims: number[]) => JsTensor)('float32', data, [
    ...dims,
  ]);
}

/** Calls that are answered with a recording; all else goes to the tensor. */
type Answers = Partial<Record<'slice' | 'add' | 'sub' | 'mul', (argument: never) => JsTensor>>;

/** A stand-in, and whether the tensor that it stands for had to be made. */
interface Lazy {
  readonly tensor: JsTensor;
  /** The tensor itself, made now if it was not. */
  readonly make: () => JsTensor;
  readonly made: () => boolean;
}

/**
 * Stands in for a tensor that is made only if something asks for more than `answers` has. A proxy with the tensor's
 * prototype, so that `instanceof` and every method work on it.
 */
function lazy(prototype: object, tensor: () => JsTensor, answers: Answers): Lazy {
  let made: JsTensor | undefined;
  const make = () => {
    made ??= tensor();
    return made;
  };
  const stand = new Proxy(Object.create(prototype) as JsTensor, {
    get(_, key) {
      const answer = answers[key as keyof Answers];
      if (answer && made === undefined) return answer;
      const value = Reflect.get(make(), key) as unknown;
      return typeof value === 'function' ? value.bind(make()) : value;
    },
    set: (_, key, value) => Reflect.set(make(), key, value),
    has: (_, key) => Reflect.has(make(), key),
  });
  return { tensor: stand, make, made: () => made !== undefined };
}

/**
 * Records uncond.add(cond.sub(uncond).mul(scale)) on the halves of `out`. Who gets at a tensor's numbers may write to them:
 * from then on it is what it was made into, and so is all that was recorded from it before.
 */
function record(out: JsTensor, dims: readonly number[], guided: WeakMap<object, Guided>): JsTensor {
  const prototype = Object.getPrototypeOf(out) as object;
  const scales = new WeakMap<object, { scale: number; again: () => JsTensor; made: () => boolean }>();
  const recorded: Lazy[] = [];
  // From the halves each time: what stands between may have been written to since.
  const halves = () => [out.slice([0, 1]), out.slice([1, 2])] as const;
  const later = (tensor: () => JsTensor, answers: Answers = {}): Lazy => {
    const one = lazy(prototype, tensor, answers);
    recorded.push(one);
    return one;
  };
  const isHalf = (range: unknown, k: number) => Array.isArray(range) && range[0] === k && range[1] === k + 1;
  const uncond: Lazy = later(() => halves()[0], {
    add: (scaled: JsTensor) => {
      const found = scales.get(scaled);
      if (!found || found.made()) return halves()[0].add(scaled);
      const sum = later(() => halves()[0].add(found.again()));
      guided.set(sum.tensor, { doubled: out, scale: found.scale, handedOut: sum.made });
      return sum.tensor;
    },
  });
  const cond: Lazy = later(() => halves()[1], {
    sub: (other: JsTensor) => {
      if (other !== uncond.tensor || uncond.made()) return halves()[1].sub(other);
      const difference = () => {
        const [unconditional, conditional] = halves();
        return conditional.sub(unconditional);
      };
      return later(difference, {
        mul: (scale: number) => {
          const again = () => difference().mul(scale);
          const scaled = later(again);
          scales.set(scaled.tensor, { scale, again, made: scaled.made });
          return scaled.tensor;
        },
      }).tensor;
    },
  });
  let sliced = false;
  const whole = () => {
    // Slices are copies: what is written to the whole from now on does not change them.
    if (sliced) for (const one of recorded) one.make();
    return out;
  };
  return lazy(prototype, whole, {
    slice: (range: unknown) => {
      sliced = true;
      if (dims[0] === 2 && isHalf(range, 0)) return uncond.tensor;
      if (dims[0] === 2 && isHalf(range, 1)) return cond.tensor;
      return out.slice(range as [number, number]);
    },
  }).tensor;
}
