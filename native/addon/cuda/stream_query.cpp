#include "call.h"

namespace dpm::addon {

// (stream): boolean, whether all is done
napi_value AddonCudaStreamQuery(napi_env env, napi_callback_info info) {
  CudaCall a(env, info);
  void* const stream = a.Handle("stream");
  if (!a.ok()) return nullptr;
  const int code = a.api().stream_query(stream);
  if (code && code != cuda::kErrorNotReady) return a.Done("Asking a stream", code);
  napi_value result = nullptr;
  napi_get_boolean(env, code == 0, &result);
  return result;
}

}  // namespace dpm::addon
