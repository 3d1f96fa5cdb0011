// The examples, as a reader runs them: with the built package, by its name.
import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { hasShapes } from './pipelines/models.js';

const test = suite('examples');
const root = fileURLToPath(new URL('..', import.meta.url));
const folder = mkdtempSync(join(tmpdir(), 'dpm-solver-examples-'));
test.after(() => rmSync(folder, { recursive: true }));

// dist/ is there after `npm ci`; a checkout without it has nothing to run.
const built = hasShapes && existsSync(join(root, 'dist/index.js')) ? test : test.skip;

for (const file of readdirSync(join(root, 'examples')).filter((name) => name.startsWith('loop-'))) {
  built(`${file} draws what the prompt says`, () => {
    const picture = join(folder, `${file}.ppm`);
    const args = [join(root, 'examples', file), 'a large red circle on a blue background', picture];
    const { status, stderr } = spawnSync(process.execPath, args, { encoding: 'utf8', cwd: folder });
    assert.is(status, 0, stderr);
    const bytes = readFileSync(picture);
    const header = 'P6 32 32 255\n';
    assert.is(bytes.subarray(0, header.length).toString('latin1'), header);
    const pixels = bytes.subarray(header.length);
    assert.is(pixels.length, 3 * 32 * 32);
    let [red, blue] = [0, 0];
    for (let i = 0; i < pixels.length; i += 3) {
      const [r, g, b] = pixels.subarray(i, i + 3);
      if (r > 150 && g < 100 && b < 100) red++;
      if (b > 150 && r < 100 && g < 100) blue++;
    }
    // A large circle covers a fifth of the picture and more; edges are neither.
    assert.ok(red > 150 && blue > 350 && red + blue > 800, `${red} red and ${blue} blue pixels of 1024`);
  });
}

test.run();
