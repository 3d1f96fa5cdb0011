#include "handles.h"

#include "bridge.h"

namespace dpm::addon {
namespace {

constexpr napi_type_tag kLibrary = {0x3f1c5a7be2d94c10, 0x9a64b0de7f21c835};
constexpr napi_type_tag kNetwork = {0x6b0e92d4517f4a3c, 0xb85d13c9e0a7f246};
constexpr napi_type_tag kValue = {0xd27a48f10c3b4e95, 0x8e1f6ac5b39d0742};

template <class T>
napi_value Wrap(napi_env env, T* owned, const napi_type_tag& tag, napi_finalize finalize) {
  napi_value object = nullptr;
  if (napi_create_object(env, &object) != napi_ok || napi_type_tag_object(env, object, &tag) != napi_ok ||
      napi_wrap(env, object, owned, finalize, nullptr, nullptr) != napi_ok) {
    delete owned;
    return nullptr;
  }
  return object;
}

// The pointer in `object`, or null.
void* Unwrap(napi_env env, napi_value object, const napi_type_tag& tag) {
  napi_valuetype type = napi_undefined;
  bool ours = false;
  void* owned = nullptr;
  if (napi_typeof(env, object, &type) != napi_ok || type != napi_object ||
      napi_check_object_type_tag(env, object, &tag, &ours) != napi_ok || !ours ||
      napi_unwrap(env, object, &owned) != napi_ok) {
    return nullptr;
  }
  return owned;
}

}  // namespace

napi_value WrapLibrary(napi_env env, LibraryHandle* handle) {
  return Wrap(env, handle, kLibrary, [](napi_env, void* data, void*) { delete static_cast<LibraryHandle*>(data); });
}

napi_value WrapNetwork(napi_env env, const std::shared_ptr<Bridge>& bridge) {
  return Wrap(env, new std::shared_ptr<Bridge>(bridge), kNetwork, [](napi_env, void* data, void*) {
    const auto* const owned = static_cast<std::shared_ptr<Bridge>*>(data);
    (*owned)->Abandon();
    delete owned;
  });
}

napi_value WrapValue(napi_env env, const std::shared_ptr<ort::DeviceValue>& value) {
  return Wrap(env, new std::shared_ptr<ort::DeviceValue>(value), kValue,
              [](napi_env, void* data, void*) { delete static_cast<std::shared_ptr<ort::DeviceValue>*>(data); });
}

LibraryHandle* UnwrapLibrary(napi_env env, napi_value object) {
  void* const owned = Unwrap(env, object, kLibrary);
  if (!owned) ThrowType(env, "Expected onnxruntime's library for library but received " + Describe(env, object));
  return static_cast<LibraryHandle*>(owned);
}

std::shared_ptr<Bridge> UnwrapNetwork(napi_env env, napi_value object) {
  void* const owned = Unwrap(env, object, kNetwork);
  if (owned) return *static_cast<std::shared_ptr<Bridge>*>(owned);
  ThrowType(env, "Expected an open network for network but received " + Describe(env, object));
  return nullptr;
}

std::shared_ptr<ort::DeviceValue> UnwrapValue(napi_env env, napi_value object, bool* empty) {
  void* const owned = Unwrap(env, object, kValue);
  *empty = false;
  if (!owned) return nullptr;
  const auto& value = *static_cast<std::shared_ptr<ort::DeviceValue>*>(owned);
  *empty = value == nullptr;
  return value;
}

bool DisposeValue(napi_env env, napi_value object) {
  void* const owned = Unwrap(env, object, kValue);
  if (owned) {
    static_cast<std::shared_ptr<ort::DeviceValue>*>(owned)->reset();
    return true;
  }
  ThrowType(env, "Expected a value on a device for value but received " + Describe(env, object));
  return false;
}

}  // namespace dpm::addon
