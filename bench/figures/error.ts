// Error against evaluations, where the score is exact.
import type { ErrorResults, Measured } from '../error/error.js';
import { type Rendered, results, table } from './data.js';
import { type Panel, plot, type Series } from './plot.js';

const TICKS = [5, 6, 8, 10, 12, 15, 20, 30, 48];
const MEDIAN = 2;

/** What stands in each of the plots; a row appears on its best grid unless one is named. */
const SETS: Record<string, { title: string; rows: [name: string, grid: string][] }> = {
  classical: {
    title: 'DPM-Solver against Runge-Kutta methods of the same order',
    rows: [
      ['RK2 (t)', 'time_uniform'],
      ['RK2 (λ)', 'logSNR'],
      ['DPM-Solver-2', 'logSNR'],
      ['RK3 (t)', 'time_uniform'],
      ['RK3 (λ)', 'logSNR'],
      ['DPM-Solver-3', 'logSNR'],
      ['RK45', 'adaptive'],
    ],
  },
  forms: {
    title: 'Noise and data prediction, singlestep and multistep',
    rows: [
      ['DDIM', 'logSNR'],
      ['DPM-Solver-2', 'logSNR'],
      ['DPM-Solver-3', 'logSNR'],
      ['DPM-Solver++(2S)', 'logSNR'],
      ['DPM-Solver++(3S)', 'logSNR'],
      ['DPM-Solver++(2M)', 'logSNR'],
      ['DPM-Solver++(3M)', 'logSNR'],
      ['DPM-Solver++(3M), exact', 'logSNR'],
    ],
  },
  multistep: {
    title: 'Multistep methods',
    rows: [
      ['DDIM', 'logSNR'],
      ['PNDM', 'time_uniform'],
      ['DEIS, order 2', 'logSNR'],
      ['DEIS, order 3', 'logSNR'],
      ['DPM-Solver++(2M)', 'logSNR'],
      ['UniPC-1', 'logSNR'],
      ['UniPC-2', 'logSNR'],
      ['UniPC-3', 'logSNR'],
    ],
  },
  adaptive: {
    title: 'Steps chosen by the error',
    rows: [
      ['adaptive 12, PI', 'adaptive'],
      ['adaptive 12, as published', 'adaptive'],
      ['adaptive 23, PI', 'adaptive'],
      ['adaptive 23, as published', 'adaptive'],
      ['RK45', 'adaptive'],
      ['DPM-Solver-3', 'logSNR'],
    ],
  },
};
const GRIDS = ['time_uniform', 'time_quadratic', 'logSNR', 'karras', 'beta'];
const GRID_NAMES: Record<string, string> = { adaptive: 'by the error' };

const number = (value: number) => (value >= 0.095 ? value.toFixed(2) : value.toExponential(1));

export function render(): Rendered {
  const { problems, samples } = results<ErrorResults>('error');
  const svgs: Record<string, string> = {};
  const tables: Record<string, string> = {};
  const pick = (rows: Measured[], name: string, grid: string) =>
    rows.filter((row) => row.name === name && row.grid === grid).sort((a, b) => a.nfe - b.nfe);
  const panels = (
    series: (rows: Measured[]) => Series[],
    ticks = TICKS,
    domain: [number, number] = [4.7, 51],
  ): Panel[] =>
    Object.entries(problems).map(([title, { rows, description }]) => ({
      title: `${title}: ${description.split(':')[0]}`,
      x: { label: 'network evaluations', scale: 'log', ticks, domain },
      y: { label: 'median error (RMS)', scale: 'log' },
      series: series(rows),
    }));
  const points = (rows: Measured[]) => rows.map(({ nfe, error }) => ({ x: nfe, y: Math.min(error[MEDIAN], 3) }));
  const about = `Four panels, one for each mixture: median error over ${samples} samples against the number of network evaluations, on logarithmic axes.`;

  for (const [key, { title, rows: chosen }] of Object.entries(SETS)) {
    const wide = key === 'adaptive';
    svgs[`error-${key}`] = plot({
      title,
      description: about,
      panels: panels(
        (rows) =>
          chosen.map(([name, grid], i) => ({
            name,
            points: points(pick(rows, name, grid)).filter(({ x }) => wide || x <= 51),
            color: i,
            dash: name.startsWith('RK') || name.includes('published'),
          })),
        wide ? [10, 20, 50, 100, 200] : TICKS,
        wide ? [9, 320] : undefined,
      ),
      width: 860,
      height: 230,
      note: `Times even in λ, for RK (t) and PNDM even in t. Medians over ${samples} samples of the distance to the exact end of the trajectory, root mean square over the elements.`,
    });
  }
  svgs['error-grids'] = plot({
    title: 'The grid: DPM-Solver++(2M) on five',
    description: about,
    panels: panels((rows) =>
      GRIDS.map((grid, i) => ({ name: grid, points: points(pick(rows, 'DPM-Solver++(2M)', grid)), color: i })),
    ),
    width: 860,
    height: 230,
    note: 'time_uniform has its lower orders at the end below 10 steps, as published: what happens at 10 is the end of that.',
  });
  svgs['error-final'] = plot({
    title: 'Lower orders at the end of a run, times even in t',
    description: about,
    panels: panels((rows) =>
      ([2, 3] as const).flatMap((order, k) =>
        (
          [
            ['below 10 steps (published)', `DPM-Solver++(${order}M)`],
            ['never', `DPM-Solver++(${order}M), full order to the end`],
            ['always', `DPM-Solver++(${order}M), lower orders at the end`],
          ] as const
        ).map(([rule, name], i) => ({
          name: `${order}M, ${rule}`,
          points: points(pick(rows, name, 'time_uniform')),
          color: i,
          dash: k === 1,
        })),
      ),
    ),
    width: 860,
    height: 230,
  });

  // Table 1 of the DPM-Solver paper, with errors where it has FIDs.
  const table1 = [12, 18, 24, 30, 36, 42, 48];
  for (const [problem, { rows }] of Object.entries(problems)) {
    const slug = problem.replace(/[^a-z0-9]+/gi, '-').toLowerCase();
    tables[`table1-${slug}`] = table(
      ['', ...table1.map(String)],
      SETS.classical.rows
        .filter(([name]) => name !== 'RK45')
        .map(([name, grid]) => [
          name,
          ...table1.map((nfe) => {
            const found = pick(rows, name, grid).find((row) => row.nfe === nfe)!;
            const order = name.includes('2') ? '2' : '3';
            const rivals = SETS.classical.rows.filter(([other]) => other !== 'RK45' && other.includes(order));
            const best = Math.min(
              ...rivals.map(([n, g]) => pick(rows, n, g).find((row) => row.nfe === nfe)!.error[MEDIAN]),
            );
            const shown = number(found.error[MEDIAN]);
            return found.error[MEDIAN] === best ? `**${shown}**` : shown;
          }),
        ]),
    );
    const few = [5, 6, 8, 10, 12, 15, 20, 30, 48];
    const fixed = [
      ...new Set(rows.filter((row) => row.tolerance === undefined).map((row) => `${row.name}|${row.grid}`)),
    ];
    tables[`error-${slug}`] = table(
      ['solver', 'times', ...few.map(String)],
      fixed
        .map((key) => key.split('|') as [string, string])
        .map(([name, grid]) => [
          name,
          GRID_NAMES[grid] ?? grid,
          ...few.map((nfe) => {
            const found = pick(rows, name, grid).find((row) => row.nfe === nfe);
            return found ? number(found.error[MEDIAN]) : '–';
          }),
        ]),
    );
    tables[`adaptive-${slug}`] = table(
      ['solver', 'evaluations: median error, from loose to tight tolerance'],
      [...new Set(rows.filter((row) => row.tolerance !== undefined).map((row) => row.name))].map((name) => [
        name,
        rows
          .filter((row) => row.name === name)
          .map((row) => `${row.nfe}: ${number(row.error[MEDIAN])}`)
          .join(', '),
      ]),
    );
  }
  return { svgs, tables };
}
