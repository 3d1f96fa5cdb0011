// What bench/few measures with: quick mixtures, intervals, and the solvers that tables are held against.
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { Mixture, normal, uniform } from '../../bench/error/mixture.js';
import { Exact, partOf, randomMixture, SCHEDULES, type ScheduleName } from '../../bench/few/exact.js';
import { meanOf, medianOf, rootMeanSquareOf, shareOf } from '../../bench/few/intervals.js';
import { methodsOf } from '../../bench/few/methods.js';
import { bits, rangesOf } from '../../bench/few/pictures.js';
import { quick, SharedMixture } from '../../bench/few/shared-mixture.js';
import { momentsOfMixture } from '../../bench/few/spread.js';
import { assertClose } from '../support.js';

test('a mixture of equal variances is the same by inner products', () => {
  const [size, components] = [7, 5];
  const draw = normal(3);
  const means = Float64Array.from({ length: size * components }, draw);
  const weights = Float64Array.of(0.1, 0.4, 0.2, 0.25, 0.05);
  const variance = Float64Array.from({ length: size }, (_, d) => 0.05 + 0.1 * d);
  const plain = new Mixture(
    size,
    weights,
    means,
    Float64Array.from(means, (_, i) => variance[i % size]),
  );
  const shared = quick(plain);
  assert.instance(shared, SharedMixture);
  // A number of samples that four does not divide; both ends of the way, and in place.
  const x = Float64Array.from({ length: 11 * size }, draw);
  for (const sigma of [0.999, 0.5, 0.02]) {
    const point = { alpha: Math.sqrt(1 - sigma * sigma), sigma };
    const [expected, out] = [new Float64Array(x.length), x.slice()];
    plain.denoise(x, point, expected);
    shared.denoise(out, point, out);
    assertClose(out, expected, { rtol: 1e-10, atol: 1e-12 });
  }
  const other = plain.variances.slice();
  other[2] = 9;
  const mixed = new Mixture(size, weights, means, other);
  assert.is(quick(mixed), mixed);
});

test('intervals hold the true figure about 95 times of 100', () => {
  // Of |z|, z normal: the median is 0.67449, the mean sqrt(2 / pi), the root mean square 1; 31.731% are above 1.
  const draw = normal(12);
  const held = { median: 0, mean: 0, rmse: 0, share: 0 };
  const repeats = 400;
  const inside = ([value, low, high]: readonly [number, number, number], truth: number) => {
    assert.ok(low <= value && value <= high);
    return low <= truth && truth <= high ? 1 : 0;
  };
  for (let i = 0; i < repeats; i++) {
    const list = Float64Array.from({ length: 200 }, () => Math.abs(draw()));
    held.median += inside(medianOf(list), 0.67449);
    held.mean += inside(meanOf(list), Math.sqrt(2 / Math.PI));
    held.rmse += inside(rootMeanSquareOf(list), 1);
    held.share += inside(shareOf(list.filter((one) => one > 1).length, list.length), 0.31731);
  }
  for (const [name, count] of Object.entries(held)) {
    assert.ok(count > 0.91 * repeats && count < 0.985 * repeats, `${name}: ${count} of ${repeats}`);
  }
});

test('the mean and the covariance of a mixture are those of all its components together', () => {
  // A quarter of N(0, 1) and three of N(4, 9), beside an element that goes from 2 to -2 with them.
  const mixture = new Mixture(
    2,
    Float64Array.of(0.25, 0.75),
    Float64Array.of(0, 2, 4, -2),
    Float64Array.of(1, 0.5, 9, 0.5),
  );
  const { mean, covariance } = momentsOfMixture(mixture);
  assertClose(mean, [3, -1], { atol: 1e-14 });
  // Variances within and between: 7 + 3 and 0.5 + 3; between alone where elements go together: 0.75 * 0.25 * 4 * -4.
  assertClose(covariance, [10, -3, -3, 3.5], { atol: 1e-14 });
});

test('pictures are those of bench:quality, each once, and what calibrations have seen comes last', () => {
  const ranges = rangesOf(1024);
  assert.equal(ranges.slice(0, 3), [
    [256, 272],
    [272, 320],
    [320, 384],
  ]);
  const all = ranges.flatMap(([from, to]) => Array.from({ length: to - from }, (_, i) => from + i));
  assert.equal(
    [...all].sort((a, b) => a - b),
    Array.from({ length: 1024 }, (_, i) => i),
  );
  // With fewer the first are the same.
  assert.equal(rangesOf(100).flat().slice(0, -1), ranges.slice(0, 3).flat().slice(0, -1));
  const right = all.map((picture) => (picture % 5 === 0 ? '1' : '0')).join('');
  const bytes = Buffer.from(bits(right), 'base64');
  for (const picture of all) assert.is((bytes[picture >> 3] >> (picture & 7)) & 1, picture % 5 === 0 ? 1 : 0);
});

test('every solver that tables are held against runs on every schedule, and asks as often as it says', async () => {
  const random = uniform(5);
  const mixture = randomMixture(3, 4, 0.3, 8);
  for (const name of Object.keys(SCHEDULES) as ScheduleName[]) {
    for (const guidance of [1, 3]) {
      const exact = new Exact(mixture, name, guidance === 1 ? undefined : partOf(mixture, 1, 2), guidance);
      const starts = exact.starts(2, Math.floor(1000 * random()));
      const truth = await exact.truth(starts);
      const methods = methodsOf(exact.schedule, exact.axis, 6, guidance);
      assert.is(new Set(methods.map((one) => `${one.family} ${one.name}`)).size, methods.length);
      for (const method of methods) {
        let calls = 0;
        const counted = new Exact(mixture, name, exact.condition, guidance);
        const { model } = exact;
        counted.model = (...given) => {
          calls++;
          return model(...given);
        };
        const end = await counted.run(starts, method.options);
        assert.is(calls, 6, `${name}, ${method.name}`);
        assert.ok(
          end.every((value, i) => Math.abs(value - truth[i]) < 20),
          `${name}, ${method.name}`,
        );
      }
    }
  }
});

test.run();
