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
import { decode, encode } from 'fast-png';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { checkWritable, encodePng, readPng, writeFileAtomically } from '../../lib/image/file.js';
import { assertThrows } from '../support.js';

/** One bit a pixel, 9 x 2; and a palette of red, green and blue with two bits a pixel, 3 x 1. */
const ONE_BIT = 'iVBORw0KGgoAAAANSUhEUgAAAAkAAAACAQAAAACiLct+AAAADklEQVR4nGPY2MDAyAAABX0BM47wIsoAAAAASUVORK5CYII=';
const ONE_BIT_PIXELS = [1, 0, 1, 1, 0, 0, 0, 1, 1, 0, 0, 0, 0, 0, 0, 0, 1, 0];
const PALETTE =
  'iVBORw0KGgoAAAANSUhEUgAAAAMAAAABAgMAAABmjvwnAAAACVBMVEX/AAAA/wAAAP8tSs2KAAAACklEQVR4nGNQAQAAJgAlKNfYawAAAABJRU5ErkJggg==';

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

test('reads pictures of all kinds', () => {
  const path = join(folder, 'kinds.png');
  const read = (channels: number, depth: number, data: number[]) => {
    const values = depth === 16 ? Uint16Array.from(data) : Uint8Array.from(data);
    const kind = { channels: channels as 1 | 2 | 3 | 4, depth: depth as 8 | 16 };
    writeFileSync(path, encode({ width: 2, height: 1, data: values, ...kind }));
    return [...readPng(path).data];
  };
  assert.equal(read(3, 8, [1, 2, 3, 4, 5, 6]), [1, 2, 3, 4, 5, 6]);
  assert.equal(read(1, 8, [7, 200]), [7, 7, 7, 200, 200, 200]);
  // Half transparent black is grey on white; what is not there is white.
  assert.equal(read(4, 8, [0, 0, 0, 128, 9, 9, 9, 0]), [127, 127, 127, 255, 255, 255]);
  assert.equal(read(2, 8, [50, 255, 50, 0]), [50, 50, 50, 255, 255, 255]);
  assert.equal(read(3, 16, [0, 65535, 32768, 257, 0, 0]), [0, 255, 128, 1, 0, 0]);
  writeFileSync(path, Buffer.from(ONE_BIT, 'base64'));
  const bits = readPng(path);
  assert.equal([bits.width, bits.height], [9, 2]);
  assert.equal(
    [...bits.data].filter((_, i) => i % 3 === 0).map((v) => v / 255),
    ONE_BIT_PIXELS,
  );
  writeFileSync(path, Buffer.from(PALETTE, 'base64'));
  assert.equal([...readPng(path).data], [255, 0, 0, 0, 0, 255, 0, 255, 0]);
  rmSync(path);
});

test('says why a picture cannot be read', () => {
  const bad = join(folder, 'bad.png');
  writeFileSync(bad, 'text');
  assertThrows(() => readPng(bad), Error, /bad\.png is no PNG picture: /);
  assertThrows(() => readPng(join(folder, 'none.png')), Error, /none\.png cannot be read: it does not exist$/);
  assertThrows(() => readPng(folder), Error, /cannot be read: it is a folder$/);
  const whole = encodePng({ width: 20, height: 20, data: new Uint8Array(1200) });
  writeFileSync(bad, whole.subarray(0, whole.length - 20));
  assertThrows(() => readPng(bad), Error, /bad\.png is no PNG picture: /);
  rmSync(bad);
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
