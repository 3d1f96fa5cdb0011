// Arguments of the exported functions, read without node-addon-api's wrappers where a call counts in nanoseconds.
#pragma once

#include <cstdint>
#include <cstring>
#include <string>

#include "../cpu/step.h"
#include "addon.h"

namespace dpm::addon {

// Newer than the oldest headers that this compiles against.
constexpr int kFloat16ArrayType = 11;

// Throws once; later errors of the same call are dropped.
inline void ThrowType(napi_env env, const std::string& message) {
  bool pending = false;
  napi_is_exception_pending(env, &pending);
  if (!pending) napi_throw_type_error(env, nullptr, message.c_str());
}
inline void ThrowRange(napi_env env, const std::string& message) {
  bool pending = false;
  napi_is_exception_pending(env, &pending);
  if (!pending) napi_throw_range_error(env, nullptr, message.c_str());
}

// What a value is, in a word or two on one line, for error messages: numbers and the beginning of strings as they are
// written. Runs none of the caller's code.
std::string Describe(napi_env env, napi_value value);

struct View {
  void* data = nullptr;
  size_t length = 0;  // elements
  int js_type = -1;   // napi_typedarray_type
  Type type = Type::none;
  bool present = false;
  size_t bytes() const { return length * (type == Type::f64 ? 8 : type == Type::f32 ? 4 : type == Type::f16 ? 2 : 1); }
};

constexpr int kAllowF16 = 1, kAllowF32 = 2, kAllowF64 = 4, kAllowAbsent = 8, kAllowBytes = 16;

// Reads a typed array of an allowed kind; false and an exception otherwise.
bool ReadView(napi_env env, napi_value value, const char* name, int allow, View* view);

// Reads an integer in [low, high].
bool ReadInteger(napi_env env, napi_value value, const char* name, double low, double high, int64_t* out);
bool ReadNumber(napi_env env, napi_value value, const char* name, double* out);

// Do two views share a byte?
inline bool Overlap(const void* a, size_t a_bytes, const void* b, size_t b_bytes) {
  const auto x = reinterpret_cast<uintptr_t>(a), y = reinterpret_cast<uintptr_t>(b);
  return a_bytes && b_bytes && x < y + b_bytes && y < x + a_bytes;
}

}  // namespace dpm::addon
