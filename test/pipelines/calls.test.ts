// What calls do to each other, to the process and to what they are given, on folders that other tools wrote.
import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { DiffusionPipeline, type GenerateOptions } from '../../lib/pipelines/index.js';
import { knownClass } from '../../lib/schedulers/from-config.js';
import * as schedulers from '../../lib/schedulers/index.js';
import { DDIMScheduler, schedulerFromConfig } from '../../lib/schedulers/index.js';
import { assertBitsEqual, assertRejects } from '../support.js';
import { exported, folder, madeAt, picture } from './exports.js';
import { changed, constant, removeCopies } from './models.js';

const test = suite('calls');
const open: DiffusionPipeline[] = [];

async function load(path: string): Promise<DiffusionPipeline> {
  const pipe = await DiffusionPipeline.fromPretrained(path);
  open.push(pipe);
  return pipe;
}

const loaded = new Map<string, Promise<DiffusionPipeline>>();
/** The folder of an export, for the tests that only call it. */
function loadOnce(name: string): Promise<DiffusionPipeline> {
  const pipe = loaded.get(name) ?? load(folder(name));
  loaded.set(name, pipe);
  return pipe;
}

test.after(async () => {
  await Promise.all(open.map((pipe) => pipe.dispose()));
  removeCopies();
  const made = madeAt();
  if (made) rmSync(made, { recursive: true });
});

/** A copy of an exported folder with a JSON file changed. */
function edited(name: string, file: string, change: Record<string, unknown>): string {
  return changed((path) => {
    const place = join(path, file);
    writeFileSync(place, JSON.stringify({ ...JSON.parse(readFileSync(place, 'utf8')), ...change }));
  }, folder(name));
}

const ask = { prompt: 'a red circle', steps: 4, seed: 3 };

/** A folder for every class that a call takes: one whose file it is made of, or else its own defaults. */
const CLASSES: readonly [model: string, names: readonly string[]][] = [
  [
    'sd1',
    [
      ...['DDIM', 'DDIMInverse', 'DDPM', 'PNDM', 'LCM', 'TCD', 'DEISMultistep', 'UniPCMultistep', 'SASolver'],
      ...['DPMSolverMultistep', 'DPMSolverSinglestep', 'DPMSolverMultistepInverse', 'EulerDiscrete', 'HeunDiscrete'],
      ...['EulerAncestralDiscrete', 'KDPM2Discrete', 'KDPM2AncestralDiscrete', 'LMSDiscrete'],
      ...['CMStochasticIterative', 'CogVideoXDDIM', 'CogVideoXDPM', 'CosineDPMSolverMultistep', 'IPNDM'],
    ],
  ],
  [
    'sd3',
    [
      ...['FlowMatchEulerDiscrete', 'FlowMatchHeunDiscrete', 'FlowMatchLCM', 'LTXEulerAncestralRF', 'MiniMaxH3'],
      ...['DPMSolverMultistep', 'DPMSolverSinglestep', 'DEISMultistep', 'UniPCMultistep', 'SASolver'],
    ],
  ],
  ['playground', ['EDMDPMSolverMultistep', 'EDMEuler']],
];
/** No file of another class is theirs. */
const OWN = /^(CMStochasticIterative|CogVideoX|CosineDPM|IPNDM|MiniMaxH3)/;

for (const [model, names] of CLASSES) {
  for (const name of names) {
    test(`two calls at once with one ${name}Scheduler are two runs, on ${model}`, async () => {
      const pipe = await loadOnce(model);
      const file = OWN.test(name) ? {} : pipe.schedulerConfig;
      const Class = knownClass(`${name}Scheduler`) as unknown as typeof DDIMScheduler;
      const make = () => Class.fromConfig(file);
      const asks = [ask, { ...ask, seed: 4, steps: 5 }];
      const scheduler = make();
      const together = await Promise.all(asks.map((one) => pipe({ ...one, scheduler })));
      for (const [i, one] of asks.entries()) {
        const alone = await pipe({ ...one, scheduler: make() });
        assertBitsEqual(together[i].sample.data, alone.sample.data);
      }
      // As if it had never been called.
      assert.equal(scheduler.timesteps, make().timesteps);
    });
  }
}

test('every class is called twice at once', () => {
  const all = Object.values(schedulers).filter((one) => typeof one === 'function' && 'rules' in one);
  const named = all.map((one) => one.name).filter((name) => name !== 'Scheduler');
  assert.equal(new Set(CLASSES.flatMap(([, names]) => names.map((name) => `${name}Scheduler`))), new Set(named));
});

for (const name of ['sd1', 'sd3'] as const) {
  test(`a call goes on from any step of another, on ${name}`, async () => {
    const pipe = await load(folder(name));
    // Of first order, so that nothing of earlier steps is missed.
    const options = { ...ask, steps: 6, order: 1 as const };
    const states: { share: number; x: Float32Array; dims: readonly number[]; step: number }[] = [];
    const whole = await pipe({
      ...options,
      onStep: ({ share, x, step }) => {
        if (share !== undefined)
          states.push({ share, x: new Float32Array(x.data as Float32Array), dims: x.dims, step });
      },
    });
    assert.ok(states.length >= 5, String(states.length));
    for (const { share, x, dims, step } of states.filter((state) => state.step < 6)) {
      const latents = { type: 'float32' as const, data: x, dims: [...dims] };
      const rest = await pipe({ ...options, latents, denoisingStart: share });
      assert.is(rest.nfe, 6 - step);
      assertBitsEqual(rest.sample.data, whole.sample.data);
    }
    const own: unknown[] = [];
    await pipe({ ...ask, method: 'singlestep', onStep: ({ share }) => own.push(share) });
    assert.ok(
      own.every((share) => share === undefined),
      'a grid that shares do not count',
    );
  });
}

test("another's scheduler object is in one call at a time", async () => {
  const pipe = await load(folder('sd1'));
  const inner = DDIMScheduler.fromConfig(pipe.schedulerConfig);
  const scheduler = {
    setTimesteps: (steps: number) => inner.setTimesteps(steps),
    get timesteps() {
      return inner.timesteps;
    },
    step: (output: never, t: number, x: never) => inner.step(output, t, x),
  } as unknown as GenerateOptions['scheduler'];
  const first = pipe({ ...ask, scheduler });
  await assertRejects(pipe({ ...ask, scheduler }), Error, /^Expected one call at a time for a scheduler object/);
  await first;
  await pipe({ ...ask, scheduler });
});

for (const scheduler of [
  'EulerAncestralDiscreteScheduler',
  'KDPM2AncestralDiscreteScheduler',
  'DDPMScheduler',
  'SASolverScheduler',
  'LCMScheduler',
] as const) {
  test(`the noise of ${scheduler} is the seed's, whatever shares the batch`, async () => {
    const pipe = await load(folder('sd1'));
    const overrides = scheduler === 'SASolverScheduler' ? { algorithm_type: 'data_prediction' } : {};
    const object = schedulerFromConfig({ ...pipe.schedulerConfig, _class_name: scheduler, ...overrides });
    const [again, once, three] = [
      (await pipe({ ...ask, scheduler: object })).sample.data,
      (await pipe({ ...ask, scheduler: object })).sample.data,
      (await pipe({ ...ask, count: 3, seed: 2, scheduler: object })).sample.data,
    ];
    assertBitsEqual(again, once);
    const n = once.length;
    const own = three.subarray(n, 2 * n);
    const most = Math.max(...once.map((value, i) => Math.abs(value - own[i])));
    assert.ok(most < 1e-3, `${most} apart`);
    assert.ok(Math.max(...once.map((value, i) => Math.abs(value - three[i]))) > 0.05);
  });
}

test('what onStep throws or rejects with ends the call, and not the process', async () => {
  const pipe = await load(constant);
  const reason = new Error('no room');
  const unhandled: unknown[] = [];
  const note = (error: unknown) => unhandled.push(error);
  process.on('unhandledRejection', note);
  try {
    for (const onStep of [
      () => {
        throw reason;
      },
      async () => {
        throw reason;
      },
      ({ step }: { step: number }) => (step === 4 ? Promise.reject(reason) : undefined),
      () => new Promise((_, reject) => setTimeout(() => reject(reason), 50)),
    ]) {
      assert.is(await assertRejects(pipe({ ...ask, prompt: 'red', onStep }), Error, /no room/), reason);
    }
    await new Promise((done) => setTimeout(done, 100));
    assert.is(unhandled.length, 0);
  } finally {
    process.off('unhandledRejection', note);
  }
});

test('waits for what onStep has begun', async () => {
  const pipe = await load(constant);
  let done = 0;
  const onStep = async () => {
    await new Promise((go) => setTimeout(go, 60));
    done++;
  };
  await pipe({ ...ask, prompt: 'red', onStep });
  assert.is(done, 4);
});

test('looks at the signal before every picture that is decoded', async () => {
  const pipe = await load(folder('sd1'));
  const controller = new AbortController();
  const reason = new Error('enough');
  let seen = 0;
  // Of the one batch the last step is the last thing before the decoder.
  const call = pipe({
    ...{ ...ask, steps: 2, count: 6, signal: controller.signal },
    onStep: ({ step, steps }) => {
      seen = step;
      if (step === steps) controller.abort(reason);
    },
  });
  assert.is(await assertRejects(call, Error, /enough/), reason);
  assert.is(seen, 2);
});

test('dispose waits for the calls under way', async () => {
  const pipe = await DiffusionPipeline.fromPretrained(folder('sd1'));
  let finished = false;
  const call = pipe({ ...ask, count: 2 }).then(() => {
    finished = true;
  });
  await pipe.dispose();
  assert.ok(finished);
  await call;
  await assertRejects(pipe(ask), Error, /^The pipeline has been disposed of$/);
});

test('opens no classifier outside of its folder', async () => {
  for (const classifier of ['../../x', '/tmp', '..', '.', 'a/b', 'a\\b', 3]) {
    const place = changed((path) => {
      writeFileSync(join(path, 'model_index.json'), JSON.stringify({ _dpm_solver: { space: 'pixel', classifier } }));
    });
    await assertRejects(
      DiffusionPipeline.fromPretrained(place),
      Error,
      /^Expected the name of a folder in .* for classifier/,
    );
  }
});

test('refuses sizes that the network cannot have, before it is run', async () => {
  const sd1 = await load(folder('sd1'));
  assert.is(sd1.defaults.multiple, 16);
  await assertRejects(sd1.check({ ...ask, width: 40 }), RangeError, /16/);
  await sd1.check({ ...ask, width: 48 });
  // Places up to 8 patches of 2 latents of 8 pixels.
  const sd3 = await load(folder('sd3'));
  await sd3.check({ ...ask, width: 128 });
  await assertRejects(
    sd3.check({ ...ask, width: 144 }),
    RangeError,
    /^Expected at most 128 for width, .* but received 144/,
  );
  // Without a configuration the graph tells how often it halves.
  const converter = await load(folder('sd1-converter'));
  assert.is(converter.defaults.multiple, 16);
});

test('a guidance of at most 1 is the network with the prompt, on every kind of folder', async () => {
  for (const name of ['sd1', 'sd1-converter', 'sdxl', 'sd3', 'playground']) {
    const pipe = await loadOnce(name);
    const conditional = await pipe({ ...ask, guidance: 1 });
    const other = await pipe({ ...ask, prompt: 'a green square', guidance: 1 });
    assert.not.equal(other.sample.data, conditional.sample.data, `${name}: a prompt that changes nothing`);
    for (const guidance of [0, 0.5, -2, null]) {
      const made = await pipe({ ...ask, guidance });
      assertBitsEqual(made.sample.data, conditional.sample.data);
    }
  }
});

test('sizes are multiples of what a network halves, whatever its levels are', async () => {
  // Two levels, or patches of two latents, of 8 pixels each.
  for (const name of exported) assert.is((await loadOnce(name)).defaults.multiple, 16, name);
  for (const levels of [1, 2, 3, 4]) {
    const pipe = await load(edited('sd1', 'unet/config.json', { down_block_types: Array(levels).fill('DownBlock2D') }));
    const multiple = 8 * 2 ** (levels - 1);
    assert.is(pipe.defaults.multiple, multiple);
    for (const key of ['width', 'height'] as const) {
      await pipe.check({ ...ask, width: 2 * multiple, height: 2 * multiple, [key]: 3 * multiple });
      const wrong = { ...ask, width: 2 * multiple, height: 2 * multiple, [key]: 2 * multiple + multiple / 2 };
      await assertRejects(pipe.check(wrong), RangeError, new RegExp(`\\b${multiple}\\b`));
    }
  }
});

test('heeds what the autoencoder says of its latents, and refuses what is no list', async () => {
  const plain = await load(folder('sd1'));
  const { sample, images } = await plain(ask);
  const shifted = await load(
    edited('sd1', 'vae_decoder/config.json', { latents_mean: [1, 0, 0, 0], latents_std: [1, 2, 1, 1] }),
  );
  const other = await shifted(ask);
  assertBitsEqual(other.sample.data, sample.data);
  assert.not.equal(other.images[0].data, images[0].data);
  for (const [key, value] of [
    ['latents_mean', [1, 2, 3]],
    ['latents_mean', ['a', 0, 0, 0]],
    ['latents_std', [1, 1, 0, 1]],
    ['latents_mean', 'x'],
  ] as const) {
    const list = { latents_mean: [0, 0, 0, 0], latents_std: [1, 1, 1, 1], [key]: value };
    const place = edited('sd1', 'vae_decoder/config.json', list);
    const loading = DiffusionPipeline.fromPretrained(place).then((pipe) => pipe(ask).finally(() => pipe.dispose()));
    await assertRejects(loading, Error, /latents_(?:mean|std)/);
  }
});

test('refuses pictures that are not finite, and of another size than was asked for', async () => {
  // A latent beyond all numbers makes an infinite picture.
  const broken = await load(
    edited('sd1', 'vae_decoder/config.json', {
      latents_mean: [1e38, 1e38, 1e38, 1e38],
      latents_std: [1, 1, 1, 1],
      scaling_factor: 1e-30,
    }),
  );
  await assertRejects(
    broken(ask),
    Error,
    /^Expected finite numbers for the picture but received (?:NaN|-?Infinity) from .*vae_decoder/,
  );
  const small = await load(edited('sd1', 'vae_decoder/config.json', { block_out_channels: [4, 4, 4] }));
  await assertRejects(small(ask), Error, /^Expected a picture of 3 x 16 x 16 from .* but received 3 x 32 x 32$/);
});

test('one picture has one encoding, though its encoder draws noise of its own', async () => {
  const pipe = await load(folder('sd1-converter'));
  const image = picture('image');
  const again = async () => (await pipe({ ...ask, image, strength: 0.5 })).sample.data;
  assertBitsEqual(await again(), await again());
});

test('distilled networks keep their steps and their guidance, and say so where something is not used', async () => {
  for (const [name, steps, guidance] of [
    ['lcm', 4, 8.5],
    ['sd1-lcm', 4, 1],
    ['sdxl-turbo', 4, 1],
    ['flux-schnell', 4, 1],
    ['flux-dev', 20, 3.5],
    ['sd1', 20, 7.5],
  ] as const) {
    const pipe = await load(folder(name));
    assert.is(pipe.defaults.steps, steps, name);
    assert.is(pipe.defaults.guidance, guidance, name);
    assert.is(pipe.distilled, steps === 4, name);
    if (steps === 4)
      await assertRejects(
        pipe.check({ ...ask, order: 2 }),
        TypeError,
        /own scheduler, for a network that was distilled/,
      );
  }
  const warned: string[] = [];
  const onWarning = (message: string) => warned.push(message);
  const schnell = await load(folder('flux-schnell'));
  await schnell.check({ ...ask, guidance: 4, onWarning });
  await schnell.check({ ...ask, negativePrompt: 'night', onWarning });
  assert.equal(
    warned.map((message) => message.slice(0, 30)),
    ['The guidance scale is not used', 'The negative prompt is not use'],
  );
});

test.run();
