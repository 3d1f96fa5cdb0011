// The command line, as a child process.
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { get } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { decode, encode } from 'fast-png';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { folder as exported, madeAt } from '../pipelines/exports.js';
import { changed, constant, hasShapes, layout, removeCopies } from '../pipelines/models.js';
import { start as startIn } from './command.js';

const test = suite('command line');
const { version } = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8'));
const folder = mkdtempSync(join(tmpdir(), 'dpm-solver-cli-'));
test.after(() => {
  rmSync(folder, { recursive: true });
  const made = madeAt();
  if (made) rmSync(made, { recursive: true });
  removeCopies();
});

const start = (args: readonly string[], env: Record<string, string> = {}) => startIn(folder, args, { env });
const run = (...args: string[]) => start(args).ended;
const quick = ['--model', constant, '--steps', '2', '--count', '2'];

/** What a command with --json says on stderr besides its events. */
function said({ stderr }: { stderr: string }): string {
  return stderr.replace(/^\{"event":.*\}\n/gm, '');
}

test('draws a sheet with a row for each prompt', async () => {
  const { code, stdout, stderr } = await run('sample', 'red', 'green', ...quick, '-o', 'sheet.png', '--scale', '3');
  assert.is(code, 0, stderr);
  assert.is(stderr, '');
  const ms = '[\\d.]+ ms';
  assert.match(
    stdout,
    new RegExp(`^sheet\\.png: 4 pictures, 2 evaluations each; ${ms} per network call, ${ms} per solver step; `),
  );
  assert.is(stdout.trim().split('\n').length, 1);
  const png = decode(readFileSync(join(folder, 'sheet.png')));
  assert.equal([png.width, png.height, png.channels], [8 + 2 * (12 + 8), 8 + 2 * (12 + 8), 3]);
});

test('takes a scheduler class by its name, and knows which one is meant', async () => {
  const args = ['sample', 'red', ...quick, '-o', 'class.png', '--json', '--scheduler'];
  const made = await run(...args, 'HeunDiscreteScheduler');
  assert.is(made.code, 0, made.stderr);
  // Heun evaluates twice a step, but for the last one.
  assert.equal(JSON.parse(made.stdout).nfe, 3);
  const wrong = await run(...args, 'EulerDiscrete');
  assert.is(wrong.code, 2);
  const expected =
    "a class of dpm-solver/schedulers but received 'EulerDiscrete'; did you mean EulerDiscreteScheduler?";
  assert.is(said(wrong), `dpm-solver: Expected ${expected}\n`);
  const both = await run(...args, 'DDIMScheduler', '--order', '2');
  assert.is(both.code, 2);
  assert.match(said(both), /^dpm-solver: Expected no option order beside a scheduler object, /);
});

test('makes one step, of the first order where none was asked for', async () => {
  const args = ['sample', 'red', '--model', constant, '--steps', '1', '--count', '1', '-o', 'one.png'];
  const { code, stdout, stderr } = await run(...args);
  assert.is(code, 0, stderr);
  assert.match(stdout, /^one\.png: 1 picture, 1 evaluation; /);
  const json = await run(...args, '--json');
  assert.is(JSON.parse(json.stdout).nfe, 1);
  const asked = await run(...args, '--order', '2');
  assert.is(asked.code, 2);
  assert.match(said(asked), /^dpm-solver: Expected at least 2, the order .* for steps but received 1\n$/);
});

test('tells machines what it did', async () => {
  const args = ['sample', 'red', ...quick, '--json', '--seed', '-3', '--guidance=1.5', '--solver', 'sde-dpmsolver++'];
  const { code, stdout, stderr } = await run(...args, '-o', 'json.png');
  assert.is(code, 0, stderr);
  const result = JSON.parse(stdout);
  assert.is(stdout.trim().split('\n').length, 1);
  assert.equal(
    { ...result, timings: undefined },
    {
      ...{ output: 'json.png', width: 56, height: 32, prompts: ['red'], seeds: [-3, -2], steps: 2, guidance: 1.5 },
      ...{ seed: -3, count: 2, algorithmType: 'sde-dpmsolver++' },
      solver: { name: 'sde-dpmsolver++', order: 2, method: 'multistep', grid: 'linspace' },
      ...{ nfe: 2, memory: 'fast', timings: undefined },
    },
  );
  assert.ok(result.timings.networkMs > 0 && result.timings.stepMs > 0);
});

test('takes every option', async () => {
  const { code, stdout, stderr } = await run(
    ...['sample', 'a red circle on a blue background', ...quick, '--classifier-scale', '0.1', '--order', '1'],
    ...['--method', 'singlestep', '--skip-type', 'logSNR', '--solver-type', 'taylor', '--thresholding'],
    ...['--denoise-to-zero', '--negative', 'green', '--device', 'cpu', '--batch', '1', '--json', '-oall.png'],
  );
  assert.is(code, 0, stderr);
  const { nfe, skipType, thresholding, timings } = JSON.parse(stdout);
  assert.equal([nfe, skipType, thresholding, timings.networkCalls], [3, 'logSNR', true, 6]);
  assert.ok(timings.classifierMs > 0);
});

(hasShapes ? test : test.skip)('draws its own prompts with its own network', async () => {
  const { code, stdout, stderr } = await run('sample', '--steps', '2', '--count', '1');
  assert.is(code, 0, stderr);
  assert.match(stdout, /^out\.png: 6 pictures, 2 evaluations each/);
  const png = decode(readFileSync(join(folder, 'out.png')));
  assert.equal([png.width, png.height], [8 + 128 + 8, 8 + 6 * (128 + 8)]);
});

test('tells about the installation', async () => {
  const { code, stdout } = await run('info');
  assert.is(code, 0);
  for (const word of ['dpm-solver', 'node', 'addon', 'simd', 'threads', 'onnxruntime', 'devices']) {
    assert.match(stdout, new RegExp(`^${word} +\\S`, 'm'));
  }
  const json = JSON.parse((await run('info', '--json')).stdout);
  assert.is(json.version, version);
  assert.match(json.addon, /\.node$/);
  assert.ok(json.simdAvailable.includes(json.simd) && json.threads >= 1 && json.devices[0].type === 'cpu');
  assert.match(json.onnxruntime.version, /^\d/);
  assert.is(json.onnxruntime.noThread, null);
  assert.match(stdout, /^networks +on threads of their own; devices: cpu/m);
});

test('helps', async () => {
  for (const args of [[], ['--help'], ['-h'], ['help']]) {
    const { code, stdout } = await run(...args);
    assert.is(code, 0);
    assert.match(stdout, /sample .*Draw pictures/);
    assert.match(stdout, /info .*Versions/);
  }
  for (const args of [
    ['sample', '--help'],
    ['sample', 'red', '-h', '--nonsense'],
  ]) {
    const { code, stdout } = await run(...args);
    assert.is(code, 0);
    for (const flag of ['steps', 'guidance', 'seed', 'count', 'solver', 'order', 'method', 'skip-type', 'json']) {
      assert.match(stdout, `--${flag}`);
    }
    assert.not.match(stdout, '\u001b', 'no colours in a file');
  }
  assert.is((await run('--version')).stdout, `${version}\n`);
});

const png = (...args: string[]) => ['sample', 'red', ...quick, '-o', 'bad.png', ...args];
const own = (change: (folder: string) => void) => ['sample', 'red', '--model', changed(change), '-o', 'bad.png'];

const mistakes: [name: string, args: () => string[], code: number, message: RegExp][] = [
  ['an unknown command', () => ['smaple'], 2, /^There is no command smaple; did you mean sample\?$/],
  ['an unknown flag', () => png('--stesp', '3'), 2, /^There is no flag --stesp; did you mean --steps\?$/],
  ['a strange flag', () => png('--frobnicate'), 2, /^There is no flag --frobnicate; see --help$/],
  ['an unknown short flag', () => png('-x'), 2, /^There is no flag -x; see --help$/],
  ['an unknown flag of info', () => ['info', '--jsno'], 2, /^There is no flag --jsno; did you mean --json\?$/],
  ['a flag without its value', () => png('--seed'), 2, /^The flag --seed needs a value$/],
  ['a flag for a value', () => png('--seed', '--json'), 2, /^The flag --seed needs a value$/],
  ['a value for a switch', () => png('--json=yes'), 2, /^The flag --json takes no value/],
  ['steps in words', () => png('--steps', 'ten'), 2, /^Expected a number for --steps but received 'ten'$/],
  ['no steps', () => png('--steps', '0'), 2, /^Expected a whole number of at least 1 for --steps but received '0'$/],
  ['half a seed', () => png('--seed', '0.5'), 2, /^Expected a whole number for --seed but received '0\.5'$/],
  ['endless guidance', () => png('--guidance', 'Infinity'), 2, /^Expected a number for --guidance/],
  [
    'an unknown solver',
    () => png('--solver', 'dpmsover'),
    2,
    /for --solver but received 'dpmsover'; did you mean dpms/,
  ],
  ['an unknown grid', () => png('--skip-type', 'uniform'), 2, /^Expected time_uniform, .* for --skip-type/],
  ['order 4', () => png('--order', '4'), 2, /^Expected 1, 2 or 3 for --order but received '4'$/],
  [
    'steps below the order',
    () => png('--steps', '2', '--order', '3'),
    2,
    /^Expected at least 3, the order .* for steps/,
  ],
  ['both guidances', () => png('--guidance', '3', '--classifier-scale', '1'), 2, /beside classifierScale/],
  ['no labels', () => png('--classifier-scale', '1'), 2, /^Classifier guidance needs a prompt like/],
  [
    'an unknown word',
    () => png('a pink elephant'),
    2,
    /does not know the words 'pink' and 'elephant' in .* it knows a, on/,
  ],
  ['a long prompt', () => png('a '.repeat(9)), 2, /^Expected a prompt of at most 8 tokens but .* has 9$/],
  [
    'another kind of file',
    () => png('--output', 'bad.bmp'),
    2,
    /ending in \.png, \.jpg or \.webp for --output but received 'bad\.bmp'$/,
  ],
  [
    'a missing folder',
    () => png('-o', 'none/bad.png'),
    1,
    /^none\/bad\.png cannot be written: its folder does not exist$/,
  ],
  ['a folder for a file', () => png('-o', 'folder.png'), 1, /^folder\.png cannot be written: it is a folder$/],
  [
    'a missing model',
    () => png('--model', 'none'),
    1,
    /^Expected model_index\.json in none but there is no such folder$/,
  ],
  [
    'a missing graph',
    () => own((f) => rmSync(join(f, 'unet'), { recursive: true })),
    1,
    /^Expected unet\/model\.onnx in/,
  ],
  [
    'a corrupt graph',
    () => own((f) => writeFileSync(join(f, 'unet/model.onnx'), '?')),
    1,
    /^Expected an ONNX graph in .*unet.model\.onnx but it is something else$/,
  ],
  ['numbers that overflow', () => png('--guidance', '1e39'), 1, /^Expected finite numbers for the network output/],
];
/** A flat picture with a white corner, as a file. */
function flat(name: string, width: number, height: number, white = 0): string {
  const data = new Uint8Array(3 * width * height).fill(30);
  for (let y = 0; y < white; y++) data.fill(255, 3 * y * width, 3 * (y * width + white));
  writeFileSync(join(folder, name), encode({ width, height, data, channels: 3, depth: 8 }));
  return name;
}
const sd = ['--model', layout('sd')];

test('draws with a latent model', async () => {
  const args = ['txt2img', 'red', 'blue', ...sd, '--steps', '3', '--width', '32', '--height', '16', '--scale', '1'];
  const { code, stdout, stderr } = await run(...args, '--guidance-rescale', '0.7', '-o', 'latent.png', '--json');
  assert.is(code, 0, stderr);
  const { seeds, guidance, nfe, timings, guidanceRescale } = JSON.parse(stdout);
  assert.equal([seeds, guidance, nfe, guidanceRescale], [[0, 1], 7.5, 3, 0.7]);
  assert.ok(timings.vaeMs >= 0);
  const { width, height } = decode(readFileSync(join(folder, 'latent.png')));
  assert.equal([width, height], [8 + 32 + 8, 8 + 2 * (16 + 8)]);
});

test('draws from pictures, fills in, and edits', async () => {
  const image = ['--image', flat('in.png', 16, 16, 4)];
  const mask = ['--mask', flat('mask.png', 16, 16, 8)];
  const shared = [...sd, '--steps', '4', '--scale', '1', '--json'];
  const from = await run('img2img', 'red', ...image, '--strength', '0.5', ...shared, '-o', 'from.png');
  assert.is(from.code, 0, from.stderr);
  assert.equal([JSON.parse(from.stdout).nfe, JSON.parse(from.stdout).strength], [2, 0.5]);
  const filled = await run('inpaint', 'red', ...image, ...mask, ...shared, '-o', 'filled.png');
  assert.is(filled.code, 0, filled.stderr);
  const { data } = decode(readFileSync(join(folder, 'filled.png')));
  // The lower right corner is kept.
  assert.equal([...data.slice(3 * (15 * 16 + 15))], [30, 30, 30]);
  const prompts = ['--source', 'red', '--target', 'blue', '--mask-output', 'found.png'];
  const edited = await run('edit', ...image, ...mask, ...prompts, ...shared, '-o', 'edited.png');
  assert.is(edited.code, 0, edited.stderr);
  assert.is(JSON.parse(edited.stdout).nfe, 8);
  assert.is(decode(readFileSync(join(folder, 'found.png'))).data[0], 255);
});

test('compares solvers on one labelled sheet', async () => {
  const args = ['compare', 'red', ...sd, '--solvers', 'ddim,dpmsolver++', '--steps', '1,2,5', '-o', 'grid.png'];
  const { code, stdout, stderr } = await run(...args, '--scale', '2');
  assert.is(code, 0, stderr);
  assert.match(stdout, /^grid\.png: 2 solvers with 1, 2, 5 steps; [\d.]+ s in all\n$/);
  const { width, height } = decode(readFileSync(join(folder, 'grid.png')));
  // Names of 11 letters, six dots each; columns as wide as the name '2 steps', rows as high as a picture; two lines.
  assert.equal([width, height], [8 + 65 + 8 + 3 * (41 + 8), 8 + 2 * 15 + 2 * (32 + 8)]);
  const json = await run(...args, '--json');
  assert.is(JSON.parse(json.stdout).runs.length, 6);
  const all = await run('compare', 'red', ...sd, '--steps', '3,10', '-o', 'all.png', '--json');
  assert.is(all.code, 0, all.stderr);
  const { solvers, runs } = JSON.parse(all.stdout);
  assert.equal(solvers, ['ddim', 'pndm', 'deis', 'unipc', 'dpmsolver', 'dpmsolver++']);
  // PNDM evaluates one time twice.
  const counts = runs.map(({ nfe }: { nfe: number }) => nfe);
  assert.equal(counts, [3, 10, 4, 11, 3, 10, 3, 10, 3, 10, 3, 10]);
});

const rowsOf: [string, 'sd' | 'sd3' | 'flux', string | undefined, string[], string[]][] = [
  ['noise', 'sd', undefined, ['ddim', 'pndm', 'deis', 'unipc', 'dpmsolver', 'dpmsolver++'], []],
  [
    ...(['flow matching', 'sd3', undefined] as const),
    ['FlowMatchEulerDiscreteScheduler', 'ddim', 'deis', 'unipc', 'dpmsolver++'],
    ['pndm', 'dpmsolver'],
  ],
  [
    ...(['a consistency model', 'sd', 'LCMScheduler'] as const),
    ['LCMScheduler'],
    ['ddim', 'pndm', 'deis', 'unipc', 'dpmsolver', 'dpmsolver++'],
  ],
];
for (const [what, model, scheduler, rows, left] of rowsOf) {
  test(`compares what a network of ${what} can follow`, async () => {
    const folder = changed((f) => {
      if (scheduler === undefined) return;
      const path = join(f, 'model_index.json');
      const index = JSON.parse(readFileSync(path, 'utf8'));
      writeFileSync(path, JSON.stringify({ ...index, scheduler: ['diffusers', scheduler] }));
    }, layout(model));
    const { code, stdout, stderr } = await run('compare', 'red', '--model', folder, '--steps', '1,4', '--json');
    assert.is(code, 0, stderr);
    assert.equal(JSON.parse(stdout).solvers, rows);
    assert.equal(
      [...stderr.matchAll(/^\{"event":"warning","message":"(\S+) is left out: Expected .*"\}$/gm)].map(
        ([, name]) => name,
      ),
      left,
    );
  });
}

test('compares the classes of EDM on a folder of theirs, where no solver by name can follow', async () => {
  const own = ['compare', 'red', '--model', exported('playground'), '--steps', '2,4', '--json', '-o', 'edm.png'];
  const { code, stdout, stderr } = await run(...own);
  assert.is(code, 0, stderr);
  assert.equal(JSON.parse(stdout).solvers, ['EDMDPMSolverMultistepScheduler']);
  const left = [...stderr.matchAll(/"message":"(\S+) is left out: Expected /g)].map(([, name]) => name);
  assert.equal(left, ['ddim', 'pndm', 'deis', 'unipc', 'dpmsolver', 'dpmsolver++']);
  const classes = ['EDMDPMSolverMultistepScheduler', 'EDMEulerScheduler'];
  const both = await run(...own, '--solvers', classes.join());
  assert.is(both.code, 0, both.stderr);
  const { runs } = JSON.parse(both.stdout) as { runs: { solver: string; nfe: number }[] };
  assert.equal(
    runs.map(({ solver, nfe }) => [solver, nfe]),
    classes.flatMap((name) => [2, 4].map((steps) => [name, steps])),
  );
  // A network of EDM is no network of noise.
  const refused = await run(...own, '--solvers', 'EulerDiscreteScheduler');
  assert.is(refused.code, 2);
  assert.match(refused.stderr, /that EulerDiscreteScheduler can take the place of but received one of EDMDPMSolver/);
});

test('compares classes beside solvers, and refuses what was asked for and cannot be', async () => {
  const args = ['compare', 'red', ...sd, '--steps', '2', '-o', 'classes.png', '--json', '--solvers'];
  const made = await run(...args, 'ddim,HeunDiscreteScheduler');
  assert.is(made.code, 0, made.stderr);
  assert.equal(JSON.parse(made.stdout).solvers, ['ddim', 'HeunDiscreteScheduler']);
  const refused = await run(...args, 'ddim,FlowMatchEulerDiscreteScheduler');
  assert.is(refused.code, 2);
  assert.match(said(refused), /^dpm-solver: Expected the configuration of a scheduler that FlowMatchEuler/);
  const unknown = await run(...args, 'EulerDiscretScheduler');
  assert.match(
    unknown.stderr,
    /^dpm-solver: Expected a class of .* 'EulerDiscretScheduler'; did you mean EulerDiscreteScheduler\?$/m,
  );
});

(hasShapes ? test : test.skip)('compares PNDM without Runge-Kutta steps, whatever the model says', async () => {
  const args = ['compare', 'a red circle', '--solvers', 'pndm', '--steps', '2,5', '-o', 'pndm.png', '--json'];
  const { code, stdout, stderr } = await run(...args);
  assert.is(code, 0, stderr);
  assert.equal(
    JSON.parse(stdout).runs.map(({ nfe }: { nfe: number }) => nfe),
    [3, 6],
  );
});

const editing = () => drawing('edit', '--image', 'in.png', '--source', 'red', '--target', 'blue');
const drawing = (command: string, ...args: string[]) => [command, ...args, ...sd, '-o', 'bad.png'];
mistakes.push(
  ['a prompt to calibrate', () => ['calibrate', 'red'], 2, /^Expected flags only but received 'red'$/],
  ['no prompts to calibrate', () => ['calibrate', ...sd], 2, /^The flag --prompts is missing/],
  ['tables that are no JSON', () => ['calibrate', '-o', 'tables.txt'], 2, /ending in \.json for --output/],
  ['a table that is not there', () => drawing('txt2img', 'red', '--table', 'none.json'), 1, /none\.json/],
  // As in --host "$HOST": Node would listen at every address of the machine.
  ['an empty address', () => ['serve', '--port', '0', '--host', ''], 2, /^The flag --host needs a value$/],
  ['a prompt to serve', () => ['serve', 'red'], 2, /^Expected flags only but received 'red'$/],
  ['a port that there is not', () => ['serve', '--port', '65536'], 2, /^Expected a port of at most 65535 for --port/],
  [
    'an empty key',
    () => ['serve', '--port', '0', '--api-key', ','],
    2,
    /^Expected a key for --api-key but received none$/,
  ],
  [
    'a model that cannot be served',
    () => ['serve', '--model', 'none', '--port', '0'],
    1,
    /^Expected model_index\.json/,
  ],
  [
    'an address of another machine',
    () => ['serve', '--host', '192.0.2.1', '--port', '0', '--model', constant],
    1,
    /^The port 0 of 192\.0\.2\.1 cannot be had: this machine does not have that address$/,
  ],
  ['no model', () => ['txt2img', 'red', '-o', 'bad.png'], 2, /^The flag --model is missing: it names a model dir/],
  ['no prompt', () => drawing('txt2img'), 2, /^A prompt is missing/],
  ['no image', () => drawing('img2img', 'red'), 2, /^The flag --image is missing: it names a picture$/],
  ['no mask', () => drawing('inpaint', 'red', '--image', 'in.png'), 2, /^The flag --mask is missing/],
  [
    'a missing image',
    () => drawing('img2img', 'red', '--image', 'no.png'),
    1,
    /^no\.png cannot be read: it does not e/,
  ],
  [
    'an image that is none',
    () => {
      writeFileSync(join(folder, 'text.png'), 'text');
      return drawing('img2img', 'red', '--image', 'text.png');
    },
    1,
    /^text\.png is no picture that can be read: /,
  ],
  [
    'too much strength',
    () => drawing('img2img', 'red', '--image', 'in.png', '--strength', '1.5'),
    2,
    /for strength but received 1\.5$/,
  ],
  [
    'an empty mask',
    () => drawing('inpaint', 'red', '--image', 'in.png', '--mask', flat('black.png', 16, 16)),
    2,
    /^Expected some white in the mask/,
  ],
  [
    'a mask of another size',
    () => drawing('inpaint', 'red', '--image', 'in.png', '--mask', flat('small.png', 8, 8, 4)),
    2,
    /^Expected a mask of the image's size/,
  ],
  ['a width between latents', () => drawing('txt2img', 'red', '--width', '20'), 2, /^Expected a multiple of 8/],
  ['an edit without a source', () => drawing('edit', '--image', 'in.png', '--target', 'a'), 2, /--source is missing/],
  ['an unknown solver', () => drawing('compare', 'red', '--solvers', 'ddmi'), 2, /'ddmi'; did you mean ddim\?$/],
  ['an empty list', () => drawing('compare', 'red', '--steps', '5,,10'), 2, /^Expected a list like a,b for --steps/],
  ['a word that info has no use for', () => ['info', 'red'], 2, /^Expected flags only but received 'red'$/],
  [
    'a mask in another kind of file',
    () => [...editing(), '--mask-output', 'bad.jpg'],
    2,
    /^Expected a file name ending in \.png for --mask-output but received 'bad\.jpg'$/,
  ],
  [
    'the mask and the sheet in one file',
    () => [...editing(), '--mask-output', './bad.png'],
    2,
    /^Expected another file for --mask-output than for --output but received '\.\/bad\.png' for both$/,
  ],
  [
    'a sheet that no file can hold',
    () => png('--scale', '100000'),
    2,
    /^Expected a sheet of at most 268435456 pixels but 1 x 2 pictures make one of 800024 x 400016: take fewer of them or a smaller --scale$/,
  ],
  ['more pictures than a sheet can hold', () => png('--count', '1000000000'), 2, /^Expected a sheet of at most 26843/],
  [
    'a sheet of solvers that no file can hold',
    () => drawing('compare', 'red', '--scale', '5000'),
    2,
    /^Expected a sheet of at most 268435456 pixels but 6 x 5 pictures make/,
  ],
  [
    'steps that one of the solvers cannot make, before any is drawn',
    () => drawing('compare', 'red', '--solvers', 'ddim,pndm', '--steps', '2000'),
    2,
    /^Expected options that go together but received 2000 steps with num_train_timesteps 1000/,
  ],
  [
    'a file for a model',
    () => png('--model', flat('model.png', 1, 1)),
    1,
    /^Expected model_index\.json in model\.png but that is no folder$/,
  ],
  ['two prompts to compare', () => drawing('compare', 'red', 'blue'), 2, /^Expected one prompt but received 2$/],
  [
    'a sheet that cannot be written, before a model is looked for',
    () => ['compare', 'red', '--model', 'none', '-o', 'none/bad.png'],
    1,
    /^none\/bad\.png cannot be written/,
  ],
);
mkdirSync(join(folder, 'folder.png'));
for (const [name, args, code, message] of mistakes) {
  test(`refuses ${name}`, async () => {
    const words = args();
    const before = readdirSync(folder);
    const result = await run(...words);
    assert.is(result.code, code, result.stderr);
    assert.is(result.stdout, '');
    const [sentence, ...more] = result.stderr.trimEnd().split('\n');
    assert.equal(more, [], 'one sentence');
    assert.match(sentence, /^dpm-solver: /);
    assert.match(sentence.slice('dpm-solver: '.length), message);
    assert.equal(readdirSync(folder), before, 'nothing is left behind');
  });
}

test('shows where an error came from if asked', async () => {
  const { code, stderr } = await start(['sample', '--order', '4'], { DEBUG: '1' }).ended;
  assert.is(code, 2);
  assert.match(stderr, /UsageError: Expected 1, 2 or 3 for --order but received '4'\n +at /);
});

test('serves until it is told to end', async () => {
  for (const signal of ['SIGINT', 'SIGTERM'] as const) {
    const { child, ended } = start(
      ['serve', '--model', constant, '--port', '0', '--allow-host', ' One.example, two.example'],
      { NODE_OPTIONS: `--import ${new URL('./hide-package.mjs', import.meta.url)}` },
    );
    const url = await new Promise<string>((resolve, reject) => {
      child.stdout!.once('data', (text) => resolve(String(text).split(' ')[0]));
      child.once('exit', (code) => reject(new Error(`it ended with ${code}`)));
    });
    const { ready } = (await (await fetch(`${url}api/status`)).json()) as { ready: boolean };
    assert.is(ready, true);
    // This server has no sharp beside it, which hides as a package that is not there.
    const jpeg = await fetch(`${url}v1/images/generations`, {
      method: 'POST',
      headers: { 'Content-Type': 'application/json' },
      body: JSON.stringify({ prompt: 'red', output_format: 'jpeg' }),
    });
    assert.is(jpeg.status, 400);
    assert.match(
      await jpeg.text(),
      '"Writing JPEG files needs the package sharp, which is not installed: npm install sharp"',
    );
    const codes = ['one.example', 'two.example:80', 'three.example'].map(
      (host) =>
        new Promise((resolve) => get(`${url}api/status`, { headers: { host } }, (r) => resolve(r.resume().statusCode))),
    );
    assert.equal(await Promise.all(codes), [200, 200, 403]);
    if (process.platform === 'win32') child.kill();
    else {
      child.kill(signal);
      const { code, stderr } = await ended;
      assert.equal([code, stderr], [0, '']);
    }
  }
});

test('ends at once on Ctrl-C, with nothing written', async () => {
  if (process.platform === 'win32') return;
  const before = readdirSync(folder);
  // Minutes of work.
  const { child, ended } = start([
    'sample',
    'red',
    '--model',
    constant,
    '--steps',
    '5000',
    '--count',
    '500',
    '-o',
    'cut.png',
  ]);
  await setTimeout(2500);
  assert.is(child.exitCode, null);
  const started = performance.now();
  child.kill('SIGINT');
  const { signal } = await ended;
  assert.is(signal, 'SIGINT');
  assert.ok(performance.now() - started < 2000);
  assert.equal(readdirSync(folder), before);
});

test.run();
