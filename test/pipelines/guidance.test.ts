// Where pipelines guide, and how.
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { DiffusionPipeline, type GenerateOptions, type Generation } from '../../lib/pipelines/index.js';
import { DPMSolverMultistepScheduler } from '../../lib/schedulers/index.js';
import { assertBitsEqual, assertRejects } from '../support.js';
import { layout, removeCopies } from './models.js';

test.after(removeCopies);

const call: GenerateOptions = { prompt: ['red', 'green'], seed: 1, steps: 8, guidance: 3 };

test('outside of an interval half of the batch, half the price', async () => {
  const pipe = await DiffusionPipeline.fromPretrained(layout('sd'));
  try {
    const plain = await pipe(call);
    assert.is(plain.nfe, 8);
    const whole = await pipe({ ...call, guidanceInterval: [0, Infinity] });
    assertBitsEqual(whole.sample.data, plain.sample.data);
    assert.is(whole.nfe, 8);
    const batches: number[] = [];
    const part = await pipe({
      ...call,
      guidanceInterval: [0.3, 5],
      onStep: ({ nfe }) => {
        batches.push(nfe - (batches.length > 0 ? seen : 0));
        seen = nfe;
      },
    });
    assert.ok(batches.includes(0.5) && batches.includes(1), batches.join());
    assert.is(
      part.nfe,
      batches.reduce((a, b) => a + b),
    );
    const one = await pipe({ ...call, prompt: 'green', seed: 2, guidanceInterval: [0.3, 5] });
    assert.is(one.nfe, part.nfe);
    const split = await pipe({ ...call, guidanceInterval: [0.3, 5], splitGuidance: true });
    assertBitsEqual(split.sample.data, part.sample.data);
    // Nowhere guided is the conditional network at half the price.
    const nowhere = await pipe({ ...call, guidanceInterval: [1e6, 1e6] });
    assert.is(nowhere.nfe, 4);
    assertBitsEqual(nowhere.sample.data, (await pipe({ ...call, guidance: 1 })).sample.data);
  } finally {
    await pipe.dispose();
  }
});
let seen = 0;

/** With which pictures are others than those of plain guidance with a scale of 3. */
const KINDS = [
  { guidanceVariant: 'cfg++', guidance: 0.6 },
  { guidanceVariant: 'cfg-zero' },
  { guidanceVariant: 'apg', guidanceMomentum: -0.5 },
  { guidanceRescale: 0.7 },
] as const;
/** With which they are the same. */
const SAME = { guidance: 2, guidanceVariant: 'apg', guidanceEta: 1, guidanceNorm: 0 } as const;
type Kind = (typeof KINDS)[number] | typeof SAME;

/** Holds what calls or edits give with these to `plain`, what they give without. */
async function checkKinds(plain: Float32Array, make: (options: Kind) => Promise<Generation>): Promise<void> {
  const same = await make(SAME);
  assert.ok(
    same.sample.data.every((value, i) => Math.abs(value - plain[i]) < 1e-3),
    'c + 2 (c - u) is u + 3 (c - u)',
  );
  for (const options of KINDS) {
    const { sample } = await make(options);
    assert.ok(sample.data.every(Number.isFinite), JSON.stringify(options));
    assert.ok(
      sample.data.some((value, i) => value !== plain[i]),
      JSON.stringify(options),
    );
  }
}

test('variants, and what they do not go with', async () => {
  const pipe = await DiffusionPipeline.fromPretrained(layout('sd'));
  try {
    await checkKinds((await pipe(call)).sample.data, (options) => pipe({ ...call, ...options }));
    const scheduler = DPMSolverMultistepScheduler.fromConfig({});
    await assertRejects(
      () => pipe({ ...call, scheduler, guidanceVariant: 'apg' }),
      TypeError,
      /no kind of guidance with a/,
    );
    await assertRejects(
      () => pipe({ ...call, guidanceEta: 1 }),
      RangeError,
      /no guidanceEta without variant 'apg' for guidanceEta/,
    );
    await assertRejects(() => pipe({ ...call, guidanceInterval: [2, 1] }), RangeError, /for guidanceInterval/);
  } finally {
    await pipe.dispose();
  }
});

test('edits are guided as calls are, on the way from the noise', async () => {
  const pipe = await DiffusionPipeline.fromPretrained(layout('sd'));
  try {
    const { width, height } = pipe.defaults;
    const data = Uint8Array.from({ length: 3 * width * height }, (_, i) => (37 * i) % 256);
    const mask = { width, height, data: new Uint8Array(3 * width * height).fill(255, 0, 3 * width * (height >> 1)) };
    const ask = {
      ...{ image: { width, height, data }, mask, source: 'red', target: 'green' },
      ...{ steps: 4, guidance: 3, seed: 5 },
    };
    const plain = await pipe.edit(ask);
    assert.is(plain.nfe, 8, 'the way there and the way back');
    const whole = await pipe.edit({ ...ask, guidanceInterval: [0, Number.POSITIVE_INFINITY] });
    assertBitsEqual(whole.sample.data, plain.sample.data);
    assert.is(whole.nfe, 8);
    const nowhere = await pipe.edit({ ...ask, guidanceInterval: [1e6, 1e6] });
    assertBitsEqual(nowhere.sample.data, (await pipe.edit({ ...ask, guidance: 1 })).sample.data);
    // Of the way there every evaluation is a whole one, as nobody guides it.
    assert.is(nowhere.nfe, 4 + 2);
    await checkKinds(plain.sample.data, (options) => pipe.edit({ ...ask, ...options }));
    // Before any network is asked.
    const never = { ...ask, onProgress: () => assert.unreachable('work was begun') };
    await assertRejects(() => pipe.edit({ ...never, guidanceEta: 1 }), RangeError, /no guidanceEta without variant/);
    await assertRejects(
      () => pipe.edit({ ...never, guidanceVariant: 'cfg++', guidanceRescale: 0.5 }),
      RangeError,
      /0 with variant 'cfg\+\+' for guidanceRescale but received 0.5/,
    );
    await assertRejects(
      () => pipe.edit({ ...never, guidanceVariant: 'cfg++', algorithmType: 'dpmsolver' }),
      RangeError,
      /cfg\+\+/,
    );
  } finally {
    await pipe.dispose();
  }
});

test.run();
