// float16 in and out against the definition of the format, on every instruction set this processor has.
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { convert, info } from '../../lib/native.js';
import { inChild } from './children.js';
import { assertSame, halfToNumber, numberToHalf, Random } from './support.js';

test('1.1 all 65,536 halves to float32 and float64', () => {
  const halves = Uint16Array.from({ length: 65536 }, (_, i) => i);
  const expected = Float64Array.from(halves, halfToNumber);
  const [narrow, wide] = [new Float32Array(65536), new Float64Array(65536)];
  convert(halves, narrow);
  convert(halves, wide);
  assertSame(narrow, Float32Array.from(expected), 'float32');
  assertSame(wide, expected, 'float64');
  const back = new Uint16Array(65536);
  convert(narrow, back);
  // There and back is the identity; NaN comes back quiet.
  assertSame(
    back,
    halves.map((h) => ((h & 0x7fff) > 0x7c00 ? h | 0x0200 : h)),
    'and back',
  );
  convert(wide, back);
  assertSame(
    back,
    halves.map((h) => ((h & 0x7fff) > 0x7c00 ? h | 0x0200 : h)),
    'and back from float64',
  );
});

test('1.2 a half is converted alike wherever in a buffer it stands', () => {
  for (let n = 1; n < 40; n++) {
    const halves = new Random(n).halves(n);
    const out = new Float32Array(n);
    convert(halves, out);
    assertSame(out, Float32Array.from(halves, halfToNumber), `${n} elements`);
    const back = new Uint16Array(n);
    convert(out, back);
    assertSame(back, halves, `${n} elements, back`);
  }
});

/** Numbers where rounding to float16 is decided: every half, the middle to the next, and their neighbours. */
function boundaries(neighbour: (value: number, by: number) => number): Float64Array {
  const values: number[] = [];
  for (let h = 0; h < 0x7c00; h++) {
    const here = halfToNumber(h);
    const next = h === 0x7bff ? 65536 : halfToNumber(h + 1);
    const middle = (here + next) / 2;
    for (const value of [here, middle]) values.push(neighbour(value, -1), value, neighbour(value, 1));
  }
  values.push(1e10, 3.4e38, Number.POSITIVE_INFINITY, Number.NaN);
  return Float64Array.from([...values, ...values.map((value) => -value)]);
}

test('1.3 float32 to float16: every boundary, subnormals, ties, overflow', () => {
  const [f, bits] = [new Float32Array(1), new Int32Array(1)];
  const view = new DataView(new ArrayBuffer(4));
  const values = boundaries((value, by) => {
    f[0] = value;
    view.setFloat32(0, f[0]!);
    bits[0] = view.getInt32(0) + by;
    view.setInt32(0, Math.max(0, bits[0]!));
    return view.getFloat32(0);
  });
  const from = Float32Array.from(values);
  const out = new Uint16Array(from.length);
  convert(from, out);
  for (let i = 0; i < from.length; i++) {
    if (Number.isNaN(from[i])) assert.ok((out[i]! & 0x7fff) > 0x7e00 - 1, 'NaN stays NaN');
    else if (out[i] !== numberToHalf(from[i]!)) assert.is(out[i], numberToHalf(from[i]!), `${from[i]}`);
  }
});

test('1.4 float32 to float16: a walk through all 2^32 bits', () => {
  const size = 1 << 16;
  const bits = new Uint32Array(size);
  const floats = new Float32Array(bits.buffer);
  const out = new Uint16Array(size);
  let at = 0;
  for (let round = 0; round < 250; round++) {
    for (let i = 0; i < size; i++) {
      bits[i] = at;
      at = (at + 262147) >>> 0; // a prime
    }
    convert(floats, out);
    for (let i = 0; i < size; i++) {
      const b = bits[i]!;
      // A NaN keeps its sign and the top of its payload, and is quiet.
      const nan = (b & 0x7fffffff) > 0x7f800000;
      const expected = nan ? ((b >>> 16) & 0x8000) | 0x7e00 | ((b >>> 13) & 0x3ff) : numberToHalf(floats[i]!);
      if (out[i] !== expected) assert.is(out[i], expected, `bits ${b.toString(16)}`);
    }
  }
});

test('1.5 float64 to float16 rounds once', () => {
  const view = new DataView(new ArrayBuffer(8));
  const values = boundaries((value, by) => {
    view.setFloat64(0, value);
    const bits = view.getBigInt64(0) + BigInt(by);
    view.setBigInt64(0, bits < 0n ? 0n : bits);
    return view.getFloat64(0);
  });
  const random = new Random(5);
  const more: number[] = [5e-324, 1e-310, 1e-45, 2 ** -25, 2 ** -25 * (1 + 2 ** -52), 65519.99999999999, 65520, 1e300];
  for (let h = 0; h < 0x7c00; h += 7) {
    // Beside the middle by less than float32 can tell: rounded twice, these go wrong.
    const middle = (halfToNumber(h) + halfToNumber(h + 1)) / 2;
    if (Number.isFinite(middle)) more.push(middle * (1 + 2 ** -40), middle * (1 - 2 ** -40));
  }
  for (let i = 0; i < 200000; i++) more.push(random.normal() * 2 ** random.integer(-30, 18));
  const from = Float64Array.from([...values, ...more, ...more.map((value) => -value)]);
  const out = new Uint16Array(from.length);
  convert(from, out);
  for (let i = 0; i < from.length; i++) {
    if (out[i] !== numberToHalf(from[i]!)) assert.is(out[i], numberToHalf(from[i]!), `${from[i]}`);
  }
});

for (const simd of info().simdAvailable) {
  if (simd === info().simd || process.env.DPM_SOLVER_SIMD) continue;
  test(`2 the same with ${simd}`, async () => {
    const { code, output } = await inChild(new URL(import.meta.url), { env: { DPM_SOLVER_SIMD: simd } });
    assert.is(code, 0, output);
  });
}

test.run();
