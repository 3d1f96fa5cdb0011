// Plants the faults of faults.ts in the kernels, one at a time, and says which of them the emulation catches.
// Takes minutes, and fails where one is not caught: the nightly workflow runs it.
// Usage: npm run test:mutations [-- FILE or part of a NAME]
import { spawnSync } from 'node:child_process';
import { cpSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { buildEmulation } from '../emulation/build.js';
import { faults } from './faults.js';

const root = fileURLToPath(new URL('../../..', import.meta.url));
const folder = mkdtempSync(join(tmpdir(), 'dpm-solver-mutations-'));
process.on('exit', () => rmSync(folder, { recursive: true, force: true }));
const filter = process.argv[2] ?? '';
const native = join(folder, 'native');
cpSync(join(root, 'native'), native, { recursive: true });

const flags = ['-O0'];
const plain = join(folder, 'plain');
let program = await buildEmulation(plain, flags, native);
const objects = Object.fromEntries(
  readdirSync(plain)
    .filter((file) => file.endsWith('.o') && file !== 'cases.o')
    .map((file) => [file.slice(0, -2), join(plain, file)]),
);

/** What the tests run, two to three times as much of it. */
const SUITES = {
  step: ['--only', 'step', '--cases', '750'],
  cluster: ['--only', 'cluster', '--cases', '270', '--seed', '5000'],
  team: ['--only', 'team', '--cases', '270', '--seed', '9000'],
  wide: ['--only', 'wide', '--cases', '400', '--seed', '12000'],
  noise: ['--only', 'noise', '--cases', '300', '--seed', '18000'],
  error: ['--only', 'error', '--cases', '360', '--seed', '15000'],
};
/** Which of them a file's faults can show in; all where it is not said. */
const OF_FILE: Partial<Record<string, (keyof typeof SUITES)[]>> = {
  'noise.h': ['noise'],
  'reduce.h': ['error'],
  'step.h': ['step'],
  'threshold.h': ['cluster', 'team', 'wide'],
  'wide.h': ['wide'],
};

/** What noticed it; null where nothing did. */
function verdict(file = ''): string | null {
  for (const name of OF_FILE[file] ?? (Object.keys(SUITES) as (keyof typeof SUITES)[])) {
    const { status, stderr, signal } = spawnSync(program, SUITES[name], { encoding: 'utf8', timeout: 300_000 });
    if (status === 0) continue;
    if (signal === 'SIGTERM') return 'it did not end';
    return (stderr || `${signal}`).split('\n')[0]!;
  }
  return null;
}

const clean = verdict(filter);
if (clean) throw new Error(`without a fault: ${clean}`);
let caught = 0;
let real = 0;
const missed: string[] = [];
for (const fault of faults) {
  if (!fault.name.includes(filter) && fault.file !== filter) continue;
  const file = join(native, 'cuda', fault.file);
  const source = readFileSync(file, 'utf8');
  if (source.split(fault.find).length !== 2) throw new Error(`${fault.name}: its text does not occur once`);
  writeFileSync(
    file,
    source.replace(fault.find, () => fault.replace),
  );
  let what: string | null;
  try {
    program = await buildEmulation(join(folder, 'faulty'), [...flags, '-Wno-unused'], native, objects);
    what = verdict(fault.file);
  } finally {
    writeFileSync(file, source);
  }
  if (fault.equivalent) {
    if (what) process.exitCode = 1;
    console.log(
      `${what ? 'NOT EQUIVALENT' : 'equivalent'}: ${fault.name}${what ? `: ${what}` : ` (${fault.equivalent})`}`,
    );
    continue;
  }
  real++;
  if (what) caught++;
  else missed.push(fault.name);
  console.log(`${what ? 'caught' : 'MISSED'}: ${fault.name}${what ? `: ${what.trim()}` : ''}`);
}
console.log(`${caught} of ${real} faults caught${missed.length > 0 ? `; missed: ${missed.join('; ')}` : ''}`);
if (caught < real) process.exitCode = 1;
