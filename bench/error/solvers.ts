// Every solver that is compared, as a function of the number of evaluations and of the grid.
import { DPMSolver, type SampleOptions, type SolverOptions, type Tensor } from '../../lib/index.js';
import { timeGrid } from '../../lib/schedule/grid.js';
import {
  DEISMultistepScheduler,
  PNDMScheduler,
  type Scheduler,
  UniPCMultistepScheduler,
} from '../../lib/schedulers/index.js';
import { fixed, type Outcome, RK2, RK3, rk45 } from './baselines.js';
import { type Mixture, type Point, pointOf } from './mixture.js';
import { kStart, lambdaOf, schedule, schedulerConfig, tEnd, trainingBetas, tStart } from './problems.js';

export type Grid = 'logSNR' | 'time_uniform' | 'time_quadratic' | 'karras' | 'beta';

/** A run from noise `x`, [n, size]. `nfe` in what comes back is what was spent: at most what was asked for. */
export type Solve = (mixture: Mixture, x: Float64Array, nfe: number, grid: Grid) => Outcome | Promise<Outcome>;

const tensor = (data: Float64Array, mixture: Mixture) => ({ data, dims: [data.length / mixture.size, mixture.size] });
const noiseAt = (mixture: Mixture, x: Tensor, point: Point) => ({
  data: mixture.noise(x.data as Float64Array, point),
  dims: x.dims,
});

/** The library's own class. */
export function solver(options: SolverOptions, sample: SampleOptions): Solve {
  return async (mixture, x, nfe, grid) => {
    const dpm = new DPMSolver((y, t) => noiseAt(mixture, y, pointOf(lambdaOf(t))), schedule, options);
    const run = await dpm.sample(tensor(x, mixture), { steps: nfe, skipType: grid, tStart, tEnd, ...sample });
    return { data: run.sample.data as Float64Array, nfe: run.nfe };
  };
}

/** Adaptive: rtol stands for the number of evaluations, atol is a tenth of it. */
export function adaptive(options: SolverOptions, order: 2 | 3, controller: 'pi' | 'integral') {
  return (mixture: Mixture, x: Float64Array, rtol: number) =>
    solver(options, { method: 'adaptive', order, controller, rtol, atol: rtol / 10, maxNfe: 3000 })(
      mixture,
      x,
      20,
      'logSNR',
    );
}

/** sigma / alpha at the nodes of a grid, without its end. */
const sigmasOf = (grid: Grid, steps: number) =>
  Array.from(timeGrid(schedule, { skipType: grid, steps, tStart, tEnd }).subarray(0, steps), (t, i) =>
    i === 0 ? kStart : Math.exp(-lambdaOf(t)),
  );

function drive(scheduler: Scheduler, mixture: Mixture, x: Float64Array): Outcome {
  let state: Tensor = tensor(x, mixture);
  scheduler.timesteps.forEach((t, i) => {
    // What the scheduler takes for sigma / alpha here, so that both speak of the same time.
    const k = scheduler.sigmas[i];
    state = scheduler.step(noiseAt(mixture, state, pointOf(-Math.log(k))), t, state);
  });
  return { data: state.data as Float64Array, nfe: scheduler.timesteps.length };
}

export function unipc(order: 1 | 2 | 3, more: Record<string, unknown> = {}): Solve {
  return (mixture, x, nfe, grid) => {
    const s = UniPCMultistepScheduler.fromConfig({ ...schedulerConfig(), solver_order: order, ...more });
    s.setTimesteps({ sigmas: sigmasOf(grid, nfe) });
    return drive(s, mixture, x);
  };
}

export function deis(order: 1 | 2 | 3, more: Record<string, unknown> = {}): Solve {
  return (mixture, x, nfe, grid) => {
    const s = DEISMultistepScheduler.fromConfig({ ...schedulerConfig(), solver_order: order, ...more });
    s.setTimesteps({ sigmas: sigmasOf(grid, nfe) });
    return drive(s, mixture, x);
  };
}

/**
 * PNDM without Runge-Kutta steps, as Stable Diffusion used it: one step is made twice, which is the evaluation more than
 * steps. It knows whole labels in even steps only, so that it gets as many training steps as divide, `labels` at least.
 */
export const pndm =
  (labels = 1000): Solve =>
  (mixture, x, nfe, grid) => {
    if (grid !== 'time_uniform') throw new RangeError(`Expected 'time_uniform' for PNDM's grid but received '${grid}'`);
    const steps = nfe - 1;
    const config = schedulerConfig(trainingBetas(steps * Math.ceil(labels / steps)));
    const s = PNDMScheduler.fromConfig({ ...config, skip_prk_steps: true, timestep_spacing: 'trailing' });
    s.setTimesteps(steps);
    return drive(s, mixture, x);
  };

const both: readonly Grid[] = ['logSNR', 'time_uniform'];
const plus: SolverOptions = { algorithmType: 'dpmsolver++' };
const noise: SolverOptions = { algorithmType: 'dpmsolver' };

export interface Row {
  name: string;
  solve: Solve;
  grids: readonly Grid[];
  /** Evaluations of a step: only multiples of it are run. */
  multiple?: number;
}

/** Rows with a number of evaluations that is given. */
export const ROWS: readonly Row[] = [
  { name: 'RK2 (t)', solve: (m, x, nfe) => fixed(m, x, RK2, 't', nfe), grids: ['time_uniform'], multiple: 2 },
  { name: 'RK2 (λ)', solve: (m, x, nfe) => fixed(m, x, RK2, 'lambda', nfe), grids: ['logSNR'], multiple: 2 },
  { name: 'RK3 (t)', solve: (m, x, nfe) => fixed(m, x, RK3, 't', nfe), grids: ['time_uniform'], multiple: 3 },
  { name: 'RK3 (λ)', solve: (m, x, nfe) => fixed(m, x, RK3, 'lambda', nfe), grids: ['logSNR'], multiple: 3 },
  { name: 'DDIM', solve: solver(plus, { order: 1 }), grids: both },
  { name: 'PNDM', solve: pndm(), grids: ['time_uniform'] },
  { name: 'DEIS, order 2', solve: deis(2), grids: both },
  { name: 'DEIS, order 3', solve: deis(3), grids: both },
  { name: 'DPM-Solver-2', solve: solver(noise, { order: 2, method: 'singlestep' }), grids: both },
  { name: 'DPM-Solver-3', solve: solver(noise, { order: 3, method: 'singlestep' }), grids: both },
  { name: 'DPM-Solver++(2S)', solve: solver(plus, { order: 2, method: 'singlestep' }), grids: both },
  { name: 'DPM-Solver++(3S)', solve: solver(plus, { order: 3, method: 'singlestep' }), grids: both },
  { name: 'DPM-Solver++(2M)', solve: solver(plus, { order: 2 }), grids: both },
  { name: 'DPM-Solver++(3M)', solve: solver(plus, { order: 3 }), grids: both },
  { name: 'DPM-Solver++(3M), exact', solve: solver({ ...plus, thirdOrder: 'exact' }, { order: 3 }), grids: both },
  { name: 'UniPC-1', solve: unipc(1), grids: both },
  { name: 'UniPC-2', solve: unipc(2), grids: both },
  { name: 'UniPC-3', solve: unipc(3), grids: both },
];

/** Rows on other grids, and other rules for the orders at the end. */
export const GRID_ROWS: readonly Row[] = [
  { name: 'DPM-Solver++(2M)', solve: solver(plus, { order: 2 }), grids: ['time_quadratic', 'karras', 'beta'] },
  { name: 'UniPC-2', solve: unipc(2), grids: ['time_quadratic', 'karras', 'beta'] },
];
export const FINAL_ROWS: readonly Row[] = ([2, 3] as const).flatMap((order) =>
  ([false, 1000] as const).map((lowerOrderFinal) => ({
    name: `DPM-Solver++(${order}M), ${lowerOrderFinal ? 'lower orders at the end' : 'full order to the end'}`,
    solve: solver(plus, { order, lowerOrderFinal }),
    grids: both,
  })),
);

/** Rows whose number of evaluations comes of a tolerance. */
export const TOLERANCE_ROWS: readonly {
  name: string;
  solve: (mixture: Mixture, x: Float64Array, tolerance: number) => Outcome | Promise<Outcome>;
  tolerances: readonly number[];
}[] = [
  { name: 'RK45', solve: rk45, tolerances: [0.5, 0.2, 0.05, 1e-2, 1e-3, 1e-4] },
  ...([2, 3] as const).flatMap((order) =>
    (['pi', 'integral'] as const).map((controller) => ({
      name: `adaptive ${order - 1}${order}, ${controller === 'pi' ? 'PI' : 'as published'}`,
      solve: adaptive(noise, order, controller),
      tolerances: [1, 0.5, 0.2, 0.1, 0.05, 0.02, 0.01, 2e-3],
    })),
  ),
];
