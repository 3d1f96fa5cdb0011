// Runs with a table: the classic solvers' bits where its rows are theirs, the table's own arithmetic everywhere else, and
// one sentence for what does not fit.
import fc from 'fast-check';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import {
  betas,
  classicTable,
  DPMSolver,
  type GuidanceOption,
  NoiseSchedule,
  readTable,
  type SampleOptions,
  type SolverOptions,
  type SolverTable,
  type Tensor,
} from '../../lib/index.js';
import { sigmaOf, timeOfSigma } from '../../lib/schedule/sigmas.js';
import { foldSteps } from '../../lib/solver/fold.js';
import { assertBitsEqual, assertClose, assertRejects, assertThrows, check, noise } from '../support.js';

type Floats = Float32Array | Float64Array;
type Loose = Record<string, unknown>;

const SCHEDULES: Record<string, NoiseSchedule> = {
  discrete: NoiseSchedule.discrete({ betas: betas('scaled_linear') }),
  linear: NoiseSchedule.linear(),
  cosine: NoiseSchedule.cosine(),
  flow: NoiseSchedule.flow({ shift: 3 }),
  edm: NoiseSchedule.edm(),
};
const [BATCH, SIZE] = [2, 5];
const LENGTH = BATCH * SIZE;

/** Something that depends on the state, the time and which half of a doubled batch it is. */
function model(x: Tensor, t: number): Tensor {
  const data = x.data as Floats;
  const half = data.length / 2;
  const out = data.map((value, i) => Math.tanh(0.7 * value) + 0.1 * Math.cos(3 * t) + (i < half ? 0.05 * value : 0));
  return { data: out, dims: x.dims };
}

const start = (type: 'float32' | 'float64') => {
  const data = type === 'float64' ? new Float64Array(LENGTH) : new Float32Array(LENGTH);
  return { data: noise(data, 3), dims: [BATCH, SIZE], type };
};

async function run(
  schedule: NoiseSchedule,
  options: SolverOptions,
  sample: SampleOptions,
  type: 'float32' | 'float64',
) {
  return new DPMSolver(model, schedule, options).sample(start(type), sample);
}

for (const [name, schedule] of Object.entries(SCHEDULES)) {
  test(`a table with the classic rows gives the classic bits: ${name}`, async () => {
    for (const algorithmType of ['dpmsolver++', 'dpmsolver', 'sde-dpmsolver++', 'sde-dpmsolver'] as const) {
      for (const order of [1, 2, 3] as const) {
        for (const type of ['float32', 'float64'] as const) {
          const guidance: GuidanceOption = order === 2 ? { type: 'classifier-free', scale: 4 } : { type: 'uncond' };
          const modelType = name === 'flow' ? 'flow' : 'v';
          const solver: SolverOptions = { algorithmType, modelType, guidance };
          // Noise form ends nowhere at sigma = 0, and flow begins at alpha = 0.
          const ends = name === 'flow' ? { tEnd: 0.02, tStart: 0.98 } : {};
          const sample: SampleOptions = { steps: 7, order, seed: 4, ...ends };
          const expected = await run(schedule, solver, sample, type);
          const table = classicTable(schedule, { algorithmType, modelType, steps: 7, order, ...ends });
          const parsed = JSON.parse(JSON.stringify(table)) as SolverTable;
          const found = await run(schedule, solver, { table: parsed, seed: 4 }, type);
          assertBitsEqual(found.sample.data, expected.sample.data, `${algorithmType} ${order} ${type}`);
          assert.equal(found.times, expected.times);
          assert.is(found.nfe, 7);
          // Without rows the solver makes its own.
          const { rows, noise: added, ...times } = parsed;
          const own = await run(schedule, solver, { table: times, order, seed: 4 }, type);
          assertBitsEqual(own.sample.data, expected.sample.data, `${algorithmType} ${order} ${type}, times alone`);
        }
      }
    }
  });
}

test('the form is the table’s, whatever the algorithm', async () => {
  for (const [form, algorithmType] of [
    ['noise', 'dpmsolver'],
    ['data', 'dpmsolver++'],
  ] as const) {
    const table = classicTable(SCHEDULES.linear, { algorithmType, steps: 5, order: 3 });
    const expected = await run(SCHEDULES.linear, { algorithmType }, { steps: 5, order: 3 }, 'float64');
    for (const other of ['dpmsolver', 'dpmsolver++'] as const) {
      const found = await run(SCHEDULES.linear, { algorithmType: other }, { table }, 'float64');
      assertBitsEqual(found.sample.data, expected.sample.data, `${form} with ${other}`);
    }
  }
});

/** What the definition of SolverTable says, in plain doubles; `thresholded` stands for what may happen to P. */
function byDefinition(table: SolverTable, schedule: NoiseSchedule, options: SolverOptions, z: Float64Array[] = []) {
  const { guidance = { type: 'uncond' }, modelType } = options;
  const scale = guidance.type === 'classifier-free' ? (guidance.scale as number) : 1;
  const told: number[] = [];
  let x = Float64Array.from(start('float64').data);
  let y = x;
  const m: Float64Array[] = [];
  const steps = table.sigmas.length - 1;
  for (let i = 0; i < steps; i++) {
    const t = table.times?.[i] ?? timeOfSigma(schedule, table.sigmas[i], 'sigma');
    const { alpha, sigma } = schedule.node(t);
    if (table.modelTimes?.[i] === null) {
      const [ex, ...d] = table.derive![i];
      m.push(x.map((value, k) => ex * value + d.reduce((sum, weight, j) => sum + weight * m[i - 1 - j][k], 0)));
    } else {
      const modelTime = table.modelTimes?.[i] ?? schedule.modelTime(t);
      told.push(modelTime);
      const both = new Float64Array(scale === 1 ? LENGTH : 2 * LENGTH);
      both.set(x);
      if (scale !== 1) both.set(x, LENGTH);
      const out = model({ data: both, dims: [] }, modelTime).data as Float64Array;
      const guided = x.map((_, k) => (scale === 1 ? out[k] : out[k] + scale * (out[LENGTH + k] - out[k])));
      const x0 = (k: number) =>
        modelType === 'v'
          ? (alpha * x[k] - sigma * guided[k]) / (alpha ** 2 + sigma ** 2)
          : modelType === 'flow'
            ? (x[k] - sigma * guided[k]) / (alpha + sigma)
            : modelType === 'x_start'
              ? guided[k]
              : (x[k] - sigma * guided[k]) / alpha;
      m.push(
        x.map((value, k) =>
          table.form === 'output' ? guided[k] : table.form === 'data' ? x0(k) : (value - alpha * x0(k)) / sigma,
        ),
      );
    }
    const apply = (row: readonly number[], base: Float64Array) =>
      base.map((value, k) => row.slice(1).reduce((sum, weight, j) => sum + weight * m[i - j][k], row[0] * value));
    const correction = table.correct?.[i];
    y = correction ? apply(correction, y) : x;
    x = apply(table.rows![i], y).map((value, k) => value + (table.noise?.[i] ?? 0) * (z[i]?.[k] ?? 0));
  }
  return { x, told };
}

const number = fc.double({ min: -1, max: 1, noNaN: true });
/** Rows of every length, with a weight of the state that is away from 0. */
const rowsOf = (n: number) =>
  fc.tuple(
    ...Array.from({ length: n }, (_, i) =>
      fc
        .tuple(fc.double({ min: 0.3, max: 1.2, noNaN: true }), fc.array(number, { minLength: 1, maxLength: i + 1 }))
        .map(([a, rest]) => [a, ...rest]),
    ),
  );

const anyTable = (extra: 'correct' | 'derive' | 'none') =>
  fc
    .record({
      n: fc.integer({ min: 1, max: 9 }),
      kind: fc.constantFrom('discrete', 'linear', 'cosine', 'edm', 'flow'),
      form: fc.constantFrom('data' as const, 'noise' as const, 'output' as const),
      modelType: fc.constantFrom('noise' as const, 'x_start' as const, 'v' as const, 'flow' as const),
      guided: fc.boolean(),
    })
    .chain(({ n, ...rest }) =>
      fc.record({
        ...Object.fromEntries(Object.entries(rest).map(([key, value]) => [key, fc.constant(value)])),
        rows: rowsOf(n),
        correct: rowsOf(n),
        derive: fc.array(fc.array(number, { minLength: 1, maxLength: 4 }), { minLength: n, maxLength: n }),
        which: fc.array(fc.boolean(), { minLength: n, maxLength: n }),
        shift: fc.array(number, { minLength: n, maxLength: n }),
      }),
    )
    .map((given) => {
      const { kind, form, modelType, guided, rows, correct, derive, which, shift } = given as unknown as {
        kind: string;
        form: 'data';
        modelType: 'v';
        guided: boolean;
        rows: number[][];
        correct: number[][];
        derive: number[][];
        which: boolean[];
        shift: number[];
      };
      const schedule = SCHEDULES[kind];
      const n = rows.length;
      const sigmas = Array.from({ length: n + 1 }, (_, i) =>
        sigmaOf(schedule, schedule.T * 0.97 + (schedule.T * 0.05 - schedule.T * 0.97) * (i / n)),
      );
      if (extra === 'derive') which[n - 1] = false;
      const table: SolverTable = {
        format: 'dpm-solver-table/1',
        name: 'any',
        modelType,
        schedule: { kind: schedule.kind },
        form,
        sigmas,
        rows,
        ...(extra === 'correct' ? { correct: correct.map((row, i) => (i > 0 && which[i] ? row : null)) } : {}),
        ...(extra === 'derive'
          ? {
              modelTimes: shift.map((value, i) => (which[i] ? null : 0.5 + 0.3 * value)),
              derive: derive.map((one, i) => (which[i] ? one.slice(0, i + 1) : [])),
            }
          : { modelTimes: shift.map((value) => 0.5 + 0.3 * value) }),
      };
      const guidance: GuidanceOption = guided ? { type: 'classifier-free', scale: 3 } : { type: 'uncond' };
      return { table, schedule, options: { modelType, guidance } satisfies SolverOptions };
    });

for (const extra of ['none', 'correct', 'derive'] as const) {
  test(`any table runs as it is defined: ${extra}`, async () => {
    await check(
      fc.asyncProperty(anyTable(extra), async ({ table, schedule, options }) => {
        const expected = byDefinition(table, schedule, options);
        const told: number[] = [];
        const watching = (x: Tensor, t: number) => {
          told.push(t);
          return model(x, t);
        };
        const { sample, nfe } = await new DPMSolver(watching, schedule, options).sample(start('float64'), { table });
        assert.equal(told, expected.told);
        assert.is(nfe, expected.told.length);
        const largest = expected.x.reduce((most, value) => Math.max(most, Math.abs(value)), 1);
        assertClose(sample.data, expected.x, { atol: 1e-9 * largest });
      }),
      { numRuns: 200 },
    );
  });
}

test('a row of any length is summed in its order, rounded after every operation', async () => {
  const n = 12;
  const rows = Array.from({ length: n }, (_, i) => Array.from({ length: i + 2 }, (_, k) => Math.sin(7 * i + k + 1)));
  const schedule = SCHEDULES.edm;
  const sigmas = Array.from({ length: n + 1 }, (_, i) => n + 1 - i);
  const table: SolverTable = {
    ...{ format: 'dpm-solver-table/1', name: 'long', modelType: 'x_start', schedule: { kind: 'edm' }, form: 'data' },
    ...{ sigmas, rows },
  };
  const { sample } = await run(schedule, { modelType: 'x_start' }, { table }, 'float32');
  let x = start('float32').data as Float32Array;
  const m: Float32Array[] = [];
  rows.forEach((row, i) => {
    m.unshift(model({ data: x, dims: [] }, sigmas[i]).data as Float32Array);
    const weights = Float32Array.from(row);
    x = x.map((value, k) => {
      let sum = Math.fround(weights[0] * value);
      for (let j = 1; j < weights.length; j++) sum = Math.fround(sum + Math.fround(weights[j] * m[j - 1][k]));
      return sum;
    });
  });
  assertBitsEqual(sample.data as Float32Array, x);
});

test('noise is drawn and weighed at each step that has some', async () => {
  const table = classicTable(SCHEDULES.linear, { algorithmType: 'sde-dpmsolver++', steps: 6, order: 2 });
  const half = { ...table, noise: table.noise!.map((n, i) => (i % 2 ? n : 0)) };
  const options: SolverOptions = { algorithmType: 'sde-dpmsolver++' };
  const all = await run(SCHEDULES.linear, options, { table, seed: 9 }, 'float64');
  const some = await run(SCHEDULES.linear, options, { table: half, seed: 9 }, 'float64');
  const classic = await run(SCHEDULES.linear, options, { steps: 6, order: 2, seed: 9 }, 'float64');
  assertBitsEqual(all.sample.data, classic.sample.data);
  assert.not.equal(some.sample.data, all.sample.data);
});

test('thresholding and correctX0 act on a table’s predictions of x0', async () => {
  const schedule = SCHEDULES.discrete;
  const table = classicTable(schedule, { steps: 6, order: 2 });
  for (const more of [
    { thresholding: { ratio: 0.8, maxValue: 0.5 } },
    { correctX0: (x0: Tensor) => ({ data: (x0.data as Floats).map((v) => 0.5 * v), dims: x0.dims }) },
  ]) {
    const expected = await run(schedule, more, { steps: 6, order: 2 }, 'float32');
    const found = await run(schedule, more, { table }, 'float32');
    assertBitsEqual(found.sample.data, expected.sample.data);
  }
});

test('a first entry without an evaluation: AFS', async () => {
  // x_1 = a x_0 + c ex x_0, and m_0 counts on as ex / (a + c ex) of x_1.
  const schedule = SCHEDULES.edm;
  const ex = 1 / Math.hypot(1, 80);
  const table: SolverTable = {
    ...{ format: 'dpm-solver-table/1', name: 'afs', modelType: 'x_start', schedule: { kind: 'edm' }, form: 'noise' },
    sigmas: [80, 20, 5, 1, 0.002],
    modelTimes: [null, 20, 5, 1],
    derive: [[ex], [], [], []],
  };
  const solver = new DPMSolver(model, schedule, { modelType: 'x_start' });
  const { sample, nfe, times } = await solver.sample(start('float64'), { table, order: 2 });
  assert.is(nfe, 3);
  assert.equal(times, [80, 5, 1, 0.002]);
  const rows = classicTable(schedule, {
    ...{ algorithmType: 'dpmsolver', modelType: 'x_start', order: 2 },
    skipType: [...table.sigmas],
  }).rows!;
  const { x } = byDefinition({ ...table, rows }, schedule, { modelType: 'x_start' });
  assertClose(sample.data, x, { rtol: 1e-12 });
  // The same with start(): the first state is there at once.
  const by = solver.start(start('float64'), { table, order: 2 });
  assertClose((by.x.data as Floats)[0], (rows[0][0] + rows[0][1] * ex) * start('float64').data[0], { rtol: 1e-14 });
});

test('folding leaves rows as they are where nothing is derived', () => {
  const rows = [
    [0.1, 0.2],
    [0.3, -0, 0.7],
    [0.4, 1 / 3, 0, 1e-300],
  ];
  assert.equal(
    foldSteps(rows.map((row) => ({ row }))).steps.map(({ row }) => row),
    rows,
  );
});

test('onStep, intermediates and start() with a table', async () => {
  const table = classicTable(SCHEDULES.linear, { steps: 4 });
  const steps: number[] = [];
  const { intermediates, times } = await run(
    SCHEDULES.linear,
    {},
    { table, intermediates: true, onStep: ({ step, steps: of }) => steps.push(step, of) },
    'float32',
  );
  assert.is(intermediates!.length, 5);
  assert.is(times.length, 5);
  assert.equal(steps, [1, 4, 2, 4, 3, 4, 4, 4]);
});

// ---- what does not fit -------------------------------------------------------------------------------------------------

const plain = (): Loose => ({
  format: 'dpm-solver-table/1',
  name: 'plain',
  modelType: 'noise',
  schedule: { kind: 'linear' },
  form: 'data',
  sigmas: [10, 1, 0.1],
  rows: [
    [0.5, 0.5],
    [0.2, 0.5, 0.3],
  ],
});

const REFUSED: [string, Loose, typeof TypeError | typeof RangeError, RegExp][] = [
  ['no format', { format: undefined }, TypeError, /'dpm-solver-table\/1' for table\.format but received undefined/],
  ['another format', { format: 'x/2' }, TypeError, /for table\.format but received 'x\/2'/],
  ['a misspelt key', { sigma: [] }, TypeError, /for table but received the option 'sigma'/],
  ['no name', { name: 7 }, TypeError, /a string for table\.name but received 7/],
  ['another network type', { modelType: 'eps' }, TypeError, /'noise'.* for table\.modelType but received 'eps'/],
  ['no schedule', { schedule: 'linear' }, TypeError, /an object of options for table\.schedule/],
  ['another kind', { schedule: { kind: 'vp' } }, TypeError, /for table\.schedule\.kind but received 'vp'/],
  ['another form', { form: 'x0' }, TypeError, /'data', 'noise' or 'output' for table\.form but received 'x0'/],
  ['one sigma', { sigmas: [1] }, RangeError, /at least two numbers for table\.sigmas but received 1/],
  [
    'rising sigmas',
    { sigmas: [1, 2, 0] },
    RangeError,
    /strictly falling.*table\.sigmas but received 2 after 1 at index 1/,
  ],
  ['a negative sigma', { sigmas: [1, 0.5, -1] }, RangeError, /at least 0 for table\.sigmas but received -1 at index 2/],
  ['sigmas that are no numbers', { sigmas: [1, '0', 0] }, TypeError, /numbers for table\.sigmas\[1\] but received '0'/],
  ['NaN', { sigmas: [NaN, 1, 0] }, RangeError, /a finite number for table\.sigmas\[0\] but received NaN/],
  ['too few rows', { rows: [[1, 1]] }, RangeError, /2 entries, one a step, for table\.rows but received 1/],
  ['rows that are none', { rows: [[1, 1], 7] }, TypeError, /an array of numbers for table\.rows\[1\] but received 7/],
  [
    'a long row',
    {
      rows: [
        [1, 1, 1],
        [1, 1],
      ],
    },
    RangeError,
    /2 numbers, as there are 1 predictions, for table\.rows\[0\] but received 3/,
  ],
  [
    'a short row',
    { rows: [[1, 1], [1]] },
    RangeError,
    /2 to 3 numbers, as there are 2 predictions, for table\.rows\[1\] but received 1/,
  ],
  [
    'Infinity',
    {
      rows: [
        [1, 1],
        [1, Infinity],
      ],
    },
    RangeError,
    /a finite number for table\.rows\[1\]\[1\]/,
  ],
  ['too many times', { modelTimes: [1, 2, 3] }, RangeError, /2 entries, one a step, for table\.modelTimes/],
  ['no evaluation at all', { modelTimes: [null, null] }, RangeError, /at least one evaluation for table\.modelTimes/],
  ['nothing to derive from', { modelTimes: [null, 1] }, TypeError, /an array for table\.derive but received undefined/],
  [
    'an empty derivation',
    { modelTimes: [null, 1], derive: [[], []] },
    RangeError,
    /1 to 1 numbers.*table\.derive\[0\]/,
  ],
  [
    'a derivation beside an evaluation',
    { modelTimes: [1, 1], derive: [[1], []] },
    RangeError,
    /no numbers, as there is an evaluation/,
  ],
  [
    'a derivation of what is not there',
    { modelTimes: [1, null], derive: [[], [1, 1, 1]] },
    RangeError,
    /1 to 2 numbers.*table\.derive\[1\]/,
  ],
  [
    'a corrector at the start',
    { correct: [[1, 1], null] },
    RangeError,
    /null, as nothing comes before.*table\.correct\[0\]/,
  ],
  [
    'a corrector without rows',
    { correct: [null, [1, 1]], rows: undefined },
    RangeError,
    /no correct beside the solver's own rows/,
  ],
  ['noise without rows', { noise: [1, 1], rows: undefined }, RangeError, /no noise beside the solver's own rows/],
  ['noise below 0', { noise: [1, -1] }, RangeError, /at least 0 for table\.noise but received -1 at index 1/],
  [
    'output without rows',
    { form: 'output', rows: undefined },
    RangeError,
    /'data' or 'noise' without rows for table\.form/,
  ],
  [
    'a corrector and derived entries',
    { correct: [null, null], modelTimes: [1, null], derive: [[], [1]] },
    RangeError,
    /no correct beside steps without an evaluation/,
  ],
  [
    'an interval upside down',
    { guidance: { scale: 3, interval: [2, 1] } },
    RangeError,
    /the lower one first, for table\.guidance\.interval/,
  ],
  ['another variant', { guidance: { scale: 3, variant: 'x' } }, TypeError, /'cfg'.*for table\.guidance\.variant/],
  [
    'flow sigmas above 1',
    { schedule: { kind: 'flow' }, sigmas: [2, 1, 0] },
    RangeError,
    /at most 1 with a flow schedule/,
  ],
];

for (const [what, change, kind, message] of REFUSED) {
  test(`refused: ${what}`, () => {
    const table: Loose = { ...plain(), ...change };
    for (const key of Object.keys(table)) if (table[key] === undefined) delete table[key];
    assertThrows(() => readTable(table), kind, message);
  });
}

test('what is no table at all', () => {
  for (const value of [undefined, null, 7, 'table', []]) assertThrows(() => readTable(value), TypeError, /for table/);
});

test('refused where it does not fit', async () => {
  const { linear, discrete, cosine, edm } = SCHEDULES;
  const table = classicTable(linear, { steps: 4 });
  const refused = (schedule: NoiseSchedule, solver: SolverOptions, sample: SampleOptions, message: RegExp) =>
    assertRejects(() => run(schedule, solver, { table, ...sample }, 'float32'), RangeError, message);
  await refused(cosine, {}, {}, /a schedule of kind 'linear' with table .* for schedule but received 'cosine'/);
  await refused(NoiseSchedule.linear({ beta1: 25 }), {}, {}, /the schedule that table .* was made for, with lambda/);
  await refused(linear, { modelType: 'v' }, {}, /'noise' with table .* for modelType but received 'v'/);
  await refused(linear, {}, { steps: 5 }, /4 with table .* for steps but received 5/);
  await refused(linear, {}, { order: 2 }, /no order, as it has rows of its own, .* received 2/);
  await refused(linear, {}, { lowerOrderFinal: false }, /no lowerOrderFinal/);
  await refused(linear, {}, { skipType: 'logSNR' }, /its own times, or none, .* for skipType but received 'logSNR'/);
  await refused(linear, {}, { skipType: [1, 0.5, 0.2, 0.1, 0.002] }, /for skipType but received 'others'/);
  await refused(linear, {}, { tStart: 0.9 }, /1 with table .* for tStart but received 0.9/);
  await refused(linear, {}, { tEnd: 0.01 }, /0.001 with table .* for tEnd but received 0.01/);
  await refused(linear, {}, { method: 'singlestep' }, /'multistep' with table .* for method/);
  await refused(linear, {}, { method: 'adaptive' }, /'multistep' with table .* for method/);

  await refused(linear, { algorithmType: 'sde-dpmsolver++' }, {}, /which adds no noise, for algorithmType/);
  const noisy = classicTable(linear, { algorithmType: 'sde-dpmsolver++', steps: 4 });
  await refused(linear, {}, { table: noisy }, /which adds noise, for algorithmType but received 'dpmsolver\+\+'/);
  const epsilon = classicTable(linear, { algorithmType: 'dpmsolver', steps: 4 });
  await refused(
    linear,
    { thresholding: true },
    { table: epsilon },
    /false with table .* form is 'noise' for thresholding/,
  );
  await assertRejects(
    () => new DPMSolver(model, linear).invert(start('float32'), { table }),
    RangeError,
    /no table for an inversion/,
  );
  // What agrees is no contradiction.
  const agreeing = { steps: 4, tStart: 1, tEnd: 1e-3, skipType: table.times as number[] };
  assert.is((await run(linear, {}, { table, ...agreeing }, 'float32')).nfe, 4);
  const other: Loose = { ...plain(), schedule: { kind: 'edm' }, sigmas: [10, 1, 0] };
  assert.is((await run(edm, {}, { table: other as never }, 'float32')).nfe, 2);
  const far: Loose = { ...plain(), schedule: { kind: 'discrete' }, sigmas: [30, 1, 0] };
  await refused(discrete, {}, { table: far as never }, /a sigma between 0.029167 and 14.615, or 0, for sigmas\[0\]/);
});

test('a sigma of 0 at the end, where the schedule has no time for it', async () => {
  const schedule = SCHEDULES.discrete;
  const to = classicTable(schedule, { steps: 5, order: 2 });
  const sigmas = [...to.sigmas.slice(0, 5), 0];
  const { rows, times, ...rest } = to;
  const found = await run(schedule, {}, { table: { ...rest, sigmas }, order: 2 }, 'float64');
  assert.is(found.times[5], 0);
  // Into sigma = 0 goes the last prediction of x0 itself.
  let last: Float64Array | undefined;
  const solver = new DPMSolver(model, schedule, {
    correctX0: (x0) => {
      last = (x0.data as Float64Array).slice();
      return x0;
    },
  });
  const { sample } = await solver.sample(start('float64'), { table: { ...rest, sigmas }, order: 2 });
  assertClose(sample.data, last!, { rtol: 1e-12 });
});

test('what was read is a copy', () => {
  const given = plain();
  const table = readTable(given);
  (given.sigmas as number[])[0] = 5;
  ((given.rows as number[][])[0] as number[])[0] = 9;
  assert.is(table.sigmas[0], 10);
  assert.is(table.rows![0][0], 0.5);
});

test.run();
