// Partial images of a latent model: as large as the result, and never by its decoder.
import { cpSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { decode } from 'fast-png';
import OpenAI from 'openai';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { Graph } from '../../lib/onnx/graph.js';
import { DiffusionPipeline, type Image } from '../../lib/pipelines/index.js';
import { partialImages } from '../../lib/serve/partial.js';
import { startServer } from '../../lib/serve/server.js';
import { changed, layout, removeCopies } from '../pipelines/models.js';

const test = suite('partial images');
// What is kept of earlier runs is not for these.
const cache = mkdtempSync(join(tmpdir(), 'dpm-solver-cache-'));
const before = process.env.XDG_CACHE_HOME;
process.env.XDG_CACHE_HOME = cache;

test.after(() => {
  if (before === undefined) delete process.env.XDG_CACHE_HOME;
  else process.env.XDG_CACHE_HOME = before;
  rmSync(cache, { recursive: true });
  removeCopies();
});

const size = { width: 72, height: 64 };
/** diffusers' AutoencoderTiny; see test/fixtures/preview.py. */
const tiny = fileURLToPath(new URL('../fixtures/models/tiny/vae_decoder', import.meta.url));
const withSmall = () => changed((copy) => cpSync(tiny, join(copy, 'taesd'), { recursive: true }), layout('sd'));

for (const [name, folder, smalls] of [
  ['a map', () => changed(() => {}, layout('sd')), 0],
  ['a small decoder', withSmall, 3],
] as const) {
  test(`cost no decode with ${name}`, async () => {
    const pipe = await DiffusionPipeline.fromPretrained(folder());
    const { call } = Graph.prototype;
    const seen: string[] = [];
    Graph.prototype.call = function (this: Graph, feeds, ...rest) {
      // The one small picture by which a map is found is not one of the run's.
      const [, , , width] = Object.values(feeds)[0].dims;
      if (/vae_decoder|taesd/.test(this.path) && width === 9) seen.push(/taesd/.test(this.path) ? 'small' : 'large');
      return call.call(this, feeds, ...rest);
    };
    try {
      const made: Promise<Image[]>[] = [];
      await pipe({
        ...{ prompt: 'a cat', seed: 1, steps: 3, ...size },
        onStep: ({ preview }) => made.push(partialImages(preview, size)),
      });
      for (const images of await Promise.all(made)) {
        assert.equal(
          images.map(({ width, height }) => ({ width, height })),
          [size],
        );
      }
      // The result's own.
      assert.equal(seen.sort(), ['large', ...Array<string>(smalls).fill('small')]);
    } finally {
      Graph.prototype.call = call;
      await pipe.dispose();
    }
  });
}

/** Events of a run in this size by OpenAI's client. */
async function drawn(url: string): Promise<string[]> {
  const client = new OpenAI({ baseURL: `${url}v1`, apiKey: 'none', maxRetries: 0 });
  const stream = await client.images.generate({
    ...{ prompt: 'a cat', stream: true, partial_images: 2, size: '72x64' as never },
    ...({ steps: 6, seed: 1 } as object),
  });
  const types: string[] = [];
  for await (const event of stream) {
    types.push(event.type.split('.')[1]);
    assert.is(event.size as string, '72x64');
    const { width, height } = decode(Buffer.from(event.b64_json, 'base64'));
    assert.equal({ width, height }, size);
  }
  return types;
}

test("reach a client in the result's size", async () => {
  for (const folder of [changed(() => {}, layout('sd')), withSmall()]) {
    const server = await startServer({ folder, port: 0 });
    try {
      assert.equal(await drawn(server.url), ['partial_image', 'partial_image', 'completed']);
    } finally {
      await server.close();
    }
  }
});

test('are left out as long as nothing is known of the colours', async () => {
  const fixed = changed((copy) => {
    for (const part of ['vae_decoder', 'vae_encoder']) rmSync(join(copy, part), { recursive: true, force: true });
    cpSync(fileURLToPath(new URL('../fixtures/models/tiling/kl-fixed', import.meta.url)), copy, { recursive: true });
  }, layout('sd'));
  const server = await startServer({ folder: fixed, port: 0 });
  try {
    // A decoder of one size is not tried: its first picture tells, which comes early in so small a run.
    assert.is((await drawn(server.url)).at(-1), 'completed');
    assert.equal(await drawn(server.url), ['partial_image', 'partial_image', 'completed']);
  } finally {
    await server.close();
  }
  assert.equal(await partialImages(async () => [], size), []);
});

test.run();
