import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import * as assert from 'uvu/assert';
import { assertClose } from '../../support.js';
import type { Results } from './scenario.js';

const path = fileURLToPath(new URL('../../../prebuilds/wasm/dpm-solver.wasm', import.meta.url));

/** The WebAssembly build, or null where it has not been made (npm run build:wasm, which needs clang). */
export const wasmFile = existsSync(path) ? path : null;

/** What another engine computed: the addon's part to the bit, whole runs within 1e-5 (float32) or 1e-9 (float64). */
export function assertSameElsewhere(actual: Results, expected: Results): void {
  assert.equal(actual.addon, expected.addon);
  assert.equal(Object.keys(actual.runs), Object.keys(expected.runs));
  for (const [name, numbers] of Object.entries(expected.numbers)) {
    const tolerance = name.endsWith('float64') ? 1e-9 : 1e-5;
    assertClose(actual.numbers[name]!, numbers, { atol: tolerance, rtol: tolerance }, name);
  }
}
