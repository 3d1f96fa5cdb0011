// The tables that a folder brings along: which of them a call runs by.
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { readAtMost } from '../base/read.js';
import { parseJson } from '../folder/json.js';
import { TABLES } from '../hub/needed.js';
import type { NoiseSchedule } from '../schedule/noise-schedule.js';
import { readTable, type SolverTable, tableSchedule } from '../solver/table.js';
import { isWhole, type Request } from './request.js';

/**
 * The tables of a folder, none where it has no file of them.
 *
 * @throws Error that names the file for what is no list of tables
 */
export function readTables(folder: string): SolverTable[] {
  const path = join(folder, TABLES);
  return existsSync(path) ? readTableFile(path) : [];
}

/** Bytes of a file of tables; those of 100 evaluations have 100 kB each. */
const MOST_TABLES = 2 ** 26;

/** A list of tables as a file has it. */
export function readTableFile(path: string): SolverTable[] {
  const text = readAtMost(path, MOST_TABLES).toString('utf8');
  let list: unknown;
  try {
    list = parseJson(text);
  } catch (cause) {
    throw new Error(`${path} could not be read as JSON: ${(cause as Error).message}`, { cause });
  }
  if (!Array.isArray(list)) throw new Error(`Expected a list of solver tables in ${path}`);
  return list.map((one, i) => {
    try {
      return readTable(one, `[${i}]`);
    } catch (cause) {
      throw new Error(`${(cause as Error).message}, in ${path}`, { cause });
    }
  });
}

/** Options of a solver that have no part in which times and rows a run has. */
const BESIDE = ['threads', 'checkFinite', 'correctX0', 'noise'];

/**
 * The table that a call runs by where it says nothing of the solver: one of as many evaluations, made for this schedule
 * and this guidance.
 */
export function tableFor(
  tables: readonly SolverTable[],
  request: Pick<Request, 'choices' | 'steps' | 'span' | 'rescale' | 'scheduler' | 'guidance'>,
  { schedule, modelType, scale }: { schedule: NoiseSchedule; modelType: string; scale: number },
): SolverTable | undefined {
  const { choices, steps, span, rescale, scheduler, guidance } = request;
  const asked = Object.keys(choices).some((key) => !BESIDE.includes(key));
  if (asked || guidance.how || !isWhole(span) || rescale !== 0 || scheduler) return undefined;
  const { kind, hash } = tableSchedule(schedule);
  return tables.find(
    (one) =>
      one.sigmas.length === steps + 1 &&
      one.modelType === modelType &&
      one.schedule.kind === kind &&
      one.schedule.hash === hash &&
      (one.guidance?.scale ?? 1) === scale &&
      // Other variants of guidance are not the pipeline's.
      (one.guidance?.variant ?? 'cfg') === 'cfg' &&
      one.guidance?.interval === undefined,
  );
}
