// What the network takes a result to be, as pictures, while the run goes on: by a small decoder where there is one, else by a
// linear map of the channels to colours. Neither makes a step wait for the large decoder.
import { createHash } from 'node:crypto';
import { open, stat } from 'node:fs/promises';
import { Cache } from '../base/cache.js';
import { type Image, toImages } from '../image/image.js';
import type { Graph } from '../onnx/graph.js';
import { type ColorMap, fitMap, knownMap, likeness, paint, trialDims, trialLatents } from './colors.js';
import type { SmallDecoder } from './small-decoder.js';
import { fixedSizes } from './tiling.js';
import type { Vae } from './vae.js';

type States = { readonly data: Float32Array; readonly dims: readonly number[] };

/** How alike a published map and a decoder have to be: two that were fitted to Stable Diffusion 1 by others are to 0.93. */
const ALIKE = 0.75;

const kept = new Cache<ColorMap>('previews');

export class Previewer {
  readonly #vae: Vae;
  readonly #small: SmallDecoder | undefined;
  /** Undefined, or of undefined, as long as nothing is known. */
  #map: Promise<ColorMap | undefined> | undefined;
  /** By a picture that was decoded, where nothing is published of this autoencoder. */
  #learned: ColorMap | undefined;

  constructor(vae: Vae, small: SmallDecoder | undefined) {
    this.#vae = vae;
    this.#small = small;
  }

  /**
   * Latents, `[pictures, channels, height, width]`, as pictures; none where the colours of this autoencoder are not known yet.
   */
  async images(states: States): Promise<Image[]> {
    const small = this.#small;
    if (small) return each(states, (latents, dims) => small.decode(latents, dims));
    const [, channels] = states.dims;
    this.#map ??= this.#find(channels);
    const map = (await this.#map) ?? this.#learned;
    if (!map) return [];
    return each(states, async (data, dims) => ({ data: paint(map, data, dims), dims: [3, dims[1], dims[2]] }));
  }

  /** Finds the colours before anybody asks for a picture, who would wait for it. */
  async prepare(channels: number): Promise<void> {
    if (this.#small) return;
    this.#map ??= this.#find(channels);
    await this.#map;
  }

  /** As {@link images}, by the autoencoder's own decoder. */
  decoded(states: States): Promise<Image[]> {
    return each(states, (latents, dims) => this.#vae.decode(latents, dims));
  }

  /**
   * Takes note of what a picture's latents became, where nothing is known of the autoencoder's colours.
   *
   * @param dims of the latents, `[channels, height, width]`
   * @param pixels in [-1, 1], `[3, height, width]`
   */
  learn(latents: Float32Array, dims: readonly number[], pixels: Float32Array): void {
    if (!this.#map || this.#learned || knownMap(this.#vae, dims[0])) return;
    this.#learned = fitMap(latents, dims, pixels);
    this.#keep(this.#learned);
  }

  /** For other processes, where they know nothing better. */
  async #keep(map: ColorMap): Promise<void> {
    const before = await this.#map;
    if (before) return;
    try {
      kept.keep(await keyOf(this.#vae), map);
    } catch {
      // Then it is learned again.
    }
  }

  async #find(channels: number): Promise<ColorMap | undefined> {
    const vae = this.#vae;
    const known = knownMap(vae, channels);
    try {
      const key = await keyOf(vae);
      const before = kept.read(key)?.value;
      if (isMap(before, channels)) return before;
      const tried = triesQuickly(vae.decoder) ? await this.#try(channels) : undefined;
      if (tried) {
        const map = known && likeness(known, tried) >= ALIKE ? known : tried;
        kept.keep(key, map);
        return map;
      }
    } catch {
      // A preview is not worth a run: of memory that cannot be had the run itself will tell.
    }
    return known;
  }

  /** The map by one small picture. */
  async #try(channels: number): Promise<ColorMap> {
    const latents = trialLatents(channels);
    const dims = trialDims(channels);
    const { data } = await this.#vae.decode(latents, dims);
    return fitMap(latents, dims, data);
  }
}

/** Does a decoder take a small picture, and now? */
function triesQuickly(decoder: Graph): boolean {
  const { height, width } = fixedSizes(decoder, 'latent_sample', 1);
  // One that session.run runs would wait behind the network.
  return height === undefined && width === undefined && decoder.loaded && decoder.reason === undefined;
}

async function each(
  { data, dims: [batch, ...shape] }: States,
  pixelsOf: (latents: Float32Array, dims: readonly number[]) => Promise<{ data: Float32Array; dims: number[] }>,
): Promise<Image[]> {
  const n = data.length / batch;
  const images: Image[] = [];
  for (let b = 0; b < batch; b++) {
    const pixels = await pixelsOf(data.slice(b * n, (b + 1) * n), shape);
    images.push(...toImages(pixels.data, [1, ...pixels.dims]));
  }
  return images;
}

function isMap(value: unknown, channels: number): value is ColorMap {
  const isRow = (row: unknown) => Array.isArray(row) && row.length === 3 && row.every(Number.isFinite);
  return Array.isArray(value) && value.length === channels + 1 && value.every(isRow);
}

/** Of a file the beginning and the end are looked at, this much of each. */
const LOOK = 1 << 20;

/** What a map is of: the decoder's graph and weights, and how latents are scaled. */
async function keyOf({ decoder, identity }: Vae): Promise<string> {
  const hash = createHash('sha256').update(JSON.stringify(identity));
  for (const path of [decoder.path, ...decoder.file.files.map((file) => file.path)]) {
    const { size } = await stat(path);
    hash.update(String(size));
    const file = await open(path);
    try {
      for (const position of [0, Math.max(0, size - LOOK)]) {
        const { buffer, bytesRead } = await file.read({ buffer: Buffer.alloc(LOOK), position });
        hash.update(buffer.subarray(0, bytesRead));
      }
    } finally {
      await file.close();
    }
  }
  return hash.digest('hex').slice(0, 32);
}
