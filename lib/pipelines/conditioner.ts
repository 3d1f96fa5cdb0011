// Prompts to what the network is conditioned on: the outputs of one to three text encoders, put together as the
// network's kind wants them.
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { convert } from '../addon/native.js';
import { findFile } from '../folder/files.js';
import { type Graph, type SessionOptions, type Slot, slot } from '../onnx/graph.js';
import type { Conditioning, Denoiser } from './denoiser.js';
import { type OnProgress, Stage } from './stages.js';
import { type Encoding, TextEncoder, type Wanted } from './text-encoder.js';
import type { EncodeOptions } from './tokenizer.js';

/** Pixels of a picture. */
export interface Size {
  width: number;
  height: number;
}

/** Tokens that diffusers' pipelines give the T5 encoder of Stable Diffusion 3. */
const T5_TOKENS = 256;

type Kind = Denoiser['kind'];

/** Which outputs of which encoders there have to be, by kind of network. */
const wanted: Record<Kind, readonly Wanted[]> = {
  plain: [{ hidden: 'last' }],
  xl: [{ hidden: 'penultimate' }, { hidden: 'penultimate', pooled: ['text_embeds', 'pooler_output'] }],
  sd3: [
    { hidden: 'penultimate', pooled: ['text_embeds', 'pooler_output'] },
    { hidden: 'penultimate', pooled: ['text_embeds', 'pooler_output'] },
    { hidden: 'last', tokens: T5_TOKENS },
  ],
  flux: [{ pooled: ['pooler_output', 'text_embeds'] }, { hidden: 'last', tokens: 512 }],
};

const suffixes = ['', '_2', '_3'];

export class Conditioner {
  readonly #denoiser: Denoiser;
  readonly #encoders: readonly TextEncoder[];
  readonly #zeroNegative: boolean;

  private constructor(denoiser: Denoiser, encoders: readonly TextEncoder[], zeroNegative: boolean) {
    this.#denoiser = denoiser;
    this.#encoders = encoders;
    this.#zeroNegative = zeroNegative;
  }

  /**
   * Finds the graphs of the text encoders, so that a missing file is told before any network is loaded.
   *
   * @param index the contents of model_index.json
   * @returns how many encoders there are
   */
  static find(folder: string, index: Record<string, unknown>, names: readonly string[]): number {
    const present = (suffix: string) =>
      suffix === '' || isNamed(index[`text_encoder${suffix}`]) || existsSync(join(folder, `text_encoder${suffix}`));
    const count = suffixes.findLastIndex(present) + 1;
    for (const suffix of suffixes.slice(0, count)) {
      findFile(
        folder,
        names.map((name) => `text_encoder${suffix}/${name}`),
      );
    }
    return count;
  }

  /**
   * Reads as many text encoders as the network needs; their graphs are not loaded.
   *
   * @param count what {@link find} found
   * @throws Error that names the file, when one is missing or not what it should be
   */
  static async open(
    folder: string,
    index: Record<string, unknown>,
    count: number,
    denoiser: Denoiser,
    names: readonly string[],
    options: SessionOptions,
  ): Promise<Conditioner> {
    const parts = wanted[denoiser.kind];
    // The T5 encoder of Stable Diffusion 3 may be left out, and is then zeros.
    const least = denoiser.kind === 'sd3' ? 2 : parts.length;
    for (const suffix of suffixes.slice(count, least)) {
      findFile(
        folder,
        names.map((name) => `text_encoder${suffix}/${name}`),
      );
    }
    const encoders: TextEncoder[] = [];
    try {
      for (const [i, part] of parts.slice(0, Math.max(count, least)).entries()) {
        encoders.push(await TextEncoder.open(folder, suffixes[i], names, options, part));
      }
    } catch (error) {
      await Promise.all(encoders.map((encoder) => encoder.release()));
      throw error;
    }
    // As in diffusers, whose XL pipelines do so unless told otherwise.
    const zeroNegative = denoiser.kind === 'xl' && index.force_zeros_for_empty_prompt !== false;
    return new Conditioner(denoiser, encoders, zeroNegative);
  }

  get graphs(): readonly Graph[] {
    return this.#encoders.map(({ graph }) => graph);
  }

  /** Refuses, before anything is run, what {@link encode} would refuse. */
  check(prompt: string, options: EncodeOptions): void {
    // One that gets shorter prompts would refuse what the long one takes: Flux's CLIP, and those of Stable Diffusion 3
    // beside T5, only sum up, and diffusers cuts for them.
    this.#encoders.forEach((encoder, i) => {
      encoder.check(prompt, this.#cutting(i, options));
    });
  }

  #cutting(i: number, options: EncodeOptions): EncodeOptions {
    const longest = Math.max(...this.#encoders.map(({ tokens }) => tokens));
    return this.#encoders[i].tokens < longest ? { overlong: 'cut' } : options;
  }

  /**
   * Encodes prompts, each distinct one once.
   *
   * @param prompts undefined is the negative prompt that nobody gave
   * @param size of the pictures, which XL networks are told
   * @param onProgress told of every prompt
   */
  async encode(
    prompts: readonly (string | undefined)[],
    size: Size,
    options: EncodeOptions,
    onProgress?: OnProgress,
  ): Promise<Map<string | undefined, Conditioning>> {
    const found = new Map<string | undefined, Conditioning>();
    const stage = new Stage('encode', new Set(prompts).size, onProgress);
    for (const prompt of prompts) {
      if (found.has(prompt)) continue;
      const encodings: Encoding[] = [];
      for (const [i, encoder] of this.#encoders.entries()) {
        encodings.push(await encoder.encode(prompt ?? '', this.#cutting(i, options)));
      }
      const parts = this.#assemble(encodings, size);
      if (prompt === undefined && this.#zeroNegative) {
        parts.encoder_hidden_states.data.fill(0 as never);
        parts.text_embeds.data.fill(0 as never);
      }
      const own = new Map<string, Slot>();
      for (const [name, type] of this.#denoiser.conditioning) {
        const part = parts[name];
        const typed = slot(type, part.dims);
        if (type === 'float32') typed.data.set(part.data as never);
        else convert(part.data as Float32Array, typed.data as Float32Array);
        own.set(name, typed);
      }
      found.set(prompt, own);
      stage.advance();
    }
    return found;
  }

  #assemble(encodings: readonly Encoding[], { width, height }: Size): Record<string, Slot> {
    const hidden = encodings.map((one) => one.hidden as Slot);
    const pooled = encodings.map((one) => one.pooled as Slot);
    switch (this.#denoiser.kind) {
      case 'plain':
        return { encoder_hidden_states: hidden[0] };
      case 'xl': {
        const ids = slot('float32', [6]);
        // The original's size, where it was cut, and the size asked for.
        ids.data.set([height, width, 0, 0, height, width] as never);
        return { encoder_hidden_states: beside(hidden[0], hidden[1]), text_embeds: pooled[1], time_ids: ids };
      }
      case 'sd3': {
        const clip = beside(hidden[0], hidden[1]);
        const declared = this.#denoiser.contextWidth;
        const t5 = hidden[2] ?? slot('float32', [T5_TOKENS, declared ?? clip.dims[1]]);
        return {
          encoder_hidden_states: below(widened(clip, t5.dims[1]), t5),
          pooled_projections: joined(pooled[0], pooled[1]),
        };
      }
      case 'flux':
        return { encoder_hidden_states: hidden[1], pooled_projections: pooled[0] };
    }
  }

  async release(): Promise<void> {
    await Promise.all(this.#encoders.map((encoder) => encoder.release()));
  }
}

/** Does model_index.json name a class for a part? diffusers writes [null, null] for one that was left out. */
function isNamed(entry: unknown): boolean {
  return Array.isArray(entry) ? entry[0] !== null : entry !== undefined && entry !== null;
}

/** Two lists of vectors side by side: the widths add up. */
function beside(a: Slot, b: Slot): Slot {
  const [rows, wa] = a.dims;
  const wb = b.dims[1];
  if (b.dims[0] !== rows) {
    throw new Error(`Expected text encoders for prompts of one length but they take ${rows} and ${b.dims[0]} tokens`);
  }
  const result = slot('float32', [rows, wa + wb]);
  for (let i = 0; i < rows; i++) {
    result.data.set(a.data.subarray(i * wa, (i + 1) * wa) as never, i * (wa + wb));
    result.data.set(b.data.subarray(i * wb, (i + 1) * wb) as never, i * (wa + wb) + wa);
  }
  return result;
}

/** Vectors with zeros behind them. */
function widened(a: Slot, width: number): Slot {
  const [rows, own] = a.dims;
  if (own > width) throw new Error(`Expected text encoders of ${width} numbers a token at most but they give ${own}`);
  return own === width ? a : beside(a, slot('float32', [rows, width - own]));
}

/** One list of vectors after the other. */
function below(a: Slot, b: Slot): Slot {
  const result = slot('float32', [a.dims[0] + b.dims[0], a.dims[1]]);
  result.data.set(a.data as never);
  result.data.set(b.data as never, a.data.length);
  return result;
}

function joined(a: Slot, b: Slot): Slot {
  const result = slot('float32', [a.data.length + b.data.length]);
  result.data.set(a.data as never);
  result.data.set(b.data as never, a.data.length);
  return result;
}
