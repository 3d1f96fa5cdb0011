#include "call.h"

namespace dpm::addon {

// (stream, to, bytes)
napi_value AddonCudaZero(napi_env env, napi_callback_info info) {
  CudaCall a(env, info);
  void* const stream = a.Handle("stream");
  void* const to = a.Handle("to");
  const int64_t bytes = a.Integer("bytes", 0, kMostBytes);
  if (!a.ok()) return nullptr;
  return a.Done("Clearing " + std::to_string(bytes) + " bytes", a.api().zero(stream, to, static_cast<uint64_t>(bytes)));
}

}  // namespace dpm::addon
