// Few evaluations: the tables of the embedded network on fresh pictures, and what its folder runs by where none was calibrated.
import { bestRows } from '../few/best.js';
import type { ForeignResult } from '../few/foreign.js';
import type { FreshResults, Outcome } from '../few/fresh.js';
import type { Measured } from '../few/intervals.js';
import { type PicturesCell, type PicturesRow, picked } from '../few/pictures.js';
import { Cells, percent, points } from '../quality/claims.js';
import type { Results } from '../quality/quality.js';
import { rowOf } from '../quality/rows.js';
import { optional, type Rendered, results, table } from './data.js';
import { bars } from './plot.js';

export function render(): Rendered {
  const fresh = optional<FreshResults>('few-fresh-3');
  const pictures = optional<{ cells: PicturesCell[] }>('few-pictures')?.cells;
  return {
    svgs: fresh ? { 'few-fresh': freshPlot(fresh) } : {},
    tables: {
      'few-best': bestTable(),
      'few-foreign': foreignTable(results<{ networks: ForeignResult[] }>('few-foreign').networks),
      ...(fresh ? { 'few-fresh': freshTable(fresh) } : {}),
      ...(pictures ? { 'few-right': rightTable(pictures), 'few-pictures': picturesTable(pictures) } : {}),
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

/** Pictures that shares of right ones are told of, and what fewer evaluations are held against in bench:quality. */
const ENOUGH = 512;
const AGAINST: Record<number, { steps: number; rows?: readonly string[] }> = {
  1: { steps: 8 },
  3: { steps: 8 },
  8: { steps: 20, rows: ['2m'] },
};

const share = ([p, low, high]: Measured) => `${percent(p)} (${percent(low)} to ${percent(high)})`;
const distance = ([value, low, high]: Measured) => `${value.toFixed(3)} (${low.toFixed(3)} to ${high.toFixed(3)})`;
const away = ({ frechet, frechetError }: PicturesRow) =>
  frechet === undefined ? '' : `${frechet.toFixed(0)} ± ${(1.96 * frechetError!).toFixed(0)}`;

/** Right pictures with few evaluations against the classic solvers' best with more, picture by picture. */
function rightTable(cells: readonly PicturesCell[]): string {
  const measured = new Cells(results<Results>('quality'));
  return table(
    ['guidance', 'evaluations', 'solver and grid', 'pictures', 'right', 'against', 'right', 'more right'],
    cells.flatMap(({ guidance, steps, rows }) => {
      const against = AGAINST[guidance];
      const all = measured.at(guidance, against.steps).filter(({ row }) => against.rows?.includes(row) ?? true);
      const [best] = all.sort((a, b) => b.right - a.right);
      return rows
        .filter(({ pictures }) => pictures >= ENOUGH)
        .sort((a, b) => b.right[0] - a.right[0])
        .map((row) => {
          const [ours, theirs] = [row, best].map(({ verdicts }) => picked(verdicts, row.pictures));
          return [
            ...[guidance, row.nfe === steps ? steps : `${row.nfe} (${steps} steps)`, row.name, row.pictures],
            ...[share(row.right), `${best.name}, ${against.steps}`, percent(theirs.right / theirs.pictures)],
            points(measured.difference(ours, theirs)),
          ];
        });
    }),
  );
}

function picturesTable(cells: readonly PicturesCell[]): string {
  return table(
    [
      'guidance',
      'steps',
      'solver and grid',
      'evaluations',
      'pictures',
      'right',
      'Frechet',
      'compared',
      'mean distance',
      'RMSE',
    ],
    cells.flatMap(({ guidance, steps, rows }) =>
      [...rows]
        .sort((a, b) => a.mean[0] - b.mean[0])
        .map((row, i) => [
          ...(i === 0 ? [guidance, steps] : ['', '']),
          ...[row.name, row.nfe, row.pictures, share(row.right), away(row)],
          ...[row.compared, distance(row.mean), distance(row.rmse)],
        ]),
    ),
  );
}
