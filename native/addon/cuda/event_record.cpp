#include "call.h"

namespace dpm::addon {

// (event, stream)
napi_value AddonCudaEventRecord(napi_env env, napi_callback_info info) {
  CudaCall a(env, info);
  void* const event = a.Handle("event");
  void* const stream = a.Handle("stream");
  return a.ok() ? a.Done("Recording an event", a.api().event_record(event, stream)) : nullptr;
}

}  // namespace dpm::addon
