// What bench:quality found best, as tables of the embedded network's folder, where calibration has none: a call that names
// nothing then runs by the classic solver and grid that makes more pictures right than the folder's own.
import { readFileSync, writeFileSync } from 'node:fs';
import { type ClassicOptions, classicTable, type SolverTable } from '../../lib/index.js';
import { readTableFile } from '../../lib/pipelines/tables.js';
import { evaluationsOf } from '../../lib/solver/table.js';
import { Cells, percent } from '../quality/claims.js';
import type { Cell, Results } from '../quality/quality.js';
import { rowOf } from '../quality/rows.js';
import { TABLES_FILE, training } from './shapes.js';

/** What stands for the folder's own solver in bench:quality. */
const OWN = '2m';
/** Rows that a table can be made of. */
const ROWS = ['ddim', '3m', '2m-logSNR', '2m-karras'] as const;
/**
 * 95% intervals by which a row has to have more right pictures: with about 60 comparisons one in 2,000 wins by chance at
 * 1.75 of them (3.4 standard errors).
 */
const INTERVALS = 1.75;
const MOST = 20;

/** A row of bench:quality for a number of evaluations at a guidance. */
export interface Best {
  guidance: number;
  steps: number;
  row: string;
  /** The cells that it was chosen by: its own, or those of the next numbers of evaluations below and above that were measured. */
  cells: Cell[];
}

/**
 * Rows with more right pictures than the folder's own and no greater RMSE; of several that with the least. A number of
 * evaluations that was not measured has the row of both its neighbours, where that is the same.
 */
export function bestRows(results: Results): Best[] {
  const cells = new Cells(results);
  const best: Best[] = [];
  for (const guidance of [1, 3, 8]) {
    const measured = cells.series(OWN, guidance).filter(({ steps }) => steps <= MOST);
    const chosen = measured.map((own) => {
      const better = ROWS.flatMap((row) => cells.find(row, guidance, own.steps) ?? []).filter((cell) => {
        const { difference, error } = cells.difference(cell, own);
        return difference > INTERVALS * error && cell.rmse <= own.rmse;
      });
      return better.sort((a, b) => a.rmse - b.rmse)[0] as Cell | undefined;
    });
    for (const [i, { steps }] of measured.entries()) {
      const [cell, next] = [chosen[i], chosen[i + 1]];
      if (!cell) continue;
      best.push({ guidance, steps, row: cell.row, cells: [cell] });
      if (next?.row !== cell.row) continue;
      for (let between = steps + 1; between < measured[i + 1].steps; between++) {
        best.push({ guidance, steps: between, row: cell.row, cells: [cell, next] });
      }
    }
  }
  return best;
}

/** The folder's tables: those that were calibrated, and of the rest what {@link bestRows} says. */
export function bestTables(results: Results, before: readonly SolverTable[]): SolverTable[] {
  const { schedule, modelType } = training();
  const scaleOf = ({ guidance }: SolverTable) => guidance?.scale ?? 1;
  const kept = before.filter(({ source }) => !source?.startsWith('bench:quality'));
  const found = bestRows(results)
    .filter(({ guidance, steps }) => !kept.some((one) => scaleOf(one) === guidance && evaluationsOf(one) === steps))
    .map(({ guidance, steps, row, cells }): SolverTable => {
      const { name, options } = rowOf(row);
      const [cell] = cells;
      const own = results.cells.find(
        (one) => one.row === OWN && one.guidance === guidance && one.steps === cell.steps,
      )!;
      const share = (one: Cell) => one.right / one.pictures;
      const at = cells.length === 1 ? '' : ` at ${cells.map((one) => one.steps).join(' and ')} evaluations`;
      return {
        ...classicTable(schedule, { ...(options as ClassicOptions), steps, modelType }),
        name: `${name}, ${steps} evaluations`,
        source: `bench:quality: more right pictures than ${own.name}${at}, ${percent(share(cell))} to ${percent(share(own))}`,
        ...(guidance === 1 ? {} : { guidance: { scale: guidance } }),
      };
    });
  return [...kept, ...found].sort((a, b) => scaleOf(a) - scaleOf(b) || a.sigmas.length - b.sigmas.length);
}

/** Writes them, and says which. */
export function writeBestTables(tell: (line: string) => void): void {
  const results = JSON.parse(readFileSync(new URL('../results/quality.json', import.meta.url), 'utf8')) as Results;
  const tables = bestTables(results, readTableFile(TABLES_FILE));
  writeFileSync(TABLES_FILE, `${JSON.stringify(tables, null, 1)}\n`);
  for (const { name, source, guidance } of tables) tell(`guidance ${guidance?.scale ?? 1}: ${name} (${source})`);
}
