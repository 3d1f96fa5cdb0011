// Worker threads, and what steps leave on the heap: each in a process of its own.
import { fileURLToPath } from 'node:url';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { inChild } from './children.js';

const root = fileURLToPath(new URL('../..', import.meta.url));

test('1 worker threads: at once, ended in the middle of a step, without the main thread', async () => {
  const { code, signal, output, errors } = await inChild(new URL('./children/workers.ts', import.meta.url), {
    args: [root],
  });
  assert.is(signal, null, errors);
  assert.is(code, 0, errors);
  assert.is(output, 'done\n');
});

// The WebAssembly build's part of Node-API is JavaScript, which has a heap.
const ofAddon = process.env.DPM_SOLVER_BACKEND === 'wasm' ? test.skip : test;
ofAddon('2 ten thousand steps leave nothing on the heap', async () => {
  // What used_heap_size says before and after, less what it says around no steps at all; no collection in between.
  const { code, output, errors } = await inChild(new URL('../../bench/step/allocation.ts', import.meta.url), {
    flags: ['--expose-gc'],
  });
  assert.is(code, 0, errors);
  const result = JSON.parse(output) as { steps: number; bytesPerStep: number };
  assert.is(result.steps, 10_000);
  assert.is(result.bytesPerStep, 0, output);
});

test.run();
