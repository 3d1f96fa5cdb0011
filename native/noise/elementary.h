// log, and sin and cos of whole turns, for the Box-Muller transform, with the same bits on every target.
//
// libm's results change with its version and with the processor. Here are only additions, multiplications, divisions
// and moves of bits, each of which IEEE 754 defines to the last bit. The one condition is that nothing is contracted to
// a fused multiply-add: -ffp-contract=off, nvcc -fmad=false (and no -use_fast_math).
//
// There are no branches and no tables, so that compilers turn loops over these functions into vector code.
// The constants come from test/fixtures/noise_coefficients.py, which fits them in 60 digits.
#pragma once

#include <cstdint>
#include <cstring>

#if defined(__CUDACC__)
#define DPM_NOISE_INLINE __host__ __device__ __forceinline__
#elif defined(_MSC_VER)
#define DPM_NOISE_INLINE __forceinline
#else
#define DPM_NOISE_INLINE inline __attribute__((always_inline))
#endif

namespace dpm::noise {

DPM_NOISE_INLINE uint64_t Bits(double x) {
  uint64_t bits;
  memcpy(&bits, &x, sizeof bits);
  return bits;
}

DPM_NOISE_INLINE uint32_t Bits(float x) {
  uint32_t bits;
  memcpy(&bits, &x, sizeof bits);
  return bits;
}

DPM_NOISE_INLINE double FromBits(uint64_t bits) {
  double x;
  memcpy(&x, &bits, sizeof x);
  return x;
}

DPM_NOISE_INLINE float FromBits(uint32_t bits) {
  float x;
  memcpy(&x, &bits, sizeof x);
  return x;
}

// log(x) for a positive normal x; other arguments give meaningless values. Error below 0.95 ulp.
//
// x = 2^k m with m in [sqrt(1/2), sqrt(2)), f = m - 1 (exact), s = f / (2 + f), log(m) = 2 atanh(s) = f - s (f -
// R(s^2)).
DPM_NOISE_INLINE double Log(double x) {
  constexpr uint64_t kOne = 0x3ff0000000000000, kSqrtHalf = 0x3fe6a09e667f3bcd, kMantissa = 0x000fffffffffffff;
  const uint64_t shifted = Bits(x) + (kOne - kSqrtHalf);
  // The biased exponent in the low bits of 2^52: an integer becomes a double without a conversion instruction.
  const double k = FromBits((shifted >> 52) | 0x4330000000000000) - (4503599627370496.0 + 1023.0);
  const double f = FromBits((shifted & kMantissa) + kSqrtHalf) - 1.0;
  const double s = f / (2.0 + f);
  const double z = s * s;
  double r = 0x1.2b584abe1acc3p-3;
  r = r * z + 0x1.39fe6063c42c6p-3;
  r = r * z + 0x1.7462b4ab3d096p-3;
  r = r * z + 0x1.c71c62e57fca7p-3;
  r = r * z + 0x1.2492492df1491p-2;
  r = r * z + 0x1.99999999952e2p-2;
  r = r * z + 0x1.5555555555558p-1;
  r = r * z;
  // The high part of ln 2 has 42 bits: k times it is exact.
  return k * 0x1.62e42fefa38p-1 - ((s * (f - r) - k * 0x1.ef35793c7673p-45) - f);
}

// *sine = sin(2 pi (q / 4 + r)), *cosine = the cosine, for |r| <= 1/8 turn and quadrant q modulo 4.
DPM_NOISE_INLINE void SinCosReduced(double r, uint64_t q, double* sine, double* cosine) {
  const double z = r * r;
  double s = 0x1.e4a9d911d757ap+1;
  s = s * z - 0x1.e3027dea761c2p+3;
  s = s * z + 0x1.5078320884321p+5;
  s = s * z - 0x1.32d2cce500387p+6;
  s = s * z + 0x1.466bc6775a476p+6;
  s = s * z - 0x1.4abbce625be52p+5;
  double c = -0x1.b38340f1cd102p+0;
  c = c * z + 0x1.f9cfc0772e27fp+2;
  c = c * z - 0x1.a6d1f0ab78fbdp+4;
  c = c * z + 0x1.e1f50688302c5p+5;
  c = c * z - 0x1.55d3c7e3cbd74p+6;
  c = c * z + 0x1.03c1f081b5ac4p+6;
  // 2 pi r to more than double precision: the upper 26 bits of both factors multiply exactly.
  const double upper = FromBits(Bits(r) & 0xfffffffff8000000);
  const double rest = (r - upper) * 0x1.921fb5p+2 + r * 0x1.110b4611a6263p-24;
  s = upper * 0x1.921fb5p+2 + (rest + r * z * s);
  // 1 - h + z^2 c with what the first subtraction rounded off put back.
  const double h = z * 0x1.3bd3cc9be45dep+4;
  const double w = 1.0 - h;
  c = w + (((1.0 - w) - h) + z * z * c);
  // Odd quadrants exchange the two; the second and third negate the sine, the first and second the cosine.
  const uint64_t sine_bits = Bits(s), cosine_bits = Bits(c);
  const uint64_t exchange = (sine_bits ^ cosine_bits) & (0 - (q & 1));
  *sine = FromBits(sine_bits ^ exchange ^ ((q & 2) << 62));
  *cosine = FromBits(cosine_bits ^ exchange ^ (((q + 1) & 2) << 62));
}

// *sine = sin(2 pi u), *cosine = cos(2 pi u) for u in [0, 1]. Errors below 1.1 ulp; exact at multiples of 1/4.
DPM_NOISE_INLINE void SinCosTurn(double u, double* sine, double* cosine) {
  // Adding 1.5 * 2^52 rounds 4 u to an integer, which is then in the low bits of the sum. u - q / 4 is exact.
  constexpr double kRound = 6755399441055744.0;
  const double rounded = u * 4.0 + kRound;
  SinCosReduced(u - (rounded - kRound) * 0.25, Bits(rounded), sine, cosine);
}

// (word + 1/2) / 2^32 as a double, exactly: never 0 or 1.
DPM_NOISE_INLINE double Uniform(uint32_t word) {
  return (FromBits(uint64_t{0x4330000000000000} | word) - 4503599627370495.5) * 0x1p-32;
}

// log((word + 1/2) / 2^32) in single precision. Error below 2.5 ulp: the noise asks for little, the kernels for speed.
DPM_NOISE_INLINE float LogUniform(uint32_t word) {
  constexpr uint32_t kOne = 0x3f800000, kSqrtHalf = 0x3f3504f3, kMantissa = 0x007fffff;
  // A conversion of 31 bits is a signed one, which every vector unit has; the last bit is added, small words need it.
  const float last = static_cast<float>(static_cast<int32_t>(word & 1)) * 0.5f + 0.25f;
  const float u = (static_cast<float>(static_cast<int32_t>(word >> 1)) + last) * 0x1p-31f;
  const uint32_t shifted = Bits(u) + (kOne - kSqrtHalf);
  const int32_t exponent = static_cast<int32_t>(shifted >> 23) - 127;
  // Close to 1 the 24 bits of u are too few for a relative error of the logarithm: f = u - 1 comes from the complement.
  const float below = (static_cast<float>(static_cast<int32_t>(~word & 0x7fffffff)) + 0.5f) * -0x1p-32f;
  const float fraction = FromBits((shifted & kMantissa) + kSqrtHalf) - 1.0f;
  const uint32_t close = 0 - static_cast<uint32_t>(exponent == 0);
  const float f = FromBits((Bits(below) & close) | (Bits(fraction) & ~close));
  const float k = static_cast<float>(exponent);
  const float s = f / (2.0f + f);
  const float z = s * s;
  float r = 0x1.2ee61p-2f;
  r = r * z + 0x1.997c3p-2f;
  r = r * z + 0x1.55555cp-1f;
  r = r * z;
  return k * 0x1.62e4p-1f - ((s * (f - r) - k * 0x1.7f7d1cp-20f) - f);
}

// The angle of a word is word / 2^32 turns: its nearest quadrant and what is left, |rest| <= 2^29.
DPM_NOISE_INLINE uint32_t Quadrant(uint32_t word) { return (word + 0x20000000) >> 30; }
DPM_NOISE_INLINE int32_t QuadrantRest(uint32_t word) {
  return static_cast<int32_t>((word + 0x20000000) & 0x3fffffff) - 0x20000000;
}

// sin and cos of 2 pi word / 2^32 in single precision. Errors below 2.8 ulp.
DPM_NOISE_INLINE void SinCosWord(uint32_t word, float* sine, float* cosine) {
  const uint32_t q = Quadrant(word);
  const float r = static_cast<float>(QuadrantRest(word)) * 0x1p-32f;
  const float z = r * r;
  float s = -0x1.2ee7bcp+6f;
  s = s * z + 0x1.4665e8p+6f;
  s = s * z - 0x1.4abbccp+5f;
  float c = 0x1.dd0736p+5f;
  c = c * z - 0x1.55d016p+6f;
  c = c * z + 0x1.03c1fp+6f;
  s = r * 0x1.921fb6p+2f + r * z * s;
  c = 1.0f - (z * 0x1.3bd3ccp+4f - z * z * c);
  const uint32_t sine_bits = Bits(s), cosine_bits = Bits(c);
  const uint32_t exchange = (sine_bits ^ cosine_bits) & (0 - (q & 1));
  *sine = FromBits(sine_bits ^ exchange ^ ((q & 2) << 30));
  *cosine = FromBits(cosine_bits ^ exchange ^ (((q + 1) & 2) << 30));
}

DPM_NOISE_INLINE void SinCosWord(uint32_t word, double* sine, double* cosine) {
  SinCosReduced(QuadrantRest(word) * 0x1p-32, Quadrant(word), sine, cosine);
}

}  // namespace dpm::noise
