// What the kernels of guide.h are given; see native/step/guidance.h.
#pragma once

#include "args.h"

namespace dpm::cuda {

// Pairs in shared memory at a time, and the bytes of their five sums' terms.
constexpr uint32_t kPairTile = 512, kPairShared = 5 * kPairTile * 8;

// Operands of batch * n elements: x and what is kept of the state's type, m and u of the network's, m_stride apart.
struct GuideArgs {
  double* rows = nullptr;         // batch rows of kRowLength; written: cx, cm, cu, cg
  const double* guide = nullptr;  // kGuideLength numbers on the card
  const void *x = nullptr, *m = nullptr, *u = nullptr, *kept = nullptr;
  double* work = nullptr;  // of every sample kPairSums a stretch, then kGuideOperands
  uint64_t n = 0, m_stride = 0;
  uint32_t batch = 0;
  NetType type = NetType::f32;  // f64: all is double
  bool looks = false;           // the variant takes sums
  bool rescales = false;        // and so does rescaling
};

}  // namespace dpm::cuda
