// Calibrated tables against the classic solvers where the score is exact: the error on fresh samples at few evaluations.
import { calibrate } from '../../lib/calibrate/index.js';
import type { SampleOptions } from '../../lib/index.js';
import type { Mixture } from '../error/mixture.js';
import { PROBLEMS } from '../error/problems.js';
import { Exact, type Figures, figuresOf, randomMixture, SCHEDULES, type ScheduleName } from './exact.js';

/** Forward passes are next to free here. */
const BUDGET = 300_000;
const [SAMPLES, HELD_OUT, TEACHER] = [64, 128, 120];
const CALIBRATED = [4, 5, 6, 8, 10];
const MANY = 20;

export interface Cell {
  problem: string;
  schedule: ScheduleName;
  fresh: number;
  /** By number of evaluations. */
  steps: Record<number, { table: Figures; kept: string; classic: Figures; best2M: Best; fit: number }>;
  /** 2M at MANY. */
  many: Best;
}

/** Of DPM-Solver++(2M) over all grids, each figure at its best. */
interface Best {
  median: number;
  rmse: number;
  elsewhere: number;
}

function problems(): { name: string; mixture: Mixture; fresh: number }[] {
  const [plane, narrow, wide, pictures] = PROBLEMS.map(({ mixture }) => mixture);
  return [
    { name: '2-D, five clusters', mixture: plane, fresh: 8192 },
    { name: '2-D, eight clusters', mixture: randomMixture(2, 8, 0.15, 2), fresh: 8192 },
    { name: '8-D', mixture: randomMixture(8, 12, 0.25, 8), fresh: 8192 },
    { name: '48-D, deviation 0.15', mixture: randomMixture(48, 20, 0.15, 48), fresh: 4096 },
    { name: '48-D, deviation 0.5', mixture: randomMixture(48, 20, 0.5, 49), fresh: 4096 },
    { name: narrow ? '48-D, of bench:error' : '', mixture: narrow ?? wide, fresh: 4096 },
    ...(pictures ? [{ name: '3 x 16 x 16', mixture: pictures, fresh: 1024 }] : []),
  ].filter(({ name }) => name !== '');
}

/** Every grid that 2M could be on. */
function gridsOf(name: ScheduleName): SampleOptions['skipType'][] {
  const anywhere: SampleOptions['skipType'][] = ['time_uniform', 'time_quadratic'];
  return name === 'flow' ? anywhere : [...anywhere, 'logSNR', 'karras', 'beta', 'dmn'];
}

async function best2M(exact: Exact, name: ScheduleName, steps: number, starts: Float64Array, truth: Float64Array) {
  const best: Best = { median: Infinity, rmse: Infinity, elsewhere: Infinity };
  const axis = Array.from({ length: steps + 1 }, (_, i) => exact.axis.timeAt(i / steps));
  for (const skipType of [...gridsOf(name), axis]) {
    const figures = figuresOf(exact, await exact.run(starts, { steps, skipType, order: 2 }), truth);
    for (const key of ['median', 'rmse', 'elsewhere'] as const) best[key] = Math.min(best[key], figures[key]);
  }
  return best;
}

/**
 * @param known made before, which are not made again
 * @param keep told all after each
 */
export async function measureMixtures(
  known: readonly Cell[],
  keep: (cells: readonly Cell[]) => void,
  tell: (line: string) => void,
): Promise<void> {
  const cells = [...known];
  for (const { name: problem, mixture, fresh } of problems()) {
    for (const schedule of Object.keys(SCHEDULES) as ScheduleName[]) {
      if (cells.some((one) => one.problem === problem && one.schedule === schedule)) continue;
      const exact = new Exact(mixture, schedule);
      const { size } = mixture;
      const own = exact.starts(SAMPLES + HELD_OUT, 1);
      const wide = size > 100;
      const starts = exact.starts(fresh, 77);
      const truth = await exact.truth(starts);
      const counts = wide ? [6] : CALIBRATED;
      const cell: Cell = {
        problem,
        schedule,
        fresh,
        steps: {},
        many: await best2M(exact, schedule, MANY, starts, truth),
      };
      const { tables, report } = await calibrate(exact.model, exact.schedule, {
        ...{ modelType: 'x_start', steps: counts, samples: SAMPLES, heldOut: HELD_OUT },
        ...{ budget: { evaluations: wide ? BUDGET / 4 : BUDGET }, teacher: { steps: TEACHER } },
        sample: (i) => ({ data: own.slice(i * size, (i + 1) * size), dims: [1, size] }),
      });
      const classics = await calibrate(exact.model, exact.schedule, {
        ...{ modelType: 'x_start', steps: counts, samples: 4, heldOut: SAMPLES + HELD_OUT - 4 },
        ...{ budget: { evaluations: 1 }, teacher: { steps: TEACHER } },
        sample: (i) => ({ data: own.slice(i * size, (i + 1) * size), dims: [1, size] }),
      });
      for (const [i, n] of counts.entries()) {
        const table = figuresOf(exact, await exact.run(starts, { table: tables[i] }), truth);
        const classic = figuresOf(exact, await exact.run(starts, { table: classics.tables[i] }), truth);
        const best = await best2M(exact, schedule, n, starts, truth);
        cell.steps[n] = { table, kept: report[i].kept, classic, best2M: best, fit: report[i].evaluations.fit };
        const ratio = (a: number, b: number) => (a / b).toPrecision(2);
        tell(
          `${problem}, ${schedule}, ${n}: ${report[i].kept}; median ${table.median.toExponential(1)}, ${ratio(table.median, best.median)} of 2M at ${n}, ` +
            `${ratio(table.median, cell.many.median)} of 2M at ${MANY}; RMSE ${ratio(table.rmse, best.rmse)}; elsewhere ${(100 * table.elsewhere).toFixed(1)}% (2M ${(100 * best.elsewhere).toFixed(1)}%)`,
        );
      }
      cells.push(cell);
      keep(cells);
    }
  }
}
