// Electron itself comes from no package registry. What is checked is the archive: the addon lies outside of it, where Electron
// looks for it, and what was packed runs.
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import * as assert from 'uvu/assert';
import type { Project } from '../project.js';

export default async function check(project: Project): Promise<void> {
  const out = join(project.folder, '../archive');
  project.bin('asar', ['pack', '.', join(out, 'app.asar'), '--unpack', '*.node']);
  const addon = 'node_modules/dpm-solver/prebuilds/linux-x64/dpm-solver.glibc.node';
  assert.ok(existsSync(join(out, 'app.asar.unpacked', addon)), 'the addon lies outside of the archive');
  project.bin('asar', ['extract', join(out, 'app.asar'), join(out, 'app')]);
  project.program('packed and taken out again', process.execPath, [join(out, 'app/node.mjs')], { backend: 'native' });
}
