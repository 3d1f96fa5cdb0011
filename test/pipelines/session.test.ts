// Runs that share network calls: the pictures that each would have been by itself, whoever comes, goes or fails.
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { DiffusionPipeline, type GenerateOptions } from '../../lib/pipelines/index.js';
import { SharedNetwork } from '../../lib/pipelines/shared-network.js';
import { assertClose } from '../support.js';
import { constant, hasShapes, layout, shapes } from './models.js';

const test = suite('session');
const prompt = 'a red circle on a blue background';

/** Runs of every kind. */
const kinds: GenerateOptions[] = [
  { prompt, steps: 5, seed: 1 },
  { prompt, steps: 4, seed: 2, guidance: 1 },
  { prompt: 'a green square', steps: 4, seed: 3, order: 3, guidance: 6 },
  { prompt, steps: 4, seed: 4, method: 'singlestep', negativePrompt: 'blue' },
  { prompt, steps: 4, seed: 5, algorithmType: 'sde-dpmsolver++', skipType: 'karras' },
  { prompt, steps: 3, seed: 6, count: 3, guidanceRescale: 0.5 },
  { prompt, seed: 7, method: 'adaptive', maxNfe: 60 },
];

if (hasShapes) {
  let pipe: DiffusionPipeline;
  test.before(async () => {
    pipe = await DiffusionPipeline.fromPretrained(shapes);
  });
  test.after(() => pipe.dispose());

  test('makes the pictures that each call makes by itself, in fewer network calls', async () => {
    const calls: number[] = [];
    const session = pipe.session({ maxBatch: 8, onCall: ({ samples }) => calls.push(samples) });
    // It is measured from the first call on, and may come down.
    const most = session.most();
    const alone = [];
    for (const kind of kinds) alone.push(await pipe(kind));
    const together = await Promise.all(kinds.map((kind, i) => session.generate({ ...kind, client: `${i % 3}` })));
    for (const [i, { sample, nfe, seeds }] of together.entries()) {
      assert.equal([nfe, seeds], [alone[i].nfe, alone[i].seeds], `run ${i}`);
      assertClose(sample.data, alone[i].sample.data, { atol: 2e-3 }, `run ${i}`);
    }
    const evaluations = alone.reduce((sum, { nfe }) => sum + nfe, 0);
    // How many they share depends on when their prompts are encoded, and so on the machine.
    assert.ok(calls.length < evaluations, `${calls.length} calls for ${evaluations} evaluations`);
    assert.ok(Math.max(...calls) > 2 && Math.max(...calls) <= most, `${calls}`);
  });

  test('gives a picture the same bits, whatever is made beside it, where every call is as large', async () => {
    const session = pipe.session({ reproducible: true, maxBatch: 4 });
    const bits = async (options: GenerateOptions) => Buffer.from((await session.generate(options)).sample.data.buffer);
    const first = await bits(kinds[0]);
    const [second, third] = await Promise.all([
      bits(kinds[0]),
      bits({ ...kinds[0], client: 'other' } as GenerateOptions),
      bits(kinds[2]),
      bits(kinds[1]),
    ]);
    assert.ok(first.equals(second));
    assert.ok(first.equals(third), 'in another place');
  });

  test('takes a scheduler object, a picture and a mask beside others', async () => {
    const session = pipe.session();
    const image = { width: 32, height: 32, data: new Uint8Array(3 * 32 * 32).fill(200) };
    const mask = { width: 32, height: 32, data: Uint8Array.from({ length: 1024 }, (_, i) => (i % 32 < 16 ? 255 : 0)) };
    const { UniPCMultistepScheduler } = await import('../../lib/schedulers/index.js');
    const scheduler = () => UniPCMultistepScheduler.fromConfig(pipe.schedulerConfig);
    const options = (): GenerateOptions[] => [
      { prompt, steps: 4, seed: 1, scheduler: scheduler() },
      { prompt, steps: 4, seed: 2, image, strength: 0.5 },
      { prompt, steps: 4, seed: 3, image, mask },
    ];
    const alone = [];
    for (const one of options()) alone.push(await pipe(one));
    const together = await Promise.all(options().map((one) => session.generate(one)));
    for (const [i, { sample }] of together.entries()) {
      assertClose(sample.data, alone[i].sample.data, { atol: 2e-3 }, `run ${i}`);
    }
  });

  test('lets a run in between two evaluations of another, and out', async () => {
    const session = pipe.session();
    const abort = new AbortController();
    let steps = 0;
    const long = session
      .generate({ prompt, steps: 200, guidance: 1, seed: 1, signal: abort.signal, onStep: () => void steps++ })
      .catch((error) => error.message);
    while (steps < 2) await new Promise((resolve) => setTimeout(resolve, 5));
    const seen: number[] = [];
    const onStep = () => void seen.push(steps);
    await session.generate({ prompt, steps: 3, guidance: 1, seed: 2, client: 'other', onStep });
    assert.is(seen.length, 3);
    // From one step of the one to the next there is one of the other.
    assert.ok(seen[2] - seen[0] >= 1 && seen[2] - seen[0] <= 4, `${seen}`);
    abort.abort(new Error('it left'));
    assert.is(await long, 'it left');
    const after = steps;
    await session.generate({ prompt, steps: 1, guidance: 1, order: 1, seed: 2 });
    assert.is(steps, after);
  });

  test('has calls no larger than it may, of runs that are larger too', async () => {
    const calls: number[] = [];
    const session = pipe.session({ maxBatch: 3, onCall: ({ samples }) => calls.push(samples) });
    const run = { prompt, steps: 2, seed: 1, count: 4 };
    assertClose((await session.generate(run)).sample.data, (await pipe(run)).sample.data, { atol: 2e-3 });
    assert.equal(calls, [3, 3, 2, 3, 3, 2]);
  });
}

test('runs of a network with one time for all share calls where their times meet, and take turns elsewhere', async () => {
  for (const name of ['sd', 'sdxl', 'sd3', 'flux'] as const) {
    const pipe = await DiffusionPipeline.fromPretrained(layout(name));
    try {
      const calls: number[] = [];
      const session = pipe.session({ onCall: ({ samples }) => calls.push(samples) });
      const runs: GenerateOptions[] = [
        { prompt: 'a', steps: 3, seed: 1 },
        { prompt: 'red a', steps: 3, seed: 2 },
        { prompt: 'blue', steps: 4, seed: 3 },
      ];
      const alone = [];
      for (const run of runs) alone.push(await pipe(run));
      const together = await Promise.all(runs.map((run) => session.generate(run)));
      for (const [i, { sample }] of together.entries()) {
        assertClose(sample.data, alone[i].sample.data, { atol: 1e-3 }, `${name}, run ${i}`);
      }
      assert.ok(calls.length < 10, `${name}: ${calls}`);
    } finally {
      await pipe.dispose();
    }
  }
});

test('pictures of different sizes take turns', async () => {
  const pipe = await DiffusionPipeline.fromPretrained(layout('sd'));
  try {
    const session = pipe.session();
    const sizes = [
      [64, 64],
      [64, 32],
      [32, 64],
    ];
    const runs = sizes.map(([width, height], seed) => ({ prompt: 'a', steps: 3, seed, width, height }));
    const together = await Promise.all(runs.map((run) => session.generate(run)));
    assert.equal(
      together.map(({ images }) => [images[0].width, images[0].height]),
      sizes,
    );
  } finally {
    await pipe.dispose();
  }
});

test('one run that fails does not take others along', async () => {
  const shape = [1, 1, 2] as const;
  const failing = Number.NaN;
  // A network that cannot take one of the samples.
  const denoiser = {
    timesEach: true,
    fixedBatch: undefined,
    seats: (size: number) => {
      const state = new Float32Array(2 * size);
      return {
        size,
        seat: () => undefined,
        put: (i: number, x: Float32Array) => state.set(x, 2 * i),
        evaluate: async () => {
          if (state.some(Number.isNaN)) throw new Error('it cannot be computed');
          return { type: 'float32', data: state.map((v) => 2 * v), dims: [size, ...shape] };
        },
      };
    },
  };
  const shared = new SharedNetwork(denoiser as never);
  const ask = (client: string, value: number) =>
    shared.for(client).prepare([new Map()], shape)(
      { type: 'float32', data: Float32Array.of(value, value), dims: [1, ...shape] },
      1,
    );
  const [one, two, three] = await Promise.allSettled([ask('a', 1), ask('b', failing), ask('c', 3)]);
  assert.is(two.status === 'rejected' && two.reason.message, 'it cannot be computed');
  assert.equal(
    [one, three].map((end) => end.status === 'fulfilled' && Array.from(end.value.data as Float32Array)),
    [
      [2, 2],
      [6, 6],
    ],
  );
});

test('refuses options that are not its own', async () => {
  const pipe = await DiffusionPipeline.fromPretrained(constant);
  try {
    assert.throws(() => pipe.session({ maxBatch: 0 }), /Expected .* for maxBatch but received 0/);
    assert.throws(() => pipe.session({ maxbatch: 3 } as never), /maxBatch/);
    const session = pipe.session();
    let message = '';
    await session.generate({ prompt: 'red', steps: -1 }).catch((error) => {
      message = error.message;
    });
    assert.match(message, /for steps but received -1/);
  } finally {
    await pipe.dispose();
  }
});

test.run();
