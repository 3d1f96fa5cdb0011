// npm run test:sanitize [-- address|thread|valgrind|all|quick] [FILTER...]: nothing said means address and thread. Linux
// with g++.
//
// address   the addon under AddressSanitizer and UndefinedBehaviorSanitizer: every test that loads it (FILTER: those
//           whose path has it in it), then the fuzz target of test/fuzz/step.cpp over its corpus and inputs made up
// thread    the pool under ThreadSanitizer, by itself and with memory and threads that run out; then the addon in Node
//           with workers
// valgrind  the fuzz target and the pool under memcheck, which also sees what was never written; slow
// quick     what every change has to pass: of address the tests of the addon itself and the fuzz target, of thread the
//           pool by itself
//
// node-gyp-build looks into build/Release of the folder that it is given, so the tests run in a shadow of this checkout
// that is made of links, with a build folder of its own (build/sanitize/<kind>/checkout).
import { spawnSync } from 'node:child_process';
import { mkdirSync, readdirSync, rmSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { build } from 'esbuild';
import { baseFlags, compile, root, run, sources } from './native-objects.mjs';

const KINDS = ['address', 'thread', 'valgrind'];
/**
 * The tests of the addon itself that take seconds; test/native/bits.test.ts aside, whose kernels the fuzz target calls as
 * well.
 */
const QUICK = ['test/addon/coefficients', 'test/addon/noise'].concat(
  ['step', 'reductions', 'input', 'float16', 'process'].map((name) => `test/native/${name}`),
);
const words = process.argv.slice(2);
const named = KINDS.filter((kind) => words.includes(kind) || words.includes('all'));
const quick = words.includes('quick');
const kinds = named.length > 0 && !quick ? named : ['address', 'thread'];
const filters = quick ? QUICK : words.filter((word) => word !== 'all' && !KINDS.includes(word));
const FOLDERS = ['addon', 'coefficients', 'noise', 'cpu', 'ort'];
const out = join(root, 'build', 'sanitize');

/** Tests that load the addon in processes that they start, which their imports do not tell. */
const IN_PROCESSES = ['native/process', 'onnx/ends', 'cli/cli', 'serve/attack', 'serve/http'].map(
  (name) => `test/${name}.test.ts`,
);

/** Tests that load it and still have no part in it, and why. */
const LEFT_OUT = {
  'test/addon/loader.test.ts':
    "tests where the addon is looked for, with addons of its own making in a checkout's layout",
  'test/cuda/loader.test.ts': 'tests where the CUDA library is looked for, with libraries of its own making',
  'test/install.test.ts': 'packs and installs the package, whose addon is the release build',
  'test/cuda/emulation.test.ts': 'compiles the CUDA kernels for the processor with sanitizers of its own',
  'test/cuda/sanitized.test.ts': 'runs under sanitizers what is run here with the emulated card under them, too',
  'test/pipelines/diffusion-pipeline.test.ts': 'onnxruntime-node, not built with sanitizers, throws C++ exceptions',
  'test/addon/wasm/browser.test.ts': 'starts a browser, which does not bear the sanitizer in its processes',
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

/** Test files that load the addon: by what they import, or in processes. */
async function testsWithAddon() {
  const all = readdirSync(join(root, 'test'), { recursive: true, encoding: 'utf8' })
    .filter((file) => file.endsWith('.test.ts'))
    .map((file) => `test/${file.replaceAll('\\', '/')}`);
  const { metafile } = await build({
    ...{ entryPoints: all, absWorkingDir: root, outdir: out, bundle: true, write: false, metafile: true },
    ...{ platform: 'node', format: 'esm', packages: 'external', loader: { '.node': 'empty' }, logLevel: 'error' },
  });
  const loading = Object.values(metafile.outputs).flatMap(({ entryPoint, inputs }) =>
    entryPoint && 'lib/addon/loader.ts' in inputs ? [entryPoint] : [],
  );
  const files = [...loading, ...IN_PROCESSES].filter(
    (file) => filters.length === 0 || filters.some((filter) => file.includes(filter)),
  );
  for (const [file, reason] of Object.entries(LEFT_OUT))
    if (files.includes(file)) console.log(`${file}: left out, ${reason}`);
  return files.filter((file) => !(file in LEFT_OUT)).sort();
}

/** The fuzz target with a main function of its own; `kernels` are objects of the instruction sets. */
async function replay(kind, flags, kernels) {
  const small = [...flags, '-DDPM_SMALL_SIZES'];
  const files = [...hostFiles, 'test/fuzz/step.cpp', 'test/fuzz/replay.cpp'];
  const objects = await compile('g++', small, files, join(out, kind, 'fuzz'));
  const target = join(out, kind, 'fuzz', 'replay');
  const links = flags.filter((flag) => flag.startsWith('-fsanitize'));
  const wrap = ['-Wl,--wrap=malloc', '-Wl,--wrap=pthread_create'];
  await run('g++', [...links, ...wrap, '-pthread', ...kernels, ...objects, '-o', target, '-ldl']);
  return target;
}
const kernelFiles = sources(['cpu']).filter((file) => file.includes('isa_'));
/** What calls the kernels; the fuzz target picks them itself, in place of dispatch.cpp. */
const hostFiles = sources(['cpu']).filter((file) => !file.includes('isa_') && !file.endsWith('dispatch.cpp'));

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

/** Holds the sanitizers to their word: each crime of test/sanitize/canary.cpp has to end the process with its report. */
async function canary(kind, flags, crimes, { command, args = [], env }) {
  const [object] = await compile('g++', flags, ['test/sanitize/canary.cpp'], join(out, kind));
  const addon = join(out, kind, 'canary.node');
  const links = flags.filter((flag) => flag.startsWith('-fsanitize'));
  await run('g++', ['-shared', ...links, '-pthread', object, '-o', addon]);
  for (const [crime, report] of Object.entries({ none: null, ...crimes })) {
    const { status, signal, stderr } = spawnSync(command, [...args, '-e', `require(${JSON.stringify(addon)})`], {
      env: { ...env, CANARY: crime },
      encoding: 'utf8',
    });
    const ended = status !== 0 || signal !== null;
    if (report === null ? !ended : ended && report.test(stderr)) continue;
    console.error(`${crime}: expected ${report ?? 'a quiet end'} but received ${signal ?? status}\n${stderr}`);
    process.exit(1);
  }
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
  const crimes = { overflow: /AddressSanitizer: heap-buffer-overflow/, undefined: /runtime error: shift exponent 40/ };
  await canary('address', flags, crimes, { command: process.execPath, env });
  await run(process.execPath, ['--import', 'tsx', 'test/run.ts', ...(await testsWithAddon())], { cwd: shadow, env });
  if (filters.length > 0 && !quick) return;
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
  if (quick) return;
  const objects = await compile('g++', flags, sources(FOLDERS), join(out, 'thread'));
  const { shadow, addon } = checkout('thread');
  await run('g++', ['-shared', '-fsanitize=thread', '-pthread', ...objects, '-o', addon, '-ldl']);
  // Node is not compiled for the sanitizer, which takes what Node's threads agree on with atomics for races: it is to look
  // at memory that the addon reads and writes, and not at what Node has the C library do. That leaves nothing to suppress.
  const options = 'ignore_noninstrumented_modules=1:halt_on_error=1:exitcode=66:report_signal_unsafe=0';
  const inNode = { ...process.env, LD_PRELOAD: library('libtsan.so'), TSAN_OPTIONS: options };
  const node = [...still, process.execPath];
  await canary(
    'thread',
    flags,
    { race: /ThreadSanitizer: data race/ },
    { command: 'setarch', args: node, env: inNode },
  );
  await run('setarch', [...node, 'test/sanitize/workers.mjs', addon], { cwd: shadow, env: inNode });
  await run('setarch', [...node, 'test/sanitize/networks.mjs', addon], { cwd: shadow, env: inNode });
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
  const started = Date.now();
  console.log(`== ${kind}`);
  await { address, thread, valgrind }[kind]();
  console.log(`== ${kind} took ${Math.round((Date.now() - started) / 1000)} s`);
}
console.log('sanitizers: nothing found');
