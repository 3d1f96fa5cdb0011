/**
 * Stochastic samplers against the solvers of the ODE, judged by the distribution that they draw from:
 *
 *     npm run bench:stochastic
 *
 * The sliced Wasserstein distance (order 2, 128 directions) between what a sampler gives and the exact distribution at
 * t = 1e-3, of which 16 times as many draws are taken; the floor is what that many exact draws are measured at. Besides,
 * the variance that the reverse SDE's solvers end with on a normal distribution, which is computed and not sampled.
 * Deterministic. A problem that bench/results/stochastic.json has already is taken from there unless --again is given.
 */
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import type { SampleOptions, SolverOptions } from '../../lib/index.js';
import { DPMSolverMultistepScheduler, DPMSolverSinglestepScheduler } from '../../lib/schedulers/index.js';
import { timeGrid } from '../../lib/schedule/grid.js';
import { machine } from '../machine.js';
import { ancestral, eulerMaruyama, evenTimes, noisePower } from './baselines.js';
import { normal, pointOf } from './mixture.js';
import {
  kStart,
  lambdaEnd,
  lambdaOf,
  PROBLEMS,
  type Problem,
  quantiles,
  schedule,
  schedulerConfig,
  startNoise,
  tEnd,
  tStart,
} from './problems.js';
import { type Grid, solver, unipc } from './solvers.js';

const LONG = [10, 20, 50, 100, 200, 500, 1000];
const SHORT = [5, 6, 8, 10, 15, 20, 50, 100];
const DIRECTIONS = 128;
/** Draws that Analytic-DPM's one pass over the network takes per time. */
const POWER_DRAWS = 1024;

export interface Distances {
  description: string;
  samples: number;
  /** Distances of exact draws. */
  floor: number[];
  rows: { name: string; grid: string; nfe: number; distance: number }[];
}
export interface Variances {
  /** Standard deviation of the data. */
  deviation: number;
  rows: { name: string; order: number; nfe: number; variance: number; exact: number }[];
}
export interface StochasticResults {
  problems: Record<string, Distances>;
  variances: Variances;
}

/** Sliced Wasserstein distance to a large sample, whose sorted projections are made once. */
class Sliced {
  readonly #directions: Float64Array[];
  readonly #exact: Float64Array[];

  constructor(
    readonly size: number,
    exact: Float64Array,
  ) {
    const gauss = normal(99);
    this.#directions = Array.from({ length: DIRECTIONS }, () => {
      const v = Float64Array.from({ length: size }, gauss);
      const length = Math.hypot(...v);
      return v.map((value) => value / length);
    });
    this.#exact = this.#directions.map((v) => this.#project(exact, v));
  }

  #project(x: Float64Array, v: Float64Array): Float64Array {
    const { size } = this;
    const out = new Float64Array(x.length / size);
    for (let b = 0; b < out.length; b++) {
      let sum = 0;
      for (let d = 0; d < size; d++) sum += x[b * size + d] * v[d];
      out[b] = sum;
    }
    return out.sort();
  }

  distance(x: Float64Array): number {
    let sum = 0;
    this.#directions.forEach((v, i) => {
      const [mine, exact] = [this.#project(x, v), this.#exact[i]];
      // Each of mine stands for as many of the exact ones as there are more of them.
      const times = exact.length / mine.length;
      let squares = 0;
      for (let j = 0; j < exact.length; j++) squares += (mine[Math.floor(j / times)] - exact[j]) ** 2;
      sum += squares / exact.length;
    });
    return Math.sqrt(sum / DIRECTIONS);
  }
}

async function distances(problem: Problem, samples: number): Promise<Distances> {
  const { mixture, name: problemName } = problem;
  const end = pointOf(lambdaEnd);
  const sliced = new Sliced(mixture.size, mixture.draw(16 * samples, 1, end));
  const floor = Array.from({ length: 16 }, (_, i) => sliced.distance(mixture.draw(samples, 100 + i, end)));
  const x = startNoise(problem, samples, 7);
  const rows: Distances['rows'] = [];
  const add = async (
    name: string,
    grid: string,
    counts: number[],
    run: (nfe: number) => Float64Array | Promise<Float64Array>,
  ) => {
    for (const nfe of counts)
      rows.push({ name, grid, nfe, distance: Number(sliced.distance(await run(nfe)).toPrecision(5)) });
    const found = rows
      .filter((r) => r.name === name && r.grid === grid)
      .map((r) => `${r.nfe}: ${r.distance.toFixed(4)}`);
    console.log(`${problemName}  ${name.padEnd(28)} ${grid.padEnd(13)} ${found.join('  ')}`);
  };
  console.log(`${problemName}  floor ${quantiles(floor, [0.5])[0].toFixed(4)}`);
  const library = (name: string, options: SolverOptions, sample: SampleOptions, grids: Grid[]) =>
    Promise.all(
      grids.map((grid) =>
        add(name, grid, SHORT, async (nfe) => (await solver(options, sample)(mixture, x, nfe, grid)).data),
      ),
    );
  await library('DDIM', {}, { order: 1 }, ['logSNR', 'time_uniform']);
  await library('DPM-Solver++(2M)', {}, { order: 2 }, ['logSNR', 'time_uniform']);
  await add('UniPC-2', 'logSNR', SHORT, async (nfe) => (await unipc(2)(mixture, x, nfe, 'logSNR')).data);
  const sde: SolverOptions = { algorithmType: 'sde-dpmsolver++' };
  await library('SDE-DPM-Solver++(1)', sde, { order: 1, seed: 3 }, ['logSNR']);
  await library('SDE-DPM-Solver++(2M)', sde, { order: 2, seed: 3 }, ['logSNR']);
  await library('SDE-DPM-Solver++(2S)', sde, { order: 2, seed: 3, method: 'singlestep' }, ['logSNR']);
  await add('DDPM', 'time_uniform', LONG, (n) => ancestral(mixture, x, n, normal(n)));
  await add('Analytic-DPM', 'time_uniform', LONG, (n) =>
    ancestral(mixture, x, n, normal(n), noisePower(mixture, evenTimes(n).slice(0, n), POWER_DRAWS, 1e6 + n)),
  );
  await add('Euler-Maruyama', 'time_uniform', LONG, (n) => eulerMaruyama(mixture, x, n, normal(n)));
  return { description: problem.description, samples, floor, rows };
}

/**
 * The variance at the end of a run of an SDE solver on data from N(0, deviation^2), where all is linear: each element of
 * the state follows one unit of noise, that of the start or of one step, and the squares of where they end add up.
 */
function variances(): Variances {
  const deviation = 0.5;
  const end = pointOf(lambdaEnd);
  const exact = (end.alpha * deviation) ** 2 + end.sigma ** 2;
  const rows: Variances['rows'] = [];
  for (const [name, Class] of [
    ['multistep', DPMSolverMultistepScheduler],
    ['singlestep', DPMSolverSinglestepScheduler],
  ] as const) {
    for (const algorithm_type of ['sde-dpmsolver++', 'sde-dpmsolver']) {
      for (const solver_order of [1, 2, 3]) {
        for (const nfe of [6, 12, 24, 48, 96, 192]) {
          const s = Class.fromConfig({ ...schedulerConfig(), algorithm_type, solver_order, lower_order_final: true });
          s.setTimesteps({
            sigmas: Array.from(
              timeGrid(schedule, { skipType: 'logSNR', steps: nfe, tStart, tEnd }).subarray(0, nfe),
              (t, i) => (i === 0 ? kStart : Math.exp(-lambdaOf(t))),
            ),
          });
          const dims = [1, nfe + 1];
          let state = { data: new Float64Array(nfe + 1), dims };
          state.data[0] = 1;
          for (let i = 0; i < nfe; i++) {
            const { alpha, sigma } = pointOf(-Math.log(s.sigmas[i]));
            const gain = sigma / ((alpha * deviation) ** 2 + sigma ** 2);
            const noise = { data: new Float64Array(nfe + 1), dims };
            noise.data[i + 1] = 1;
            const output = { data: state.data.map((value) => gain * value), dims };
            state = s.step(output, s.timesteps[i], state, { noise }) as typeof state;
          }
          const variance = state.data.reduce((sum, value) => sum + value * value, 0);
          rows.push({ name: `${algorithm_type} ${name}`, order: solver_order, nfe, variance, exact });
        }
        const found = rows.slice(-6).map((r) => `${r.nfe}: ${(100 * (r.variance / r.exact - 1)).toFixed(2)}%`);
        console.log(`variance of ${algorithm_type} ${name} ${solver_order}:  ${found.join('  ')}`);
      }
    }
  }
  return { deviation, rows };
}

async function main() {
  const { values } = parseArgs({
    options: {
      again: { type: 'boolean', default: false },
      problem: { type: 'string', multiple: true },
      samples: { type: 'string' },
      out: { type: 'string', default: fileURLToPath(new URL('../results/stochastic.json', import.meta.url)) },
    },
  });
  const known = !values.again && existsSync(values.out);
  const problems = known ? (JSON.parse(readFileSync(values.out, 'utf8')) as StochasticResults).problems : {};
  const save = (more: object) =>
    writeFileSync(
      values.out,
      `${JSON.stringify({ command: 'npm run bench:stochastic', machine: machine(), directions: DIRECTIONS, powerDraws: POWER_DRAWS, problems, ...more })}\n`,
    );
  const found = variances();
  for (const [name, samples] of [
    ['2-D', 8192],
    ['48-D', 2048],
  ] as const) {
    if (problems[name] || (values.problem && !values.problem.includes(name))) continue;
    problems[name] = await distances(PROBLEMS.find((p) => p.name === name)!, Number(values.samples ?? samples));
    save({ variances: found });
  }
  save({ variances: found });
  console.log(`written to ${values.out}`);
}

main().catch((error) => {
  console.error(error);
  process.exitCode = 1;
});
