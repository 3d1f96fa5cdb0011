import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { type AcceleratedPipeline, accelerate } from '../../lib/diffusers-js/accelerate.js';
import { DPMSolverMultistepScheduler, UniPCMultistepScheduler } from '../../lib/schedulers/index.js';
import { assertBitsEqual, assertClose, assertThrows, noise } from '../support.js';
import { counts, JsPipeline, type JsScheduler, JsTensor } from './pipeline.js';

const config = {
  _class_name: 'PNDMScheduler',
  beta_schedule: 'scaled_linear',
  beta_start: 0.00085,
  beta_end: 0.012,
  num_train_timesteps: 1000,
  skip_prk_steps: true,
  set_alpha_to_one: false,
  steps_offset: 1,
};
const dims = [1, 4, 8, 8];
const latents = () => new JsTensor('float32', noise(new Float32Array(256), 7), dims);
const scheduler = () => DPMSolverMultistepScheduler.fromConfig(config) as unknown as JsScheduler;
/** A pipeline as it comes, whose own scheduler is not even called. */
const untouched = () => new JsPipeline({ config } as unknown as JsScheduler);
const fast = (pipe: JsPipeline, options = {}) => accelerate(pipe as unknown as AcceleratedPipeline, options);

for (const guidanceScale of [1, 7.5]) {
  test(`gives what the swapped scheduler gives, guidance ${guidanceScale}`, async () => {
    const slow = await new JsPipeline(scheduler()).run({ steps: 12, guidanceScale, latents: latents() });
    const pipe = untouched();
    fast(pipe);
    counts.operators = 0;
    const quick = await pipe.run({ steps: 12, guidanceScale, latents: latents() });
    assert.is(counts.operators, 0, 'operators of the tensor class');
    assertClose(quick.latents.data, slow.latents.data, { rtol: 2e-5, scale: 'max' });
    assertClose(quick.images[0].data, slow.images[0].data, { atol: 2e-5 });
    assert.instance(quick.latents, JsTensor);
    assert.instance(quick.images[0], JsTensor);
  });
}

test('the conversion to a picture has the bits of the one it replaces', async () => {
  const pipe = untouched();
  const expected = await pipe.makeImages(latents());
  fast(pipe);
  assertBitsEqual((await pipe.makeImages(latents()))[0].data, expected[0].data);
});

test('image to image finds its place in the schedule', async () => {
  const input = { steps: 10, guidanceScale: 5, image: latents(), strength: 0.6 };
  const slow = await new JsPipeline(scheduler()).run({ ...input, latents: latents() });
  const pipe = untouched();
  fast(pipe);
  const quick = await pipe.run({ ...input, latents: latents() });
  assertClose(quick.latents.data, slow.latents.data, { rtol: 2e-5, scale: 'max' });
});

test('restore puts everything back', async () => {
  const pipe = untouched();
  const { scheduler: own, run } = { scheduler: pipe.scheduler, run: pipe.unet.run };
  const { restore, scheduler: swapped } = fast(pipe);
  assert.is(pipe.scheduler, swapped as unknown);
  restore();
  assert.is(pipe.scheduler, own);
  assert.is(pipe.unet.run, run);
  assert.not.ok(Object.hasOwn(pipe, 'makeImages'));
  assert.not.ok(Object.hasOwn(swapped, 'step'));
  restore();
});

test('whatever else is done with the output sees the tensor', async () => {
  const pipe = untouched();
  const feeds = {
    sample: new JsTensor('float32', noise(new Float32Array(512), 3), [2, 4, 8, 8]),
    timestep: new JsTensor('float32', [500], [1]),
  };
  const plain = ((await pipe.unet.run(feeds)) as { out_sample: JsTensor }).out_sample;
  fast(pipe);
  const out = ((await pipe.unet.run(feeds)) as { out_sample: JsTensor }).out_sample;
  assert.instance(out, JsTensor);
  const both = (t: JsTensor) => {
    const [u, c] = [t.slice([0, 1]), t.slice([1, 2])];
    return [
      t.mul(2),
      u.add(c),
      c.sub(c),
      u.sub(c),
      c.sub(u),
      c.sub(u).add(u),
      u.add(c.sub(u).mul(3)),
      u.add(c.sub(u).mul(3)).mul(0.5),
      t.slice([0, 2]),
    ];
  };
  const expected = both(plain);
  both(out).forEach((tensor, i) => {
    assertBitsEqual(tensor.data, expected[i].data, `expression ${i}`);
    assert.equal(tensor.dims, expected[i].dims);
  });
  assertBitsEqual(out.data, plain.data);
  assert.equal(out.dims, plain.dims);
});

/** What may be written to between the network and the step, and where in the arithmetic of guidance that is. */
const written: [string, (out: JsTensor, write: (t: JsTensor) => void) => JsTensor][] = [
  [
    'the sum',
    (t, write) => {
      const [u, c] = [t.slice([0, 1]), t.slice([1, 2])];
      const sum = u.add(c.sub(u).mul(3));
      write(sum);
      return sum;
    },
  ],
  [
    'the scaled difference',
    (t, write) => {
      const [u, c] = [t.slice([0, 1]), t.slice([1, 2])];
      const scaled = c.sub(u).mul(3);
      write(scaled);
      return u.add(scaled);
    },
  ],
  [
    'the difference',
    (t, write) => {
      const [u, c] = [t.slice([0, 1]), t.slice([1, 2])];
      const difference = c.sub(u);
      write(difference);
      return u.add(difference.mul(3));
    },
  ],
  ...[0, 1].map((k): (typeof written)[number] => [
    `half ${k}, before`,
    (t, write) => {
      const [u, c] = [t.slice([0, 1]), t.slice([1, 2])];
      write([u, c][k]);
      return u.add(c.sub(u).mul(3));
    },
  ]),
  ...[0, 1].map((k): (typeof written)[number] => [
    `half ${k}, between`,
    (t, write) => {
      const [u, c] = [t.slice([0, 1]), t.slice([1, 2])];
      const scaled = c.sub(u).mul(3);
      write([u, c][k]);
      return u.add(scaled);
    },
  ]),
  [
    'what the sum was made of, after it',
    (t, write) => {
      const [u, c] = [t.slice([0, 1]), t.slice([1, 2])];
      const difference = c.sub(u);
      const scaled = difference.mul(3);
      const sum = u.add(scaled);
      for (const one of [u, c, difference, scaled]) write(one);
      return sum;
    },
  ],
  [
    'the whole, before',
    (t, write) => {
      write(t);
      const [u, c] = [t.slice([0, 1]), t.slice([1, 2])];
      return u.add(c.sub(u).mul(3));
    },
  ],
  [
    'the whole, after',
    (t, write) => {
      const [u, c] = [t.slice([0, 1]), t.slice([1, 2])];
      const sum = u.add(c.sub(u).mul(3));
      write(t);
      return sum;
    },
  ],
];
for (const [what, guide] of written) {
  test(`what is written in place counts: ${what}`, async () => {
    const feeds = {
      sample: new JsTensor('float32', noise(new Float32Array(512), 3), [2, 4, 8, 8]),
      timestep: new JsTensor('float32', [500], [1]),
    };
    const write = (t: JsTensor) => {
      for (let i = 0; i < t.data.length; i += 3) t.data[i] = 0.25 + i / 1000;
    };
    const x = new JsTensor('float32', noise(new Float32Array(256), 4), [1, 4, 8, 8]);
    const stepped = async (accelerated: boolean) => {
      const pipe = untouched();
      const made = accelerated ? fast(pipe).scheduler : DPMSolverMultistepScheduler.fromConfig(pipe.scheduler.config);
      const { out_sample } = (await pipe.unet.run(feeds)) as { out_sample: JsTensor };
      made.setTimesteps(5);
      return made.step(guide(out_sample, write), made.timesteps[0], x).data as Float32Array;
    };
    const [plain, fused] = [await stepped(false), await stepped(true)];
    // The fused step rounds once where guidance by operators rounds thrice.
    assert.ok(plain.every((v, i) => Math.abs(v - fused[i]) < 1e-5 * Math.max(1, Math.abs(v))));
  });
}

test('takes another scheduler, keys, and less', async () => {
  const pipe = untouched();
  const { scheduler: swapped } = fast(pipe, { scheduler: UniPCMultistepScheduler, config: { solver_order: 3 } });
  assert.instance(swapped, UniPCMultistepScheduler);
  assert.is(swapped.config.solver_order, 3);
  const partly = untouched();
  const { run } = partly.unet;
  fast(partly, { guidance: false, images: false });
  assert.is(partly.unet.run, run);
  assert.not.ok(Object.hasOwn(partly, 'makeImages'));
});

test('refuses what it cannot accelerate', () => {
  const lcm = new JsPipeline({ config: { _class_name: 'LCMScheduler' } } as unknown as JsScheduler);
  assertThrows(() => fast(lcm), TypeError, /LCM/);
  assertThrows(() => accelerate({} as AcceleratedPipeline), TypeError, /pipeline/);
  assertThrows(() => fast(untouched(), { guidence: true }), TypeError, /guidence/);
});

test.run();
