// What tools that speak the web UI's interface send, and what they do with the answer.
import { decode, encode } from 'fast-png';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { type Serving, startServer } from '../../lib/serve/server.js';
import { constant, layout } from '../pipelines/models.js';
import { json } from './client.js';

const test = suite('web UI interface');
let server: Serving;
test.before(async () => {
  server = await startServer({ folder: constant, port: 0 });
});
test.after(() => server.close());

async function send(path: string, body: object, url = server.url) {
  const response = await fetch(new URL(`/sdapi/v1/${path}`, url), {
    method: 'POST',
    headers: { 'Content-Type': 'application/json' },
    body: JSON.stringify(body),
  });
  return { status: response.status, body: await json(response) };
}

const bytes = (base64: string) => Buffer.from(base64, 'base64');
const png = (data: Uint8Array, channels = 3) =>
  Buffer.from(encode({ width: 4, height: 4, channels, data })).toString('base64');

test('draws with what the web UI sends, and passes over what it does not know', async () => {
  const { status, body } = await send('txt2img', {
    ...{ prompt: 'red', negative_prompt: 'blue', steps: 3, cfg_scale: 2, seed: 5, batch_size: 2, n_iter: 1 },
    ...{ sampler_name: 'dpm++ 2m karras', width: 4, height: 4, restore_faces: false, styles: [], subseed: -1 },
    ...{ override_settings: { sd_model_checkpoint: 'constant' }, enable_hr: false, send_images: true },
  });
  assert.is(status, 200, JSON.stringify(body));
  assert.is(body.images.length, 2);
  const info = JSON.parse(body.info);
  assert.equal([info.seed, info.all_seeds, info.cfg_scale, info.steps], [5, [5, 6], 2, 3]);
  assert.is(body.parameters.sampler_name, 'dpm++ 2m karras');
  const told = JSON.parse(decode(bytes(body.images[0])).text['dpm-solver']);
  assert.equal([told.solver, told.order, told.skipType, told.negativePrompt], ['dpmsolver++', 2, 'karras', 'blue']);
});

test('draws with each of its samplers and schedules', async () => {
  const own = await startServer({ folder: layout('sd'), port: 0 });
  try {
    const list = async (name: string) => json(await fetch(new URL(`/sdapi/v1/${name}`, own.url)));
    for (const { name } of await list('samplers')) {
      const { status, body } = await send('txt2img', { prompt: 'a', steps: 4, sampler_name: name, seed: 1 }, own.url);
      assert.is(status, 200, `${name}: ${JSON.stringify(body).slice(0, 200)}`);
    }
    for (const { label } of await list('schedulers')) {
      const { status } = await send('txt2img', { prompt: 'a', steps: 4, scheduler: label, seed: 1 }, own.url);
      assert.is(status, 200, label);
    }
  } finally {
    await own.close();
  }
});

test('starts from a picture, keeps what a mask does not cover, and the other way round', async () => {
  const image = png(Uint8Array.from({ length: 48 }, (_, i) => [20, 200, 60][i % 3]));
  const left = (i: number) => i % 4 < 2;
  const mask = png(
    Uint8Array.from({ length: 16 }, (_, i) => (left(i) ? 255 : 0)),
    1,
  );
  for (const inverted of [0, 1]) {
    const { status, body } = await send('img2img', {
      ...{ prompt: 'red', init_images: [`data:image/png;base64,${image}`], mask, seed: 1, steps: 4 },
      ...{ inpainting_mask_invert: inverted, denoising_strength: 1 },
    });
    assert.is(status, 200, JSON.stringify(body));
    assert.not.ok('init_images' in body.parameters);
    const { data } = decode(bytes(body.images[0]));
    for (let i = 0; i < 16; i++) {
      const kept = Array.from(data.slice(3 * i, 3 * i + 3)).join() === '20,200,60';
      assert.is(kept, left(i) === (inverted === 1), `pixel ${i}`);
    }
  }
});

test('refuses in one sentence', async () => {
  for (const [path, body, status, message] of [
    ['txt2img', { prompt: 'red', steps: 'many' }, 400, /^Expected a number for steps/],
    ['txt2img', { prompt: 'red', sampler_name: 'Euler z' }, 400, /^Expected one of DPM\+\+ 2M,/],
    ['txt2img', { prompt: 'red', width: 2048, height: 513 }, 400, /^Expected at most 1048576 pixels in a picture/],
    ['txt2img', { prompt: 'red', override_settings: { sd_model_checkpoint: 'no' } }, 404, /^There is no model/],
    ['img2img', { prompt: 'red' }, 400, /^Expected one picture for init_images/],
    ['img2img', { prompt: 'red', init_images: [5] }, 400, /^Expected a picture in base64 for init_images/],
    ['img2img', { prompt: 'red', init_images: ['AAAA'] }, 400, /needs the package sharp|cannot be read/],
    ['img2img', { prompt: 'red', init_images: ['AAAA'], denoising_strength: 2 }, 400, /for denoising_strength/],
  ] as const) {
    const answer = await send(path, body);
    assert.is(answer.status, status, JSON.stringify(answer.body));
    assert.match(answer.body.detail, message);
    assert.is(answer.body.error, answer.body.detail);
  }
});

test.run();
