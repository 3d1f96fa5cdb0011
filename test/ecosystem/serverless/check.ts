import type { Project } from '../project.js';

export default async function check(project: Project): Promise<void> {
  project.node(['trace.mjs', 'addon.mjs', 'out/addon']);
  project.bundle('traced files, with the addon', 'out/addon', 'addon.mjs', { backend: 'native' });
  project.node(['trace.mjs', 'node.mjs', 'out/plain']);
  project.bundle('traced files, plain', 'out/plain', 'node.mjs', { backend: 'wasm', warnings: 1 });
}
