// node test/sanitize/workers.mjs ADDON: four workers step at once, each in memory of its own and all in the pool, and
// read rows that they share; some are ended in the middle. For ThreadSanitizer, so without TypeScript.
import { createRequire } from 'node:module';
import { isMainThread, parentPort, Worker, workerData } from 'node:worker_threads';

const path = isMainThread ? process.argv[2] : workerData.path;
const addon = createRequire(import.meta.url)(path);
const N = 1 << 15;

function makeRows() {
  const rows = new Float64Array(new SharedArrayBuffer(8 * 64));
  for (const at of [0, 32]) {
    rows.set([1, 0, 0, 0, 2, 0.99, 1, 100, 1], at);
    rows.set([0.5, 0.5], at + 12);
  }
  return rows;
}

function work(rows, rounds) {
  const x = Float32Array.from({ length: 2 * N }, (_, i) => Math.sin(i) * 3);
  const [out, d0] = [new Float32Array(2 * N), new Float32Array(2 * N)];
  const none = [null, null, null];
  const results = new Float64Array(2);
  const state = new Uint32Array(628);
  for (let i = 0; i < rounds; i++) {
    addon.step(rows, 0, 2, 1, 4, null, x, ...none, x, null, ...none, null, d0, out, null, null);
    addon.quantile(x, 2, 0.9, 3, results);
    addon.errorNorm(x, out, x, 2, 0.1, 0.1, 3, results);
    addon.torchSeed(state, 1, 0);
    addon.torchRandn(state, out);
    addon.info();
    try {
      addon.step();
    } catch {}
  }
}

if (isMainThread) {
  const rows = makeRows();
  const start = (rounds) => new Worker(new URL(import.meta.url), { workerData: { path, rows, rounds } });
  for (let round = 0; round < 3; round++) {
    const workers = [start(20), start(1e9), start(20), start(1e9)];
    work(rows, 10);
    await Promise.all(
      workers.map(async (worker, k) => {
        await new Promise((resolve, reject) => worker.once('message', resolve).once('error', reject));
        if (k % 2 === 1) await worker.terminate();
        else await new Promise((resolve) => worker.once('exit', resolve));
      }),
    );
  }
  console.log('workers: fine');
} else {
  work(workerData.rows, 1);
  parentPort.postMessage('one');
  work(workerData.rows, workerData.rounds);
}
