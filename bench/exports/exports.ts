/**
 * How far pipelines on the folders that other tools wrote are from diffusers, call by call: from the same noise, latents in
 * their standard deviations, and pictures in grey levels.
 *
 *     npm run bench:exports                  all calls of test/fixtures/exports, into bench/results/exports.json;
 *                                            npm run figures -- exports makes the table of docs/pipelines.md of it
 *     npm run bench:exports -- --cases DIR   the calls of DIR/cases.json on the folders beside it, with what diffusers made
 *                                            of them in DIR/reference; prints a line each, and writes nothing
 *
 * test/fixtures/exports.py makes the folders and references of the first. Those of the second are: `cases.json`, a list of
 * `{ id, model, kind, prompt, negative, steps, guidance, seed, count, width, height, strength, image, mask, rescale,
 * overlong, truecfg, scheduler: { class, overrides } }`, where `model` is a folder and pictures are files without `.png`;
 * and of each call, `/` in its id being `--`, `.latents` (float32), `.images` (bytes) and `.json` with `latents`, their dims.
 */
import { existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { readPng } from '../../lib/image/file.js';
import { DiffusionPipeline, type GenerateOptions, type Generation } from '../../lib/pipelines/index.js';
import * as schedulers from '../../lib/schedulers/index.js';
import {
  exported,
  folder,
  latentsApart,
  madeAt,
  optionsOf,
  pixelsApart,
  type Reference,
  references,
} from '../../test/pipelines/exports.js';
import { machine } from '../machine.js';

/** The calls of a kind on a folder. */
export interface ExportRow {
  folder: string;
  kind: string;
  calls: number;
  /** The largest difference of latents, in their standard deviations, and the call that has it. */
  latents: number;
  worst: string;
  /** The largest difference of pictures in grey levels, where there are references. */
  pixels: number | null;
}

export interface ExportResults {
  machine: ReturnType<typeof machine>;
  rows: ExportRow[];
}

async function ofRepository(): Promise<ExportRow[]> {
  const rows = new Map<string, ExportRow>();
  const made = new Map<string, Generation>();
  for (const name of exported) {
    const pipe = await DiffusionPipeline.fromPretrained(folder(name));
    for (const one of references().filter(({ model }) => model === name)) {
      const options = optionsOf(one, pipe, false);
      if (one.latents !== undefined) options.latents = made.get(one.latents)!.sample;
      const generation = await pipe(options);
      made.set(one.id, generation);
      const key = `${name} ${one.kind}`;
      const row = rows.get(key) ?? { folder: name, kind: one.kind, calls: 0, latents: 0, worst: '', pixels: null };
      const apart = latentsApart(generation, one);
      const levels = pixelsApart(generation, one);
      row.calls++;
      if (apart >= row.latents) Object.assign(row, { latents: apart, worst: one.id.slice(name.length + 1) });
      if (levels !== undefined) row.pixels = Math.max(row.pixels ?? 0, levels);
      rows.set(key, row);
    }
    await pipe.dispose();
  }
  rmSync(madeAt() as string, { recursive: true });
  return [...rows.values()];
}

/** A call as a directory's own list has it. */
interface Case extends Omit<Reference, 'expected' | 'pixels' | 'times' | 'dims' | 'scheduler'> {
  readonly scheduler: { readonly class: string; readonly overrides?: object };
  readonly truecfg?: number;
}

/** How far one call is from what a directory has for it. */
function compared(one: Case, made: Generation, place: string): { latents: number; pixels: number } {
  const reference = join(place, 'reference', one.id.replace('/', '--'));
  const { latents: dims } = JSON.parse(readFileSync(`${reference}.json`, 'utf8')) as { latents: number[] };
  const expected = new Float32Array(Uint8Array.from(readFileSync(`${reference}.latents`)).buffer);
  const { sample } = made;
  // Flux' come packed: tokens of two by two latents, channels first.
  const data = dims.length === 3 ? packed(sample.data, sample.dims) : sample.data;
  const latents = latentsApart({ ...made, sample: { ...sample, data } }, { ...one, expected } as unknown as Reference);
  const bytes = readFileSync(`${reference}.images`);
  const mask = one.mask === undefined ? undefined : readPng(join(place, `${one.mask}.png`));
  let [pixels, at] = [0, 0];
  for (const { data: image } of made.images) {
    for (const [i, value] of image.entries()) {
      const wanted = bytes[at++];
      if (mask && mask.data[3 * Math.floor(i / 3)] < 128) continue;
      pixels = Math.max(pixels, Math.abs(value - wanted));
    }
  }
  if (at !== bytes.length) throw new Error(`Expected ${bytes.length} bytes of pictures but made ${at}`);
  return { latents, pixels };
}

function packed(data: Float32Array, [batch, channels, height, width]: readonly number[]): Float32Array {
  const tokens = new Float32Array(data.length);
  let k = 0;
  for (let b = 0; b < batch; b++) {
    for (let y = 0; y < height; y += 2) {
      for (let x = 0; x < width; x += 2) {
        for (let c = 0; c < channels; c++) {
          for (const [dy, dx] of [
            [0, 0],
            [0, 1],
            [1, 0],
            [1, 1],
          ]) {
            tokens[k++] = data[((b * channels + c) * height + y + dy) * width + x + dx];
          }
        }
      }
    }
  }
  return tokens;
}

function callOf(one: Case, pipe: DiffusionPipeline, place: string): GenerateOptions {
  const classes = schedulers as unknown as Record<string, typeof schedulers.DDIMScheduler>;
  const given = (key: keyof Case, name: string = key) => (one[key] === undefined ? {} : { [name]: one[key] });
  const file = (name: string) => readPng(join(place, `${name}.png`));
  return {
    ...{ prompt: one.prompt, steps: one.steps, guidance: one.guidance, seed: one.seed, count: one.count ?? 1 },
    ...((one.negative ?? null) === null ? {} : { negativePrompt: one.negative as string }),
    ...(one.image === undefined
      ? { width: one.width ?? 64, height: one.height ?? 64 }
      : { image: file(one.image), ...given('width'), ...given('height') }),
    ...(one.mask === undefined ? {} : { mask: file(one.mask) }),
    ...given('strength'),
    ...given('rescale', 'guidanceRescale'),
    ...given('overlong'),
    ...given('truecfg', 'trueGuidance'),
    scheduler: classes[one.scheduler.class].fromConfig(pipe.schedulerConfig, { ...one.scheduler.overrides }),
  };
}

async function ofDirectory(place: string): Promise<void> {
  const cases = JSON.parse(readFileSync(join(place, 'cases.json'), 'utf8')) as Case[];
  const models = [...new Set(cases.map(({ model }) => model))].filter((model) => existsSync(join(place, model)));
  let within = 0;
  for (const model of models) {
    const pipe = await DiffusionPipeline.fromPretrained(join(place, model));
    for (const one of cases.filter((c) => c.model === model)) {
      try {
        const { latents, pixels } = compared(one, await pipe(callOf(one, pipe, place)), place);
        const good = latents <= 1e-3 && pixels <= 1;
        if (good) within++;
        console.log(
          `${good ? '  ' : '! '}${one.id.padEnd(34)} ${latents.toExponential(1)} ${String(pixels).padStart(4)}`,
        );
      } catch (error) {
        console.log(`! ${one.id.padEnd(34)} ${(error as Error).message}`);
      }
    }
    await pipe.dispose();
  }
  console.log(`${within} of ${cases.length} calls: latents within 1e-3 of their standard deviation, pixels within 1`);
}

const { values } = parseArgs({ options: { cases: { type: 'string' } } });
if (values.cases !== undefined) await ofDirectory(values.cases);
else {
  const rows = await ofRepository();
  console.table(rows);
  const found: ExportResults = { machine: machine(), rows };
  const file = fileURLToPath(new URL('../results/exports.json', import.meta.url));
  writeFileSync(file, `${JSON.stringify(found, null, 2)}\n`);
}
