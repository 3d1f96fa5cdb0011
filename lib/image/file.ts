// Files that are there whole or not at all.
import { randomBytes } from 'node:crypto';
import {
  accessSync,
  closeSync,
  constants,
  openSync,
  realpathSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import { type ColorType, PNG, type PNGOptions } from 'pngjs';
import { wrongType } from '../base/check.js';
import { readAtMost } from '../base/read.js';
import { bufferOf, checkImage, type Image } from './image.js';
import { decodePng, isPng } from './png.js';
import { withText } from './png-text.js';

/** Of a picture's file. */
export const MOST_BYTES = 2 ** 28;

const RGB: ColorType = 2;
/** Each row by the filter that suits it; zlib's own level and strategy: the library's are for drawings, and slow. */
const WRITTEN: PNGOptions & { inputColorType: ColorType } = {
  ...{ inputColorType: RGB, colorType: RGB, inputHasAlpha: false, bitDepth: 8 },
  ...{ filterType: -1, deflateLevel: 6, deflateStrategy: 0 },
};

/**
 * The picture as a PNG file's bytes, 8 bits a channel. `text` is stored beside it, by keywords of Latin-1.
 *
 * @throws TypeError or RangeError for what is no picture
 */
export function encodePng(image: Image, text?: Readonly<Record<string, string>>): Uint8Array {
  checkImage(image, 'image', [3]);
  const { width, height, data } = image;
  const png = new PNG();
  Object.assign(png, { width, height, data: bufferOf(data) });
  const packed = PNG.sync.write(png, WRITTEN);
  return text ? withText(packed, text) : packed;
}

/**
 * The picture in a PNG file: grey is spread to three channels, 16 bits are cut to 8, and what is transparent is laid on
 * white.
 *
 * @param file its path, or its bytes
 * @throws Error that names the file, when it cannot be read or is no PNG; TypeError for another thing than path or bytes
 */
export function readPng(file: string | Uint8Array): Image {
  if (typeof file !== 'string' && !(file instanceof Uint8Array)) {
    const hint = (file as unknown) instanceof ArrayBuffer ? 'new Uint8Array() makes bytes of it' : '';
    throw wrongType('a path or the bytes of a PNG file, a Uint8Array,', 'the picture', file, hint);
  }
  const bytes = typeof file === 'string' ? readBytes(file, isPng) : file;
  try {
    return decodePng(bytes);
  } catch (cause) {
    const name = typeof file === 'string' ? file : 'What was given';
    throw new Error(`${name} is no PNG picture: ${(cause as Error).message}`, { cause });
  }
}

/**
 * The bytes of what may be a picture's file.
 *
 * @param begins judges how it begins; where it says no, only the first few are read
 * @throws Error in one sentence
 */
export function readBytes(path: string, begins?: (head: Uint8Array) => boolean): Uint8Array {
  try {
    return readAtMost(path, MOST_BYTES, begins);
  } catch (cause) {
    const { code = '', message } = cause as NodeJS.ErrnoException;
    const why = code === 'ENOENT' ? 'it does not exist' : code === 'EISDIR' ? 'it is a folder' : reasons[code];
    throw new Error(code === '' ? message : `${path} cannot be read: ${why ?? message}`, { cause });
  }
}

/**
 * Finds out whether {@link writeFileAtomically} could write to `path` by making its temporary file, so that nobody
 * waits for pictures that cannot be stored.
 *
 * @throws Error in one sentence otherwise
 */
export function checkWritable(path: string): void {
  const { temporary } = places(path);
  try {
    closeSync(openSync(temporary, 'wx'));
  } catch (cause) {
    throw failure(path, cause);
  } finally {
    rmSync(temporary, { force: true });
  }
}

/**
 * Writes to a temporary file in the same folder and renames it: `path` is whole or as it was before. Synchronous, so
 * that an interrupt handled by the event loop cannot fall between the two.
 *
 * @throws Error in one sentence, with nothing left behind
 */
export function writeFileAtomically(path: string, data: Uint8Array): void {
  const { target, temporary } = places(path);
  uninterrupted(() => {
    try {
      writeFileSync(temporary, data, { flag: 'wx' });
      renameSync(temporary, target);
    } catch (cause) {
      rmSync(temporary, { force: true });
      throw failure(path, cause);
    }
  });
}

/** Who holds signals back now, and which one came meanwhile. */
let holders = 0;
let held: NodeJS.Signals | undefined;
const hold = (signal: NodeJS.Signals): void => {
  held = signal;
};

/** Does something synchronous that a Ctrl-C must not end in the middle: it ends the process when that is done. */
export function uninterrupted(work: () => void): void {
  // While a listener is there, a signal waits for the event loop instead of ending the process at once.
  if (holders++ === 0) process.on('SIGINT', hold).on('SIGTERM', hold);
  try {
    work();
  } finally {
    // A signal is seen when the loop polls, which lies between any immediate and the next one.
    setImmediate(() => setImmediate(release));
  }
}

function release(): void {
  if (--holders > 0) return;
  process.off('SIGINT', hold).off('SIGTERM', hold);
  const signal = held;
  held = undefined;
  // Others who listen have been told.
  if (signal && process.listenerCount(signal) === 0) process.kill(process.pid, signal);
}

function places(path: string): { target: string; temporary: string } {
  let target = path;
  try {
    const there = statSync(path, { throwIfNoEntry: false });
    if (there && !there.isFile()) {
      throw new Error(there.isDirectory() ? 'it is a folder' : 'it is no regular file');
    }
    // A link stays a link, to the new file; and a file that is protected stays as it is.
    if (there) {
      target = realpathSync(path);
      accessSync(target, constants.W_OK);
    }
  } catch (cause) {
    throw failure(path, cause);
  }
  return { target, temporary: join(dirname(target), `.dpm-solver-${randomBytes(6).toString('hex')}.tmp`) };
}

const reasons: Record<string, string> = {
  ENOENT: 'its folder does not exist',
  ENOTDIR: 'a part of its path is no folder',
  EACCES: 'permission denied',
  EPERM: 'permission denied',
  EROFS: 'the file system is read-only',
  ENOSPC: 'no space is left on the device',
  ENAMETOOLONG: 'its name is too long',
};

function failure(path: string, cause: unknown): Error {
  const { code = '', message } = cause as NodeJS.ErrnoException;
  return new Error(`${path} cannot be written: ${reasons[code] ?? message}`, { cause });
}
