// The packed package, installed in an empty project without running scripts: imported, required, bundled, type-checked
// and linted, with this Node and those that DPM_SOLVER_NODES lists (paths, separated by the system's delimiter).
import { type SpawnSyncReturns, spawnSync } from 'node:child_process';
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { delimiter, dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build, transformSync } from 'esbuild';
import { publint } from 'publint';
import { formatMessage } from 'publint/utils';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { readPng } from '../lib/image/file.js';
import * as dpm from '../lib/wasm.js';
import { type Results, scenario } from './addon/wasm/scenario.js';
import { assertSameElsewhere, wasmFile } from './addon/wasm/support.js';
import { blocks } from './docs/pages.js';
import { host, install, npm, ok, pack, run } from './packed.js';

const root = fileURLToPath(new URL('..', import.meta.url));
const tests = suite('install');
const missing = !existsSync(join(root, 'dist')) ? 'dist is not built' : !host ? 'no release has this platform' : '';
if (missing) console.log(`skipped: ${missing}`);
const test = missing ? tests.skip : tests;
const withWasm = wasmFile && !missing ? tests : tests.skip;
if (!wasmFile) console.log('skipped in part: prebuilds/wasm/dpm-solver.wasm is not built (npm run build:wasm)');

const nodes = [process.execPath, ...(process.env.DPM_SOLVER_NODES ?? '').split(delimiter).filter(Boolean)];
let folder: string;
let project: string;
let tarball: string;
let staged: string;
let expected: Results;

tests.before(async () => {
  if (missing) return;
  folder = mkdtempSync(join(tmpdir(), 'dpm-solver-install-'));
  ({ staged, tarball } = pack(folder, { file: host!.file, wasm: wasmFile }));
  project = install(folder, tarball);
  const source = readFileSync(new URL('./addon/wasm/scenario.ts', import.meta.url), 'utf8');
  writeFileSync(join(project, 'scenario.mjs'), transformSync(source, { loader: 'ts' }).code);
  writeFileSync(
    join(project, 'esm.mjs'),
    `import * as main from 'dpm-solver';
     import * as native from 'dpm-solver/native';
     import * as schedulers from 'dpm-solver/schedulers';
     import 'dpm-solver/cuda'; import 'dpm-solver/diffusers-js'; import 'dpm-solver/pipelines';
     import { scenario } from './scenario.mjs';
     const runs = await scenario({ ...main, ...native, ...schedulers });
     console.log(JSON.stringify({ info: native.info(), runs }));\n`,
  );
  writeFileSync(
    join(project, 'cjs.cjs'),
    `const dpm = { ...require('dpm-solver'), ...require('dpm-solver/native'), ...require('dpm-solver/schedulers') };
     import('./scenario.mjs').then(async ({ scenario }) => {
       console.log(JSON.stringify({ info: dpm.info(), runs: await scenario(dpm) }));
     });\n`,
  );
  expected = await scenario(dpm);
});

tests.after(() => {
  if (folder) rmSync(folder, { recursive: true, force: true });
});

test('is small: below 6 MB without the model', () => {
  const { status, stdout, stderr } = npm(['pack', '--dry-run', '--json', '--ignore-scripts'], staged);
  assert.is(status, 0, stderr);
  const [{ files }] = JSON.parse(stdout) as [{ files: { path: string; size: number }[] }];
  const model = files.filter(({ path }) => path.startsWith('models/')).reduce((sum, { size }) => sum + size, 0);
  // Weights do not compress: what is left of the tarball without them.
  const rest = statSync(tarball).size - 0.85 * model;
  assert.ok(rest < 6e6, `${rest} bytes`);
});

for (const node of nodes) {
  const { stdout } = missing ? { stdout: '' } : run(node, ['--version'], tmpdir());
  const version = (stdout as string).trim();
  const same = (runs: Results) =>
    version === process.version ? assert.equal(runs, expected) : assertSameElsewhere(runs, expected);
  for (const file of ['esm.mjs', 'cjs.cjs']) {
    test(`Node ${version}: ${file === 'esm.mjs' ? 'import' : 'require'} works and gives the same bits`, () => {
      const result = output(run(node, [file], project, { DPM_SOLVER_BACKEND: 'native' }));
      assert.is(result.info.backend, 'native');
      same(result.runs);
    });
  }
  withWasm(`Node ${version}: WebAssembly gives the same bits`, () => {
    for (const file of ['esm.mjs', 'cjs.cjs']) {
      const result = output(run(node, [file], project, { DPM_SOLVER_BACKEND: 'wasm' }));
      assert.is(result.info.backend, 'wasm');
      same(result.runs);
    }
  });
  withWasm(`Node ${version}: without an addon, WebAssembly and one warning`, () => {
    const addon = join(project, 'node_modules/dpm-solver', host!.file);
    const { dir } = { dir: `${addon}.away` };
    copyFileSync(addon, dir);
    rmSync(addon);
    try {
      const done = run(node, ['esm.mjs'], project);
      assert.is(output(done).info.backend, 'wasm');
      same(output(done).runs);
      assert.is(String(done.stderr).split('[DPM_SOLVER_WASM]').length - 1, 1, String(done.stderr));
      const insisting = run(node, ['esm.mjs'], project, { DPM_SOLVER_BACKEND: 'native' });
      assert.is(insisting.status, 1);
      assert.match(String(insisting.stderr), /npx cmake-js compile/);
    } finally {
      copyFileSync(dir, addon);
      rmSync(dir);
    }
  });
}

test('the command line works', () => {
  const bin = join(project, 'node_modules/dpm-solver/dist/cli/main.js');
  const { status, stdout, stderr } = run(process.execPath, [bin, 'info', '--json'], project);
  assert.is(status, 0, String(stderr));
  assert.match(JSON.parse(String(stdout)).addon, /prebuilds/);
});

/** What cudaInfo() says in the project, in a process of its own. */
function cudaReason(): string {
  const code = "import { cudaInfo } from 'dpm-solver/cuda'; console.log(cudaInfo().reason)";
  const result = run(process.execPath, ['--input-type=module', '-e', code], project);
  ok(result);
  return result.stdout.trim();
}

const withCuda = missing || process.platform === 'darwin' ? tests.skip : tests;
withCuda('without a CUDA library it says what makes one here, and that does', () => {
  const reason = cudaReason();
  const script = join(project, 'node_modules/dpm-solver/scripts/build-cuda.mjs');
  const library = join(project, 'node_modules/dpm-solver', dirname(host!.file), 'dpm-solver-cuda');
  assert.ok(reason.startsWith(`there is no CUDA library at ${library}.`), reason);
  assert.ok(reason.endsWith(` (node ${JSON.stringify(script)} makes it, with nvcc)`), reason);
  // Without nvcc it says so; /usr/local/cuda may well have one.
  if (!existsSync('/usr/local/cuda/bin/nvcc')) {
    const env = { ...process.env, PATH: folder, CUDA_HOME: folder, CUDA_PATH: folder };
    const { status, stdout } = spawnSync(process.execPath, [script], { encoding: 'utf8', env });
    assert.equal([status, /no nvcc found/.test(stdout)], [1, true], stdout);
  }
  if (process.platform === 'win32') return;
  // A compiler that writes what it is told to: the library gets to where the addon looks for it.
  const bin = join(folder, 'cuda/bin');
  mkdirSync(bin, { recursive: true });
  const stub =
    '#!/bin/sh\n[ "$1" = --version ] && echo "release 13.0"\nwhile [ $# -gt 1 ]; do [ "$1" = -o ] && : > "$2"; shift; done\n:\n';
  writeFileSync(join(bin, 'nvcc'), stub, { mode: 0o755 });
  ok(run(process.execPath, [script, '--arch', '90'], project, { CUDA_HOME: join(folder, 'cuda') }));
  assert.ok(existsSync(`${library}.so`));
  assert.match(
    cudaReason(),
    /^the CUDA library .* could not be loaded: .* \(node ".*build-cuda\.mjs" makes it, with nvcc\)$/,
  );
  rmSync(`${library}.so`);
});

// As people paste them: with nothing but the two packages that the README has installed.
test("the README's programs run", () => {
  const programs = blocks('README.md', readFileSync(join(staged, 'README.md'), 'utf8')).filter(
    ({ language }) => language === 'mjs',
  );
  const folder = join(project, 'node_modules/onnxruntime-node');
  // 100 MB that npm has in this checkout.
  symlinkSync(join(root, 'node_modules/onnxruntime-node'), folder, 'junction');
  try {
    const outputs = programs.map(({ text, line }) => {
      writeFileSync(join(project, 'readme.mjs'), text);
      const ran = run(process.execPath, ['readme.mjs'], project);
      assert.is(ran.status, 0, `README.md:${line}: ${ran.stderr}`);
      return ran.stdout;
    });
    assert.match(outputs[0], /^circle\.png, by 15 evaluations/);
    assert.ok(readPng(join(project, 'circle.png')).width >= 32);
    // A red circle is in the middle.
    const [red, green, blue] = JSON.parse(outputs[1]) as number[];
    assert.ok(red > 0.5 && green < -0.5 && blue < -0.5, outputs[1]);
    assert.is(outputs.length, 2);
    const example = join(project, 'node_modules/dpm-solver/examples/loop-with-start.mjs');
    ok(run(process.execPath, [example, 'a green square', 'picture.ppm'], project));
    assert.is(readFileSync(join(project, 'picture.ppm'), 'latin1').slice(0, 2), 'P6');
  } finally {
    rmSync(folder);
  }
});

test('types resolve for every module', () => {
  const { exports } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as {
    exports: Record<string, unknown>;
  };
  const names = Object.keys(exports).filter((name) => name !== './package.json');
  const imports = names.map((name, i) => `import * as m${i} from '${name.replace('.', 'dpm-solver')}'; void m${i};`);
  writeFileSync(join(project, 'user.mts'), imports.join('\n'));
  writeFileSync(join(project, 'bundler.ts'), imports.join('\n'));
  const tsc = join(root, 'node_modules/typescript/bin/tsc');
  const shared = ['--strict', '--noEmit', '--target', 'es2022', '--ignoreConfig', '--types', 'node'];
  const roots = ['--typeRoots', join(root, 'node_modules/@types')];
  ok(run(process.execPath, [tsc, ...shared, ...roots, '--lib', 'es2022', '--module', 'nodenext', 'user.mts'], project));
  ok(
    run(
      process.execPath,
      [
        tsc,
        ...shared,
        ...roots,
        '--lib',
        'es2022,dom',
        '--module',
        'esnext',
        '--moduleResolution',
        'bundler',
        'bundler.ts',
      ],
      project,
    ),
  );
});

// Of the package as it is published: it takes dist/wasm.js for CommonJS while the module is not in it.
withWasm('publint has nothing to say', async () => {
  const { messages, pkg } = await publint({ pkgDir: staged, strict: true, pack: 'npm' });
  assert.equal(
    messages.map((message) => formatMessage(message, pkg)),
    [],
  );
});

test('attw --profile esm-only has nothing to say', () => {
  const bin = join(root, 'node_modules/@arethetypeswrong/cli/dist/index.js');
  ok(run(process.execPath, [bin, '--profile', 'esm-only', '--no-emoji', tarball], project));
});

// ---- bundlers -------------------------------------------------------------------------------------------------------

const FORMATS = {
  cjs: {},
  // esbuild's own require() for ES modules refuses what it has not bundled.
  esm: {
    banner: { js: "import { createRequire as from } from 'node:module'; const require = from(import.meta.url);" },
  },
} as const;

for (const format of ['cjs', 'esm'] as const) {
  test(`a bundle with dpm-solver/${host?.name} runs where nothing else is, as ${format}`, async () => {
    const out = mkdtempSync(join(folder, 'bundle-'));
    const outfile = join(out, format === 'cjs' ? 'main.cjs' : 'main.mjs');
    await build({
      stdin: { contents: bundled(`import 'dpm-solver/${host!.name}';`), resolveDir: project },
      ...{ bundle: true, platform: 'node', format, outfile, logLevel: 'error' },
      loader: { '.node': 'copy' },
      logOverride: { 'empty-import-meta': 'silent' },
      ...FORMATS[format],
    });
    const result = output(run(process.execPath, [outfile], out, { DPM_SOLVER_BACKEND: 'native' }));
    assert.is(result.info.backend, 'native');
    assert.equal(result.runs, expected);
  });

  withWasm(`a bundle of dpm-solver/wasm is one file that runs, as ${format}`, async () => {
    const out = mkdtempSync(join(folder, 'bundle-'));
    const outfile = join(out, format === 'cjs' ? 'main.cjs' : 'main.mjs');
    await build({
      stdin: {
        contents: `import * as dpm from 'dpm-solver/wasm'; import { scenario } from './scenario.mjs';
          scenario(dpm).then((runs) => console.log(JSON.stringify({ info: dpm.info(), runs })));`,
        resolveDir: project,
      },
      ...{ bundle: true, platform: 'node', format, outfile, logLevel: 'error' },
    });
    assert.equal(readdirSync(out).length, 1);
    const result = output(run(process.execPath, [outfile], out));
    assert.is(result.info.backend, 'wasm');
    assert.equal(result.runs, expected);
  });
}

for (const format of ['cjs', 'esm'] as const) {
  withWasm(`a bundle without an addon takes WebAssembly, with one warning, as ${format}`, async () => {
    // Below a project that has an addon of its own, where the package would have its one.
    const out = mkdtempSync(join(folder, 'bundle-'));
    mkdirSync(join(out, 'build/Release'), { recursive: true });
    writeFileSync(join(out, 'build/Release/other.node'), 'of somebody else');
    const outfile = join(out, 'lib/app', format === 'cjs' ? 'main.cjs' : 'main.mjs');
    await build({
      stdin: { contents: bundled(''), resolveDir: project },
      ...{ bundle: true, platform: 'node', format, outfile, logLevel: 'error' },
      logOverride: { 'empty-import-meta': 'silent' },
    });
    const done = run(process.execPath, [outfile], out);
    const { info, runs } = output(done);
    assert.is(info.backend, 'wasm');
    assert.equal(runs, expected);
    const warnings = done.stderr.split('\n').filter((line) => line.includes('[DPM_SOLVER_WASM]'));
    assert.is(warnings.length, 1, done.stderr);
    assert.match(
      warnings[0],
      `import 'dpm-solver/${host!.name}' in the program, or leave dpm-solver out of the bundle`,
    );
    const quiet = run(process.execPath, [outfile], out, { DPM_SOLVER_BACKEND: 'wasm' });
    assert.equal([output(quiet).info.backend, quiet.stderr], ['wasm', '']);
    const insisting = run(process.execPath, [outfile], out, { DPM_SOLVER_BACKEND: 'native' });
    assert.is(insisting.status, 1);
    for (const { stderr } of [done, insisting]) {
      assert.not.match(stderr, /\bcd |cmake|could not be loaded/);
    }
    const pointed = run(process.execPath, [outfile], out, {
      DPM_SOLVER_PREBUILD: join(project, 'node_modules/dpm-solver'),
    });
    assert.equal([output(pointed).info.backend, pointed.stderr], ['native', '']);
  });
}

test('a bundle without the packed model says so', async () => {
  const out = mkdtempSync(join(folder, 'bundle-'));
  const outfile = join(out, 'main.mjs');
  await build({
    stdin: {
      contents: `import { DiffusionPipeline } from 'dpm-solver/pipelines';
        await DiffusionPipeline.fromPretrained('shapes').catch((error) => console.log(error.message));`,
      resolveDir: project,
    },
    ...{ bundle: true, platform: 'node', format: 'esm', outfile, logLevel: 'error', external: ['onnxruntime-node'] },
    ...FORMATS.esm,
  });
  const { stdout, stderr } = run(process.execPath, [outfile], out);
  assert.match(stdout, /^Expected a folder for the model 'shapes', .* but this is a bundle without it: copy/, stderr);
});

function bundled(first: string): string {
  return `${first}
    import * as main from 'dpm-solver';
    import * as native from 'dpm-solver/native';
    import * as schedulers from 'dpm-solver/schedulers';
    import { scenario } from './scenario.mjs';
    scenario({ ...main, ...native, ...schedulers }).then(
      (runs) => console.log(JSON.stringify({ info: native.info(), runs })),
      (error) => { console.error(error); process.exitCode = 1; },
    );`;
}

// ---- processes ------------------------------------------------------------------------------------------------------

function output({ status, stdout, stderr, error }: SpawnSyncReturns<string>): {
  info: { backend: string };
  runs: Results;
} {
  assert.is(status, 0, `${error ?? ''}${stderr}`);
  return JSON.parse(stdout);
}

tests.run();
