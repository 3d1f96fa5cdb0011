// Same seed, same picture: for every instruction set of this processor, every number of threads and every split of the
// batch, and as it was when hashes.json was made (npm run hashes). Networks of onnxruntime are not part of the promise.
import { readFileSync } from 'node:fs';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { info } from '../../lib/native.js';
import { inChild } from '../native/children.js';

const known = JSON.parse(readFileSync(new URL('./hashes.json', import.meta.url), 'utf8')) as Record<string, string>;

for (const simd of info().simdAvailable) {
  test(`samples have the bits that they had: ${simd}`, async () => {
    const { code, output, errors } = await inChild(new URL('./child.ts', import.meta.url), {
      env: { DPM_SOLVER_SIMD: simd },
    });
    assert.is(code, 0, errors);
    const found = JSON.parse(output) as { simd: string; hashes: Record<string, string>; differ: string[] };
    assert.is(found.simd, simd);
    assert.equal(found.differ, []);
    assert.equal(found.hashes, known);
  });
}

test('no two cases are the same, but for those that have to be', () => {
  const names = new Map<string, string[]>();
  for (const [name, hash] of Object.entries(known)) names.set(hash, [...(names.get(hash) ?? []), name]);
  const equal = [...names.values()].filter((list) => list.length > 1);
  // Order 1 is one and the same method, multistep or singlestep.
  const orders1 = ['dpmsolver++', 'dpmsolver', 'sde-dpmsolver++', 'sde-dpmsolver'].map((name) => [
    `${name} multistep 1`,
    `${name} singlestep 1`,
  ]);
  assert.equal(equal, orders1);
});

test.run();
