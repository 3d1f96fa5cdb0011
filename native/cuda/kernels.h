#pragma once

#include "plan.h"

namespace dpm::cuda {

// The __global__ function, as cudaLaunchKernelExC takes it.
const void* KernelFor(Kernel kernel, NetType type, bool general);
// Of the adaptive error: the sums of the stretches, and what makes the errors of them.
const void* ErrorKernelFor(bool wide);
const void* ErrorEndKernel();
// Of guidance: the sums of the stretches, and what makes entries of rows of them; second: for rescaling.
const void* PairKernelFor(NetType type, bool second);
const void* GuideEndKernelFor(bool second);
const void* NoiseKernelFor(bool wide);
const void* NothingKernel();

}  // namespace dpm::cuda
