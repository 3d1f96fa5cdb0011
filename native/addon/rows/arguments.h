// Arguments of the functions that fill rows of coefficients, and what these return.
#pragma once

#include <cstddef>
#include <string>

#include "../../coefficients/rows.h"
#include "../addon.h"

namespace dpm::addon {

constexpr int kNodeLength = 4;  // alpha, sigma, lambda, end

// Reads arguments by position. After the first that does not fit, an exception is pending and the rest is not read.
class RowArguments {
 public:
  explicit RowArguments(const Napi::CallbackInfo& info) : info_(info) {}

  bool ok() const { return ok_; }

  // What came instead, in words.
  static std::string Describe(const Napi::Value& value);

  // An integer in [0, count).
  int Index(int i, const char* name, size_t count);

  double Number(int i, const char* name);

  struct Doubles {
    double* data = nullptr;
    size_t length = 0;
  };

  // A Float64Array, of any length if `length` is 0.
  Doubles Array(int i, const char* name, size_t length = 0);

  // rows, index: one whole row in an array of rows.
  double* Row(int i);

  // The `i`th of the nodes in `from`; `name` is the argument's.
  Node NodeAt(const Doubles& from, int i, const char* name);

 private:
  template <typename Error>
  void Fail(const std::string& expected, const std::string& name, const Napi::Value& value);

  const Napi::CallbackInfo& info_;
  bool ok_ = true;
};

inline Napi::Value ToNumber(const Napi::CallbackInfo& info, Status status) {
  return Napi::Number::New(info.Env(), static_cast<int>(status));
}

}  // namespace dpm::addon
