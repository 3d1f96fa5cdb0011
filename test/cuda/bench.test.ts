import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { compiler } from './emulation/build.js';

// npm run bench:gpu, rehearsed: it has to run to its end on the day that there is a card. No figure is looked at.
const bench = suite('the benchmark on cards');
const test: typeof bench = compiler() ? bench : (bench.skip as typeof bench);
const file = fileURLToPath(new URL('../../bench/gpu/bench.ts', import.meta.url));

test('runs to its end, for every variant, graph and whole run', () => {
  const { status, stdout, stderr } = spawnSync(process.execPath, [...process.execArgv, file, '--tiny'], {
    encoding: 'utf8',
  });
  assert.is(status, 0, stdout + stderr);
  for (const shape of ['1x4x8x8', '2x3x16x16']) {
    for (const variant of ['plain', 'plain+threshold', 'guided', 'guided+threshold']) {
      const kernel = variant.endsWith('threshold') ? '(cluster|team)' : 'step';
      assert.match(stdout, new RegExp(`^${shape} +${variant.replace('+', '\\+')} +${kernel} .*graph`, 'm'));
    }
    assert.match(stdout, new RegExp(`^${shape} +3 steps +eager .*graph .*network on the host`, 'm'));
  }
  assert.match(stdout, /^share of copy bandwidth .*not measured$/m);
});

bench.run();
