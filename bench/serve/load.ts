// npm run bench:load [-- --quick]: many clients at once on the network that comes with the package: runs of several step
// counts, guidance and counts of pictures, arriving by a Poisson process. The same arrivals are served by three ways of
// sharing the machine: one run after the other (the queue as it was), dynamic batching of whole runs (those that wait and
// agree on steps and guidance become one batch), and a session, which shares every network call.
//
// More than any way can keep up with says what throughput there is, while runs wait: as a share of the network's own, samples a
// second of onnxruntime's calls at a full batch and nothing else, which are timed before and after each. Half of what the network
// can do says how long a run waits until it is in a network call, beside what such a call takes. All are measured by turns in
// one process, so that what else the machine does is in each of them; shares are told by their median. About 8 minutes.
// (The network has one size of pictures; how sizes take turns is in test/pipelines/rounds.test.ts.)
//
// Writes bench/results/load.json.
import { setMaxListeners } from 'node:events';
import { writeFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { OrtNetwork } from '../../lib/onnx/index.js';
import { DiffusionPipeline, type GenerateOptions } from '../../lib/pipelines/index.js';
import { machine } from '../machine.js';

const quick = process.argv.includes('--quick');
const rounds = quick ? 1 : 5;
const saturatedSeconds = 4;
const halfSeconds = quick ? 8 : 60;
const clients = quick ? [16] : [1, 4, 16, 64];
const pipe = await DiffusionPipeline.fromPretrained('shapes');
const full = pipe.session().most();
const unet = await OrtNetwork.open(fileURLToPath(new URL('../../models/shapes/unet/model.onnx', import.meta.url)));

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

/** @param already how many are there at the beginning */
function arrivals(rate: number, from: number, duration: number, already = 0): Arrival[] {
  const next = random(7);
  const all: Arrival[] = [];
  for (let at = 0; ; ) {
    if (all.length >= already) at += -Math.log(1 - next()) / rate;
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

/** Samples that an evaluation of a run has. */
const rowsOf = ({ count, guidance }: Pick<Arrival['options'], 'count' | 'guidance'>): number =>
  count * (guidance > 1 ? 2 : 1);

/** Samples a second of the network's own calls, each full. */
async function own(): Promise<number> {
  const tensor = (...dims: number[]) => ({ data: new Float32Array(dims.reduce((a, b) => a * b, 1)), dims });
  const feeds = {
    sample: tensor(full, 3, 32, 32),
    timestep: { data: new Float32Array(full).fill(500), dims: [full] },
    encoder_hidden_states: tensor(full, 8, 64),
  };
  const outputs = { out_sample: tensor(full, 3, 32, 32) };
  await unet.run(feeds, { outputs });
  let calls = 0;
  const start = performance.now();
  while (performance.now() - start < 1000) {
    await unet.run(feeds, { outputs });
    calls++;
  }
  return (calls * full * 1000) / (performance.now() - start);
}

/** What a way tells of a run: that it is in a network call since so long ago, and that an evaluation of so many samples is over. */
interface Told {
  begun(at: number): void;
  evaluated(samples: number): void;
  signal: AbortSignal;
}
type Way = (arrival: Arrival, told: Told) => Promise<void>;

/** One run after the other. */
function queue(): Way {
  let last: Promise<unknown> = Promise.resolve();
  return (arrival, { begun, evaluated, signal }) => {
    const run = last.then(() => {
      begun(performance.now());
      return pipe({ ...arrival.options, signal, onStep: () => evaluated(rowsOf(arrival.options)) });
    });
    last = run.catch(() => undefined);
    return run.then(() => undefined);
  };
}

/** Whole runs that wait and agree are one batch. */
function dynamic(): Way {
  const waiting: { arrival: Arrival; told: Told; done: () => void; failed: (error: unknown) => void }[] = [];
  let busy = false;
  const work = async (): Promise<void> => {
    while (waiting.length > 0) {
      const [{ arrival: first, told }] = waiting;
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
      const now = performance.now();
      for (const one of batch) one.told.begun(now);
      const all = batch.flatMap(({ arrival: { options } }) =>
        Array.from({ length: options.count }, (_, i) => ({ prompt: options.prompt, seed: (options.seed ?? 0) + i })),
      );
      try {
        await pipe({
          ...{ steps, guidance, batchSize: all.length, signal: told.signal },
          prompt: all.map(({ prompt }) => prompt as string),
          seeds: all.map(({ seed }) => seed),
          onStep: () => told.evaluated(rowsOf({ count: all.length, guidance })),
        });
        for (const { done } of batch) done();
      } catch (error) {
        for (const { failed } of batch) failed(error);
      }
    }
    busy = false;
  };
  return (arrival, told) =>
    new Promise((done, failed) => {
      waiting.push({ arrival, told, done, failed });
      if (!busy) setImmediate(() => void work());
      busy = true;
    });
}

/** Every network call is shared; as many runs are let in as the server lets in. */
function shared(calls: number[]): Way {
  let began = 0;
  const session = pipe.session({
    onCall: ({ milliseconds }) => {
      calls.push(milliseconds);
      began = performance.now() - milliseconds;
    },
  });
  const waiting: { rows: number; go: () => void }[] = [];
  let inside = 0;
  const advance = (): void => {
    const room = 2 * Math.max(full, session.most());
    while (waiting.length > 0 && (inside === 0 || inside + waiting[0].rows <= room)) {
      const { rows, go } = waiting.shift() as (typeof waiting)[number];
      inside += rows;
      go();
    }
  };
  return async ({ options, client }, { begun, evaluated, signal }) => {
    const rows = rowsOf(options);
    await new Promise<void>((go) => {
      waiting.push({ rows, go });
      advance();
    });
    let first = true;
    try {
      await session.generate({
        ...{ ...options, client, signal },
        onStep: () => {
          evaluated(rows);
          // Its step follows the call that it was in.
          if (first) begun(began);
          first = false;
        },
      });
    } finally {
      inside -= rows;
      advance();
    }
  };
}

const at = (values: readonly number[], share: number): number => {
  const sorted = [...values].sort((a, b) => a - b);
  return Number((sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))] ?? 0).toFixed(3));
};
const spread = (values: readonly number[]) => ({ p50: at(values, 0.5), p99: at(values, 0.99) });

/** Samples a second while runs wait, the first quarter left out; what is then not over is given up. */
async function throughput(way: Way, all: readonly Arrival[], seconds: number): Promise<number> {
  const abort = new AbortController();
  setMaxListeners(0, abort.signal);
  let samples = 0;
  let counting = false;
  const told = {
    begun: () => undefined,
    evaluated: (rows: number) => {
      if (counting) samples += rows;
    },
    signal: abort.signal,
  };
  const runs = all.map(async (arrival) => {
    await sleep(arrival.at * 1000);
    if (!abort.signal.aborted) await way(arrival, told);
  });
  const over = Promise.allSettled(runs);
  await sleep(250 * seconds);
  const start = performance.now();
  counting = true;
  await sleep(750 * seconds);
  counting = false;
  const took = (performance.now() - start) / 1000;
  abort.abort(new Error('enough'));
  await over;
  return samples / took;
}

/** How long runs wait until they are in a network call, and until they are over. */
async function delays(way: Way, all: readonly Arrival[]): Promise<{ admission: number[]; latency: number[] }> {
  const admission: number[] = [];
  const latency: number[] = [];
  const { signal } = new AbortController();
  await Promise.all(
    all.map(async (arrival) => {
      await sleep(arrival.at * 1000);
      const came = performance.now();
      // One that came while the call was under way that it is taken to have been in had no wait.
      const begun = (begun: number): void => void admission.push(Math.max(0, begun - came));
      await way(arrival, { begun, evaluated: () => undefined, signal });
      latency.push(performance.now() - came);
    }),
  );
  return { admission, latency };
}

await own();
/** Samples of the mean run, of as many of them as say it well. */
const drawn = arrivals(100, 1, 100);
const perRun = drawn.reduce((sum, { options }) => sum + options.steps * rowsOf(options), 0) / drawn.length;
const NAMES = ['session', 'dynamic', 'queue'] as const;
const ways = (calls: number[] = []) => ({ session: shared(calls), dynamic: dynamic(), queue: queue() });

const saturated = [];
for (const count of clients) {
  const shares: Record<(typeof NAMES)[number], number[]> = { session: [], dynamic: [], queue: [] };
  for (let round = 0; round < rounds; round++) {
    let before = await own();
    for (const name of NAMES) {
      const all = arrivals((1.5 * before) / perRun, count, saturatedSeconds, 32);
      const made = await throughput(ways()[name], all, saturatedSeconds);
      const after = await own();
      shares[name].push(Number((made / ((before + after) / 2)).toFixed(3)));
      before = after;
    }
  }
  const row = { clients: count, ...Object.fromEntries(NAMES.map((name) => [name, at(shares[name], 0.5)])), shares };
  saturated.push(row);
  console.log(JSON.stringify(row));
}

const half: Record<string, unknown> = {};
const rate = (0.5 * (await own())) / perRun;
const fewer = arrivals(rate, 16, halfSeconds);
const calls: number[] = [];
for (const [name, way] of Object.entries(ways(calls))) {
  const { admission, latency } = await delays(way, fewer);
  half[name] = { admissionMs: spread(admission), latencyMs: spread(latency) };
  console.log(`${name} at half load: ${JSON.stringify(half[name])}`);
}
const networkCallMs = spread(calls);
console.log(`${fewer.length} runs; network calls of the session: ${JSON.stringify(networkCallMs)}`);
await unet.dispose();
await pipe.dispose();
if (!quick) {
  const file = new URL('../results/load.json', import.meta.url);
  const told = { machine: machine(), full, saturated, half: { runs: fewer.length, networkCallMs, ...half } };
  writeFileSync(file, `${JSON.stringify(told, null, 2)}\n`);
}
