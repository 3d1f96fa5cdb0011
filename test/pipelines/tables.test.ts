// Tables that a folder brings along: found by calibration, taken where a call leaves the solver open, and said.
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { bestTables } from '../../bench/few/best.js';
import { isRight, judge, randomPrompts } from '../../bench/quality/judge.js';
import { readTable, type SolverTable } from '../../lib/index.js';
import { DiffusionPipeline, type GenerateOptions } from '../../lib/pipelines/index.js';
import { assertBitsEqual, assertClose, assertRejects } from '../support.js';
import { changed, constant, hasShapes, layout, removeCopies, shapes } from './models.js';

test.after(removeCopies);

const prompts = ['red', 'green', 'blue'];
const few = { steps: 4, samples: 4, heldOut: 8, budget: { evaluations: 300 } };

async function withPipe<T>(folder: string, work: (pipe: DiffusionPipeline) => Promise<T>): Promise<T> {
  const pipe = await DiffusionPipeline.fromPretrained(folder);
  try {
    return await work(pipe);
  } finally {
    await pipe.dispose();
  }
}

/** The tables of the network that comes with the package. */
const shipped = () => JSON.parse(readFileSync(join(shapes, 'scheduler/solver_tables.json'), 'utf8')) as SolverTable[];

/** A copy of a folder with these tables. */
function withTables(model: string, tables: unknown): string {
  return changed((folder) => {
    mkdirSync(join(folder, 'scheduler'), { recursive: true });
    writeFileSync(join(folder, 'scheduler/solver_tables.json'), JSON.stringify(tables));
  }, model);
}

test('a folder is calibrated, and runs by its tables where a call leaves the solver open', async () => {
  const model = layout('sd');
  const told: string[] = [];
  const { tables, report } = await withPipe(model, (pipe) =>
    pipe.calibrate({ ...few, prompts, guidance: 3, onProgress: ({ stage }) => told.push(stage) }),
  );
  assert.equal(tables[0].guidance, { scale: 3 });
  assert.is(report[0].steps, 4);
  assert.equal([...new Set(told)].slice(0, 2), ['teacher', 'classics']);
  await withPipe(withTables(model, tables), async (pipe) => {
    const call = { prompt: 'red', seed: 1, steps: 4, guidance: 3 };
    const made = await pipe(call);
    assert.is(made.table, tables[0].name);
    assert.is(made.nfe, 4);
    const named = await pipe({ ...call, table: tables[0] });
    assertBitsEqual(named.sample.data, made.sample.data);
    const plain = await pipe({ ...call, table: 'none' });
    assert.not('table' in plain);
    const others: Partial<GenerateOptions>[] = [
      ...[{ steps: 5 }, { guidance: 4 }, { guidance: 1 }, { order: 2 }, { skipType: 'karras' }],
      ...[
        { guidanceRescale: 0.5 },
        { guidanceInterval: [0, 1] },
        { thresholding: true },
        { scheduler: { order: 3 } },
        { algorithmType: 'dpmsolver' },
      ],
    ] as Partial<GenerateOptions>[];
    for (const other of others) {
      const run = await pipe({ ...call, ...other });
      assert.is(run.table, undefined, JSON.stringify(other));
    }
    // What has nothing to do with times and rows.
    assert.is((await pipe({ ...call, threads: 1, checkFinite: false })).table, tables[0].name);
    await assertRejects(pipe({ ...call, table: tables[0], order: 2 }), TypeError, /Expected no order beside table/);
    await assertRejects(
      pipe({ ...call, steps: 5, table: tables[0] }),
      RangeError,
      /Expected 4, as the table has it, for steps but received 5/,
    );
    await assertRejects(pipe({ ...call, table: 'all' as 'none' }), TypeError, /'auto' or 'none' for table/);
  });
});

test('a table of another schedule is not taken by itself, and refused where it is named', async () => {
  const model = layout('sd');
  const { tables } = await withPipe(model, (pipe) => pipe.calibrate({ ...few, prompts, guidance: 1 }));
  const other: SolverTable = readTable({ ...tables[0], schedule: { kind: 'discrete', hash: 'another' } });
  await withPipe(withTables(model, [other]), async (pipe) => {
    const call = { prompt: 'red', seed: 1, steps: 4, guidance: 1 };
    assert.is((await pipe(call)).table, undefined);
    await assertRejects(pipe({ ...call, table: other }), RangeError, /schedule/);
    await assertRejects(pipe({ ...call, table: other, image: [] as never }), RangeError, /image/);
  });
});

test('a file that holds no tables is refused by its name', async () => {
  for (const [content, message] of [
    [{ tables: [] }, /^Expected a list of solver tables in .*solver_tables\.json$/],
    [[{ format: 'x' }], /\[0\].*solver_tables\.json$/],
  ] as const) {
    await assertRejects(DiffusionPipeline.fromPretrained(withTables(constant, content)), Error, message);
  }
  const torn = changed((folder) => {
    mkdirSync(join(folder, 'scheduler'), { recursive: true });
    writeFileSync(join(folder, 'scheduler/solver_tables.json'), '[{');
  });
  await assertRejects(DiffusionPipeline.fromPretrained(torn), Error, /solver_tables\.json could not be read as JSON/);
});

test('what a pipeline cannot calibrate is refused', async () => {
  await withPipe(layout('sd'), async (pipe) => {
    await assertRejects(pipe.calibrate({ ...few, prompts: [] }), TypeError, /an array of prompts for prompts/);
    await assertRejects(pipe.calibrate({ ...few, prompts: [3 as never] }), TypeError, /prompts\[0\]/);
    await assertRejects(pipe.calibrate({ ...few, prompts, steps: 1 }), RangeError, /for steps but received 1/);
    await assertRejects(pipe.calibrate({ ...few, prompts, guidance: Number.NaN }), RangeError, /guidance/);
  });
  assert.not.ok(existsSync(join(layout('sd'), 'scheduler/solver_tables.json')));
});

// How much nearer they are takes more pictures to see: npm run bench:few -- fresh.
test('the calibrated tables of the package are as near to many evaluations as its own solver', async () => {
  if (!hasShapes) return;
  await withPipe(shapes, async (pipe) => {
    const prompt = ['red circle', 'yellow star', 'white cross', 'cyan ring', 'green triangle', 'blue square'].map(
      (what) => `a ${what} on a ${what.startsWith('white') ? 'black' : 'purple'} background`,
    );
    const call = { prompt, count: 2, seed: 424_242, guidance: 3 };
    const draw = async (options: Partial<GenerateOptions>) => {
      const { sample, table } = await pipe({ ...call, ...options });
      return { table, data: sample.data.map((value) => Math.max(-1, Math.min(1, value))) };
    };
    const { data: truth } = await draw({ steps: 24, order: 3, table: 'none' });
    const size = truth.length / (2 * prompt.length);
    /** The mean over pictures of the RMS distance, which is what the tables were made for. */
    const errorOf = (data: Float32Array): number => {
      let sum = 0;
      for (let at = 0; at < data.length; at += size) {
        let square = 0;
        for (let i = at; i < at + size; i++) square += (data[i] - truth[i]) ** 2;
        sum += Math.sqrt(square / size);
      }
      return (sum * size) / data.length;
    };
    const calibrated = shipped().filter(({ source }) => source?.startsWith('dpm-solver calibrate'));
    assert.ok(calibrated.length >= 2);
    for (const { name, sigmas, heldOut, guidance } of calibrated) {
      assert.is(guidance?.scale, call.guidance);
      assert.ok(heldOut && heldOut.table < heldOut.classic, name);
      const steps = sigmas.length - 1;
      const [ours, plain] = [await draw({ steps }), await draw({ steps, table: 'none' })];
      assert.is(ours.table, name);
      const [near, far] = [errorOf(ours.data), errorOf(plain.data)];
      assert.ok(near < 1.2 * far, `${name}: ${near} to ${far}`);
    }
  });
});

test('where none was calibrated, the tables of the package are what bench:quality found best', async () => {
  if (!hasShapes) return;
  const results = JSON.parse(readFileSync(new URL('../../bench/results/quality.json', import.meta.url), 'utf8'));
  const tables = shipped();
  const wanted = bestTables(results, tables);
  const facts = (list: readonly SolverTable[]) =>
    list.map(({ name, source, guidance, schedule, rows }) => [
      name,
      source,
      guidance,
      schedule,
      rows?.map((r) => r.length),
    ]);
  assert.equal(facts(tables), facts(wanted));
  const numbers = (list: readonly SolverTable[]) =>
    list.flatMap(({ sigmas, rows = [] }) => [...sigmas, ...rows.flat()]);
  assertClose(numbers(tables), numbers(wanted), { rtol: 1e-9, atol: 1e-12 });
  // Under strong guidance the first order has about four times as many right pictures as the second.
  await withPipe(shapes, async (pipe) => {
    const prompts = randomPrompts(12, 77);
    const right = async (options: Partial<GenerateOptions>) => {
      const call = { prompt: prompts.map(({ prompt }) => prompt), seed: 5, steps: 5, guidance: 8 };
      const { sample, table } = await pipe({ ...call, ...options });
      const size = sample.data.length / prompts.length;
      const found = prompts.filter((prompt, i) => isRight(judge(sample.data.slice(i * size, (i + 1) * size)), prompt));
      return { table, count: found.length };
    };
    const [ours, own] = [await right({}), await right({ table: 'none' })];
    assert.is(ours.table, 'DDIM, 5 evaluations');
    assert.ok(ours.count > own.count, `${ours.count} to ${own.count}`);
  });
});

test.run();
