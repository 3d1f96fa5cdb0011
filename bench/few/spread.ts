// The ends of few evaluations as a distribution, where the score is exact: how far their mean and covariance are from the
// mixture's own, which are known.
import { calibrate } from '../../lib/calibrate/index.js';
import type { Mixture } from '../error/mixture.js';
import { FrechetDistance, type Moments, momentsOf } from '../quality/frechet.js';
import { uniform } from '../quality/judge.js';
import { Exact, type ScheduleName } from './exact.js';
import { methodsOf } from './methods.js';
import { optionsFor, problems } from './mixtures.js';

const [PROBLEMS, UNDER] = [['2-D', '48-D, deviation 0.5'], ['VP', 'EDM', 'flow'] as ScheduleName[]] as const;
const STEPS = [4, 6, 8];
const [MANY, FRESH, DRAWS, BUDGET] = [20, 4096, 100, 60_000] as const;

/** A Frechet distance, and the standard deviation of those of samples drawn with replacement. */
export interface Spread {
  name: string;
  distance: number;
  error: number;
}

export interface SpreadCell {
  problem: string;
  schedule: ScheduleName;
  steps: number;
  table: Spread;
  kept: 'table' | 'classic';
  /** Of DDIM, 2M and 3M on all grids, and of everything else, the least. */
  classic: Spread;
  other: Spread;
  /** Of 2M on all grids with 20. */
  many: Spread;
  /** Of the exact solution's ends: what so many samples are off by anyway. */
  exact: Spread;
}

/** Of components with independent elements: E[mean mean'] + variance - E[mean] E[mean]'. */
export function momentsOfMixture({ size, components, weights, means, variances }: Mixture): Moments {
  const mean = new Float64Array(size);
  const covariance = new Float64Array(size * size);
  for (let k = 0; k < components; k++) {
    const own = means.subarray(k * size, (k + 1) * size);
    for (let i = 0; i < size; i++) {
      mean[i] += weights[k] * own[i];
      covariance[i * size + i] += weights[k] * variances[k * size + i];
      for (let j = 0; j < size; j++) covariance[i * size + j] += weights[k] * own[i] * own[j];
    }
  }
  for (let i = 0; i < size; i++) for (let j = 0; j < size; j++) covariance[i * size + j] -= mean[i] * mean[j];
  return { mean, covariance };
}

export async function measureSpread(
  known: readonly SpreadCell[],
  keep: (cells: readonly SpreadCell[]) => void,
  tell: (line: string) => void,
): Promise<void> {
  const cells = [...known];
  for (const { name: problem, mixture } of problems().filter(({ name }) => PROBLEMS.includes(name as '2-D'))) {
    const distance = new FrechetDistance(momentsOfMixture(mixture));
    for (const schedule of UNDER) {
      const missing = STEPS.filter(
        (n) => !cells.some((one) => one.problem === problem && one.schedule === schedule && one.steps === n),
      );
      if (missing.length === 0) continue;
      const exact = new Exact(mixture, schedule);
      const starts = exact.starts(FRESH, 78);
      const rowsOf = (ends: Float64Array) => Float32Array.from(ends);
      const spreadOf = (name: string, ends: Float64Array): Spread => {
        const { distance: d, error } = distance.bootstrap(rowsOf(ends), DRAWS, uniform(1));
        return { name, distance: Number(d.toPrecision(5)), error: Number(error.toPrecision(3)) };
      };
      const leastOf = async (steps: number, wanted: (family: string) => boolean): Promise<Spread> => {
        let best: { name: string; ends: Float64Array; at: number } | undefined;
        for (const { family, name, options } of methodsOf(exact.schedule, exact.axis, steps, 1)) {
          if (!wanted(family)) continue;
          const ends = await exact.run(starts, options);
          const at = distance.from(momentsOf(rowsOf(ends), mixture.size));
          if (!best || at < best.at) best = { name, ends, at };
        }
        return spreadOf(best!.name, best!.ends);
      };
      const many = await leastOf(MANY, (family) => family === '2M');
      const truth = spreadOf('exact', await exact.truth(starts));
      for (const steps of missing) {
        const options = { ...optionsFor(exact, steps), budget: { evaluations: BUDGET } };
        const { tables, report } = await calibrate(exact.model, exact.schedule, options);
        const cell: SpreadCell = {
          ...{ problem, schedule, steps, kept: report[0].kept },
          table: spreadOf('the table', await exact.run(starts, { table: tables[0] })),
          classic: await leastOf(steps, (family) => family === 'classic'),
          other: await leastOf(steps, (family) => family !== 'classic' && family !== '2M'),
          ...{ many, exact: truth },
        };
        cells.push(cell);
        keep(cells);
        const said = ({ name, distance: d, error }: Spread) => `${name} ${d} (${error})`;
        tell(
          `${problem}, ${schedule}, ${steps}: ${[cell.table, cell.classic, cell.other, many, truth].map(said).join('; ')}`,
        );
      }
    }
  }
}
