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

/** The fields of the web UI 1.10 (modules/processing.py and modules/api/models.py), at what it takes where they are not sent. */
const DEFAULTS = {
  ...{ prompt: '', negative_prompt: '', styles: null, seed: -1, subseed: -1, subseed_strength: 0 },
  ...{ seed_resize_from_h: -1, seed_resize_from_w: -1, sampler_name: null, scheduler: null, batch_size: 1, n_iter: 1 },
  ...{
    steps: 50,
    cfg_scale: 7,
    width: 512,
    height: 512,
    restore_faces: null,
    tiling: null,
    do_not_save_samples: false,
  },
  ...{ do_not_save_grid: false, eta: null, denoising_strength: 0, s_min_uncond: null, s_churn: null, s_tmax: null },
  ...{ s_tmin: null, s_noise: null, override_settings: null, override_settings_restore_afterwards: true },
  ...{ refiner_checkpoint: null, refiner_switch_at: null, disable_extra_networks: false, comments: null },
  ...{ enable_hr: false, firstphase_width: 0, firstphase_height: 0, hr_scale: 2, hr_upscaler: null },
  ...{ hr_second_pass_steps: 0, hr_resize_x: 0, hr_resize_y: 0, hr_checkpoint_name: null, hr_sampler_name: null },
  ...{ hr_scheduler: null, hr_prompt: '', hr_negative_prompt: '', sampler_index: 'Euler', script_name: null },
  ...{ script_args: [], send_images: true, save_images: false, alwayson_scripts: {}, force_task_id: null },
  infotext: null,
};
/** Those that it has for pictures only. */
const OF_PICTURES = {
  ...{ resize_mode: 0, image_cfg_scale: null, mask: null, mask_blur_x: 4, mask_blur_y: 4, mask_blur: null },
  ...{ inpainting_fill: 0, inpaint_full_res: true, inpaint_full_res_padding: 0, inpainting_mask_invert: 0 },
  ...{ initial_noise_multiplier: null, latent_mask: null, include_init_images: false },
};
const small = { prompt: 'red', steps: 3, width: 4, height: 4, seed: 1, sampler_name: 'DDIM' };

test('tells which fields it has passed over that would have made another picture', async () => {
  const ignored = async (path: string, body: object): Promise<string[]> => {
    const answer = await send(path, body);
    assert.is(answer.status, 200, JSON.stringify(answer.body));
    return JSON.parse(answer.body.info).ignored;
  };
  assert.equal(await ignored('txt2img', { ...DEFAULTS, ...small }), []);
  const image = png(new Uint8Array(48));
  const defaults = { ...DEFAULTS, ...OF_PICTURES, ...small, init_images: [image], denoising_strength: 0.5 };
  const blurred = ['mask_blur_x', 'mask_blur_y', 'inpainting_fill', 'inpaint_full_res'];
  assert.equal(await ignored('img2img', defaults), blurred);
  const asked = {
    ...{ styles: ['bold'], subseed: 3, subseed_strength: 0.5, seed_resize_from_h: 8, seed_resize_from_w: 8 },
    ...{ restore_faces: true, tiling: true, eta: 0.5, s_min_uncond: 1, s_churn: 1, s_tmax: 9, s_tmin: 1, s_noise: 0.9 },
    ...{ infotext: 'Steps: 4', other: 1, init_images: [image] },
  };
  const override_settings = { CLIP_stop_at_last_layers: 2, sd_model_checkpoint: 'constant' };
  assert.equal(
    (await ignored('txt2img', { ...small, ...asked, override_settings })).sort(),
    [...Object.keys(asked), 'override_settings.CLIP_stop_at_last_layers'].sort(),
  );
});

test('refuses what would be another picture altogether, and sends none where none is wanted', async () => {
  for (const field of [
    { script_name: 'x/y/z plot' },
    { alwayson_scripts: { ControlNet: { args: [] } } },
    { enable_hr: true },
    { refiner_checkpoint: 'refiner' },
  ]) {
    const [name] = Object.keys(field);
    const { status, body } = await send('txt2img', { ...small, ...field });
    assert.is(status, 422);
    assert.match(body.detail, new RegExp(`^Expected (?:no|false).* for ${name}, which is not made here`));
  }
  const { body } = await send('txt2img', { ...small, send_images: false });
  assert.equal(body.images, []);
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
