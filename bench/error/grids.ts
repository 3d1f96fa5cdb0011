/**
 * Which grid for which noise schedule: npm run bench:grids
 *
 * DPM-Solver++(2M) on every grid that a schedule allows, from the schedule's own start to its own end, median error as
 * in error.ts. One exact solution serves all schedules: x / alpha is a function of lambda alone.
 */
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { betas, DPMSolver, NoiseSchedule, type SampleOptions, type Tensor } from '../../lib/index.js';
import { machine } from '../machine.js';
import { pointOf } from './mixture.js';
import { errors, exact, PROBLEMS, quantiles, startNoise } from './problems.js';
import type { Grid } from './solvers.js';

const EVALUATIONS = [6, 8, 10, 15, 20, 30];
const GRIDS: Grid[] = ['time_uniform', 'time_quadratic', 'logSNR', 'karras', 'beta'];
const FINAL = [true, 1000] as const;
/** Where lambda is infinite: sigma and alpha are below 1e-5 of the other there. */
const FAR = 12;

export interface GridResults {
  samples: number;
  evaluations: number[];
  rows: {
    problem: string;
    schedule: string;
    grid: string;
    /** Lower orders at the end: below 10 steps, or always. */
    final: 'published' | 'always';
    /** By number of evaluations. */
    error: number[];
  }[];
}

const discrete = NoiseSchedule.discrete({ betas: betas('scaled_linear') });
/** What the network is told back to the schedule's time. */
const SCHEDULES: Record<string, { schedule: NoiseSchedule; timeOf: (modelTime: number) => number }> = {
  'linear, continuous': { schedule: NoiseSchedule.linear(), timeOf: (t) => t },
  'scaled_linear, 1000 steps': { schedule: discrete, timeOf: (t) => (t + 1) / 1000 },
  'cosine, continuous': { schedule: NoiseSchedule.cosine(), timeOf: (t) => t },
  'flow, shift 1': { schedule: NoiseSchedule.flow(), timeOf: (sigma) => sigma },
  'flow, shift 3': { schedule: NoiseSchedule.flow({ shift: 3 }), timeOf: (sigma) => sigma / (3 - 2 * sigma) },
  'EDM, 80 to 0.002': { schedule: NoiseSchedule.edm(), timeOf: (sigma) => sigma },
};

async function main() {
  const { values } = parseArgs({
    options: {
      samples: { type: 'string', default: '32' },
      problem: { type: 'string', multiple: true },
      out: { type: 'string', default: fileURLToPath(new URL('../results/grids.json', import.meta.url)) },
    },
  });
  const samples = Number(values.samples);
  const old = existsSync(values.out) ? (JSON.parse(readFileSync(values.out, 'utf8')) as GridResults) : undefined;
  const again = (name: string) => !values.problem || values.problem.includes(name);
  // Those of other problems stay, if they are of as many samples.
  const rows = old?.samples === samples ? old.rows.filter((row) => !again(row.problem)) : [];
  for (const problem of PROBLEMS.filter(({ name }) => again(name))) {
    const { mixture } = problem;
    const noise = startNoise(problem, samples, 21);
    const dims = [samples, mixture.size];
    for (const [name, { schedule, timeOf }] of Object.entries(SCHEDULES)) {
      const [from, to] = [schedule.node(schedule.T), schedule.node(schedule.epsilon)];
      const end = exact(mixture, noise, Math.max(from.lambda, -FAR), Math.min(to.lambda, FAR), 45);
      if (to.lambda === Infinity) mixture.denoise(end.slice(), pointOf(FAR), end);
      const scale = Math.hypot(to.alpha, to.sigma);
      const expected = end.map((value) => value * scale);
      const spread = Math.hypot(from.alpha, from.sigma);
      const x = { data: noise.map((value) => value * spread), dims };
      const model = (y: Tensor, t: number) => {
        const { alpha, sigma } = schedule.node(timeOf(t));
        const data = new Float64Array(noise.length);
        mixture.denoise(y.data as Float64Array, { alpha, sigma }, data);
        return { data, dims };
      };
      const dpm = new DPMSolver(model, schedule, { modelType: 'x_start' });
      const finite = Number.isFinite(from.lambda) && Number.isFinite(to.lambda);
      for (const grid of GRIDS.filter((g) => finite || g.startsWith('time'))) {
        for (const lowerOrderFinal of FINAL) {
          const found: number[] = [];
          for (const steps of EVALUATIONS) {
            const options: SampleOptions = { steps, order: 2, skipType: grid, lowerOrderFinal };
            const { sample } = await dpm.sample(x, options);
            const [median] = quantiles(errors(sample.data as Float64Array, expected, mixture.size), [0.5]);
            found.push(Number(median.toPrecision(4)));
          }
          const final = lowerOrderFinal === true ? 'published' : 'always';
          rows.push({ problem: problem.name, schedule: name, grid, final, error: found });
          const shown = found.map((e) => e.toExponential(1)).join(' ');
          console.log(`${problem.name.padEnd(10)} ${name.padEnd(26)} ${grid.padEnd(15)} ${final.padEnd(10)} ${shown}`);
        }
      }
    }
  }
  const report = { command: 'npm run bench:grids', machine: machine(), samples, evaluations: EVALUATIONS, rows };
  writeFileSync(values.out, `${JSON.stringify(report)}\n`);
  console.log(`written to ${values.out}`);
}

main().catch((error) => {
  console.error(error);
  process.exitCode = 1;
});
