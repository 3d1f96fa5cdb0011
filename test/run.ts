// npm test [-- FILTER...]: runs test/**/*.test.ts, each file in a process of its own (native state stays apart, and a
// file may crash), two at a time. FILTER is a part of a path, or a file. The last line is `N passed, N failed`.
//
// DPM_SOLVER_SIMD         instruction set for the addon, handed on to every file
// DPM_SOLVER_TEST_TIMEOUT seconds that one file may take, 240 if not set
// CI                      if set, a forgotten test.only fails
import { type ChildProcess, spawn } from 'node:child_process';
import { readdirSync, statSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { relative, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Message } from './harness/child.js';

const root = fileURLToPath(new URL('..', import.meta.url));
const child = fileURLToPath(new URL('./harness/child.ts', import.meta.url));
const limit = Number(process.env.DPM_SOLVER_TEST_TIMEOUT || 240);
/** Seconds that a process may live on after its last test: longer means that it leaked a handle. */
const grace = Math.min(15, limit);

interface Result {
  passed: number;
  failed: number;
  skipped: number;
}

function select(filters: string[]): string[] {
  const all = readdirSync(`${root}/test`, { recursive: true, encoding: 'utf8' })
    .filter((file) => file.endsWith('.test.ts'))
    .map((file) => resolve(root, 'test', file))
    .sort();
  if (filters.length === 0) return all;
  const files = new Set<string>();
  for (const filter of filters) {
    const exact = resolve(filter);
    if (statSync(exact, { throwIfNoEntry: false })?.isFile()) files.add(exact);
    else for (const file of all) if (display(file).includes(filter)) files.add(file);
  }
  return [...files];
}

function display(file: string): string {
  return relative(root, file).replaceAll('\\', '/');
}

const alive = new Set<ChildProcess>();

/** Ends the process with all that it has started, which may hold its output open. */
function kill(process_: ChildProcess): void {
  try {
    if (process.platform === 'win32') process_.kill('SIGKILL');
    else process.kill(-process_.pid!, 'SIGKILL');
  } catch {
    // It has ended by itself.
  }
}

function runFile(file: string): Promise<Result> {
  return new Promise((finish) => {
    const result: Result = { passed: 0, failed: 0, skipped: 0 };
    const problems: string[] = [];
    const output: Buffer[] = [];
    let current = '';
    let done = false;
    let late = false;
    const started = Date.now();

    const process_ = spawn(process.execPath, ['--import', 'tsx', child, file], {
      cwd: root,
      stdio: ['ignore', 'pipe', 'pipe', 'ipc'],
      // A group of its own, so that the time limit reaches what the tests have started.
      detached: process.platform !== 'win32',
      env: { ...process.env, DPM_SOLVER_CONFIG: '', ...(process.stdout.isTTY ? { FORCE_COLOR: '1' } : {}) },
    });
    alive.add(process_);
    const timeUp = () => {
      late = true;
      kill(process_);
    };
    let timer = setTimeout(timeUp, limit * 1000);

    process_.stdout!.on('data', (data: Buffer) => output.push(data));
    process_.stderr!.on('data', (data: Buffer) => output.push(data));
    process_.on('message', (message: Message) => {
      if (message.kind === 'test') current = message.name;
      else if (message.kind === 'problem') problems.push(message.text);
      else if (message.kind === 'suite') {
        result.passed += message.passed;
        result.failed += message.failed;
        result.skipped += message.skipped;
        current = '';
      } else {
        done = true;
        clearTimeout(timer);
        timer = setTimeout(timeUp, grace * 1000);
      }
    });
    process_.on('error', (error) => problems.push(`could not be started: ${error.message}`));
    process_.on('exit', () => kill(process_));
    process_.on('close', (code, signal) => {
      clearTimeout(timer);
      alive.delete(process_);
      const during = current === '' ? '' : `, in the test "${current}"`;
      if (late && done) problems.push(`its tests ended, but something kept the process alive for ${grace} s more`);
      else if (late) problems.push(`took longer than the limit of ${limit} s${during}`);
      else if (!done) problems.push(`ended with ${signal ?? `code ${code}`} before its tests were through${during}`);
      else if (code !== 0) problems.push(`ended with ${signal ?? `code ${code}`} after its tests were through`);
      result.failed += problems.length;

      const seconds = ((Date.now() - started) / 1000).toFixed(1);
      process.stdout.write(`${display(file)} (${seconds} s)\n`);
      const text = Buffer.concat(output).toString();
      process.stdout.write(text === '' || text.endsWith('\n') ? text : `${text}\n`);
      for (const problem of problems) process.stdout.write(`  FAIL ${display(file)}: ${problem}\n`);
      finish(result);
    });
  });
}

for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
  process.on(signal, () => {
    for (const process_ of alive) kill(process_);
    process.exit(1);
  });
}

const filters = process.argv.slice(2);
const files = select(filters);
if (process.env.DPM_SOLVER_SIMD) process.stdout.write(`DPM_SOLVER_SIMD=${process.env.DPM_SOLVER_SIMD}\n`);
if (files.length === 0) process.stdout.write(`No test file matches ${filters.join(' ') || 'test/**/*.test.ts'}.\n`);

const total: Result = { passed: 0, failed: 0, skipped: 0 };
const unwell: string[] = [];
const waiting = files.slice();
async function work(): Promise<void> {
  for (let file = waiting.shift(); file !== undefined; file = waiting.shift()) {
    const result = await runFile(file);
    total.passed += result.passed;
    total.failed += result.failed;
    total.skipped += result.skipped;
    if (result.failed > 0) unwell.push(file);
  }
}
await Promise.all(Array.from({ length: Math.min(2, availableParallelism()) }, work));

if (unwell.length > 0) process.stdout.write(`\nFailed: ${unwell.map(display).sort().join(', ')}\n`);
if (total.failed > 0 || total.passed === 0) process.exitCode = 1;
const skipped = total.skipped > 0 ? `, ${total.skipped} skipped` : '';
process.stdout.write(`\n${total.passed} passed, ${total.failed} failed${skipped}\n`);
