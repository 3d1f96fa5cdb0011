// Which instruction set runs: decided once, from the processor and DPM_SOLVER_SIMD.
#include <cstdlib>
#include <cstring>

#include "kernels.h"

#if defined(__x86_64__) || defined(__i386__) || defined(_M_X64) || defined(_M_IX86)
#define DPM_X86 1
#if defined(_MSC_VER)
#include <immintrin.h>
#include <intrin.h>
#else
#include <cpuid.h>
#endif
#endif

namespace dpm {
namespace {

#if defined(DPM_X86)
void CpuId(unsigned leaf, unsigned subleaf, unsigned out[4]) {
#if defined(_MSC_VER)
  int r[4];
  __cpuidex(r, static_cast<int>(leaf), static_cast<int>(subleaf));
  for (int i = 0; i < 4; ++i) out[i] = static_cast<unsigned>(r[i]);
#else
  out[0] = out[1] = out[2] = out[3] = 0;
  __get_cpuid_count(leaf, subleaf, &out[0], &out[1], &out[2], &out[3]);
#endif
}

// Which register files the operating system saves (XCR0).
unsigned long long SavedRegisters() {
#if defined(_MSC_VER)
  return _xgetbv(0);
#else
  unsigned low, high;
  __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return (static_cast<unsigned long long>(high) << 32) | low;
#endif
}
#endif

struct Available {
  const Kernels* tables[4];
  const char* names[4];
  int count = 0;
  void Add(const Kernels* table) {
    tables[count] = table;
    names[count++] = table->name;
  }
};

Available Detect() {
  Available available;
#if defined(DPM_X86)
  unsigned one[4], seven[4];
  CpuId(1, 0, one);
  CpuId(7, 0, seven);
  const bool osxsave = one[2] >> 27 & 1, avx = one[2] >> 28 & 1, fma = one[2] >> 12 & 1, f16c = one[2] >> 29 & 1;
  const unsigned long long saved = osxsave ? SavedRegisters() : 0;
  const bool avx2 = avx && fma && f16c && (seven[1] >> 5 & 1) && (saved & 0x6) == 0x6;
  const bool avx512 = avx2 && (seven[1] >> 16 & 1) && (seven[1] >> 17 & 1) && (seven[1] >> 30 & 1) &&
                      (seven[1] >> 31 & 1) && (saved & 0xe6) == 0xe6;  // F, DQ, BW, VL
  if (avx512) available.Add(KernelsAvx512());
  if (avx2) available.Add(KernelsAvx2());
  available.Add(KernelsSse2());
#elif defined(__wasm__)
  available.Add(KernelsSimd128());
#else
  available.Add(KernelsNeon());
#endif
  return available;
}

const Available& Tables() {
  static const Available available = Detect();
  return available;
}

const Kernels* Choose() {
  const Available& available = Tables();
#if defined(__wasm__)
  const char* const wanted = nullptr;  // there is but one, and no environment
#else
  const char* const wanted = std::getenv("DPM_SOLVER_SIMD");
#endif
  for (int i = 0; wanted && i < available.count; ++i) {
    if (std::strcmp(wanted, available.names[i]) == 0) return available.tables[i];
  }
  return available.tables[0];
}

}  // namespace

const Kernels& ActiveKernels() {
  static const Kernels* const active = Choose();
  return *active;
}

const char* const* AvailableKernels(int* count) {
  *count = Tables().count;
  return Tables().names;
}

}  // namespace dpm
