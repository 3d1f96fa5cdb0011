import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { buildEmulation, compiler } from './emulation/build.js';

// The CUDA kernels, compiled for the host, against the CPU path: random rows, shapes, types, quantiles, placements in
// memory, teams of blocks and orders of execution. More by hand: build as here, then cases --cases 100000 --seed 7.
const emulation = suite('CUDA kernels under emulation');
const able = compiler() !== null;
const test: typeof emulation = able ? emulation : (emulation.skip as typeof emulation);
const folder = mkdtempSync(join(tmpdir(), 'dpm-solver-emulation-'));
let program = '';

function cases(...args: string[]): void {
  const { status, stdout, stderr } = spawnSync(program, args, {
    encoding: 'utf8',
    env: { ...process.env, ASAN_OPTIONS: 'detect_stack_use_after_return=0' },
  });
  assert.is(status, 0, `${args.join(' ')}: ${stdout}${stderr}`);
  assert.match(stdout, /^\d+ cases as on the CPU/);
}

emulation.before(async () => {
  if (able) program = await buildEmulation(folder, ['-O0', '-fsanitize=address']);
});
emulation.after(() => rmSync(folder, { recursive: true, force: true }));

test('the fused step gives the bits of the CPU path', () => cases('--only', 'step', '--cases', '250'));
test('the thresholded step by clusters does', () => cases('--only', 'cluster', '--cases', '90', '--seed', '5000'));
test('the step in double precision does', () => cases('--only', 'wide', '--cases', '200', '--seed', '12000'));
test('the error of an adaptive step does', () => cases('--only', 'error', '--cases', '120', '--seed', '15000'));
test('the weights of guidance do', () => cases('--only', 'guide', '--cases', '120', '--seed', '21000'));
test('noise by itself does', () => cases('--only', 'noise', '--cases', '120', '--seed', '18000'));
test('the thresholded step by teams that meet in global memory does', () =>
  cases('--only', 'team', '--cases', '90', '--seed', '9000'));

emulation.run();
