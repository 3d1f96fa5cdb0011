// One text encoder with its tokenizer: a prompt to hidden states and a pooled vector.

import { convert } from '../addon/native.js';
import { list } from '../base/check.js';
import { findFile } from '../folder/files.js';
import { type ElementType, Graph, type SessionOptions, type Slot, slot } from '../onnx/graph.js';
import type { EncodeOptions, PromptTokenizer } from './prompt-tokenizer.js';
import { openTokenizer } from './tokenizer.js';

/** Which of a text encoder's outputs a pipeline uses. */
export interface Wanted {
  /** The last hidden states, or those before the last layer; none where absent. */
  hidden?: 'last' | 'penultimate';
  /** Names that the pooled vector goes by, the preferred one first; none where absent. */
  pooled?: readonly string[];
  /** Tokens at most, where neither the graph nor the tokenizer says less. */
  tokens?: number;
}

/** What a prompt becomes, in float32. */
export interface Encoding {
  /** `[tokens, width]` */
  hidden?: Slot;
  /** `[width]` */
  pooled?: Slot;
}

export class TextEncoder {
  readonly graph: Graph;
  readonly #tokenizer: PromptTokenizer;
  readonly #hidden: string | undefined;
  readonly #pooled: string | undefined;

  private constructor(graph: Graph, tokenizer: PromptTokenizer, hidden?: string, pooled?: string) {
    this.graph = graph;
    this.#tokenizer = tokenizer;
    this.#hidden = hidden;
    this.#pooled = pooled;
  }

  /**
   * Reads the folders `text_encoder` and `tokenizer`, or those with a number behind their names; the graph is not loaded.
   *
   * @param suffix '', '_2' or '_3'
   * @throws Error that names the file, when one is missing or not what it should be
   */
  static async open(
    folder: string,
    suffix: string,
    names: readonly string[],
    options: SessionOptions,
    wanted: Wanted,
  ): Promise<TextEncoder> {
    const path = findFile(
      folder,
      names.map((name) => `text_encoder${suffix}/${name}`),
    );
    const graph = Graph.describe(path, options);
    try {
      const ids = graph.input('input_ids');
      if (ids.type !== 'int32' && ids.type !== 'int64') {
        throw new Error(`Expected int32 or int64 for the input input_ids of ${path}, which declares ${ids.type}`);
      }
      for (const { name, type } of graph.inputs.values()) {
        if (name !== 'input_ids' && name !== 'attention_mask') {
          throw new Error(`Nothing is known to feed the input ${name} of ${path} with`);
        }
        if (!['int32', 'int64', 'float32'].includes(type)) {
          throw new Error(`Expected whole numbers for the input ${name} of ${path}, which declares ${type}`);
        }
      }
      const length = ids.shape.at(-1);
      const tokenizer = openTokenizer(
        folder,
        `tokenizer${suffix}`,
        typeof length === 'number' ? length : undefined,
        wanted.tokens,
      );
      const hidden =
        wanted.hidden === 'penultimate' ? penultimate(graph) : wanted.hidden && graph.output('last_hidden_state').name;
      const pooled = wanted.pooled && (wanted.pooled.find((name) => graph.outputs.has(name)) ?? wanted.pooled[0]);
      if (pooled !== undefined) graph.output(pooled);
      return new TextEncoder(graph, tokenizer, hidden, pooled);
    } catch (error) {
      await graph.release();
      throw error;
    }
  }

  /** Tokens of every encoded prompt. */
  get tokens(): number {
    return this.#tokenizer.length;
  }

  /** Refuses, before anything is run, what {@link encode} would refuse. */
  check(prompt: string, options: EncodeOptions): void {
    this.#tokenizer.encode(prompt, { ...options, warn: undefined });
  }

  /** Encodes one prompt: alone, so that what it gives does not depend on its company. */
  async encode(prompt: string, options: EncodeOptions): Promise<Encoding> {
    const tokens = this.#tokenizer.encode(prompt, options);
    const feeds: Record<string, Slot> = {};
    for (const { name, type } of this.graph.inputs.values()) {
      const one = slot(type as ElementType, [1, tokens.length]);
      // The pipelines that these encoders come from let them attend to everything, padding included.
      const values = name === 'input_ids' ? tokens : tokens.map(() => 1);
      values.forEach((value, i) => {
        if (type === 'int64') (one.data as BigInt64Array)[i] = BigInt(value);
        else one.data[i] = value;
      });
      feeds[name] = one;
    }
    const names = [this.#hidden, this.#pooled].filter((name) => name !== undefined);
    const results = await this.graph.call(feeds, names);
    return {
      ...(this.#hidden === undefined ? {} : { hidden: wide(results[this.#hidden]) }),
      ...(this.#pooled === undefined ? {} : { pooled: wide(results[this.#pooled]) }),
    };
  }

  release(): Promise<void> {
    return this.graph.release();
  }
}

/** The first of the batch, in float32. */
function wide({ type, data, dims }: Slot): Slot {
  const result = slot('float32', dims.slice(1));
  if (type === 'float32') result.data.set(data as never);
  else convert(data as Float32Array, result.data as Float32Array);
  return result;
}

/** The hidden states that go into the last layer: exports number them from the embeddings' on. */
function penultimate(graph: Graph): string {
  const numbers = [...graph.outputs.keys()]
    .map((name) => /^hidden_states\.(\d+)$/.exec(name)?.[1])
    .filter((number) => number !== undefined)
    .map(Number);
  if (numbers.length < 2) {
    throw new Error(
      `Expected outputs hidden_states.0, hidden_states.1, ... of ${graph.path}, which has ${list([...graph.outputs.keys()], 'and')}`,
    );
  }
  return `hidden_states.${Math.max(...numbers) - 1}`;
}
