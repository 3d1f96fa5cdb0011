// Finds the addon and loads it, and says what to do where that fails.
import { existsSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

/**
 * The package's folder, seen from lib/ as well as from dist/, or null in a bundle: two folders above that is somebody
 * else's, whose own addons are not to be loaded and where nothing of ours can be built.
 * @internal
 */
export function packageRoot(): string | null {
  try {
    // Not new URL('../..', import.meta.url), which bundlers take for a file to bring along. In a bundle of CommonJS
    // modules there is no import.meta.url, and in others it is no file's.
    const root = join(dirname(fileURLToPath(import.meta.url)), '..', '..');
    return JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')).name === 'dpm-solver' ? root : null;
  } catch {
    return null;
  }
}

/**
 * Whether the addon can be built in this folder: what traces files for a deployment leaves the sources behind.
 * @internal
 */
export function hasSources(root: string | null): root is string {
  return root !== null && existsSync(join(root, 'native'));
}

/**
 * In a bundle import.meta.url may be missing, or no file's; full paths are found from anywhere, and packages from where the
 * process runs.
 * @internal
 */
export function requireHere(): NodeJS.Require {
  const here = import.meta.url;
  return createRequire(here?.startsWith('file:') ? here : join(process.cwd(), 'package.json'));
}

/**
 * The addon: build/Release/*.node, else prebuilds/<platform>-<arch>/, below `root`, or below DPM_SOLVER_PREBUILD where
 * that is set. Throws an Error that says what to do on this machine where there is none, or where it cannot be loaded.
 * @internal
 */
export function load<Addon>(root: string | null = packageRoot()): Addon {
  const path = addonPath(root);
  try {
    return requireHere()(path) as Addon;
  } catch (cause) {
    const reason = String((cause as Error).message ?? cause).split('\n', 1)[0];
    throw failure(root, `${path} could not be loaded on ${machine()}: ${reason}`, cause);
  }
}

/**
 * The file that `load` takes.
 * @internal
 */
export function addonPath(root: string | null = packageRoot()): string {
  const folder = process.env.DPM_SOLVER_PREBUILD || root;
  try {
    if (root) return resolver().resolve(root);
    const found = folder && named(folder).find((path) => existsSync(path));
    if (found) return found;
  } catch (cause) {
    throw failure(root, `there is none for ${machine()} in ${folder}`, cause);
  }
  throw failure(root, `there is none for ${machine()}${folder ? ` in ${folder}` : ', as this is a bundle without it'}`);
}

/** Where an addon may be in a folder: a bundle has no node-gyp-build that looks for it. */
function named(folder: string): string[] {
  const { platform, arch, libc } = target();
  const prebuilt = join('prebuilds', `${platform}-${arch}`, `dpm-solver${libc && `.${libc}`}.node`);
  return [join('build', 'Release', 'dpm-solver.node'), prebuilt].map((path) => join(folder, path));
}

interface Resolver {
  resolve(root: string): string;
}

/** node-gyp-build, told which C library there is: by itself it takes for musl what has /etc/alpine-release only. */
function resolver(): Resolver {
  const { LIBC } = process.env;
  if (!LIBC && process.platform === 'linux') process.env.LIBC = libc();
  try {
    return requireHere()('node-gyp-build') as Resolver;
  } finally {
    if (LIBC === undefined) delete process.env.LIBC;
    else process.env.LIBC = LIBC;
  }
}

/** The C library that this process runs on, which the system need not have as its own: Bun comes for both. */
function libc(): 'musl' | 'glibc' {
  try {
    const loaded = libcOf(readFileSync('/proc/self/maps', 'utf8'));
    if (loaded) return loaded;
  } catch {
    // Deno gives it to those only who are allowed everything.
  }
  return existsSync('/etc/alpine-release') ? 'musl' : 'glibc';
}

/**
 * The C library among the files that a process has loaded: musl's is its loader as well, ld-musl-x86_64.so.1 on Alpine,
 * and libc.so in a folder of its own on Debian.
 * @internal
 */
export function libcOf(maps: string): 'musl' | 'glibc' | undefined {
  if (/\/libc(?:\.so\.6|-2\.\d+\.so)$/m.test(maps)) return 'glibc';
  return /\/(?:ld-musl-[^/]+|libc\.musl-[^/]+|[^/]*musl\/(?:lib\/)?libc\.so)$/m.test(maps) ? 'musl' : undefined;
}

/** What node-gyp-build looks for. */
function target(): { platform: string; arch: string; libc: string } {
  const platform = process.env.npm_config_platform || process.platform;
  const arch = process.env.npm_config_arch || process.arch;
  return { platform, arch, libc: platform === 'linux' ? process.env.LIBC || libc() : '' };
}

function machine(): string {
  const { platform, arch, libc } = target();
  return `${platform}-${arch}${libc && ` (${libc})`} with Node ${process.versions.node}`;
}

/**
 * How an addon gets into a bundle, or a bundle around it: who reads this has no folder of the package.
 * @internal
 */
export function bundleAdvice(): string {
  const { platform, arch, libc } = target();
  const name = `${platform}${libc === 'musl' ? libc : ''}-${arch}`;
  return `import 'dpm-solver/${name}' in the program, or leave dpm-solver out of the bundle, as an external package`;
}

/** Deno's reason for an addon that it may not load, whichever there is. */
const DENIED = /--allow-ffi/;

/**
 * How a process that has none gets the addon, in one line.
 *
 * @param reason why it has none
 * @internal
 */
export function addonAdvice(root: string | null, reason: string): string {
  if (DENIED.test(reason)) return 'run it with --allow-ffi';
  return hasSources(root) ? `cd ${JSON.stringify(root)} && npx cmake-js compile` : bundleAdvice();
}

function failure(root: string | null, what: string, cause?: unknown): Error {
  const lines = [`The native addon of dpm-solver: ${what}.`, 'What to do:'];
  if (DENIED.test(what)) {
    lines.push("- Run it with --allow-ffi, or import 'dpm-solver/wasm', which needs no addon.");
    return new Error(lines.join('\n'), { cause });
  }
  if (hasSources(root)) {
    // A checkout has the tools among its own dependencies; in an installed package npx fetches cmake-js.
    const checkout = existsSync(join(root, 'binding.gyp'));
    lines.push(
      `- Build it, which takes about a minute: cd ${JSON.stringify(root)} && ${checkout ? 'npm ci' : 'npx cmake-js compile'}`,
      `  This needs a C++17 compiler and CMake: ${tools()}.`,
    );
    if (!checkout) {
      lines.push('- If node_modules came from another machine or container, install it again on this one: npm ci');
    }
  } else {
    lines.push(`- In a bundle: ${bundleAdvice()}.`, "- Or import 'dpm-solver/wasm', which needs no addon.");
  }
  if (process.env.DPM_SOLVER_PREBUILD) {
    lines.push('- DPM_SOLVER_PREBUILD is set: unset it, or let it name a folder that has build/Release or prebuilds.');
  } else if (hasSources(root)) {
    lines.push(
      '- If you have it built elsewhere, let DPM_SOLVER_PREBUILD name the folder above its build or prebuilds.',
    );
  }
  return new Error(lines.join('\n'), { cause });
}

function tools(): string {
  if (process.platform === 'win32') return 'Visual Studio Build Tools with "Desktop development with C++"';
  if (process.platform === 'darwin') return 'xcode-select --install && brew install cmake';
  if (existsSync('/etc/alpine-release')) return 'apk add g++ make cmake';
  if (existsSync('/etc/debian_version')) return 'apt-get install g++ make cmake';
  if (existsSync('/etc/redhat-release')) return 'dnf install gcc-c++ make cmake';
  return 'g++ or clang++, make and cmake from your distribution';
}
