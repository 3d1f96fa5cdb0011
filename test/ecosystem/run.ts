// npm run test:ecosystem [-- NAME...]: the package in projects of other people's tools, each in a folder beside this file with
// its check.ts. `quick` means those that every change runs. The last line is `N passed, N failed`.
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { transformSync } from 'esbuild';
import * as dpm from '../../lib/wasm.js';
import { scenario } from '../addon/wasm/scenario.js';
import { wasmFile } from '../addon/wasm/support.js';
import { host, pack, root } from '../packed.js';
import { Missing, Project } from './project.js';

/** Those that take seconds. */
export const QUICK = ['esbuild', 'bun', 'deno'];

const here = fileURLToPath(new URL('.', import.meta.url));
const all = readdirSync(here).filter((name) => existsSync(join(here, name, 'check.ts')));
const names = process.argv.slice(2).flatMap((name) => (name === 'quick' ? QUICK : [name]));
for (const name of names) {
  if (!all.includes(name)) throw new Error(`Expected quick, ${all.join(', ')} but received ${name}`);
}
if (host?.name !== 'linux-x64' || !wasmFile || !existsSync(join(root, 'dist'))) {
  console.log('These are for linux-x64, with the WebAssembly build (npm run build:wasm) and dist (npm run build:ts).');
  process.exit(1);
}

async function main(): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), 'dpm-solver-ecosystem-'));
  const count = { passed: 0, failed: 0, skipped: 0 };
  try {
    mkdirSync(join(folder, 'pack'));
    const { tarball } = pack(join(folder, 'pack'), { file: host!.file, wasm: wasmFile });
    const source = readFileSync(new URL('../addon/wasm/scenario.ts', import.meta.url), 'utf8');
    const program = transformSync(source, { loader: 'ts' }).code;
    const expected = await scenario(dpm);
    for (const name of names.length > 0 ? names : all) {
      const started = Date.now();
      const project = new Project(name, join(folder, name), tarball, expected);
      try {
        project.copy(program);
        const { default: check, installs = true } = await import(`./${name}/check.js`);
        if (installs) project.install();
        await check(project);
        count.passed++;
      } catch (error) {
        if (error instanceof Missing) count.skipped++;
        else count.failed++;
        console.log(`  ${error instanceof Missing ? 'skipped' : 'FAIL'} ${name}: ${(error as Error).stack}`);
      }
      console.log(`${name} (${((Date.now() - started) / 1000).toFixed(1)} s)`);
      if (!process.env.DPM_SOLVER_KEEP) rmSync(join(folder, name), { recursive: true, force: true });
    }
  } finally {
    if (process.env.DPM_SOLVER_KEEP) console.log(folder);
    else rmSync(folder, { recursive: true, force: true });
  }
  const { passed, failed, skipped } = count;
  console.log(`\n${passed} passed, ${failed} failed${skipped ? `, ${skipped} skipped` : ''}`);
  if (failed > 0 || passed === 0) process.exitCode = 1;
}

void main();
