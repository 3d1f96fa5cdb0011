/**
 * From how many bytes on is it worth writing around the caches, if what was written is read once afterwards?
 *
 *     npm run bench:stores [-- --processes 5 --repetitions 15 --most 16777216]
 *
 * A result that is written by non-temporal stores need not be read into the caches only to be overwritten, but has to be
 * fetched from memory by whoever reads it next: the network that gets it as its input, the next step that finds it in its
 * history. A write alone says nothing of that. `limit` is the step's traffic without its arithmetic (step.ts), by ordinary and by
 * non-temporal stores, plain and with the pass that a quantile needs before it; each alone, and followed by one read of both arrays
 * that it wrote. The step itself follows, by the stores that it takes (native/cpu/sizes.h). Warm: what is read was there a moment
 * ago; cold: 96 MB of something else were written in between.
 *
 * All take turns in every repetition and ratios are of one repetition; where pages lie in memory and who else uses the caches
 * differs from process to process, so that each size is measured in several and the least and the most are told as well.
 * Writes bench/results/stores.json.
 */
import { execFileSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { addon, type StepBuffers, step } from '../../lib/addon/native.js';
import { median } from '../../lib/pipelines/clock.js';
import { machine } from '../machine.js';

const { values } = parseArgs({
  options: {
    processes: { type: 'string', default: '5' },
    repetitions: { type: 'string', default: '15' },
    least: { type: 'string', default: String(2 ** 15) },
    most: { type: 'string', default: String(2 ** 24) },
    one: { type: 'boolean', default: false },
    out: { type: 'string', default: fileURLToPath(new URL('../results/stores.json', import.meta.url)) },
  },
});
const limit = addon.limit as (...all: unknown[]) => number;
const RATIO = 0.995;

/** How many times as long non-temporal stores take as ordinary ones, and the step as the faster of the two. */
interface Ratios {
  /** Nothing reads what was written. */
  write: number;
  /** One read of it follows. */
  read: number;
  /** The same, with a pass before it that reads the prediction's operands. */
  looked: number;
  /** The step and a read, to the better of the two limits and a read. */
  step: number;
  thresholded: number;
}
export interface StoresRow {
  elements: number;
  cold: boolean;
  /** Of all processes: the median, the least, the most. */
  ratios: Record<keyof Ratios, [median: number, least: number, most: number]>;
}
export interface StoresResults {
  machine: ReturnType<typeof machine>;
  processes: number;
  rows: StoresRow[];
}

/** From the border of a cache line on, as non-temporal stores want it. */
function lines(n: number, value: number): Float32Array {
  const buffer = new ArrayBuffer(4 * n + 64);
  return new Float32Array(buffer, (64 - limit(new Uint8Array(buffer))) % 64, n).fill(value);
}

function rows(threshold: boolean): Float64Array {
  const all = new Float64Array(32);
  all.set([1.25, -0.77, 0, 0, threshold ? 2 : 0, RATIO, 1, 100, 1]);
  all.set([0.81, 0.43, 0, -0.12], 12);
  return all;
}

const others = new Float64Array((96 << 20) / 8);

function measured(n: number, cold: boolean, repetitions: number): Ratios {
  const [x, m, d1] = [lines(n, 0.3), lines(n, 0.2), lines(n, 0.1)];
  // Not all alike, as a quantile of such is found at once.
  for (let i = 0; i < n; i++) m[i] = ((i * 2654435761) % 4294967296) / 2147483648 - 1;
  const [d0, out] = [lines(n, 0), lines(n, 0)];
  const buffers: StepBuffers = { x, m, base: x, d1, d0, out };
  const scratch = new Uint8Array(addon.scratchBytes(0, 1, n, RATIO, 1));
  const [plain, threshold] = [rows(false), rows(true)];
  const read = () => void limit(d0, out);
  const writes: Record<string, () => void> = {
    ordinary: () => void limit(0, 1, d0, out, x, m, d1, null),
    around: () => void limit(1, 1, d0, out, x, m, d1, null),
    ordinaryLooked: () => void limit(0, 1, d0, out, x, m, d1, null, 1),
    aroundLooked: () => void limit(1, 1, d0, out, x, m, d1, null, 1),
    step: () => void step(plain, buffers, { batch: 1, threads: 1 }),
    thresholded: () => void step(threshold, buffers, { batch: 1, threads: 1, scratch }),
  };
  const goes: Record<string, () => void> = { ordinary: writes.ordinary!, around: writes.around! };
  for (const [name, write] of Object.entries(writes)) {
    goes[`${name}, read`] = () => {
      write();
      read();
    };
  }
  const names = Object.keys(goes);
  const calls: Record<string, number> = {};
  for (const name of names) {
    for (let i = 0; i < 20; i++) goes[name]!();
    const began = performance.now();
    goes[name]!();
    calls[name] = cold ? 1 : Math.max(1, Math.min(500, Math.ceil(0.5 / (performance.now() - began))));
  }
  const runs: Record<string, number[]> = Object.fromEntries(names.map((name) => [name, []]));
  for (let r = 0; r < repetitions; r++) {
    for (let k = 0; k < names.length; k++) {
      const name = names[(k + r) % names.length]!;
      const go = goes[name]!;
      if (cold) others.fill(r);
      else go();
      const began = performance.now();
      for (let i = 0; i < calls[name]!; i++) go();
      runs[name]!.push((performance.now() - began) / calls[name]!);
    }
  }
  const ratio = (a: string, b: string) => median(runs[a]!.map((value, r) => value / runs[b]![r]!));
  const better = (a: string, b: string) => (median(runs[a]!) < median(runs[b]!) ? a : b);
  return {
    write: ratio('around', 'ordinary'),
    read: ratio('around, read', 'ordinary, read'),
    looked: ratio('aroundLooked, read', 'ordinaryLooked, read'),
    step: ratio('step, read', better('around, read', 'ordinary, read')),
    thresholded: ratio('thresholded, read', better('aroundLooked, read', 'ordinaryLooked, read')),
  };
}

const sizes: number[] = [];
for (let n = Number(values.least); n <= Number(values.most); n *= 2) sizes.push(n);
const repetitions = Number(values.repetitions);
if (values.one) {
  const all = sizes.flatMap((n) => [false, true].map((cold) => measured(n, cold, repetitions)));
  console.log(JSON.stringify(all));
} else {
  const passed = ['repetitions', 'least', 'most'].flatMap((name) => [`--${name}`, String(values[name as 'most'])]);
  const processes = Array.from({ length: Number(values.processes) }, () => {
    const args = ['--import', 'tsx', fileURLToPath(import.meta.url), '--one', ...passed];
    return JSON.parse(execFileSync(process.execPath, args, { encoding: 'utf8' })) as Ratios[];
  });
  const result: StoresResults = {
    machine: machine(),
    processes: processes.length,
    rows: sizes.flatMap((elements, s) =>
      [false, true].map((cold, c): StoresRow => {
        const of = processes.map((all) => all[2 * s + c]!);
        const told = (name: keyof Ratios): [number, number, number] => {
          const ratios = of.map((one) => one[name]);
          const three = [median(ratios), Math.min(...ratios), Math.max(...ratios)];
          return three.map((value) => Number(value.toFixed(3))) as [number, number, number];
        };
        return {
          ...{ elements, cold },
          ratios: {
            write: told('write'),
            read: told('read'),
            looked: told('looked'),
            step: told('step'),
            thresholded: told('thresholded'),
          },
        };
      }),
    ),
  };
  for (const { elements, cold, ratios } of result.rows) {
    const parts = Object.entries(ratios).map(
      ([name, [middle, least, most]]) => `${name} ${middle} (${least} to ${most})`,
    );
    console.log(`${String(elements).padStart(9)} ${cold ? 'cold' : 'warm'}: ${parts.join(', ')}`);
  }
  writeFileSync(values.out, `${JSON.stringify(result, null, 2)}\n`);
}
