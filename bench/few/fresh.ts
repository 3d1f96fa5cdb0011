// The tables that come with the embedded network, on pictures that took no part in making them or choosing between them.
//
// Prompts and seeds are others than those of the calibration. Every classic solver of its candidates runs on the same pictures,
// and the best of them is the one that these very pictures choose: what a table is held against had the better chances.
import { Axis } from '../../lib/calibrate/axis.js';
import { winShare } from '../../lib/calibrate/bootstrap.js';
import { classicCandidates } from '../../lib/calibrate/candidates.js';
import { errorsOf, mean, residual } from '../../lib/calibrate/compare.js';
import { classicStudent } from '../../lib/calibrate/student.js';
import { teacherPlaces } from '../../lib/calibrate/teacher.js';
import { tableOf } from '../../lib/calibrate/to-table.js';
import type { SolverTable } from '../../lib/index.js';
import { DiffusionPipeline, type GenerateOptions } from '../../lib/pipelines/index.js';
import { readTableFile } from '../../lib/pipelines/tables.js';
import { evaluationsOf } from '../../lib/solver/table.js';
import { isRight, judge, randomPrompts } from '../quality/judge.js';
import { interval, rootMeanSquare } from './intervals.js';
import { FOLDER, TABLES_FILE, training } from './shapes.js';

const OTHERS = { prompts: 90_210, seeds: 900_000 } as const;
const VALUES = 3 * 32 * 32;
const WINDOW = 4;
const TEACHER = 60;
const BATCH = 64;
/** Pictures that all candidates run on, and how many of them then run on the rest. */
const [LOOKED_AT, FINALISTS] = [16, 4];
const DRAWS = 2000;

/** Of one solver on all pictures: distances to where the teacher ends, and how many the judge finds right. */
export interface Outcome {
  name: string;
  /** Mean over pictures of the RMS distance, which is what calibration makes small, and 95% of its bootstraps. */
  mean: number;
  low: number;
  high: number;
  /** Of all values together, and 95% of its bootstraps. */
  rmse: number;
  rmseLow: number;
  rmseHigh: number;
  right: number;
}

export interface FreshRow {
  steps: number;
  table: Outcome;
  /** Of all classic solvers, by these pictures. */
  classic: Outcome;
  /** The folder's own, without a table. */
  own: Outcome;
  /** In how many of the paired bootstraps the table's mean is below that of the best classic solver, and of the folder's own. */
  beatsClassic: number;
  beatsOwn: number;
}

export interface FreshResults {
  guidance: number;
  pictures: number;
  rows: FreshRow[];
}

/** @param tell one line for each number of steps */
export async function measureFresh(
  {
    guidance,
    pictures,
    steps,
    tables: file = TABLES_FILE,
  }: { guidance: number; pictures: number; steps?: number[]; tables?: string },
  tell: (line: string) => void,
): Promise<FreshResults> {
  const pipe = await DiffusionPipeline.fromPretrained(FOLDER, { networkThreads: 1 });
  const prompts = randomPrompts(pictures, OTHERS.prompts);
  const { schedule, modelType } = training();
  const axis = new Axis(schedule);
  const about = { source: 'bench:few', modelType, ...(guidance === 1 ? {} : { guidance: { scale: guidance } }) };
  const draw = async (count: number, options: Partial<GenerateOptions>) => {
    const shown = prompts.slice(0, count);
    const { sample } = await pipe({
      ...{ prompt: shown.map(({ prompt }) => prompt), seeds: shown.map((_, i) => OTHERS.seeds + i) },
      ...{ guidance, batchSize: BATCH, ...options },
    });
    return sample.data;
  };
  const teacher = classicStudent(teacherPlaces(TEACHER), 3, WINDOW);
  const truth = await draw(pictures, { table: tableOf(teacher, schedule, axis, { ...about, name: 'the teacher' }) });
  const errors = (made: Float32Array) => errorsOf(residual(made, truth.subarray(0, made.length), [-1, 1]), VALUES);
  const outcome = (name: string, made: Float32Array): Outcome & { errors: number[] } => {
    const own = errors(made);
    const [low, high] = interval(own, mean);
    const [rmseLow, rmseHigh] = interval(own, rootMeanSquare);
    const right = prompts.filter((prompt, i) =>
      isRight(
        judge(made.subarray(i * VALUES, (i + 1) * VALUES).map((value) => Math.max(-1, Math.min(1, value)))),
        prompt,
      ),
    );
    return {
      name,
      mean: mean(own),
      low,
      high,
      rmse: rootMeanSquare(own),
      rmseLow,
      rmseHigh,
      right: right.length,
      errors: own,
    };
  };
  const rows: FreshRow[] = [];
  const fitting = readTableFile(file).filter(
    (table) => (table.guidance?.scale ?? 1) === guidance && (steps?.includes(evaluationsOf(table)) ?? true),
  );
  for (const table of fitting) {
    const n = evaluationsOf(table);
    const found: { name: string; table: SolverTable; first: number }[] = [];
    for (const { name, student } of classicCandidates(schedule, axis, n, WINDOW)) {
      const classic = tableOf(student, schedule, axis, { ...about, name });
      found.push({ name, table: classic, first: mean(errors(await draw(LOOKED_AT, { table: classic }))) });
    }
    found.sort((a, b) => a.first - b.first);
    const finals = [];
    for (const { name, table: one } of found.slice(0, FINALISTS)) {
      finals.push(outcome(name, await draw(pictures, { table: one })));
    }
    const [classic] = finals.sort((a, b) => a.mean - b.mean);
    const own = outcome('of the folder', await draw(pictures, { steps: n, table: 'none' }));
    const ours = outcome(table.name, await draw(pictures, { table }));
    const plain = ({ errors: _, ...rest }: ReturnType<typeof outcome>): Outcome => rest;
    rows.push({
      ...{ steps: n, table: plain(ours), classic: plain(classic), own: plain(own) },
      beatsClassic: winShare(ours.errors, classic.errors, { draws: DRAWS }),
      beatsOwn: winShare(ours.errors, own.errors, { draws: DRAWS }),
    });
    const said = ({ name, mean, low, high, rmse, right }: Outcome) =>
      `${name} ${mean.toFixed(4)} (${low.toFixed(4)} to ${high.toFixed(4)}), RMSE ${rmse.toFixed(4)}, ${right} right`;
    const { beatsClassic, beatsOwn } = rows[rows.length - 1];
    tell(`${n}: ${said(ours)}; ${said(classic)}; ${said(own)}; beats them in ${beatsClassic} and ${beatsOwn}`);
  }
  await pipe.dispose();
  return { guidance, pictures, rows };
}
