// What calibrations of exact scores are worth elsewhere: at another scale, for another condition or network, in another number
// of evaluations; and how many samples they take.

import { mean } from '../../lib/calibrate/compare.js';
import { calibrate } from '../../lib/calibrate/index.js';
import { type SampleOptions, type SolverTable, timesTable } from '../../lib/index.js';
import type { Mixture } from '../error/mixture.js';
import { distancesOf, Exact, partOf, randomMixture, type ScheduleName } from './exact.js';
import { CONDITION, familiesOf, optionsFor } from './mixtures.js';

const SCHEDULE = 'VP' satisfies ScheduleName;
const [SIZE, COMPONENTS, DEVIATION] = [16, 12, 0.3];
const [FRESH, STEPS, SCALE] = [1024, 6, 3];
const HELD_OUT = 128;
/** What each calibration of a transfer may cost. */
const BUDGET = { evaluations: 100_000 };

/** One table on one network, by the mean distance from the exact ends of fresh samples. */
export interface Transfer {
  /** What the table was made for, and what it ran on. */
  made: string;
  on: string;
  error: number;
  /** Of a table made for just that; of the best of DDIM, 2M and 3M on all grids, by these very samples. */
  own: number;
  classic: number;
}

export interface SampleCount {
  samples: number;
  /** Evaluations for fitting. */
  budget: number;
  /** Calibrations, with other samples each, and how many of them gave a table. */
  calibrations: number;
  kept: number;
  /** Means over them, of errors by that of the best classic solver: on the samples fitted to, and on fresh ones. */
  fitted: number;
  fresh: number;
  /** The largest of the latter. */
  worst: number;
}

const [first, second] = [161, 162].map((seed) => randomMixture(SIZE, COMPONENTS, DEVIATION, seed));

/** A network by what sets it apart, and in how many evaluations it runs. */
interface Case {
  name: string;
  mixture?: Mixture;
  /** The first of the components that the condition leaves. */
  from?: number;
  scale?: number;
  steps?: number;
}

const HOME: Case = { name: `guidance ${SCALE}` };
const SCALES: Case[] = [1, 2, 5, 8].map((scale) => ({ name: `guidance ${scale}`, scale }));
const OTHERS: Case[] = [
  { name: 'another condition', from: CONDITION },
  { name: 'a third condition', from: 2 * CONDITION },
  { name: 'another network', mixture: second },
];
const COUNTS: Case[] = [4, 5, 8, 10].map((steps) => ({ name: `${steps} evaluations`, steps }));

function networkOf({ mixture = first, from = 0, scale = SCALE }: Case): Exact {
  return new Exact(mixture, SCHEDULE, scale === 1 ? undefined : partOf(mixture, from, CONDITION), scale);
}

/** The table's times, stretched to another number of evaluations, with the classic solver's rows. */
function stretched(table: SolverTable, { schedule, axis }: Exact, steps: number): SolverTable {
  const places = table.times!.map((t) => axis.placeOf(t));
  const times = Array.from({ length: steps + 1 }, (_, i) => {
    const at = (i * (places.length - 1)) / steps;
    const low = Math.min(Math.floor(at), places.length - 2);
    return axis.timeAt(places[low] + (at - low) * (places[low + 1] - places[low]));
  });
  return timesTable(schedule, times, { modelType: 'x_start' });
}

export async function measureTransfer(tell: (line: string) => void): Promise<Transfer[]> {
  const rows: Transfer[] = [];
  /** By case: its own table, fresh samples with their ends, and the best classic solver on them. */
  const cases = new Map<string, Awaited<ReturnType<typeof prepared>>>();
  const prepared = async (one: Case) => {
    const exact = networkOf(one);
    const steps = one.steps ?? STEPS;
    const options = { ...optionsFor(exact, steps), heldOut: HELD_OUT, budget: BUDGET };
    const { tables } = await calibrate(exact.model, exact.schedule, options);
    const starts = exact.starts(FRESH, 77);
    const truth = await exact.truth(starts);
    const errorOf = async (options: SampleOptions) => mean(distancesOf(exact, await exact.run(starts, options), truth));
    const { families } = await familiesOf(exact, steps, starts, truth, ['classic']);
    return { exact, steps, table: tables[0], errorOf, classic: families.classic! };
  };
  const get = async (one: Case) => {
    const known = cases.get(one.name) ?? (await prepared(one));
    cases.set(one.name, known);
    return known;
  };
  const measure = async (from: Case, on: Case) => {
    const { table } = await get(from);
    const { exact, steps, table: its, errorOf, classic } = await get(on);
    const digits = (value: number) => Number(value.toPrecision(4));
    const error = digits(await errorOf({ table: steps === STEPS ? table : stretched(table, exact, steps) }));
    const own = digits(await errorOf({ table: its }));
    const [least] = classic.figures.mean;
    rows.push({ made: from.name, on: on.name, error, own, classic: least });
    const share = (value: number) => (value / least).toFixed(3);
    tell(`${from.name} on ${on.name}: ${share(error)} of ${classic.name}, its own ${share(own)}`);
  };
  for (const on of [HOME, ...SCALES, ...OTHERS, ...COUNTS]) await measure(HOME, on);
  for (const from of SCALES) await measure(from, HOME);
  return rows;
}

const COUNTED = [8, 16, 32, 64, 128, 256, 512];
const SEEDS = [1, 2];
/** What anybody gets who says nothing; evaluations of a sample that are as good as unlimited. */
const [DEFAULT, PLENTY] = [5000, 2000];

export async function measureSamples(tell: (line: string) => void): Promise<SampleCount[]> {
  const rows: SampleCount[] = [];
  const exact = networkOf(HOME);
  const starts = exact.starts(FRESH, 77);
  const truth = await exact.truth(starts);
  const { families } = await familiesOf(exact, STEPS, starts, truth, ['classic']);
  const classic = families.classic!.figures.mean[0];
  for (const samples of COUNTED) {
    for (const budget of [DEFAULT, samples * PLENTY]) {
      const fresh: number[] = [];
      const fitted: number[] = [];
      let kept = 0;
      for (const seed of SEEDS) {
        const plain = optionsFor(exact, STEPS, { samples, seed });
        const options = { ...plain, heldOut: HELD_OUT, budget: { evaluations: budget } };
        const { tables, report } = await calibrate(exact.model, exact.schedule, options);
        if (report[0].kept === 'table') kept++;
        fresh.push(mean(distancesOf(exact, await exact.run(starts, { table: tables[0] }), truth)) / classic);
        fitted.push(report[0].train / report[0].classic);
      }
      const digits = (value: number) => Number(value.toPrecision(3));
      rows.push({
        ...{ samples, budget, calibrations: SEEDS.length, kept },
        ...{ fitted: digits(mean(fitted)), fresh: digits(mean(fresh)), worst: digits(Math.max(...fresh)) },
      });
      const { fitted: train, fresh: test, worst } = rows[rows.length - 1];
      tell(`${samples} samples, ${budget} evaluations: ${kept} kept, fitted ${train}, fresh ${test}, at most ${worst}`);
    }
  }
  return rows;
}
