// node pool.ts: a network that makes matrices of 64 MB, two at a time, again and again, with tensors of 2 MB in between that stay; then
// a run that asks for more memory than there are addresses, and one of another network with smaller matrices.
import { readFileSync } from 'node:fs';
import { OrtNetwork, type OrtTensor } from '../../../lib/onnx/index.js';
import { writeGraph, type WrittenNode } from '../../../lib/onnx/write.js';

const ROUNDS = 4;
const SMALL = [1, 128, 4096];
const MATRICES = 32;

/** As attention does it, but for what the matrices are made of. */
function rounds(): WrittenNode[] {
  const each = Array.from({ length: ROUNDS }, (_, i): WrittenNode[] => [
    { type: 'Expand', inputs: [`x${i}`, 'shape'], outputs: [`scores${i}`] },
    { type: 'Softmax', inputs: [`scores${i}`], outputs: [`shares${i}`] },
    { type: 'ReduceMax', inputs: [`shares${i}`], outputs: [`x${i + 1}`], attributes: { axes: [0], keepdims: 1 } },
  ]);
  const all = Array.from({ length: ROUNDS + 1 }, (_, i) => `x${i}`);
  return [...each.flat(), { type: 'Sum', inputs: all, outputs: ['y'] }];
}

const graph = writeGraph({
  inputs: [
    { name: 'x0', type: 'float32', dims: ['one', 'rows', 'columns'] },
    { name: 'shape', type: 'int64', dims: [3] },
  ],
  outputs: [{ name: 'y', type: 'float32', dims: ['one', 'rows', 'columns'] }],
  nodes: rounds(),
});

/** The most that the process has had, in megabytes; NaN where that is not told. */
const most = (): number => {
  try {
    return Number(/^VmHWM:\s+(\d+)/m.exec(readFileSync('/proc/self/status', 'utf8'))?.[1]) / 1024;
  } catch {
    return Number.NaN;
  }
};

const network = await OrtNetwork.open(graph, { threads: 1, memoryPattern: false, sharedMemory: true });
const x0 = { data: new Float32Array(SMALL[1] * SMALL[2]).fill(1), dims: SMALL };
const y = { data: new Float32Array(x0.data.length), dims: SMALL };
const shape = (count: bigint) => ({ data: BigInt64Array.of(count, 128n, 4096n), dims: [3], type: 'int64' as const });

const before = most();
await network.run({ x0, shape: shape(BigInt(MATRICES)) }, { outputs: { y } });
const grown = most() - before;
const refused = await network.run({ x0, shape: shape(1n << 27n) }, { outputs: { y } }).then(
  () => 'nothing',
  (error: Error) => error.message,
);
y.data.fill(0);
await network.run({ x0, shape: shape(BigInt(MATRICES)) }, { outputs: { y } });
const [last] = [...(y as OrtTensor).data.slice(-1)].map(Number);

// Matrices of another network, of which four would not fill one of those.
const other = await OrtNetwork.open(graph, { threads: 1, memoryPattern: false, sharedMemory: true });
const kept = process.memoryUsage.rss();
await other.run({ x0, shape: shape(7n) }, { outputs: { y } });
const more = (process.memoryUsage.rss() - kept) / 2 ** 20;
await other.dispose();
await network.dispose();
console.log(JSON.stringify({ grown, refused, last, more }));
