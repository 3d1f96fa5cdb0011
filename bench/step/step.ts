// How fast is the native step? npm run bench:step -- [--quick] [--shape 1x4x64x64] [--no-write]
//
// Against a plain fused TypeScript loop, and against what this machine's memory allows: `limit`, a native loop with the
// same reads and writes and next to no arithmetic, with ordinary and with non-temporal stores, the better of the two. A
// quantile is known only when a sample's every prediction has been seen, so that the thresholded step has to make two
// passes: against it stands the same loop with one before it, sample by sample, that adds the prediction's operands up.
// Everything that is compared runs in one process, interleaved: one repetition is one go of every contestant, ratios
// are taken within a repetition, and the medians are reported. Repetitions in which this process was made to wait for
// another one are dropped while enough others remain.
import { execFileSync } from 'node:child_process';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { addon, info, type StepBuffers, step } from '../../lib/addon/native.js';
import { type Coefficients, guided, plain, thresholded, Work } from './loops.js';

const { values: options } = parseArgs({
  options: {
    quick: { type: 'boolean', default: false },
    shape: { type: 'string', multiple: true },
    'no-write': { type: 'boolean', default: false },
  },
});
const limit = addon.limit as (...all: unknown[]) => number;

const SHAPES = [
  [1, 4, 64, 64],
  [4, 4, 128, 128],
  [1, 3, 256, 256],
  [16, 3, 256, 256],
  [1, 16, 128, 128],
].filter((shape) => !options.shape || options.shape.includes(shape.join('x')));
const REPETITIONS = options.quick ? 7 : 41;
const RATIO = 0.995;
const CAP = 100;
const ALL = info().threads;

// ---- the step of the second order, as a row and as numbers ------------------------------------------------------------

const numbers = (guidance: boolean): Coefficients => ({
  ...(guidance ? { cx: 1.25, cm: -2.3, cu: 1.53 } : { cx: 1.25, cm: -0.77, cu: 0 }),
  ...{ a: 0.81, bp: 0.43, b1: -0.12 },
});
function rows(c: Coefficients, batch: number, threshold: boolean): Float64Array {
  const all = new Float64Array(32 * batch);
  for (let b = 0; b < batch; b++) {
    all.set([c.cx, c.cm, c.cu, 0, threshold ? 2 : 0, RATIO, 1, CAP, 1], 32 * b);
    all.set([c.a, c.bp, 0, c.b1], 32 * b + 12);
  }
  return all;
}

/** Normal numbers, from a seed. */
function normal(n: number, deviation: number, seed: number): Float32Array {
  const out = new Float32Array(n);
  let state = seed;
  const uniform = () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return (state + 1) / 4294967297;
  };
  for (let i = 0; i < n; i++)
    out[i] = deviation * Math.sqrt(-2 * Math.log(uniform())) * Math.cos(2 * Math.PI * uniform());
  return out;
}
/** From the border of a cache line on, as non-temporal stores want it. */
function lines(n: number): Float32Array {
  const buffer = new ArrayBuffer(4 * n + 64);
  return new Float32Array(buffer, (64 - limit(new Uint8Array(buffer))) % 64, n);
}

// ---- measuring ------------------------------------------------------------------------------------------------------

interface Contestant {
  name: string;
  go: () => void;
  /** Calls that make up one sample. */
  calls: number;
  /** Microseconds a call, one a repetition. */
  runs: number[];
}
const now = () => performance.now() * 1000;
const waits = () => process.resourceUsage().involuntaryContextSwitches;
const flush = new Float64Array((96 << 20) / 8);

function measure(goes: Record<string, () => void>, cold: boolean, repetitions = REPETITIONS): Record<string, number[]> {
  const all: Contestant[] = Object.entries(goes).map(([name, go]) => {
    // Until it is compiled, then once more to see how long a call takes.
    let calls = 0;
    const begin = now();
    while (now() - begin < 3000 || calls < 3) {
      go();
      calls++;
    }
    const once = now();
    go();
    const took = now() - once;
    return { name, go, calls: cold ? 1 : Math.max(1, Math.min(2000, Math.ceil(500 / took))), runs: [] };
  });
  const clean: boolean[] = [];
  const most = 3 * repetitions;
  for (let r = 0; r < most && clean.filter(Boolean).length < repetitions; r++) {
    const before = waits();
    for (let k = 0; k < all.length; k++) {
      const { go, calls, runs } = all[(k + r) % all.length]!;
      if (cold) flush.fill(r);
      else go();
      const begin = now();
      for (let i = 0; i < calls; i++) go();
      runs.push((now() - begin) / calls);
    }
    clean.push(waits() === before || cold);
  }
  const keep = clean.filter(Boolean).length >= Math.min(5, repetitions) ? clean : clean.map(() => true);
  return Object.fromEntries(all.map(({ name, runs }) => [name, runs.filter((_, r) => keep[r])]));
}
function median(values: number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const half = sorted.length >> 1;
  return sorted.length % 2 ? sorted[half]! : (sorted[half - 1]! + sorted[half]!) / 2;
}
/** Median over the repetitions of a / b. */
const ratio = (a: number[], b: number[]) => median(a.map((value, r) => value / b[r]!));

// ---- the cases ------------------------------------------------------------------------------------------------------

interface Row {
  shape: string;
  guidance: boolean;
  inPlace: boolean;
  threads: number;
  cold: boolean;
  microseconds: Record<string, number>;
  ratios: Record<string, number>;
  runs: Record<string, number[]>;
}

const results: Row[] = [];
for (const shape of SHAPES) {
  const batch = shape[0]!;
  const total = shape.reduce((a, b) => a * b);
  for (const guidance of [false, true]) {
    const c = numbers(guidance);
    // So that the prediction's deviation is 2.8.
    const deviation = 2.8 / Math.hypot(c.cx, c.cm, c.cu);
    const copy = (from: Float32Array) => {
      const to = lines(from.length);
      to.set(from);
      return to;
    };
    const x = copy(normal(total, deviation, 1));
    const m = copy(normal(guidance ? 2 * total : total, deviation, 2));
    const d1 = copy(normal(total, 2.8, 3));
    const [d0, out] = [lines(total), lines(total)];
    const scratch = new Uint8Array(addon.scratchBytes(0, batch, total / batch, RATIO, ALL));
    const work = new Work(total / batch);
    const [without, withThreshold] = [rows(c, batch, false), rows(c, batch, true)];
    for (const inPlace of [false, true]) {
      for (const threads of ALL > 1 ? [1, ALL] : [1]) {
        for (const cold of [false, true]) {
          const to = inPlace ? d1 : d0;
          const buffers: StepBuffers = { x, m, base: x, d1, d0: to, out };
          const plainOptions = { batch, doubled: guidance, threads };
          const stepOptions = { batch, doubled: guidance, threads, scratch };
          const inputs = guidance ? [x, m.subarray(0, total), m.subarray(total), d1] : [x, m, d1, null];
          const goes: Record<string, () => void> = {
            step: () => void step(without, buffers, plainOptions),
            thresholded: () => void step(withThreshold, buffers, stepOptions),
            limit: () => void limit(0, threads, to, out, ...inputs),
            limitNonTemporal: () => void limit(1, threads, to, out, ...inputs),
          };
          if (threads === 1) {
            goes.twoPasses = () => void limit(0, threads, to, out, ...inputs, batch);
            goes.twoPassesNonTemporal = () => void limit(1, threads, to, out, ...inputs, batch);
          }
          if (threads === 1 && !cold && !inPlace) {
            goes.typescript = () => (guidance ? guided : plain)(c, x, m, d1, d0, out);
            goes.typescriptThresholded = () => thresholded(c, [RATIO, CAP], batch, x, m, d1, d0, out, work);
          }
          // The very first figures would be those of code that is still being compiled.
          if (results.length === 0) measure(goes, cold);
          const runs = measure(goes, cold);
          const better = (a: number[], b: number[]) => (median(a) < median(b) ? a : b);
          const best = better(runs.limit!, runs.limitNonTemporal!);
          const ratios: Record<string, number> = {
            ofLimit: ratio(best, runs.step!),
            threshold: ratio(runs.thresholded!, runs.step!),
          };
          if (runs.typescript) {
            ratios.typescript = ratio(runs.typescript, runs.step!);
            ratios.typescriptThresholded = ratio(runs.typescriptThresholded!, runs.thresholded!);
          }
          if (runs.twoPasses) {
            const passes = better(runs.twoPasses, runs.twoPassesNonTemporal!);
            ratios.ofTwoPasses = ratio(passes, runs.thresholded!);
            if (runs.typescript) ratios.typescriptTwoPasses = ratio(runs.typescriptThresholded!, passes);
          }
          const microseconds = Object.fromEntries(Object.entries(runs).map(([name, all]) => [name, median(all)]));
          results.push({ shape: shape.join('x'), guidance, inPlace, threads, cold, microseconds, ratios, runs });
          print(results.at(-1)!, total);
        }
      }
    }
  }
}

function print(row: Row, total: number): void {
  const us = (value: number | undefined) => (value === undefined ? '' : value.toFixed(value < 100 ? 2 : 0)).padStart(8);
  const { microseconds: t, ratios: r } = row;
  if (results.length === 1) {
    console.log(
      'shape        guidance history  threads cache |     step thresh.  limit  lim.NT  TS  TS thresh. us |' +
        ' GB/s of limit thresh/step TS/step TS/step thresh.; thresholded of two passes, TS / two passes',
    );
  }
  console.log(
    `${row.shape.padEnd(12)} ${row.guidance ? 'guided' : '      '}   ${row.inPlace ? 'in place' : '        '} ${row.threads} ` +
      `      ${row.cold ? 'cold' : 'warm'}  | ${us(t.step)} ${us(t.thresholded)} ${us(t.limit)} ${us(t.limitNonTemporal)} ` +
      `${us(t.typescript)} ${us(t.typescriptThresholded)} | ` +
      `${(((row.guidance ? 24 : 20) * total) / t.step! / 1000).toFixed(0).padStart(4)} ${r.ofLimit!.toFixed(2)} ` +
      `${r.threshold!.toFixed(2)} ${r.typescript?.toFixed(1) ?? ''} ${r.typescriptThresholded?.toFixed(1) ?? ''}; ` +
      `${r.ofTwoPasses?.toFixed(2) ?? ''} ${r.typescriptTwoPasses?.toFixed(1) ?? ''}`,
  );
}

// ---- the cost of a call, and what it allocates -----------------------------------------------------------------------

const tiny = { x: new Float32Array(1), m: new Float32Array(1), d1: new Float32Array(1), d0: new Float32Array(1) };
const tinyBuffers: StepBuffers = { ...tiny, base: tiny.x, out: new Float32Array(1) };
const tinyRows = rows(numbers(false), 1, false);
const tinyOptions = { batch: 1 };
const thousand = (go: () => void) => () => {
  for (let i = 0; i < 1000; i++) go();
};
const calls = measure(
  { step: thousand(() => void step(tinyRows, tinyBuffers, tinyOptions)), empty: thousand(() => void limit()) },
  false,
);
const call = { step: median(calls.step!) / 1000, empty: median(calls.empty!) / 1000 };
console.log(`a step of one element: ${call.step.toFixed(3)} us; an empty call: ${call.empty.toFixed(3)} us`);

// A process of its own, with a collector that can be asked for: see allocation.ts.
const allocation = JSON.parse(
  execFileSync(
    process.execPath,
    ['--expose-gc', '--import', 'tsx', fileURLToPath(new URL('allocation.ts', import.meta.url))],
    { encoding: 'utf8' },
  ),
) as { steps: number; bytesPerStep: number; externalBytes: number };
console.log(`${allocation.bytesPerStep} bytes of heap a step, over ${allocation.steps} steps`);

// ---- targets --------------------------------------------------------------------------------------------------------

interface Target {
  name: string;
  worst: number;
  where: string;
  target: number;
  goal?: number;
  met: boolean;
}
const targets: Target[] = [];
function target(
  name: string,
  least: boolean,
  bound: number,
  of: (row: Row) => number | undefined,
  goal?: number,
): void {
  let worst: number | undefined;
  let where = '';
  for (const row of results) {
    const value = of(row);
    if (value === undefined || (worst !== undefined && (least ? value >= worst : value <= worst))) continue;
    worst = value;
    where = `${row.shape}${row.guidance ? ' guided' : ''}${row.inPlace ? ' in place' : ''}`;
  }
  if (worst === undefined) return;
  const met = least ? worst >= bound : worst <= bound;
  targets.push({ name, worst, where, target: bound, ...(goal === undefined ? {} : { goal }), met });
}
const elements = (row: Row) => row.shape.split('x').reduce((a, b) => a * Number(b), 1);
const single = (row: Row) => row.threads === 1 && !row.cold;
const apart = (row: Row) => single(row) && !row.inPlace;
target('share of the limit, out of place', true, 0.88, (row) => (apart(row) ? row.ratios.ofLimit : undefined), 0.95);
target(
  'share of the limit, in place',
  true,
  0.88,
  (row) => (single(row) && row.inPlace ? row.ratios.ofLimit : undefined),
  0.95,
);
const threshold = (guidance: boolean, large: boolean) => (row: Row) =>
  apart(row) && row.guidance === guidance && elements(row) >= 196608 === large ? row.ratios.threshold : undefined;
target('thresholded to plain, from 196,608 elements', false, 2, threshold(false, true));
target('thresholded to plain with guidance, from 196,608 elements', false, 2.4, threshold(true, true));
target('thresholded to plain, 16,384 elements', false, 4.5, threshold(false, false), 3.5);
target('thresholded to plain with guidance, 16,384 elements', false, 4.5, threshold(true, false), 3.5);
target('times the TypeScript loop', true, 5.5, (row) => (elements(row) > 16384 ? row.ratios.typescript : undefined));
target('times the TypeScript loop, 16,384', true, 12, (row) =>
  elements(row) <= 16384 ? row.ratios.typescript : undefined,
);
target('times the TypeScript loop, thresholded', true, 14, (row) => row.ratios.typescriptThresholded);
targets.push(
  { name: 'microseconds a call', worst: call.step, where: 'one element', target: 1.5, met: call.step <= 1.5 },
  {
    ...{
      name: 'bytes allocated a step',
      worst: allocation.bytesPerStep,
      where: `${allocation.steps} steps`,
      target: 0,
    },
    met: allocation.bytesPerStep === 0,
  },
);
console.log('\ntarget (one thread, warm caches, the worst case)                  worst   target    goal');
for (const t of targets) {
  console.log(
    `${t.name.padEnd(62)} ${t.worst.toFixed(2).padStart(8)} ${String(t.target).padStart(8)} ${String(t.goal ?? '').padStart(7)} ` +
      ` ${t.met ? 'met' : 'MISSED'} (${t.where})`,
  );
}

if (!options['no-write'] && !options.shape) {
  const cpu = os.cpus()[0]!.model;
  const name = cpu
    .toLowerCase()
    .replace(/\(r\)|\(tm\)/g, '')
    .replace(/[^a-z0-9]+/g, '-')
    .replace(/^-|-$/g, '');
  const folder = fileURLToPath(new URL('../results', import.meta.url));
  const { version } = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8')) as {
    version: string;
  };
  mkdirSync(folder, { recursive: true });
  const report = {
    date: new Date().toISOString(),
    machine: {
      cpu,
      threads: ALL,
      memory: os.totalmem(),
      load: os.loadavg(),
      os: `${os.type()} ${os.release()} ${os.arch()}`,
    },
    versions: { 'dpm-solver': version, node: process.versions.node, v8: process.versions.v8, simd: info().simd },
    unit: 'microseconds a call',
    targets,
    call,
    allocation,
    results: results.map((row) => ({ ...row, runs: roundAll(row.runs) })),
  };
  writeFileSync(`${folder}/step-${name}.json`, `${JSON.stringify(report)}\n`);
  console.log(`\nwritten: bench/results/step-${name}.json`);
}

function roundAll(runs: Record<string, number[]>): Record<string, number[]> {
  return Object.fromEntries(
    Object.entries(runs).map(([name, all]) => [name, all.map((v) => Number(v.toPrecision(4)))]),
  );
}
