// Noise by itself: a buffer of one sample's, as native/noise/philox.h defines it.
#pragma once

#include "../noise/philox.h"
#include "args.h"
#include "layer.h"

namespace dpm::cuda {

// One block of Philox a thread at a time: four elements. grid: (blocks).
template <class T>
struct NoiseKernel {
  DPM_DEVICE static void StoreFour(float* to, const float* four) { Store16(to, four); }
  DPM_DEVICE static void StoreFour(double* to, const double* four) {
    Store16(to, four);
    Store16(to + 2, four + 2);
  }

  DPM_DEVICE static void Run(const NoiseArgs& a) {
    EverythingBefore();
    LetNextBegin();
    T* const to = static_cast<T*>(a.to);
    const bool aligned = reinterpret_cast<uintptr_t>(to) % 16 == 0;
    const uint64_t stride = static_cast<uint64_t>(GridX()) * BlockThreads();
    DPM_ROLLED
    for (uint64_t j = static_cast<uint64_t>(BlockX()) * BlockThreads() + ThreadIndex(); 4 * j < a.n; j += stride) {
      T four[4];
      noise::PhiloxNormal4(a.seed, j, a.step, a.stream, four);
      if (aligned && 4 * j + 4 <= a.n) {
        StoreFour(to + 4 * j, four);
      } else {
        DPM_UNROLL
        for (int k = 0; k < 4; ++k) {
          if (4 * j + k < a.n) Store1(to + 4 * j + k, four[k]);
        }
      }
    }
  }
};

}  // namespace dpm::cuda
