// Which model a folder has: two machines that serve one under the same name should have the same files.
import { createHash } from 'node:crypto';
import { readdir, readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { modelFolder } from '../../folder/packed.js';

/** Bytes of a file that is read for it; of larger ones the size says enough. */
const WHOLE = 256 * 1024;

/** A name for the files of a folder: their paths and sizes, and what the small ones hold, among them all configurations. */
export async function fingerprint(folder: string): Promise<string> {
  const root = modelFolder(folder);
  const hash = createHash('sha256');
  const files = [...(await sizesOf(root))].sort(([a], [b]) => (a < b ? -1 : 1));
  for (const [path, size] of files) {
    hash.update(`${path}\n${size}\n`);
    if (size <= WHOLE) hash.update(await readFile(join(root, path)));
  }
  return hash.digest('hex');
}

/** What no model is made of, such as `.git`, is left out; a hub's links are followed. */
async function sizesOf(root: string, under = ''): Promise<Map<string, number>> {
  const found = new Map<string, number>();
  for (const { name } of await readdir(join(root, under), { withFileTypes: true })) {
    if (name.startsWith('.')) continue;
    const path = under === '' ? name : `${under}/${name}`;
    const about = await stat(join(root, path)).catch(() => undefined);
    if (about?.isDirectory()) for (const [file, size] of await sizesOf(root, path)) found.set(file, size);
    else if (about?.isFile()) found.set(path, about.size);
  }
  return found;
}
