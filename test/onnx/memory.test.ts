// Thousands of runs, networks and values, and no more memory than a few of them take.
import { fileURLToPath } from 'node:url';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { inChild } from '../native/children.js';

const ROUNDS = 4;
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

test('has the memory of runs in common where it is asked to, and gives it back', async () => {
  const { code, output, errors } = await inChild(new URL('./children/shared.ts', import.meta.url), {
    flags: ['--expose-gc'],
    args: [affine],
  });
  assert.is(code, 0, errors);
  const { alone, ...others } = JSON.parse(output) as Record<string, { grown: number[]; made: number[][] }>;
  const rows = [
    [2, 3, 4, 5],
    [2, 3, 4, 5],
  ];
  assert.equal(alone.made, rows);
  // A run takes 64 MB besides its input and output; where onnxruntime keeps them, the second network's run takes them again.
  const kept = alone.grown[1] > 32;
  if (process.platform === 'linux' && process.arch === 'x64') assert.ok(kept, String(alone.grown));
  for (const { grown, made } of Object.values(others)) {
    assert.equal(made, rows);
    assert.ok(grown[1] < 32, String(grown));
    assert.ok(grown.reduce((sum, value) => sum + value) < 32, String(grown));
    if (kept) assert.ok(grown[0] > 32, String(grown));
  }
});

test('takes the memory of two matrices for two at a time, gives it to others, and says how much could not be had', async () => {
  const { code, output, errors } = await inChild(new URL('./children/pool.ts', import.meta.url));
  assert.is(code, 0, errors);
  type Told = { grown: number; refused: string; last: number; more: number };
  const { grown, refused, last, more } = JSON.parse(output) as Told;
  if (process.platform === 'linux' && process.arch === 'x64') {
    // A third one, which onnxruntime's own arena takes, would be 64 MB more.
    assert.ok(grown < 170, `${grown} MB`);
    // What the other network takes, two of 14 MB, is given back before.
    assert.ok(more < 14, `${more} MB`);
  }
  assert.match(refused, /^Expected another 281 TB of memory to run the graph but .* are left: /);
  // Shares of 4096 in each of four rounds, and the 1 that it began with.
  assert.ok(Math.abs(last - (1 + ROUNDS / 4096)) < 1e-6, String(last));
});

test.run();
