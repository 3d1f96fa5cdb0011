// Prompts to token ids, whoever has read the files. The tokenizer package splits and looks up; padding, cutting and unknown words
// are done here.
import { list } from '../base/check.js';

/** Vocabularies up to this size are listed in the message about an unknown word. */
const SMALL_VOCABULARY = 64;

/** How a prompt is encoded. */
export interface EncodeOptions {
  /** What becomes of a prompt with more tokens than the network takes: an error, or its beginning; `'refuse'`. */
  overlong?: 'refuse' | 'cut';
  /** Told, in one sentence, about every prompt that was cut. */
  warn?: (message: string) => void;
}

/** A `Tokenizer` of the package `@huggingface/tokenizers`, as far as it is used here. */
export interface TokenizerLike {
  /** Splits a text and looks up its tokens. */
  encode(text: string): object;
  /** A token's number. */
  token_to_id(token: string): number | undefined;
}

/** What a tokenizer was made of. */
export interface TokenizerFiles {
  /** `tokenizer_config.json` */
  readonly config: Readonly<Record<string, unknown>>;
  /** `tokenizer.json` */
  readonly definition: Readonly<Record<string, unknown>>;
  /** `special_tokens_map.json`, where there is one. */
  readonly special?: Readonly<Record<string, unknown>>;
  /** Where the configuration is, for messages. */
  readonly path?: string;
  /** The token that prompts are filled up with, where no file says. */
  readonly pad?: string;
}

/** The tokenizer of one text encoder. */
export class PromptTokenizer {
  /** Tokens in every encoded prompt, padding and special tokens included. */
  readonly length: number;
  readonly #tokenizer: TokenizerLike;
  readonly #pad: number;
  readonly #unknown: number | undefined;
  /** The words, in order, of a tokenizer that knows whole words only. */
  readonly #words: string[] | undefined;

  private constructor(tokenizer: TokenizerLike, length: number, pad: number, unknown?: number, words?: string[]) {
    this.#tokenizer = tokenizer;
    this.length = length;
    this.#pad = pad;
    this.#unknown = unknown;
    this.#words = words;
  }

  /**
   * A tokenizer whose files have been read.
   *
   * @param tokenizer `new Tokenizer(definition, config)` of the package `@huggingface/tokenizers`
   * @param length tokens that the text encoder's graph takes, where it declares them; `model_max_length` otherwise
   * @param most an upper bound for `model_max_length`
   * @throws Error that names the file when it does not hold what it should
   */
  static of(tokenizer: TokenizerLike, files: TokenizerFiles, length?: number, most = Infinity): PromptTokenizer {
    const { config, definition, special = {}, path = 'tokenizer_config.json' } = files;
    // Absent limits are written as 1e30.
    const limit = length ?? Math.min(Number(config.model_max_length), most);
    if (!(Number.isSafeInteger(limit) && limit > 0 && limit <= 65536)) {
      throw new Error(`Expected model_max_length, a number of tokens, in ${path} but found ${limit}`);
    }
    // Stable Diffusion 1 fills up with the end of text, 2 and the second encoder of XL with '!': the files say.
    const pad =
      tokenId(tokenizer, config.pad_token) ?? tokenId(tokenizer, special.pad_token) ?? tokenId(tokenizer, files.pad);
    if (pad === undefined) throw new Error(`Expected pad_token, a token of the vocabulary, in ${path}`);
    const model = definition.model as { type?: string; vocab?: object; unk_token?: string } | undefined;
    const unknown = tokenId(tokenizer, config.unk_token ?? model?.unk_token);
    if (model?.type !== 'WordLevel') return new PromptTokenizer(tokenizer, limit, pad, unknown);
    const noWords = new Set([pad, unknown]);
    const words = Object.keys(model.vocab ?? {}).filter((word) => !noWords.has(tokenizer.token_to_id(word)));
    return new PromptTokenizer(tokenizer, limit, pad, unknown, words);
  }

  /**
   * The ids of a prompt, padded to {@link length}. The empty prompt is special tokens and padding.
   *
   * @throws RangeError that names the unknown words, or that tells the limit and the number of tokens that came
   */
  encode(prompt: string, { overlong = 'refuse', warn }: EncodeOptions = {}): number[] {
    // The package's declarations leave these types out for Node's module resolution.
    const { ids: all, tokens } = this.#tokenizer.encode(prompt) as { ids: number[]; tokens: string[] };
    let ids = all;
    if (this.#words) {
      // Where the vocabulary is words, a full stop or a comma says nothing.
      const kept = ids.map((id, i) => id !== this.#unknown || /[\p{L}\p{N}[]/u.test(tokens[i]));
      const unknown = tokens.filter((_, i) => kept[i] && ids[i] === this.#unknown);
      if (unknown.length > 0) throw new RangeError(this.#unknownWords(prompt, [...new Set(unknown)]));
      ids = ids.filter((_, i) => kept[i]);
    }
    if (ids.length > this.length) {
      const ends = (this.#tokenizer.encode('') as { ids: number[] }).ids.length;
      const limit = this.length - ends;
      const found = ids.length - ends;
      if (overlong !== 'cut') {
        throw new RangeError(`Expected a prompt of at most ${limit} tokens but '${shorten(prompt)}' has ${found}`);
      }
      warn?.(`The prompt '${shorten(prompt)}' has ${found} tokens and was cut to ${limit}`);
      // What closes a prompt (CLIP's end of text) has to stay at its end.
      const closing = ends > 1 ? 1 : 0;
      ids = [...ids.slice(0, this.length - closing), ...ids.slice(ids.length - closing)];
    }
    return [...ids, ...new Array<number>(this.length - ids.length).fill(this.#pad)];
  }

  #unknownWords(prompt: string, unknown: string[]): string {
    const words = this.#words as string[];
    const known = words.length <= SMALL_VOCABULARY ? `; it knows ${list(words, 'and')}` : '';
    const quoted = list(
      unknown.map((word) => `'${word}'`),
      'and',
    );
    return `The model does not know the word${unknown.length > 1 ? 's' : ''} ${quoted} in '${shorten(prompt)}'${known}`;
  }
}

function shorten(prompt: string): string {
  return prompt.length > 80 ? `${prompt.slice(0, 77)}...` : prompt;
}

/** Tokens stand in configurations as strings, or as objects with their content. @internal */
export function content(token: unknown): string | undefined {
  const text = typeof token === 'object' && token !== null ? (token as { content?: unknown }).content : token;
  return typeof text === 'string' ? text : undefined;
}

function tokenId(tokenizer: TokenizerLike, token: unknown): number | undefined {
  const text = content(token);
  return text === undefined ? undefined : tokenizer.token_to_id(text);
}
