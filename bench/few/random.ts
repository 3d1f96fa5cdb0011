// Many calibrations of networks drawn at random, with what anybody gets who says nothing: is what was kept ever worse than
// the classic solver that the same samples choose?
import { classicCandidates } from '../../lib/calibrate/candidates.js';
import { mean } from '../../lib/calibrate/compare.js';
import { calibrate } from '../../lib/calibrate/index.js';
import { tableOf } from '../../lib/calibrate/to-table.js';
import { uniform } from '../error/mixture.js';
import { distancesOf, Exact, partOf, randomMixture, SCHEDULES, type ScheduleName } from './exact.js';

export interface Draw {
  seed: number;
  schedule: ScheduleName;
  size: number;
  guidance: number;
  steps: number;
  kept: 'table' | 'classic';
  classicName: string;
  /** Mean error on fresh samples, of what was kept and of the classic solver. */
  ours: number;
  classic: number;
}

const FRESH = 2048;
const WINDOW = 4;

/** What is drawn for a seed: a network, and what calibration gets of it. */
export function problemOf(seed: number) {
  const random = uniform(seed);
  const pick = <T>(list: readonly T[]): T => list[Math.floor(random() * list.length)];
  const schedule = pick(Object.keys(SCHEDULES) as ScheduleName[]);
  const size = 2 + Math.floor(31 * random());
  const guidance = pick([1, 2, 3, 5, 8]);
  const steps = 4 + Math.floor(5 * random());
  const mixture = randomMixture(size, 4 + Math.floor(12 * random()), 0.1 + 0.4 * random(), 1000 + seed);
  const exact = new Exact(mixture, schedule, guidance === 1 ? undefined : partOf(mixture, 0, 3), guidance);
  const own = exact.starts(160, 2000 + seed);
  const sample = (i: number) => ({ data: own.slice(i * size, (i + 1) * size), dims: [1, size] });
  return { schedule, size, guidance, steps, exact, options: { modelType: 'x_start', steps, seed, sample } as const };
}

/**
 * @param known made before, which are not made again
 * @param keep told all after each
 */
export async function measureRandom(
  count: number,
  known: readonly Draw[],
  keep: (draws: readonly Draw[]) => void,
  tell: (line: string) => void,
): Promise<void> {
  const draws = [...known];
  for (let seed = 1; seed <= count; seed++) {
    if (draws.some((one) => one.seed === seed)) continue;
    const { schedule, size, guidance, steps, exact, options } = problemOf(seed);
    const { tables, report } = await calibrate(exact.model, exact.schedule, options);
    const [{ kept, classicName }] = report;
    const { student } = classicCandidates(exact.schedule, exact.axis, steps, WINDOW).find(
      ({ name }) => name === classicName,
    )!;
    const classicTable = tableOf(student, exact.schedule, exact.axis, {
      ...{ name: classicName, source: 'here', modelType: 'x_start' },
    });
    const starts = exact.starts(FRESH, 3000 + seed);
    const truth = await exact.truth(starts);
    const errorOf = async (table: (typeof tables)[0]) =>
      mean(distancesOf(exact, await exact.run(starts, { table }), truth));
    const [ours, classic] = [await errorOf(tables[0]), await errorOf(classicTable)];
    draws.push({ seed, schedule, size, guidance, steps, kept, classicName, ours, classic });
    keep(draws);
    tell(
      `${seed}: ${schedule}, ${size}-D, guidance ${guidance}, ${steps}: ${kept}, ${(ours / classic).toFixed(3)} of ${classicName}`,
    );
  }
}

export function summaryOf(draws: readonly Draw[]) {
  const ratios = draws.map(({ ours, classic }) => ours / classic).sort((a, b) => a - b);
  const half = ratios.length / 2;
  return {
    calibrations: ratios.length,
    kept: draws.filter(({ kept }) => kept === 'table').length,
    worse: ratios.filter((ratio) => ratio > 1.02).length,
    worst: ratios[ratios.length - 1],
    median: 0.5 * (ratios[Math.ceil(half) - 1] + ratios[Math.floor(half)]),
  };
}
