#include "call.h"

namespace dpm::addon {

// { available, reason, library, code, driver, runtime, devices: [{ name, memory, free, major, minor, ... }] }
napi_value AddonCudaInfo(napi_env env, napi_callback_info) {
  Napi::Env wrapped(env);
  Napi::Object result = Napi::Object::New(wrapped);
  Cards cards = CountCards();
  const Library& library = TheLibrary();
  Napi::Array devices = Napi::Array::New(wrapped);
  for (int k = 0; k < cards.count; ++k) {
    cuda::DeviceInfo info;
    const int code = library.api->device(k, &info);
    if (code) {
      cards.code = code;
      cards.reason = "card " + std::to_string(k) + " answers " + library.api->error_name(code) + ": " +
                     library.api->error_text(code);
      continue;
    }
    Napi::Object device = Napi::Object::New(wrapped);
    device.Set("index", k);
    device.Set("name", info.name);
    device.Set("memory", static_cast<double>(info.memory_bytes));
    device.Set("free", info.used ? Napi::Value(Napi::Number::New(wrapped, static_cast<double>(info.free_bytes)))
                                 : wrapped.Null());
    device.Set("computeCapability", std::to_string(info.major) + "." + std::to_string(info.minor));
    device.Set("multiprocessors", info.card.multiprocessors);
    device.Set("sharedMemory", info.card.shared_bytes);
    device.Set("maxCluster", info.clusters ? 8 : 0);
    device.Set("cooperative", info.card.cooperative);
    devices.Set(devices.Length(), device);
  }
  result.Set("available", Napi::Boolean::New(wrapped, devices.Length() > 0));
  result.Set("reason", cards.reason.empty() ? wrapped.Null() : Napi::Value(Napi::String::New(wrapped, cards.reason)));
  result.Set("library", library.path);
  result.Set("code", cards.code);
  result.Set("driver",
             cards.driver ? Napi::Value(Napi::String::New(wrapped, CudaVersion(cards.driver))) : wrapped.Null());
  result.Set("runtime",
             library.api ? Napi::Value(Napi::String::New(wrapped, CudaVersion(library.api->runtime))) : wrapped.Null());
  result.Set("devices", devices);
  return result;
}

}  // namespace dpm::addon
