/**
 * Error against evaluations, where the score is exact:
 *
 *     npm run bench:error [-- --samples 256]
 *
 * Per problem (problems.ts) and row (solvers.ts) quantiles over the samples of the RMS distance between where a solver
 * ends and where the probability flow through the same noise ends. Deterministic: it may run beside other work. A problem
 * that bench/results/error.json has already, with as many samples, is taken from there unless --again is given.
 */
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { machine } from '../machine.js';
import {
  errors,
  lambdaEnd,
  lambdaStart,
  PROBLEMS,
  type Problem,
  quantiles,
  reference,
  startNoise,
} from './problems.js';
import { FINAL_ROWS, GRID_ROWS, ROWS, type Row, TOLERANCE_ROWS } from './solvers.js';

export const EVALUATIONS = [5, 6, 8, 10, 12, 15, 18, 20, 24, 30, 36, 42, 48];
export const QUANTILES = [0.05, 0.25, 0.5, 0.75, 0.95];

export interface Measured {
  name: string;
  grid: string;
  nfe: number;
  /** Where a tolerance was given. */
  tolerance?: number;
  /** Quantiles of the error. */
  error: number[];
}
export interface ErrorResults {
  samples: number;
  quantiles: number[];
  problems: Record<string, { description: string; referenceDifference: number; rows: Measured[] }>;
}

async function measure(problem: Problem, samples: number) {
  const { mixture } = problem;
  const x = startNoise(problem, samples);
  const { end, difference } = reference(problem, x, lambdaStart, lambdaEnd);
  console.log(`${problem.name}: the reference is known to ${difference.toExponential(1)}`);
  const rows: Measured[] = [];
  const add = (name: string, grid: string, outcome: { data: Float64Array; nfe: number }, tolerance?: number) => {
    const error = quantiles(errors(outcome.data, end, mixture.size), QUANTILES).map((e) => Number(e.toPrecision(5)));
    rows.push({ name, grid, nfe: outcome.nfe, ...(tolerance === undefined ? {} : { tolerance }), error });
  };
  for (const { name, solve, grids, multiple = 1 } of [...ROWS, ...GRID_ROWS, ...FINAL_ROWS] satisfies Row[]) {
    for (const grid of grids) {
      for (const nfe of EVALUATIONS.filter((n) => n % multiple === 0)) {
        add(name, grid, await solve(mixture, x, nfe, grid));
      }
      const medians = rows.filter((r) => r.name === name && r.grid === grid).map((r) => r.error[2].toExponential(1));
      console.log(`${problem.name}  ${name.padEnd(46)} ${grid.padEnd(14)} ${medians.join(' ')}`);
    }
  }
  for (const { name, solve, tolerances } of TOLERANCE_ROWS) {
    for (const tolerance of tolerances) add(name, 'adaptive', await solve(mixture, x, tolerance), tolerance);
    const found = rows.filter((r) => r.name === name).map((r) => `${r.nfe}: ${r.error[2].toExponential(1)}`);
    console.log(`${problem.name}  ${name.padEnd(46)} ${found.join('  ')}`);
  }
  return { description: problem.description, referenceDifference: difference, rows };
}

async function main() {
  const { values } = parseArgs({
    options: {
      samples: { type: 'string', default: '256' },
      again: { type: 'boolean', default: false },
      problem: { type: 'string', multiple: true },
      out: { type: 'string', default: fileURLToPath(new URL('../results/error.json', import.meta.url)) },
    },
  });
  const samples = Number(values.samples);
  const old = existsSync(values.out) ? (JSON.parse(readFileSync(values.out, 'utf8')) as ErrorResults) : undefined;
  const problems = !values.again && old?.samples === samples ? old.problems : {};
  for (const problem of PROBLEMS) {
    if (problems[problem.name] || (values.problem && !values.problem.includes(problem.name))) continue;
    problems[problem.name] = await measure(problem, samples);
    // In the order of problems.ts, whatever was there before.
    for (const { name } of PROBLEMS) {
      const found = problems[name];
      delete problems[name];
      if (found) problems[name] = found;
    }
    const report = { command: 'npm run bench:error', machine: machine(), samples, quantiles: QUANTILES, problems };
    writeFileSync(values.out, `${JSON.stringify(report)}\n`);
  }
  console.log(`written to ${values.out}`);
}

main().catch((error) => {
  console.error(error);
  process.exitCode = 1;
});
