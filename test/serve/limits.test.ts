// How large pictures may be: by their area, so that a wide one is no more than a square one.
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { areaOf, defaultLimits, tooManyPixels } from '../../lib/serve/limits.js';
import { sizesFor } from '../../lib/serve/uploads.js';

const test = suite('areas');
const sd = { width: 512, height: 512 };
const wide = { width: 1280, height: 1280 };

// The sizes that Stable Diffusion XL was trained on (Podell et al. 2023, appendix I), those nearest to a square megapixel.
const SIZES = ['1024x1024', '1152x896', '1216x832', '1344x768', '1536x640', '640x1536', '768x1344', '1728x576'];

test('every shape of a megapixel is taken, and none of more', () => {
  for (const size of SIZES) {
    const [width, height] = size.split('x').map(Number);
    assert.is(tooManyPixels({ width, height }, 1, defaultLimits), undefined, size);
    assert.ok(Math.max(width, height) <= defaultLimits.side, size);
  }
  assert.is(
    tooManyPixels({ width: 1032, height: 1024 }, 1, defaultLimits),
    'Expected at most 1048576 pixels in a picture but received 1032 x 1024',
  );
  assert.is(
    tooManyPixels({ width: 1024, height: 1024 }, 5, defaultLimits),
    'Expected at most 4194304 pixels in all pictures of a run but received 1024 x 1024 x 5',
  );
});

test('a model draws in its own size, whatever the limit says', () => {
  assert.is(areaOf({ area: 300 }, wide), 1280 * 1280);
  assert.is(areaOf(defaultLimits, wide), 1280 * 1280);
  assert.is(areaOf(defaultLimits, sd), 1024 * 1024);
});

test('a picture that was sent is drawn in its own size where its area may be had', () => {
  const sizes = (image: typeof sd) => sizesFor(image, {}, { ...sd, multiple: 8 }, defaultLimits);
  assert.equal(sizes({ width: 1344, height: 768 })[0], { width: 1344, height: 768 });
  // As many pixels as the model's own size, in the picture's shape.
  assert.equal(sizes({ width: 2048, height: 1024 })[0], { width: 728, height: 360 });
  assert.equal(sizes({ width: 4096, height: 64 })[0], sd, 'no side of more than 2048');
});

test.run();
