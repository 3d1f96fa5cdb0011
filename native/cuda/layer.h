// Everything that the kernels ask of the machine, and nothing else: indices, barriers, shared memory (the block's own
// and, inside a cluster, that of the other blocks), atomics, collectives of a warp, wide accesses to global memory.
//
// The kernels are written against this layer only, so that the same source also runs on a processor: with
// DPM_CUDA_EMULATION the layer comes from test/cuda/emulation/emulated_layer.h, which runs every CUDA thread as a fiber
// and checks barriers, lifetimes, alignment and data races.
#pragma once

#include <cstddef>
#include <cstdint>

#include "../step/element.h"

#if defined(DPM_CUDA_EMULATION)

#include "emulated_layer.h"

#else

#define DPM_DEVICE __device__ __forceinline__
// One loop, unrolled: arrays indexed in it stay in registers.
#define DPM_UNROLL _Pragma("unroll")
// One round at a time: what a round stores may be what the next one loads, so that more of them would not overlap.
#define DPM_ROLLED _Pragma("unroll 1")
#define DPM_UNROLL_2 _Pragma("unroll 2")
#define DPM_UNROLL_4 _Pragma("unroll 4")

namespace dpm::cuda {

// ---- where this thread is -------------------------------------------------------------------------------------------

DPM_DEVICE uint32_t ThreadIndex() { return threadIdx.x; }
DPM_DEVICE uint32_t BlockThreads() { return blockDim.x; }
DPM_DEVICE uint32_t BlockX() { return blockIdx.x; }
DPM_DEVICE uint32_t BlockY() { return blockIdx.y; }
DPM_DEVICE uint32_t GridX() { return gridDim.x; }
DPM_DEVICE uint32_t GridY() { return gridDim.y; }

// ---- shared memory --------------------------------------------------------------------------------------------------

// A pointer into shared memory. operator[] may be read and assigned.
template <class T>
struct Shared {
  T* at;
  DPM_DEVICE T& operator[](size_t i) const { return at[i]; }
  DPM_DEVICE Shared operator+(size_t i) const { return {at + i}; }
  template <class U>
  DPM_DEVICE Shared<U> As() const {
    return {reinterpret_cast<U*>(at)};
  }
};

DPM_DEVICE Shared<uint32_t> DynamicShared() {
  extern __shared__ __align__(16) uint32_t dpm_shared[];
  return {dpm_shared};
}

DPM_DEVICE void Load4(Shared<float> from, size_t i, float* to) {
  const float4 v = *reinterpret_cast<const float4*>(from.at + i);
  to[0] = v.x, to[1] = v.y, to[2] = v.z, to[3] = v.w;
}
DPM_DEVICE void Store4(Shared<float> to, size_t i, const float* from) {
  *reinterpret_cast<float4*>(to.at + i) = make_float4(from[0], from[1], from[2], from[3]);
}

DPM_DEVICE void Load4(Shared<uint32_t> from, size_t i, uint32_t* to) {
  const uint4 v = *reinterpret_cast<const uint4*>(from.at + i);
  to[0] = v.x, to[1] = v.y, to[2] = v.z, to[3] = v.w;
}

DPM_DEVICE void AtomicAdd(Shared<uint32_t> to, size_t i, uint32_t value) { atomicAdd(to.at + i, value); }
DPM_DEVICE void AtomicMax(Shared<uint32_t> to, size_t i, uint32_t value) { atomicMax(to.at + i, value); }

// ---- barriers -------------------------------------------------------------------------------------------------------

DPM_DEVICE void BlockSync() { __syncthreads(); }

#if __CUDA_ARCH__ >= 900
DPM_DEVICE uint32_t ClusterRank() {
  uint32_t rank;
  asm("mov.u32 %0, %%cluster_ctarank;" : "=r"(rank));
  return rank;
}
DPM_DEVICE uint32_t ClusterSize() {
  uint32_t size;
  asm("mov.u32 %0, %%cluster_nctarank;" : "=r"(size));
  return size;
}
// All threads of all blocks of the cluster; orders their accesses to shared memory. Not the `.aligned` form: that one
// is undefined where a warp has diverged, and what the compiler makes converge before its own barriers it does not
// before these.
DPM_DEVICE void ClusterSync() {
  asm volatile("barrier.cluster.arrive.release;\nbarrier.cluster.wait.acquire;" ::: "memory");
}
// The four words of block `rank` that lie where those at `of` + i, a multiple of 16 bytes, lie in this one.
DPM_DEVICE void LoadRemote4(Shared<uint32_t> of, size_t i, uint32_t rank, uint32_t* to) {
  uint32_t address;
  asm("mapa.shared::cluster.u32 %0, %1, %2;"
      : "=r"(address)
      : "r"(static_cast<uint32_t>(__cvta_generic_to_shared(of.at + i))), "r"(rank));
  asm volatile("ld.shared::cluster.v4.u32 {%0, %1, %2, %3}, [%4];"
               : "=r"(to[0]), "=r"(to[1]), "=r"(to[2]), "=r"(to[3])
               : "r"(address)
               : "memory");
}
#endif

// ---- a warp ---------------------------------------------------------------------------------------------------------
// All 32 threads take part; none of these orders memory.

DPM_DEVICE uint32_t WarpBallot(bool value) { return __ballot_sync(0xffffffffu, value); }

DPM_DEVICE uint32_t WarpSum(uint32_t value) {
#if __CUDA_ARCH__ >= 800
  return __reduce_add_sync(0xffffffffu, value);
#else
  for (int offset = 16; offset > 0; offset /= 2) value += __shfl_xor_sync(0xffffffffu, value, offset);
  return value;
#endif
}
DPM_DEVICE uint32_t WarpMax(uint32_t value) {
#if __CUDA_ARCH__ >= 800
  return __reduce_max_sync(0xffffffffu, value);
#else
  for (int offset = 16; offset > 0; offset /= 2) value = max(value, __shfl_xor_sync(0xffffffffu, value, offset));
  return value;
#endif
}
// The sum over this lane and those above it.
DPM_DEVICE uint32_t WarpSuffixSum(uint32_t value) {
  const uint32_t lane = threadIdx.x & 31;
  for (uint32_t offset = 1; offset < 32; offset *= 2) {
    const uint32_t other = __shfl_down_sync(0xffffffffu, value, offset);
    if (lane + offset < 32) value += other;
  }
  return value;
}

// ---- global memory --------------------------------------------------------------------------------------------------

DPM_DEVICE double LoadDouble(const double* from) { return *from; }
DPM_DEVICE uint32_t LoadWord(const uint32_t* from) { return *from; }
DPM_DEVICE void LoadWords4(const uint32_t* from, uint32_t* to) {
  const uint4 v = *reinterpret_cast<const uint4*>(from);
  to[0] = v.x, to[1] = v.y, to[2] = v.z, to[3] = v.w;
}
DPM_DEVICE void StoreWord(uint32_t* to, uint32_t value) { *to = value; }
DPM_DEVICE void AtomicAdd(uint32_t* to, uint32_t value) { atomicAdd(to, value); }
DPM_DEVICE void AtomicMax(uint32_t* to, uint32_t value) { atomicMax(to, value); }
DPM_DEVICE void AtomicOr(uint32_t* to, uint32_t value) { atomicOr(to, value); }

DPM_DEVICE float Load1(const float* from) { return *from; }
DPM_DEVICE uint16_t Load1(const uint16_t* from) { return *from; }
DPM_DEVICE double Load1(const double* from) { return *from; }
DPM_DEVICE void Store1(float* to, float value) { *to = value; }
DPM_DEVICE void Store1(double* to, double value) { *to = value; }
DPM_DEVICE void Store1(uint16_t* to, uint16_t value) { *to = value; }

// IEEE's, by nvcc's default.
DPM_DEVICE double SquareRoot(double x) { return sqrt(x); }

// 16 bytes at an address that is a multiple of 16. Stores are written out: the compiler takes a float4 apart and does
// not always put it together again. They clobber memory, so that no load of an operand sinks below a store that may
// overwrite it.
DPM_DEVICE void Load16(const float* from, float* to) {
  const float4 v = *reinterpret_cast<const float4*>(from);
  to[0] = v.x, to[1] = v.y, to[2] = v.z, to[3] = v.w;
}
DPM_DEVICE void Store16(float* to, const float* from) {
  asm volatile("st.global.v4.f32 [%0], {%1, %2, %3, %4};" ::"l"(__cvta_generic_to_global(to)), "f"(from[0]),
               "f"(from[1]), "f"(from[2]), "f"(from[3])
               : "memory");
}
// 16 or 8 bytes of 16-bit numbers, two in each word, at an address that is a multiple of as much.
DPM_DEVICE void Load16(const uint16_t* from, uint32_t* to) {
  const uint4 v = *reinterpret_cast<const uint4*>(from);
  to[0] = v.x, to[1] = v.y, to[2] = v.z, to[3] = v.w;
}
DPM_DEVICE void Store16(uint16_t* to, const uint32_t* from) {
  asm volatile("st.global.v4.u32 [%0], {%1, %2, %3, %4};" ::"l"(__cvta_generic_to_global(to)), "r"(from[0]),
               "r"(from[1]), "r"(from[2]), "r"(from[3])
               : "memory");
}
DPM_DEVICE void Load8(const uint16_t* from, uint32_t* to) {
  const uint2 v = *reinterpret_cast<const uint2*>(from);
  to[0] = v.x, to[1] = v.y;
}
DPM_DEVICE void Store8(uint16_t* to, const uint32_t* from) {
  asm volatile("st.global.v2.u32 [%0], {%1, %2};" ::"l"(__cvta_generic_to_global(to)), "r"(from[0]), "r"(from[1])
               : "memory");
}

// ---- a team of blocks that meets in global memory ------------------------------------------------------------------

// All threads of `size` blocks that run at the same time (a cooperative launch); orders their accesses to global
// memory. `barrier` is two words, both zero before the first use ever: arrivals, and how often all have met.
DPM_DEVICE void TeamSync(uint32_t* barrier, uint32_t size) {
  __syncthreads();
  if (threadIdx.x == 0) {
    volatile uint32_t* const round = barrier + 1;
    const uint32_t before = *round;
    __threadfence();
    if (atomicAdd(barrier, 1u) == size - 1) {
      *static_cast<volatile uint32_t*>(barrier) = 0;
      __threadfence();
      *round = before + 1;
    } else {
      while (*round == before) {
      }
    }
    __threadfence();
  }
  __syncthreads();
}

// ---- 16-bit numbers -------------------------------------------------------------------------------------------------
// The processor's own conversions: the bits of element.h's but for those of NaN.

DPM_DEVICE float HalfToFloat(uint16_t h) {
  float f;
  asm("cvt.f32.f16 %0, %1;" : "=f"(f) : "h"(h));
  return f;
}
DPM_DEVICE uint16_t FloatToHalf(float f) {
  uint16_t h;
  asm("cvt.rn.f16.f32 %0, %1;" : "=h"(h) : "f"(f));
  return h;
}

}  // namespace dpm::cuda

#endif
