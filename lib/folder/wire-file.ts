// Files of protocol buffers on a disk.
import { closeSync, fstatSync, openSync, readSync } from 'node:fs';
import { WireFile } from './wire.js';

/** Opens a file for as long as `work` takes. */
export function readWire<T>(path: string, work: (file: WireFile) => T): T {
  const file = openSync(path, 'r');
  try {
    return work(new WireFile({ size: fstatSync(file).size, read: (to, at) => readSync(file, to, 0, to.length, at) }));
  } finally {
    closeSync(file);
  }
}
