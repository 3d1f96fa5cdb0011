// Folders in half precision, which JavaScript has numbers for in some Nodes and not in others, in all that
// DPM_SOLVER_NODES lists (paths, separated by the system's delimiter).
import { spawnSync } from 'node:child_process';
import { delimiter } from 'node:path';
import { fileURLToPath } from 'node:url';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';

const test = suite('half precision');
const script = fileURLToPath(new URL('half.ts', import.meta.url));

for (const node of [process.execPath, ...(process.env.DPM_SOLVER_NODES ?? '').split(delimiter).filter(Boolean)]) {
  const version = spawnSync(node, ['--version'], { encoding: 'utf8' }).stdout.trim();
  test(`gives diffusers' latents in Node ${version}`, () => {
    const { status, stdout, stderr } = spawnSync(node, ['--import', 'tsx', script], { encoding: 'utf8' });
    assert.is(status, 0, stderr);
    const apart = Object.entries(JSON.parse(stdout) as Record<string, number>);
    assert.is(apart.length, 7);
    // Of their standard deviation: half precision keeps three digits.
    for (const [id, difference] of apart) assert.ok(difference <= 0.03, `${id}: ${difference}`);
  });
}

test.run();
