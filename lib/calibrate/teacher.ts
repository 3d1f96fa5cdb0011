// Where many steps lead: what students are compared with. Made once for every sample.
import type { StateArray } from '../addon/native.js';
import type { Axis } from './axis.js';
import { applyRow, type Network, stateArray } from './network.js';
import { classicRow } from './student.js';
import type { Order } from '../schedule/orders.js';

/** A batch's way under the teacher. */
export interface Lesson {
  readonly end: StateArray;
  /** The states at the teacher's places, the first and the last included; only where they are asked for. */
  readonly states: readonly StateArray[] | null;
}

/** The teacher's places: even on the axis, as its steps are. */
export function teacherPlaces(steps: number): Float64Array {
  return Float64Array.from({ length: steps + 1 }, (_, i) => i / steps);
}

/**
 * DPM-Solver++(3M), of lower order at both ends.
 *
 * @param keep are the states between wanted?
 */
export async function teach(
  network: Network,
  axis: Axis,
  modelTime: (t: number) => number,
  { steps, samples, start, keep }: { steps: number; samples: readonly number[]; start: StateArray; keep: boolean },
): Promise<Lesson> {
  const times = Array.from(teacherPlaces(steps), (place) => axis.timeAt(place));
  const nodes = Array.from(teacherPlaces(steps), (place) => axis.nodeAt(place));
  const states: StateArray[] = [start];
  let state = start;
  let history: StateArray[] = [];
  for (let i = 0; i < steps; i++) {
    const prediction = stateArray(network.type, start.length);
    await network.predict(state, nodes[i], modelTime(times[i]), samples, prediction);
    history = [prediction, ...history].slice(0, 3);
    const order = Math.min(3, i + 1, steps - i) as Order;
    const next = stateArray(network.type, start.length);
    applyRow(classicRow(nodes, i, order, 1 + order, true), state, history.slice(0, order), next);
    if (keep) states.push(next);
    state = next;
  }
  return { end: state, states: keep ? states : null };
}
