#include <new>

#include "transfers.h"
#include "waiter.h"

namespace dpm::addon {

// (stream, device, memory, array, direction): promise. Direction 0 uploads, 1 downloads, 2 only waits for the stream.
napi_value AddonCudaTransfer(napi_env env, napi_callback_info info) {
  CudaCall a(env, info);
  void* const stream = a.Handle("stream");
  const int64_t device = a.Integer("device", 0, 1023);
  void* const memory = a.Pointer("memory", true);
  const napi_value array = a.Value();
  const int64_t direction = a.Integer("direction", 0, 2);
  if (!a.ok()) return nullptr;
  View view;
  if (direction != 2) {
    CudaCall again(env, info);
    again.Value(), again.Value(), again.Value();
    view = again.Bytes("array");
    if (!again.ok()) return nullptr;
    if (!memory) {
      ThrowRange(env, "Expected a living tensor but received one that was disposed");
      return nullptr;
    }
  }
  const cuda::Api& api = a.api();
  Waiter* const waiter = Waiter::Of(env, a.taken(), stream);
  Transfer* const t = waiter ? new (std::nothrow) Transfer : nullptr;
  if (!t) {
    napi_throw_error(env, nullptr, "Expected memory and a thread for a copy but the system has none");
    return nullptr;
  }
  t->api = &api;
  t->stream = stream;
  t->bytes = view.length;
  t->what = direction == 2 ? "Waiting for a stream" : CopyName(direction, view.length, device);
  const bool direct = direction != 2 && IsPageLocked(view.data, view.length);
  if (direct) {
    t->code =
        direction == 0 ? api.copy(stream, memory, view.data, t->bytes) : api.copy(stream, view.data, memory, t->bytes);
  } else if (direction == 0) {
    t->code = QueueUpload(api, static_cast<int>(device), stream, memory, view, &t->stage);
  } else if (direction == 1) {
    t->to = view.data;
    t->code = api.stage_take(static_cast<int>(device), t->bytes, &t->stage);
    if (!t->code) t->code = api.copy(stream, t->stage, memory, t->bytes);
  }
  // After a copy that could not be queued whole, a part of it may have been.
  t->queued = direction != 2 && (t->code == 0 || t->stage);
  const int code = t->code;
  if (!t->code) t->code = api.event_create(static_cast<int>(device), false, &t->event);
  if (!t->code) t->code = api.event_record(t->event, stream);
  t->recorded = t->code == 0;
  if (code) t->code = code;
  if (direction == 1 || direct) napi_create_reference(env, array, 1, &t->array);
  napi_value promise = nullptr;
  napi_create_promise(env, &t->deferred, &promise);
  waiter->Add(t);
  return promise;
}

}  // namespace dpm::addon
