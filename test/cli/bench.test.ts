// `dpm-solver bench`: what it says of a network that takes no time to speak of. What it measures is the machine's.
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { constant, layout } from '../pipelines/models.js';
import { start } from './command.js';

const test = suite('bench');
const folder = mkdtempSync(join(tmpdir(), 'dpm-solver-bench-'));
test.after(() => rmSync(folder, { recursive: true }));

const bench = (...args: string[]) => start(folder, ['bench', 'red', ...args]).ended;

interface Spread {
  median: number;
  low: number;
  high: number;
}

test('measures every size and batch, each in every round', async () => {
  const model = layout('sd');
  const cases = [
    '--model',
    model,
    '--devices',
    'cpu',
    '--sizes',
    '16,32x16',
    '--batches',
    '1,3',
    '--steps',
    '3',
    '--seconds',
    '0',
  ];
  const { code, stdout, stderr } = await bench(...cases, '--guidance', '1', '--json');
  assert.is(code, 0, stderr);
  assert.is(stdout.trim().split('\n').length, 1);
  const { machine, model: name, steps, guidance, rounds, results, left } = JSON.parse(stdout);
  assert.equal([name, steps, guidance, rounds, left], [model, 3, 1, 1, []]);
  for (const part of ['cpu', 'node', 'platform', 'version', 'onnxruntime', 'simd']) {
    assert.ok(machine[part].length > 0, part);
  }
  assert.ok(machine.cores >= 1 && machine.threads >= 1 && machine.memory > 0);
  assert.equal(
    results.map(({ device, width, height, batch }: Record<string, unknown>) => [device, width, height, batch]),
    [
      ['cpu', 16, 16, 1],
      ['cpu', 16, 16, 3],
      ['cpu', 32, 16, 1],
      ['cpu', 32, 16, 3],
    ],
  );
  for (const { networkCalls, outside, ...one } of results) {
    assert.is(networkCalls, 3);
    assert.ok(outside.low > 0 && outside.high < 1, JSON.stringify(outside));
    for (const what of ['networkMs', 'stepMs', 'pictureMs', 'ratio', 'encodeMs', 'decodeMs']) {
      const { median, low, high } = one[what] as Spread;
      assert.ok(low >= 0 && low <= median && median <= high, what);
    }
  }
  assert.equal(results[0].ratio, { median: 1, low: 1, high: 1 });
});

test('tells people by a table', async () => {
  const { code, stdout, stderr } = await bench(
    ...['--model', constant],
    '--devices',
    'cpu',
    '--batches',
    '1,2',
    '--steps',
    '2',
    '--seconds',
    '0',
  );
  assert.is(code, 0, stderr);
  const lines = stdout.split('\n');
  assert.match(lines[0], /cores?, .* node v\d/);
  assert.match(lines[1], /^dpm-solver \d.* 2 evaluations a picture/);
  const cells = lines.map((line) => line.split(/ {2,}/));
  const head = cells.findIndex(([first]) => first === 'device');
  assert.equal(cells[head].slice(0, 4), ['device', 'size', 'batch', 'network call']);
  for (const [device, , batch, call, step, outside, picture, ratio] of cells
    .slice(head + 1)
    .filter(([a]) => a === 'cpu')) {
    assert.ok(device === 'cpu' && /^[12]$/.test(batch));
    for (const value of [call, step, picture]) assert.match(value, / ms/);
    assert.match(outside, /%/);
    assert.match(ratio, / x/);
  }
});

for (const [what, args, message] of [
  [
    'a size in words',
    ['--sizes', 'large'],
    /^dpm-solver: Expected sizes such as 512,768x512 for --sizes but received 'large'$/m,
  ],
  ['an unknown device', ['--devices', 'cpu,gpu'], /for --devices but received 'gpu'/],
] as [string, string[], RegExp][]) {
  test(`refuses ${what}`, async () => {
    const { code, stderr } = await bench(...args);
    assert.is(code, 2);
    assert.match(stderr, message);
  });
}

test.run();
