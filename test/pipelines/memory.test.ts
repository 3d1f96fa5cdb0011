// Networks that share the memory: what is open when, what is told, and that the pictures are the same.
import { cpSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { Graph } from '../../lib/onnx/graph.js';
import { inTurn, loadGraphs, warningOf } from '../../lib/pipelines/memory.js';
import {
  DiffusionPipeline,
  type GenerateOptions,
  type Image,
  type PipelineOptions,
  type StageProgress,
} from '../../lib/pipelines/index.js';
import { assertBitsEqual, assertRejects } from '../support.js';
import { changed, constant, layout, removeCopies } from './models.js';

const test = suite('memory');
const opened: DiffusionPipeline[] = [];

test.after(async () => {
  await Promise.all(opened.map((pipe) => pipe.dispose()));
  removeCopies();
});

const model = changed((copy) => {
  for (const part of ['vae_decoder', 'vae_encoder']) rmSync(join(copy, part), { recursive: true, force: true });
  cpSync(fileURLToPath(new URL('../fixtures/models/tiling/kl', import.meta.url)), copy, { recursive: true });
}, layout('sd'));

async function load(options: PipelineOptions, folder = model): Promise<DiffusionPipeline> {
  const pipe = await DiffusionPipeline.fromPretrained(folder, options);
  opened.push(pipe);
  return pipe;
}

const picture: Image = { width: 64, height: 64, data: Uint8Array.from({ length: 12288 }, (_, i) => (37 * i) % 256) };
const draw: GenerateOptions = { prompt: 'a cat', seed: 3, steps: 3, width: 64, height: 64 };

test("'low' gives the very latents and pictures of 'fast'", async () => {
  const [low, fast] = [await load({ memory: 'low' }), await load({ memory: 'fast' })];
  for (const options of [draw, { ...draw, image: picture, strength: 0.7 }, { ...draw, count: 2, batchSize: 1 }]) {
    const [a, b] = [await low(options), await fast(options)];
    assert.equal([a.memory, b.memory], ['low', 'fast']);
    assertBitsEqual(a.sample.data, b.sample.data);
    assert.equal(a.images, b.images);
  }
  const mask = { ...picture, data: Uint8Array.from({ length: 12288 }, (_, i) => (i < 6144 ? 255 : 0)) };
  const edit = {
    image: picture,
    source: 'a cat',
    target: 'a dog',
    steps: 2,
    mask,
  };
  const [a, b] = [await low.edit(edit), await fast.edit(edit)];
  assert.equal([a.memory, b.memory], ['low', 'fast']);
  assertBitsEqual(a.sample.data, b.sample.data);
});

test("'low' loads each network when its turn comes and says so, 'fast' when the pipeline is opened", async () => {
  const told: string[] = [];
  const onProgress = ({ stage, done, of }: StageProgress) => {
    told.push(stage === 'load' ? (done === of ? 'loaded' : `load of ${of}`) : `${stage} ${done}/${of}`);
  };
  const weights = (part: string) => Graph.describe(join(model, part, 'model.onnx')).bytes;
  const parts = ['text_encoder', 'unet', 'vae_decoder'];
  const rest = (name: string, n: number) => Array.from({ length: n + 1 }, (_, i) => `${name} ${i}/${n}`);

  const low = await load({ memory: 'low', onProgress });
  assert.equal(told, []);
  await low({ ...draw, onProgress });
  assert.equal(told, [
    ...[`load of ${weights('text_encoder')}`, 'loaded', ...rest('encode', 2)],
    ...[`load of ${weights('unet')}`, 'loaded', ...rest('step', 3)],
    ...[`load of ${weights('vae_decoder')}`, 'loaded', ...rest('decode', 1)],
  ]);

  told.length = 0;
  const bytes: number[] = [];
  const fast = await load({ memory: 'fast', onProgress: ({ done }) => bytes.push(done) });
  const sums = parts.map((_, i) => parts.slice(0, i + 1).reduce((sum, part) => sum + weights(part), 0));
  assert.equal(bytes, [0, ...sums]);
  await fast({ ...draw, onProgress });
  assert.equal(told, [...rest('encode', 2), ...rest('step', 3), ...rest('decode', 1)]);
});

test('keeps a network that another call is at work with, and frees it after both', async () => {
  const graph = Graph.describe(join(model, 'vae_decoder', 'model.onnx'));
  const turn = { memory: 'low' as const, onProgress: undefined };
  let [first, second] = [() => {}, () => {}];
  const a = inTurn([graph], turn, () => new Promise<void>((resolve) => (first = resolve)));
  const b = inTurn([graph], turn, () => new Promise<void>((resolve) => (second = resolve)));
  await loadGraphs([graph], undefined);
  await new Promise((resolve) => setTimeout(resolve, 10));
  first();
  await a;
  assert.is(graph.loaded, true);
  second();
  await b;
  assert.is(graph.loaded, false);
  // After an error too.
  await assertRejects(
    inTurn([graph], turn, () => Promise.reject(new Error('no'))),
    Error,
    /^no$/,
  );
  assert.is(graph.loaded, false);
  await graph.release();
});

test('makes the halves of guidance one after the other where it is asked to', async () => {
  for (const folder of [model, layout('sdxl')]) {
    const pipe = await load({}, folder);
    const options = { ...draw, count: 2, guidance: 4 };
    const [one, two] = [await pipe(options), await pipe({ ...options, splitGuidance: true })];
    const error = one.sample.data.reduce((most, x, i) => Math.max(most, Math.abs(x - two.sample.data[i])), 0);
    assert.ok(error < 1e-5 * Math.max(...one.sample.data), String(error));
    assert.is(two.nfe, one.nfe);
    const rescaled = { ...options, guidanceRescale: 0.5 };
    const [three, four] = [await pipe(rescaled), await pipe({ ...rescaled, splitGuidance: true })];
    assert.ok(three.sample.data.every((x, i) => Math.abs(x - four.sample.data[i]) < 1e-4));
  }
});

test('says before the start that it will not fit, what does, and whose limit it is', () => {
  const needs = { fast: 9e9, low: 7e9 };
  const says = (memory: 'low' | 'fast', bytes: number, by: 'machine' | 'group' | 'limit', open = 0) =>
    warningOf(needs, memory, open, { bytes, by });
  assert.is(says('fast', 9e9, 'machine'), undefined);
  assert.is(
    says('fast', 8e9, 'group'),
    "This takes about 9.0 GB more of memory, and 8.0 GB are left by the container's limit, so that it may fail: memory: 'low' takes about 7.0 GB",
  );
  // What is open already is not taken again.
  assert.is(says('fast', 8e9, 'machine', 4e9), undefined);
  assert.match(
    says('low', 6e9, 'limit')!,
    /^This takes about 7\.0 GB more .* 6\.0 GB are left by ulimit -v, .*: smaller pictures, or fewer at once, take less$/,
  );
});

test('refuses what is not memory', async () => {
  await assertRejects(
    load({ memory: 'much' as never }),
    TypeError,
    /Expected 'auto', 'low' or 'fast' for memory but received 'much'/,
  );
  await assertRejects(load({ onProgress: 1 as never }), TypeError, /Expected a function for onProgress/);
  const pipe = await load({}, constant);
  await assertRejects(
    pipe({ prompt: 'red', splitGuidance: 2 as never }),
    TypeError,
    /Expected true or false for splitGuidance/,
  );
});

test.run();
