// Exported pipelines: what their networks are fed, and what becomes of it. The graphs are linear, see
// test/fixtures/pipelines.py, so every picture is known.
import { cpSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { betas, NoiseSchedule, randn } from '../../lib/index.js';
import { DiffusionPipeline, type GenerateOptions, type PipelineOptions } from '../../lib/pipelines/index.js';
import { openTokenizer } from '../../lib/pipelines/tokenizer.js';
import { DPMSolverMultistepScheduler, EulerDiscreteScheduler, LCMScheduler } from '../../lib/schedulers/index.js';
import { assertClose, assertRejects } from '../support.js';
import { changed, layout, removeCopies } from './models.js';

const test = suite('layouts');
const open: DiffusionPipeline[] = [];

async function load(folder: string, options: PipelineOptions = {}): Promise<DiffusionPipeline> {
  const pipe = await DiffusionPipeline.fromPretrained(folder, options);
  open.push(pipe);
  return pipe;
}

test.after(async () => {
  await Promise.all(open.map((pipe) => pipe.dispose()));
  removeCopies();
});

function edit(folder: string, file: string, change: (json: Record<string, unknown>) => object): void {
  const path = join(folder, file);
  writeFileSync(path, JSON.stringify(change(JSON.parse(readFileSync(path, 'utf8')))));
}

// What the fixtures' script writes.
const [START, END, RED, BLUE, PAD_2] = [59, 60, 55, 58, 0];
const clip = (words: number[], pad: number) => [START, ...words, END, ...new Array(14 - words.length).fill(pad)];
const t5 = (words: number[]) => [...words, 1, ...new Array(23 - words.length).fill(0)];

/** The mean embedding of tokens. */
function mean(ids: readonly number[], width: number, k: number): number[] {
  const of = (id: number, j: number) => ((((7 * id + 3 * j) % 11) - 5) / 10) * k;
  return Array.from({ length: width }, (_, j) => ids.reduce((sum, id) => sum + of(id, j), 0) / ids.length);
}

const sum = (values: readonly number[]) => values.reduce((a, b) => a + b, 0);

function fold(context: readonly number[], channels: number): number[] {
  const result = new Array<number>(channels).fill(0);
  context.forEach((value, i) => {
    result[i % channels] += value;
  });
  return result;
}

type Predict = (x: ArrayLike<number>, i: number) => number;

/** One step of the first order over the whole schedule. */
function step(
  x: ArrayLike<number>,
  schedule: NoiseSchedule,
  type: 'noise' | 'v' | 'flow',
  output: Predict,
  from = schedule.T,
): Float64Array {
  const a = schedule.node(from);
  const b = { alpha: 1, sigma: 0 };
  return Float64Array.from({ length: x.length }, (_, i) => {
    const m = output(x, i);
    const x0 =
      type === 'noise'
        ? (x[i] - a.sigma * m) / a.alpha
        : type === 'v'
          ? (a.alpha * x[i] - a.sigma * m) / (a.alpha ** 2 + a.sigma ** 2)
          : (x[i] - a.sigma * m) / (a.alpha + a.sigma);
    return b.alpha * x0 + (b.sigma * (x[i] - a.alpha * x0)) / a.sigma;
  });
}

const scaled = NoiseSchedule.discrete({ betas: betas('scaled_linear', 1000, { start: 0.00085, end: 0.012 }) });
const noise = (shape: number[], seed: number) => randn([1, ...shape], { seed }).data;
const one: GenerateOptions = { prompt: 'red', steps: 1, order: 1, seed: 3 };

test('builds the tokenizer of CLIP from vocab.json and merges.txt', () => {
  const tokenizer = openTokenizer(layout('sd'));
  assert.is(tokenizer.length, 16);
  assert.equal(tokenizer.encode('red'), clip([RED], END));
  assert.equal(tokenizer.encode('  RED\tBlue! '), clip([RED, BLUE, 1], END));
  assert.equal(tokenizer.encode(''), clip([], END));
  // Letters of a word that is not known; digits one by one would come next.
  assert.equal(tokenizer.encode('cab').slice(0, 5), [START, 4, 2, 29, END]);
  const long = tokenizer.encode('a '.repeat(30), { overlong: 'cut' });
  assert.equal(long, [START, ...new Array(14).fill(28), END]);
});

test('pads with the token that the files name', () => {
  const tokenizer = openTokenizer(layout('sdxl'), 'tokenizer_2');
  assert.equal(tokenizer.encode('red'), clip([RED], PAD_2));
});

test('says which files of a tokenizer were looked for', async () => {
  const none = changed((f) => rmSync(join(f, 'tokenizer/vocab.json')), layout('sd'));
  await assertRejects(
    DiffusionPipeline.fromPretrained(none),
    Error,
    /^Expected tokenizer\/tokenizer\.json or tokenizer\/vocab\.json in .* but found merges\.txt/,
  );
  const half = changed((f) => rmSync(join(f, 'tokenizer/merges.txt')), layout('sd'));
  await assertRejects(DiffusionPipeline.fromPretrained(half), Error, /^Expected tokenizer\/merges\.txt in/);
});

test('takes the scaling factor of Stable Diffusion 1 for no other network', async () => {
  const without = (name: 'sd' | 'sdxl' | 'sd3' | 'flux') =>
    changed((f) => rmSync(join(f, 'vae_decoder/config.json')), layout(name));
  await (await DiffusionPipeline.fromPretrained(without('sd'))).dispose();
  for (const name of ['sdxl', 'sd3', 'flux'] as const) {
    await assertRejects(
      DiffusionPipeline.fromPretrained(without(name)),
      Error,
      /^Expected vae_decoder\/config\.json or vae\/config\.json in .* but found model\.onnx$/,
    );
  }
});

/** The network of models/sd at the schedule's T. */
function sdContext(prompt: number[], negative: number[], w: number): number[] {
  const [c, u] = [prompt, negative].map((words) => fold(mean(clip(words, END), 4, 1), 4));
  return c.map((value, i) => u[i] + w * (value - u[i]));
}

test('runs Stable Diffusion 1: latents, guidance, scaling factor', async () => {
  const pipe = await load(layout('sd'));
  const { sample, images, guidance, nfe, timings } = await pipe({ ...one, negativePrompt: 'blue' });
  assert.equal(sample.dims, [1, 4, 2, 2]);
  assert.equal([guidance, nfe], [7.5, 1]);
  assert.ok(timings.vaeMs! >= 0);
  const context = sdContext([RED], [BLUE], 7.5);
  const want = step(noise([4, 2, 2], 3), scaled, 'noise', (x, i) => 0.5 * x[i] + context[i >> 2] + 0.999);
  assertClose(sample.data, want, { rtol: 1e-5, scale: 'max' });
  const [image] = images;
  assert.equal([image.width, image.height], [16, 16]);
  const red = Math.min(Math.max(sample.data[0] / 0.18215 / 2 + 0.5, 0), 1) * 255;
  assert.ok(Math.abs(image.data[0] - red) <= 0.51);
});

test('takes the size and the number of pictures asked for', async () => {
  const pipe = await load(layout('sd'));
  const { sample, images } = await pipe({
    ...one,
    prompt: ['red', 'blue'],
    count: 2,
    width: 32,
    height: 8,
    guidance: 1,
  });
  assert.equal(sample.dims, [4, 4, 1, 4]);
  assert.equal([images.length, images[0].width, images[0].height], [4, 32, 8]);
  const context = sdContext([BLUE], [], 1);
  const want = step(noise([4, 1, 4], 6), scaled, 'noise', (x, i) => 0.5 * x[i] + context[i >> 2] + 0.999);
  assertClose(sample.data.subarray(48), want, { rtol: 1e-5, scale: 'max' });
});

test('runs networks that predict v', async () => {
  const folder = changed((f) => {
    edit(f, 'scheduler/scheduler_config.json', (json) => ({ ...json, prediction_type: 'v_prediction' }));
  }, layout('sd'));
  const pipe = await load(folder);
  const { sample } = await pipe({ ...one, guidance: 2 });
  const context = sdContext([RED], [], 2);
  const want = step(noise([4, 2, 2], 3), scaled, 'v', (x, i) => 0.5 * x[i] + context[i >> 2] + 0.999);
  assertClose(sample.data, want, { rtol: 1e-5, scale: 'max' });
});

test('runs float16 graphs, all of them', async () => {
  const pipe = await load(layout('sd'), { dtype: 'float16' });
  const { sample } = await pipe({ ...one, guidance: 2 });
  const context = sdContext([RED], [], 2);
  const want = step(noise([4, 2, 2], 3), scaled, 'noise', (x, i) => 0.5 * x[i] + context[i >> 2] + 0.999);
  assertClose(sample.data, want, { rtol: 4e-3, scale: 'max' });
  const rescaled = await pipe({ ...one, guidance: 2, guidanceRescale: 0.5, steps: 3 });
  assert.ok(rescaled.sample.data.every(Number.isFinite));
});

test('gives the guided output the deviation of the conditional one', async () => {
  const pipe = await load(layout('sd'));
  const { sample } = await pipe({ ...one, guidance: 4, guidanceRescale: 0.7 });
  const x = noise([4, 2, 2], 3);
  const outputs = [1, 4].map((w) => {
    const context = sdContext([RED], [], w);
    return Array.from(x, (value, i) => 0.5 * value + context[i >> 2] + 0.999);
  });
  const [c, g] = outputs.map((values) => {
    const average = sum(values) / 16;
    return Math.sqrt(sum(values.map((value) => (value - average) ** 2)) / 16);
  });
  const factor = 0.7 * (c / g) + 0.3;
  const want = step(x, scaled, 'noise', (_, i) => factor * outputs[1][i]);
  assertClose(sample.data, want, { rtol: 1e-5, scale: 'max' });
  const none = await pipe({ ...one, guidance: 4, guidanceRescale: 0 });
  const folded = step(x, scaled, 'noise', (_, i) => outputs[1][i]);
  assertClose(none.sample.data, folded, { rtol: 1e-5, scale: 'max' });
});

test('runs Stable Diffusion XL: two text encoders, sizes, an empty negative prompt', async () => {
  const pipe = await load(layout('sdxl'));
  const embed = (words: number[]) => {
    const second = mean(clip(words, PAD_2), 6, -1);
    // The states before the last of three layers are twice the embeddings.
    const context = fold(
      [...mean(clip(words, END), 4, 1), ...second].map((value) => 2 * value),
      4,
    );
    return context.map((value) => value + sum(second));
  };
  const want = (u: number[], c: number[], w: number) =>
    step(noise([4, 2, 4], 3), scaled, 'noise', (x, i) => {
      const context = u[i >> 3] + w * (c[i >> 3] - u[i >> 3]);
      return 0.5 * x[i] + context + 0.999 + (2 * (16 + 32)) / 1000;
    });
  const size = { width: 32, height: 16 };
  const zeros = await pipe({ ...one, ...size });
  assert.is(zeros.guidance, 5);
  assertClose(zeros.sample.data, want([0, 0, 0, 0], embed([RED]), 5), { rtol: 1e-5, scale: 'max' });
  const empty = await pipe({ ...one, ...size, negativePrompt: '', guidance: 2 });
  assertClose(empty.sample.data, want(embed([]), embed([RED]), 2), { rtol: 1e-5, scale: 'max' });
  const other = changed((f) => {
    edit(f, 'model_index.json', (json) => ({ ...json, force_zeros_for_empty_prompt: false }));
  }, layout('sdxl'));
  const encoded = await (await load(other))({ ...one, ...size, guidance: 2 });
  assertClose(encoded.sample.data, want(embed([]), embed([RED]), 2), { rtol: 1e-5, scale: 'max' });
});

const flow3 = NoiseSchedule.flow({ shift: 3 });

function sd3Context(words: number[], withT5 = true): number[] {
  const first = mean(clip(words, END), 4, 1);
  const second = mean(clip(words, PAD_2), 6, -1);
  const third = withT5 ? mean(t5(words.map((word) => (word === RED ? 3 : 4))), 12, 1) : new Array(12).fill(0);
  const wide = [...first, ...second, 0, 0].map((value) => 2 * value);
  const length = withT5 ? 24 : 256;
  // 16 tokens of the one, and those of the other.
  const context = wide.map((value, i) => (16 * value + length * third[i]) / (16 + length));
  return fold(context, 4).map((value) => value + sum(first) + sum(second));
}

test('runs Stable Diffusion 3: a flow, three text encoders, thousandths of time', async () => {
  const pipe = await load(layout('sd3'));
  const { sample, guidance } = await pipe({ ...one, guidance: 3, width: 16, height: 32 });
  assert.is(guidance, 3);
  const [c, u] = [sd3Context([RED]), sd3Context([])];
  const output: Predict = (x, i) => 0.5 * x[i] + u[i >> 3] + 3 * (c[i >> 3] - u[i >> 3]) + 1;
  assertClose(sample.data, step(noise([4, 4, 2], 3), flow3, 'flow', output), { rtol: 1e-5, scale: 'max' });
});

test('takes zeros for the T5 encoder of Stable Diffusion 3 where it is left out', async () => {
  const folder = changed((f) => {
    rmSync(join(f, 'text_encoder_3'), { recursive: true });
    rmSync(join(f, 'tokenizer_3'), { recursive: true });
    edit(f, 'model_index.json', (json) => ({ ...json, text_encoder_3: [null, null], tokenizer_3: [null, null] }));
  }, layout('sd3'));
  const pipe = await load(folder);
  const { sample } = await pipe({ ...one, guidance: 1 });
  const context = sd3Context([RED], false);
  const want = step(noise([4, 2, 2], 3), flow3, 'flow', (x, i) => 0.5 * x[i] + context[i >> 2] + 1);
  assertClose(sample.data, want, { rtol: 1e-5, scale: 'max' });
});

/** Flux's network on latents of `height` times `width`: the features of a token are a channel's four places. */
function fluxOutput(words: number[], width: number, plane: number, guidance: number, sigma: number): Predict {
  const context = fold(mean(t5(words.map((word) => (word === RED ? 3 : 4))), 12, 1), 16);
  const pooled = sum(mean(clip(words, END), 4, 1));
  return (x, i) => {
    const [channel, y, column] = [Math.floor(i / plane), Math.floor((i % plane) / width), i % width];
    const feature = 4 * channel + 2 * (y % 2) + (column % 2);
    const place = Math.floor(y / 2) / 50 + Math.floor(column / 2) / 100;
    return 0.5 * x[i] + context[feature] + pooled + sigma / 1000 + guidance / 10 + place;
  };
}

test('runs Flux: packed latents, places, distilled guidance, a shift by size', async () => {
  const pipe = await load(layout('flux'));
  const shape = [4, 4, 8];
  const warnings: string[] = [];
  const result = await pipe({
    ...one,
    width: 64,
    height: 32,
    negativePrompt: 'blue',
    onWarning: (message) => warnings.push(message),
  });
  assert.is(result.guidance, 3.5);
  assert.match(warnings.join(), /^The negative prompt is not used/);
  const flow = NoiseSchedule.flow({ shift: 2 });
  const want = step(noise(shape, 3), flow, 'flow', fluxOutput([RED], 8, 32, 3.5, 1));
  assertClose(result.sample.data, want, { rtol: 1e-5, scale: 'max' });
  // Two steps show the shift: mu is linear in the number of tokens.
  const two = await pipe({ ...one, steps: 2, width: 64, height: 32, guidance: 2, scheduler: { order: 1 } });
  const mu = 0.5 + ((1.15 - 0.5) * (8 - 256)) / (4096 - 256);
  const shift = Math.exp(mu);
  const middle = (shift * 0.5) / (1 + (shift - 1) * 0.5);
  const x = noise(shape, 3);
  const first = fluxOutput([RED], 8, 32, 2, 1);
  const half = Float64Array.from(x, (value, i) => value + (middle - 1) * first(x, i));
  const second = fluxOutput([RED], 8, 32, 2, middle);
  assertClose(two.sample.data, half.map((value, i) => value - middle * second(half, i)), { rtol: 1e-5, scale: 'max' }); // biome-ignore format: one line
});

test('previews latents by a linear map and by the decoder', async () => {
  const pipe = await load(layout('sd'));
  const previews: Promise<unknown>[] = [];
  await pipe({
    ...one,
    steps: 2,
    count: 2,
    onStep: ({ x0, preview }) => {
      const { data } = x0 as { data: Float32Array };
      previews.push(
        preview().then((images) => {
          assert.equal([images.length, images[1].width, images[1].height], [2, 2, 2]);
          const red = Math.min(Math.max(data[16] / 0.18215 / 2 + 0.5, 0), 1) * 255;
          assert.ok(Math.abs(images[1].data[0] - red) <= 0.6, `${images[1].data[0]} ${red}`);
        }),
        preview({ decode: true }).then((images) => {
          assert.equal([images.length, images[0].width, images[0].height], [2, 16, 16]);
        }),
      );
    },
  });
  assert.is(previews.length, 4);
  await Promise.all(previews);
});

test('lets the prompt be longer than the window only if asked to', async () => {
  const pipe = await load(layout('sd'));
  const prompt = 'red '.repeat(20).trim();
  await assertRejects(pipe({ ...one, prompt }), RangeError, /^Expected a prompt of at most 14 tokens but .* has 20$/);
  const warnings: string[] = [];
  await pipe({ ...one, prompt, overlong: 'cut', onWarning: (message) => warnings.push(message) });
  assert.is(warnings.length, 1);
  assert.match(warnings[0], /has 20 tokens and was cut to 14$/);
  // T5 takes 23 where CLIP takes 14: the longest window counts.
  const sd3 = await load(layout('sd3'));
  await sd3({ ...one, prompt });
  await assertRejects(sd3({ ...one, prompt: `${prompt} red red red red` }), RangeError, /at most 23 tokens/);
});

const broken: [string, 'sd' | 'sdxl' | 'sd3' | 'flux', (folder: string) => void, RegExp][] = [
  ['no decoder', 'sd', (f) => rmSync(join(f, 'vae_decoder/model.onnx')), /^Expected vae_decoder\/model\.onnx in/],
  [
    'a misnamed decoder',
    'sd',
    (f) => {
      rmSync(join(f, 'vae_decoder/model_fp16.onnx'));
      renameSync(join(f, 'vae_decoder/model.onnx'), join(f, 'vae_decoder/modl.onnx'));
    },
    /^Expected vae_decoder\/model\.onnx .* there is only vae_decoder\/modl\.onnx$/,
  ],
  [
    'no autoencoder at all',
    'sd',
    (f) => {
      for (const part of ['vae_decoder', 'vae_encoder']) rmSync(join(f, part), { recursive: true });
      writeFileSync(join(f, 'model_index.json'), '{}');
    },
    /^Expected vae_decoder\/model\.onnx in/,
  ],
  [
    'no second text encoder',
    'sdxl',
    (f) => {
      rmSync(join(f, 'text_encoder_2'), { recursive: true });
      writeFileSync(join(f, 'model_index.json'), '{}');
    },
    /^Expected text_encoder_2\/model\.onnx in/,
  ],
  ['no transformer', 'sd3', (f) => rmSync(join(f, 'transformer/model.onnx')), /^Expected transformer\/model\.onnx in/],
  [
    'a text encoder without hidden states',
    'sdxl',
    (f) => cpSync(join(layout('flux'), 'text_encoder/model.onnx'), join(f, 'text_encoder/model.onnx')),
    /^Expected outputs hidden_states\.0, hidden_states\.1, \.\.\. of .*which has last_hidden_state and pooler_output$/,
  ],
  [
    'a decoder that is something else',
    'sd',
    (f) => cpSync(join(layout('sd3'), 'transformer/model.onnx'), join(f, 'vae_decoder/model.onnx')),
    /^Expected an input latent_sample of .* has hidden_states, timestep, encoder_hidden_states and pooled_projections$/,
  ],
  [
    'a network with an input that nothing is known about',
    'sd',
    (f) => cpSync(join(layout('sd'), '../../onnx/controlled.onnx'), join(f, 'unet/model.onnx')),
    /^Nothing is known to feed the input mid_block_residual of .*unet.model\.onnx with$/,
  ],
  [
    'a network of another kind',
    'sd3',
    (f) => cpSync(join(layout('sdxl'), 'unet/model.onnx'), join(f, 'transformer/model.onnx')),
    /^Expected an input hidden_states of .*transformer.model\.onnx/,
  ],
  [
    'channels that do not fit',
    'sd',
    (f) => edit(f, 'unet/config.json', (json) => ({ ...json, in_channels: 8 })),
    /^Expected 4 input channels, or 9 of an inpainting network, in .*config\.json but found 8$/,
  ],
];
test("keeps a distilled folder's scheduler, and says so to who asks for DPM-Solver", async () => {
  const folder = changed((f) => {
    edit(f, 'model_index.json', (json) => ({ ...json, scheduler: ['diffusers', 'LCMScheduler'] }));
  }, layout('sd'));
  const pipe = await load(folder);
  const ask = { prompt: 'red', guidance: 1, steps: 4, seed: 3 };
  const { sample, nfe } = await pipe(ask);
  assert.is(nfe, 4);
  const scheduler = LCMScheduler.fromConfig(pipe.schedulerConfig);
  assertClose(sample.data, (await pipe({ ...ask, scheduler })).sample.data, { atol: 0 });
  const message =
    /^Expected LCMScheduler, the folder's own scheduler, for a network that was distilled .* option order/;
  await assertRejects(pipe({ ...ask, order: 2 }), TypeError, message);
  await assertRejects(pipe({ ...ask, scheduler: { order: 1 } }), TypeError, message);
});

test('keeps what may be the scheduler of a distilled network, and warns who asks for DPM-Solver', async () => {
  const eulerIn = (f: string, index: object = {}) => {
    edit(f, 'scheduler/scheduler_config.json', (json) => ({ ...json, timestep_spacing: 'trailing' }));
    edit(f, 'model_index.json', (json) => ({ ...json, scheduler: ['diffusers', 'EulerDiscreteScheduler'], ...index }));
  };
  const folder = changed(eulerIn, layout('sd'));
  const pipe = await load(folder);
  const heard: string[] = [];
  const ask = { prompt: 'red', guidance: 1, steps: 4, seed: 3, onWarning: (message: string) => heard.push(message) };
  const scheduler = EulerDiscreteScheduler.fromConfig(pipe.schedulerConfig);
  const { sample } = await pipe(ask);
  assertClose(sample.data, (await pipe({ ...ask, scheduler })).sample.data, { atol: 0 });
  assert.equal(heard, []);
  const solved = await pipe({ ...ask, order: 2 });
  assert.is(heard.length, 1);
  assert.match(heard[0], /^The folder's scheduler, EulerDiscreteScheduler with trailing timesteps, /);
  const same = DPMSolverMultistepScheduler.fromConfig(pipe.schedulerConfig);
  assertClose(solved.sample.data, (await pipe({ ...ask, scheduler: same })).sample.data, { rtol: 1e-5, scale: 'max' });
  // A name says more than a scheduler.
  const turbo = changed((f) => eulerIn(f, { _name_or_path: 'stabilityai/sd-turbo' }), layout('sd'));
  const message = /^Expected EulerDiscreteScheduler, the folder's own scheduler, for a network that was distilled /;
  await assertRejects((await load(turbo))({ ...ask, order: 2 }), TypeError, message);
});

for (const [name, model, change, message] of broken) {
  test(`says what is wrong with a directory with ${name}`, async () => {
    await assertRejects(DiffusionPipeline.fromPretrained(changed(change, layout(model))), Error, message);
  });
}

const mistakes: [string, 'sd' | 'flux', object, typeof RangeError | typeof TypeError, RegExp][] = [
  ['a width between latents', 'sd', { width: 20 }, RangeError, /^Expected a multiple of 8, .* for width .* 20$/],
  [
    'a height that cannot be packed',
    'flux',
    { width: 32, height: 24 },
    RangeError,
    /^Expected a multiple of 16, .* 24$/,
  ],
  ['a height of nothing', 'sd', { height: 0 }, RangeError, /for height/],
  ['too much rescaling', 'sd', { guidanceRescale: 1.5 }, RangeError, /from 0 to 1 for guidanceRescale .* 1\.5$/],
  [
    'an unknown solver option',
    'sd',
    { scheduler: { ordr: 1 } },
    TypeError,
    /^The scheduler option has no .*'order'\?$/,
  ],
  ['a scheduler by name', 'sd', { scheduler: 'ddim' }, TypeError, /^Expected an object of solver options or a sche/],
];
for (const [name, model, options, kind, message] of mistakes) {
  test(`refuses ${name}`, async () => {
    const pipe = await load(layout(model));
    await assertRejects(pipe({ ...one, ...options } as GenerateOptions), kind, message);
  });
}

test.run();
