// The kernels by name, and which of them serves a call.
#include "guide.h"
#include "kernels.h"
#include "noise.h"
#include "reduce.h"
#include "step.h"
#include "threshold.h"
#include "wide.h"

namespace dpm::cuda {
namespace {

// Registers are bounded so that a multiprocessor holds what plan.h says it does.
template <NetType kType, bool kGeneral>
__global__ void __launch_bounds__(kStepThreads, StepBlocks(kGeneral))
    Step(const __grid_constant__ StepArgs a, const __grid_constant__ TeamArgs t) {
  StepKernel<kType, kGeneral, kVector>::Run(a, t);
}

template <NetType kType, bool kGeneral>
__global__ void __launch_bounds__(TeamThreads(kGeneral), 1)
    ThresholdCluster(const __grid_constant__ StepArgs a, const __grid_constant__ TeamArgs t) {
#if __CUDA_ARCH__ >= 900
  ThresholdKernel<ClusterTeam, kType, kGeneral, kVector>::Run(a, t);
#endif
}

template <NetType kType, bool kGeneral>
__global__ void __launch_bounds__(TeamThreads(kGeneral), 1)
    ThresholdTeam(const __grid_constant__ StepArgs a, const __grid_constant__ TeamArgs t) {
  ThresholdKernel<GridTeam, kType, kGeneral, kVector>::Run(a, t);
}

template <bool kSelects>
__global__ void __launch_bounds__(kWideThreads, 1) Wide(const __grid_constant__ StepArgs a) {
  WideKernel<kSelects>::Run(a);
}

template <class T>
__global__ void __launch_bounds__(kReduceThreads, 1) Error(const __grid_constant__ ErrorArgs a) {
  ErrorKernel<T>::Run(a);
}
__global__ void __launch_bounds__(kReduceThreads, 1) End(const __grid_constant__ ErrorArgs a, uint32_t stretches) {
  ErrorEnd::Run(a, stretches);
}

template <NetType kType, bool kSecond>
__global__ void __launch_bounds__(kReduceThreads, 1) Pairs(const __grid_constant__ GuideArgs a) {
  PairKernel<kType, kSecond>::Run(a);
}
template <bool kSecond>
__global__ void __launch_bounds__(kReduceThreads, 1) Guided(const __grid_constant__ GuideArgs a, uint32_t stretches) {
  GuideEnd<kSecond>::Run(a, stretches);
}
template <bool kSecond>
const void* PairsFor(NetType type) {
  switch (type) {
    case NetType::f16:
      return reinterpret_cast<const void*>(Pairs<NetType::f16, kSecond>);
    case NetType::bf16:
      return reinterpret_cast<const void*>(Pairs<NetType::bf16, kSecond>);
    case NetType::f64:
      return reinterpret_cast<const void*>(Pairs<NetType::f64, kSecond>);
    default:
      return reinterpret_cast<const void*>(Pairs<NetType::f32, kSecond>);
  }
}

template <class T>
__global__ void __launch_bounds__(kNoiseThreads) Noise(const __grid_constant__ NoiseArgs a) {
  NoiseKernel<T>::Run(a);
}

__global__ void Idle() {
  EverythingBefore();
  LetNextBegin();
}

template <NetType kType, bool kGeneral>
const void* Pick(Kernel kernel) {
  switch (kernel) {
    case Kernel::step:
      return reinterpret_cast<const void*>(Step<kType, kGeneral>);
    case Kernel::cluster:
      return reinterpret_cast<const void*>(ThresholdCluster<kType, kGeneral>);
    default:
      return reinterpret_cast<const void*>(ThresholdTeam<kType, kGeneral>);
  }
}

template <NetType kType>
const void* Pick(Kernel kernel, bool general) {
  return general ? Pick<kType, true>(kernel) : Pick<kType, false>(kernel);
}

}  // namespace

const void* KernelFor(Kernel kernel, NetType type, bool general) {
  if (kernel == Kernel::wide) return reinterpret_cast<const void*>(Wide<false>);
  if (kernel == Kernel::wide_select) return reinterpret_cast<const void*>(Wide<true>);
  switch (type) {
    case NetType::f16:
      return Pick<NetType::f16>(kernel, general);
    case NetType::bf16:
      return Pick<NetType::bf16>(kernel, general);
    default:
      return Pick<NetType::f32>(kernel, general);
  }
}

const void* ErrorKernelFor(bool wide) {
  return wide ? reinterpret_cast<const void*>(Error<double>) : reinterpret_cast<const void*>(Error<float>);
}
const void* ErrorEndKernel() { return reinterpret_cast<const void*>(End); }
const void* PairKernelFor(NetType type, bool second) { return second ? PairsFor<true>(type) : PairsFor<false>(type); }
const void* GuideEndKernelFor(bool second) {
  return second ? reinterpret_cast<const void*>(Guided<true>) : reinterpret_cast<const void*>(Guided<false>);
}
const void* NoiseKernelFor(bool wide) {
  return wide ? reinterpret_cast<const void*>(Noise<double>) : reinterpret_cast<const void*>(Noise<float>);
}
const void* NothingKernel() { return reinterpret_cast<const void*>(Idle); }

}  // namespace dpm::cuda
