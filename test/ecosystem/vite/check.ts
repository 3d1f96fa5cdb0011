import type { Project } from '../project.js';

export default async function check(project: Project): Promise<void> {
  // A page needs nothing said.
  project.bin('vite', ['build', '--outDir', 'out/page', '--logLevel', 'error']);
  await project.page('page', 'out/page', 'index.html');
  // A server: Vite leaves packages in node_modules.
  project.bin('vite', ['build', '--ssr', 'node.mjs', '--outDir', 'out/server', '--logLevel', 'error']);
  project.program('server', process.execPath, ['out/server/node.js'], { backend: 'native' });
  // As for runtimes that get one file.
  project.bin('vite', [
    'build',
    '--config',
    'vite.bundled.mjs',
    '--ssr',
    'node.mjs',
    '--outDir',
    'out/bundled',
    '--logLevel',
    'error',
  ]);
  project.bundle('server, noExternal', 'out/bundled', 'node.js', { backend: 'wasm', warnings: 1 });
  await project.served('development', ['node_modules/vite/bin/vite.js', '--port', '0', '--host', '127.0.0.1']);
}
