// Calibrated tables under variants of guidance, where both predictions are exact: the table is the one of plain guidance.
import { calibrate } from '../../lib/calibrate/index.js';
import { type ClassifierFreeGuidance, DPMSolver, type SampleOptions } from '../../lib/index.js';
import { distancesOf, Exact, partOf } from './exact.js';
import { type Measured, meanOf, shareOf, short } from './intervals.js';
import { CONDITION, optionsFor, problems } from './mixtures.js';

const [PROBLEM, SCHEDULE, SCALE, FRESH, MANY] = ['2-D', 'VP', 8, 1024, 120] as const;
const STEPS = [5, 8];
const VARIANTS: Record<string, Partial<ClassifierFreeGuidance>> = {
  plain: {},
  'interval 0.28 to 5.42': { interval: [0.28, 5.42] },
  'CFG-Zero*': { variant: 'cfg-zero' },
  // The same scale: APG adds it to the conditional prediction.
  APG: { variant: 'apg', scale: SCALE - 1 },
  'rescale 0.7': { rescale: 0.7 },
};
const CLASSIC = ['time_uniform', 'time_quadratic', 'logSNR', 'karras'] as const;

/** Of one solver under one variant. */
interface Outcome {
  name: string;
  /** Distance from where 120 steps of the third order end under the same variant. */
  mean: Measured;
  /** Share that ends in a component of the condition. */
  right: Measured;
}

export interface Variant {
  variant: string;
  steps: number;
  /** Evaluations, those with the condition alone counted half. */
  nfe: number;
  table: Outcome;
  /** The best of DDIM and 2M on four grids, by these very samples. */
  classic: Outcome;
  /** After 120 steps. */
  right: Measured;
}

export async function measureVariants(tell: (line: string) => void): Promise<Variant[]> {
  const { mixture } = problems().find(({ name }) => name === PROBLEM)!;
  const exact = new Exact(mixture, SCHEDULE, partOf(mixture, 0, CONDITION), SCALE);
  const { tables } = await calibrate(exact.model, exact.schedule, optionsFor(exact, STEPS));
  const starts = exact.starts(FRESH, 77);
  const x = { data: starts, dims: [FRESH, mixture.size] };
  const rightOf = (ends: Float64Array) =>
    short(shareOf(exact.modes(ends).filter((component) => component < CONDITION).length, FRESH));
  const rows: Variant[] = [];
  for (const [variant, options] of Object.entries(VARIANTS)) {
    const guidance = { type: 'classifier-free' as const, scale: SCALE, ...options };
    const solver = new DPMSolver(exact.pair(FRESH), exact.schedule, { modelType: 'x_start', guidance });
    const run = async (given: SampleOptions) => {
      const { sample, nfe } = await solver.sample(x, given);
      return { ends: sample.data as Float64Array, nfe };
    };
    const axis = Array.from({ length: MANY + 1 }, (_, i) => exact.axis.timeAt(i / MANY));
    const { ends: truth } = await run({ steps: MANY, order: 3, skipType: axis });
    for (const [i, steps] of STEPS.entries()) {
      const outcome = (name: string, ends: Float64Array): Outcome => {
        return { name, mean: short(meanOf(distancesOf(exact, ends, truth))), right: rightOf(ends) };
      };
      const { ends, nfe } = await run({ table: tables[i] });
      const classics: Outcome[] = [];
      for (const skipType of CLASSIC) {
        for (const order of [1, 2] as const) {
          const name = `${order === 1 ? 'DDIM' : '2M'}, ${skipType}`;
          classics.push(outcome(name, (await run({ steps, skipType, order })).ends));
        }
      }
      const classic = classics.reduce((a, b) => (b.mean[0] < a.mean[0] ? b : a));
      const table = outcome('calibrated', ends);
      rows.push({ variant, steps, nfe, table, classic, right: rightOf(truth) });
      tell(
        `${variant}, ${steps}: ${nfe} evaluations, ${table.mean[0]} (${classic.name} ${classic.mean[0]}), right ${table.right[0]} (${classic.right[0]}, with ${MANY} ${rightOf(truth)[0]})`,
      );
    }
  }
  return rows;
}
