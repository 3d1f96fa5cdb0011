// One sample of a call, resolved: from a row and buffers to the terms and pointers that the kernels take.
#pragma once

#include <cstddef>

#include "kernels.h"
#include "step.h"

namespace dpm {

// Does the row ask for a quantile that its bounds leave open?
bool NeedsSelection(const double* row);

// The b-th sample of the call. Where the quantile has to be found, `s` is still the floor.
template <class T>
SampleStep<T> Resolve(const StepCall& call, size_t b);

}  // namespace dpm
