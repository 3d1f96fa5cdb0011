// npm run test:gpu: the CUDA tests on a card of this machine, without skips. Builds the library for that card if there is
// none. Where there is no card it runs what needs none, says why the rest cannot run, and fails. With compute-sanitizer in
// reach, --sanitize runs the device tests under its memcheck, racecheck and synccheck.
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('..', import.meta.url));
const ON_A_CARD = ['cuda/device', 'engines/cuda/solver'];
const run = (command, args, env = {}) => {
  const { status } = spawnSync(command, args, { cwd: root, stdio: 'inherit', env: { ...process.env, ...env } });
  if (status !== 0) process.exit(status ?? 1);
};
// What scripts/pack-gpu.mjs has made is JavaScript already, and has no runner beside it.
const packed = existsSync(`${root}/test/cuda/device.test.js`);
const test = (names, env = {}) => {
  if (packed) for (const name of names) run(process.execPath, [`test/${name}.test.js`], env);
  else run('npx', ['tsx', 'test/run.ts', ...names.map((name) => `test/${name}.test.ts`)], env);
};

const reason = prepare();
test(['cuda/plan', 'cuda/loader']);
if (reason) {
  console.error(`test:gpu needs a CUDA card, but ${reason}`);
  process.exit(1);
}
const env = { DPM_SOLVER_GPU: '1' };
test(ON_A_CARD, env);
if (process.argv.includes('--sanitize')) {
  for (const tool of ['memcheck', 'racecheck', 'synccheck']) {
    for (const name of ON_A_CARD) {
      const file = packed ? [`test/${name}.test.js`] : ['--import', 'tsx', `test/${name}.test.ts`];
      run('compute-sanitizer', ['--tool', tool, '--error-exitcode', '9', process.execPath, ...file], {
        ...env,
        DPM_SOLVER_SANITIZER: tool,
      });
    }
  }
}

/** Why there is no card to test on, or null. */
function prepare() {
  const library = `${root}/build/Release/dpm-solver-cuda.so`;
  if (!existsSync(library)) {
    if (spawnSync('nvidia-smi', ['-L']).status !== 0) return 'nvidia-smi finds none on this machine';
    run(process.execPath, ['scripts/build-cuda.mjs', '--arch', 'native', '--out', library]);
  }
  return createRequire(import.meta.url)(`${root}/build/Release/dpm-solver.node`).cudaInfo().reason;
}
