// Builds the addon for WebAssembly (prebuilds/wasm/dpm-solver.wasm): the sources of CMakeLists.txt without the threads
// and without CUDA. Needs clang 14 or newer with lld, and the C and C++ libraries of WASI:
//   apt-get install clang lld wasi-libc libc++-14-dev-wasm32 libclang-rt-14-dev-wasm32
// or the WASI SDK, whose folder WASI_SDK_PATH names.
// Usage: node scripts/build-wasm.mjs [--out FILE] [--if-possible]
//   --if-possible  no such compiler is not an error
import { spawn, spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs';
import { createRequire } from 'node:module';
import { availableParallelism, tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';

const root = fileURLToPath(new URL('..', import.meta.url));
const require = createRequire(import.meta.url);
/** Small enough for browsers to compile at once, and for a page to carry. */
const MOST_BYTES = 110_000;

const { values: options } = parseArgs({
  options: {
    out: { type: 'string', default: join(root, 'prebuilds/wasm/dpm-solver.wasm') },
    'if-possible': { type: 'boolean', default: false },
  },
});
const started = Date.now();
const folder = mkdtempSync(join(tmpdir(), 'dpm-solver-wasm-'));
process.on('exit', () => rmSync(folder, { recursive: true, force: true }));
const compiler = findCompiler();
if (!compiler) {
  console.log(
    'build-wasm: no clang++ that compiles for wasm32-wasi found (in WASI_SDK_PATH or PATH): nothing is built',
  );
  process.exit(options['if-possible'] ? 0 : 1);
}

const flags = [
  '--target=wasm32-wasi',
  '-std=c++17',
  '-msimd128',
  '-mbulk-memory',
  '-mnontrapping-fptoint',
  // As everywhere: a multiplication and an addition round twice.
  '-ffp-contract=off',
  '-fno-exceptions',
  '-fno-rtti',
  '-fno-threadsafe-statics',
  '-fvisibility=hidden',
  '-ffunction-sections',
  '-fdata-sections',
  '-Wall',
  '-Wextra',
  '-Wno-missing-field-initializers',
  ...(process.env.DPM_SOLVER_WERROR ? ['-Werror'] : []),
  '-DNAPI_VERSION=9',
  '-DNODE_ADDON_API_DISABLE_DEPRECATED',
  `-I${join(root, 'native')}`,
  `-I${dirname(require.resolve('node-addon-api/package.json'))}`,
  `-I${join(dirname(require.resolve('node-api-headers/package.json')), 'include')}`,
];
/**
 * What runs over tensors is compiled to vectors, all else for size alone. Small code has no remainders of loops: clang
 * masks every lane of them instead, so that the kernels have their vectors written out (native/cpu/kernels/simd128).
 */
const FLAGS = [
  [/^native\/cpu\/isa_/, ['-Os', '-fno-vectorize']],
  [/^native\/noise\//, ['-Os']],
  [/^/, ['-Oz']],
];
const flagsOf = (source) => FLAGS.find(([files]) => files.test(source))[1];
const sources = [
  ...cpp('native/addon').filter((file) => !/^native\/addon\/(?:cuda|ort)|\/limit\.cpp$/.test(file)),
  ...cpp('native/coefficients'),
  ...cpp('native/noise'),
  ...cpp('native/cpu').filter((file) => !/(pool|isa_\w+)\.cpp$/.test(file)),
  'native/cpu/isa_simd128.cpp',
  ...cpp('native/wasm'),
];
const objects = sources.map((source) => join(folder, `${source.replaceAll('/', '_')}.o`));
const waiting = sources.map((source, i) => ['-c', ...flagsOf(source), source, '-o', objects[i]]);
await Promise.all(
  Array.from({ length: Math.min(8, availableParallelism()) }, async () => {
    for (let task = waiting.shift(); task; task = waiting.shift()) await run([...flags, ...task]);
  }),
);
mkdirSync(dirname(options.out), { recursive: true });
await run([
  '--target=wasm32-wasi',
  '-mexec-model=reactor',
  ...objects,
  // Functions are entered through the table, and Node-API comes from lib/addon/wasm/napi.ts.
  '-Wl,--export-table,--export=napi_register_wasm_v1',
  '-Wl,--allow-undefined,--strip-all,--gc-sections,-O2,--compress-relocations',
  // The local buffers of a step in float64 take 56 KiB.
  '-Wl,-z,stack-size=262144',
  '-o',
  options.out,
]);
const bytes = statSync(options.out).size;
const imports = WebAssembly.Module.imports(new WebAssembly.Module(readFileSync(options.out)));
const foreign = imports.filter(({ module }) => module !== 'napi' && module !== 'dpm');
const problems = foreign.map(({ module, name }) => `${module}.${name} is not defined`);
// A module that asks for a function that is not there cannot be started at all.
const shim = readFileSync(join(root, 'lib/addon/wasm/napi.ts'), 'utf8');
for (const { module, name } of imports) {
  if (module === 'napi' && !shim.includes(`  ${name}: `)) problems.push(`lib/addon/wasm/napi.ts has no ${name}`);
}
if (bytes > MOST_BYTES) problems.push(`${bytes} bytes, the limit is ${MOST_BYTES}`);
for (const problem of problems) console.error(`build-wasm: ${problem}`);
const seconds = ((Date.now() - started) / 1000).toFixed(1);
console.log(`build-wasm: ${options.out}, ${bytes} bytes, ${seconds} s`);
if (problems.length > 0) process.exit(1);

function cpp(folder) {
  return readdirSync(join(root, folder), { recursive: true, encoding: 'utf8' })
    .filter((file) => file.endsWith('.cpp'))
    .map((file) => `${folder}/${file.replaceAll('\\', '/')}`)
    .sort();
}

/** The first compiler that makes a WebAssembly module which uses both libraries. */
function findCompiler() {
  const names = ['clang++', ...Array.from({ length: 10 }, (_, i) => `clang++-${23 - i}`)];
  if (process.env.WASI_SDK_PATH) names.unshift(join(process.env.WASI_SDK_PATH, 'bin', 'clang++'));
  const input = '#include <string>\nint main() { return static_cast<int>(std::to_string(1).size()); }\n';
  const args = ['--target=wasm32-wasi', '-fno-exceptions', '-x', 'c++', '-', '-o', join(folder, 'probe.wasm')];
  return names.find((name) => spawnSync(name, args, { input }).status === 0);
}

function run(args) {
  return new Promise((resolve) => {
    const child = spawn(compiler, args, { cwd: root, stdio: ['ignore', 'inherit', 'inherit'] });
    child.on('close', (code) => {
      if (code !== 0) {
        console.error(`build-wasm: ${compiler} ${args.join(' ')} ended with ${code}`);
        process.exit(1);
      }
      resolve();
    });
  });
}
