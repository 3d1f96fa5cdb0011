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
#define DPM_UNROLL_8 _Pragma("unroll 8")
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

// A place in shared memory, by its address there: as a pointer it would be computed anew for every access (S2UR, ULEA).
// It may be read and assigned.
template <class T>
struct SharedPlace {
  uint32_t address;
  DPM_DEVICE operator T() const;
  DPM_DEVICE void operator=(T value) const;
};
template <>
DPM_DEVICE SharedPlace<uint32_t>::operator uint32_t() const {
  uint32_t value;
  asm volatile("ld.shared.u32 %0, [%1];" : "=r"(value) : "r"(address) : "memory");
  return value;
}
template <>
DPM_DEVICE void SharedPlace<uint32_t>::operator=(uint32_t value) const {
  asm volatile("st.shared.u32 [%0], %1;" ::"r"(address), "r"(value) : "memory");
}
template <>
DPM_DEVICE SharedPlace<double>::operator double() const {
  double value;
  asm volatile("ld.shared.f64 %0, [%1];" : "=d"(value) : "r"(address) : "memory");
  return value;
}
template <>
DPM_DEVICE void SharedPlace<double>::operator=(double value) const {
  asm volatile("st.shared.f64 [%0], %1;" ::"r"(address), "d"(value) : "memory");
}

template <class T>
struct Shared {
  uint32_t address;
  DPM_DEVICE Shared operator+(uint32_t i) const { return {address + i * static_cast<uint32_t>(sizeof(T))}; }
  DPM_DEVICE SharedPlace<T> operator[](uint32_t i) const { return {(*this + i).address}; }
  template <class U>
  DPM_DEVICE Shared<U> As() const {
    return {address};
  }
};

// By all threads of the block, which all have the same address: read from another lane it is a number like any other,
// which the compiler keeps.
DPM_DEVICE Shared<uint32_t> DynamicShared() {
  extern __shared__ __align__(16) uint32_t dpm_shared[];
  return {__shfl_sync(0xffffffffu, static_cast<uint32_t>(__cvta_generic_to_shared(dpm_shared)), 0)};
}

DPM_DEVICE void Load4(Shared<float> from, uint32_t i, float* to) {
  asm volatile("ld.shared.v4.f32 {%0, %1, %2, %3}, [%4];"
               : "=f"(to[0]), "=f"(to[1]), "=f"(to[2]), "=f"(to[3])
               : "r"((from + i).address)
               : "memory");
}
DPM_DEVICE void Store4(Shared<float> to, uint32_t i, const float* from) {
  asm volatile("st.shared.v4.f32 [%0], {%1, %2, %3, %4};" ::"r"((to + i).address), "f"(from[0]), "f"(from[1]),
               "f"(from[2]), "f"(from[3])
               : "memory");
}
DPM_DEVICE void Load4(Shared<uint32_t> from, uint32_t i, uint32_t* to) {
  asm volatile("ld.shared.v4.u32 {%0, %1, %2, %3}, [%4];"
               : "=r"(to[0]), "=r"(to[1]), "=r"(to[2]), "=r"(to[3])
               : "r"((from + i).address)
               : "memory");
}
DPM_DEVICE void Store4(Shared<uint32_t> to, uint32_t i, uint32_t value) {
  asm volatile("st.shared.v4.u32 [%0], {%1, %1, %1, %1};" ::"r"((to + i).address), "r"(value) : "memory");
}

DPM_DEVICE void AtomicAdd(Shared<uint32_t> to, uint32_t i, uint32_t value) {
  asm volatile("red.shared.add.u32 [%0], %1;" ::"r"((to + i).address), "r"(value) : "memory");
}
DPM_DEVICE void CountOne(Shared<uint32_t> to, uint32_t i) {
  asm volatile("red.shared.add.u32 [%0], 1;" ::"r"((to + i).address) : "memory");
}
// What was there before.
DPM_DEVICE uint32_t FetchAdd(Shared<uint32_t> to, uint32_t i, uint32_t value) {
  uint32_t before;
  asm volatile("atom.shared.add.u32 %0, [%1], %2;" : "=r"(before) : "r"((to + i).address), "r"(value) : "memory");
  return before;
}
DPM_DEVICE void AtomicMax(Shared<uint32_t> to, uint32_t i, uint32_t value) {
  asm volatile("red.shared.max.u32 [%0], %1;" ::"r"((to + i).address), "r"(value) : "memory");
}

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
// before these. In two halves: nothing of the cluster is read in between.
//
// A release of all memory waits for all that the block has under way to the card's memory (MEMBAR.ALL.GPU), prefetches
// among it; blocks of a cluster tell each other nothing there, and a release of their shared memory is enough.
DPM_DEVICE void ClusterArrive() {
#if __CUDACC_VER_MAJOR__ >= 13
  asm volatile("fence.release.sync_restrict::shared::cta.cluster;" ::: "memory");
  asm volatile("barrier.cluster.arrive.relaxed;" ::: "memory");
#else
  asm volatile("barrier.cluster.arrive.release;" ::: "memory");
#endif
}
DPM_DEVICE void ClusterWait() { asm volatile("barrier.cluster.wait.acquire;" ::: "memory"); }
DPM_DEVICE void ClusterSync() {
  ClusterArrive();
  ClusterWait();
}
// Words of block `rank` that lie where those at `of` + i lie in this one; two of them at a multiple of 8 bytes.
DPM_DEVICE uint32_t RemoteAddress(Shared<uint32_t> of, uint32_t i, uint32_t rank) {
  uint32_t address;
  asm("mapa.shared::cluster.u32 %0, %1, %2;" : "=r"(address) : "r"((of + i).address), "r"(rank));
  return address;
}
DPM_DEVICE uint32_t LoadRemote(Shared<uint32_t> of, uint32_t i, uint32_t rank) {
  uint32_t word;
  asm volatile("ld.shared::cluster.u32 %0, [%1];" : "=r"(word) : "r"(RemoteAddress(of, i, rank)) : "memory");
  return word;
}
DPM_DEVICE void LoadRemote2(Shared<uint32_t> of, uint32_t i, uint32_t rank, uint32_t* to) {
  asm volatile("ld.shared::cluster.v2.u32 {%0, %1}, [%2];"
               : "=r"(to[0]), "=r"(to[1])
               : "r"(RemoteAddress(of, i, rank))
               : "memory");
}
#endif

// ---- a warp ---------------------------------------------------------------------------------------------------------
// All 32 threads take part; none of these orders memory.

DPM_DEVICE uint32_t WarpBallot(bool value) { return __ballot_sync(0xffffffffu, value); }

// What another lane has.
DPM_DEVICE uint32_t WarpRead(uint32_t value, uint32_t lane) { return __shfl_sync(0xffffffffu, value, lane); }
DPM_DEVICE float WarpRead(float value, uint32_t lane) { return __shfl_sync(0xffffffffu, value, lane); }
DPM_DEVICE double WarpRead(double value, uint32_t lane) { return __shfl_sync(0xffffffffu, value, lane); }
// The lane whose number differs from this one's in these bits.
DPM_DEVICE uint32_t WarpOther(uint32_t value, uint32_t bits) { return __shfl_xor_sync(0xffffffffu, value, bits); }

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
// The sum over this lane and those below it.
DPM_DEVICE uint32_t WarpPrefixSum(uint32_t value) {
  const uint32_t lane = threadIdx.x & 31;
  for (uint32_t offset = 1; offset < 32; offset *= 2) {
    const uint32_t other = __shfl_up_sync(0xffffffffu, value, offset);
    if (lane >= offset) value += other;
  }
  return value;
}

// The lowest bit that is set of a word that is not zero, and how many are set.
DPM_DEVICE uint32_t LowestBit(uint32_t word) { return __ffs(static_cast<int>(word)) - 1; }
DPM_DEVICE uint32_t CountBits(uint32_t word) { return __popc(word); }

// The same number, and the compiler cannot know it: what is computed from it inside a loop is computed there, and not
// kept in registers from before.
DPM_DEVICE size_t Unknown(size_t value) {
  asm volatile("" : "+l"(value));
  return value;
}
DPM_DEVICE uint32_t Unknown(uint32_t value) {
  asm volatile("" : "+r"(value));
  return value;
}
// Vectors that are read from shared memory before the first of them is looked at.
#if __CUDA_ARCH__ >= 900
constexpr uint32_t kVectorsTogether = 4;
#else
constexpr uint32_t kVectorsTogether = 2;
#endif
// A number that keeps its register, where there is one to spare: a thread's index would be read anew in every round.
DPM_DEVICE uint32_t Held(uint32_t value) {
#if __CUDA_ARCH__ >= 900 && __CUDA_ARCH__ < 1000
  return Unknown(value);
#else
  return value;
#endif
}

// ---- the launches before and after ----------------------------------------------------------------------------------
// A kernel may be launched while the one before it on the stream still runs (Dependent of plan.h): nothing of global
// memory is read or written before EverythingBefore. Both do nothing where the launch has no such attribute.

DPM_DEVICE void EverythingBefore() {
#if __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.wait;" ::: "memory");
#endif
}
DPM_DEVICE void LetNextBegin() {
#if __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.launch_dependents;" ::: "memory");
#endif
}

// ---- global memory --------------------------------------------------------------------------------------------------

DPM_DEVICE double LoadDouble(const double* from) { return *from; }
DPM_DEVICE uint32_t LoadWord(const uint32_t* from) { return *from; }
DPM_DEVICE void StoreWord(uint32_t* to, uint32_t value) { *to = value; }
DPM_DEVICE void AtomicAdd(uint32_t* to, uint32_t value) { atomicAdd(to, value); }
DPM_DEVICE uint32_t FetchAdd(uint32_t* to, uint32_t value) { return atomicAdd(to, value); }
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

DPM_DEVICE float Absolute(float x) { return fabsf(x); }
// The other one where one is NaN.
DPM_DEVICE float Least(float a, float b) { return fminf(a, b); }
DPM_DEVICE float Largest(float a, float b) { return fmaxf(a, b); }
// a b + c with one rounding. Written out, so that it is known from one that the compiler has made of two operations,
// which there must not be (scripts/build-cuda.mjs --check).
DPM_DEVICE float MultiplyAdd(float a, float b, float c) {
  float sum;
  asm("fma.rn.f32 %0, %1, %2, %3; // wanted" : "=f"(sum) : "f"(a), "f"(b), "f"(c));
  return sum;
}

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
DPM_DEVICE void Store16(double* to, const double* from) {
  asm volatile("st.global.v2.f64 [%0], {%1, %2};" ::"l"(__cvta_generic_to_global(to)), "d"(from[0]), "d"(from[1])
               : "memory");
}
// 8 bytes of 16-bit numbers, two in each word, at an address that is a multiple of as much.
DPM_DEVICE void Load8(const uint16_t* from, uint32_t* to) {
  const uint2 v = *reinterpret_cast<const uint2*>(from);
  to[0] = v.x, to[1] = v.y;
}
DPM_DEVICE void Store8(uint16_t* to, const uint32_t* from) {
  asm volatile("st.global.v2.u32 [%0], {%1, %2};" ::"l"(__cvta_generic_to_global(to)), "r"(from[0]), "r"(from[1])
               : "memory");
}

// What a launch reads for the last time, or writes and does not read again, may leave the card's cache before all else:
// what is read twice then stays there, and what is written goes to memory while others still compute. Where it was
// measured: elsewhere the two registers that it takes are not to be had.
#if __CUDA_ARCH__ >= 900 && __CUDA_ARCH__ < 1000
struct Passing {
  uint64_t policy;
};
DPM_DEVICE Passing PassingBy() {
  Passing passing;
  asm volatile("createpolicy.fractional.L2::evict_first.b64 %0, 1.0;" : "=l"(passing.policy));
  return passing;
}
DPM_DEVICE void Load16(const float* from, float* to, Passing passing) {
  asm volatile("ld.global.L2::cache_hint.v4.f32 {%0, %1, %2, %3}, [%4], %5;"
               : "=f"(to[0]), "=f"(to[1]), "=f"(to[2]), "=f"(to[3])
               : "l"(__cvta_generic_to_global(from)), "l"(passing.policy)
               : "memory");
}
DPM_DEVICE void Load8(const uint16_t* from, uint32_t* to, Passing passing) {
  asm volatile("ld.global.L2::cache_hint.v2.u32 {%0, %1}, [%2], %3;"
               : "=r"(to[0]), "=r"(to[1])
               : "l"(__cvta_generic_to_global(from)), "l"(passing.policy)
               : "memory");
}
DPM_DEVICE void Store16(float* to, const float* from, Passing passing) {
  asm volatile("st.global.L2::cache_hint.v4.f32 [%0], {%1, %2, %3, %4}, %5;" ::"l"(__cvta_generic_to_global(to)),
               "f"(from[0]), "f"(from[1]), "f"(from[2]), "f"(from[3]), "l"(passing.policy)
               : "memory");
}
#else
struct Passing {};
DPM_DEVICE Passing PassingBy() { return {}; }
DPM_DEVICE void Load16(const float* from, float* to, Passing) { Load16(from, to); }
DPM_DEVICE void Load8(const uint16_t* from, uint32_t* to, Passing) { Load8(from, to); }
DPM_DEVICE void Store16(float* to, const float* from, Passing) { Store16(to, from); }
#endif

// Asks for the line of memory around an address to be brought into the card's cache.
constexpr uint32_t kLineBytes = 128;
DPM_DEVICE void PrefetchLine(const void* of) {
  asm volatile("prefetch.global.L2 [%0];" ::"l"(__cvta_generic_to_global(of)));
}

// ---- a team of blocks that meets in global memory ------------------------------------------------------------------

// All threads of `size` blocks that run at the same time (a cooperative launch); orders their accesses to global
// memory. `barrier` is zero before the first use of a launch; it counts arrivals. In two halves, as a cluster's:
// nothing of the team's is read in between. The first gives what the second takes.
DPM_DEVICE uint32_t TeamArrive(uint32_t* barrier, uint32_t size) {
  __syncthreads();
  if (threadIdx.x != 0) return 0;
  uint32_t arrived;
  asm volatile("atom.add.acq_rel.gpu.global.u32 %0, [%1], 1;"
               : "=r"(arrived)
               : "l"(__cvta_generic_to_global(barrier))
               : "memory");
  return (arrived / size + 1) * size;
}
DPM_DEVICE void TeamWait(uint32_t* barrier, uint32_t, uint32_t wanted) {
  if (threadIdx.x == 0) {
    uint32_t all;
    do {
      asm volatile("ld.acquire.gpu.global.u32 %0, [%1];"
                   : "=r"(all)
                   : "l"(__cvta_generic_to_global(barrier))
                   : "memory");
    } while (static_cast<int32_t>(all - wanted) < 0);
  }
  __syncthreads();
}
// Lets so much time go by. By all threads of a block.
DPM_DEVICE void LetPass(uint32_t nanoseconds) {
  if (threadIdx.x == 0) {
    unsigned long long begin, now;
    asm volatile("mov.u64 %0, %%globaltimer;" : "=l"(begin));
    do {
      asm volatile("nanosleep.u32 200;");
      asm volatile("mov.u64 %0, %%globaltimer;" : "=l"(now));
    } while (now - begin < nanoseconds);
  }
  __syncthreads();
}
// All threads of a block, once: is it the last one of its team to come here? What the others have read before they came
// may then be overwritten. `left` is zero before.
DPM_DEVICE bool TeamLeave(uint32_t* left, uint32_t size, Shared<uint32_t> word) {
  __syncthreads();
  if (threadIdx.x == 0) {
    uint32_t before;
    asm volatile("atom.add.acq_rel.gpu.global.u32 %0, [%1], 1;"
                 : "=r"(before)
                 : "l"(__cvta_generic_to_global(left))
                 : "memory");
    word[0] = before;
  }
  __syncthreads();
  return word[0] == size - 1;
}

// A whole number below 2^31 that is kept as a double, without a conversion (F2I takes long).
DPM_DEVICE uint32_t WholeOf(double number) { return static_cast<uint32_t>(__double2loint(number + 0x1p52)); }

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
