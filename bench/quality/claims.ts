// What is said of DPM-Solver++ in its paper and its authors' talks, put to the cells of bench/quality: each claim as a
// question that the figures answer with yes or no, or not at all while cells are missing.
import type { Cell, Results } from './quality.js';

export interface Verdict {
  id: string;
  /** As it is said. */
  claim: string;
  /** What is computed to decide it. */
  test: string;
  /** undefined: cells are missing. */
  holds: boolean | undefined;
  /** The figures. */
  figures: string;
}

/** What bench:pipeline found of one solver. */
export interface Cost {
  name: string;
  /** Milliseconds of the sampling loop. */
  loop: { median: number };
  /** The loop's time by that with DDIM in the same round. */
  toDdim: { median: number; low: number; high: number };
  /** Milliseconds an evaluation besides the network, more than with DDIM. */
  moreThanDdim: { median: number };
}

/** Of evaluations, that the claims are about. */
export const NUMBERS = [10, 15, 20] as const;

/** Which of the pictures are right. */
type Judged = Pick<Cell, 'pictures' | 'verdicts'>;

export class Cells {
  readonly #results: Results;

  constructor(results: Results) {
    this.#results = results;
  }

  find(row: string, guidance: number, steps: number): Cell | undefined {
    return this.#results.cells.find((one) => one.row === row && one.guidance === guidance && one.steps === steps);
  }

  /** The cells of all rows. */
  at(guidance: number, steps: number): Cell[] {
    return this.#results.cells.filter((one) => one.guidance === guidance && one.steps === steps);
  }

  /** The cells of a row by number of evaluations. */
  series(row: string, guidance: number): Cell[] {
    return this.#results.cells
      .filter((one) => one.row === row && one.guidance === guidance)
      .sort((a, b) => a.steps - b.steps);
  }

  /** Share of right pictures, with an interval of 95% (Wilson's). */
  right({ right, pictures: n }: Cell): { y: number; low: number; high: number } {
    const [p, z] = [right / n, 1.96];
    const middle = (p + (z * z) / (2 * n)) / (1 + (z * z) / n);
    const half = (z / (1 + (z * z) / n)) * Math.sqrt((p * (1 - p)) / n + (z * z) / (4 * n * n));
    return { y: p, low: middle - half, high: middle + half };
  }

  /** By how much more of the pictures that both have are right in `a` than in `b`, one by one; 1.96 standard errors. */
  difference(a: Judged, b: Judged): { difference: number; error: number } {
    const n = Math.min(a.pictures, b.pictures);
    const [x, y] = [Buffer.from(a.verdicts, 'base64'), Buffer.from(b.verdicts, 'base64')];
    let [more, less] = [0, 0];
    for (let i = 0; i < n; i++) {
      const [p, q] = [(x[i >> 3] >> (i & 7)) & 1, (y[i >> 3] >> (i & 7)) & 1];
      if (p > q) more++;
      if (p < q) less++;
    }
    const difference = (more - less) / n;
    return { difference, error: (1.96 * Math.sqrt((more + less) / n - difference ** 2)) / Math.sqrt(n) };
  }
}

export const percent = (share: number) => `${(100 * share).toFixed(1)}%`;
export const points = ({ difference, error }: { difference: number; error: number }) =>
  `${difference >= 0 ? '+' : ''}${(100 * difference).toFixed(1)} ± ${(100 * error).toFixed(1)} points`;

/** The test of every cell that there is; undefined where there is none of those that count. */
function all(tests: readonly (boolean | undefined)[]): boolean | undefined {
  return tests.includes(undefined) ? undefined : tests.every((one) => one);
}

function fewSteps(cells: Cells): Verdict {
  const rows = ['2m', '2m-published'] as const;
  const tests: (boolean | undefined)[] = [];
  const parts: string[] = [];
  for (const guidance of [3, 8]) {
    const reference = cells.find('reference', guidance, 200);
    const best = rows.map((row) => {
      const found = NUMBERS.map((steps) => cells.find(row, guidance, steps));
      if (!reference || found.includes(undefined)) return undefined;
      return (found as Cell[]).map((cell) => cells.difference(cell, reference));
    });
    if (!reference || best.includes(undefined)) {
      tests.push(undefined);
      continue;
    }
    tests.push(best[0]!.some(({ difference }) => difference >= -0.02));
    const told = (one: (typeof best)[number]) => NUMBERS.map((n, i) => `${n}: ${points(one![i])}`).join(', ');
    parts.push(
      `guidance ${guidance}: 200 evaluations ${percent(reference.right / reference.pictures)}; 2M ${told(best[0])}; as published ${told(best[1])}`,
    );
  }
  // Told, not decided by: nobody draws pictures from prompts so.
  const unguided = cells.find('reference', 1, 200);
  const counts = cells.series('2m', 1).filter(({ steps }) => steps === 20 || steps === 50);
  if (unguided && counts.length === 2) {
    const told = counts.map((cell) => `${cell.steps}: ${points(cells.difference(cell, unguided))}`);
    parts.push(`guidance 1: 200 evaluations ${percent(unguided.right / unguided.pictures)}; 2M ${told.join(', ')}`);
  }
  return {
    id: 'few-evaluations',
    claim: '10 to 20 evaluations are enough',
    test: 'DPM-Solver++(2M) at 10, 15 or 20 evaluations has at most 2 points fewer right pictures than at 200, at guidance 3 and 8',
    holds: all(tests),
    figures: parts.join('. '),
  };
}

/** RMSE by DDIM's at as many evaluations. */
function toDdim(cells: Cells, row: string, steps: number): number | undefined {
  const [own, ddim] = [cells.find(row, 8, steps), cells.find('ddim', 8, steps)];
  return own && ddim ? own.rmse / ddim.rmse : undefined;
}

const ratios = (cells: Cells, row: string) =>
  NUMBERS.map((steps) => `${toDdim(cells, row, steps)?.toFixed(2) ?? '-'}`).join(' / ');

function unstable(cells: Cells): Verdict[] {
  const noise = [
    ['deis-2', 'DEIS-2'],
    ['dpm-2', 'DPM-Solver-2'],
    ['dpm-3', 'DPM-Solver-3'],
  ];
  const data = [
    ['2s', '2S'],
    ['2m', '2M'],
    ['3m', '3M'],
    ['2m-published', '2M as published'],
  ];
  const worse = (row: string, steps: number) => {
    const ratio = toDdim(cells, row, steps);
    return ratio === undefined ? undefined : ratio > 1;
  };
  const tell = (rows: string[][]) => rows.map(([id, name]) => `${name} ${ratios(cells, id)}`).join(', ');
  const better = data
    .filter(([id]) => id === '2s' || id === '2m')
    .flatMap(([id]) => NUMBERS.map((steps) => worse(id, steps)))
    .map((one) => (one === undefined ? undefined : !one));
  return [
    {
      id: 'noise-form',
      claim: 'High order in noise form is unstable at guidance 8',
      test: 'at 15 evaluations the RMSE of DEIS-2, DPM-Solver-2 and DPM-Solver-3 is above that of DDIM, the first-order case',
      holds: all(noise.map(([id]) => worse(id, 15))),
      figures: `RMSE by DDIM's at 10 / 15 / 20: ${tell(noise)}`,
    },
    {
      id: 'data-form',
      claim: 'In data form it is not',
      test: 'at 10, 15 and 20 evaluations the RMSE of DPM-Solver++(2S) and (2M) is not above that of DDIM',
      holds: all(better),
      figures: `RMSE by DDIM's at 10 / 15 / 20: ${tell(data)}`,
    },
  ];
}

function multistep(cells: Cells): Verdict {
  const tell = (row: string) =>
    NUMBERS.map((steps) => {
      const [own, single] = [cells.find(row, 8, steps), cells.find('2s', 8, steps)];
      if (!own || !single) return '-';
      return `${steps}: RMSE ${own.rmse.toFixed(3)} to ${single.rmse.toFixed(3)}, right ${points(cells.difference(own, single))}`;
    }).join('; ');
  const tests = NUMBERS.map((steps) => {
    const [own, single] = [cells.find('2m', 8, steps), cells.find('2s', 8, steps)];
    return own && single ? own.rmse < single.rmse : undefined;
  });
  return {
    id: 'multistep',
    claim: 'Multistep beats singlestep at guidance 8',
    test: 'the RMSE of DPM-Solver++(2M) is below that of (2S) at 10, 15 and 20 evaluations',
    holds: all(tests),
    figures: `2M to 2S, ${tell('2m')}. 2M as published to 2S, ${tell('2m-published')}`,
  };
}

function thresholding(cells: Cells): Verdict {
  const pairs = [
    ['ddim', 'ddim-thresholding', 'DDIM'],
    ['2m', '2m-thresholding', '2M'],
  ];
  const tests: (boolean | undefined)[] = [];
  const parts: string[] = [];
  for (const [without, withIt, name] of pairs) {
    for (const steps of NUMBERS) {
      const [a, b] = [cells.find(withIt, 8, steps), cells.find(without, 8, steps)];
      if (!a || !b) {
        tests.push(undefined);
        continue;
      }
      const found = cells.difference(a, b);
      tests.push(found.difference - found.error > 0);
      parts.push(
        `${name} at ${steps}: right ${points(found)}, Frechet distance ${a.frechet.toFixed(0)} to ${b.frechet.toFixed(0)}`,
      );
    }
  }
  return {
    id: 'thresholding',
    claim: 'Thresholding helps at guidance 8',
    test: 'significantly more pictures are right with it than without, for DDIM and DPM-Solver++(2M) at 10, 15 and 20 evaluations',
    holds: all(tests),
    figures: parts.join('; '),
  };
}

/** The slope of log RMSE over log evaluations, by least squares. */
export function slope(cells: readonly Cell[]): number {
  const xs = cells.map(({ steps }) => Math.log(steps));
  const ys = cells.map(({ rmse }) => Math.log(rmse));
  const mean = (values: readonly number[]) => values.reduce((a, b) => a + b, 0) / values.length;
  const [mx, my] = [mean(xs), mean(ys)];
  const top = xs.reduce((sum, x, i) => sum + (x - mx) * (ys[i] - my), 0);
  return top / xs.reduce((sum, x) => sum + (x - mx) ** 2, 0);
}

export interface Panel {
  model: string;
  firstOrder: { steps: number; differences: { guidance: number; ddim: number; noiseForm: number }[] };
}

function firstOrder(cells: Cells, panel: Panel | undefined): Verdict {
  const differences = panel?.firstOrder.differences;
  const slopes = [1, 3, 8].map((guidance) => {
    const own = cells.series('ddim', guidance).filter(({ steps }) => steps >= 10);
    return own.length > 2 ? `guidance ${guidance}: ${slope(own).toFixed(2)}` : undefined;
  });
  const told = differences?.map(
    ({ guidance, ddim, noiseForm }) =>
      `guidance ${guidance}: DDIM ${ddim.toExponential(1)}, DPM-Solver-1 ${noiseForm.toExponential(1)}`,
  );
  return {
    id: 'first-order',
    claim: 'DDIM is the first-order case',
    test: 'DDIM and DPM-Solver-1 differ from DPM-Solver++ of order 1 by less than 2e-4 in any value',
    holds: differences?.every(({ ddim, noiseForm }) => ddim < 2e-4 && noiseForm < 2e-4),
    figures: `largest difference, ${told?.join('; ') ?? '-'}. Slope of its error from 10 evaluations on, ${slopes.filter(Boolean).join(', ') || '-'}`,
  };
}

function sameCost(costs: readonly Cost[] | undefined, evaluations = 0): Verdict {
  const own = costs?.find(({ name }) => name === 'DPM-Solver++(2M)');
  const share = ({ moreThanDdim, loop }: Cost) => (moreThanDdim.median * evaluations) / loop.median;
  const told = (costs ?? []).map((cost) => {
    const { median, low, high } = cost.toDdim;
    const ratio = `${median.toFixed(3)} (${low.toFixed(3)} to ${high.toFixed(3)})`;
    return `${cost.name} ${(100 * share(cost)).toFixed(2)}%, whole loop by DDIM's ${ratio}`;
  });
  return {
    id: 'same-cost',
    claim: 'An evaluation costs as much as with DDIM',
    test: 'all that is not the network takes, with DPM-Solver++(2M), less than 1% of the loop more than with DDIM in the same round, batch 16',
    holds: own && Math.abs(share(own)) < 0.01,
    figures: told.join('; '),
  };
}

export function verdicts(
  results: Results,
  panel: Panel | undefined,
  costs: readonly Cost[] | undefined,
  evaluations?: number,
): Verdict[] {
  const cells = new Cells(results);
  return [
    fewSteps(cells),
    ...unstable(cells),
    multistep(cells),
    thresholding(cells),
    firstOrder(cells, panel?.model === results.model ? panel : undefined),
    sameCost(costs, evaluations),
  ];
}
