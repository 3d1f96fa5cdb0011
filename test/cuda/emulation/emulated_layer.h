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
#define DPM_UNROLL_2
#define DPM_UNROLL_4

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
inline void AtomicAdd(Shared<uint32_t> to, size_t i, uint32_t value, DPM_WHERE) {
  *emulation::AtomicShared(to.word + i, line) += value;
}
inline void AtomicMax(Shared<uint32_t> to, size_t i, uint32_t value, DPM_WHERE) {
  uint32_t* const word = emulation::AtomicShared(to.word + i, line);
  if (value > *word) *word = value;
}

// ---- barriers -------------------------------------------------------------------------------------------------------

inline void BlockSync(DPM_WHERE) { emulation::Wait(emulation::kBlockBarrier, nullptr, line); }
inline uint32_t ClusterRank() { return emulation::CurrentBlock().rank; }
inline uint32_t ClusterSize() { return emulation::Launched().team; }
inline void ClusterSync(DPM_WHERE) {
  if (!emulation::Launched().cluster) emulation::Fail("cluster barrier outside a cluster", line);
  emulation::Wait(emulation::kTeamBarrier, nullptr, line);
}
inline void LoadRemote4(Shared<uint32_t> of, size_t i, uint32_t rank, uint32_t* to, DPM_WHERE) {
  if ((of.word + i) % 4 != 0) emulation::Fail("misaligned 16-byte load from another block", line);
  emulation::ReadShared(emulation::RemoteBlock(rank, line), of.word + i, 4, to, line);
}
inline void TeamSync(uint32_t* barrier, uint32_t size, DPM_WHERE) {
  if (emulation::Launched().cluster || size != emulation::Launched().team) {
    emulation::Fail("a team's barrier with another number of blocks", line);
  }
  emulation::CheckBuffer(barrier, 8, line);
  emulation::Wait(emulation::kTeamBarrier, barrier, line);
}

// ---- a warp ---------------------------------------------------------------------------------------------------------

inline uint32_t WarpBallot(bool value, DPM_WHERE) {
  const uint32_t* all = emulation::Warp(value, emulation::kBallot, line);
  uint32_t mask = 0;
  for (int lane = 0; lane < 32; ++lane) mask |= all[lane] << lane;
  return mask;
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
inline uint32_t WarpSuffixSum(uint32_t value, DPM_WHERE) {
  const uint32_t* all = emulation::Warp(value, emulation::kSuffix, line);
  uint32_t sum = 0;
  for (uint32_t lane = ThreadIndex() % 32; lane < 32; ++lane) sum += all[lane];
  return sum;
}

// ---- global memory --------------------------------------------------------------------------------------------------

template <class T>
inline T LoadGlobal(const T* from, int line) {
  emulation::ReadGlobal(from, sizeof(T), line);
  return *from;
}
inline double LoadDouble(const double* from, DPM_WHERE) { return LoadGlobal(from, line); }
inline uint32_t LoadWord(const uint32_t* from, DPM_WHERE) { return LoadGlobal(from, line); }
inline void LoadWords4(const uint32_t* from, uint32_t* to, DPM_WHERE) {
  if (reinterpret_cast<uintptr_t>(from) % 16 != 0) emulation::Fail("misaligned wide load", line);
  emulation::ReadGlobal(from, 16, line);
  memcpy(to, from, 16);
}
inline void StoreWord(uint32_t* to, uint32_t value, DPM_WHERE) {
  emulation::WriteGlobal(to, 4, false, line);
  *to = value;
}
inline void AtomicAdd(uint32_t* to, uint32_t value, DPM_WHERE) {
  emulation::WriteGlobal(to, 4, true, line);
  *to += value;
}
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
inline void Load16(const uint16_t* from, uint32_t* to, DPM_WHERE) { LoadWide<16>(from, to, line); }
inline void Store16(uint16_t* to, const uint32_t* from, DPM_WHERE) { StoreWide<16>(to, from, line); }
inline void Load8(const uint16_t* from, uint32_t* to, DPM_WHERE) { LoadWide<8>(from, to, line); }
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
