import type { Project } from '../project.js';
import { network, webPage } from '../web.js';

export default async function check(project: Project): Promise<void> {
  webPage(project);
  project.bin('webpack', []);
  project.bundle('addon', 'out/addon', 'main.cjs', { backend: 'native' });
  project.bundle('plain', 'out/plain', 'main.cjs', { backend: 'wasm', warnings: 1 });
  project.program('external', process.execPath, ['out/external/main.cjs'], { backend: 'native' });
  await project.page('page', 'out/page', 'main.js');
  await project.page('network', 'out/web', 'main.js', network);
}
