// The step as one WGSL kernel: native/step/row.h for graphics processors of any make. Sums have the terms of the native step
// in its order, so that the bits are the same wherever the processor rounds products and sums as IEEE 754 says.
import { ROW, SUM, TRANSFORM } from '../../addon/coefficients.js';
import type { Made, Term } from './graph.js';
import type { FloatType, StepRequest } from './steps.js';
import { NOISE, WIDE } from './wgsl-noise.js';
import { FOUND_BOUND, GROUP, partsOf, QUANTILE, type Search, SEARCH_KERNELS } from './wgsl-quantile.js';

/** What a sum is over: tensors, the prediction P, and what the history keeps of it. */
type Source = Exclude<Term, 'd0'> | 'p' | 'd0';
type Weighed = readonly [source: Source, weight: number];

/** A row as the native step resolves it: terms that are absent or count nothing are gone. */
export interface Resolved {
  /** P before its transform; P itself is `kept` where it is given. */
  readonly prediction: readonly Weighed[];
  readonly given: boolean;
  /** `quantile` with a bound that has to be found. */
  readonly transform: 'none' | 'clamp' | 'divide' | 'quantile';
  /** Of the history entry; null where that is P. */
  readonly d0: readonly Weighed[] | null;
  readonly sums: readonly { readonly made: 'out' | 'out2'; readonly terms: readonly Weighed[] }[];
  readonly bounds: { readonly ratio: number; readonly floor: number; readonly cap: number };
}

/** @see native/cpu/sample.cpp, Resolve */
export function resolve(request: StepRequest): Resolved {
  const { row, output, doubled, given, history, noisy, second, sameBase } = request;
  const present = new Set<Source>(['x', 'base', 'p', 'd0', ...history.map((i) => `d${i}` as Source)]);
  if (output) present.add('m');
  if (output && doubled) present.add('u');
  if (noisy) present.add('z');
  const terms = (...all: Weighed[]) => all.filter(([source, weight]) => weight !== 0 && present.has(source));
  const isP = row[ROW.ep] === 1 && row[ROW.ex] === 0 && row[ROW.em] === 0 && row[ROW.eu] === 0;
  const sum = (at: number): Weighed[] => {
    const [bp, b0] = [row[at + SUM.bp], row[at + SUM.b0]];
    // Where the history keeps P itself the two coefficients are one.
    const own: Weighed[] = isP
      ? [['p', bp + b0]]
      : [
          ['p', bp],
          ['d0', b0],
        ];
    const earlier = [1, 2, 3].map((i): Weighed => [`d${i}` as Source, row[at + SUM.b0 + i]]);
    return terms([sameBase ? 'x' : 'base', row[at + SUM.a]], ...own, ...earlier, ['z', row[at + SUM.n]]);
  };
  const [floor, cap] = [row[ROW.floor], row[ROW.cap]];
  return {
    prediction: terms(['x', row[ROW.cx]], ['m', row[ROW.cm]], ['u', row[ROW.cu]]),
    given,
    transform: transformOf(given ? TRANSFORM.given : row[ROW.transform], floor, cap),
    d0: isP ? null : terms(['p', row[ROW.ep]], ['x', row[ROW.ex]], ['m', row[ROW.em]], ['u', row[ROW.eu]]),
    sums: [
      { made: 'out', terms: sum(ROW.first) },
      ...(second ? [{ made: 'out2' as const, terms: sum(ROW.second) }] : []),
    ],
    bounds: { ratio: row[ROW.ratio], floor, cap },
  };
}

function transformOf(transform: number, floor: number, cap: number): Resolved['transform'] {
  if (transform === TRANSFORM.clamp) return 'clamp';
  if (transform !== TRANSFORM.quantile) return 'none';
  return floor < cap ? 'quantile' : 'divide';
}

/** What decides how a kernel looks; what it is multiplied by is in its uniform. */
export interface KernelShape {
  readonly resolved: Resolved;
  readonly output: FloatType | null;
  /** What it writes. */
  readonly makes: readonly Made[];
  /** The network's input is the new state, twice. */
  readonly twice: boolean;
  /** Has the bound been found by kernels of its own? */
  readonly spread: boolean;
  /** Is noise drawn by the kernel, from the seeds that stand for it? */
  readonly draws: boolean;
}

/** A kernel and its buffers, in the order of their bindings, behind the uniform. */
export interface Kernel {
  readonly code: string;
  readonly reads: readonly Exclude<Term, 'u' | 'd0'>[];
  readonly writes: readonly (Made | 'next' | 'found' | 'search')[];
}

/** Elements of a thread of the plain step. */
const EACH = 4;
/** Of the uniform: four numbers, the quantile's, its bounds, coefficients. */
const COEFFICIENTS_AT = 12;
const MOST_COEFFICIENTS = 32;

/** The uniform of a step. */
export function uniformOf({ resolved }: KernelShape, batch: number, n: number): Uint8Array {
  const words = new Uint32Array(COEFFICIENTS_AT + MOST_COEFFICIENTS);
  const numbers = new Float32Array(words.buffer);
  // The last one is the zero that compilers cannot see: what is added by it cannot be contracted.
  words.set([n, batch * n, batch, 0]);
  const { ratio, floor, cap } = resolved.bounds;
  // native/cpu/threshold.cpp, OrderOf
  const position = ratio * (n - 1);
  const k = Math.min(Math.floor(position), n - 1);
  const weight = position - k;
  words[4] = k;
  words[5] = weight > 0 && k + 1 < n ? 1 : 0;
  // In units of 2^-63, of which every double that matters is a whole number.
  const units = BigInt(Math.floor(weight * 2 ** 63));
  words[6] = Number(units & 0xffffffffn);
  words[7] = Number(units >> 32n);
  numbers[8] = floor;
  numbers[9] = Math.min(cap, 3.4028234663852886e38);
  words[10] = partsOf(n);
  numbers.set(
    listOf(resolved).map(([, weight]) => weight),
    COEFFICIENTS_AT,
  );
  return new Uint8Array(words.buffer);
}

function listOf({ prediction, d0, sums }: Resolved): Weighed[] {
  return [...prediction, ...(d0 ?? []), ...sums.flatMap(({ terms }) => terms)];
}

/** The uniform of {@link inputKernel}. */
export function inputUniform(elements: number): Uint8Array {
  const words = new Uint32Array(COEFFICIENTS_AT + MOST_COEFFICIENTS);
  words.set([elements, elements, 1, 0]);
  return new Uint8Array(words.buffer);
}

/** Threads that a plain step is shared out to, as workgroups. */
export function groupsOf(elements: number): number {
  return Math.ceil(elements / (GROUP * EACH));
}

/** The kernel of a shape. */
export function kernelOf(shape: KernelShape): Kernel {
  const { resolved, output, makes, twice, spread, draws } = shape;
  const { prediction, given, transform, d0, sums } = resolved;
  const divides = transform === 'quantile' || transform === 'divide';
  const wanted = sums.filter(({ made }) => makes.includes(made));
  const inSums = wanted.flatMap(({ terms }) => terms.map(([source]) => source));
  const usesD0 = makes.includes('d0') || inSums.includes('d0');
  const usesP =
    output !== null || inSums.includes('p') || (usesD0 && (d0 === null || d0.some(([source]) => source === 'p')));
  const sources = new Set<Source>(inSums);
  if (usesP) for (const [source] of given ? [['kept'] as const] : prediction) sources.add(source);
  if (usesD0) for (const [source] of d0 ?? []) sources.add(source);
  const reads = tensorsOf(sources);
  const writes: Kernel['writes'][number][] = [...makes];
  if (twice) writes.push('next');
  if (output) writes.push('found');
  if (spread) writes.push('search');
  // Coefficients by where they stand in the uniform.
  let at = 0;
  const numbered = (terms: readonly Weighed[]) => terms.map(([source]) => [source, at++] as const);
  const p = numbered(prediction);
  const kept = numbered(d0 ?? []);
  const made = sums.map((one) => ({ ...one, terms: numbered(one.terms) }));
  const lines = declared(shape, reads, writes);
  const sumOf = (terms: readonly Numbered[]) => summed(shape, terms);
  if (usesP) lines.push(predicted(shape, p));
  const body: string[] = [];
  if (usesP) {
    body.push('var p = predicted(i);');
    if (output) body.push('if (bad(p)) { atomicMin(&b_found, i / u.n); }');
    if (transform !== 'none') body.push('p = clipped(p, s);');
    if (divides) body.push('p = quotient(p, s);');
  }
  if (usesD0) body.push(`let d0 = ${d0 === null ? 'p' : sumOf(kept)};`);
  for (const one of made) {
    if (!makes.includes(one.made)) continue;
    body.push(`let ${one.made} = ${sumOf(one.terms)};`, `b_${one.made}[i] = ${one.made};`);
  }
  if (makes.includes('d0')) body.push('b_d0[i] = d0;');
  if (twice) body.push('b_next[i] = out;', 'b_next[i + u.total] = out;');
  lines.push(`fn step(i: u32, s: f32) {\n  ${body.join('\n  ')}\n}`);
  const noisy = draws && reads.includes('z');
  if (transform !== 'none') lines.push(CLIP);
  if (divides || noisy) lines.push(DIVIDE);
  const alone = transform === 'quantile' && !spread;
  if (alone || noisy) lines.push(WIDE);
  if (noisy) lines.push(NOISE);
  if (alone) lines.push(QUANTILE);
  else {
    const bound = spread ? FOUND_BOUND : transform === 'divide' ? 'u.high' : 'u.low';
    lines.push(overElements('u.total', `step(i, ${bound});`));
  }
  return { code: lines.join('\n'), reads, writes };
}

/** A kernel of the search for the bounds of a step whose shape is `spread`. */
export function searchKernel(shape: KernelShape, search: Search): Kernel {
  const { prediction, given } = shape.resolved;
  const looks = search === 'count' || search === 'least';
  const reads = looks ? tensorsOf(given ? ['kept'] : prediction.map(([source]) => source)) : [];
  const lines = declared(shape, reads, ['search']);
  if (looks) {
    lines.push(
      predicted(
        shape,
        prediction.map(([source], i) => [source, i]),
      ),
    );
  }
  return { code: [...lines, WIDE, SEARCH_KERNELS[search]].join('\n'), reads, writes: ['search'] };
}

/** A source, and where in the uniform its coefficient is. */
type Numbered = readonly [source: Source, at: number];

/** The tensors that sources are read from. */
function tensorsOf(sources: Iterable<Source>): Exclude<Term, 'u' | 'd0'>[] {
  return [...new Set(Array.from(sources, (source) => (source === 'u' ? 'm' : source)))].filter(
    (source): source is Exclude<Term, 'u' | 'd0'> => source !== 'p' && source !== 'd0',
  );
}

/** The head of a kernel: its buffers in the order of their bindings. */
function declared({ output, draws }: KernelShape, reads: Kernel['reads'], writes: Kernel['writes']): string[] {
  const lines: string[] = [HEAD];
  let binding = 1;
  for (const name of reads) {
    const type = name === 'm' && output === 'float16' ? 'u32' : name === 'z' && draws ? 'vec4<u32>' : 'f32';
    lines.push(`@group(0) @binding(${binding++}) var<storage, read> b_${name}: array<${type}>;`);
  }
  for (const name of writes) {
    const type = name === 'found' ? 'atomic<u32>' : name === 'search' ? 'array<atomic<u32>>' : 'array<f32>';
    lines.push(`@group(0) @binding(${binding++}) var<storage, read_write> b_${name}: ${type};`);
  }
  if (reads.includes('m') && output === 'float16') lines.push(HALF);
  return lines;
}

/** A sum, in the order of its terms. */
function summed({ resolved, output, draws }: KernelShape, terms: readonly Numbered[]): string {
  const load = (source: Source): string => {
    if (source === 'p' || source === 'd0') return source;
    if (source === 'z' && draws) return 'noise(i)';
    if (source !== 'm' && source !== 'u') return `b_${source}[i]`;
    // The unconditional half is the first one.
    const index = source === 'm' && resolved.prediction.some(([one]) => one === 'u') ? 'i + u.total' : 'i';
    return output === 'float16' ? `half(${index})` : `b_m[${index}]`;
  };
  const products = terms.map(([source, i]) => `product(u.c[${i >> 2}][${i & 3}], ${load(source)})`);
  return products.length === 0 ? '0.0' : products.reduce((sum, next) => `rounded(${sum} + ${next})`);
}

/** P before its transform; its terms are the first ones. */
function predicted(shape: KernelShape, terms: readonly Numbered[]): string {
  return `fn predicted(i: u32) -> f32 { return ${shape.resolved.given ? 'b_kept[i]' : summed(shape, terms)}; }`;
}

// Products and sums that cannot be fused, nor be put in another order: what is exclusive-ored is zero, and no compiler knows.
const HEAD = `
struct Uniform {
  n: u32, total: u32, batch: u32, zero: u32,
  k: u32, between: u32, weight: vec2<u32>,
  low: f32, high: f32, parts: u32, unused: u32,
  c: array<vec4<f32>, ${MOST_COEFFICIENTS / 4}>,
}
@group(0) @binding(0) var<uniform> u: Uniform;
fn rounded(v: f32) -> f32 { return bitcast<f32>(bitcast<u32>(v) ^ u.zero); }
fn product(c: f32, v: f32) -> f32 { return rounded(c * v); }
fn bad(v: f32) -> bool { return ((bitcast<u32>(v) ^ u.zero) & 0x7f800000u) == 0x7f800000u; }
`;

const HALF = `
fn half(i: u32) -> f32 {
  let pair = unpack2x16float(b_m[i >> 1u]);
  return select(pair.x, pair.y, (i & 1u) == 1u);
}`;

const CLIP = `
fn clipped(p: f32, s: f32) -> f32 {
  let q = select(p, s, p > s);
  return select(q, -s, q < -s);
}`;

// WGSL's own quotient may be off by 2.5 units in the last place: what is left of p after q s, which is exact by the halves of
// q and s (Dekker 1971), says by how much.
const DIVIDE = `
fn upper(a: f32) -> f32 {
  let c = product(4097.0, a);
  return rounded(c - rounded(c - a));
}
fn residue(p: f32, q: f32, s: f32) -> f32 {
  let qs = product(q, s);
  let q1 = upper(q);
  let q2 = rounded(q - q1);
  let s1 = upper(s);
  let s2 = rounded(s - s1);
  let e1 = rounded(product(q1, s1) - qs);
  let e2 = rounded(e1 + product(q1, s2));
  let e3 = rounded(e2 + product(q2, s1));
  let low = rounded(e3 + product(q2, s2));
  return rounded(rounded(p - qs) - low);
}
fn quotient(p: f32, s: f32) -> f32 {
  if (bad(p) || p == 0.0) { return p; }
  let first = rounded(p / s);
  let second = rounded(first + rounded(residue(p, first, s) / s));
  return rounded(second + rounded(residue(p, second, s) / s));
}`;

/** What is done to each element of whole tensors: each thread has a few, those of a workgroup side by side. */
function overElements(count: string, work: string): string {
  return `
@compute @workgroup_size(${GROUP})
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) thread: u32) {
  let first = (group.y * groups.x + group.x) * ${GROUP * EACH}u + thread;
  for (var k = 0u; k < ${EACH}u; k++) {
    let i = first + k * ${GROUP}u;
    if (i < ${count}) { ${work} }
  }
}`;
}

/** The network's input for a state: in its type, once or twice. A thread makes a word of it. */
export function inputKernel(type: FloatType, twice: boolean): string {
  const times = twice ? 2 : 1;
  const [element, value] =
    type === 'float32' ? ['f32', 'b_state[i % u.total]'] : ['u32', `bits(2u * i) | (bits(2u * i + 1u) << 16u)`];
  const words = type === 'float32' ? `${times}u * u.total` : `(${times}u * u.total + 1u) / 2u`;
  return `${HEAD}
@group(0) @binding(1) var<storage, read> b_state: array<f32>;
@group(0) @binding(2) var<storage, read_write> b_next: array<${element}>;
${type === 'float16' ? HALF_BITS(times) : ''}${overElements(words, `b_next[i] = ${value};`)}`;
}

// native/step/element.h, FloatBitsToHalf, as WGSL leaves the rounding of its own conversion open.
const HALF_BITS = (times: number) => `
fn bits(i: u32) -> u32 {
  if (i >= ${times}u * u.total) { return 0u; }
  let f = bitcast<u32>(b_state[i % u.total]);
  let sign = (f >> 16u) & 0x8000u;
  let magnitude = f & 0x7fffffffu;
  var h = (magnitude + 0x0fffu + ((magnitude >> 13u) & 1u) - 0x38000000u) >> 13u;
  if (magnitude < 0x38800000u) { h = bitcast<u32>(rounded(bitcast<f32>(magnitude) + 0.5)) - 0x3f000000u; }
  if (magnitude >= 0x477ff000u) { h = 0x7c00u; }
  if (magnitude > 0x7f800000u) { h = 0x7e00u | ((magnitude >> 13u) & 0x03ffu); }
  return sign | h;
}`;
