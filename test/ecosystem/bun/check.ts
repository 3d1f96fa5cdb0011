import { join } from 'node:path';
import type { Project } from '../project.js';

export default async function check(project: Project): Promise<void> {
  const bun = join(project.folder, 'node_modules/@oven/bun-linux-x64/bin/bun');
  project.program('import', bun, ['node.mjs'], { backend: 'native', engine: 'another' });
  project.picture(bun, ['picture.mjs']);
  // A bundle, without its folder: WebAssembly, or the addon that is imported by name.
  project.run(bun, ['build', 'node.mjs', '--target', 'bun', '--outfile', 'out/plain/main.js']);
  project.bundle('plain', 'out/plain', 'main.js', { backend: 'wasm', warnings: 1, engine: 'another' }, bun);
  project.run(bun, ['build', 'addon.mjs', '--target', 'bun', '--outdir', 'out/addon']);
  project.bundle('addon', 'out/addon', 'addon.js', { backend: 'native', engine: 'another' }, bun);
  // One file with everything in it, the addon too.
  project.run(bun, ['build', 'addon.mjs', '--compile', '--outfile', 'out/single/main']);
  project.bundle('one executable', 'out/single', './main', { backend: 'native', engine: 'another' }, '');
}
