// What WebAssembly costs: bench/results/wasm.json.
import { type Rendered, results, table } from './data.js';

interface Time {
  median: number;
  low: number;
  high: number;
}
interface Wasm {
  machine: { cpu: string; node: string; date: string; simd: string };
  rows: {
    call: string;
    shape: string;
    native: Time;
    run: Time;
    copied: Time;
    ratio: number;
    ratioCopied: number;
  }[];
}

/** The factor that the WebAssembly build is meant to stay within. */
const WANTED = 3.6;

/** Numbers in a vector of float32. */
const LANES: Readonly<Record<string, number>> = { avx512: 16, avx2: 8, sse2: 4, neon: 4 };

const figure = (value: number) => (value < 100 ? value.toFixed(1) : value.toFixed(0));

export function render(): Rendered {
  const { machine, rows } = results<Wasm>('wasm');
  const time = ({ median, low, high }: Time) => `${figure(median)} (${figure(low)} to ${figure(high)})`;
  const ratios = rows.map(({ ratio }) => ratio);
  const beyond = rows.filter(({ ratio }) => ratio > WANTED);
  const which = [...new Set(beyond.map(({ call }) => call))].join('; ');
  return {
    svgs: {},
    tables: {
      wasm: [
        `One step of a float32 run, in microseconds: medians and quartiles, both builds by turns in one process (${machine.cpu}, ${machine.simd} natively, one thread, Node ${machine.node}, ${machine.date}).`,
        `WebAssembly takes ${Math.min(...ratios).toFixed(1)} to ${Math.max(...ratios).toFixed(1)} times as long.`,
        beyond.length > 0
          ? `Beyond ${WANTED} times, which is the aim: ${which}. WebAssembly's vectors have 4 numbers, those of ${machine.simd} ${LANES[machine.simd]}, and it has no instruction that converts float16.`
          : `The aim is at most ${WANTED} times.`,
        '',
        table(
          ['step', 'tensor', 'native', 'WebAssembly', 'times', 'times, all copied'],
          rows.map((row) => [
            row.call,
            row.shape,
            time(row.native),
            time(row.run),
            row.ratio.toFixed(1),
            row.ratioCopied.toFixed(1),
          ]),
        ),
      ].join('\n'),
    },
  };
}
