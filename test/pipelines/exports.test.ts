// Folders that other tools wrote give diffusers' pictures: every call of references.json, from diffusers' own noise. In
// float32 the order of operations is all that may differ.
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { DiffusionPipeline, type Generation } from '../../lib/pipelines/index.js';
import { assertRejects } from '../support.js';
import {
  exported,
  folder,
  latentsApart,
  madeAt,
  optionsOf,
  pixelsApart,
  type Reference,
  references,
} from './exports.js';

const test = suite('folders of exporters');
const all = references();
const pipes = new Map<string, Promise<DiffusionPipeline>>();

function load(model: string): Promise<DiffusionPipeline> {
  let pipe = pipes.get(model);
  if (!pipe) {
    pipe = DiffusionPipeline.fromPretrained(folder(model));
    pipes.set(model, pipe);
  }
  return pipe;
}

test.after(async () => {
  for (const pipe of pipes.values()) await (await pipe).dispose();
  const place = madeAt();
  if (place) rmSync(place, { recursive: true });
});

/**
 * Latents in standard deviations, pixels in grey levels. Half precision keeps three digits of the networks' outputs. Labels of
 * exponential grids are cut from numbers that are whole but for their last bit, which differs between versions of torch: the
 * network is told 999 in one and 998 in the other.
 */
const bounds = ({ model, id }: Reference) => {
  if (model === 'sd1-float16') return { latents: 0.03, pixels: 6, labels: 1e-3 };
  return id === 'sd1/exponential'
    ? { latents: 5e-3, pixels: 1, labels: 1 }
    : { latents: 1e-4, pixels: 1, labels: 1e-3 };
};

/** The latents that calls end with, for those that go on from them. */
const given = new Map<string, Generation>();

/** @returns what was made, and the timesteps that it went through */
async function make(one: Reference): Promise<[Generation, number[]]> {
  const pipe = await load(one.model);
  const told: number[] = [];
  const options = optionsOf(one, pipe, false);
  if (one.latents !== undefined) options.latents = given.get(one.latents)!.sample;
  const generation = await pipe({ ...options, onStep: ({ t }) => told.push(t) });
  given.set(one.id, generation);
  return [generation, told];
}

function check(generation: Generation, one: Reference): void {
  const { latents, pixels } = bounds(one);
  assert.equal(generation.sample.dims, one.dims);
  const apart = latentsApart(generation, one);
  assert.ok(apart <= latents, `latents are ${apart} of their standard deviation apart`);
  const levels = pixelsApart(generation, one);
  if (levels !== undefined) assert.ok(levels <= pixels, `pixels are ${levels} apart`);
}

for (const one of all) {
  test(one.id, async () => {
    const [generation, timesteps] = await make(one);
    check(generation, one);
    assert.is(generation.nfe, one.times.length);
    // Flux is told thousandths of its timesteps.
    const told = timesteps.map((t) => (one.model.startsWith('flux') ? t / 1000 : t));
    const labels = Math.max(...told.map((t, i) => Math.abs(t - one.times[i])));
    assert.ok(labels <= bounds(one).labels, `the network was told ${told} and not ${one.times}`);
  });
}

/** Folders that run what their file says where nobody says otherwise: distilled networks, EDM's, and DPM-Solver's own. */
const KEEPS = ['sd1-dpm-karras', 'lcm', 'sd1-lcm', 'sdxl-turbo', 'flux-schnell', 'playground'];
for (const one of all.filter(({ model, scheduler }) => KEEPS.includes(model) && !scheduler)) {
  test(`${one.id}, by what the folder says alone`, async () => {
    const { scheduler: _, ...options } = optionsOf(one, await load(one.model), true);
    check(await (await load(one.model))(options), one);
  });
}

test('a T5 tokenizer of sentencepiece alone is refused with what converts it', async () => {
  const place = join(folder('flux-schnell'), 'tokenizer_2');
  rmSync(join(place, 'tokenizer.json'));
  await assertRejects(
    DiffusionPipeline.fromPretrained(folder('flux-schnell')),
    Error,
    /^Expected tokenizer\.json in .*tokenizer_2 but found spiece\.model alone, .*: python -c "from transformers import/,
  );
});

test('every folder is asked for something', () => {
  assert.equal([...new Set(all.map(({ model }) => model))].sort(), [...exported].sort());
});

test.run();
