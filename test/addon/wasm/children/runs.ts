// 1000 runs whose states are large enough to have places in WebAssembly's memory. Prints the memory in use meanwhile.
import * as dpm from '../../../../lib/wasm.js';

async function main(): Promise<void> {
  const size = 65536;
  const schedule = dpm.NoiseSchedule.discrete({ betas: dpm.betas('scaled_linear') });
  const output = new Float32Array(size);
  let buffer: ArrayBufferLike | undefined;
  const model = (x: { data: Float32Array; dims: readonly number[] }) => {
    ({ buffer } = x.data);
    return { data: output, dims: x.dims };
  };
  const solver = new dpm.DPMSolver(model as never, schedule);
  const xT = dpm.randn([1, size], { seed: 1 });
  const kept: Float32Array[] = [];
  const resident: number[] = [];
  let [own, same, states] = [true, true, true];
  for (let k = 0; k < 1000; k++) {
    const { sample } = await solver.sample(xT, { steps: 2 });
    const data = sample.data as Float32Array;
    own &&= data.byteOffset === 0 && data.buffer.byteLength === 4 * size;
    // The network saw memory of WebAssembly, not arrays that are copied.
    states &&= buffer!.byteLength > 8 * size;
    if (k % 100 === 0) {
      kept.push(data);
      resident.push(process.memoryUsage().rss >> 20);
    }
  }
  resident.push(process.memoryUsage().rss >> 20);
  for (const data of kept) same &&= data.every((value, i) => value === kept[0]![i]);
  console.log(JSON.stringify({ backend: dpm.info().backend, resident, own, same, states }));
}
void main();
