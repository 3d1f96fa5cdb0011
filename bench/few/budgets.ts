// What evaluations of fitting buy: one network with an exact score, the more and more of them.
import { calibrate } from '../../lib/calibrate/index.js';
import { Exact, type Figures, figuresOf } from './exact.js';
import { familiesOf, optionsFor, problems } from './mixtures.js';

const [PROBLEM, SCHEDULE, STEPS, FRESH] = ['2-D', 'flow', 6, 4096] as const;
/** Evaluations of fitting at most, and samples fitted to. */
const BUDGETS = [
  [1000, 32],
  [5000, 32],
  [20_000, 32],
  [100_000, 64],
  [400_000, 64],
  [2_000_000, 256],
] as const;

export interface Budget {
  samples: number;
  /** Allowed, and taken. */
  budget: number;
  fit: number;
  kept: 'table' | 'classic';
  table: Figures;
}

/** The medians and root mean squares of 2M on its best grids, and of tables by what their fits might cost. */
export async function measureBudgets(tell: (line: string) => void) {
  const { mixture } = problems().find(({ name }) => name === PROBLEM)!;
  const exact = new Exact(mixture, SCHEDULE);
  const starts = exact.starts(FRESH, 77);
  const truth = await exact.truth(starts);
  const { least2M } = await familiesOf(exact, STEPS, starts, truth, ['2M']);
  const rows: Budget[] = [];
  for (const [budget, samples] of BUDGETS) {
    const options = { ...optionsFor(exact, STEPS, { samples }), budget: { evaluations: budget } };
    const { tables, report } = await calibrate(exact.model, exact.schedule, options);
    const table = figuresOf(exact, await exact.run(starts, { table: tables[0] }), truth);
    const [{ kept, evaluations }] = report;
    rows.push({ samples, budget, fit: evaluations.fit, kept, table });
    const ratio = (key: 'median' | 'rmse') => (table[key][0] / least2M[key][0]).toFixed(3);
    tell(`${budget}: ${kept}, ${evaluations.fit} taken; median ${ratio('median')} of 2M, RMSE ${ratio('rmse')}`);
  }
  return { problem: PROBLEM, schedule: SCHEDULE, steps: STEPS, fresh: FRESH, least2M, rows };
}
