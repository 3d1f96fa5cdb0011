// npm run test:gpu and bench:gpu: takes a card's measure, in stages that do not hang on each other.
//
// Every stage has a limit of its own, after which all that it started is ended; what it prints goes to a log, its end into
// the summary. So a test that fails, or waits for ever, costs its own stage and nothing else. Rows of the benchmark are in a
// file as soon as they are there. Where there is no card it runs what needs none, says why the rest cannot run, and fails.
// Usage: node scripts/run-gpu.mjs [--only tests|bench|sanitize|profile ...] [--filter TEXT] [--quick] [--tiny] [--also FILE ...]
//                                 [--limit SECONDS] [--stage-limit SECONDS] [--limits NAME=SECONDS ...]
//   --only         these of the four kinds of stages (several times, or with commas); the default is all
//   --filter       tests with this text in their names alone
//   --quick        few shapes, few cases
//   --tiny         a rehearsal, with an emulated card if there is none: nothing of what it measures has a meaning
//   --also         another file of tests, as a stage of its own
//   --limit        seconds for everything, 560; --stage-limit: for a stage at most; --limits NAME=SECONDS: for one of them
// Results and logs: in $OUT, or build/gpu-results. What is there already is kept apart by name or written over.
import { spawn, spawnSync } from 'node:child_process';
import {
  appendFileSync,
  closeSync,
  existsSync,
  mkdirSync,
  openSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';

const KINDS = ['tests', 'bench', 'sanitize', 'profile'];
const { values: options } = parseArgs({
  options: {
    only: { type: 'string', multiple: true },
    filter: { type: 'string' },
    quick: { type: 'boolean', default: false },
    tiny: { type: 'boolean', default: false },
    also: { type: 'string', multiple: true, default: [] },
    limit: { type: 'string', default: '560' },
    'stage-limit': { type: 'string', default: '1000' },
    limits: { type: 'string', multiple: true, default: [] },
  },
});
const { quick, tiny } = options;
const only = options.only?.flatMap((list) => list.split(',')) ?? KINDS;
for (const kind of only) {
  if (!KINDS.includes(kind)) fail(`Expected one of ${KINDS.join(', ')} for --only but received ${kind}`);
}
const [limit, stageLimit] = ['limit', 'stage-limit'].map((name) => {
  const seconds = Number(options[name]);
  if (!(seconds > 0)) fail(`Expected seconds above 0 for --${name} but received ${options[name]}`);
  return seconds;
});
const root = fileURLToPath(new URL('..', import.meta.url));
const out = process.env.OUT || join(root, 'build/gpu-results');
mkdirSync(out, { recursive: true });
// What scripts/pack-gpu.mjs has made is JavaScript already.
const packed = existsSync(join(root, 'test/cuda/device.test.js'));
const script = (path) => (packed ? [`${path}.js`] : ['--import', 'tsx', `${path}.ts`]);
const library = join(root, 'build/Release/dpm-solver-cuda.so');
const rows = join(out, 'rows.jsonl');
const LOGS = {
  machine: 'tests.log',
  tests: 'tests.log',
  bench: 'bench.log',
  sanitize: 'sanitize.log',
  profile: 'profile.log',
};
for (const file of [...Object.values(LOGS), 'rows.jsonl', 'summary.json']) rmSync(join(out, file), { force: true });

const began = Date.now();
const left = () => limit - (Date.now() - began) / 1000;
/** @type {{name: string, kind: string, seconds: number, limit: number, code: number | null, end: string}[]} */
const summary = [];

await stage('machine', 'machine', 20, 'nvidia-smi', [
  '--query-gpu=name,driver_version,clocks.current.sm,clocks.current.memory,memory.used,ecc.mode.current',
  '--format=csv',
]);
if (!tiny && !existsSync(library) && has('nvidia-smi')) {
  await stage('library', 'machine', 240, process.execPath, [
    join(root, 'scripts/build-cuda.mjs'),
    '--arch',
    'native',
    '--out',
    library,
  ]);
}
const reason = tiny
  ? null
  : createRequire(import.meta.url)(join(root, 'build/Release/dpm-solver.node')).cudaInfo().reason;
const card = tiny ? {} : { DPM_SOLVER_GPU: '1' };
const chosen = options.filter === undefined ? {} : { DPM_SOLVER_TEST_FILTER: options.filter };

if (only.includes('tests')) {
  if (!tiny) for (const name of ['plan', 'loader']) await node(name, 'tests', 60, `test/cuda/${name}.test`, [], chosen);
  if (!reason) {
    await node('device', 'tests', 90, 'test/cuda/device.test', [], { ...card, ...chosen });
    if (!tiny) await node('solver', 'tests', 90, 'test/engines/cuda/solver.test', [], { ...card, ...chosen });
    for (const file of options.also)
      await stage(file, 'tests', 60, process.execPath, [...(packed ? [] : ['--import', 'tsx']), file], card);
  }
}
if (only.includes('bench') && !reason) {
  const flags = ['--rows', rows, ...(quick ? ['--quick'] : []), ...(tiny ? ['--tiny'] : [])];
  for (const [part, seconds] of Object.entries({ steps: 90, kernels: 90, runs: 60 })) {
    await node(`bench ${part}`, 'bench', seconds, 'bench/gpu/bench', ['--part', part, ...flags]);
  }
  // The card that forgets is compiled there.
  if (has('g++') && !tiny) await node('bench host', 'bench', 60, 'bench/gpu/host', [rows]);
  const shapes = quick
    ? ['1x4x64x64', '64x3x256x256']
    : ['1x4x64x64', '16x4x64x64', '4x4x128x128', '16x3x256x256', '64x3x256x256', '16x3x512x512', '8x3x1024x1024'];
  if (has('python3') && !tiny) {
    await eager('bench eager', 60, shapes);
    if (!quick) await eager('bench compiled', 60, ['--compiled', '1x4x64x64', '64x3x256x256']);
  }
}
if (only.includes('sanitize') && !reason) {
  for (const tool of quick ? ['memcheck'] : ['memcheck', 'racecheck', 'synccheck', 'initcheck']) {
    // Tests provoke errors of the API on purpose.
    const args = [
      '--tool',
      tool,
      '--error-exitcode',
      '9',
      ...(tool === 'memcheck' ? ['--report-api-errors', 'no'] : []),
    ];
    const env = { ...card, ...chosen, DPM_SOLVER_SANITIZER: tool, DPM_SOLVER_FEW_CASES: '1' };
    if (has('compute-sanitizer'))
      await stage(
        tool,
        'sanitize',
        60,
        'compute-sanitizer',
        [...args, process.execPath, ...script('test/cuda/device.test')],
        env,
      );
    else skip(tool, 'sanitize', 'there is no compute-sanitizer');
  }
}
if (only.includes('profile') && !reason) {
  // Counters of one launch of each: what crossed memory, what it waited for.
  const shapes = quick ? ['16x3x256x256'] : ['1x4x64x64', '16x3x256x256', '64x3x256x256'];
  const metrics = [
    'gpu__time_duration.sum',
    'dram__bytes_read.sum',
    'dram__bytes_write.sum',
    'dram__throughput.avg.pct_of_peak_sustained_elapsed',
    'sm__throughput.avg.pct_of_peak_sustained_elapsed',
    'sm__warps_active.avg.pct_of_peak_sustained_active',
    'smsp__inst_executed.sum',
  ];
  for (const shape of shapes.flatMap((name) => [[name], [name, 'threshold']])) {
    const only = [
      '--kernel-name',
      shape.length > 1 ? 'regex:Threshold' : 'regex:Step',
      '--launch-skip',
      '2',
      '--launch-count',
      '1',
    ];
    const args = ['--clock-control', 'none', '--metrics', metrics.join(','), ...only, '--kill', 'yes'];
    const name = `ncu ${shape.join(' ')}`;
    if (has('ncu'))
      await stage(
        name,
        'profile',
        45,
        'ncu',
        [...args, process.execPath, ...script('bench/gpu/profile'), ...shape],
        card,
      );
    else skip(name, 'profile', 'there is no ncu');
  }
}
if (existsSync(rows))
  await node('report', 'bench', 30, 'bench/gpu/report', [
    rows,
    tiny ? out : process.env.OUT || join(root, 'bench/results'),
  ]);

const failed = summary.filter(({ end }) => end !== 'passed' && !end.startsWith('skipped'));
for (const { name, seconds, end } of summary)
  console.log(`${name.padEnd(24)} ${seconds.toFixed(1).padStart(6)} s  ${end}`);
if (reason) fail(`test:gpu needs a CUDA card, but ${reason}`);
process.exitCode = failed.length > 0 ? 1 : 0;

function node(name, kind, seconds, path, args = [], env = {}) {
  return stage(name, kind, seconds, process.execPath, [...script(path), ...args], env);
}

/** Its lines are rows. */
async function eager(name, seconds, args) {
  const log = join(out, LOGS.bench);
  const from = existsSync(log) ? statSync(log).size : 0;
  await stage(name, 'bench', seconds, 'python3', [join(root, 'bench/gpu/eager.py'), ...args]);
  const lines = readFileSync(log).subarray(from).toString().split('\n');
  for (const line of lines) if (/^\{.*\}$/.test(line)) appendFileSync(rows, `${line}\n`);
}

function skip(name, kind, why) {
  summary.push({ name, kind, seconds: 0, limit: 0, code: null, end: `skipped: ${why}` });
}

/** Runs a command until it ends or its limit is over; never throws. */
async function stage(name, kind, seconds, command, args, env = {}) {
  const own = options.limits.find((text) => text.startsWith(`${name}=`))?.slice(name.length + 1);
  const most = Math.min(own ? Number(own) : seconds, stageLimit, left());
  if (most < 1) return skip(name, kind, 'there is no time left');
  const log = join(out, LOGS[kind]);
  appendFileSync(log, `== ${name}: ${[command, ...args].join(' ')}\n`);
  const file = openSync(log, 'a');
  const start = Date.now();
  const { code, end } = await new Promise((resolve) => {
    // A group of its own, so that what it has started ends with it.
    const child = spawn(command, args, {
      cwd: root,
      stdio: ['ignore', file, file],
      env: { ...process.env, ...env },
      detached: true,
    });
    const timer = setTimeout(() => {
      try {
        process.kill(-child.pid, 'SIGKILL');
      } catch {
        // It ended just now.
      }
      resolve({ code: null, end: `ended after ${most.toFixed(0)} s` });
    }, 1000 * most);
    child.on('error', (error) => {
      clearTimeout(timer);
      resolve({ code: null, end: `could not be started: ${error.code}` });
    });
    child.on('close', (status, signal) => {
      clearTimeout(timer);
      resolve({
        code: status,
        end: status === 0 ? 'passed' : signal ? `ended by ${signal}` : `failed with code ${status}`,
      });
    });
  });
  closeSync(file);
  const took = (Date.now() - start) / 1000;
  const kept = kind === 'machine' && tiny ? 'skipped: a rehearsal' : end;
  summary.push({ name, kind, seconds: took, limit: most, code, end: kept });
  appendFileSync(log, `== ${name}: ${end} after ${took.toFixed(1)} s\n`);
  console.log(`${name}: ${kept}, ${took.toFixed(1)} s`);
  const draft = join(out, '.summary.json');
  writeFileSync(draft, `${JSON.stringify({ seconds: (Date.now() - began) / 1000, stages: summary }, null, 2)}\n`);
  renameSync(draft, join(out, 'summary.json'));
}

function has(command) {
  return spawnSync(command, ['--version'], { stdio: 'ignore' }).error === undefined;
}

function fail(message) {
  console.error(message);
  process.exit(1);
}
