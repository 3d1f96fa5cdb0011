// Orders of convergence: log-log plots and the table of slopes.
import type { OrderResults, OrderRow } from '../order/order.js';
import { type Rendered, results, table } from './data.js';
import { type Panel, plot } from './plot.js';

const GROUPS = ['data prediction', 'noise prediction', 'UniPC, DEIS, PNDM', 'Runge-Kutta, adaptive'];

export function render(): Rendered {
  const { rows, samples, referenceDifference } = results<OrderResults>('order');
  const panel =
    (inverse: boolean) =>
    (group: string): Panel => ({
      title: group,
      x: { label: 'network evaluations', scale: 'log', ticks: [24, 48, 96, 192, 384, 1000] },
      y: { label: 'median error (RMS)', scale: 'log', domain: [2e-9, 0.3] },
      series: rows
        .filter((row) => row.group === group && row.inverse === inverse)
        .map((row, i) => ({
          name: '',
          points: row.points.map(({ nfe, error }) => ({ x: nfe, y: error })),
          color: i,
          dash: i >= 5,
        })),
      labels: [],
    });
  const legends = (p: Panel, inverse: boolean, group: string): Panel => ({
    ...p,
    series: rows
      .filter((row) => row.group === group && row.inverse === inverse)
      .map((row, i) => ({ ...p.series[i], name: `${row.name}: ${row.slope.toFixed(2)}` })),
  });
  const draw = (inverse: boolean, group: string) =>
    plot({
      title: `Order of convergence, ${inverse ? 'from data to noise' : 'from noise to data'}: ${group}`,
      description: `Log-log plot of the median error over ${samples} samples against network evaluations, with the fitted slope of each method.`,
      panels: [legends({ ...panel(inverse)(group), title: undefined }, inverse, group)],
      width: 620,
      height: 240,
      note: `The number is the slope over the last three points. The exact solution is known to ${referenceDifference.toExponential(0)}.`,
    });
  const svgs: Record<string, string> = {};
  for (const group of GROUPS) {
    for (const inverse of [false, true]) {
      if (!rows.some((row) => row.group === group && row.inverse === inverse)) continue;
      const name = group.replace(/[^a-z]+/gi, '-').toLowerCase();
      svgs[`order-${name}${inverse ? '-inverse' : ''}`] = draw(inverse, group);
    }
  }
  const slope = (row: OrderRow | undefined) => (row ? row.slope.toFixed(2) : '–');
  const names = [...new Set(rows.map((row) => row.name))];
  return {
    svgs,
    tables: {
      orders: table(
        ['method', 'order', 'measured, noise to data', 'measured, data to noise'],
        names.map((name) => {
          const of = (inverse: boolean) => rows.find((row) => row.name === name && row.inverse === inverse);
          return [name, of(false)!.expected, slope(of(false)), slope(of(true))];
        }),
      ),
    },
  };
}
