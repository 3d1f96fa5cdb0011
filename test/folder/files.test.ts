// Files of a model's folder: what is looked for, what is there, and JSON as other tools write it.
import { mkdirSync, mkdtempSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { findFile, readJson } from '../../lib/folder/files.js';
import { parseJson } from '../../lib/folder/json.js';
import { assertThrows } from '../support.js';

const test = suite('folder');
const folder = mkdtempSync(join(tmpdir(), 'dpm-solver-folder-'));
test.after(() => rmSync(folder, { recursive: true, force: true }));

test('says what was looked for, and what is there', () => {
  mkdirSync(join(folder, 'model/unet'), { recursive: true });
  const model = join(folder, 'model');
  assertThrows(() => findFile(join(folder, 'none'), ['a.json']), Error, /^Expected a\.json in .* no such folder$/);
  assertThrows(() => findFile(model, ['vae/model.onnx']), Error, /^Expected vae\/model.onnx in .* no folder .*vae$/);
  assertThrows(() => findFile(model, ['unet/model.onnx']), Error, /that folder is empty$/);
  writeFileSync(join(model, 'unet/modle.onnx'), '');
  assertThrows(() => findFile(model, ['unet/model.onnx']), Error, /there is only unet.modle\.onnx$/);
  writeFileSync(join(model, 'weights.bin'), '');
  assertThrows(
    () => findFile(model, ['a.json', 'b.json']),
    Error,
    /^Expected a\.json or b\.json .* found unet, weights/,
  );
  assert.is(findFile(model, ['a', 'weights.bin']), join(model, 'weights.bin'));
  mkdirSync(join(model, 'text/model.onnx'), { recursive: true });
  assertThrows(
    () => findFile(model, ['text/model_fp16.onnx', 'text/model.onnx']),
    Error,
    /^Expected text\/model_fp16\.onnx or text\/model\.onnx in .* but text\/model\.onnx is a folder$/,
  );
  assertThrows(
    () => findFile(join(model, 'weights.bin'), ['a.json']),
    Error,
    /^Expected a\.json in .*weights\.bin but that is no folder$/,
  );
  assertThrows(() => findFile(join(model, 'weights.bin/model'), ['a.json']), Error, /but there is no such folder$/);
});

const CONFLICT = `{
  "a": 1,
<<<<<<< HEAD
  "b": 2
=======
  "b": 3
>>>>>>> main
}`;

test('says which JSON file is none, and why', () => {
  for (const [text, reason] of [
    ['{', /half\.json could not be read as JSON: /],
    ['{"a": -Infinit}', /half\.json could not be read as JSON: /],
    ['[1]', /^Expected an object in .*half\.json but found an array$/],
    ['null', /but found null$/],
    [CONFLICT, /half\.json could not be read as JSON: git's conflict marks are in it \(<<<<<<< in line 3\)$/],
    [CONFLICT.replaceAll('\n', '\r\n'), /half\.json could not be .*conflict marks are in it \(<<<<<<< in line 3\)$/],
    [
      'version https://git-lfs.github.com/spec/v1\noid 1',
      /half\.json could not be .*: it is a git-lfs pointer, .*git lfs pull$/,
    ],
    [`{"a": ${'['.repeat(1e5)}`, /half\.json could not be read as JSON: it nests more than 100 deep$/],
    [
      `{"a": ${'['.repeat(100)}${']'.repeat(100)}}`,
      /half\.json could not be read as JSON: it nests more than 100 deep$/,
    ],
  ] as const) {
    writeFileSync(join(folder, 'half.json'), text);
    assertThrows(() => readJson(folder, ['half.json']), Error, reason);
  }
});

test('reads no more than a configuration can have', () => {
  const path = join(folder, 'large.json');
  writeFileSync(path, '{}');
  truncateSync(path, 4 * 2 ** 20 + 1);
  assertThrows(
    () => readJson(folder, ['large.json']),
    Error,
    /^Expected at most 4194304 bytes in .*large\.json but found 4194305$/,
  );
  writeFileSync(path, `{"vocab": "${'x'.repeat(4 * 2 ** 20)}"}`);
  assert.is((readJson(folder, ['large.json'], 2 ** 23).json.vocab as string).length, 4 * 2 ** 20);
});

test('reads JSON as Python writes it', () => {
  // With or without the byte order mark that some editors put in front.
  for (const text of ['{"a":1}', '\ufeff{"a":1}']) {
    writeFileSync(join(folder, 'half.json'), text);
    assert.equal(readJson(folder, ['half.json']).json, { a: 1 });
  }
  const python =
    '{"low": -Infinity, "list": [NaN, Infinity,-Infinity], "text": "-Infinity, NaN \\" Infinity", "NaN": 1}';
  assert.equal(parseJson(python), {
    ...{ low: -Infinity, list: [Number.NaN, Infinity, -Infinity], text: '-Infinity, NaN " Infinity', NaN: 1 },
  });
  assert.is(parseJson('-Infinity'), -Infinity);
  assert.is(parseJson('[-0]') && Object.is((parseJson('[-0]') as number[])[0], -0), true);
  for (const wrong of ['{"a": xInfinity}', '{"a": NaNs}', '{NaN}', '{"a": --Infinity}', '']) {
    assert.throws(() => parseJson(wrong), undefined, wrong);
  }
});

test("of a key that is there twice the last value counts, and every key is the object's own", () => {
  assert.equal(parseJson('{"a": 1, "a": 2}'), { a: 2 });
  const own = parseJson('{"__proto__": {"polluted": true}, "constructor": 1, "low": NaN}') as Record<string, unknown>;
  assert.equal(Object.keys(own), ['__proto__', 'constructor', 'low']);
  assert.is(own.polluted, undefined);
  assert.is(({} as Record<string, unknown>).polluted, undefined);
});

test('nests as deep as 100, whatever stands in strings', () => {
  const deep = `${'['.repeat(100)}${']'.repeat(100)}`;
  assert.ok(Array.isArray(parseJson(deep)));
  assert.ok(parseJson(JSON.stringify({ a: '['.repeat(1000), b: '\\"{' })));
  assert.is((parseJson(`[${'[],'.repeat(1e4)}[]]`) as unknown[]).length, 10001);
});

test.run();
