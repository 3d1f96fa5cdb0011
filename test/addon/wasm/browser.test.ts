// `dpm-solver/wasm` in a browser: headless Chromium runs the scenario with the file of the package, and with a bundle
// that esbuild makes of `import 'dpm-solver'`; steps, rows and noise have the bits of the native addon.
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build, transformSync } from 'esbuild';
import { type BrowserContext, chromium } from 'playwright-core';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import * as dpm from '../../../lib/wasm.js';
import { scenario } from './scenario.js';
import { assertSameElsewhere, wasmFile } from './support.js';

const CHROMIUM = process.env.DPM_SOLVER_CHROMIUM || '/usr/bin/chromium';
const root = fileURLToPath(new URL('../../..', import.meta.url));
const bundle = join(root, 'dist/wasm.js');
const tests = suite('browser');
const missing = !wasmFile
  ? 'prebuilds/wasm/dpm-solver.wasm is not built (npm run build:wasm, which needs clang)'
  : !existsSync(bundle) || !readFileSync(bundle, 'utf8').includes('AGFzbQ')
    ? 'dist/wasm.js is without it (npm run build:ts)'
    : !existsSync(CHROMIUM)
      ? `there is no ${CHROMIUM}`
      : '';
if (missing) console.log(`skipped: ${missing}`);
const test = missing ? tests.skip : tests;

const files = new Map<string, string>();
let server: Server;
let context: BrowserContext;
let profile: string;

tests.before(async () => {
  if (missing) return;
  files.set('/wasm.js', readFileSync(bundle, 'utf8'));
  const source = readFileSync(new URL('./scenario.ts', import.meta.url), 'utf8');
  files.set('/scenario.js', transformSync(source, { loader: 'ts' }).code);
  const { outputFiles } = await build({
    // The package finds itself by its name.
    stdin: {
      contents: "export * from 'dpm-solver'; export * from 'dpm-solver/native'; export * from 'dpm-solver/schedulers';",
      resolveDir: root,
    },
    bundle: true,
    write: false,
    format: 'esm',
    platform: 'browser',
    logLevel: 'error',
  });
  files.set('/bundle.js', outputFiles[0]!.text);
  server = createServer(({ url = '/' }, response) => {
    const text = files.get(url);
    response.setHeader('content-type', url === '/' ? 'text/html' : 'text/javascript');
    response.end(url === '/' ? '<!doctype html><title>dpm-solver</title>' : text);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  profile = mkdtempSync(join(tmpdir(), 'dpm-solver-chromium-'));
  context = await chromium.launchPersistentContext(profile, {
    executablePath: CHROMIUM,
    headless: true,
    args: [
      '--headless',
      '--no-sandbox',
      '--disable-gpu',
      '--disable-quic',
      '--no-first-run',
      '--disable-background-networking',
      '--disable-component-update',
      '--disable-sync',
    ],
  });
});

tests.after(async () => {
  await context?.close();
  server?.close();
  if (profile) rmSync(profile, { recursive: true, force: true });
});

for (const file of ['/wasm.js', '/bundle.js']) {
  test(`${file === '/wasm.js' ? 'the file of the package' : "a bundle of 'dpm-solver'"} gives what the native addon gives`, async () => {
    const expected = await scenario(dpm);
    assert.is(dpm.info().backend, 'native');
    const page = await context.newPage();
    const errors: string[] = [];
    page.on('pageerror', (error) => errors.push(String(error)));
    await page.goto(`http://127.0.0.1:${(server.address() as AddressInfo).port}/`);
    const result = await page.evaluate(async (path) => {
      const scenarioPath = '/scenario.js';
      const [dpm, { scenario }] = [await import(path), await import(scenarioPath)];
      return { info: dpm.info(), devices: dpm.devices(), runs: await scenario(dpm) };
    }, file);
    assert.equal(errors, []);
    assert.equal(result.info, { backend: 'wasm', simd: 'simd128', simdAvailable: ['simd128'], threads: 1 });
    assert.equal(result.devices, [{ type: 'cpu', name: 'simd128', threads: 1 }]);
    assertSameElsewhere(result.runs, expected);
    await page.close();
  });
}

tests.run();
