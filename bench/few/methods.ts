// Everything that runs in a given number of evaluations without having been calibrated for the network, by family.
import type { Axis } from '../../lib/calibrate/axis.js';
import { gridPlaces } from '../../lib/calibrate/candidates.js';
import { dcSolverTable, type NoiseSchedule, type SampleOptions } from '../../lib/index.js';
import { publishedSigmas } from '../../lib/schedule/published-grid.js';
import { sigmaOf, timeOfSigma } from '../../lib/schedule/sigmas.js';

/**
 * `2M` and `classic` (DDIM, 2M and 3M) on the grids that formulas give, that even on calibration's axis among them;
 * the others as they were published, or where they have no ends of their own, between those of the schedule.
 */
export const FAMILIES = [
  ...(['2M', 'classic', 'DMN', 'AYS', 'GITS', 'OSS', 'UniPC', 'iPNDM', 'DC-Solver'] as const),
] as const;
export type Family = (typeof FAMILIES)[number];

export interface Method {
  family: Family;
  name: string;
  options: SampleOptions;
}

const FORMULAS = ['time_uniform', 'time_quadratic', 'logSNR', 'karras', 'beta', 'axis'];

/** Lists of sigma / alpha for networks that are none of these here. */
const ELSEWHERE = [
  ['ays', 'sd15'],
  ['ays', 'sdxl'],
  ['ays', 'svd'],
  ['gits', 'sd15'],
] as const;

/** @param guidance the scale that the network is guided by, which decides orders and DC-Solver's ratios */
export function methodsOf(schedule: NoiseSchedule, axis: Axis, steps: number, guidance: number): Method[] {
  const methods: Method[] = [];
  const grids = new Map(
    Array.from(gridPlaces(schedule, axis, steps), ([name, places]) => [
      name,
      Array.from(places, (place) => axis.timeAt(place)),
    ]),
  );
  const add = (family: Family, solver: string, grid: string, options: SampleOptions) => {
    methods.push({ family, name: `${solver}, ${grid}`, options: { steps, skipType: grids.get(grid), ...options } });
  };
  const multistep = (family: Family, grid: string, orders: readonly (1 | 2 | 3)[]) => {
    for (const order of orders) add(family, ['DDIM', '2M', '3M'][order - 1], grid, { order });
  };
  const unipc = (family: Family, grid: string) => {
    for (const order of [2, 3] as const) add(family, `UniPC-${order}`, grid, { order, corrector: 'unic' });
  };
  const ipndm = (family: Family, grid: string) => {
    for (const order of guidance === 1 ? ([2, 3, 4] as const) : ([2] as const)) {
      add(family, `iPNDM-${order}`, grid, { method: 'ipndm', order });
    }
  };
  for (const grid of FORMULAS.filter((name) => grids.has(name))) {
    multistep('2M', grid, [2]);
    multistep('classic', grid, [1, 2, 3]);
    unipc('UniPC', grid);
    ipndm('iPNDM', grid);
  }
  for (const grid of ['dmn', 'dmn for latents'].filter((name) => grids.has(name))) {
    multistep('DMN', grid, [2, 3]);
    unipc('DMN', grid);
  }
  for (const grid of grids.keys()) if (grid.startsWith('oss')) multistep('OSS', grid, [1, 2]);
  if (schedule.kind !== 'flow') {
    for (const [type, kind] of ELSEWHERE) {
      const grid = `${type} for ${kind}`;
      const inside = publishedSigmas(type, kind, steps).slice(1, steps);
      const [low, high] = [schedule.epsilon, schedule.T].map((t) => sigmaOf(schedule, t));
      if (inside.some((sigma) => sigma <= low || sigma >= high)) continue;
      grids.set(grid, [axis.tStart, ...inside.map((sigma) => timeOfSigma(schedule, sigma, grid)), axis.tEnd]);
      multistep(type === 'ays' ? 'AYS' : 'GITS', grid, [1, 2]);
      if (type === 'gits') ipndm('GITS', grid);
    }
  }
  const times = grids.get('time_uniform');
  // The polynomials were fitted to the even times of one network; ends where lambda is infinite have no UniPC.
  if (times && steps >= 3 && schedule.kind !== 'flow') {
    const table = dcSolverTable(schedule, { steps, guidance, times, modelType: 'x_start' });
    methods.push({ family: 'DC-Solver', name: 'DC-Solver, time_uniform', options: { table } });
  }
  return methods;
}
