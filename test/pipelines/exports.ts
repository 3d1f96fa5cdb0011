// Folders as real exporters write them, and what diffusers makes of the same noise: test/fixtures/exports.py made both.
import { cpSync, mkdirSync, mkdtempSync, readdirSync, readFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { readPng } from '../../lib/image/file.js';
import type { DiffusionPipeline, GenerateOptions, Generation, Image } from '../../lib/pipelines/index.js';
import type { Scheduler, SchedulerConfig } from '../../lib/schedulers/index.js';
import * as schedulers from '../../lib/schedulers/index.js';

const root = fileURLToPath(new URL('../fixtures/exports', import.meta.url));
const read = <T>(name: string): T => JSON.parse(readFileSync(join(root, name), 'utf8'));

/** A call of diffusers. */
export interface Reference {
  readonly id: string;
  readonly model: string;
  readonly kind: 'txt2img' | 'img2img' | 'inpaint';
  /** The folder's own where absent. */
  readonly scheduler?: { readonly class: string; readonly overrides: SchedulerConfig };
  readonly prompt: string | string[];
  readonly negative: string | string[] | null;
  readonly steps: number;
  readonly guidance: number;
  readonly seed: number;
  readonly count?: number;
  readonly width: number;
  readonly height: number;
  readonly strength?: number;
  readonly image?: string;
  readonly mask?: string;
  readonly rescale?: number;
  readonly true?: number;
  readonly start?: number;
  readonly end?: number;
  readonly latents?: string;
  readonly overlong?: 'cut';
  /** What it gave is another call's, as the networks are the same. */
  readonly as?: string;
  /** What the network was told at each evaluation. */
  readonly times: readonly number[];
  readonly dims: readonly number[];
  readonly expected: Float32Array;
  /** Of some. */
  readonly pixels?: readonly Image[];
}

type Stored = Omit<Reference, 'expected' | 'pixels'> & {
  readonly expected?: string;
  readonly pixels?: readonly string[];
};

/** The pictures are read when they are asked for. */
function loaded(one: Stored, all: ReadonlyMap<string, Stored>): Reference {
  const source = one.as === undefined ? one : (all.get(one.as) as Stored);
  const bytes = Buffer.from(source.expected as string, 'base64');
  const { expected: _, pixels, ...rest } = source;
  const made = { ...rest, ...one, expected: new Float32Array(Uint8Array.from(bytes).buffer) };
  return {
    ...made,
    times: source.times,
    dims: source.dims,
    pixels: pixels?.map((png) => readPng(Buffer.from(png, 'base64'))),
  };
}

export function references(): readonly Reference[] {
  const { cases } = read<{ cases: Stored[] }>('references.json');
  const all = new Map(cases.map((one) => [one.id, one]));
  return cases.map((one) => loaded(one, all));
}

export const picture = (name: string): Image => readPng(join(root, `${name}.png`));

/** What the folders are called. */
export const exported: readonly string[] = readdirSync(root, { withFileTypes: true })
  .filter((entry) => entry.isDirectory())
  .map(({ name }) => name);

let place: string | undefined;
const made = new Map<string, string>();

/** A folder with all of its files; those that it has in common with others are stored once. */
export function folder(name: string): string {
  const known = made.get(name);
  if (known !== undefined) return known;
  place ??= mkdtempSync(join(tmpdir(), 'dpm-solver-exports-'));
  const target = join(place, name);
  cpSync(join(root, name), target, { recursive: true });
  for (const [file, source] of Object.entries(read<Record<string, string>>('links.json'))) {
    if (!file.startsWith(`${name}/`)) continue;
    mkdirSync(dirname(join(place, file)), { recursive: true });
    cpSync(join(root, source), join(place, file));
  }
  made.set(name, target);
  return target;
}

/** Where the folders are, for whoever removes them. */
export const madeAt = (): string | undefined => place;

/** The options of a call: with its scheduler as an object, or, where it is the folder's own, without one. */
export function optionsOf(one: Reference, pipe: DiffusionPipeline, own: boolean): GenerateOptions {
  return {
    prompt: one.prompt,
    ...(one.negative === null ? {} : { negativePrompt: one.negative }),
    ...{ steps: one.steps, guidance: one.guidance, seed: one.seed, count: one.count ?? 1 },
    ...(one.image === undefined && one.latents === undefined ? { width: one.width, height: one.height } : {}),
    ...(one.image === undefined ? {} : { image: picture(one.image) }),
    ...(one.mask === undefined ? {} : { mask: picture(one.mask) }),
    ...(one.strength === undefined ? {} : { strength: one.strength }),
    ...(one.rescale === undefined ? {} : { guidanceRescale: one.rescale }),
    ...(one.true === undefined ? {} : { trueGuidance: one.true }),
    ...(one.start === undefined ? {} : { denoisingStart: one.start }),
    ...(one.end === undefined ? {} : { denoisingEnd: one.end }),
    ...(one.overlong === undefined ? {} : { overlong: one.overlong }),
    ...(own ? {} : { scheduler: schedulerOf(one, pipe) }),
  };
}

function schedulerOf({ scheduler }: Reference, pipe: DiffusionPipeline): Scheduler {
  if (!scheduler) return schedulers.schedulerFromConfig(pipe.schedulerConfig);
  const classes = schedulers as unknown as Record<string, typeof schedulers.DDIMScheduler>;
  return classes[scheduler.class].fromConfig(pipe.schedulerConfig, scheduler.overrides);
}

/** The largest difference of latents, in their standard deviations. */
export function latentsApart({ sample }: Generation, { expected }: Reference): number {
  let mean = 0;
  for (const value of expected) mean += value / expected.length;
  let variance = 0;
  for (const value of expected) variance += (value - mean) ** 2 / expected.length;
  let most = sample.data.length === expected.length ? 0 : Infinity;
  for (const [i, value] of expected.entries()) most = Math.max(most, Math.abs(sample.data[i] - value));
  return most / Math.sqrt(variance);
}

/** The largest difference of pictures, in grey levels; where a mask keeps pixels, of those that are made anew. */
export function pixelsApart({ images }: Generation, { pixels, mask }: Reference): number | undefined {
  if (!pixels) return undefined;
  const kept = mask === undefined ? undefined : picture(mask);
  let most = images.length === pixels.length ? 0 : Infinity;
  pixels.forEach((want, k) => {
    want.data.forEach((value, i) => {
      if (kept && kept.data[3 * Math.floor(i / 3)] < 128) return;
      most = Math.max(most, Math.abs(images[k].data[i] - value));
    });
  });
  return most;
}
