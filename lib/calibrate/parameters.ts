// The numbers of a student that are fitted, as a list.
import { copyStudent, type Student } from './student.js';

/** Which of a student's numbers are free. */
export interface Free {
  readonly times: boolean;
  readonly rows: boolean;
  readonly shifts: boolean;
}

/** One number of a student. */
export interface Parameter {
  readonly of: 'place' | 'shift' | 'correction';
  readonly step: number;
  /** Which correction. */
  readonly k: number;
}

/** Standard deviations of the prior: of corrections, and of places and shifts by the mean distance of two times. */
const PRIOR = { correction: 0.3, place: 0.5, shift: 0.2 } as const;

/** No distance between two times shrinks by more than this share in one iteration. */
const MOST_SHRINKING = 0.6;

export function parametersOf(student: Student, free: Free): Parameter[] {
  const list: Parameter[] = [];
  const steps = student.corrections.length;
  if (free.times) for (let step = 1; step < steps; step++) list.push({ of: 'place', step, k: 0 });
  if (free.shifts) for (let step = 0; step < steps; step++) list.push({ of: 'shift', step, k: 0 });
  if (free.rows) {
    student.corrections.forEach((corrections, step) => {
      for (let k = 0; k < corrections.length; k++) list.push({ of: 'correction', step, k });
    });
  }
  return list;
}

/** The first step that is made anew where a parameter changes: a place is the target of the step before it. */
export function firstChanged({ of, step }: Parameter): number {
  return of === 'place' ? step - 1 : step;
}

/** Evaluations of one sample that the derivatives by all parameters take. */
export function derivativeCost(student: Student, free: Free): number {
  const steps = student.corrections.length;
  const cost = ({ of, step }: Parameter) => steps - (of === 'correction' ? step + 1 : step);
  return parametersOf(student, free).reduce((sum, one) => sum + cost(one), 0);
}

/** Adds to one number of a student, in place. */
export function change(student: Student, { of, step, k }: Parameter, by: number): void {
  if (of === 'place') student.places[step] += by;
  else if (of === 'shift') student.shifts[step] += by;
  else student.corrections[step][k] += by;
}

/** The prior's standard deviation of a parameter. */
export function deviationOf(student: Student, { of }: Parameter): number {
  return of === 'correction' ? PRIOR.correction : PRIOR[of] / student.corrections.length;
}

function numberOf({ places, shifts, corrections }: Student, { of, step, k }: Parameter): number {
  return of === 'place' ? places[step] : of === 'shift' ? shifts[step] : corrections[step][k];
}

/** How far each parameter is from where the prior has it, in its standard deviations. */
export function strainsOf(student: Student, origin: Student, parameters: readonly Parameter[]): Float64Array {
  return Float64Array.from(
    parameters,
    (one) => (numberOf(student, one) - numberOf(origin, one)) / deviationOf(student, one),
  );
}

/** A student moved along `step`, or along as much of it as leaves the order and the distances of its times sensible. */
export function moved(student: Student, parameters: readonly Parameter[], step: Float64Array): Student {
  const { places } = student;
  const moves = new Float64Array(places.length);
  parameters.forEach(({ of, step: k }, i) => {
    if (of === 'place') moves[k] = step[i];
  });
  let share = 1;
  for (let k = 0; k + 1 < places.length; k++) {
    const most = MOST_SHRINKING * (places[k + 1] - places[k]);
    const shrinks = moves[k] - moves[k + 1];
    if (shrinks > most) share = Math.min(share, most / shrinks);
  }
  const other = copyStudent(student);
  parameters.forEach((parameter, i) => {
    change(other, parameter, share * step[i]);
  });
  return other;
}
