#include "call.h"

namespace dpm::addon {

// (stream)
napi_value AddonCudaStreamWait(napi_env env, napi_callback_info info) {
  return HandleCall<&cuda::Api::stream_wait>(env, info, "stream", "Waiting for a stream");
}

}  // namespace dpm::addon
