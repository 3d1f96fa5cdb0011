// Callbacks may be async functions: what they reject with ends what they are told of, and never the process. Every callback
// that the package takes is in the table.
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { calibrate } from '../../lib/calibrate/index.js';
import { DPMSolver, NoiseSchedule, randn, type SolverOptions, type Tensor } from '../../lib/index.js';
import { DecodeError, DiffusionPipeline, type GenerateOptions } from '../../lib/pipelines/index.js';
import { folder } from '../pipelines/exports.js';
import { constant } from '../pipelines/models.js';

const test = suite('callbacks');
const linear = NoiseSchedule.linear();
const reason = new Error('no room');
const network = (x: Tensor): Tensor => ({ ...x, data: (x.data as Float32Array).map((v) => 0.9 * v), dims: x.dims });
const x = () => randn([2, 3], { seed: 1 });
const solver = (options: SolverOptions = {}) => new DPMSolver(network, linear, options);
/** An async function that rejects: at once, or after a while. */
type Callback = (...args: unknown[]) => Promise<never>;

const pipe = await DiffusionPipeline.fromPretrained(constant);
const latent = await DiffusionPipeline.fromPretrained(folder('sd1'));
test.after(async () => {
  await pipe.dispose();
  await latent.dispose();
});
const image = { width: 4, height: 4, data: new Uint8Array(48).fill(255, 24) };
const call = (options: Partial<GenerateOptions>) => pipe({ prompt: 'red', steps: 3, ...options } as GenerateOptions);

const callbacks: [string, (callback: Callback) => Promise<unknown>][] = [
  ['onStep of sample', (onStep) => solver().sample(x(), { steps: 3, onStep })],
  ['onStep of invert', (onStep) => solver().invert(x(), { steps: 3, onStep })],
  ['onStep of an adaptive run', (onStep) => solver().sample(x(), { method: 'adaptive', onStep })],
  ['onStep of a singlestep run', (onStep) => solver().sample(x(), { steps: 3, method: 'singlestep', onStep })],
  ['onStep of a pipeline', (onStep) => call({ onStep })],
  ['onProgress of a pipeline', (onProgress) => call({ onProgress })],
  [
    'onWarning of a pipeline',
    (onWarning) => latent({ prompt: 'a red circle '.repeat(60), steps: 2, overlong: 'cut', onWarning }),
  ],
  [
    'onProgress of edit',
    (onProgress) => pipe.edit({ image, mask: image, source: 'red', target: 'blue', steps: 4, onProgress }),
  ],
  [
    'onProgress of decode',
    (onProgress) => latent.decode({ data: new Float32Array(64), dims: [1, 4, 4, 4] }, { onProgress }),
  ],
  [
    'onProgress of calibrate',
    (onProgress) =>
      calibrate(network, linear, {
        ...{ steps: [3], sample: (i) => randn([1, 4], { seed: i }), samples: 4, heldOut: 8 },
        ...{ teacher: { steps: 8 }, budget: { evaluations: 20 }, onProgress },
      }),
  ],
];
for (const [what, work] of callbacks) {
  test(what, async () => {
    for (const wait of [0, 30]) {
      const heard: unknown[] = [];
      const note = (error: unknown) => heard.push(error);
      process.on('unhandledRejection', note);
      try {
        const ended = await work(async () => {
          if (wait > 0) await new Promise((go) => setTimeout(go, wait));
          throw reason;
        }).then(
          () => 'kept',
          (error) => error,
        );
        await new Promise((go) => setTimeout(go, 60));
        // Latents that could not be decoded come along.
        assert.is(ended instanceof DecodeError ? ended.cause : ended, reason);
        assert.is(heard.length, 0);
      } finally {
        process.off('unhandledRejection', note);
      }
    }
  });
}

/** Callbacks that have to answer at once: a promise is refused, and what it rejects with is nobody's. */
const answers: [string, (callback: Callback) => unknown][] = [
  ['correctX0', (f) => solver({ correctX0: f as never }).sample(x(), { steps: 3 })],
  ['correctXt', (f) => solver({ correctXt: f as never }).sample(x(), { steps: 3 })],
  [
    'a network beside advance',
    async (f) => {
      const run = new DPMSolver(null, linear).start(x(), { steps: 3 });
      run.advance(f() as never);
    },
  ],
];
for (const [what, work] of answers) {
  test(`${what}, which has to answer at once`, async () => {
    const heard: unknown[] = [];
    const note = (error: unknown) => heard.push(error);
    process.on('unhandledRejection', note);
    try {
      let ended: unknown;
      try {
        ended = await work(async () => {
          throw reason;
        });
      } catch (error) {
        ended = error;
      }
      await new Promise((go) => setTimeout(go, 20));
      assert.match((ended as Error).message, /received Promise.*: await it$/);
      assert.is(heard.length, 0);
    } finally {
      process.off('unhandledRejection', note);
    }
  });
}

test('sample waits for what onStep has begun', async () => {
  let done = 0;
  const onStep = async () => {
    await new Promise((go) => setTimeout(go, 20));
    done++;
  };
  await solver().sample(x(), { steps: 3, onStep });
  assert.is(done, 3);
});

test('a run by hand ends at the step after a rejection', async () => {
  const run = new DPMSolver(null, linear).start(x(), { steps: 3, onStep: () => Promise.reject(reason) });
  run.advance(network(run.x));
  await Promise.resolve();
  let ended: unknown;
  try {
    run.advance(network(run.x));
  } catch (error) {
    ended = error;
  }
  assert.is(ended, reason);
});

test.run();
