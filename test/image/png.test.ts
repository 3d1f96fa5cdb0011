// PNG files in: every kind that the specification has, written here sample by sample; and files that ask for too much, are
// damaged, or never end.
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { crc32, deflateSync } from 'node:zlib';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { readAtMost } from '../../lib/base/read.js';
import { readPng } from '../../lib/image/file.js';
import { decodePng, decodePngAlpha } from '../../lib/image/png.js';
import { assertThrows } from '../support.js';

const test = suite('PNG files');
const folder = mkdtempSync(join(tmpdir(), 'dpm-solver-png-'));
test.after(() => rmSync(folder, { recursive: true }));

const SIGNATURE = Buffer.from([0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a]);
const SAMPLES: Record<number, number> = { 0: 1, 2: 3, 3: 1, 4: 2, 6: 4 };

function chunk(type: string, data: Uint8Array): Buffer {
  const body = Buffer.concat([Buffer.from(type, 'latin1'), data]);
  const ends = Buffer.alloc(8);
  ends.writeUInt32BE(data.length, 0);
  ends.writeUInt32BE(crc32(body), 4);
  return Buffer.concat([ends.subarray(0, 4), body, ends.subarray(4)]);
}

interface Kind {
  readonly colour: number;
  readonly depth: number;
  readonly interlaced?: boolean;
  readonly width?: number;
  readonly height?: number;
  /** Chunks before the pixels. */
  readonly before?: Buffer[];
}

/** A sample of a pixel: of c channels of `depth` bits, the same whenever it is asked for. */
function sampleAt({ colour, depth }: Kind, x: number, y: number, c: number): number {
  const value = (x * 7919 + y * 104729 + c * 1299709 + x * y * 31) % 65536;
  // A palette of 4 colours at most, whatever the depth.
  return colour === 3 ? value % Math.min(4, 2 ** depth) : value % 2 ** depth;
}

/** The rows of a picture or of one of its passes, with a filter of every kind in turn. */
function rows(kind: Kind, xs: number[], ys: number[]): Buffer {
  const samples = SAMPLES[kind.colour];
  const bits = samples * kind.depth;
  const size = Math.ceil((xs.length * bits) / 8);
  const apart = Math.max(1, bits >> 3);
  let previous = Buffer.alloc(size);
  const out: Buffer[] = [];
  for (const [r, y] of ys.entries()) {
    const row = Buffer.alloc(size);
    for (const [i, x] of xs.entries()) {
      for (let c = 0; c < samples; c++) {
        const value = sampleAt(kind, x, y, c);
        const at = i * bits + c * kind.depth;
        if (kind.depth === 16) row.writeUInt16BE(value, at >> 3);
        else row[at >> 3] |= value << (8 - kind.depth - (at & 7));
      }
    }
    const filter = r % 5;
    const filtered = Buffer.alloc(size);
    for (let i = 0; i < size; i++) {
      const [a, b, c] = [i < apart ? 0 : row[i - apart], previous[i], i < apart ? 0 : previous[i - apart]];
      const [pa, pb, pc] = [Math.abs(b - c), Math.abs(a - c), Math.abs(a + b - 2 * c)];
      const paeth = pa <= pb && pa <= pc ? a : pb <= pc ? b : c;
      filtered[i] = row[i] - [0, a, b, (a + b) >> 1, paeth][filter];
    }
    out.push(Buffer.from([filter]), filtered);
    previous = row;
  }
  return xs.length > 0 ? Buffer.concat(out) : Buffer.alloc(0);
}

const range = (from: number, to: number, step: number) =>
  Array.from({ length: Math.max(0, Math.ceil((to - from) / step)) }, (_, i) => from + i * step);
const PALETTE = [255, 0, 0, 0, 255, 0, 10, 20, 30, 200, 100, 50];

function header({ colour, depth, interlaced = false, width = 9, height = 11 }: Kind): Buffer {
  const data = Buffer.alloc(13);
  data.writeUInt32BE(width, 0);
  data.writeUInt32BE(height, 4);
  data.set([depth, colour, 0, 0, interlaced ? 1 : 0], 8);
  return chunk('IHDR', data);
}

function pixelsOf(kind: Kind): Buffer {
  const { width = 9, height = 11, interlaced } = kind;
  if (!interlaced) return rows(kind, range(0, width, 1), range(0, height, 1));
  // Adam7.
  const passes = [
    [0, 8, 0, 8],
    [4, 8, 0, 8],
    [0, 4, 4, 8],
    [2, 4, 0, 4],
    [0, 2, 2, 4],
    [1, 2, 0, 2],
    [0, 1, 1, 2],
  ];
  return Buffer.concat(passes.map(([x, dx, y, dy]) => rows(kind, range(x, width, dx), range(y, height, dy))));
}

function png(kind: Kind, pixels = pixelsOf(kind)): Buffer {
  const data = deflateSync(pixels);
  const palette = kind.colour === 3 ? [chunk('PLTE', Buffer.from(PALETTE))] : [];
  return Buffer.concat([
    ...[SIGNATURE, header(kind), ...palette, ...(kind.before ?? [])],
    // In two pieces, as larger ones come.
    ...[chunk('IDAT', data.subarray(0, 5)), chunk('IDAT', data.subarray(5)), chunk('IEND', Buffer.alloc(0))],
  ]);
}

/** The pixel that the specification says, on white, within half a level. */
function expectedAt(kind: Kind, x: number, y: number, alphaOf?: (samples: number[]) => number): number[] {
  const { colour, depth } = kind;
  const samples = Array.from({ length: SAMPLES[colour] }, (_, c) => sampleAt(kind, x, y, c));
  const max = 2 ** depth - 1;
  let rgb: number[];
  let alpha = alphaOf?.(samples) ?? 1;
  if (colour === 3) rgb = PALETTE.slice(3 * samples[0], 3 * samples[0] + 3);
  else {
    const grey = colour === 0 || colour === 4;
    rgb = (grey ? [0, 0, 0] : [0, 1, 2]).map((c) => (samples[c] * 255) / max);
    if (colour >= 4) alpha = samples[SAMPLES[colour] - 1] / max;
  }
  return rgb.map((v) => v * alpha + 255 * (1 - alpha));
}

function check(kind: Kind, alphaOf?: (samples: number[]) => number): void {
  const { width = 9, height = 11 } = kind;
  const image = decodePng(png(kind));
  assert.equal([image.width, image.height, image.data.length], [width, height, 3 * width * height]);
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      const wanted = expectedAt(kind, x, y, alphaOf);
      const got = [...image.data.subarray(3 * (y * width + x), 3 * (y * width + x) + 3)];
      const apart = Math.max(...got.map((v, c) => Math.abs(v - wanted[c])));
      assert.ok(apart <= 0.51, `${JSON.stringify(kind)} at ${x}, ${y}: ${got} and not ${wanted}`);
    }
  }
}

const KINDS: Kind[] = [0, 2, 3, 4, 6].flatMap((colour) =>
  (colour === 0 ? [1, 2, 4, 8, 16] : colour === 3 ? [1, 2, 4, 8] : [8, 16]).flatMap((depth) =>
    [false, true].map((interlaced) => ({ colour, depth, interlaced })),
  ),
);
test('every colour type, depth and interlacing', () => {
  assert.is(KINDS.length, 30);
  for (const kind of KINDS) check(kind);
});

test('every size from 1 to 9, interlaced, where passes are empty', () => {
  for (let width = 1; width <= 9; width++) {
    for (let height = 1; height <= 9; height++) {
      for (const kind of [
        { colour: 0, depth: 1 },
        { colour: 2, depth: 8 },
        { colour: 3, depth: 2 },
      ])
        check({ ...kind, interlaced: true, width, height });
    }
  }
});

test('transparency by a colour or by the palette, and chunks that mean nothing here', () => {
  const grey = (depth: number) => {
    const key = sampleAt({ colour: 0, depth }, 3, 4, 0);
    const data = Buffer.alloc(2);
    data.writeUInt16BE(key);
    check({ colour: 0, depth, before: [chunk('tRNS', data)] }, ([v]) => (v === key ? 0 : 1));
  };
  for (const depth of [1, 2, 4, 8, 16]) grey(depth);
  const key = [0, 1, 2].map((c) => sampleAt({ colour: 2, depth: 8 }, 5, 5, c));
  const tRNS = chunk('tRNS', Buffer.from(key.flatMap((v) => [0, v])));
  check({ colour: 2, depth: 8, before: [tRNS] }, (rgb) => (rgb.every((v, c) => v === key[c]) ? 0 : 1));
  const alphas = [0, 128, 255];
  check({ colour: 3, depth: 8, before: [chunk('tRNS', Buffer.from(alphas))] }, ([i]) => (alphas[i] ?? 255) / 255);
  // A suggested palette beside true colour; gamma, which is not applied; texts; a profile that would be gigabytes.
  const bomb = deflateSync(Buffer.alloc(2 ** 24));
  for (const extra of [
    chunk('PLTE', Buffer.from(PALETTE)),
    chunk('sPLT', Buffer.from('a\0\x08abcdef', 'latin1')),
    chunk('gAMA', Buffer.from([0, 0, 0x8b, 0x1f])),
    chunk('tEXt', Buffer.from('prompt\0a red circle', 'latin1')),
    chunk('iCCP', Buffer.concat([Buffer.from('p\0\0', 'latin1'), bomb])),
  ])
    check({ colour: 2, depth: 8, before: [extra] });
});

test('the alpha channel of every kind that has one, and nothing of the others', () => {
  const alphas = [7, 0, 128];
  const tRNS = chunk('tRNS', Buffer.from(alphas));
  for (const kind of KINDS) {
    const { colour, depth } = kind;
    const indexed = colour === 3 && depth > 1;
    const alpha = decodePngAlpha(png(indexed ? { ...kind, before: [tRNS] } : kind));
    if (colour < 4 && !indexed) {
      assert.is(alpha, undefined, JSON.stringify(kind));
      continue;
    }
    const wanted = Array.from({ length: 99 }, (_, i) => {
      const sample = sampleAt(kind, i % 9, Math.floor(i / 9), SAMPLES[colour] - 1);
      return colour === 3 ? (alphas[sample] ?? 255) : Math.floor(sample / 2 ** (depth - 8));
    });
    assert.equal([alpha?.width, alpha?.height, [...(alpha?.values ?? [])]], [9, 11, wanted], JSON.stringify(kind));
  }
});

const plain: Kind = { colour: 2, depth: 8 };
const whole = png(plain);
const damaged: [string, () => Uint8Array, RegExp][] = [
  ['text', () => Buffer.from('some text that is no picture'), /^it does not begin as one$/],
  ['nothing', () => Buffer.alloc(0), /^it does not begin as one$/],
  ['a header alone', () => whole.subarray(0, 20), /^it ends within its chunk IHDR$|^it ends before its last chunk$/],
  ['no header', () => Buffer.concat([SIGNATURE, chunk('IEND', Buffer.alloc(0))]), /^it does not begin with a header/],
  ['a side of 0', () => png({ ...plain, width: 0 }, Buffer.alloc(1)), /^it says that it is 0 x 11 pixels large$/],
  [
    'a bit depth that there is not',
    () => png({ ...plain, depth: 3 }, Buffer.alloc(1)),
    /^there is no colour type 2 of 3 bits$/,
  ],
  [
    'a colour type that there is not',
    () => png({ ...plain, colour: 5 } as Kind, Buffer.alloc(1)),
    /^there is no colour type 5 of 8 bits$/,
  ],
  ['no pixels', () => Buffer.concat([SIGNATURE, header(plain), chunk('IEND', Buffer.alloc(0))]), /^it has no pixels$/],
  [
    'too few pixels',
    () => png(plain, pixelsOf(plain).subarray(0, 100)),
    /^its pixels are 100 bytes where the header says 308$/,
  ],
  [
    'no palette',
    () =>
      Buffer.concat([
        SIGNATURE,
        header({ colour: 3, depth: 8 }),
        chunk('IDAT', deflateSync(Buffer.alloc(200))),
        chunk('IEND', Buffer.alloc(0)),
      ]),
    /^it has no palette$/,
  ],
  [
    'pixels that are a bomb',
    () => png({ ...plain, width: 1, height: 1 }, Buffer.alloc(2 ** 25)),
    /^its pixels cannot be read: more of them than the header says$/,
  ],
  [
    'pixels that are an interlaced bomb',
    () => png({ ...plain, width: 1, height: 1, interlaced: true }, Buffer.alloc(2 ** 25)),
    /more of them than the header says$/,
  ],
  [
    'a header that is a bomb',
    () => png({ ...plain, width: 40_000, height: 40_000 }, Buffer.alloc(1)),
    /^it has 40000 x 40000 pixels, more than the 33554432 that are read$/,
  ],
  [
    'sizes beyond 2^31',
    () => png({ ...plain, width: 2 ** 32 - 1, height: 2 ** 32 - 1 }, Buffer.alloc(1)),
    /^it has 4294967295 x 4294967295 pixels/,
  ],
];
for (const [what, make, message] of damaged) {
  test(`refuses ${what}`, () => {
    const began = process.memoryUsage().rss;
    for (const read of [decodePng, decodePngAlpha]) assertThrows(() => read(make()), Error, message);
    assert.ok(process.memoryUsage().rss - began < 300e6);
  });
}

test('a byte that is another one is found, wherever it is; a file that was cut, too', () => {
  for (let at = 0; at < whole.length; at++) {
    const copy = Buffer.from(whole);
    copy[at] ^= 1 << (at % 8);
    assertThrows(() => decodePng(copy), Error, /^it |^its |^there is no /);
  }
  for (let length = 0; length < whole.length; length++) {
    assertThrows(() => decodePng(whole.subarray(0, length)), Error, /^it /);
  }
  // What comes after the end does not count.
  assert.equal(decodePng(Buffer.concat([whole, Buffer.from('more')])), decodePng(whole));
});

test('what never ends is read no further than its first bytes, or than a picture can have', () => {
  if (process.platform === 'win32') return;
  assertThrows(() => readPng('/dev/zero'), Error, /^\/dev\/zero is no PNG picture: it does not begin as one$/);
  assertThrows(() => readPng('/dev/null'), Error, /^\/dev\/null is no PNG picture: it does not begin as one$/);
  assertThrows(
    () => readAtMost('/dev/zero', 2 ** 22),
    Error,
    /^Expected at most 4194304 bytes in \/dev\/zero but found more$/,
  );
  assert.is(readAtMost('/dev/zero', 2 ** 22, () => false).length, 64);
  const cli = fileURLToPath(new URL('../../lib/cli/main.ts', import.meta.url));
  for (const args of [
    ['img2img', 'red', '--model', 'shapes', '--image', '/dev/zero', '-o', join(folder, 'out.png')],
    ['sample', '--like', '/dev/zero', '-o', join(folder, 'out.png')],
    ['sample', '--table', '/dev/zero', '--steps', '6', '-o', join(folder, 'out.png')],
    ['decode', '/dev/zero', '--model', 'shapes', '-o', join(folder, 'out.png')],
    ['calibrate', '--prompts', '/dev/zero', '-o', join(folder, 'out.json')],
  ]) {
    const { status, stderr } = spawnSync(process.execPath, ['--import', import.meta.resolve('tsx'), cli, ...args], {
      encoding: 'utf8',
      timeout: 120_000,
    });
    assert.ok(status === 1 || status === 2, `${args}: ${status} ${stderr}`);
    assert.match(stderr, /\/dev\/zero/);
  }
});

test('reads what a pipe has, and small files', () => {
  const path = join(folder, 'whole.png');
  writeFileSync(path, whole);
  assert.equal(readPng(path), decodePng(whole));
  assert.equal(readAtMost(path, whole.length), whole);
  assertThrows(() => readAtMost(path, whole.length - 1), Error, /but found more$/);
  if (process.platform === 'win32') return;
  const url = new URL('../../lib/image/file.ts', import.meta.url).href;
  const script = `const { readPng } = await import(${JSON.stringify(url)}); console.log(readPng('/dev/stdin').width)`;
  // spawn's own standard input is no pipe that could be opened by this name.
  const { stdout, stderr } = spawnSync(
    'sh',
    [
      '-c',
      'cat "$1" | "$2" --import "$3" --input-type=module -e "$4"',
      'sh',
      path,
      process.execPath,
      import.meta.resolve('tsx'),
      script,
    ],
    { encoding: 'utf8' },
  );
  assert.is(stdout, '9\n', stderr);
});

test.run();
