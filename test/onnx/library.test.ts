// Where onnxruntime's library is looked for, and what is said where there is none that will do.
import { execFileSync, spawnSync } from 'node:child_process';
import { cpSync, existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { delimiter, dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { addonPath } from '../../lib/addon/loader.js';
import { libraryPaths } from '../../lib/onnx/library.js';
import { compiler } from '../cuda/emulation/build.js';
import { inChild } from '../native/children.js';
import { npm, root } from '../packed.js';
import { assertThrows } from '../support.js';

const test = suite("onnxruntime's library");
const folder = mkdtempSync(join(tmpdir(), 'dpm-solver-library-'));
test.after(() => rmSync(folder, { recursive: true }));

/** A package with these files in bin/. */
function packageWith(name: string, files: string[]): string {
  const place = join(folder, name);
  for (const file of files) {
    mkdirSync(dirname(join(place, 'bin', file)), { recursive: true });
    writeFileSync(join(place, 'bin', file), '');
  }
  return place;
}

test('knows the names of all platforms and versions', () => {
  const found = (place: string, platform: string, arch: string) =>
    libraryPaths(place, platform, arch).map((path) => path.slice(join(place, 'bin').length + 1).replaceAll('\\', '/'));
  const now = packageWith('1.30', [
    'napi-v6/linux/x64/libonnxruntime.so.1',
    'napi-v6/linux/x64/onnxruntime_binding.node',
    'napi-v6/darwin/arm64/libonnxruntime.1.30.0.dylib',
    'napi-v6/darwin/arm64/libonnxruntime.1.dylib',
    'napi-v6/win32/x64/onnxruntime.dll',
    'napi-v6/win32/x64/DirectML.dll',
  ]);
  assert.equal(found(now, 'linux', 'x64'), ['napi-v6/linux/x64/libonnxruntime.so.1']);
  assert.equal(found(now, 'darwin', 'arm64'), [
    'napi-v6/darwin/arm64/libonnxruntime.1.dylib',
    'napi-v6/darwin/arm64/libonnxruntime.1.30.0.dylib',
  ]);
  assert.equal(found(now, 'win32', 'x64'), ['napi-v6/win32/x64/onnxruntime.dll']);
  const old = packageWith('1.20', [
    'napi-v3/linux/x64/libonnxruntime.so.1',
    'napi-v3/linux/x64/libonnxruntime.so.1.20.1',
    'napi-v3/linux/x64/libonnxruntime_providers_shared.so',
    'napi-v3/darwin/x64/libonnxruntime.1.20.1.dylib',
  ]);
  assert.equal(found(old, 'linux', 'x64'), [
    'napi-v3/linux/x64/libonnxruntime.so.1',
    'napi-v3/linux/x64/libonnxruntime.so.1.20.1',
  ]);
  assert.equal(found(old, 'darwin', 'x64'), ['napi-v3/darwin/x64/libonnxruntime.1.20.1.dylib']);
  assertThrows(
    () => libraryPaths(now, 'darwin', 'x64'),
    Error,
    /^Expected onnxruntime's library for darwin-x64 in .*bin but found none$/,
  );
  const packed = packageWith('app.asar.unpacked/node_modules/o', ['napi-v6/linux/x64/libonnxruntime.so.1']);
  const inside = packed.replace('app.asar.unpacked', 'app.asar');
  assert.equal(libraryPaths(inside, 'linux', 'x64'), [join(packed, 'bin/napi-v6/linux/x64/libonnxruntime.so.1')]);
});

/** What `ortLibrary` says in a process of its own, which may have loaded something before. */
function asked(paths: unknown, env: Record<string, string> = {}, ...level: unknown[]): string {
  const args = [paths, ...level].map((value) => JSON.stringify(value)).join(', ');
  const code = `
    try {
      console.log(JSON.stringify(require(${JSON.stringify(addonPath())}).ortLibrary(${args})));
    } catch (error) {
      console.log(error.name + ': ' + error.message);
    }`;
  return execFileSync(process.execPath, ['-e', code], { encoding: 'utf8', env: { ...process.env, ...env } }).trim();
}

test('loads nothing by itself', () => {
  assert.is(
    asked(['/nowhere/libonnxruntime.so.1', '/elsewhere/libonnxruntime.so.1']),
    'Error: Expected the library of onnxruntime-node to be loaded from /nowhere/libonnxruntime.so.1 or ' +
      '/elsewhere/libonnxruntime.so.1 but found none',
  );
  const there = libraryPaths(join(root, 'node_modules/onnxruntime-node'));
  assert.match(asked(there), /^Error: Expected the library of onnxruntime-node to be loaded from .* but found none$/);
  assert.match(asked([]), /^TypeError: Expected an array of paths for paths but received an array$/);
  assert.match(asked([3]), /^TypeError: Expected an array of paths for paths but received an array$/);
  for (const level of [5, -1, 1.5, 'fatal', null]) {
    assert.match(asked(there, {}, level), /^TypeError: Expected 0, 1, 2, 3 or 4 for level but received /);
  }
  assert.match(asked(there, {}, 4), /^Error: Expected the library of onnxruntime-node to be loaded from /);
});

/** What has a process load a library first, after what loads itself first already. */
const preloaded = (file: string) => ({ LD_PRELOAD: [process.env.LD_PRELOAD, file].filter(Boolean).join(' ') });
const cxx = compiler();
(cxx ? test : test.skip)('refuses libraries that will not do, in one sentence', () => {
  const make = (name: string, source: string) => {
    const file = join(folder, `${name}.so`);
    const built = spawnSync(cxx!, ['-x', 'c++', '-shared', '-fPIC', '-', '-o', file], { input: source });
    assert.is(built.status, 0, String(built.stderr));
    return file;
  };
  const api = (version: string) => `
    static const void* get(unsigned) { __builtin_trap(); }
    static const char* version() { return "${version}"; }
    struct Base { const void* (*get)(unsigned); const char* (*version)(); };
    extern "C" const Base* OrtGetApiBase() { static const Base base = { get, version }; return &base; }`;
  // Not even asked for a table that it cannot have: onnxruntime would write to the terminal.
  const old = make('old', api('1.19.2'));
  assert.is(asked([old], preloaded(old)), `Error: Expected onnxruntime 1.20 or newer in ${old} but found 1.19.2`);
  const other = make('other', 'extern "C" int nothing() { return 0; }');
  assert.is(
    asked([other], preloaded(other)),
    `Error: Expected onnxruntime's C API in ${other} but found no OrtGetApiBase`,
  );
});

test('says that WebAssembly has no threads of its own', async () => {
  const { output, errors } = await inChild(new URL('./children/asked.ts', import.meta.url), {
    env: { DPM_SOLVER_BACKEND: 'wasm' },
  });
  if (/there is no .*dpm-solver\.wasm/.test(output)) return; // not built here
  assert.is(
    output,
    'A network on a thread of its own needs the native addon, and WebAssembly is used instead of it\n',
    errors,
  );
});

/** The package, unpacked beside an onnxruntime-node of that version; a reason where the registry has none for us. */
function beside(version: string): { project: string } | { reason: string } {
  const project = join(folder, `with-${version}`);
  mkdirSync(project, { recursive: true });
  writeFileSync(join(project, 'package.json'), '{ "private": true, "type": "module" }\n');
  const installed = npm(
    ['install', '--ignore-scripts', '--prefer-offline', '--no-audit', '--no-fund', `onnxruntime-node@${version}`],
    project,
  );
  if (installed.status !== 0) return { reason: `npm has no onnxruntime-node ${version} for us here` };
  const modules = join(project, 'node_modules');
  for (const entry of readdirSync(join(root, 'node_modules'))) {
    if (!existsSync(join(modules, entry))) symlinkSync(join(root, 'node_modules', entry), join(modules, entry));
  }
  const place = join(modules, 'dpm-solver');
  mkdirSync(join(place, 'build/Release'), { recursive: true });
  for (const entry of ['lib', 'package.json', 'tsconfig.json', 'test', 'models']) {
    symlinkSync(join(root, entry), join(place, entry));
  }
  cpSync(addonPath(), join(place, 'build/Release/dpm-solver.node'));
  return { project };
}

test('runs in the oldest onnxruntime-node that the package takes', async () => {
  const made = beside('1.20.1');
  if ('reason' in made) {
    console.log(`skipped: ${made.reason}`);
    return;
  }
  // Symbolic links stay what they are, so that the package finds what lies beside it.
  const flags = ['--preserve-symlinks', '--preserve-symlinks-main', '--import', 'tsx'];
  const child = join(made.project, 'node_modules/dpm-solver/test/onnx/children/asked.ts');
  const run = spawnSync(process.execPath, [...flags, child], { encoding: 'utf8', cwd: made.project });
  assert.is(run.stdout, '1.20.1, the bits of session.run, ended by its signal\n', run.stderr);
  assert.is(run.status, 0, run.stderr);
});

/** This Node and those that DPM_SOLVER_NODES lists. */
for (const node of (process.env.DPM_SOLVER_NODES ?? '').split(delimiter).filter(Boolean)) {
  test(`runs in ${node}`, () => {
    const flags = ['--import', 'tsx', fileURLToPath(new URL('./children/asked.ts', import.meta.url))];
    const run = spawnSync(node, flags, { encoding: 'utf8', cwd: root });
    assert.match(run.stdout, /^[\d.]+, the bits of session.run, ended by its signal\n$/, run.stderr);
    assert.is(run.status, 0, run.stderr);
    for (const [how, code] of [
      ['exit', 5],
      ['worker terminated', 0],
      ['natural end', 0],
    ] as const) {
      const ends = fileURLToPath(new URL('./children/ends.ts', import.meta.url));
      const ended = spawnSync(
        node,
        ['--import', 'tsx', ends, how, join(root, 'models/shapes/unet/model.onnx'), 'cpu'],
        { encoding: 'utf8', cwd: root },
      );
      assert.equal([ended.signal, ended.status], [null, code], `${how}: ${ended.stderr}`);
    }
  });
}

test.run();
