// Published grids by the kind of network that a folder has, and what is said of it.
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { DiffusionPipeline, type GenerateOptions } from '../../lib/pipelines/index.js';
import { networkKindOf } from '../../lib/pipelines/published.js';
import { assertClose, assertRejects } from '../support.js';
import { changed, constant, layout, removeCopies } from './models.js';

test.after(removeCopies);

type Known = Parameters<typeof networkKindOf>[0];
const folderOf = (kind: string, contextWidth: number | undefined, modelType = 'noise', vae = true) =>
  ({ denoiser: { facts: { kind, contextWidth } }, training: { modelType }, vae: vae ? {} : null }) as unknown as Known;

test('kinds of networks, as the configurations of their folders tell them', () => {
  const cases: [Known, string | undefined][] = [
    [folderOf('plain', 768), 'sd15'],
    [folderOf('plain', 1024), undefined],
    [folderOf('plain', 768, 'v'), undefined],
    [folderOf('plain', undefined), undefined],
    [folderOf('xl', 2048), 'sdxl'],
    [folderOf('sd3', 4096, 'flow'), 'sd3'],
    [folderOf('flux', 4096, 'flow'), 'flux'],
    [folderOf('plain', 64, 'v', false), 'pixels'],
  ];
  for (const [folder, kind] of cases) assert.is(networkKindOf(folder), kind);
});

async function made(folder: string, options: Partial<GenerateOptions>) {
  const pipe = await DiffusionPipeline.fromPretrained(folder);
  try {
    const times: number[] = [];
    const { grid, nfe } = await pipe({
      ...{ prompt: 'red', seed: 1, steps: 6, guidance: 1, onStep: ({ t }) => times.push(t) },
      ...options,
    });
    return { grid, nfe, times };
  } finally {
    await pipe.dispose();
  }
}

test('a folder goes by the grid of its own network, and says so', async () => {
  const flux = await made(layout('flux'), { skipType: 'oss' });
  assert.is(flux.grid, 'oss for flux');
  assert.is(flux.nfe, 6);
  const xl = await made(layout('sdxl'), { skipType: 'ays' });
  assert.is(xl.grid, 'ays for sdxl');
  // The times are those of the network's grid on the schedule that the folder has.
  assert.is(xl.times.length, 6);
  assert.ok(xl.times.every((t, i) => i === 0 || t < xl.times[i - 1]));
  assert.is((await made(constant, { skipType: 'dmn' })).grid, 'dmn for pixels');
  assert.is((await made(layout('sd'), { skipType: 'dmn' })).grid, 'dmn for latents');
  assert.is((await made(layout('sd'), { skipType: 'karras' })).grid, undefined);
});

test('a network that no such grid was made for is refused', async () => {
  await assertRejects(
    () => made(layout('sd'), { skipType: 'ays' }),
    RangeError,
    /^Expected 'sd15', 'sdxl' or 'svd' with skipType 'ays'/,
  );
  await assertRejects(
    () => made(layout('sd3'), { skipType: 'oss' }),
    RangeError,
    /^Expected 'flux', 'wan' or 'chroma'.*'sd3'/,
  );
  await assertRejects(
    () => made(layout('flux'), { skipType: 'ays' }),
    RangeError,
    /with skipType 'ays' for network but received 'flux'/,
  );
});

test('AYS on Stable Diffusion XL’s own betas are its published times', async () => {
  const folder = changed((copy) => {
    const path = join(copy, 'scheduler/scheduler_config.json');
    const json = JSON.parse(readFileSync(path, 'utf8'));
    writeFileSync(
      path,
      JSON.stringify({ ...json, beta_start: 0.00085, beta_end: 0.012, beta_schedule: 'scaled_linear' }),
    );
  }, layout('sdxl'));
  const { times } = await made(folder, { skipType: 'ays', steps: 10 });
  // Timesteps 845 730 587 443 310 193 116 53 13, as diffusers has them; times count from 1 / 1000.
  const published = [845, 730, 587, 443, 310, 193, 116, 53, 13].map((label) => (label + 1) / 1000);
  assertClose(times.slice(0, 9), published, { atol: 2e-3 });
});

test.run();
