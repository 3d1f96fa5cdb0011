// Guidance whose weights the answers decide, on the CPU: two reductions of each sample at most, then entries of its
// row.
#pragma once

#include "step.h"

namespace dpm {

struct GuideCall {
  Type state = Type::f32;  // f32 or f64: of x and what is kept; m and u may be f16
  size_t batch = 0, n = 0;
  const double* guide = nullptr;  // kGuideLength numbers
  Buffer x, m, u, kept;           // kept: d, where it is not m - u
  size_t m_stride = 0;
  int threads = 0;
  double* out = nullptr;  // of every sample cx, cm, cu, cg
};

// False if out of memory.
bool Guide(const GuideCall& call);

}  // namespace dpm
