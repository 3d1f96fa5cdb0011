// npm run bench:workers [-- --quick]: many machines on one queue, as processes of this one. Two front ends, clients that never
// stop asking, 1, 2 and 4 workers, and then 4 of which one after the other is killed, every 5 seconds for 5 minutes (`--seconds N` says
// another time), and started anew. Each run has a seed of its own and one picture.
//
// What it shows are counts: runs that were lost (no `done`), results that came twice (a second `done`, or a stream that went on
// after it), and pictures whose bytes differ from those of the same run made twice. Runs a second are told as a share of one worker's, which
// on one machine says how much the queue itself costs and no more. Needs redis-server, and dist. Writes bench/results/workers.json.
import { type ChildProcess, spawn } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { startFront } from '../../lib/serve/workers/start.js';
import { hasRedis, TestRedis } from '../../test/serve/redis.js';
import { machine } from '../machine.js';
import { ask, type Counts, none, pictures } from './asking.js';

if (!hasRedis) throw new Error('Expected redis-server on this machine');
const quick = process.argv.includes('--quick');
const at = process.argv.indexOf('--seconds');
const soakSeconds = at >= 0 ? Number(process.argv[at + 1]) : quick ? 30 : 300;
const eachSeconds = quick ? 10 : 30;
// As it is installed: a worker is there sooner.
const main = fileURLToPath(new URL('../../dist/cli/main.js', import.meta.url));
const redis = await TestRedis.start();
const queue = redis.url;
const workers: ChildProcess[] = [];
// However this ends: what it has started ends too.
process.on('exit', () => {
  for (const worker of workers) worker.kill('SIGKILL');
});

/** A worker, in a process of its own. */
function startWorker(): ChildProcess {
  return spawn(process.execPath, [main, 'worker', '--queue', queue, '--reproducible', '--batch', '8'], {
    stdio: ['ignore', 'ignore', 'inherit'],
  });
}

const fronts = [
  await startFront({ url: queue, port: 0, models: ['shapes'] }),
  await startFront({ url: queue, port: 0, models: ['shapes'] }),
];

async function untilReady(): Promise<void> {
  for (const { url } of fronts) while ((await fetch(new URL('/readyz', url))).status !== 200) await sleep(100);
}

/** How many workers are there, as a front end sees it. */
async function untilThere(wanted: number): Promise<void> {
  for (;;) {
    const text = await (await fetch(new URL('/metrics', fronts[0].url))).text();
    if (Number(/^dpm_solver_workers\{[^}]*\} (\d+)/m.exec(text)?.[1]) === wanted) return;
    await sleep(200);
  }
}

let seeds = 0;

/** Clients who ask again as soon as they have an answer, for so many seconds. */
async function load(seconds: number, clients: number): Promise<Counts & { seconds: number }> {
  const counts = none();
  const begun = performance.now();
  const until = begun + seconds * 1000;
  await Promise.all(
    Array.from({ length: clients }, async (_, i) => {
      while (performance.now() < until) await ask(fronts[i % fronts.length].url, seeds++, counts);
    }),
  );
  return { ...counts, seconds: (performance.now() - begun) / 1000 };
}

const throughput: { workers: number; runs: number; share: number }[] = [];
let one = 0;
for (const wanted of [1, 2, 4]) {
  while (workers.length < wanted) workers.push(startWorker());
  await untilReady();
  await untilThere(wanted);
  const { done, seconds, lost, twice, failed } = await load(eachSeconds, 16);
  one ||= done / seconds;
  throughput.push({ workers: wanted, runs: done, share: Number((done / seconds / one).toFixed(2)) });
  console.log(
    `${wanted} workers: ${done} runs, ${(done / seconds / one).toFixed(2)} of one worker's; ${lost + failed} lost, ${twice} twice`,
  );
}

let kills = 0;
const killer = setInterval(() => {
  const at = kills++ % workers.length;
  workers[at].kill('SIGKILL');
  workers[at] = startWorker();
}, 5000);
const soak = await load(soakSeconds, 16);
clearInterval(killer);
console.log(`killed ${kills} times: ${JSON.stringify(soak)}`);

// Some of them again, where no result is kept: other workers, other neighbours, the same bytes.
await redis.kill();
await redis.begin();
await untilReady();
const repeated = none();
const some = [...pictures.keys()].slice(-32);
await Promise.all(some.map((seed, i) => ask(fronts[i % 2].url, seed, repeated)));
console.log(`again: ${JSON.stringify(repeated)}`);

const { seconds, ...counted } = soak;
writeFileSync(
  fileURLToPath(new URL('../results/workers.json', import.meta.url)),
  `${JSON.stringify({ machine: machine(), throughput, soak: { seconds: Math.round(seconds), kills, ...counted }, repeated }, null, 2)}\n`,
);
for (const front of fronts) await front.close();
await redis.stop();
process.exit(soak.lost + soak.twice + soak.failed + soak.differing + repeated.differing === 0 ? 0 : 1);
