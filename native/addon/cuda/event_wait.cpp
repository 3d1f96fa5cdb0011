#include "call.h"

namespace dpm::addon {

// (event)
napi_value AddonCudaEventWait(napi_env env, napi_callback_info info) {
  return HandleCall<&cuda::Api::event_wait>(env, info, "event", "Waiting for an event");
}

}  // namespace dpm::addon
