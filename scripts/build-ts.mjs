// Compiles lib/ to dist/ (JavaScript and declarations), copies the page as it is, renders the documentation for it, makes the
// command line executable, and adds what no compiler makes: the entry points that name one prebuilt addon, and dist/wasm.js
// and dist/web.js, the bundles that run anywhere and in pages.
import { spawnSync } from 'node:child_process';
import { chmodSync, cpSync, existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';
import { PLATFORMS } from './platforms.mjs';
import { renderDocs } from './render-docs.mjs';

const root = fileURLToPath(new URL('..', import.meta.url));
const dist = `${root}/dist`;
const tsc = createRequire(import.meta.url).resolve('typescript/bin/tsc');
rmSync(dist, { recursive: true, force: true });
const { status } = spawnSync(process.execPath, [tsc, '-p', 'tsconfig.build.json'], { cwd: root, stdio: 'inherit' });
if (status !== 0) process.exit(status ?? 1);
cpSync(`${root}/lib/serve/page`, `${dist}/serve/page`, { recursive: true });
renderDocs(root, `${dist}/serve/docs`);
const main = `${dist}/cli/main.js`;
chmodSync(main, 0o755);
const page = spawnSync(process.execPath, [main, 'help', '--man'], { encoding: 'utf8' });
if (page.status !== 0) {
  console.error(page.stderr);
  process.exit(1);
}
writeFileSync(`${dist}/dpm-solver.1`, page.stdout);

// Bundlers follow a literal require(), which is CommonJS, and copy the file that it names.
mkdirSync(`${dist}/platforms`);
for (const { name, file } of PLATFORMS) {
  writeFileSync(`${dist}/platforms/${name}.cjs`, `module.exports = require('../../${file}');\n`);
  writeFileSync(
    `${dist}/platforms/${name}.js`,
    `import addon from './${name}.cjs';\nimport { provide } from '../addon/backend.js';\n\nprovide(addon);\nexport default addon;\n`,
  );
  writeFileSync(
    `${dist}/platforms/${name}.d.ts`,
    `/** The native addon for ${name}, which importing this module makes dpm-solver use. */\n` +
      'declare const addon: Record<string, unknown>;\nexport default addon;\n',
  );
}

// What bundles without an addon compute with, those of users as well as the one below. On the first line, so that the
// source map's lines hold.
const wasm = `${root}/prebuilds/wasm/dpm-solver.wasm`;
const module = existsSync(wasm) ? readFileSync(wasm).toString('base64') : '';
const bytes = `${dist}/addon/wasm/bytes.js`;
writeFileSync(bytes, `const DPM_SOLVER_WASM = '${module}'; ${readFileSync(bytes, 'utf8')}`);

// What looks for the native addon, or needs it, and what stands in for that, whoever imports it: in the bundle for everywhere,
// and in the one for pages with onnxruntime-web.
const wasmAddon = ['addon/backend.js', 'addon/wasm/backend.js'];
// Of dist/wasm.js as tsc has made it, and so before that.
await bundle('web', [
  wasmAddon,
  ['engines/webgpu/sample.js', 'engines/webgpu/web.js'],
  ['onnx/network.js', 'onnx/web/network.js'],
]);
await bundle('wasm', [wasmAddon, ['engines/webgpu/sample.js', 'engines/webgpu/absent.js']]);

/** Makes one file of a module that tsc has made. */
async function bundle(name, pairs) {
  const standIns = new Map(pairs.map(([from, to]) => [resolve(dist, from), resolve(dist, to)]));
  await build({
    entryPoints: [`${dist}/${name}.js`],
    outfile: `${dist}/${name}.js`,
    allowOverwrite: true,
    bundle: true,
    format: 'esm',
    platform: 'neutral',
    target: 'es2022',
    minifySyntax: true,
    minifyWhitespace: true,
    legalComments: 'none',
    logLevel: 'warning',
    // Imports of files that have types alone (base/globals.ts), which the declarations need.
    logOverride: { 'ignored-bare-import': 'silent' },
    plugins: [
      {
        name: 'stand-ins',
        setup({ onResolve }) {
          onResolve({ filter: /\/(backend|sample|network)\.js$/ }, ({ path, resolveDir }) => {
            const standIn = standIns.get(resolve(resolveDir, path));
            return standIn === undefined ? undefined : { path: standIn };
          });
        },
      },
    ],
  });
  rmSync(`${dist}/${name}.js.map`, { force: true });
}
