// Samples to pictures, pictures to sheets.
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { enlarge, type Image, stretch, toImages, toPixels } from '../../lib/image/image.js';
import { sheet, sheetSize } from '../../lib/image/sheet.js';
import { drawText, textWidth } from '../../lib/image/text.js';
import { assertThrows } from '../support.js';

const test = suite('image');

test('maps -1 to 0 and 1 to 255, clamps and rounds to even', () => {
  const values = [-1, 1, 0, -3, 5, NaN, 0.5, -0.5, Infinity, -Infinity, 1 / 255 - 1, 3 / 255 - 1];
  const [image] = toImages(Float32Array.from([...values, ...values, ...values]), [1, 3, 3, 4]);
  assert.equal([image.width, image.height], [4, 3]);
  const red = values.map((_, i) => image.data[3 * i]);
  // 127.5 and 0.5 go to the even neighbour; 63.75 and 191.25 to the nearest; 1.5 in float32 is a little above.
  assert.equal(red.slice(0, 10), [0, 255, 128, 0, 255, 0, 191, 64, 255, 0]);
  assert.ok(red[10] <= 1 && red[11] >= 1 && red[11] <= 2);
});

test('takes planes of red, green and blue apart by sample', () => {
  const data = Float32Array.from({ length: 2 * 3 * 2 }, (_, i) => (i / 11) * 2 - 1);
  const images = toImages(data, [2, 3, 1, 2]);
  const byte = (i: number) => Math.round((i / 11) * 255);
  assert.equal([...images[0].data], [0, 2, 4, 1, 3, 5].map(byte));
  assert.equal([...images[1].data], [6, 8, 10, 7, 9, 11].map(byte));
});

test('turns one channel into grey', () => {
  assert.equal([...toImages(new Float32Array([1, -1]), [1, 1, 1, 2])[0].data], [255, 255, 255, 0, 0, 0]);
});

test('refuses other dims', () => {
  for (const dims of [
    [1, 4, 1, 1],
    [3, 2, 2],
    [1, 3, 2, 3],
  ]) {
    assertThrows(() => toImages(new Float32Array(12), dims), RangeError, /^Expected dims \[batch,3,height,width\]/);
  }
});

const pixels = { width: 2, height: 1, data: Uint8Array.from([1, 2, 3, 4, 5, 6]) };

test('enlarges pixels to squares', () => {
  const { width, height, data } = enlarge(pixels, 2);
  assert.equal([width, height], [4, 2]);
  const row = [1, 2, 3, 1, 2, 3, 4, 5, 6, 4, 5, 6];
  assert.equal([...data], [...row, ...row]);
  assertThrows(() => enlarge(pixels, 1.5), RangeError, /^Expected a whole number/);
});

test('lays pictures out in rows and columns with margins', () => {
  const wide = { width: 3, height: 1, data: new Uint8Array(9).fill(9) };
  const result = sheet(
    [
      [pixels, wide],
      [null, pixels],
    ],
    { scale: 2, margin: 1, background: [7, 7, 7] },
  );
  assert.equal([result.width, result.height], [1 + 2 * (6 + 1), 1 + 2 * (2 + 1)]);
  const at = (x: number, y: number) => result.data[3 * (y * result.width + x)];
  assert.equal(
    [at(0, 0), at(1, 1), at(2, 2), at(3, 1), at(5, 1), at(8, 1), at(13, 2), at(14, 2)],
    [7, 1, 1, 4, 7, 9, 9, 7],
  );
  assert.equal([at(1, 4), at(8, 4), at(10, 5), at(12, 4)], [7, 1, 4, 7]);
  assertThrows(() => sheet([[]]), RangeError, /at least one picture/);
});

test('refuses a sheet that is too large, before it is made', () => {
  const one = { width: 10, height: 10, data: new Uint8Array(300) };
  assert.equal(sheetSize(2, 3, one, { scale: 2, margin: 4 }), { width: 4 + 3 * 24, height: 4 + 2 * 24 });
  const { width, height } = sheet([[one, one, one], [one]], { scale: 2, margin: 4 });
  assert.equal(sheetSize(2, 3, one, { scale: 2, margin: 4 }), { width, height });
  assertThrows(() => sheet([[one]], { scale: 1e5 }), RangeError, /^Expected a sheet of at most 268435456 pixels but /);
  assertThrows(
    () => sheetSize(1, 1e9, one),
    RangeError,
    /^Expected a sheet of at most 268435456 pixels but 1 x 1000000/,
  );
});

test('turns pictures into pixels and back', () => {
  const data = Uint8Array.from({ length: 3 * 256 }, (_, i) => i % 256);
  const image = { width: 16, height: 16, data };
  const pixels = toPixels(image);
  assert.equal([pixels[0], pixels[85], pixels[255]], [-1, 1, Math.fround(253 / 127.5 - 1)]);
  assert.equal(toImages(pixels, [1, 3, 16, 16])[0].data, data);
});

/** The dots of one line of text, as they are seen. */
function dots(text: string): string[] {
  const image: Image = { width: textWidth(text), height: 7, data: new Uint8Array(3 * 7 * textWidth(text)) };
  drawText(image, text, 0, 0, 1, [1, 1, 1]);
  const { width, data } = image;
  return Array.from({ length: 7 }, (_, y) => {
    return Array.from({ length: width }, (_, x) => (data[3 * (y * width + x)] ? '#' : ' ')).join('');
  });
}

test('draws letters', () => {
  assert.equal(dots('E+'), [
    '#####      ',
    '#       #  ',
    '#       #  ',
    '####  #####',
    '#       #  ',
    '#       #  ',
    '#####      ',
  ]);
  assert.equal(dots('e'), dots('E'));
  assert.equal(dots('\u20ac'), dots('\u00e9'));
  assert.is(textWidth(''), 0);
  const all = Array.from({ length: 95 }, (_, i) => String.fromCharCode(32 + i)).map((c) => dots(c).join('\n'));
  // 26 letters, 10 digits, 20 signs and spaces, and a box for all others.
  assert.is(new Set(all).size, 57);
});

test('stretches linearly between the middles of pixels', () => {
  const row = { width: 2, height: 1, data: Uint8Array.of(0, 100, 255, 200, 100, 55) };
  const { width, height, data } = stretch(row, { width: 4, height: 3 });
  assert.equal([width, height], [4, 3]);
  const expected = [0, 100, 255, 50, 100, 205, 150, 100, 105, 200, 100, 55];
  assert.equal([...data], [...expected, ...expected, ...expected]);
  const column = { width: 1, height: 2, data: Uint8Array.of(0, 0, 0, 90, 90, 90) };
  const tall = stretch(column, { width: 1, height: 6 }).data;
  assert.equal(
    [...tall].filter((_, i) => i % 3 === 0),
    [0, 0, 30, 60, 90, 90],
  );
  assert.is(stretch(row, row), row);
});

test('enlarges letters, and leaves out what does not fit', () => {
  const image: Image = { width: 8, height: 8, data: new Uint8Array(192).fill(255) };
  drawText(image, '--', -3, -4, 2, [9, 8, 7]);
  // The first dash is in the fourth row of dots, at pixels 2 and 3, from the left edge to pixel 6.
  const row = (y: number) => Array.from({ length: 8 }, (_, x) => image.data[3 * (8 * y + x)]);
  assert.equal(row(1), new Array(8).fill(255));
  assert.equal(row(2), [9, 9, 9, 9, 9, 9, 9, 255]);
  assert.equal(row(3), row(2));
});

test('names rows and columns, and gives the sheet a title', () => {
  const square: Image = { width: 10, height: 10, data: new Uint8Array(300).fill(100) };
  const plain = sheet([[square, square]], { margin: 4 });
  const named = sheet([[square, square]], { margin: 4, rowNames: ['a'], columnNames: ['1', '2'], title: 'x' });
  assert.equal([plain.width, plain.height], [32, 18]);
  assert.equal([named.width, named.height], [32 + 5 + 4, 18 + 2 * (7 + 4)]);
  const at = (x: number, y: number) => named.data[3 * (y * named.width + x)];
  assert.equal([at(13, 26), at(12, 26), at(13, 25), at(36, 35)], [100, 255, 255, 100]);
  const wide = sheet([[square]], { margin: 4, title: 'a long title', columnNames: ['a name'] });
  assert.is(wide.width, Math.max(4 + textWidth('a name') + 4, textWidth('a long title') + 8));
});

test.run();
