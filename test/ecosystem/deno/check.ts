import { join } from 'node:path';
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
    says: /Requires ffi access to .* npx cmake-js compile/,
  });
  project.picture(deno, ['run', '-A', 'picture.mjs']);
}
