// What diffusers.js (github.com/dakenf/diffusers.js) does with a scheduler, in its order, with a tensor class that is a
// proxy as its own is.
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import * as schedulers from '../../lib/schedulers/index.js';
import { noise } from '../support.js';

const reads = new Map<unknown, string[]>();

/** A tensor behind a proxy that notes which of its members are read. */
class ProxyTensor {
  declare readonly type: string;
  declare readonly data: Float32Array;
  declare readonly dims: number[];
  constructor(type: string, data: Float32Array, dims: number[]) {
    Object.assign(this, { type, data, dims });
    // biome-ignore lint/correctness/noConstructorReturn: as the class that this stands for does
    return new Proxy(this, {
      get(target, key, receiver) {
        const list = reads.get(target.data) ?? [];
        list.push(String(key));
        reads.set(target.data, list);
        return Reflect.get(target, key, receiver);
      },
    });
  }
}

const dims = [1, 4, 8, 8];
const tensor = (seed: number, size: readonly number[] = dims) =>
  new ProxyTensor('float32', noise(new Float32Array(size.reduce((a, b) => a * b)), seed), [...size]);

/** The three pipelines make the same calls of a scheduler; what they draw differs, and width stands before height. */
const PIPELINES = { 'Stable Diffusion': dims, SDXL: [1, 4, 16, 12], ControlNet: [1, 4, 6, 8] };

/** Runs `use` with the scheduler behind a proxy; returns the members that were touched. */
function touched(scheduler: schedulers.Scheduler, use: (s: schedulers.Scheduler) => void): string[] {
  const members: string[] = [];
  let inside = false;
  const within = <T>(call: () => T): T => {
    const outer = inside;
    inside = true;
    try {
      return call();
    } finally {
      inside = outer;
    }
  };
  const proxy: schedulers.Scheduler = new Proxy(scheduler, {
    get(target, key, receiver) {
      if (!inside) members.push(String(key));
      const value = within(() => Reflect.get(target, key, receiver));
      if (inside || typeof value !== 'function') return value;
      return (...args: unknown[]) => within(() => value.apply(receiver, args));
    },
  });
  use(proxy);
  return members;
}

const PNDM_CONFIG = {
  _class_name: 'PNDMScheduler',
  _diffusers_version: '0.6.0',
  prediction_type: 'epsilon',
  beta_end: 0.012,
  beta_schedule: 'scaled_linear',
  beta_start: 0.00085,
  num_train_timesteps: 1000,
  set_alpha_to_one: false,
  skip_prk_steps: true,
  steps_offset: 1,
  trained_betas: null,
  clip_sample: false,
};

const CLASSES = [
  schedulers.DPMSolverMultistepScheduler,
  schedulers.DPMSolverSinglestepScheduler,
  schedulers.UniPCMultistepScheduler,
  schedulers.DEISMultistepScheduler,
  schedulers.SASolverScheduler,
  schedulers.DDIMScheduler,
  schedulers.PNDMScheduler,
  schedulers.DDPMScheduler,
];

for (const [Class, [pipeline, size]] of CLASSES.flatMap((one) =>
  Object.entries(PIPELINES).map((entry) => [one, entry] as const),
)) {
  test(`${Class.name}: text to image with ${pipeline}`, () => {
    const pipe = { scheduler: Class.fromConfig(PNDM_CONFIG) as schedulers.Scheduler };
    // The line that a user changes.
    pipe.scheduler = Class.fromConfig(pipe.scheduler.config);
    for (let run = 0; run < 2; run++) {
      const members = touched(pipe.scheduler, (scheduler) => {
        scheduler.setTimesteps(6);
        let latents = tensor(1, size);
        for (const step of scheduler.timesteps.data) {
          assert.is(BigInt(step), BigInt(Math.round(step)));
          const output = tensor(2, size);
          reads.clear();
          const before = latents.data;
          reads.clear();
          const next = scheduler.step(output, step, latents) as ProxyTensor;
          const [seen] = [reads.get(before)!];
          assert.equal(seen.filter((key) => key !== 'constructor').sort(), ['data', 'dims', 'type']);
          assert.is(seen.filter((key) => key === 'constructor').length, 1);
          latents = next;
          assert.ok(latents instanceof ProxyTensor);
          assert.ok(latents.data !== before && latents.data.buffer !== before.buffer);
          assert.equal([latents.type, latents.dims], ['float32', size]);
        }
        assert.ok(latents.data.every(Number.isFinite));
      });
      const steps = members.length - 2;
      assert.equal(members, ['setTimesteps', 'timesteps', ...new Array<string>(steps).fill('step')]);
      assert.is(steps, Class === schedulers.PNDMScheduler ? 7 : 6);
    }
  });
}

for (const Class of CLASSES) {
  test(`${Class.name}: image to image`, () => {
    const scheduler = Class.fromConfig(PNDM_CONFIG) as schedulers.Scheduler;
    for (const strength of [0.3, 0.5, 0.8, 0.99]) {
      const members = touched(scheduler, (s) => {
        s.setTimesteps(10);
        const all = s.timesteps.data;
        const first = Math.max(10 - Math.min(Math.floor(10 * strength), 10), 0);
        const [image, eps] = [tensor(3), tensor(4)];
        const copies = [image.data.slice(), eps.data.slice()];
        reads.clear();
        let latents = s.addNoise(image, eps, all[first]) as ProxyTensor;
        assert.ok(latents instanceof ProxyTensor);
        for (const step of all.slice(first)) latents = s.step(tensor(5), step, latents) as ProxyTensor;
        assert.ok(latents.data.every(Number.isFinite));
        assert.equal([image.data, eps.data], copies);
      });
      assert.equal([...new Set(members)], ['setTimesteps', 'timesteps', 'addNoise', 'step']);
    }
  });
}

test('the data of every tensor is read once per call', () => {
  const s = schedulers.DPMSolverMultistepScheduler.fromConfig(PNDM_CONFIG);
  s.setTimesteps(4);
  const [x, output, z] = [tensor(1), tensor(2), tensor(3)];
  const data = [x.data, output.data, z.data];
  reads.clear();
  s.addNoise(x, z, s.timesteps[0]);
  s.step(output, s.timesteps[0], x);
  const count = (array: Float32Array) => reads.get(array)!.filter((key) => key === 'data').length;
  assert.equal(data.map(count), [2, 1, 1]);
});

test('an LCM pipeline is refused', () => {
  for (const Class of CLASSES) {
    for (const config of [
      { ...PNDM_CONFIG, _class_name: 'LCMScheduler', original_inference_steps: 50 },
      { beta_schedule: 'scaled_linear', original_inference_steps: 50 },
    ]) {
      assert.throws(
        () => Class.fromConfig(config),
        (error: Error) =>
          error instanceof TypeError && /of LCMScheduler: its network was distilled/.test(error.message),
      );
    }
  }
});

test.run();
