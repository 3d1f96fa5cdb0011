// The classic solvers that a table has to beat, and where fits begin.
import { timeGrid } from '../schedule/grid.js';
import type { NoiseSchedule, ScheduleKind } from '../schedule/noise-schedule.js';
import type { Order } from '../schedule/orders.js';
import { type NetworkKind, type PublishedType, publishedSigmas, publishedTimes } from '../schedule/published-grid.js';
import { timeOfSigma } from '../schedule/sigmas.js';
import type { Axis } from './axis.js';
import { classicStudent, type Student } from './student.js';

/** A student and what it is called. */
export interface Candidate {
  readonly name: string;
  readonly student: Student;
}

const GRIDS = ['time_uniform', 'time_quadratic', 'logSNR', 'karras', 'beta'] as const;
/** Published grids, by the kind of schedule that their networks have. */
const PUBLISHED: Partial<Record<ScheduleKind, readonly (readonly [Exclude<PublishedType, 'dmn'>, NetworkKind])[]>> = {
  discrete: [
    ['ays', 'sd15'],
    ['ays', 'sdxl'],
    ['gits', 'sd15'],
  ],
  flow: [
    ['oss', 'flux'],
    ['oss', 'wan'],
    ['oss', 'chroma'],
  ],
};

/** The places of each grid that this schedule allows, by name. */
export function gridPlaces(schedule: NoiseSchedule, axis: Axis, steps: number): Map<string, Float64Array> {
  const { tStart, tEnd } = axis;
  const found = new Map<string, Float64Array>();
  // Grids go from the axis' one end to the other, whatever the networks that they were made for did there.
  const add = (name: string, times: ArrayLike<number>) => {
    const places = Float64Array.from(times, (t, i) => (i === 0 ? 0 : i === steps ? 1 : axis.placeOf(t)));
    // Times that are next to each other on the axis would leave a step without a length.
    if (places.every((place, i) => i === 0 || place > places[i - 1])) found.set(name, places);
  };
  const finite = [tStart, tEnd].every((t) => schedule.node(t).end === 0);
  for (const skipType of GRIDS) {
    if (!finite && skipType !== 'time_uniform' && skipType !== 'time_quadratic') continue;
    add(skipType, timeGrid(schedule, { skipType, steps, tStart, tEnd }));
  }
  for (const network of finite ? (['pixels', 'sd15'] as const) : []) {
    const name = network === 'pixels' ? 'dmn' : 'dmn for latents';
    add(name, publishedTimes(schedule, 'dmn', { network, steps, tStart, tEnd }));
  }
  for (const [type, kind] of PUBLISHED[schedule.kind] ?? []) {
    const sigmas = publishedSigmas(type, kind, steps).slice(1, steps);
    const inside = sigmas.map((sigma) => timeOfSigma(schedule, sigma, `the sigmas of ${type}`));
    add(`${type} for ${kind}`, [tStart, ...inside, tEnd]);
  }
  found.set(
    'axis',
    Float64Array.from({ length: steps + 1 }, (_, i) => i / steps),
  );
  return found;
}

const NAMES = ['DDIM', 'DPM-Solver++(2M)', 'DPM-Solver++(3M)'] as const;
/** From so many steps on, the published solvers no longer lower the order at the end. */
const PUBLISHED_END = 10;

/** DDIM, 2M and 3M on every grid, and where that is not so anyway, also with a last step of order 1. */
export function classicCandidates(schedule: NoiseSchedule, axis: Axis, steps: number, window: number): Candidate[] {
  return Array.from(gridPlaces(schedule, axis, steps)).flatMap(([grid, places]) =>
    NAMES.flatMap((name, i) => {
      const order = (i + 1) as Order;
      if (order > steps) return [];
      const called = `${name}, ${grid}`;
      const published = { name: called, student: classicStudent(places, order, window) };
      if (order === 1 || steps < PUBLISHED_END) return [published];
      const low = classicStudent(places, order, window, steps + 1);
      return [published, { name: `${called}, last step of order 1`, student: low }];
    }),
  );
}
