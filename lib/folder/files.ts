// Files of a model directory, in the layout of exported Stable Diffusion pipelines.
import { closeSync, openSync, readdirSync, readFileSync, readSync, type Stats, statSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { firstLine, nearest } from '../base/text.js';
import { parseJson } from './json.js';

/**
 * The first of `names` that is a file in `folder`.
 *
 * @param names paths relative to `folder`, the preferred one first
 * @throws Error that names the folder, the files looked for and, where one is much like them, what is there instead
 */
export function findFile(folder: string, names: readonly string[]): string {
  for (const name of names) if (isFile(join(folder, name))) return join(folder, name);
  throw new Error(`Expected ${names.join(' or ')} in ${folder} but ${whatIsThere(folder, names)}`);
}

/** Is there a file of this name? */
export function isThere(folder: string, name: string): boolean {
  return isFile(join(folder, name));
}

function isFile(path: string): boolean {
  return stat(path)?.isFile() ?? false;
}

function isFolder(path: string): boolean {
  return stat(path)?.isDirectory() ?? false;
}

function stat(path: string): Stats | undefined {
  try {
    return statSync(path, { throwIfNoEntry: false });
  } catch (cause) {
    // A part of the path is a file.
    if ((cause as NodeJS.ErrnoException).code === 'ENOTDIR') return undefined;
    throw cause;
  }
}

function whatIsThere(folder: string, names: readonly string[]): string {
  if (isFile(folder)) return 'that is no folder';
  if (!isFolder(folder)) return 'there is no such folder';
  const place = join(folder, dirname(names[0]));
  if (!isFolder(place)) return `there is no folder ${place}`;
  const other = names.find((name) => isFolder(join(folder, name)));
  if (other !== undefined) return `${other} is a folder`;
  const entries = readdirSync(place).filter((entry) => !entry.startsWith('.'));
  const alike = nearest(basename(names[0]), entries);
  if (alike !== undefined) return `there is only ${join(dirname(names[0]), alike)}`;
  if (entries.length === 0) return 'that folder is empty';
  return `found ${entries.slice(0, 5).join(', ')}${entries.length > 5 ? ', ...' : ''}`;
}

/** Bytes of a configuration: more are a mistake, or somebody's malice. */
const MOST_CONFIG = 4 * 2 ** 20;
/** Bytes of a vocabulary; the largest there are have 35 MB. */
export const MOST_VOCABULARY = 128 * 2 ** 20;

/**
 * The object in a JSON file of the model directory, as Python may have written it (json.ts).
 *
 * @param most bytes that the file may have
 * @throws Error that names the file when it is missing, too large, not JSON or not an object
 */
export function readJson(
  folder: string,
  names: readonly string[],
  most = MOST_CONFIG,
): { path: string; json: Record<string, unknown> } {
  const path = findFile(folder, names);
  const { size } = statSync(path);
  if (size > most) throw new Error(`Expected at most ${most} bytes in ${path} but found ${size}`);
  let json: unknown;
  try {
    json = parseJson(readFileSync(path, 'utf8'));
  } catch (cause) {
    throw new Error(`${path} could not be read as JSON: ${firstLine((cause as Error).message)}`, { cause });
  }
  if (typeof json !== 'object' || json === null || Array.isArray(json)) {
    throw new Error(`Expected an object in ${path} but found ${Array.isArray(json) ? 'an array' : json}`);
  }
  return { path, json: json as Record<string, unknown> };
}

/** True for a file that git-lfs has left as a pointer: a frequent reason for a graph that cannot be parsed. */
export function isLfsPointer(path: string): boolean {
  const head = Buffer.alloc(40);
  let file: number | undefined;
  try {
    file = openSync(path, 'r');
    return head.toString('latin1', 0, readSync(file, head)).startsWith('version https://git-lfs');
  } catch {
    return false;
  } finally {
    if (file !== undefined) closeSync(file);
  }
}
