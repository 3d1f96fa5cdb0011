// npm run bench:cuts [-- --quick]: many machines on one queue, each in a network of its own (a network namespace of Linux, joined by a
// pair of virtual cables), and one of these is pulled after the other, for 1 to 20 s: longer than a lock lasts, and than a connection
// may be silent. Nobody is told: packets are just gone. Two workers and a front end, whose clients reach it by another network.
// Then one run whose worker is killed 20 times, each time that it has made a step, which must end well; and one that is killed
// each time, which must fail and say why.
//
// Needs Linux, root or namespaces of users, redis-server, iproute2 and util-linux, and dist. It puts itself into a namespace, so that
// nothing of the machine's own network changes. Writes bench/results/cuts.json.
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { events, until } from '../../test/serve/client.js';
import { freePort } from '../../test/serve/redis.js';
import { machine } from '../machine.js';
import { ask, none } from './asking.js';

const INSIDE = 'DPM_SOLVER_CUTS_INSIDE';
if (process.env[INSIDE] === undefined) {
  const own = process.getuid?.() === 0 ? '-n' : '-rn';
  const [, file, ...args] = process.argv;
  const inside = spawn('unshare', [own, process.execPath, ...process.execArgv, file, ...args], {
    ...{ stdio: 'inherit', env: { ...process.env, [INSIDE]: '1' } },
  });
  process.exit(await new Promise((resolve) => inside.once('exit', (code) => resolve(code ?? 1))));
}

const quick = process.argv.includes('--quick');
const seconds = quick ? 40 : 300;
const most = quick ? 3 : 20;
const main = fileURLToPath(new URL('../../dist/cli/main.js', import.meta.url));
const started = new Set<ChildProcess>();
process.on('exit', () => {
  for (const child of started) child.kill('SIGKILL');
});

function must(...command: string[]): void {
  const { status, stderr } = spawnSync(command[0], command.slice(1), { encoding: 'utf8' });
  if (status !== 0) throw new Error(`${command.join(' ')}: ${stderr}`);
}

function begin(...command: string[]): ChildProcess {
  const child = spawn(command[0], command.slice(1), { stdio: ['ignore', 'ignore', 'inherit'] });
  started.add(child);
  child.once('exit', () => started.delete(child));
  return child;
}

/** Another machine, as far as its network goes. */
class Host {
  readonly #holder: ChildProcess;
  readonly #cables: string[] = [];

  constructor() {
    this.#holder = begin('unshare', '-n', 'sleep', '100000');
  }

  /** A cable between this machine and the host; the addresses end with 1 here and 2 there. */
  async join(net: number): Promise<void> {
    const pid = String(this.#holder.pid);
    const [near, far] = [`near${net}`, `far${net}`];
    must('ip', 'link', 'add', near, 'type', 'veth', 'peer', 'name', far);
    // Until it has left this one.
    for (let i = 0; i < 100 && same('self', pid); i++) await sleep(20);
    must('ip', 'link', 'set', far, 'netns', pid);
    must('ip', 'addr', 'add', `10.77.${net}.1/24`, 'dev', near);
    must('ip', 'link', 'set', near, 'up');
    must('nsenter', '-t', pid, '-n', 'ip', 'link', 'set', 'lo', 'up');
    must('nsenter', '-t', pid, '-n', 'ip', 'addr', 'add', `10.77.${net}.2/24`, 'dev', far);
    must('nsenter', '-t', pid, '-n', 'ip', 'link', 'set', far, 'up');
    this.#cables.push(near);
  }

  run(...args: string[]): ChildProcess {
    return begin('nsenter', '-t', String(this.#holder.pid), '-n', process.execPath, main, ...args);
  }

  /** The first cable. */
  pull(): void {
    must('ip', 'link', 'set', this.#cables[0], 'down');
  }

  plug(): void {
    must('ip', 'link', 'set', this.#cables[0], 'up');
  }
}

function same(a: string, b: string): boolean {
  const of = (pid: string) => spawnSync('readlink', [`/proc/${pid}/ns/net`], { encoding: 'utf8' }).stdout;
  return of(a) === of(b);
}

must('ip', 'link', 'set', 'lo', 'up');
const port = await freePort();
begin('redis-server', ...['--port', String(port), '--bind', '0.0.0.0', '--protected-mode', 'no', '--save', '']);
await sleep(1000);
const queueOf = (net: number): string => `redis://10.77.${net}.1:${port}`;
const draws = ['--reproducible', '--batch', '8'];

const hosts = [new Host(), new Host(), new Host()];
const [one, two, front] = hosts;
for (const [i, host] of hosts.entries()) await host.join(i + 1);
await front.join(9);
const workers = [
  one.run('worker', '--queue', queueOf(1), ...draws),
  two.run('worker', '--queue', queueOf(2), ...draws),
];
front.run('serve', '--queue', queueOf(3), '--models', 'shapes', '--host', '10.77.9.2', '--port', '8321');
const url = 'http://10.77.9.2:8321/';

async function untilReady(): Promise<void> {
  for (;;) {
    const ready = await fetch(new URL('/readyz', url), { headers: { Connection: 'close' } }).catch(() => undefined);
    if (ready?.status === 200) return;
    await sleep(200);
  }
}
await untilReady();

const counts = none();
const cuts = { workers: 0, front: 0, seconds: 0 };
let seeds = 0;
let going = true;
const end = performance.now() + seconds * 1000;
const puller = (async () => {
  for (let i = 0; performance.now() < end; i++) {
    await sleep(3000);
    const long = [2, 14, 6, 20, 1, 9][i % 6];
    const host = hosts[i % 3];
    host.pull();
    await sleep(long * 1000);
    host.plug();
    cuts[host === front ? 'front' : 'workers']++;
    cuts.seconds += long;
  }
  going = false;
})();
await Promise.all(
  Array.from({ length: 6 }, async () => {
    while (going) await ask(url, seeds++, counts);
  }),
);
await puller;
console.log(`${JSON.stringify(cuts)}: ${JSON.stringify(counts)}`);

// One worker from now on.
for (const worker of workers) worker.kill('SIGKILL');

/** A run whose worker is killed so often, each time that it has made a step. */
async function killed(times: number): Promise<{ kills: number; event: string; error?: string }> {
  let kills = 0;
  const next = (): ChildProcess => two.run('worker', '--queue', queueOf(2), ...draws);
  let worker = next();
  await untilReady();
  const response = await fetch(new URL('/api/runs', url), {
    method: 'POST',
    headers: { 'Content-Type': 'application/json', Connection: 'close' },
    body: JSON.stringify({ prompt: 'a red circle', steps: 200, seed: Number.isFinite(times) ? 1_000_000 : 1_000_001 }),
  });
  const stream = events(response);
  for (;;) {
    const { value, done } = await stream.next();
    if (done) return { kills, event: 'lost' };
    if (value.event === 'started') {
      if (kills >= times) continue;
      await until(stream, 'step');
      worker.kill('SIGKILL');
      kills++;
      worker = next();
    } else if (value.event === 'done' || value.event === 'failed') {
      const { error } = value.data as { error?: string };
      worker.kill('SIGKILL');
      return { kills, event: value.event, ...(error === undefined ? {} : { error }) };
    }
  }
}

const out = fileURLToPath(new URL('../results/cuts.json', import.meta.url));
/** What is known so far. */
function write(found: object): void {
  const seconds = { lock: 5, look: 5, silence: 10 };
  if (!quick)
    writeFileSync(out, `${JSON.stringify({ machine: machine(), seconds, cuts, counts, ...found }, null, 2)}\n`);
}

const survives = await killed(most);
console.log(JSON.stringify(survives));
write({ survives });
const poison = quick ? undefined : await killed(Number.POSITIVE_INFINITY);
console.log(JSON.stringify(poison));
write({ survives, poison });
const { lost, twice, failed, differing } = counts;
const well = lost + twice + failed + differing === 0 && survives.event === 'done';
process.exit(well && (quick || poison?.event === 'failed') ? 0 : 1);
