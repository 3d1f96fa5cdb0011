// Samples on their way through the 2-D mixture, for the README.
import { PROBLEMS } from '../error/problems.js';
import type { Trajectories } from '../error/trajectories.js';
import { type Rendered, results } from './data.js';
import { type Panel, plot, type Point, type Series } from './plot.js';

const X = [-2.4, 2.4] as const;
const Y = [-1.9, 1.9] as const;
const GAP: Point = { x: Number.NaN, y: Number.NaN };

function density(x: number, y: number): number {
  const { weights, means, variances } = PROBLEMS[0].mixture;
  let sum = 0;
  for (let k = 0; k < weights.length; k++) {
    const [dx, dy] = [x - means[2 * k], y - means[2 * k + 1]];
    const [vx, vy] = [variances[2 * k], variances[2 * k + 1]];
    sum += (weights[k] * Math.exp(-0.5 * ((dx * dx) / vx + (dy * dy) / vy))) / Math.sqrt(vx * vy);
  }
  return sum;
}

/** Where the density is `level`, as segments: marching squares. */
function contour(level: number, cells = 72): Point[] {
  const out: Point[] = [];
  const at = (i: number, j: number) => ({
    x: X[0] + ((X[1] - X[0]) * i) / cells,
    y: Y[0] + ((Y[1] - Y[0]) * j) / cells,
  });
  const value = Array.from({ length: cells + 1 }, (_, i) =>
    Array.from({ length: cells + 1 }, (_, j) => density(at(i, j).x, at(i, j).y) - level),
  );
  for (let i = 0; i < cells; i++) {
    for (let j = 0; j < cells; j++) {
      const corners = [
        [i, j],
        [i + 1, j],
        [i + 1, j + 1],
        [i, j + 1],
      ];
      const crossings: Point[] = [];
      corners.forEach(([a, b], k) => {
        const [c, d] = corners[(k + 1) % 4];
        const [u, v] = [value[a][b], value[c][d]];
        if (u < 0 === v < 0) return;
        const [p, q] = [at(a, b), at(c, d)];
        crossings.push({ x: p.x + ((q.x - p.x) * u) / (u - v), y: p.y + ((q.y - p.y) * u) / (u - v) });
      });
      for (let k = 0; k + 1 < crossings.length; k += 2) out.push(crossings[k], crossings[k + 1], GAP);
    }
  }
  return out;
}

export function render(): Rendered {
  const { steps, exact, solvers } = results<Trajectories>('trajectories');
  const join = (paths: number[][][]) => paths.flatMap((path) => [...path.map(([x, y]) => ({ x, y })), GAP]);
  const last = (paths: number[][][]) => paths.map((path) => ({ x: path.at(-1)![0], y: path.at(-1)![1] }));
  const first = exact.map((path) => ({ x: path[0][0], y: path[0][1] }));
  const background: Series[] = [0.6, 2.5, 6].map((level) => ({
    name: level === 0.6 ? 'density of the data' : '',
    points: contour(level),
    color: 'muted',
    width: 0.8,
    opacity: 0.45,
  }));
  const median = (list: number[]) => [...list].sort((a, b) => a - b)[list.length >> 1];
  const panels: Panel[] = solvers.map((solver, i) => ({
    title: `${solver.name}: median error ${median(solver.errors).toFixed(3)}`,
    x: { label: 'x₁', domain: X },
    y: { label: 'x₂', domain: Y },
    equal: true,
    series: [
      ...background,
      { name: 'exact trajectory', points: join(exact), color: 'ink', marker: 'none', width: 1, opacity: 0.55 },
      { name: 'start (noise)', points: first, color: 7, line: false, marker: 'cross', markerSize: 2.6 },
      { name: 'exact end', points: last(exact), color: 'ink', line: false, marker: 'circle', markerSize: 3.2 },
      {
        name: i === 0 ? 'DDIM' : 'DPM-Solver++(2M)',
        points: join(solver.paths),
        color: i === 0 ? 1 : 0,
        marker: 'circle',
        markerSize: 2,
        width: 1.4,
      },
      { name: '', points: last(solver.paths), color: i === 0 ? 1 : 0, line: false, marker: 'circle', markerSize: 4 },
    ],
  }));
  return {
    svgs: {
      trajectories: plot({
        title: `From noise to data in ${steps} network evaluations`,
        description: `${exact.length} samples on their way through a two-dimensional mixture of five normal distributions whose score is exact. DDIM leaves the exact trajectories where they bend and ends beside their ends; DPM-Solver++(2M) follows them and ends close to theirs.`,
        panels,
        columns: 2,
        width: 860,
        note: 'Same noise, same times (even in √t), same number of evaluations. Dots are the states after each step; the large ones are the results.',
      }),
    },
    tables: {},
  };
}
