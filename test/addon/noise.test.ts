import { readFileSync } from 'node:fs';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { addon } from '../../lib/addon/native.js';
import { generator, type NoiseType, PhiloxNoise, randn, TorchNoise } from '../../lib/addon/noise.js';

type Call = (...args: unknown[]) => void;
const native = addon as unknown as Record<string, Call>;

function load(path: string) {
  return JSON.parse(readFileSync(new URL(path, import.meta.url), 'utf8'));
}

const golden: { cases: { seed: number; size: number; values: number[]; then_7_more: number[] }[] } =
  load('../golden/torch-randn.json');
const fixtures: {
  torch: {
    seed: number;
    calls: { n: number; type: NoiseType; at: number[]; values: number[]; sum: number }[];
  }[];
  log: [x: number, high: number, low: number][];
  sincos: [u: number, sinHigh: number, sinLow: number, cosHigh: number, cosLow: number][];
  words: [word: number, log: number, sin: number, cos: number][];
} = load('../fixtures/noise.json');

function throws(call: () => unknown, type: ErrorConstructor, message: string) {
  let error: unknown;
  try {
    call();
  } catch (e) {
    error = e;
  }
  assert.instance(error, type);
  assert.is((error as Error).message, message);
}

function close(actual: ArrayLike<number>, expected: readonly number[], tolerance: number, what: string) {
  assert.is(actual.length, expected.length, what);
  for (let i = 0; i < expected.length; i++) {
    assert.ok(Math.abs(actual[i] - expected[i]) <= tolerance, `${what}[${i}]: ${actual[i]} is not ${expected[i]}`);
  }
}

/** The distance of neighbouring numbers with `bits` significant bits at x. */
function ulp(x: number, bits: number): number {
  let exponent = Math.floor(Math.log2(Math.abs(x)));
  if (2 ** exponent > Math.abs(x)) exponent--;
  return 2 ** (exponent - bits + 1);
}

// 1. The functions beneath

function elementary(x: number[]): Float64Array {
  const out = new Float64Array(3 * x.length);
  native.noiseElementary(Float64Array.from(x), out);
  return out;
}

test('1.1 log is within 0.95 ulp of 32 correct digits', () => {
  const got = elementary(fixtures.log.map((row) => row[0]));
  fixtures.log.forEach(([x, high, low], i) => {
    const error = Math.abs(got[3 * i] - high - low);
    assert.ok(high === 0 ? error === 0 : error <= 0.95 * ulp(high, 53), `log(${x}) = ${got[3 * i]}`);
  });
});

test('1.2 sin and cos of turns are within 1.1 ulp, exact in every quadrant', () => {
  const got = elementary(fixtures.sincos.map((row) => row[0]));
  fixtures.sincos.forEach(([u, sinHigh, sinLow, cosHigh, cosLow], i) => {
    for (const [name, value, high, low] of [
      ['sin', got[3 * i + 1], sinHigh, sinLow],
      ['cos', got[3 * i + 2], cosHigh, cosLow],
    ] as const) {
      const error = Math.abs(value - high - low);
      assert.ok(high === 0 ? error === 0 : error <= 1.1 * ulp(high, 53), `${name}(2 pi ${u}) = ${value}`);
    }
  });
});

test('1.3 the single-precision forms are within 2.5 and 2.8 ulp for every kind of word', () => {
  const out = new Float64Array(3);
  for (const [word, log, sin, cos] of fixtures.words) {
    native.noiseWord(word, out);
    [log, sin, cos].forEach((expected, i) => {
      const error = Math.abs(out[i] - expected);
      const bound = i === 0 ? 2.5 : 2.8;
      assert.ok(expected === 0 ? error === 0 : error <= bound * ulp(expected, 24), `${i} of ${word}: ${out[i]}`);
    });
  }
});

// 2. torch

test('2.1 torch.randn in float32, then seven more', () => {
  assert.is(golden.cases.length, 16);
  for (const { seed, size, values, then_7_more } of golden.cases) {
    const g = generator(seed);
    const first = g.randn([size]);
    assert.is(first.type, 'float32');
    assert.instance(first.data, Float32Array);
    // Long cases are given by their first values.
    close(first.data.subarray(0, values.length), values, 2e-6, `seed ${seed}, size ${size}`);
    close(g.randn([7]).data, then_7_more, 2e-6, `seed ${seed}, size ${size}, then`);
  }
});

test('2.2 mixed sequences of calls on one generator, both types, seeds of 64 bits and negative ones', () => {
  for (const { seed, calls } of fixtures.torch) {
    const g = generator(seed);
    for (const { n, type, at, values, sum } of calls) {
      const { data } = g.randn([n], { type });
      const what = `seed ${seed}, n ${n}, ${type}`;
      const picked = at.map((i) => data[i]);
      close(picked, values, type === 'float32' ? 2e-6 : 1e-14, what);
      let total = 0;
      for (const value of data) total += value;
      assert.ok(Math.abs(total - sum) <= n * (type === 'float32' ? 2e-7 : 1e-14), `${what}: sum ${total}, not ${sum}`);
    }
  }
});

test('2.3 randn is the first draw of a generator, dims are kept, memory is fresh', () => {
  const dims = [2, 3, 4];
  const a = randn(dims, { seed: 3 });
  dims[0] = 9;
  assert.equal(a.dims, [2, 3, 4]);
  assert.is(a.data.length, 24);
  assert.equal(a, generator(3).randn([2, 3, 4]));
  assert.equal(a.data, generator(3).randn([24]).data);
  const b = randn([4, 6], { seed: 3, type: 'float64' });
  assert.is(b.type, 'float64');
  assert.instance(b.data, Float64Array);
  assert.is(generator(3).randn([]).data.length, 1);
});

test('2.4 skipping leaves the state as drawing does', () => {
  for (const type of ['float32', 'float64'] as const) {
    const make = (n: number) => (type === 'float64' ? new Float64Array(n) : new Float32Array(n));
    for (const n of [1, 2, 3, 15, 16, 17, 32, 40, 312, 623, 624, 625, 1248, 10007]) {
      for (const before of [0, 1, 5, 16, 600]) {
        const drawn = new Uint32Array(628);
        native.torchSeed(drawn, n, 0);
        if (before > 0) native.torchRandn(drawn, make(before));
        const skipped = drawn.slice();
        native.torchRandn(drawn, make(n));
        native.torchSkip(skipped, n, type === 'float64');
        assert.equal(skipped, drawn, `${type}, ${before}, ${n}`);
      }
    }
  }
});

// 3. Philox

function hex(words: Uint32Array): string {
  return [...words].map((word) => word.toString(16).padStart(8, '0')).join(' ');
}

test('3.1 known answers of Salmon et al. 2011', () => {
  const ones = 0xffffffff;
  const cases: [number[], number, number, string][] = [
    [[0, 0, 0, 0], 0, 0, '6627e8d5 e169c58d bc57ac4c 9b00dbd8'],
    [[ones, ones, ones, ones], ones, ones, '408f276d 41c83b0e a20bc7c6 6d5451fd'],
    [[0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344], 0xa4093822, 0x299f31d0, 'd16cfe09 94fdcceb 5001e420 24126ea1'],
  ];
  for (const [counter, key0, key1, expected] of cases) {
    const words = Uint32Array.from(counter);
    native.philoxBlock(words, key0, key1);
    assert.is(hex(words), expected);
  }
});

test('3.2 elements are as specified: block, word, cosine and sine', () => {
  const first = 4 * (2 ** 32 + 5);
  const single = new Float32Array(8);
  const double = new Float64Array(8);
  native.philoxRandn(11, 12, 13, 14, first, single);
  native.philoxRandn(11, 12, 13, 14, first, double);
  for (let block = 0; block < 2; block++) {
    const words = Uint32Array.of(5 + block, 1, 13, 14);
    native.philoxBlock(words, 11, 12);
    for (let i = 0; i < 4; i++) {
      const radius = Math.sqrt(-2 * Math.log((words[i & 2] + 0.5) / 2 ** 32));
      const angle = (2 * Math.PI * words[(i & 2) + 1]) / 2 ** 32;
      const expected = radius * (i % 2 === 0 ? Math.cos(angle) : Math.sin(angle));
      assert.ok(Math.abs(double[4 * block + i] - expected) < 1e-14);
      assert.ok(Math.abs(single[4 * block + i] - expected) < 1e-6);
    }
  }
});

test('3.3 the bits do not depend on how the range is split', () => {
  for (const make of [(n: number) => new Float32Array(n), (n: number) => new Float64Array(n)]) {
    const whole = make(1000);
    native.philoxRandn(1, 2, 3, 4, 0, whole);
    const parts = make(1000);
    let begin = 0;
    for (let size = 1; begin < 1000; size = (size * 7 + 3) % 131) {
      const end = Math.min(1000, begin + size);
      native.philoxRandn(1, 2, 3, 4, begin, parts, begin, end);
      begin = end;
    }
    assert.equal(parts, whole);
  }
});

// The series of Phi near 0, the continued fraction of its tail.
function normalCdf(x: number): number {
  const a = Math.abs(x);
  const density = Math.exp((-a * a) / 2) / Math.sqrt(2 * Math.PI);
  let upper: number;
  if (a < 3) {
    let term = a;
    let sum = a;
    for (let k = 1; term > 1e-17; k++) {
      term *= (a * a) / (2 * k + 1);
      sum += term;
    }
    upper = 0.5 - density * sum;
  } else {
    let fraction = a;
    for (let k = 60; k > 0; k--) fraction = a + k / fraction;
    upper = density / fraction;
  }
  return x < 0 ? upper : 1 - upper;
}

function checkNormal(values: ArrayLike<number>, what: string) {
  const n = values.length;
  const sums = [0, 0, 0, 0, 0];
  for (let i = 0; i < n; i++) for (let p = 1; p <= 4; p++) sums[p] += values[i] ** p;
  const variances = [0, 1, 2, 15, 96];
  [0, 0, 1, 0, 3].forEach((moment, p) => {
    if (p === 0) return;
    const deviation = (sums[p] / n - moment) / Math.sqrt(variances[p] / n);
    assert.ok(Math.abs(deviation) < 4, `${what}: moment ${p} is ${deviation} standard errors off`);
  });
  const sorted = Float64Array.from(values).sort();
  let distance = 0;
  for (let i = 0; i < n; i++) {
    const p = normalCdf(sorted[i]);
    distance = Math.max(distance, p - i / n, (i + 1) / n - p);
  }
  // Kolmogorov-Smirnov at the level 1e-3.
  assert.ok(distance * Math.sqrt(n) < 1.95, `${what}: KS ${distance * Math.sqrt(n)}`);
}

function correlation(a: ArrayLike<number>, b: ArrayLike<number>, lag = 0): number {
  let sum = 0;
  for (let i = 0; i + lag < a.length; i++) sum += a[i + lag] * b[i];
  return sum / Math.sqrt(a.length);
}

test('3.4 Philox normals are normal, lane by lane, and streams, steps and seeds are not correlated', () => {
  const n = 200000;
  const draw = (seed: number, step: number, stream: number) => {
    const out = new Float32Array(n);
    native.philoxRandn(seed, 0, step, stream, 0, out);
    return out;
  };
  const a = draw(0, 0, 0);
  checkNormal(a, 'all');
  for (let lane = 0; lane < 4; lane++) {
    checkNormal(
      a.filter((_, i) => i % 4 === lane),
      `lane ${lane}`,
    );
  }
  for (const [what, b] of [
    ['seed', draw(1, 0, 0)],
    ['step', draw(0, 1, 0)],
    ['stream', draw(0, 0, 1)],
  ] as const) {
    checkNormal(b, what);
    assert.ok(Math.abs(correlation(a, b)) < 4, what);
  }
  for (let lag = 1; lag <= 4; lag++) assert.ok(Math.abs(correlation(a, a, lag)) < 4, `lag ${lag}`);
});

test('3.5 torch normals are normal too', () => {
  checkNormal(randn([200000], { seed: 5 }).data, 'float32');
  checkNormal(randn([200000], { seed: 6, type: 'float64' }).data, 'float64');
});

/** FNV-1a over the 32-bit words of an array. */
function hash(values: Float32Array | Float64Array): string {
  let h = 0x811c9dc5;
  for (const word of new Uint32Array(values.buffer, values.byteOffset, values.byteLength / 4)) {
    h = Math.imul(h ^ word, 0x01000193) >>> 0;
  }
  return h.toString(16);
}

test('3.6 the bits are these on every platform', () => {
  const g = generator(5);
  const single = new Float32Array(10007);
  const double = new Float64Array(10007);
  native.philoxRandn(77, 0, 1, 2, 3, single);
  native.philoxRandn(77, 0, 1, 2, 3, double);
  const got = [g.randn([10007]).data, g.randn([10007], { type: 'float64' }).data, g.randn([9]).data, single, double];
  assert.equal(got.map(hash), ['c9e47cd5', '498652a1', '9bc11cc1', 'bae1a27a', 'fca6b589']);
});

// 4. Sources for a run

test('4.1 one torch seed goes on after xT as a script does', () => {
  const script = generator(9);
  script.randn([2, 3, 5]);
  const noise = new TorchNoise(9);
  noise.skip(30, 2, 'float32');
  const out = new Float32Array(30);
  for (let i = 0; i < 3; i++) {
    noise.fill(out, 2, i);
    assert.equal(out, script.randn([2, 3, 5]).data);
  }
});

test('4.2 with a seed per sample no sample depends on the batch', () => {
  for (const make of [(seeds: number[]) => new TorchNoise(seeds), (seeds: number[]) => new PhiloxNoise(seeds)]) {
    const together = make([4, 5, 6]);
    together.skip(3 * 21, 3, 'float64');
    const out = new Float64Array(3 * 21);
    together.fill(out, 3, 0);
    together.fill(out, 3, 1);
    [4, 5, 6].forEach((seed, i) => {
      const alone = make([seed]);
      alone.skip(21, 1, 'float64');
      const sample = new Float64Array(21);
      alone.fill(sample, 1, 0);
      alone.fill(sample, 1, 1);
      assert.equal(sample, out.slice(21 * i, 21 * (i + 1)));
    });
  }
});

test('4.3 Philox noise keeps no state, and its samples differ', () => {
  const noise = new PhiloxNoise(-7);
  const a = new Float32Array(20);
  const b = new Float32Array(20);
  noise.fill(a, 2, 3);
  noise.fill(b, 2, 4);
  assert.not.equal(a, b);
  new PhiloxNoise(-7).fill(b, 2, 3);
  assert.equal(a, b);
  assert.not.equal(a.slice(0, 10), a.slice(10));
  const one = new Float32Array(10);
  new PhiloxNoise([-7]).fill(one, 1, 3);
  assert.equal(one, a.slice(0, 10));
  assert.equal(noise.key(1), { seedLow: 0xfffffff9, seedHigh: 0xffffffff, stream: 1 });
  assert.equal(new PhiloxNoise([1, 2 ** 32 + 2]).key(1), { seedLow: 2, seedHigh: 1, stream: 0 });
});

// 5. Bad input

test('5.1 seeds', () => {
  throws(() => generator(0.5), RangeError, 'Expected a safe integer for seed but received 0.5');
  throws(() => generator(Number.NaN), RangeError, 'Expected a safe integer for seed but received NaN');
  throws(() => generator(2 ** 53), RangeError, 'Expected a safe integer for seed but received 9007199254740992');
  throws(() => generator('1' as never), TypeError, "Expected a number for seed but received '1'");
  throws(() => generator(1n as never), TypeError, 'Expected a number for seed but received 1n');
  throws(() => randn([1], {} as never), TypeError, 'Expected a number for seed but received undefined');
  const message = 'Expected an object with a seed for options but received';
  throws(() => randn([1], undefined as never), TypeError, `${message} undefined`);
  throws(() => randn([1], null as never), TypeError, `${message} null`);
  throws(() => new TorchNoise([]), RangeError, 'Expected one seed per sample for seed but received an empty array');
  throws(() => new PhiloxNoise([1, 0.5]), RangeError, 'Expected a safe integer for seed but received 0.5');
});

test('5.2 dims and type', () => {
  const g = generator(0);
  throws(() => g.randn(3 as never), TypeError, 'Expected an array of positive integers for dims but received 3');
  throws(() => g.randn([2, 0]), RangeError, 'Expected a positive integer for dims[1] but received 0');
  throws(() => g.randn([-1]), RangeError, 'Expected a positive integer for dims[0] but received -1');
  throws(() => g.randn([1.5]), RangeError, 'Expected a positive integer for dims[0] but received 1.5');
  throws(() => g.randn(['2'] as never), TypeError, "Expected a positive integer for dims[0] but received '2'");
  throws(() => g.randn(new Array(1)), TypeError, 'Expected a positive integer for dims[0] but received undefined');
  throws(
    () => g.randn([2 ** 16, 2 ** 16]),
    RangeError,
    'Expected at most 2^31 elements for dims but received [65536, 65536]',
  );
  const message = "Expected 'float32' or 'float64' for type but received";
  throws(() => g.randn([1], { type: 'float16' as never }), RangeError, `${message} 'float16'`);
  throws(() => g.randn([1], { type: 32 as never }), TypeError, `${message} 32`);
  throws(() => g.randn([1], 'float64' as never), TypeError, "Expected an object for options but received 'float64'");
  // Nothing was drawn by the calls above.
  assert.equal(g.randn([4]).data, randn([4], { seed: 0 }).data);
});

test('5.3 batches', () => {
  const out = new Float32Array(10);
  const divisor = "Expected a divisor of the tensor's 10 elements for batch but received";
  throws(() => new TorchNoise(0).fill(out, 3), RangeError, `${divisor} 3`);
  throws(() => new PhiloxNoise(0).fill(out, 0, 0), RangeError, `${divisor} 0`);
  throws(() => new TorchNoise(0).skip(10, 1.5, 'float32'), RangeError, `${divisor} 1.5`);
  throws(
    () => new TorchNoise([1, 2]).fill(out, 5),
    RangeError,
    'Expected one seed per sample (5) for seed but received 2',
  );
});

test('5.4 the addon checks every argument', () => {
  const state = new Uint32Array(628);
  native.torchSeed(state, 1, 0);
  const out = new Float32Array(4);
  const word = 'Expected an integer from 0 to 2^32 - 1 for';
  throws(
    () => native.torchSeed(new Uint32Array(3), 0, 0),
    RangeError,
    'Expected a Uint32Array of length 628 for state but received a Uint32Array of length 3',
  );
  throws(
    () => native.torchSeed(new Float32Array(628), 0, 0),
    TypeError,
    'Expected a Uint32Array of length 628 for state but received a Float32Array of length 628',
  );
  throws(() => native.torchSeed(state), TypeError, `${word} seedLow but received undefined`);
  throws(() => native.torchSeed(state, 0, -1), RangeError, `${word} seedHigh but received -1`);
  throws(() => native.torchSeed(state, 2 ** 32, 0), RangeError, `${word} seedLow but received 4294967296`);
  throws(() => native.torchSeed(state, 0, '0'), TypeError, `${word} seedHigh but received '0'`);
  const outMessage = 'Expected a Float32Array or a Float64Array for out but received';
  throws(() => native.torchRandn(state, [1]), TypeError, `${outMessage} an array`);
  throws(() => native.torchRandn(state, new Int8Array(2)), TypeError, `${outMessage} an Int8Array of length 2`);
  throws(() => native.torchRandn(state, null), TypeError, `${outMessage} null`);
  const range = 'Expected 0 <= begin <= end <= 4 for begin and end but received';
  throws(() => native.torchRandn(state, out, 3, 2), RangeError, `${range} 3 and 2`);
  throws(() => native.torchRandn(state, out, 0, 5), RangeError, `${range} 0 and 5`);
  throws(() => native.torchRandn(state, out, 5), RangeError, `${range} 5 and 4`);
  const count = 'Expected an integer from 0 to 2^53 - 1 for';
  throws(() => native.torchRandn(state, out, Number.NaN), RangeError, `${count} begin but received NaN`);
  throws(() => native.torchRandn(state, out, {}), TypeError, `${count} begin but received an object`);
  throws(
    () => native.torchSkip(state, 1.5, true),
    RangeError,
    'Expected an integer from 0 to 2^32 for n but received 1.5',
  );
  throws(() => native.torchSkip(state, 1, 1), TypeError, 'Expected a boolean for isDouble but received 1');
  throws(() => native.philoxRandn(0, 0, 0, 0, -1, out), RangeError, `${count} first but received -1`);
  throws(() => native.philoxRandn(0, 0, 1e10, 0, 0, out), RangeError, `${word} step but received 10000000000`);
  throws(() => native.philoxRandn(0, 0, 0, 0, 0), TypeError, `${outMessage} undefined`);
  const broken = state.slice();
  broken[624] = 625;
  throws(
    () => native.torchRandn(broken, out),
    RangeError,
    'Expected a state made by torchSeed for state but received one with index 625 and flag 0',
  );
  throws(
    () => native.torchSkip(broken, 1, false),
    RangeError,
    'Expected a state made by torchSeed for state but received one with index 625 and flag 0',
  );
  // None of these changed anything, and an empty range draws nothing.
  native.torchRandn(state, out, 2, 2);
  native.torchRandn(state, out);
  assert.equal(out, randn([4], { seed: 1 }).data);
});

test.run();
