#include "call.h"

namespace dpm::addon {

// (device): bigint, an event that measures time
napi_value AddonCudaEventCreate(napi_env env, napi_callback_info info) {
  CudaCall a(env, info);
  const int64_t device = a.Integer("device", 0, 1023);
  if (!a.ok()) return nullptr;
  void* event = nullptr;
  const int code = a.api().event_create(static_cast<int>(device), true, &event);
  return code ? a.Done("Making an event" + OnCard(device), code) : a.Take(event, Kind::event, device);
}

}  // namespace dpm::addon
