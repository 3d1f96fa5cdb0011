// Where the networks of a pipeline run, and how `'auto'` chooses.
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { cpus, tmpdir } from 'node:os';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { adaptersOf } from '../../lib/onnx/devices.js';
import { networkDevices } from '../../lib/onnx/index.js';
import { type Hardware, hardware } from '../../lib/onnx/library.js';
import { writeGraph } from '../../lib/onnx/write.js';
import { objection } from '../../lib/pipelines/device.js';
import { DiffusionPipeline } from '../../lib/pipelines/index.js';
import { inChild } from '../native/children.js';
import { webGpuEnv, whyNoWebGpu } from '../onnx/webgpu.js';
import { assertRejects } from '../support.js';
import { changed, inpainting, layout, removeCopies, shapes } from './models.js';

const test = suite('devices of pipelines');
const cache = mkdtempSync(join(tmpdir(), 'dpm-solver-cache-'));
test.after(() => {
  rmSync(cache, { recursive: true });
  removeCopies();
});

test('lists what onnxruntime has here, the CPU first', async () => {
  const devices = await networkDevices();
  assert.equal(devices[0], { device: 'cpu', name: 'CPU' });
  const names = devices.map(({ device }) => device);
  if (process.platform === 'linux') assert.equal(names, ['cpu', 'cuda', 'webgpu']);
  for (const { missing } of devices) assert.ok(missing === undefined || !/[\n.]$/.test(missing));
});

test('tells graphics processors by their names, or by maker and number', () => {
  const gpu = { provider: 'WebGpuExecutionProvider', kind: 'gpu', vendor: '', more: {} } as const;
  const cpu = { provider: 'CPUExecutionProvider', kind: 'cpu', vendor: 'Intel', more: {} } as const;
  const found: Hardware[] = [
    { ...cpu, vendorId: 0x8086, deviceId: 0 },
    { ...gpu, vendorId: 0x10de, deviceId: 0x2330 },
    { ...gpu, vendorId: 0x10de, deviceId: 0x2330 },
    { ...gpu, vendorId: 0x1e36, deviceId: 0x20, vendor: 'Iluvatar' },
    { ...gpu, vendorId: 0x1ae0, deviceId: 0xc0de },
    { ...gpu, vendorId: 0x1002, deviceId: 0x744c, more: { Description: 'AMD Radeon RX 7900 XTX' } },
    { ...gpu, provider: 'DmlExecutionProvider', vendorId: 0x8086, deviceId: 0x56a0 },
  ];
  const names = ['NVIDIA 10de:2330', 'Iluvatar 1e36:0020', 'unknown 1ae0:c0de', 'AMD Radeon RX 7900 XTX'];
  assert.equal(adaptersOf(found, 'webgpuexecutionprovider'), names);
  assert.equal(adaptersOf(found, 'dmlexecutionprovider'), ['Intel 8086:56a0']);
  assert.equal(adaptersOf(found, 'cpuexecutionprovider'), []);
});

test('onnxruntime tells what it has found in this machine', async () => {
  const own = (await hardware()).filter(({ provider }) => provider === 'CPUExecutionProvider');
  assert.equal(
    own.map(({ kind }) => kind),
    ['cpu'],
  );
  const makers = [
    [/Intel/, 0x8086],
    [/AMD/, 0x1022],
  ] as const;
  for (const [maker, id] of makers) if (maker.test(cpus()[0].model)) assert.is(own[0].vendorId, id);
});

const good = { difference: 1e-5, cpuMs: 10, deviceMs: 5, scale: 1 };
for (const [what, proof, expected] of [
  ['takes what is right and faster', good, undefined],
  ['leaves what is wrong', { ...good, difference: 0.002 }, /^its output differs from the CPU's by 0\.0020 of its size/],
  ['leaves what is not a number', { ...good, difference: Number.NaN }, /^its output differs .* by NaN/],
  ['leaves what is slower', { ...good, deviceMs: 11 }, /^it is slower than the CPU \(11\.0 against 10\.0 ms\)$/],
  ['takes what is a little slower on a small trial', { ...good, deviceMs: 25, scale: 16 }, undefined],
  ['leaves what is far slower on a small trial', { ...good, deviceMs: 31, scale: 16 }, /^it is slower/],
  ['tells why there was no trial', { reason: 'no adapter' }, /^no adapter$/],
] as const) {
  test(what, () => {
    const found = objection(proof, 1e-3);
    if (expected === undefined) assert.is(found, undefined);
    else assert.match(found ?? '', expected);
  });
}

const draw = (folder: string, device: string, steps: number, env: Record<string, string> = {}, more: object = {}) =>
  inChild(new URL('./children/on.ts', import.meta.url), {
    env: { XDG_CACHE_HOME: cache, ...env },
    args: [folder, device, 'red', String(steps), JSON.stringify(more)],
  });

// Elsewhere the cache folder is another variable's.
(process.platform === 'linux' ? test : test.skip)('never fails by itself, and keeps what it found', async () => {
  const first = await draw(shapes, 'auto', 1);
  assert.is(first.code, 0, first.errors);
  const { device } = JSON.parse(first.output);
  if (device !== 'cpu') return; // A graphics processor that is faster: nothing to fall back from.
  const warnings = (text: string) =>
    text.match(/\[DPM_SOLVER_DEVICE\] DpmSolverWarning: The networks run on the CPU\. /g);
  assert.is(warnings(first.errors)?.length, 1, first.errors);
  const file = join(cache, 'dpm-solver/devices.json');
  const { mtimeMs } = statSync(file);
  const again = await draw(shapes, 'auto', 1);
  assert.equal(JSON.parse(again.output), JSON.parse(first.output));
  assert.is(statSync(file).mtimeMs, mtimeMs, 'no second trial');
  // What once worked does not any more.
  const kept = JSON.parse(readFileSync(file, 'utf8'));
  const [key] = Object.keys(kept);
  if (!('reason' in kept[key].value)) return;
  kept[key].value = good;
  writeFileSync(file, JSON.stringify(kept));
  const gone = await draw(shapes, 'auto', 1);
  assert.equal([gone.code, JSON.parse(gone.output)], [0, JSON.parse(first.output)], gone.errors);
  assert.is(warnings(gone.errors)?.length, 1, gone.errors);
  assert.ok('reason' in JSON.parse(readFileSync(file, 'utf8'))[key].value);
  writeFileSync(file, 'no JSON');
  assert.is((await draw(shapes, 'auto', 1)).code, 0, 'a cache that cannot be read');
});

test('refuses what is no device, and says what one lacks', async () => {
  await assertRejects(
    DiffusionPipeline.fromPretrained(shapes, { device: 'gpu' as 'cpu' }),
    TypeError,
    /^Expected 'auto', 'cpu', 'webgpu', 'cuda', 'coreml' or 'dml' for device but received 'gpu'/,
  );
  const [cuda] = (await networkDevices()).filter(({ device, missing }) => device === 'cuda' && missing);
  if (!cuda) return;
  await assertRejects(
    DiffusionPipeline.fromPretrained(shapes, { device: 'cuda' }),
    Error,
    /model\.onnx could not be loaded by onnxruntime for cuda: the CUDA provider's library .* cannot be loaded/,
  );
});

/** How far one is from the other, in its size. */
function apart(there: number[], here: number[]): number {
  const square = (values: number[]) => values.reduce((sum, value) => sum + value * value, 0);
  return Math.sqrt(square(there.map((value, i) => value - here[i]!)) / square(here));
}

/** Stable Diffusion's layout with a network that was exported for two samples. */
const ofTwo = () =>
  changed((folder) => {
    const dims = [2, 4, 'height', 'width'];
    const graph = writeGraph({
      inputs: [
        { name: 'sample', type: 'float32', dims },
        { name: 'timestep', type: 'int64', dims: [1] },
        { name: 'encoder_hidden_states', type: 'float32', dims: [2, 'tokens', 4] },
      ],
      outputs: [{ name: 'out_sample', type: 'float32', dims }],
      nodes: [{ type: 'Tanh', inputs: ['sample'], outputs: ['out_sample'] }],
    });
    writeFileSync(join(folder, 'unet/model.onnx'), graph);
  }, layout('sd'));

const reason = await whyNoWebGpu();
if (reason) console.log(`skipped: ${reason}`);

// Its state in float32, and the mask and the masked picture, which the network takes besides.
const [state, extra] = [4 * 16, 4 * 20];
const image = { width: 16, height: 16, data: Array<number>(3 * 256).fill(90) };
const mask = { width: 16, height: 16, data: image.data.map((_, i) => (i % 16 < 8 ? 0 : 255)) };

(reason ? test.skip : test)('on WebGPU counts what goes there for the network, and what is looked at', async () => {
  const ask = { image, mask, guidance: 3, order: 2 };
  const drawn = async (folder: string, more: object, device = 'webgpu') => {
    const { code, output, errors } = await draw(folder, device, 4, webGpuEnv, { ...ask, ...more });
    assert.is(code, 0, errors);
    return JSON.parse(output);
  };
  const { transfers: nine } = await drawn(inpainting(), {});
  const { transfers: plain, data } = await drawn(layout('sd'), {});
  // Both have the prompts' encodings, coefficients, and the known part of the state, which crosses once.
  assert.is(nine.uploaded - plain.uploaded, 2 * extra);
  assert.ok(plain.downloaded < state + 200, `${plain.downloaded} bytes came back`);
  assert.ok(apart(data, (await drawn(layout('sd'), {}, 'cpu')).data) < 1e-4);
  const { transfers: watched } = await drawn(layout('sd'), { watched: true });
  // Of each evaluation the state and the answer, with both halves, and of each step what onStep is shown.
  assert.is(watched.downloaded - plain.downloaded, 4 * (2 * 2 * state + state));
});

(reason ? test.skip : test)('tells of an edit on WebGPU that its steps are on the host', async () => {
  const edit = { source: 'red', target: 'blue' };
  const { code, output, errors } = await draw(layout('sd'), 'webgpu', 2, webGpuEnv, { edit, image, mask });
  assert.is(code, 0, errors);
  const { device, calls, transfers } = JSON.parse(output);
  assert.equal([device, transfers.onHost], ['webgpu', 'an edit']);
  // Up and down, two steps each, of one state.
  assert.equal([calls, transfers.uploaded, transfers.downloaded], [4, 4 * state, 4 * state]);
});

for (const [name, folder, steps, more, onHost] of [
  ['in pixels', shapes, 2, {}, undefined],
  ['in latents, guided, encoder and decoder too', layout('sd'), 4, { guidance: 3, order: 2 }, undefined],
  ['in tokens', layout('flux'), 3, { guidance: 3, order: 2 }, undefined],
  ['with the step on the host', layout('sd'), 2, { thresholding: true }, 'thresholding'],
  [
    'in an interval, by a network for two samples',
    ofTwo(),
    4,
    { guidance: 3, order: 2, guidanceInterval: [0.3, 3] },
    'a network for another number of samples',
  ],
] as const) {
  (reason ? test.skip : test)(`draws on WebGPU what it draws on the CPU: ${name}`, async () => {
    const there = await draw(folder, 'webgpu', steps, webGpuEnv, more);
    const here = await draw(folder, 'cpu', steps, {}, more);
    assert.equal([there.code, here.code], [0, 0], there.errors + here.errors);
    const [webgpu, cpu] = [JSON.parse(there.output), JSON.parse(here.output)];
    assert.equal([webgpu.device, cpu.device], ['webgpu', 'cpu']);
    const relative = apart(webgpu.data, cpu.data);
    assert.ok(relative < 1e-4, `${relative} of the size`);
    assert.equal([webgpu.calls, webgpu.transfers.onHost, cpu.transfers], [steps, onHost, undefined]);
    // Without a step on the host the sample comes back, and next to nothing else.
    const bytes = 4 * cpu.data.length;
    if (!onHost) assert.ok(webgpu.transfers.downloaded < bytes + 500, `${webgpu.transfers.downloaded} bytes`);
  });
}

test.run();
