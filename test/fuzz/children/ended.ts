// Workers are ended at any time, from before they have loaded the addon on; then the main thread does the same calls.
// Prints `done`.
import { createRequire } from 'node:module';
import { setTimeout as sleep } from 'node:timers/promises';
import { Worker } from 'node:worker_threads';
import { addonPath } from '../../../lib/addon/loader.js';

const source = `
  const { parentPort, workerData } = require('node:worker_threads');
  const addon = require(workerData.path);
  const n = 1 << 14;
  const rows = new Float64Array(64);
  for (const at of [0, 32]) {
    rows.set([1, 0, 0, 0, 2, 0.99, 1, 100, 1], at);
    rows.set([0.5, 0.5], at + 12);
  }
  const x = Float32Array.from({ length: 2 * n }, (_, i) => Math.sin(i) * 3);
  const [out, d0, results] = [new Float32Array(2 * n), new Float32Array(2 * n), new Float64Array(2)];
  const state = new Uint32Array(628);
  parentPort?.postMessage('loaded');
  for (let i = 0; i < workerData.rounds; i++) {
    if (addon.step(rows, 0, 2, 1, 3, null, x, null, null, null, x, null, null, null, null, null, d0, out, null, null) !== -1) throw new Error('step');
    addon.quantile(x, 2, 0.9, 3, results);
    addon.torchSeed(state, i, 0);
    addon.torchRandn(state, out);
    addon.info();
    addon.cudaInfo();
    addon.cudaPlan(new Float64Array(36).fill(100), 2, 16384, 1, 0, 1);
    for (const name of Object.keys(addon)) {
      if (/^cuda|[iI]nfo|limit/.test(name)) continue;
      try {
        addon[name](Symbol('x'), {}, []);
      } catch (error) {
        if (!/^Expected /.test(error.message)) throw error;
        continue;
      }
      throw new Error(name + ' was taken');
    }
  }
`;
const workerData = { path: addonPath(), rounds: 1e9 };
const rounds = Number(process.argv[2] ?? 40);

async function main(): Promise<void> {
  for (let round = 0; round < rounds; round++) {
    const workers = [0, 1].map(() => new Worker(source, { eval: true, workerData, execArgv: [] }));
    const errors: unknown[] = [];
    for (const worker of workers) worker.on('error', (error) => errors.push(error));
    if (round % 2 === 0) await new Promise((resolve) => workers[0]!.once('message', resolve));
    // From at once to well into the loop; odd rounds find it loading.
    await sleep((round * 5) % 40);
    await Promise.all(workers.map((worker) => worker.terminate()));
    if (errors.length > 0) throw errors[0];
  }
  // All that may have gone wrong beneath shows here.
  const here = new Function('require', source);
  const require = createRequire(import.meta.url);
  here((name: string) =>
    name === 'node:worker_threads' ? { workerData: { ...workerData, rounds: 20 } } : require(name),
  );
  console.log('done');
}
main().catch((error) => {
  console.error(error);
  process.exit(1);
});
