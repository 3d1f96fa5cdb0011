// Networks on WebGPU, by the graphics processor that Debian's chromium brings in software.
import { fileURLToPath } from 'node:url';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { OrtNetwork, ortLibrary } from '../../lib/onnx/index.js';
import { inChild } from '../native/children.js';
import { webGpuEnv, whyNoWebGpu } from './webgpu.js';

const test = suite('networks on WebGPU');
const affine = fileURLToPath(new URL('../fixtures/onnx/affine.onnx', import.meta.url));
const { providers } = await ortLibrary();
const env = webGpuEnv;
const reason = await whyNoWebGpu();
if (reason) console.log(`skipped: ${reason}`);
const here = reason ? test.skip : test;

here('does what it does on the CPU', async () => {
  const { code, output, errors } = await inChild(new URL('./children/webgpu.ts', import.meta.url), {
    env,
    args: [affine],
  });
  assert.equal([code, output], [0, 'fine\n'], errors);
});

for (const [how, code, output] of [
  ['natural end', 0, ''],
  ['exit', 5, ''],
  ['dispose during runs', 0, 'done,done,done,done,done,done\n'],
  ['worker terminated', 0, '1\n1\n1\n1\ngoes on\n'],
  ['worker at the process end', 7, ''],
] as const) {
  here(`ends cleanly: ${how}`, async () => {
    const child = new URL('./children/ends.ts', import.meta.url);
    const ended = await inChild(child, { env, args: [how, affine, 'webgpu'] });
    assert.equal([ended.signal, ended.code, ended.output], [null, code, output], ended.errors);
  });
}

test('says in one sentence that there is no adapter', async () => {
  if (!providers.includes('WebGpuExecutionProvider')) return;
  await OrtNetwork.open(affine, { device: 'webgpu' }).then(
    (network) => network.dispose(),
    ({ message }: Error) =>
      assert.match(
        message,
        /affine\.onnx could not be loaded by onnxruntime for webgpu: Failed to get a WebGPU adapter[^\n]*$/,
      ),
  );
});

test.run();
