// A calibration's report as a picture.
import type { Calibration, CalibrationReport } from './report.js';

const [WIDTH, ROW, LEFT, RIGHT, TOP] = [760, 40, 150, 120, 96];
const STYLE =
  'text{font:12px system-ui,sans-serif;fill:#1f2328}.t{font-size:15px;font-weight:600}.m{fill:#59636e}' +
  '.p{fill:#fff}.g{stroke:#d8dee4}.c{fill:#59636e;stroke:#59636e}.n{fill:#0b62a8;stroke:#0b62a8}' +
  '.o{fill:none;stroke-width:1.2}.e{stroke-width:2}' +
  '@media(prefers-color-scheme:dark){text{fill:#e6edf3}.m{fill:#9198a1}.p{fill:#0d1117}.g{stroke:#3d444d}' +
  '.c{fill:#9198a1;stroke:#9198a1}.n{fill:#6cb6ff;stroke:#6cb6ff}}';

/** A tick at 1, 2 and 5 of each decade, and the ends of the axis at the ones beside the data. */
function ticksOf(low: number, high: number): number[] {
  const ticks: number[] = [];
  for (let decade = Math.floor(Math.log10(low)) - 1; decade <= Math.ceil(Math.log10(high)); decade++) {
    for (const one of [1, 2, 5]) ticks.push(one * 10 ** decade);
  }
  const first = ticks.findLastIndex((tick) => tick <= low);
  const last = ticks.findIndex((tick) => tick >= high);
  return ticks.slice(Math.max(first, 0), last < 0 ? undefined : last + 1);
}

const round = (value: number) => Number(value.toFixed(1));
const digits = (value: number) => String(Number(value.toPrecision(2)));

/**
 * One line for each number of evaluations: the error on the samples held out of the best classic solver and of the
 * calibrated table, with their standard errors, on a logarithmic axis, and which of them was kept.
 *
 * @returns an SVG document
 */
export function calibrationSvg({ report }: Pick<Calibration, 'report'>): string {
  const points = report.map((one) => [
    pointOf(one, one.classicName, one.classic),
    pointOf(one, one.start, one.heldOut),
  ]);
  const drawn = points.flat().filter(({ value }) => value > 0);
  const ends = drawn.flatMap(({ value, error }) => [value + error, Math.max(value - error, value / 2)]);
  const ticks = drawn.length === 0 ? [0.1, 1] : ticksOf(Math.min(...ends), Math.max(...ends));
  const [low, high] = [Math.log(ticks[0]), Math.log(ticks[ticks.length - 1])];
  const x = (value: number) => round(LEFT + ((WIDTH - LEFT - RIGHT) * (Math.log(value) - low)) / (high - low || 1));
  const height = TOP + ROW * report.length + 44;
  const bottom = TOP + ROW * report.length;
  const grid = ticks.map(
    (tick) =>
      `<line class="g" x1="${x(tick)}" x2="${x(tick)}" y1="${TOP - 8}" y2="${bottom}"/>` +
      `<text class="m" x="${x(tick)}" y="${bottom + 16}" text-anchor="middle">${digits(tick)}</text>`,
  );
  const rows = report.map((one, i) => {
    const y = TOP + ROW * i + ROW / 2 - 4;
    const marks = points[i].map(({ value, error }, k) => {
      if (!(value > 0)) return '';
      const from = x(Math.max(value - error, Math.exp(low)));
      const at = y + (k === 0 ? -6 : 6);
      const kind = k === 0 ? 'c' : 'n';
      const hollow = (one.kept === 'table') === (k === 0) ? ' o' : '';
      return (
        `<line class="${kind} e" x1="${from}" x2="${x(value + error)}" y1="${at}" y2="${at}"/>` +
        `<circle class="p" cx="${x(value)}" cy="${at}" r="5"/><circle class="${kind}${hollow}" cx="${x(value)}" cy="${at}" r="5"/>`
      );
    });
    return (
      `<text x="${LEFT - 12}" y="${y + 4}" text-anchor="end">${one.steps} evaluations</text>${marks.join('')}` +
      `<text x="${WIDTH - RIGHT + 16}" y="${y + 4}">${saying(one)}</text>`
    );
  });
  const title = 'Calibration: error on samples held out';
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" width="${WIDTH}" height="${height}" viewBox="0 0 ${WIDTH} ${height}" role="img" aria-label="${title}">`,
    `<style>${STYLE}</style><rect class="p" width="${WIDTH}" height="${height}"/>`,
    `<text class="t" x="24" y="30">${title}</text>`,
    `<circle class="c" cx="30" cy="54" r="5"/><text x="42" y="58">best classic solver</text>`,
    `<circle class="n" cx="180" cy="54" r="5"/><text x="192" y="58">calibrated table</text>`,
    `<text class="m" x="320" y="58">lines: one standard error; full: kept</text>`,
    ...grid,
    ...rows,
    `<text class="m" x="${round((LEFT + WIDTH - RIGHT) / 2)}" y="${height - 8}" text-anchor="middle">mean distance to where the teacher ends (RMS)</text>`,
    '</svg>\n',
  ].join('\n');
}

function pointOf({ candidates }: CalibrationReport, name: string, value: number) {
  return { value, error: candidates.find((one) => one.name === name)?.error ?? 0 };
}

function saying({ kept, heldOut, classic }: CalibrationReport): string {
  if (kept === 'classic') return 'classic kept';
  const less = Math.round(100 * (1 - heldOut / classic));
  return `${less}% nearer`;
}
