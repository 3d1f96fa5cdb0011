// The WebAssembly build against the native one: the same functions give the same bits and the same errors.
import { readFileSync } from 'node:fs';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { load } from '../../../lib/addon/loader.js';
import { instantiate } from '../../../lib/addon/wasm/napi.js';
import { assertSame, type Call, positional, Random, ROW_LENGTH, randomRows, zeros } from '../../native/support.js';
import { wasmFile } from './support.js';

type Functions = Record<string, (...args: unknown[]) => unknown>;

const native = load<Functions>();
const wasm = wasmFile ? (instantiate(readFileSync(wasmFile)) as Functions) : ({} as Functions);
const tests = suite('WebAssembly and native');
const test = wasmFile ? tests : tests.skip;
if (!wasmFile)
  console.log('skipped: prebuilds/wasm/dpm-solver.wasm is not built (npm run build:wasm, which needs clang)');

const OUTPUTS = ['p', 'd0', 'out', 'out2', 'next'] as const;

/** A step on random data, with its outputs as they are before it. */
function randomCall(random: Random): Call {
  const wide = random.uniform() < 0.4;
  const batch = random.integer(1, 4);
  const n = random.pick([1, 3, 15, 16, 17, 64, 100, 1023, 1024, 1025, 4100, random.integer(1, 3000)]);
  const total = batch * n;
  const doubled = random.uniform() < 0.3;
  const given = random.uniform() < 0.15;
  const maybe = (chance: number) => (random.uniform() < chance ? random.array(wide, total) : null);
  const network = (length: number) =>
    !wide && random.uniform() < 0.3
      ? random.halves(length)
      : wide && random.uniform() < 0.2
        ? random.halves(length)
        : random.array(wide, length);
  const rows = randomRows(random, batch + 1, given ? 0 : 'any');
  if (given) for (let b = 0; b <= batch; b++) rows[b * ROW_LENGTH + 4] = 3;
  const call: Call = {
    ...{ wide, batch, n, rows, first: random.integer(0, 1), doubled, threads: 1 },
    ...{ x: random.array(wide, total, 2), m: network(doubled ? 2 * total : total), g: maybe(0.2) },
    ...{ u: null, base: maybe(0.9), d1: maybe(0.6), d2: maybe(0.4), d3: maybe(0.2), z: maybe(0.3) },
    ...{ p: given ? random.array(wide, total) : random.uniform() < 0.3 ? zeros(wide, total) : null },
    ...{ d0: random.uniform() < 0.7 ? zeros(wide, total) : null, out: zeros(wide, total) },
    ...{ out2: random.uniform() < 0.3 ? zeros(wide, total) : null },
  };
  if (!doubled && random.uniform() < 0.4) call.u = network(total);
  if (call.u && call.u.constructor !== call.m!.constructor) call.u = null;
  if (random.uniform() < 0.4) {
    const length = random.pick([total, 2 * total]);
    call.next = random.pick([new Uint16Array(length), new Float32Array(length), new Float64Array(length)]);
  }
  // An output may be the very buffer of an input.
  const alias = random.integer(0, 4);
  if (alias === 0 && call.base) call.out = call.base;
  if (alias === 1) call.out = call.x;
  if (alias === 2 && call.d1 && call.d0) call.d0 = call.d1;
  if (random.uniform() < 0.05)
    call.m![random.integer(0, call.m!.length - 1)] = call.m instanceof Uint16Array ? 0x7c00 : Number.NaN;
  return call;
}

/** The same call on copies of its arrays, which share memory where those of the first do; all of them views. */
function copyOf(call: Call): Call {
  const copies = new Map<unknown, unknown>();
  return Object.fromEntries(
    Object.entries(call).map(([name, value]) => {
      if (!ArrayBuffer.isView(value)) return [name, value];
      if (!copies.has(value)) {
        const array = value as Float32Array;
        const copy = new (array.constructor as Float32ArrayConstructor)(
          new ArrayBuffer(array.byteLength + 24),
          8,
          array.length,
        );
        copy.set(array);
        copies.set(value, copy);
      }
      return [name, copies.get(value)];
    }),
  ) as unknown as Call;
}

test('has the functions of the native addon, those for cards, networks and benchmarks aside', () => {
  const others = Object.keys(native).filter((name) => !(name in wasm));
  assert.equal(
    others.filter((name) => !/^(?:cuda|ort)[A-Z]/.test(name)),
    ['limit'],
  );
  assert.equal(
    Object.keys(wasm).filter((name) => !(name in native)),
    [],
  );
  assert.equal((wasm.info!() as { simd: string }).simd, 'simd128');
});

test('1500 random steps: every dtype, transform, guidance, noise and sharing of buffers', () => {
  const random = new Random(2024);
  let [notFinite, refused] = [0, 0];
  for (let k = 0; k < 1500; k++) {
    const a = randomCall(random);
    const b = copyOf(a);
    const [x, y] = [outcome(native.step!, positional(a)), outcome(wasm.step!, positional(b))];
    assert.equal(y, x, `case ${k}`);
    if (typeof x === 'string') refused++;
    else if (x !== -1) notFinite++;
    if (x !== -1) continue;
    for (const name of OUTPUTS) if (a[name]) assertSame(b[name]!, a[name], `case ${k}, ${name}, n ${a.n}`);
    for (const name of ['x', 'm', 'u', 'g', 'base', 'd1', 'z'] as const) {
      if (a[name]) assertSame(b[name]!, a[name], `case ${k}, ${name}`);
    }
  }
  assert.ok(notFinite > 10 && notFinite < 200, `${notFinite} not finite`);
  assert.ok(refused < 150, `${refused} refused`);
});

test('quantiles and reductions', () => {
  const random = new Random(7);
  const [a, b] = [new Float64Array(2), new Float64Array(2)];
  for (const wide of [false, true]) {
    for (const n of [2, 17, 1000, 4096, 70000]) {
      const [x, y, z] = [0, 1, 2].map(() => random.array(wide, 2 * n));
      for (const [name, args] of [
        ...[0, 0.37, 0.9, 0.995, 1].map((ratio) => ['quantile', [x, 2, ratio, 1]] as const),
        ['errorNorm', [x, y, z, 2, 1e-3, 1e-2, 1]],
        ['standardDeviation', [x, 2]],
      ] as [string, unknown[]][]) {
        native[name]!(...args, a);
        wasm[name]!(...args, b);
        assertSame(b, a, `${name}, n ${n}`);
      }
    }
  }
});

test('guidance', () => {
  const random = new Random(19);
  for (const wide of [false, true]) {
    for (const n of [1, 17, 1000, 4096, 9001]) {
      const [x, kept] = [0, 1].map(() => random.array(wide, 2 * n));
      for (const m of [random.array(wide, 4 * n), random.halves(4 * n)]) {
        for (const [kind, rescale, keeps] of GUIDES) {
          const guide = Float64Array.of(kind, 3.5, 0.3, 2, rescale, n % 2, 1.25, -0.5, 0.75, -1.5);
          const [a, b] = [new Float64Array(64), new Float64Array(64)];
          for (const [call, rows] of [[native, a] as const, [wasm, b] as const]) {
            call.guide!(rows, 0, 2, guide, 1, x, m, keeps ? kept : null);
          }
          assert.ok(a[1] !== 0);
          assertSame(b, a, `kind ${kind}, n ${n}`);
        }
      }
    }
  }
});

/** Kind, how much is rescaled, and whether differences are kept. */
const GUIDES = [
  [0, 0.7, false],
  [1, 0, false],
  [1, 0.5, false],
  [2, 0, false],
  [2, 0.2, true],
] as const;

test('conversions: every float16 number, and floats around their ties', () => {
  const halves = Uint16Array.from({ length: 65536 }, (_, i) => i).filter((bits) => (bits & 0x7fff) <= 0x7c00);
  const random = new Random(5);
  const bits = Uint32Array.from({ length: 100000 }, () => random.bits());
  const floats = new Float32Array(bits.buffer).filter((x) => !Number.isNaN(x));
  for (const from of [halves, floats, Float64Array.from(floats, (x, i) => x * (1 + (i % 7) * 2 ** -26))]) {
    for (const Type of [Uint16Array, Float32Array, Float64Array]) {
      const [a, b] = [new Type(from.length), new Type(from.length)];
      native.convert!(from, a);
      wasm.convert!(from, b);
      assertSame(b, a, `${from.constructor.name} to ${Type.name}`);
    }
  }
});

test('noise: torch and Philox, float32 and float64, whole and in part', () => {
  const [a, b] = [new Uint32Array(628), new Uint32Array(628)];
  for (const seed of [0, 1, 123456789]) {
    native.torchSeed!(a, seed, 0);
    wasm.torchSeed!(b, seed, 0);
    assertSame(b, a, 'the state');
    for (const Type of [Float32Array, Float64Array]) {
      for (const n of [1, 15, 16, 100, 5000]) {
        const [x, y] = [new Type(n + 4).fill(7), new Type(n + 4).fill(7)];
        native.torchRandn!(a, x, 2, n + 2);
        wasm.torchRandn!(b, y, 2, n + 2);
        assertSame(y, x, `torch, n ${n}`);
        assertSame(b, a, 'the state after it');
        native.philoxRandn!(seed, 3, 2, 1, 9, x, 1, n);
        wasm.philoxRandn!(seed, 3, 2, 1, 9, y, 1, n);
        assertSame(y, x, `philox, n ${n}`);
      }
      native.torchSkip!(a, 1000003, Type === Float64Array);
      wasm.torchSkip!(b, 1000003, Type === Float64Array);
      assertSame(b, a, 'the state after a skip');
    }
  }
  // 2^32, which a size of 32 bits does not hold.
  native.torchSkip!(a, 16, false);
  wasm.torchSkip!(b, 16, false);
  assertSame(b, a, 'the state after a short skip');
});

test('rows: 2000 random updates of every method', () => {
  const random = new Random(99);
  const node = () => {
    const lambda = random.normal(3);
    const alpha = Math.sqrt(1 / (1 + Math.exp(-2 * lambda)));
    return [alpha, alpha * Math.exp(-lambda), lambda, random.uniform() < 0.05 ? random.integer(1, 2) : 0];
  };
  const nodes = (count: number) => Float64Array.from(Array.from({ length: count }, node).flat());
  for (let k = 0; k < 2000; k++) {
    const [a, b] = [new Float64Array(3 * ROW_LENGTH).fill(0.5), new Float64Array(3 * ROW_LENGTH).fill(0.5)];
    const bit = () => random.integer(0, 1);
    const [name, args] = random.pick<[string, unknown[]]>([
      ['predictionRow', [random.integer(0, 4), bit(), random.integer(0, 2), random.normal(4), nodes(1)]],
      ['updateRow', [bit(), bit(), bit(), random.integer(0, 3), bit(), bit(), random.pick([0, 1]), nodes(5)]],
      ['uniPCRow', [bit(), random.integer(0, 3), random.integer(0, 3), bit(), nodes(5)]],
      ['saSolverRow', [bit(), random.integer(0, 4), random.integer(0, 4), random.pick([0, 1, 0.3]), bit(), nodes(5)]],
      ['lmsRow', [random.integer(0, 4), Float64Array.from({ length: 5 }, () => Math.abs(random.normal(5)))]],
      ['ddimRow', [random.integer(0, 4), random.uniform(), bit(), nodes(2)]],
      ['pndmRow', [bit(), nodes(2), Float64Array.from({ length: 4 }, () => random.normal())]],
      ['edmPredictionRow', [bit(), 0.5, nodes(1)]],
      ['keepNoise', [nodes(1)]],
    ]);
    const index = random.integer(0, 2);
    const [x, y] = [outcome(native[name]!, [a, index, ...args]), outcome(wasm[name]!, [b, index, ...args])];
    assert.equal(y, x, name);
    assertSame(b, a, `case ${k}, ${name}`);
  }
  const x = Float64Array.from({ length: 3000 }, () => random.normal(20));
  for (const name of ['exp', 'expm1', 'log', 'log1p']) {
    const [a, b] = [new Float64Array(x.length), new Float64Array(x.length)];
    native.elementary!(name, x, a);
    wasm.elementary!(name, x, b);
    assertSame(b, a, name);
  }
});

test('the same errors for whatever comes', () => {
  const random = new Random(31);
  const n = 4;
  const rows = randomRows(random, 2, 0);
  const values: (() => unknown)[] = [
    ...[undefined, null, true, 'x', Symbol('s'), 3n, {}, [], () => 1, Number.NaN, -1, 0.5, 1e300, 2 ** 32].map(
      (v) => () => v,
    ),
    ...[Int8Array, Uint8Array, Uint16Array, Float32Array, Float64Array, BigInt64Array].map((T) => () => new T(n)),
    () => new Float32Array(0),
    () => new DataView(new ArrayBuffer(8)),
    () => rows.slice(),
    ...[0, 1, 2, 4, 32].map((v) => () => v),
  ];
  let errors = 0;
  const good = goodCalls(rows, n);
  for (const [name, make] of Object.entries(good)) {
    for (let k = 0; k < make().length; k++) {
      for (const value of values) {
        const [a, b] = [make(), make()];
        a[k] = value();
        b[k] = value();
        // Sizes differ between 32 and 64 bits only where nothing of that size can exist.
        if (name === 'scratchBytes' && typeof a[k] === 'number' && (a[k] as number) > 2 ** 31) continue;
        const [x, y] = [outcome(native[name]!, a), outcome(wasm[name]!, b)];
        assert.equal(y, x, `${name}, argument ${k}: ${String(value()).slice(0, 40)}`);
        if (typeof x === 'string') errors++;
      }
    }
    assert.equal(outcome(wasm[name]!, []), outcome(native[name]!, []), `${name} without arguments`);
  }
  assert.ok(errors > 1000, `${errors} errors`);
});

test('what somebody defines on an array neither counts nor runs', () => {
  const random = new Random(32);
  const n = 4;
  const rows = randomRows(random, 2, 0);
  let ran = 0;
  let lied = 0;
  const lies = { length: 1000, byteLength: 2 ** 30, byteOffset: 8, buffer: new ArrayBuffer(8), constructor: Array };
  for (const [name, make] of Object.entries(goodCalls(rows, n))) {
    const kept: Uint8Array[][] = [[], []];
    const calls = [make(), make()].map((args, side) => {
      for (const array of args) {
        if (!ArrayBuffer.isView(array)) continue;
        kept[side].push(new Uint8Array(array.buffer, array.byteOffset, array.byteLength));
        for (const [key, lie] of Object.entries({ ...lies, subarray: () => array, slice: () => array })) {
          const get = () => {
            ran++;
            return lie;
          };
          Object.defineProperty(array, key, { get });
        }
        lied++;
      }
      return args;
    });
    assert.equal(outcome(wasm[name]!, calls[1]), outcome(native[name]!, calls[0]), name);
    for (const [i, bytes] of kept[0].entries()) assert.equal([...kept[1][i]], [...bytes], `${name}, array ${i}`);
  }
  assert.is(ran, 0);
  assert.ok(lied > 30, `${lied} arrays`);
});

/** A call of every function that goes well. */
function goodCalls(rows: Float64Array, n: number): Record<string, () => unknown[]> {
  const state = new Uint32Array(628);
  native.torchSeed!(state, 1, 0);
  return {
    step: () => [
      rows.slice(),
      0,
      1,
      1,
      1,
      null,
      ...Array.from({ length: 4 }, () => new Float32Array(n)),
      ...Array(10).fill(null),
    ],
    quantile: () => [new Float32Array(n), 1, 0.5, 1, new Float64Array(1)],
    errorNorm: () => [...[0, 1, 2].map(() => new Float32Array(n)), 1, 0.1, 0.1, 1, new Float64Array(1)],
    guide: () => [
      ...[rows.slice(), 0, 1, Float64Array.of(2, 3, 0.5, 1, 0.5, 0, 1, -0.5, 1, -0.5), 1],
      ...[new Float32Array(n), new Float32Array(2 * n), new Float32Array(n)],
    ],
    standardDeviation: () => [new Float32Array(n), 1, new Float64Array(1)],
    convert: () => [new Float32Array(n), new Float64Array(n)],
    scratchBytes: () => [0, 1, 10, 0.5, 1],
    torchSeed: () => [new Uint32Array(628), 1, 0],
    torchRandn: () => [state.slice(), new Float32Array(n), 0, n],
    torchSkip: () => [state.slice(), 3, false],
    philoxRandn: () => [1, 2, 3, 4, 5, new Float32Array(n), 0, n],
    predictionRow: () => [rows.slice(), 0, 0, 0, 0, 1, new Float64Array([0.5, 0.5, 0, 0])],
    elementary: () => ['exp', new Float64Array(n), new Float64Array(n)],
    phi: () => [1, 0.5],
    weight: () => [0, 1, 0.5, 0],
  };
}

test('a step that fails changes nothing, and the next one works', () => {
  const rows = new Float64Array(ROW_LENGTH);
  rows.set([1, 0, 0, 0, 0, 0, 0, 0, 1]);
  rows.set([1, 1], 12);
  const x = Float32Array.of(1, Number.NaN, 3);
  const out = new Float32Array(3).fill(9);
  const call: Call = { wide: false, batch: 1, n: 3, rows, x, base: x, out };
  assert.is(wasm.step!(...positional(call)), 0);
  assert.equal([...out], [9, 9, 9]);
  x[1] = 2;
  assert.is(wasm.step!(...positional(call)), -1);
  assert.equal([...out], [2, 4, 6]);
});

/** What a function returns, or the error that it throws, as text. */
function outcome(fn: (...args: unknown[]) => unknown, args: unknown[]): unknown {
  try {
    return fn(...args);
  } catch (error) {
    return `${(error as Error).constructor.name}: ${(error as Error).message}`;
  }
}

tests.run();
