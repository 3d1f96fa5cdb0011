// Prompts to what the network is conditioned on.
import { convert } from '../native.js';
import { findFile, readJson } from '../onnx/files.js';
import { type ElementType, Graph, type SessionOptions, type Slot, slot } from '../onnx/graph.js';
import type { Conditioning } from './denoiser.js';
import { type EncodeOptions, PromptTokenizer } from './tokenizer.js';

export class TextEncoder {
  readonly #graph: Graph;
  readonly #tokenizer: PromptTokenizer;
  readonly #width: number;

  private constructor(graph: Graph, tokenizer: PromptTokenizer, width: number) {
    this.#graph = graph;
    this.#tokenizer = tokenizer;
    this.#width = width;
  }

  /**
   * Loads `text_encoder/` and `tokenizer/`.
   *
   * @throws Error that names the file, when one is missing or not what it should be
   */
  static async open(folder: string, names: readonly string[], options: SessionOptions): Promise<TextEncoder> {
    const graph = await Graph.open(
      findFile(
        folder,
        names.map((name) => `text_encoder/${name}`),
      ),
      options,
    );
    try {
      const ids = graph.input('input_ids');
      if (ids.type !== 'int32' && ids.type !== 'int64') {
        throw new Error(`Expected int32 or int64 for the input input_ids of ${graph.path}, which declares ${ids.type}`);
      }
      const length = ids.shape.at(-1);
      const tokenizer = PromptTokenizer.open(folder, 'tokenizer', typeof length === 'number' ? length : undefined);
      let width = graph.output('last_hidden_state').shape.at(-1);
      if (typeof width !== 'number') {
        const config = readJson(folder, ['text_encoder/config.json']);
        width = config.json.hidden_size as number;
        if (!Number.isSafeInteger(width)) throw new Error(`Expected hidden_size, a number, in ${config.path}`);
      }
      return new TextEncoder(graph, tokenizer, width);
    } catch (error) {
      await graph.release();
      throw error;
    }
  }

  /** Refuses, before anything is run, what {@link encode} would refuse. */
  check(prompt: string, options: EncodeOptions): void {
    this.#tokenizer.encode(prompt, { ...options, warn: undefined });
  }

  /**
   * Encodes prompts one by one, each distinct one once: what a prompt gives does not depend on its company.
   *
   * @param type what the network takes
   */
  async encode(
    prompts: readonly string[],
    type: ElementType,
    options: EncodeOptions,
  ): Promise<Map<string, Conditioning>> {
    const length = this.#tokenizer.length;
    const ids = slot(this.#graph.input('input_ids').type as ElementType, [1, length]);
    const hidden = slot(this.#graph.output('last_hidden_state').type as ElementType, [1, length, this.#width]);
    const binding = this.#graph.bind({ input_ids: ids }, { last_hidden_state: hidden });
    const found = new Map<string, Conditioning>();
    for (const prompt of prompts) {
      if (found.has(prompt)) continue;
      this.#tokenizer.encode(prompt, options).forEach((id, i) => {
        if (ids.type === 'int64') (ids.data as BigInt64Array)[i] = BigInt(id);
        else ids.data[i] = id;
      });
      await binding.run();
      const states = slot(type, [length, this.#width]);
      if (type === hidden.type) states.data.set(hidden.data as never);
      else convert(hidden.data as Float32Array, states.data as Float32Array);
      found.set(prompt, new Map<string, Slot>([['encoder_hidden_states', states]]));
    }
    return found;
  }

  release(): Promise<void> {
    return this.#graph.release();
  }
}
