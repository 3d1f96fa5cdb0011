#pragma once

#include "plan.h"

namespace dpm::cuda {

// The __global__ function, as cudaLaunchKernelExC takes it.
const void* KernelFor(Kernel kernel, NetType type, bool general);

}  // namespace dpm::cuda
