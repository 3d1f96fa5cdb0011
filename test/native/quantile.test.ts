// The exact quantile against a sort, and what is made of it.
import fc from 'fast-check';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { addon } from '../../lib/addon/native.js';
import { assertSame, type Call, check, multistepRow, quantile, R, Random, reference, run, zeros } from './support.js';

const PATTERNS = {
  normal: (random: Random, n: number) => random.state32(n, 2.8),
  constant: (random: Random, n: number) => new Float32Array(n).fill(random.normal(3)),
  ties: (random: Random, n: number) => random.state32(n, 2).map(Math.round),
  ascending: (random: Random, n: number) => random.state32(n, 2.8).sort(),
  descending: (random: Random, n: number) => random.state32(n, 2.8).sort().reverse(),
  'below one': (random: Random, n: number) => random.state32(n, 0.1),
  outliers: (random: Random, n: number) => random.state32(n).map((v, i) => (i % 997 === 5 ? v * 1e30 : v)),
  zeros: (random: Random, n: number) => random.state32(n).map((v) => (v < 0.5 ? 0 : -v)),
  'negative zeros': (_: Random, n: number) => new Float32Array(n).fill(-0),
  subnormal: (random: Random, n: number) => random.state32(n, 1e-39),
  infinite: (random: Random, n: number) =>
    random.state32(n).map((v, i) => (i % 50 === 7 ? v * Number.POSITIVE_INFINITY : v)),
  // All large values where a sample of the data may not look.
  hidden: (random: Random, n: number) => random.state32(n).map((v, i) => (i % 4096 === 100 ? 50 + v : v)),
  'one block': (random: Random, n: number) => random.state32(n).map((v, i) => (i > 1000 && i < 3500 ? 9 + v : v)),
} as const;
type Pattern = keyof typeof PATTERNS;

const pattern = fc.constantFrom(...(Object.keys(PATTERNS) as Pattern[]));
const ratio = fc.oneof(fc.constantFrom(0, 1, 0.5, 0.9, 0.995), fc.double({ min: 0, max: 1, noNaN: true }));
const size = fc.oneof(
  fc.integer({ min: 1, max: 40 }),
  fc.integer({ min: 1, max: 5000 }),
  fc.constantFrom(4095, 4096, 4097, 16384, 65535, 65536, 65537),
);
const seed = fc.integer({ min: 0, max: 2 ** 31 });

test('1.1 quantile() is the sort, float32 and float64', () => {
  const out = new Float64Array(1);
  fc.assert(
    fc.property(
      pattern,
      size,
      ratio,
      seed,
      fc.boolean(),
      fc.integer({ min: 0, max: 3 }),
      (name, n, q, s, wide, threads) => {
        const narrow = PATTERNS[name](new Random(s), n);
        const x = wide ? Float64Array.from(narrow, (v) => v * (1 + 2 ** -30)) : narrow;
        addon.quantile(x, 1, q, threads, out);
        const expected = quantile(x, q, wide);
        if (!Object.is(out[0], expected)) assert.is(out[0], expected, `${name}, ${n}, ${q}`);
      },
    ),
    { numRuns: 700 },
  );
});

test('1.2 a large sample, shared by threads', () => {
  for (const name of Object.keys(PATTERNS) as Pattern[]) {
    const x = PATTERNS[name](new Random(5), 400_000);
    for (const q of [0, 0.5, 0.9, 0.995, 1]) {
      const expected = quantile(x, q, false);
      for (const threads of [0, 1, 2, 5, 64]) {
        const out = new Float64Array(1);
        addon.quantile(x, 1, q, threads, out);
        assert.is(out[0], expected, `${name}, ${q}, ${threads} threads`);
      }
    }
  }
});

test('1.3 each sample of a batch has its own', () => {
  const random = new Random(6);
  const [batch, n] = [7, 1234];
  const x = random.state32(batch * n);
  for (let i = 0; i < x.length; i++) x[i]! *= 1 + Math.floor(i / n);
  const out = new Float64Array(batch);
  addon.quantile(x, batch, 0.9, 1, out);
  const expected = Array.from({ length: batch }, (_, b) => quantile(x.subarray(b * n, (b + 1) * n), 0.9, false));
  assertSame([...out], expected, 'quantiles');
});

test('1.4 NaN anywhere makes it NaN, whatever its sign and payload', () => {
  for (const bits of [0x7fc00000, 0xffc00000, 0x7fffffff, 0xffffffff, 0x7f800001]) {
    for (const [n, count] of [
      [1, 1],
      [100, 1],
      [5000, 1],
      [5000, 2000],
      [70000, 1],
      [70000, 70000],
    ] as const) {
      for (const q of [0, 0.5, 0.995, 1]) {
        const x = new Random(n).state32(n, 0.1);
        new Uint32Array(x.buffer).fill(bits, 0, count);
        const out = new Float64Array(1);
        addon.quantile(x, 1, q, 1, out);
        assert.ok(Number.isNaN(out[0]), `${bits.toString(16)}, ${n}, ${q}`);
      }
    }
  }
});

test('2.1 thresholding in the step: all patterns, floors and caps', () => {
  const bounds = fc.constantFrom(
    [1, 100],
    [1, 1],
    [1, 1.5],
    [2, 1],
    [0.01, 0.02],
    [1, Number.POSITIVE_INFINITY],
    [1e-30, 1e30],
  );
  fc.assert(
    fc.property(
      pattern,
      size,
      ratio,
      bounds,
      seed,
      fc.integer({ min: 1, max: 3 }),
      (name, n, q, [floor, cap], s, threads) => {
        if (name === 'infinite' || name === 'negative zeros') return;
        const random = new Random(s);
        const x = PATTERNS[name](random, n);
        const row = multistepRow({ ratio: q, floor: floor!, cap: cap! });
        row[R.cx] = 1;
        const call: Call = { wide: false, batch: 1, n, rows: row, threads, x, m: random.state32(n, 0.01), base: x };
        check({ ...call, d0: zeros(false, n), out: zeros(false, n) }, `${name}, ${n}, ${q}, ${floor}, ${cap}`);
      },
    ),
    { numRuns: 300 },
  );
});

test('2.2 around the number of values above the floor that decides', () => {
  for (const n of [50, 1000, 5000, 20000]) {
    for (const q of [0.5, 0.9, 0.995]) {
      const keep = n - Math.floor(q * (n - 1));
      for (const above of [0, 1, keep - 2, keep - 1, keep, keep + 1]) {
        if (above < 0) continue;
        const x = new Random(n).state32(n, 0.2).map((v) => Math.max(-1, Math.min(1, v)));
        for (let i = 0; i < above; i++) x[(i * 37) % n] = 1.5 + i / n;
        const row = multistepRow({ ratio: q, floor: 1, cap: 10 });
        row[R.cx] = 1;
        const call: Call = {
          wide: false,
          batch: 1,
          n,
          rows: row,
          x,
          base: x,
          d0: zeros(false, n),
          out: zeros(false, n),
        };
        check(call, `${above} of ${n} above, ${q}`);
      }
    }
  }
});

test('2.3 the bound where values equal the floor', () => {
  for (const n of [10, 4096, 10000]) {
    const x = new Float32Array(n).fill(1);
    const row = multistepRow({ ratio: 0.995, floor: 1, cap: 10 });
    row[R.cx] = 1;
    check({ wide: false, batch: 1, n, rows: row, x, base: x, out: zeros(false, n) }, `n ${n}`);
  }
});

test('2.4 in place, the quantile comes from what was there before', () => {
  const n = 30000;
  const random = new Random(9);
  const x = random.state32(n, 2.8);
  const row = multistepRow({ ratio: 0.995 });
  const call: Call = { wide: false, batch: 1, n, rows: row, x, m: random.state32(n), base: x, d1: random.state32(n) };
  const expected = reference(call);
  const own = x.slice();
  const d1 = call.d1!.slice();
  assert.is(run({ ...call, x: own, base: own, d1, d0: d1, out: own }), -1);
  assertSame(own, expected.out, 'out');
  assertSame(d1, expected.d0, 'd0');
});

test.run();
