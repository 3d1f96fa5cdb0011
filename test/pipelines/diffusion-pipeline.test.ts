// Prompts to pictures, with a network whose solution is known, and with the one that comes with the package.
import { readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { betas, NoiseSchedule, randn } from '../../lib/index.js';
import { DiffusionPipeline, type GenerateOptions, type Progress } from '../../lib/pipelines/index.js';
import { DPMSolverMultistepScheduler } from '../../lib/schedulers/index.js';
import { assertBitsEqual, assertClose, assertRejects, assertThrows } from '../support.js';
import { colorsOf } from './colors.js';
import { changed, constant, hasShapes, removeCopies, shapes } from './models.js';

const test = suite('DiffusionPipeline');
const open: DiffusionPipeline[] = [];

async function load(folder: string, options = {}): Promise<DiffusionPipeline> {
  const pipe = await DiffusionPipeline.fromPretrained(folder, options);
  open.push(pipe);
  return pipe;
}

test.after(async () => {
  await Promise.all(open.map((pipe) => pipe.dispose()));
  removeCopies();
});

const schedule = NoiseSchedule.discrete({ betas: betas('linear') });
const [alphaT, sigmaT] = [schedule.alpha(schedule.T), schedule.sigma(schedule.T)];
const [alpha0, sigma0] = [schedule.alpha(schedule.epsilon), schedule.sigma(schedule.epsilon)];

/** Where a picture ends up if the network predicts `color` throughout: at that colour, no noise is left. */
function expected(color: readonly number[]): Float64Array {
  return Float64Array.from({ length: 48 }, (_, i) => color[i >> 4]);
}

/** Where it ends up by a grid of the solver's own, at the schedule's first time: noise and colour go straight on. */
function atFirstTime(seed: number, color: readonly number[]): Float64Array {
  const noise = randn([1, 3, 4, 4], { seed }).data;
  return Float64Array.from(noise, (x, i) => alpha0 * color[i >> 4] + (sigma0 / sigmaT) * (x - alphaT * color[i >> 4]));
}

const red = [0.5, 0, 0];
const redBlue = [0.5, 0, -0.5];

test('is a function with the methods of a pipeline', async () => {
  const pipe = await load(constant);
  assert.type(pipe, 'function');
  assert.instance(pipe, DiffusionPipeline);
  const options: GenerateOptions = { prompt: 'red', seed: 1, steps: 2 };
  assertBitsEqual((await pipe(options)).sample.data, (await pipe.generate(options)).sample.data);
});

const solvers: GenerateOptions[] = [
  { prompt: '', order: 1 },
  { prompt: '', order: 2 },
  { prompt: '', order: 3, lowerOrderFinal: false },
  { prompt: '', order: 2, method: 'singlestep', solverType: 'taylor' },
  { prompt: '', order: 3, method: 'singlestep_fixed', skipType: 'logSNR' },
  { prompt: '', order: 2, algorithmType: 'dpmsolver', skipType: 'karras' },
];
for (const options of solvers) {
  const { prompt, ...chosen } = options;
  test(`solves what can be solved exactly: ${JSON.stringify(chosen)}`, async () => {
    const pipe = await load(constant);
    const exact = { ...options, prompt: 'red blue', guidance: null, seed: 7, steps: 9 };
    const { sample, nfe } = await pipe(exact);
    const want = chosen.method || chosen.skipType ? atFirstTime(7, redBlue) : expected(redBlue);
    // The noise that x0 implies loses digits in float32 where alpha is small.
    assertClose(sample.data, want, { atol: chosen.algorithmType === 'dpmsolver' ? 2e-3 : 2e-5 });
    assert.is(nfe, 9);
  });
}

test('guides away from the negative prompt', async () => {
  const pipe = await load(constant);
  const { sample } = await pipe({ prompt: 'red', negativePrompt: 'green', guidance: 3, seed: 5, steps: 6 });
  // u + 3 (c - u)
  assertClose(sample.data, expected([1.5, -0.5, 0]), { atol: 2e-5 });
});

test('calls the network once, with the prompt, for scales of at most 1', async () => {
  const pipe = await load(constant);
  const of = async (guidance: number | null) =>
    (await pipe({ prompt: 'red', negativePrompt: 'green', guidance, seed: 5, steps: 4 })).sample.data;
  assertClose(await of(1), expected(red), { atol: 2e-5 });
  assertBitsEqual(await of(null), await of(1));
  // What the cards of distilled networks say, after diffusers.
  assertBitsEqual(await of(0), await of(1));
});

test('adds the gradient of the classifier', async () => {
  const pipe = await load(constant);
  const prompt = 'a green square on a blue background';
  const { sample, timings } = await pipe({ prompt, classifierScale: 0.25, seed: 2, steps: 1, order: 1 });
  // In x0 a gradient g counts scale sigma^2 / alpha g; the labels are square 1, green 1 and blue 2.
  const shift = (0.25 * sigmaT ** 2) / alphaT;
  const want = expected([shift, shift, 2 * shift]);
  assertClose(sample.data, want, { rtol: 1e-4, scale: 'max' });
  assert.ok(timings.classifierMs! > 0);
  const conditional = await pipe({ prompt, classifierScale: 0, guidance: 1, seed: 2, steps: 1, order: 1 });
  assertClose(conditional.sample.data, expected([0, 0.25, -0.5]), { atol: 2e-5 });
});

test('numbers seeds, and counts prompts first', async () => {
  const pipe = await load(constant);
  const result = await pipe({ prompt: ['red', 'blue'], count: 2, guidance: null, seed: 10, steps: 3 });
  assert.equal(result.seeds, [10, 11, 12, 13]);
  assert.equal(result.sample.dims, [4, 3, 4, 4]);
  const want = [expected(red), expected(red), expected([0, 0, -0.5]), expected([0, 0, -0.5])];
  want.forEach((one, i) => {
    assertClose(result.sample.data.subarray(48 * i, 48 * (i + 1)), one, { atol: 2e-5 });
  });
  assert.is(result.images.length, 4);
  assert.equal([result.images[0].width, result.images[0].height, result.images[0].data.length], [4, 4, 48]);
  const chosen = await pipe({ prompt: ['red', 'blue'], seeds: [10, 12], guidance: null, steps: 3 });
  assertBitsEqual(chosen.sample.data.slice(48), result.sample.data.slice(96, 144));
  const random = await pipe({ prompt: 'red', steps: 1 });
  assertBitsEqual((await pipe({ prompt: 'red', steps: 1, seeds: random.seeds })).sample.data, random.sample.data);
});

for (const chosen of [
  {},
  { algorithmType: 'sde-dpmsolver++' },
  { method: 'adaptive', guidance: 2 },
] as Partial<GenerateOptions>[]) {
  test(`makes a picture that does not depend on its batch: ${JSON.stringify(chosen)}`, async () => {
    const pipe = await load(constant);
    const all = { prompt: ['red', 'green', 'blue'], count: 3, seed: 3, steps: 4, ...chosen };
    const once = await pipe({ ...all, batchSize: 9 });
    for (const batchSize of [1, 2, 4]) {
      assertBitsEqual((await pipe({ ...all, batchSize })).sample.data, once.sample.data);
    }
  });
}

test('reports progress and times', async () => {
  const pipe = await load(constant);
  const seen: Omit<Progress, 'x' | 't' | 'x0' | 'preview'>[] = [];
  const { timings, nfe } = await pipe({
    prompt: 'red',
    count: 3,
    batchSize: 2,
    steps: 3,
    onStep: ({ x, t, x0, preview: _, share = Number.NaN, ...rest }) => {
      assert.ok(t < schedule.T && x.dims[0] > 0);
      assert.equal(x0?.dims, x.dims);
      seen.push({ ...rest, share: Math.round(share * 1000) / 1000 });
    },
  });
  // Of 1000 training steps the network was told 999, 666 and 333: a call that goes on begins below those.
  const steps = [1, 2, 3].map((step) => ({ step, steps: 3, nfe: step, share: (1000 - 333 * (4 - step)) / 1000 }));
  assert.equal(
    seen,
    [0, 1].flatMap((batch) => steps.map((step) => ({ ...step, batch, batches: 2 }))),
  );
  assert.is(nfe, 3);
  assert.is(timings.networkCalls, 6);
  assert.ok(timings.networkMs > 0 && timings.stepMs > 0 && timings.encodeMs > 0 && timings.classifierMs === undefined);
  assert.ok(timings.networkTotalMs + timings.stepTotalMs + timings.encodeMs <= timings.totalMs);
});

test('runs float16 graphs', async () => {
  const pipe = await load(constant, { dtype: 'float16' });
  const { sample } = await pipe({ prompt: 'red blue', guidance: 1.5, seed: 7, steps: 5 });
  assertClose(sample.data, expected([0.75, 0, -0.75]), { atol: 2e-3 });
  const guided = await pipe({ prompt: 'a green square on a blue background', classifierScale: 0, seed: 7, steps: 2 });
  assertClose(guided.sample.data, expected([0, 0, 0]), { atol: 2e-3 });
});

test('takes its defaults from the scheduler configuration', async () => {
  const folder = changed((copy) => {
    const path = join(copy, 'scheduler/scheduler_config.json');
    const json = JSON.parse(readFileSync(path, 'utf8'));
    writeFileSync(path, JSON.stringify({ ...json, algorithm_type: 'sde-dpmsolver++', solver_order: 3 }));
  });
  const pipe = await load(folder);
  const ask = { prompt: 'red', seed: 1, steps: 5 };
  const own = (await pipe(ask)).sample.data;
  const plain = await load(constant);
  assertBitsEqual(own, (await plain({ ...ask, algorithmType: 'sde-dpmsolver++', order: 3 })).sample.data);
  // Nobody asked for order 3, so one step is no mistake.
  await pipe({ ...ask, steps: 1 });
});

test('reads scheduler_config.json as Python writes it', async () => {
  const folder = changed((copy) => {
    const path = join(copy, 'scheduler/scheduler_config.json');
    // As diffusers' own DPMSolverMultistepScheduler is saved.
    const text = readFileSync(path, 'utf8').replace('{', '{\n  "lambda_min_clipped": -Infinity,');
    writeFileSync(path, text);
  });
  const pipe = await load(folder);
  assert.is(pipe.schedulerConfig.lambda_min_clipped, -Infinity);
  const ask = { prompt: 'red', seed: 1, steps: 3 };
  const plain = await load(constant);
  assertBitsEqual((await pipe(ask)).sample.data, (await plain(ask)).sample.data);
  const scheduler = DPMSolverMultistepScheduler.fromConfig(pipe.schedulerConfig);
  assert.is((await pipe({ ...ask, scheduler })).nfe, 3);
});

test('stops when told to, before and between calls', async () => {
  const pipe = await load(constant);
  const reason = new Error('enough');
  await assertRejects(pipe({ prompt: 'red', signal: AbortSignal.abort(reason) }), Error, /^enough$/);
  const controller = new AbortController();
  let last = 0;
  const stopped = pipe({
    prompt: 'red',
    steps: 10,
    signal: controller.signal,
    onStep: ({ step }) => {
      last = step;
      if (step === 4) controller.abort(reason);
    },
  });
  await assertRejects(stopped, Error, /^enough$/);
  assert.is(last, 4);
});

test('stops within a call: one evaluation is all there is', async () => {
  const pipe = await load(shapes);
  const reason = new Error('enough');
  const controller = new AbortController();
  const stopped = pipe({ prompt: 'red', steps: 1, order: 1, count: 8, batchSize: 8, signal: controller.signal });
  setTimeout(() => controller.abort(reason), 10);
  await assertRejects(stopped, Error, /^enough$/);
});

test('passes on what a callback throws', async () => {
  const pipe = await load(constant);
  const onStep = () => {
    throw new Error('no more');
  };
  await assertRejects(pipe({ prompt: 'red', onStep }), Error, /^no more$/);
});

test('stops at numbers that are not finite', async () => {
  const pipe = await load(constant);
  await assertRejects(
    pipe({ prompt: 'red', guidance: 1e39 }),
    Error,
    /^Expected finite numbers for the network output/,
  );
});

test('serves several calls at once', async () => {
  const pipe = await load(constant);
  const calls = [1, 2, 3].map((seed) => ({ prompt: 'red', seed, steps: 5 }));
  const together = await Promise.all(calls.map((call) => pipe(call)));
  for (const [i, call] of calls.entries()) assertBitsEqual(together[i].sample.data, (await pipe(call)).sample.data);
});

test('cannot be used after dispose', async () => {
  const pipe = await DiffusionPipeline.fromPretrained(constant);
  const running = pipe({ prompt: 'red', steps: 1 });
  await running;
  await pipe.dispose();
  await pipe.dispose();
  await assertRejects(pipe({ prompt: 'red' }), Error, /disposed/);
});

const mistakes: [string, object, typeof RangeError | typeof TypeError, RegExp][] = [
  ['an unknown option', { step: 3 }, TypeError, /^The pipeline has no option 'step'; did you mean 'steps'\?$/],
  ['no prompt', { prompt: undefined }, TypeError, /^Expected a string or strings for prompt/],
  ['no prompts', { prompt: [] }, RangeError, /^Expected at least one string for prompt/],
  ['an unknown word', { prompt: 'a pink circle' }, RangeError, /the word 'pink'/],
  ['an unknown word in the negative prompt', { negativePrompt: 'ugly' }, RangeError, /the word 'ugly'/],
  [
    'negative prompts that do not match',
    { negativePrompt: ['a', 'on'] },
    RangeError,
    /one for each of 1 prompts .* 2$/,
  ],
  ['what cannot be called', { onStep: 5 }, TypeError, /^Expected a function for onStep but received 5/],
  ['a warning nobody hears', { onWarning: 'log' }, TypeError, /^Expected a function for onWarning but received 'log'/],
  ['what is no signal', { signal: {} }, TypeError, /^Expected an AbortSignal for signal but received Object/],
  ['steps without end', { steps: 1e9 }, RangeError, /^Expected a whole number from 1 to 1000000 for steps/],
  [
    'pictures without end',
    { count: 1e9 },
    RangeError,
    /^Expected at most 1073741824 pixels in all pictures of a call but received 1000000000 of 4 x 4$/,
  ],
  ['a picture without end', { width: 1e9, height: 1e9 }, RangeError, /^Expected at most 1073741824 pixels in all/],
  ['half a step', { steps: 1.5 }, RangeError, /for steps/],
  ['no pictures', { count: 0 }, RangeError, /for count/],
  ['seed and seeds', { seed: 1, seeds: [1] }, TypeError, /either seed or seeds/],
  ['too few seeds', { count: 2, seeds: [1] }, RangeError, /^Expected 2 seeds, one a picture, but received 1$/],
  ['a fractional seed', { seed: 0.5 }, RangeError, /for seed/],
  ['guidance that is no number', { guidance: '3' }, TypeError, /for guidance/],
  ['both kinds of guidance', { guidance: 3, classifierScale: 1 }, RangeError, /beside classifierScale/],
  [
    'a prompt without labels',
    { classifierScale: 1 },
    RangeError,
    /^Classifier guidance needs a prompt like 'a red circle/,
  ],
  ['steps below the order', { steps: 1, order: 2 }, RangeError, /for steps/],
  ['an unknown solver', { algorithmType: 'ddim' }, TypeError, /for algorithmType/],
  ['an adaptive SDE', { algorithmType: 'sde-dpmsolver++', method: 'adaptive' }, RangeError, /algorithmType/],
  ['thresholding of noise', { algorithmType: 'dpmsolver', thresholding: true }, RangeError, /thresholding/],
];
for (const [name, options, errorClass, message] of mistakes) {
  test(`refuses ${name}`, async () => {
    const pipe = await load(constant);
    await assertRejects(pipe({ prompt: 'red', ...options } as GenerateOptions), errorClass, message);
    await assertRejects(pipe.check({ prompt: 'red', ...options } as GenerateOptions), errorClass, message);
  });
}

test('checks a call without making it, and tells its defaults', async () => {
  const pipe = await load(constant);
  let steps = 0;
  const onStep = () => {
    steps++;
  };
  assert.is(await pipe.check({ prompt: 'red', steps: 3, onStep }), undefined);
  assert.is(steps, 0);
  assert.equal(pipe.defaults, { width: 4, height: 4, multiple: 1, steps: 20, guidance: 3 });
});

const damages: [string, (folder: string) => void, RegExp][] = [
  ['no model_index.json', (f) => rmSync(join(f, 'model_index.json')), /^Expected model_index\.json in .* but found/],
  [
    'no network',
    (f) => rmSync(join(f, 'unet/model.onnx')),
    /^Expected unet\/model\.onnx in .* found config\.json, model_fp16/,
  ],
  [
    'a misnamed folder',
    (f) => renameSync(join(f, 'unet'), join(f, 'Unet_')),
    /^Expected unet\/model\.onnx .* no folder/,
  ],
  [
    'a corrupt network',
    (f) => writeFileSync(join(f, 'unet/model.onnx'), 'x'),
    /^Expected an ONNX graph in .*unet.model\.onnx but it is something else$/,
  ],
  [
    'no text encoder',
    (f) => renameSync(join(f, 'text_encoder/model.onnx'), join(f, 'unet/model.onnx')),
    /^Expected text_encoder\/model\.onnx/,
  ],
  ['no scheduler configuration', (f) => rmSync(join(f, 'scheduler'), { recursive: true }), /^Expected scheduler\/sche/],
  [
    'a wrong prediction type',
    (f) => writeFileSync(join(f, 'scheduler/scheduler_config.json'), '{"prediction_type":"x"}'),
    /scheduler_config\.json: Expected .* for prediction_type but received 'x'/,
  ],
  [
    'a broken configuration',
    (f) => writeFileSync(join(f, 'unet/config.json'), '{'),
    /unet.config\.json could not be read as/,
  ],
  [
    'no size that there is',
    (f) => writeFileSync(join(f, 'unet/config.json'), '{"in_channels":3,"sample_size":0}'),
    /^Expected whole numbers for in_ch/,
  ],
  [
    'no VAE',
    (f) => writeFileSync(join(f, 'model_index.json'), '{"vae_decoder":[]}'),
    /^Expected vae_decoder\/model\.onnx/,
  ],
];
for (const [name, change, message] of damages) {
  test(`says what is wrong with a directory with ${name}`, async () => {
    await assertRejects(DiffusionPipeline.fromPretrained(changed(change)), Error, message);
  });
}

test('says that a graph is not the one expected', async () => {
  const swapped = changed((f) => {
    writeFileSync(join(f, 'unet/model.onnx'), readFileSync(join(f, 'classifier/model.onnx')));
  });
  await assertRejects(DiffusionPipeline.fromPretrained(swapped), Error, /^Expected an output sample of .*gradient$/);
});

test('refuses wrong options for loading', async () => {
  const from = (folder: unknown, options = {}) => DiffusionPipeline.fromPretrained(folder as string, options);
  await assertRejects(from(3), TypeError, /^Expected the path of a folder/);
  await assertRejects(from('/nowhere'), Error, /^Expected model_index\.json in \/nowhere but there is no such folder$/);
  await assertRejects(from(constant, { dtype: 'int8' }), TypeError, /for dtype/);
  await assertRejects(from(constant, { providers: [] }), TypeError, /'providers'/);
  await assertRejects(from(constant, { executionProviders: 'cpu' }), TypeError, /^Expected an array of .* 'cpu'/);
  await assertRejects(from(constant, { networkThreads: -1 }), RangeError, /for networkThreads but received -1$/);
});

test('says so where there is no classifier', async () => {
  const pipe = await load(
    changed((f) => {
      rmSync(join(f, 'classifier'), { recursive: true });
      writeFileSync(join(f, 'model_index.json'), '{}');
    }),
  );
  const asked = pipe({ prompt: 'a red circle on a blue background', classifierScale: 1 });
  await assertRejects(asked, RangeError, /has no classifier$/);
});

// The network that comes with the package: meaning, not mathematics.
const trained = hasShapes ? test : test.skip;
const prompt = 'a red circle on a blue background';

trained('draws the same picture from the same seed, another from another', async () => {
  const pipe = await load(shapes);
  const ask = { prompt, steps: 5, seed: 4 };
  const first = await pipe(ask);
  assertBitsEqual((await pipe(ask)).images[0].data, first.images[0].data);
  assert.not.equal((await pipe({ ...ask, seed: 5 })).images[0].data, first.images[0].data);
  assert.is(first.nfe, 5);
});

trained('draws a picture alone as it does in company', async () => {
  const pipe = await load(shapes);
  const ask = { prompt: [prompt, 'a small yellow star on a black background'], count: 2, steps: 5, seed: 4 };
  const together = (await pipe(ask)).sample.data;
  for (const batchSize of [1, 3]) {
    // onnxruntime sums in another order for another batch.
    assertClose((await pipe({ ...ask, batchSize })).sample.data, together, { atol: 2e-3 });
  }
});

trained('draws the colours that the prompt says', async () => {
  const pipe = await load(shapes);
  const { images } = await pipe({ prompt, count: 8, steps: 15, guidance: 3, seed: 0 });
  const found = images.map(colorsOf);
  const right = found.filter(({ color, background }) => color === 'red' && background === 'blue');
  assert.ok(right.length >= 7, `${right.length} of 8 pictures are right: ${JSON.stringify(found)}`);
});

trained('draws the colours that the classifier asks for, from a network without a prompt', async () => {
  const pipe = await load(shapes);
  const wanted = ['red circle on a blue', 'yellow star on a purple', 'green square on a white', 'cyan ring on a black'];
  const prompts = wanted.map((words) => `a ${words} background`);
  const share = async (classifierScale: number) => {
    const { images } = await pipe({ prompt: prompts, count: 8, steps: 20, classifierScale, seed: 0 });
    const right = images.filter((image, i) => {
      const { color, background } = colorsOf(image);
      const [first, , , , last] = wanted[i >> 3].split(' ');
      return color === first && background === last;
    });
    return right.length / images.length;
  };
  // By chance one in 56 is right.
  const [without, guided] = [await share(0), await share(4)];
  assert.ok(without <= 0.15, `${without} of the pictures are right without guidance`);
  assert.ok(guided >= 0.5, `${guided} of the pictures are right with guidance`);
});

trained('draws other pictures with other guidance, prompts and negative prompts', async () => {
  const pipe = await load(shapes);
  const ask = { prompt, steps: 5, seed: 4 };
  const pictures = await Promise.all(
    [
      {},
      { guidance: null },
      { guidance: 6 },
      { classifierScale: 2 },
      { prompt: 'a red circle on a green background' },
      { negativePrompt: 'a white ring' },
      { algorithmType: 'sde-dpmsolver++' as const },
      { thresholding: true },
    ].map(async (options) => (await pipe({ ...ask, ...options })).sample.data),
  );
  pictures.forEach((picture, i) => {
    for (const other of pictures.slice(0, i))
      assertThrows(() => assertClose(picture, other, { atol: 1e-3 }), Error, /of \d+ elements/);
  });
});

test.run();
