// The command line where memory is short, and what is told and kept then.
import { cpSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { changed, layout, removeCopies } from '../pipelines/models.js';
import { start } from './command.js';

const test = suite('command line and memory');
const folder = mkdtempSync(join(tmpdir(), 'dpm-solver-cli-'));
test.after(() => {
  rmSync(folder, { recursive: true });
  removeCopies();
});

/** A pipeline with an autoencoder of diffusers' own. */
const model = changed((copy) => {
  for (const part of ['vae_decoder', 'vae_encoder']) rmSync(join(copy, part), { recursive: true, force: true });
  cpSync(fileURLToPath(new URL('../fixtures/models/tiling/kl', import.meta.url)), copy, { recursive: true });
}, layout('sd'));
const draw = ['txt2img', 'a cat', '--model', model, '--steps', '2', '--width', '96', '--height', '64'];

test('decodes by tiles where it is asked to, and says so', async () => {
  const { code, stdout, stderr } = await start(folder, [...draw, '--vae-tiling', '64']).ended;
  assert.is(code, 0, stderr);
  assert.match(stdout, /^out\.png: 1 picture, 2 evaluations, decoded by 2 tiles of 56 x 64; /);
  const json = await start(folder, [...draw, '--vae-tiling', 'on', '--json']).ended;
  const { tiles, vaeTiling } = JSON.parse(json.stdout);
  assert.equal([tiles, vaeTiling], [{ rows: 2, columns: 2, width: 64, height: 64, why: 'asked' }, true]);
  const wrong = await start(folder, [...draw, '--vae-tiling', 'yes']).ended;
  assert.is(wrong.code, 2);
  assert.match(wrong.stderr, /^dpm-solver: Expected auto, on or off for --vae-tiling but received 'yes'\n$/);
});

test.run();
