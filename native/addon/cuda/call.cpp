#include "call.h"

#include <new>

#include "waiter.h"

namespace dpm::addon {

namespace {

void FreeTaken(void* data) {
  Taken* const taken = static_cast<Taken*>(data);
  const cuda::Api* const api = TheLibrary().api;
  // Copies end before their streams do.
  for (const auto& [stream, waiter] : taken->waiters) delete waiter;
  if (api) {
    for (const Kind kind : {Kind::graph, Kind::memory, Kind::event, Kind::stream}) {
      for (const auto& [handle, one] : taken->all) {
        if (one.kind != kind) continue;
        if (kind == Kind::graph) api->graph_destroy(handle);
        if (kind == Kind::memory) api->free(one.device, handle);
        if (kind == Kind::event) api->event_destroy(handle);
        if (kind == Kind::stream) api->stream_destroy(handle);
      }
    }
  }
  delete taken;
}

}  // namespace

void* MakeTaken(napi_env env) {
  Taken* const taken = new (std::nothrow) Taken;
  if (taken && napi_add_env_cleanup_hook(env, FreeTaken, taken) == napi_ok) return taken;
  delete taken;
  return nullptr;
}

size_t ElementBytes(napi_typedarray_type type) {
  constexpr size_t kBytes[] = {1, 1, 1, 2, 2, 4, 4, 4, 8, 8, 8, 2};
  return kBytes[static_cast<int>(type) <= kFloat16ArrayType ? static_cast<int>(type) : 0];
}

napi_value CudaError(napi_env env, const std::string& what, int code) {
  const cuda::Api& api = *TheLibrary().api;
  const std::string message = what + " failed: " + api.error_name(code) + " (" + api.error_text(code) + ")";
  napi_value text, name, error = nullptr;
  napi_create_string_utf8(env, message.c_str(), message.size(), &text);
  napi_create_string_utf8(env, api.error_name(code), NAPI_AUTO_LENGTH, &name);
  napi_create_error(env, name, text, &error);
  return error;
}

napi_value BigInt(napi_env env, const void* pointer) {
  napi_value value = nullptr;
  napi_create_bigint_uint64(env, static_cast<uint64_t>(reinterpret_cast<uintptr_t>(pointer)), &value);
  return value;
}

CudaCall::CudaCall(napi_env env, napi_callback_info info) : env_(env) {
  size_t count = kMost;
  void* data = nullptr;
  napi_get_cb_info(env, info, &count, values_, nullptr, &data);
  taken_ = static_cast<Taken*>(data);
  api_ = TheLibrary().api;
  if (api_) return;
  napi_throw_error(env, nullptr, ("Expected the CUDA library but " + TheLibrary().reason).c_str());
  ok_ = false;
}

void* CudaCall::Pointer(const char* name, bool optional) {
  napi_value value = Value();
  if (!ok_) return nullptr;
  uint64_t address = 0;
  bool lossless = false;
  if (napi_get_value_bigint_uint64(env_, value, &address, &lossless) == napi_ok && lossless) {
    return reinterpret_cast<void*>(static_cast<uintptr_t>(address));
  }
  napi_valuetype type = napi_undefined;
  napi_typeof(env_, value, &type);
  if (optional && (type == napi_null || type == napi_undefined)) return nullptr;
  ThrowType(env_,
            std::string("Expected an address as a bigint for ") + name + " but received " + Describe(env_, value));
  ok_ = false;
  return nullptr;
}

void* CudaCall::Handle(const char* name) {
  void* const handle = Pointer(name);
  if (ok_ && !handle) {
    ThrowRange(env_, std::string("Expected a living handle for ") + name + " but received 0");
    ok_ = false;
  }
  return handle;
}

int64_t CudaCall::Integer(const char* name, double low, double high) {
  int64_t value = 0;
  napi_value from = Value();
  if (ok_ && !ReadInteger(env_, from, name, low, high, &value)) ok_ = false;
  return value;
}

View CudaCall::Bytes(const char* name, bool optional) {
  View view;
  napi_value from = Value();
  if (!ok_) return view;
  napi_typedarray_type kind = static_cast<napi_typedarray_type>(kFloat16ArrayType);
  if (napi_get_typedarray_info(env_, from, &kind, &view.length, &view.data, nullptr, nullptr) == napi_ok) {
    view.length *= ElementBytes(kind);
    view.present = true;
    return view;
  }
  napi_valuetype type = napi_undefined;
  napi_typeof(env_, from, &type);
  if (optional && (type == napi_null || type == napi_undefined)) return view;
  ThrowType(env_, std::string("Expected a typed array for ") + name + " but received " + Describe(env_, from));
  ok_ = false;
  return view;
}

napi_value CudaCall::Take(void* handle, Kind kind, int64_t device) {
  taken_->all[handle] = {kind, static_cast<int>(device)};
  return BigInt(env_, handle);
}

napi_value CudaCall::Done(const std::string& what, int code) {
  if (code) napi_throw(env_, CudaError(env_, what, code));
  return nullptr;
}

}  // namespace dpm::addon
