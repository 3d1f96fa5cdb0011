#include "waiter.h"

namespace dpm::addon {

// (stream)
napi_value AddonCudaStreamDestroy(napi_env env, napi_callback_info info) {
  CudaCall a(env, info);
  void* const stream = a.Handle("stream");
  if (!a.ok()) return nullptr;
  Waiter::Forget(a.taken(), stream);
  a.GiveBack(stream);
  return a.Done("Destroying a stream", a.api().stream_destroy(stream));
}

}  // namespace dpm::addon
