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
  for (const path of (await filesOf(root)).sort()) {
    const { size } = await stat(join(root, path));
    hash.update(`${path}\n${size}\n`);
    if (size <= WHOLE) hash.update(await readFile(join(root, path)));
  }
  return hash.digest('hex');
}

/** What no model is made of, such as `.git`, is left out; a hub's links are followed. */
async function filesOf(root: string, under = ''): Promise<string[]> {
  const found: string[] = [];
  for (const { name } of await readdir(join(root, under), { withFileTypes: true })) {
    if (name.startsWith('.')) continue;
    const path = under === '' ? name : `${under}/${name}`;
    const about = await stat(join(root, path)).catch(() => undefined);
    if (about?.isDirectory()) found.push(...(await filesOf(root, path)));
    else if (about?.isFile()) found.push(path);
  }
  return found;
}
