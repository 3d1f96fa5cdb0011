import { spawnSync } from 'node:child_process';
import { copyFileSync, existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { Worker } from 'node:worker_threads';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { cudaAdvice } from '../../lib/addon/backend.js';
import { addonPath } from '../../lib/addon/loader.js';
import { type CudaInfo, cudaInfo } from '../../lib/cuda/info.js';
import { DPMSolver, devices, NoiseSchedule } from '../../lib/index.js';
import { assertThrows } from '../support.js';
import { compiler } from './emulation/build.js';

// Everything that can be said without a card is tested for real: no library, one that is none, no driver.
const loader = suite('the CUDA library and its absence');
const name = process.platform === 'win32' ? 'dpm-solver-cuda.dll' : 'dpm-solver-cuda.so';
const built = join(dirname(addonPath()), name);
const folders: string[] = [];

/** A folder with the addon, and what `library` puts beside it. */
function place(library?: (path: string) => void): string {
  const folder = mkdtempSync(join(tmpdir(), 'dpm-solver-cuda-'));
  folders.push(folder);
  copyFileSync(addonPath(), join(folder, 'dpm-solver.node'));
  library?.(join(folder, name));
  return folder;
}

/** cudaInfo of the addon there, in a process of its own. */
function ask(folder: string, env: Record<string, string> = {}): CudaInfo {
  const code = 'const a = require(process.argv[1]); a.cudaInfo(); console.log(JSON.stringify(a.cudaInfo()))';
  const { status, stdout, stderr } = spawnSync(process.execPath, ['-e', code, join(folder, 'dpm-solver.node')], {
    encoding: 'utf8',
    env: { ...process.env, ...env },
  });
  assert.is(status, 0, stderr);
  return JSON.parse(stdout);
}

function assertNone(info: CudaInfo, pattern: RegExp): void {
  assert.is(info.available, false);
  assert.equal(info.devices, []);
  assert.match(info.reason!, pattern);
  assert.not.match(info.reason!, /\n|\.$/);
}

loader.after(() => {
  for (const folder of folders) rmSync(folder, { recursive: true, force: true });
});

loader('a missing library is named', () => {
  const folder = place();
  const info = ask(folder);
  assertNone(info, /^there is no CUDA library at /);
  assert.ok(info.reason!.endsWith(join(folder, name)));
  assert.is(info.runtime, null);
});

const linux = process.platform === 'darwin' ? loader.skip : loader;
linux('what makes it is said: here, in an installed package (see test/install.test.ts), and in a bundle', () => {
  const root = mkdtempSync(join(tmpdir(), 'dpm-solver-advice-'));
  folders.push(root);
  assert.is(
    cudaAdvice(root),
    `the package dpm-solver has it in prebuilds/${process.platform}-${process.arch}, or makes it by its scripts/build-cuda.mjs`,
  );
  mkdirSync(join(root, 'scripts'));
  const script = join(root, 'scripts/build-cuda.mjs');
  writeFileSync(script, '');
  assert.is(cudaAdvice(root), `node ${JSON.stringify(script)} makes it, with nvcc`);
  writeFileSync(join(root, 'binding.gyp'), '');
  assert.is(cudaAdvice(root), 'npm run build:cuda makes it, with nvcc');
});

linux('all of it is one sentence, wherever it is thrown', () => {
  const folder = mkdtempSync(join(tmpdir(), 'dpm-solver-cuda-'));
  folders.push(folder);
  mkdirSync(join(folder, 'build/Release'), { recursive: true });
  copyFileSync(addonPath(), join(folder, 'build/Release/dpm-solver.node'));
  // As JavaScript where this is JavaScript (scripts/pack-gpu.mjs).
  const file = new URL(`../../lib/cuda/index.${import.meta.url.split('.').at(-1)}`, import.meta.url);
  const code = `const { cudaInfo, Stream } = await import(${JSON.stringify(file)});
    let message; try { new Stream(); } catch (error) { message = error.message; }
    console.log(JSON.stringify([cudaInfo().reason, message]));`;
  const { status, stdout, stderr } = spawnSync(
    process.execPath,
    [...process.execArgv, '--input-type=module', '-e', code],
    { encoding: 'utf8', env: { ...process.env, DPM_SOLVER_PREBUILD: folder } },
  );
  assert.is(status, 0, stderr);
  const reason = `there is no CUDA library at ${join(folder, 'build/Release', name)} (${cudaAdvice()})`;
  assert.equal(JSON.parse(stdout), [reason, `Expected a CUDA card for a Stream but ${reason}`]);
});

loader('a file that is no library is named, with the reason', () => {
  const info = ask(place((path) => writeFileSync(path, 'not a shared object')));
  assertNone(info, /could not be loaded: /);
});

loader('a library that ends early is named, with the reason', () => {
  const info = ask(place((path) => writeFileSync(path, Buffer.from([0x7f, 0x45, 0x4c, 0x46, 2, 1, 1, 0]))));
  assertNone(info, /could not be loaded: /);
});

loader('a library that is another one is refused', () => {
  const info = ask(place((path) => copyFileSync(addonPath(), path)));
  assertNone(info, /does not belong to this version of the addon/);
});

const cxx = compiler();
(cxx ? loader : loader.skip)('a library of another version is refused', () => {
  const folder = place((path) => {
    const source = `${path}.cpp`;
    writeFileSync(source, 'extern "C" const int* dpmSolverCuda() { static const int api[64] = {999}; return api; }');
    assert.is(spawnSync(cxx!, ['-shared', '-fPIC', source, '-o', path]).status, 0);
  });
  assertNone(ask(folder), /does not belong to this version of the addon/);
});

// With a card here, what follows has nothing to say.
const without = existsSync(built) && !cudaInfo().available ? loader : loader.skip;

without('without a driver both possible reasons are said', () => {
  const info = ask(dirname(built));
  assert.is(info.code, 35);
  assertNone(info, /^there is no NVIDIA driver on this machine, or it is too old for CUDA \d+\.\d+/);
  assert.match(info.runtime!, /^\d+\.\d+$/);
});

without('a driver that is garbage is no driver', () => {
  const folder = mkdtempSync(join(tmpdir(), 'dpm-solver-driver-'));
  folders.push(folder);
  writeFileSync(join(folder, 'libcuda.so.1'), 'not a shared object');
  assertNone(ask(dirname(built), { LD_LIBRARY_PATH: folder }), /no NVIDIA driver/);
});

without('works in worker threads, and the process ends cleanly', async () => {
  const code = `const { parentPort, workerData } = require('node:worker_threads');
    parentPort.postMessage(require(workerData).cudaInfo().code);`;
  const codes = await Promise.all(
    [1, 2, 3].map(
      () =>
        new Promise<number>((resolve, reject) => {
          const worker = new Worker(code, { eval: true, workerData: addonPath(), execArgv: [] });
          worker.on('message', resolve);
          worker.on('error', reject);
        }),
    ),
  );
  assert.equal(codes, [35, 35, 35]);
});

loader('cudaInfo and devices() never throw, and the CPU comes first', () => {
  const info = cudaInfo();
  assert.is(info.available, info.devices.length > 0);
  assert.is(info.reason === null, info.available);
  const list = devices();
  assert.is(list[0]!.type, 'cpu');
  assert.is(list.length, 1 + info.devices.length);
  for (const device of list.slice(1)) {
    assert.is(device.type, 'cuda');
    assert.ok(device.memory! > 0);
    assert.match(device.computeCapability!, /^\d+\.\d+$/);
  }
});

(cudaInfo().available ? loader.skip : loader)("device: 'cuda' without a card throws one sentence that says why", () => {
  const schedule = NoiseSchedule.linear();
  const error = assertThrows(
    () => new DPMSolver((x) => x, schedule, { device: 'cuda' }),
    RangeError,
    /^Expected 'auto' or 'cpu' for device but received 'cuda': there is no .*/,
  );
  assert.not.match(error.message, /\n/);
  new DPMSolver((x) => x, schedule, { device: 'auto' });
  assertThrows(
    () => new DPMSolver((x) => x, schedule, { modelDevice: 'cuda' }),
    RangeError,
    /^Expected 'cpu' for modelDevice but received 'cuda': there is no .*/,
  );
});

loader('the library lies where node looks for nothing else', () => {
  // node-gyp-build takes the first .node of the folder: ours must not be one.
  assert.not.match(name, /\.node$/);
  assert.is(cudaInfo().library, join(dirname(addonPath()), name));
});

loader.run();
