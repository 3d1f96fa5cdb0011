// What JavaScript calls the kernels, by cuda::Kernel; lib/cuda/step.ts has the same list.
#pragma once

#include "call.h"

namespace dpm::addon {

constexpr const char* kKernelNames[] = {"step", "cluster", "team", "wide", "wide-select"};

}  // namespace dpm::addon
