// npm run bench:serve [-- --quick]: what the server does while it is attacked, over the loopback interface only:
// connections that stall, streams that are left half-closed or unread, and requests that are wrong in every way. After
// each kind the server has to answer, and its memory must not have grown: the resident set is taken when it is idle, after
// a garbage collection. The server is a process of its own, so that its memory is not mixed up with the attacker's.
//
// Writes bench/results/serve.json.
import { type ChildProcess, fork } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { machine } from '../machine.js';
import { attack, type Memory } from './attacks.js';

const quick = process.argv.includes('--quick');
const sizes = quick
  ? { stalled: 50, halves: 20, bad: 500, rounds: 2, attackers: 20 }
  : { stalled: 200, halves: 200, bad: 10_000, rounds: 2, attackers: 200 };
const child: ChildProcess = fork(fileURLToPath(new URL('./target.ts', import.meta.url)), {
  execArgv: [...process.execArgv, '--expose-gc'],
});
const port = await new Promise<number>((resolve, reject) => {
  child.once('message', (message) => resolve(message as number));
  child.once('exit', () => reject(new Error('the server did not start')));
});

/** Resident bytes, and those of JavaScript's heap, after a garbage collection. */
function memory(): Promise<Memory> {
  return new Promise((resolve) => {
    child.once('message', (message) => resolve(message as Memory));
    child.send('memory');
  });
}

const results = await attack({ port, memory, connect: (p: number): Socket => connect(p, '127.0.0.1'), ...sizes });
for (const { kind, count, answered, p99Ms, slowestMs, residentMiB, heapMiB } of results) {
  console.log(
    `${kind.padEnd(44)} ${String(count).padStart(6)}  answered ${answered}, p99 ${p99Ms.toFixed(0)}, slowest ${slowestMs.toFixed(0)} ms` +
      `  resident ${residentMiB.map((mib) => mib.toFixed(0)).join(' ')} MiB, heap ${heapMiB.map((mib) => mib.toFixed(1)).join(' ')} MiB`,
  );
}
if (!quick) {
  const out = fileURLToPath(new URL('../results/serve.json', import.meta.url));
  writeFileSync(out, `${JSON.stringify({ machine: machine(), sizes, results }, null, 2)}\n`);
}
child.send('end');
await new Promise((resolve) => child.once('exit', resolve));
await sleep(0);
