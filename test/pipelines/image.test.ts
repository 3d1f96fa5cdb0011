// From pictures to pictures: image to image, inpainting, editing, and scheduler objects, with networks whose solution is
// known.
import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { betas, NoiseSchedule, randn, type Tensor } from '../../lib/index.js';
import {
  DiffusionPipeline,
  type EditOptions,
  type GenerateOptions,
  type Image,
  type SchedulerLike,
} from '../../lib/pipelines/index.js';
import {
  DDIMScheduler,
  DEISMultistepScheduler,
  DPMSolverMultistepScheduler,
  DPMSolverSinglestepScheduler,
  PNDMScheduler,
  UniPCMultistepScheduler,
} from '../../lib/schedulers/index.js';
import { assertClose, assertRejects } from '../support.js';
import { colorsOf } from './colors.js';
import { changed, constant, hasShapes, inpainting, layout, removeCopies, shapes } from './models.js';

const test = suite('images');
const open: DiffusionPipeline[] = [];

async function load(folder: string): Promise<DiffusionPipeline> {
  const pipe = await DiffusionPipeline.fromPretrained(folder);
  open.push(pipe);
  return pipe;
}

test.after(async () => {
  await Promise.all(open.map((pipe) => pipe.dispose()));
  removeCopies();
});

/** Some picture. */
function picture(width: number, height: number): Image {
  const data = Uint8Array.from({ length: 3 * width * height }, (_, i) => (37 * i) % 256);
  return { width, height, data };
}

/** White in a rectangle, from the upper left corner. */
function corner(width: number, height: number, right: number, bottom: number): Image {
  const data = new Uint8Array(3 * width * height);
  for (let y = 0; y < bottom; y++) data.fill(255, 3 * y * width, 3 * (y * width + right));
  return { width, height, data };
}

const linear = NoiseSchedule.discrete({ betas: betas('linear') });
const scaled = NoiseSchedule.discrete({ betas: betas('scaled_linear', 1000, { start: 0.00085, end: 0.012 }) });
const small = picture(4, 4);
const value = (image: Image, c: number, i: number) => image.data[3 * i + c] / 127.5 - 1;

/** Ends where some noise is left, which tells what a run has started from, and how far it has come. */
const noisy = () =>
  changed((folder) => {
    const path = join(folder, 'scheduler/scheduler_config.json');
    const config = JSON.parse(readFileSync(path, 'utf8'));
    writeFileSync(path, JSON.stringify({ ...config, final_sigmas_type: 'sigma_min' }));
  });

test('starts from a picture, as far on as strength says', async () => {
  const pipe = await load(noisy());
  const ask = { prompt: 'red', guidance: 1, image: small, seed: 4, steps: 10 };
  const grid = DPMSolverMultistepScheduler.fromConfig(pipe.schedulerConfig);
  grid.setTimesteps(10);
  const node = (at: number) => {
    const alpha = 1 / Math.sqrt(1 + grid.sigmas[at] ** 2);
    return { alpha, sigma: alpha * grid.sigmas[at] };
  };
  for (const [strength, evaluations] of [
    [0.5, 5],
    [0.7, 7],
    [1, 10],
    [0.01, 1],
  ]) {
    const { sample, nfe } = await pipe({ ...ask, strength });
    assert.is(nfe, evaluations);
    const [start, end] = [node(10 - evaluations), node(10)];
    const noise = randn([1, 3, 4, 4], { seed: 4 }).data;
    // The network predicts plain red, so noise and red go straight on.
    const want = Float64Array.from({ length: 48 }, (_, i) => {
      const x0 = [0.5, 0, 0][i >> 4];
      const x = start.alpha * value(small, i >> 4, i % 16) + start.sigma * noise[i];
      return end.alpha * x0 + (end.sigma / start.sigma) * (x - start.alpha * x0);
    });
    assertClose(sample.data, want, { atol: 1e-4 });
  }
  assert.is((await pipe({ ...ask })).nfe, 8);
  // The order gives way to the steps that are left, but not to those that were asked for.
  assert.is((await pipe({ ...ask, strength: 0.1, order: 3 })).nfe, 1);
  await assertRejects(pipe({ ...ask, steps: 2, order: 3 }), RangeError, /for steps but received/);
});

test('takes a picture for every prompt, and other sizes where the network does', async () => {
  const pipe = await load(layout('sd'));
  const images = [picture(24, 16), picture(24, 16)];
  const result = await pipe({ prompt: ['red', 'blue'], image: images, steps: 4, seed: 1, count: 2 });
  assert.equal(result.sample.dims, [4, 4, 2, 3]);
  const alone = await pipe({ prompt: 'blue', image: images[1], steps: 4, seed: 3 });
  assertClose(alone.sample.data, result.sample.data.subarray(48, 72), { atol: 1e-5 });
});

test('encodes with the scaling factor and the shift, and decodes what it encoded', async () => {
  for (const model of ['sd', 'sd3'] as const) {
    const pipe = await load(layout(model));
    const flat = { width: 16, height: 16, data: new Uint8Array(3 * 256).map((_, i) => [200, 100, 30][i % 3]) };
    // Next to no strength, and a single step of the solver's own: at the flow's clean end nothing is left of the noise.
    const ask = { prompt: 'red', guidance: 1, image: flat, steps: 1, seed: 2, skipType: 'time_uniform' } as const;
    const { sample } = await pipe({ ...ask, strength: 1e-6 });
    const [scaling, shift] = model === 'sd' ? [0.18215, 0] : [1.5305, 0.0609];
    const { alpha, sigma } = model === 'sd' ? scaled.node(scaled.epsilon) : { alpha: 1, sigma: 0 };
    const noise = randn([1, 4, 2, 2], { seed: 2 }).data;
    const want = Array.from({ length: 12 }, (_, i) => {
      return alpha * (value(flat, i >> 2, 0) - shift) * scaling + sigma * noise[i];
    });
    assertClose(sample.data.subarray(0, 12), want, { atol: 1e-3 });
  }
});

for (const [name, options] of Object.entries({
  multistep: {},
  'an SDE': { algorithmType: 'sde-dpmsolver++' },
  singlestep: { method: 'singlestep', order: 3 },
  'from what is there': { strength: 0.6 },
  'a corrector': { correctXt: (x: Tensor) => x },
} as Record<string, Partial<GenerateOptions>>)) {
  test(`keeps what the mask does not cover: ${name}`, async () => {
    const pipe = await load(constant);
    const mask = corner(4, 4, 2, 3);
    const { images, sample } = await pipe({
      prompt: 'red',
      guidance: 1,
      image: small,
      mask,
      seed: 4,
      steps: 9,
      ...options,
    });
    const covered = (i: number) => i % 4 < 2 && i >> 2 < 3;
    for (let i = 0; i < 16; i++) {
      for (let c = 0; c < 3; c++) {
        if (covered(i)) continue;
        assert.is(images[0].data[3 * i + c], small.data[3 * i + c]);
        assert.ok(Math.abs(sample.data[16 * c + i] - value(small, c, i)) < 1e-6);
      }
      // Red is 0.5, and little is left of the noise.
      if (covered(i)) assert.ok(Math.abs(images[0].data[3 * i] - 191) < 12, `${images[0].data[3 * i]}`);
    }
  });
}

test('keeps pixels to the byte in latents too, where a latent is half covered', async () => {
  const pipe = await load(layout('sd'));
  const image = picture(16, 16);
  const mask = corner(16, 16, 5, 11);
  const { images } = await pipe({ prompt: 'red', image, mask, steps: 4, seed: 4 });
  let difference = 0;
  for (let i = 0; i < 256; i++) {
    if (i % 16 < 5 && i >> 4 < 11) continue;
    for (let c = 0; c < 3; c++) {
      difference = Math.max(difference, Math.abs(images[0].data[3 * i + c] - image.data[3 * i + c]));
    }
  }
  assert.is(difference, 0);
  const gray = { width: 16, height: 16, data: mask.data.filter((_, i) => i % 3 === 0) };
  const same = await pipe({ prompt: 'red', image, mask: gray, steps: 4, seed: 4 });
  assert.equal(same.images[0].data, images[0].data);
});

test('feeds a network of nine channels the mask and the masked picture', async () => {
  const pipe = await load(inpainting());
  // Flat squares of 8 pixels, so that the encoder loses nothing.
  const colors = [40, 90, 140, 190];
  const image = { width: 16, height: 16, data: new Uint8Array(3 * 256) };
  for (let i = 0; i < 256; i++) image.data.fill(colors[2 * (i >> 7) + ((i >> 3) & 1)], 3 * i, 3 * i + 3);
  const ask = { prompt: '', image, mask: corner(16, 16, 8, 8), steps: 1, order: 1, seed: 5 } as const;
  const x = randn([1, 4, 2, 2], { seed: 5 }).data;
  const [a, b] = [scaled.node(scaled.T), { alpha: 1, sigma: 0 }];
  // With the same prompt on both sides guidance changes nothing, but doubles the batch.
  for (const guidance of [1, 3]) {
    const { sample } = await pipe({ ...ask, guidance });
    const reference = await (await load(layout('sd')))({ prompt: '', steps: 1, order: 1, seed: 5, guidance: 1 });
    const latent = (i: number) => (i >> 2 === 3 ? 0 : (colors[i % 4] / 127.5 - 1) * 0.18215);
    // One mask latent is 1; the picture without what it covers is grey there.
    const extra = Array.from(x, (_, i) => (i % 4 === 0 ? 1 : 0.25 * latent(i)));
    const want = reference.sample.data.map((one, i) => {
      return one + extra[i] * (b.sigma - (b.alpha * a.sigma) / a.alpha);
    });
    for (const [i, one] of sample.data.entries()) {
      if (i % 4 === 0) assertClose([one], [want[i]], { rtol: 1e-4 });
      else assertClose([one], [latent(i)], { atol: 1e-6 });
    }
  }
});

/** DDIM as diffusers has it, for a test of scheduler objects. */
class Ddim implements SchedulerLike {
  timesteps: { data: number[] } = { data: [] };
  #steps = 0;
  readonly #schedule: NoiseSchedule;
  begun = 0;

  constructor(schedule: NoiseSchedule) {
    this.#schedule = schedule;
  }

  setTimesteps(steps: number): void {
    this.#steps = steps;
    this.timesteps = { data: Array.from({ length: steps }, (_, i) => 999 - i * (1000 / steps)) };
  }

  setBeginIndex(index: number): void {
    this.begun = index;
  }

  addNoise(x0: Tensor, noise: Tensor, t: number): Tensor {
    const { alpha, sigma } = this.#schedule.node((t + 1) / 1000);
    const z = noise.data as Float32Array;
    return { ...x0, data: (x0.data as Float32Array).map((value, i) => alpha * value + sigma * z[i]) };
  }

  step(output: Tensor, t: number, x: Tensor): { prevSample: Tensor } {
    const a = this.#schedule.node((t + 1) / 1000);
    const next = t + 1 - 1000 / this.#steps;
    const b = next < 1 ? { alpha: 1, sigma: 0 } : this.#schedule.node(next / 1000);
    const m = output.data as Float32Array;
    const data = (x.data as Float32Array).map((value, i) => {
      const x0 = m[i];
      return b.alpha * x0 + (b.sigma * (value - a.alpha * x0)) / a.sigma;
    });
    return { prevSample: { ...x, data } };
  }
}

test('runs scheduler objects', async () => {
  const pipe = await load(constant);
  const scheduler = new Ddim(linear);
  const seen: number[] = [];
  const ask = { prompt: 'red', negativePrompt: 'blue', guidance: 2, seed: 6, steps: 5, count: 3, batchSize: 2 };
  const { sample, nfe } = await pipe({ ...ask, scheduler, onStep: ({ t, x0 }) => seen.push(t, x0!.dims[0]) });
  assert.is(nfe, 5);
  assert.equal(seen.slice(0, 4), [999, 2, 799, 2]);
  const own = await pipe({ ...ask, order: 1 });
  assertClose(sample.data, own.sample.data, { atol: 1e-4 });
  const half = await pipe({ ...ask, scheduler, image: small, strength: 0.4 });
  assert.equal([half.nfe, scheduler.begun], [2, 3]);
  const filled = await pipe({ ...ask, scheduler, image: small, mask: corner(4, 4, 2, 2) });
  assert.is(filled.images[0].data[47], small.data[47]);
  await assertRejects(
    pipe({ ...ask, scheduler, order: 2 }),
    TypeError,
    /^Expected no option order beside a scheduler object/,
  );
});

for (const Class of [
  DDIMScheduler,
  PNDMScheduler,
  DEISMultistepScheduler,
  UniPCMultistepScheduler,
  DPMSolverMultistepScheduler,
  DPMSolverSinglestepScheduler,
]) {
  test(`runs a ${Class.name}, from noise, from a picture and with a mask`, async () => {
    const pipe = await load(layout('sd'));
    const scheduler = Class.fromConfig(pipe.schedulerConfig);
    const image = picture(16, 16);
    const ask = { prompt: 'red', guidance: 1.5, seed: 6, steps: 40 };
    // A hundred steps of the solver stand for the solution.
    const exact = await pipe({ ...ask, steps: 100 });
    const made = await pipe({ ...ask, scheduler });
    // PNDM's leading timesteps begin below the schedule's end, where the state is taken for pure noise all the same.
    assertClose(made.sample.data, exact.sample.data, { rtol: Class === PNDMScheduler ? 0.2 : 0.06, scale: 'max' });
    const half = await pipe({ ...ask, scheduler, image, strength: 0.5 });
    assert.ok(half.nfe >= 20 && half.nfe <= 21, `${half.nfe}`);
    const halfExact = await pipe({ ...ask, image, strength: 0.5, steps: 200 });
    assertClose(half.sample.data, halfExact.sample.data, { rtol: 0.06, scale: 'max' });
    const filled = await pipe({ ...ask, scheduler, image, mask: corner(16, 16, 8, 8) });
    assert.equal(filled.images[0].data.slice(-24), image.data.slice(-24));
  });
}

test('takes solver options as a scheduler', async () => {
  const pipe = await load(constant);
  const ask = { prompt: 'red', seed: 6, steps: 5 };
  const solver = { algorithmType: 'dpmsolver', order: 3, skipType: 'logSNR' } as const;
  const [a, b] = [await pipe({ ...ask, scheduler: solver }), await pipe({ ...ask, ...solver })];
  assert.equal(a.sample.data, b.sample.data);
});

test('edits what the prompts differ in, and keeps the rest', async () => {
  // The constant network predicts a colour everywhere, so only a given mask makes sense.
  const pipe = await load(noisy());
  const mask = corner(4, 4, 2, 4);
  const steps: number[] = [];
  const result = await pipe.edit({
    ...{ image: small, source: 'green', target: 'red', mask, guidance: 1, steps: 8, strength: 0.8, freshNoise: 0 },
    onStep: ({ step, x0 }) => {
      steps.push(step);
      assert.equal(x0?.dims, [1, 3, 4, 4]);
    },
  });
  assert.equal(steps, [1, 2, 3, 4, 5, 6, 7, 8]);
  assert.is(result.nfe, 16);
  assert.equal(result.mask, mask);
  const [image] = result.images;
  for (let i = 0; i < 16; i++) {
    if (i % 4 >= 2) assert.equal(image.data.slice(3 * i, 3 * i + 3), small.data.slice(3 * i, 3 * i + 3));
  }
  // Under a prediction of x0 that stays, inversion and denoising are exact: what is left of the picture is known.
  const [near, far] = [linear.node(linear.epsilon), linear.node(linear.epsilon + 0.8 * (linear.T - linear.epsilon))];
  const want = (c: number, i: number) => {
    const [from, to] = [[0, 0.25, 0][c], [0.5, 0, 0][c]];
    const inverted = far.alpha * from + (far.sigma / near.sigma) * (value(small, c, i) - near.alpha * from);
    return near.alpha * to + (near.sigma / far.sigma) * (inverted - far.alpha * to);
  };
  for (const [c, i] of [
    [0, 0],
    [1, 5],
    [2, 8],
  ]) {
    assertClose([result.sample.data[16 * c + i]], [want(c, i)], { atol: 2e-3 });
  }
  assert.ok(result.timings.networkCalls === 16 && result.timings.totalMs > 0);
});

for (const freshNoise of [undefined, 0.36]) {
  test(`starts what an edit makes anew from noise of its own, all of it or a share: ${freshNoise ?? 'all'}`, async () => {
    const pipe = await load(noisy());
    const mask = corner(4, 4, 2, 4);
    const ask = { image: small, source: 'green', target: 'red', mask, guidance: 1, steps: 8, seed: 5, freshNoise };
    const { sample } = await pipe.edit(ask);
    const z = randn([1, 3, 4, 4], { seed: 5 }).data;
    const [near, far] = [linear.node(linear.epsilon), linear.node(linear.T)];
    const share = freshNoise ?? 1;
    const want = (c: number, i: number) => {
      const [from, to, x0] = [[0, 0.25, 0][c], [0.5, 0, 0][c], value(small, c, i)];
      // The inversion's noise is what the source's prediction leaves of the pixel.
      const inverted = far.alpha * from + (far.sigma / near.sigma) * (x0 - near.alpha * from);
      const begin =
        far.alpha * x0 +
        Math.sqrt(1 - share) * (inverted - far.alpha * x0) +
        Math.sqrt(share) * far.sigma * z[16 * c + i];
      return near.alpha * to + (near.sigma / far.sigma) * (begin - far.alpha * to);
    };
    for (const [c, i] of [
      [0, 0],
      [1, 5],
      [2, 8],
    ]) {
      assertClose([sample.data[16 * c + i]], [want(c, i)], { atol: 2e-3 });
    }
  });
}

test('leaves no noise in what it has edited', async () => {
  const pipe = await load(constant);
  const mask = corner(4, 4, 2, 4);
  const { sample } = await pipe.edit({ image: small, source: 'green', target: 'red', mask, guidance: 1, steps: 8 });
  for (let c = 0; c < 3; c++) assertClose([sample.data[16 * c]], [[0.5, 0, 0][c]], { atol: 1e-6 });
});

for (const model of ['sd', 'sdxl', 'sd3', 'flux'] as const) {
  test(`edits, fills in and starts from pictures in the layout of ${model}`, async () => {
    const pipe = await load(layout(model));
    const image = picture(32, 16);
    const mask = corner(32, 16, 16, 16);
    const kept = (data: Uint8Array) => data.filter((_, i) => Math.floor(i / 3) % 32 >= 16);
    const edited = await pipe.edit({ image, mask, source: 'red', target: 'blue', steps: 4 });
    assert.equal(kept(edited.images[0].data), kept(image.data));
    const filled = await pipe({ image, mask, prompt: 'blue', steps: 4, seed: 1, guidanceRescale: 0.5 });
    assert.equal(kept(filled.images[0].data), kept(image.data));
    const started = await pipe({ image, prompt: ['red', 'blue'], steps: 4, seed: 1, strength: 0.5 });
    assert.equal([started.nfe, started.images[1].width, started.images[1].height], [2, 32, 16]);
  });
}

const trained = hasShapes ? test : test.skip;

trained('edits the colour of a shape, and finds the place by itself', async () => {
  const pipe = await load(shapes);
  const [source, target] = ['red', 'yellow'].map((color) => `a ${color} circle on a blue background`);
  const { images } = await pipe({ prompt: source, seed: 2, steps: 15 });
  assert.equal(colorsOf(images[0]), { color: 'red', background: 'blue' });
  const edited = await pipe.edit({ image: images[0], source, target });
  assert.equal(colorsOf(edited.images[0]), { color: 'yellow', background: 'blue' });
  assert.is(edited.nfe, 52);
  const mask = edited.mask.data.filter((_, i) => i % 3 === 0);
  const share = mask.reduce((count, value) => count + value / 255, 0) / mask.length;
  assert.ok(share > 0.1 && share < 0.8, `${share} of the picture is made anew`);
  mask.forEach((value, i) => {
    if (value > 0) return;
    assert.equal(edited.images[0].data.slice(3 * i, 3 * i + 3), images[0].data.slice(3 * i, 3 * i + 3));
  });
});

trained('fills in with what the prompt says', async () => {
  const pipe = await load(shapes);
  const { images } = await pipe({ prompt: 'a red circle on a blue background', seed: 2, steps: 15 });
  const mask = corner(32, 32, 32, 30);
  const filled = await pipe({
    image: images[0],
    mask,
    prompt: 'a yellow star on a blue background',
    seed: 1,
    steps: 15,
  });
  assert.equal(colorsOf(filled.images[0]), { color: 'yellow', background: 'blue' });
  assert.equal(filled.images[0].data.slice(3 * 30 * 32), images[0].data.slice(3 * 30 * 32));
});

const pictures: [string, Partial<GenerateOptions>, typeof RangeError | typeof TypeError, RegExp][] = [
  [
    'no strength',
    { image: small, strength: 0 },
    RangeError,
    /^Expected a number above 0 and up to 1 for strength .* 0$/,
  ],
  ['too much strength', { image: small, strength: 1.01 }, RangeError, /up to 1 for strength but received 1\.01$/],
  ['strength without an image', { strength: 0.5 }, TypeError, /^Expected an image with strength/],
  ['a mask without an image', { mask: small }, TypeError, /^Expected an image with mask/],
  [
    'a mask of another size',
    { image: small, mask: corner(4, 5, 2, 2) },
    RangeError,
    /^Expected a mask of the image's size, 4 x 4, but received one of 4 x 5$/,
  ],
  ['an empty mask', { image: small, mask: corner(4, 4, 0, 0) }, RangeError, /^Expected some white in the mask/],
  ['a full mask', { image: small, mask: corner(4, 4, 4, 4) }, RangeError, /^Expected some black in the mask/],
  ['an image of another size', { image: small, width: 8 }, RangeError, /a width of 8 pixels but received one of 4$/],
  ['an image that is none', { image: 'cat.png' as never }, TypeError, /^Expected a picture .* for image .*'cat\.png'/],
  ['too few bytes', { image: { ...small, data: new Uint8Array(5) } }, RangeError, /^Expected 48 bytes, 3 a pixel/],
  ['too many images', { image: [small, small] }, RangeError, /^Expected one image or one for each of 1 prompts/],
  ['two starts', { image: small, strength: 0.5, tStart: 0.5 }, TypeError, /either strength or tStart/],
  [
    'an adaptive method with a mask',
    { image: small, mask: corner(4, 4, 1, 1), method: 'adaptive' },
    RangeError,
    /other than 'adaptive' with mask/,
  ],
];
for (const [name, options, kind, message] of pictures) {
  test(`refuses ${name}`, async () => {
    const pipe = await load(constant);
    await assertRejects(pipe({ prompt: 'red', ...options }), kind, message);
  });
}

const edits: [string, Partial<EditOptions>, typeof RangeError | typeof TypeError, RegExp][] = [
  ['an edit of nothing', { target: 'red' }, RangeError, /^Expected a target other than the source/],
  ['an edit without an image', { image: undefined }, TypeError, /^Expected a picture for image/],
  ['an unknown option of an edit', { strenght: 1 } as never, TypeError, /did you mean 'strength'\?$/],
  ['a method for an edit', { method: 'singlestep' }, TypeError, /^Expected no method for edit/],
  ['a threshold of nothing', { maskThreshold: 0 }, RangeError, /for maskThreshold but received 0$/],
  ['too much strength for an edit', { strength: 2 }, RangeError, /for strength but received 2$/],
  ['more fresh noise than all', { freshNoise: 1.5 }, RangeError, /from 0 to 1 for freshNoise but received 1\.5$/],
  ['prompts that differ everywhere', {}, RangeError, /^Expected prompts that agree somewhere in the picture/],
  [
    'prompts that say the same',
    { source: 'red a', target: 'a red' },
    RangeError,
    /^Expected prompts that differ somewhere in the picture/,
  ],
];
for (const [name, options, kind, message] of edits) {
  test(`refuses ${name}`, async () => {
    const pipe = await load(constant);
    const edit = pipe.edit({ image: small, source: 'red', target: 'blue', ...options });
    await assertRejects(edit, kind, message);
  });
}

test('refuses an inpainting network without a mask, and a model without an encoder', async () => {
  const pipe = await load(inpainting());
  await assertRejects(
    pipe({ prompt: 'red' }),
    TypeError,
    /^Expected an image and a mask, as the model is an inpainting/,
  );
  const none = await load(changed((f) => rmSync(join(f, 'vae_encoder'), { recursive: true }), layout('sd')));
  await none({ prompt: 'red', steps: 1 });
  await assertRejects(
    none({ prompt: 'red', image: picture(16, 16) }),
    Error,
    /^Expected vae_encoder\/model\.onnx in .* no folder/,
  );
});

test.run();
