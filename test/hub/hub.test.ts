// Models from a hub: which files come, where they are kept, and what becomes of whatever goes wrong on the way.
import fs, {
  cpSync,
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { syncBuiltinESMExports } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { listRepository } from '../../lib/hub/client.js';
import { findModel, isHubId, modelName, type PullOptions, plan, pull } from '../../lib/hub/index.js';
import { DiffusionPipeline, type PipelineOptions } from '../../lib/pipelines/index.js';
import { start } from '../cli/command.js';
import { folder as exportedFolder, madeAt } from '../pipelines/exports.js';
import { assertBitsEqual, assertRejects } from '../support.js';
import { type Fault, Hub } from './hub-server.js';

const test = suite('models from a hub');
const VARIABLES = [
  ...['HF_ENDPOINT', 'HF_HOME', 'HF_HUB_CACHE', 'HF_TOKEN', 'HF_TOKEN_PATH', 'HF_HUB_OFFLINE', 'XDG_CACHE_HOME'],
  ...['HUGGINGFACE_HUB_CACHE', 'HUGGING_FACE_HUB_TOKEN', 'TRANSFORMERS_OFFLINE', 'HF_HUB_DISABLE_IMPLICIT_TOKEN'],
];
const before = Object.fromEntries(VARIABLES.map((name) => [name, process.env[name]]));
let hub: Hub;
let place: string;

/** What repositories have beside ONNX. */
const others = {
  'README.md': Buffer.from('# A model'),
  '.gitattributes': Buffer.from('*.onnx filter=lfs'),
  'preview.png': Buffer.alloc(30_000, 9),
  'v1-5-pruned.ckpt': Buffer.alloc(30_000, 1),
  'unet/diffusion_pytorch_model.safetensors': Buffer.alloc(30_000, 2),
  'unet/flax_model.msgpack': Buffer.alloc(100, 3),
  'unet/openvino_model.bin': Buffer.alloc(100, 4),
  'unet/openvino_model.xml': Buffer.alloc(100, 5),
  'text_encoder/model.safetensors': Buffer.alloc(100, 8),
  'vae/diffusion_pytorch_model.fp16.safetensors': Buffer.alloc(100, 6),
  'safety_checker/model.onnx': Buffer.alloc(30_000, 7),
};

test.before.each(async () => {
  place = mkdtempSync(join(tmpdir(), 'dpm-solver-hub-'));
  for (const name of VARIABLES) delete process.env[name];
  hub = await Hub.start();
  hub.add('tiny/sd1', exportedFolder('sd1-converter'), others);
  process.env.HF_ENDPOINT = hub.endpoint;
  process.env.HF_HOME = place;
});

test.after.each(async () => {
  for (const [name, value] of Object.entries(before)) {
    if (value === undefined) delete process.env[name];
    else process.env[name] = value;
  }
  await hub.stop();
  rmSync(place, { recursive: true });
});

test.after(() => {
  const made = madeAt();
  if (made) rmSync(made, { recursive: true });
});

/** Files in a folder, by their paths. */
function filesIn(folder: string): string[] {
  const all = readdirSync(folder, { recursive: true, encoding: 'utf8' }).map((path) => path.replaceAll('\\', '/'));
  return all.filter((path) => statSync(join(folder, path)).isFile()).sort();
}

const store = () => join(place, 'hub/models--tiny--sd1');
const blobs = () => (existsSync(join(store(), 'blobs')) ? readdirSync(join(store(), 'blobs')).sort() : []);
const parts = () => blobs().filter((name) => name.endsWith('.incomplete'));
const snapshot = (name = 'tiny/sd1') =>
  join(place, `hub/models--${name.replace('/', '--')}/snapshots`, hub.commit(name));
/** Requests for files, not for the list of them. */
const fetched = () => hub.asked.filter(({ url }) => !url.startsWith('/api/'));
const network = () => Buffer.from(hub.repositories.get('tiny/sd1')?.get('unet/model.onnx') as Uint8Array);
/** Ranges that were asked of where large files are, for the network. */
const ranges = () =>
  hub.asked
    .filter(({ url, origin }) => origin === 'store' && url === '/tiny/sd1/unet/model.onnx')
    .map((one) => one.range);
/** Changes a graph's text, byte for byte. */
const edited = (bytes: Uint8Array, change: (text: string) => string) =>
  Buffer.from(change(Buffer.from(bytes).toString('latin1')), 'latin1');

test('fetches what the pipeline needs and no other format, and draws what the folder draws', async () => {
  const told: number[] = [];
  const files = new Set<string>();
  const folder = await pull('tiny/sd1', {
    onProgress: ({ stage, file, done, of, fetched, seconds, left }) => {
      assert.is(stage, 'fetch');
      assert.ok(done <= of && fetched <= done && seconds >= 0 && (left === undefined || left >= 0));
      files.add(file);
      told.push(done);
    },
  });
  assert.is(folder, snapshot());
  const local = exportedFolder('sd1-converter');
  const wanted = filesIn(local);
  assert.ok(wanted.includes('unet/weights.pb'));
  assert.equal(filesIn(folder), wanted);
  assert.equal([...files].sort(), wanted);
  let size = 0;
  for (const file of wanted) {
    assert.equal(readFileSync(join(folder, file)), readFileSync(join(local, file)));
    size += statSync(join(folder, file)).size;
  }
  assert.is(told.at(-1), size);
  assert.is(readFileSync(join(store(), 'refs/main'), 'utf8'), hub.commit('tiny/sd1'));
  // Blobs are named as the hub's own tools name them, and nothing is left over.
  assert.is(blobs().length, new Set(wanted.map((file) => readFileSync(join(folder, file)).toString('latin1'))).size);
  assert.ok(blobs().every((name) => /^(?:[\da-f]{40}|[\da-f]{64})$/.test(name)));

  hub.asked.length = 0;
  const [pulled, own] = await Promise.all([
    DiffusionPipeline.fromPretrained('tiny/sd1'),
    DiffusionPipeline.fromPretrained(local),
  ]);
  const ask = { prompt: 'a red circle', steps: 2, seed: 1 };
  assertBitsEqual((await pulled(ask)).sample.data, (await own(ask)).sample.data);
  await Promise.all([pulled.dispose(), own.dispose()]);
  assert.is(fetched().length, 0);
});

test('takes weights of any name, one file or a file a tensor, and says which it lacks', async () => {
  const torch = hub.add('tiny/torch', exportedFolder('sd1-torch'), {
    'taesd/model.onnx': readFileSync(join(exportedFolder('sd1-converter'), 'vae_decoder/model.onnx')),
    'taesd/config.json': Buffer.from('{}'),
    'taesd/taesd_decoder.safetensors': Buffer.alloc(100),
  });
  const folder = await pull('tiny/torch');
  assert.ok(existsSync(join(folder, 'unet/model.onnx.data')));
  // A small decoder for previews is no other format.
  assert.equal(readdirSync(join(folder, 'taesd')).sort(), ['config.json', 'model.onnx']);
  const converter = exportedFolder('sd1-converter');
  const graph = readFileSync(join(converter, 'unet/model.onnx'));
  let count = 0;
  const many = edited(graph, (text) =>
    text.replaceAll('weights.pb', () => `tensor.${String(count++).padStart(3, '0')}`),
  );
  const tensors = Array.from({ length: 40 }, (_, i) => [
    `unet/tensor.${String(i).padStart(3, '0')}`,
    readFileSync(join(converter, 'unet/weights.pb')),
  ]);
  hub.add('tiny/many', converter, { 'unet/model.onnx': many, 'unet/weights.pb': null, ...Object.fromEntries(tensors) });
  const pipe = await DiffusionPipeline.fromPretrained('tiny/many');
  const own = await DiffusionPipeline.fromPretrained(converter);
  const ask = { prompt: 'red', steps: 2, seed: 1 };
  assertBitsEqual((await pipe(ask)).sample.data, (await own(ask)).sample.data);
  await Promise.all([pipe.dispose(), own.dispose()]);
  assert.ok(count > 10);
  assert.is(filesIn(snapshot('tiny/many')).filter((file) => file.startsWith('unet/tensor.')).length, count);

  torch.delete('vae_decoder/model.onnx.data');
  await assertRejects(
    pull('tiny/torch'),
    Error,
    /^Expected 'model\.onnx\.data', which vae_decoder\/model\.onnx names for its weights, beside it in tiny\/torch but it is not there$/,
  );
});

test('asks for sizes and checksums where a list has none', async () => {
  hub.told = false;
  const folder = await pull('tiny/sd1');
  assert.equal(filesIn(folder), filesIn(exportedFolder('sd1-converter')));
  assert.ok(blobs().every((name) => /^(?:[\da-f]{40}|[\da-f]{64})$/.test(name)));
  // Of large files the hub knows, and what it redirects to is not asked.
  const heads = hub.asked.filter(({ method }) => method === 'HEAD');
  assert.ok(heads.length === filesIn(folder).length && heads.every(({ origin }) => origin === 'hub'));
  hub.fault = ({ method, url }) =>
    method === 'HEAD' && url.endsWith('unet/model.onnx') ? { status: 200, headers: { etag: '"5"' } } : undefined;
  await assertRejects(
    pull('tiny/sd1'),
    Error,
    /^Expected size and checksum of unet\/model\.onnx in what http.* says of tiny\/sd1; is/,
  );
  // A repository that was renamed.
  let redirects = 0;
  hub.fault = ({ method, url }) =>
    method === 'HEAD' && url.endsWith('vocab.json') && redirects++ === 0
      ? { status: 307, headers: { location: url } }
      : undefined;
  rmSync(store(), { recursive: true });
  assert.is(await pull('tiny/sd1'), folder);
  assert.is(redirects, 2);
});

test('leaves the choice of several pipelines, and of float16', async () => {
  const converter = exportedFolder('sd1-converter');
  const half = readFileSync(join(exportedFolder('sd1-float16'), 'unet/model.onnx'));
  hub.add('tiny/half', converter, { 'unet/model_fp16.onnx': half });
  const folder = await pull('tiny/half');
  assert.not.ok(existsSync(join(folder, 'unet/model_fp16.onnx')));
  assert.is(await pull('tiny/half', { dtype: 'float16' }), folder);
  assert.ok(existsSync(join(folder, 'unet/model_fp16.onnx')));
  hub.add('tiny/only-half', converter, { 'unet/model_fp16.onnx': half, 'unet/model.onnx': null });
  await assertRejects(pull('tiny/only-half'), Error, /but it has unet\/model_fp16\.onnx: ask for dtype float16$/);

  // The pipeline of other formats at the root, and that of ONNX in a folder of its own.
  const files = hub.add('tiny/sub', converter, others);
  for (const [path, bytes] of [...files]) {
    if (!(path in others)) files.set(`onnx/${path}`, bytes);
    if (path.endsWith('.onnx')) files.delete(path);
  }
  const below = await pull('tiny/sub');
  assert.is(below, join(snapshot('tiny/sub'), 'onnx'));
  assert.equal(filesIn(below), filesIn(converter));
  assert.is(modelName(below), 'sub/onnx');
  for (const [path, bytes] of [...files]) if (path.startsWith('onnx/')) files.set(`cuda/${path.slice(5)}`, bytes);
  await assertRejects(
    pull('tiny/sub'),
    Error,
    /^Expected a subfolder for tiny\/sub, which has pipelines in onnx and cuda$/,
  );
  assert.is(await pull('tiny/sub', { subfolder: 'cuda' }), join(snapshot('tiny/sub'), 'cuda'));
  await assertRejects(pull('tiny/sub', { subfolder: 'cpu' }), Error, /^There is no folder cpu in tiny\/sub: it has /);
});

test('takes a folder that is there, the packed model, a name of the hub, or nothing', async () => {
  const here = process.cwd();
  mkdirSync(join(place, 'tiny'));
  cpSync(exportedFolder('sd1-converter'), join(place, 'tiny/sd1'), { recursive: true });
  process.chdir(place);
  try {
    assert.is(await findModel('tiny/sd1', {}), 'tiny/sd1');
    assert.is(await findModel('tiny', { subfolder: 'sd1' }), join('tiny', 'sd1'));
    assert.match(await findModel('shapes', {}), /models[\\/]shapes$/);
    assert.is(await findModel('./tiny/none', {}), './tiny/none');
    assert.is(hub.asked.length, 0);
    await assertRejects(
      findModel('tiny/none', {}),
      Error,
      /^There is no folder tiny\/none here, and as the name of a model: There is no tiny\/none at http.* that may be read without a token: mind the spelling, or set HF_TOKEN$/,
    );
  } finally {
    process.chdir(here);
  }
  for (const name of ['org/name', 'a-b/c.d_e', 'org/name@onnx', 'org/name@refs/pr/1']) assert.ok(isHubId(name), name);
  for (const name of [
    'name',
    './org/name',
    '../name',
    '/org/name',
    'a/b/c',
    'org/name@../x',
    'org\\name',
    '',
    'a--b/c',
  ])
    assert.not.ok(isHubId(name), name);
  assert.is(modelName('models/sd'), 'sd');
  const cached = `cache/models--stabilityai--sdxl-turbo/snapshots/${'0a'.repeat(20)}`;
  assert.is(modelName(cached), 'sdxl-turbo');
  assert.is(modelName(`${cached}/unet`), 'sdxl-turbo/unet');
});

test('pins a revision or a commit', async () => {
  const files = hub.repositories.get('tiny/sd1') as Map<string, Uint8Array>;
  const first = await pull('tiny/sd1@refs/pr/1');
  const commit = hub.commit('tiny/sd1');
  assert.is(readFileSync(join(store(), 'refs/refs/pr/1'), 'utf8'), commit);
  const count = fetched().length;
  files.set('scheduler/scheduler_config.json', Buffer.from('{"_class_name": "DDIMScheduler"}'));
  const second = await pull('tiny/sd1', { revision: 'main' });
  assert.is.not(second, first);
  // What both have is fetched once.
  assert.is(fetched().length - count, 1);
  assert.match(readFileSync(join(first, 'scheduler/scheduler_config.json'), 'utf8'), 'PNDM');
  await assertRejects(pull(`tiny/sd1@${commit}`), Error, /^There is no revision [\da-f]{40} of tiny\/sd1 at http/);
  assert.is(await pull('tiny/sd1', { revision: commit, localFilesOnly: true }), first);
});

test('tells the hub the token, and not where it redirects to', async () => {
  hub.token = 'hf_secret';
  await assertRejects(
    pull('tiny/sd1'),
    Error,
    /^There is no tiny\/sd1 at .* that may be read without a token: .*, or set HF_TOKEN$/,
  );
  process.env.HF_TOKEN = 'hf_other';
  const wrong = await assertRejects(
    pull('tiny/sd1'),
    Error,
    /^Expected a token that may read tiny\/sd1 at .* but it answers 401: /,
  );
  assert.not.match(wrong.message, /hf_/);
  process.env.HF_TOKEN = 'hf_two\nlines';
  const broken = await assertRejects(
    pull('tiny/sd1'),
    Error,
    /^Expected letters and digits in one line for the token of the hub/,
  );
  assert.not.match(broken.message, /hf_/);
  delete process.env.HF_TOKEN;
  writeFileSync(join(place, 'token'), 'hf_secret\n');
  hub.asked.length = 0;
  await pull('tiny/sd1');
  const stored = hub.asked.filter(({ origin }) => origin === 'store');
  assert.ok(stored.length > 3 && stored.every(({ authorization }) => authorization === undefined));
  assert.ok(hub.asked.every(({ origin, authorization }) => origin === 'store' || authorization === 'Bearer hf_secret'));
  hub.asked.length = 0;
  await assertRejects(pull('tiny/sd1', { token: false }), Error, /^There is no tiny\/sd1/);
  assert.is(hub.asked[0].authorization, undefined);
  rmSync(join(place, 'token'));
  assert.is(await pull('tiny/sd1', { token: 'hf_secret' }), snapshot());
});

test('says where the terms of a gated model are accepted', async () => {
  hub.token = 'hf_secret';
  hub.gated = true;
  const terms =
    /^Expected a token of somebody who has accepted the terms of tiny\/sd1, which is done at http.*\/tiny\/sd1, but /;
  const none = await assertRejects(pull('tiny/sd1'), Error, terms);
  assert.match(none.message, /there is none: set HF_TOKEN$/);
  const other = await assertRejects(pull('tiny/sd1', { token: 'hf_other' }), Error, terms);
  assert.match(other.message, /the one that was given may not read it$/);
  await pull('tiny/sd1', { token: 'hf_secret' });
});

for (const withRanges of [true, false]) {
  test(`goes on after connections that are cut, ${withRanges ? 'with' : 'without'} ranges`, async () => {
    hub.ranges = withRanges;
    hub.fault = ({ url, origin }, times) =>
      origin === 'store' && url === '/tiny/sd1/unet/model.onnx' && times < 3 ? { cut: 40_000 } : undefined;
    const folder = await pull('tiny/sd1');
    assert.equal(readFileSync(join(folder, 'unet/model.onnx')), network());
    const [first, ...more] = ranges();
    assert.is(first, undefined);
    assert.ok(more.length > 0 && more.every((range) => /^bytes=[1-9]\d*-$/.test(range as string)));
    assert.equal(parts(), []);
  });
}

test('goes on with what an earlier pull has left', async () => {
  const reason = new Error('enough');
  const controller = new AbortController();
  hub.fault = ({ url, origin }) =>
    origin === 'store' && url.endsWith('/unet/model.onnx') && !controller.signal.aborted ? { cut: 60_000 } : undefined;
  const stopped = pull('tiny/sd1', {
    signal: controller.signal,
    onProgress: ({ file, fetched }) => {
      if (file === 'unet/model.onnx' && fetched > 0 && ranges().length > 1) controller.abort(reason);
    },
  });
  assert.is(await assertRejects(stopped, Error, /enough/), reason);
  const left = parts().map((name) => [name, statSync(join(store(), 'blobs', name)).size] as const);
  const [[name, size]] = left.filter(([, size]) => size > 0 && size <= 60_000);
  assert.match(name, /^[\da-f]{64}\.left\.incomplete$/);
  assert.not.ok(existsSync(join(store(), 'refs/main')));
  hub.asked.length = 0;
  const folder = await pull('tiny/sd1');
  assert.equal(readFileSync(join(folder, 'unet/model.onnx')), network());
  assert.ok(hub.asked.some(({ range }) => range === `bytes=${size}-`));
  assert.equal(parts(), []);
});

test('goes on with what a process that was killed has left', async () => {
  hub.delay = 1e6;
  const { child, ended } = start(place, ['pull', 'tiny/sd1']);
  while (!parts().some((name) => statSync(join(store(), 'blobs', name)).size > 20_000)) await sleep(50);
  child.kill('SIGKILL');
  assert.is((await ended).signal, 'SIGKILL');
  assert.ok(parts().every((name) => name.includes(`.${child.pid}-0-`)));
  hub.delay = 0;
  hub.asked.length = 0;
  await pull('tiny/sd1');
  assert.ok(hub.asked.filter(({ range }) => range !== undefined).length > 0);
  assert.equal(parts(), []);
});

test('lets one process fetch what several want', async () => {
  hub.delay = 700;
  const runs = [start(place, ['pull', 'tiny/sd1']), start(place, ['pull', 'tiny/sd1', '--json'])];
  const own = [pull('tiny/sd1'), pull('tiny/sd1')];
  const [one, two] = await Promise.all(runs.map(({ ended }) => ended));
  assert.is(one.stdout, `${snapshot()}\n`, one.stderr);
  assert.is(JSON.parse(two.stdout).folder, snapshot(), two.stderr);
  assert.equal(await Promise.all(own), [snapshot(), snapshot()]);
  const urls = hub.asked.filter(({ origin }) => origin === 'store').map(({ url }) => url);
  assert.is(urls.length, new Set(urls).size);
  assert.equal(parts(), []);
  assert.equal(filesIn(snapshot()), filesIn(exportedFolder('sd1-converter')));
});

test('keeps nothing whose checksum is wrong, and starts again from what is wrong', async () => {
  const bytes = network();
  bytes[bytes.length >> 1] ^= 1;
  const isNetwork = (url: string, origin: string) => origin === 'store' && url.endsWith('unet/model.onnx');
  hub.fault = ({ url, origin }, times) => (isNetwork(url, origin) && times < 1 ? { bytes } : undefined);
  const folder = await pull('tiny/sd1');
  assert.equal(readFileSync(join(folder, 'unet/model.onnx')), network());
  rmSync(store(), { recursive: true });
  hub.fault = ({ url, origin }) => (isNetwork(url, origin) ? { bytes } : undefined);
  const wrong =
    /^Expected the checksum [\da-f]{64} of unet\/model\.onnx of tiny\/sd1 but what .* sends has [\da-f]{64}$/;
  await assertRejects(pull('tiny/sd1'), Error, wrong);
  // Git's own, of small files.
  rmSync(store(), { recursive: true });
  const text = Buffer.from(hub.repositories.get('tiny/sd1')?.get('model_index.json') as Uint8Array);
  text[0] ^= 1;
  hub.fault = ({ url }) => (url.endsWith('/model_index.json') ? { bytes: text } : undefined);
  await assertRejects(
    pull('tiny/sd1'),
    Error,
    /^Expected the checksum [\da-f]{40} of model_index\.json of tiny\/sd1 but/,
  );
  assert.not.ok(existsSync(join(folder, 'model_index.json')) || existsSync(join(store(), 'refs/main')));
});

const refusals: [string, string, PullOptions, RegExp][] = [
  ['a revision that is not there', 'tiny/sd1', { revision: 'v2' }, /^There is no revision v2 of tiny\/sd1 at http/],
  [
    ...(['a model without ONNX', 'tiny/torch-only', {}] as const),
    /^Expected unet\/model\.onnx or transformer\/model\.onnx in tiny\/torch-only but it has unet\/.*safetensors.*optimum-cli export onnx --model tiny\/torch-only FOLDER$/,
  ],
  [
    ...(['a repository of something else', 'tiny/words', {}] as const),
    /^Expected model_index\.json in tiny\/words, as pipelines of diffusers have it, but it has config\.json and model\.onnx$/,
  ],
  [
    'files outside of the repository',
    'tiny/evil',
    {},
    /^Expected names of files below it in what http.* says of tiny\/evil; is that/,
  ],
  [
    ...(['weights outside of the graph', 'tiny/evil-weights', {}] as const),
    /^Expected '\.\.\/a\/ww\.pb', which unet\/model\.onnx names for its weights, beside it in tiny\/evil-weights but/,
  ],
];
for (const [name, id, options, message] of refusals) {
  test(`says what is wrong with ${name}`, async () => {
    const converter = exportedFolder('sd1-converter');
    const torch = hub.add('tiny/torch-only', converter, others);
    for (const path of [...torch.keys()]) if (path.endsWith('.onnx')) torch.delete(path);
    hub.repositories.set(
      'tiny/words',
      new Map([
        ['config.json', Buffer.from('{}')],
        ['model.onnx', Buffer.from('x')],
      ]),
    );
    hub.add('tiny/evil', converter, { '../evil.json': Buffer.from('{}') });
    const graph = readFileSync(join(converter, 'unet/model.onnx'));
    hub.add('tiny/evil-weights', converter, {
      'unet/model.onnx': edited(graph, (text) => text.replaceAll('weights.pb', '../a/ww.pb')),
      'a/ww.pb': readFileSync(join(converter, 'unet/weights.pb')),
    });
    await assertRejects(pull(id, options), Error, message);
    assert.not.ok(existsSync(join(place, 'hub/evil.json')));
    assert.ok(!existsSync(store()) || readdirSync(store()).length === 0);
  });
}

test('refuses options that are not what they should be', async () => {
  const wrong: [Record<string, unknown>, RegExp][] = [
    [{ revision: 1 }, /^Expected a string for revision but received 1 of type number$/],
    [{ revision: '../x' }, /^Expected a name, and no way out of the model, for revision but received '\.\.\/x'$/],
    [{ subfolder: '/etc' }, /^Expected a name, and no way out of the model, for subfolder/],
    [{ cacheDir: '' }, /^Expected the path of a folder for cacheDir/],
    [{ localFilesOnly: 'yes' }, /^Expected true or false for localFilesOnly/],
    [{ token: 5 }, /^Expected a string or false for token$/],
    [{ onProgress: 'bar' }, /^Expected a function for onProgress/],
    [{ signal: {} }, /^Expected an AbortSignal for signal/],
    [{ dtype: 'int8' }, /^Expected 'float32' or 'float16' for dtype/],
    [{ revison: 'main' }, /did you mean 'revision'\?$/],
  ];
  for (const [options, message] of wrong) {
    await assertRejects(pull('tiny/sd1', options as PullOptions), TypeError, message);
    // The same where the folder is there.
    await assertRejects(DiffusionPipeline.fromPretrained('shapes', options as PipelineOptions), TypeError, message);
  }
  await assertRejects(
    pull('name'),
    TypeError,
    /^Expected a model's name on a hub, such as org\/name, for the model but/,
  );
  process.env.HF_ENDPOINT = 'hub.example.org';
  await assertRejects(
    pull('tiny/sd1'),
    Error,
    /^Expected an address, such as https:\/\/huggingface\.co, in HF_ENDPOINT but/,
  );
  assert.is(hub.asked.length, 0);
});

test('ends with what its listener throws', async () => {
  const reason = new Error('no more');
  const onProgress = () => {
    throw reason;
  };
  assert.is(await assertRejects(pull('tiny/sd1', { onProgress }), Error, /no more/), reason);
  const later = async () => {
    await sleep(1);
    throw reason;
  };
  assert.is(await assertRejects(pull('tiny/sd1', { onProgress: later }), Error, /no more/), reason);
});

test('waits for a hub that is busy, and says so where it stays so', async () => {
  hub.fault = ({ url }, times): Fault | undefined => {
    if (times > 0) return undefined;
    if (url.startsWith('/api/')) return { status: 503 };
    if (url.endsWith('vocab.json')) return { status: 429, headers: { ratelimit: '"resolvers";r=0;t=1' } };
    return url.endsWith('merges.txt') ? { status: 429, headers: { 'retry-after': '1' } } : undefined;
  };
  await pull('tiny/sd1');
  hub.fault = () => ({ status: 502 });
  await assertRejects(pull('tiny/sd1@onnx'), Error, /^http.* could not be reached in 3 tries: it answers 502$/);
  // What is whole in the cache does, at once.
  hub.asked.length = 0;
  assert.is(await pull('tiny/sd1'), snapshot());
  assert.is(hub.asked.length, 1);
  // Signed addresses of large files are good for a while only.
  rmSync(store(), { recursive: true });
  hub.fault = ({ origin }, times) => (origin === 'store' && times < 1 ? { status: 403 } : undefined);
  await pull('tiny/sd1');
  await hub.stop();
  assert.is(await pull('tiny/sd1'), snapshot());
  await assertRejects(pull('tiny/sd1@onnx'), Error, /could not be reached in 3 tries: connect ECONNREFUSED/);
  hub = await Hub.start();
});

test('gives up on a hub that falls silent', async () => {
  hub.fault = () => 'silent';
  const access = { endpoint: hub.endpoint, token: undefined, signal: undefined };
  const asked = listRepository('tiny/sd1', 'main', access, { tries: 2, silence: 100 });
  await assertRejects(asked, Error, /could not be reached in 2 tries: it said nothing for 0\.1 s$/);
  const signal = AbortSignal.timeout(100);
  await assertRejects(pull('tiny/sd1', { signal }), DOMException as unknown as typeof Error, /aborted due to timeout/);
});

test('takes what is in the cache offline, and asks nobody', async () => {
  process.env.HF_HUB_OFFLINE = '1';
  await assertRejects(
    pull('tiny/sd1'),
    Error,
    /^Expected tiny\/sd1 at main in .*hub, as nothing is fetched offline, but it is not there$/,
  );
  assert.is(hub.asked.length, 0);
  const cacheDir = join(place, 'elsewhere');
  const other = await pull('tiny/sd1', { localFilesOnly: false, cacheDir });
  assert.is(other, join(cacheDir, 'models--tiny--sd1/snapshots', hub.commit('tiny/sd1')));
  const folder = await pull('tiny/sd1', { localFilesOnly: false });
  hub.asked.length = 0;
  assert.is(await pull('tiny/sd1'), folder);
  assert.is(await pull(`tiny/sd1@${hub.commit('tiny/sd1')}`), folder);
  rmSync(join(folder, 'unet/weights.pb'));
  await assertRejects(
    pull('tiny/sd1'),
    Error,
    /but weights\.pb, which unet\/model\.onnx names for its weights, is missing$/,
  );
  rmSync(join(folder, 'vae_encoder'), { recursive: true });
  await assertRejects(pull('tiny/sd1'), Error, /but vae_encoder\/model\.onnx is missing$/);
  writeFileSync(join(folder, 'unet/config.json'), 'left alone');
  rmSync(join(folder, 'model_index.json'));
  await assertRejects(pull('tiny/sd1'), Error, /but a part of it is missing \(Expected model_index\.json in tiny\/sd1/);
  assert.is(hub.asked.length, 0);
  // What is missing comes back, without a byte being fetched.
  assert.is(await pull('tiny/sd1', { localFilesOnly: false }), folder);
  assert.is(fetched().length, 0);
  assert.is(await pull('tiny/sd1'), folder);
});

test('keeps tables that are calibrated for a model of the hub, and its own', async () => {
  const own = Buffer.from('[]\n');
  hub.add('tiny/tables', exportedFolder('sd1-converter'), { 'scheduler/solver_tables.json': own });
  const folder = await pull('tiny/tables');
  const path = join(folder, 'scheduler/solver_tables.json');
  // No link: what is written to it must not change the blob.
  assert.not.ok(lstatSync(path).isSymbolicLink());
  writeFileSync(path, '[ ]');
  await pull('tiny/tables');
  assert.is(readFileSync(path, 'utf8'), '[ ]');
});

test('says that there is no room, before anything large comes', async () => {
  hub.sizes.set('unet/model.onnx', 2 ** 50);
  await assertRejects(pull('tiny/sd1'), Error, /^Expected 11\d\d TB of room in .*hub for tiny\/sd1 but there are \d/);
  assert.is(fetched().length, 0);
});

test('copies files where links are refused', async () => {
  const { symlinkSync } = fs;
  fs.symlinkSync = () => {
    throw Object.assign(new Error('operation not permitted'), { code: 'EPERM' });
  };
  syncBuiltinESMExports();
  try {
    const folder = await pull('tiny/sd1');
    const files = filesIn(exportedFolder('sd1-converter'));
    assert.equal(filesIn(folder), files);
    assert.not.ok(files.some((file) => lstatSync(join(folder, file)).isSymbolicLink()));
    assert.equal(readFileSync(join(folder, 'unet/model.onnx')), network());
    assert.is(await pull('tiny/sd1', { localFilesOnly: true }), folder);
  } finally {
    fs.symlinkSync = symlinkSync;
    syncBuiltinESMExports();
  }
});

test('lists what it would fetch, and tells how far it is, on the command line', async () => {
  const run = (...args: string[]) => start(place, args).ended;
  const dry = await run('pull', 'tiny/sd1', '--dry-run');
  assert.is(dry.code, 0, dry.stderr);
  assert.match(dry.stdout, / 114 kB {2}unet\/model\.onnx\n/);
  assert.match(dry.stdout, / 25 kB {2}unet\/weights\.pb \(if a graph names it\)\n/);
  assert.not.match(dry.stdout, /safetensors|openvino|README|safety/);
  assert.match(dry.stdout, /\n[\d.]+ kB of [\d.]+ kB in \d+ files to fetch, and perhaps 25 kB of weights in 1 file\n$/);
  assert.is(fetched().length, 0);
  const pulled = await run('pull', 'tiny/sd1', '--json');
  assert.is(pulled.code, 0, pulled.stderr);
  const told = JSON.parse(pulled.stdout);
  assert.equal([told.name, told.folder, told.fetched], ['tiny/sd1', snapshot(), told.bytes]);
  const again = await run('pull', 'tiny/sd1', '--json');
  assert.equal(JSON.parse(again.stdout), { ...told, fetched: 0 });
  const after = await run('pull', 'tiny/sd1', '--dry-run');
  assert.match(after.stdout, /unet\/weights\.pb \(there\)\n0 bytes of [\d.]+ kB in \d+ files to fetch\n$/);
  const planned = await plan('tiny/sd1');
  assert.ok(planned.every(({ cached, guess }) => cached && !guess));

  const drawn = await run('txt2img', 'red', '-m', 'tiny/sd1@onnx', '--steps', '2', '--json', '-o', 'red.png');
  assert.is(drawn.code, 0, drawn.stderr);
  assert.ok(existsSync(join(place, 'red.png')));

  for (const [args, code, message] of [
    [['pull'], 2, 'The name of a model is missing, such as org/name'],
    [['pull', 'tiny/sd1', 'tiny/sd2'], 2, "Expected one name but received 'tiny/sd2' too"],
    [['pull', './sd1'], 2, "Expected the name of a model, such as org/name, but received './sd1'"],
    [['pull', 'tiny/sd1', '--revision', 'v2'], 1, `There is no revision v2 of tiny/sd1 at ${hub.endpoint}`],
  ] as const) {
    const refused = await run(...args);
    assert.equal([refused.code, refused.stderr], [code, `dpm-solver: ${message}\n`]);
  }
});

test('serves a model of a hub by its name', async () => {
  const { child, ended } = start(place, ['serve', '-m', 'tiny/sd1', '--port', '0']);
  let said = '';
  child.stdout?.on('data', (text) => {
    said += text;
  });
  while (said === '' && child.exitCode === null) await sleep(50);
  child.kill('SIGINT');
  assert.match(said, /draws with sd1; Ctrl-C ends it/, (await ended).stderr);
});

test.run();
