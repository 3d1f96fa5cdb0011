// node --expose-gc memory.ts WHAT TIMES GRAPH: does it so many times, and prints by how many megabytes the process has
// grown over all but the first tenth of them.
import { OrtNetwork, type OrtValue } from '../../../lib/onnx/index.js';

const [what, times, graph] = process.argv.slice(2) as [string, string, string];
const dims = [4096, 4];
const tensor = () => ({ data: new Float32Array(4096 * 4).fill(1), dims });
const network = await OrtNetwork.open(graph, { threads: 1 });
const [x, y] = [tensor(), tensor()];

const ways: Record<string, () => Promise<unknown>> = {
  'runs into the same memory': () => network.run({ x }, { outputs: { y } }),
  'runs into memory of their own': () => network.run({ x: tensor() }, { outputs: { y: tensor() } }),
  values: async () => {
    const { y: value } = await network.run({ x }, { outputs: { y: 'device' } });
    await network.run({ x: value as OrtValue }, { outputs: { y } });
    (value as OrtValue).dispose();
  },
  'cancelled runs': async () => {
    const controller = new AbortController();
    const runs = [network.run({ x }), network.run({ x: tensor() }, { signal: controller.signal })];
    setImmediate(() => controller.abort());
    await Promise.allSettled(runs);
  },
  'failed runs': () =>
    network.run({ x }, { outputs: { y: { data: new Float32Array(8), dims: [2, 4] } } }).catch(() => {}),
  networks: async () => {
    const one = await OrtNetwork.open(graph, { threads: 1 });
    await one.run({ x }, { outputs: { y } });
    await one.dispose();
  },
};

function resident(): number {
  globalThis.gc!();
  globalThis.gc!();
  return process.memoryUsage.rss() / 2 ** 20;
}

const count = Number(times);
let before = 0;
for (let i = 0; i < count; i++) {
  if (i === Math.round(count / 10)) before = resident();
  if (i % 100 === 99) globalThis.gc!();
  await ways[what]!();
}
console.log(resident() - before);
await network.dispose();
