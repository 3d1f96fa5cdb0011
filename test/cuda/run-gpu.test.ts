import { spawnSync } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { buildFakeLibrary, compiler } from './emulation/build.js';

// npm run pack:gpu and what its run.sh does on a machine with a card, rehearsed on the emulated one: on the day that there is
// a card it has to run to its end, whatever fails or hangs on the way. No figure is looked at.
const rehearsal = suite('the first run on a card');
const test = compiler() ? rehearsal : (rehearsal.skip as typeof rehearsal);
const script = fileURLToPath(new URL('../../scripts/pack-gpu.mjs', import.meta.url));
const folder = mkdtempSync(join(tmpdir(), 'dpm-solver-run-gpu-'));
rehearsal.after(() => rmSync(folder, { recursive: true, force: true }));

interface Stage {
  name: string;
  code: number | null;
  seconds: number;
  end: string;
}

test('takes tests, rows and results along, past a suite that fails and one that hangs', async () => {
  const packed = join(folder, 'packed');
  // Node is 100 MB, and takes a minute to compress.
  const pack = spawnSync(process.execPath, [script, '--out', packed, '--without-node', '--without-library'], {
    encoding: 'utf8',
  });
  assert.is(pack.status, 0, pack.stdout + pack.stderr);
  const library = join(folder, 'emulated.so');
  await buildFakeLibrary(library);
  writeFileSync(join(packed, 'fails.js'), "console.log('this suite fails');\nprocess.exit(3);\n");
  // With a child of its own, which has to end with it.
  const child = `require('node:child_process').spawn(process.execPath, ['-e', 'setInterval(() => {}, 1000)'], { stdio: 'inherit' });`;
  writeFileSync(
    join(packed, 'hangs.js'),
    `import { createRequire } from 'node:module';\nconst require = createRequire(import.meta.url);\n${child}\nconsole.log('this suite hangs');\n`,
  );
  const out = join(folder, 'out');
  const { status, stdout, stderr } = spawnSync(
    'sh',
    [
      'run.sh',
      '--tiny',
      '--only',
      'tests,bench',
      '--filter',
      'graph',
      '--also',
      'fails.js',
      '--also',
      'hangs.js',
    ].concat('--limits', 'hangs.js=2'),
    {
      cwd: packed,
      encoding: 'utf8',
      env: {
        ...process.env,
        PATH: `${join(process.execPath, '..')}:${process.env.PATH}`,
        OUT: out,
        DPM_EMULATED_LIBRARY: library,
        NODE_OPTIONS: '',
      },
    },
  );
  assert.is(status, 1, stdout + stderr);
  const { stages } = JSON.parse(readFileSync(join(out, 'summary.json'), 'utf8')) as { stages: Stage[] };
  const end = Object.fromEntries(stages.map((stage) => [stage.name, stage.end]));
  const logs = readFileSync(join(out, 'tests.log'), 'utf8') + readFileSync(join(out, 'bench.log'), 'utf8');
  assert.equal(
    end,
    {
      machine: 'skipped: a rehearsal',
      device: 'passed',
      'fails.js': 'failed with code 3',
      'hangs.js': 'ended after 2 s',
      'bench steps': 'passed',
      'bench kernels': 'passed',
      'bench runs': 'passed',
      report: 'passed',
    },
    logs,
  );
  for (const text of ['this suite fails', 'this suite hangs']) assert.ok(logs.includes(text), text);
  assert.match(logs, /Skipped: +[1-9]/, 'tests without the text are left out');
  assert.match(logs, /^share of copy bandwidth .*not measured$/m);
  const files = readdirSync(out);
  assert.ok(files.length <= 8, files.join());
  const rows = readFileSync(join(out, 'rows.jsonl'), 'utf8')
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line));
  for (const shape of ['1x4x8x8', '2x3x16x16']) {
    const of = (part: string) => rows.filter((row) => row.part === part && row.shape === shape);
    assert.equal(
      of('steps').map((row) => row.variant),
      ['plain', 'plain+threshold', 'guided', 'guided+threshold'],
    );
    for (const row of of('steps')) {
      assert.match(row.kernel, row.variant.endsWith('threshold') ? /^(cluster|team)$/ : /^step$/);
      for (const name of ['microseconds', 'graph', 'call', 'queued', 'share']) assert.ok(row[name] > 0, name);
    }
    assert.is(of('runs').length, 1);
  }
  const kernels = rows.filter((row) => row.part === 'kernels');
  assert.is(kernels.length, 24);
  const taken = new Set(kernels.map((row) => row.kernel));
  for (const kernel of ['idle', 'step', 'noise', 'error', 'guide', 'wide', 'wide-select'])
    assert.ok(taken.has(kernel), kernel);
  assert.ok(taken.has('cluster') || taken.has('team'));
  const results = JSON.parse(readFileSync(join(out, files.find((name) => name.startsWith('gpu-'))!), 'utf8'));
  assert.equal(results.rows, rows);
});

rehearsal.run();
