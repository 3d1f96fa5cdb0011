import type { Project } from '../project.js';
import { network, webPage } from '../web.js';

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
  const serve = ['node_modules/vite/bin/vite.js', '--port', '0', '--host', '127.0.0.1'];
  await project.served('development', serve);
  // With onnxruntime-web beside it: its files are found by both, too.
  webPage(project);
  project.bin('vite', ['build', '--config', 'vite.web.mjs', '--outDir', 'out/web', '--logLevel', 'error']);
  await project.page('network', 'out/web', 'web.html', network);
  await project.served('network, development', [...serve, '--config', 'vite.web.mjs'], undefined, {
    ...network,
    open: (address) => network.open(`${address}/web.html`),
  });
}
