// Opens the package in the folder that is its argument, which has no addon, here and in two workers after it.
import { Worker } from 'node:worker_threads';
import { choose } from '../../../../lib/addon/backend.js';

// Workers know no TypeScript by themselves.
const code = `
  const { parentPort, workerData } = require('node:worker_threads');
  import('tsx/esm/api')
    .then(({ tsImport }) => tsImport(workerData.backend, workerData.here))
    .then(({ choose }) => parentPort.postMessage(choose(workerData.folder).backend));
`;

async function main(): Promise<void> {
  const folder = process.argv[2]!;
  const backends = [choose(folder).backend];
  const backend = new URL('../../../../lib/addon/backend.ts', import.meta.url).href;
  for (let k = 0; k < 2; k++) {
    const worker = new Worker(code, { eval: true, workerData: { folder, backend, here: import.meta.url } });
    backends.push(await new Promise((resolve, reject) => worker.on('message', resolve).on('error', reject)));
  }
  console.log(backends.join(' '));
}
void main();
