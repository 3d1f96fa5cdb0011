// Files that somebody names: read up to a bound, whatever they turn out to be.
import { closeSync, openSync, readSync } from 'node:fs';

/** Of a first look, and of each further one. */
const [HEAD, PIECE] = [64, 2 ** 20];

/**
 * The bytes of a file, of a pipe or of a device. What goes on and on (`/dev/zero`) is an error, and not an endless wait.
 *
 * @param most bytes that it may have
 * @param begins judges the first 64 bytes, or as many as there are; where it says no, these are all that is read
 * @throws Error in one sentence where there are more; the system's error where it cannot be read
 */
export function readAtMost(path: string, most: number, begins: (head: Buffer) => boolean = () => true): Buffer {
  const file = openSync(path, 'r');
  try {
    const pieces: Buffer[] = [];
    let length = 0;
    let judged = false;
    for (;;) {
      const piece = Buffer.alloc(judged ? PIECE : HEAD - length);
      const got = readSync(file, piece);
      pieces.push(piece.subarray(0, got));
      length += got;
      if (length > most) throw new Error(`Expected at most ${most} bytes in ${path} but found more`);
      if (!judged && (got === 0 || length === HEAD)) {
        judged = true;
        if (!begins(Buffer.concat(pieces))) break;
      }
      if (got === 0) break;
    }
    return Buffer.concat(pieces);
  } finally {
    closeSync(file);
  }
}
