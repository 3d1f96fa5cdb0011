// onnxruntime's own library, as the onnxruntime-node that is installed brings and loads it.
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { requireHere } from '../addon/loader.js';
import { firstLine } from '../base/text.js';
import { type Handle, native } from './addon.js';
import { loadRuntime } from './runtime.js';

/** The onnxruntime that networks run in. */
export interface OrtLibrary {
  /** Its file. */
  readonly path: string;
  /** Such as `'1.30.0'`. */
  readonly version: string;
  /** onnxruntime's names of the execution providers that were built into it, whose own libraries may yet be missing. */
  readonly providers: readonly string[];
}

/** @internal */
export interface OpenLibrary extends OrtLibrary {
  readonly handle: Handle;
}

/** onnxruntime-node's names of onnxruntime's levels. */
const LEVELS: readonly string[] = ['verbose', 'info', 'warning', 'error', 'fatal'];

let library: Promise<OpenLibrary> | undefined;

/**
 * The library, looked for once: onnxruntime-node is loaded, and its library's C API is asked for in this process.
 *
 * @throws Error that says what is missing: onnxruntime-node, a version from 1.20 on, or the native addon
 * @internal
 */
export function loadLibrary(): Promise<OpenLibrary> {
  library ??= find().catch((error) => {
    library = undefined;
    throw error;
  });
  return library;
}

/**
 * The onnxruntime that {@link OrtNetwork} runs in.
 *
 * @throws Error that says what is missing where there is none
 */
export async function ortLibrary(): Promise<OrtLibrary> {
  const { path, version, providers } = await loadLibrary();
  return { path, version, providers };
}

/** A device of this machine, and a provider that runs on it. @internal */
export interface Hardware {
  readonly provider: string;
  readonly kind: 'cpu' | 'gpu' | 'npu';
  readonly vendor: string;
  /** As on the PCI bus. */
  readonly vendorId: number;
  readonly deviceId: number;
  /** What the system says of it besides; Windows: `Description`. */
  readonly more: Readonly<Record<string, string>>;
}

/** What onnxruntime has found in this machine: nothing before 1.22. @internal */
export async function hardware(): Promise<Hardware[]> {
  const { handle } = await loadLibrary();
  return native.ortHardware(handle).map(([provider, kind, vendor, vendorId, deviceId, ...rest]) => {
    const more: Record<string, string> = {};
    for (let i = 0; i < rest.length; i += 2) more[rest[i]] = rest[i + 1];
    return { provider, kind: KINDS[kind], vendor, vendorId, deviceId, more };
  });
}

/** By onnxruntime's numbers. */
const KINDS = ['cpu', 'gpu', 'npu'] as const;

async function find(): Promise<OpenLibrary> {
  const { env } = await loadRuntime();
  if (!native.ortLibrary) {
    throw new Error('A network on a thread of its own needs the native addon, and WebAssembly is used instead of it');
  }
  // Whoever comes first says what is written to the terminal, and that is to be who uses onnxruntime-node.
  const level = LEVELS.indexOf(env.logLevel ?? '');
  const { library: handle, ...about } = native.ortLibrary(libraryPaths(packageOf()), level < 0 ? undefined : level);
  // At a process's end no run may be under way: onnxruntime would be at work while the process takes itself apart.
  process.once('exit', () => native.ortShutdown(handle));
  return { handle, ...about };
}

/** The folder of the onnxruntime-node that `import` finds from here. */
function packageOf(): string {
  // Not createRequire() itself, which webpack follows to a package that need not be there.
  const main = requireHere().resolve('onnxruntime-node');
  for (let folder = dirname(main); ; folder = dirname(folder)) {
    const file = join(folder, 'package.json');
    if (existsSync(file) && JSON.parse(readFileSync(file, 'utf8')).name === 'onnxruntime-node') return folder;
    if (folder === dirname(folder)) throw new Error(`onnxruntime-node's own folder was not found above ${main}`);
  }
}

/**
 * Where the package has its library for a platform: all files that may be it, the likeliest first. Which of them has
 * been loaded only the process can tell: macOS has two copies of one, and only one that the addon names.
 *
 * @internal
 */
export function libraryPaths(
  folder: string,
  platform: string = process.platform,
  arch: string = process.arch,
): string[] {
  const known = /^(?:libonnxruntime\.so[.\d]*|libonnxruntime[.\d]*\.dylib|onnxruntime\.dll)$/;
  // Electron keeps what is loaded by the system beside the archive that all else is in.
  const roots = [folder.replace(/\bapp\.asar(?=[\\/]|$)/, 'app.asar.unpacked'), folder];
  const found: string[] = [];
  for (const root of new Set(roots)) {
    for (const version of entries(join(root, 'bin')).filter((name) => /^napi-v\d+$/.test(name))) {
      const place = join(root, 'bin', version, platform, arch);
      // The shortest name is the one that others refer to it by.
      const names = entries(place).filter((name) => known.test(name));
      for (const name of names.sort((a, b) => a.length - b.length)) found.push(join(place, name));
    }
  }
  if (found.length > 0) return found;
  throw new Error(`Expected onnxruntime's library for ${platform}-${arch} in ${join(folder, 'bin')} but found none`);
}

function entries(folder: string): string[] {
  try {
    return readdirSync(folder);
  } catch {
    return [];
  }
}

/** Why there is no library, in one sentence. @internal */
export async function libraryProblem(): Promise<string | undefined> {
  try {
    await loadLibrary();
    return undefined;
  } catch (error) {
    return firstLine((error as Error).message);
  }
}
