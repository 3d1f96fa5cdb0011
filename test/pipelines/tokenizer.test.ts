// Prompts to ids: padding, cutting and unknown words.
import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { openTokenizer } from '../../lib/pipelines/tokenizer.js';
import { assertThrows } from '../support.js';
import { changed, constant, removeCopies } from './models.js';

const test = suite('tokenizer');
test.after(removeCopies);

const tokenizer = openTokenizer(constant);

test('pads, and takes the empty prompt for padding', () => {
  assert.is(tokenizer.length, 8);
  assert.equal(tokenizer.encode('a red circle'), [2, 7, 5, 0, 0, 0, 0, 0]);
  assert.equal(tokenizer.encode(''), new Array(8).fill(0));
  assert.equal(tokenizer.encode('  \n '), new Array(8).fill(0));
});

test('knows words in any case and passes over punctuation', () => {
  assert.equal(tokenizer.encode('A RED circle, on: Blue!'), [2, 7, 5, 3, 9, 0, 0, 0]);
});

test('names unknown words, and the known ones of a small vocabulary', () => {
  const known = 'it knows a, on, background, circle, square, red, green and blue$';
  const one = new RegExp(`^The model does not know the word 'mauve' in 'a mauve circle'; ${known}`);
  assertThrows(() => tokenizer.encode('a mauve circle'), RangeError, one);
  const two = new RegExp(`^The model does not know the words 'big' and '7' in 'a big 7 big circle'; ${known}`);
  assertThrows(() => tokenizer.encode('a big 7 big circle'), RangeError, two);
  assertThrows(() => tokenizer.encode('[UNK]'), RangeError, /the word '\[UNK\]'/);
  assertThrows(() => tokenizer.encode('constructor'), RangeError, /the word 'constructor'/);
});

test('refuses what is too long, or cuts it as asked', () => {
  const long = 'a red circle on a blue background a green';
  assertThrows(() => tokenizer.encode(long), RangeError, /^Expected a prompt of at most 8 tokens but 'a red .* has 9$/);
  const warnings: string[] = [];
  const cut = tokenizer.encode(long, { overlong: 'cut', warn: (message) => warnings.push(message) });
  assert.equal(cut, [2, 7, 5, 3, 2, 9, 4, 2]);
  assert.equal(warnings, [`The prompt '${long}' has 9 tokens and was cut to 8`]);
  assert.is(tokenizer.encode('a red circle on a blue background a').length, 8);
});

test('counts and keeps special tokens', () => {
  const folder = changed((copy) => {
    const path = join(copy, 'tokenizer/tokenizer.json');
    const json = JSON.parse(readFileSync(path, 'utf8'));
    const special = (id: string) => ({ SpecialToken: { id, type_id: 0 } });
    json.post_processor = {
      type: 'TemplateProcessing',
      single: [special('a'), { Sequence: { id: 'A', type_id: 0 } }, special('on')],
      pair: [],
      special_tokens: { a: { id: 'a', ids: [2], tokens: ['a'] }, on: { id: 'on', ids: [3], tokens: ['on'] } },
    };
    writeFileSync(path, JSON.stringify(json));
  });
  const own = openTokenizer(folder, 'tokenizer', 5);
  assert.equal(own.encode(''), [2, 3, 0, 0, 0]);
  assert.equal(own.encode('red green blue'), [2, 7, 8, 9, 3]);
  assert.equal(own.encode('red green blue circle', { overlong: 'cut' }), [2, 7, 8, 9, 3]);
  assertThrows(() => own.encode('red green blue circle'), RangeError, /at most 3 tokens but 'red .*' has 4$/);
});

test('takes the length that the graph declares before the configured one', () => {
  assert.is(openTokenizer(constant, 'tokenizer', 3).encode('a').length, 3);
});

test('says what is wrong with its files', () => {
  const open = (file: string, text: string | null) => () => {
    const folder = changed((copy) => {
      const path = join(copy, 'tokenizer', file);
      if (text === null) rmSync(path);
      else writeFileSync(path, text);
    });
    return openTokenizer(folder);
  };
  assertThrows(
    open('tokenizer.json', null),
    Error,
    /^Expected tokenizer\/tokenizer\.json or tokenizer\/vocab\.json in /,
  );
  assertThrows(open('tokenizer.json', '{}'), Error, /tokenizer\.json is no tokenizer: /);
  assertThrows(
    open('tokenizer_config.json', '{"pad_token":"[PAD]"}'),
    Error,
    /^Expected model_max_length, .* undefined|NaN$/,
  );
  assertThrows(
    open('tokenizer_config.json', '{"model_max_length":8}'),
    Error,
    /^Expected pad_token, a token of the voc/,
  );
});

interface Ids {
  prompts: string[];
  /** By the tokenizer's folder. */
  ids: Record<string, number[][]>;
}

/**
 * Its last letter becomes the sigma that ends words where JavaScript and Python make small letters, and CLIP's own tokenizer
 * with them, and the other sigma in the library below transformers' fast tokenizers.
 */
const FINAL_SIGMA = 'ΟΔΥΣΣΕΥΣ';

/** Prompts, but for the one above, of which the ids are others than transformers'. */
function others(folder: string, { prompts, ids }: Ids): string[] {
  assert.is(prompts.length, 379);
  return Object.entries(ids).flatMap(([name, all]) => {
    const own = openTokenizer(folder, name, 512);
    return prompts.flatMap((prompt, i) => {
      if (prompt === FINAL_SIGMA) return [];
      const encoded = own.encode(prompt);
      const wanted = all[i].concat(encoded.slice(all[i].length));
      const same = encoded.every((id, at) => id === wanted[at]) && new Set(encoded.slice(all[i].length)).size <= 1;
      return same
        ? []
        : [`${name}: ${JSON.stringify(prompt)}: ${encoded.slice(0, all[i].length + 3)} and not ${all[i]}`];
    });
  });
}

const fixtures = fileURLToPath(new URL('../fixtures/', import.meta.url));
const readIds = (path: string) => JSON.parse(readFileSync(path, 'utf8')) as Ids;

test("379 prompts have transformers' ids, by byte pairs and by a unigram model", () => {
  assert.equal(others(join(fixtures, 'exports/flux-dev'), readIds(join(fixtures, 'token-ids.json'))), []);
});

// A model's own tokenizer, with the ids that test/fixtures/token_ids.py has written beside it.
const { DPM_SOLVER_TOKENIZER: given } = process.env;
(given ? test : test.skip)(`379 prompts have transformers' ids: ${given ?? 'no DPM_SOLVER_TOKENIZER'}`, () => {
  assert.equal(others(given!, readIds(join(given!, 'ids.json'))), []);
});

test.run();
