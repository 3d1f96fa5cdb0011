#include "call.h"

namespace dpm::addon {

// (from, to): number of milliseconds
napi_value AddonCudaEventMilliseconds(napi_env env, napi_callback_info info) {
  CudaCall a(env, info);
  void* const from = a.Handle("from");
  void* const to = a.Handle("to");
  if (!a.ok()) return nullptr;
  float milliseconds = 0;
  const int code = a.api().event_milliseconds(from, to, &milliseconds);
  if (code) return a.Done("Measuring between events", code);
  napi_value result = nullptr;
  napi_create_double(env, milliseconds, &result);
  return result;
}

}  // namespace dpm::addon
