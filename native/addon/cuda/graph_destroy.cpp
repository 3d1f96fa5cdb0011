#include "call.h"

namespace dpm::addon {

// (graph)
napi_value AddonCudaGraphDestroy(napi_env env, napi_callback_info info) {
  return HandleCall<&cuda::Api::graph_destroy, true>(env, info, "graph", "Destroying a graph");
}

}  // namespace dpm::addon
