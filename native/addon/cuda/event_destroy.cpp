#include "call.h"

namespace dpm::addon {

// (event)
napi_value AddonCudaEventDestroy(napi_env env, napi_callback_info info) {
  return HandleCall<&cuda::Api::event_destroy, true>(env, info, "event", "Destroying an event");
}

}  // namespace dpm::addon
