// `npx cmake-js compile` in the installed package, as docs/install.md has it for those whom no addon fits: the sources
// are there, and so are the headers, so that nothing is downloaded; what comes out is then taken.
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { wasmFile } from './addon/wasm/support.js';
import { host, install, ok, pack, root, run } from './packed.js';

const tests = suite('compiling the installed package');
const missing = !existsSync(join(root, 'dist'))
  ? 'dist is not built'
  : spawnSync('cmake', ['--version']).status !== 0
    ? 'there is no cmake'
    : '';
if (missing) console.log(`skipped: ${missing}`);
const test = missing ? tests.skip : tests;

test('needs no download, and the addon is preferred to all that came with the package', () => {
  const folder = mkdtempSync(join(tmpdir(), 'dpm-solver-compile-'));
  try {
    // The package's own addon is there, too: what was made on the machine has to win.
    const { tarball } = pack(folder, { file: host?.file, wasm: wasmFile });
    const project = install(folder, tarball);
    const own = join(project, 'node_modules/dpm-solver');
    const info = () => {
      const done = run(process.execPath, [join(own, 'dist/cli/main.js'), 'info', '--json'], project);
      assert.is(done.status, 0, done.stderr);
      return (JSON.parse(done.stdout) as { addon: string }).addon.replaceAll('\\', '/');
    };
    if (host) assert.match(info(), /prebuilds/);
    // cmake-js keeps what it downloads at home; whoever tries finds a proxy that is not there.
    const home = join(folder, 'home');
    mkdirSync(home);
    const nowhere = 'http://127.0.0.1:9';
    const env = { HOME: home, USERPROFILE: home, http_proxy: nowhere, https_proxy: nowhere, HTTPS_PROXY: nowhere };
    ok(run(process.execPath, [join(root, 'node_modules/cmake-js/bin/cmake-js'), 'compile'], own, env));
    assert.not.ok(existsSync(join(home, '.cmake-js')), 'headers were downloaded');
    assert.match(info(), /\/dpm-solver\/build\/Release\/dpm-solver\.node$/);
    // It computes, and as the addon that the tests ran with does.
    const program = `import { info, step } from 'dpm-solver/native';
      const x = Float32Array.from({ length: 99 }, (_, i) => Math.sin(i)), out = new Float32Array(99);
      const rows = new Float64Array(32); rows.set([0.5, 0, 0, 0, 2, 0.9, 1, 100, 1]); rows.set([0.7, 0.3], 12);
      step(rows, { x, base: x, out }, { batch: 1 });
      console.log(JSON.stringify([info().backend, Buffer.from(out.buffer).toString('hex')]));`;
    const compute = (cwd: string) => {
      const done = run(process.execPath, ['--input-type=module', '-e', program], cwd);
      assert.is(done.status, 0, done.stderr);
      return JSON.parse(done.stdout);
    };
    const made = compute(project);
    assert.is(made[0], 'native');
    assert.equal(made, compute(root));
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});

tests.run();
