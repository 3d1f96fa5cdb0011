import type { Project } from '../project.js';

export default async function check(project: Project): Promise<void> {
  project.node(['build.mjs']);
  project.bundle('addon', 'out/addon', 'main.cjs', { backend: 'native' });
  project.bundle('addon, as an ES module', 'out/addon-esm', 'main.mjs', { backend: 'native' });
  project.bundle('plain', 'out/plain', 'main.mjs', { backend: 'wasm', warnings: 1 });
  await project.page('page', 'out/page', 'main.js');
}
