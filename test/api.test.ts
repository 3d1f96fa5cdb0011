// The reference that TypeDoc makes from the sources: it can be made without a warning, which tells of every exported
// name, member and option without a comment, and of every link that leads nowhere; and it has a page for each module.
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { PLATFORMS } from '../scripts/platforms.mjs';

const root = fileURLToPath(new URL('..', import.meta.url));
const settings = JSON.parse(readFileSync(join(root, 'typedoc.json'), 'utf8')) as { entryPoints: string[] };
const manifest = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as { exports: Record<string, unknown> };

test('every module of the package is in the reference', () => {
  // Those that name one prebuilt addon each export nothing else.
  const platforms = PLATFORMS.map(({ name }) => `./${name}`);
  const modules = Object.entries(manifest.exports).filter(([name]) => !platforms.includes(name));
  const sources = modules.flatMap(([, entry]) => {
    const types = (entry as { types?: string }).types;
    return types ? [types.replace('./dist/', 'lib/').replace('.d.ts', '.ts')] : [];
  });
  assert.equal([...settings.entryPoints].sort(), sources.sort());
});

test('every exported name has a comment, and every link a target', () => {
  const out = mkdtempSync(join(tmpdir(), 'dpm-solver-api-'));
  try {
    const typedoc = join(root, 'node_modules/typedoc/bin/typedoc');
    const { status, stdout, stderr } = spawnSync(process.execPath, [typedoc, '--out', out], {
      cwd: root,
      encoding: 'utf8',
      env: { ...process.env, NO_COLOR: '1' },
    });
    assert.is(status, 0, stdout + stderr);
    const pages = readdirSync(out, { recursive: true, encoding: 'utf8' }).map((path) => path.replaceAll('\\', '/'));
    for (const page of ['index/classes/DPMSolver.md', 'native/functions/step.md', 'cuda/classes/Stream.md']) {
      assert.ok(pages.includes(page), `${page} of ${pages.length}`);
    }
    const step = readFileSync(join(out, 'native/functions/step.md'), 'utf8');
    assert.match(step, 'index of the first sample whose prediction P is not finite');
  } finally {
    rmSync(out, { recursive: true, force: true });
  }
});

test.run();
