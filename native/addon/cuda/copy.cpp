#include "call.h"

namespace dpm::addon {

// (stream, to, from, bytes): between addresses of cards
napi_value AddonCudaCopy(napi_env env, napi_callback_info info) {
  CudaCall a(env, info);
  void* const stream = a.Handle("stream");
  void* const to = a.Handle("to");
  const void* const from = a.Handle("from");
  const int64_t bytes = a.Integer("bytes", 0, kMostBytes);
  if (!a.ok()) return nullptr;
  return a.Done("Copying " + std::to_string(bytes) + " bytes on the card",
                a.api().copy(stream, to, from, static_cast<uint64_t>(bytes)));
}

}  // namespace dpm::addon
