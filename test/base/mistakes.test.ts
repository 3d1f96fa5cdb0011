// What people type who come from another code, and the one sentence that each of them gets: names, values, units, shapes,
// and what is easily handed over in place of a tensor.
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { DPMSolver, NoiseSchedule, randn, type Tensor } from '../../lib/index.js';
import { DiffusionPipeline } from '../../lib/pipelines/index.js';
import { DPMSolverMultistepScheduler } from '../../lib/schedulers/index.js';
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
  // The authors' code
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

function wordOf(option: string, typed: string, meant: string): RegExp {
  // The list of what there is stands in between.
  return new RegExp(
    `^Expected '.+ for ${option} but received '${typed}' of type string; did you mean '${meant.replaceAll('+', '\\+')}'\\?$`,
  );
}

for (const [from, what, message] of [...solver, ...tensors]) {
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
  await pipe.dispose();
});

test.run();
