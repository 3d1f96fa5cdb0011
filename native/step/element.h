// The arithmetic of one element, written once: the CPU kernels and the CUDA kernels include this header.
//
// Everything here rounds after every operation (the files that include it are compiled without contraction), so the
// same operands give the same bits wherever it runs.
#pragma once

#include <cstdint>
#include <cstring>

#include "row.h"

#if defined(__CUDACC__)
#define DPM_INLINE __host__ __device__ __forceinline__
#elif defined(_MSC_VER)
#define DPM_INLINE __forceinline
#else
#define DPM_INLINE inline __attribute__((always_inline))
#endif

// Loops over a row's few terms: the loops around them become vectors only if these are gone.
#if defined(__clang__) && !defined(__CUDACC__)
#define DPM_UNROLL_TERMS _Pragma("clang loop unroll(full)")
#else
#define DPM_UNROLL_TERMS
#endif

namespace dpm {
namespace {  // internal linkage: objects compiled for different instruction sets must not share these functions

// c[0] v[0] + c[1] v[1] + ... from left to right: predictions, history entries and updates are all such sums.
template <int K, class T>
DPM_INLINE T Affine(const T* c, const T* v) {
  T sum = c[0] * v[0];
  DPM_UNROLL_TERMS
  for (int k = 1; k < K; ++k) sum = sum + c[k] * v[k];
  return sum;
}

// clip(p, -s, s); NaN passes through, so that it is seen and not hidden.
template <class T>
DPM_INLINE T Clip(T p, T s) {
  T q = p > s ? s : p;
  return q < -s ? -s : q;
}

// IEEE 754 binary16 <-> binary32 in integer arithmetic, round to nearest even: the same bits as the processors'
// conversion instructions, NaN payloads included, on machines that have none.
DPM_INLINE uint32_t HalfToFloatBits(uint16_t h) {
  const uint32_t sign = static_cast<uint32_t>(h & 0x8000u) << 16;
  const uint32_t magnitude = h & 0x7fffu;
  // A normal number: shift into place and move the exponent's bias from 15 to 127.
  uint32_t bits = (magnitude << 13) + 0x38000000u;
  // Infinity and NaN keep an exponent of ones; NaN becomes quiet.
  if (magnitude >= 0x7c00u) bits = (magnitude << 13) + 0x70000000u;
  if (magnitude > 0x7c00u) bits |= 0x00400000u;
  // A subnormal m 2^-24: the bits of (0.5 + m 2^-24) less those of 0.5, converted by an exact subtraction.
  if (magnitude < 0x0400u) {
    const float f = static_cast<float>(static_cast<int32_t>(magnitude)) * 5.9604644775390625e-8f;
    memcpy(&bits, &f, 4);
  }
  return sign | bits;
}

DPM_INLINE uint16_t FloatBitsToHalf(uint32_t f) {
  const uint32_t sign = (f >> 16) & 0x8000u;
  const uint32_t magnitude = f & 0x7fffffffu;
  // A normal result: round the 13 dropped bits to nearest even, then move the bias.
  uint32_t half = (magnitude + 0x0fffu + ((magnitude >> 13) & 1u) - 0x38000000u) >> 13;
  // Below 2^-14 the result is subnormal: adding 0.5 lines its bits up with 2^-24 and rounds to nearest even.
  if (magnitude < 0x38800000u) {
    float value;
    memcpy(&value, &magnitude, 4);
    const float shifted = value + 0.5f;
    uint32_t bits;
    memcpy(&bits, &shifted, 4);
    half = bits - 0x3f000000u;
  }
  // 65520 is half way between the largest finite number and what would follow it: from there on, infinity.
  if (magnitude >= 0x477ff000u) half = 0x7c00u;
  if (magnitude > 0x7f800000u) half = 0x7e00u | ((magnitude >> 13) & 0x03ffu);
  return static_cast<uint16_t>(sign | half);
}

// float64 -> float16 with one rounding: the float32 in between is rounded to odd, which keeps what decides a tie.
DPM_INLINE float RoundToOdd(double x) {
  float f = static_cast<float>(x);
  if (static_cast<double>(f) != x && x == x) {
    uint32_t bits;
    memcpy(&bits, &f, 4);
    const double magnitude = x < 0 ? -x : x, rounded = x < 0 ? -static_cast<double>(f) : static_cast<double>(f);
    if (rounded > magnitude) bits -= 1;  // truncated towards zero
    bits |= 1;
    memcpy(&f, &bits, 4);
  }
  return f;
}

// bfloat16 is the upper half of a float32: round to nearest even, NaN stays NaN (and becomes quiet).
DPM_INLINE uint32_t BfloatToFloatBits(uint16_t b) { return static_cast<uint32_t>(b) << 16; }

DPM_INLINE uint16_t FloatBitsToBfloat(uint32_t f) {
  const uint32_t rounded = (f + 0x7fffu + ((f >> 16) & 1u)) >> 16;
  return static_cast<uint16_t>((f & 0x7fffffffu) > 0x7f800000u ? (f >> 16) | 0x0040u : rounded);
}

}  // namespace
}  // namespace dpm
