// npm run bench:serve [-- --quick]: what the server does while 200 attackers of each kind are at it, over the loopback interface only.
// Every status request has to be answered, and soon; and its memory must not have grown: the resident set is taken when it
// is idle, after a garbage collection.
//
// The server, the attackers and who asks for the status are three processes, and the attackers give way to the others: how
// late an answer is would else be how late the attackers are. By turns the same attackers are at a server that answers
// everything with one sentence (`control`), which is the least that this machine's Node, system and cores take. The status is
// asked 50 times a second, whether those before are answered or not.
//
// Writes bench/results/serve.json, and fails where a status request was not answered.
import { type ChildProcess, fork } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { machine } from '../machine.js';
import type { Attack } from './attacker.js';
import { kinds, type Memory, settled, state, type Target } from './attacks.js';
import type { Busy } from './watched.js';

const quick = process.argv.includes('--quick');
const attackers = quick ? 20 : 200;
const seconds = quick ? 2 : 10;
const rounds = quick ? 1 : 2;

const start = (name: string): ChildProcess =>
  fork(fileURLToPath(new URL(`./${name}.ts`, import.meta.url)), {
    execArgv: [...process.execArgv, '--expose-gc'],
  });

function heard<T>(child: ChildProcess, order?: object | string): Promise<T> {
  return new Promise((resolve, reject) => {
    const ended = (): void => reject(new Error('a process ended before its time'));
    child.once('exit', ended);
    child.once('message', (message) => {
      child.off('exit', ended);
      resolve(message as T);
    });
    if (order !== undefined) child.send(order);
  });
}

const attacker = start('attacker');
interface Server {
  child: ChildProcess;
  target: Target;
}
const servers: Server[] = [];
for (const name of ['control', 'target']) {
  const child = start(name);
  servers.push({ child, target: { port: await heard<number>(child), simple: name === 'control' } });
}

/** Asks for the status for as long as something goes on. */
async function ask<T>(target: Target, work: Promise<T>): Promise<{ result: T; took: number[]; asked: number }> {
  let going = true;
  const over = work.finally(() => {
    going = false;
  });
  const took: number[] = [];
  const asking: Promise<void>[] = [];
  while (going) {
    const begun = performance.now();
    asking.push(state(target).then((found) => void (found && took.push(performance.now() - begun))));
    await sleep(20);
  }
  await Promise.all(asking);
  return { result: await over, took, asked: asking.length };
}

interface Found {
  attacks: number;
  asked: number;
  took: number[];
  loopDelayP99Ms: number[];
  serverCores: number;
  attackerCores: number;
  residentMiB: number[];
  heapMiB: number[];
}

const mib = (bytes: number): number => Number((bytes / 2 ** 20).toFixed(1));
const ms = (time: number): number => Number(time.toFixed(1));
const at = (times: readonly number[], share: number): number =>
  ms([...times].sort((a, b) => a - b)[Math.floor(share * (times.length - 1))]);

async function measure({ child, target }: Server, kind: string, found: Found): Promise<void> {
  await settled(target);
  const note = async (): Promise<void> => {
    const { resident, heap } = await heard<Memory>(child, 'memory');
    found.residentMiB.push(mib(resident));
    found.heapMiB.push(mib(heap));
  };
  if (found.residentMiB.length === 0) await note();
  await heard<Busy>(child, 'busy');
  const order: Attack = { target, kind, attackers, seconds };
  const begun = performance.now();
  const { result, took, asked } = await ask(target, heard<{ count: number; cpuSeconds: number }>(attacker, order));
  const passed = (performance.now() - begun) / 1000;
  const { delayP99Ms, cpuSeconds } = await heard<Busy>(child, 'busy');
  found.attacks += result.count;
  found.asked += asked;
  found.took.push(...took);
  found.loopDelayP99Ms.push(ms(delayP99Ms));
  found.serverCores += cpuSeconds / passed / rounds;
  found.attackerCores += result.cpuSeconds / passed / rounds;
  await settled(target);
  // What is freed by and by, as sockets are, is no leak either.
  await sleep(5000);
  await note();
}

const only = process.argv.find((word) => word.startsWith('--kind='))?.slice(7);
const results = [];
for (const { name } of kinds) {
  if (only !== undefined && !name.includes(only)) continue;
  const found = servers.map(
    (): Found => ({
      ...{ attacks: 0, asked: 0, took: [], loopDelayP99Ms: [], serverCores: 0, attackerCores: 0, residentMiB: [] },
      heapMiB: [],
    }),
  );
  // What is allocated once, such as compiled code, is no leak.
  for (const { target } of servers) {
    await heard(attacker, { target, kind: name, attackers: Math.ceil(attackers / 10), seconds: 1 } satisfies Attack);
  }
  for (let round = 0; round < rounds; round++) {
    for (const [i, server] of servers.entries()) await measure(server, name, found[i]);
  }
  const [control, ours] = found.map(({ took, asked, serverCores, attackerCores, ...rest }) => ({
    ...{ answered: `${took.length} of ${asked}`, p50Ms: at(took, 0.5), p99Ms: at(took, 0.99), slowestMs: at(took, 1) },
    ...{ serverCores: Number(serverCores.toFixed(2)), attackerCores: Number(attackerCores.toFixed(2)), ...rest },
  }));
  results.push({ kind: name, ...ours, control });
  if (found[1].took.length < found[1].asked) process.exitCode = 1;
  for (const [who, one] of Object.entries({ control, ours })) {
    console.log(
      `${name.padEnd(48)} ${who.padEnd(8)} ${String(one.attacks).padStart(7)} attacks, answered ${one.answered}: median ${one.p50Ms}, ` +
        `p99 ${one.p99Ms}, slowest ${one.slowestMs} ms; event loop's p99 ${one.loopDelayP99Ms.join(' ')} ms; ` +
        `cores ${one.serverCores} and ${one.attackerCores}; resident ${one.residentMiB.join(' ')}, heap ${one.heapMiB.join(' ')} MiB`,
    );
  }
}
if (!quick && only === undefined) {
  const out = fileURLToPath(new URL('../results/serve.json', import.meta.url));
  writeFileSync(out, `${JSON.stringify({ machine: machine(), attackers, seconds, rounds, results }, null, 2)}\n`);
}
attacker.disconnect();
for (const { child } of servers) {
  child.send('end');
  await new Promise((resolve) => child.once('exit', resolve));
}
