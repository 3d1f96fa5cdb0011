// Graphs that draw normal noise, such as the encoders that diffusers' own converter writes, without it.
import type { GraphFile } from '../folder/graph-file.js';
import { framed } from '../folder/message.js';

/** Field numbers of onnx.proto3. */
const MODEL = { graph: 7, functions: 25 } as const;
const GRAPH = { node: 1 } as const;
const FUNCTION = { node: 7 } as const;
const NODE = { op: 4, attribute: 5 } as const;
const ATTRIBUTE = { name: 1 } as const;

/** Nodes that draw, and what their draws are multiplied by. */
const DRAWS = ['RandomNormal', 'RandomNormalLike'];

/** Does the graph draw normal noise? */
export function draws({ operators }: GraphFile): boolean {
  return DRAWS.some((operator) => operators.has(operator));
}

/**
 * The same model with every draw of normal noise next to nothing, or nothing where it draws none: what an encoder that draws
 * from its own distribution gives is then that distribution's mean.
 *
 * @param bytes of an ONNX file
 */
export function withoutNoise(bytes: Uint8Array): Uint8Array | undefined {
  let changed = false;
  const node = (message: Uint8Array): Uint8Array => {
    const operator = fieldsOf(message).find(({ field }) => field === NODE.op);
    if (!operator || !DRAWS.includes(Buffer.from(operator.content).toString('utf8'))) return message;
    changed = true;
    const kept = rebuilt(message, NODE.attribute, (attribute) =>
      nameOf(attribute) === 'scale' ? undefined : attribute,
    );
    return Buffer.concat([kept, NEXT_TO_NOTHING]);
  };
  const model = rebuilt(bytes, MODEL.graph, (graph) => rebuilt(graph, GRAPH.node, node));
  const whole = rebuilt(model, MODEL.functions, (one) => rebuilt(one, FUNCTION.node, node));
  return changed ? whole : undefined;
}

/**
 * An attribute field of a node: name 'scale', type FLOAT, f the smallest normal number, 2^-126, which changes no sum that it
 * is added to. onnxruntime ends the process for a deviation of 0.
 */
const NEXT_TO_NOTHING = (() => {
  const attribute = Buffer.from([0x0a, 5, ...Buffer.from('scale'), 0x15, 0, 0, 0x80, 0, 0xa0, 0x01, 1]);
  return Buffer.from([0x2a, attribute.length, ...attribute]);
})();

function nameOf(attribute: Uint8Array): string {
  const name = fieldsOf(attribute).find(({ field }) => field === ATTRIBUTE.name);
  return name ? Buffer.from(name.content).toString('utf8') : '';
}

interface Field {
  readonly field: number;
  readonly wire: number;
  /** Where it lies in the message, its tag included. */
  readonly start: number;
  readonly end: number;
  /** Without tag and length. */
  readonly content: Uint8Array;
}

function fieldsOf(message: Uint8Array): Field[] {
  const fields: Field[] = [];
  let at = 0;
  const varint = (): number => {
    let value = 0;
    for (let shift = 0; shift < 64; shift += 7) {
      const byte = message[at++];
      if (byte === undefined) break;
      value += (byte & 127) * 2 ** shift;
      if (byte < 128) return value;
    }
    throw new Error('Expected an ONNX graph but found a number without an end');
  };
  while (at < message.length) {
    const start = at;
    const tag = varint();
    const wire = tag % 8;
    if (wire === 0) {
      const from = at;
      varint();
      fields.push({ field: Math.floor(tag / 8), wire, start, end: at, content: message.subarray(from, at) });
      continue;
    }
    const length = wire === 2 ? varint() : wire === 1 ? 8 : wire === 5 ? 4 : Number.NaN;
    const from = at;
    at += length;
    if (!(at <= message.length)) throw new Error('Expected an ONNX graph but found a field that goes beyond its end');
    fields.push({ field: Math.floor(tag / 8), wire, start, end: at, content: message.subarray(from, at) });
  }
  return fields;
}

/** A message with the messages of one field changed, or left out; the rest as it was, byte for byte. */
function rebuilt(
  message: Uint8Array,
  field: number,
  change: (content: Uint8Array) => Uint8Array | undefined,
): Uint8Array {
  const parts: Uint8Array[] = [];
  let kept = 0;
  for (const one of fieldsOf(message)) {
    if (one.field !== field || one.wire !== 2) continue;
    const made = change(one.content);
    if (made === one.content) continue;
    parts.push(message.subarray(kept, one.start));
    if (made) parts.push(...framed(field, [made]));
    kept = one.end;
  }
  if (parts.length === 0) return message;
  return Buffer.concat([...parts, message.subarray(kept)]);
}
