import type { Project } from '../project.js';

export default async function check(project: Project): Promise<void> {
  project.bin('rollup', ['-c']);
  project.bundle('addon', 'out/addon', 'main.mjs', { backend: 'native' });
  project.bundle('plain', 'out/plain', 'main.mjs', { backend: 'wasm', warnings: 1 });
  project.bundle('plain, as CommonJS', 'out/plain-cjs', 'main.cjs', { backend: 'wasm', warnings: 1 });
  await project.page('page', 'out/page', 'main.js');
}
