// The measures of bench/quality: the Frechet distance against closed forms, the classifier's features against the log p
// that its graph gives, and every row's number of evaluations.
import { readFileSync } from 'node:fs';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { Cells, slope } from '../bench/quality/claims.js';
import { fieldsOf, withInputOf } from '../bench/quality/features.js';
import { eigen, FrechetDistance, momentsOf } from '../bench/quality/frechet.js';
import { judge, randomPrompts, uniform } from '../bench/quality/judge.js';
import type { Cell, Results } from '../bench/quality/quality.js';
import { DEIS_1, EXTRA_ROWS, REFERENCE, ROWS, startLoop } from '../bench/quality/rows.js';
import { drawnPictures } from '../bench/quality/truth.js';
import { generator, type Tensor } from '../lib/index.js';
import { readScheduler } from '../lib/schedulers/network.js';
import { hasShapes, shapes } from './pipelines/models.js';
import { assertClose } from './support.js';

const test = suite('quality');

/** A rotation in the plane of two axes, times diagonals: R diag(d) R^T. */
function turned(d: readonly number[], angle: number): Float64Array {
  const [c, s] = [Math.cos(angle), Math.sin(angle)];
  const [a, b, rest] = d;
  return Float64Array.of(
    c * c * a + s * s * b,
    c * s * (a - b),
    0,
    c * s * (a - b),
    s * s * a + c * c * b,
    0,
    0,
    0,
    rest,
  );
}

test('finds the eigenvalues that a matrix was made of, and its eigenvectors', () => {
  const matrix = turned([4, 9, 0.25], 0.7);
  const { values, columns } = eigen(matrix, 3);
  assertClose(
    [...values].sort((a, b) => a - b),
    [0.25, 4, 9],
    { rtol: 1e-13 },
  );
  for (let k = 0; k < 3; k++) {
    for (let i = 0; i < 3; i++) {
      let product = 0;
      for (let j = 0; j < 3; j++) product += matrix[3 * i + j] * columns[3 * j + k];
      assertClose([product], [values[k] * columns[3 * i + k]], { atol: 1e-13 });
    }
  }
});

test('gives the distance of normal distributions whose covariances commute', () => {
  // With common eigenvectors it is |m1 - m2|^2 + the sum of (sqrt a - sqrt b)^2.
  const to = { mean: Float64Array.of(0, 0, 0), covariance: turned([4, 9, 0.25], 0.3) };
  const from = { mean: Float64Array.of(1, 2, 0), covariance: turned([1, 16, 0], 0.3) };
  assertClose([new FrechetDistance(to).from(from)], [5 + 1 + 1 + 0.25], { rtol: 1e-12 });
  assertClose([new FrechetDistance(to).from(to)], [0], { atol: 1e-12 });
});

test('gives the distance of normal distributions in the plane whose covariances do not commute', () => {
  // tr of the root of a 2 x 2 matrix M with positive eigenvalues is sqrt(tr M + 2 sqrt(det M)).
  const a = turned([4, 9, 0], 0.3);
  const b = turned([1, 16, 0], 1.2);
  const [m00, m01] = [a[0] * b[0] + a[1] * b[3], a[0] * b[1] + a[1] * b[4]];
  const [m10, m11] = [a[3] * b[0] + a[4] * b[3], a[3] * b[1] + a[4] * b[4]];
  const want = 13 + 17 - 2 * Math.sqrt(m00 + m11 + 2 * Math.sqrt(m00 * m11 - m01 * m10));
  const zero = Float64Array.of(0, 0, 0);
  const distance = new FrechetDistance({ mean: zero, covariance: a }).from({ mean: zero, covariance: b });
  assertClose([distance], [want], { rtol: 1e-12 });
});

test('takes mean and covariance of rows, and of rows that are drawn again', () => {
  const rows = Float32Array.of(1, 2, 3, 6, 5, 1);
  const { mean, covariance } = momentsOf(rows, 2);
  assert.equal([...mean], [3, 3]);
  assert.equal([...covariance], [4, -1, -1, 7]);
  const twice = momentsOf(rows, 2, Int32Array.of(0, 0, 2, 2));
  assert.equal([...twice.mean], [3, 1.5]);
});

test('finds sets of one distribution near and sets of another far, by the interval it gives', () => {
  const width = 4;
  const normal = (seed: number, shift: number) =>
    Float32Array.from(generator(seed).randn([2000 * width]).data, (value, i) => value + (i % width === 0 ? shift : 0));
  const distance = new FrechetDistance({
    mean: new Float64Array(width),
    covariance: Float64Array.from({ length: 16 }, (_, i) => (i % 5 === 0 ? 1 : 0)),
  });
  const own = distance.bootstrap(normal(1, 0), 100, uniform(1));
  const other = distance.bootstrap(normal(2, 0.5), 100, uniform(1));
  assert.ok(own.distance < 0.02 && own.error < 0.01, JSON.stringify(own));
  assert.ok(Math.abs(other.distance - 0.25) < 3 * other.error, JSON.stringify(other));
  assert.ok(other.error > 0.005 && other.error < 0.05, JSON.stringify(other));
});

test('compares cells picture by picture', () => {
  const cells = new Cells({} as Results);
  const cell = (right: (i: number) => boolean) => {
    const bits = Buffer.alloc(13);
    for (let i = 0; i < 100; i++) if (right(i)) bits[i >> 3] |= 1 << (i & 7);
    return { pictures: 100, verdicts: bits.toString('base64') } as Cell;
  };
  // 30 are right in the first alone and 10 in the second: McNemar's variance of the difference is (40/100 - 0.2^2)/100.
  const { difference, error } = cells.difference(
    cell((i) => i < 60),
    cell((i) => i >= 30 && i < 70),
  );
  assertClose([difference, error], [0.2, 1.96 * Math.sqrt(0.36 / 100)], { rtol: 1e-12 });
  // Wilson's interval of 60 in 100.
  const { y, low, high } = cells.right({ pictures: 100, right: 60 } as Cell);
  assertClose([y, low, high], [0.6, 0.502, 0.691], { atol: 1e-3 });
});

test('fits the slope of an error that falls with a power of the evaluations', () => {
  const cells = [5, 10, 20, 50].map((steps) => ({ steps, rmse: 3 * steps ** -1.5 }) as Cell);
  assertClose([slope(cells)], [-1.5], { rtol: 1e-12 });
});

test('draws pictures in which the judge finds what their prompts say', () => {
  const prompts = randomPrompts(60, 7);
  const pictures = drawnPictures(60, 7);
  prompts.forEach((prompt, i) => {
    const verdict = judge(pictures.subarray(i * 3072, (i + 1) * 3072));
    assert.equal(
      [verdict.shape, verdict.color, verdict.background],
      [prompt.shape, prompt.color, prompt.background],
      prompt.prompt,
    );
  });
});

const trained = hasShapes ? test : test.skip;

trained("takes out of the classifier's graph the features that its log p follows from", async () => {
  const file = readFileSync(`${shapes}/classifier/model.onnx`);
  const { model, output } = withInputOf('classifier.head.weight', file);
  const runtime = await import('onnxruntime-node');
  const session = await runtime.InferenceSession.create(model, { intraOpNumThreads: 1, logSeverityLevel: 3 });
  const labels = [1, 4, 6];
  const feeds = {
    sample: new runtime.Tensor('float32', drawnPictures(1, 5), [1, 3, 32, 32]),
    timestep: new runtime.Tensor('float32', Float32Array.of(40), [1]),
    labels: new runtime.Tensor('int64', BigInt64Array.from(labels, BigInt), [1, 3]),
  };
  const results = await session.run(feeds);
  await session.release();
  const features = results[output].data as Float32Array;
  assert.equal(results[output].dims, [1, 64]);
  // GraphProto.initializer is field 5; TensorProto.name 8 and raw_data 9.
  const graph = fieldsOf(file).find(({ number }) => number === 7)!;
  const weights = (name: string) => {
    for (const { number, content } of fieldsOf(graph.content)) {
      if (number !== 5) continue;
      const parts = fieldsOf(content);
      const part = (n: number) => parts.find((one) => one.number === n)?.content;
      if (Buffer.from(part(8) ?? []).toString() === name) return new Float32Array(Uint8Array.from(part(9)!).buffer);
    }
    throw new Error(name);
  };
  const [weight, bias] = [weights('classifier.head.weight'), weights('classifier.head.bias')];
  const logits = Array.from(bias, (value, i) => features.reduce((sum, f, k) => sum + f * weight[64 * i + k], value));
  let logProbability = 0;
  [6, 8, 8].reduce((begin, width, part) => {
    const own = logits.slice(begin, begin + width);
    logProbability += own[labels[part]] - Math.log(own.reduce((sum, value) => sum + Math.exp(value), 0));
    return begin + width;
  }, 0);
  assertClose([(results.log_prob.data as Float32Array)[0]], [logProbability], { rtol: 1e-4, atol: 1e-5 });
});

test('makes as many evaluations in every row as asked for, and all rows end where the reference does', () => {
  const config = { beta_schedule: 'linear', beta_start: 1e-4, beta_end: 0.02, num_train_timesteps: 1000 };
  const training = { ...config, prediction_type: 'v_prediction' };
  const { schedule, modelType } = readScheduler(training, 'the configuration').training;
  const network = { schedule, modelType, config: training };
  const dims = [2, 3, 4, 4];
  const xT = { type: 'float32', data: generator(1).randn(dims).data, dims } as Tensor;
  // Data that are normal with standard deviation 0.5: v is linear in x.
  const output = (x: Tensor, t: number): Tensor => {
    const { alpha, sigma } = schedule.node((t + 1) / 1000);
    const slope = (alpha * sigma - 0.25 * alpha * sigma) / (0.25 * alpha * alpha + sigma * sigma);
    return { ...x, data: (x.data as Float32Array).map((value) => slope * value) } as Tensor;
  };
  const solve = (row: (typeof ROWS)[number], steps: number, scale: number) => {
    const loop = startLoop(row, network, xT, steps, scale);
    let count = 0;
    for (; !loop.done; count++) {
      assert.is(loop.x.dims[0], scale === 1 ? 2 : 4);
      loop.advance(output(loop.x, loop.t));
    }
    assert.is(count, steps, row.name);
    return loop.result.data as Float32Array;
  };
  const exact = solve(REFERENCE, 1000, 1);
  for (const row of [...ROWS, ...EXTRA_ROWS, DEIS_1]) {
    for (const steps of [5, 6, 8, 10, 12, 15, 20, 50]) solve(row, steps, 3);
    // What is thresholded is another solution. First order, and labels rounded to whole training steps, cost the most.
    if ('thresholding' in row.options) continue;
    const loose = 'scheduler' in row.options || row.options.order === 1;
    assertClose(solve(row, 100, 1), exact, { rtol: loose ? 0.05 : 0.03, scale: 'max' });
  }
});

test.run();
