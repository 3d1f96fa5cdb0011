// What those who run the server look at: figures, health, logs, several models, and an end in which nothing is lost.
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { encode } from 'fast-png';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { type Serving, startServer } from '../../lib/serve/server.js';
import { start } from '../cli/command.js';
import { constant, layout } from '../pipelines/models.js';
import { all, events, idle, json, post, until } from './client.js';

const test = suite('operations');
const folder = mkdtempSync(join(tmpdir(), 'dpm-solver-operations-'));
let server: Serving;
test.before(async () => {
  server = await startServer({ folder: { first: constant, other: layout('sd') }, port: 0, limits: { steps: 20_000 } });
});
test.after(async () => {
  await server.close();
  rmSync(folder, { recursive: true });
});

const get = (path: string, init?: RequestInit) => fetch(new URL(path, server.url), init);
const generate = (body: object, url = server.url) =>
  fetch(new URL('/v1/images/generations', url), {
    method: 'POST',
    headers: { 'Content-Type': 'application/json' },
    body: JSON.stringify({ steps: 2, ...body }),
  });

test('draws with several models, by name', async () => {
  const { data } = await json(await get('/v1/models'));
  assert.equal(
    data.map(({ id }: { id: string }) => id),
    ['first', 'other'],
  );
  for (const [model, size] of [
    [undefined, '4x4'],
    ['gpt-image-1', '4x4'],
    ['first', '4x4'],
    ['other', '64x64'],
  ]) {
    const answer = await json(await generate({ prompt: 'red', model }));
    assert.ok(answer.size === size || (model === 'other' && answer.size !== '4x4'), `${model}: ${answer.size}`);
  }
  assert.is((await generate({ prompt: 'red', model: 'none' })).status, 404);
});

test('runs name their model, in JSON and in forms', async () => {
  const sizes: number[] = [];
  for (const model of ['first', 'other']) {
    const { width, height } = (await json(await get(`/api/model?model=${model}`))).model;
    const found = await all(await post(server.url, { prompt: 'red', steps: 1, model }));
    const done = found.find(({ event }) => event === 'done');
    assert.equal([done?.data.width, done?.data.height], [width, height], `${model}: ${JSON.stringify(found.at(-1))}`);
    const begun = found.find(({ event }) => event === 'started');
    assert.is(begun?.data.settings.model, undefined, 'they are settings, wherever they go next');
    sizes.push(width);
  }
  assert.is.not(sizes[0], sizes[1]);
  const form = new FormData();
  form.set('settings', JSON.stringify({ prompt: 'red', model: 'none' }));
  const picture = encode({ width: 4, height: 4, channels: 3, data: new Uint8Array(48) });
  form.set('image', new Blob([picture], { type: 'image/png' }), 'a.png');
  const unknown = "There is no model of this name; expected 'first' or 'other'";
  for (const [answer, status, message] of [
    [await get('/api/runs', { method: 'POST', body: form }), 404, unknown],
    [await post(server.url, { prompt: 'red', model: 'none' }), 404, unknown],
    [await get('/api/model?model=none'), 404, unknown],
    [await post(server.url, { prompt: 'red', model: 5 }), 400, 'Expected the name of a model for model but received 5'],
    [await post(server.url, { prompt: 'red', modle: 'a' }), 400, "There is no setting 'modle'; did you mean 'model'?"],
  ] as const) {
    assert.equal([answer.status, (await json(answer)).error], [status, message]);
  }
});

test('tells figures that agree with what was done', async () => {
  const read = async (): Promise<Map<string, number>> => {
    const text = await (await get('/metrics')).text();
    return new Map(
      text
        .split('\n')
        .filter((line) => line !== '' && !line.startsWith('#'))
        .map((line) => [line.slice(0, line.lastIndexOf(' ')), Number(line.slice(line.lastIndexOf(' ') + 1))]),
    );
  };
  const before = await read();
  const found = await all(await post(server.url, { prompt: 'red', steps: 5, count: 3, guidance: 1 }));
  assert.is(found.at(-1)?.event, 'done');
  await idle(server.url);
  const after = await read();
  const grown = (name: string) => (after.get(name) ?? 0) - (before.get(name) ?? 0);
  assert.is(grown('dpm_solver_runs_total{model="first",outcome="done"}'), 1);
  assert.is(grown('dpm_solver_pictures_total{model="first"}'), 3);
  assert.is(grown('dpm_solver_evaluations_total{model="first"}'), 15);
  assert.is(grown('dpm_solver_network_call_seconds_count{model="first"}'), 5);
  assert.is(grown('dpm_solver_network_call_samples_sum{model="first"}'), 15);
  assert.is(grown('dpm_solver_queue_seconds_count{model="first"}'), 1);
  assert.is(after.get('dpm_solver_runs_running'), 0);
  assert.is(after.get('dpm_solver_model_ready{model="other"}'), 1);
  // How many samples a call may have is known from the first on.
  assert.ok((after.get('dpm_solver_network_call_most{model="first"}') ?? 0) >= 1);
  const { models } = (await json(await get('/api/status'))) as { models: { id: string; batch: number }[] };
  assert.equal(
    models.map(({ id, batch }) => [id, batch]),
    ['first', 'other'].map((id) => [id, after.get(`dpm_solver_network_call_most{model="${id}"}`)]),
  );
  assert.ok(after.has('process_resident_memory_bytes'));
});

test('says whether it is there, and whether it takes runs; by whatever name it is asked', async () => {
  assert.equal(await json(await get('/healthz')), { ok: true });
  assert.equal(await json(await get('/readyz')), { ready: true });
  const own = await startServer({ folder: constant, port: 0, keys: ['secret'] });
  try {
    assert.is((await fetch(new URL('/healthz', own.url))).status, 200);
    assert.is((await fetch(new URL('/metrics', own.url))).status, 401);
    assert.is((await fetch(new URL('/metrics', own.url), { headers: { Authorization: 'Bearer secret' } })).status, 200);
    own.engine.kill();
    for (let i = 0; own.engine.model && i < 200; i++) await new Promise((resolve) => setTimeout(resolve, 10));
    assert.is((await fetch(new URL('/readyz', own.url))).status, 503);
  } finally {
    await own.close();
  }
});

test('gives each request a name, or keeps its own', async () => {
  assert.match((await get('/api/status')).headers.get('x-request-id') ?? '', /^[\da-f-]{36}$/);
  const own = await get('/api/status', { headers: { 'X-Request-Id': 'from.a-proxy_7' } });
  assert.is(own.headers.get('x-request-id'), 'from.a-proxy_7');
  const bad = await get('/api/status', { headers: { 'X-Request-Id': 'a b\tc' } });
  assert.match(bad.headers.get('x-request-id') ?? '', /^[\da-f-]{36}$/);
});

/** The address that a server tells when it is ready. */
function addressOf(child: ReturnType<typeof start>['child']): Promise<string> {
  return new Promise((resolve, reject) => {
    child.stdout!.once('data', (text) => resolve(String(text).split(' ')[0]));
    child.once('exit', (code) => reject(new Error(`it ended with ${code}`)));
  });
}

test('ends on SIGTERM when its runs are over, takes no others meanwhile, and has logged all', async () => {
  if (process.platform === 'win32') return;
  writeFileSync(
    join(folder, 'serve.json'),
    JSON.stringify({ models: { m: constant }, port: 0, log: 'info', drain: 60 }),
  );
  const { child, ended } = start(folder, ['serve', '--config', 'serve.json'], {
    env: { DPM_SOLVER_SERVE_API_KEY: 'k' },
  });
  const url = await addressOf(child);
  const headers = { 'Content-Type': 'application/json', Authorization: 'Bearer k' };
  const body = JSON.stringify({ prompt: 'red', steps: 200, guidance: 1, count: 16, seed: 1 });
  const run = events(await post(url, body, { headers: { ...headers, 'X-Request-Id': 'the-run' } }));
  await until(run, 'step');
  child.kill('SIGTERM');
  for (let i = 0; i < 200 && (await fetch(new URL('/readyz', url))).status !== 503; i++) {
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  const refused = await post(url, body, { headers });
  assert.is(refused.status, 503);
  assert.match((await json(refused)).error, /shutting down/);
  assert.is((await until(run, 'done')).data.images.length, 16);
  const { code, stderr } = await ended;
  assert.is(code, 0);
  const lines = stderr
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line));
  const of = (msg: string) => lines.find((line) => line.msg === msg && (line.request ?? line.id) === 'the-run');
  assert.equal([of('run started')?.model, of('run started')?.client], ['m', 'key 0']);
  assert.equal([of('run done')?.outcome, of('run done')?.pictures, of('run done')?.nfe], ['done', 16, 200]);
  assert.equal([of('request')?.path, of('request')?.status], ['/api/runs', 200]);
  assert.not.match(stderr, /"red"/, 'no prompts');
});

const mistakes: [what: string, args: string[], config: unknown, env: Record<string, string>, message: RegExp][] = [
  [
    'a file that is not there',
    ['--config', 'none.json'],
    undefined,
    {},
    /none\.json cannot be read: it does not exist$/,
  ],
  ['a misspelt option', [], { prot: 1 }, {}, /There is no option 'prot' in .*; did you mean 'port'\?$/],
  ['an option of another kind', [], { reproducible: 'yes' }, {}, /Expected true or false for reproducible in /],
  ['a variable of another kind', [], {}, { DPM_SOLVER_SERVE_REPRODUCIBLE: 'x' }, /for DPM_SOLVER_SERVE_REPRODUCIBLE/],
  ['a port in words', [], {}, { DPM_SOLVER_SERVE_PORT: 'http' }, /Expected a number for --port but received 'http'$/],
  ['models without names', ['--models', constant], {}, {}, /Expected NAME=DIR for --models/],
  [
    'a model twice',
    ['--models', `a=${constant},a=${constant}`],
    {},
    {},
    /one folder for the model a but received two$/,
  ],
  ['both', ['--models', `a=${constant}`, '--model', constant], {}, {}, /either --model or --models/],
  ['an unknown level', ['--log', 'loud'], {}, {}, /Expected error, warn, info or debug for --log/],
];
test('refuses in one sentence what cannot be served', async () => {
  const ends = mistakes.map(async ([what, args, config, env, message], i) => {
    const file = `config-${i}.json`;
    if (config !== undefined) writeFileSync(join(folder, file), JSON.stringify(config));
    const named = config === undefined ? [] : ['--config', file];
    const { code, stderr } = await start(folder, ['serve', ...args, ...named], { env }).ended;
    assert.is(code, 2, `${what}: ${stderr}`);
    assert.match(stderr.trim(), message, what);
  });
  await Promise.all(ends);
});

test('names what is to be installed where it is missing', async () => {
  const hide = (name: string) => ({
    NODE_OPTIONS: `--import ${new URL('../cli/hide-package.mjs', import.meta.url)}`,
    DPM_SOLVER_TEST_HIDDEN: name,
  });
  const { code, stderr } = await start(folder, ['serve', '--model', constant, '--port', '0', '--log', 'info'], {
    env: hide('pino'),
  }).ended;
  assert.equal(
    [code, stderr.trim()],
    [1, 'dpm-solver: The flag --log needs the package pino, which is not installed: npm install pino'],
  );
  const { child, ended } = start(folder, ['serve', '--model', constant, '--port', '0'], { env: hide('prom-client') });
  const url = await addressOf(child);
  const response = await fetch(new URL('/metrics', url));
  assert.is(response.status, 501);
  assert.match((await json(response)).error, /not installed: npm install prom-client$/);
  child.kill();
  await ended;
});

test.run();
