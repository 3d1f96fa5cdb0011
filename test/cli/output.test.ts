// What the command line writes: one file or many, of exact size, with what made them, and from there again.
import { spawnSync } from 'node:child_process';
import { cpSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { decode } from 'fast-png';
import sharp from 'sharp';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { withLike } from '../../lib/cli/settings.js';
import { encodePng } from '../../lib/image/file.js';
import { textsIn } from '../../lib/image/formats.js';
import { readText, withText } from '../../lib/image/png-text.js';
import { changed, constant, layout, removeCopies } from '../pipelines/models.js';

const test = suite('files of the command line');
const main = fileURLToPath(new URL('../../lib/cli/main.ts', import.meta.url));
const root = fileURLToPath(new URL('../..', import.meta.url));
const folder = mkdtempSync(join(tmpdir(), 'dpm-solver-output-'));
test.after(() => {
  rmSync(folder, { recursive: true });
  removeCopies();
});

const run = (...args: string[]) => start({}, args);
const runWith = (env: Record<string, string>, ...args: string[]) => start({ env }, args);
const piped = (input: Uint8Array | string, ...args: string[]) => start({ input }, args);

function start({ env, input }: { env?: Record<string, string>; input?: Uint8Array | string }, args: readonly string[]) {
  const { status, stdout, stderr } = spawnSync(
    process.execPath,
    ['--import', import.meta.resolve('tsx'), main, ...args],
    {
      cwd: folder,
      input,
      env: { ...process.env, DEBUG: '', ...env },
    },
  );
  return { code: status, stdout, errors: String(stderr) };
}

const file = (name: string) => readFileSync(join(folder, name));
const text = (name: string) => readText(file(name));
const own = (name: string) => JSON.parse(text(name).get('dpm-solver')!);
const common = ['--model', constant, '--steps', '2'];

test('several pictures: a file each where the name is a pattern, of exact size and with its own seed', () => {
  const made = run('sample', 'red', 'green', ...common, '--count', '2', '--seed', '7', '-o', 'pic-%03d.png', '--json');
  assert.is(made.code, 0, made.errors);
  const lines = String(made.stdout)
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line));
  assert.equal(
    lines.map(({ output }) => output),
    [1, 2, 3, 4].map((i) => `pic-00${i}.png`),
  );
  assert.equal(
    lines.map(({ prompts }) => prompts),
    [['red'], ['red'], ['green'], ['green']],
  );
  assert.equal(
    lines.map(({ seeds }) => seeds),
    [[7], [8], [9], [10]],
  );
  for (const { output, width, height } of lines) {
    const png = decode(file(output));
    assert.equal([png.width, png.height, width, height], [4, 4, 4, 4]);
  }
  assert.is(
    text('pic-003.png').get('parameters'),
    `green\nSteps: 2, Sampler: DPM++ 2M, CFG scale: 3, Seed: 9, Size: 4x4, Model: ${constant.split('/').at(-1)}, Version: dpm-solver ${own('pic-003.png').version}`,
  );
});

test('a single picture is the picture, and a sheet if asked for', () => {
  assert.is(run('sample', 'red', ...common, '--count', '1', '-o', 'one.png').code, 0);
  assert.is(run('sample', 'red', ...common, '--count', '1', '-o', 'sheet.png', '--sheet').code, 0);
  assert.is(run('sample', 'red', ...common, '--count', '1', '-o', 'large.png', '--scale', '3').code, 0);
  assert.equal(
    ['one.png', 'sheet.png', 'large.png'].map((name) => decode(file(name)).width),
    [4, 8 + 4 * 4 + 8, 12],
  );
});

test('a picture says how it was made, and is made again by that', () => {
  const first = ['sample', 'red', ...common, '--order', '1', '--guidance', '2.5', '--negative', 'blue', '--seed', '-3'];
  assert.is(run(...first, '--count', '2', '-o', 'first-%d.png').code, 0);
  assert.equal(own('first-2.png').flags, {
    ...{ steps: '2', guidance: '2.5', seed: '-2', count: '1', negative: 'blue', order: '1' },
  });
  const again = run('sample', '--model', constant, '--like', 'first-2.png', '-o', 'again.png');
  assert.is(again.code, 0, again.errors);
  assert.equal(decode(file('again.png')).data, decode(file('first-2.png')).data);
  assert.equal(own('again.png'), own('first-2.png'));
  // What is said counts.
  assert.is(
    run('sample', 'green', '--model', constant, '--like', 'first-2.png', '--seed', '5', '-o', 'other.png').code,
    0,
  );
  assert.equal(
    [own('other.png').prompts, own('other.png').flags.seed, own('other.png').flags.order],
    [['green'], '5', '1'],
  );
});

test('a prompt that looks like a flag says nothing in place of a picture', async () => {
  const settings = { command: 'sample', prompts: ['red'], flags: { order: '1' } };
  const image = { width: 4, height: 4, data: new Uint8Array(48) };
  const path = join(folder, 'flags.png');
  writeFileSync(path, encodePng(image, { 'dpm-solver': JSON.stringify(settings) }));
  const flag = { type: 'string' } as const;
  const definition = { prompts: { type: 'positional', required: false }, like: flag, order: flag } as const;
  assert.equal(await withLike(['--like', path, '--', '--order=3'], definition), [
    ...['--order=1', '--like', path, '--', '--order=3'],
  ]);
});

test('takes what A1111 wrote', () => {
  const parameters = [
    'a red, red',
    'Negative prompt: blue',
    'Steps: 3, Sampler: Euler a, CFG scale: 4.5, Seed: 12, Size: 4x4, Model hash: 6ce0161689, Model: v1-5',
  ].join('\n');
  const image = { width: 4, height: 4, data: new Uint8Array(48) };
  writeFileSync(join(folder, 'a1111.png'), withText(encodePng(image), { parameters }));
  const made = run(
    'sample',
    'red',
    '--model',
    constant,
    '--like',
    'a1111.png',
    '--count',
    '1',
    '-o',
    'like.png',
    '--json',
  );
  assert.is(made.code, 0, made.errors);
  const { steps, guidance, seeds, negativePrompt } = JSON.parse(String(made.stdout));
  assert.equal(
    { steps, guidance, seeds, negativePrompt },
    { steps: 3, guidance: 4.5, seeds: [12], negativePrompt: 'blue' },
  );
});

test('a file without settings, or none at all, is said to be one', () => {
  writeFileSync(join(folder, 'bare.png'), encodePng({ width: 4, height: 4, data: new Uint8Array(48) }));
  for (const [like, message] of [
    ['bare.png', "Expected a picture's file with settings for --like but bare.png has none that are known"],
    ['none.png', "Expected a picture's file for --like but none.png cannot be read"],
  ]) {
    const { code, errors } = run('sample', 'red', ...common, '--like', like, '-o', 'never.png');
    assert.is(code, 2);
    assert.is(errors, `dpm-solver: ${message}\n`);
  }
  assert.not.ok(existsSync(join(folder, 'never.png')));
});

test('standard output gets the picture alone', () => {
  const made = run('sample', 'red', ...common, '--count', '1', '-o', '-');
  assert.is(made.code, 0, made.errors);
  assert.is(decode(made.stdout).width, 4);
  assert.match(made.errors, /^standard output: 1 picture, 2 evaluations; /);
});

test('JPEG and WebP files, in and out, with what made them', async () => {
  const draw = (...args: string[]) => {
    const made = run('sample', ...args, '--model', constant, '--count', '1', '--json');
    assert.is(made.code, 0, made.errors);
    return made;
  };
  draw('red', 'green', '--steps', '2', '--negative', 'blue', '-o', 'pic-%d.jpg', '--scale', '8', '--quality', '95');
  for (const name of ['pic-1.jpg', 'pic-2.jpg']) {
    const { format, width, height } = await sharp(file(name)).metadata();
    assert.equal([format, width, height], ['jpeg', 32, 32]);
  }
  draw('--like', 'pic-2.jpg', '-o', 'again.webp');
  draw('--like', 'again.webp', '-o', 'again.png');
  assert.equal(own('again.png').prompts, ['green']);
  assert.is(own('again.png').flags.negative, 'blue');
  assert.is(text('again.png').get('parameters'), textsIn(file('pic-2.jpg')).get('parameters'));
  // Only what JPEG makes of the same pixels lies between.
  const { data } = await sharp(file('pic-2.jpg'))
    .resize(4, 4, { kernel: 'nearest' })
    .raw()
    .toBuffer({ resolveWithObject: true });
  const exact = decode(file('again.png')).data;
  assert.ok(
    data.every((value, i) => Math.abs(value - exact[i]) < 24),
    `${[...data]} for ${[...exact]}`,
  );
});

test('standard input gives pictures, settings, prompts and latents, each alone', async () => {
  const model = ['--model', layout('sd'), '--steps', '2', '--json'];
  // Lying on its side, as a camera has it: 16 wide and 32 high.
  const photo = await sharp({ create: { width: 32, height: 16, channels: 3, background: '#c33' } })
    .withMetadata({ orientation: 6 })
    .jpeg()
    .toBuffer();
  const drawn = piped(
    photo,
    'img2img',
    'red',
    '--image',
    '-',
    ...model,
    '-o',
    '-',
    '--format',
    'webp',
    '--save-latents',
  );
  assert.is(drawn.code, 0, drawn.errors);
  const { format, width, height } = await sharp(drawn.stdout).metadata();
  assert.equal([format, width, height], ['webp', 16, 32]);
  const decoded = piped(file('out.latents.safetensors'), 'decode', '-', '--model', layout('sd'), '-o', 'decoded.jpg');
  assert.is(decoded.code, 0, decoded.errors);
  assert.is((await sharp(file('decoded.jpg')).metadata()).height, 32);
  const prompts = piped('red\n\n blue \n', 'sample', '-', ...common, '--count', '1', '-o', 'lines-%d.png');
  assert.is(prompts.code, 0, prompts.errors);
  assert.equal([own('lines-1.png').prompts, own('lines-2.png').prompts], [['red'], ['blue']]);
  const both = piped(photo, 'inpaint', 'red', '--image', '-', '--mask', '-', ...model, '-o', 'never.png');
  assert.is(both.code, 2);
  assert.is(
    both.errors,
    'dpm-solver: Expected standard input, which can be read once, for --image or --mask but not for both\n',
  );
});

test('without sharp a sentence says what to install, before any work', () => {
  writeFileSync(join(folder, 'some.jpg'), Uint8Array.of(0xff, 0xd8, 0xff, 0xe0));
  const hidden = { NODE_OPTIONS: `--import ${new URL('./hide-package.mjs', import.meta.url)}` };
  for (const [words, ...args] of [
    ['Writing JPEG files', 'sample', 'red', ...common, '-o', 'never.jpg'],
    ['Reading JPEG files', 'img2img', 'red', ...common, '--image', 'some.jpg', '-o', 'never.png'],
  ]) {
    const { code, errors } = runWith(hidden, ...args);
    assert.is(code, 1, errors);
    assert.is(errors, `dpm-solver: ${words} needs the package sharp, which is not installed: npm install sharp\n`);
  }
  assert.not.ok(existsSync(join(folder, 'never.jpg')));
});

test('a pattern and a sheet exclude each other', () => {
  const { code, errors } = run('sample', 'red', ...common, '-o', 'pic-%d.png', '--sheet');
  assert.is(code, 2);
  assert.match(errors, /Expected one file for --output beside --sheet but received the pattern 'pic-%d.png'/);
});

test('what files and names hold gives a terminal no orders', () => {
  const orders = '\x1b[2J\x1b]0;title\x07\x9b31m\x7f\r';
  const config = (change: object) => (model: string) => {
    const path = join(model, 'scheduler/scheduler_config.json');
    writeFileSync(path, JSON.stringify({ ...JSON.parse(readFileSync(path, 'utf8')), ...change }));
  };
  const index = (change: object) => (model: string) => {
    const path = join(model, 'model_index.json');
    writeFileSync(path, JSON.stringify({ ...JSON.parse(readFileSync(path, 'utf8')), ...change }));
  };
  for (const [change, ...more] of [
    [config({ prediction_type: orders })],
    [config({ _class_name: orders })],
    [config({ [orders]: 1 }), '--scheduler', 'DDIMScheduler'],
    [config({ beta_schedule: orders })],
    [index({ _class_name: orders })],
    [index({ scheduler: ['diffusers', orders] })],
    [(model: string) => writeFileSync(join(model, 'scheduler/scheduler_config.json'), orders)],
    [() => {}, '--scheduler', orders],
    [() => {}, '--solver', orders],
    [() => {}, '--negative', orders],
    [() => {}, '--json'],
  ] as [(model: string) => void, ...string[]][]) {
    const { stdout, errors } = run(
      'sample',
      `red ${orders}`,
      '--model',
      changed(change),
      '--steps',
      '2',
      ...more,
      '-o',
      'o.png',
    );
    assert.not.match((stdout + errors).replace(/[\n\t]/g, ''), /\p{Cc}/u, JSON.stringify(stdout + errors));
    assert.match(stdout + errors, /dpm-solver: |DPM_SOLVER|Warning/);
  }
  const made = run(
    'sample',
    'red',
    '--model',
    changed(() => {}),
    '--steps',
    '2',
    '--json',
    '-o',
    `${orders.replace(/\r/, '')}.png`,
  );
  assert.is(made.code, 0, made.errors);
  assert.ok(JSON.parse(String(made.stdout)).output.startsWith('\x1b[2J'));
});

test('no command gives a terminal orders of names that it prints', () => {
  const orders = '\x1b[2J\x1b]0;title\x07\x9b31m\x7f';
  const model = changed(() => {});
  writeFileSync(join(folder, 'two.txt'), 'red\ngreen\n');
  const fits = ['--prompts', 'two.txt', '--steps', '2', '--samples', '4', '--held-out', '8', '--budget', '300'];
  const named = (...args: string[]) => [...args, '--model', model];
  for (const [code, ...args] of [
    [0, ...named('compare', 'red', '--solvers', 'ddim', '--steps', '1'), '-o', `${orders}.png`],
    [0, ...named('compare', 'red', '--solvers', 'ddim', '--steps', '1', '--json'), '-o', `${orders}.png`],
    [2, ...named('compare', 'red', '--solvers', orders)],
    [0, ...named('calibrate', ...fits), '-o', `${orders}.json`],
    [0, ...named('calibrate', ...fits, '--json'), '-o', `${orders}.json`],
    [2, ...named('calibrate', ...fits), '-o', orders],
    [2, 'info', orders],
    [2, 'pull', orders],
    [2, orders],
  ] as [number, ...string[]][]) {
    const { code: ended, stdout, errors } = run(...args);
    const said = stdout + errors;
    assert.is(ended, code, JSON.stringify(said));
    assert.not.match(said.replace(/[\n\t]/g, ''), /\p{Cc}/u, JSON.stringify(said));
    // They are told, as JSON escapes them.
    assert.match(said, '\\u001b[2J');
  }
  // Of an error with its stack, and of the folder that the addon is in.
  const place = join(folder, orders);
  cpSync(join(root, 'build/Release'), join(place, 'build/Release'), { recursive: true });
  for (const [env, ...args] of [
    [{ DEBUG: '1' }, 'sample', '--order', orders],
    [{ DPM_SOLVER_PREBUILD: place }, 'info'],
    [{ DPM_SOLVER_PREBUILD: place }, 'info', '--json'],
  ] as [Record<string, string>, ...string[]][]) {
    const { stdout, errors } = runWith(env, ...args);
    assert.not.match((stdout + errors).replace(/[\n\t]/g, ''), /\p{Cc}/u, JSON.stringify(stdout + errors));
    assert.match(stdout + errors, '\\u001b[2J');
  }
});

test('help for a command and the version, in all their spellings', () => {
  assert.equal(run('help', 'sample').stdout, run('sample', '--help').stdout);
  for (const word of ['-V', 'version', '--version']) assert.match(String(run(word).stdout), /^\d+\.\d+\.\d+\n$/);
  assert.match(run('help', 'smaple').errors, /There is no command smaple; did you mean sample\?/);
});

test.run();
