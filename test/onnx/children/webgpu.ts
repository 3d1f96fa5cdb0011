// The same code on a graphics card's provider; run with a Vulkan driver (test/onnx/webgpu.test.ts brings SwiftShader). The
// graph is y = x * [1, 2, 3, 4] + 1, exact in float32. Prints what went wrong; the exit code counts.
import * as assert from 'uvu/assert';
import { OrtNetwork, type OrtTensor, OrtValue } from '../../../lib/onnx/index.js';

const graph = process.argv[2]!;
const numbers = (result: unknown) => [...(result as OrtTensor).data] as number[];
const apply = (x: number[], times = 1): number[] =>
  times === 0
    ? x
    : apply(
        x.map((v, i) => v * ((i % 4) + 1) + 1),
        times - 1,
      );

async function main(): Promise<void> {
  const network = await OrtNetwork.open(graph, { device: 'webgpu' });
  assert.is(network.device, 'webgpu');
  const start = [1, 2, 3, 4, -1, -2, -3, -4];
  const x = { data: Float32Array.from(start), dims: [2, 4] };

  // From the host to the host, made and given, the same memory with other contents.
  assert.equal(numbers((await network.run({ x })).y), apply(start));
  const y = { data: new Float32Array(8), dims: [2, 4] };
  for (const factor of [1, 2, 3]) {
    x.data.set(start.map((v) => v * factor));
    await network.run({ x }, { outputs: { y } });
    assert.equal([...y.data], apply(start.map((v) => v * factor)));
  }
  x.data.set(start);

  // What stays on the device is fed on, to this network and another, and read by the last run alone.
  const other = await OrtNetwork.open(graph, { device: 'webgpu', forceCpuNodeNames: ['mul'] });
  const { y: first } = await network.run({ x }, { outputs: { y: 'device' } });
  const { y: second } = await other.run({ x: first as OrtValue }, { outputs: { y: 'device' } });
  assert.ok(first instanceof OrtValue && second instanceof OrtValue);
  assert.equal(second.dims, [2, 4]);
  assert.equal(numbers((await network.run({ x: second })).y), apply(start, 3));
  await network.run({ x: second }, { outputs: { y: first } });
  assert.equal(numbers((await other.run({ x: first })).y), apply(start, 4));
  first.dispose();
  second.dispose();

  // Three networks at once share one device.
  const third = await OrtNetwork.open(graph, { device: 'webgpu' });
  const runs = Array.from({ length: 60 }, async (_, i) => {
    const one = [network, other, third][i % 3];
    const own = start.map((v) => v + i);
    const result = await one.run({ x: { data: Float32Array.from(own), dims: [2, 4] } });
    assert.equal(numbers(result.y), apply(own));
  });
  await Promise.all(runs);

  // A signal, and a right run after it.
  const controller = new AbortController();
  const ended = Promise.allSettled([network.run({ x }), network.run({ x }, { signal: controller.signal })]);
  controller.abort(new Error('enough'));
  const [ahead, behind] = await ended;
  assert.equal(ahead.status === 'fulfilled' && numbers(ahead.value.y), apply(start));
  assert.is(behind.status === 'rejected' && behind.reason.message, 'enough');
  assert.equal(numbers((await network.run({ x })).y), apply(start));

  // A value outlives its network, and a network that is disposed of its values.
  const { y: late } = await third.run({ x }, { outputs: { y: 'device' } });
  await third.dispose();
  assert.equal(numbers((await other.run({ x: late as OrtValue })).y), apply(start, 2));
  (late as OrtValue).dispose();

  // 200 runs whose values are disposed of leave nothing behind.
  const big = { data: new Float32Array(4 * 65536).fill(1), dims: [65536, 4] };
  let before = 0;
  for (let i = 0; i < 200; i++) {
    if (i === 40) before = process.memoryUsage.rss();
    const { y: made } = await network.run({ x: big }, { outputs: { y: 'device' } });
    const { y: next } = await other.run({ x: made as OrtValue }, { outputs: { y: 'device' } });
    (made as OrtValue).dispose();
    // The queue of work is bounded by a read now and then.
    if (i % 10 === 9) await network.run({ x: next as OrtValue });
    (next as OrtValue).dispose();
  }
  const grown = (process.memoryUsage.rss() - before) / 2 ** 20;
  assert.ok(grown < 60, `${grown.toFixed(0)} MB more`);
  await Promise.all([network.dispose(), other.dispose()]);
  const reopened = await OrtNetwork.open(graph, { device: 'webgpu' });
  assert.equal(numbers((await reopened.run({ x })).y), apply(start), 'after the last has gone');
  await reopened.dispose();
}

await main();
console.log('fine');
