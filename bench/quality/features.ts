// What the judge's classifier sees in a picture: the 64 values that its last layer reads the labels from.
//
// models/shapes/classifier gives a gradient and log p, not these values. They are in its graph all the same, as the input
// of the one Gemm that has classifier.head.weight: here that value is declared an output of the graph before the
// graph is loaded. The weights and the arithmetic are those of the file, and no second export can go out of step with it.
import { readFileSync } from 'node:fs';
import type { InferenceSession } from 'onnxruntime-node';
import { VALUES } from './evaluator.js';

export const FEATURES = 64;

export interface Field {
  number: number;
  wire: number;
  /** Of the whole field, and of what a length-delimited one holds. */
  start: number;
  end: number;
  content: Uint8Array;
}

/** The fields of a protocol-buffers message. */
export function fieldsOf(bytes: Uint8Array): Field[] {
  const fields: Field[] = [];
  let at = 0;
  const varint = (): number => {
    let value = 0;
    for (let shift = 0; ; shift += 7) {
      const byte = bytes[at++];
      value += (byte & 0x7f) * 2 ** shift;
      if (byte < 0x80) return value;
    }
  };
  while (at < bytes.length) {
    const start = at;
    const tag = varint();
    const wire = tag & 7;
    let length = 0;
    if (wire === 0) varint();
    else if (wire === 1) at += 8;
    else if (wire === 5) at += 4;
    else if (wire === 2) length = varint();
    else throw new Error(`Expected a protocol-buffers field but found wire type ${wire}`);
    const content = bytes.subarray(at, at + length);
    at += length;
    fields.push({ number: Math.floor(tag / 8), wire, start, end: at, content });
  }
  return fields;
}

function field(number: number, content: Uint8Array): Uint8Array {
  return Buffer.concat([varintOf(8 * number + 2), varintOf(content.length), content]);
}

function varintOf(value: number): Uint8Array {
  const bytes: number[] = [];
  for (let rest = value; ; rest = Math.floor(rest / 128)) {
    if (rest < 128) return Uint8Array.from([...bytes, rest]);
    bytes.push((rest % 128) + 128);
  }
}

const text = (bytes: Uint8Array) => Buffer.from(bytes).toString('utf8');

/** An ONNX model with the value that the layer with this weight reads as a further output, of float32. */
export function withInputOf(weight: string, model: Uint8Array): { model: Uint8Array; output: string } {
  // ModelProto.graph is field 7; GraphProto.node 1 and output 12; NodeProto.input 1 and op_type 4.
  const top = fieldsOf(model);
  const graph = top.find(({ number }) => number === 7);
  if (!graph) throw new Error('Expected an ONNX model but found no graph in it');
  const nodes = fieldsOf(graph.content).filter(({ number }) => number === 1);
  const layers = nodes.flatMap(({ content }) => {
    const parts = fieldsOf(content);
    const inputs = parts.filter(({ number }) => number === 1).map((one) => text(one.content));
    const kind = parts.find(({ number }) => number === 4);
    return inputs[1] === weight && kind && text(kind.content) === 'Gemm' ? [inputs[0]] : [];
  });
  if (layers.length !== 1) throw new Error(`Expected one Gemm with ${weight} but found ${layers.length}`);
  const [output] = layers;
  // ValueInfoProto: name 1, type 2; TypeProto.tensor_type 1; its elem_type 1 is 1 for float32.
  const type = field(2, field(1, Uint8Array.of(8, 1)));
  const info = field(12, Buffer.concat([field(1, Buffer.from(output)), type]));
  const changed = field(7, Buffer.concat([graph.content, info]));
  return {
    output,
    model: Buffer.concat([model.subarray(0, graph.start), changed, model.subarray(graph.end)]),
  };
}

export class Features {
  readonly #session: InferenceSession;
  readonly #runtime: typeof import('onnxruntime-node');
  readonly #output: string;

  private constructor(session: InferenceSession, runtime: typeof import('onnxruntime-node'), output: string) {
    this.#session = session;
    this.#runtime = runtime;
    this.#output = output;
  }

  /** @param folder of the model with the folder `classifier` */
  static async open(folder: string): Promise<Features> {
    const runtime = await import('onnxruntime-node');
    const file = readFileSync(`${folder}/classifier/model.onnx`);
    const { model, output } = withInputOf('classifier.head.weight', file);
    const session = await runtime.InferenceSession.create(model, { intraOpNumThreads: 1, logSeverityLevel: 3 });
    return new Features(session, runtime, output);
  }

  /** Of finished pictures: values in [-1, 1], at the time label 0; 64 numbers each. */
  async of(pictures: Float32Array): Promise<Float32Array> {
    const { Tensor } = this.#runtime;
    const count = pictures.length / VALUES;
    const feeds = {
      sample: new Tensor('float32', pictures, [count, 3, 32, 32]),
      timestep: new Tensor('float32', Float32Array.of(0), [1]),
      labels: new Tensor('int64', new BigInt64Array(3 * count), [count, 3]),
    };
    const results = await this.#session.run(feeds, [this.#output]);
    const { data, dims } = results[this.#output];
    if (dims[0] !== count || dims[1] !== FEATURES) throw new Error(`Expected [${count},64] features, got [${dims}]`);
    return data as Float32Array;
  }

  release(): Promise<void> {
    return this.#session.release();
  }
}
