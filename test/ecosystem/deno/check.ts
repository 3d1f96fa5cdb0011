import { join } from 'node:path';
import * as assert from 'uvu/assert';
import { run } from '../../packed.js';
import type { Project } from '../project.js';

const least = ['run', '--no-prompt', '--allow-read', '--allow-env'];

export default async function check(project: Project): Promise<void> {
  const deno = join(project.folder, 'node_modules/@deno/linux-x64-glibc/deno');
  const native = { backend: 'native', engine: 'another' } as const;
  project.program('import', deno, [...least, '--allow-ffi', 'node.mjs'], native);
  project.program('import without --allow-ffi', deno, [...least, 'node.mjs'], {
    backend: 'wasm',
    warnings: 1,
    engine: 'another',
    says: /Requires ffi access to .* For the native addon: run it with --allow-ffi\. /,
  });
  const refused = run(deno, [...least, 'node.mjs'], project.folder, { DPM_SOLVER_BACKEND: 'native', NO_COLOR: '1' });
  assert.is.not(refused.status, 0);
  assert.match(refused.stderr, /Requires ffi access to [\s\S]*\n- Run it with --allow-ffi, or import/);
  assert.not.match(refused.stderr, /cmake/);
  project.picture(deno, ['run', '-A', 'picture.mjs']);
}
