// Stochastic samplers and solvers of the ODE by the distribution that they draw from, and the variance of SDE solvers.
import type { StochasticResults } from '../error/stochastic.js';
import { type Rendered, results, table } from './data.js';
import { plot } from './plot.js';

const SHOWN: [name: string, grid: string][] = [
  ['DDPM', 'time_uniform'],
  ['Analytic-DPM', 'time_uniform'],
  ['Euler-Maruyama', 'time_uniform'],
  ['DDIM', 'time_uniform'],
  ['DPM-Solver++(2M)', 'logSNR'],
  ['UniPC-2', 'logSNR'],
  ['SDE-DPM-Solver++(2M)', 'logSNR'],
];
const GRID_NAMES: Record<string, string> = { time_uniform: 'even in t', logSNR: 'even in λ' };
const VARIANCES: [name: string, order: number, label: string][] = [
  ['sde-dpmsolver++ multistep', 1, 'SDE-DPM-Solver++(1)'],
  ['sde-dpmsolver++ multistep', 2, 'SDE-DPM-Solver++(2M)'],
  ['sde-dpmsolver++ multistep', 3, 'SDE-DPM-Solver++(3M)'],
  ['sde-dpmsolver++ singlestep', 2, 'SDE-DPM-Solver++(2S), fresh noise per stage'],
  ['sde-dpmsolver++ singlestep', 3, 'SDE-DPM-Solver++(3S), fresh noise per stage'],
];

export function render(): Rendered {
  const { problems, variances } = results<StochasticResults>('stochastic');
  const tables: Record<string, string> = {};
  for (const [name, { rows, floor }] of Object.entries(problems)) {
    const counts = [5, 10, 20, 50, 100, 200, 500, 1000];
    const keys = [...new Set(rows.map((row) => `${row.name}|${row.grid}`))];
    const sorted = [...floor].sort((a, b) => a - b);
    tables[`stochastic-${name.toLowerCase()}`] = table(
      ['sampler', 'times', ...counts.map(String)],
      [
        ...keys.map((key) => {
          const [sampler, grid] = key.split('|');
          return [
            sampler,
            GRID_NAMES[grid],
            ...counts.map((nfe) => {
              const found = rows.find((row) => row.name === sampler && row.grid === grid && row.nfe === nfe);
              return found ? found.distance.toFixed(3) : '–';
            }),
          ];
        }),
        [
          `exact draws: ${sorted[0].toFixed(3)} to ${sorted.at(-1)!.toFixed(3)}, median ${sorted[sorted.length >> 1].toFixed(3)}`,
          ...['', ...counts.map(() => '')],
        ],
      ],
    );
  }
  const steps = [6, 12, 24, 48, 96, 192];
  tables['sde-variance'] = table(
    ['solver', ...steps.map(String)],
    VARIANCES.map(([name, order, label]) => [
      label,
      ...steps.map((nfe) => {
        const row = variances.rows.find((r) => r.name === name && r.order === order && r.nfe === nfe)!;
        const percent = 100 * (row.variance / row.exact - 1);
        return `${percent < 0 ? '−' : '+'}${Math.abs(percent).toFixed(Math.abs(percent) < 10 ? 1 : 0)}%`;
      }),
    ]),
  );
  return {
    svgs: {
      stochastic: plot({
        title: 'Distance to the exact distribution',
        description:
          'Two panels, one for each mixture: sliced Wasserstein distance between samples and the exact distribution, against network evaluations, on logarithmic axes, with the distance of exact draws as a dashed line.',
        panels: Object.entries(problems).map(([name, { rows, floor, samples }]) => ({
          title: `${name}, ${samples} samples`,
          x: { label: 'network evaluations', scale: 'log', ticks: [5, 10, 20, 50, 100, 200, 500, 1000] },
          y: { label: 'sliced Wasserstein distance', scale: 'log' },
          rules: [{ y: [...floor].sort((a, b) => a - b)[floor.length >> 1], text: 'exact draws' }],
          series: SHOWN.map(([sampler, grid], i) => ({
            name: sampler,
            points: rows
              .filter((row) => row.name === sampler && row.grid === grid)
              .map((row) => ({ x: row.nfe, y: row.distance })),
            color: i,
            dash: i < 3 || i === 6,
          })),
        })),
        width: 860,
        note: 'Dashed: samplers that draw noise on the way. DDPM, Analytic-DPM, Euler-Maruyama and DDIM have times even in t, the others even in λ. Below the line for exact draws there is nothing to tell apart.',
      }),
      'sde-variance': plot({
        title: 'Variance at the end of SDE solvers on normal data',
        description:
          'Share of the variance that is missing or too much at the end of a run, against network evaluations, on logarithmic axes. Multistep of order 2 and 3 fall with the square of the number of evaluations, singlestep with fresh noise per stage only in proportion to it.',
        panels: [
          {
            x: { label: 'network evaluations', scale: 'log', ticks: steps },
            y: { label: '|variance / exact − 1|', scale: 'log' },
            series: VARIANCES.map(([name, order, label], i) => ({
              name: label,
              points: variances.rows
                .filter((row) => row.name === name && row.order === order)
                .map((row) => ({ x: row.nfe, y: Math.abs(row.variance / row.exact - 1) })),
              color: i,
              dash: name.includes('singlestep'),
            })),
          },
        ],
        width: 620,
        note: `Computed, not sampled: data from N(0, ${variances.deviation}²), where a run is linear. Times even in λ, t from 1 to 1e-3.`,
      }),
    },
    tables,
  };
}
