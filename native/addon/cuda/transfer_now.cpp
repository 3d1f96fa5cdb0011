#include "copy_bytes.h"
#include "transfers.h"

namespace dpm::addon {

// (stream, device, memory, array, direction): the copies of cudaTransfer while this thread waits.
napi_value AddonCudaTransferNow(napi_env env, napi_callback_info info) {
  CudaCall a(env, info);
  void* const stream = a.Handle("stream");
  const int64_t device = a.Integer("device", 0, 1023);
  void* const memory = a.Handle("memory");
  const View view = a.Bytes("array");
  const int64_t direction = a.Integer("direction", 0, 1);
  if (!a.ok()) return nullptr;
  const cuda::Api& api = a.api();
  void* stage = nullptr;
  int code = 0;
  const bool direct = IsPageLocked(view.data, view.length);
  if (direct) {
    code = direction == 0 ? api.copy(stream, memory, view.data, view.length)
                          : api.copy(stream, view.data, memory, view.length);
  } else if (direction == 0) {
    code = QueueUpload(api, static_cast<int>(device), stream, memory, view, &stage);
  } else {
    code = api.stage_take(static_cast<int>(device), view.length, &stage);
    if (!code) code = api.copy(stream, stage, memory, view.length);
  }
  // What has been queued still uses the memory.
  const int waited = api.stream_wait(stream);
  if (!code) code = waited;
  if (!code && direction == 1 && !direct) CopyBytes(view.data, stage, view.length);
  if (stage) api.stage_return(stage);
  return a.Done(CopyName(direction, view.length, device), code);
}

}  // namespace dpm::addon
