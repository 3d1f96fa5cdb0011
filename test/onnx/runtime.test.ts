// onnxruntime-node where it is, and where it is not.
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { importRuntime, loadRuntime } from '../../lib/onnx/runtime.js';
import { assertRejects } from '../support.js';

const test = suite('onnxruntime');

const failing = (code: string, message: string) => () => Promise.reject(Object.assign(new Error(message), { code }));

test('says what to install where the package is missing', async () => {
  const missing = failing('ERR_MODULE_NOT_FOUND', "Cannot find package 'onnxruntime-node' imported from /app/x.js");
  await assertRejects(importRuntime(missing), Error, /not installed: npm install onnxruntime-node$/);
});

test('says what is broken where it is there', async () => {
  const broken = failing('ERR_DLOPEN_FAILED', 'libonnxruntime.so.1: cannot open shared object file\nmore');
  await assertRejects(importRuntime(broken), Error, /^onnxruntime-node is installed but could not be loaded: libonn/);
  const inside = failing('ERR_MODULE_NOT_FOUND', "Cannot find package 'onnxruntime-common' imported from /app/x.js");
  await assertRejects(importRuntime(inside), Error, /could not be loaded: Cannot find package 'onnxruntime-common'/);
});

test('takes names from the default export, too', async () => {
  const runtime = await loadRuntime();
  assert.is(await importRuntime(async () => ({ default: runtime })), runtime);
  assert.is(await loadRuntime(), await loadRuntime());
});

test.run();
