// Thousands of runs, networks and values, and no more memory than a few of them take.
import { fileURLToPath } from 'node:url';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { inChild } from '../native/children.js';

const test = suite('memory of networks');
const child = new URL('./children/memory.ts', import.meta.url);
const affine = fileURLToPath(new URL('../fixtures/onnx/affine.onnx', import.meta.url));

for (const [what, times] of [
  ['runs into the same memory', 5000],
  ['runs into memory of their own', 5000],
  ['values', 5000],
  ['cancelled runs', 3000],
  ['failed runs', 3000],
  ['networks', 300],
] as const) {
  test(`stays flat over ${times} ${what}`, async () => {
    const { code, output, errors } = await inChild(child, { flags: ['--expose-gc'], args: [what, `${times}`, affine] });
    assert.is(code, 0, errors);
    const grown = Number(output);
    // Rows of 64 KB: kept once a run, they would be 160 MB or more.
    assert.ok(grown < 24, `${grown.toFixed(1)} MB more`);
  });
}

test.run();
