// Normal numbers from a counter: Philox 4x32-10 (Salmon, Moraes, Dror, Shaw 2011, "Parallel random numbers: as easy as
// 1, 2, 3") and Box-Muller. Any element can be computed by itself, so that the CPU and CUDA, any thread count and any
// split of the range give the same bits.
//
// Element e >= 0 of the noise of (seed, step, stream):
//   block    b = floor(e / 4); w0..w3 = Philox(counter = (b mod 2^32, floor(b / 2^32), step, stream), key = seed)
//   pair     (w0, w1) for e mod 4 in {0, 1}, (w2, w3) for e mod 4 in {2, 3}; call it (v, w)
//   radius   r = sqrt(-2 log((v + 1/2) / 2^32)), at most 6.77
//   angle    a = 2 pi w / 2^32
//   value    r cos a for even e, r sin a for odd e
// float elements are computed in single precision, double elements in double precision from the same words, so that
// a float32 and a float64 run with one seed see the same noise to about 1e-6.
//
// Compile without contraction (see elementary.h), in CUDA also with IEEE square roots and divisions, nvcc's default.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>

#include "noise/elementary.h"

namespace dpm::noise {

// Replaces the counter by its 128 random bits.
DPM_NOISE_INLINE void Philox4x32(uint32_t counter[4], uint32_t key0, uint32_t key1) {
  for (int round = 0; round < 10; ++round) {
    const uint64_t product0 = uint64_t{0xd2511f53} * counter[0];
    const uint64_t product1 = uint64_t{0xcd9e8d57} * counter[2];
    counter[0] = static_cast<uint32_t>(product1 >> 32) ^ counter[1] ^ key0;
    counter[1] = static_cast<uint32_t>(product1);
    counter[2] = static_cast<uint32_t>(product0 >> 32) ^ counter[3] ^ key1;
    counter[3] = static_cast<uint32_t>(product0);
    key0 += 0x9e3779b9;
    key1 += 0xbb67ae85;
  }
}

DPM_NOISE_INLINE void NormalPair(uint32_t v, uint32_t w, float* even, float* odd) {
  const float radius = sqrtf(-2.0f * LogUniform(v));
  float sine, cosine;
  SinCosWord(w, &sine, &cosine);
  *even = radius * cosine;
  *odd = radius * sine;
}

DPM_NOISE_INLINE void NormalPair(uint32_t v, uint32_t w, double* even, double* odd) {
  const double radius = sqrt(-2.0 * Log(Uniform(v)));
  double sine, cosine;
  SinCosWord(w, &sine, &cosine);
  *even = radius * cosine;
  *odd = radius * sine;
}

// Elements 4 block .. 4 block + 3; T is float or double.
template <typename T>
DPM_NOISE_INLINE void PhiloxNormal4(uint64_t seed, uint64_t block, uint32_t step, uint32_t stream, T out[4]) {
  uint32_t words[4] = {static_cast<uint32_t>(block), static_cast<uint32_t>(block >> 32), step, stream};
  Philox4x32(words, static_cast<uint32_t>(seed), static_cast<uint32_t>(seed >> 32));
  NormalPair(words[0], words[1], out, out + 1);
  NormalPair(words[2], words[3], out + 2, out + 3);
}

// out[i] = element first + i, for i in [0, n).
void PhiloxRandn(uint64_t seed, uint32_t step, uint32_t stream, uint64_t first, float* out, size_t n);
void PhiloxRandn(uint64_t seed, uint32_t step, uint32_t stream, uint64_t first, double* out, size_t n);

}  // namespace dpm::noise
