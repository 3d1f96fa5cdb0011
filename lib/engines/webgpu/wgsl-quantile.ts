// Dynamic thresholding in WGSL: the quantile of |P| of a sample, exact as the native step has it.

/** Threads of a workgroup. */
export const GROUP = 256;

// below + weight (above - below) as native/cpu/threshold.cpp has it, where each operation rounds to a double and the result to
// a float: whole numbers of 128 bits, in units of 2^-63 of the last place of `below`. Ratios such as 0.995 make ties and near
// ties so often that nothing less will do.
const BETWEEN = `
fn add(a: vec4<u32>, b: vec4<u32>) -> vec4<u32> {
  var sum: vec4<u32>;
  var carry = 0u;
  for (var i = 0u; i < 4u; i++) {
    let one = a[i] + b[i];
    let two = one + carry;
    carry = u32(one < a[i]) | u32(two < one);
    sum[i] = two;
  }
  return sum;
}
fn shifted(v: vec4<u32>, by: u32) -> vec4<u32> {
  let words = by >> 5u;
  let bits = by & 31u;
  var moved: vec4<u32>;
  for (var i = words; i < 4u; i++) {
    moved[i] = v[i - words] << bits;
    if (bits > 0u && i > words) { moved[i] |= v[i - words - 1u] >> (32u - bits); }
  }
  return moved;
}
fn bit(v: vec4<u32>, at: u32) -> u32 { return (v[at >> 5u] >> (at & 31u)) & 1u; }
fn highest(v: vec4<u32>) -> u32 {
  for (var i = 3u; i > 0u; i--) {
    if (v[i] != 0u) { return 32u * i + firstLeadingBit(v[i]); }
  }
  return select(firstLeadingBit(v[0]), 0u, v[0] == 0u);
}
fn to_bits(v: vec4<u32>, bits: u32) -> vec4<u32> {
  let top = highest(v);
  if (top < bits) { return v; }
  let dropped = top + 1u - bits;
  var kept = v;
  var rest = 0u;
  for (var i = 0u; i < 4u; i++) {
    if (32u * i >= dropped) { break; }
    let mask = select(0xffffffffu, (1u << (dropped & 31u)) - 1u, dropped - 32u * i < 32u);
    var below_half = mask;
    if ((dropped - 1u) >> 5u == i) { below_half &= ~(1u << ((dropped - 1u) & 31u)); }
    rest |= v[i] & below_half;
    kept[i] &= ~mask;
  }
  if (bit(v, dropped - 1u) == 1u && (rest != 0u || bit(v, dropped) == 1u)) {
    kept = add(kept, shifted(vec4<u32>(1u, 0u, 0u, 0u), dropped));
  }
  return kept;
}
fn units(a: u32, b: u32) -> vec4<u32> { return vec4<u32>(wide(a, b), 0u, 0u); }
fn exponent(bits: u32) -> u32 { return max(bits >> 23u, 1u); }
fn mantissa(bits: u32) -> u32 { return (bits & 0x7fffffu) | select(0u, 0x800000u, bits >= 0x800000u); }
fn between(below: u32, above: u32) -> u32 {
  let gap = min(exponent(above) - exponent(below), 40u);
  let unit = exponent(above) - gap;
  let base = select(0u, mantissa(below), unit == exponent(below));
  // The complement of base, for a difference.
  let minus = add(vec4<u32>(~base, 0xffffffffu, 0xffffffffu, 0xffffffffu), vec4<u32>(1u, 0u, 0u, 0u));
  let d = to_bits(add(shifted(vec4<u32>(mantissa(above), 0u, 0u, 0u), gap), minus), 53u);
  let w = u.weight;
  var product = add(units(d[0], w[0]), shifted(units(d[1], w[1]), 64u));
  product = add(product, shifted(add(units(d[0], w[1]), units(d[1], w[0])), 32u));
  let sum = add(to_bits(product, 53u), shifted(vec4<u32>(base, 0u, 0u, 0u), 63u));
  let rounded_sum = to_bits(to_bits(sum, 53u), 24u);
  let top = highest(rounded_sum);
  // Below the least normal number there is nothing that a bound could be.
  if (top + unit < 64u + 23u) { return below; }
  var digits = 0u;
  for (var i = 0u; i < 23u; i++) { digits |= bit(rounded_sum, top - 1u - i) << (22u - i); }
  return ((top + unit - 63u - 23u) << 23u) | digits;
}`;

const COMMON = `
${BETWEEN}
var<workgroup> counts: array<atomic<u32>, 256>;
fn counted(bits: u32, round: u32, so_far: u32) {
  let shift = 24u - 8u * round;
  if (round == 0u || (bits >> (shift + 8u)) == (so_far >> (shift + 8u))) {
    atomicAdd(&counts[(bits >> shift) & 255u], 1u);
  }
}
fn picked(rank: u32) -> vec3<u32> {
  var before = 0u;
  var at = 0u;
  for (; at < 255u; at++) {
    let here = atomicLoad(&counts[at]);
    if (before + here > rank) { break; }
    before += here;
  }
  return vec3<u32>(at, before, atomicLoad(&counts[at]));
}
fn bounded(below: u32, again: bool, least: u32) -> f32 {
  var value = below;
  if (u.between == 1u && !again) { value = between(below, least); }
  return clamp(bitcast<f32>(value), u.low, u.high);
}`;

const KEY = 'fn key(i: u32) -> u32 { return (bitcast<u32>(predicted(i)) ^ u.zero) & 0x7fffffffu; }';

// One workgroup a sample. The k-th smallest |P| is found by its bits, eight at a time from the top: how many there are of each
// value of them says which one it is in; what comes next is the same number again, or the least above it.
export const QUANTILE = `
${COMMON}
${KEY}
var<workgroup> found_bits: u32;
var<workgroup> rank: u32;
var<workgroup> equal: u32;
var<workgroup> least: atomic<u32>;
var<workgroup> bound: f32;
@compute @workgroup_size(${GROUP})
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
  let first = group.x * u.n;
  if (thread == 0u) {
    found_bits = 0u;
    rank = u.k;
    atomicStore(&least, 0x7fffffffu);
  }
  for (var round = 0u; round < 4u; round++) {
    atomicStore(&counts[thread], 0u);
    let so_far = workgroupUniformLoad(&found_bits);
    for (var j = thread; j < u.n; j += ${GROUP}u) { counted(key(first + j), round, so_far); }
    workgroupBarrier();
    if (thread == 0u) {
      let digit = picked(rank);
      rank -= digit[1];
      equal = digit[2];
      found_bits = so_far | (digit[0] << (24u - 8u * round));
    }
    workgroupBarrier();
  }
  let below = workgroupUniformLoad(&found_bits);
  let again = workgroupUniformLoad(&rank) + 1u < workgroupUniformLoad(&equal);
  if (u.between == 1u && !again) {
    for (var j = thread; j < u.n; j += ${GROUP}u) {
      let bits = key(first + j);
      if (bits > below) { atomicMin(&least, bits); }
    }
  }
  workgroupBarrier();
  if (thread == 0u) { bound = bounded(below, again, atomicLoad(&least)); }
  let s = workgroupUniformLoad(&bound);
  for (var j = thread; j < u.n; j += ${GROUP}u) { step(first + j, s); }
}`;

/**
 * Numbers of a sample from which on several workgroups look for its quantile, each at some of them: one kernel after the other,
 * which have what was found so far in a buffer.
 */
export const SPREAD_FROM = 16_384;

/** Workgroups for a sample of so many numbers. */
export function partsOf(n: number): number {
  return n < SPREAD_FROM ? 1 : Math.min(256, Math.ceil(n / (16 * GROUP)));
}

/** Of each sample, in words: how many there are of each value of eight bits, and where the search stands. */
const SEARCH = { found: 256, rank: 257, equal: 258, least: 259, round: 260, bound: 261, length: 264 } as const;
const NO_NUMBER = 0x7fffffff;

/** The buffer of a search that has not begun, for samples whose k-th number is looked for. Each search leaves it so. */
export function searchBuffer(batch: number, k: number): Uint32Array {
  const words = new Uint32Array(SEARCH.length * batch);
  for (let i = 0; i < batch; i++) {
    words[i * SEARCH.length + SEARCH.rank] = k;
    words[i * SEARCH.length + SEARCH.least] = NO_NUMBER;
  }
  return words;
}

/** What a search is made of. */
export type Search = 'count' | 'pick' | 'least' | 'bound';
/** The kernels of a search, in their order. */
export const SEARCHES: readonly Search[] = [
  ...Array.from({ length: 4 }, () => ['count', 'pick'] as const).flat(),
  ...(['least', 'bound'] as const),
];

const at = (name: keyof typeof SEARCH) => `b_search[sample * ${SEARCH.length}u + ${SEARCH[name]}u]`;

/** The bound that a search has found for the sample of element i. */
export const FOUND_BOUND = `bitcast<f32>(atomicLoad(&b_search[(i / u.n) * ${SEARCH.length}u + ${SEARCH.bound}u]))`;

// Workgroups that share a sample go through its elements side by side.
const SHARED = `
@compute @workgroup_size(${GROUP})
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) thread: u32) {
  let index = group.y * groups.x + group.x;
  let sample = min(index / u.parts, u.batch - 1u);
  let own = select(u.n, (index % u.parts) * ${GROUP}u + thread, index < u.parts * u.batch);
  let first = sample * u.n;`;

/** The kernel of one of them. Those that count and look for the least call `predicted`. */
export const SEARCH_KERNELS: Readonly<Record<Search, string>> = {
  count: `
${COMMON}
${KEY}
${SHARED}
  atomicStore(&counts[thread], 0u);
  let round = atomicLoad(&${at('round')});
  let so_far = atomicLoad(&${at('found')});
  workgroupBarrier();
  for (var j = own; j < u.n; j += u.parts * ${GROUP}u) { counted(key(first + j), round, so_far); }
  workgroupBarrier();
  let here = atomicLoad(&counts[thread]);
  if (here > 0u) { atomicAdd(&b_search[sample * ${SEARCH.length}u + thread], here); }
}`,
  pick: `
${COMMON}
@compute @workgroup_size(${GROUP})
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
  let sample = min(group.x, u.batch - 1u);
  atomicStore(&counts[thread], atomicExchange(&b_search[sample * ${SEARCH.length}u + thread], 0u));
  workgroupBarrier();
  if (thread == 0u) {
    let digit = picked(atomicLoad(&${at('rank')}));
    atomicSub(&${at('rank')}, digit[1]);
    atomicStore(&${at('equal')}, digit[2]);
    atomicOr(&${at('found')}, digit[0] << (24u - 8u * atomicAdd(&${at('round')}, 1u)));
  }
}`,
  least: `
${COMMON}
${KEY}
var<workgroup> least: atomic<u32>;
${SHARED}
  if (thread == 0u) { atomicStore(&least, ${NO_NUMBER}u); }
  workgroupBarrier();
  let below = atomicLoad(&${at('found')});
  if (u.between == 1u) {
    for (var j = own; j < u.n; j += u.parts * ${GROUP}u) {
      let bits = key(first + j);
      if (bits > below) { atomicMin(&least, bits); }
    }
  }
  workgroupBarrier();
  if (thread == 0u) { atomicMin(&${at('least')}, atomicLoad(&least)); }
}`,
  bound: `
${COMMON}
@compute @workgroup_size(1)
fn main(@builtin(workgroup_id) group: vec3<u32>) {
  let sample = group.x;
  let again = atomicLoad(&${at('rank')}) + 1u < atomicLoad(&${at('equal')});
  let s = bounded(atomicExchange(&${at('found')}, 0u), again, atomicExchange(&${at('least')}, ${NO_NUMBER}u));
  atomicStore(&${at('bound')}, bitcast<u32>(s));
  atomicStore(&${at('rank')}, u.k);
  atomicStore(&${at('round')}, 0u);
}`,
};
