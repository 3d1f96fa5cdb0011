// A model folder at its real size: bench/results/large.json.
import { type Rendered, results, table } from './data.js';

interface Call {
  what: string;
  side: number;
  loadS?: number;
  calls?: number[];
  decodeS: number;
  stepMs?: number;
  tiles?: number;
  peakBytes: number;
}
interface Large {
  model: string;
  bytes: number;
  results: Call[];
}

const NAMES: Record<string, string> = {
  fast: "`memory: 'fast'`",
  low: "`memory: 'low'`",
  python: 'onnxruntime in Python, the same graphs',
  whole: 'decode alone, whole',
  tiles: 'decode alone, by tiles',
};

const seconds = (value: number | undefined) => (value === undefined ? '' : value.toFixed(0));

export function render(): Rendered {
  const { results: calls } = results<Large>('large');
  return {
    svgs: {},
    tables: {
      large: table(
        ['', 'pixels', 'peak memory', 'loading', 'network calls', 'solver step', 'decoding'],
        calls.map(({ what, side, peakBytes, loadS, calls: each = [], stepMs, decodeS, tiles }) => [
          NAMES[what],
          `${side}²`,
          `${(peakBytes / 1e9).toFixed(1)} GB`,
          loadS === undefined ? '' : `${seconds(loadS)} s`,
          each.length === 0 ? '' : `${each.map(seconds).join(', ')} s`,
          stepMs === undefined ? '' : `${stepMs.toFixed(1)} ms`,
          `${seconds(decodeS)} s${tiles !== undefined && tiles > 1 ? `, ${tiles} tiles` : ''}`,
        ]),
      ),
    },
  };
}
