// Nodes of graphs, the time's among them, and graphs with names put in, which onnxruntime reads.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { namesOf, nodesIn, timeEmbedding, timeNodes } from '../../lib/folder/graph-nodes.js';
import { WireFile } from '../../lib/folder/wire.js';
import { readWire } from '../../lib/folder/wire-file.js';
import { OrtNetwork, type OrtTensor } from '../../lib/onnx/index.js';
import { shapes } from '../pipelines/models.js';

const test = suite('graph nodes');
const unet = join(shapes, 'unet/model.onnx');

test('finds what makes the sines and cosines of the time, and nothing that sees the state', () => {
  const graph = readWire(unet, nodesIn);
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
  const graph = readWire(unet, nodesIn);
  const { names, bytes } = namesOf(graph, timeNodes(graph), () => readFileSync(unet));
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

test('is the same for bytes in memory', () => {
  const bytes = readFileSync(unet);
  const [there, here] = [readWire(unet, nodesIn), nodesIn(WireFile.of(bytes))];
  assert.equal(here.nodes, there.nodes);
  const named = timeEmbedding(here, () => bytes);
  assert.equal(named?.names, ['time_0', 'time_1', 'time_2', 'time_3']);
  assert.equal(
    timeNodes(nodesIn(WireFile.of(named!.bytes!))).map(({ name }) => name),
    named!.names,
  );
  const encoder = readFileSync(join(shapes, 'text_encoder/model.onnx'));
  assert.is(
    timeEmbedding(nodesIn(WireFile.of(encoder)), () => encoder),
    undefined,
  );
});

test('leaves names alone by which nodes can be told', () => {
  const node = (name: string) => ({ name, type: 'Sin', inputs: [], outputs: [], start: 0, end: 0, body: 0 });
  const nodes = [node('a'), node('b')];
  assert.equal(
    namesOf({ nodes, weights: new Set(), start: 0, end: 0, body: 0 }, nodes, () => assert.unreachable() as never),
    {
      names: ['a', 'b'],
    },
  );
});

test.run();
