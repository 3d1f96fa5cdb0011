// Objects that JavaScript holds and cannot look into: each carries a pointer of ours and a tag that says what kind.
#pragma once

#include <memory>

#include "../../ort/network.h"
#include "../arguments.h"

namespace dpm::addon {

class Bridge;

// A library, and what is open in it: shared by all networks of one JavaScript thread.
struct LibraryHandle {
  std::shared_ptr<ort::Library> library;
  std::shared_ptr<std::vector<Bridge*>> open{new std::vector<Bridge*>};
};

// Makes an object that owns `handle`; null, with `handle` deleted, where that fails.
napi_value WrapLibrary(napi_env env, LibraryHandle* handle);
napi_value WrapNetwork(napi_env env, const std::shared_ptr<Bridge>& bridge);
napi_value WrapValue(napi_env env, const std::shared_ptr<ort::DeviceValue>& value);

// What the object owns; null, and a TypeError, where it is another.
LibraryHandle* UnwrapLibrary(napi_env env, napi_value object);
std::shared_ptr<Bridge> UnwrapNetwork(napi_env env, napi_value object);
// Null without an error where it is another; *empty where it has been disposed of.
std::shared_ptr<ort::DeviceValue> UnwrapValue(napi_env env, napi_value object, bool* empty);
// Lets go of what the object owns; false, and a TypeError, where it is another.
bool DisposeValue(napi_env env, napi_value object);

}  // namespace dpm::addon
