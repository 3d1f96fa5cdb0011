// What gets published, and how it is entered.
import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join, posix } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { PLATFORMS } from '../scripts/platforms.mjs';
import { links } from './docs/pages.js';

interface Manifest {
  type: string;
  engines: { node: string };
  exports: Record<string, string | { types: string; default: string }>;
  types: string;
  bin: Record<string, string>;
  man: string;
  files: string[];
  gypfile: boolean;
  binary: { napi_versions: number[] };
  scripts: Record<string, string>;
  dependencies: Record<string, string>;
  devDependencies: Record<string, string>;
  peerDependenciesMeta: Record<string, { optional: boolean }>;
}

const root = fileURLToPath(new URL('..', import.meta.url));
const manifest = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as Manifest;
const entries = Object.entries(manifest.exports).filter(
  (entry): entry is [string, { types: string; default: string }] => typeof entry[1] !== 'string',
);
// Those that name one prebuilt addon each have no source: scripts/build-ts.mjs writes them.
const isPlatform = (name: string) => PLATFORMS.some((platform) => name === `./${platform.name}`);
const modules = entries.filter(([name]) => !isPlatform(name));
const pack = suite('package');
// `npm test` runs on a checkout where `npm ci` has built dist; someone at work on lib may be without.
const built = existsSync(join(root, 'dist')) ? pack : pack.skip;

pack('supports the Node versions that can require() a module', () => {
  assert.is(manifest.engines.node, '^20.19.0 || >=22.12.0');
  assert.is(manifest.type, 'module');
});

pack('runs nothing on the machine of those who install it', () => {
  for (const script of ['preinstall', 'install', 'postinstall']) assert.not.ok(script in manifest.scripts, script);
  assert.is(manifest.gypfile, false);
  assert.not.ok(manifest.files.includes('binding.gyp'));
});

built('brings the manual page of the commands that it has', () => {
  const page = readFileSync(join(root, manifest.man), 'utf8');
  assert.match(page, /^\.TH DPM-SOLVER 1 /);
  assert.ok(manifest.files.includes('dist'));
});

pack('has no script called build, before which npm would run prebuild', () => {
  assert.not.ok('build' in manifest.scripts);
});

pack('has an export for each platform that has a prebuilt addon', () => {
  assert.equal(
    entries.map(([name]) => name).filter(isPlatform),
    PLATFORMS.map(({ name }) => `./${name}`),
  );
});

pack('is known as a Node-API addon to cmake-js, which would download headers otherwise', () => {
  const [version] = manifest.binary.napi_versions;
  for (const file of ['CMakeLists.txt', 'binding.gyp']) {
    assert.match(readFileSync(join(root, file), 'utf8'), `NAPI_VERSION=${version}`, file);
  }
});

pack('needs neither onnxruntime-node nor the tools of development', () => {
  assert.ok(manifest.peerDependenciesMeta['onnxruntime-node']!.optional);
  assert.not.ok('onnxruntime-node' in manifest.dependencies);
  for (const name of ['cmake-js', 'typescript', 'tsx']) assert.not.ok(name in manifest.dependencies, name);
});

pack('names each source of an export', () => {
  for (const [name, { types, default: file }] of modules) {
    const source = file.replace('./dist/', 'lib/').replace(/\.js$/, '.ts');
    assert.ok(existsSync(join(root, source)), `${name}: ${source} is missing`);
    assert.is(types, file.replace(/\.js$/, '.d.ts'), name);
  }
});

built('has a file in dist for each export, and for its types', () => {
  for (const [name, { types, default: file }] of entries) {
    for (const path of [types, file]) assert.ok(existsSync(join(root, path)), `${name}: ${path} is missing`);
  }
  assert.ok(existsSync(join(root, manifest.types)));
  assert.is((manifest.exports['.'] as { types: string }).types, manifest.types);
});

const cli = existsSync(join(root, 'lib/cli/main.ts')) ? built : pack.skip;
cli('has a command line that starts with #! and can be executed', () => {
  for (const [name, path] of Object.entries(manifest.bin)) {
    assert.match(readFileSync(join(root, path), 'utf8'), /^#!\/usr\/bin\/env node\n/, name);
  }
});

built('can be imported and required, by its name', () => {
  const names = modules.map(([name]) => name.replace('.', 'dpm-solver'));
  const imports = names.map((name) => `await import('${name}');`).join(' ');
  run(['--input-type=module', '-e', imports]);
  // require() refuses a module with a top-level await anywhere below it.
  const requires = names.map((name) => `require('${name}');`).join(' ');
  run(['--input-type=commonjs', '-e', requires]);
});

built('has no top-level await in dist', () => {
  // A module that is loaded lazily would escape the test above.
  for (const file of files('dist').filter((name) => name.endsWith('.js'))) {
    const source = readFileSync(join(root, file), 'utf8');
    assert.not.match(source, /^(?:(?:export )?(?:const|let|var) [^=]+= )?await\b/m, file);
    assert.not.match(source, /^for await\b/m, file);
  }
});

built('has imports in dist that lead somewhere', async () => {
  await build({
    entryPoints: files('dist')
      .filter((name) => name.endsWith('.js') && !name.includes('/serve/page/'))
      .map((name) => join(root, name)),
    ...{ bundle: true, write: false, outdir: 'out', platform: 'node', format: 'esm', logLevel: 'silent' },
    ...{ packages: 'external', external: ['*.node'] },
  });
});

built('loads none of the server where a solver or a pipeline is imported', async () => {
  const { metafile } = await build({
    entryPoints: ['index', 'native', 'schedulers/index', 'pipelines/index', 'onnx/index', 'calibrate/index'].map(
      (name) => join(root, `dist/${name}.js`),
    ),
    ...{
      bundle: true,
      write: false,
      metafile: true,
      outdir: 'out',
      platform: 'node',
      format: 'esm',
      logLevel: 'silent',
    },
    ...{ packages: 'external', external: ['*.node'], absWorkingDir: root },
  });
  assert.equal(
    Object.keys(metafile.inputs).filter((path) => path.startsWith('dist/serve/') || path.startsWith('dist/cli/')),
    [],
  );
  const packages = new Set(Object.values(metafile.inputs).flatMap(({ imports }) => imports.map(({ path }) => path)));
  for (const name of ['hono', '@hono/node-server', 'valibot', 'citty', 'sharp', 'pino', 'prom-client']) {
    assert.not.ok(packages.has(name), name);
  }
  assert.ok(packages.has('onnxruntime-node'), 'packages were found');
});

built('has a file for browsers that imports nothing, not even from Node', async () => {
  const { metafile } = await build({
    entryPoints: [join(root, 'dist/wasm.js')],
    ...{ bundle: true, write: false, metafile: true, format: 'esm', external: ['*'], logLevel: 'silent' },
  });
  assert.equal(
    Object.values(metafile.outputs).flatMap(({ imports }) => imports.map(({ path }) => path)),
    [],
  );
});

built('carries all that it needs and nothing else', () => {
  const { error, status, stdout, stderr } = npm(['pack', '--dry-run', '--json', '--ignore-scripts']);
  assert.is(status, 0, stderr || String(error));
  const [report] = JSON.parse(stdout) as [{ files: { path: string }[] }];
  const packed = new Set(report.files.map((file) => file.path));

  assert.not.ok(packed.has('binding.gyp'), 'npm would run node-gyp where it finds binding.gyp');
  for (const path of packed) {
    assert.match(
      path,
      /^(dist|lib|native|prebuilds|models\/shapes|docs|examples)\/|^scripts\/build-cuda\.mjs$|^[^/]+$/,
      path,
    );
    assert.not.match(path, /\.test\.|\.log$|^\.|^out\.png$|^test|^build\//, path);
  }
  // What `npx cmake-js compile` takes.
  const needed = [
    'package.json',
    'CMakeLists.txt',
    'LICENSE',
    'README.md',
    'CHANGELOG.md',
    // What `cudaInfo().reason` names.
    'scripts/build-cuda.mjs',
    ...files('native'),
    ...files('dist'),
  ];
  if (existsSync(join(root, 'models/shapes'))) needed.push(...files('models/shapes'));
  for (const path of needed) assert.ok(packed.has(path), `${path} is not packed`);

  // Who reads the README where it is installed follows its links there.
  for (const page of [...packed].filter((path) => path.endsWith('.md') && !path.startsWith('native/'))) {
    for (const { line, target } of links(page, readFileSync(join(root, page), 'utf8'))) {
      if (/^[a-z]+:|^#/.test(target)) continue;
      const path = posix.join(posix.dirname(page), target.split('#', 1)[0]).replace(/\/$/, '');
      const there = packed.has(path) || [...packed].some((file) => file.startsWith(`${path}/`));
      assert.ok(there, `${page}:${line}: ${target} is not packed`);
    }
  }
});

built('has declarations that compile for its users', () => {
  // Inside the package, which can import itself by its name.
  const folder = mkdtempSync(join(root, 'dist', '.types-'));
  try {
    const imports = entries.map(
      ([name], i) => `import * as m${i} from '${name.replace('.', 'dpm-solver')}'; void m${i};`,
    );
    const tsc = join(root, 'node_modules/typescript/bin/tsc');
    // What comes back has the class of what came in, for the compiler too.
    const typed = `
      import { DPMSolver, NoiseSchedule, randn } from 'dpm-solver';
      import { DDIMScheduler } from 'dpm-solver/schedulers';
      class Own { constructor(readonly type: string, readonly data: Float32Array, readonly dims: readonly number[]) {} }
      const solver = new DPMSolver((x) => x, NoiseSchedule.linear());
      const own: Own = (await solver.sample(new Own('float32', new Float32Array(2), [1, 2]))).sample;
      const first: number = (await solver.invert(randn([1, 2], { seed: 0 }))).sample.data[0];
      const data: Float32Array = solver.start({ data: new Float32Array(2), dims: [1, 2] }).result.data;
      let x = solver.addNoise(randn([1, 2], { seed: 0 }), 0.5);
      x = new DDIMScheduler().step(x, 999, x);
      void [own, first, data, x.data[0]];`;
    writeFileSync(join(folder, 'user.mts'), [...imports, typed].join('\n'));
    const flags = [
      '--strict',
      '--noEmit',
      '--module',
      'nodenext',
      '--target',
      'es2022',
      '--lib',
      'es2022',
      '--ignoreConfig',
    ];
    run([tsc, ...flags, '--types', 'node', 'user.mts'], folder);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});

/** The files below a folder of the package, as npm writes them. */
function files(folder: string): string[] {
  return readdirSync(join(root, folder), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name).slice(root.length).replaceAll('\\', '/'));
}

function run(args: string[], cwd = root): void {
  const { status, stdout, stderr } = spawnSync(process.execPath, args, { cwd, encoding: 'utf8' });
  assert.is(status, 0, stdout + stderr);
}

function npm(args: string[]) {
  return spawnSync('npm', args, { cwd: root, encoding: 'utf8', shell: process.platform === 'win32' });
}

pack.run();
