// A process that has no address space left, as prlimit of util-linux makes it: the pool gets no threads and selections
// get no memory. Steps go on with the threads there are, a selection that needs more says so; afterwards all is as
// before. Prints `done`.
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { addon, step } from '../../../lib/addon/native.js';

const N = 1 << 22;
const x = new Float32Array(N).fill(2);
const out = new Float32Array(N);
const results = new Float64Array(1).fill(-7);
const rows = new Float64Array(32);
rows.set([1, 0, 0, 0, 0, 0, 0, 0, 1]);
rows.set([0.5, 0.5], 12);
const selecting = rows.slice();
selecting.set([2, 0, 1, 100], 4); // ratio 0: room for every key
const field = (name: string) =>
  Number(new RegExp(`^${name}:\\s+(\\d+)`, 'm').exec(readFileSync('/proc/self/status', 'utf8'))![1]);
const limit = (bytes: number | 'unlimited') =>
  execFileSync('prlimit', ['--pid', String(process.pid), `--as=${bytes}:`]);

function check(ok: boolean, what: string): void {
  if (!ok) throw new Error(what);
}

function main(): string {
  try {
    execFileSync('prlimit', ['--version'], { stdio: 'ignore' });
  } catch {
    return 'skipped: there is no prlimit here';
  }
  // The addon itself has room: it is loaded when something of it is first asked for.
  addon.info();
  const threads = field('Threads');
  // Less than a thread's stack, or than the keys of a selection.
  limit(field('VmSize') * 1024 + (1 << 20));
  const messages: string[] = [];
  let statuses: number[] = [];
  try {
    statuses = [step(rows, { x, base: x, out }, { batch: 1, threads: 8 })];
    for (const call of [
      () => step(selecting, { x, base: x, out }, { batch: 1, threads: 8 }),
      () => addon.quantile(x, 1, 0, 8, results),
    ]) {
      try {
        call();
        messages.push('went through');
      } catch (error) {
        messages.push((error as Error).message);
      }
    }
  } finally {
    limit('unlimited');
  }
  check(statuses[0] === -1 && out.every((value) => value === 2), `the step returned ${statuses}`);
  for (const message of messages) check(/^Out of memory: the quantile's working space /.test(message), message);
  check(results[0] === -7, 'the quantile was written to');
  check(field('Threads') === threads, 'a thread was made after all');
  // And now there is room.
  check(step(selecting, { x, base: x, out }, { batch: 1, threads: 8 }) === -1, 'the step failed afterwards');
  addon.quantile(x, 1, 0, 8, results);
  check(results[0] === 2, `the quantile is ${results[0]}`);
  check(field('Threads') > threads, 'no thread was made afterwards');
  return 'done';
}
console.log(main());
