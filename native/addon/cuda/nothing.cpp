#include "call.h"

namespace dpm::addon {

// (stream)
napi_value AddonCudaNothing(napi_env env, napi_callback_info info) {
  return HandleCall<&cuda::Api::nothing>(env, info, "stream", "Launching a kernel that does nothing");
}

}  // namespace dpm::addon
