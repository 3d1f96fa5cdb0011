// Tables made from published numbers, against the programs that published them.
import fc from 'fast-check';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import {
  betas,
  DPMSolver,
  dcSolverTable,
  type GeneralRow,
  NoiseSchedule,
  rowsOverPredictions,
  type Tensor,
  timesTable,
} from '../../lib/index.js';
import { assertBitsEqual, assertClose, assertThrows, check, golden, noise } from '../support.js';

const sd = NoiseSchedule.discrete({ betas: betas('scaled_linear', 1000, { start: 0.00085, end: 0.012 }) });

interface DcSolver {
  start: number[];
  cases: {
    prediction: 'epsilon' | 'v_prediction';
    steps: number;
    guidance: number;
    ratios: number[];
    timesteps: number[];
    end: number[];
  }[];
}

test('DC-Solver: the end of the authors’ scheduler, with their ratios for Stable Diffusion 2.1', async () => {
  const { start, cases } = golden<DcSolver>('dc-solver');
  for (const { prediction, steps, guidance, ratios, timesteps, end } of cases) {
    const modelType = prediction === 'epsilon' ? 'noise' : 'v';
    const told: number[] = [];
    const model = (x: Tensor, t: number): Tensor => {
      told.push(t);
      const data = x.data as Float64Array;
      const half = data.length / 2;
      const c = (v: number) => Math.tanh(0.7 * v) + 0.1 * Math.cos((3 * t) / 1000);
      return { data: data.map((v, i) => c(v) + (i < half ? 0.05 * v : 0)), dims: x.dims };
    };
    const options = { steps, modelType } as const;
    for (const table of [dcSolverTable(sd, { ...options, guidance }), dcSolverTable(sd, { ...options, ratios })]) {
      told.length = 0;
      const solver = new DPMSolver(model, sd, { modelType, guidance: { type: 'classifier-free', scale: guidance } });
      const { sample, nfe } = await solver.sample(
        { data: Float64Array.from(start), dims: [1, start.length] },
        { table },
      );
      assert.is(nfe, steps);
      assertClose(told, timesteps, { atol: 1e-9 });
      // Its sigmas are in float32.
      assertClose(sample.data, end, { rtol: 3e-6, atol: 3e-6 }, `${prediction} ${steps} ${guidance}`);
    }
  }
});

test('DC-Solver: what does not fit', () => {
  assertThrows(
    () => dcSolverTable(sd, { steps: 5 }),
    TypeError,
    /either ratios or guidance for dcSolverTable but received 'neither'/,
  );
  assertThrows(() => dcSolverTable(sd, { steps: 5, guidance: 3, ratios: [] }), TypeError, /received 'both'/);
  assertThrows(() => dcSolverTable(sd, { steps: 5, ratios: [1] }), RangeError, /5 numbers, one a step, for ratios/);
  assertThrows(() => dcSolverTable(sd, { steps: 2, guidance: 3 }), RangeError, /at least 3 for steps but received 2/);
  assertThrows(() => dcSolverTable(NoiseSchedule.linear(), { steps: 5, guidance: 3 }), RangeError, /for times/);
});

const half = (x: Tensor, t: number): Tensor => ({
  data: (x.data as Float64Array).map((v) => Math.tanh(v) * Math.cos(t)),
  dims: x.dims,
});

test('times alone, told apart from what the network is told', async () => {
  // The numbers of LD3's GITS times for Stable Diffusion 1.5, 5 steps (arXiv 2510.17699, eq. D.1).
  const times = [1, 0.7669, 0.4839, 0.2341, 0.0676, 0.001];
  const told: number[] = [];
  const watching = (x: Tensor, t: number) => {
    told.push(t);
    return half(x, t);
  };
  const x = { data: noise(new Float64Array(4)), dims: [1, 4] };
  const plain = timesTable(sd, times);
  const expected = await new DPMSolver(half, sd).sample(x, { skipType: times, order: 2 });
  const found = await new DPMSolver(watching, sd).sample(x, { table: plain, order: 2 });
  assertBitsEqual(found.sample.data, expected.sample.data);
  told.length = 0;
  const modelTimes = [990, 760, 480, 230, 60];
  const apart = timesTable(sd, times, { modelTimes, name: 'apart', source: 'a test' });
  await new DPMSolver(watching, sd).sample(x, { table: apart });
  assert.equal(told, modelTimes);
  assert.is(apart.name, 'apart');
  assertThrows(() => timesTable(sd, [2, 1]), RangeError, /for times\[0\] but received 2/);
  assertThrows(() => timesTable(sd, [0.2, 0.5]), RangeError, /strictly falling numbers for table\.sigmas/);
});

test('rows over states become rows over predictions', async () => {
  const number = fc.double({ min: -1, max: 1, noNaN: true });
  const row = (i: number) =>
    fc.record({
      a: fc.double({ min: 0.5, max: 1.5, noNaN: true }),
      c: fc.array(number, { minLength: 1, maxLength: i + 1 }),
      b: fc.array(fc.double({ min: -0.2, max: 0.2, noNaN: true }), { maxLength: i }),
    });
  const rows = fc.integer({ min: 1, max: 7 }).chain((n) => fc.tuple(...Array.from({ length: n }, (_, i) => row(i))));
  await check(
    fc.property(rows, (general) => {
      const m = (x: number, i: number) => Math.tanh(x) + 0.1 * i;
      const run = (step: (i: number, xs: number[], ms: number[]) => number) => {
        const xs = [0.7];
        const ms: number[] = [];
        general.forEach((_, i) => {
          ms.push(m(xs[i], i));
          xs.push(step(i, xs, ms));
        });
        return xs[general.length];
      };
      const direct = run((i, xs, ms) => {
        const { a, c, b } = general[i];
        const over = (list: readonly number[], of: number[], last: number) =>
          list.reduce((sum, w, k) => sum + w * of[last - k], 0);
        return a * xs[i] + over(c, ms, i) + over(b, xs, i - 1);
      });
      const over = rowsOverPredictions(general);
      // A weight of a state that happens to be next to nothing loses digits.
      if (over.some(([a]) => Math.abs(a) < 0.05)) return;
      const folded = run((i, xs, ms) =>
        over[i].slice(1).reduce((sum, w, k) => sum + w * ms[i - k], over[i][0] * xs[i]),
      );
      assertClose(folded, direct, { rtol: 1e-6, atol: 1e-6 });
    }),
  );
});

test('rows over states: what does not fit', () => {
  const refused = (rows: GeneralRow[], message: RegExp) =>
    assertThrows(() => rowsOverPredictions(rows), RangeError, message);
  refused([{ a: 1, c: [] }], /1 to 1 numbers for rows\[0\]\.c but received 0/);
  refused([{ a: 1, c: [1], b: [1] }], /at most 0 numbers for rows\[0\]\.b but received 1/);
  refused(
    [
      { a: 0, c: [1] },
      { a: 1, c: [1], b: [1] },
    ],
    /a state whose weight is not 0 for rows\[0\]\.a but received 0/,
  );
  refused([{ a: NaN, c: [1] }], /a finite number for rows\[0\]\.a/);
});

test.run();
