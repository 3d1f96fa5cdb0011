// The official clients draw with a server whose address is all that was changed in them.
import { execFile } from 'node:child_process';
import { delimiter } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { crc32, deflateSync } from 'node:zlib';
import { createOpenAI } from '@ai-sdk/openai';
import { createOpenAICompatible } from '@ai-sdk/openai-compatible';
import { generateImage } from 'ai';
import { decode, encode } from 'fast-png';
import OpenAI, { APIError, toFile } from 'openai';
import sharp from 'sharp';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { defaultLimits } from '../../lib/serve/limits.js';
import { type Serving, startServer } from '../../lib/serve/server.js';
import { constant, hasShapes, layout, shapes } from '../pipelines/models.js';
import { all, events, eventually, idle, json, post, until } from './client.js';

const test = suite('OpenAI clients');
let server: Serving;
let openai: OpenAI;

test.before(async () => {
  server = await startServer({ folder: constant, port: 0, limits: { steps: 20_000 } });
  openai = new OpenAI({ baseURL: `${server.url}v1`, apiKey: 'none', maxRetries: 0 });
});
test.after(() => server.close());
test.after.each(() => idle(server.url));

const bytes = (base64: string | undefined) => Buffer.from(base64 as string, 'base64');
/** Fields that the clients' types do not know. */
const more = (fields: object) => fields as Record<string, never>;
// By a solver whose plan for so many steps is soon made.
const endless = { prompt: 'red', solver: 'deis', steps: 20_000, guidance: 1, seed: 1 };

/** What a promise is rejected with. */
async function refusal(promise: Promise<unknown>): Promise<InstanceType<typeof APIError>> {
  try {
    await promise;
  } catch (error) {
    assert.instance(error, APIError);
    return error as InstanceType<typeof APIError>;
  }
  return assert.unreachable('it was not refused') as never;
}

/** A picture of the constant model's size. */
function picture(colour: readonly number[], channels: 3 | 4 = 3, alpha = (_: number) => 255) {
  const data = Uint8Array.from({ length: 16 * channels }, (_, i) => colour[i % channels] ?? alpha((i / channels) | 0));
  return toFile(encode({ width: 4, height: 4, data, channels }), 'picture.png', { type: 'image/png' });
}

test('lists the models, and tells of one', async () => {
  const { data } = await openai.models.list();
  assert.equal(
    data.map(({ id, object }) => [id, object]),
    [['constant', 'model']],
  );
  assert.is((await openai.models.retrieve('constant')).id, 'constant');
  const error = await refusal(openai.models.retrieve('other'));
  assert.equal([error.status, error.code], [404, 'model_not_found']);
});

test('makes the pictures that the interface of the page makes', async () => {
  const { data, created, size } = await openai.images.generate({
    ...{ prompt: 'red', model: 'gpt-image-1', n: 3, size: 'auto', quality: 'high', user: 'someone' },
    ...more({ steps: 4, seed: 7, guidance: 1, solver: 'unipc' }),
  });
  assert.ok(Math.abs(created - Date.now() / 1000) < 100);
  assert.is(size as string, '4x4');
  const found = await all(
    await post(server.url, { prompt: 'red', count: 3, steps: 4, seed: 7, guidance: 1, solver: 'unipc' }),
  );
  const pixels = (png: string | undefined) => Array.from(decode(bytes(png)).data);
  assert.equal(
    data?.map(({ b64_json }) => pixels(b64_json)),
    found.at(-1)?.data.images.map(pixels),
  );
  assert.is(JSON.parse(decode(bytes(data?.[1].b64_json)).text['dpm-solver']).seed, 8);
});

test('takes null for what is absent, names as Python and JavaScript write them, and an address for a picture', async () => {
  const { data } = await openai.images.generate({
    ...{ prompt: 'red', n: null, size: null, stream: null, output_format: null, partial_images: null, model: null },
    ...{ response_format: 'url' },
    ...more({ negative_prompt: 'blue', skipType: 'karras', steps: 2, guidance: null }),
  });
  assert.match(data?.[0].url ?? '', /^data:image\/png;base64,/);
  const response = await fetch(data?.[0].url as string);
  assert.is(decode(new Uint8Array(await response.arrayBuffer())).width, 4);
});

test('guides by interval and variant, in JSON and in forms', async () => {
  const own = await startServer({ folder: layout('sd'), port: 0 });
  try {
    const fields = { steps: 2, seed: 7, guidance: 3, guidance_interval: [0, 1e-6], guidance_rescale: 0.5 };
    const client = new OpenAI({ baseURL: `${own.url}v1`, apiKey: 'none', maxRetries: 0 });
    // Outside of the interval an evaluation is half of one.
    const made = await client.images.generate({ prompt: 'red', ...more(fields) });
    assert.is((made as { nfe?: number }).nfe, 1);
    const form = new FormData();
    const picture = Buffer.from(made.data?.[0].b64_json ?? '', 'base64');
    form.set('image', new Blob([picture], { type: 'image/png' }), 'image.png');
    const asked = { prompt: 'red', strength: 1, ...fields, guidance_interval: '0,1e-6', guidance_variant: 'cfg-zero' };
    for (const [name, value] of Object.entries(asked)) form.set(name, String(value));
    const edited = await fetch(new URL('v1/images/edits', own.url), { method: 'POST', body: form });
    const { nfe, error } = await json(edited);
    assert.equal([edited.status, nfe], [200, 1], error?.message);
    form.set('guidance_interval', '1');
    const refused = await fetch(new URL('v1/images/edits', own.url), { method: 'POST', body: form });
    assert.is(refused.status, 400);
    assert.match((await json(refused)).error.message, /two numbers .* for guidance_interval but received '1'/);
  } finally {
    await own.close();
  }
});

test('writes PNG, JPEG and WebP files, smaller ones where that is asked for', async () => {
  const lengths: Record<string, number[]> = {};
  for (const output_format of ['png', 'jpeg', 'webp'] as const) {
    for (const output_compression of output_format === 'png' ? [100] : [100, 10]) {
      const { data, ...rest } = await openai.images.generate({
        ...{ prompt: 'red', output_format, output_compression },
        ...more({ steps: 1, seed: 0 }),
      });
      assert.is(rest.output_format, output_format);
      const file = bytes(data?.[0].b64_json);
      const { format, width, exif } = await sharp(file).metadata();
      assert.equal([format, width], [output_format, 4]);
      if (output_format !== 'png') assert.ok(exif?.includes('"prompt":"red"'), 'what made it is in the file');
      lengths[output_format] = [...(lengths[output_format] ?? []), file.length];
    }
  }
  assert.ok(lengths.jpeg[1] < lengths.jpeg[0]);
  assert.ok(lengths.webp[1] < lengths.webp[0]);
});

test('streams as many partial images as were asked for', async () => {
  for (const [partials, steps, expected] of [
    [0, 6, 0],
    [3, 6, 3],
    // The last step is the result, so two steps have one partial image.
    [3, 2, 1],
    [2, 1, 0],
  ]) {
    const found = [];
    const stream = await openai.images.generate({
      ...{ prompt: 'red', stream: true, partial_images: partials, output_format: 'webp' },
      ...more({ steps }),
    });
    for await (const event of stream) found.push(event);
    assert.equal(
      found.map(({ type }) => type),
      [...Array(expected).fill('image_generation.partial_image'), 'image_generation.completed'],
    );
    for (const [i, event] of found.entries()) {
      if (event.type === 'image_generation.partial_image') assert.is(event.partial_image_index, i);
      assert.equal([event.output_format, event.background, event.size as string], ['webp', 'opaque', '4x4']);
      assert.is((await sharp(bytes(event.b64_json)).metadata()).format, 'webp');
    }
  }
});

if (hasShapes) {
  test('partial images are what the network takes the result to be, evenly spaced', async () => {
    const own = await startServer({ folder: shapes, port: 0 });
    try {
      const settings = { prompt: 'a red circle on a blue background', steps: 6, seed: 3, guidance: 1 };
      const steps = (await all(await post(own.url, settings))).filter(({ event }) => event === 'step');
      const client = new OpenAI({ baseURL: `${own.url}v1`, apiKey: 'none' });
      const partials: string[] = [];
      const { prompt, ...ours } = settings;
      const stream = await client.images.generate({ prompt, stream: true, partial_images: 2, ...more(ours) });
      for await (const event of stream) {
        if (event.type === 'image_generation.partial_image') partials.push(event.b64_json);
      }
      // Of a network in pixels the predictions that the page shows are the very pictures.
      assert.equal(partials, [steps[1].data.images[0], steps[3].data.images[0]]);
    } finally {
      await own.close();
    }
  });
}

test('starts from a picture, as much of it as is said', async () => {
  const image = await picture([20, 200, 60]);
  const { data } = await openai.images.edit({
    ...{ image, prompt: 'red', model: 'gpt-image-1', n: 2 },
    ...more({ strength: 0.5, steps: 4, seed: 1 }),
  });
  assert.is(data?.length, 2);
  assert.is.not(data?.[0].b64_json, data?.[1].b64_json, 'each picture has a seed of its own');
  const again = await openai.images.edit({
    image: [image],
    prompt: 'red',
    ...more({ strength: 0.5, steps: 4, seed: 1 }),
  });
  assert.is(again.data?.[0].b64_json, data?.[0].b64_json, 'image[] is image');
  const stream = await openai.images.edit({ ...{ image, prompt: 'red', stream: true, partial_images: 1 } });
  const types: string[] = [];
  for await (const event of stream) types.push(event.type);
  assert.equal(types, ['image_edit.partial_image', 'image_edit.completed']);
});

test('takes edits in JSON, whose pictures are data: addresses', async () => {
  const urlOf = async (file: File) => ({
    image_url: `data:image/png;base64,${Buffer.from(await file.arrayBuffer()).toString('base64')}`,
  });
  const [image, mask] = [await picture([20, 200, 60]), await picture([9, 9, 9], 4, (i) => (i % 4 < 2 ? 0 : 255))];
  const fields = { prompt: 'red', steps: 3, seed: 1, guidance: 1 };
  const ask = (body: object) => openai.post('/images/edits', { body }) as Promise<OpenAI.ImagesResponse>;
  for (const form of [{ image }, { image, mask }]) {
    const { image: first, mask: second } = { mask: undefined, ...form };
    const { data } = await openai.images.edit({ ...form, ...more(fields), prompt: 'red' });
    const references = { images: [await urlOf(first)], ...(second ? { mask: await urlOf(second) } : {}) };
    assert.is((await ask({ ...fields, ...references })).data?.[0].b64_json, data?.[0].b64_json);
  }
  for (const [references, message] of [
    [{}, /^400 Expected one picture for images but received none$/],
    [{ images: [] }, /^400 Expected one picture for images but received none$/],
    [{ images: [await urlOf(image), await urlOf(image)] }, /^400 Expected one picture for images but received 2$/],
    [{ images: [{ file_id: 'file-1' }] }, /^400 Expected an image_url that begins with data:image\/ for images/],
    [{ images: [{ image_url: 'http://127.0.0.1/a.png' }] }, /^400 Expected an image_url that begins with data:image\//],
    [{ images: [await urlOf(image)], mask: 'x' }, /^400 Expected an image_url that begins with data:image\/ for mask/],
  ] as const) {
    assert.match((await refusal(ask({ ...fields, ...references }))).message, message);
  }
});

test('makes variations of a picture, which has no prompt', async () => {
  const image = await picture([20, 200, 60]);
  const { data } = await openai.images.createVariation({
    ...{ image, n: 2, model: 'dall-e-2', response_format: 'b64_json' },
    ...more({ steps: 4, seed: 1 }),
  });
  assert.is(data?.length, 2);
  assert.is.not(data?.[0].b64_json, data?.[1].b64_json);
  // They are edits without a prompt, and without guidance, which there is nothing for.
  const edit = await openai.images.edit({ image, prompt: '', ...more({ steps: 4, seed: 1, guidance: 1 }) });
  assert.is(edit.data?.[0].b64_json, data?.[0].b64_json);
  const streamed = await refusal(openai.images.createVariation({ image, ...more({ stream: true }) }));
  assert.match(streamed.message, /^400 Expected no stream for variations/);
});

test('keeps what a mask does not cover: what is transparent in it is made anew, or what is white', async () => {
  const image = await picture([20, 200, 60]);
  const left = (i: number) => i % 4 < 2;
  const masks = [
    await picture([9, 9, 9], 4, (i) => (left(i) ? 0 : 255)),
    await toFile(
      encode({
        width: 4,
        height: 4,
        channels: 1,
        data: Uint8Array.from({ length: 16 }, (_, i) => (left(i) ? 255 : 0)),
      }),
      'mask.png',
      { type: 'image/png' },
    ),
  ];
  for (const mask of masks) {
    const { data } = await openai.images.edit({
      image,
      mask,
      prompt: 'red',
      ...more({ steps: 3, seed: 1, guidance: 1 }),
    });
    const png = decode(bytes(data?.[0].b64_json));
    for (let i = 0; i < 16; i++) {
      const pixel = Array.from(png.data.slice(3 * i, 3 * i + 3));
      if (left(i)) assert.ok(Math.abs(pixel[0] - 191) < 20 && pixel[1] < 160, `made anew: ${pixel}`);
      else assert.equal(pixel, [20, 200, 60]);
    }
  }
});

test('brings pictures of other sizes and kinds to what the model takes', async () => {
  const noise = Uint8Array.from({ length: 3 * 30 * 20 }, (_, i) => (i * 37) % 256);
  const photo = await sharp(noise, { raw: { width: 30, height: 20, channels: 3 } })
    .jpeg()
    .toBuffer();
  const image = await toFile(photo, 'photo.jpg', { type: 'image/jpeg' });
  const { size } = await openai.images.edit({ image, prompt: 'red', ...more({ steps: 1 }) });
  assert.is(size as string, '4x4');
});

const wrong: [what: string, fields: object, message: RegExp, param: string | null][] = [
  ['no prompt', { prompt: undefined }, /^Expected a string for prompt but received nothing$/, 'prompt'],
  ['a long prompt', { prompt: 'a'.repeat(1001) }, /received a string of 1001 characters$/, 'prompt'],
  ['an unknown field', { stesp: 3 }, /^There is no setting 'stesp'; did you mean 'steps'\?$/, 'stesp'],
  ['eleven pictures', { n: 11 }, /^Expected a whole number from 1 to 10 for n but received 11$/, 'n'],
  ['a size in words', { size: 'large' }, /^Expected 'auto' or a size as in '512x512' for size/, 'size'],
  ['a large size', { size: '4096x64' }, /^Expected a whole number from 1 to 2048 for size but received 4096$/, 'size'],
  [
    'a large area',
    { size: '2048x513' },
    /^Expected at most 1048576 pixels in a picture but received 2048 x 513$/,
    null,
  ],
  ['a size that the model has not', { size: '8x8' }, /^Expected 4 for height but received 8/, 'height'],
  ['another format', { output_format: 'gif' }, /^Expected 'png', 'jpeg' or 'webp' for output_format/, 'output_format'],
  ['compression of PNG', { output_compression: 50 }, /^Expected jpeg or webp for output_format/, 'output_format'],
  ['transparency', { background: 'transparent' }, /^Expected 'auto' or 'opaque' for background/, 'background'],
  ['streams of two', { stream: true, n: 2 }, /^Expected 1 for n with stream, whose events/, 'n'],
  ['partial images of no stream', { partial_images: 2 }, /^Expected stream with partial_images/, null],
  ['four partial images', { stream: true, partial_images: 4 }, /from 0 to 3 for partial_images/, 'partial_images'],
  ['our own, wrong', { negative_prompt: 5 }, /for negative_prompt but received 5$/, 'negative_prompt'],
  ['what only the model can say', { prompt: 'a pink elephant' }, /does not know the words/, null],
];
for (const [what, fields, message, param] of wrong) {
  test(`refuses ${what} in the clients' own form`, async () => {
    const error = await refusal(openai.images.generate({ prompt: 'red', ...more(fields) }));
    assert.is(error.status, 400);
    assert.is(error.type, 'invalid_request_error');
    assert.match((error.error as { message: string }).message, message);
    assert.is(error.param, param);
  });
}

test('refuses what cannot be read as a picture', async () => {
  const image = await picture([1, 2, 3]);
  const text = await toFile(Buffer.from('no picture at all'), 'a.png', { type: 'image/png' });
  const cut = await toFile((await image.arrayBuffer()).slice(0, 40), 'a.png', { type: 'image/png' });
  const other = await toFile(encode({ width: 2, height: 4, channels: 1, data: new Uint8Array(8) }), 'm.png', {
    type: 'image/png',
  });
  // The head of a picture of 100,000 x 100,000 pixels.
  const head = Buffer.from(await image.arrayBuffer());
  head.writeUInt32BE(100_000, 16);
  head.writeUInt32BE(100_000, 20);
  const bomb = await toFile(head, 'b.png', { type: 'image/png' });
  for (const [fields, message] of [
    [{ image: text }, /^400 Expected a picture for image but it cannot be read/],
    [{ image: cut }, /^400 Expected a picture for image but it cannot be read/],
    [{ image: bomb }, /^400 Expected at most 33554432 pixels for image but received 100000 x 100000/],
    [{ image, mask: other }, /^400 Expected a mask of the image's size, 4 x 4, but received one of 2 x 4/],
    [{ image: [image, image] }, /^400 Expected one file for image but received 2/],
    [{ image, strength: 0 }, /^400 Expected a number above 0 and up to 1 for strength/],
  ] as const) {
    const error = await refusal(openai.images.edit({ prompt: 'red', ...(fields as { image: typeof image }) }));
    assert.match(error.message, message);
  }
});

test('a mask whose pixels unpack to more than it says is refused before they do', async () => {
  const small = encode({ width: 4, height: 4, channels: 4, data: new Uint8Array(64) });
  const type = Buffer.from(small).indexOf('IDAT');
  const body = Buffer.concat([Buffer.from('IDAT'), deflateSync(Buffer.alloc(2 ** 26))]);
  const ends = Buffer.alloc(8);
  ends.writeUInt32BE(body.length - 4, 0);
  ends.writeUInt32BE(crc32(body), 4);
  const behind = small.subarray(type + 8 + Buffer.from(small).readUInt32BE(type - 4));
  const bomb = Buffer.concat([small.subarray(0, type - 4), ends.subarray(0, 4), body, ends.subarray(4), behind]);
  const mask = await toFile(bomb, 'mask.png', { type: 'image/png' });
  const error = await refusal(openai.images.edit({ image: await picture([1, 2, 3]), mask, prompt: 'red' }));
  assert.match(error.message, /^400 Expected a picture for mask but it cannot be read: .*more of them than the header/);
});

test('says 405, 413 and 415 in their form too', async () => {
  const ask = async (path: string, init: RequestInit) => {
    const response = await fetch(new URL(path, server.url), init);
    return [response.status, (await json(response)).error.type];
  };
  const headers = { 'Content-Type': 'application/json' };
  assert.equal(await ask('v1/images/generations', {}), [405, 'invalid_request_error']);
  assert.equal(await ask('v1/nothing', {}), [404, 'invalid_request_error']);
  assert.equal(await ask('v1/images/generations', { method: 'POST', body: '{}' }), [415, 'invalid_request_error']);
  assert.equal(await ask('v1/images/edits', { method: 'POST', body: '{}' }), [415, 'invalid_request_error']);
  assert.equal(await ask('v1/images/variations', { method: 'POST', body: '{}', headers }), [
    ...[415, 'invalid_request_error'],
  ]);
  const large = JSON.stringify({ prompt: 'a'.repeat(defaultLimits.body) });
  assert.equal(await ask('v1/images/generations', { method: 'POST', body: large, headers }), [
    413,
    'invalid_request_error',
  ]);
  const form = new FormData();
  form.set('prompt', 'red');
  form.set('image', new Blob([new Uint8Array(defaultLimits.upload)]));
  assert.equal(await ask('v1/images/edits', { method: 'POST', body: form }), [413, 'invalid_request_error']);
});

test('asks for a key, where there is one', async () => {
  const own = await startServer({ folder: constant, port: 0, keys: ['first key', 'second'] });
  try {
    const client = (apiKey: string) => new OpenAI({ baseURL: `${own.url}v1`, apiKey, maxRetries: 0 });
    const error = await refusal(client('third').models.list());
    assert.equal([error.status, error.code, error.constructor.name], [401, 'invalid_api_key', 'AuthenticationError']);
    assert.is((await client('second').images.generate({ prompt: 'red', ...more({ steps: 1 }) })).data?.length, 1);
    for (const path of ['api/status', 'api/model', 'sdapi/v1/samplers', 'v1/models']) {
      assert.is((await fetch(new URL(path, own.url))).status, 401, path);
      assert.is((await fetch(new URL(path, own.url), { headers: { Authorization: 'Bearer second' } })).status, 200);
    }
    assert.is((await fetch(own.url)).status, 200, 'the page itself');
  } finally {
    await own.close();
  }
});

test('tells when to come back where the queue is full, and the client does', async () => {
  const own = await startServer({
    folder: constant,
    port: 0,
    limits: { steps: 100_000, waiting: 0, together: 1, checkSeconds: 600 },
  });
  try {
    const client = new OpenAI({ baseURL: `${own.url}v1`, apiKey: 'none', maxRetries: 0 });
    const stream = events(await post(own.url, { ...endless, steps: 100_000 }));
    const { data } = await until(stream, 'started');
    const error = await refusal(client.images.generate({ prompt: 'red' }));
    assert.equal([error.status, error.type, error.code], [429, 'rate_limit_error', 'rate_limit_exceeded']);
    const seconds = Number(error.headers?.get('retry-after'));
    assert.ok(seconds >= 1 && seconds <= 60, `${seconds}`);
    const drawn = client.images.generate({ prompt: 'red', ...more({ steps: 1 }) }, { maxRetries: 20 });
    await new Promise((resolve) => setTimeout(resolve, 200));
    await fetch(new URL(`/api/runs/${data.id}`, own.url), { method: 'DELETE' });
    assert.is((await drawn).data?.length, 1);
  } finally {
    await own.close();
  }
});

test('says 503 while the model is loaded again, and the client waits for it', async () => {
  server.engine.kill();
  await eventually(() => server.engine.model === undefined, 'the process did not end');
  const error = await refusal(openai.images.generate({ prompt: 'red' }));
  assert.equal([error.status, error.type], [503, 'server_error']);
  const { data } = await openai.images.generate({ prompt: 'red', ...more({ steps: 1 }) }, { maxRetries: 20 });
  assert.is(data?.length, 1);
});

test('ends the run of a client that goes away', async () => {
  const abort = new AbortController();
  const drawn = openai.images
    .generate({ prompt: 'red', ...more({ steps: 20_000, solver: 'deis', guidance: 1 }) }, { signal: abort.signal })
    .catch((error) => error.constructor.name);
  await eventually(async () => (await json(await fetch(new URL('api/status', server.url)))).running === 1, 'no run');
  abort.abort();
  assert.is(await drawn, 'APIUserAbortError');
  await idle(server.url);
});

test('draws for the ai SDK by both of its providers', async () => {
  const baseURL = `${server.url}v1`;
  const ai = createOpenAI({ baseURL, apiKey: 'none' });
  // One request for names that it knows, and one a picture for others.
  for (const name of ['gpt-image-1', 'dall-e-3', 'constant']) {
    const { images, warnings } = await generateImage({ model: ai.image(name), prompt: 'red', n: 3, size: '4x4' });
    assert.equal(
      images.map(({ mediaType }) => mediaType),
      Array(3).fill('image/png'),
    );
    assert.equal(warnings, []);
  }
  const image = new Uint8Array(await (await picture([20, 200, 60])).arrayBuffer());
  const edited = await generateImage({ model: ai.image('gpt-image-1'), prompt: { images: [image], text: 'red' } });
  assert.is(edited.images.length, 1);
  const own = createOpenAICompatible({ name: 'own', baseURL });
  const drawn = await generateImage({
    model: own.imageModel('constant'),
    prompt: 'red',
    providerOptions: { own: { seed: 5, steps: 3, negative_prompt: 'blue', guidance: 2 } },
  });
  const told = JSON.parse(decode(drawn.image.uint8Array).text['dpm-solver']);
  assert.equal([told.seed, told.steps, told.negativePrompt, told.guidance], [5, 3, 'blue', 2]);
});

for (const node of (process.env.DPM_SOLVER_NODES ?? '').split(delimiter).filter(Boolean)) {
  test(`draws for the newest clients under ${node}`, async () => {
    const child = fileURLToPath(new URL('./children/newest-clients.mjs', import.meta.url));
    const { stdout } = await promisify(execFile)(node, [child, server.url]);
    const { png, ...rest } = JSON.parse(stdout);
    const partial = 'image_generation.partial_image';
    assert.equal(rest, { pictures: 2, events: [partial, partial, 'image_generation.completed'], images: 2 });
    assert.is(JSON.parse(decode(bytes(png)).text['dpm-solver']).seed, 3);
  });
}

test.run();
