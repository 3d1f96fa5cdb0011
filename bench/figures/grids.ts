// Which grid for which noise schedule.
import type { GridResults } from '../error/grids.js';
import { type Rendered, results, table } from './data.js';

const SHOWN = [8, 10, 20];
const GRIDS = ['time_uniform', 'time_quadratic', 'logSNR', 'karras', 'beta'];

export function render(): Rendered {
  const { rows, evaluations } = results<GridResults>('grids');
  const names = [...new Set(rows.map((row) => row.schedule))];
  const problems = [...new Set(rows.map((row) => row.problem))];
  const number = (value: number) => (value >= 0.1 ? value.toFixed(2) : value.toPrecision(2));
  const lines = names.flatMap((schedule) =>
    problems.flatMap((problem) =>
      SHOWN.map((nfe) => {
        const at = (grid: string) =>
          rows.find(
            (row) =>
              row.schedule === schedule && row.problem === problem && row.grid === grid && row.final === 'published',
          )?.error[evaluations.indexOf(nfe)];
        const found = GRIDS.map(at);
        const best = Math.min(...found.filter((value) => value !== undefined));
        const cells = found.map((value) =>
          value === undefined ? '–' : value === best ? `**${number(value)}**` : number(value),
        );
        return [schedule, problem, nfe, ...cells];
      }),
    ),
  );
  return { svgs: {}, tables: { grids: table(['schedule', 'problem', 'evaluations', ...GRIDS], lines) } };
}
