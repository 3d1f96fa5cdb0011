// What a calibration says of itself.
import type { SolverTable } from '../solver/table.js';

/** What a calibration has found. */
export interface Calibration {
  /** One for each number of steps: the calibrated one where it is better, else that of the best classic solver. */
  tables: SolverTable[];
  /** One for each number of steps. */
  report: CalibrationReport[];
  /** Evaluations of one sample that the teacher took, for all numbers of steps together. */
  teacherEvaluations: number;
}

/** How one number of steps came out. Errors are means over samples of the RMS distance to where the teacher ends. */
export interface CalibrationReport {
  /** Evaluations of the table. */
  steps: number;
  /** Where the fit began that became the table, and how it went on. */
  start: string;
  /** The table's error on the samples it was fitted to. */
  train: number;
  /** The table's error on the samples it was not fitted to. */
  heldOut: number;
  /** The best classic solver's error on those samples. */
  classic: number;
  /** Which classic solver that is. */
  classicName: string;
  /** The share of paired bootstraps in which the table's error is the smaller one. */
  wins: number;
  /** What the table holds; the calibrated one needs 0.975 of the bootstraps. */
  kept: 'table' | 'classic';
  /** Evaluations of one sample, by what they were for. */
  evaluations: {
    /** The classic solvers on the samples held out. */
    classics: number;
    /** Searches and fits. */
    fit: number;
    /** What was fitted on the samples held out. */
    choice: number;
  };
  /** Every candidate on the samples held out, or on the first of them where those said enough. */
  candidates: {
    /** A solver and its grid, or where a fit began. */
    name: string;
    /** The mean error. */
    heldOut: number;
    /** Its standard error. */
    error: number;
  }[];
}
