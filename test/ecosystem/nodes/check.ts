import { join } from 'node:path';
import type { Project } from '../project.js';

export default async function check(project: Project): Promise<void> {
  for (const major of [20, 22, 24, 26]) {
    const node = join(project.folder, `node_modules/node${major}/bin/node`);
    const version = project.run(node, ['--version']).stdout.trim();
    project.program(version, node, ['node.mjs'], { backend: 'native', engine: 'another' });
    project.program(`${version}, require`, node, ['node.cjs'], { backend: 'native', engine: 'another' });
    project.program(`${version}, WebAssembly`, node, ['node.mjs'], {
      backend: 'wasm',
      engine: 'another',
      env: { DPM_SOLVER_BACKEND: 'wasm' },
    });
    project.picture(node, ['picture.mjs']);
  }
}
