// Calibrated tables against everything else that this library has where the score is exact: the error on fresh samples at few
// evaluations, with and without guidance.
import { calibrate } from '../../lib/calibrate/index.js';
import type { Mixture } from '../error/mixture.js';
import { PROBLEMS } from '../error/problems.js';
import { Exact, type Figures, figuresOf, partOf, randomMixture, SCHEDULES, type ScheduleName } from './exact.js';
import type { Measured } from './intervals.js';
import { FAMILIES, type Family, methodsOf } from './methods.js';
import { quick } from './shared-mixture.js';

/** What a calibration gets here, where forward passes are next to free, and that of a wide problem, where they are not. */
const CALIBRATION = { samples: 64, heldOut: 512, budget: 400_000, teacher: 120 };
const WIDE = { ...CALIBRATION, heldOut: 128, budget: 60_000 };
const CALIBRATED = [4, 5, 6, 8, 10];
/** What the target is about, and what else it is held to. */
const [TARGET, MANY] = [6, 20];
/** Fresh samples: of the target where there is no guidance, and of all else, which are the first of them. */
const [FRESH, FEWER] = [4096, 1024];
/** Those that all methods run on, and how many of a family then run on all. */
const [LOOKED_AT, FINALISTS] = [64, 1];
const WIDE_SIZE = 100;
/** Components that the condition leaves. */
export const CONDITION = 3;

/** Of a family, the best by these very samples: what a table is held against had the better chances. */
export interface Best {
  /** By its mean. */
  name: string;
  figures: Figures;
}

/** The least of each figure in a family, whichever member has it. */
export interface Least {
  median: Measured;
  rmse: Measured;
  elsewhere: Measured;
}

export interface Outcome {
  table: Figures;
  kept: 'table' | 'classic';
  /** The classic solver that the samples held out choose, which a table has to beat. */
  chosen: string;
  /** In evaluations of one sample. */
  evaluations: { fit: number; classics: number; choice: number };
  families: Partial<Record<Family, Best>>;
  /** Of 2M on all its grids. */
  least2M: Least;
}

export interface Cell {
  problem: string;
  schedule: ScheduleName;
  guidance: number;
  /** Fresh samples at 6 and 20 evaluations; 1,024 at all others. */
  fresh: number;
  /** By number of evaluations. */
  steps: Record<number, Outcome>;
  /** Of 2M on all its grids at MANY. */
  many: Least;
  teacher: number;
}

interface Problem {
  name: string;
  mixture: Mixture;
  /** Measured under guidance, too. */
  guided?: boolean;
}

export function problems(): Problem[] {
  const [plane, narrow, , pictures] = PROBLEMS.map(({ mixture }) => quick(mixture));
  return [
    { name: PLANE, mixture: plane, guided: true },
    { name: WIDER, mixture: randomMixture(48, 20, 0.5, 49), guided: true },
    { name: PICTURES, mixture: pictures, guided: true },
    { name: '48-D, deviation 0.15', mixture: randomMixture(48, 20, 0.15, 48) },
    { name: '8-D', mixture: randomMixture(8, 12, 0.25, 8) },
    { name: '48-D, narrow', mixture: narrow },
    { name: '2-D, eight components', mixture: randomMixture(2, 8, 0.15, 2) },
  ];
}

const ALL = Object.keys(SCHEDULES) as ScheduleName[];
const [PLANE, WIDER, PICTURES] = ['2-D', '48-D, deviation 0.5', '3x16x16'];
/** The first cells, those that say most in a short time; all others follow. */
const FIRST: readonly (readonly [problem: string, guidance: number, schedules: readonly ScheduleName[]])[] = [
  [PLANE, 1, ALL],
  [WIDER, 1, ['VP', 'flow']],
  [PICTURES, 1, ['VP']],
  [PLANE, 8, ['VP', 'flow']],
  [WIDER, 1, ['EDM']],
  [PICTURES, 1, ['flow']],
  [WIDER, 8, ['VP']],
  [WIDER, 1, ['cosine']],
  [PLANE, 3, ['VP', 'flow']],
  [WIDER, 8, ['flow']],
];

/** All cells, some of them twice. */
function cellsOf(): (Problem & { schedule: ScheduleName; guidance: number })[] {
  const all = problems();
  const of = (list: readonly Problem[], guidance: number, under: readonly ScheduleName[]) =>
    list.flatMap((one) => under.map((schedule) => ({ ...one, schedule, guidance })));
  const guided = all.filter((one) => one.guided);
  return [
    ...FIRST.flatMap(([problem, guidance, under]) =>
      of(
        all.filter(({ name }) => name === problem),
        guidance,
        under,
      ),
    ),
    ...of(guided, 1, ALL),
    ...[8, 3].flatMap((guidance) => of(guided, guidance, ALL)),
    ...of(all, 1, ALL),
  ];
}

/** The best of each family. */
export async function familiesOf(
  exact: Exact,
  steps: number,
  starts: Float64Array,
  truth: Float64Array,
  only: readonly Family[] = FAMILIES,
): Promise<{ families: Partial<Record<Family, Best>>; least2M: Least }> {
  const { size } = exact.mixture;
  const methods = methodsOf(exact.schedule, exact.axis, steps, exact.guidance).filter(({ family }) =>
    only.includes(family),
  );
  const looked = Math.min(LOOKED_AT, starts.length / size) * size;
  const first = starts.subarray(0, looked);
  const tried = [];
  for (const method of methods) {
    const figures = figuresOf(exact, await exact.run(first, method.options), truth.subarray(0, looked));
    tried.push({ method, figures });
  }
  // Members of two families run once.
  const known = new Map<string, Figures>();
  const families: Partial<Record<Family, Best>> = {};
  let least2M: Least | undefined;
  for (const family of only) {
    const members = tried.filter(({ method }) => method.family === family);
    if (members.length === 0) continue;
    // Of 2M each figure counts, and where a run is cheap all others may have theirs, too.
    const keys = family === '2M' || size < WIDE_SIZE ? (['mean', 'median', 'rmse'] as const) : (['mean'] as const);
    const finalists = new Set(
      keys.flatMap((key) => [...members].sort((a, b) => a.figures[key][0] - b.figures[key][0]).slice(0, FINALISTS)),
    );
    const final: { name: string; figures: Figures }[] = [];
    for (const { method } of finalists) {
      let figures = known.get(method.name);
      if (!figures) {
        figures = figuresOf(exact, await exact.run(starts, method.options), truth);
        known.set(method.name, figures);
      }
      final.push({ name: method.name, figures });
    }
    const least = (key: keyof Figures) => final.reduce((a, b) => (b.figures[key][0] < a.figures[key][0] ? b : a));
    const of = (key: keyof Figures) => least(key).figures[key];
    families[family] = least('mean');
    if (family === '2M') least2M = { median: of('median'), rmse: of('rmse'), elsewhere: of('elsewhere') };
  }
  return { families, least2M: least2M! };
}

/** What is calibrated, with the bench's own samples. */
export function optionsFor(
  exact: Exact,
  steps: number | readonly number[],
  { seed = 1, samples = CALIBRATION.samples }: { seed?: number; samples?: number } = {},
) {
  const { size } = exact.mixture;
  const { heldOut, budget, teacher } = size < WIDE_SIZE ? CALIBRATION : WIDE;
  const own = exact.starts(samples + heldOut, seed);
  return {
    ...({ modelType: 'x_start', steps, samples, heldOut, teacher: { steps: teacher } } as const),
    budget: { evaluations: budget },
    sample: (i: number) => ({ data: own.slice(i * size, (i + 1) * size), dims: [1, size] }),
  };
}

/**
 * @param guided those under guidance, or those without?
 * @param known made before, which are not made again
 * @param keep told all after each
 */
export async function measureMixtures(
  guided: boolean,
  known: readonly Cell[],
  keep: (cells: readonly Cell[]) => void,
  tell: (line: string) => void,
): Promise<void> {
  const cells = [...known];
  for (const { name: problem, mixture, schedule, guidance } of cellsOf()) {
    if ((guidance !== 1) !== guided) continue;
    const done = (one: Cell) => one.problem === problem && one.schedule === schedule && one.guidance === guidance;
    if (cells.some(done)) continue;
    const exact = new Exact(mixture, schedule, guidance === 1 ? undefined : partOf(mixture, 0, CONDITION), guidance);
    const fresh = guidance === 1 && mixture.size < WIDE_SIZE ? FRESH : FEWER;
    const starts = exact.starts(fresh, 77);
    const truth = await exact.truth(starts);
    const { least2M: many } = await familiesOf(exact, MANY, starts, truth, ['2M']);
    const { tables, report, teacherEvaluations } = await calibrate(
      exact.model,
      exact.schedule,
      optionsFor(exact, CALIBRATED),
    );
    const steps: Cell['steps'] = {};
    for (const [i, n] of CALIBRATED.entries()) {
      const length = mixture.size * (n === TARGET ? fresh : FEWER);
      const [some, ends] = [starts.subarray(0, length), truth.subarray(0, length)];
      const table = figuresOf(exact, await exact.run(some, { table: tables[i] }), ends);
      const { families, least2M: best } = await familiesOf(exact, n, some, ends);
      const { kept, classicName: chosen, evaluations } = report[i];
      steps[n] = { table, kept, chosen, evaluations, families, least2M: best };
      const ratio = (a: Measured, b: Measured) => (a[0] / b[0]).toPrecision(2);
      const others = Object.values(families).reduce((a, b) => (b.figures.mean[0] < a.figures.mean[0] ? b : a));
      tell(
        `${problem}, ${schedule}, guidance ${guidance}, ${n}: ${kept}; median ${table.median[0].toExponential(1)}, ` +
          `${ratio(table.median, best.median)} of 2M, ${ratio(table.median, many.median)} of 2M at ${MANY}; RMSE ${ratio(table.rmse, best.rmse)}; ` +
          `mean ${ratio(table.mean, others.figures.mean)} of ${others.name}; elsewhere ${(100 * table.elsewhere[0]).toFixed(1)}% (${(100 * best.elsewhere[0]).toFixed(1)}%)`,
      );
    }
    cells.push({ problem, schedule, guidance, fresh, steps, many, teacher: teacherEvaluations });
    keep(cells);
  }
}
