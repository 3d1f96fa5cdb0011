// A server under attack and under load: bench/results/serve.json and load.json.
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

type Way = 'session' | 'dynamic' | 'queue';
interface Spread {
  p50: number;
  p99: number;
}
interface Load {
  saturated: ({ clients: number; shares: Record<Way, number[]> } & Record<Way, number>)[];
  half: { networkCallMs: Spread } & Record<Way, { admissionMs: Spread; latencyMs: Spread }>;
}

const WAYS: readonly (readonly [Way, string])[] = [
  ['session', 'every call is shared'],
  ['dynamic', 'whole runs that agree are one batch'],
  ['queue', 'one run after the other'],
];

function load(): Rendered['tables'] {
  const { saturated, half } = results<Load>('load');
  const spread = ({ p50, p99 }: Spread, call = 1, digits = 0) =>
    `${(p50 / call).toFixed(digits)}, ${(p99 / call).toFixed(digits)}`;
  return {
    load: table(
      ['', ...saturated.map(({ clients }) => `${clients} client${clients === 1 ? '' : 's'}`)],
      WAYS.map(([way, name]) => [
        name,
        ...saturated.map((row) => {
          const shares = row.shares[way];
          return `${row[way].toFixed(2)} (${Math.min(...shares).toFixed(2)} to ${Math.max(...shares).toFixed(2)})`;
        }),
      ]),
    ),
    'load-half': table(
      ['', 'wait until it is in a network call: median, p99', 'until it is over: median, p99'],
      WAYS.map(([way, name]) => {
        const { admissionMs, latencyMs } = half[way];
        const { p99 } = half.networkCallMs;
        return [name, spread(admissionMs, p99, 2), spread(latencyMs, p99, 1)];
      }),
    ),
  };
}

export function render(): Rendered {
  const attacked = results<{ results: Attacked[] }>('serve').results;
  return {
    svgs: {},
    tables: {
      ...load(),
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
