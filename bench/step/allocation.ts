// Bytes that 10,000 steps leave on the JavaScript heap, as JSON. Run with --expose-gc: nothing is collected between the
// two looks at the heap, and what looking costs is measured the same way and taken off.
import { getHeapStatistics } from 'node:v8';
import { type StepBuffers, scratchBytes, step } from '../../lib/native.js';

const steps = 10_000;
const n = 256;
const array = () => Float32Array.from({ length: n }, (_, i) => Math.sin(i) * 3);
const x = array();
const buffers: StepBuffers = {
  x,
  m: array(),
  base: x,
  d1: array(),
  d0: array(),
  out: array(),
  next: new Uint16Array(n),
};
const rows = new Float64Array(32);
rows.set([1.25, -0.77, 0, 0, 2, 0.995, 1, 100, 1]);
rows.set([0.81, 0.43, 0, -0.12], 12);
const options = { batch: 1, scratch: new Uint8Array(scratchBytes('float32', 1, n, 0.995)) };

function loop(count: number): void {
  for (let i = 0; i < count; i++) step(rows, buffers, options);
}
function used(count: number): number {
  globalThis.gc!();
  const before = getHeapStatistics().used_heap_size;
  loop(count);
  return getHeapStatistics().used_heap_size - before;
}
loop(steps); // until it is compiled
for (let i = 0; i < 5; i++) used(0);
const measured: number[] = [];
for (let i = 0; i < 5; i++) measured.push(used(steps) - used(0));
measured.sort((a, b) => a - b);
const externalBefore = process.memoryUsage().external;
loop(steps);
const externalBytes = process.memoryUsage().external - externalBefore;
console.log(JSON.stringify({ steps, bytesPerStep: measured[2]! / steps, externalBytes, runs: measured }));
