// `dpm-solver calibrate`, and the commands that draw by what it has found, as child processes.
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { changed, layout, removeCopies } from '../pipelines/models.js';

const main = fileURLToPath(new URL('../../lib/cli/main.ts', import.meta.url));
const folder = mkdtempSync(join(tmpdir(), 'dpm-solver-cli-calibrate-'));
test.after(() => {
  rmSync(folder, { recursive: true });
  removeCopies();
});

function run(...args: string[]): { status: number | null; stdout: string; stderr: string } {
  const command = ['--import', import.meta.resolve('tsx'), main, ...args];
  return spawnSync(process.execPath, command, { cwd: folder, encoding: 'utf8' });
}

test('calibrates a model, whose tables it then draws by', () => {
  const model = changed(() => {}, layout('sd'));
  const own = ['--model', model, '--guidance', '3'];
  writeFileSync(join(folder, 'prompts.txt'), 'red\n\n  green \n');
  const budget = ['--prompts', 'prompts.txt', '--samples', '4', '--held-out', '8', '--budget', '300'];
  const args = ['calibrate', ...own, ...budget, '--resume', 'kept'];
  const made = run(...args, '--steps', '3,4', '--report', 'report.svg');
  assert.is(made.status, 0, made.stderr);
  assert.match(
    made.stdout,
    /^3 evaluations: .*\n4 evaluations: .*\n.*solver_tables\.json: 2 tables; the teacher took 720/,
  );
  assert.match(readFileSync(join(folder, 'report.svg'), 'utf8'), /^<svg /);
  // Those that were made before stay.
  const more = run(...args, '--steps', '5', '--json');
  assert.is(JSON.parse(more.stdout).report[0].steps, 5, more.stderr);
  const path = join(model, 'scheduler/solver_tables.json');
  const tables = JSON.parse(readFileSync(path, 'utf8')) as { sigmas: number[]; name: string }[];
  assert.equal(
    tables.map(({ sigmas }) => sigmas.length - 1),
    [3, 4, 5],
  );
  const { name } = tables[1];
  const line = run('txt2img', 'red', ...own, '--steps', '4', '-o', 'by-table.png');
  assert.ok(line.stdout.includes(`1 picture, 4 evaluations, by the table ${name}; `), line.stdout + line.stderr);
  const named = run('txt2img', 'red', ...own, '--steps', '5', '--table', path, '--json', '-o', 'named.png');
  assert.is(JSON.parse(named.stdout).table, tables[2].name, named.stderr);
  const compared = run('compare', 'red', ...own, '--solvers', 'ddim', '--steps', '4,6', '--table', '--json');
  assert.is(compared.status, 0, compared.stderr);
  assert.equal(
    JSON.parse(compared.stdout).runs.map((one: { solver: string; table?: string }) => [one.solver, one.table]),
    [...[4, 6].map(() => ['ddim', undefined]), ['table', name], ['table', undefined]],
  );
  assert.match(compared.stderr, 'The model has no table for 6 steps and guidance 3');
});

test.run();
