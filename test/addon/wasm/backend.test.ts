// Which build is taken, what is said about it, and that whole runs come out the same.
import { copyFileSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { choose } from '../../../lib/addon/backend.js';
import { inChild } from '../../native/children.js';
import { assertThrows } from '../../support.js';
import type { Results } from './scenario.js';
import { wasmFile } from './support.js';

const root = fileURLToPath(new URL('../../..', import.meta.url));
const tests = suite('backend');
const test = wasmFile ? tests : tests.skip;
if (!wasmFile)
  console.log('skipped: prebuilds/wasm/dpm-solver.wasm is not built (npm run build:wasm, which needs clang)');
const folders: string[] = [];
const saved = { ...process.env };

/** A package that has the WebAssembly build only, or nothing at all. */
function emptyRoot(withWasm = true): string {
  const folder = mkdtempSync(join(tmpdir(), 'dpm-solver-backend-'));
  folders.push(folder);
  copyFileSync(join(root, 'package.json'), join(folder, 'package.json'));
  mkdirSync(join(folder, 'native'));
  mkdirSync(join(folder, 'prebuilds/wasm'), { recursive: true });
  if (withWasm) copyFileSync(wasmFile!, join(folder, 'prebuilds/wasm/dpm-solver.wasm'));
  return folder;
}

tests.before.each(() => {
  delete process.env.DPM_SOLVER_BACKEND;
  delete process.env.DPM_SOLVER_PREBUILD;
});
tests.after(() => {
  process.env = saved;
  for (const folder of folders) rmSync(folder, { recursive: true, force: true });
});

tests('the native addon, where there is one', () => {
  const { backend, path } = choose(root);
  assert.is(backend, 'native');
  assert.match(path!, /\.node$/);
});

tests('DPM_SOLVER_BACKEND is native or wasm', () => {
  process.env.DPM_SOLVER_BACKEND = 'cuda';
  assertThrows(
    () => choose(root),
    TypeError,
    /^Expected 'native' or 'wasm' for DPM_SOLVER_BACKEND but received 'cuda'$/,
  );
});

test('WebAssembly where there is no addon, with one warning', async () => {
  const warnings: Error[] = [];
  const listener = (warning: Error) => warnings.push(warning);
  process.on('warning', listener);
  const folder = emptyRoot();
  const { backend, path, exports } = choose(folder);
  choose(folder);
  await new Promise(setImmediate);
  process.off('warning', listener);
  assert.is(backend, 'wasm');
  assert.is(path, join(folder, 'prebuilds/wasm/dpm-solver.wasm'));
  assert.type((exports as { step: unknown }).step, 'function');
  assert.is(warnings.length, 1);
  assert.match(warnings[0]!.message, `${process.platform}-${process.arch}`);
  assert.match(warnings[0]!.message, `cd ${JSON.stringify(folder)} && npx cmake-js compile`);
  assert.is((warnings[0] as Error & { code: string }).code, 'DPM_SOLVER_WASM');
});

test('insisting: on WebAssembly without a warning, on the addon without a way out', async () => {
  process.env.DPM_SOLVER_BACKEND = 'wasm';
  assert.is(choose(root).backend, 'wasm');
  const folder = emptyRoot(false);
  assertThrows(() => choose(folder), Error, /^DPM_SOLVER_BACKEND is 'wasm' but there is no .*npm run build:wasm/);
  process.env.DPM_SOLVER_BACKEND = 'native';
  assert.throws(() => choose(emptyRoot()), /The native addon of dpm-solver: there is none for/);
});

tests('neither: an error that says what to do', () => {
  assert.throws(() => choose(mkdtemp()), /What to do:\n- In a bundle: import/);
});

tests('a bundle with neither', () => {
  assert.throws(() => choose(null), /this is a bundle without it.*\n.*\n- In a bundle: import 'dpm-solver\//);
  process.env.DPM_SOLVER_BACKEND = 'wasm';
  assert.throws(() => choose(null), /^DPM_SOLVER_BACKEND is 'wasm' but there is none in this bundle/);
});

test('whole runs have the same bits, solvers, schedulers and noise', async () => {
  const results: Results[] = [];
  for (const backend of ['native', 'wasm']) {
    const { code, output, errors } = await inChild(new URL('./children/scenario.ts', import.meta.url), {
      env: { DPM_SOLVER_BACKEND: backend },
    });
    assert.is(code, 0, errors);
    assert.not.match(errors, 'DpmSolverWarning');
    const { info, runs } = JSON.parse(output) as { info: { backend: string }; runs: Results };
    assert.is(info.backend, backend);
    results.push(runs);
  }
  assert.ok(Object.keys(results[0]!.runs).length >= 20 && Object.keys(results[0]!.addon).length >= 9);
  assert.equal(results[1], results[0]);
});

test('a worker that starts after the warning does not repeat it', async () => {
  const folder = emptyRoot();
  const { code, errors, output } = await inChild(new URL('./children/warnings.ts', import.meta.url), {
    args: [folder],
    env: { DPM_SOLVER_BACKEND: '' },
  });
  assert.is(code, 0, errors);
  assert.is(output.trim(), 'wasm wasm wasm');
  assert.is(errors.split('DPM_SOLVER_WASM').length - 1, 1, errors);
});

function mkdtemp(): string {
  const folder = mkdtempSync(join(tmpdir(), 'dpm-solver-backend-'));
  folders.push(folder);
  copyFileSync(join(root, 'package.json'), join(folder, 'package.json'));
  return folder;
}

tests.run();
