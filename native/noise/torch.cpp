#include "noise/torch.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "noise/elementary.h"

namespace dpm::noise {
namespace {

constexpr int kWords = 624, kMiddle = 397;
constexpr int kIndex = 624, kKept = 625, kKeptValue = 626;

inline uint32_t Twist(uint32_t current, uint32_t next, uint32_t far) {
  const uint32_t y = (current & 0x80000000u) | (next & 0x7fffffffu);
  return far ^ (y >> 1) ^ ((0u - (next & 1u)) & 0x9908b0dfu);
}

void Refill(uint32_t* s) {
  // Three loops, so that none of them wraps around and compilers can vectorize the first two.
  for (int i = 0; i < kWords - kMiddle; ++i) s[i] = Twist(s[i], s[i + 1], s[i + kMiddle]);
  for (int i = kWords - kMiddle; i < kWords - 1; ++i) s[i] = Twist(s[i], s[i + 1], s[i + kMiddle - kWords]);
  s[kWords - 1] = Twist(s[kWords - 1], s[0], s[kMiddle - 1]);
  s[kIndex] = 0;
}

inline uint32_t Temper(uint32_t y) {
  y ^= y >> 11;
  y ^= (y << 7) & 0x9d2c5680u;
  y ^= (y << 15) & 0xefc60000u;
  return y ^ (y >> 18);
}

// Where the next word is, read once: the state may lie in shared memory, and the index is used to address it.
inline uint32_t IndexOf(uint32_t* state) {
  const uint32_t index = *const_cast<volatile uint32_t*>(state + kIndex);
  if (index < kWords) return index;
  Refill(state);
  return 0;
}

void Draw(uint32_t* state, uint32_t* out, int n) {
  while (n > 0) {
    const int index = static_cast<int>(IndexOf(state));
    const int count = std::min(n, kWords - index);
    for (int i = 0; i < count; ++i) out[i] = Temper(state[index + i]);
    state[kIndex] = static_cast<uint32_t>(index + count);
    out += count;
    n -= count;
  }
}

void Skip(uint32_t* state, uint64_t n) {
  uint64_t left = kWords - state[kIndex];
  while (n > left) {
    n -= left;
    Refill(state);
    left = kWords;
  }
  state[kIndex] += static_cast<uint32_t>(n);
}

// 53 bits of two words, the first one high, as a double in [0, 1).
inline double Uniform53(uint32_t high, uint32_t low) {
  const uint64_t bits = (static_cast<uint64_t>(high & 0x1fffffu) << 32) | low;
  return static_cast<double>(static_cast<int64_t>(bits)) * 0x1p-53;
}

// One value: the cosine of a pair, or the sine that the call before kept.
double DrawOne(uint32_t* state) {
  if (state[kKept] != 0) {
    state[kKept] = 0;
    return FromBits(state[kKeptValue] | (static_cast<uint64_t>(state[kKeptValue + 1]) << 32));
  }
  uint32_t words[4];
  Draw(state, words, 4);
  const double u1 = Uniform53(words[0], words[1]), u2 = Uniform53(words[2], words[3]);
  // torch has log1p(-u2); 1 - u2 is exact, so log gives the same.
  const double radius = std::sqrt(-2.0 * Log(1.0 - u2));
  double sine, cosine;
  SinCosTurn(u1, &sine, &cosine);
  const uint64_t kept = Bits(radius * sine);
  state[kKeptValue] = static_cast<uint32_t>(kept);
  state[kKeptValue + 1] = static_cast<uint32_t>(kept >> 32);
  state[kKept] = 1;
  return radius * cosine;
}

void DrawUniform16(uint32_t* state, float, double* u) {
  uint32_t words[16];
  Draw(state, words, 16);
  for (int i = 0; i < 16; ++i) u[i] = static_cast<int32_t>(words[i] & 0xffffffu) * 0x1p-24;
}

void DrawUniform16(uint32_t* state, double, double* u) {
  uint32_t words[32];
  Draw(state, words, 32);
  for (int i = 0; i < 16; ++i) u[i] = Uniform53(words[2 * i], words[2 * i + 1]);
}

template <typename T>
void DrawBlock(uint32_t* state, T* out) {
  double u[16], radius[8];
  DrawUniform16(state, T(0), u);
  for (int j = 0; j < 8; ++j) radius[j] = -2.0 * Log(1.0 - u[j]);
  // On its own: compilers leave loops with sqrt scalar, because it may set errno.
  for (int j = 0; j < 8; ++j) radius[j] = std::sqrt(radius[j]);
  for (int j = 0; j < 8; ++j) {
    double sine, cosine;
    SinCosTurn(u[j + 8], &sine, &cosine);
    out[j] = static_cast<T>(radius[j] * cosine);
    out[j + 8] = static_cast<T>(radius[j] * sine);
  }
}

template <typename T>
void Randn(uint32_t* state, T* out, size_t n) {
  if (n < 16) {
    for (size_t i = 0; i < n; ++i) out[i] = static_cast<T>(DrawOne(state));
    return;
  }
  for (size_t i = 0; i + 16 <= n; i += 16) DrawBlock(state, out + i);
  if (n % 16 != 0) {
    // torch draws uniform numbers for all n first and then, for a last block that is not full, 16 fresh ones.
    Skip(state, n % 16 * (sizeof(T) / 4));
    DrawBlock(state, out + n - 16);
  }
}

}  // namespace

void TorchSeed(uint32_t* state, uint32_t seed_low, uint32_t) {
  state[0] = seed_low;
  for (uint32_t i = 1; i < kWords; ++i) state[i] = 1812433253u * (state[i - 1] ^ (state[i - 1] >> 30)) + i;
  state[kIndex] = kWords;
  state[kKept] = state[kKeptValue] = state[kKeptValue + 1] = 0;
}

void TorchRandn(uint32_t* state, float* out, size_t n) { Randn(state, out, n); }
void TorchRandn(uint32_t* state, double* out, size_t n) { Randn(state, out, n); }

void TorchSkip(uint32_t* state, uint64_t n, bool is_double) {
  if (n < 16) {
    for (size_t i = 0; i < n; ++i) DrawOne(state);
    return;
  }
  const uint64_t uniforms = n + (n % 16 != 0 ? 16 : 0);
  Skip(state, is_double ? 2 * uniforms : uniforms);
}

}  // namespace dpm::noise
