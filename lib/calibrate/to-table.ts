// From a student to the table that it is.
import type { NetworkType } from '../solver/options.js';
import type { NoiseSchedule } from '../schedule/noise-schedule.js';
import { sigmaOf } from '../schedule/sigmas.js';
import { readTable, type SolverTable, TABLE_FORMAT, type TableGuidance, tableSchedule } from '../solver/table.js';
import type { Axis } from './axis.js';
import { programOf } from './path.js';
import type { Student } from './student.js';

/** What a table says of itself besides. */
export interface About {
  readonly name: string;
  readonly source: string;
  readonly modelType: NetworkType;
  readonly guidance?: TableGuidance;
  readonly heldOut?: SolverTable['heldOut'];
}

export function tableOf(student: Student, schedule: NoiseSchedule, axis: Axis, about: About): SolverTable {
  const { name, source, modelType, guidance, heldOut } = about;
  const modelTime = (t: number) => schedule.modelTime(t);
  const { rows, told } = programOf(student, axis, modelTime);
  const times = Array.from(student.places, (place) => axis.timeAt(place));
  const shifted = student.shifts.some((shift) => shift !== 0);
  return readTable({
    ...{ format: TABLE_FORMAT, name, source, modelType, schedule: tableSchedule(schedule), form: 'data' },
    sigmas: times.map((t) => sigmaOf(schedule, t)),
    times,
    ...(shifted ? { modelTimes: told } : {}),
    rows: rows.map((row) => trimmed(row)),
    ...(guidance ? { guidance } : {}),
    ...(heldOut ? { heldOut } : {}),
  });
}

/** Without the zeros that a classic row ends in. */
function trimmed(row: Float64Array): number[] {
  let length = row.length;
  while (length > 2 && row[length - 1] === 0) length--;
  return Array.from(row.subarray(0, length));
}
