// The package as `npm pack` makes it, and as it lies in a project that has installed it without running a script.
import { type SpawnSyncReturns, spawnSync } from 'node:child_process';
import {
  copyFileSync,
  cpSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import * as assert from 'uvu/assert';
import { addonPath } from '../lib/addon/loader.js';
import { PLATFORMS } from '../scripts/platforms.mjs';

export const root = fileURLToPath(new URL('..', import.meta.url));
const musl = existsSync('/etc/alpine-release');
/** The platform of this machine, where a release has it. */
export const host = PLATFORMS.find(
  ({ platform, arch, libc }) =>
    platform === process.platform && arch === process.arch && (!libc || (libc === 'musl') === musl),
);

/**
 * Packs what `npm pack` packs, without its scripts, which would build under other tests' feet.
 *
 * @param with_ the addon's place in the package, if it is to be there, and the WebAssembly build's file
 */
export function pack(
  folder: string,
  with_: { file?: string; wasm?: string | null },
): { staged: string; tarball: string } {
  const staged = join(folder, 'staged');
  const { files } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as { files: string[] };
  for (const name of ['package.json', 'README.md', 'LICENSE', ...files.filter((file) => file !== 'prebuilds')]) {
    cpSync(join(root, name), join(staged, name), { recursive: true });
  }
  if (with_.file) {
    const addon = join(staged, with_.file);
    mkdirSync(join(addon, '..'), { recursive: true });
    copyFileSync(addonPath(), addon);
  }
  if (with_.wasm) cpSync(with_.wasm, join(staged, 'prebuilds/wasm/dpm-solver.wasm'));
  ok(npm(['pack', '--ignore-scripts', '--pack-destination', folder], staged));
  return { staged, tarball: join(folder, readdirSync(folder).find((name) => name.endsWith('.tgz'))!) };
}

/** Installs it in a project of its own; returns the project's folder. */
export function install(folder: string, tarball: string): string {
  const project = join(folder, 'project');
  mkdirSync(project);
  writeFileSync(join(project, 'package.json'), '{ "private": true }\n');
  ok(npm(['install', '--ignore-scripts', '--prefer-offline', '--no-audit', '--no-fund', tarball], project));
  return project;
}

/**
 * The packed package in an otherwise empty project, without a download: what its package.json asks for lies beside it, and
 * `others`, which its user has installed, too. Packages are those of the checkout.
 */
export function lay(folder: string, others: readonly string[]): string {
  const { tarball } = pack(folder, { file: host?.file });
  const project = join(folder, 'project');
  const own = join(project, 'node_modules/dpm-solver');
  mkdirSync(own, { recursive: true });
  writeFileSync(join(project, 'package.json'), '{ "private": true, "type": "module" }\n');
  ok(spawnSync('tar', ['-xzf', tarball, '-C', own, '--strip-components', '1'], { encoding: 'utf8' }));
  if (!host) {
    mkdirSync(join(own, 'build/Release'), { recursive: true });
    copyFileSync(addonPath(), join(own, 'build/Release/dpm-solver.node'));
  }
  const { dependencies } = JSON.parse(readFileSync(join(own, 'package.json'), 'utf8')) as { dependencies: object };
  for (const name of [...Object.keys(dependencies), ...others]) {
    const to = join(project, 'node_modules', name);
    mkdirSync(dirname(to), { recursive: true });
    // 'junction' matters on Windows only, where it needs no privilege.
    symlinkSync(join(root, 'node_modules', name), to, 'junction');
  }
  return project;
}

/** Runs a command, without the variables that a test of the package may have been started with. */
export function run(
  command: string,
  args: string[],
  cwd: string,
  env: Record<string, string> = {},
): SpawnSyncReturns<string> {
  const { DPM_SOLVER_BACKEND: _, DPM_SOLVER_PREBUILD: __, NODE_OPTIONS: ___, ...own } = process.env;
  return spawnSync(command, args, { cwd, encoding: 'utf8', env: { ...own, ...env } });
}

export function npm(args: string[], cwd: string): SpawnSyncReturns<string> {
  return spawnSync('npm', args, { cwd, encoding: 'utf8', shell: process.platform === 'win32' });
}

export function ok({ status, stdout, stderr, error }: SpawnSyncReturns<string>): void {
  assert.is(status, 0, `${error ?? ''}${stdout}${stderr}`);
}
