// Prompts to token ids. The tokenizer package splits and looks up; padding, cutting and unknown words are done here.
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Tokenizer } from '@huggingface/tokenizers';
import { list } from '../base/check.js';
import { firstLine } from '../base/text.js';
import { findFile, MOST_VOCABULARY, readJson } from '../folder/files.js';

/** CLIP's special tokens, where the configuration names no others. */
const START = '<|startoftext|>';
const END = '<|endoftext|>';

/** Vocabularies up to this size are listed in the message about an unknown word. */
const SMALL_VOCABULARY = 64;

export interface EncodeOptions {
  /** What becomes of a prompt with more tokens than the network takes: an error, or its beginning; `'refuse'`. */
  overlong?: 'refuse' | 'cut';
  /** Told, in one sentence, about every prompt that was cut. */
  warn?: (message: string) => void;
}

/** The tokenizer of one text encoder. */
export class PromptTokenizer {
  /** Tokens in every encoded prompt, padding and special tokens included. */
  readonly length: number;
  readonly #tokenizer: Tokenizer;
  readonly #pad: number;
  readonly #unknown: number | undefined;
  /** The words, in order, of a tokenizer that knows whole words only. */
  readonly #words: string[] | undefined;

  private constructor(tokenizer: Tokenizer, length: number, pad: number, unknown?: number, words?: string[]) {
    this.#tokenizer = tokenizer;
    this.length = length;
    this.#pad = pad;
    this.#unknown = unknown;
    this.#words = words;
  }

  /**
   * Reads `tokenizer_config.json` and `tokenizer.json`, or `vocab.json` and `merges.txt` of CLIP where that is missing.
   *
   * @param folder the model directory
   * @param name the tokenizer's folder in it
   * @param length tokens that the text encoder's graph takes, where it declares them; `model_max_length` otherwise
   * @param most an upper bound for `model_max_length`
   * @throws Error that names the file when one is missing or does not hold what it should
   */
  static open(folder: string, name = 'tokenizer', length?: number, most = Infinity): PromptTokenizer {
    const config = readJson(folder, [`${name}/tokenizer_config.json`]);
    const definition = readDefinition(folder, name, config.json);
    let tokenizer: Tokenizer;
    try {
      tokenizer = new Tokenizer(definition.json, config.json);
    } catch (cause) {
      throw new Error(`${definition.path} is no tokenizer: ${firstLine((cause as Error).message)}`, { cause });
    }
    // Absent limits are written as 1e30.
    const limit = length ?? Math.min(Number(config.json.model_max_length), most);
    if (!(Number.isSafeInteger(limit) && limit > 0 && limit <= 65536)) {
      throw new Error(`Expected model_max_length, a number of tokens, in ${config.path} but found ${limit}`);
    }
    // Stable Diffusion 1 fills up with the end of text, 2 and the second encoder of XL with '!': the files say.
    const pad =
      tokenId(tokenizer, config.json.pad_token) ??
      tokenId(tokenizer, specialTokens(folder, name).pad_token) ??
      (definition.built ? tokenId(tokenizer, END) : undefined);
    if (pad === undefined) {
      throw new Error(
        `Expected pad_token, a token of the vocabulary, in ${findFile(folder, [`${name}/tokenizer_config.json`])}`,
      );
    }
    const model = definition.json.model as { type?: string; vocab?: object; unk_token?: string } | undefined;
    const unknown = tokenId(tokenizer, config.json.unk_token ?? model?.unk_token);
    if (model?.type !== 'WordLevel') return new PromptTokenizer(tokenizer, limit, pad, unknown);
    const special = new Set([pad, unknown]);
    const words = Object.keys(model.vocab ?? {}).filter((word) => !special.has(tokenizer.token_to_id(word)));
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
      const ends = this.#tokenizer.encode('').ids.length;
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

interface Definition {
  path: string;
  json: Record<string, unknown>;
  /** Made here of vocab.json and merges.txt. */
  built: boolean;
}

function readDefinition(folder: string, name: string, config: Record<string, unknown>): Definition {
  const hasOwn = existsSync(join(folder, name, 'tokenizer.json'));
  // Where neither is there, the message is about both.
  if (hasOwn || !existsSync(join(folder, name, 'vocab.json'))) {
    const place = join(folder, name);
    if (!hasOwn && existsSync(join(place, 'spiece.model'))) {
      throw new Error(
        `Expected tokenizer.json in ${place} but found spiece.model alone, which transformers makes one of: python -c "from transformers import AutoTokenizer as T; T.from_pretrained('${place}').save_pretrained('${place}')"`,
      );
    }
    return { ...readJson(folder, [`${name}/tokenizer.json`, `${name}/vocab.json`], MOST_VOCABULARY), built: false };
  }
  const vocabulary = readJson(folder, [`${name}/vocab.json`], MOST_VOCABULARY);
  const lines = readFileSync(findFile(folder, [`${name}/merges.txt`]), 'utf8').split('\n');
  const merges = lines.map((line) => line.trim()).filter((line) => line !== '' && !line.startsWith('#version'));
  const special = specialTokens(folder, name);
  const [start, end] = [
    content(config.bos_token) ?? content(special.bos_token) ?? START,
    content(config.eos_token) ?? content(special.eos_token) ?? END,
  ];
  const vocab = vocabulary.json as Record<string, number>;
  for (const token of [start, end]) {
    if (typeof vocab[token] !== 'number') throw new Error(`Expected the token ${token} in ${vocabulary.path}`);
  }
  return { path: vocabulary.path, json: clipDefinition(vocab, merges, start, end), built: true };
}

/** What CLIP's tokenizer does with text (Radford et al. 2021), in the form that the tokenizer package reads. */
function clipDefinition(
  vocab: Record<string, number>,
  merges: readonly string[],
  start: string,
  end: string,
): Record<string, unknown> {
  const ends = [start, end].map((token) => ({ id: token, ids: [vocab[token]], tokens: [token] }));
  const special = (id: string) => ({ SpecialToken: { id, type_id: 0 } });
  return {
    version: '1.0',
    added_tokens: ends.map(({ id, ids }) => {
      const plain = { single_word: false, lstrip: false, rstrip: false, normalized: false };
      return { id: ids[0], content: id, ...plain, special: true };
    }),
    normalizer: {
      type: 'Sequence',
      normalizers: [
        { type: 'NFC' },
        { type: 'Replace', pattern: { Regex: '\\s+' }, content: ' ' },
        { type: 'Lowercase' },
      ],
    },
    pre_tokenizer: {
      type: 'Sequence',
      pretokenizers: [
        {
          type: 'Split',
          // English contractions, words, single digits, and runs of anything else.
          pattern: { Regex: "'s|'t|'re|'ve|'m|'ll|'d|[\\p{L}]+|[\\p{N}]|[^\\s\\p{L}\\p{N}]+" },
          behavior: 'Removed',
          invert: true,
        },
        { type: 'ByteLevel', add_prefix_space: false, trim_offsets: true, use_regex: false },
      ],
    },
    post_processor: {
      type: 'TemplateProcessing',
      single: [special(start), { Sequence: { id: 'A', type_id: 0 } }, special(end)],
      pair: [],
      special_tokens: Object.fromEntries(ends.map((token) => [token.id, token])),
    },
    decoder: null,
    model: {
      type: 'BPE',
      unk_token: end,
      continuing_subword_prefix: '',
      end_of_word_suffix: '</w>',
      fuse_unk: false,
      vocab,
      merges,
    },
  };
}

/** The tokens that `special_tokens_map.json` names; nothing where there is no such file. */
function specialTokens(folder: string, name: string): Record<string, unknown> {
  const file = `${name}/special_tokens_map.json`;
  return existsSync(join(folder, file)) ? readJson(folder, [file]).json : {};
}

/** Tokens stand in configurations as strings, or as objects with their content. */
function content(token: unknown): string | undefined {
  const text = typeof token === 'object' && token !== null ? (token as { content?: unknown }).content : token;
  return typeof text === 'string' ? text : undefined;
}

function tokenId(tokenizer: Tokenizer, token: unknown): number | undefined {
  const text = content(token);
  return text === undefined ? undefined : tokenizer.token_to_id(text);
}
