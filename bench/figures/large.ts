// Model folders at their real size, and a server of two of them: bench/results/large.json and served.json.
import { type Rendered, results, table } from './data.js';

interface Call {
  what: string;
  side: number;
  loadS?: number;
  calls?: number[];
  decodeS?: number;
  stepMs?: number;
  tiles?: number;
  peakBytes?: number;
  ratio?: number;
  /** Of a machine that did other work as well: times are not told. */
  note?: string;
}
interface Run {
  /** Shape, element type and sizes, and the share of its layers where it has not all, as in `sdxl-float16-open-0.25`. */
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
const SHAPES: Record<string, string> = {
  sd15: 'Stable Diffusion 1.5',
  sd2: 'Stable Diffusion 2.1',
  sdxl: 'Stable Diffusion XL',
  sd3: 'Stable Diffusion 3 medium',
  flux: 'Flux, 3 + 6 blocks',
};

const seconds = (value: number | undefined) => (value === undefined ? '' : value.toFixed(0));
const gigabytes = (value: number | undefined) => (value === undefined ? '' : `${(value / 1e9).toFixed(2)} GB`);

const FIGURES = ['peak memory', 'loading', 'network calls', 'solver step', 'decoding'];

function figures({ peakBytes, loadS, calls: each = [], stepMs, decodeS, tiles }: Call): string[] {
  return [
    gigabytes(peakBytes),
    loadS === undefined ? '' : `${seconds(loadS)} s`,
    each.length === 0 ? '' : `${each.map(seconds).join(', ')} s`,
    stepMs === undefined ? '' : `${stepMs.toFixed(1)} ms`,
    `${seconds(decodeS)} s${tiles !== undefined && tiles > 1 ? `, ${tiles} tiles` : ''}`,
  ];
}

interface Served {
  maxBytes: number;
  mostBytes: number;
  turns: { steps: number[]; loadings: number }[];
  waits: { promised: number; waited: number }[];
  cancel: { answeredMs: number; calls: number; steps: number };
  status: { requests: number; medianMs: number };
}

function served(): string {
  const { maxBytes, mostBytes, turns, waits, cancel, status } = results<Served>('served');
  const percent = (values: readonly number[]) => values.map((value) => `${(100 * value).toFixed(0)}%`).join(', ');
  const last = turns[turns.length - 1];
  return table(
    ['', ''],
    [
      ['memory of all processes, with room for', gigabytes(maxBytes)],
      ['the most that they took, with both models in turn', gigabytes(mostBytes)],
      ['readings of its loading that a run was told', last.loadings],
      ['when each step was told, of the time from start to end', percent(last.steps)],
      ['wait that was told, to what it came to', waits.map((one) => (one.promised / one.waited).toFixed(2)).join(', ')],
      ['a cancel is answered after', `${cancel.answeredMs.toFixed(0)} ms`],
      ['and has ended the run after', `${cancel.calls.toFixed(3)} network calls`],
      ['status, asked all the while, median', `${status.medianMs.toFixed(1)} ms of ${status.requests} requests`],
    ],
  );
}

export function render(): Rendered {
  const { runs } = results<{ runs: Run[] }>('large');
  const first = runs.find(({ model }) => model === 'sd15-float32-open') as Run;
  const turns = runs.flatMap(({ model, results: calls }) =>
    calls.filter(({ what }) => what === 'turns').map((call) => ({ model, ...call })),
  );
  return {
    svgs: {},
    tables: {
      large: table(
        ['', 'pixels', ...FIGURES],
        first.results
          .filter(({ what }) => what in NAMES)
          .map((call) => [
            ...[NAMES[call.what], `${call.side}²`],
            ...(call.note === undefined ? figures(call) : [gigabytes(call.peakBytes), '', '', '', '']),
          ]),
      ),
      'large-shapes': table(
        ['shape of', 'made as', 'on disk', 'memory', 'pixels', ...FIGURES],
        runs
          .filter((run) => run !== first)
          .flatMap(({ model, bytes, results: calls }) => {
            const [shape, type, sizes, layers = '1'] = model.split('-');
            const networks = `${type}, ${sizes === 'open' ? 'open sizes' : 'fixed size'}, ${layers} of layers`;
            return calls
              .filter(({ what }) => what === 'low' || what === 'fast')
              .map((call) => [
                ...[SHAPES[shape], networks, gigabytes(bytes), NAMES[call.what].replace('memory: ', '')],
                ...[`${call.side}²`, ...figures(call)],
              ]);
          }),
      ),
      served: served(),
      'large-turns': table(
        ['shape of', 'pixels', 'pairs of calls', 'median ratio', 'least', 'most'],
        turns.map(({ model, side, ratio = 0, ratios = [] }: Call & { model: string; ratios?: number[] }) => [
          ...[SHAPES[model.split('-')[0]], `${side}²`, ratios.length],
          ...[ratio, Math.min(...ratios), Math.max(...ratios)].map((value) => value.toFixed(2)),
        ]),
      ),
    },
  };
}
