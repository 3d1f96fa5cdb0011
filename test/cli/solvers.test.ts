// One set of solvers and defaults for all commands, and sizes of pictures that commands begin with.
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import sharp from 'sharp';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { readPng } from '../../lib/image/file.js';
import { readText } from '../../lib/image/png-text.js';
import { hasShapes, layout, removeCopies } from '../pipelines/models.js';
import { start } from './command.js';

const test = suite('solvers of commands');
const folder = mkdtempSync(join(tmpdir(), 'dpm-solver-solvers-'));
test.after(() => {
  rmSync(folder, { recursive: true });
  removeCopies();
});

async function run(...args: string[]) {
  const { code, stdout, stderr } = await start(folder, [...args, '--json']).ended;
  assert.is(code, 0, stderr);
  return JSON.parse(stdout);
}

const bytes = (name: string) => readFileSync(join(folder, name));

(hasShapes ? test : test.skip)('a solver by its name is the class, or the order, that it stands for', async () => {
  const draw = ['sample', 'a red circle on a blue background', '--steps', '4', '-o'];
  const made = await run(...draw, 'unipc.png', '--solver', 'unipc');
  assert.is(made.scheduler, 'unipc');
  await run(...draw, 'class.png', '--scheduler', 'UniPCMultistepScheduler');
  assert.equal(readPng(bytes('unipc.png')), readPng(bytes('class.png')));
  await run(...draw, 'ddim.png', '--solver', 'ddim');
  // Lu et al. 2022b: DPM-Solver++ of the first order is DDIM.
  await run(...draw, 'first.png', '--solver', 'dpmsolver++', '--order', '1');
  assert.equal(readPng(bytes('ddim.png')), readPng(bytes('first.png')));
  assert.not.equal(readPng(bytes('ddim.png')), readPng(bytes('unipc.png')));
  assert.match(readText(bytes('ddim.png')).get('parameters')!, /^Steps: 4, Sampler: DDIM, /m);
  const refused = await start(folder, [...draw, 'never.png', '--solver', 'ddim', '--order', '2']).ended;
  assert.is(refused.code, 2);
  assert.is(refused.stderr, 'dpm-solver: Expected no --order beside --solver ddim, which has its own\n');
});

test('commands that draw have the same defaults', async () => {
  const flags = async (command: string) => {
    const { stdout } = await start(folder, [command, '--help']).ended;
    const lines = stdout.split('\n').map((line) => line.trim().replace(/\s+/g, ' '));
    return ['steps', 'guidance', 'seed', 'count', 'solver', 'order', 'skip-type'].map((name) =>
      lines.find((line) => line.startsWith(`--${name}=`)),
    );
  };
  const expected = await flags('txt2img');
  assert.ok(expected.every((line) => line !== undefined));
  assert.equal(await flags('sample'), expected);
});

test('a picture is brought to a size, and one side follows the other', async () => {
  const photo = await sharp({ create: { width: 50, height: 33, channels: 3, background: '#c33' } })
    .jpeg()
    .toBuffer();
  await sharp(photo).toFile(join(folder, 'photo.jpg'));
  const draw = ['img2img', 'red', '--model', layout('sd'), '--image', 'photo.jpg', '--steps', '2', '-o', 'sized.png'];
  const { width, height } = await run(...draw, '--width', '32');
  // 32 * 33 / 50 = 21.12, of which 24 is the nearest multiple of 8.
  assert.equal([width, height], [32, 24]);
  const refused = await start(folder, [...draw, '--width', '99999', '--height', '99999']).ended;
  assert.is(refused.code, 2);
  assert.match(
    refused.stderr,
    /^dpm-solver: Expected at most 33554432 pixels but --width and --height make 99999 x 99999$/m,
  );
});

test.run();
