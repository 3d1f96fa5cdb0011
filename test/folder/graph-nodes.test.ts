// Nodes of graphs, the time's among them, and graphs with names put in, which onnxruntime reads.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { namesOf, readNodes, timeNodes } from '../../lib/folder/graph-nodes.js';
import { OrtNetwork, type OrtTensor } from '../../lib/onnx/index.js';
import { shapes } from '../pipelines/models.js';

const test = suite('graph nodes');
const unet = join(shapes, 'unet/model.onnx');

test('finds what makes the sines and cosines of the time, and nothing that sees the state', () => {
  const graph = readNodes(unet);
  assert.is(graph.nodes.length, 1318);
  const found = timeNodes(graph);
  assert.equal(
    found.map(({ type }) => type),
    ['Unsqueeze', 'Mul', 'Sin', 'Cos'],
  );
  assert.equal(timeNodes(graph, 'sample'), [], 'no wave is made of the state alone');
  const bytes = readFileSync(unet);
  for (const { start, body, end } of graph.nodes) assert.ok(graph.body <= start && start < body && body <= end);
  assert.is(bytes[graph.nodes[0].start], 0x0a, "a node's tag");
});

test('gives names to nodes that have none, and changes nothing else', async () => {
  const graph = readNodes(unet);
  const { names, bytes } = namesOf(graph, timeNodes(graph));
  assert.is(new Set(names).size, 4);
  assert.ok(bytes);
  const [plain, named] = [await OrtNetwork.open(unet), await OrtNetwork.open(bytes, { path: unet })];
  assert.is(named.path, unet);
  const sample = Float32Array.from({ length: 3 * 32 * 32 }, (_, i) => Math.sin(i));
  const feeds = {
    sample: { data: sample, dims: [1, 3, 32, 32] },
    timestep: { data: Float32Array.of(321), dims: [1] },
    encoder_hidden_states: { data: new Float32Array(8 * 64).fill(0.1), dims: [1, 8, 64] },
  };
  const results = await Promise.all([plain.run(feeds), named.run(feeds)]);
  const [a, b] = results.map(({ out_sample }) => (out_sample as OrtTensor).data);
  assert.equal(b, a);
  await Promise.all([plain.dispose(), named.dispose()]);
});

test('leaves names alone by which nodes can be told', () => {
  const node = (name: string) => ({ name, type: 'Sin', inputs: [], outputs: [], start: 0, end: 0, body: 0 });
  const nodes = [node('a'), node('b')];
  assert.equal(namesOf({ path: '', nodes, weights: new Set(), start: 0, end: 0, body: 0 }, nodes), {
    names: ['a', 'b'],
  });
});

test.run();
