// onnxruntime-node where it is, and where it is not.
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
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

/** Files that loading a network leaves in an empty home. A build server's environment would keep it quiet by itself. */
function traces(setting: string | undefined): string[] {
  const home = mkdtempSync(join(tmpdir(), 'dpm-solver-home-'));
  try {
    const { CI: _, ORT_DISABLE_TELEMETRY: __, GITHUB_ACTIONS: ___, ...env } = process.env;
    const folders = { HOME: home, TMPDIR: home, XDG_CACHE_HOME: home, LOCALAPPDATA: home, USERPROFILE: home };
    const own = setting === undefined ? {} : { ORT_DISABLE_TELEMETRY: setting };
    const code = `
      const { loadRuntime } = await import('./lib/onnx/runtime.ts');
      const { InferenceSession } = await loadRuntime();
      const session = await InferenceSession.create('models/shapes/text_encoder/model.onnx');
      await session.release();
      console.log('setting', process.env.ORT_DISABLE_TELEMETRY);`;
    const args = ['--import', 'tsx', '--input-type=module', '--eval', code];
    const cwd = fileURLToPath(new URL('../..', import.meta.url));
    const said = execFileSync(process.execPath, args, { cwd, env: { ...env, ...folders, ...own }, encoding: 'utf8' });
    assert.match(said, new RegExp(`setting ${setting ?? '1'}$`, 'm'));
    const names = readdirSync(home, { recursive: true, encoding: 'utf8' });
    return names.filter((name) => /onnxruntime|mat-debug|\.ses$/.test(name));
  } finally {
    rmSync(home, { recursive: true, force: true });
  }
}

test('is kept from reporting to its makers, unless the user wants it', () => {
  assert.equal(traces(undefined), []);
  assert.equal(traces('1'), []);
  // The user's word counts; and where the runtime reports, this is what is left behind.
  const left = traces('0');
  if (process.platform === 'linux')
    assert.ok(left.length > 0, 'no traces where reports are on: is this test still one?');
});

test.run();
