#include "call.h"

namespace dpm::addon {

// (stream): bigint
napi_value AddonCudaCaptureEnd(napi_env env, napi_callback_info info) {
  CudaCall a(env, info);
  void* const stream = a.Handle("stream");
  if (!a.ok()) return nullptr;
  void* graph = nullptr;
  const int code = a.api().capture_end(stream, &graph);
  return code ? a.Done("Ending a capture", code) : a.Take(graph, Kind::graph, 0);
}

}  // namespace dpm::addon
