// npm run bench:load [-- --quick]: many clients at once on the network that comes with the package: runs of several step
// counts, guidance and counts of pictures, arriving by a Poisson process. The same arrivals are served by three ways of
// sharing the machine: one run after the other (the queue as it was), dynamic batching of whole runs (those that wait and
// agree on steps and guidance become one batch), and a session, which shares every network call.
//
// A rate that no way can keep up with says what throughput there is; a rate of half of that says how long a run waits until
// the network has seen it for the first time. Throughput is told as a share of the network's own: samples a second of calls
// that are always full, measured in the same process before and after. Writes bench/results/load.json.
import { writeFileSync } from 'node:fs';
import { DiffusionPipeline, type GenerateOptions } from '../../lib/pipelines/index.js';
import { machine } from '../machine.js';

const quick = process.argv.includes('--quick');
const seconds = quick ? 8 : 30;
const clients = quick ? [1, 16] : [1, 4, 16, 64];
const pipe = await DiffusionPipeline.fromPretrained('shapes');
const full = pipe.session().most();

/** Numbers that are the same in every run of this file. */
function random(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let z = Math.imul(state ^ (state >>> 15), state | 1);
    z ^= z + Math.imul(z ^ (z >>> 7), z | 61);
    return ((z ^ (z >>> 14)) >>> 0) / 2 ** 32;
  };
}

interface Arrival {
  at: number;
  client: string;
  options: GenerateOptions & { steps: number; guidance: number; count: number };
}

const prompts = ['a red circle on a blue background', 'a green square', 'a blue triangle on a red background'];

function arrivals(rate: number, from: number, duration: number): Arrival[] {
  const next = random(7);
  const all: Arrival[] = [];
  for (let at = 0; ; ) {
    at += -Math.log(1 - next()) / rate;
    if (at > duration) return all;
    const steps = [5, 8, 10, 15, 20][Math.floor(next() * 5)];
    const guidance = [1, 3, 5][Math.floor(next() * 3)];
    const count = next() < 0.2 ? 2 : 1;
    const prompt = prompts[Math.floor(next() * prompts.length)];
    all.push({
      at,
      client: String(Math.floor(next() * from)),
      options: { prompt, steps, guidance, count, seed: all.length },
    });
  }
}

/** Samples that the network evaluates for a run. */
const samplesOf = ({ steps, guidance, count }: Arrival['options']): number => steps * count * (guidance > 1 ? 2 : 1);

/** Samples a second of full calls. */
async function own(): Promise<number> {
  const session = pipe.session({ maxBatch: full, reproducible: true });
  const runs = Array.from({ length: full }, (_, seed) =>
    session.generate({ prompt: prompts[0], steps: quick ? 10 : 30, guidance: 1, seed }),
  );
  const start = performance.now();
  await Promise.all(runs);
  return (full * (quick ? 10 : 30) * 1000) / (performance.now() - start);
}

type Way = (arrival: Arrival, begun: () => void) => Promise<void>;

/** One run after the other. */
function queue(): Way {
  let last: Promise<unknown> = Promise.resolve();
  return (arrival, begun) => {
    const run = last.then(() => {
      begun();
      return pipe(arrival.options);
    });
    last = run.catch(() => undefined);
    return run.then(() => undefined);
  };
}

/** Whole runs that wait and agree are one batch. */
function dynamic(): Way {
  const waiting: { arrival: Arrival; begun: () => void; done: () => void }[] = [];
  let busy = false;
  const work = async (): Promise<void> => {
    busy = true;
    while (waiting.length > 0) {
      const [{ arrival: first }] = waiting;
      const { steps, guidance } = first.options;
      const most = full / (guidance > 1 ? 2 : 1);
      const batch: typeof waiting = [];
      for (let i = 0, pictures = 0; i < waiting.length; ) {
        const { options } = waiting[i].arrival;
        const fits = options.steps === steps && options.guidance === guidance && pictures + options.count <= most;
        if (fits) {
          pictures += options.count;
          batch.push(...waiting.splice(i, 1));
        } else i++;
      }
      for (const { begun } of batch) begun();
      const all = batch.flatMap(({ arrival: { options } }) =>
        Array.from({ length: options.count }, (_, i) => ({ prompt: options.prompt, seed: (options.seed ?? 0) + i })),
      );
      await pipe({
        ...{ steps, guidance, batchSize: all.length },
        prompt: all.map(({ prompt }) => prompt as string),
        seeds: all.map(({ seed }) => seed),
      });
      for (const { done } of batch) done();
    }
    busy = false;
  };
  return (arrival, begun) =>
    new Promise((done) => {
      waiting.push({ arrival, begun, done });
      if (!busy) setImmediate(() => void work());
      busy = true;
    });
}

/** Every network call is shared; as many runs are let in as the server lets in. */
function shared(calls: number[]): Way {
  const session = pipe.session({ onCall: ({ milliseconds }) => calls.push(milliseconds) });
  const waiting: (() => void)[] = [];
  let inside = 0;
  const enter = (rows: number): Promise<void> | undefined => {
    if (inside === 0 || inside + rows <= 2 * session.most()) {
      inside += rows;
      return undefined;
    }
    return new Promise((go) =>
      waiting.push(() => {
        inside += rows;
        go();
      }),
    );
  };
  return async ({ options, client }, begun) => {
    const rows = options.count * (options.guidance > 1 ? 2 : 1);
    await enter(rows);
    let first = true;
    await session.generate({
      ...options,
      client,
      onStep: () => {
        if (first) begun();
        first = false;
      },
    });
    inside -= rows;
    while (waiting.length > 0 && inside < 2 * session.most()) waiting.shift()?.();
  };
}

const at = (sorted: readonly number[], share: number): number =>
  sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))] ?? 0;

async function serve(way: Way, all: readonly Arrival[]) {
  const start = performance.now();
  const admitted: number[] = [];
  const latencies: number[] = [];
  await Promise.all(
    all.map(async (arrival) => {
      await new Promise((go) => setTimeout(go, arrival.at * 1000));
      const came = performance.now();
      await way(arrival, () => admitted.push(performance.now() - came));
      latencies.push(performance.now() - came);
    }),
  );
  const took = (performance.now() - start) / 1000;
  const samples = all.reduce((sum, { options }) => sum + samplesOf(options), 0);
  admitted.sort((a, b) => a - b);
  latencies.sort((a, b) => a - b);
  return {
    runs: all.length,
    samplesPerSecond: samples / took,
    admissionMs: { p50: at(admitted, 0.5), p99: at(admitted, 0.99) },
    latencyMs: {
      p50: at(latencies, 0.5),
      mean: latencies.reduce((a, b) => a + b, 0) / latencies.length,
      p99: at(latencies, 0.99),
    },
  };
}

await own();
/** Samples of the mean run, of as many of them as say it well. */
const drawn = arrivals(100, 1, 100);
const perRun = drawn.reduce((sum, { options }) => sum + samplesOf(options), 0) / drawn.length;
const results = [];
for (const count of clients) {
  for (const [load, share] of [
    ['saturated', 1.5],
    ['half', 0.5],
  ] as const) {
    const before = await own();
    const all = arrivals((share * before) / perRun, count, seconds);
    const calls: number[] = [];
    const ways = { queue: queue(), dynamic: dynamic(), session: shared(calls) };
    const told: Record<string, unknown> = {};
    for (const [name, way] of Object.entries(ways)) told[name] = await serve(way, all);
    const after = await own();
    calls.sort((a, b) => a - b);
    const ceiling = (before + after) / 2;
    const { samplesPerSecond } = told.session as { samplesPerSecond: number };
    const row = {
      ...{ clients: count, load, ownSamplesPerSecond: [before, after], shareOfOwn: samplesPerSecond / ceiling },
      networkCallMs: { p50: at(calls, 0.5), p99: at(calls, 0.99) },
      ...told,
    };
    results.push(row);
    console.log(JSON.stringify(row));
  }
}
await pipe.dispose();
if (!quick) {
  const file = new URL('../results/load.json', import.meta.url);
  writeFileSync(file, `${JSON.stringify({ machine: machine(), seconds, full, results }, null, 2)}\n`);
}
