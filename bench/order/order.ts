/**
 * Orders of convergence, forward and inverse: npm run bench:order
 *
 * A mixture in the plane that is smooth enough for the asymptotics to show, the linear schedule from t = 1 to 1e-3 and
 * back, steps even in lambda (PNDM: in t). The slope is that of a line through the last three points of the log-log
 * plot. Adaptive runs stand at the evaluations that their tolerance takes. Deterministic.
 */
import { writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { DPMSolver, type SampleOptions, type SolverOptions, type Tensor } from '../../lib/index.js';
import { inLambda, type Outcome, RK2, RK3, rungeKutta } from '../error/baselines.js';
import { Mixture, normal, pointOf } from '../error/mixture.js';
import {
  errors,
  exact,
  lambdaEnd,
  lambdaOf,
  lambdaStart,
  quantiles,
  schedule,
  tEnd,
  tStart,
} from '../error/problems.js';
import { deis, pndm, type Solve, unipc } from '../error/solvers.js';
import { machine } from '../machine.js';

const COUNTS = [24, 48, 96, 192, 384];
const TOLERANCES = { 2: [1e-1, 1e-2, 1e-3, 1e-4, 1e-5], 3: [1e-2, 1e-3, 1e-4, 1e-5, 1e-6, 1e-7] };
const SAMPLES = 16;

const mixture = new Mixture(
  2,
  Float64Array.of(0.3, 0.3, 0.25, 0.15),
  Float64Array.of(1.1, 0.4, -0.9, 0.8, -0.3, -1.2, 1.0, -1.0),
  Float64Array.of(0.5, 0.35, 0.4, 0.6, 0.45, 0.3, 0.3, 0.5),
);

export interface OrderRow {
  name: string;
  group: string;
  inverse: boolean;
  /** What theory says, of the method as it is run. */
  expected: number;
  points: { nfe: number; error: number }[];
  slope: number;
}
export interface OrderResults {
  samples: number;
  referenceDifference: number;
  rows: OrderRow[];
}

const gauss = normal(11);
const noise = Float64Array.from({ length: 2 * SAMPLES }, gauss);
const data = exact(mixture, noise, lambdaStart, lambdaEnd, 60);
const check = exact(mixture, noise, lambdaStart, lambdaEnd, 40);
const back = exact(mixture, data, lambdaEnd, lambdaStart, 60);
const most = (a: Float64Array, b: Float64Array) => a.reduce((m, v, i) => Math.max(m, Math.abs(v - b[i])), 0);
const referenceDifference = Math.max(most(data, check), most(back, noise));

/** Minus the slope of the line through the logarithms of the last three points. */
function slopeOf(points: OrderRow['points']): number {
  const last = points.slice(-3);
  const [x, y] = [last.map((p) => Math.log(p.nfe)), last.map((p) => Math.log(p.error))];
  const mean = (list: number[]) => list.reduce((a, b) => a + b) / list.length;
  const [mx, my] = [mean(x), mean(y)];
  return -x.reduce((sum, v, i) => sum + (v - mx) * (y[i] - my), 0) / x.reduce((sum, v) => sum + (v - mx) ** 2, 0);
}

type Run = (inverse: boolean, count: number) => Outcome | Promise<Outcome>;

function library(options: SolverOptions, sample: SampleOptions): Run {
  return async (inverse, count) => {
    const model = (x: Tensor, t: number) => ({
      data: mixture.noise(x.data as Float64Array, pointOf(lambdaOf(t))),
      dims: x.dims,
    });
    const dpm = new DPMSolver(model, schedule, options);
    const common: SampleOptions = { steps: count, skipType: 'logSNR', maxNfe: 20000, ...sample };
    const dims = [SAMPLES, 2];
    const run = inverse
      ? await dpm.invert({ data: data.slice(), dims }, { ...common, tStart: tEnd, tEnd: tStart })
      : await dpm.sample({ data: noise.slice(), dims }, { ...common, tStart, tEnd });
    return { data: run.sample.data as Float64Array, nfe: run.nfe };
  };
}
const scheduler =
  (solve: Solve, grid: 'logSNR' | 'time_uniform' = 'logSNR'): Run =>
  (_, count) =>
    solve(mixture, noise, count, grid);

const rows: OrderRow[] = [];
async function add(group: string, name: string, expected: number, run: Run, inverses = [false, true], counts = COUNTS) {
  for (const inverse of inverses) {
    const points: OrderRow['points'] = [];
    for (const count of counts) {
      const { data: end, nfe } = await run(inverse, count);
      const [error] = quantiles(errors(end, inverse ? noise : data, 2), [0.5]);
      points.push({ nfe, error: Number(error.toPrecision(5)) });
    }
    const slope = Number(slopeOf(points).toFixed(3));
    rows.push({ name, group, inverse, expected, points, slope });
    const shown = points.map((p) => `${p.nfe}: ${p.error.toExponential(1)}`).join('  ');
    console.log(`${name.padEnd(34)} ${inverse ? 'inverse' : 'forward'}  ${slope.toFixed(2)} (${expected})  ${shown}`);
  }
}

async function main() {
  console.log(`the reference is known to ${referenceDifference.toExponential(1)}`);
  for (const [form, algorithmType] of [
    ['data', 'dpmsolver++'],
    ['noise', 'dpmsolver'],
  ] as const) {
    const [group, prefix] = form === 'data' ? ['data prediction', 'DPM-Solver++'] : ['noise prediction', 'DPM-Solver'];
    await add(group, `${prefix}-1 (DDIM)`, 1, library({ algorithmType }, { order: 1 }));
    for (const order of [2, 3] as const) {
      const single = library({ algorithmType }, { order, method: 'singlestep_fixed' });
      await add(group, `${prefix}(${order}S)`, order, single);
      await add(group, `${prefix}(${order}M)`, 2, library({ algorithmType }, { order }));
    }
    // Its first steps, of order 1 and 2, hold a run to order 2 in the end; from noise, where the prediction hardly changes,
    // that end is far.
    await add(group, `${prefix}(3M), exact`, 3, library({ algorithmType, thirdOrder: 'exact' }, { order: 3 }));
  }
  for (const order of [1, 2, 3] as const) {
    await add('UniPC, DEIS, PNDM', `UniPC-${order}`, order + 1, scheduler(unipc(order)), [false]);
    await add('UniPC, DEIS, PNDM', `DEIS, order ${order}`, order, scheduler(deis(order)), [false]);
  }
  await add('UniPC, DEIS, PNDM', 'PNDM (in t)', 2, scheduler(pndm(20000), 'time_uniform'), [false]);
  for (const [name, tableau, order] of [
    ['RK2 (λ)', RK2, 2],
    ['RK3 (λ)', RK3, 3],
  ] as const) {
    await add('Runge-Kutta, adaptive', name, order, (inverse, count) => {
      const steps = count / order;
      return inverse
        ? rungeKutta(inLambda(mixture), tableau, data, lambdaEnd, lambdaStart, steps)
        : rungeKutta(inLambda(mixture), tableau, noise, lambdaStart, lambdaEnd, steps);
    });
  }
  for (const order of [2, 3] as const) {
    for (const controller of ['pi', 'integral'] as const) {
      const name = `adaptive ${order - 1}${order}, ${controller === 'pi' ? 'PI' : 'as published'}`;
      const run: Run = (inverse, rtol) =>
        library({ algorithmType: 'dpmsolver' }, { method: 'adaptive', order, controller, rtol, atol: rtol / 10 })(
          inverse,
          20, // not looked at
        );
      await add('Runge-Kutta, adaptive', name, order, run, [false, true], TOLERANCES[order]);
    }
  }
  const file = fileURLToPath(new URL('../results/order.json', import.meta.url));
  const report = { command: 'npm run bench:order', machine: machine(), samples: SAMPLES, referenceDifference, rows };
  writeFileSync(file, `${JSON.stringify(report)}\n`);
  console.log('written to bench/results/order.json');
}

main().catch((error) => {
  console.error(error);
  process.exitCode = 1;
});
