// info(): { simd, simdAvailable, threads }
#include "../../cpu/kernels.h"
#include "../../cpu/pool.h"
#include "../addon.h"

namespace dpm::addon {

napi_value AddonInfo(napi_env env, napi_callback_info) {
  Napi::Env wrapped(env);
  Napi::Object result = Napi::Object::New(wrapped);
  int count = 0;
  const char* const* names = AvailableKernels(&count);
  Napi::Array list = Napi::Array::New(wrapped, static_cast<size_t>(count));
  for (int i = 0; i < count; ++i) list.Set(static_cast<uint32_t>(i), names[i]);
  result.Set("simd", ActiveKernels().name);
  result.Set("simdAvailable", list);
  result.Set("threads", HardwareThreads());
  return result;
}

}  // namespace dpm::addon
