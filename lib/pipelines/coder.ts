// The autoencoder of one call: whole or by tiles, with a word after each, and again by smaller tiles where memory was short.
import { availableMemory } from '../base/memory.js';
import { bytes } from '../base/text.js';
import { type Image, toImages } from '../image/image.js';
import type { Graph } from '../onnx/graph.js';
import { isOutOfMemory } from '../onnx/memory.js';
import type { Size } from './conditioner.js';
import type { Previewer } from './preview.js';
import { type OnProgress, Stage } from './stages.js';
import { byTiles, tilesOf } from './tiles.js';
import {
  bytesFor,
  type Choice,
  cutOf,
  describeCut,
  fixedSizes,
  nextCut,
  type Tiles,
  type Tiling,
  type Whole,
} from './tiling.js';
import type { Vae } from './vae.js';

/** Latents, as a call gives them. */
export interface Latents {
  /** Always this. */
  type: 'float32';
  /** Row-major. */
  data: Float32Array;
  /** `[pictures, channels, height, width]`. */
  dims: number[];
}

/** Decoding failed, after all steps were made: nothing of them is lost. */
export class DecodeError extends Error {
  /** Always this. */
  override name = 'DecodeError';
  /** What was to be decoded; {@link DiffusionPipeline.decode} takes it. */
  readonly latents: Latents;

  constructor(latents: Latents, cause: unknown) {
    super((cause as Error).message, { cause });
    this.latents = latents;
  }
}

type Planes = { data: Float32Array; dims: number[] };
type Direction = 'encode' | 'decode';

/** What a call wants of the autoencoder. */
export interface Wishes {
  readonly tiling: Tiling;
  /** Looked at before every piece. */
  readonly signal?: AbortSignal;
  readonly warn?: (message: string) => void;
  readonly onProgress?: OnProgress;
  /** Told of every picture. */
  readonly previewer?: Previewer | null;
}

export class Coder {
  readonly #vae: Vae;
  readonly #wishes: Wishes;
  /** How the last picture was decoded; undefined: whole. */
  tiles: Tiles | undefined;
  readonly #choices = new Map<string, Choice | undefined>();

  constructor(vae: Vae, wishes: Wishes) {
    this.#vae = vae;
    this.#wishes = wishes;
  }

  /**
   * Latents to pictures, one after the other.
   *
   * @throws DecodeError, with the latents; the signal's reason
   */
  async decode({ data, dims }: Pick<Latents, 'data' | 'dims'>): Promise<Image[]> {
    const { signal, onProgress, previewer } = this.#wishes;
    const [count, channels, height, width] = dims;
    const whole = this.#whole('decode', height, width);
    const stage = new Stage('decode', count * this.#pieces('decode', whole), onProgress);
    const images: Image[] = [];
    const n = channels * height * width;
    try {
      for (let i = 0; i < count; i++) {
        const latents = { data: data.slice(i * n, (i + 1) * n), dims: [channels, height, width] };
        const pixels = await this.#run('decode', whole, latents, stage, count - i);
        previewer?.learn(latents.data, latents.dims, pixels.data);
        images.push(...toImages(pixels.data, [1, ...pixels.dims]));
      }
    } catch (error) {
      if (signal?.aborted || error instanceof DecodeError) throw error;
      throw new DecodeError({ type: 'float32', data, dims: [...dims] }, error);
    }
    const choice = this.#choose('decode', whole);
    this.tiles = choice && describeCut(choice, this.#vae.factor);
    return images;
  }

  /** Pieces that encoding a picture takes. */
  piecesOf({ width, height }: Size): number {
    const { factor } = this.#vae;
    return this.#pieces('encode', this.#whole('encode', height / factor, width / factor));
  }

  /**
   * Pixels to latents.
   *
   * @param pixels `[3, height, width]`
   * @param stage told of every piece
   * @param left pictures that the stage still counts, this one included
   */
  async encode(pixels: Float32Array, { width, height }: Size, stage: Stage, left: number): Promise<Float32Array> {
    const { factor } = this.#vae;
    const whole = this.#whole('encode', height / factor, width / factor);
    const { data } = await this.#run('encode', whole, { data: pixels, dims: [3, height, width] }, stage, left);
    return data;
  }

  /** One picture; with `'auto'` again by smaller tiles while memory is short. */
  async #run(which: Direction, whole: Whole, planes: Planes, stage: Stage, left: number): Promise<Planes> {
    const vae = this.#vae;
    const { signal, tiling } = this.#wishes;
    const make = async (tile: Planes): Promise<Planes> => {
      signal?.throwIfAborted();
      const made =
        which === 'decode'
          ? await vae.decode(tile.data, tile.dims)
          : await vae.encode(tile.data, tile.dims[1], tile.dims[2]);
      stage.advance();
      return made;
    };
    const [unit, grown] = which === 'decode' ? [1, vae.factor] : [vae.factor, 1];
    for (;;) {
      const choice = this.#choose(which, whole);
      try {
        return await (choice ? byTiles(planes, unit, grown, choice.cut, make) : make(planes));
      } catch (error) {
        if (tiling.way !== 'auto' || !isOutOfMemory(error)) throw error;
        const next = nextCut(whole, tiling, choice?.cut);
        if (!next) throw error;
        this.#choices.set(keyOf(which, whole), next);
        stage.expect(left * tilesOf(next.cut));
        this.#warn(which, next, 'memory was short');
      }
    }
  }

  #pieces(which: Direction, whole: Whole): number {
    const choice = this.#choose(which, whole);
    return choice ? tilesOf(choice.cut) : 1;
  }

  #graph(which: Direction): Graph {
    return which === 'decode' ? this.#vae.decoder : this.#vae.encoder;
  }

  #whole(which: Direction, height: number, width: number): Whole {
    const fixed =
      which === 'decode'
        ? fixedSizes(this.#graph(which), 'latent_sample', 1)
        : fixedSizes(this.#graph(which), 'sample', this.#vae.factor);
    return { height, width, fixed };
  }

  /** All pictures of a call are cut alike. */
  #choose(which: Direction, whole: Whole): Choice | undefined {
    const key = keyOf(which, whole);
    if (this.#choices.has(key)) return this.#choices.get(key);
    const vae = this.#vae;
    const graph = this.#graph(which);
    // Weights that are still to be loaded take room too.
    const room = () => availableMemory().bytes - (graph.loaded ? 0 : graph.bytes);
    const choice = cutOf(vae, whole, this.#wishes.tiling, room);
    if (choice?.why === 'memory') {
      const needs = bytes(bytesFor(vae.trained, whole.height, whole.width, vae.factor));
      this.#warn(which, choice, `the whole would take ${needs} of memory, and ${bytes(Math.max(0, room()))} are left`);
    } else if (choice?.why === 'graph') {
      this.#warn(which, choice, `${graph.path} was exported for that size only`);
    }
    this.#choices.set(key, choice);
    return choice;
  }

  #warn(which: Direction, choice: Choice, why: string): void {
    const { rows, columns, width, height } = describeCut(choice, this.#vae.factor);
    this.#wishes.warn?.(`Pictures are ${which}d by ${rows * columns} tiles of ${width} x ${height}: ${why}`);
  }
}

function keyOf(which: Direction, { height, width }: Whole): string {
  return `${which} ${height} ${width}`;
}
