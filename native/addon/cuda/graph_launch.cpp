#include "call.h"

namespace dpm::addon {

// (graph, stream)
napi_value AddonCudaGraphLaunch(napi_env env, napi_callback_info info) {
  CudaCall a(env, info);
  void* const graph = a.Handle("graph");
  void* const stream = a.Handle("stream");
  return a.ok() ? a.Done("Launching a graph", a.api().graph_launch(graph, stream)) : nullptr;
}

}  // namespace dpm::addon
