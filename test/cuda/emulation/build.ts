// Compiles the emulation: the kernels' sources for the host, the emulator, and the CPU path to compare with.
import { spawn, spawnSync } from 'node:child_process';
import { mkdirSync } from 'node:fs';
import { basename, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { sources as nativeSources } from '../../../scripts/native-objects.mjs';

const root = fileURLToPath(new URL('../../..', import.meta.url));
const here = fileURLToPath(new URL('.', import.meta.url));

/** A C++ compiler for the host, or null: the emulation needs ucontext, so Linux. */
export function compiler(): string | null {
  if (process.platform !== 'linux' || (process.arch !== 'x64' && process.arch !== 'arm64')) return null;
  const names = [process.env.CXX, 'g++', 'clang++'].filter((name): name is string => !!name);
  return names.find((name) => spawnSync(name, ['--version']).status === 0) ?? null;
}

/**
 * Builds into `out` and returns the path of the program.
 * @param flags optimisation and sanitizers
 * @param native the folder of native sources: another one where they have been changed on purpose
 * @param objects where the objects that do not depend on the kernels are kept, if they are to be reused
 */
export async function buildEmulation(
  out: string,
  flags: string[],
  native = `${root}/native`,
  objects: Record<string, string> = {},
): Promise<string> {
  mkdirSync(out, { recursive: true });
  const cxx = compiler();
  if (!cxx) throw new Error('Expected a C++ compiler and Linux for the emulation but found none');
  const isa = process.arch === 'x64' ? 'sse2' : 'neon';
  // One instruction set, which cases.cpp picks in place of dispatch.cpp.
  const cpu = nativeSources(['cpu']).filter((file) => file.includes(`isa_${isa}`) || !/isa_|dispatch/.test(file));
  const common = ['-std=c++17', '-ffp-contract=off', '-Wall', '-Wextra', '-Werror', ...flags];
  const sources: Record<string, string> = {
    cases: `${here}/cases.cpp`,
    emulator: `${here}/emulator.cpp`,
    ...Object.fromEntries(cpu.map((file) => [basename(file, '.cpp'), join(root, file)])),
  };
  const list = await Promise.all(
    Object.entries(sources).map(async ([name, source]) => {
      if (objects[name]) return objects[name]!;
      const object = `${out}/${name}.o`;
      // The kernels come with their layer: emulated_layer.h, which layer.h includes by name.
      const includes = ['-DDPM_CUDA_EMULATION', `-I${native}`, `-I${here}`];
      await run(cxx, [...common, ...includes, '-c', source, '-o', object]);
      return object;
    }),
  );
  const program = `${out}/cases`;
  await run(cxx, [...common, ...list, '-o', program, '-lpthread']);
  return program;
}

/** Builds the library of fake_library.cpp to `path`: a card for lib/cuda where there is none. `sanitize`: flags for it. */
export async function buildFakeLibrary(path: string, sanitize: string[] = []): Promise<void> {
  const cxx = compiler();
  if (!cxx) throw new Error('Expected a C++ compiler and Linux for the emulation but found none');
  const flags = ['-std=c++17', '-O1', '-ffp-contract=off', '-fPIC', '-Wall', '-Wextra', '-Werror', ...sanitize];
  const includes = ['-DDPM_CUDA_EMULATION', '-fvisibility=hidden', `-I${root}/native`, `-I${here}`];
  const objects = await Promise.all(
    ['fake_library', 'emulator'].map(async (name) => {
      await run(cxx, [...flags, ...includes, '-c', `${here}/${name}.cpp`, '-o', `${path}.${name}.o`]);
      return `${path}.${name}.o`;
    }),
  );
  await run(cxx, ['-shared', ...sanitize, ...objects, '-o', path]);
}

function run(command: string, args: string[]): Promise<void> {
  return new Promise((resolve, reject) => {
    let text = '';
    const child = spawn(command, args, { stdio: ['ignore', 'pipe', 'pipe'] });
    child.stdout.on('data', (data) => (text += data));
    child.stderr.on('data', (data) => (text += data));
    child.on('error', reject);
    child.on('close', (code) =>
      code === 0 ? resolve() : reject(new Error(`${command} failed:\n${text.slice(-4000)}`)),
    );
  });
}
