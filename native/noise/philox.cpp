#include "noise/philox.h"

#include <algorithm>

namespace dpm::noise {
namespace {

constexpr size_t kBlocks = 16;

// kBlocks blocks at once in loops that compilers vectorize; the values are those of PhiloxNormal4.
template <typename T>
void Fill(uint64_t seed, uint32_t step, uint32_t stream, uint64_t block, T* out) {
  uint32_t v[2 * kBlocks], w[2 * kBlocks];
  for (size_t i = 0; i < kBlocks; ++i) {
    const uint64_t b = block + i;
    uint32_t words[4] = {static_cast<uint32_t>(b), static_cast<uint32_t>(b >> 32), step, stream};
    Philox4x32(words, static_cast<uint32_t>(seed), static_cast<uint32_t>(seed >> 32));
    v[2 * i] = words[0];
    w[2 * i] = words[1];
    v[2 * i + 1] = words[2];
    w[2 * i + 1] = words[3];
  }
  T radius[2 * kBlocks], sine[2 * kBlocks], cosine[2 * kBlocks];
  for (size_t i = 0; i < 2 * kBlocks; ++i) {
    if constexpr (sizeof(T) == 4) {
      radius[i] = -2.0f * LogUniform(v[i]);
    } else {
      radius[i] = -2.0 * Log(Uniform(v[i]));
    }
  }
  // On its own: compilers leave loops with sqrt scalar, because it may set errno.
  for (size_t i = 0; i < 2 * kBlocks; ++i) radius[i] = std::sqrt(radius[i]);
  for (size_t i = 0; i < 2 * kBlocks; ++i) SinCosWord(w[i], &sine[i], &cosine[i]);
  for (size_t i = 0; i < 2 * kBlocks; ++i) {
    out[2 * i] = radius[i] * cosine[i];
    out[2 * i + 1] = radius[i] * sine[i];
  }
}

template <typename T>
void Randn(uint64_t seed, uint32_t step, uint32_t stream, uint64_t first, T* out, size_t n) {
  size_t done = 0;
  while (done < n) {
    const uint64_t element = first + done;
    const size_t offset = element % 4;
    if (offset == 0 && n - done >= 4 * kBlocks) {
      Fill(seed, step, stream, element / 4, out + done);
      done += 4 * kBlocks;
    } else {
      T values[4];
      PhiloxNormal4(seed, element / 4, step, stream, values);
      const size_t count = std::min(4 - offset, n - done);
      std::copy_n(values + offset, count, out + done);
      done += count;
    }
  }
}

}  // namespace

void PhiloxRandn(uint64_t seed, uint32_t step, uint32_t stream, uint64_t first, float* out, size_t n) {
  Randn(seed, step, stream, first, out, n);
}

void PhiloxRandn(uint64_t seed, uint32_t step, uint32_t stream, uint64_t first, double* out, size_t n) {
  Randn(seed, step, stream, first, out, n);
}

}  // namespace dpm::noise
