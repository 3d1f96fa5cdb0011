// A network on a thread of its own, held against onnxruntime-node's session.run. The graphs: test/fixtures/graphs.py.
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { InferenceSession, Tensor } from 'onnxruntime-node';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { OrtNetwork, type OrtTensor, OrtValue, ortLibrary } from '../../lib/onnx/index.js';
import { assertBitsEqual, assertRejects } from '../support.js';

const test = suite('networks on their own threads');
const fixture = (name: string) => fileURLToPath(new URL(`../fixtures/onnx/${name}.onnx`, import.meta.url));
const unet = fileURLToPath(new URL('../../models/shapes/unet/model.onnx', import.meta.url));
const folder = mkdtempSync(join(tmpdir(), 'dpm-solver-network-'));
test.after(() => rmSync(folder, { recursive: true }));

function noise(dims: number[], seed: number): OrtTensor & { data: Float32Array } {
  const length = dims.reduce((n, d) => n * d, 1);
  return { data: Float32Array.from({ length }, (_, i) => Math.sin(seed + 12.9898 * i)), dims };
}
const unetFeeds = (batch: number, seed = 1) => ({
  sample: noise([batch, 3, 32, 32], seed),
  timestep: { data: Float32Array.of(500), dims: [1] },
  encoder_hidden_states: noise([batch, 8, 64], seed + 1),
});

test('tells which onnxruntime it runs in', async () => {
  const { path, version, providers } = await ortLibrary();
  const { version: installed } = JSON.parse(readFileSync('node_modules/onnxruntime-node/package.json', 'utf8'));
  assert.is(version, installed);
  assert.match(path, /onnxruntime-node.bin.napi-v\d+./);
  assert.ok(providers.includes('CPUExecutionProvider'));
});

test('declares inputs and outputs as onnxruntime-node does', async () => {
  for (const file of [unet, fixture('types'), fixture('time_float64'), fixture('affine')]) {
    const session = await InferenceSession.create(file);
    const network = await OrtNetwork.open(file);
    for (const [ours, theirs] of [
      [network.inputs, session.inputMetadata],
      [network.outputs, session.outputMetadata],
    ] as const) {
      const expected = theirs.map((m) => m.isTensor && { name: m.name, type: m.type, dims: m.shape });
      assert.equal([...ours.values()], expected);
      assert.equal(
        [...ours.keys()],
        theirs.map((m) => m.name),
      );
    }
    assert.is(network.path, file);
    await network.dispose();
    await session.release();
  }
});

test('gives the bits of session.run, whatever the batch', async () => {
  const session = await InferenceSession.create(unet);
  const network = await OrtNetwork.open(unet);
  for (const batch of [1, 2, 5]) {
    const feeds = unetFeeds(batch);
    const tensors = Object.entries(feeds).map(([name, { data, dims }]) => [name, new Tensor('float32', data, dims)]);
    const { out_sample: expected } = await session.run(Object.fromEntries(tensors));
    const made = await network.run(feeds);
    assert.equal(
      [Object.keys(made), made.out_sample.type, made.out_sample.dims],
      [['out_sample'], 'float32', expected.dims],
    );
    assertBitsEqual((made.out_sample as OrtTensor).data, expected.data as Float32Array);
    const into = noise([batch, 3, 32, 32], 9);
    const result = await network.run(feeds, { outputs: { out_sample: into } });
    assert.is(result.out_sample, into, 'what was given comes back');
    assertBitsEqual(into.data, expected.data as Float32Array);
    // onnxruntime's own tensors are tensors like any.
    const own = await network.run(Object.fromEntries(tensors), { outputs: ['out_sample'] });
    assertBitsEqual((own.out_sample as OrtTensor).data, expected.data as Float32Array);
  }
  await network.dispose();
  await session.release();
});

test('carries every type', async () => {
  const network = await OrtNetwork.open(fixture('types'));
  const arrays = {
    float32: Float32Array.of(1.5, Number.NaN),
    uint8: Uint8Array.of(0, 255),
    int8: Int8Array.of(-128, 127),
    uint16: Uint16Array.of(0, 65535),
    int16: Int16Array.of(-32768, 5),
    int32: Int32Array.of(-(2 ** 31), 7),
    int64: BigInt64Array.of(-(2n ** 63n), 2n ** 63n - 1n),
    bool: Uint8Array.of(0, 1),
    float16: Uint16Array.of(0x3c00, 0x7e01),
    float64: Float64Array.of(Math.PI, -0),
    uint32: Uint32Array.of(0, 2 ** 32 - 1),
    uint64: BigUint64Array.of(0n, 2n ** 64n - 1n),
  };
  const feeds = Object.fromEntries(Object.entries(arrays).map(([type, data]) => [type, { type, data, dims: [1, 2] }]));
  const made = await network.run(feeds);
  for (const [type, data] of Object.entries(arrays)) {
    const out = made[`out_${type}`] as OrtTensor;
    assert.equal([out.type, out.dims], [type, [1, 2]]);
    assertBitsEqual(out.data, data, type);
  }
  const Float16 = (globalThis as { Float16Array?: new (numbers: number[]) => unknown }).Float16Array;
  if (Float16) {
    const half = { data: new Float16([1, 2]) as Uint16Array, dims: [1, 2] };
    const out = await network.run({ ...feeds, float16: half }, { outputs: ['out_float16'] });
    assert.equal([...(out.out_float16 as OrtTensor).data], [0x3c00, 0x4000]);
  }
  // No rows, no memory.
  const empty = Object.fromEntries(
    Object.entries(arrays).map(([type, data]) => [type, { data: data.slice(0, 0), dims: [0, 2] }]),
  );
  const none = await network.run(empty, { outputs: ['out_int64'] });
  assert.equal([none.out_int64.dims, (none.out_int64 as OrtTensor).data.length], [[0, 2], 0]);
  await network.dispose();
});

test('reads and writes views in place, the same and others', async () => {
  const network = await OrtNetwork.open(fixture('affine'));
  const memory = new Float32Array(32).fill(-1);
  const shared = new Float32Array(new SharedArrayBuffer(32));
  const places = [memory.subarray(4, 12), memory.subarray(12, 20), shared];
  for (let round = 0; round < 30; round++) {
    const x = { data: places[round % 3], dims: [2, 4] };
    const y = { data: places[(round + 1) % 3], dims: [2, 4] };
    x.data.fill(round);
    await network.run({ x }, { outputs: { y } });
    assert.equal(
      [...y.data],
      [1, 2, 3, 4, 1, 2, 3, 4].map((factor) => factor * round + 1),
    );
  }
  assert.ok([...memory.subarray(0, 4), ...memory.subarray(20)].every((v) => v === -1));
  // The same memory with other dims.
  const y = { data: new Float32Array(4), dims: [1, 4] };
  await network.run({ x: { data: memory.subarray(4, 8).fill(2), dims: [1, 4] } }, { outputs: { y } });
  assert.equal([...y.data], [3, 5, 7, 9]);
  await network.dispose();
});

test('does runs one after the other, in the order they were asked for', async () => {
  const network = await OrtNetwork.open(fixture('affine'));
  const order: number[] = [];
  const runs = Array.from({ length: 50 }, async (_, i) => {
    const { y } = await network.run({ x: { data: new Float32Array(4).fill(i), dims: [1, 4] } });
    order.push(i);
    return [...(y as OrtTensor).data];
  });
  const results = await Promise.all(runs);
  assert.equal(
    results,
    results.map((_, i) => [i + 1, 2 * i + 1, 3 * i + 1, 4 * i + 1]),
  );
  assert.equal(
    order,
    results.map((_, i) => i),
  );
  await network.dispose();
});

test('leaves values where it runs, which are fed and written to again', async () => {
  const first = await OrtNetwork.open(fixture('affine'));
  const second = await OrtNetwork.open(fixture('affine'));
  const x = { data: Float32Array.of(1, 1, 1, 1), dims: [1, 4] };
  const { y: value } = await first.run({ x }, { outputs: { y: 'device' } });
  assert.ok(value instanceof OrtValue);
  assert.equal([value.type, value.dims, value.disposed], ['float32', [1, 4], false]);
  const { y } = await second.run({ x: value });
  assert.equal([...(y as OrtTensor).data], [3, 7, 13, 21]);
  const again = await first.run({ x: { data: Float32Array.of(0, 0, 0, 0), dims: [1, 4] } }, { outputs: { y: value } });
  assert.is(again.y, value);
  // Freed while runs that read it are waiting: they have it all the same.
  const reading = Array.from({ length: 20 }, () => second.run({ x: value }));
  value.dispose();
  value.dispose();
  for (const { y } of await Promise.all(reading)) assert.equal([...(y as OrtTensor).data], [2, 3, 4, 5]);
  assert.is(value.disposed, true);
  await assertRejects(second.run({ x: value }), Error, /^Expected a value for the input x .* one that was disposed$/);
  // A value outlives its network.
  const { y: late } = await first.run({ x }, { outputs: { y: 'device' } });
  await first.dispose();
  assert.equal([...((await second.run({ x: late as OrtValue })).y as OrtTensor).data], [3, 7, 13, 21]);
  (late as OrtValue).dispose();
  await second.dispose();
});

test('lets JavaScript go on meanwhile', async () => {
  const network = await OrtNetwork.open(unet);
  const feeds = unetFeeds(8);
  await network.run(feeds);
  let turns = 0;
  let running = true;
  const turn = () => {
    turns++;
    if (running) setImmediate(turn);
  };
  setImmediate(turn);
  await network.run(feeds);
  running = false;
  // With session.run there would be none.
  assert.ok(turns > 20, `${turns} turns of the event loop`);
  await network.dispose();
});

test('ends a run for a signal: before, in line and under way', async () => {
  const network = await OrtNetwork.open(unet);
  const feeds = unetFeeds(4);
  const expected = ((await network.run(feeds)).out_sample as OrtTensor).data;
  const reason = new Error('enough');
  await assertRejects(network.run(feeds, { signal: AbortSignal.abort(reason) }), Error, /^enough$/);
  const waiting = new AbortController();
  const [ahead, behind] = [network.run(feeds), network.run(feeds, { signal: waiting.signal })];
  waiting.abort(reason);
  await assertRejects(behind, Error, /^enough$/);
  assertBitsEqual(((await ahead).out_sample as OrtTensor).data, expected);
  const outcomes = { ended: 0, done: 0 };
  for (let i = 0; i < 60; i++) {
    const controller = new AbortController();
    const run = network.run(unetFeeds(1 + (i % 4)), { signal: controller.signal });
    await sleep((i * 7) % 23);
    controller.abort(reason);
    await run.then(
      () => outcomes.done++,
      (error) => {
        assert.is(error, reason);
        outcomes.ended++;
      },
    );
    if (i % 6 === 0) assertBitsEqual(((await network.run(feeds)).out_sample as OrtTensor).data, expected);
  }
  assert.ok(outcomes.ended > 5, JSON.stringify(outcomes));
  // A signal that comes after the run is nobody's business.
  const late = new AbortController();
  await network.run(feeds, { signal: late.signal });
  late.abort(reason);
  await network.dispose();
});

test('gives up loading for a signal', async () => {
  const reason = new Error('enough');
  await assertRejects(OrtNetwork.open(unet, { signal: AbortSignal.abort(reason) }), Error, /^enough$/);
  const controller = new AbortController();
  const opening = OrtNetwork.open(unet, { signal: controller.signal });
  setImmediate(() => controller.abort(reason));
  await opening.then(
    (network) => network.dispose(),
    (error) => assert.is(error, reason),
  );
});

test('is disposed of after the runs that were started, and runs nothing afterwards', async () => {
  const network = await OrtNetwork.open(unet);
  const runs = [network.run(unetFeeds(2)), network.run(unetFeeds(1))];
  let settled = 0;
  for (const run of runs) run.then(() => settled++);
  const end = network.dispose();
  assert.is(network.dispose(), end);
  await end;
  assert.is(settled, 2);
  await assertRejects(network.run(unetFeeds(1)), Error, /^The network of .*model\.onnx has been disposed of$/);
  {
    await using scoped = await OrtNetwork.open(fixture('affine'));
    assert.is(scoped.device, 'cpu');
  }
});

test('takes a graph from memory', async () => {
  const network = await OrtNetwork.open(readFileSync(fixture('affine')));
  const { y } = await network.run({ x: { data: Float32Array.of(1, 1, 1, 1), dims: [1, 4] } });
  assert.equal([...(y as OrtTensor).data], [2, 3, 4, 5]);
  await network.dispose();
});

test('takes options', async () => {
  for (const options of [
    { threads: 1 },
    { threads: 2, spinning: false },
    { optimization: 'none', memoryPattern: false },
    { sharedMemory: true },
    { freeDimensions: { batch: 2 } },
  ] as const) {
    const network = await OrtNetwork.open(unet, options);
    if ('freeDimensions' in options) assert.equal(network.inputs.get('sample')!.dims, [2, 3, 32, 32]);
    await network.run(unetFeeds(2));
    await network.dispose();
  }
});

const x = { data: Float32Array.of(1, 2, 3, 4), dims: [1, 4] };
const wrong: [what: string, run: (network: OrtNetwork) => Promise<unknown>, error: RegExp, type?: ErrorConstructor][] =
  [
    ['no input', (n) => n.run({}), /^Expected a tensor for the input x of .*affine\.onnx but received none$/],
    ['an unknown input', (n) => n.run({ x, z: x }), /^Expected inputs of .*, which has x, but received one named 'z'$/],
    [
      'no tensor',
      (n) => n.run({ x: 3 as never }),
      /^Expected a tensor for the input x .* but received 3 of type number$/,
    ],
    [
      'no dims',
      (n) => n.run({ x: { data: x.data } as never }),
      /^Expected dims for the input x .* received undefined$/,
    ],
    [
      'another type',
      (n) => n.run({ x: { ...x, type: 'int8' } }),
      /^Expected float32 for the input x .* received 'int8'$/,
    ],
    [
      'another array',
      (n) => n.run({ x: { ...x, data: new Float64Array(4) } }),
      /^Expected a Float32Array as data for the input x of .* but received a Float64Array$/,
    ],
    [
      'other dims',
      (n) => n.run({ x: { ...x, dims: [4, 1] } }),
      /^Expected dims \[n,4\] for the input x .* \[4,1\]$/,
      RangeError,
    ],
    [
      'negative dims',
      (n) => n.run({ x: { ...x, dims: [-1, 4] } }),
      /^Expected dims \[n,4\] for .* \[-1,4\]$/,
      RangeError,
    ],
    [
      'too few',
      (n) => n.run({ x: { ...x, dims: [2, 4] } }),
      /^Expected 8 elements for the input x .* received 4$/,
      RangeError,
    ],
    [
      'an unknown output',
      (n) => n.run({ x }, { outputs: ['z'] }),
      /^Expected outputs of .* which has y, .* named 'z'$/,
    ],
    [
      'a card on the CPU',
      (n) => n.run({ x: { pointer: 8n, dims: [1, 4], type: 'float32' } }),
      /^Expected memory of the host for the input x of .*, which is on cpu, but received a card's$/,
    ],
    [
      'memory that may shrink',
      (n) => {
        const Buffer = ArrayBuffer as unknown as new (bytes: number, o: object) => ArrayBuffer;
        return n.run({ x: { data: new Float32Array(new Buffer(16, { maxByteLength: 32 })), dims: [1, 4] } });
      },
      /^Expected memory of a fixed size for the input x of .* but received a resizable buffer's$/,
    ],
  ];
for (const [what, run, error, type = TypeError] of wrong) {
  test(`refuses ${what}`, async () => {
    const network = await OrtNetwork.open(fixture('affine'));
    await assertRejects(run(network), type, error);
    const { y } = await network.run({ x });
    assert.equal([...(y as OrtTensor).data], [2, 5, 10, 17], 'and goes on');
    await network.dispose();
  });
}

test('refuses strings and an output of another size in words', async () => {
  const text = await OrtNetwork.open(fixture('text'));
  assert.is(text.inputs.get('text')!.type, 'string');
  const feed = { data: ['a'] as never, dims: [1] };
  await assertRejects(
    text.run({ text: feed }),
    TypeError,
    /^Expected inputs and outputs that are tensors of numbers, but the input text of .* is string$/,
  );
  await text.dispose();
  const network = await OrtNetwork.open(fixture('affine'));
  const y = { data: new Float32Array(8), dims: [2, 4] };
  await assertRejects(
    network.run({ x }, { outputs: { y } }),
    Error,
    /^onnxruntime failed to run .*affine\.onnx: .*shape/i,
  );
  await network.dispose();
});

const options: [options: object, error: RegExp][] = [
  [{ device: 'tpu' }, /^Expected 'cpu', 'webgpu', 'cuda' or 'coreml' for device but received 'tpu'/],
  [{ threads: 0 }, /^Expected a whole number from 1 to 1024 for threads but received 0$/],
  [{ spinning: 1 }, /for spinning but received 1/],
  [{ optimization: 'most' }, /^Expected 'none', 'basic', 'extended' or 'all' for optimization/],
  [{ memoryPattern: 'no' }, /for memoryPattern/],
  [{ sharedMemory: 1 }, /for sharedMemory/],
  [
    { device: 'webgpu', sharedMemory: true },
    /^Expected sharedMemory only for device 'cpu' but received it for 'webgpu'$/,
  ],
  [{ freeDimensions: { batch: 0 } }, /for freeDimensions\.batch but received 0$/],
  [{ forceCpuNodeNames: ['a'] }, /^Expected forceCpuNodeNames only for device 'webgpu' but received it for 'cpu'$/],
  [{ card: 1 }, /^Expected card only for device 'cuda'/],
  [{ stream: {} }, /^Expected stream only for device 'cuda'/],
  [{ device: 'cuda', stream: {} }, /^Expected a Stream for stream/],
  [
    { device: 'cuda', card: 1, stream: { device: 0, pointer: 1n } },
    /^Expected a stream of card 1 but received one of card 0$/,
  ],
  [{ thread: 1 }, /^Unknown option 'thread'|thread/],
];
test('refuses options that it does not know or that make no sense', async () => {
  for (const [wrong, error] of options) {
    await OrtNetwork.open(fixture('affine'), wrong).then(
      () => assert.unreachable(JSON.stringify(Object.keys(wrong))),
      (thrown) => assert.match(thrown.message, error),
    );
  }
  await assertRejects(
    OrtNetwork.open(3 as never),
    TypeError,
    /^Expected a path or a Uint8Array for graph but received 3/,
  );
});

test('says which file cannot be loaded, and why', async () => {
  const corrupt = join(folder, 'corrupt.onnx');
  writeFileSync(corrupt, 'this is no graph');
  await assertRejects(
    OrtNetwork.open(corrupt),
    Error,
    /corrupt\.onnx could not be loaded by onnxruntime: Protobuf parsing/,
  );
  const missing = join(folder, 'missing.onnx');
  await assertRejects(
    OrtNetwork.open(missing),
    Error,
    /missing\.onnx could not be loaded by onnxruntime: File doesn't exist$/,
  );
  const pointer = join(folder, 'pointer.onnx');
  writeFileSync(pointer, 'version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n');
  await assertRejects(OrtNetwork.open(pointer), Error, /pointer\.onnx is a git-lfs pointer.*git lfs pull$/);
  await assertRejects(OrtNetwork.open(new Uint8Array(4)), Error, /^the graph could not be loaded by onnxruntime: /);
});

test('says what a device lacks', async () => {
  const { providers } = await ortLibrary();
  for (const [device, name] of [
    ['cuda', 'CUDA'],
    ['coreml', 'CoreML'],
  ] as const) {
    const opening = OrtNetwork.open(fixture('affine'), { device });
    const built = providers.includes(`${name}ExecutionProvider`);
    await opening.then(
      (network) => network.dispose(),
      ({ message }: Error) => {
        assert.match(message, new RegExp(`affine\\.onnx could not be loaded by onnxruntime for ${device}: `));
        assert.not.match(message, /_src\/|\n/);
        if (!built) assert.match(message, new RegExp(`has no ${name} provider on this platform, only .*CPU`));
      },
    );
  }
});

test.run();
