/**
 * The picture that explains: trajectories of samples through the 2-D mixture under DDIM and DPM-Solver++(2M) at 10 steps,
 * and the exact ones:
 *
 *     npx tsx bench/error/trajectories.ts
 */
import { writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { DPMSolver } from '../../lib/index.js';
import { machine } from '../machine.js';
import { pointOf } from './mixture.js';
import {
  errors,
  exact,
  lambdaEnd,
  lambdaOf,
  lambdaStart,
  PROBLEMS,
  schedule,
  startNoise,
  tEnd,
  tStart,
} from './problems.js';
import type { Grid } from './solvers.js';

const STEPS = 10;
const SAMPLES = 14;
const GRID: Grid = 'time_quadratic';
/** Points of an exact trajectory. */
const FINE = 60;

export interface Trajectories {
  steps: number;
  grid: string;
  /** [sample][point][x, y] */
  exact: number[][][];
  solvers: { name: string; paths: number[][][]; errors: number[] }[];
}

const problem = PROBLEMS[0];
const { mixture } = problem;
/** The first seed whose starts all lie in the picture. */
const inside = (state: Float64Array) => state.every((value, i) => Math.abs(value) < (i % 2 ? 2 : 2.2));
let seed = 0;
while (!inside(startNoise(problem, SAMPLES, seed))) seed++;
const x = startNoise(problem, SAMPLES, seed);
const round = (value: number) => Number(value.toFixed(4));
const paths = (states: readonly Float64Array[]) =>
  Array.from({ length: SAMPLES }, (_, b) => states.map((s) => [round(s[2 * b]), round(s[2 * b + 1])]));

async function main() {
  const fine = [x];
  for (let i = 0; i < FINE; i++) {
    const at = (k: number) => lambdaStart + ((lambdaEnd - lambdaStart) * k) / FINE;
    fine.push(exact(mixture, fine[i], at(i), at(i + 1), 2));
  }
  const solvers: Trajectories['solvers'] = [];
  for (const [name, order] of [
    ['DDIM', 1],
    ['DPM-Solver++(2M)', 2],
  ] as const) {
    const model = (y: { data?: unknown; dims?: unknown }, t: number) => ({
      data: mixture.noise(y.data as Float64Array, pointOf(lambdaOf(t))),
      dims: y.dims as number[],
    });
    const run = await new DPMSolver(model, schedule).sample(
      { data: x, dims: [SAMPLES, 2] },
      { steps: STEPS, order, skipType: GRID, tStart, tEnd, intermediates: true },
    );
    const states = run.intermediates!.map((state) => state.data as Float64Array);
    solvers.push({ name, paths: paths(states), errors: errors(states[STEPS], fine[FINE], 2).map(round) });
  }
  const found: Trajectories = { steps: STEPS, grid: GRID, exact: paths(fine), solvers };
  const file = fileURLToPath(new URL('../results/trajectories.json', import.meta.url));
  const report = { command: 'npx tsx bench/error/trajectories.ts', machine: machine(), seed, ...found };
  writeFileSync(file, `${JSON.stringify(report)}\n`);
  for (const s of solvers) console.log(s.name, s.errors.join(' '));
}

main().catch((error) => {
  console.error(error);
  process.exitCode = 1;
});
