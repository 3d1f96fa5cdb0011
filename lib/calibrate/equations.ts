// The normal equations of Gauss and Newton, sample by sample: what is left at the end and its derivatives by a student's
// numbers, which are differences of runs from the step on that they change.
import type { Axis } from './axis.js';
import { errorsOf, type Range, residual } from './compare.js';
import type { Network } from './network.js';
import { change, firstChanged, type Parameter } from './parameters.js';
import { type Batch, endOf, type Path, programOf, runFrom } from './path.js';
import { copyStudent, type Student } from './student.js';

/** What calibration works with, the same for all students. */
export interface Bench {
  readonly network: Network;
  readonly axis: Axis;
  readonly modelTime: (t: number) => number;
  readonly batches: readonly Batch[];
  readonly range: Range;
}

/** Of one sample, per number of it: J'J, -J'r and r'r. */
export interface Equations {
  /** P x P, of which the lower triangle is filled. */
  readonly A: Float64Array;
  readonly b: Float64Array;
  readonly square: number;
}

/** Steps of the differences: of corrections and shifts, and of places by the distance to the nearer time. */
const DIFFERENCE = { float32: { size: 2e-3, share: 1e-2 }, float64: { size: 1e-4, share: 1e-3 } } as const;

/** All batches through a student; evaluations count. */
export async function runAll(bench: Bench, student: Student): Promise<{ paths: Path[]; errors: number[] }> {
  const program = programOf(student, bench.axis, bench.modelTime);
  const paths: Path[] = [];
  const errors: number[] = [];
  for (const batch of bench.batches) {
    const path = await runFrom(bench.network, program, batch);
    paths.push(path);
    errors.push(...errorsOf(residual(endOf(path), batch.end, bench.range), bench.network.size));
  }
  return { paths, errors };
}

/** @param paths where the student goes, by batch */
export async function equationsOf(
  bench: Bench,
  student: Student,
  parameters: readonly Parameter[],
  paths: readonly Path[],
): Promise<Equations[]> {
  const { network, axis, modelTime, batches, range } = bench;
  const { size, share } = DIFFERENCE[network.type];
  const { places } = student;
  const changed = parameters.map((parameter) => {
    const { of, step } = parameter;
    const by =
      of === 'place' ? share * Math.min(places[step] - places[step - 1], places[step + 1] - places[step]) : size;
    const other = copyStudent(student);
    change(other, parameter, by);
    return { program: programOf(other, axis, modelTime), by };
  });
  const all: Equations[] = [];
  for (const [index, batch] of batches.entries()) {
    const known = paths[index];
    const r = residual(endOf(known), batch.end, range);
    const columns: Float64Array[] = [];
    for (const [c, parameter] of parameters.entries()) {
      const from = firstChanged(parameter);
      // What the network is told changes its prediction, all else only what is made of it.
      const predicted = parameter.of !== 'shift';
      const path = await runFrom(network, changed[c].program, batch, { from, predicted, known });
      const column = residual(endOf(path), batch.end, range);
      for (let i = 0; i < column.length; i++) column[i] = (column[i] - r[i]) / changed[c].by;
      columns.push(column);
    }
    for (let s = 0; s < batch.samples.length; s++) {
      all.push(equationsOfSample(r, columns, s * network.size, (s + 1) * network.size));
    }
  }
  return all;
}

function equationsOfSample(r: Float64Array, columns: readonly Float64Array[], begin: number, end: number): Equations {
  const P = columns.length;
  const n = end - begin;
  const A = new Float64Array(P * P);
  const b = new Float64Array(P);
  for (let i = 0; i < P; i++) {
    b[i] = -dot(columns[i], r, begin, end) / n;
    for (let j = 0; j <= i; j++) A[i * P + j] = dot(columns[i], columns[j], begin, end) / n;
  }
  return { A, b, square: dot(r, r, begin, end) / n };
}

function dot(a: Float64Array, b: Float64Array, begin: number, end: number): number {
  let sum = 0;
  for (let i = begin; i < end; i++) sum += a[i] * b[i];
  return sum;
}
