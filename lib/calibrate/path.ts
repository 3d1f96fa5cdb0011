// The way of a batch of samples through a student's steps. What a change of one step leaves alone is not made again.
import type { StateArray } from '../addon/native.js';
import type { ScheduleNode } from '../schedule/noise-schedule.js';
import type { Axis } from './axis.js';
import { applyRow, type Network, stateArray } from './network.js';
import { nodesOf, type Row, rowsOf, type Student } from './student.js';

/** Samples that share a network call. */
export interface Batch {
  readonly samples: readonly number[];
  /** Where they start, and where the teacher takes them. */
  readonly start: StateArray;
  readonly end: StateArray;
}

/** All samples together. */
export function count(batches: readonly Batch[]): number {
  return batches.reduce((sum, { samples }) => sum + samples.length, 0);
}

/** The first `most` samples, of `size` numbers each, without a copy. */
export function firstOf(batches: readonly Batch[], most: number, size: number): Batch[] {
  let left = most;
  return batches.flatMap(({ samples, start, end }) => {
    const n = Math.min(left, samples.length);
    left -= n;
    if (n === 0) return [];
    return [{ samples: samples.slice(0, n), start: start.subarray(0, n * size), end: end.subarray(0, n * size) }];
  });
}

/** The states of a batch, n + 1 of them, and the predictions at the first n. */
export interface Path {
  readonly states: readonly StateArray[];
  readonly predictions: readonly StateArray[];
}

/** A student's numbers, ready to be run. */
export interface Program {
  readonly nodes: readonly ScheduleNode[];
  readonly rows: readonly Row[];
  /** modelTime of each evaluation. */
  readonly told: readonly number[];
}

export function programOf(student: Student, axis: Axis, modelTime: (t: number) => number): Program {
  const nodes = nodesOf(student, axis);
  const told = Array.from(student.shifts, (shift, i) => modelTime(axis.timeAt(student.places[i] + shift)));
  return { nodes, rows: rowsOf(student, nodes), told };
}

/**
 * Runs a program from step `from` on. What lies before (states up to `from`, predictions below it, or up to it where
 * `predicted`) is taken from `known`, without a copy.
 */
export async function runFrom(
  network: Network,
  { nodes, rows, told }: Program,
  batch: Batch,
  { from = 0, predicted = false, known }: { from?: number; predicted?: boolean; known?: Path } = {},
): Promise<Path> {
  const steps = rows.length;
  const length = batch.start.length;
  const states: StateArray[] = known ? known.states.slice(0, from + 1) : [batch.start];
  const predictions: StateArray[] = known ? known.predictions.slice(0, predicted ? from + 1 : from) : [];
  for (let i = from; i < steps; i++) {
    if (predictions.length <= i) {
      const prediction = stateArray(network.type, length);
      await network.predict(states[i], nodes[i], told[i], batch.samples, prediction);
      predictions.push(prediction);
    }
    const next = stateArray(network.type, length);
    const read = Array.from({ length: rows[i].length - 1 }, (_, k) => predictions[i - k]);
    applyRow(rows[i], states[i], read, next);
    states.push(next);
  }
  return { states, predictions };
}

/** The end of a path. */
export const endOf = ({ states }: Path): StateArray => states[states.length - 1];
