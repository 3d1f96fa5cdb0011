// A server under attack: bench/results/serve.json.
import { type Rendered, results, table } from './data.js';

interface One {
  attacks: number;
  answered: string;
  p50Ms: number;
  p99Ms: number;
  heapMiB: number[];
  residentMiB: number[];
}
interface Attacked extends One {
  kind: string;
  control: One;
}

const ends = (values: readonly number[]): string =>
  `${values[0].toFixed(0)} to ${values[values.length - 1].toFixed(0)} MiB`;

export function render(): Rendered {
  const attacked = results<{ results: Attacked[] }>('serve').results;
  return {
    svgs: {},
    tables: {
      serve: table(
        ['attackers', 'attacks', 'status answered', 'median', 'p99', 'p99 of the constant', 'heap', 'resident set'],
        attacked.map(({ kind, attacks, answered, p50Ms, p99Ms, control, heapMiB, residentMiB }) => [
          ...[kind, attacks, answered, `${p50Ms.toFixed(0)} ms`, `${p99Ms.toFixed(0)} ms`],
          ...[`${control.p99Ms.toFixed(0)} ms`, ends(heapMiB), ends(residentMiB)],
        ]),
      ),
    },
  };
}
