/**
 * How the step grows, with the number of elements and with threads, plain and thresholded, and what a sort-based quantile
 * would cost:
 *
 *     npm run bench:growth [-- --most 67108864 --repetitions 9]
 *
 * One sample of 2^14 ... 2^26 float32 elements, warm; `limit` reads and writes the same memory with next to no arithmetic
 * (step.ts). Contestants of a size run interleaved in one process, and ratios are taken within a repetition. The
 * sort-based step is fused TypeScript around a Float32Array's own sort, which is C++.
 */
import { writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { addon, info, type StepBuffers, step } from '../../lib/addon/native.js';
import { normal } from '../error/mixture.js';
import { machine } from '../machine.js';

const { values } = parseArgs({
  options: {
    most: { type: 'string', default: String(2 ** 26) },
    repetitions: { type: 'string', default: '9' },
    out: { type: 'string', default: fileURLToPath(new URL('../results/step-growth.json', import.meta.url)) },
  },
});
const limit = addon.limit as (...all: unknown[]) => number;
const RATIO = 0.995;
const CAP = 100;
const COEFFICIENTS = { cx: 1.25, cm: -0.77, a: 0.81, bp: 0.43, b1: -0.12 };
/** Sorting more than this takes seconds a go. */
const MOST_SORTED = 2 ** 22;

export interface GrowthRow {
  elements: number;
  threads: number;
  /** Microseconds a call, medians. */
  microseconds: Record<string, number>;
  /** Medians of ratios within repetitions. */
  ratios: Record<string, number>;
  runs: Record<string, number[]>;
}
export interface GrowthResults {
  rows: GrowthRow[];
}

function rows(threshold: boolean): Float64Array {
  const { cx, cm, a, bp, b1 } = COEFFICIENTS;
  const all = new Float64Array(32);
  all.set([cx, cm, 0, 0, threshold ? 2 : 0, RATIO, 1, CAP, 1]);
  all.set([a, bp, 0, b1], 12);
  return all;
}

/** The thresholded step with the quantile of a sorted copy. */
function sorted(
  x: Float32Array,
  m: Float32Array,
  d1: Float32Array,
  d0: Float32Array,
  out: Float32Array,
  work: Float32Array,
) {
  const { cx, cm, a, bp, b1 } = COEFFICIENTS;
  const n = x.length;
  for (let i = 0; i < n; i++) {
    const p = cx * x[i] + cm * m[i];
    d0[i] = p;
    work[i] = Math.abs(p);
  }
  work.sort();
  const place = RATIO * (n - 1);
  const k = Math.floor(place);
  const above = work[Math.min(k + 1, n - 1)];
  const s = Math.min(Math.max(work[k] + (place - k) * (above - work[k]), 1), CAP);
  for (let i = 0; i < n; i++) {
    const q = Math.min(Math.max(d0[i], -s), s) / s;
    d0[i] = q;
    out[i] = a * x[i] + bp * q + b1 * d1[i];
  }
}

/** From the border of a cache line on, as non-temporal stores want it. */
function lines(n: number): Float32Array {
  const buffer = new ArrayBuffer(4 * n + 64);
  return new Float32Array(buffer, (64 - limit(new Uint8Array(buffer))) % 64, n);
}

function filled(n: number, seed: number): Float32Array {
  const out = lines(n);
  // A block of normal numbers again and again: drawing 64 M of them would take longer than all the rest.
  const gauss = normal(seed);
  const block = Float32Array.from({ length: Math.min(n, 2 ** 16) }, () => 1.9 * gauss());
  for (let i = 0; i < n; i += block.length) out.set(block.subarray(0, Math.min(block.length, n - i)), i);
  return out;
}

function median(list: readonly number[]): number {
  const all = [...list].sort((a, b) => a - b);
  const half = all.length >> 1;
  return all.length % 2 ? all[half] : (all[half - 1] + all[half]) / 2;
}

const repetitions = Number(values.repetitions);
const threadCounts = [...new Set([1, 2, info().threads])].filter((t) => t <= info().threads).sort((a, b) => a - b);
const results: GrowthRow[] = [];
for (let n = 2 ** 14; n <= Number(values.most); n *= 4) {
  const [x, m, d1] = [filled(n, 1), filled(n, 2), filled(n, 3)];
  const [d0, out] = [lines(n), lines(n)];
  const buffers: StepBuffers = { x, m, base: x, d1, d0, out };
  const [plain, thresholded] = [rows(false), rows(true)];
  for (const threads of threadCounts) {
    const scratch = new Uint8Array(addon.scratchBytes(0, 1, n, RATIO, threads));
    const goes: Record<string, () => void> = {
      step: () => void step(plain, buffers, { batch: 1, threads }),
      thresholded: () => void step(thresholded, buffers, { batch: 1, threads, scratch }),
      limit: () => void limit(0, threads, d0, out, x, m, d1, null),
      limitNonTemporal: () => void limit(1, threads, d0, out, x, m, d1, null),
    };
    if (threads === 1 && n <= MOST_SORTED) {
      const work = new Float32Array(n);
      goes.sorted = () => sorted(x, m, d1, d0, out, work);
    }
    const runs: Record<string, number[]> = Object.fromEntries(Object.keys(goes).map((name) => [name, []]));
    const calls: Record<string, number> = {};
    for (const [name, go] of Object.entries(goes)) {
      for (let i = 0; i < 3; i++) go();
      const begin = performance.now();
      go();
      calls[name] = Math.max(1, Math.min(2000, Math.ceil(2 / (performance.now() - begin))));
    }
    for (let r = 0; r < repetitions; r++) {
      const order = Object.keys(goes);
      for (let k = 0; k < order.length; k++) {
        const name = order[(k + r) % order.length];
        if (name === 'sorted' && n > 2 ** 18 && r >= 3) continue;
        goes[name]();
        const begin = performance.now();
        for (let i = 0; i < calls[name]; i++) goes[name]();
        runs[name].push(Number(((1000 * (performance.now() - begin)) / calls[name]).toPrecision(4)));
      }
    }
    const microseconds = Object.fromEntries(Object.entries(runs).map(([name, all]) => [name, median(all)]));
    const best = microseconds.limit < microseconds.limitNonTemporal ? runs.limit : runs.limitNonTemporal;
    const ratio = (a: number[], b: number[]) => median(a.map((value, i) => value / b[i]));
    const ratios: Record<string, number> = {
      ofLimit: ratio(best, runs.step),
      threshold: ratio(runs.thresholded, runs.step),
      ...(runs.sorted ? { sorted: ratio(runs.sorted, runs.thresholded) } : {}),
    };
    results.push({ elements: n, threads, microseconds, ratios, runs });
    const gigabytes = (20 * n) / microseconds.step / 1000;
    console.log(
      `${String(n).padStart(9)} elements, ${threads} threads: step ${microseconds.step.toFixed(1)} us (${gigabytes.toFixed(1)} GB/s), ` +
        `${ratios.ofLimit.toFixed(2)} of the limit, thresholded ${ratios.threshold.toFixed(2)} times it` +
        (ratios.sorted ? `, sorted ${ratios.sorted.toFixed(0)} times that` : ''),
    );
  }
}
const report = {
  command: 'npm run bench:growth',
  machine: machine(),
  unit: 'microseconds a call',
  bytesPerElement: 20,
  rows: results,
};
writeFileSync(values.out, `${JSON.stringify(report)}\n`);
console.log(`written to ${values.out}`);
