// Files that are there whole or not at all.
import { spawnSync } from 'node:child_process';
import {
  chmodSync,
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { decode } from 'fast-png';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { checkWritable, encodePng, writeFileAtomically } from '../../lib/image/file.js';
import { assertThrows } from '../support.js';

const test = suite('image file');
const folder = mkdtempSync(join(tmpdir(), 'dpm-solver-file-'));
test.after(() => rmSync(folder, { recursive: true }));

test('writes a PNG that reads back as it was', () => {
  const data = Uint8Array.from({ length: 5 * 4 * 3 }, (_, i) => (i * 37) % 256);
  const read = decode(encodePng({ width: 5, height: 4, data }, { prompt: 'a red circle' }));
  assert.equal([read.width, read.height, read.channels, read.depth], [5, 4, 3, 8]);
  assert.equal([...read.data], [...data]);
  assert.equal(read.text, { prompt: 'a red circle' });
});

test('writes and replaces, and leaves nothing beside', () => {
  const path = join(folder, 'new.bin');
  checkWritable(path);
  assert.not.ok(existsSync(path), 'checking makes no file');
  writeFileAtomically(path, Uint8Array.of(1, 2, 3));
  writeFileAtomically(path, Uint8Array.of(4));
  assert.equal([...readFileSync(path)], [4]);
  assert.equal(readdirSync(folder), ['new.bin']);
});

test('keeps a link a link', () => {
  const [path, link] = [join(folder, 'target.bin'), join(folder, 'link.bin')];
  writeFileSync(path, 'old');
  try {
    symlinkSync(path, link);
  } catch {
    return; // Windows without the right to make links
  }
  writeFileAtomically(link, Uint8Array.of(5));
  assert.ok(lstatSync(link).isSymbolicLink());
  assert.equal([...readFileSync(path)], [5]);
});

test('is through with writing before an interrupt ends the process', () => {
  if (process.platform === 'win32') return;
  const path = join(folder, 'interrupted.bin');
  const module = JSON.stringify(new URL('../../lib/image/file.ts', import.meta.url).href);
  const script = `
    const { writeFileAtomically } = await import(${module});
    writeFileAtomically(${JSON.stringify(path)}, Uint8Array.of(1, 2));
    process.kill(process.pid, 'SIGINT');
    await new Promise((resolve) => setTimeout(resolve, 10000));
    process.exit(0);`;
  const tsx = import.meta.resolve('tsx');
  const child = spawnSync(process.execPath, ['--import', tsx, '--input-type=module', '-e', script], {
    encoding: 'utf8',
  });
  assert.is(child.signal, 'SIGINT', child.stderr);
  assert.equal([...readFileSync(path)], [1, 2]);
});

const unwritable: [string, () => string, RegExp][] = [
  ['a missing folder', () => join(folder, 'missing', 'out.png'), /its folder does not exist$/],
  ['a folder', () => folder, /it is a folder$/],
  ['a file for a folder', () => join(import.meta.filename, 'out.png'), /a part of its path is no folder$/],
];
for (const [name, path, reason] of unwritable) {
  test(`refuses ${name} before and when writing`, () => {
    assertThrows(() => checkWritable(path()), Error, reason);
    assertThrows(() => writeFileAtomically(path(), Uint8Array.of(1)), Error, reason);
  });
}

test('respects protection', () => {
  // The administrator may write everywhere.
  if (process.platform === 'win32' || process.getuid?.() === 0) return;
  const closed = join(folder, 'closed');
  mkdirSync(closed);
  chmodSync(closed, 0o500);
  assertThrows(() => checkWritable(join(closed, 'out.png')), Error, /permission denied$/);
  const file = join(folder, 'protected.png');
  writeFileSync(file, 'keep', { mode: 0o400 });
  assertThrows(() => checkWritable(file), Error, /permission denied$/);
});

test.run();
