// Few evaluations: the tables of the embedded network on fresh pictures, and what its folder runs by where none was calibrated.
import { bestRows } from '../few/best.js';
import type { ForeignResult } from '../few/foreign.js';
import type { FreshResults, Outcome } from '../few/fresh.js';
import { Cells, percent, points } from '../quality/claims.js';
import type { Results } from '../quality/quality.js';
import { rowOf } from '../quality/rows.js';
import { optional, type Rendered, results, table } from './data.js';
import { bars } from './plot.js';

export function render(): Rendered {
  const fresh = optional<FreshResults>('few-fresh-3');
  return {
    svgs: fresh ? { 'few-fresh': freshPlot(fresh) } : {},
    tables: {
      'few-best': bestTable(),
      'few-foreign': foreignTable(results<{ networks: ForeignResult[] }>('few-foreign').networks),
      ...(fresh ? { 'few-fresh': freshTable(fresh) } : {}),
    },
  };
}

/** What is kept at fewer evaluations against the best classic solver at more. */
function foreignTable(networks: readonly ForeignResult[]): string {
  return table(
    [
      'network',
      'numbers',
      'table, 6',
      'best classic, 6',
      'best classic, 8',
      'table of 6 to classic of 8',
      'fitting took',
    ],
    networks.map(({ network, dims, report }) => {
      const [few, more] = [6, 8].map((n) => report.find(({ steps }) => steps === n)!);
      const kept = few.kept === 'table' ? few.heldOut : few.classic;
      return [
        network,
        dims.join(' x '),
        few.kept === 'table' ? kept.toFixed(4) : 'none kept',
        `${few.classic.toFixed(4)} (${few.classicName})`,
        `${more.classic.toFixed(4)} (${more.classicName})`,
        (kept / more.classic).toFixed(2),
        few.evaluations.fit,
      ];
    }),
  );
}

const within = ({ mean, low, high }: Outcome) => `${mean.toFixed(3)} (${low.toFixed(3)} to ${high.toFixed(3)})`;
const square = ({ rmse, rmseLow, rmseHigh }: Outcome) =>
  `${rmse.toFixed(3)} (${rmseLow.toFixed(3)} to ${rmseHigh.toFixed(3)})`;

function freshTable({ rows, pictures }: FreshResults): string {
  const right = ({ right }: Outcome) => percent(right / pictures);
  return table(
    ['evaluations', '', 'mean distance', 'RMSE', 'right', 'the table is nearer in'],
    rows.flatMap(({ steps, table: ours, classic, own, beatsClassic, beatsOwn }) => [
      [steps, 'the table', within(ours), square(ours), right(ours), ''],
      ['', `best classic: ${classic.name}`, within(classic), square(classic), right(classic), percent(beatsClassic)],
      ['', "the folder's own solver", within(own), square(own), right(own), percent(beatsOwn)],
    ]),
  );
}

function freshPlot({ rows, pictures, guidance }: FreshResults): string {
  const value = ({ mean, low, high }: Outcome) => ({ y: mean, low, high });
  return bars({
    title: `Calibrated tables on ${pictures} fresh pictures, guidance ${guidance}`,
    description:
      'Mean distance from 60 evaluations: calibrated tables, the best classic solver and the solver of the folder.',
    label: 'network evaluations',
    y: { label: 'mean distance (RMS)' },
    groups: rows.map(({ steps }) => String(steps)),
    series: [
      { name: 'calibrated table', values: rows.map(({ table }) => value(table)) },
      { name: 'best classic solver on these pictures', values: rows.map(({ classic }) => value(classic)) },
      { name: "the folder's own solver", values: rows.map(({ own }) => value(own)) },
    ],
    note: 'Error bars: 95% of 2,000 bootstraps over pictures.',
  });
}

function bestTable(): string {
  const measured = results<Results>('quality');
  const cells = new Cells(measured);
  const rows = bestRows(measured).filter(({ cells }) => cells.length === 1);
  return table(
    ['guidance', 'evaluations', 'solver and grid', 'right', 'with 2M on even times', 'more', 'RMSE', 'of 2M'],
    rows.map(({ guidance, steps, row, cells: [cell] }) => {
      const own = cells.find('2m', guidance, steps)!;
      const share = (one: typeof cell) => percent(one.right / one.pictures);
      const more = points(cells.difference(cell, own));
      return [
        guidance,
        steps,
        rowOf(row).name,
        share(cell),
        share(own),
        more,
        cell.rmse.toFixed(3),
        own.rmse.toFixed(3),
      ];
    }),
  );
}
