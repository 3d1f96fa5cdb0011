#include "arguments.h"

#include <cmath>

#include "../../step/row.h"
#include "../arguments.h"

namespace dpm::addon {

template <typename Error>
void RowArguments::Fail(const std::string& expected, const std::string& name, const Napi::Value& value) {
  ok_ = false;
  Error::New(info_.Env(), "Expected " + expected + " for " + name + " but received " + Describe(value))
      .ThrowAsJavaScriptException();
}

std::string RowArguments::Describe(const Napi::Value& value) {
  if (value.IsTypedArray()) {
    const auto array = value.As<Napi::TypedArray>();
    return (array.TypedArrayType() == napi_float64_array ? "a Float64Array of length " : "a typed array of length ") +
           std::to_string(array.ElementLength());
  }
  return addon::Describe(value.Env(), value);
}

int RowArguments::Index(int i, const char* name, size_t count) {
  if (!ok_) return 0;
  const Napi::Value value = info_[i];
  const std::string expected = count == 0   ? "no value"
                               : count == 1 ? "0"
                                            : "an integer from 0 to " + std::to_string(count - 1);
  if (!value.IsNumber()) return Fail<Napi::TypeError>(expected, name, value), 0;
  const double x = value.As<Napi::Number>().DoubleValue();
  if (!(x >= 0 && x < static_cast<double>(count)) || x != std::floor(x)) {
    return Fail<Napi::RangeError>(expected, name, value), 0;
  }
  return static_cast<int>(x);
}

double RowArguments::Number(int i, const char* name) {
  if (!ok_) return 0;
  const Napi::Value value = info_[i];
  if (!value.IsNumber()) return Fail<Napi::TypeError>("a number", name, value), 0;
  return value.As<Napi::Number>().DoubleValue();
}

RowArguments::Doubles RowArguments::Array(int i, const char* name, size_t length) {
  if (!ok_) return {};
  const Napi::Value value = info_[i];
  const std::string expected = length == 0 ? "a Float64Array" : "a Float64Array of length " + std::to_string(length);
  if (!value.IsTypedArray() || value.As<Napi::TypedArray>().TypedArrayType() != napi_float64_array) {
    return Fail<Napi::TypeError>(expected, name, value), Doubles{};
  }
  const auto array = value.As<Napi::Float64Array>();
  if (length != 0 && array.ElementLength() != length) {
    return Fail<Napi::RangeError>(expected, name, value), Doubles{};
  }
  return {const_cast<double*>(array.Data()), array.ElementLength()};
}

double* RowArguments::Row(int i) {
  const Doubles rows = Array(i, "rows");
  if (ok_ && (rows.length == 0 || rows.length % kRowLength != 0)) {
    Fail<Napi::RangeError>("a Float64Array of one or more rows of length " + std::to_string(kRowLength), "rows",
                           info_[i]);
  }
  const int index = Index(i + 1, "index", rows.length / kRowLength);
  return ok_ ? rows.data + static_cast<size_t>(index) * kRowLength : nullptr;
}

Node RowArguments::NodeAt(const Doubles& from, int i, const char* name) {
  if (!ok_) return {};
  const double* p = from.data + i * kNodeLength;
  if (p[3] != 0 && p[3] != 1 && p[3] != 2) {
    Fail<Napi::RangeError>("0, 1 or 2", std::string("the end in ") + name, Napi::Number::New(info_.Env(), p[3]));
    return {};
  }
  return {p[0], p[1], p[2], static_cast<End>(static_cast<int>(p[3]))};
}

}  // namespace dpm::addon
