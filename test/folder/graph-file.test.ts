// What a graph says of itself in its file, against onnxruntime, and files of weights that are not what it names.
import {
  cpSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { bytesOf, checkWeights, readGraph } from '../../lib/folder/graph-file.js';
import { Graph, slot } from '../../lib/onnx/graph.js';
import { loadRuntime } from '../../lib/onnx/runtime.js';
import { assertThrows } from '../support.js';

const test = suite('graph file');
const root = fileURLToPath(new URL('../..', import.meta.url));
const weights = join(root, 'test/fixtures/onnx/weights');
const folder = mkdtempSync(join(tmpdir(), 'dpm-solver-graph-file-'));
test.before(async () => {
  (await loadRuntime()).env.logLevel = 'fatal';
});
test.after(() => rmSync(folder, { recursive: true, force: true }));

/** A copy of the graphs with their weights, to spoil. */
function copy(): string {
  const place = mkdtempSync(join(folder, 'copy-'));
  cpSync(weights, place, { recursive: true });
  return place;
}

function graphs(place: string): string[] {
  return readdirSync(place, { withFileTypes: true }).flatMap((entry) =>
    entry.isDirectory()
      ? graphs(join(place, entry.name))
      : entry.name.endsWith('.onnx')
        ? [join(place, entry.name)]
        : [],
  );
}

test('finds the inputs and outputs that onnxruntime finds', async () => {
  const { InferenceSession } = await loadRuntime();
  const all = [...graphs(join(root, 'test/fixtures')), ...graphs(join(root, 'models'))];
  assert.ok(all.length > 20);
  for (const path of all) {
    const file = readGraph(path);
    checkWeights(file);
    const session = await InferenceSession.create(path, { logSeverityLevel: 4 });
    for (const kind of ['input', 'output'] as const) {
      const found = session[`${kind}Metadata`].map((one) =>
        one.isTensor
          ? { name: one.name, type: one.type, shape: [...one.shape] }
          : { name: one.name, type: 'no tensor', shape: [] },
      );
      const declared = file[`${kind}s`];
      assert.equal(
        declared.map(({ name, type }) => [name, type]),
        found.map(({ name, type }) => [name, type]),
        path,
      );
      for (const [i, { shape }] of declared.entries()) {
        assert.is(shape.length, found[i].shape.length, path);
        // What is open in a file, onnxruntime may have worked out.
        for (const [d, dim] of shape.entries()) {
          if (kind === 'input' || typeof dim === 'number') assert.is(found[i].shape[d], dim, path);
        }
      }
    }
    await session.release();
  }
});

test('finds the files that weights are in, and how far they go', () => {
  const files = (name: string) =>
    readGraph(join(weights, `${name}.onnx`)).files.map(({ location, needs }) => [location, needs]);
  assert.equal(files('one'), [['one.onnx.data', 4096 + 256]]);
  assert.equal(files('apart'), [
    ['a.weight', 256],
    ['b.bias', 256],
  ]);
  assert.equal(files('branch'), [['branch.weights', 512]]);
  assert.equal(files('within'), []);
  const graph = readGraph(join(weights, 'one.onnx'));
  assert.equal([...graph.weights], [['float32', 512]]);
  assert.equal(
    graph.inputs.map(({ name }) => name),
    ['sample'],
    'what the graph has a value for need not be fed',
  );
  assert.is(bytesOf(graph), statSync(join(weights, 'one.onnx')).size + 4096 + 256);
});

for (const name of ['one', 'apart', 'branch', 'within', 'first', 'second']) {
  test(`runs ${name}.onnx from its weights`, async () => {
    const graph = await Graph.open(join(weights, `${name}.onnx`));
    const sample = slot('float32', [1, 64]);
    sample.data.fill(3 as never);
    const { out_sample: output } = await graph.call({ sample }, ['out_sample']);
    assert.equal([...output.data], new Array(64).fill(7));
    await graph.release();
  });
}

const LFS = 'version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 4352\n';
const faults: [what: string, graph: string, spoil: (place: string) => void, message: RegExp][] = [
  [
    'weights that are missing',
    'one',
    (place) => rmSync(join(place, 'one.onnx.data')),
    /^Expected one\.onnx\.data, the file that .*one\.onnx names for its weights, with 4\.4 kB, in .* but it is not there; fetch it from where the graph came from$/,
  ],
  [
    'weights by another name',
    'one',
    (place) => renameSync(join(place, 'one.onnx.data'), join(place, 'one.onnx_data')),
    /^Expected one\.onnx\.data, the file that .*, in .* but there is only one\.onnx_data$/,
  ],
  [
    'one of several files that is missing',
    'apart',
    (place) => rmSync(join(place, 'b.bias')),
    /^Expected b\.bias, the file that .*apart\.onnx names for its weights, with 256 bytes, in /,
  ],
  [
    'weights that were cut short',
    'one',
    (place) => writeFileSync(join(place, 'one.onnx.data'), Buffer.alloc(4000)),
    /^Expected at least 4\.4 kB in .*one\.onnx\.data, the file that .*one\.onnx names .* but it has 4\.0 kB: it was cut short, or belongs to another graph; fetch it again$/,
  ],
  [
    'a body whose weights were cut short',
    'branch',
    (place) => writeFileSync(join(place, 'branch.weights'), Buffer.alloc(511)),
    /^Expected at least 512 bytes in .*branch\.weights, .* but it has 511 bytes: it was cut short/,
  ],
  [
    'weights of another graph',
    'one',
    (place) => writeFileSync(join(place, 'one.onnx.data'), Buffer.alloc(200_000)),
    /^Expected 4\.4 kB in .*one\.onnx\.data, .* but it has 200 kB: it belongs to another graph; fetch both again$/,
  ],
  [
    'weights that git-lfs has left as a pointer',
    'one',
    (place) => writeFileSync(join(place, 'one.onnx.data'), LFS),
    /^.*one\.onnx\.data is a git-lfs pointer, not the weights themselves: fetch it with git lfs pull$/,
  ],
  [
    'a graph that git-lfs has left as a pointer',
    'one',
    (place) => writeFileSync(join(place, 'one.onnx'), LFS),
    /^.*one\.onnx is a git-lfs pointer, not the graph itself: fetch it with git lfs pull$/,
  ],
  [
    'a graph that is empty',
    'one',
    (place) => writeFileSync(join(place, 'one.onnx'), ''),
    /^Expected an ONNX graph in .*one\.onnx but the file is empty$/,
  ],
  [
    'a graph that is a page of a web site',
    'one',
    (place) => writeFileSync(join(place, 'one.onnx'), '<!doctype html><title>404</title>'),
    /^Expected an ONNX graph in .*one\.onnx but it is something else$/,
  ],
  [
    'a graph that is JSON',
    'one',
    (place) => writeFileSync(join(place, 'one.onnx'), '{"error": "Entry not found"}'),
    /^Expected an ONNX graph in .*one\.onnx but it is something else$/,
  ],
  [
    'weights outside of the folder',
    'one',
    (place) => {
      mkdirSync(join(place, 'in'));
      const graph = readFileSync(join(place, 'one.onnx'))
        .toString('latin1')
        .replaceAll('one.onnx.data', '../x.onnx.dat');
      writeFileSync(join(place, 'one.onnx'), graph, 'latin1');
      writeFileSync(join(place, '../x.onnx.dat'), Buffer.alloc(4352));
    },
    /^Expected the file that .*one\.onnx names for its weights, in .* but it names \.\.\/x\.onnx\.dat$/,
  ],
];
for (const [what, name, spoil, message] of faults) {
  test(`refuses ${what}`, () => {
    const place = copy();
    spoil(place);
    assertThrows(() => Graph.describe(join(place, `${name}.onnx`)), Error, message);
  });
}

test('refuses a graph that was cut short, wherever that was', () => {
  const place = copy();
  const path = join(place, 'within.onnx');
  const whole = readFileSync(path);
  for (let length = 1; length < whole.length; length++) {
    writeFileSync(path, whole.subarray(0, length));
    assertThrows(() => Graph.describe(path), Error, /^Expected .* in .*within\.onnx but it (has|is) /);
  }
});

test('lets graphs share a file of weights, of which one knows little', () => {
  const place = copy();
  Graph.describe(join(place, 'first.onnx'));
  rmSync(join(place, 'second.onnx'));
  assertThrows(() => Graph.describe(join(place, 'first.onnx')), Error, /shared\.weights, .* belongs to another graph/);
});

test.run();
