// What is told while a model is loaded.
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { Graph } from '../../lib/onnx/graph.js';
import { Engine, type Loading } from '../../lib/serve/engine.js';
import { layout } from '../pipelines/models.js';

const test = suite('loading');

test('tells the bytes that are read, of how many', async () => {
  const told: Loading[] = [];
  const place = { folder: layout('sd'), memory: 'fast' as const };
  const engine: Engine = new Engine(place, undefined, {
    onLoading: (loading) => {
      assert.equal(engine.loading, loading);
      told.push(loading);
    },
  });
  assert.is(engine.loading, undefined);
  await engine.open();
  const bytes = ['text_encoder', 'unet', 'vae_decoder'].map(
    (part) => Graph.describe(join(layout('sd'), part, 'model.onnx')).bytes,
  );
  const of = bytes.reduce((a, b) => a + b, 0);
  assert.equal(
    told,
    [0, bytes[0], bytes[0] + bytes[1], of].map((done) => ({ done, of })),
  );
  assert.is(engine.loading, undefined, 'it is loaded');
  await engine.close();
});

test.run();
