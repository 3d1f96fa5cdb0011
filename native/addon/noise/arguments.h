// Arguments of the functions that make noise.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "../addon.h"

namespace dpm::addon {

// Reads arguments by position; after the first that is wrong an exception is pending and ok() is false.
class NoiseArguments {
 public:
  explicit NoiseArguments(const Napi::CallbackInfo& info) : info_(info) {}

  bool ok() const { return ok_; }
  bool Given(size_t i) const { return i < info_.Length() && !info_[i].IsUndefined(); }

  // An integer in [0, max], max at most 2^53 - 1.
  uint64_t Integer(size_t i, const char* name, uint64_t max, const char* what);

  uint32_t Word(size_t i, const char* name) {
    return static_cast<uint32_t>(Integer(i, name, 0xffffffffu, "an integer from 0 to 2^32 - 1"));
  }

  uint64_t Count(size_t i, const char* name) {
    return Integer(i, name, 9007199254740991u, "an integer from 0 to 2^53 - 1");
  }

  bool Boolean(size_t i, const char* name);

  // A typed array of one of two types (the same twice where there is but one).
  void* Array(size_t i, const char* name, const char* what, napi_typedarray_type first, napi_typedarray_type second,
              napi_typedarray_type* type, size_t* length);

  // A Uint32Array of exactly `length` words.
  uint32_t* Words(size_t i, const char* name, size_t length);

  double* Doubles(size_t i, const char* name, size_t* length);

  // A generator state with words that the native code can rely on: the index is used to address memory.
  uint32_t* TorchState(size_t i);

  bool Check(bool condition, const std::string& message);

 private:
  uint64_t Fail(bool range, const char* what, const char* name, const Napi::Value& value);

  const Napi::CallbackInfo& info_;
  bool ok_ = true;
};

// The part of a Float32Array or Float64Array that a call writes to: `out` at argument `i`, optional `begin` and `end`
// at `range` and `range + 1`, all of it by default.
struct Out {
  Out(NoiseArguments* a, size_t i, size_t range);

  const void* data() const { return f64 ? static_cast<const void*>(f64) : f32; }
  size_t bytes() const { return size * (f64 ? sizeof *f64 : sizeof *f32); }

  float* f32 = nullptr;
  double* f64 = nullptr;
  size_t size = 0;
};

}  // namespace dpm::addon
