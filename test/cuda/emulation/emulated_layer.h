// native/cuda/layer.h on a processor: every CUDA thread is a fiber, and every access to memory is checked.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "emulator.h"
#include "step/element.h"

#define DPM_DEVICE inline
#define DPM_UNROLL
#define DPM_ROLLED
#define DPM_UNROLL_4
#define DPM_UNROLL_8

namespace dpm::cuda {

#define DPM_WHERE int line = __builtin_LINE()

inline uint32_t ThreadIndex() { return emulation::Current().thread; }
inline uint32_t BlockThreads() { return emulation::Launched().threads; }
inline uint32_t BlockX() { return emulation::CurrentBlock().x; }
inline uint32_t BlockY() { return emulation::CurrentBlock().y; }
inline uint32_t GridX() { return emulation::Launched().grid_x; }
inline uint32_t GridY() { return emulation::Launched().grid_y; }

// ---- shared memory --------------------------------------------------------------------------------------------------

template <class T>
struct Shared {
  size_t word;  // of this block's shared memory

  struct Reference {
    size_t word;
    int line;
    operator T() const {
      T value;
      emulation::ReadShared(emulation::CurrentBlock(), word, sizeof(T) / 4, &value, line);
      return value;
    }
    T operator=(T value) const {
      emulation::WriteShared(word, sizeof(T) / 4, &value, line);
      return value;
    }
    // What a plain increment is: a read and a write.
    void operator+=(T value) const { *this = static_cast<T>(*this) + value; }
  };
  struct Index {
    size_t i;
    int line;
    template <class I>
    Index(I index, DPM_WHERE) : i(static_cast<size_t>(index)), line(line) {}
  };
  Reference operator[](Index index) const { return {word + index.i * (sizeof(T) / 4), index.line}; }
  Shared operator+(size_t i) const { return {word + i * (sizeof(T) / 4)}; }
  template <class U>
  Shared<U> As() const {
    if (word % (sizeof(U) / 4) != 0) emulation::Fail("misaligned cast in shared memory");
    return {word};
  }
};

inline Shared<uint32_t> DynamicShared() { return {0}; }

template <class T>
inline void Load4(Shared<T> from, size_t i, T* to, DPM_WHERE) {
  if ((from.word + i) % 4 != 0) emulation::Fail("misaligned 16-byte load from shared memory", line);
  emulation::ReadShared(emulation::CurrentBlock(), from.word + i, 4, to, line);
}
inline void Store4(Shared<float> to, size_t i, const float* from, DPM_WHERE) {
  if ((to.word + i) % 4 != 0) emulation::Fail("misaligned 16-byte store to shared memory", line);
  emulation::WriteShared(to.word + i, 4, from, line);
}
inline void Store4(Shared<uint32_t> to, size_t i, uint32_t value, DPM_WHERE) {
  if ((to.word + i) % 4 != 0) emulation::Fail("misaligned 16-byte store to shared memory", line);
  const uint32_t four[] = {value, value, value, value};
  emulation::WriteShared(to.word + i, 4, four, line);
}
inline uint32_t FetchAdd(Shared<uint32_t> to, size_t i, uint32_t value, DPM_WHERE) {
  uint32_t* const word = emulation::AtomicShared(to.word + i, line);
  const uint32_t before = *word;
  *word += value;
  return before;
}
inline void AtomicAdd(Shared<uint32_t> to, size_t i, uint32_t value, DPM_WHERE) {
  *emulation::AtomicShared(to.word + i, line) += value;
}
inline void CountOne(Shared<uint32_t> to, size_t i, DPM_WHERE) { *emulation::AtomicShared(to.word + i, line) += 1; }
inline void AtomicMax(Shared<uint32_t> to, size_t i, uint32_t value, DPM_WHERE) {
  uint32_t* const word = emulation::AtomicShared(to.word + i, line);
  if (value > *word) *word = value;
}

// ---- barriers -------------------------------------------------------------------------------------------------------

inline void BlockSync(DPM_WHERE) { emulation::Wait(emulation::kBlockBarrier, nullptr, line); }
inline uint32_t ClusterRank() { return emulation::CurrentBlock().rank; }
inline uint32_t ClusterSize() { return emulation::Launched().team; }
inline void ClusterArrive(DPM_WHERE) {
  if (!emulation::Launched().cluster) emulation::Fail("cluster barrier outside a cluster", line);
  if (emulation::Current().arrived) emulation::Fail("a cluster barrier inside another one", line);
  emulation::Current().arrived = true;
}
inline void ClusterWait(DPM_WHERE) {
  if (!emulation::Current().arrived) emulation::Fail("a wait at a cluster barrier without an arrival", line);
  emulation::Wait(emulation::kTeamBarrier, nullptr, line);
  emulation::Current().arrived = false;
}
inline void ClusterSync(DPM_WHERE) {
  ClusterArrive(line);
  ClusterWait(line);
}
inline uint32_t LoadRemote(Shared<uint32_t> of, size_t i, uint32_t rank, DPM_WHERE) {
  uint32_t word;
  emulation::ReadShared(emulation::RemoteBlock(rank, line), of.word + i, 1, &word, line);
  return word;
}
inline void LoadRemote2(Shared<uint32_t> of, size_t i, uint32_t rank, uint32_t* to, DPM_WHERE) {
  if ((of.word + i) % 2 != 0) emulation::Fail("misaligned 8-byte load from another block", line);
  emulation::ReadShared(emulation::RemoteBlock(rank, line), of.word + i, 2, to, line);
}
inline uint32_t TeamArrive(uint32_t* barrier, uint32_t size, DPM_WHERE) {
  if (emulation::Launched().cluster || size != emulation::Launched().team) {
    emulation::Fail("a team's barrier with another number of blocks", line);
  }
  emulation::CheckBuffer(barrier, 8, line);
  if (emulation::Current().arrived) emulation::Fail("a team's barrier inside another one", line);
  emulation::Current().arrived = true;
  return size;
}
inline void TeamWait(uint32_t* barrier, uint32_t size, uint32_t wanted, DPM_WHERE) {
  if (!emulation::Current().arrived || wanted != size) {
    emulation::Fail("a wait at a team's barrier without an arrival", line);
  }
  emulation::Wait(emulation::kTeamBarrier, barrier, line);
  emulation::Current().arrived = false;
}
inline void LetPass(uint32_t) {}

inline bool TeamLeave(uint32_t* left, uint32_t size, Shared<uint32_t> word, DPM_WHERE) {
  if (size != emulation::Launched().team) emulation::Fail("a team that is left by another number of blocks", line);
  BlockSync(line);
  if (ThreadIndex() == 0) word[0] = emulation::Leave(left, line) ? size - 1 : 0;
  BlockSync(line);
  return word[0] == size - 1;
}

// ---- a warp ---------------------------------------------------------------------------------------------------------

inline uint32_t WarpBallot(bool value, DPM_WHERE) {
  const uint32_t* all = emulation::Warp(value, emulation::kBallot, line);
  uint32_t mask = 0;
  for (int lane = 0; lane < 32; ++lane) mask |= all[lane] << lane;
  return mask;
}
inline uint32_t WarpRead(uint32_t value, uint32_t lane, DPM_WHERE) {
  return emulation::Warp(value, emulation::kRead, line)[lane];
}
inline float WarpRead(float value, uint32_t lane, DPM_WHERE) {
  uint32_t word;
  memcpy(&word, &value, 4);
  word = WarpRead(word, lane, line);
  memcpy(&value, &word, 4);
  return value;
}
inline double WarpRead(double value, uint32_t lane, DPM_WHERE) {
  uint32_t words[2];
  memcpy(words, &value, 8);
  for (uint32_t& word : words) word = WarpRead(word, lane, line);
  memcpy(&value, words, 8);
  return value;
}
inline uint32_t WarpOther(uint32_t value, uint32_t bits, DPM_WHERE) {
  return emulation::Warp(value, emulation::kOther, line)[(ThreadIndex() % 32) ^ bits];
}
inline uint32_t WarpSum(uint32_t value, DPM_WHERE) {
  const uint32_t* all = emulation::Warp(value, emulation::kSum, line);
  uint32_t sum = 0;
  for (int lane = 0; lane < 32; ++lane) sum += all[lane];
  return sum;
}
inline uint32_t WarpMax(uint32_t value, DPM_WHERE) {
  const uint32_t* all = emulation::Warp(value, emulation::kMax, line);
  uint32_t most = 0;
  for (int lane = 0; lane < 32; ++lane) most = all[lane] > most ? all[lane] : most;
  return most;
}
inline uint32_t WarpPrefixSum(uint32_t value, DPM_WHERE) {
  const uint32_t* all = emulation::Warp(value, emulation::kPrefix, line);
  uint32_t sum = 0;
  for (uint32_t lane = 0; lane <= ThreadIndex() % 32; ++lane) sum += all[lane];
  return sum;
}

inline uint32_t LowestBit(uint32_t word) { return static_cast<uint32_t>(__builtin_ctz(word)); }
inline uint32_t CountBits(uint32_t word) { return static_cast<uint32_t>(__builtin_popcount(word)); }
inline uint32_t WholeOf(double number) { return static_cast<uint32_t>(number); }
template <class T>
inline T Unknown(T value) {
  return value;
}

// ---- the launches before and after ----------------------------------------------------------------------------------

inline void EverythingBefore() { emulation::Current().waited = true; }
inline void LetNextBegin() {}

// ---- global memory --------------------------------------------------------------------------------------------------

template <class T>
inline T LoadGlobal(const T* from, int line) {
  emulation::ReadGlobal(from, sizeof(T), line);
  return *from;
}
inline double LoadDouble(const double* from, DPM_WHERE) { return LoadGlobal(from, line); }
inline uint32_t LoadWord(const uint32_t* from, DPM_WHERE) { return LoadGlobal(from, line); }
inline void StoreWord(uint32_t* to, uint32_t value, DPM_WHERE) {
  emulation::WriteGlobal(to, 4, false, line);
  *to = value;
}
inline void AtomicAdd(uint32_t* to, uint32_t value, DPM_WHERE) {
  emulation::WriteGlobal(to, 4, true, line);
  *to += value;
}
inline uint32_t FetchAdd(uint32_t* to, uint32_t value, DPM_WHERE) {
  emulation::WriteGlobal(to, 4, true, line);
  const uint32_t before = *to;
  *to += value;
  return before;
}
constexpr uint32_t kLineBytes = 128;
inline void PrefetchLine(const void* of, DPM_WHERE) { emulation::CheckBuffer(of, 1, line); }
inline void AtomicMax(uint32_t* to, uint32_t value, DPM_WHERE) {
  emulation::WriteGlobal(to, 4, true, line);
  if (value > *to) *to = value;
}
inline void AtomicOr(uint32_t* to, uint32_t value, DPM_WHERE) {
  emulation::WriteGlobal(to, 4, true, line);
  *to |= value;
}
inline float Load1(const float* from, DPM_WHERE) { return LoadGlobal(from, line); }
inline uint16_t Load1(const uint16_t* from, DPM_WHERE) { return LoadGlobal(from, line); }
inline double Load1(const double* from, DPM_WHERE) { return LoadGlobal(from, line); }
inline double SquareRoot(double x) { return __builtin_sqrt(x); }
inline float Absolute(float x) { return __builtin_fabsf(x); }
inline float Least(float a, float b) { return __builtin_fminf(a, b); }
inline float Largest(float a, float b) { return __builtin_fmaxf(a, b); }
inline float MultiplyAdd(float a, float b, float c) { return __builtin_fmaf(a, b, c); }
template <class T>
inline void Store1(T* to, T value, DPM_WHERE) {
  emulation::WriteGlobal(to, sizeof(T), false, line);
  *to = value;
}
template <int kBytes, class From, class To>
inline void LoadWide(const From* from, To* to, int line) {
  if (reinterpret_cast<uintptr_t>(from) % kBytes != 0) emulation::Fail("misaligned wide load", line);
  emulation::ReadGlobal(from, kBytes, line);
  memcpy(to, from, kBytes);
}
template <int kBytes, class To, class From>
inline void StoreWide(To* to, const From* from, int line) {
  if (reinterpret_cast<uintptr_t>(to) % kBytes != 0) emulation::Fail("misaligned wide store", line);
  emulation::WriteGlobal(to, kBytes, false, line);
  memcpy(to, from, kBytes);
}
inline void Load16(const float* from, float* to, DPM_WHERE) { LoadWide<16>(from, to, line); }
inline void Store16(float* to, const float* from, DPM_WHERE) { StoreWide<16>(to, from, line); }
inline void Store16(double* to, const double* from, DPM_WHERE) { StoreWide<16>(to, from, line); }
inline void Load8(const uint16_t* from, uint32_t* to, DPM_WHERE) { LoadWide<8>(from, to, line); }
constexpr uint32_t kVectorsTogether = 4;
inline uint32_t Held(uint32_t value) { return value; }
struct Passing {};
inline Passing PassingBy() { return {}; }
inline void Load16(const float* from, float* to, Passing, DPM_WHERE) { LoadWide<16>(from, to, line); }
inline void Load8(const uint16_t* from, uint32_t* to, Passing, DPM_WHERE) { LoadWide<8>(from, to, line); }
inline void Store16(float* to, const float* from, Passing, DPM_WHERE) { StoreWide<16>(to, from, line); }
inline void Store8(uint16_t* to, const uint32_t* from, DPM_WHERE) { StoreWide<8>(to, from, line); }

inline float HalfToFloat(uint16_t h) {
  const uint32_t bits = HalfToFloatBits(h);
  float f;
  memcpy(&f, &bits, 4);
  return f;
}
inline uint16_t FloatToHalf(float f) {
  uint32_t bits;
  memcpy(&bits, &f, 4);
  return FloatBitsToHalf(bits);
}

#undef DPM_WHERE

}  // namespace dpm::cuda
