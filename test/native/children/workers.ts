// Four threads use the addon at once, some are ended in the middle of a step; then the last one leaves and the main
// thread, which first has not loaded the addon itself, goes on. Prints what it has seen; the exit code counts.
import { Worker } from 'node:worker_threads';

const source = `
  const { parentPort, workerData } = require('node:worker_threads');
  const addon = require('node-gyp-build')(workerData.root);
  const n = 1 << 18;
  const rows = new Float64Array(64);
  for (const at of [0, 32]) {
    rows.set([1, 0, 0, 0, 2, 0.99, 1, 100, 1], at);
    rows.set([0.5, 0.5], at + 12);
  }
  const x = Float32Array.from({ length: 2 * n }, (_, i) => Math.sin(i) * 3);
  const [out, d0] = [new Float32Array(2 * n), new Float32Array(2 * n)];
  let first;
  for (let i = 0; workerData.endless || i < 40; i++) {
    const status = addon.step(rows, 0, 2, 1, 2, null, x, null, null, null, x, null, null, null, null, null, d0, out, null, null);
    let sum = 0;
    for (let k = 0; k < out.length; k += 101) sum += out[k];
    first ??= sum;
    if (status !== -1 || sum !== first) throw new Error('another result: ' + status + ' ' + sum);
    if (i === 5) parentPort.postMessage(sum);
  }
`;
const root = process.argv[2]!;
const start = (endless: boolean) => new Worker(source, { eval: true, workerData: { root, endless } });
const message = (worker: Worker) =>
  new Promise<number>((resolve, reject) => {
    worker.once('message', resolve);
    worker.once('error', reject);
  });
const end = (worker: Worker) => new Promise<number>((resolve) => worker.once('exit', resolve));

async function main(): Promise<void> {
  const sums: number[] = [];
  for (let round = 0; round < 3; round++) {
    const workers = [start(false), start(true), start(false), start(true)];
    const ends = workers.map(end);
    sums.push(...(await Promise.all(workers.map(message))));
    await Promise.all([workers[1]!.terminate(), workers[3]!.terminate()]);
    const codes = await Promise.all(ends);
    if (codes[0] !== 0 || codes[2] !== 0) throw new Error(`codes ${codes}`);
    // All have left, and Node has let go of the addon: its threads are still there.
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  if (new Set(sums).size !== 1) throw new Error(`sums ${sums}`);
  const { step } = await import('../../../lib/native.js');
  const rows = new Float64Array(32);
  rows.set([1, 0, 0, 0, 0, 0, 0, 0, 1]);
  rows.set([0.5, 0.5], 12);
  const x = new Float32Array(1 << 20).fill(2);
  const out = new Float32Array(1 << 20);
  if (step(rows, { x, base: x, out }, { batch: 1, threads: 2 }) !== -1) throw new Error('the step failed');
  if (!out.every((value) => value === 2)) throw new Error('another result in the main thread');
  // One is left at work when the process ends.
  const last = start(true);
  await message(last);
  console.log('done');
  process.exit(0);
}
main().catch((error) => {
  console.error(error);
  process.exit(1);
});
