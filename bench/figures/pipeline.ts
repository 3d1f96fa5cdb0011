// Where the time of a sampling run goes: bench/results/pipeline.json.
import { optional, type Rendered, table } from './data.js';
import { bars } from './plot.js';

interface Spread {
  median: number;
  low: number;
  high: number;
}
interface Row {
  name: string;
  network: Spread;
  solver: Spread;
  rest: Spread;
  loop: Spread;
  encode: Spread;
  share: Spread;
  toDdim: Spread;
  moreThanDdim: Spread;
}
interface Results {
  machine: { cpu: string; cores: number; date: string; node: string };
  rounds: number;
  steps: number;
  results: { name: string; pictures: number; evaluations: number; loadMs: number; pngMs: number; rows: Row[] }[];
}

const title: Record<string, string> = {
  shapes: 'embedded network',
  sd: 'tiny Stable Diffusion',
  sdxl: 'tiny Stable Diffusion XL',
  sd3: 'tiny Stable Diffusion 3',
};

export function render(): Rendered {
  const measured = optional<Results>('pipeline');
  if (!measured) {
    const names = ['pipeline-machine', 'pipeline', 'pipeline-tiny', 'pipeline-apart'];
    return { svgs: {}, tables: Object.fromEntries(names.map((name) => [name, 'Not measured yet.'])) };
  }
  const ms = ({ median, low, high }: Spread) => `${median.toFixed(2)} (${low.toFixed(2)} to ${high.toFixed(2)})`;
  const share = ({ median, low, high }: Spread) =>
    `${(100 * median).toFixed(2)}% (${(100 * low).toFixed(2)} to ${(100 * high).toFixed(2)})`;
  const ratio = ({ median, low, high }: Spread) => `${median.toFixed(3)} (${low.toFixed(3)} to ${high.toFixed(3)})`;
  const [shapes] = measured.results;
  const tables: Record<string, string> = {
    'pipeline-machine': `${measured.machine.cpu}, ${measured.machine.cores} cores, Node ${measured.machine.node}, ${measured.machine.date}; medians of ${measured.rounds} rounds with quartiles.`,
    pipeline: table(
      ['network', 'pictures', 'solver', 'network, ms', 'solver, ms', 'rest, ms', 'not the network', "loop to DDIM's"],
      measured.results
        .filter(({ name }) => name === 'shapes')
        .flatMap(({ name, pictures, rows }) =>
          rows.map((row) => [
            ...[title[name] ?? name, pictures, row.name, ms(row.network), ms(row.solver), ms(row.rest)],
            ...[share(row.share), ratio(row.toDdim)],
          ]),
        ),
    ),
    'pipeline-tiny': table(
      ['graph', 'pictures', 'solver', 'a call, ms', 'solver a step, ms', 'rest, ms'],
      measured.results
        .filter(({ name }) => name !== 'shapes')
        .flatMap(({ name, pictures, evaluations, rows }) =>
          rows
            .filter((row) => row.name === 'DDIM' || row.name === 'DPM-Solver++(2M)')
            .map((row) => [
              ...[title[name] ?? name, pictures, row.name, (row.network.median / evaluations).toFixed(3)],
              ...[(row.solver.median / evaluations).toFixed(3), ms(row.rest)],
            ]),
        ),
    ),
    'pipeline-apart': table(
      ['network', 'pictures', 'loading, ms', 'encoding the prompts, ms', 'PNG, ms'],
      measured.results.map(({ name, pictures, loadMs, pngMs, rows }) => [
        ...[title[name] ?? name, pictures, loadMs.toFixed(0), rows[0].encode.median.toFixed(2), pngMs.toFixed(1)],
      ]),
    ),
  };
  const parts = ['solver', 'rest'] as const;
  const svgs = {
    'claim-same-cost': bars({
      title: 'What an evaluation costs besides the network',
      description: 'Milliseconds an evaluation of solver and rest, by solver, for the embedded network.',
      label: 'solver',
      y: { label: `ms an evaluation of ${shapes.pictures} pictures` },
      groups: shapes.rows.map(({ name }) => name.replace('DPM-Solver', 'DPM').replace('MultistepScheduler', ' scheduler').replace(', thresholding', ' thresh.')), // biome-ignore format: one line reads better
      series: parts.map((part) => ({
        name: part === 'solver' ? 'the solver' : 'the rest of the loop',
        values: shapes.rows.map((row) => ({ y: row[part].median / shapes.evaluations })),
      })),
      note: `The network takes ${(shapes.rows[0].network.median / shapes.evaluations).toFixed(1)} ms an evaluation.`,
    }),
  };
  return { svgs, tables };
}
