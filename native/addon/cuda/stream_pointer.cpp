#include "call.h"

namespace dpm::addon {

// (stream): bigint, its cudaStream_t
napi_value AddonCudaStreamPointer(napi_env env, napi_callback_info info) {
  CudaCall a(env, info);
  void* const stream = a.Handle("stream");
  return a.ok() ? BigInt(env, a.api().stream_pointer(stream)) : nullptr;
}

}  // namespace dpm::addon
