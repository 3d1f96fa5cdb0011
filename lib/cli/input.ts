// What the commands are given: files by their names, and standard input by `-`.
import { MOST_BYTES, readBytes } from '../image/file.js';
import { decodePicture } from '../image/formats.js';
import type { Image } from '../image/image.js';
import { Missing } from '../base/optional.js';
import { UsageError } from './usage.js';

/** The flag that took standard input, which is there once. */
let taken: string | undefined;

/**
 * All of standard input.
 *
 * @param flag what it is for, with its dashes
 * @throws UsageError where another flag had it; Error for more than a picture may have
 */
export async function readStdin(flag: string): Promise<Buffer> {
  if (taken !== undefined) {
    throw new UsageError(`Expected standard input, which can be read once, for ${taken} or ${flag} but not for both`);
  }
  taken = flag;
  const pieces: Buffer[] = [];
  let length = 0;
  for await (const piece of process.stdin) {
    pieces.push(piece);
    length += piece.length;
    if (length > MOST_BYTES) {
      throw new Error(`Expected at most ${MOST_BYTES} bytes in standard input for ${flag} but found more`);
    }
  }
  return Buffer.concat(pieces);
}

/** A picture that a flag names. */
export async function readPicture(flag: string, path: string | undefined): Promise<Image> {
  if (path === undefined || path === '') throw new UsageError(`The flag --${flag} is missing: it names a picture`);
  const name = path === '-' ? 'standard input' : path;
  const bytes = path === '-' ? await readStdin(`--${flag}`) : readBytes(path);
  try {
    return await decodePicture(bytes);
  } catch (cause) {
    if (cause instanceof Missing) throw cause;
    throw new Error(`${name} is no picture that can be read: ${(cause as Error).message}`, { cause });
  }
}

/** What was typed as prompts, where `-` is the lines of standard input. */
export async function readPrompts(typed: readonly string[]): Promise<string[]> {
  if (!typed.includes('-')) return [...typed];
  const lines = (await readStdin('prompts')).toString('utf8').split(/\r?\n/);
  const prompts = lines.map((line) => line.trim()).filter((line) => line !== '');
  if (prompts.length === 0) throw new UsageError('Expected prompts, one a line, in standard input, which has none');
  return typed.flatMap((one) => (one === '-' ? prompts : [one]));
}
