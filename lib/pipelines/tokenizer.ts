// Tokenizers of models' folders. What they do with a prompt is in lib/pipelines/prompt-tokenizer.ts.
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Tokenizer } from '@huggingface/tokenizers';
import { firstLine } from '../base/text.js';
import { findFile, MOST_VOCABULARY, readJson } from '../folder/files.js';
import { content, PromptTokenizer } from './prompt-tokenizer.js';

/** CLIP's special tokens, where the configuration names no others. */
const START = '<|startoftext|>';
const END = '<|endoftext|>';

/**
 * Reads `tokenizer_config.json` and `tokenizer.json`, or `vocab.json` and `merges.txt` of CLIP where that is missing.
 *
 * @param folder the model directory
 * @param name the tokenizer's folder in it
 * @param length tokens that the text encoder's graph takes, where it declares them; `model_max_length` otherwise
 * @param most an upper bound for `model_max_length`
 * @throws Error that names the file when one is missing or does not hold what it should
 */
export function openTokenizer(folder: string, name = 'tokenizer', length?: number, most = Infinity): PromptTokenizer {
  const { path, json: config } = readJson(folder, [`${name}/tokenizer_config.json`]);
  const definition = readDefinition(folder, name, config);
  let tokenizer: Tokenizer;
  try {
    tokenizer = new Tokenizer(definition.json, config);
  } catch (cause) {
    throw new Error(`${definition.path} is no tokenizer: ${firstLine((cause as Error).message)}`, { cause });
  }
  return PromptTokenizer.of(
    tokenizer,
    {
      ...{ config, path, definition: definition.json, special: specialTokens(folder, name) },
      ...(definition.built ? { pad: END } : {}),
    },
    length,
    most,
  );
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
