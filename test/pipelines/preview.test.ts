// Previews of latents: whose colours are known, what is measured and kept, and small decoders.
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { Graph } from '../../lib/onnx/graph.js';
import {
  type ColorMap,
  fitMap,
  knownMap,
  likeness,
  paint,
  trialDims,
  trialLatents,
} from '../../lib/pipelines/colors.js';
import { DiffusionPipeline, type Image, type PipelineOptions } from '../../lib/pipelines/index.js';
import { SmallDecoder } from '../../lib/pipelines/small-decoder.js';
import { assertRejects } from '../support.js';
import { changed, layout, removeCopies } from './models.js';

const test = suite('previews');
const models = (path: string) => fileURLToPath(new URL(`../fixtures/models/${path}`, import.meta.url));
const opened: DiffusionPipeline[] = [];
// What is kept of earlier runs is not for these.
const cache = mkdtempSync(join(tmpdir(), 'dpm-solver-cache-'));
process.env.XDG_CACHE_HOME = cache;

test.after(async () => {
  await Promise.all(opened.map((pipe) => pipe.dispose()));
  removeCopies();
  rmSync(cache, { recursive: true });
});

async function load(folder: string, options: PipelineOptions = {}): Promise<DiffusionPipeline> {
  const pipe = await DiffusionPipeline.fromPretrained(folder, options);
  opened.push(pipe);
  return pipe;
}

/** Calls of decoders while `work` goes on: the dims of their latents. */
async function decodes(work: () => Promise<void>): Promise<(readonly number[])[]> {
  const { call } = Graph.prototype;
  const seen: (readonly number[])[] = [];
  Graph.prototype.call = function (this: Graph, feeds, ...rest) {
    if (/vae_decoder/.test(this.path)) seen.push(Object.values(feeds)[0].dims);
    return call.call(this, feeds, ...rest);
  };
  try {
    await work();
  } finally {
    Graph.prototype.call = call;
  }
  return seen;
}

/** The previews of a call, and the pictures it ends with. */
async function previewsOf(pipe: DiffusionPipeline): Promise<{ previews: Image[][]; x0: Float32Array[] }> {
  const previews: Promise<Image[]>[] = [];
  const x0: Float32Array[] = [];
  await pipe({
    ...{ prompt: 'a cat', seed: 1, steps: 3, width: 64, height: 64 },
    onStep: ({ x0: state, preview }) => {
      x0.push(new Float32Array(state?.data as Float32Array));
      previews.push(preview());
    },
  });
  return { previews: await Promise.all(previews), x0 };
}

const first: ColorMap = [
  [0.3512, 0.2297, 0.3227],
  [0.325, 0.4974, 0.235],
  [-0.2829, 0.1762, 0.2721],
  [-0.212, -0.2616, -0.7177],
  [0.05, 0, -0.1],
];
/** Of the same autoencoder, fitted by InvokeAI (invokeai/app/util/step_callback.py). */
const invoke: ColorMap = [
  [0.3444, 0.1385, 0.067],
  [0.1247, 0.4027, 0.1494],
  [-0.3192, 0.2513, 0.2103],
  [-0.1307, -0.1874, -0.7445],
  [0, 0, 0],
];

test('finds the map of a decoder that is linear, and paints by it', () => {
  const latents = trialLatents(4);
  const [, height, width] = trialDims(4);
  const small = paint(first, latents, trialDims(4));
  // Eight pixels a latent, that differ but for their mean.
  const [tall, wide] = [8 * height, 8 * width];
  const pixels = Float32Array.from({ length: 3 * tall * wide }, (_, i) => {
    const [color, y, x] = [Math.floor(i / (tall * wide)), Math.floor(i / wide) % tall, i % wide];
    return small[(color * height + (y >> 3)) * width + (x >> 3)] + (x % 2 === 0 ? 0.3 : -0.3);
  });
  const found = fitMap(latents, trialDims(4), pixels);
  for (const [r, row] of found.entries()) {
    for (const [c, value] of row.entries()) assert.ok(Math.abs(value - first[r][c]) < 1e-5, `${r} ${c}`);
  }
  // By hand, for one latent.
  const one = paint(first, Float32Array.of(1, 2, -1, 0.5), [4, 1, 1]);
  assert.ok(Math.abs(one[0] - (0.3512 + 0.65 + 0.2829 - 0.106 + 0.05)) < 1e-6, String(one[0]));
});

test('takes two maps of one autoencoder for alike, and those of others not', () => {
  assert.ok(likeness(first, invoke) > 0.9, String(likeness(first, invoke)));
  const vae = (scaling: number, shift: number) => ({
    trained: { size: 512, widths: [128, 256, 512, 512] },
    identity: { scaling, shift, means: false },
  });
  const [xl, sd3, flux] = [
    knownMap(vae(0.13025, 0), 4),
    knownMap(vae(1.5305, 0.0609), 16),
    knownMap(vae(0.3611, 0.1159), 16),
  ];
  assert.ok(likeness(first, xl!) < 0.75, String(likeness(first, xl!)));
  assert.ok(likeness(sd3!, flux!) < 0.75, String(likeness(sd3!, flux!)));
  assert.is(knownMap(vae(0.18215, 0), 16), undefined);
  assert.is(knownMap({ ...vae(0.18215, 0), trained: { size: 512, widths: [8, 8, 8, 8] } }, 4), undefined);
});

test('tries a decoder of open sizes once with a small picture, and keeps what it found', async () => {
  const folder = changed(() => {}, layout('sd'));
  const tried = await decodes(async () => {
    const { previews, x0 } = await previewsOf(await load(folder));
    // The layout's decoder shows the first three channels, unscaled.
    const expected = Math.round(Math.min(Math.max(x0[0][0] / 0.18215 / 2 + 0.5, 0), 1) * 255);
    assert.ok(Math.abs(previews[0][0].data[0] - expected) <= 1, `${previews[0][0].data[0]} ${expected}`);
    assert.equal(
      previews.map(([{ width, height }]) => [width, height]),
      Array(3).fill([8, 8]),
    );
  });
  // Such a small run may be over before the decoder has been tried.
  tried.sort((a, b) => b[2] - a[2]);
  assert.equal(tried, [
    [1, 4, 16, 16],
    [1, 4, 8, 8],
  ]);
  const again = await decodes(async () => {
    assert.is((await previewsOf(await load(folder))).previews[2].length, 1);
  });
  assert.equal(again, [[1, 4, 8, 8]]);
  const kept = JSON.parse(readFileSync(join(cache, 'dpm-solver/previews.json'), 'utf8'));
  assert.is(Object.keys(kept).length, 1);
  writeFileSync(join(cache, 'dpm-solver/previews.json'), '{"a":1');
  assert.is((await previewsOf(await load(folder))).previews[0].length, 1, 'a cache that cannot be read');
});

/** A decoder for 8 x 8 latents only. */
const fixed = (config: object = {}) =>
  changed((copy) => {
    cpSync(models('tiling/kl-fixed'), copy, { recursive: true });
    const path = join(copy, 'vae_decoder/config.json');
    writeFileSync(path, JSON.stringify({ ...JSON.parse(readFileSync(path, 'utf8')), ...config }));
  }, layout('sd'));

test('measures the colours of one of a fixed size on the pictures it makes anyway, once', async () => {
  const folder = fixed();
  const pipe = await load(folder);
  const tried = await decodes(async () => {
    // Whether the last of them comes before the picture or after it is not known.
    await previewsOf(pipe);
    assert.equal(
      (await previewsOf(pipe)).previews.map((images) => images.length),
      [1, 1, 1],
    );
  });
  assert.equal(tried, Array(2).fill([1, 4, 8, 8]), 'a decode at the end of each call, and no other');
  await new Promise((resolve) => setTimeout(resolve, 100));
  assert.is((await previewsOf(await load(folder))).previews[0].length, 1, 'kept for the next process');
});

test('knows the common ones by their configuration', async () => {
  const pipe = await load(fixed({ block_out_channels: [128, 256, 512, 512], scaling_factor: 0.13025 }));
  const tried = await decodes(async () => {
    const { previews, x0 } = await previewsOf(pipe);
    const z = [0, 1, 2, 3].map((c) => x0[0][c * 64]);
    const red = 0.3651 * z[0] - 0.2533 * z[1] + 0.1076 * z[2] - 0.3165 * z[3] + 0.1084;
    const expected = Math.round(Math.min(Math.max(red / 2 + 0.5, 0), 1) * 255);
    assert.ok(Math.abs(previews[0][0].data[0] - expected) <= 1, `${previews[0][0].data[0]} ${expected}`);
  });
  assert.is(tried.length, 1);
});

test('takes a small decoder from the folder or a path', async () => {
  const { latents, dims, pixels } = JSON.parse(readFileSync(models('tiny/case.json'), 'utf8'));
  const small = SmallDecoder.open('nowhere', models('tiny/vae_decoder'), {})!;
  const made = await small.decode(Float32Array.from(latents), dims.slice(1));
  await small.release();
  assert.equal(made.dims, [3, 32, 48]);
  const most = made.data.reduce((max, value, i) => Math.max(max, Math.abs(value - pixels[i])), 0);
  assert.ok(most < 1e-5, String(most));

  for (const place of ['taesd', 'vae_preview/vae_decoder']) {
    const folder = changed(
      (copy) => cpSync(models('tiny/vae_decoder'), join(copy, place), { recursive: true }),
      fixed(),
    );
    const { previews } = await previewsOf(await load(folder));
    assert.equal(
      previews.map(([{ width, height }]) => [width, height]),
      Array(3).fill([64, 64]),
    );
  }
  const given = await load(fixed(), { previewDecoder: models('tiny/vae_decoder/model.onnx') });
  assert.is((await previewsOf(given)).previews[0][0].width, 64);
  await assertRejects(
    load(fixed(), { previewDecoder: models('tiny/none') }),
    Error,
    /^Expected a decoder's graph in .*none but it does not exist$/,
  );
  await assertRejects(
    load(fixed(), { previewDecoder: join(layout('sd'), 'text_encoder') }),
    Error,
    /^Expected a decoder, from latents to a picture, in .*model\.onnx but it has other inputs or outputs$/,
  );
  await assertRejects(load(fixed(), { previewDecoder: 1 as never }), TypeError, /for previewDecoder/);
});

test.run();
