// npm run test:sanitize [-- FILTER...]: the native tests with the addon built under AddressSanitizer and
// UndefinedBehaviorSanitizer, and the pool alone under ThreadSanitizer. Linux with g++; takes a few minutes.
//
// node-gyp-build looks into build/Release of the folder that it is given, so the tests run in a shadow of this checkout
// that is made of links, with a build folder of its own (build/sanitize/checkout).
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, rmSync, symlinkSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('..', import.meta.url));
const out = join(root, 'build', 'sanitize');
const shadow = join(out, 'checkout');
const filters = process.argv.slice(2);

function run(command, args, options = {}) {
  const { status, signal, error } = spawnSync(command, args, { stdio: 'inherit', cwd: root, ...options });
  if (error) throw error;
  if (status !== 0) {
    console.error(`${command} ${args.join(' ')}: ${signal ?? `exit code ${status}`}`);
    process.exit(1);
  }
}

// The pool, by itself: ThreadSanitizer does not go together with Node.
mkdirSync(out, { recursive: true });
const pool = join(out, 'pool');
run('g++', [
  ...['-std=c++17', '-g', '-O1', '-fsanitize=thread', '-Inative', '-pthread'],
  ...['test/sanitize/pool.cpp', 'native/cpu/pool.cpp', '-o', pool, '-ldl'],
]);
run(pool, [], { env: { ...process.env, TSAN_OPTIONS: 'halt_on_error=1' } });

// The addon.
const require = createRequire(import.meta.url);
const release = join(shadow, 'build', 'Release');
mkdirSync(release, { recursive: true });
const include = (name) => `-I${require(name).include_dir}`;
const folders = ['addon', 'coefficients', 'noise', 'cpu'].filter((folder) => existsSync(join(root, 'native', folder)));
const flags = {
  sse2: [],
  avx2: ['-mavx2', '-mf16c', '-mfma'],
  avx512: [...'f bw dq vl'.split(' ').map((part) => `-mavx512${part}`), '-mavx2', '-mf16c', '-mfma'],
  neon: [],
};
const x86 = process.arch === 'x64';
const common = [
  ...['-std=c++17', '-g', '-O1', '-fPIC', '-ffp-contract=off', '-fno-exceptions', '-fno-omit-frame-pointer', '-Wall'],
  ...['-fsanitize=address,undefined', '-fno-sanitize-recover=undefined', '-DNAPI_VERSION=9', '-Inative'],
  ...[
    '-DNODE_ADDON_API_DISABLE_DEPRECATED',
    include('node-addon-api').replaceAll('"', ''),
    include('node-api-headers'),
  ],
  ...(existsSync(join(root, 'native/compat/glibc.h')) ? ['-include', 'native/compat/glibc.h'] : []),
];
const objects = [];
for (const folder of folders) {
  for (const file of readdirSync(join(root, 'native', folder)).filter((name) => name.endsWith('.cpp'))) {
    const isa = /^isa_(\w+)\.cpp$/.exec(file)?.[1];
    if (isa && (isa === 'neon') === x86) continue;
    const object = join(out, `${folder}-${file}.o`);
    objects.push(object);
    run('g++', [...common, ...(isa ? flags[isa] : []), '-c', join('native', folder, file), '-o', object]);
  }
}
const addon = join(release, 'dpm-solver.node');
run('g++', ['-shared', '-fsanitize=address,undefined', '-pthread', ...objects, '-o', addon]);

// A checkout whose build is this one.
for (const entry of readdirSync(root)) {
  if (['build', '.git', 'prebuilds', 'dist', 'coverage'].includes(entry)) continue;
  const link = join(shadow, entry);
  rmSync(link, { force: true, recursive: true });
  symlinkSync(join(root, entry), link);
}
const library = (name) => spawnSync('g++', [`-print-file-name=${name}`], { encoding: 'utf8' }).stdout.trim();
const env = {
  ...process.env,
  LD_PRELOAD: `${library('libasan.so')} ${library('libubsan.so')}`,
  // Node keeps much until it ends.
  ASAN_OPTIONS: 'detect_leaks=0:abort_on_error=0:allocator_may_return_null=1',
  UBSAN_OPTIONS: 'print_stacktrace=1:halt_on_error=1',
  NODE_OPTIONS: '--preserve-symlinks --preserve-symlinks-main',
};
const tests = readdirSync(join(root, 'test/native'))
  .filter((name) => name.endsWith('.test.ts'))
  .filter((name) => filters.length === 0 || filters.some((filter) => name.includes(filter)))
  .map((name) => join('test/native', name));
for (const test of tests) {
  console.log(test);
  run(process.execPath, ['--import', 'tsx', test], { cwd: shadow, env });
}
console.log('sanitizers: nothing found');
