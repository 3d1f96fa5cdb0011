import { spawnSync } from 'node:child_process';
import { copyFileSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Worker } from 'node:worker_threads';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { addonPath, libcOf, load } from '../../lib/addon/loader.js';

const root = fileURLToPath(new URL('../..', import.meta.url));
const loader = suite('loader');
const folders: string[] = [];
const saved = process.env.DPM_SOLVER_PREBUILD;

/** A package root without an addon. */
function emptyRoot(files: Record<string, string> = {}): string {
  const folder = mkdtempSync(join(tmpdir(), 'dpm-solver-loader-'));
  folders.push(folder);
  copyFileSync(join(root, 'package.json'), join(folder, 'package.json'));
  mkdirSync(join(folder, 'native'));
  for (const [name, text] of Object.entries(files)) {
    mkdirSync(join(folder, name, '..'), { recursive: true });
    writeFileSync(join(folder, name), text);
  }
  return folder;
}

function message(fn: () => unknown): string {
  try {
    fn();
  } catch (error) {
    assert.instance(error, Error);
    return (error as Error).message;
  }
  return assert.unreachable('nothing was thrown') as never;
}

loader.before.each(() => {
  delete process.env.DPM_SOLVER_PREBUILD;
});

loader.after(() => {
  if (saved === undefined) delete process.env.DPM_SOLVER_PREBUILD;
  else process.env.DPM_SOLVER_PREBUILD = saved;
  for (const folder of folders) rmSync(folder, { recursive: true, force: true });
});

loader('loads the addon that was built here', () => {
  assert.type(load(), 'object');
  assert.match(addonPath(), /dpm-solver[^/\\]*\.node$/);
});

loader('gives the same addon every time', () => {
  assert.is(load(), load());
});

loader('says what to do where there is no addon', () => {
  const folder = emptyRoot();
  const text = message(() => load(folder));
  assert.match(text, `${process.platform}-${process.arch}`);
  assert.match(text, process.versions.node);
  assert.match(text, `cd ${JSON.stringify(folder)} && npx cmake-js compile`);
  assert.match(text, /C\+\+17 compiler and CMake/);
  assert.match(text, /DPM_SOLVER_PREBUILD/);
  if (process.platform === 'linux') assert.match(text, /\((glibc|musl)\)/);
  assert.ok(text.split('\n').length <= 6, text);
});

loader('tells a checkout to build with its own tools', () => {
  assert.match(
    message(() => load(emptyRoot({ 'binding.gyp': '{}' }))),
    /&& npm ci$/m,
  );
});

loader('says what to do where the addon cannot be loaded', () => {
  const folder = emptyRoot({ 'build/Release/dpm-solver.node': 'not a shared object' });
  const text = message(() => load(folder));
  assert.match(text, 'could not be loaded');
  assert.match(text, join('build', 'Release', 'dpm-solver.node'));
  assert.match(text, 'npx cmake-js compile');
});

loader('takes a prebuilt addon for this platform', () => {
  const name = `prebuilds/${process.platform}-${process.arch}/dpm-solver.node`;
  const folder = emptyRoot({ [name]: '' });
  copyFileSync(addonPath(), join(folder, name));
  assert.is(addonPath(folder), join(folder, name));
  assert.equal(Object.keys(load<object>(folder)), Object.keys(load<object>()));
});

loader('looks where DPM_SOLVER_PREBUILD says', () => {
  process.env.DPM_SOLVER_PREBUILD = root;
  assert.type(load(emptyRoot()), 'object');

  const folder = emptyRoot();
  process.env.DPM_SOLVER_PREBUILD = folder;
  const text = message(() => load());
  assert.match(text, folder);
  assert.match(text, /DPM_SOLVER_PREBUILD is set/);
});

loader('in a bundle it says how an addon gets in, and names no folder', () => {
  const text = message(() => load(null));
  assert.match(text, 'this is a bundle without it');
  const musl = /\(musl\)/.test(text) ? 'musl' : '';
  assert.match(text, `import 'dpm-solver/${process.platform}${musl}-${process.arch}' in the program`);
  assert.match(text, "import 'dpm-solver/wasm'");
  assert.not.match(text, process.cwd());
  assert.not.match(text, /\bcd |cmake/);
});

loader('where a deployment has left the sources behind it tells nobody to build there', () => {
  const folder = emptyRoot();
  rmSync(join(folder, 'native'), { recursive: true });
  const text = message(() => load(folder));
  assert.match(text, /^- In a bundle: import 'dpm-solver\/[\w-]+' in the program/m);
  assert.not.match(text, /\bcd |cmake/);
});

loader('in a bundle, too, it looks where DPM_SOLVER_PREBUILD says, and nowhere else', () => {
  const built = addonPath();
  const names = Object.keys(load<object>());
  const folder = emptyRoot({ 'build/Release/other.node': 'of somebody else' });
  process.env.DPM_SOLVER_PREBUILD = folder;
  assert.match(
    message(() => load(null)),
    `in ${folder}`,
  );
  const { platform, arch } = process;
  for (const libc of ['', '.glibc', '.musl']) {
    const name = `prebuilds/${platform}-${arch}/dpm-solver${libc}.node`;
    mkdirSync(join(folder, name, '..'), { recursive: true });
    copyFileSync(built, join(folder, name));
  }
  assert.match(addonPath(null), join(folder, 'prebuilds'));
  assert.equal(Object.keys(load<object>(null)), names);
});

loader('tells the C library by what the process has loaded', () => {
  const line = (path: string) => `7f5c5a000000-7f5c5a0a4000 r-xp 00000000 fe:00 1234                       ${path}\n`;
  const node = line('/opt/musl/bin/node');
  const cases: [string, string | undefined][] = [
    ['/lib/ld-musl-x86_64.so.1', 'musl'], // Alpine 3.20
    ['/usr/lib/x86_64-linux-musl/libc.so', 'musl'], // Debian 12, package musl
    ['/usr/lib/x86_64-linux-gnu/libc.so.6', 'glibc'], // Debian 12
    ['/lib64/libc-2.28.so', 'glibc'], // RHEL 8
    ['/usr/lib/x86_64-linux-gnu/libcap.so.2', undefined],
  ];
  for (const [path, expected] of cases) assert.is(libcOf(node + line(path) + line('[stack]')), expected, path);
});

loader('leaves the environment as it was', () => {
  const before = { ...process.env };
  addonPath();
  assert.equal({ ...process.env }, before);
});

loader('works in several worker threads at once, beside the main thread', async () => {
  load();
  const code = `
    const { parentPort, workerData } = require('node:worker_threads');
    parentPort.postMessage(Object.keys(require(workerData)).length);
  `;
  const counts = await Promise.all(
    [1, 2, 3].map(
      () =>
        new Promise<number>((resolve, reject) => {
          const worker = new Worker(code, { eval: true, workerData: addonPath(), execArgv: [] });
          worker.on('message', resolve);
          worker.on('error', reject);
        }),
    ),
  );
  const expected = Object.keys(load<object>()).length;
  assert.equal(counts, [expected, expected, expected]);
});

loader('a process that loaded the addon in a worker only ends cleanly', () => {
  const code = `new (require('node:worker_threads').Worker)('require(${JSON.stringify(JSON.stringify(addonPath())).slice(1, -1)})', { eval: true })`;
  const { status, stderr } = spawnSync(process.execPath, ['-e', code], { encoding: 'utf8' });
  assert.is(status, 0, stderr);
});

loader.run();
