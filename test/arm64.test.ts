// The prebuilt addon for linux-arm64: run by the command that DPM_SOLVER_ARM64 is (an arm64 Node, under an emulator where
// the machine is another one), it gives the bits of this machine's.
import { spawnSync } from 'node:child_process';
import { existsSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { inChild } from './native/children.js';

const root = fileURLToPath(new URL('..', import.meta.url));
const command = (process.env.DPM_SOLVER_ARM64 ?? '').split(' ').filter(Boolean);
const missing = !existsSync(join(root, 'prebuilds/linux-arm64/dpm-solver.glibc.node'))
  ? 'prebuilds/linux-arm64 is not built (npm run prebuild, which needs aarch64-linux-gnu-g++)'
  : command.length === 0
    ? 'DPM_SOLVER_ARM64 names no arm64 Node'
    : '';
if (missing) console.log(`skipped: ${missing}`);
const tests = suite('arm64');
const test = missing ? tests.skip : tests;
// Two folders below the root, as lib/addon/loader.ts is, so that the addon is found from there.
const folder = join(root, 'build', `arm64-${process.pid}`);
const file = (name: string) => join(folder, `${name.replaceAll('/', '-')}.mjs`);
/** Tests that start no process of their own and read no file. The longer ones take many minutes under an emulator. */
const SUITES = ['native/reductions'];
const PROGRAMS: Record<string, string> = {
  bits: 'test/native/children/bits.ts',
  scenario: 'test/addon/wasm/children/scenario.ts',
  ...Object.fromEntries(SUITES.map((name) => [name, `test/${name}.test.ts`])),
};

tests.before(async () => {
  if (missing) return;
  for (const [name, source] of Object.entries(PROGRAMS)) {
    await build({
      entryPoints: [join(root, source)],
      ...{ bundle: true, platform: 'node', format: 'esm', outfile: file(name), logLevel: 'error' },
      external: ['node-gyp-build', 'onnxruntime-node', 'fast-check'],
      banner: { js: "import { createRequire as from } from 'node:module'; const require = from(import.meta.url);" },
    });
  }
});

tests.after(() => {
  rmSync(folder, { recursive: true, force: true });
});

function onArm64(name: string): string {
  const [program, ...args] = command;
  const { status, stdout, stderr, error } = spawnSync(program!, [...args, file(name)], {
    encoding: 'utf8',
    cwd: root,
    // build/ has the addon of this machine.
    env: { ...process.env, PREBUILDS_ONLY: '1', DPM_SOLVER_BACKEND: 'native', DPM_SOLVER_SIMD: '' },
  });
  assert.is(status, 0, `${error ?? ''}${stdout}${stderr}`);
  return stdout;
}

test('whole runs: solvers, schedulers and noise', async () => {
  const { output, errors, code } = await inChild(new URL('./addon/wasm/children/scenario.ts', import.meta.url));
  assert.is(code, 0, errors);
  const [here, there] = [output, onArm64('scenario')].map((text) => JSON.parse(text));
  assert.is(there.info.simd, 'neon');
  assert.equal(there.runs, here.runs);
});

test('all that the native step computes', async () => {
  const { output, errors, code } = await inChild(new URL('./native/children/bits.ts', import.meta.url));
  assert.is(code, 0, errors);
  const [here, there] = [output, onArm64('bits')].map((text) => JSON.parse(text));
  assert.is(there.simd, 'neon');
  assert.is(there.hash, here.hash);
});

for (const name of SUITES) test(`the tests of ${name}`, () => void onArm64(name));

tests.run();
