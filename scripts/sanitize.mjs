// npm run test:sanitize [-- address|thread|valgrind|all] [FILTER...]: nothing said means address and thread. Linux with
// g++.
//
// address   the addon under AddressSanitizer and UndefinedBehaviorSanitizer: every test that loads it (FILTER: those
//           whose path has it in it), then the fuzz target of test/fuzz/step.cpp over its corpus and inputs made up
// thread    the pool under ThreadSanitizer, by itself and with memory and threads that run out; then the addon in Node
//           with workers, under test/sanitize/tsan.supp
// valgrind  the fuzz target and the pool under memcheck, which also sees what was never written; slow
//
// node-gyp-build looks into build/Release of the folder that it is given, so the tests run in a shadow of this checkout
// that is made of links, with a build folder of its own (build/sanitize/<kind>/checkout).
import { spawnSync } from 'node:child_process';
import { mkdirSync, readdirSync, rmSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { baseFlags, compile, root, run, sources } from './native-objects.mjs';

const KINDS = ['address', 'thread', 'valgrind'];
const words = process.argv.slice(2);
const named = KINDS.filter((kind) => words.includes(kind) || words.includes('all'));
const kinds = named.length > 0 ? named : ['address', 'thread'];
const filters = words.filter((word) => word !== 'all' && !KINDS.includes(word));
const FOLDERS = ['addon', 'coefficients', 'noise', 'cpu'];
const out = join(root, 'build', 'sanitize');

/** Tests that have no part in it, and why. */
const LEFT_OUT = {
  'test/harness.test.ts': 'tests the test runner, without the addon',
  'test/support.test.ts': 'tests the test runner, without the addon',
  'test/loader.test.ts': "tests where the addon is looked for, with addons of its own making in a checkout's layout",
  'test/cuda/loader.test.ts': 'tests where the CUDA library is looked for, with libraries of its own making',
  'test/cuda/emulation.test.ts': 'compiles the CUDA kernels for the processor with sanitizers of its own',
  'test/cuda/sanitized.test.ts': 'runs under sanitizers what is run here with the emulated card under them, too',
  'test/package.test.ts': 'packs and installs the package, whose addon is the release build',
  'test/pipelines/diffusion-pipeline.test.ts': 'onnxruntime-node, not built with sanitizers, throws C++ exceptions',
};

const library = (name) => spawnSync('g++', [`-print-file-name=${name}`], { encoding: 'utf8' }).stdout.trim();

/** A checkout whose build is `addon`. */
function checkout(kind) {
  const shadow = join(out, kind, 'checkout');
  mkdirSync(join(shadow, 'build', 'Release'), { recursive: true });
  for (const entry of readdirSync(root)) {
    if (['build', '.git', 'prebuilds', 'coverage'].includes(entry)) continue;
    const link = join(shadow, entry);
    rmSync(link, { force: true, recursive: true });
    symlinkSync(join(root, entry), link);
  }
  return { shadow, addon: join(shadow, 'build', 'Release', 'dpm-solver.node') };
}

/** Test files that load the addon, directly or by what they import. */
function testsWithAddon() {
  const files = readdirSync(join(root, 'test'), { recursive: true, encoding: 'utf8' })
    .filter((file) => file.endsWith('.test.ts'))
    .map((file) => `test/${file.replaceAll('\\', '/')}`)
    .filter((file) => filters.length === 0 || filters.some((filter) => file.includes(filter)))
    .sort();
  for (const [file, reason] of Object.entries(LEFT_OUT))
    if (files.includes(file)) console.log(`${file}: left out, ${reason}`);
  return files.filter((file) => !(file in LEFT_OUT));
}

/** The fuzz target with a main function of its own; `kernels` are objects of the instruction sets. */
async function replay(kind, flags, kernels) {
  const small = [...flags, '-DDPM_SMALL_SIZES'];
  const files = ['native/cpu/step.cpp', 'native/cpu/pool.cpp', 'test/fuzz/step.cpp', 'test/fuzz/replay.cpp'];
  const objects = await compile('g++', small, files, join(out, kind, 'fuzz'));
  const target = join(out, kind, 'fuzz', 'replay');
  const links = flags.filter((flag) => flag.startsWith('-fsanitize'));
  const wrap = ['-Wl,--wrap=malloc', '-Wl,--wrap=pthread_create'];
  await run('g++', [...links, ...wrap, '-pthread', ...kernels, ...objects, '-o', target, '-ldl']);
  return target;
}
const kernelFiles = sources(['cpu']).filter((file) => file.includes('isa_'));

async function pool(kind, flags) {
  const objects = await compile(
    'g++',
    flags,
    ['test/sanitize/pool.cpp', 'native/cpu/pool.cpp'],
    join(out, kind, 'pool'),
  );
  const target = join(out, kind, 'pool', 'pool');
  const links = flags.filter((flag) => flag.startsWith('-fsanitize'));
  const wrap = ['pthread_create', '_ZnwmRKSt9nothrow_t'].map((name) => `-Wl,--wrap=${name}`);
  await run('g++', [...links, ...wrap, '-pthread', ...objects, '-o', target, '-ldl']);
  return target;
}

async function address() {
  const sanitize = ['-fsanitize=address,undefined', '-fno-sanitize-recover=undefined'];
  const flags = [...baseFlags(), '-O1', ...sanitize];
  const objects = await compile(
    'g++',
    [...flags, '-include', 'native/compat/glibc.h'],
    sources(FOLDERS),
    join(out, 'address'),
  );
  const { shadow, addon } = checkout('address');
  await run('g++', ['-shared', ...sanitize, '-pthread', ...objects, '-o', addon, '-ldl']);
  const env = {
    ...process.env,
    LD_PRELOAD: `${library('libasan.so')} ${library('libubsan.so')}`,
    // Node keeps much until it ends.
    ASAN_OPTIONS: 'detect_leaks=0:abort_on_error=0:allocator_may_return_null=1',
    UBSAN_OPTIONS: 'print_stacktrace=1:halt_on_error=1',
    NODE_OPTIONS: '--preserve-symlinks --preserve-symlinks-main',
    DPM_SOLVER_TEST_TIMEOUT: '1200',
    // The emulated CUDA card of test/cuda as well, fibers and all.
    DPM_EMULATED_SANITIZE: '-fsanitize=address',
  };
  await run(process.execPath, ['--import', 'tsx', 'test/run.ts', ...testsWithAddon()], { cwd: shadow, env });
  if (filters.length > 0) return;
  const kernels = objects.filter((object) => object.includes('isa_'));
  const target = await replay('address', flags, kernels);
  await run(target, ['test/fuzz/corpus', '--random', '20000'], {
    env: { ...process.env, ASAN_OPTIONS: 'detect_leaks=0:allocator_may_return_null=1' },
  });
}

async function thread() {
  const flags = [...baseFlags(), '-O1', '-fsanitize=thread'];
  const alone = await pool('thread', flags);
  // Address space layouts with more random bits than this version of the sanitizer knows.
  const still = ['-R'];
  const env = { ...process.env, TSAN_OPTIONS: 'halt_on_error=1' };
  await run('setarch', [...still, alone], { env });
  await run('setarch', [...still, alone, 'no-memory'], { env });
  const objects = await compile('g++', flags, sources(FOLDERS), join(out, 'thread'));
  const { shadow, addon } = checkout('thread');
  await run('g++', ['-shared', '-fsanitize=thread', '-pthread', ...objects, '-o', addon, '-ldl']);
  const suppressions = join(root, 'test/sanitize/tsan.supp');
  await run('setarch', [...still, process.execPath, 'test/sanitize/workers.mjs', addon], {
    cwd: shadow,
    env: {
      ...process.env,
      LD_PRELOAD: library('libtsan.so'),
      TSAN_OPTIONS: `suppressions=${suppressions}:halt_on_error=1:exitcode=66:report_signal_unsafe=0`,
    },
  });
}

async function valgrind() {
  const flags = [...baseFlags(), '-O1'];
  const kernels = await compile('g++', flags, kernelFiles, join(out, 'valgrind'));
  const target = await replay('valgrind', flags, kernels);
  const check = ['--error-exitcode=1', '--track-origins=yes', '-q'];
  await run('valgrind', [...check, target, 'test/fuzz/corpus', '--random', '300']);
  const alone = await pool('valgrind', flags);
  await run('valgrind', [...check, alone]);
}

for (const kind of kinds) {
  console.log(`== ${kind}`);
  await { address, thread, valgrind }[kind]();
}
console.log('sanitizers: nothing found');
