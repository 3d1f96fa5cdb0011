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

// One workgroup a sample. The k-th smallest |P| is found by its bits, eight at a time from the top: how many there are of each
// value of them says which one it is in; what comes next is the same number again, or the least above it.
export const QUANTILE = `
${BETWEEN}
var<workgroup> counts: array<atomic<u32>, 256>;
var<workgroup> found_bits: u32;
var<workgroup> rank: u32;
var<workgroup> equal: u32;
var<workgroup> least: atomic<u32>;
var<workgroup> bound: f32;
fn key(i: u32) -> u32 { return (bitcast<u32>(predicted(i)) ^ u.zero) & 0x7fffffffu; }
@compute @workgroup_size(${GROUP})
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
  let first = group.x * u.n;
  if (thread == 0u) {
    found_bits = 0u;
    rank = u.k;
    atomicStore(&least, 0x7fffffffu);
  }
  for (var round = 0u; round < 4u; round++) {
    let shift = 24u - 8u * round;
    atomicStore(&counts[thread], 0u);
    let so_far = workgroupUniformLoad(&found_bits);
    for (var j = thread; j < u.n; j += ${GROUP}u) {
      let bits = key(first + j);
      if (round == 0u || (bits >> (shift + 8u)) == (so_far >> (shift + 8u))) {
        atomicAdd(&counts[(bits >> shift) & 255u], 1u);
      }
    }
    workgroupBarrier();
    if (thread == 0u) {
      var before = 0u;
      var at = 0u;
      loop {
        let here = atomicLoad(&counts[at]);
        if (before + here > rank || at == 255u) {
          equal = here;
          break;
        }
        before += here;
        at++;
      }
      rank -= before;
      found_bits = so_far | (at << shift);
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
  if (thread == 0u) {
    var value = below;
    if (u.between == 1u && !again) { value = between(below, atomicLoad(&least)); }
    bound = clamp(bitcast<f32>(value), u.low, u.high);
  }
  let s = workgroupUniformLoad(&bound);
  for (var j = thread; j < u.n; j += ${GROUP}u) { step(first + j, s); }
}`;
