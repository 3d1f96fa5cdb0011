// The parts of a calibration, each against what it is by definition.
import fc from 'fast-check';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { Axis } from '../../lib/calibrate/axis.js';
import { winShare } from '../../lib/calibrate/bootstrap.js';
import { classicCandidates, gridPlaces } from '../../lib/calibrate/candidates.js';
import { type Bench, equationsOf, runAll } from '../../lib/calibrate/equations.js';
import { fitRow } from '../../lib/calibrate/greedy.js';
import { solveSymmetric } from '../../lib/calibrate/linear.js';
import { Network } from '../../lib/calibrate/network.js';
import { change, derivativeCost, moved, parametersOf } from '../../lib/calibrate/parameters.js';
import { endOf, programOf, runFrom } from '../../lib/calibrate/path.js';
import { chooseStrength, leftAfter, stepOf, sumOf } from '../../lib/calibrate/prior.js';
import { firstFit, refine } from '../../lib/calibrate/refine.js';
import { classicRow, classicStudent, copyStudent, directions, nodesOf, rowsOf } from '../../lib/calibrate/student.js';
import { teach } from '../../lib/calibrate/teacher.js';
import { tableOf } from '../../lib/calibrate/to-table.js';
import { betas, classicTable, DPMSolver, NoiseSchedule, type Tensor } from '../../lib/index.js';
import { multistepOrders, type Order } from '../../lib/schedule/orders.js';
import { assertBitsEqual, assertClose, check, noise } from '../support.js';

const SCHEDULES = {
  discrete: NoiseSchedule.discrete({ betas: betas('scaled_linear') }),
  linear: NoiseSchedule.linear(),
  cosine: NoiseSchedule.cosine(),
  flow: NoiseSchedule.flow({ shift: 3 }),
  edm: NoiseSchedule.edm(),
};
const FREE = { times: true, rows: true, shifts: true };

test('a symmetric system is solved, and one that has no solution is not', async () => {
  await check(
    fc.property(fc.integer({ min: 1, max: 12 }), fc.integer({ min: 1, max: 1e6 }), (n, seed) => {
      const m = noise(new Float64Array(n * n), seed);
      const a = new Float64Array(n * n);
      // M M' + I is positive definite.
      for (let i = 0; i < n; i++) {
        for (let j = 0; j < n; j++) {
          for (let k = 0; k < n; k++) a[i * n + j] += m[i * n + k] * m[j * n + k];
          if (i === j) a[i * n + j] += 1;
        }
      }
      const x = noise(new Float64Array(n), seed + 1);
      const b = Float64Array.from({ length: n }, (_, i) => x.reduce((sum, one, j) => sum + a[i * n + j] * one, 0));
      assertClose(solveSymmetric(a, b)!, x, { atol: 1e-9 });
    }),
  );
  assert.is(solveSymmetric(Float64Array.of(1, 2, 2, 1), [1, 1]), null);
  assert.is(solveSymmetric(Float64Array.of(0), [1]), null);
});

test('paired bootstraps: who wins always, never, and by chance', () => {
  const theirs = Array.from(noise(new Float64Array(128)), (v) => 2 + v);
  assert.is(
    winShare(
      theirs.map((v) => v - 0.01),
      theirs,
    ),
    1,
  );
  assert.is(
    winShare(
      theirs.map((v) => v + 0.01),
      theirs,
    ),
    0,
  );
  assert.is(winShare(theirs, theirs), 0);
  // A difference of half a standard error wins with the probability that a normal distribution gives, 0.69.
  const other = Array.from(noise(new Float64Array(128), 9));
  const mean = other.reduce((a, b) => a + b) / 128;
  const deviation = Math.sqrt(other.reduce((sum, v) => sum + (v - mean) ** 2, 0) / 128);
  const ours = theirs.map((v, i) => v + (other[i] - mean) - (0.5 * deviation) / Math.sqrt(128));
  const share = winShare(ours, theirs, { draws: 20000 });
  assert.ok(Math.abs(share - 0.6915) < 0.02, String(share));
  assert.is(winShare(ours, theirs, { seed: 3 }), winShare(ours, theirs, { seed: 3 }));
  assert.is.not(winShare(ours, theirs, { seed: 3 }), winShare(ours, theirs, { seed: 4 }));
});

test('the axis goes from the first time to the last, rises, and finds times again', () => {
  for (const [name, schedule] of Object.entries(SCHEDULES)) {
    const axis = new Axis(schedule);
    assert.is(axis.timeAt(0), schedule.T);
    assert.is(axis.timeAt(1), schedule.epsilon);
    assert.is(axis.placeOf(schedule.T), 0);
    assert.is(axis.placeOf(schedule.epsilon), 1);
    let before = schedule.T;
    for (let i = 1; i < 100; i++) {
      const t = axis.timeAt(i / 100);
      assert.ok(t < before && t > schedule.epsilon, `${name} ${i}`);
      assertClose(axis.placeOf(t), i / 100, { atol: 1e-9 });
      before = t;
    }
  }
  // Beyond the ends there is nothing.
  assert.is(new Axis(SCHEDULES.linear).timeAt(-1), 1);
  assert.is(new Axis(SCHEDULES.linear).timeAt(2), 1e-3);
});

test('grids on the axis: all that a schedule allows', () => {
  const grids = (schedule: NoiseSchedule) => [...gridPlaces(schedule, new Axis(schedule), 5).keys()];
  const anywhere = ['time_uniform', 'time_quadratic', 'logSNR', 'karras', 'beta', 'dmn', 'dmn for latents'];
  assert.equal(grids(SCHEDULES.linear), [...anywhere, 'axis']);
  assert.equal(grids(SCHEDULES.discrete), [...anywhere, 'ays for sd15', 'ays for sdxl', 'gits for sd15', 'axis']);
  const flow = ['time_uniform', 'time_quadratic', 'oss for flux', 'oss for wan', 'oss for chroma', 'axis'];
  assert.equal(grids(SCHEDULES.flow), flow);
});

test('a student without corrections is the classic solver', () => {
  for (const schedule of Object.values(SCHEDULES)) {
    const axis = new Axis(schedule);
    for (const order of [1, 2, 3] as const) {
      const student = classicStudent([0, 0.2, 0.5, 0.7, 1], order, 4);
      const nodes = nodesOf(student, axis);
      const times = Array.from(student.places, (place) => axis.timeAt(place));
      const modelType = schedule.kind === 'flow' ? 'flow' : 'noise';
      const expected = classicTable(schedule, { modelType, skipType: times, order }).rows!;
      rowsOf(student, nodes).forEach((row, i) => {
        assert.is(row.length, 2 + Math.min(i, 3));
        assert.equal(Array.from(row.subarray(0, expected[i].length)), [...expected[i]]);
        assert.ok(row.subarray(expected[i].length).every((weight) => weight === 0));
      });
    }
  }
});

test('from 10 steps on solvers with a last step of order 1 are among the classic ones, too', () => {
  const schedule = SCHEDULES.discrete;
  const axis = new Axis(schedule);
  const candidates = (steps: number) => classicCandidates(schedule, axis, steps, 4);
  const all = candidates(9).map(({ name }) => name);
  assert.not.ok(all.some((name) => name.includes('last step')));
  for (const steps of [10, 13]) {
    const found = new Map(candidates(steps).map(({ name, student }) => [name, student]));
    // Two of three on each grid have them; DDIM has nothing else.
    assert.is(found.size, (5 * all.length) / 3);
    for (const order of [2, 3] as const) {
      for (const [end, lowerOrderFinal] of [
        ['', true],
        [', last step of order 1', steps + 1],
      ] as const) {
        const student = found.get(`DPM-Solver++(${order}M), karras${end}`)!;
        const expected = classicTable(schedule, { steps, order, lowerOrderFinal, skipType: 'karras' }).rows!;
        assert.equal(student.orders, multistepOrders(steps, order, lowerOrderFinal));
        rowsOf(student, nodesOf(student, axis)).forEach((row, i) => {
          assertClose(row.subarray(0, expected[i].length), expected[i], { rtol: 1e-9, atol: 1e-12 });
          assert.ok(row.subarray(expected[i].length).every((weight) => weight === 0));
        });
      }
    }
  }
});

test('corrections: each direction by what it is multiplied with', () => {
  const axis = new Axis(SCHEDULES.linear);
  const student = classicStudent([0, 0.3, 0.6, 1], 2, 4);
  const nodes = nodesOf(student, axis);
  const classic = rowsOf(student, nodes);
  const ways = directions(nodes, 2, 4);
  // The noise (x - alpha m) / sigma, the prediction, and two differences that are 0 where predictions are alike.
  const { alpha } = nodes[2];
  assertClose(ways[0][1], -alpha * ways[0][0], { rtol: 1e-14 });
  assert.ok(ways[1][1] > 0);
  for (const way of ways.slice(2))
    assertClose(
      way.reduce((sum, w) => sum + w, 0),
      0,
      { atol: 1e-15 },
    );
  const changed = copyStudent(student);
  changed.corrections[2].set([0.1, -0.2, 0.3, 0.4]);
  const row = rowsOf(changed, nodes)[2];
  row.forEach((weight, j) => {
    const expected = classic[2][j] + 0.1 * ways[0][j] - 0.2 * ways[1][j] + 0.3 * ways[2][j] + 0.4 * ways[3][j];
    assertClose(weight, expected, { atol: 1e-14 });
  });
});

// ---- a network that is linear, so that derivatives are exact ------------------------------------------------------------

const SIZE = 3;
/** E[x0 | x] of data from N(mean, s^2), element by element. */
const MEANS = [0.4, -0.7, 0.1];
const SPREADS = [0.5, 0.2, 0.9];
function linearBench(count: number, seed: number, calls: number[][] = []): Bench {
  const schedule = SCHEDULES.linear;
  const axis = new Axis(schedule);
  const modelTime = (t: number) => schedule.modelTime(t);
  const network = new Network(
    (x, t, { samples }) => {
      calls.push([...samples]);
      const { alpha, sigma } = schedule.node(t);
      const data = (x.data as Float64Array).map((v, i) => {
        const s = SPREADS[i % SIZE] ** 2;
        const gain = (alpha * s) / (alpha * alpha * s + sigma * sigma);
        return MEANS[i % SIZE] + gain * (v - alpha * MEANS[i % SIZE]);
      });
      return { data, dims: x.dims };
    },
    { modelType: 'x_start', scale: 1, like: { data: new Float64Array(SIZE), dims: [1, SIZE] } },
  );
  const samples = Array.from({ length: count }, (_, i) => i);
  const start = noise(new Float64Array(count * SIZE), seed).map((v) => 1.7 * v);
  return { network, axis, modelTime, batches: [{ samples, start, end: start }], range: null };
}

async function taught(count: number, seed: number): Promise<Bench> {
  const bench = linearBench(count, seed);
  const [{ samples, start }] = bench.batches;
  const { end } = await teach(bench.network, bench.axis, bench.modelTime, { steps: 200, samples, start, keep: false });
  return { ...bench, batches: [{ samples, start, end }] };
}

test('a run from the middle is the whole run, and costs less', async () => {
  const bench = linearBench(4, 1);
  const student = classicStudent([0, 0.2, 0.5, 0.7, 1], 2, 4);
  student.corrections[3].set([0.1, 0.2, -0.1, 0.05, 0.3]);
  const program = programOf(student, bench.axis, bench.modelTime);
  const [batch] = bench.batches;
  const whole = await runFrom(bench.network, program, batch);
  assert.is(bench.network.evaluations, 16);
  for (const from of [0, 1, 2, 3]) {
    for (const predicted of [false, true]) {
      const before = bench.network.evaluations;
      const part = await runFrom(bench.network, program, batch, { from, predicted, known: whole });
      assert.is(bench.network.evaluations - before, 4 * (4 - from - (predicted ? 1 : 0)));
      assertBitsEqual(endOf(part) as Float64Array, endOf(whole) as Float64Array);
    }
  }
});

test('a run is the run of the table that it becomes', async () => {
  const bench = linearBench(4, 1);
  const student = classicStudent([0, 0.2, 0.5, 0.7, 1], 2, 4);
  student.corrections[1].set([0.1, 0.2, -0.1]);
  student.corrections[3].set([0.1, 0.2, -0.1, 0.05, 0.3]);
  student.shifts[2] = 0.01;
  const { paths } = await runAll(bench, student);
  const about = { name: 'x', source: 'y', modelType: 'x_start' } as const;
  const table = tableOf(student, SCHEDULES.linear, bench.axis, about);
  assert.is(table.modelTimes!.length, 4);
  assert.is(table.rows![0].length, 2);
  const network = (x: Tensor, t: number): Tensor => {
    const { alpha, sigma } = SCHEDULES.linear.node(t);
    const data = (x.data as Float64Array).map((v, i) => {
      const s = SPREADS[i % SIZE] ** 2;
      return MEANS[i % SIZE] + ((alpha * s) / (alpha * alpha * s + sigma * sigma)) * (v - alpha * MEANS[i % SIZE]);
    });
    return { data, dims: x.dims };
  };
  const solver = new DPMSolver(network, SCHEDULES.linear, { modelType: 'x_start' });
  const { sample } = await solver.sample({ data: bench.batches[0].start as Float64Array, dims: [4, SIZE] }, { table });
  assertBitsEqual(sample.data, endOf(paths[0]) as Float64Array);
});

test('normal equations: what a small change does to the end', async () => {
  const bench = await taught(5, 2);
  const student = classicStudent([0, 0.3, 0.6, 1], 2, 4);
  student.shifts[1] = 0.02;
  const parameters = parametersOf(student, FREE);
  assert.is(parameters.length, 2 + 3 + 2 + 3 + 4);
  const { paths, errors } = await runAll(bench, student);
  const before = bench.network.evaluations;
  const equations = await equationsOf(bench, student, parameters, paths);
  assert.is(bench.network.evaluations - before, 5 * derivativeCost(student, FREE));
  const total = sumOf(
    equations,
    equations.map(() => 1),
  );
  assertClose(
    total.square,
    errors.reduce((sum, e) => sum + e * e, 0),
    { rtol: 1e-12 },
  );
  // The linear model against real runs.
  for (let i = 0; i < parameters.length; i++) {
    const step = new Float64Array(parameters.length);
    step[i] = 1e-3;
    const expected = leftAfter(total, step);
    const other = copyStudent(student);
    change(other, parameters[i], 1e-3);
    const { errors: found } = await runAll(bench, other);
    assertClose(
      found.reduce((sum, e) => sum + e * e, 0),
      expected,
      { rtol: 1e-4, atol: 1e-10 },
    );
  }
});

test('times keep their order however far a step would take them', () => {
  const student = classicStudent([0, 0.3, 0.6, 1], 2, 4);
  const parameters = parametersOf(student, { times: true, rows: false, shifts: false });
  for (const step of [
    Float64Array.of(5, -5),
    Float64Array.of(-1, -1),
    Float64Array.of(0.1, 0.1),
    Float64Array.of(3, 3),
  ]) {
    const { places } = moved(student, parameters, step);
    for (let i = 1; i < places.length; i++) assert.ok(places[i] > places[i - 1], `${step}: ${places}`);
  }
});

test('the prior is weak where samples agree, and strong where they say nothing', () => {
  const P = 4;
  const truth = noise(new Float64Array(P), 5);
  const make = (signal: number, noisy: number) =>
    Array.from({ length: 24 }, (_, s) => {
      const J = noise(new Float64Array(6 * P), 100 + s);
      const e = noise(new Float64Array(6), 900 + s);
      const A = new Float64Array(P * P);
      const b = new Float64Array(P);
      let square = 0;
      for (let k = 0; k < 6; k++) {
        const row = J.subarray(k * P, (k + 1) * P);
        const r = signal * row.reduce((sum, w, i) => sum - w * truth[i], 0) + noisy * e[k];
        square += r * r;
        for (let i = 0; i < P; i++) {
          b[i] -= row[i] * r;
          for (let j = 0; j <= i; j++) A[i * P + j] += row[i] * row[j];
        }
      }
      return { A, b, square };
    });
  const prior = { strains: new Float64Array(P), deviations: new Float64Array(P).fill(1), damping: 0 };
  const share = (equations: ReturnType<typeof make>) => {
    const weights = equations.map(() => 1);
    const strength = chooseStrength(equations, weights, prior);
    return {
      share: strength / sumOf(equations, weights).square,
      step: stepOf(sumOf(equations, weights), { ...prior, strength })!,
    };
  };
  const clear = share(make(1, 0.01));
  assert.ok(clear.share < 1e-3, String(clear.share));
  assertClose(clear.step, truth, { atol: 0.02 });
  const nothing = share(make(0, 1));
  assert.ok(nothing.share >= 0.1, String(nothing.share));
});

test('refinement finds the end of a linear network next to exactly, and only ever improves', async () => {
  const bench = await taught(12, 3);
  const student = classicStudent([0, 0.3, 0.6, 1], 2, 4);
  const start = await runAll(bench, student);
  let fit = firstFit(student, start.errors);
  let paths: readonly (typeof start.paths)[number][] = start.paths;
  const means: number[] = [];
  for (let i = 0; i < 12 && !fit.done; i++) {
    ({ fit, paths } = await refine(bench, fit, { times: true, rows: true, shifts: false }, paths, () => true));
    means.push(fit.errors.reduce((a, b) => a + b) / fit.errors.length);
  }
  const before = start.errors.reduce((a, b) => a + b) / start.errors.length;
  assert.ok(means[means.length - 1] < 1e-3 * before, `${before} to ${means}`);
  assert.ok(
    student.corrections.every((one) => one.every((v) => v === 0)),
    'the start is left as it was',
  );
});

test('a fitted row reaches what lies within its reach', () => {
  const axis = new Axis(SCHEDULES.linear);
  const nodes = [0, 0.3, 0.6, 1].map((place) => axis.nodeAt(place));
  const [state, m0, m1, m2] = [1, 2, 3, 4].map((seed) => noise(new Float64Array(400), seed));
  const classic = classicRow(nodes, 2, 2, 4);
  const ways = directions(nodes, 2, 4);
  const truth = [0.02, -0.05, 0.03, 0.04];
  const target = state.map((v, k) => {
    const row = classic.map((weight, j) => weight + truth.reduce((sum, q, p) => sum + q * ways[p][j], 0));
    return row[0] * v + row[1] * m0[k] + row[2] * m1[k] + row[3] * m2[k];
  });
  const found = fitRow(nodes, 2, 2 as Order, 4, [{ state, predictions: [m0, m1, m2], target }]);
  const left = (corrections: ArrayLike<number>) => {
    const row = classic.map((weight, j) => weight + ways.reduce((sum, way, p) => sum + corrections[p] * way[j], 0));
    return target.reduce(
      (sum, v, k) => sum + (v - row[0] * state[k] - row[1] * m0[k] - row[2] * m1[k] - row[3] * m2[k]) ** 2,
      0,
    );
  };
  // Held near 0 by a thousandth, so not exactly.
  assertClose(found, truth, { atol: 5e-3 });
  assert.ok(left(found) < 1e-3 * left([0, 0, 0, 0]), `${left(found)} of ${left([0, 0, 0, 0])}`);
});

test.run();
