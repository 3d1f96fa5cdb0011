// Builds the CUDA library beside the addon (in a checkout build/Release/dpm-solver-cuda.so), or says that there is no
// nvcc. The package carries this file, so it needs nothing but what the package has.
// Usage: node scripts/build-cuda.mjs [--arch native | 90[,100...]] [--out FILE or FOLDER] [--check] [--if-possible]
//   --arch         architectures; the default is all of them, and PTX for the newest and for 9.0, which drivers older than
//                  this compiler's newest card can still translate; native: those of this machine's cards, or all where
//                  it has none
//   --out          where to, if not beside the addon: a file, or a folder (one that exists, or with a slash at its end)
//   --check        in a checkout: fails on what the kernels may not have: warnings, spills, too many registers, fused multiply-adds, and
//                  in the fast kernels for 9.0 narrow accesses, loads behind atomics, slow instructions in their loops
//   --if-possible  no nvcc is not an error
import { spawn, spawnSync } from 'node:child_process';
import { accessSync, constants, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs';
import { createRequire } from 'node:module';
import { availableParallelism, tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';

const root = fileURLToPath(new URL('..', import.meta.url));
const windows = process.platform === 'win32';
const ALL = ['75', '80', '86', '89', '90', '100', '120'];
/** Registers a thread, per kernel: those that a multiprocessor could not hold a block of would not start. */
const REGISTERS = [
  [/(Step|Threshold\w+)<[^>]*, false>/, 128],
  [/(Step|Threshold\w+)<[^>]*, true>/, 255],
];
const MOST_BYTES = 3_000_000;
/** The architecture whose code is read, and for which there is PTX beside that for the newest. */
const READ = '90';

const { values: options } = parseArgs({
  options: {
    arch: { type: 'string' },
    out: { type: 'string', default: folderOfAddon() },
    check: { type: 'boolean', default: false },
    'if-possible': { type: 'boolean', default: false },
  },
});
const name = `dpm-solver-cuda.${windows ? 'dll' : 'so'}`;
const isFolder = /[/\\]$/.test(options.out) || statSync(options.out, { throwIfNoEntry: false })?.isDirectory();
const target = isFolder ? join(options.out, name) : options.out;
try {
  mkdirSync(dirname(target), { recursive: true });
  accessSync(dirname(target), constants.W_OK);
} catch (error) {
  console.error(`build-cuda: ${dirname(target)} cannot be written to (${error.code}): --out FOLDER/ takes another one`);
  process.exit(1);
}
const nvcc = findNvcc();
if (!nvcc) {
  console.log('build-cuda: no nvcc found (in CUDA_HOME, CUDA_PATH, PATH or /usr/local/cuda): no CUDA library is built');
  process.exit(options['if-possible'] ? 0 : 1);
}
// Images for machines with cards are built on machines without.
const native = options.arch === 'native' ? cards() : [];
const archs = native.length > 0 ? native : options.arch && options.arch !== 'native' ? options.arch.split(',') : ALL;
const started = Date.now();
const folder = mkdtempSync(join(tmpdir(), 'dpm-solver-cuda-'));
process.on('exit', () => rmSync(folder, { recursive: true, force: true }));

// -fmad=false: nothing is contracted, so that the results are the CPU's. Divisions and square roots are IEEE's by
// default. -Werror reaches nvcc's own warnings, the compiler's by -Xcompiler.
const common = [
  '-std=c++17',
  '-O3',
  '-fmad=false',
  `-I${join(root, 'native')}`,
  windows ? '-Xcompiler=/W3' : '-Xcompiler=-fPIC,-fvisibility=hidden,-Wall,-Wextra,-fno-exceptions,-fno-rtti',
  ...(options.check ? ['-Werror', 'all-warnings'] : []),
];
const gencode = archs.flatMap((arch) => ['-gencode', `arch=compute_${arch},code=sm_${arch}`]);
const newest = archs.at(-1);
for (const arch of new Set([newest, ...archs.filter((arch) => arch === READ)])) {
  gencode.push('-gencode', `arch=compute_${arch},code=compute_${arch}`);
}
const sources = ['kernels', 'library'];
const jobs = Math.max(1, Math.min(archs.length, availableParallelism()));
let log = '';
for (const source of sources) {
  log += await run(nvcc, [
    ...common,
    ...gencode,
    '-Xptxas=-v',
    ...compression(),
    `--threads=${jobs}`,
    '-c',
    join(root, 'native/cuda', `${source}.cu`),
    '-o',
    join(folder, `${source}.o`),
  ]);
}
await run(nvcc, [
  '-shared',
  '-cudart=static',
  ...sources.map((source) => join(folder, `${source}.o`)),
  ...(process.platform === 'linux' ? ['-Xlinker=--gc-sections,-s,--exclude-libs=ALL'] : []),
  '-o',
  target,
]);
const bytes = statSync(target).size;
const seconds = ((Date.now() - started) / 1000).toFixed(1);
console.log(`build-cuda: ${target}, ${bytes} bytes, sm_${archs.join(', sm_')}, ${seconds} s`);
if (options.check) await check();

async function check() {
  const problems = [];
  const kernels = readPtxas(log);
  if (kernels.length === 0) problems.push('no kernel in the output of ptxas');
  const widest = {};
  for (const { name, arch, registers, spills, stack } of kernels) {
    if (spills > 0 || stack > 0) problems.push(`${name} for ${arch}: ${spills} bytes of spills, ${stack} of stack`);
    const limit = REGISTERS.find(([pattern]) => pattern.test(name))?.[1] ?? 255;
    if (registers > limit) problems.push(`${name} for ${arch}: ${registers} registers, the limit is ${limit}`);
    widest[name] = Math.max(widest[name] ?? 0, registers);
  }
  for (const [name, registers] of Object.entries(widest)) console.log(`  ${name}: at most ${registers} registers`);
  for (const source of sources) {
    const ptx = await toPtx(source, newest);
    // A fused multiply-add is asked for by name (MultiplyAdd of layer.h), or it is the compiler's.
    const fused = ptx.match(/^\s*(@\S+\s+)?(fma|mad)\.(\w+\.)*f(32|64)\b(?!.*\/\/ wanted).*$/gm) ?? [];
    const divisions = ptx.match(/\b(div|sqrt|rcp)\.(approx|full)\S*/g) ?? [];
    if (fused.length > 0)
      problems.push(`${source}: ${fused.length} fused multiply-adds, the first is ${fused[0].trim()}`);
    const split = ptx.match(/\bst\.global\.v2\.f32\b/g) ?? [];
    if (split.length > 0) problems.push(`${source}: ${split.length} stores of 16 bytes that the compiler split`);
    if (divisions.length > 0) problems.push(`${source}: ${divisions[0]}, which is not rounded`);
    if (source === 'kernels' && archs.includes(READ)) {
      const { inspect } = await import('./cuda-code.mjs');
      const sass = machineCode();
      const found = inspect(sass ?? (newest === READ ? ptx : await toPtx(source, READ)), sass ? 'sass' : 'ptx');
      console.log(`build-cuda: the ${sass ? 'machine code' : 'PTX (there is no cuobjdump)'} for ${READ}:`);
      for (const line of found.lines) console.log(`  ${line}`);
      problems.push(...found.problems);
    }
  }
  if (bytes > MOST_BYTES) problems.push(`${bytes} bytes, the limit is ${MOST_BYTES}`);
  for (const problem of problems) console.error(`build-cuda: ${problem}`);
  if (problems.length > 0) process.exit(1);
  console.log(`build-cuda: ${kernels.length} kernels checked: no spills, no fused multiply-add`);
}

async function toPtx(source, arch) {
  const to = join(folder, 'kernels.ptx');
  await run(nvcc, [...common, `-arch=compute_${arch}`, '-ptx', join(root, 'native/cuda', `${source}.cu`), '-o', to]);
  return readFileSync(to, 'utf8');
}

/** The library disassembled, for the architecture that is read; null where there is nothing to do so with. */
function machineCode() {
  const exe = windows ? 'cuobjdump.exe' : 'cuobjdump';
  for (const tool of [join(dirname(nvcc), exe), exe]) {
    const args = ['-arch', `sm_${READ}`, '-sass', target];
    const { status, stdout } = spawnSync(tool, args, { encoding: 'utf8', maxBuffer: 2 ** 30 });
    if (status === 0) return stdout;
  }
  return null;
}

/** What ptxas -v says, a kernel and an architecture at a time. */
function readPtxas(text) {
  const found = [];
  let entry;
  const names = demangle([...text.matchAll(/Compiling entry function '(\S+)'/g)].map((match) => match[1]));
  for (const line of text.split('\n')) {
    let match = /Compiling entry function '(\S+)' for '(\w+)'/.exec(line);
    if (match) {
      entry = { name: names.get(match[1]), arch: match[2], registers: 0, spills: 0, stack: 0 };
      found.push(entry);
      continue;
    }
    if (!entry) continue;
    match = /(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads/.exec(line);
    if (match) {
      entry.stack = Number(match[1]);
      entry.spills = Number(match[2]) + Number(match[3]);
    }
    match = /Used (\d+) registers/.exec(line);
    if (match) entry.registers = Number(match[1]);
  }
  return found;
}

function demangle(names) {
  const { stdout, status } = spawnSync('c++filt', { input: names.join('\n'), encoding: 'utf8' });
  const plain = status === 0 ? stdout.split('\n') : names;
  const short = (name) =>
    name
      .replace(/^void /, '')
      .replace(/dpm::cuda::(\(anonymous namespace\)::)?/g, '')
      .replace(/\(NetType\)/g, '')
      .replace(/\(StepArgs.*$/, '');
  return new Map(names.map((name, i) => [name, short(plain[i])]));
}

/** Since 12.8 nvcc has a denser compression; older drivers than its own cannot read it, but they do not run it anyway. */
function compression() {
  const { stdout } = spawnSync(nvcc, ['--version'], { encoding: 'utf8' });
  const [, major, minor] = /release (\d+)\.(\d+)/.exec(stdout) ?? [];
  return major * 100 + Number(minor) >= 1208 ? ['--compress-mode=size'] : ['-Xfatbin=-compress-all'];
}

/** Where the addon is that will look for the library: an installed package has it among its prebuilds. */
function folderOfAddon() {
  const build = join(root, 'build/Release/');
  if (existsSync(join(root, 'binding.gyp'))) return build;
  try {
    return join(dirname(createRequire(import.meta.url)('node-gyp-build').path(root)), '/');
  } catch {
    return build;
  }
}

/** Architectures of this machine's cards, the newest last. */
function cards() {
  const query = spawnSync('nvidia-smi', ['--query-gpu=compute_cap', '--format=csv,noheader'], { encoding: 'utf8' });
  if (query.status !== 0) return [];
  const all = query.stdout.split('\n').map((line) => line.trim().replace('.', ''));
  return [...new Set(all)].filter((arch) => /^\d+$/.test(arch)).sort((a, b) => a - b);
}

function findNvcc() {
  const exe = process.platform === 'win32' ? 'nvcc.exe' : 'nvcc';
  for (const home of [process.env.CUDA_HOME, process.env.CUDA_PATH, '/usr/local/cuda']) {
    if (home && existsSync(join(home, 'bin', exe))) return join(home, 'bin', exe);
  }
  return spawnSync(exe, ['--version']).status === 0 ? exe : null;
}

function run(command, args) {
  return new Promise((resolve) => {
    let text = '';
    const child = spawn(command, args, { cwd: root, stdio: ['ignore', 'pipe', 'pipe'] });
    child.stdout.on('data', (data) => {
      text += data;
    });
    child.stderr.on('data', (data) => {
      text += data;
    });
    child.on('close', (code) => {
      if (code !== 0) {
        console.error(
          text
            .split('\n')
            .filter((line) => !line.startsWith('ptxas info'))
            .join('\n'),
        );
        console.error(`build-cuda: ${command} ended with ${code}`);
        process.exit(1);
      }
      resolve(text);
    });
  });
}
