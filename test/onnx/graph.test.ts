// Graphs that read and write our buffers. The graphs: test/fixtures/graphs.py.
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { convert } from '../../lib/native.js';
import { fill, Graph, type SessionOptions, slot, toHalf } from '../../lib/onnx/graph.js';
import { loadRuntime } from '../../lib/onnx/runtime.js';
import { timeSlot } from '../../lib/onnx/slots.js';
import { runAt } from '../../lib/pipelines/denoiser.js';
import { assertRejects, assertThrows } from '../support.js';

const test = suite('graph');
const fixture = (name: string) => fileURLToPath(new URL(`../fixtures/onnx/${name}.onnx`, import.meta.url));
const folder = mkdtempSync(join(tmpdir(), 'dpm-solver-graph-'));
// What cannot be loaded is told by the errors.
test.before(async () => {
  (await loadRuntime()).env.logLevel = 'fatal';
});
test.after(() => rmSync(folder, { recursive: true }));

/** On a thread of its own, and by session.run, where providers are given with settings. */
const WAYS: [way: string, options: SessionOptions][] = [
  ['a thread', {}],
  ['session.run', { executionProviders: [{ name: 'cpu', useArena: true }] }],
];

const times: [type: string, dims: number[], fed: number][] = [
  ['float32', [1], 3.625],
  ['float64', [], 3.625],
  ['float16', [1], 3.625],
  ['int32', [2], 4],
  ['int64', [1], 4],
];
for (const [type, dims, fed] of times) {
  test(`feeds a time of type ${type} and dims [${dims}] as it is declared`, async () => {
    const graph = await Graph.open(fixture(`time_${type}`));
    const timestep = timeSlot(graph.input('timestep'), 2, graph.path);
    assert.equal([timestep.type, timestep.dims], [type, dims]);
    const sample = slot('float32', [2, 1, 2, 2]);
    const output = slot('float32', [2, 1, 2, 2]);
    const binding = graph.bind({ sample, timestep }, { out_sample: output });
    const x = { data: Float32Array.from({ length: 8 }, (_, i) => i), dims: [2, 1, 2, 2] };
    await runAt(binding, x, 3.625);
    assert.equal(
      [...output.data],
      [0, 1, 2, 3, 4, 5, 6, 7].map((i) => i + fed),
    );
    assert.is(binding.feeds.sample.data, x.data, 'x is read where it is');
    await graph.release();
  });
}

for (const [way, options] of WAYS) {
  test(`writes into views and reads what was changed between runs, by ${way}`, async () => {
    const graph = await Graph.open(fixture('time_float32'), options);
    const memory = new Float32Array(12).fill(-1);
    const output = { ...slot('float32', [1, 1, 2, 2]), data: memory.subarray(4, 8) };
    const feeds = { sample: slot('float32', [1, 1, 2, 2]), timestep: slot('float32', [1]) };
    const binding = graph.bind(feeds, { out_sample: output });
    for (const time of [1, 2]) {
      feeds.sample.data.fill(time as never);
      fill(feeds.timestep, 10);
      await binding.run();
      assert.equal([...memory], [-1, -1, -1, -1, ...new Array(4).fill(10 + time), -1, -1, -1, -1]);
    }
    await graph.release();
  });
}

for (const [way, options] of WAYS) {
  test(`gives outputs whose size only a run tells, by ${way}`, async () => {
    const graph = await Graph.open(fixture('double'), options);
    const sample = slot('float16', [3]);
    convert(Float32Array.of(1, -2, 0.5), sample.data as Uint16Array);
    const { out_sample: output } = await graph.call({ sample }, ['out_sample']);
    assert.equal([output.type, [...output.dims]], ['float16', [3]]);
    const wide = new Float32Array(3);
    convert(output.data as Uint16Array, wide);
    assert.equal([...wide], [2, -4, 1]);
    await assertRejects(graph.call({ sample }, ['latent']), Error, /^Expected an output latent of .*has out_sample$/);
    await assertRejects(graph.call({}, ['out_sample']), Error, /^Nothing is known to feed the input sample of/);
    await assertRejects(
      graph.call({ sample: slot('float32', [3]) }, []),
      Error,
      /^Expected float32 for the input sample/,
    );
    await graph.release();
    await assertRejects(graph.call({ sample }, ['out_sample']), Error, /has been released$/);
  });
}

for (const [way, options] of WAYS) {
  test(`runs float16 on bits, by ${way}`, async () => {
    const graph = await Graph.open(fixture('double'), options);
    const sample = { ...slot('float16', [4]), data: Uint16Array.from([1.5, -2, 0.1, 1000], toHalf) };
    const output = slot('float16', [4]);
    await graph.bind({ sample }, { out_sample: output }).run();
    assert.equal([...output.data], [3, -4, 0.2, 2000].map(toHalf));
    await graph.release();
  });
}

test('rounds to float16 as the addon does', () => {
  const values = [0, -0, 1, 999.5, 0.1, 1 / 3, 65504, 65519, 65520, 1e9, -1e9, 2 ** -14, 2 ** -24, 2 ** -25, 1e-30];
  values.push(2049, 2051, 0.999999, 1.9999, 2 ** -14 * 0.9999, NaN, Infinity, 1.5 * 2 ** -24, 2.5 * 2 ** -24);
  const wide = Float32Array.from(values);
  const bits = new Uint16Array(wide.length);
  convert(wide, bits);
  const own = values.map(toHalf);
  values.forEach((value, i) => {
    if (Number.isNaN(value)) assert.ok((own[i] & 0x7fff) > 0x7c00);
    else assert.is(own[i], bits[i], String(value));
  });
});

for (const [way, options] of WAYS) {
  test(`refuses to run twice at once with the same buffers, by ${way}`, async () => {
    const graph = await Graph.open(fixture('double'), options);
    const binding = graph.bind({ sample: slot('float16', [1]) }, { out_sample: slot('float16', [1]) });
    const first = binding.run();
    await assertRejects(binding.run(), Error, /still under way$/);
    await first;
    await binding.run();
    await graph.release();
  });
}

for (const [way, options] of WAYS) {
  test(`releases after what is under way, and then runs no more, by ${way}`, async () => {
    const graph = await Graph.open(fixture('double'), options);
    const output = slot('float16', [1]);
    const binding = graph.bind(
      { sample: { ...slot('float16', [1]), data: Uint16Array.of(toHalf(2)) } },
      { out_sample: output },
    );
    const running = binding.run();
    await Promise.all([graph.release(), graph.release()]);
    await running;
    assert.is(output.data[0], toHalf(4));
    await assertRejects(binding.run(), Error, /has been released$/);
  });
}

test('refuses buffers that are not what the graph declares', async () => {
  const graph = await Graph.open(fixture('time_float32'));
  const feeds = { sample: slot('float32', [1, 1, 2, 2]), timestep: slot('float32', [1]) };
  const outputs = { out_sample: slot('float32', [1, 1, 2, 2]) };
  const bind =
    (f: object, o: object = {}) =>
    () =>
      graph.bind({ ...feeds, ...f }, { ...outputs, ...o });
  assertThrows(bind({ timestep: slot('int64', [1]) }), Error, /^Expected int64 .* timestep .* which declares float32$/);
  assertThrows(
    bind({ sample: slot('float32', [1, 3, 2, 2]) }),
    Error,
    /^Expected dims \[1,3,2,2\] .* \[batch,1,2,2\]$/,
  );
  assertThrows(
    bind({ extra: slot('float32', [1]) }),
    Error,
    /^Expected an input extra of .* which has sample and time/,
  );
  assertThrows(bind({ sample: undefined }), Error, /^Nothing is known to feed the input sample of /);
  assertThrows(bind({}, { other: slot('float32', [1]) }), Error, /^Expected an output other .* which has out_sample$/);
  const short = { ...slot('float32', [1, 1, 2, 2]), data: new Float32Array(3) };
  assertThrows(bind({ sample: short }), RangeError, /^Expected 4 elements for the input sample .* received 3$/);
  await graph.release();
});

test('says why it has no thread of its own', async () => {
  const [[, thread], [, plain]] = WAYS;
  const graph = Graph.describe(fixture('double'), plain);
  assert.is(graph.reason, undefined, 'not known before it is loaded');
  await graph.load();
  assert.is(graph.reason, 'executionProviders are given: cpu');
  await graph.release();
  const other = await Graph.open(fixture('double'), { ...thread, executionProviders: ['cpu'] });
  assert.is(other.reason, undefined);
  await other.release();
});

test('ends a run for a signal while it is under way, and the next one is right', async () => {
  const unet = fileURLToPath(new URL('../../models/shapes/unet/model.onnx', import.meta.url));
  const graph = await Graph.open(unet);
  const feeds = {
    sample: slot('float32', [16, 3, 32, 32]),
    timestep: slot('float32', [1]),
    encoder_hidden_states: slot('float32', [16, 8, 64]),
  };
  feeds.sample.data.fill(0.5 as never);
  const [output, again] = [slot('float32', [16, 3, 32, 32]), slot('float32', [16, 3, 32, 32])];
  await graph.bind(feeds, { out_sample: output }).run();
  const binding = graph.bind(feeds, { out_sample: again });
  const controller = new AbortController();
  const reason = new Error('enough');
  setImmediate(() => controller.abort(reason));
  await assertRejects(binding.run(controller.signal), Error, /^enough$/);
  await assertRejects(binding.run(controller.signal), Error, /^enough$/);
  await binding.run();
  assert.equal(again.data, output.data);
  await graph.release();
});

test('says which file cannot be loaded, and why', async () => {
  const corrupt = join(folder, 'corrupt.onnx');
  writeFileSync(corrupt, 'this is no graph');
  await assertRejects(
    Graph.open(corrupt),
    Error,
    /^Expected an ONNX graph in .*corrupt\.onnx but it is something else$/,
  );
  const pointer = join(folder, 'pointer.onnx');
  writeFileSync(pointer, 'version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n');
  await assertRejects(Graph.open(pointer), Error, /pointer\.onnx is a git-lfs pointer.*git lfs pull$/);
  const empty = join(folder, 'empty.onnx');
  writeFileSync(empty, '');
  await assertRejects(Graph.open(empty), Error, /^Expected an ONNX graph in .*empty\.onnx but the file is empty$/);
  // No card, or not the libraries for one: that is not the graph's fault.
  const card = Graph.open(fixture('double'), { executionProviders: ['cuda'] });
  await card.then(
    (graph) => graph.release(),
    (error: Error) => {
      assert.match(error.message, /double\.onnx could not be loaded by onnxruntime for cuda: /);
      assert.not.match(error.message, /_src\//);
    },
  );
  const provider = Graph.open(fixture('double'), { executionProviders: ['nonsense'] });
  await assertRejects(provider, Error, /double\.onnx could not be loaded by onnxruntime for nonsense: .*nonsense/);
});

test.run();
