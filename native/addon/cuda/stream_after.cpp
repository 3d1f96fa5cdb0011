#include "call.h"

namespace dpm::addon {

// (stream, event)
napi_value AddonCudaStreamAfter(napi_env env, napi_callback_info info) {
  CudaCall a(env, info);
  void* const stream = a.Handle("stream");
  void* const event = a.Handle("event");
  return a.ok() ? a.Done("Making a stream wait", a.api().stream_after(stream, event)) : nullptr;
}

}  // namespace dpm::addon
