// Every way in which a process or a worker can end while networks are at work is clean.
import { fileURLToPath } from 'node:url';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { inChild } from '../native/children.js';

const test = suite('ends of networks');
const child = new URL('./children/ends.ts', import.meta.url);
const unet = fileURLToPath(new URL('../../models/shapes/unet/model.onnx', import.meta.url));

const ways: [how: string, code: number, output: string, errors?: RegExp][] = [
  ['exit', 5, ''],
  ['throw', 1, '', /thrown on purpose/],
  ['exit in a listener', 6, ''],
  ['natural end', 0, ''],
  ['pending runs', 0, 'all done\n'],
  ['dispose during runs', 0, 'done,done,done,done,done,done\n'],
  ['worker terminated', 0, '1\n1\n1\n1\ngoes on\n'],
  ['worker at the process end', 7, ''],
  ['worker exits itself', 0, '9\n'],
  ['several workers', 8, ''],
];
for (const [how, code, output, errors] of ways) {
  test(`on the CPU: ${how}`, async () => {
    const ended = await inChild(child, { args: [how, unet, 'cpu'] });
    assert.equal([ended.signal, ended.code, ended.output], [null, code, output], ended.errors);
    if (errors) assert.match(ended.errors, errors);
    else assert.is(ended.errors, '');
  });
}

test('a network that nobody holds any more ends its thread', async () => {
  if (process.platform !== 'linux') return;
  const ended = await inChild(child, { flags: ['--expose-gc'], args: ['collected', unet, 'cpu'] });
  assert.equal([ended.code, ended.output, ended.errors], [0, 'many, then 0 more\n', '']);
});

test.run();
