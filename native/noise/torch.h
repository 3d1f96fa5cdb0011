// Normal numbers as PyTorch's CPU generator draws them: the same Mersenne twister (Matsumoto and Nishimura 1998), the
// same order of draws, the same Box-Muller arrangement. Values differ from torch's by its own rounding only: at most
// 2e-6 in float32, where torch computes in single precision, and a few 1e-15 in float64.
//
// All state is in memory that the caller owns, kTorchStateLength 32-bit words:
//   [0, 624)   the words of the twister
//   [624]      index of the next word, 624 when the words are used up
//   [625]      1 while a normal number is kept for the next draw of fewer than 16, else 0
//   [626, 628) that number, a double: low word, high word
#pragma once

#include <cstddef>
#include <cstdint>

namespace dpm::noise {

constexpr size_t kTorchStateLength = 628;

// torch.manual_seed(seed). The twister takes the low 32 bits; `seed_high` is accepted and has no influence, as in
// torch.
void TorchSeed(uint32_t* state, uint32_t seed_low, uint32_t seed_high);

// torch.randn(n): n values in one call. How many values a call draws matters: from 16 on they come in blocks of 16
// uniform numbers (24 bits each in float32, 53 in float64), below 16 one at a time in double precision.
void TorchRandn(uint32_t* state, float* out, size_t n);
void TorchRandn(uint32_t* state, double* out, size_t n);

// Leaves the state as torch.randn(n) does, in float32 or float64, without computing the values.
void TorchSkip(uint32_t* state, uint64_t n, bool is_double);

}  // namespace dpm::noise
