// The same bits for every instruction set and every number of threads.
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { info } from '../../lib/native.js';
import { inChild } from './children.js';

test('1 every instruction set of this processor, every number of threads', async () => {
  const results = new Map<string, string>();
  for (const simd of info().simdAvailable) {
    const { code, output, errors } = await inChild(new URL('./children/bits.ts', import.meta.url), {
      env: { DPM_SOLVER_SIMD: simd },
    });
    assert.is(code, 0, errors);
    const result = JSON.parse(output) as { simd: string; hash: string };
    assert.is(result.simd, simd);
    results.set(simd, result.hash);
  }
  assert.is(new Set(results.values()).size, 1, JSON.stringify([...results]));
});

test('2 an instruction set that is not there is not taken', async () => {
  const { code, output } = await inChild(new URL('./children/bits.ts', import.meta.url), {
    env: { DPM_SOLVER_SIMD: 'mmx' },
  });
  assert.is(code, 0);
  assert.is((JSON.parse(output) as { simd: string }).simd, info().simdAvailable[0]);
});

test.run();
