// Noise in WGSL: native/noise/philox.h and elementary.h in single precision, number by number, so that `noise: 'philox'` is
// drawn by the step itself. What is integer is exact; each product and sum is rounded by itself, and roots are rounded right.

/** 32 x 32 bits to 64, the low word first. */
export const WIDE = `
fn wide(a: u32, b: u32) -> vec2<u32> {
  let low = (a & 0xffffu) * (b & 0xffffu);
  let one = (a & 0xffffu) * (b >> 16u);
  let two = (a >> 16u) * (b & 0xffffu);
  let middle = (low >> 16u) + (one & 0xffffu) + (two & 0xffffu);
  let high = (a >> 16u) * (b >> 16u) + (one >> 16u) + (two >> 16u) + (middle >> 16u);
  return vec2<u32>((middle << 16u) | (low & 0xffffu), high);
}`;

// A conversion may give either neighbour of what is between two floats: both halves of a word are exact, and their sum is
// rounded. WGSL's root is off by a few units in the last place: its mantissa s is right where N, the number as a whole one of
// 46 to 48 bits, is within (s - 1/2)^2 and (s + 1/2)^2, which the low words of N and s^2 tell.
const ELEMENTARY = `
fn whole(v: u32) -> f32 { return rounded(rounded(f32(v >> 16u) * 65536.0) + f32(v & 0xffffu)); }
fn root(x: f32) -> f32 {
  let bits = bitcast<u32>(x);
  let exponent = bits >> 23u;
  let m = (bits & 0x7fffffu) | 0x800000u;
  let number = select(m << 24u, m << 23u, (exponent & 1u) == 1u);
  let unit = ((exponent + 127u) >> 1u) << 23u;
  var s = bitcast<u32>(rounded(sqrt(x))) - unit + 0x800000u;
  var rest = bitcast<i32>(number - s * s);
  for (var k = 0; k < 16; k++) {
    if (rest > i32(s)) {
      rest -= i32(2u * s + 1u);
      s++;
    } else if (rest <= -i32(s)) {
      rest += i32(2u * s - 1u);
      s--;
    }
  }
  return bitcast<f32>(unit + s - 0x800000u);
}
fn next(r: f32, z: f32, c: f32) -> f32 { return rounded(product(r, z) + c); }
fn log_uniform(word: u32) -> f32 {
  let last = f32(word & 1u) * 0.5 + 0.25;
  let v = rounded(whole(word >> 1u) + last) * 0x1p-31f;
  let moved = (bitcast<u32>(v) ^ u.zero) + (0x3f800000u - 0x3f3504f3u);
  let exponent = i32(moved >> 23u) - 127;
  let below = rounded(whole(~word & 0x7fffffffu) + 0.5) * -0x1p-32f;
  let fraction = rounded(bitcast<f32>((moved & 0x7fffffu) + 0x3f3504f3u) - 1.0);
  let f = select(fraction, below, exponent == 0);
  let k = f32(exponent);
  let s = quotient(f, rounded(2.0 + f));
  let z = product(s, s);
  let r = product(next(next(0x1.2ee61p-2f, z, 0x1.997c3p-2f), z, 0x1.55555cp-1f), z);
  let low = rounded(product(s, rounded(f - r)) - product(k, 0x1.7f7d1cp-20f));
  return rounded(product(k, 0x1.62e4p-1f) - rounded(low - f));
}
fn sine_or_cosine(word: u32, sine: bool) -> f32 {
  let q = (word + 0x20000000u) >> 30u;
  let rest = bitcast<i32>((word + 0x20000000u) & 0x3fffffffu) - 0x20000000;
  let size = whole(u32(abs(rest)));
  let r = select(size, -size, rest < 0) * 0x1p-32f;
  let z = product(r, r);
  let sign = (select(q + 1u, q, sine) & 2u) << 30u;
  // Odd quadrants exchange the two.
  if (sine == ((q & 1u) == 0u)) {
    let s = next(next(-0x1.2ee7bcp+6f, z, 0x1.4665e8p+6f), z, -0x1.4abbccp+5f);
    let value = rounded(product(r, 0x1.921fb6p+2f) + product(product(r, z), s));
    return bitcast<f32>((bitcast<u32>(value) ^ u.zero) ^ sign);
  }
  let c = next(next(0x1.dd0736p+5f, z, -0x1.55d016p+6f), z, 0x1.03c1fp+6f);
  let left = rounded(product(z, 0x1.3bd3ccp+4f) - product(product(z, z), c));
  return bitcast<f32>((bitcast<u32>(rounded(1.0 - left)) ^ u.zero) ^ sign);
}`;

/** The noise of element i of a batch. `b_z` has of each sample the seed's two words, the evaluation, and the stream. */
export const NOISE = `
${ELEMENTARY}
fn philox(from_counter: vec4<u32>, from_key: vec2<u32>) -> vec4<u32> {
  var c = from_counter;
  var key = from_key;
  for (var round = 0u; round < 10u; round++) {
    let one = wide(0xd2511f53u, c[0]);
    let two = wide(0xcd9e8d57u, c[2]);
    c = vec4<u32>(two[1] ^ c[1] ^ key[0], two[0], one[1] ^ c[3] ^ key[1], one[0]);
    key += vec2<u32>(0x9e3779b9u, 0xbb67ae85u);
  }
  return c;
}
fn noise(i: u32) -> f32 {
  let sample = i / u.n;
  let e = i - sample * u.n;
  let drawn = b_z[sample];
  let words = philox(vec4<u32>(e >> 2u, 0u, drawn[2], drawn[3]), drawn.xy);
  let pair = select(words.xy, words.zw, (e & 2u) == 2u);
  return product(root(-2.0 * log_uniform(pair[0])), sine_or_cosine(pair[1], (e & 1u) == 1u));
}`;
