// What an ONNX graph says of itself in its file: inputs, outputs, and the files that its weights are in, without the weights
// being read. Field numbers are those of onnx.proto.
import { existsSync, readdirSync, statSync } from 'node:fs';
import { basename, dirname, isAbsolute, join, normalize, sep } from 'node:path';
import { bytes as amount, nearest } from '../base/text.js';
import { isLfsPointer } from './files.js';
import { type Field, WireError, type WireFile } from './wire.js';
import { readWire } from './wire-file.js';

/** An input or output as the graph declares it: symbolic dimensions are their names. */
export interface ValueInfo {
  name: string;
  type: string;
  shape: readonly (number | string)[];
}

/** A file beside the graph that weights are in. */
export interface WeightsFile {
  /** As the graph names it: a path relative to the graph's own folder. */
  readonly location: string;
  readonly path: string;
  /** Where the last weights in it end. */
  readonly needs: number;
}

/** A graph as {@link readGraph} finds it. */
export interface GraphFile {
  readonly path: string;
  /** What has to be fed: those that the graph has a value for itself are left out, as onnxruntime does. */
  readonly inputs: readonly ValueInfo[];
  readonly outputs: readonly ValueInfo[];
  /** Those with weights in them; none where all are in the graph. */
  readonly files: readonly WeightsFile[];
  /** Bytes of all weights, by their types. */
  readonly weights: ReadonlyMap<string, number>;
  /** The kinds of its nodes. */
  readonly operators: ReadonlySet<string>;
  /** Convolutions that halve height and width. */
  readonly halvings: number;
}

/** By their numbers in TensorProto, as onnxruntime calls them. */
const TYPES: Readonly<Record<number, string>> = {
  ...{ 1: 'float32', 2: 'uint8', 3: 'int8', 4: 'uint16', 5: 'int16', 6: 'int32', 7: 'int64', 8: 'string' },
  ...{ 9: 'bool', 10: 'float16', 11: 'float64', 12: 'uint32', 13: 'uint64', 14: 'complex64', 15: 'complex128' },
  ...{ 16: 'bfloat16', 17: 'float8e4m3fn', 18: 'float8e4m3fnuz', 19: 'float8e5m2', 20: 'float8e5m2fnuz' },
  ...{ 21: 'uint4', 22: 'int4', 23: 'float4e2m1' },
};

/** Bits of one element. */
const BITS: Readonly<Record<string, number>> = {
  ...{ float32: 32, uint8: 8, int8: 8, uint16: 16, int16: 16, int32: 32, int64: 64, bool: 8, float16: 16 },
  ...{ float64: 64, uint32: 32, uint64: 64, complex64: 64, complex128: 128, bfloat16: 16, uint4: 4, int4: 4 },
  ...{ float8e4m3fn: 8, float8e4m3fnuz: 8, float8e5m2: 8, float8e5m2fnuz: 8, float4e2m1: 4 },
};

/** A weights file may end with as much more: exporters align what they write. */
const PADDING = 65536;

/**
 * Reads what the graph in the file `path` declares; its weights are not read, and the files that they are in not looked at
 * ({@link checkWeights} does).
 *
 * @throws Error in one sentence that names the file: it is a git-lfs pointer, no ONNX graph, or cut short
 */
export function readGraph(path: string): GraphFile {
  try {
    return readWire(path, (file) => new GraphReader(path, file).result());
  } catch (cause) {
    if (!(cause instanceof WireError)) throw cause;
    if (isLfsPointer(path)) {
      throw new Error(`${path} is a git-lfs pointer, not the graph itself: fetch it with git lfs pull`, { cause });
    }
    const { size } = statSync(path);
    if (size === 0) throw new Error(`Expected an ONNX graph in ${path} but the file is empty`, { cause });
    if (cause.needs === undefined || size < 16) {
      throw new Error(`Expected an ONNX graph in ${path} but it is something else`, { cause });
    }
    throw new Error(
      `Expected at least ${amount(cause.needs)} in ${path} but it has ${amount(size)}: it was cut short, or is no ONNX graph; fetch it again`,
      { cause },
    );
  }
}

/**
 * Looks at the files that a graph's weights are in.
 *
 * @throws Error in one sentence that names the file, what was expected and what came: it is missing, outside of the graph's
 *   folder, a git-lfs pointer, cut short, or longer than any graph beside it says
 */
export function checkWeights(graph: GraphFile): void {
  const folder = dirname(graph.path);
  for (const { location, path, needs } of graph.files) {
    const named = `the file that ${graph.path} names for its weights,`;
    if (isAbsolute(location) || normalize(location).split(sep)[0] === '..') {
      throw new Error(`Expected ${named} in ${folder} but it names ${location}`);
    }
    if (!existsSync(path)) {
      const there = existsSync(dirname(path)) ? readdirSync(dirname(path)) : [];
      const others = there.filter((name) => name !== basename(graph.path) && !/\.(onnx|json)$/.test(name));
      const alike = nearest(basename(path), others);
      const hint =
        alike === undefined ? 'it is not there; fetch it from where the graph came from' : `there is only ${alike}`;
      throw new Error(`Expected ${basename(path)}, ${named} with ${amount(needs)}, in ${dirname(path)} but ${hint}`);
    }
    const { size } = statSync(path);
    if (isLfsPointer(path)) {
      throw new Error(`${path} is a git-lfs pointer, not the weights themselves: fetch it with git lfs pull`);
    }
    if (size < needs) {
      throw new Error(
        `Expected at least ${amount(needs)} in ${path}, ${named} but it has ${amount(size)}: it was cut short, or belongs to another graph; fetch it again`,
      );
    }
    if (size > needs + PADDING && size > sharedNeeds(path, graph) + PADDING) {
      throw new Error(
        `Expected ${amount(needs)} in ${path}, ${named} but it has ${amount(size)}: it belongs to another graph; fetch both again`,
      );
    }
  }
}

/** What all graphs of the folder have in a file: some share one. */
function sharedNeeds(path: string, graph: GraphFile): number {
  let most = 0;
  for (const name of readdirSync(dirname(graph.path))) {
    if (!name.endsWith('.onnx')) continue;
    try {
      for (const file of readGraph(join(dirname(graph.path), name)).files) {
        if (file.path === path) most = Math.max(most, file.needs);
      }
    } catch {
      // It is not the graph that is asked for.
    }
  }
  return most;
}

/** The bytes on disk: the graph and its weights. */
export function bytesOf(graph: GraphFile): number {
  return graph.files.reduce((sum, { needs }) => sum + needs, statSync(graph.path).size);
}

/** Walks the messages of one graph. */
class GraphReader {
  readonly #path: string;
  readonly #file: WireFile;
  readonly #inputs: ValueInfo[] = [];
  readonly #outputs: ValueInfo[] = [];
  readonly #names = new Set<string>();
  readonly #files = new Map<string, number>();
  readonly #weights = new Map<string, number>();
  readonly #operators = new Set<string>();
  #halvings = 0;

  constructor(path: string, file: WireFile) {
    this.#path = path;
    this.#file = file;
  }

  result(): GraphFile {
    let [graphs, operators] = [0, false];
    // ModelProto: graph is 7, opset_import 8, functions 25.
    for (const field of this.#file.fields()) {
      if (field.number === 7 && field.end > field.start) {
        graphs++;
        this.#graph(field, true);
      } else if (field.number === 8) operators = true;
      else if (field.number === 25) for (const inner of this.#inside(field)) if (inner.number === 7) this.#node(inner);
    }
    if (graphs !== 1 || this.#outputs.length === 0) throw new WireError(undefined, 'no graph');
    // Which comes behind the graph, and is the last thing that cannot be done without.
    if (!operators) throw new WireError(this.#file.size + 1, 'no operators');
    const folder = dirname(this.#path);
    return {
      path: this.#path,
      inputs: this.#inputs.filter(({ name }) => !this.#names.has(name)),
      outputs: this.#outputs,
      files: [...this.#files].map(([location, needs]) => ({ location, path: join(folder, location), needs })),
      weights: this.#weights,
      operators: this.#operators,
      halvings: this.#halvings,
    };
  }

  #inside({ start, end }: Field): Generator<Field> {
    return this.#file.fields(start, end);
  }

  /** GraphProto: node is 1, initializer 5, input 11, output 12, sparse_initializer 15. */
  #graph(message: Field, top: boolean): void {
    for (const field of this.#inside(message)) {
      if (field.number === 1) this.#node(field);
      else if (field.number === 5) this.#tensor(field, top);
      else if (field.number === 11 && top) this.#inputs.push(this.#value(field));
      else if (field.number === 12 && top) this.#outputs.push(this.#value(field));
      else if (field.number === 15) {
        // SparseTensorProto: values is 1, indices 2.
        for (const inner of this.#inside(field)) if (inner.number < 3) this.#tensor(inner, top && inner.number === 1);
      }
    }
  }

  /** NodeProto: op_type is 4, attribute 5, with t 5, g 6, tensors 10 and graphs 11: constants, and the bodies of loops. */
  #node(message: Field): void {
    let [operator, halves] = ['', false];
    for (const part of this.#inside(message)) {
      if (part.number === 4) operator = this.#file.text(part);
      if (part.number !== 5) continue;
      let name = '';
      const ints: number[] = [];
      for (const field of this.#inside(part)) {
        if (field.number === 1) name = this.#file.text(field);
        else if (field.number === 5 || field.number === 10) this.#tensor(field, false);
        else if (field.number === 6 || field.number === 11) this.#graph(field, false);
        // AttributeProto: ints is 8; a convolution has few.
        else if (field.number === 8 && field.end - field.start < 64) ints.push(...this.#file.numbers(field));
      }
      halves ||= name === 'strides' && ints.length === 2 && ints.every((stride) => stride === 2);
    }
    this.#operators.add(operator);
    if (operator === 'Conv' && halves) this.#halvings++;
  }

  /** TensorProto: dims is 1, data_type 2, name 8, external_data 13 (key 1, value 2), data_location 14 (1 is external). */
  #tensor(message: Field, named: boolean): void {
    const external: Record<string, string> = {};
    const dims: number[] = [];
    let [type, outside, name] = [0, false, ''];
    for (const field of this.#inside(message)) {
      if (field.number === 1) dims.push(...this.#file.numbers(field));
      else if (field.number === 2) type = field.value;
      else if (field.number === 8) name = this.#file.text(field);
      else if (field.number === 14) outside = field.value === 1;
      else if (field.number === 13) {
        let [key, value] = ['', ''];
        for (const entry of this.#inside(field)) {
          if (entry.number === 1) key = this.#file.text(entry);
          else if (entry.number === 2) value = this.#file.text(entry);
        }
        external[key] = value;
      }
    }
    if (named) this.#names.add(name);
    const kind = TYPES[type] ?? `type ${type}`;
    const size = Math.ceil((dims.reduce((n, d) => n * d, 1) * (BITS[kind] ?? 8)) / 8);
    this.#weights.set(kind, (this.#weights.get(kind) ?? 0) + size);
    if (!outside || external.location === undefined) return;
    // Without a length it is what the dims say.
    const ends = Number(external.offset ?? 0) + Number(external.length ?? size);
    const { location } = external;
    this.#files.set(location, Math.max(this.#files.get(location) ?? 0, ends));
  }

  /**
   * ValueInfoProto: name is 1, type 2; TypeProto: tensor_type 1 with elem_type 1 and shape 2; TensorShapeProto: dim 1 with
   * dim_value 1 or dim_param 2.
   */
  #value(message: Field): ValueInfo {
    let [name, type] = ['', 'no tensor'];
    const shape: (number | string)[] = [];
    for (const field of this.#inside(message)) {
      if (field.number === 1) name = this.#file.text(field);
      else if (field.number === 2) {
        for (const kind of this.#inside(field)) {
          if (kind.number !== 1) continue;
          for (const part of this.#inside(kind)) {
            if (part.number === 1) type = TYPES[part.value] ?? `type ${part.value}`;
            else if (part.number === 2) shape.push(...this.#shape(part));
          }
        }
      }
    }
    return { name, type, shape };
  }

  #shape(message: Field): (number | string)[] {
    const dims: (number | string)[] = [];
    for (const field of this.#inside(message)) {
      if (field.number !== 1) continue;
      let dim: number | string = '';
      for (const part of this.#inside(field)) {
        if (part.number === 1) dim = part.value;
        else if (part.number === 2) dim = this.#file.text(part);
      }
      dims.push(dim);
    }
    return dims;
  }
}
