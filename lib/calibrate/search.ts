// Coordinate descent on the times, with rows fitted step by step inside the search: the times are places of the teacher, so that
// its own states are what the rows are fitted to.
import { errorsOf, mean, residual } from './compare.js';
import { fitRow } from './greedy.js';
import { applyRow, stateArray, unlessNotFinite } from './network.js';
import { type Batch, count, endOf, type Path } from './path.js';
import type { Bench } from './equations.js';
import { classicStudent, correctedRow, type Student } from './student.js';
import type { StateArray } from '../addon/native.js';
import type { Order } from '../schedule/orders.js';
import { teacherPlaces } from './teacher.js';

/** A batch with the teacher's states. */
export interface TaughtBatch extends Batch {
  readonly states: readonly StateArray[];
}

/** What a search has found: indices of the teacher's places, and what was fitted there. */
export interface Found {
  readonly indices: readonly number[];
  readonly student: Student;
  readonly error: number;
}

interface Attempt extends Found {
  readonly paths: readonly Path[];
}

/** Runs a student on the teacher's places and fits each row where it is needed; what lies before step `from` is `known`. */
export async function fitAlong(
  bench: Bench,
  batches: readonly TaughtBatch[],
  indices: readonly number[],
  { orders, window, known, from = 0 }: { orders: readonly Order[]; window: number; known?: Attempt; from?: number },
): Promise<Attempt> {
  const { network, axis, modelTime, range } = bench;
  const teacher = teacherPlaces(batches[0].states.length - 1);
  const student = classicStudent(
    indices.map((i) => teacher[i]),
    orders,
    window,
  );
  const steps = indices.length - 1;
  const times = Array.from(student.places, (place) => axis.timeAt(place));
  const nodes = Array.from(student.places, (place) => axis.nodeAt(place));
  const paths = batches.map((batch, b) => ({
    states: known ? known.paths[b].states.slice(0, from + 1) : [batch.start],
    predictions: known ? known.paths[b].predictions.slice(0, from + 1) : ([] as StateArray[]),
  }));
  for (let i = 0; i < from; i++) student.corrections[i].set(known!.student.corrections[i]);
  for (let i = from; i < steps; i++) {
    for (const [b, batch] of batches.entries()) {
      const path = paths[b];
      if (path.predictions.length > i) continue;
      const prediction = stateArray(network.type, batch.start.length);
      await network.predict(path.states[i], nodes[i], modelTime(times[i]), batch.samples, prediction);
      path.predictions.push(prediction);
    }
    const ways = student.corrections[i].length;
    const operands = batches.map((batch, b) => ({
      state: paths[b].states[i],
      predictions: Array.from({ length: ways - 1 }, (_, k) => paths[b].predictions[i - k]),
      target: batch.states[indices[i + 1]],
    }));
    student.corrections[i].set(fitRow(nodes, i, orders[i], ways, operands));
    const row = correctedRow(student, nodes, i, orders[i]);
    for (const [b, batch] of batches.entries()) {
      const next = stateArray(network.type, batch.start.length);
      applyRow(row, operands[b].state, operands[b].predictions, next);
      paths[b].states.push(next);
    }
  }
  const errors = batches.flatMap((batch, b) => errorsOf(residual(endOf(paths[b]), batch.end, range), network.size));
  return { indices, student, error: mean(errors), paths };
}

/** Moves of the search, in shares of the teacher's places between two times: coarse ones first. */
const MOVES = [0.4, 0.2, 0.1];

/**
 * Moves one time at a time as long as the mean error falls: by ever smaller steps, the latest times first, as they cost
 * least. Ends when no move helps or after `budget` evaluations.
 */
export async function searchTimes(
  bench: Bench,
  batches: readonly TaughtBatch[],
  start: readonly number[],
  { orders, window, budget }: { orders: readonly Order[]; window: number; budget: number },
): Promise<Found> {
  const { network } = bench;
  const first = network.evaluations;
  const spent = () => network.evaluations - first;
  const samples = count(batches);
  const steps = start.length - 1;
  const last = start[steps];
  let best = await fitAlong(bench, batches, start, { orders, window });
  const sizes = [...new Set(MOVES.map((share) => Math.max(1, Math.round((share * last) / steps))))];
  for (const size of sizes) {
    let improved = true;
    while (improved) {
      improved = false;
      for (let k = steps - 1; k >= 1; k--) {
        for (const by of [-size, size]) {
          for (;;) {
            const at = best.indices[k] + by;
            if (at <= best.indices[k - 1] || at >= best.indices[k + 1]) break;
            if (spent() + (steps - k) * samples > budget) return best;
            const indices = best.indices.map((one, i) => (i === k ? at : one));
            const tried = await unlessNotFinite(
              fitAlong(bench, batches, indices, { orders, window, known: best, from: k - 1 }),
            );
            if (!(tried && tried.error < best.error)) break;
            best = tried;
            improved = true;
          }
        }
      }
    }
  }
  return best;
}
