#include "arguments.h"

#include <cmath>

#include "../../noise/torch.h"
#include "../arguments.h"

namespace dpm::addon {
namespace {

// What came in, for a message: arrays with their length.
std::string Describe(const Napi::Value& value) {
  static constexpr const char* kArrays[] = {"Int8Array",    "Uint8Array",    "Uint8ClampedArray", "Int16Array",
                                            "Uint16Array",  "Int32Array",    "Uint32Array",       "Float32Array",
                                            "Float64Array", "BigInt64Array", "BigUint64Array",    "Float16Array"};
  napi_typedarray_type type = static_cast<napi_typedarray_type>(kFloat16ArrayType);
  size_t length = 0;
  if (napi_get_typedarray_info(value.Env(), value, &type, &length, nullptr, nullptr, nullptr) != napi_ok) {
    return addon::Describe(value.Env(), value);
  }
  const size_t kind = static_cast<size_t>(type);
  const std::string name = kind < sizeof kArrays / sizeof *kArrays ? kArrays[kind] : "typed array";
  return (name == "Int8Array" || name == "Int16Array" || name == "Int32Array" ? "an " : "a ") + name + " of length " +
         std::to_string(length);
}

std::string Expected(const char* what, const char* name, const Napi::Value& value) {
  return std::string("Expected ") + what + " for " + name + " but received " + Describe(value);
}

}  // namespace

uint64_t NoiseArguments::Fail(bool range, const char* what, const char* name, const Napi::Value& value) {
  ok_ = false;
  const std::string message = Expected(what, name, value);
  if (range) {
    Napi::RangeError::New(info_.Env(), message).ThrowAsJavaScriptException();
  } else {
    Napi::TypeError::New(info_.Env(), message).ThrowAsJavaScriptException();
  }
  return 0;
}

uint64_t NoiseArguments::Integer(size_t i, const char* name, uint64_t max, const char* what) {
  if (!ok_) return 0;
  const Napi::Value value = info_[i];
  if (!value.IsNumber()) return Fail(false, what, name, value);
  const double number = value.As<Napi::Number>().DoubleValue();
  if (!(number >= 0 && number <= static_cast<double>(max)) || number != std::floor(number)) {
    return Fail(true, what, name, value);
  }
  return static_cast<uint64_t>(number);
}

bool NoiseArguments::Boolean(size_t i, const char* name) {
  if (!ok_) return false;
  if (!info_[i].IsBoolean()) return Fail(false, "a boolean", name, info_[i]) != 0;
  return info_[i].As<Napi::Boolean>().Value();
}

void* NoiseArguments::Array(size_t i, const char* name, const char* what, napi_typedarray_type first,
                            napi_typedarray_type second, napi_typedarray_type* type, size_t* length) {
  if (!ok_) return nullptr;
  void* data = nullptr;
  *type = static_cast<napi_typedarray_type>(kFloat16ArrayType);  // stays where Node does not know it
  if (!info_[i].IsTypedArray() ||
      napi_get_typedarray_info(info_.Env(), info_[i], type, length, &data, nullptr, nullptr) != napi_ok ||
      (*type != first && *type != second)) {
    Fail(false, what, name, info_[i]);
    return nullptr;
  }
  return data;
}

uint32_t* NoiseArguments::Words(size_t i, const char* name, size_t length) {
  napi_typedarray_type type;
  size_t actual = 0;
  const std::string what = "a Uint32Array of length " + std::to_string(length);
  void* data = Array(i, name, what.c_str(), napi_uint32_array, napi_uint32_array, &type, &actual);
  if (ok_ && actual != length) Fail(true, what.c_str(), name, info_[i]);
  return static_cast<uint32_t*>(data);
}

double* NoiseArguments::Doubles(size_t i, const char* name, size_t* length) {
  napi_typedarray_type type;
  return static_cast<double*>(Array(i, name, "a Float64Array", napi_float64_array, napi_float64_array, &type, length));
}

uint32_t* NoiseArguments::TorchState(size_t i) {
  uint32_t* state = Words(i, "state", noise::kTorchStateLength);
  if (ok_ && (state[624] > 624 || state[625] > 1)) {
    ok_ = false;
    Napi::RangeError::New(info_.Env(), "Expected a state made by torchSeed for state but received one with index " +
                                           std::to_string(state[624]) + " and flag " + std::to_string(state[625]))
        .ThrowAsJavaScriptException();
  }
  return state;
}

bool NoiseArguments::Check(bool condition, const std::string& message) {
  if (ok_ && !condition) {
    ok_ = false;
    Napi::RangeError::New(info_.Env(), message).ThrowAsJavaScriptException();
  }
  return ok_;
}

Out::Out(NoiseArguments* a, size_t i, size_t range) {
  napi_typedarray_type type = napi_float32_array;
  size_t length = 0;
  void* data =
      a->Array(i, "out", "a Float32Array or a Float64Array", napi_float32_array, napi_float64_array, &type, &length);
  const uint64_t begin = a->Given(range) ? a->Count(range, "begin") : 0;
  const uint64_t end = a->Given(range + 1) ? a->Count(range + 1, "end") : length;
  if (!a->Check(begin <= end && end <= length, "Expected 0 <= begin <= end <= " + std::to_string(length) +
                                                   " for begin and end but received " + std::to_string(begin) +
                                                   " and " + std::to_string(end))) {
    return;
  }
  size = static_cast<size_t>(end - begin);
  if (type == napi_float64_array) {
    f64 = static_cast<double*>(data) + begin;
  } else {
    f32 = static_cast<float*>(data) + begin;
  }
}

}  // namespace dpm::addon
