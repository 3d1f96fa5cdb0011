// Which build computes: the native addon, or the same sources compiled to WebAssembly where there is no addon. In
// dist/wasm.js, the bundle for browsers, lib/wasm/backend.ts stands in for this file.
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { getEnvironmentData, isMainThread, setEnvironmentData } from 'node:worker_threads';
import { addonAdvice, addonPath, load, packageRoot } from './loader.js';
import { bytes, hasBytes } from './wasm/bytes.js';
import { instantiate } from './wasm/napi.js';

/** What computes: the native addon, or its sources compiled to WebAssembly. */
export type Backend = 'native' | 'wasm';

/** @internal */
export interface Opened {
  readonly backend: Backend;
  /** The file, or null where a bundle brought it. */
  readonly path: string | null;
  /** What the addon exports. */
  readonly exports: object;
}

/**
 * Where a CUDA library comes from, which differs between a checkout, an installed package and a bundle.
 * @internal
 */
export function cudaAdvice(root: string | null = packageRoot()): string {
  if (process.platform === 'darwin') return 'CUDA has no version for macOS';
  if (root && existsSync(join(root, 'binding.gyp'))) return 'npm run build:cuda makes it, with nvcc';
  const script = join(root ?? '', 'scripts', 'build-cuda.mjs');
  if (root && existsSync(script)) return `node ${JSON.stringify(script)} makes it, with nvcc`;
  const folder = `prebuilds/${process.platform}-${process.arch}`;
  return `the package dpm-solver has it in ${folder}, or makes it by its scripts/build-cuda.mjs`;
}

let provided: object | undefined;
let opened: Opened | undefined;

/**
 * Takes this addon instead of looking for one: `dpm-solver/linux-x64` and its like, which bundlers can follow, do so.
 * @internal
 */
export function provide(addon: object): void {
  provided ??= addon;
}

/**
 * The build to compute with, the same at every call. DPM_SOLVER_BACKEND insists on one; otherwise it is the native
 * addon, or WebAssembly, with a warning, where that cannot be loaded.
 *
 * @throws Error that says what to do where neither can be had
 * @internal
 */
export function open(): Opened {
  opened ??= choose(packageRoot());
  return opened;
}

/** @internal */
export function choose(root: string | null): Opened {
  const wanted = process.env.DPM_SOLVER_BACKEND || undefined;
  if (wanted !== undefined && wanted !== 'native' && wanted !== 'wasm') {
    throw new TypeError(`Expected 'native' or 'wasm' for DPM_SOLVER_BACKEND but received '${wanted}'`);
  }
  const module = webAssembly(root);
  if (wanted === 'wasm') {
    if (!module) {
      const where = root ? `no ${wasmFile(root)}` : 'none in this bundle';
      throw new Error(`DPM_SOLVER_BACKEND is 'wasm' but there is ${where}: npm run build:wasm makes it in a checkout`);
    }
    return start(module);
  }
  if (provided) return { backend: 'native', path: null, exports: provided };
  try {
    return { backend: 'native', path: addonPath(root), exports: load(root) };
  } catch (error) {
    if (wanted === 'native' || !module) throw error;
    warn((error as Error).message, root);
    return start(module);
  }
}

interface Module {
  path: string | null;
  read(): Uint8Array;
}

function wasmFile(root: string): string {
  return join(root, 'prebuilds', 'wasm', 'dpm-solver.wasm');
}

/** The package's file or, in a bundle and where files have been traced, what comes along with this one. */
function webAssembly(root: string | null): Module | undefined {
  const path = root && wasmFile(root);
  if (path && existsSync(path)) return { path, read: () => readFileSync(path) };
  return hasBytes() ? { path: null, read: bytes } : undefined;
}

function start({ path, read }: Module): Opened {
  return { backend: 'wasm', path, exports: instantiate(read()) };
}

/** Once in a process: worker threads that start later are told that it has been said. */
function warn(reason: string, root: string | null): void {
  const key = 'dpm-solver: told that WebAssembly is used';
  if (getEnvironmentData(key)) return;
  if (isMainThread) setEnvironmentData(key, true);
  const [first] = reason.split('\n', 1);
  process.emitWarning(
    `${first} WebAssembly is used instead: the same results, more slowly. For the native addon: ${addonAdvice(root, first)}. ` +
      'DPM_SOLVER_BACKEND=wasm accepts WebAssembly and stops this warning.',
    { type: 'DpmSolverWarning', code: 'DPM_SOLVER_WASM' },
  );
}
