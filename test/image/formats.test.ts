// Pictures in JPEG and WebP files: the words in them as Pillow has them, and pixels upright and in sRGB.
import sharp from 'sharp';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { readExif, withExif } from '../../lib/image/exif.js';
import {
  checkSide,
  COMMON,
  decodeAlpha,
  decodePicture,
  encodePicture,
  formatOf,
  OWN,
  textsIn,
} from '../../lib/image/formats.js';
import type { Image } from '../../lib/image/image.js';

const test = suite('formats of pictures');

/**
 * Pillow 12.3.0: ImageDescription 'fox' and UserComment 'a fox in the Grün 狐\nSteps: 20' behind UNICODE\0, in a JPEG file (cut
 * off behind them) with the upper byte first, and in a WebP file with the lower one first.
 */
const PILLOW = {
  jpeg: '/9j/4AAQSkZJRgABAQAAAQABAAD/4QCCRXhpZgAATU0AKgAAAAgAAgEOAAIAAAAEZm94AIdpAAQAAAABAAAAJgAAAAAAAZKGAAEAAABCAAAAOAAAAABVTklDT0RFAABhACAAZgBvAHgAIABpAG4AIAB0AGgAZQAgAEcAcgD8AG4AIHLQAAoAUwB0AGUAcABzADoAIAAyADA=',
  webp: 'UklGRs4AAABXRUJQVlA4WAoAAAAIAAAABwAABwAAVlA4IC4AAACQAQCdASoIAAgAAUAmJaACdLoAA5gA/vFNr+LaR0KZD/7xn/9xn/9xn/yIAAAARVhJRnoAAABNTQAqAAAACAACAQ4AAgAAAARmb3gAh2kABAAAAAEAAAAmAAAAAAABkoYAAQAAAEIAAAA4AAAAAFVOSUNPREUAYQAgAGYAbwB4ACAAaQBuACAAdABoAGUAIABHAHIA/ABuACAA0HIKAFMAdABlAHAAcwA6ACAAMgAwAA==',
};
const COMMENT = 'a fox in the Grün 狐\nSteps: 20';
/** Left half red, right half blue, the lower right quarter white: no turn leaves it as it is. */
const image = pictureOf(64, 32, (x, y) => (x < 32 ? [220, 30, 40] : y < 16 ? [20, 40, 200] : [250, 250, 250]));

function pictureOf(width: number, height: number, color: (x: number, y: number) => ArrayLike<number>): Image {
  const data = new Uint8Array(3 * width * height);
  for (let i = 0; i < width * height; i++) data.set(color(i % width, Math.floor(i / width)), 3 * i);
  return { width, height, data };
}

const raw = ({ width, height, data }: Image) => sharp(data, { raw: { width, height, channels: 3 } });

/** Colours of pixels far from edges, which JPEG blurs, are these within a few units. */
function near(found: Image, expected: Image, most: number): void {
  assert.equal([found.width, found.height], [expected.width, expected.height]);
  for (const [x, y] of [0.25, 0.75].flatMap((x) => [0.25, 0.75].map((y) => [x, y]))) {
    const at = 3 * (Math.floor(y * found.height) * found.width + Math.floor(x * found.width));
    for (let c = 0; c < 3; c++) {
      const [a, b] = [found.data[at + c], expected.data[at + c]];
      assert.ok(Math.abs(a - b) <= most, `${a} for ${b} at ${x}, ${y}, channel ${c}`);
    }
  }
}

test('reads the words that Pillow wrote, in either order of bytes', () => {
  for (const file of Object.values(PILLOW)) {
    assert.equal(readExif(Buffer.from(file, 'base64')), { description: 'fox', comment: COMMENT });
  }
  assert.equal(
    [...textsIn(Buffer.from(PILLOW.webp, 'base64'))],
    [
      [OWN, 'fox'],
      [COMMON, COMMENT],
    ],
  );
});

test('a file that ends anywhere, or lies about a length or a place, is no error', () => {
  for (const file of Object.values(PILLOW)) {
    const bytes = Buffer.from(file, 'base64');
    for (let end = 0; end < bytes.length; end++) readExif(bytes.subarray(0, end));
    for (let at = 0; at < bytes.length; at++) {
      for (const bits of [255, 1]) {
        const damaged = Buffer.from(bytes);
        damaged[at] ^= bits;
        readExif(damaged);
      }
    }
  }
});

test('gives back the words that were put in, beside the picture that was there', async () => {
  const texts = { [OWN]: '{"prompts":["狐"]}', [COMMON]: COMMENT };
  for (const format of ['jpeg', 'webp'] as const) {
    const file = await encodePicture(image, { format, quality: 90 }, texts);
    assert.equal([...textsIn(file)], Object.entries(texts), format);
    // libvips finds the file whole, and the same EXIF in it.
    const { width, height, format: found, exif } = await sharp(file, { failOn: 'warning' }).metadata();
    assert.equal([width, height, found], [64, 32, format]);
    assert.ok(exif?.includes(Buffer.from(COMMENT, 'utf16le').swap16()));
    const bare = await encodePicture(image, { format, quality: 90 });
    assert.equal(await decodePicture(file), await decodePicture(bare), 'the same pixels');
    near(await decodePicture(file), image, 12);
    for (const one of [OWN, COMMON]) {
      const single = await encodePicture(image, { format, quality: 90 }, { [one]: 'x' });
      assert.equal([...textsIn(single)], [[one, 'x']]);
    }
  }
});

test('words go into WebP files of every kind: with transparency, without loss, with a header of their own', async () => {
  const pixels = raw(image);
  for (const file of [
    await pixels.clone().webp({ lossless: true }).toBuffer(),
    await pixels.clone().ensureAlpha(0.5).webp().toBuffer(),
    await pixels.clone().withIccProfile('srgb').webp().toBuffer(),
  ]) {
    const before = await sharp(file).metadata();
    const words = withExif(file, { comment: COMMENT });
    assert.is(readExif(words).comment, COMMENT);
    const { width, height, hasAlpha, hasProfile } = await sharp(words, { failOn: 'warning' }).metadata();
    assert.equal([width, height, hasAlpha, hasProfile], [64, 32, before.hasAlpha, before.hasProfile]);
    assert.equal(await sharp(words).raw().toBuffer(), await sharp(file).raw().toBuffer());
  }
});

test('words that no JPEG file has room for are left out, the longest first', async () => {
  const long = 'x'.repeat(40_000);
  const file = await encodePicture(image, { format: 'jpeg', quality: 90 }, { [OWN]: '{}', [COMMON]: long });
  assert.equal([...textsIn(file)], [[OWN, '{}']]);
  const webp = await encodePicture(image, { format: 'webp', quality: 90 }, { [OWN]: '{}', [COMMON]: long });
  assert.equal([...textsIn(webp)], Object.entries({ [OWN]: '{}', [COMMON]: long }));
});

test('turns a picture as its EXIF says: all eight ways, and its transparency with it', async () => {
  const { width: w, height: h } = image;
  // EXIF 3.0, 4.6.5, Orientation: which pixel as stored is at (x, y) as seen.
  const ways: [turned: boolean, from: (x: number, y: number) => [number, number]][] = [
    [false, (x, y) => [x, y]],
    [false, (x, y) => [w - 1 - x, y]],
    [false, (x, y) => [w - 1 - x, h - 1 - y]],
    [false, (x, y) => [x, h - 1 - y]],
    [true, (x, y) => [y, x]],
    [true, (x, y) => [y, h - 1 - x]],
    [true, (x, y) => [w - 1 - y, h - 1 - x]],
    [true, (x, y) => [w - 1 - y, x]],
  ];
  for (const [i, [turned, from]] of ways.entries()) {
    const expected = pictureOf(turned ? h : w, turned ? w : h, (x, y) => {
      const [column, row] = from(x, y);
      return image.data.subarray(3 * (row * w + column), 3 * (row * w + column) + 3);
    });
    const orientation = i + 1;
    const file = await raw(image).withMetadata({ orientation }).jpeg({ quality: 95, chromaSubsampling: '4:4:4' });
    near(await decodePicture(await file.toBuffer()), expected, 12);
    // White is opaque here and all else is not.
    const seen = raw(image).joinChannel(
      Buffer.from(Uint8Array.from({ length: w * h }, (_, p) => (image.data[3 * p] === 250 ? 255 : 0))),
      { raw: { width: w, height: h, channels: 1 } },
    );
    const alpha = await decodeAlpha(await seen.withMetadata({ orientation }).webp({ lossless: true }).toBuffer());
    assert.equal([alpha?.width, alpha?.height], [expected.width, expected.height]);
    assert.equal(
      alpha?.values,
      Uint8Array.from({ length: w * h }, (_, p) => (expected.data[3 * p] === 250 ? 255 : 0)),
      String(orientation),
    );
  }
});

test('CMYK and other colour profiles become sRGB, grey three channels, transparent parts white', async () => {
  const flat = pictureOf(16, 16, () => [180, 90, 60]);
  const cmyk = await raw(flat).toColourspace('cmyk').jpeg({ quality: 100 }).toBuffer();
  assert.is((await sharp(cmyk).metadata()).space, 'cmyk');
  // Inks mix to other colours than light does: near ones, and not those that are turned round.
  near(await decodePicture(cmyk), flat, 30);
  // The same colour has other numbers in Display P3: those of the file are not what is read.
  const p3 = await raw(flat).withIccProfile('p3').webp({ lossless: true }).toBuffer();
  const stored = await sharp(p3, { ignoreIcc: true } as object)
    .raw()
    .toBuffer();
  assert.ok(Math.abs(stored[0] - 180) > 3, `${stored[0]}`);
  near(await decodePicture(p3), flat, 3);
  const grey = await raw(pictureOf(16, 16, () => [99, 99, 99]))
    .grayscale()
    .jpeg({ quality: 100 })
    .toBuffer();
  near(
    await decodePicture(grey),
    pictureOf(16, 16, () => [99, 99, 99]),
    2,
  );
  const clear = await raw(flat).ensureAlpha(0).webp({ lossless: true }).toBuffer();
  near(
    await decodePicture(clear),
    pictureOf(16, 16, () => [255, 255, 255]),
    0,
  );
});

test('what is no picture, or is cut short, is an error in one line', async () => {
  const whole = await encodePicture(image, { format: 'jpeg', quality: 90 });
  for (const bytes of [Buffer.from('text'), whole.subarray(0, whole.length / 2), new Uint8Array(0)]) {
    try {
      await decodePicture(bytes);
      assert.unreachable();
    } catch (error) {
      assert.match((error as Error).message, /^[^\n]+$/);
    }
  }
});

test('knows formats by their endings, and how large they may be', () => {
  assert.equal(['a.PNG', 'b.jpg', 'c.JPEG', 'd.webp', 'e.gif', 'png'].map(formatOf), [
    ...(['png', 'jpeg', 'jpeg', 'webp', undefined, undefined] as const),
  ]);
  assert.throws(
    () => checkSide('webp', { width: 16384, height: 1 }),
    /^Expected at most 16383 pixels a side for a WebP/,
  );
  assert.throws(() => checkSide('jpeg', { width: 1, height: 65501 }), /a JPEG file but received 1 x 65501$/);
  checkSide('png', { width: 70000, height: 1 });
});

test.run();
