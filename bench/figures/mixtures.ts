// Few evaluations where the score is exact: calibrated tables against all else, at random, elsewhere, by number of samples.

import type { measureBudgets } from '../few/budgets.js';
import type { Measured } from '../few/intervals.js';
import { FAMILIES, type Family } from '../few/methods.js';
import type { Cell, Outcome } from '../few/mixtures.js';
import type { Draw, summaryOf } from '../few/random.js';
import type { SampleCount, Transfer } from '../few/transfer.js';
import type { Variant } from '../few/variants.js';
import { percent } from '../quality/claims.js';
import type { Spread, SpreadCell } from '../few/spread.js';
import { optional, type Rendered, table } from './data.js';
import { plot, type Series } from './plot.js';

export function render(): Rendered {
  const all: Rendered = { svgs: {}, tables: {} };
  const random = optional<{ summary: ReturnType<typeof summaryOf>; draws: Draw[] }>('few-random');
  if (random) {
    all.svgs['few-random'] = randomPlot(random.draws);
    all.tables['few-random'] = randomTable(random);
  }
  const mixtures = optional<{ cells: Cell[] }>('few-mixtures')?.cells;
  if (mixtures) {
    all.tables['few-target'] = targetTable(mixtures);
    all.tables['few-methods'] = methodsTable(mixtures);
    all.tables['few-cost'] = costTable(mixtures);
    for (const [problem, name] of Object.entries(PLOTTED)) {
      const cells = mixtures.filter((cell) => cell.problem === problem);
      if (cells.length > 0) all.svgs[`few-${name}`] = mixturePlot(problem, cells);
    }
  }
  const guided = optional<{ cells: Cell[] }>('few-guided')?.cells;
  if (guided) all.tables['few-guided'] = guidedTable(guided);
  const variants = optional<{ rows: Variant[] }>('few-variants')?.rows;
  if (variants) all.tables['few-variants'] = variantsTable(variants);
  const budgets = optional<Awaited<ReturnType<typeof measureBudgets>>>('few-budgets');
  if (budgets) all.tables['few-budgets'] = budgetsTable(budgets);
  const spread = optional<{ cells: SpreadCell[] }>('few-spread')?.cells;
  if (spread) all.tables['few-spread'] = spreadTable(spread);
  const transfer = optional<{ transfers: Transfer[]; samples: SampleCount[] }>('few-transfer');
  if (transfer) {
    all.tables['few-transfer'] = transferTable(transfer.transfers);
    if (transfer.samples.length > 0) all.svgs['few-samples'] = samplesPlot(transfer.samples);
  }
  return all;
}

// ---- at random ------------------------------------------------------------------------------------------------------

function randomTable({ summary, draws }: { summary: ReturnType<typeof summaryOf>; draws: Draw[] }): string {
  const group = (name: string, some: readonly Draw[]) => {
    const ratios = some.map(({ ours, classic }) => ours / classic).sort((a, b) => a - b);
    const half = (ratios.length - 1) / 2;
    const median = 0.5 * (ratios[Math.floor(half)] + ratios[Math.ceil(half)]);
    const kept = some.filter((one) => one.kept === 'table').length;
    const worse = ratios.filter((ratio) => ratio > 1.02).length;
    return [name, some.length, kept, median.toFixed(2), ratios[ratios.length - 1].toFixed(3), worse];
  };
  const by = (name: string, of: (draw: Draw) => boolean) => group(name, draws.filter(of));
  return table(
    ['', 'calibrations', 'tables kept', 'median of the ratio', 'largest', 'more than 2% worse'],
    [
      group('all', draws),
      by('unguided', ({ guidance }) => guidance === 1),
      by('guidance 2 and 3', ({ guidance }) => guidance === 2 || guidance === 3),
      by('guidance 5 and 8', ({ guidance }) => guidance >= 5),
      by('4 and 5 evaluations', ({ steps }) => steps <= 5),
      by('6 to 8 evaluations', ({ steps }) => steps >= 6),
    ].slice(0, summary.calibrations > 1 ? undefined : 1),
  );
}

function randomPlot(draws: readonly Draw[]): string {
  const sorted = [...draws].sort((a, b) => a.ours / a.classic - b.ours / b.classic);
  const groups: [string, (draw: Draw) => boolean][] = [
    ['unguided', ({ guidance }) => guidance === 1],
    ['guidance 2 and 3', ({ guidance }) => guidance === 2 || guidance === 3],
    ['guidance 5 and 8', ({ guidance }) => guidance >= 5],
  ];
  return plot({
    title: `${draws.length} calibrations of networks drawn at random`,
    description:
      'The error of what calibration gives by that of the classic solver that the same samples choose, sorted.',
    height: 300,
    panels: [
      {
        x: { label: 'calibrations, the best first', domain: [0, draws.length + 1] },
        y: { label: 'error / that of the chosen classic solver', scale: 'log', domain: [0.03, 1.2] },
        series: groups.map(([name, of], color) => ({
          name,
          color,
          line: false,
          points: sorted.flatMap((draw, i) => (of(draw) ? [{ x: i + 1, y: draw.ours / draw.classic }] : [])),
        })),
        rules: [{ y: 1, text: 'as the classic solver' }],
      },
    ],
    note: 'Mean error on 2,048 fresh samples. Where no table is significantly better the classic solver is kept: a ratio of 1.',
  });
}

// ---- mixtures -------------------------------------------------------------------------------------------------------

const PLOTTED: Record<string, string> = {
  '2-D': 'mixture-2d',
  '48-D, deviation 0.5': 'mixture-48d',
  '3x16x16': 'mixture-pictures',
};
const TARGET = 6;
const SCHEDULES = ['VP', 'cosine', 'EDM', 'flow'];

const number = (value: number) => (value >= 0.01 ? value.toFixed(3) : value.toExponential(1).replace('e-', 'e−'));
const ratio = (a: Measured, b: Measured) => {
  const value = a[0] / b[0];
  return value >= 0.15 ? value.toFixed(2) : value.toFixed(3);
};
const share = ([value, low, high]: Measured) => `${percent(value)} (${percent(low)} to ${percent(high)})`;
const withRange = ([value, low, high]: Measured) => `${number(value)} (${number(low)} to ${number(high)})`;

/** By problem in the order of the results, by schedule in that of the documents. */
function ordered(cells: readonly Cell[]): Cell[] {
  const problems = [...new Set(cells.map(({ problem }) => problem))];
  return [...cells].sort(
    (a, b) =>
      problems.indexOf(a.problem) - problems.indexOf(b.problem) ||
      a.guidance - b.guidance ||
      SCHEDULES.indexOf(a.schedule) - SCHEDULES.indexOf(b.schedule),
  );
}

function targetTable(cells: readonly Cell[]): string {
  return table(
    [
      ...[
        'mixture',
        'schedule',
        'fresh samples',
        'median error at 6',
        "of 2M's at 6",
        "of 2M's at 20",
        "RMSE of 2M's at 6",
      ],
      ...['in another mode', '2M at 6', '2M at 20'],
    ],
    ordered(cells).map(({ problem, schedule, fresh, steps, many }) => {
      const { table: ours, kept, least2M } = steps[TARGET];
      return [
        ...[
          problem,
          schedule,
          fresh.toLocaleString('en'),
          `${withRange(ours.median)}${kept === 'table' ? '' : ' (classic)'}`,
        ],
        ...[ratio(ours.median, least2M.median), ratio(ours.median, many.median), ratio(ours.rmse, least2M.rmse)],
        ...[share(ours.elsewhere), percent(least2M.elsewhere[0]), percent(many.elsewhere[0])],
      ];
    }),
  );
}

const SHOWN = FAMILIES.filter((family) => family !== '2M');

function methodsTable(cells: readonly Cell[]): string {
  const mean = (outcome: Outcome, family: Family) => {
    const best = outcome.families[family];
    return best ? number(best.figures.mean[0]) : '';
  };
  return table(
    [
      'mixture',
      'schedule',
      'evaluations',
      'calibrated',
      ...SHOWN.map((family) => (family === 'classic' ? 'DDIM, 2M, 3M' : family)),
    ],
    ordered(cells.filter(({ problem }) => problem in PLOTTED)).flatMap(({ problem, schedule, steps }) =>
      [4, 6, 8, 10].map((n, i) => [
        ...[i === 0 ? problem : '', i === 0 ? schedule : '', n, number(steps[n].table.mean[0])],
        ...SHOWN.map((family) => mean(steps[n], family)),
      ]),
    ),
  );
}

function guidedTable(cells: readonly Cell[]): string {
  const others = ({ families }: Outcome) =>
    Object.entries(families)
      .filter(([family]) => family !== '2M' && family !== 'classic')
      .map(([, best]) => best)
      .reduce((a, b) => (b.figures.mean[0] < a.figures.mean[0] ? b : a));
  return table(
    [
      ...['mixture', 'schedule', 'guidance', 'evaluations', 'calibrated: mean error', 'in another mode'],
      ...['of the best of DDIM, 2M, 3M', 'of the best of the others', 'which'],
    ],
    ordered(cells).flatMap(({ problem, schedule, guidance, steps }) =>
      [5, 8].map((n, i) => {
        const outcome = steps[n];
        const { table: ours, kept } = outcome;
        const other = others(outcome);
        return [
          ...[i === 0 ? problem : '', i === 0 ? schedule : '', i === 0 ? guidance : '', n],
          ...[`${withRange(ours.mean)}${kept === 'table' ? '' : ' (classic)'}`, percent(ours.elsewhere[0])],
          ...[
            ratio(ours.mean, outcome.families.classic!.figures.mean),
            ratio(ours.mean, other.figures.mean),
            other.name,
          ],
        ];
      }),
    ),
  );
}

function variantsTable(rows: readonly Variant[]): string {
  return table(
    [
      ...[
        'guidance',
        'evaluations of the table',
        'its mean distance',
        'in the condition',
        'best of DDIM and 2M',
        'in the condition',
        '',
      ],
      'with 120',
    ],
    rows.map(({ variant, nfe, table: ours, classic, right }) => [
      ...[variant, nfe, withRange(ours.mean), percent(ours.right[0])],
      ...[withRange(classic.mean), percent(classic.right[0]), classic.name, percent(right[0])],
    ]),
  );
}

function costTable(cells: readonly Cell[]): string {
  const median = (values: readonly number[]) => [...values].sort((a, b) => a - b)[values.length >> 1];
  const round = (value: number) => (Math.round(value / 100) * 100).toLocaleString('en');
  return table(
    ['evaluations of the table', 'fitting', 'classic solvers on the samples held out', 'tables on them', 'tables kept'],
    [4, 5, 6, 8, 10].map((n) => {
      const outcomes = cells.map(({ steps }) => steps[n]);
      const of = (key: keyof Outcome['evaluations']) =>
        round(median(outcomes.map(({ evaluations }) => evaluations[key])));
      return [
        ...[n, of('fit'), of('classics'), of('choice')],
        `${outcomes.filter(({ kept }) => kept === 'table').length} of ${outcomes.length}`,
      ];
    }),
  );
}

function mixturePlot(problem: string, cells: readonly Cell[]): string {
  const lines: [string, (outcome: Outcome) => Measured | undefined, number][] = [
    ['calibrated table', ({ table }) => table.mean, 0],
    ['best of DDIM, 2M and 3M', ({ families }) => families.classic?.figures.mean, 1],
    ['best UniPC', ({ families }) => families.UniPC?.figures.mean, 2],
    ['best iPNDM', ({ families }) => families.iPNDM?.figures.mean, 3],
    [
      'best on a published grid',
      ({ families }) =>
        (['AYS', 'GITS', 'OSS', 'DMN', 'DC-Solver'] as const)
          .map((family) => families[family]?.figures.mean)
          .filter((figure) => figure !== undefined)
          .sort((a, b) => a[0] - b[0])[0],
      4,
    ],
  ];
  const panels = ordered(cells).map(({ schedule, guidance, steps }) => ({
    title: guidance === 1 ? schedule : `${schedule}, guidance ${guidance}`,
    x: { label: 'network evaluations', domain: [3.5, 10.5] as const, ticks: [4, 5, 6, 8, 10] },
    y: { label: 'mean error', scale: 'log' as const },
    series: lines.map(
      ([name, of, color]): Series => ({
        name,
        color,
        points: Object.entries(steps).flatMap(([n, outcome]) => {
          const figure = of(outcome);
          return figure ? [{ x: Number(n), y: figure[0], low: Math.max(figure[1], 1e-9), high: figure[2] }] : [];
        }),
      }),
    ),
  }));
  return plot({
    title: `Exact scores, mixture ${problem}: error on fresh samples`,
    description:
      'Mean distance from the exact ends by number of network evaluations, for tables and solvers without calibration.',
    columns: 2,
    height: 200,
    panels,
    note: 'Best: by these very samples. Error bars: 95%. Where no table was kept the calibrated one is the classic solver that the samples held out chose.',
  });
}

function budgetsTable({ rows, least2M }: Awaited<ReturnType<typeof measureBudgets>>): string {
  return table(
    [
      'evaluations at most',
      'taken',
      'samples',
      'kept',
      'median error',
      "of 2M's",
      'RMSE',
      "of 2M's",
      'in another mode',
    ],
    rows.map(({ budget, fit, samples, kept, table: ours }) => [
      ...[budget.toLocaleString('en'), fit.toLocaleString('en'), samples, kept],
      ...[withRange(ours.median), ratio(ours.median, least2M.median)],
      ...[withRange(ours.rmse), ratio(ours.rmse, least2M.rmse), share(ours.elsewhere)],
    ]),
  );
}

// ---- elsewhere ------------------------------------------------------------------------------------------------------

function transferTable(rows: readonly Transfer[]): string {
  return table(
    ['made for', 'runs on', 'the table, of the best classic', 'one made for that'],
    rows.map(({ made, on, error, own, classic }) => [
      ...[made, on, (error / classic).toFixed(2), (own / classic).toFixed(2)],
    ]),
  );
}

function samplesPlot(rows: readonly SampleCount[]): string {
  const budgets: [string, (row: SampleCount) => boolean][] = [
    ['5,000 evaluations', ({ budget }) => budget === 5000],
    ['2,000 evaluations a sample', ({ budget, samples }) => budget === 2000 * samples],
  ];
  return plot({
    title: 'How many samples a calibration takes',
    description: 'Errors by those of the best classic solver, by number of samples that tables are fitted to.',
    columns: 2,
    height: 220,
    panels: budgets.map(([title, of]) => ({
      title,
      x: { label: 'samples fitted to', scale: 'log' as const, ticks: [8, 16, 32, 64, 128, 256, 512], format: String },
      y: { label: 'error / that of the best classic solver', scale: 'linear' as const, domain: [0, 1.05] as const },
      series: [
        { name: 'on fresh samples', points: rows.filter(of).map(({ samples, fresh }) => ({ x: samples, y: fresh })) },
        {
          name: 'on those fitted to',
          dash: true,
          points: rows.filter(of).map(({ samples, fitted }) => ({ x: samples, y: fitted })),
        },
      ],
    })),
    note: '16-D mixture, guidance 3, VP, 6 evaluations; means of two calibrations with other samples each; 128 samples choose.',
  });
}

function spreadTable(cells: readonly SpreadCell[]): string {
  const said = ({ distance, error }: Spread) => `${number(distance)} ± ${number(1.96 * error)}`;
  return table(
    [
      'mixture',
      'schedule',
      'evaluations',
      'table',
      'best of DDIM, 2M, 3M',
      '',
      'best of all else',
      '',
      '2M at 20',
      'exact',
    ],
    cells.map(({ problem, schedule, steps, table: ours, classic, other, many, exact }) => [
      ...[problem, schedule, steps, said(ours), said(classic), classic.name, said(other), other.name, said(many)],
      said(exact),
    ]),
  );
}
