// Finds the addon and loads it, and says what to do where that fails.
import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

/**
 * The package's root, seen from lib/ as well as from dist/. In a bundle it is some other folder, or unknown, which is no
 * error until something is looked for there.
 * @internal
 */
export function packageRoot(): string {
  return import.meta.url ? fileURLToPath(new URL('../..', import.meta.url)) : process.cwd();
}

// In a bundle of CommonJS modules there is no import.meta.url.
const requireFrom = () => createRequire(import.meta.url || join(process.cwd(), 'package.json'));

/**
 * The addon: build/Release/*.node, else prebuilds/<platform>-<arch>/, below `root`, or below DPM_SOLVER_PREBUILD where
 * that is set. Throws an Error that says what to do on this machine where there is none, or where it cannot be loaded.
 * @internal
 */
export function load<Addon>(root: string = packageRoot()): Addon {
  const require = requireFrom();
  const path = addonPath(root);
  try {
    return require(path) as Addon;
  } catch (cause) {
    const reason = String((cause as Error).message ?? cause).split('\n', 1)[0];
    throw failure(root, `${path} could not be loaded on ${machine()}: ${reason}`, cause);
  }
}

/**
 * The file that `load` takes.
 * @internal
 */
export function addonPath(root: string = packageRoot()): string {
  try {
    // In a bundle that, too, may be missing.
    const resolver = requireFrom()('node-gyp-build') as { resolve(root: string): string };
    return resolver.resolve(root);
  } catch (cause) {
    throw failure(root, `there is none for ${machine()} in ${process.env.DPM_SOLVER_PREBUILD || root}`, cause);
  }
}

/** What node-gyp-build looks for. */
function machine(): string {
  const platform = process.env.npm_config_platform || process.platform;
  const arch = process.env.npm_config_arch || process.arch;
  const musl = process.env.LIBC ? process.env.LIBC === 'musl' : existsSync('/etc/alpine-release');
  const libc = platform === 'linux' ? (musl ? ' (musl)' : ' (glibc)') : '';
  return `${platform}-${arch}${libc} with Node ${process.versions.node}`;
}

function failure(root: string, what: string, cause: unknown): Error {
  // A checkout has the tools among its own dependencies; in an installed package npx fetches cmake-js.
  const checkout = existsSync(join(root, 'binding.gyp'));
  const lines = [
    `The native addon of dpm-solver: ${what}.`,
    'What to do:',
    `- Build it, which takes about a minute: cd ${JSON.stringify(root)} && ${checkout ? 'npm ci' : 'npx cmake-js compile'}`,
    `  This needs a C++17 compiler and CMake: ${tools()}.`,
  ];
  if (process.env.DPM_SOLVER_PREBUILD) {
    lines.push('- DPM_SOLVER_PREBUILD is set: unset it, or let it name a folder that has build/Release or prebuilds.');
  } else {
    lines.push(
      '- If you have it built elsewhere, let DPM_SOLVER_PREBUILD name the folder above its build or prebuilds.',
    );
  }
  if (!existsSync(join(root, 'native'))) {
    lines.push(
      "- If this is a bundle, import 'dpm-solver/linux-x64' or whichever platform it is for, or 'dpm-solver/wasm'.",
    );
  } else if (!checkout) {
    lines.push('- If node_modules came from another machine or container, install it again on this one: npm ci');
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
