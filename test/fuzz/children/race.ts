// Another thread changes the rows, and the numbers, while steps run: the results may be anything, the memory beside
// the buffers may not. Prints what it has done.
import { Worker } from 'node:worker_threads';
import { scratchBytes, step } from '../../../lib/native.js';

const N = 20_000;
const [BATCH, ROW] = [16, 32];
const shared = new SharedArrayBuffer(8 * (BATCH * (ROW + N)));
const rows = new Float64Array(shared, 0, BATCH * ROW);
const x = new Float32Array(shared, 8 * BATCH * ROW, BATCH * N);
for (let i = 0; i < x.length; i++) x[i] = Math.sin(i) * 3;
for (let b = 0; b < BATCH; b++) {
  rows.set([1, 0, 0, 0, 2, 0.999, 1, 100, 1], b * ROW);
  rows.set([0.5, 0.5], b * ROW + 12);
}
const fitting = rows.slice();

// What is changed, and into what: other ratios want more memory, other transforms other buffers.
const source = `
  const { workerData } = require('node:worker_threads');
  const rows = new Float64Array(workerData.shared, 0, ${BATCH * ROW});
  const numbers = new Uint32Array(workerData.shared, ${8 * BATCH * ROW}, ${N});
  const values = [[4, 2, 3, 0, 1, 2, NaN, 1e300, -7, 2], [5, 0.999, 0, 1, NaN, -1e9, 1e9, 0.999], [6, 1, 0, 200, NaN], [7, 100, 0, 0.5]];
  for (let i = 0; ; i++) {
    const [at, ...all] = values[i % 4];
    rows[${ROW} * (i % ${BATCH}) + at] = all[i % all.length];
    numbers[i % ${N}] = Math.imul(i, 0x9e3779b9);
  }
`;
const worker = new Worker(source, { eval: true, workerData: { shared } });
worker.once('error', (error) => {
  throw error;
});

const GUARD = 1 << 18;
const NOTHING = Buffer.alloc(GUARD);
let steps = 0;
const out = new Float32Array(BATCH * N);
await new Promise((resolve) => worker.once('online', resolve));
for (let round = Number(process.argv[2] ?? 100); round > 0; round--) {
  for (const threads of [1, 2, 4]) {
    for (const p of [null, new Float32Array(BATCH * N)]) {
      const bytes = scratchBytes('float32', BATCH, N, 0.999, threads);
      const memory = new Uint8Array(bytes + 2 * GUARD);
      for (const scratch of [memory.subarray(GUARD, GUARD + bytes), null]) {
        for (let k = 0; k < 20; k++) {
          rows.set(fitting);
          try {
            step(rows, { x, base: x, out, p }, { batch: BATCH, threads, scratch, checkFinite: k % 2 === 0 });
            steps++;
          } catch (error) {
            if (!(error instanceof RangeError)) throw error;
          }
        }
      }
      const beside = [memory.subarray(0, GUARD), memory.subarray(GUARD + bytes)];
      if (!beside.every((part) => NOTHING.equals(part))) throw new Error('wrote beside the scratch');
    }
  }
}
await worker.terminate();
console.log(`${steps} steps`);
