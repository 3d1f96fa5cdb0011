// The kernels in use for a type. Not in kernels.h, which is compiled once per instruction set as well.
#pragma once

#include "kernels.h"

namespace dpm {

template <class T>
const TypedKernels<T>& Active();
template <>
inline const TypedKernels<float>& Active<float>() {
  return ActiveKernels().f32;
}
template <>
inline const TypedKernels<double>& Active<double>() {
  return ActiveKernels().f64;
}

}  // namespace dpm
