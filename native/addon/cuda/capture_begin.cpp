#include "call.h"

namespace dpm::addon {

// (stream)
napi_value AddonCudaCaptureBegin(napi_env env, napi_callback_info info) {
  return HandleCall<&cuda::Api::capture_begin>(env, info, "stream", "Beginning a capture");
}

}  // namespace dpm::addon
