// The step as an ONNX graph, for states that stay on a device: one graph for each shape of an update, with the coefficients as
// an input. What is a graph here is native/step/row.h on the host: sums over the tensors, P and D0 folded in, in double.
import { ROW, SUM } from '../../addon/coefficients.js';
import { typeNumber, type WrittenNode, type WrittenValue, writeGraph } from '../../onnx/write.js';

/** What tensors a step is over. */
export type Term = 'x' | 'm' | 'u' | 'base' | 'kept' | 'd0' | 'd1' | 'd2' | 'd3' | 'z';
/** What it makes: a history entry, the next state, and a second one. */
export type Made = 'd0' | 'out' | 'out2';

/** What decides how a step's graph looks. */
export interface StepShape {
  /** Dimensions of the state. */
  readonly rank: number;
  /** Of the network's output; null where the step is without one. */
  readonly output: 'float32' | 'float16' | null;
  /** Does the network's output have the unconditional half first? */
  readonly doubled: boolean;
  /** Of the network's input, where the state itself is not it. */
  readonly input: 'float32' | 'float16' | null;
  /** Is the network's input made once (false) or twice? */
  readonly twice: boolean;
  /** The sums, in order: each over its terms. */
  readonly sums: readonly { readonly made: Made; readonly terms: readonly Term[] }[];
}

/** A sum by what its terms are multiplied by. */
export type Sum = ReadonlyMap<Term, number>;

/** What a row says of a step; see {@link sumsOf}. */
export interface Wanted {
  /** Is the prediction read from `kept`? */
  readonly given: boolean;
  readonly keep: boolean;
  readonly noisy: boolean;
  readonly second: boolean;
  /** Is what the step starts from what the network saw? */
  readonly sameBase: boolean;
  /** Which earlier predictions are read, 1 to 3. */
  readonly history: readonly number[];
  readonly doubled: boolean;
  readonly network: boolean;
}

/** Splits have at most so many outputs: with its input, as many buffers as every graphics processor has for a kernel. */
const CHUNK = 7;

/**
 * A row as sums over what the step reads: P = cx x + cm m + cu u (or what is kept) and D0 = ep P + ex x + em m + eu u are put
 * in, so that nothing large cancels in float32. Where D0 is P, and is kept, the states are sums over it.
 */
export function sumsOf(row: Float64Array, wanted: Wanted): ReadonlyMap<Made, Sum> {
  const { given, keep, noisy, second, sameBase, history, doubled, network } = wanted;
  const outputs: Term[] = network ? (doubled ? ['m', 'u'] : ['m']) : [];
  const weigh = (x: number, m: number, u: number): Map<Term, number> => {
    const found = new Map<Term, number>([['x', x]]);
    for (const term of outputs) found.set(term, term === 'm' ? m : u);
    return found;
  };
  const p: Map<Term, number> = given
    ? new Map([['kept', 1]])
    : network
      ? weigh(row[ROW.cx], row[ROW.cm], row[ROW.cu])
      : new Map();
  const d0 = network ? weigh(row[ROW.ex], row[ROW.em], row[ROW.eu]) : new Map<Term, number>([['x', row[ROW.ex]]]);
  for (const [term, weight] of p) d0.set(term, (d0.get(term) ?? 0) + row[ROW.ep] * weight);
  const made = new Map<Made, Sum>();
  const isP = row[ROW.ep] === 1 && row[ROW.ex] === 0 && row[ROW.em] === 0 && row[ROW.eu] === 0;
  const overD0 = keep && isP && !given;
  if (keep) made.set('d0', d0);
  const add = (sum: Map<Term, number>, other: Sum, factor: number): void => {
    for (const [term, weight] of other) sum.set(term, (sum.get(term) ?? 0) + factor * weight);
  };
  for (const [name, at] of [
    ['out', ROW.first],
    ['out2', ROW.second],
  ] as const) {
    if (name === 'out2' && !second) continue;
    const sum = new Map<Term, number>([[sameBase ? 'x' : 'base', row[at + SUM.a]]]);
    if (overD0) sum.set('d0', row[at + SUM.bp] + row[at + SUM.b0]);
    else {
      add(sum, p, row[at + SUM.bp]);
      add(sum, d0, row[at + SUM.b0]);
    }
    for (const i of history) sum.set(`d${i}` as Term, row[at + SUM.b0 + i]);
    if (noisy && name === 'out') sum.set('z', row[at + SUM.n]);
    made.set(name, network ? sum : withoutNothing(sum));
  }
  return made;
}

/** The terms that count, or the first one where none does. */
function withoutNothing(sum: Sum): Sum {
  const some = [...sum].filter(([, weight]) => weight !== 0);
  return new Map(some.length > 0 ? some : [...sum].slice(0, 1));
}

/** The coefficients as the graph takes them: its inputs c0, c1, ... by their names. */
export function coefficientsOf(sums: ReadonlyMap<Made, Sum>): Record<string, Float32Array> {
  const all = [...sums.values()].flatMap((sum) => [...sum.values()]);
  const chunks: Record<string, Float32Array> = {};
  for (let at = 0; at < all.length; at += CHUNK) {
    chunks[`c${at / CHUNK}`] = Float32Array.from(all.slice(at, at + CHUNK));
  }
  return chunks;
}

/** The graph of a step. Its output `found` is the sum of |m| of each sample that the network gave: finite, where all of it is. */
export function stepGraph({ rank, output, doubled, input, twice, sums }: StepShape): Uint8Array {
  const dims = dimsOf(rank);
  const both = ['batches', ...dims.slice(1)];
  const state = (name: string): WrittenValue => ({ name, type: 'float32', dims });
  const nodes: WrittenNode[] = [];
  const terms = new Set(sums.flatMap((sum) => sum.terms));
  const total = sums.reduce((count, sum) => count + sum.terms.length, 0);
  const inputs = [...terms].filter((term) => !['m', 'u', 'd0'].includes(term)).map(state);
  const outputs: WrittenValue[] = sums.map(({ made }) => state(made));
  const scalars = Array.from({ length: total }, (_, i) => `w${i}`);
  for (let at = 0; at < total; at += CHUNK) {
    const some = scalars.slice(at, at + CHUNK);
    const name = `c${at / CHUNK}`;
    inputs.push({ name, type: 'float32', dims: [some.length] });
    nodes.push({ type: some.length > 1 ? 'Split' : 'Identity', inputs: [name], outputs: some });
  }
  const sizes: Record<string, number[]> = {};
  if (output) {
    inputs.push({ name: 'output', type: output, dims: doubled ? both : dims });
    let whole = 'output';
    if (output !== 'float32') {
      whole = 'wide';
      nodes.push(cast('output', whole, 'float32'));
    }
    const halves = doubled ? ['u', 'm'] : ['m'];
    nodes.push({ type: doubled ? 'Split' : 'Identity', inputs: [whole], outputs: halves });
    nodes.push({ type: 'Abs', inputs: [whole], outputs: ['size'] });
    nodes.push(...reduced('size', 'found', rank, sizes));
    outputs.push({ name: 'found', type: 'float32', dims: [doubled ? 'batches' : 'batch'] });
  }
  let next = 0;
  for (const { made, terms: own } of sums) {
    const products = own.map((term) => {
      const name = `p${next}`;
      nodes.push({ type: 'Mul', inputs: [term, scalars[next++]], outputs: [name] });
      return name;
    });
    let sum = products[0];
    products.slice(1).forEach((product, i, rest) => {
      const to = i === rest.length - 1 ? made : `${made}_${i}`;
      nodes.push({ type: 'Add', inputs: [sum, product], outputs: [to] });
      sum = to;
    });
    if (products.length === 1) nodes.push({ type: 'Identity', inputs: [sum], outputs: [made] });
  }
  if (input) {
    nodes.push(...inputNodes(input, twice));
    outputs.push({ name: 'next', type: input, dims: twice ? both : dims });
  }
  return writeGraph({ inputs, outputs, nodes, sizes });
}

/** From the state to what the network is given, in its type, once or twice. */
function inputNodes(type: 'float32' | 'float16', twice: boolean): WrittenNode[] {
  const [from, nodes] = type === 'float32' ? ['out', []] : ['narrow', [cast('out', 'narrow', type)]];
  const last: WrittenNode = twice
    ? { type: 'Concat', inputs: [from, from], outputs: ['next'], attributes: { axis: 0 } }
    : { type: 'Identity', inputs: [from], outputs: ['next'] };
  return [...nodes, last];
}

function cast(from: string, to: string, type: 'float32' | 'float16'): WrittenNode {
  return { type: 'Cast', inputs: [from], outputs: [to], attributes: { to: typeNumber(type) } };
}

/** The same alone: for the start, and for states that were changed on the host. */
export function inputGraph(rank: number, type: 'float32' | 'float16', twice: boolean): Uint8Array {
  const dims = dimsOf(rank);
  return writeGraph({
    inputs: [{ name: 'out', type: 'float32', dims }],
    outputs: [{ name: 'next', type, dims: twice ? ['batches', ...dims.slice(1)] : dims }],
    nodes: inputNodes(type, twice),
  });
}

/** free x + alpha x0 + sigma noise: what is known is 0 where the state is free. */
export function blendGraph(rank: number): Uint8Array {
  const dims = dimsOf(rank);
  const state = (name: string): WrittenValue => ({ name, type: 'float32', dims });
  const product = (a: string, b: string, to: string): WrittenNode => ({ type: 'Mul', inputs: [a, b], outputs: [to] });
  return writeGraph({
    inputs: [
      ...['x', 'x0', 'noise'].map(state),
      { name: 'free', type: 'float32', dims: dims.map((dim, i) => (i < 2 ? 1 : dim)) },
      { name: 'c', type: 'float32', dims: [2] },
    ],
    outputs: [state('y')],
    nodes: [
      { type: 'Split', inputs: ['c'], outputs: ['alpha', 'sigma'] },
      product('x', 'free', 'own'),
      product('x0', 'alpha', 'mean'),
      product('noise', 'sigma', 'spread'),
      { type: 'Add', inputs: ['mean', 'spread'], outputs: ['known'] },
      { type: 'Add', inputs: ['own', 'known'], outputs: ['y'] },
    ],
  });
}

function dimsOf(rank: number): string[] {
  return Array.from({ length: rank }, (_, i) => (i === 0 ? 'batch' : `n${i}`));
}

/** Sums over all dimensions but the first; the last one alone before the others, as a kernel adds one sum after the other. */
function reduced(from: string, to: string, rank: number, sizes: Record<string, number[]>): WrittenNode[] {
  if (rank === 1) return [{ type: 'Identity', inputs: [from], outputs: [to] }];
  sizes.last = [rank - 1];
  const once = { type: 'ReduceSum', attributes: { keepdims: 0 } } as const;
  if (rank === 2) return [{ ...once, inputs: [from, 'last'], outputs: [to] }];
  sizes.others = Array.from({ length: rank - 2 }, (_, i) => i + 1);
  return [
    { ...once, inputs: [from, 'last'], outputs: ['rows'] },
    { ...once, inputs: ['rows', 'others'], outputs: [to] },
  ];
}

/** A graph that gives back what it gets: the way from the host to a device and back. */
export function copyGraph(type: WrittenValue['type'], rank: number): Uint8Array {
  const dims = dimsOf(rank);
  return writeGraph({
    inputs: [{ name: 'x', type, dims }],
    outputs: [{ name: 'y', type, dims }],
    nodes: [{ type: 'Identity', inputs: ['x'], outputs: ['y'] }],
  });
}
