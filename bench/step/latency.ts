/**
 * One call of the step at the size of a Stable Diffusion latent (1 x 4 x 64 x 64): percentiles of the time it takes
 * (tinybench) and how many a second (benchmark), against the same arithmetic in TypeScript:
 *
 *     npm run bench:latency
 */
import { writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import Benchmark from 'benchmark';
import { Bench } from 'tinybench';
import { addon, type StepBuffers, step } from '../../lib/addon/native.js';
import { normal } from '../error/mixture.js';
import { machine } from '../machine.js';
import { plain, thresholded, Work } from './loops.js';

export interface LatencyResults {
  elements: number;
  rows: {
    name: string;
    /** Microseconds. */
    p50: number;
    p75: number;
    p99: number;
    p999: number;
    samples: number;
    /** Of benchmark: calls a second, and the relative margin of error in percent. */
    hz: number;
    margin: number;
  }[];
}

const { values } = parseArgs({
  options: {
    seconds: { type: 'string', default: '2' },
    out: { type: 'string', default: fileURLToPath(new URL('../results/step-latency.json', import.meta.url)) },
  },
});
const n = 4 * 64 * 64;
const c = { cx: 1.25, cm: -0.77, cu: 0, a: 0.81, bp: 0.43, b1: -0.12 };
const gauss = normal(1);
const filled = () => Float32Array.from({ length: n }, () => 1.9 * gauss());
const [x, m, d1, d0, out] = [filled(), filled(), filled(), new Float32Array(n), new Float32Array(n)];
const buffers: StepBuffers = { x, m, base: x, d1, d0, out };
function rows(threshold: boolean): Float64Array {
  const all = new Float64Array(32);
  all.set([c.cx, c.cm, 0, 0, threshold ? 2 : 0, 0.995, 1, 100, 1]);
  all.set([c.a, c.bp, 0, c.b1], 12);
  return all;
}
const [without, withThreshold] = [rows(false), rows(true)];
const scratch = new Uint8Array(addon.scratchBytes(0, 1, n, 0.995, 1));
const work = new Work(n);
const goes: Record<string, () => void> = {
  'native step': () => void step(without, buffers, { batch: 1, threads: 1 }),
  'native step, thresholded': () => void step(withThreshold, buffers, { batch: 1, threads: 1, scratch }),
  'TypeScript loop': () => plain(c, x, m, d1, d0, out),
  'TypeScript loop, thresholded by radix selection': () => thresholded(c, [0.995, 100], 1, x, m, d1, d0, out, work),
};

async function main() {
  const seconds = Number(values.seconds);
  const found: LatencyResults['rows'] = [];
  const bench = new Bench({ time: 1000 * seconds, warmupTime: 300, retainSamples: true });
  for (const [name, go] of Object.entries(goes)) bench.add(name, go);
  await bench.run();
  for (const task of bench.tasks) {
    const { result } = task;
    if (!('latency' in result)) throw new Error(`Expected a result for ${task.name} but it is ${result.state}`);
    const sorted = [...result.latency.samples!].sort((a, b) => a - b);
    const at = (q: number) => Number((1000 * sorted[Math.floor(q * (sorted.length - 1))]).toPrecision(4));
    const run = new Benchmark(goes[task.name], { maxTime: seconds });
    run.run();
    found.push({
      name: task.name,
      ...{ p50: at(0.5), p75: at(0.75), p99: at(0.99), p999: at(0.999), samples: sorted.length },
      ...{ hz: Math.round(run.hz), margin: Number(run.stats.rme.toPrecision(3)) },
    });
    console.log(JSON.stringify(found.at(-1)));
  }
  const report = {
    command: 'npm run bench:latency',
    machine: machine(),
    elements: n,
    unit: 'microseconds',
    rows: found,
  };
  writeFileSync(values.out, `${JSON.stringify(report)}\n`);
}

main().catch((error) => {
  console.error(error);
  process.exitCode = 1;
});
