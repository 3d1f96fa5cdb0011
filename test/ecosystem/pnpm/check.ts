import type { Project } from '../project.js';

/** pnpm installs, not npm. */
export const installs = false;

export default async function check(project: Project): Promise<void> {
  project.add();
  const pnpm = project.manager('pnpm', 'bin/pnpm.mjs');
  project.node([pnpm, 'install', '--ignore-scripts', '--prefer-offline']);
  project.program('import', process.execPath, ['node.mjs'], { backend: 'native' });
}
