// A run's tensors in WebAssembly's memory: the same bits without copies, arrays that stay whole, and memory that comes
// back.
import { readFileSync } from 'node:fs';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { load } from '../../../lib/addon/loader.js';
import { ARENA, type ArrayClass, type MakeArena, type Take } from '../../../lib/addon/wasm/arena.js';
import { instantiate } from '../../../lib/addon/wasm/napi.js';
import { inChild } from '../../native/children.js';
import { assertSame, type Call, positional, Random, randomRows } from '../../native/support.js';
import { wasmFile } from './support.js';

type Functions = Record<string, (...args: unknown[]) => unknown>;

const native = load<Functions>();
const wasm = wasmFile ? (instantiate(readFileSync(wasmFile)) as Functions) : ({} as Functions);
const makeArena = (wasm as unknown as { [ARENA]: MakeArena })[ARENA];
const tests = suite('WebAssembly arena');
const test = wasmFile ? tests : tests.skip;
if (!wasmFile)
  console.log('skipped: prebuilds/wasm/dpm-solver.wasm is not built (npm run build:wasm, which needs clang)');

const ARRAYS = ['x', 'm', 'base', 'd1', 'd2', 'z', 'd0', 'out', 'out2', 'next'] as const;

/** A copy of an array, in an arena. */
function inside(take: Take, array: Float32Array): Float32Array {
  const copy = take(array.constructor as ArrayClass<Float32Array>, array.length);
  assert.ok(copy, 'the arena has room');
  copy.set(array);
  return copy;
}

test('300 random steps: any of the tensors in an arena, any elsewhere, in place or not', () => {
  const random = new Random(11);
  for (let k = 0; k < 300; k++) {
    const wide = random.uniform() < 0.3;
    const batch = random.integer(1, 3);
    const n = random.pick([1, 5, 16, 100, 1025, random.integer(1, 5000)]);
    const total = batch * n;
    const array = (chance: number) => (random.uniform() < chance ? random.array(wide, total) : null);
    const a = {
      ...{ wide, batch, n, rows: randomRows(random, batch, 0), threads: 1 },
      ...{ x: random.array(wide, total, 2), m: random.array(wide, total), base: array(0.8), d1: array(0.6) },
      ...{ d2: array(0.3), z: array(0.3), d0: array(0.7), out: random.array(wide, total), out2: array(0.2) },
      ...{ next: random.uniform() < 0.4 ? new Uint16Array(total) : null },
    } as Call;
    if (random.uniform() < 0.3) a.out = a.x;
    const take = makeArena(ARRAYS.length * (8 * total + 1024), random.pick([0, 8 * total, 100 * total]))!;
    const places = new Map<unknown, unknown>();
    const b = { ...a } as Call;
    for (const name of ARRAYS) {
      const value = a[name] as Float32Array | null;
      if (!value) continue;
      if (!places.has(value)) places.set(value, random.uniform() < 0.6 ? inside(take, value) : value.slice());
      (b as unknown as Record<string, unknown>)[name] = places.get(value);
    }
    const [expected, actual] = [native.step!(...positional(a)), wasm.step!(...positional(b))];
    assert.is(actual, expected, `case ${k}`);
    if (expected !== -1) continue;
    for (const name of ARRAYS) if (a[name]) assertSame(b[name]!, a[name], `case ${k}, ${name}`);
  }
});

test('what does not fit beside a run goes elsewhere, and its arrays stay whole', () => {
  const random = new Random(12);
  const n = 300000;
  const take = makeArena(4 * n + 1024, 64)!;
  const values = random.array(false, n) as Float32Array;
  const x = inside(take, values);
  const [a, b] = [new Float64Array(1), new Float64Array(1)];
  // A quantile needs working space that this memory does not have: more than once, so that it breaks nothing.
  for (const ratio of [0.1, 0.5, 0]) {
    native.quantile!(values, 1, ratio, 1, a);
    wasm.quantile!(x, 1, ratio, 1, b);
    assertSame(b, a, `ratio ${ratio}`);
  }
  const [wide, wide2] = [new Float64Array(n), new Float64Array(n)];
  native.convert!(values, wide);
  wasm.convert!(x, wide2);
  assertSame(wide2, wide, 'converted');
  assert.throws(() => wasm.convert!(x, new Float32Array(3)), /^Expected \d+ elements for to but received 3|received 3/);
  assert.is(x.length, n);
  assertSame(x, values, 'the array itself');
});

test('an arena gives as much as was asked for, aligned, zeroed and apart', () => {
  const take = makeArena(3 * (4000 + 1024), 0)!;
  const arrays = [0, 1, 2].map(() => take(Float32Array as ArrayClass<Float32Array>, 1000)!);
  arrays.forEach((array, k) => {
    assert.is(array.byteOffset % 64, 0);
    assert.ok(array.every((value) => value === 0));
    array.fill(k + 1);
  });
  for (const [k, array] of arrays.entries()) assert.ok(array.every((value) => value === k + 1));
  assert.is(take(Float32Array as ArrayClass<Float32Array>, 1000), null);
});

test('no arena where there is not so much memory', () => {
  assert.is(makeArena(2 ** 33, 0), null);
});

test('1000 runs: memory comes back, and what a run returned belongs to the caller', async () => {
  const { code, output, errors } = await inChild(new URL('./children/runs.ts', import.meta.url), {
    env: { DPM_SOLVER_BACKEND: 'wasm' },
  });
  assert.is(code, 0, errors);
  const { backend, resident, own, same, states } = JSON.parse(output) as {
    backend: string;
    resident: number[];
    own: boolean;
    same: boolean;
    states: boolean;
  };
  assert.is(backend, 'wasm');
  assert.ok(own && same && states);
  // All of them together would take 1.5 GB.
  const [before, after] = [resident[0]!, resident.at(-1)!];
  assert.ok(after - before < 150, `${resident.join(', ')} MB resident`);
});

tests.run();
