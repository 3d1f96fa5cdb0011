// npm run test:gpu: the CUDA tests on a card of this machine. Builds the library for that card if there is none, and
// fails where there is no card. With compute-sanitizer in reach, --sanitize runs the device tests under its memcheck,
// racecheck and synccheck.
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('..', import.meta.url));
const run = (command, args, env = {}) => {
  const { status } = spawnSync(command, args, { cwd: root, stdio: 'inherit', env: { ...process.env, ...env } });
  if (status !== 0) process.exit(status ?? 1);
};

if (!existsSync(`${root}/build/Release/dpm-solver-cuda.so`)) {
  run(process.execPath, ['scripts/build-cuda.mjs', '--arch', 'native']);
}
const env = { DPM_SOLVER_GPU: '1' };
// What scripts/pack-gpu.mjs has made is JavaScript already, and has no runner beside it.
const packed = existsSync(`${root}/test/cuda/device.test.js`);
const names = ['device', 'solver', 'plan', 'loader'];
if (packed) for (const name of names) run(process.execPath, [`test/cuda/${name}.test.js`], env);
else run('npx', ['tsx', 'test/run.ts', ...names.map((name) => `test/cuda/${name}`)], env);
if (process.argv.includes('--sanitize')) {
  for (const tool of ['memcheck', 'racecheck', 'synccheck']) {
    for (const name of ['device', 'solver']) {
      const file = packed ? [`test/cuda/${name}.test.js`] : ['--import', 'tsx', `test/cuda/${name}.test.ts`];
      run('compute-sanitizer', ['--tool', tool, '--error-exitcode', '9', process.execPath, ...file], {
        ...env,
        DPM_SOLVER_SANITIZER: tool,
      });
    }
  }
}
