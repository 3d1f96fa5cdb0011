#include "call.h"

namespace dpm::addon {

// (device, existing: bigint | null): bigint
napi_value AddonCudaStreamCreate(napi_env env, napi_callback_info info) {
  CudaCall a(env, info);
  const int64_t device = a.Integer("device", 0, 1023);
  const napi_value given = a.Value();
  napi_valuetype type = napi_undefined;
  if (a.ok()) napi_typeof(env, given, &type);
  void* existing = nullptr;
  const bool wrap = type == napi_bigint;
  if (wrap) {
    uint64_t address = 0;
    bool lossless = false;
    napi_get_value_bigint_uint64(env, given, &address, &lossless);
    existing = reinterpret_cast<void*>(static_cast<uintptr_t>(address));
  }
  if (!a.ok()) return nullptr;
  void* stream = nullptr;
  const int code = a.api().stream_create(static_cast<int>(device), existing, wrap, &stream);
  return code ? a.Done("Making a stream" + OnCard(device), code) : a.Take(stream, Kind::stream, device);
}

}  // namespace dpm::addon
