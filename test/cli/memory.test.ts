// The command line where memory is short, and what is told and kept then.
import { cpSync, existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { decode } from 'fast-png';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { inWords } from '../../lib/cli/progress.js';
import { readTensor } from '../../lib/folder/safetensors.js';
import { changed, layout, removeCopies } from '../pipelines/models.js';
import { start } from './command.js';

const test = suite('command line and memory');
const folder = mkdtempSync(join(tmpdir(), 'dpm-solver-cli-'));
test.after(() => {
  rmSync(folder, { recursive: true });
  removeCopies();
});

/** A pipeline with an autoencoder of diffusers' own. */
const model = changed((copy) => {
  for (const part of ['vae_decoder', 'vae_encoder']) rmSync(join(copy, part), { recursive: true, force: true });
  cpSync(fileURLToPath(new URL('../fixtures/models/tiling/kl', import.meta.url)), copy, { recursive: true });
}, layout('sd'));
const draw = ['txt2img', 'a cat', '--model', model, '--steps', '2', '--width', '96', '--height', '64'];

test('decodes by tiles where it is asked to, and says so', async () => {
  const { code, stdout, stderr } = await start(folder, [...draw, '--vae-tiling', '64']).ended;
  assert.is(code, 0, stderr);
  assert.match(stdout, /^out\.png: 1 picture, 2 evaluations, decoded by 2 tiles of 56 x 64; /);
  const json = await start(folder, [...draw, '--vae-tiling', 'on', '--split-guidance', '--json']).ended;
  const { tiles, vaeTiling, splitGuidance } = JSON.parse(json.stdout);
  assert.equal([tiles, vaeTiling], [{ rows: 2, columns: 2, width: 64, height: 64, why: 'asked' }, true]);
  assert.is(splitGuidance, true);
  const wrong = await start(folder, [...draw, '--vae-tiling', 'yes']).ended;
  assert.is(wrong.code, 2);
  assert.match(wrong.stderr, /^dpm-solver: Expected auto, on or off for --vae-tiling but received 'yes'\n$/);
});

/** A number of bytes as it is told, whatever its unit: what is left may be a few MB, or less. */
const size = '\\d+(?:\\.\\d)? (?:bytes|[kMG]B)';

const env = { NODE_OPTIONS: '--disable-wasm-trap-handler' };

/** Kilobytes of addresses in which a small picture has room to spare, and the whole of a large one has not. */
async function narrow(): Promise<{ addresses: number; env: Record<string, string> }> {
  const { child, ended } = start(folder, draw, { env });
  let most = 0;
  const look = setInterval(() => {
    try {
      const status = readFileSync(`/proc/${child.pid}/status`, 'utf8');
      most = Math.max(most, Number(/^VmPeak:\s+(\d+)/m.exec(status)?.[1] ?? 0));
    } catch {
      // It has ended.
    }
  }, 20);
  const { code, stderr } = await ended;
  clearInterval(look);
  assert.is(code, 0, stderr);
  return { addresses: most + 500_000, env };
}

// V8 on other systems takes other amounts, and macOS has no such limit.
const limited = process.platform === 'linux' && process.arch === 'x64' ? test : test.skip;
const large = ['txt2img', 'a cat', '--model', model, '--steps', '1', '--width', '768', '--height', '768'];

limited('decodes by tiles where memory asks for it, and says so and why', async () => {
  const { code, stdout, stderr } = await start(folder, [...large, '-o', 'tiles.png'], await narrow()).ended;
  assert.is(code, 0, stderr);
  assert.match(
    stderr,
    new RegExp(
      `^dpm-solver: Pictures are decoded by \\d+ tiles of \\d+ x \\d+: the whole would take 1\\.0 GB of memory, and ${size} are left$`,
      'm',
    ),
  );
  assert.match(stdout, /^tiles\.png: 1 picture, 1 evaluation, decoded by \d+ tiles of/);
  const free = await start(folder, [...large, '-o', 'whole.png']).ended;
  assert.is(free.stderr, '');
  assert.not.match(free.stdout, /tiles/);
});

limited('keeps the latents where the decoder has no memory, and goes on from them', async () => {
  const asked = [...large, '--vae-tiling', 'off', '-o', 'short.png'];
  const failed = await start(folder, asked, await narrow()).ended;
  assert.is(failed.code, 1);
  assert.match(
    failed.stderr.split('\n').at(-2)!,
    new RegExp(
      `^dpm-solver: Expected (?:another ${size} of|more) memory to run .*vae_decoder/model\\.onnx but ${size} are left: .* take less; the latents are kept: dpm-solver decode short\\.latents\\.safetensors --model `,
    ),
  );
  assert.is(existsSync(join(folder, 'short.png')), false);
  const decoded = await start(folder, ['decode', 'short.latents.safetensors', '--model', model, '-o', 'short.png'])
    .ended;
  assert.is(decoded.code, 0, decoded.stderr);
  assert.match(decoded.stdout, /^short\.png: 1 picture; /);
  const whole = await start(folder, [...large, '--vae-tiling', 'off', '-o', 'whole.png']).ended;
  assert.is(whole.code, 0);
  assert.equal(
    decode(readFileSync(join(folder, 'short.png'))).data,
    decode(readFileSync(join(folder, 'whole.png'))).data,
  );
});

test('writes latents beside the picture where it is asked to', async () => {
  const { code, stderr } = await start(folder, [...draw, '--save-latents', '-o', 'kept.png']).ended;
  assert.is(code, 0, stderr);
  const { data, dims, metadata } = readTensor(join(folder, 'kept.latents.safetensors'), 'latents');
  assert.equal([dims, metadata.prompts, metadata.seed], [[1, 4, 8, 12], '["a cat"]', '0']);
  assert.ok(data.every(Number.isFinite));
  const wrong = await start(folder, ['decode', 'out.png', '--model', model]).ended;
  assert.is(wrong.code, 1);
  assert.match(
    wrong.stderr,
    /^dpm-solver: Expected a safetensors file in out\.png but it is something else, or was cut short\n$/,
  );
});

test('keeps the state of a run that is stopped, between steps', async () => {
  const { child, ended } = start(folder, [
    ...draw.slice(0, 4),
    '--steps',
    '100000',
    '--keep',
    '--json',
    '-o',
    'stopped.png',
  ]);
  let heard = '';
  let stopped = false;
  child.stderr!.on('data', (text) => {
    heard += text;
    // Once: a second Ctrl-C ends the process where it is.
    if (stopped || !/"stage":"step","done":2,/.test(heard)) return;
    stopped = child.kill('SIGINT');
  });
  const { code } = await ended;
  assert.is(code, 130);
  const { dims, metadata } = readTensor(join(folder, 'stopped.latents.safetensors'), 'latents');
  assert.is(dims.length, 4);
  assert.ok(Number(metadata.step) >= 2);
  assert.is(metadata.steps, '100000');
});

test('goes on from a run that was stopped', async () => {
  const first = ['txt2img', 'a cat', '--model', model, '--width', '96', '--height', '64', '--steps', '500', '--keep'];
  const { child, ended } = start(folder, [...first, '--json', '-o', 'half.png']);
  let heard = '';
  let stopped = false;
  child.stderr!.on('data', (text) => {
    heard += text;
    if (!stopped && /"stage":"step","done":20,/.test(heard)) stopped = child.kill('SIGINT');
  });
  assert.is((await ended).code, 130);
  const { metadata } = readTensor(join(folder, 'half.latents.safetensors'), 'latents');
  const made = Number(metadata.step);
  const rest = await start(folder, [
    ...[...first, '--json', '--latents', 'half.latents.safetensors', '-o', 'whole.png'],
  ]).ended;
  assert.is(rest.code, 0, rest.stderr);
  // Every step once, and none twice.
  assert.is(JSON.parse(rest.stdout).nfe, 500 - made);
});

test('tells programs what it is at, from loading on, one object a line', async () => {
  const { code, stdout, stderr } = await start(folder, [...draw, '--json', '--memory', 'low']).ended;
  assert.is(code, 0);
  assert.is(JSON.parse(stdout).memory, 'low');
  const lines = stderr
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line));
  assert.equal([...new Set(lines.map(({ event }) => event))], ['progress']);
  const stages = lines.map(({ stage }) => stage).filter((stage, i, all) => stage !== all[i - 1]);
  assert.equal(stages, ['load', 'encode', 'load', 'step', 'load', 'decode']);
});

test('has words for every stage', () => {
  const at = { seconds: 24, done: 2, of: 20 };
  assert.is(
    inWords({ stage: 'load', done: 1.2e9, of: 3.9e9, seconds: 4, left: 9 }),
    'loading 1.2 GB of 3.9 GB, 9.0 s left',
  );
  assert.is(inWords({ stage: 'step', ...at, done: 0 }), 'step 0/20, the first call');
  assert.is(inWords({ stage: 'step', ...at, left: 216 }), 'step 2/20, 12 s each, 4 min left');
  assert.is(inWords({ stage: 'step', ...at, of: 0 }), 'step 2/?, 12 s each');
  assert.is(inWords({ stage: 'decode', done: 1, of: 9, seconds: 1, left: 7200 }), 'decoding 1/9, 2.0 h left');
  assert.is(inWords({ stage: 'decode', done: 0, of: 1, seconds: 0 }), 'decoding');
});

test.run();
