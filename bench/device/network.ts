/**
 * What a network on a thread of its own costs, and what it leaves JavaScript: OrtNetwork against session.run of
 * onnxruntime-node, the same graph and the same buffers.
 *
 *     npm run bench:network [-- --only times|delays --pairs 100 --batches 1,8,16 --pause 30 --model FILE]
 *
 * times   calls alternate, first one and then the other leading, so that what slows the machine down slows both down; the
 *         figure is the median over the pairs of the ratio within a pair, with its quartiles. onnxruntime's threads go on
 *         looking for work for a while after a run: a pause before each call lets those of the other session fall asleep,
 *         so that one pool spins at a time. On a machine that others use, too, `chrt -r 10` before the command keeps the
 *         processors for it, and says what a call costs on a machine of one's own.
 * delays  how late the event loop is, by node:perf_hooks, sampled every millisecond over so many calls of each kind in a
 *         row; without `chrt`, under which a thread that computes is never interrupted.
 *
 * `--only` measures one of them. What is measured is put into bench/results/network.json, the rest in it stays.
 */
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { InferenceSession, Tensor } from 'onnxruntime-node';
import { OrtNetwork, ortLibrary } from '../../lib/onnx/index.js';
import { machine } from '../machine.js';

const root = fileURLToPath(new URL('../..', import.meta.url));
const text = { type: 'string' } as const;
const { values } = parseArgs({
  options: {
    pairs: { ...text, default: '100' },
    batches: { ...text, default: '1,8,16' },
    model: { ...text, default: `${root}models/shapes/unet/model.onnx` },
    pause: { ...text, default: '30' },
    threads: text,
    only: text,
    results: { ...text, default: `${root}bench/results/network.json` },
  },
});
const pairs = Number(values.pairs);
const pause = Number(values.pause);
const threads = values.threads === undefined ? undefined : Number(values.threads);

function quartiles(numbers: readonly number[]) {
  const sorted = [...numbers].sort((a, b) => a - b);
  const at = (share: number) => sorted[Math.round(share * (sorted.length - 1))];
  return { median: at(0.5), low: at(0.25), high: at(0.75) };
}

const session = await InferenceSession.create(values.model, {
  ...(threads === undefined ? {} : { intraOpNumThreads: threads }),
  logSeverityLevel: 3,
});
const network = await OrtNetwork.open(values.model, { threads });

/** Calls that read and write the same buffers. */
function calls(batch: number) {
  const tensor = ({ dims }: { dims: readonly (number | string)[] }) => {
    const size = dims.map((dim) => (typeof dim === 'string' ? batch : dim));
    const data = Float32Array.from({ length: size.reduce((n, d) => n * d, 1) }, (_, i) => Math.sin(i));
    return new Tensor('float32', data, size);
  };
  const feeds = Object.fromEntries([...network.inputs].map(([name, info]) => [name, tensor(info)]));
  const outputs = () => Object.fromEntries([...network.outputs].map(([name, info]) => [name, tensor(info)]));
  const [theirs, ours] = [outputs(), outputs()];
  return {
    session: () => session.run(feeds, theirs),
    network: () => network.run(feeds as never, { outputs: ours as never }),
    same: () => {
      for (const name of network.outputs.keys()) {
        const [a, b] = [theirs[name].data as Float32Array, ours[name].data as Float32Array];
        if (!a.every((value, i) => Object.is(value, b[i]))) throw new Error(`${name} differs`);
      }
    },
  };
}

async function timed(call: () => Promise<unknown>): Promise<number> {
  await sleep(pause);
  const start = performance.now();
  await call();
  return performance.now() - start;
}

async function delay(call: () => Promise<unknown>, times: number) {
  const histogram = monitorEventLoopDelay({ resolution: 1 });
  await sleep(pause);
  histogram.enable();
  for (let i = 0; i < times; i++) await call();
  histogram.disable();
  const ms = (share: number) => histogram.percentile(share) / 1e6;
  return { median: ms(50), p99: ms(99), max: histogram.max / 1e6 };
}

interface Row {
  batch: number;
  times?: Record<'ratio' | 'session' | 'network', ReturnType<typeof quartiles>> & { pairs: number };
  delays?: Record<'session' | 'network', Awaited<ReturnType<typeof delay>>>;
}

const before: { rows: Row[] } = existsSync(values.results)
  ? JSON.parse(readFileSync(values.results, 'utf8'))
  : { rows: [] };
const rows = new Map(before.rows.map((row) => [row.batch, row]));
for (const batch of values.batches.split(',').map(Number)) {
  const { session: theirs, network: ours, same } = calls(batch);
  for (let i = 0; i < 3; i++) {
    await theirs();
    await ours();
  }
  same();
  const row: Row = rows.get(batch) ?? { batch };
  rows.set(batch, row);
  if (values.only !== 'delays') {
    const both = { session: [] as number[], network: [] as number[] };
    for (let i = 0; i < pairs; i++) {
      if (i % 2 === 0) both.session.push(await timed(theirs));
      both.network.push(await timed(ours));
      if (i % 2 === 1) both.session.push(await timed(theirs));
    }
    const ratio = quartiles(both.network.map((time, i) => time / both.session[i]));
    row.times = { pairs, ratio, session: quartiles(both.session), network: quartiles(both.network) };
    console.log(
      `batch ${batch}: OrtNetwork takes ${ratio.median.toFixed(3)} (${ratio.low.toFixed(3)} to ${ratio.high.toFixed(3)}) ` +
        `of session.run's ${row.times.session.median.toFixed(1)} ms`,
    );
  }
  if (values.only !== 'times') {
    row.delays = { session: await delay(theirs, 20), network: await delay(ours, 20) };
    const { session: s, network: n } = row.delays;
    console.log(
      `batch ${batch}: the event loop is late by ${n.median.toFixed(2)} ms (99%: ${n.p99.toFixed(2)}) beside OrtNetwork and ` +
        `by ${s.median.toFixed(2)} ms (99%: ${s.p99.toFixed(2)}) with session.run`,
    );
  }
}
await network.dispose();
await session.release();
const { version: onnxruntime } = await ortLibrary();
const sorted = [...rows.values()].sort((a, b) => a.batch - b.batch);
const content = { machine: machine(), onnxruntime, pause, threads: threads ?? 'all', rows: sorted };
writeFileSync(values.results, `${JSON.stringify(content, null, 2)}\n`);
