#include "call.h"

namespace dpm::addon {
namespace {

// Positions in the array; lib/cuda/step.ts fills it with the same.
enum StepWord : int {
  kAtRows,
  kAtX,
  kAtM,
  kAtU,
  kAtG,
  kAtBase,
  kAtP,
  kAtD1,
  kAtD2,
  kAtD3,
  kAtZ,
  kAtNoise,
  kAtFlags,
  kAtD0,
  kAtOut,
  kAtOut2,
  kAtNext,
  kAtNext2,
  kAtBatch,
  kAtN,
  kAtStride,
  kAtType,
  kAtNextType,
  kAtQuantile,
  kAtKernel,  // written: which one was taken
  kStepWords,
};

}  // namespace

// (stream, call: BigUint64Array): addresses and numbers in the order above. One array, filled once and used for many
// steps: reading it takes less than reading as many arguments.
napi_value AddonCudaStep(napi_env env, napi_callback_info info) {
  CudaCall a(env, info);
  void* const stream = a.Handle("stream");
  const View view = a.Bytes("call");
  if (!a.ok()) return nullptr;
  if (view.length != kStepWords * 8) {
    ThrowRange(env, "Expected " + std::to_string(int{kStepWords}) + " words for call but received others");
    return nullptr;
  }
  uint64_t* const words = static_cast<uint64_t*>(view.data);
  const auto at = [&](int which) { return reinterpret_cast<void*>(static_cast<uintptr_t>(words[which])); };
  const auto floats = [&](int which) { return static_cast<float*>(at(which)); };
  const uint64_t batch = words[kAtBatch], n = words[kAtN];
  if (batch < 1 || batch > 0x7fffffffu || n < 1 || n > 0xffffffffu || words[kAtStride] > 0xffffffffu ||
      words[kAtType] > 4 || words[kAtNextType] > 4) {
    ThrowRange(env,
               "Expected a batch below 2^31, samples and strides below 2^32 elements and known types for call but "
               "received others");
    return nullptr;
  }
  cuda::StepArgs s;
  s.rows = static_cast<const double*>(at(kAtRows));
  s.x = floats(kAtX), s.m = at(kAtM), s.u = at(kAtU), s.g = at(kAtG), s.base = floats(kAtBase), s.p = floats(kAtP);
  s.d1 = floats(kAtD1), s.d2 = floats(kAtD2), s.d3 = floats(kAtD3), s.z = floats(kAtZ);
  s.noise = static_cast<const uint32_t*>(at(kAtNoise));
  s.flags = static_cast<uint32_t*>(at(kAtFlags));
  s.d0 = floats(kAtD0), s.out = floats(kAtOut), s.out2 = floats(kAtOut2);
  s.next[0] = at(kAtNext), s.next[1] = at(kAtNext2);
  s.n = n;
  s.m_stride = words[kAtStride];
  s.batch = static_cast<uint32_t>(batch);
  s.next_type = static_cast<int>(words[kAtNextType]);
  cuda::Plan plan;
  const int code = a.api().step(stream, &s, static_cast<cuda::NetType>(words[kAtType]), words[kAtQuantile] != 0, &plan);
  words[kAtKernel] = static_cast<uint64_t>(plan.kernel);
  if (!code) return nullptr;
  return a.Done("A step of " + std::to_string(batch) + " samples of " + std::to_string(n) + " elements", code);
}

}  // namespace dpm::addon
