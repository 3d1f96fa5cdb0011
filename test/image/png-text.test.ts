// Texts in PNG files: what Pillow writes is read, and what is written leaves the picture as it is.

import { decode } from 'fast-png';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { encodePng } from '../../lib/image/file.js';
import { readText, withText } from '../../lib/image/png-text.js';

const test = suite('texts in PNG files');

/**
 * Pillow 12.3.0: PngInfo with add_text('parameters', 'ein Fuchs im Grün\nSteps: 20', zip=True),
 * add_itxt('title', '狐', 'zh', '题'), add_itxt('long', '狐' * 20, zip=True) and add_text('plain', 'fox').
 */
const PILLOW =
  'iVBORw0KGgoAAAANSUhEUgAAAAIAAAABCAIAAAB7QOjdAAAAL3pUWHRwYXJhbWV0ZXJzAAB4nEvNzFNwK03OKFbIzFVwL/qTxxVcklpQbKVgZAAAiNYJZN1zLdEAAAASaVRYdHRpdGxlAAAAemgA6aKYAOeLkEXCF2sAAAAXaVRYdGxvbmcAAQAAAHice9494Tm5CADQCCgp/sUr7QAAAAl0RVh0cGxhaW4AZm94QxgWyQAAAA9JREFUeJxj/M/AwMDAAAAGCAEBy0d2dQAAAABJRU5ErkJggg==';
const image = { width: 2, height: 1, data: Uint8Array.of(1, 2, 3, 250, 251, 252) };

test('reads all kinds that there are', () => {
  assert.equal(
    [...readText(Buffer.from(PILLOW, 'base64'))],
    [
      ['parameters', 'ein Fuchs im Grün\nSteps: 20'],
      ['title', '狐'],
      ['long', '狐'.repeat(20)],
      ['plain', 'fox'],
    ],
  );
});

test('gives back what was put in, beside the same picture', () => {
  const texts = { parameters: '狐 im Grün\nSteps: 20', 'dpm-solver': '{}' };
  const bytes = withText(encodePng(image), texts);
  assert.equal([...readText(bytes)], Object.entries(texts));
  // Check sums are looked at.
  const { width, height, data } = decode(bytes, { checkCrc: true });
  assert.equal({ width, height, data: Uint8Array.from(data) }, image);
});

test('a file that ends anywhere, or lies about a length, has the texts before', () => {
  const bytes = Buffer.from(PILLOW, 'base64');
  for (let end = 0; end < bytes.length; end++) assert.ok(readText(bytes.subarray(0, end)).size <= 4);
  for (let at = 8; at < bytes.length; at++) {
    const damaged = Buffer.from(bytes);
    damaged[at] ^= 255;
    assert.ok(readText(damaged).size <= 5, String(at));
  }
  assert.is(readText(Buffer.from('no picture at all, but longer than the head of one')).size, 0);
});

test.run();
