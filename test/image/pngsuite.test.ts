// PngSuite by Willem van Schaik, every kind of PNG file that there is and 14 broken ones (test/fixtures/pngsuite, with its
// licence), beside what libvips makes of them.
import { readdirSync, readFileSync } from 'node:fs';
import sharp from 'sharp';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { decodePng, decodePngAlpha } from '../../lib/image/png.js';
import { assertThrows } from '../support.js';

const test = suite('PngSuite');
const folder = new URL('../fixtures/pngsuite/', import.meta.url);
const files = readdirSync(folder).filter((name) => name.endsWith('.png'));
const read = (name: string) => readFileSync(new URL(name, folder));

/** Why each is refused. */
const BROKEN: Record<string, RegExp> = {
  'xs1n0g01.png': /^it does not begin as one$/,
  'xs2n0g01.png': /^it does not begin as one$/,
  'xs4n0g01.png': /^it does not begin as one$/,
  'xs7n0g01.png': /^it does not begin as one$/,
  'xcrn0g04.png': /^it does not begin as one$/, // its line ends were turned
  'xlfn0g04.png': /^it does not begin as one$/,
  'xhdn0g08.png': /^its chunk IHDR is damaged: the check sum is another$/,
  'xc1n0g08.png': /^there is no colour type 1 of 8 bits$/,
  'xc9n2c08.png': /^there is no colour type 9 of 8 bits$/,
  'xd0n2c08.png': /^there is no colour type 2 of 0 bits$/,
  'xd3n2c08.png': /^there is no colour type 2 of 3 bits$/,
  'xd9n2c08.png': /^there is no colour type 2 of 99 bits$/,
  'xdtn0g01.png': /^it has no pixels$/,
  'xcsn0g01.png': /^its chunk IDAT is damaged: the check sum is another$/,
};

/** The samples as they are in the file, by libvips; grey may stay grey. */
async function reference(name: string) {
  const { depth } = await sharp(read(name)).metadata();
  const wide = depth === 'ushort';
  const { data, info } = await sharp(read(name), { failOn: 'warning' })
    .toColourspace(wide ? 'rgb16' : 'srgb')
    .raw({ depth: wide ? 'ushort' : 'uchar' })
    .toBuffer({ resolveWithObject: true });
  const samples = wide ? new Uint16Array(data.buffer, data.byteOffset, data.length / 2) : data;
  return { ...info, samples, most: wide ? 65535 : 255 };
}

test('is whole: 161 files and 14 broken ones', () => {
  assert.is(files.length, 161 + 14);
  assert.equal(files.filter((name) => name.startsWith('x')).sort(), Object.keys(BROKEN).sort());
});

test('all that are valid are read as libvips reads them, laid on white', async () => {
  for (const name of files.filter((file) => !(file in BROKEN))) {
    const { width, height, channels, samples, most } = await reference(name);
    const image = decodePng(read(name));
    assert.equal([image.width, image.height], [width, height], name);
    const alpha = decodePngAlpha(read(name));
    assert.is(alpha !== undefined, channels % 2 === 0, `${name}: transparency`);
    const of = channels < 3 ? [0, 0, 0] : [0, 1, 2];
    for (let i = 0; i < width * height; i++) {
      const pixel = samples.subarray(channels * i, channels * (i + 1));
      const opaque = alpha ? pixel[channels - 1] / most : 1;
      // 16 bits may be cut or rounded to 8 where they are cover alone.
      if (alpha) assert.ok(Math.abs(alpha.values[i] - 255 * opaque) < 1, `${name}: alpha of pixel ${i}`);
      for (const [c, from] of of.entries()) {
        const wanted = 255 * ((pixel[from] / most) * opaque + 1 - opaque);
        const got = image.data[3 * i + c];
        assert.ok(Math.abs(got - wanted) <= 0.51, `${name}: ${got} and not ${wanted} in pixel ${i}`);
      }
    }
  }
});

for (const [name, why] of Object.entries(BROKEN)) {
  test(`${name} is refused, as by libvips`, async () => {
    for (const decode of [decodePng, decodePngAlpha]) assertThrows(() => decode(read(name)), Error, why);
    assert.is(
      await sharp(read(name), { failOn: 'warning' })
        .raw()
        .toBuffer()
        .then(
          () => 'read',
          () => 'refused',
        ),
      'refused',
    );
  });
}

test.run();
