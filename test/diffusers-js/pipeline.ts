// A pipeline that makes the calls of diffusers.js' StableDiffusionPipeline in their order, over tensors like its own: a
// proxy around { type, data, dims } whose operators copy first and then work in place, element by element.
import type { SchedulerConfig } from '../../lib/schedulers/index.js';

export const counts = { operators: 0 };

export class JsTensor {
  type: string;
  data: Float32Array;
  dims: number[];

  constructor(type: string, data: ArrayLike<number>, dims: number[]) {
    this.type = type;
    this.data = data instanceof Float32Array ? data : Float32Array.from(data);
    this.dims = dims;
    // biome-ignore lint/correctness/noConstructorReturn: as transformers.js does, so that tensor[0] is a sub-tensor
    return new Proxy(this, {
      get(target, key) {
        if (typeof key === 'string' && Number.isInteger(Number(key)))
          return target.slice([Number(key), Number(key) + 1]);
        // A symbol is a TypeError here, as it is in transformers.js 2.6, unless the tensor has it.
        if (typeof key === 'symbol' && !(key in target))
          throw new TypeError('Cannot convert a Symbol value to a number');
        return target[key as keyof JsTensor];
      },
    });
  }

  clone(): JsTensor {
    return new JsTensor(this.type, this.data.slice(), this.dims.slice());
  }
  slice([from, to]: [number, number]): JsTensor {
    const n = this.data.length / this.dims[0];
    return new JsTensor(this.type, this.data.slice(from * n, to * n), [to - from, ...this.dims.slice(1)]);
  }
  private apply(value: JsTensor | number, f: (a: number, b: number) => number): JsTensor {
    counts.operators++;
    if (typeof value !== 'number' && !(value instanceof JsTensor)) throw new Error('Invalid argument');
    const copy = this.clone();
    const { data } = copy;
    for (let i = 0; i < data.length; i++) data[i] = f(data[i], typeof value === 'number' ? value : value.data[i]);
    return copy;
  }
  add(value: JsTensor | number): JsTensor {
    return this.apply(value, (a, b) => a + b);
  }
  sub(value: JsTensor | number): JsTensor {
    return this.apply(value, (a, b) => a - b);
  }
  mul(value: JsTensor | number): JsTensor {
    return this.apply(value, (a, b) => a * b);
  }
  div(value: JsTensor | number): JsTensor {
    return this.apply(value, (a, b) => a / b);
  }
  clipByValue(low: number, high: number): JsTensor {
    return this.apply(0, (a) => Math.min(Math.max(a, low), high));
  }
}

function cat(tensors: JsTensor[]): JsTensor {
  const data = new Float32Array(tensors.reduce((sum, t) => sum + t.data.length, 0));
  let at = 0;
  for (const t of tensors) {
    data.set(t.data, at);
    at += t.data.length;
  }
  return new JsTensor('float32', data, [tensors.reduce((sum, t) => sum + t.dims[0], 0), ...tensors[0].dims.slice(1)]);
}

export interface JsScheduler {
  config: SchedulerConfig;
  timesteps: { data: ArrayLike<number> & Iterable<number> };
  setTimesteps(n: number): void;
  step(output: JsTensor, t: number, x: JsTensor): JsTensor;
  addNoise(x0: JsTensor, noise: JsTensor, t: number): JsTensor;
}

/** tanh(0.7 x) + 0.1 cos(t / 200) + 0.05 c sin(x), with c = 0 for the first of two. */
function unet(feeds: { sample: JsTensor; timestep: JsTensor }): { out_sample: JsTensor } {
  const { data, dims } = feeds.sample;
  const t = feeds.timestep.data[0];
  const n = data.length / dims[0];
  const out = new Float32Array(data.length);
  for (let i = 0; i < out.length; i++) {
    const c = i < n && dims[0] === 2 ? 0 : 1;
    out[i] = Math.tanh(0.7 * data[i]) + 0.1 * Math.cos(t / 200) + 0.05 * c * Math.sin(data[i]);
  }
  return { out_sample: new JsTensor('float32', out, dims) };
}

export class JsPipeline {
  scheduler: JsScheduler;
  unet = {
    run: async (feeds: Record<string, unknown>): Promise<Record<string, unknown>> => unet(feeds as never) as never,
  };
  vaeDecoder = {
    config: { scaling_factor: 0.13025 },
    run: async (feeds: Record<string, unknown>): Promise<Record<string, unknown>> => {
      const { data, dims } = feeds.latent_sample as JsTensor;
      return {
        sample: new JsTensor(
          'float32',
          data.map((x) => Math.sin(x)),
          dims,
        ),
      };
    },
  };

  constructor(scheduler: JsScheduler) {
    this.scheduler = scheduler;
  }

  async run(input: { steps: number; guidanceScale: number; latents: JsTensor; image?: JsTensor; strength?: number }) {
    this.scheduler.setTimesteps(input.steps);
    let { latents } = input;
    let timesteps = Array.from(this.scheduler.timesteps.data);
    if (input.image) {
      const strength = input.strength ?? 0.8;
      const kept = Math.round(input.steps * strength);
      latents = this.scheduler.addNoise(input.image, latents, [...timesteps].reverse()[kept]);
      timesteps = timesteps.slice(Math.max(input.steps - kept, 0));
    }
    const guided = input.guidanceScale > 1;
    for (const step of timesteps) {
      BigInt(step);
      const timestep = new JsTensor('float32', [step], [1]);
      const sample = guided ? cat([latents, latents.clone()]) : latents;
      const noise = (await this.unet.run({ sample, timestep })) as { out_sample: JsTensor };
      let prediction = noise.out_sample;
      if (guided) {
        const [uncond, text] = [prediction.slice([0, 1]), prediction.slice([1, 2])];
        prediction = uncond.add(text.sub(uncond).mul(input.guidanceScale));
      }
      latents = this.scheduler.step(prediction, step, latents);
    }
    return { latents, images: await this.makeImages(latents) };
  }

  async makeImages(latents: JsTensor): Promise<JsTensor[]> {
    const scaled = latents.div(this.vaeDecoder.config.scaling_factor || 0.18215);
    const decoded = (await this.vaeDecoder.run({ latent_sample: scaled })) as { sample: JsTensor };
    return [decoded.sample.div(2).add(0.5).clipByValue(0, 1)];
  }
}
