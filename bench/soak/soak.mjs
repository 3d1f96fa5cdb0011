// node --expose-gc bench/soak/soak.mjs [--runs 100000] [--result FILE]: sampling runs, half of them in the main thread
// and half in workers that come and go, every fifth of those ended in the middle of what it does. Handles, threads and
// memory are looked at all along, after a garbage collection, and must not grow: exits with 1 if they do. Prints the
// figures as JSON. Needs a build (npm run build).
import { readdirSync, readlinkSync, writeFileSync } from 'node:fs';
import { cpus, totalmem } from 'node:os';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { Worker } from 'node:worker_threads';
import { kinds } from './runs.mjs';

const { values } = parseArgs({ options: { runs: { type: 'string', default: '100000' }, result: { type: 'string' } } });
const RUNS = Number(values.runs);
const LOOKS = 40;
/** Runs of one worker. */
const SHARE = Math.max(15, Math.min(625, RUNS / 16));
const library = new URL('../../dist/index.js', import.meta.url).href;
const dpm = await import(library);
const { info } = await import(new URL('../../dist/native.js', import.meta.url).href);
const all = kinds(dpm);

const list = (folder) => {
  try {
    return readdirSync(folder);
  } catch {
    return null; // not Linux
  }
};

/**
 * What the process holds open. Node leaves the file of an ES module open for good where a worker is ended while it reads
 * it, whatever module that is; so those are counted apart, and are nothing that a run has left.
 */
function opened() {
  const names = list('/proc/self/fd');
  if (!names) return { files: null, modulesLeftOpen: null };
  const paths = names.flatMap((name) => {
    try {
      return [readlinkSync(`/proc/self/fd/${name}`)];
    } catch {
      return []; // the folder itself, while it was read
    }
  });
  const modules = paths.filter((path) => /\.m?js$/.test(path)).length;
  return { files: paths.length - modules, modulesLeftOpen: modules };
}

async function look(runs) {
  // Twice, and a moment in between: what finalizers and ended workers give back.
  for (let k = 0; k < 3; k++) {
    globalThis.gc();
    await sleep(20);
  }
  const { rss, heapUsed, external, arrayBuffers } = process.memoryUsage();
  return {
    ...{ runs, rss, heapUsed, external, arrayBuffers, handles: process.getActiveResourcesInfo().length },
    ...{ ...opened(), threads: list('/proc/self/task')?.length ?? null },
  };
}

let killed = 0;
function inWorker(first, runs, kill) {
  return new Promise((resolve, reject) => {
    const url = new URL('./worker.mjs', import.meta.url);
    const worker = new Worker(url, { workerData: { library, first, runs }, execArgv: [] });
    let done = false;
    worker.on('message', (message) => {
      done = message === 'done';
    });
    worker.once('error', reject);
    worker.once('exit', () => (done || kill ? resolve() : reject(new Error('a worker left early'))));
    if (!kill) return;
    // Every other one while it loads, those between them while it steps.
    const end = () => setTimeout(() => worker.terminate(), (killed * 7) % 90);
    worker.once(killed++ % 2 === 0 ? 'online' : 'message', end);
  });
}

const looks = [];
let [done, inMain, inWorkers, workers] = [0, 0, 0, 0];
const per = RUNS / LOOKS;
while (done < RUNS) {
  while (inMain + inWorkers < Math.min(RUNS, per * (looks.length + 1))) {
    for (const end = inMain + SHARE; inMain < end; inMain++) await all[inMain % all.length](inMain);
    const kill = ++workers % 5 === 0;
    await inWorker(inWorkers, SHARE, kill);
    if (kill) continue; // what it has done does not count
    inWorkers += SHARE;
  }
  done = inMain + inWorkers;
  looks.push(await look(done));
}

// Flat: from the first quarter on, when caches and pools are full, to the last.
const part = (from, to, name) => {
  const some = looks.slice(Math.floor(looks.length * from), Math.ceil(looks.length * to)).map((at) => at[name]);
  return some.reduce((a, b) => a + b, 0) / some.length;
};
const grown = (name) => part(0.75, 1, name) - part(0.25, 0.5, name);
const growth = Object.fromEntries(
  Object.keys(looks[0])
    .slice(1)
    .map((name) => [name, Math.round(grown(name) * 10) / 10]),
);
/** The steady growth of a figure, for each run. */
function slope(name) {
  const some = looks.slice(Math.floor(looks.length / 4));
  const mean = (of) => some.reduce((sum, at) => sum + of(at), 0) / some.length;
  const [x, y] = [mean((at) => at.runs), mean((at) => at[name])];
  const value = mean((at) => (at.runs - x) * (at[name] - y)) / mean((at) => (at.runs - x) ** 2);
  return Math.round(value * 1000) / 1000;
}
const MIB = 2 ** 20;
const allowed = {
  rss: 8 * MIB,
  heapUsed: MIB,
  external: MIB / 4,
  arrayBuffers: MIB / 4,
  handles: 0.5,
  files: 0.5,
  threads: 0.5,
};
const leaks = Object.keys(allowed).filter((name) => growth[name] > allowed[name]);
const result = {
  question: 'Do handles and memory stay where they are over many sampling runs, in the main thread and in workers?',
  command: `node --expose-gc bench/soak/soak.mjs --runs ${RUNS}`,
  date: new Date().toISOString().slice(0, 10),
  node: process.versions.node,
  platform: `${process.platform}-${process.arch}`,
  cpu: cpus()[0]?.model ?? 'unknown',
  memoryGiB: Math.round(totalmem() / 2 ** 30),
  simd: info().simd,
  runs: { mainThread: inMain, workers: inWorkers, workersStarted: workers, workersEndedInTheMiddle: killed },
  growth: { what: 'mean of the last quarter less mean of the second', ...growth, bytesPerRun: growth.rss / (RUNS / 2) },
  slope: {
    what: 'bytes a run, by least squares from the first quarter on',
    rss: slope('rss'),
    heapUsed: slope('heapUsed'),
  },
  allowed,
  flat: leaks.length === 0,
  looks,
};
const text = `${JSON.stringify(result, null, 1)}\n`;
if (values.result) writeFileSync(values.result, text);
process.stdout.write(text);
if (leaks.length > 0) {
  console.error(`grown: ${leaks.join(', ')}`);
  process.exitCode = 1;
}
