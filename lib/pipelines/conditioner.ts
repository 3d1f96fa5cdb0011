// Prompts to what the network is conditioned on: the outputs of one to three text encoders, put together as the
// network's kind wants them.
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { convert } from '../addon/native.js';
import { findFile } from '../folder/files.js';
import { type Graph, type SessionOptions, type Slot, slot } from '../onnx/graph.js';
import type { Conditioning, Denoiser, DenoiserKind } from './denoiser.js';
import { type OnProgress, Stage } from './stages.js';
import { type Encoding, TextEncoder, type Wanted } from './text-encoder.js';
import type { EncodeOptions } from './prompt-tokenizer.js';

/** Pixels of a picture. */
export interface Size {
  width: number;
  height: number;
}

/** Tokens that diffusers' pipelines give the T5 encoder of Stable Diffusion 3. */
const T5_TOKENS = 256;

/** Of the refiner: how beautiful the picture is to be, and how beautiful what guidance leads away from is. */
const SCORE = { for: 6, against: 2.5 };

/** One text encoder that there has to be: the number behind its folder's name, and what is taken of it. */
type Needed = Wanted & { readonly suffix: string };

const SECOND: Needed = { suffix: '_2', hidden: 'penultimate', pooled: ['text_embeds', 'pooler_output'] };

/** Which outputs of which encoders there have to be, by kind of network. */
const NEEDED: Record<DenoiserKind | 'refiner', readonly Needed[]> = {
  plain: [{ suffix: '', hidden: 'last' }],
  xl: [{ suffix: '', hidden: 'penultimate' }, SECOND],
  refiner: [SECOND],
  sd3: [
    { suffix: '', hidden: 'penultimate', pooled: ['text_embeds', 'pooler_output'] },
    SECOND,
    { suffix: '_3', hidden: 'last', tokens: T5_TOKENS },
  ],
  flux: [
    { suffix: '', pooled: ['pooler_output', 'text_embeds'] },
    { suffix: '_2', hidden: 'last', tokens: 512 },
  ],
};

const SUFFIXES = ['', '_2', '_3'];

/** What prompts have become. */
export interface Encoded {
  /** For a picture's prompt. */
  for(prompt: string): Conditioning;
  /** For what guidance leads away from; undefined is the prompt that nobody gave. */
  against(prompt: string | undefined): Conditioning;
}

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
   * @returns what is behind the names of their folders
   */
  static find(folder: string, index: Record<string, unknown>, names: readonly string[]): readonly string[] {
    const isPresent = (suffix: string) =>
      isNamed(index[`text_encoder${suffix}`]) || existsSync(join(folder, `text_encoder${suffix}`));
    const present = SUFFIXES.filter(isPresent);
    // Where none is, the first one is missed.
    for (const suffix of present.length > 0 ? present : ['']) findGraph(folder, suffix, names);
    return present;
  }

  /**
   * Reads as many text encoders as the network needs; their graphs are not loaded.
   *
   * @param present what {@link find} found
   * @throws Error that names the file, when one is missing or not what it should be
   */
  static async open(
    folder: string,
    index: Record<string, unknown>,
    present: readonly string[],
    denoiser: Denoiser,
    names: readonly string[],
    options: SessionOptions,
  ): Promise<Conditioner> {
    const { kind, facts } = denoiser;
    // The T5 encoder of Stable Diffusion 3 may be left out, and is then zeros.
    const needed = NEEDED[facts.scored ? 'refiner' : kind].filter(
      ({ suffix }) => kind !== 'sd3' || suffix !== '_3' || present.includes(suffix),
    );
    for (const { suffix } of needed) findGraph(folder, suffix, names);
    const encoders: TextEncoder[] = [];
    try {
      for (const part of needed) encoders.push(await TextEncoder.open(folder, part.suffix, names, options, part));
    } catch (error) {
      await Promise.all(encoders.map((encoder) => encoder.release()));
      throw error;
    }
    // As in diffusers, whose XL pipelines do so unless told otherwise.
    const zeroNegative = kind === 'xl' && index.force_zeros_for_empty_prompt !== false;
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
   * @param prompts what pictures are to show
   * @param negatives what guidance leads away from; undefined is the prompt that nobody gave
   * @param size of the pictures, which XL networks are told
   * @param options `signal` is looked at before every prompt
   * @param onProgress told of every prompt
   */
  async encode(
    prompts: readonly string[],
    negatives: readonly (string | undefined)[],
    size: Size,
    options: EncodeOptions & { signal?: AbortSignal },
    onProgress?: OnProgress,
  ): Promise<Encoded> {
    const encodings = new Map<string, Encoding[]>();
    const distinct = new Set([...prompts, ...negatives.map((one) => one ?? '')]);
    const stage = new Stage('encode', distinct.size, onProgress);
    for (const prompt of distinct) {
      const made: Encoding[] = [];
      for (const [i, encoder] of this.#encoders.entries()) {
        options.signal?.throwIfAborted();
        made.push(await encoder.encode(prompt, this.#cutting(i, options)));
      }
      encodings.set(prompt, made);
      stage.advance();
    }
    const conditioning = (prompt: string | undefined, side: 'for' | 'against') => {
      const parts = this.#assemble(encodings.get(prompt ?? '') as Encoding[], size, side);
      if (prompt === undefined && this.#zeroNegative) {
        parts.encoder_hidden_states.data.fill(0 as never);
        parts.text_embeds.data.fill(0 as never);
      }
      return this.#typed(parts);
    };
    const positive = new Map(prompts.map((prompt) => [prompt, conditioning(prompt, 'for')]));
    const negative = new Map(negatives.map((prompt) => [prompt, conditioning(prompt, 'against')]));
    return {
      for: (prompt) => positive.get(prompt) as Conditioning,
      against: (prompt) => negative.get(prompt) as Conditioning,
    };
  }

  /** What the graph declares of it, in its types. */
  #typed(parts: Record<string, Slot>): Conditioning {
    const own = new Map<string, Slot>();
    for (const [name, type] of this.#denoiser.conditioning) {
      const part = parts[name];
      const typed = slot(type, part.dims);
      if (type === 'float32') typed.data.set(part.data as never);
      else convert(part.data as Float32Array, typed.data as Float32Array);
      own.set(name, typed);
    }
    return own;
  }

  #assemble(encodings: readonly Encoding[], { width, height }: Size, side: 'for' | 'against'): Record<string, Slot> {
    const hidden = encodings.map((one) => one.hidden as Slot);
    const pooled = encodings.map((one) => one.pooled as Slot);
    const { kind, facts } = this.#denoiser;
    switch (kind) {
      case 'plain':
        return { encoder_hidden_states: hidden[0] };
      case 'xl': {
        // The original's size, where it was cut, and the size asked for; for the refiner a score.
        const told = [height, width, 0, 0, ...(facts.scored ? [SCORE[side]] : [height, width])];
        const ids = slot('float32', [told.length]);
        ids.data.set(told as never);
        const states = facts.scored ? hidden[0] : beside(hidden[0], hidden[1]);
        return { encoder_hidden_states: states, text_embeds: pooled[pooled.length - 1], time_ids: ids };
      }
      case 'sd3': {
        const clip = beside(hidden[0], hidden[1]);
        const t5 = hidden[2] ?? slot('float32', [T5_TOKENS, facts.contextWidth ?? clip.dims[1]]);
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

function findGraph(folder: string, suffix: string, names: readonly string[]): void {
  findFile(
    folder,
    names.map((name) => `text_encoder${suffix}/${name}`),
  );
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
