/**
 * What WebAssembly costs: the same calls of the native addon on one thread and of the WebAssembly build, whose tensors are
 * copied in and out at every call:
 *
 *     npm run bench:wasm
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { load } from '../../lib/loader.js';
import { instantiate } from '../../lib/wasm/napi.js';
import { machine } from '../machine.js';

type Functions = Record<string, (...args: unknown[]) => unknown>;

const { values } = parseArgs({
  options: {
    seconds: { type: 'string', default: '0.4' },
    sizes: { type: 'string', default: '16384,65536,262144,1048576' },
    out: { type: 'string', default: fileURLToPath(new URL('../results/wasm.json', import.meta.url)) },
  },
});
const builds: [string, Functions][] = [
  ['native', load<Functions>()],
  ['wasm', instantiate(readFileSync(new URL('../../prebuilds/wasm/dpm-solver.wasm', import.meta.url))) as Functions],
];

/** Microseconds a call, in the middle of many: the builds take turns, so that both meet the same machine. */
function measure(goes: Record<string, () => void>): Record<string, number> {
  const times: Record<string, number[]> = {};
  for (const [name, go] of Object.entries(goes)) {
    for (let k = 0; k < 5; k++) go();
    times[name] = [];
  }
  const until = performance.now() + 1000 * Number(values.seconds) * Object.keys(goes).length;
  while (performance.now() < until) {
    for (const [name, go] of Object.entries(goes)) {
      const started = performance.now();
      let calls = 0;
      // Short calls together, so that the clock's steps do not count.
      do {
        go();
        calls++;
      } while (performance.now() - started < 0.5);
      times[name].push((1000 * (performance.now() - started)) / calls);
    }
  }
  return Object.fromEntries(
    Object.entries(times).map(([name, all]) => [name, all.sort((a, b) => a - b)[Math.floor(all.length / 2)]]),
  );
}

const rows: { call: string; elements: number; native: number; wasm: number; ratio: number }[] = [];
function report(call: string, elements: number, make: (functions: Functions) => () => void): void {
  const { native, wasm } = measure(Object.fromEntries(builds.map(([name, functions]) => [name, make(functions)])));
  const short = (value: number) => Number(value.toPrecision(3));
  rows.push({ call, elements, native: short(native), wasm: short(wasm), ratio: short(wasm / native) });
  console.log(JSON.stringify(rows.at(-1)));
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
for (const n of values.sizes.split(',').map(Number)) {
  const filled = (count = n) => Float32Array.from({ length: count }, () => 3 * random());
  const [x, m, d1, d0, out] = [filled(), filled(2 * n), filled(), new Float32Array(n), new Float32Array(n)];
  const half = new Uint16Array(2 * n);
  builds[0][1].convert(m, half);
  const next = new Uint16Array(2 * n);
  const nothing = null;
  const step = (r: Float64Array, flags: number, network: ArrayBufferView, to: Uint16Array | null) => (f: Functions) => {
    const scratch = new Uint8Array(f.scratchBytes(0, 1, n, 0.995, 1) as number);
    const args = [r, 0, 1, flags, 1, scratch, x, network, nothing, nothing, x, nothing, d1];
    return () => void f.step(...args, nothing, nothing, nothing, d0, out, nothing, to);
  };
  report('step, second order', n, step(row(0, false), 1, m.subarray(0, n), nothing));
  report('step with guidance', n, step(row(0, true), 3, m, nothing));
  report('step with guidance, float16 in and out', n, step(row(0, true), 3, half, next));
  report('step with thresholding', n, step(row(2, false), 1, m.subarray(0, n), nothing));
  const seeded = (f: Functions) => {
    const generator = new Uint32Array(628);
    f.torchSeed(generator, 1, 0);
    return () => void f.torchRandn(generator, out);
  };
  report('torch noise', n, seeded);
  report('Philox noise', n, (f) => () => void f.philoxRandn(1, 2, 3, 4, 0, out));
}
const result = {
  command: 'npm run bench:wasm',
  machine: machine(),
  unit: 'microseconds a call, float32, median',
  rows,
};
writeFileSync(values.out, `${JSON.stringify(result)}\n`);
