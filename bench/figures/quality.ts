// Pictures of the embedded network: bench/results/quality.json, panel.json and pipeline.json.
import {
  Cells,
  type Cost,
  NUMBERS,
  type Panel as PanelResults,
  percent,
  points,
  slope,
  verdicts,
} from '../quality/claims.js';
import type { Cell, Results } from '../quality/quality.js';
import { optional, type Rendered, table } from './data.js';
import { bars, type Color, type Panel, plot, type Point, type Series } from './plot.js';

/** Rows in the order of legends; DDIM, which all are compared with, is drawn in the colour of what is secondary. */
const STYLE: Record<string, { name: string; color: Color; marker?: Series['marker']; dash?: boolean }> = {
  ddim: { name: 'DDIM', color: 'muted', marker: 'circle' },
  pndm: { name: 'PNDM', color: 7 },
  'deis-2': { name: 'DEIS-2', color: 4 },
  'dpm-2': { name: 'DPM-Solver-2', color: 1 },
  'dpm-3': { name: 'DPM-Solver-3', color: 6 },
  '2s': { name: 'DPM-Solver++(2S)', color: 2 },
  '2m': { name: 'DPM-Solver++(2M)', color: 0 },
  '2m-published': { name: '2M, as published', color: 0, dash: true },
  '3m': { name: 'DPM-Solver++(3M)', color: 3 },
  'unipc-2': { name: 'UniPC-2', color: 5 },
};
/** 2M on other times than the even ones of all other rows. */
const GRIDS: typeof STYLE = {
  '2m-logSNR': { name: '2M, even in λ (logSNR)', color: 1 },
  '2m-karras': { name: "2M, Karras' times", color: 2 },
};
const TICKS = [5, 6, 8, 10, 12, 15, 20, 50];
const GUIDANCES = [1, 3, 8];

type Take = (cell: Cell) => Point;

const NONE: Results = {
  ...{ command: '', machine: {} as Results['machine'], model: '', pictures: 0, prompts: 0, cells: [] },
  drawn: { frechet: 0, frechetError: 0, count: 0 },
};

export function render(): Rendered {
  const measured = optional<Results>('quality') ?? NONE;
  const cells = new Cells(measured);
  const pipeline = optional<{ results: { name: string; pictures: number; evaluations: number; rows: Cost[] }[] }>(
    'pipeline',
  );
  const cost = pipeline?.results.find(({ name }) => name === 'shapes');
  const take: Record<'right' | 'rmse' | 'frechet', Take> = {
    right: (cell) => {
      const { y, low, high } = cells.right(cell);
      return { x: cell.steps, y: 100 * y, low: 100 * low, high: 100 * high };
    },
    rmse: ({ steps, rmse, rmseError }) => ({ x: steps, y: rmse, low: rmse - 1.96 * rmseError, high: rmse + 1.96 * rmseError }), // biome-ignore format: one line reads better
    frechet: ({ steps, frechet, frechetError }) => ({ x: steps, y: frechet, low: Math.max(frechet - 1.96 * frechetError, frechet / 2), high: frechet + 1.96 * frechetError }), // biome-ignore format: one line reads better
  };
  const series = (row: string, guidance: number, of: Take): Series => ({
    ...(STYLE[row] ?? GRIDS[row]),
    points: cells.series(row, guidance).map(of),
  });
  const x = { label: 'network evaluations', scale: 'log', domain: [4.7, 53], ticks: TICKS, format: String } as const;
  const y = {
    right: { label: 'right pictures, %', domain: [0, 100] },
    rmse: { label: 'RMSE to 200 evaluations', scale: 'log' },
    frechet: { label: 'Frechet distance', scale: 'log' },
  } as const;
  const panel = (
    title: string,
    kind: keyof typeof take,
    guidance: number,
    rows: readonly string[] = Object.keys(STYLE),
  ): Panel => {
    const reference = cells.find('reference', guidance, 200);
    const rules = reference && kind !== 'rmse' ? [{ y: take[kind](reference).y, text: '200 evaluations' }] : undefined;
    const drawn = rows.map((row) => series(row, guidance, take[kind])).filter(({ points }) => points.length > 0);
    return { title, x, y: y[kind], series: drawn, rules };
  };
  const there = GUIDANCES.filter((guidance) => cells.find('ddim', guidance, 15));
  const overview = (kind: keyof typeof take, title: string, description: string, note: string) =>
    plot({
      ...{ title, description, note, height: 230 },
      panels: there.map((guidance) => panel(`guidance ${guidance}`, kind, guidance)),
    });
  const compared = Math.min(...measured.cells.map(({ rmsePictures }) => rmsePictures));
  const many = `${measured.pictures.toLocaleString('en')} pictures a point, the same prompts and start noise in all; bars are intervals of 95%.${compared < measured.pictures ? ` RMSE, and what 200 evaluations make, over the first ${compared}.` : ''}`;

  const svgs: Record<string, string> = {
    'quality-right': overview(
      'right',
      'Pictures that show what the prompt says',
      'The share of pictures that the judge finds right, by solver and number of evaluations, one panel for each guidance scale.',
      many,
    ),
    'quality-rmse': overview(
      'rmse',
      'Distance from the pictures of 200 evaluations',
      'Root mean square error to the pictures of 200 evaluations, by solver and number of evaluations, one panel for each guidance scale.',
      `${many} Values in [-1, 1], clamped.`,
    ),
    'quality-frechet': overview(
      'frechet',
      'Distance from drawn pictures as a distribution',
      'Frechet distance of the 64 features of the classifier from those of drawn pictures, by solver and number of evaluations.',
      `${many} 64 features of the classifier; ${measured.drawn.frechet.toFixed(1)} between two sets of drawn pictures.`,
    ),
    'claim-few-evaluations': plot({
      title: 'Are 10 to 20 evaluations enough?',
      description: 'Share of right pictures of DPM-Solver++(2M) by number of evaluations beside that of 200.',
      panels: there
        .filter((guidance) => guidance > 1)
        .map((guidance) => panel(`guidance ${guidance}`, 'right', guidance, ['2m', '2m-published', 'ddim'])),
      note: many,
    }),
    'claim-unstable': plot({
      title: 'High order at guidance 8: noise form and data form',
      description: 'RMSE at guidance 8 of solvers in noise form, and of solvers in data form, beside DDIM.',
      panels: [
        panel('noise form', 'rmse', 8, ['ddim', 'deis-2', 'dpm-2', 'dpm-3']),
        panel('data form', 'rmse', 8, ['ddim', '2s', '2m', '2m-published', '3m']),
      ],
      note: many,
    }),
    'claim-multistep': plot({
      title: 'Multistep and singlestep at guidance 8',
      description: 'RMSE and right pictures at guidance 8 of DPM-Solver++(2S) and (2M).',
      panels: [
        panel('error', 'rmse', 8, ['2s', '2m', '2m-published']),
        panel('right pictures', 'right', 8, ['2s', '2m', '2m-published']),
      ],
      note: many,
    }),
    'claim-first-order': plot({
      title: 'The error of DDIM',
      description: 'RMSE of DDIM by number of evaluations on logarithmic axes, with fitted slopes.',
      panels: [
        {
          x,
          y: y.rmse,
          series: there.map((guidance, i) => {
            const own = cells.series('ddim', guidance);
            const fit = own.filter(({ steps }) => steps >= 10);
            const name = `guidance ${guidance}${fit.length > 2 ? `, slope ${slope(fit).toFixed(2)} from 10 on` : ''}`;
            return { name, color: i, points: own.map(take.rmse) };
          }),
        },
      ],
      note: many,
    }),
  };

  const grids = ['2m', ...Object.keys(GRIDS)];
  const compare = there.filter((guidance) => grids.every((row) => cells.find(row, guidance, 15)));
  if (compare.length > 0) {
    svgs['quality-grids'] = plot({
      title: 'DPM-Solver++(2M) on three grids',
      description:
        'RMSE and right pictures of DPM-Solver++(2M) on times even in t, even in lambda, and on those of Karras.',
      panels: compare.flatMap((guidance) => [
        panel(`guidance ${guidance}`, 'rmse', guidance, grids),
        panel(`guidance ${guidance}`, 'right', guidance, grids),
      ]),
      note: many,
    });
  }

  const thresholded = NUMBERS.filter((steps) => cells.find('2m-thresholding', 8, steps));
  if (thresholded.length > 0) {
    const values = (row: string) =>
      thresholded.map((steps) => {
        const cell = cells.find(row, 8, steps);
        return cell ? take.right(cell) : null;
      });
    svgs['claim-thresholding'] = bars({
      title: 'Dynamic thresholding at guidance 8',
      description: 'Share of right pictures with and without dynamic thresholding at guidance 8.',
      label: 'network evaluations',
      y: y.right,
      groups: thresholded.map(String),
      series: [
        { name: 'DDIM', values: values('ddim'), color: 'muted' },
        { name: 'DDIM, thresholding', values: values('ddim-thresholding'), color: 1 },
        { name: 'DPM-Solver++(2M)', values: values('2m'), color: 0 },
        { name: 'DPM-Solver++(2M), thresholding', values: values('2m-thresholding'), color: 4 },
      ],
      note: many,
    });
  }

  // Of the pictures, one by one: how many more are right than on times even in t.
  const gained = compare.flatMap((guidance) =>
    NUMBERS.map((steps) => {
      const [even, ...others] = grids.map((row) => cells.find(row, guidance, steps));
      if (!even) return [guidance, steps];
      const rmse = [even, ...others].map((cell) => cell?.rmse.toFixed(3) ?? '');
      const more = others.map((cell) => (cell ? points(cells.difference(cell, even)) : ''));
      return [guidance, steps, percent(even.right / even.pictures), ...more, ...rmse];
    }),
  );
  const answer = (holds: boolean | undefined) => (holds === undefined ? 'not measured yet' : holds ? 'yes' : 'no');
  const decided = verdicts(measured, optional<PanelResults>('panel'), cost?.rows, cost?.evaluations);
  const tables: Record<string, string> = {
    'quality-claims': table(
      ['claim', 'holds here'],
      decided.map(({ claim, holds }) => [claim, `**${answer(holds)}**`]),
    ),
    ...Object.fromEntries(
      decided.map(({ id, test, holds, figures }) => [
        `claim-${id}`,
        `**${answer(holds)}**, decided by whether ${test}.\n\n${figures || 'Not measured yet'}.`,
      ]),
    ),
    'quality-model': `Weights \`${measured.model}\`, ${measured.pictures.toLocaleString('en')} pictures a cell, ${measured.cells.length} cells${compared < measured.pictures ? `; RMSE, and what 200 evaluations make, over the first ${compared} pictures` : ''}.`,
  };
  for (const guidance of GUIDANCES) {
    const own = [...new Set(measured.cells.filter((one) => one.guidance === guidance).map(({ steps }) => steps))];
    const numbers = own.sort((a, b) => a - b);
    const rows = [...new Set(measured.cells.filter((one) => one.guidance === guidance).map(({ row }) => row))];
    const sheet = (say: (cell: Cell) => string) =>
      numbers.length === 0
        ? 'Not measured yet.'
        : table(
            ['solver', ...numbers.map(String)],
            rows.map((row) => [
              measured.cells.find((one) => one.row === row)?.name ?? row,
              ...numbers.map((steps) => {
                const cell = cells.find(row, guidance, steps);
                return cell ? say(cell) : '';
              }),
            ]),
          );
    tables[`quality-right-${guidance}`] = sheet((cell) => (100 * cells.right(cell).y).toFixed(1));
    tables[`quality-rmse-${guidance}`] = sheet(({ rmse }) => rmse.toFixed(3));
    tables[`quality-frechet-${guidance}`] = sheet(
      ({ frechet, frechetError }) => `${frechet.toFixed(1)} ± ${(1.96 * frechetError).toFixed(1)}`,
    );
  }
  tables['quality-grids'] =
    gained.length === 0
      ? 'Not measured yet.'
      : table(
          [
            'guidance',
            'evaluations',
            'right, even in t',
            'even in λ',
            'Karras',
            'RMSE, even in t',
            'even in λ',
            'Karras',
          ],
          gained,
        );
  if (measured === NONE) tables['quality-model'] = 'Not measured yet.';
  return { svgs: measured === NONE ? {} : svgs, tables };
}
