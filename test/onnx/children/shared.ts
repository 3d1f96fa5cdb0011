// node --expose-gc shared.ts GRAPH: by how many megabytes the process grows when two networks have run one after the other,
// with memory of their own and with memory in common, and then when one and both are freed; with what they computed.
import { OrtNetwork, type OrtTensor } from '../../../lib/onnx/index.js';

const ROWS = 2 ** 22;
const [graph] = process.argv.slice(2) as [string];
const tensor = (value: number) => ({ data: new Float32Array(4 * ROWS).fill(value), dims: [ROWS, 4] });
const [x, y] = [tensor(1), tensor(0)];

function resident(): number {
  globalThis.gc!();
  return process.memoryUsage.rss() / 2 ** 20;
}

async function measure(sharedMemory: boolean): Promise<Record<string, unknown>> {
  const open = () => OrtNetwork.open(graph, { threads: 1, memoryPattern: false, sharedMemory });
  const [one, other] = [await open(), await open()];
  const made: number[][] = [];
  const grown: number[] = [];
  let before = resident();
  for (const work of [
    () => one.run({ x }, { outputs: { y } }),
    () => other.run({ x }, { outputs: { y } }),
    () => one.dispose(),
    () => other.dispose(),
  ]) {
    y.data.fill(0);
    await work();
    made.push([...(y as OrtTensor).data.slice(-4)].map(Number));
    const after = resident();
    grown.push(after - before);
    before = after;
  }
  return { grown, made: made.slice(0, 2) };
}

// The first time brings in more than what is measured.
await measure(false);
console.log(JSON.stringify({ alone: await measure(false), shared: await measure(true), again: await measure(true) }));
