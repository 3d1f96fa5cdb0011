// The nodes of an ONNX graph, and which of them make a network's embedding of the time. Field numbers are those of onnx.proto.
import { concat, framed, varint } from './message.js';
import type { Field, WireFile } from './wire.js';

/** A node of the graph itself, not of the bodies of its loops. */
export interface GraphNode {
  /** May be empty, or another's too. */
  readonly name: string;
  /** Such as `'Sin'`. */
  readonly type: string;
  readonly inputs: readonly string[];
  readonly outputs: readonly string[];
  /** Where the field that it is begins and ends in the file. */
  readonly start: number;
  readonly end: number;
  /** Where its message begins, behind tag and length. */
  readonly body: number;
}

/** A graph's nodes in its own order, in which each comes behind those that it reads from. */
export interface GraphNodes {
  readonly nodes: readonly GraphNode[];
  /** Names of the values that the file holds. */
  readonly weights: ReadonlySet<string>;
  /** As a node's: of the graph. */
  readonly start: number;
  readonly end: number;
  readonly body: number;
}

/**
 * Reads the nodes of the graph in a file; weights are passed over.
 *
 * @throws WireError for what is no graph
 */
export function nodesIn(file: WireFile): GraphNodes {
  const nodes: GraphNode[] = [];
  const weights = new Set<string>();
  let place = { start: 0, end: 0, body: 0 };
  const inside = ({ start, end }: Field) => file.fields(start, end);
  let before = 0;
  for (const field of file.fields()) {
    const start = before;
    before = field.end;
    // ModelProto: graph is 7. GraphProto: node is 1, initializer 5. TensorProto: name is 8.
    if (field.number !== 7) continue;
    place = { start, end: field.end, body: field.start };
    let last = field.start;
    for (const part of inside(field)) {
      if (part.number === 1) nodes.push(nodeOf(file, part, last));
      else if (part.number === 5) {
        for (const inner of inside(part)) if (inner.number === 8) weights.add(file.text(inner));
      }
      last = part.end;
    }
  }
  return { nodes, weights, ...place };
}

/** NodeProto: input is 1, output 2, name 3, op_type 4. */
function nodeOf(file: WireFile, field: Field, start: number): GraphNode {
  const inputs: string[] = [];
  const outputs: string[] = [];
  let [name, type] = ['', ''];
  for (const part of file.fields(field.start, field.end)) {
    if (part.number === 1) inputs.push(file.text(part));
    else if (part.number === 2) outputs.push(file.text(part));
    else if (part.number === 3) name = file.text(part);
    else if (part.number === 4) type = file.text(part);
  }
  return { name, type, inputs, outputs, start, end: field.end, body: field.start };
}

/**
 * The nodes that make the sines and cosines of the time: those of type Sin and Cos that nothing but the input `time`, weights
 * and sizes goes into, and what comes before them. Graphics processors may err in a sine of a large argument by more than
 * float32's last places (WGSL asks for 2^-11 of absolute error, and only near zero), which a network amplifies.
 */
export function timeNodes({ nodes, weights }: GraphNodes, time = 'timestep'): GraphNode[] {
  const constant = new Set(['', ...weights]);
  const timed = new Map<string, GraphNode | undefined>([[time, undefined]]);
  const waves: GraphNode[] = [];
  for (const node of nodes) {
    if (node.type === 'Shape' || node.inputs.every((name) => constant.has(name))) {
      for (const name of node.outputs) constant.add(name);
    } else if (node.inputs.every((name) => timed.has(name) || constant.has(name))) {
      for (const name of node.outputs) timed.set(name, node);
      if (node.type === 'Sin' || node.type === 'Cos') waves.push(node);
    }
  }
  const found = new Set<GraphNode>();
  for (const waiting = [...waves]; waiting.length > 0; ) {
    const node = waiting.pop() as GraphNode;
    if (found.has(node)) continue;
    found.add(node);
    for (const name of node.inputs) {
      const source = timed.get(name);
      if (source) waiting.push(source);
    }
  }
  return nodes.filter((node) => found.has(node));
}

/**
 * The nodes that a graphics processor may compute too coarsely, by their names, and the graph where they had none of their own;
 * undefined for a graph without them.
 *
 * @param read gives the file's bytes
 */
export function timeEmbedding(
  graph: GraphNodes,
  read: () => Uint8Array,
): { names: string[]; bytes?: Uint8Array } | undefined {
  const nodes = timeNodes(graph);
  return nodes.length > 0 ? namesOf(graph, nodes, read) : undefined;
}

/**
 * Names for some of a graph's nodes by which each can be told from all others.
 *
 * @param read gives the file's bytes, where some have to be named anew
 * @returns their names, and the graph's bytes where some had to be: then they are not those of the file
 */
export function namesOf(
  graph: GraphNodes,
  some: readonly GraphNode[],
  read: () => Uint8Array,
): { names: string[]; bytes?: Uint8Array } {
  const counts = new Map<string, number>();
  for (const { name } of graph.nodes) counts.set(name, (counts.get(name) ?? 0) + 1);
  const renamed = new Map<GraphNode, string>();
  const names = some.map((node, i) => {
    if (node.name !== '' && counts.get(node.name) === 1) return node.name;
    let name = `time_${i}`;
    while (counts.has(name)) name += '_';
    renamed.set(node, name);
    return name;
  });
  return renamed.size === 0 ? { names } : { names, bytes: rename(read(), graph, renamed) };
}

function rename(file: Uint8Array, graph: GraphNodes, names: ReadonlyMap<GraphNode, string>): Uint8Array {
  const parts: Uint8Array[] = [];
  let at = graph.body;
  for (const [node, name] of names) {
    // Of a field that comes twice the last one counts, so the new name stands behind the message.
    const text = new TextEncoder().encode(name);
    const message = [file.subarray(node.body, node.end), Uint8Array.of(3 * 8 + 2), varint(text.length), text];
    parts.push(file.subarray(at, node.start), ...framed(1, message));
    at = node.end;
  }
  parts.push(file.subarray(at, graph.end));
  return concat([file.subarray(0, graph.start), ...framed(7, parts), file.subarray(graph.end)]);
}
