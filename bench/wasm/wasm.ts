/**
 * What WebAssembly costs: the same calls of the native addon on one thread and of the WebAssembly build, by turns in one
 * process. Of the latter twice: as a run makes them, whose tensors lie in WebAssembly's memory so that only the network's
 * output is copied, and with all arrays elsewhere, as for those who call `step` with their own:
 *
 *     npm run bench:wasm
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { load } from '../../lib/addon/loader.js';
import { ARENA, type ArrayClass, type MakeArena } from '../../lib/addon/wasm/arena.js';
import { instantiate } from '../../lib/addon/wasm/napi.js';
import { machine } from '../machine.js';

type Functions = Record<string, (...args: unknown[]) => unknown>;

const { values } = parseArgs({
  options: {
    seconds: { type: 'string', default: '0.4' },
    shapes: { type: 'string', default: '1x4x64x64,1x4x128x128,1x3x256x256' },
    out: { type: 'string', default: fileURLToPath(new URL('../results/wasm.json', import.meta.url)) },
  },
});
const native = load<Functions>();
const wasm = instantiate(readFileSync(new URL('../../prebuilds/wasm/dpm-solver.wasm', import.meta.url))) as Functions;
const makeArena = (wasm as unknown as Record<symbol, MakeArena>)[ARENA];

interface Time {
  median: number;
  /** The quartiles. */
  low: number;
  high: number;
}
type Kind = 'native' | 'run' | 'copied';
const short = (value: number) => Number(value.toPrecision(3));

/** Microseconds a call: the builds take turns, so that all meet the same machine. */
function measure(goes: Record<Kind, () => void>): Record<Kind, Time> {
  const times: Record<Kind, number[]> = { native: [], run: [], copied: [] };
  const kinds = Object.keys(times) as Kind[];
  const batch = (go: () => void) => {
    const started = performance.now();
    let calls = 0;
    // Short calls together, so that the clock's steps do not count.
    do {
      go();
      calls++;
    } while (performance.now() - started < 0.5);
    return (1000 * (performance.now() - started)) / calls;
  };
  // WebAssembly is compiled well while it runs.
  for (const kind of kinds) for (let k = 0; k < 200; k++) batch(goes[kind]);
  const until = performance.now() + 1000 * Number(values.seconds) * kinds.length;
  while (performance.now() < until) for (const kind of kinds) times[kind].push(batch(goes[kind]));
  const summary = (all: number[]): Time => {
    all.sort((a, b) => a - b);
    const at = (share: number) => short(all[Math.floor(share * all.length)]);
    return { median: at(0.5), low: at(0.25), high: at(0.75) };
  };
  return { native: summary(times.native), run: summary(times.run), copied: summary(times.copied) };
}

interface Row extends Record<Kind, Time> {
  call: string;
  shape: string;
  ratio: number;
  ratioCopied: number;
}
const rows: Row[] = [];
function report(call: string, shape: string, goes: Record<Kind, () => void>): void {
  const times = measure(goes);
  const { native, run, copied } = times;
  const ratio = short(run.median / native.median);
  rows.push({ call, shape, ...times, ratio, ratioCopied: short(copied.median / native.median) });
  console.log(call, shape, ratio, short(copied.median / native.median), JSON.stringify(times));
}

let state = 1;
const random = () => {
  state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
  return state / 2 ** 31 - 1;
};
function row(transform: number, guidance: boolean): Float64Array {
  const all = new Float64Array(32);
  all.set([1.25, -0.77, guidance ? 1.5 : 0, 0, transform, 0.995, 1, 100, 1]);
  all.set([0.81, 0.43, 0, -0.12], 12);
  return all;
}
const nothing = null;
for (const shape of values.shapes.split(',')) {
  const n = shape.split('x').reduce((product, size) => product * Number(size), 1);
  const filled = (count = n) => Float32Array.from({ length: count }, () => 3 * random());
  const [m, half] = [filled(2 * n), new Uint16Array(2 * n)];
  native.convert(m, half);
  const [x, d1] = [filled(), filled()];
  const scratchBytes = native.scratchBytes(0, 1, n, 0.995, 1) as number;

  /** The arrays of a run in an arena, or elsewhere; the network's output is always elsewhere. */
  const step = (r: Float64Array, flags: number, network: ArrayBufferView, halves: boolean, kind: Kind) => {
    const take = kind === 'run' ? makeArena(40 * n + scratchBytes + 65536, 8 * n)! : nothing;
    const make = <T extends ArrayBufferView>(Class: unknown, length: number) =>
      take ? take(Class as ArrayClass<T>, length)! : new (Class as ArrayClass<T>)(length);
    const arrays = [x, d1].map((from) => {
      const array = make<Float32Array>(Float32Array, n);
      array.set(from);
      return array;
    });
    const own = make<Float64Array>(Float64Array, 32);
    own.set(r);
    const [d0, out] = [make(Float32Array, n), make(Float32Array, n)];
    const args = [own, 0, 1, flags, 1, make(Uint8Array, scratchBytes), arrays[0], network, nothing, nothing, arrays[0]];
    const next = halves ? make(Uint16Array, 2 * n) : nothing;
    const { step } = kind === 'native' ? native : wasm;
    return () => void step(...args, nothing, arrays[1], nothing, nothing, nothing, d0, out, nothing, next);
  };
  const steps = (r: Float64Array, flags: number, network: ArrayBufferView, halves = false) => ({
    native: step(r, flags, network, halves, 'native'),
    run: step(r, flags, network, halves, 'run'),
    copied: step(r, flags, network, halves, 'copied'),
  });
  report('second order', shape, steps(row(0, false), 1, m.subarray(0, n)));
  report('with guidance', shape, steps(row(0, true), 3, m));
  report('with thresholding', shape, steps(row(2, false), 1, m.subarray(0, n)));
  report('guidance and thresholding', shape, steps(row(2, true), 3, m));
  report('guidance, float16 in and out', shape, steps(row(0, true), 3, half, true));
}
const result = {
  command: 'npm run bench:wasm',
  machine: machine(),
  unit: 'microseconds a call on one thread: medians and quartiles',
  rows,
};
writeFileSync(values.out, `${JSON.stringify(result)}\n`);
