// What people type who come from another code, and the one sentence that each of them gets: names, values, units, shapes,
// and what is easily handed over in place of a tensor.
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { betas, DPMSolver, NoiseSchedule, randn, type Tensor } from '../../lib/index.js';
import { DiffusionPipeline, encodePng, readPng } from '../../lib/pipelines/index.js';
import { DDIMScheduler, DPMSolverMultistepScheduler } from '../../lib/schedulers/index.js';
import { constant } from '../pipelines/models.js';
import { assertRejects } from '../support.js';

const test = suite('first mistakes');
// biome-ignore lint/suspicious/noExplicitAny: wrong types are the point
type Anything = any;

const schedule = NoiseSchedule.linear();
const dims = [1, 4, 2, 3];
const xT = randn(dims, { seed: 0 });
const like = (x: Tensor): Tensor => ({ data: new Float32Array(24), dims: x.dims });
const make = (options: Anything) => new DPMSolver(null, schedule, options);
const start = (options: Anything, x: Anything = xT) => new DPMSolver(null, schedule).start(x, options);
/** What the network gave, in the loop of its owner. */
const advance = (output: Anything) => start({ steps: 2 }).advance(output);
const detached = new Float32Array(24);
structuredClone(detached, { transfer: [detached.buffer] });

type Mistake = [from: string, what: () => unknown, message: string | RegExp];

const solver: Mistake[] = [
  // diffusers and diffusers.js
  ['diffusers', () => start({ num_inference_steps: 20 }), optionOf('the run', 'num_inference_steps', 'steps')],
  ['diffusers.js', () => start({ numInferenceSteps: 20 }), optionOf('the run', 'numInferenceSteps', 'steps')],
  ['diffusers', () => make({ prediction_type: 'epsilon' }), optionOf('the solver', 'prediction_type', 'modelType')],
  ['diffusers', () => make({ algorithm_type: 'dpmsolver' }), optionOf('the solver', 'algorithm_type', 'algorithmType')],
  ['diffusers', () => start({ use_karras_sigmas: true }), optionOf('the run', 'use_karras_sigmas', 'skipType')],
  ['diffusers', () => start({ solver_order: 2 }), optionOf('the run', 'solver_order', 'order')],
  ['diffusers', () => start({ callback_on_step_end: like }), optionOf('the run', 'callback_on_step_end', 'onStep')],
  [
    'diffusers',
    () => make({ solver_order: 2 }),
    "Expected the option 'order' with sample() or start() but received the option 'solver_order' for the solver",
  ],
  [
    'diffusers',
    () => start({ guidance_scale: 7.5 }),
    "Expected the option 'guidance' with new DPMSolver() but received the option 'guidance_scale' for the run",
  ],
  ['diffusers', () => make({ modelType: 'epsilon' }), wordOf('modelType', 'epsilon', 'noise')],
  ['diffusers', () => make({ modelType: 'sample' }), wordOf('modelType', 'sample', 'x_start')],
  ['diffusers', () => make({ modelType: 'v_prediction' }), wordOf('modelType', 'v_prediction', 'v')],
  ['diffusers', () => make({ modelType: 'flow_prediction' }), wordOf('modelType', 'flow_prediction', 'flow')],
  ['diffusers', () => start({ final_sigmas_type: 'zero' }), optionOf('the run', 'final_sigmas_type', 'denoiseToZero')],
  ['diffusers', () => start({ euler_at_final: true }), optionOf('the run', 'euler_at_final', 'lowerOrderFinal')],
  ['diffusers', () => start({ strength: 0.5 }), optionOf('the run', 'strength', 'tStart')],
  ['diffusers', () => make({ guidance_rescale: 0.7 }), optionOf('the solver', 'guidance_rescale', 'guidance')],
  [
    'diffusers',
    () => make({ beta_schedule: 'linear' }),
    "Expected the option 'betas' with NoiseSchedule.discrete() but received the option 'beta_schedule' for the solver",
  ],
  [
    'diffusers',
    () => make({ flow_shift: 3 }),
    "Expected the option 'shift' with NoiseSchedule.flow() but received the option 'flow_shift' for the solver",
  ],
  [
    'diffusers',
    () => new DPMSolver(null, { beta_schedule: 'linear' } as Anything),
    'Expected a NoiseSchedule for schedule but received Object of type object: NoiseSchedule.discrete({ betas: betas(name) }) makes one',
  ],
  [
    'diffusers',
    () => betas('linear', 1000, { beta_start: 0.1 } as Anything),
    "Expected the options start and end for betas('linear') but received the option 'beta_start'; did you mean 'start'?",
  ],
  [
    'diffusers',
    () => randn(dims, { generator: 1 } as Anything),
    "Expected the options seed and type for randn but received the option 'generator'; did you mean 'seed'?",
  ],
  ['PyTorch', () => (randn as Anything)(1, 4, 8, 8), 'Expected an array of positive integers for dims but received 1'],
  [
    'PyTorch',
    () => randn(dims, 0 as Anything),
    'Expected an object with a seed, { seed: 0 }, for options but received 0',
  ],
  [
    'PyTorch',
    () => randn(dims, { seed: 0, dtype: 'float64' } as Anything),
    "Expected the options seed and type for randn but received the option 'dtype'; did you mean 'type'?",
  ],
  [
    'diffusers',
    () => DPMSolverMultistepScheduler.fromConfig(DDIMScheduler.fromConfig({}) as Anything),
    'Expected an object or JSON text for the scheduler configuration but received DDIMScheduler of type object: pass its config',
  ],
  [
    'diffusers',
    () => DPMSolverMultistepScheduler.fromConfig('scheduler/scheduler_config.json'),
    'Expected an object or JSON text for the scheduler configuration but received text that is not JSON, but a path: read the file first',
  ],
  [
    "this package's solver",
    () => DPMSolverMultistepScheduler.fromConfig({ prediction_type: 'noise' } as Anything),
    wordOf('prediction_type', 'noise', 'epsilon'),
  ],
  // The authors' code
  ['the official code', () => make({ condition: like }), optionOf('the solver', 'condition', 'guidance')],
  ['the official code', () => make({ classifier_fn: like }), optionOf('the solver', 'classifier_fn', 'guidance')],
  [
    'the official code',
    () => new (NoiseSchedule as Anything)('discrete'),
    'Expected NoiseSchedule.discrete(), linear(), cosine(), flow() or edm() but received new NoiseSchedule()',
  ],
  ['the official code', () => start({ skip_type: 'logSNR' }), optionOf('the run', 'skip_type', 'skipType')],
  ['the official code', () => start({ t_start: 1 }), optionOf('the run', 't_start', 'tStart')],
  [
    'the official code',
    () => start({ return_intermediate: true }),
    optionOf('the run', 'return_intermediate', 'intermediates'),
  ],
  [
    'the official code',
    () => make({ correcting_x0_fn: like }),
    optionOf('the solver', 'correcting_x0_fn', 'correctX0'),
  ],
  [
    'the official code',
    () => make({ steps: 20 }),
    "Expected the option 'steps' with sample() or start() but received it for the solver",
  ],
  [
    'the official code',
    () => start({ modelType: 'v' }),
    "Expected the option 'modelType' with new DPMSolver() but received it for the run",
  ],
  // ComfyUI, A1111
  ['ComfyUI', () => make({ cfg: 7 }), optionOf('the solver', 'cfg', 'guidance')],
  ['ComfyUI', () => start({ skipType: 'sgm_uniform' }), wordOf('skipType', 'sgm_uniform', 'time_uniform')],
  ['ComfyUI', () => make({ algorithmType: 'dpmpp_2m' }), wordOf('algorithmType', 'dpmpp_2m', 'dpmsolver++')],
  ['ComfyUI', () => start({ noise_seed: 1 }), optionOf('the run', 'noise_seed', 'seed')],
  ['ComfyUI', () => start({ denoise: 0.5 }), optionOf('the run', 'denoise', 'tStart')],
  ['ComfyUI', () => start({ scheduler: 'karras' }), optionOf('the run', 'scheduler', 'skipType')],
  ['ComfyUI', () => start({ skipType: 'align_your_steps' }), wordOf('skipType', 'align_your_steps', 'ays')],
  [
    'A1111',
    () => make({ algorithmType: 'DPM++ 2M SDE Karras' }),
    wordOf('algorithmType', 'DPM++ 2M SDE Karras', 'sde-dpmsolver++'),
  ],
  // Anybody
  ['anybody', () => start({ stesp: 20 }), optionOf('the run', 'stesp', 'steps')],
  ['anybody', () => start({ method: 'multi' }), wordOf('method', 'multi', 'multistep')],
  ['anybody', () => start({ skipType: 'log_snr' }), wordOf('skipType', 'log_snr', 'logSNR')],
  [
    'anybody',
    () => make({ guidance: 7.5 }),
    "Expected { type: 'classifier-free', scale: 7.5 } for guidance but received 7.5 of type number",
  ],
  [
    'anybody',
    () => new DPMSolver({ run: like } as Anything, schedule),
    'Expected a function that runs it or null for model but received Object of type object',
  ],
  [
    'anybody',
    () => new DPMSolver(schedule as Anything, like as Anything),
    'Expected a function or null for model but received NoiseSchedule of type object: the schedule comes after it',
  ],
  [
    'anybody',
    () => start({ signal: new AbortController() }),
    'Expected an AbortSignal for signal but received AbortController of type object: pass its signal',
  ],
  [
    'anybody',
    () => start({ tStart: 999 }),
    'Expected a time between 0 and 1 for tStart but received 999, which is outside the schedule',
  ],
];

const T = 'Expected a tensor { data, dims, type? } for';
const tensors: Mistake[] = [
  [
    'a forgotten await',
    () => advance(Promise.resolve(like(xT))),
    `${T} the network output but received Promise: await it`,
  ],
  [
    "a session's whole result",
    () => advance({ out_sample: like(xT) }),
    `${T} the network output but received a map of outputs: pass its 'out_sample'`,
  ],
  [
    'one of several outputs',
    () => advance({ a: like(xT), b: like(xT) }),
    `${T} the network output but received a map of the outputs 'a' and 'b': pass one of them`,
  ],
  [
    'an output by another name',
    () => advance(({ out_sample: like(xT) } as Anything).sample),
    `${T} the network output but received undefined: is that the name of the output, and is it returned?`,
  ],
  [
    'several tensors',
    () => advance([like(xT), like(xT)]),
    `${T} the network output but received an array of tensors: pass one of them`,
  ],
  [
    'both predictions of guidance that was not asked for',
    () => advance({ data: new Float32Array(48), dims: [2, 4, 2, 3] }),
    'Expected dims [1, 4, 2, 3] for the network output but received [2, 4, 2, 3]: that is the batch twice, and guidance makes one prediction of both',
  ],
  [
    'one prediction where guidance takes two',
    () =>
      make({ guidance: { type: 'classifier-free', scale: 7 } })
        .start(xT, { steps: 2 })
        .advance(like(xT)),
    'Expected dims [2, 4, 2, 3] for the network output but received [1, 4, 2, 3]: guidance takes both predictions, of a batch that comes twice',
  ],
  [
    'a learned variance',
    () => advance({ data: new Float32Array(48), dims: [1, 8, 2, 3] }),
    'Expected dims [1, 4, 2, 3] for the network output but received [1, 8, 2, 3]: of twice the channels the first half is the prediction, the rest its variance',
  ],
  [
    'shape in place of dims',
    () => advance({ data: new Float32Array(24), shape: dims }),
    'Expected an array of sizes for the network output.dims but received undefined of type undefined: its shape has to be called dims',
  ],
  [
    'an array of numbers',
    () => start({}, { data: [1, 2, 3], dims: [1, 3] }),
    "Expected a Float32Array, Float64Array, Float16Array, or a Uint16Array with type 'float16', for xT.data but received Array: Float32Array.from() makes one of numbers",
  ],
  [
    'numbers without sizes',
    () => advance(new Float32Array(24)),
    `${T} the network output but received Float32Array alone: { data, dims } says its sizes, too`,
  ],
  [
    'sizes in place of noise',
    () => start({}, dims),
    `${T} xT but received an array: randn(dims, { seed }) makes noise, { data, dims } a tensor of your numbers`,
  ],
  [
    'height and width before channels',
    () => advance({ data: new Float32Array(24), dims: [1, 2, 3, 4] }),
    'Expected dims [1, 4, 2, 3] for the network output but received [1, 2, 3, 4]: channels come before height and width',
  ],
  [
    'no batch',
    () => advance({ data: new Float32Array(24), dims: [4, 2, 3] }),
    'Expected dims [1, 4, 2, 3] for the network output but received [4, 2, 3]: the first of dims is the batch',
  ],
  [
    'pixels as bytes',
    () => start({}, { data: new Uint8ClampedArray(24), dims }),
    "Expected a Float32Array, Float64Array, Float16Array, or a Uint16Array with type 'float16', for xT.data but received Uint8ClampedArray: pixels are v / 127.5 - 1 for a network",
  ],
  [
    'a detached buffer',
    () => advance({ data: detached, dims }),
    'Expected 24 elements, the product of its dims [1, 4, 2, 3], for the network output.data but received 0: its buffer is detached, as one is that was given to a worker or disposed of',
  ],
  [
    'a forgotten await at a scheduler',
    () => {
      const scheduler = DPMSolverMultistepScheduler.fromConfig({});
      scheduler.setTimesteps(3);
      scheduler.step(Promise.resolve(like(xT)) as Anything, scheduler.timesteps[0]!, xT);
    },
    `${T} the model output but received Promise: await it`,
  ],
];

function optionOf(call: string, typed: string, meant: string): string {
  return `Expected a known option for ${call} but received the option '${typed}'; did you mean '${meant}'?`;
}

function plain(text: string): string {
  return text.replaceAll('+', '\\+');
}

function wordOf(option: string, typed: string, meant: string): RegExp {
  // The list of what there is stands in between.
  return new RegExp(
    `^Expected '.+ for ${option} but received '${plain(typed)}' of type string; did you mean '${plain(meant)}'\\?$`,
  );
}

const P = 'Expected a picture { width, height, data } of bytes for image but received';
const images: Mistake[] = [
  ['a whole result', () => encodePng({ images: [] } as Anything), `${P} Object of type object: pass one of its images`],
  ['all pictures', () => encodePng([] as Anything), `${P} Array of type object: pass one of them`],
  ['a forgotten await', () => encodePng(Promise.resolve() as Anything), `${P} Promise of type object: await it`],
  [
    'a canvas',
    () => encodePng({ width: 1, height: 1, data: new Uint8ClampedArray(4) } as Anything),
    'Expected 3 bytes, 3 a pixel, for image.data but received 4: every fourth is alpha, which has to be left out',
  ],
  [
    'fetch',
    () => readPng(new ArrayBuffer(9) as Anything),
    'Expected a path or the bytes of a PNG file, a Uint8Array, for the picture but received ArrayBuffer of type object: new Uint8Array() makes bytes of it',
  ],
];

for (const [from, what, message] of [...solver, ...tensors, ...images]) {
  test(`${from}: ${String(message).slice(-60)}`, () => {
    try {
      what();
    } catch (error) {
      assert.ok(error instanceof TypeError || error instanceof RangeError, String(error));
      if (typeof message === 'string') assert.is(error.message, message);
      else assert.match(error.message, message);
      return;
    }
    assert.unreachable('it was taken');
  });
}

const pictures: [from: string, options: object, message: string][] = [
  ['diffusers', { num_inference_steps: 5 }, "no option 'num_inference_steps'; did you mean 'steps'?"],
  ['diffusers.js', { guidanceScale: 7 }, "no option 'guidanceScale'; did you mean 'guidance'?"],
  ['diffusers', { num_images_per_prompt: 2 }, "no option 'num_images_per_prompt'; did you mean 'count'?"],
  ['diffusers', { negative_prompt: 'red' }, "no option 'negative_prompt'; did you mean 'negativePrompt'?"],
  ['diffusers', { generator: 1 }, "no option 'generator'; did you mean 'seed'?"],
  ['diffusers', { mask_image: 1 }, "no option 'mask_image'; did you mean 'mask'?"],
  ['A1111', { cfg_scale: 7 }, "no option 'cfg_scale'; did you mean 'guidance'?"],
  ['A1111', { denoising_strength: 0.5 }, "no option 'denoising_strength'; did you mean 'strength'?"],
  ['A1111', { init_images: [] }, "no option 'init_images'; did you mean 'image'?"],
  ['OpenAI', { n: 2 }, "no option 'n'; did you mean 'count'?"],
  ['OpenAI', { size: '4x4' }, "no option 'size'; did you mean 'width'?"],
  ['OpenAI', { response_format: 'b64_json' }, "no option 'response_format'"],
  ['A1111', { n_iter: 2 }, "no option 'n_iter'; did you mean 'count'?"],
];
const picture = { width: 4, height: 4, data: new Uint8Array(48) };
const values: [from: string, options: unknown, message: string][] = [
  [
    'OpenAI',
    'a red circle',
    "Expected an object with a prompt for the call but received 'a red circle' of type string: pass { prompt }",
  ],
  ['a path', { image: 'a.png' }, `${P} 'a.png' of type string: readPng() gives one of a file or its bytes`],
  ['a file', { image: Buffer.alloc(9) }, `${P} Buffer of type object: readPng() gives one of a file or its bytes`],
  [
    'a tensor',
    { image: { data: new Float32Array(48), dims: [1, 3, 4, 4] } },
    `${P} Object of type object: a byte is 127.5 (x + 1), red, green and blue of each pixel`,
  ],
  ['per cent', { image: picture, strength: 50 }, 'Expected a number above 0 and up to 1 for strength but received 50'],
  [
    'diffusers',
    { scheduler: 'DDIMScheduler' },
    "Expected an object of solver options or a scheduler for scheduler but received 'DDIMScheduler' of type string: DDIMScheduler.fromConfig(pipe.schedulerConfig) of dpm-solver/schedulers makes one",
  ],
  [
    'diffusers',
    { scheduler: DDIMScheduler },
    'Expected an object of solver options or a scheduler for scheduler but received a function of type function: DDIMScheduler.fromConfig(pipe.schedulerConfig) of dpm-solver/schedulers makes one',
  ],
  [
    'ComfyUI',
    { scheduler: 'dpmpp_2m' },
    "Expected an object of solver options or a scheduler for scheduler but received 'dpmpp_2m' of type string: { algorithmType: 'dpmsolver++' }",
  ],
  [
    'diffusers',
    { seed: [1, 2] },
    'Expected a number for seed but received Array of type object: seeds takes one for each picture',
  ],
];
const loading: [from: string, options: object, message: RegExp][] = [
  ['diffusers', { torch_dtype: 'float16' }, /received the option 'torch_dtype'; did you mean 'dtype'\?$/],
  [
    'diffusers',
    { dtype: 'fp16' },
    /^Expected .+ for dtype but received 'fp16' of type string; did you mean 'float16'\?$/,
  ],
  [
    'diffusers.js',
    { device: 'gpu' },
    /^Expected .+ for device but received 'gpu' of type string; did you mean 'auto'\?$/,
  ],
  ['diffusers', { device: 'cuda:0' }, /received 'cuda:0' of type string; did you mean 'cuda'\?$/],
];

test('calls of pipelines', async () => {
  const pipe = await DiffusionPipeline.fromPretrained(constant);
  for (const [from, options, message] of pictures) {
    const { message: got } = await assertRejects(
      pipe({ prompt: 'red', ...options } as Anything),
      TypeError,
      /^The pipeline/,
    );
    assert.is(got, `The pipeline has ${message}`, from);
  }
  for (const [from, options, message] of values) {
    const call = typeof options === 'string' ? options : { prompt: 'red', ...(options as object) };
    const { message: got } = await assertRejects(
      pipe(call as Anything),
      from === 'per cent' ? RangeError : TypeError,
      /^Expected/,
    );
    assert.is(got, message, from);
  }
  await pipe.dispose();
  for (const [, options, message] of loading) {
    await assertRejects(DiffusionPipeline.fromPretrained(constant, options), TypeError, message);
  }
  const made = () => new (DiffusionPipeline as Anything)('shapes');
  assert.throws(
    made,
    /^Expected await DiffusionPipeline\.fromPretrained\(folder\) but received new DiffusionPipeline\(\)$/,
  );
});

test.run();
