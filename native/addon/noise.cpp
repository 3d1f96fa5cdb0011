#include <cmath>
#include <string>

#include "arguments.h"
#include "noise/elementary.h"
#include "noise/philox.h"
#include "noise/torch.h"

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

// Reads arguments by position; after the first that is wrong an exception is pending and ok() is false.
class Arguments {
 public:
  explicit Arguments(const Napi::CallbackInfo& info) : info_(info) {}

  bool ok() const { return ok_; }
  bool Given(size_t i) const { return i < info_.Length() && !info_[i].IsUndefined(); }

  // An integer in [0, max], max at most 2^53 - 1.
  uint64_t Integer(size_t i, const char* name, uint64_t max, const char* what) {
    if (!ok_) return 0;
    const Napi::Value value = info_[i];
    if (!value.IsNumber()) return Fail(false, what, name, value);
    const double number = value.As<Napi::Number>().DoubleValue();
    if (!(number >= 0 && number <= static_cast<double>(max)) || number != std::floor(number)) {
      return Fail(true, what, name, value);
    }
    return static_cast<uint64_t>(number);
  }

  uint32_t Word(size_t i, const char* name) {
    return static_cast<uint32_t>(Integer(i, name, 0xffffffffu, "an integer from 0 to 2^32 - 1"));
  }

  uint64_t Count(size_t i, const char* name) {
    return Integer(i, name, 9007199254740991u, "an integer from 0 to 2^53 - 1");
  }

  bool Boolean(size_t i, const char* name) {
    if (!ok_) return false;
    if (!info_[i].IsBoolean()) return Fail(false, "a boolean", name, info_[i]) != 0;
    return info_[i].As<Napi::Boolean>().Value();
  }

  // A typed array of one of two types (the same twice where there is but one).
  void* Array(size_t i, const char* name, const char* what, napi_typedarray_type first, napi_typedarray_type second,
              napi_typedarray_type* type, size_t* length) {
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

  // A Uint32Array of exactly `length` words.
  uint32_t* Words(size_t i, const char* name, size_t length) {
    napi_typedarray_type type;
    size_t actual = 0;
    const std::string what = "a Uint32Array of length " + std::to_string(length);
    void* data = Array(i, name, what.c_str(), napi_uint32_array, napi_uint32_array, &type, &actual);
    if (ok_ && actual != length) Fail(true, what.c_str(), name, info_[i]);
    return static_cast<uint32_t*>(data);
  }

  double* Doubles(size_t i, const char* name, size_t* length) {
    napi_typedarray_type type;
    return static_cast<double*>(
        Array(i, name, "a Float64Array", napi_float64_array, napi_float64_array, &type, length));
  }

  // A generator state with words that the native code can rely on: the index is used to address memory.
  uint32_t* TorchState(size_t i) {
    uint32_t* state = Words(i, "state", noise::kTorchStateLength);
    if (ok_ && (state[624] > 624 || state[625] > 1)) {
      ok_ = false;
      Napi::RangeError::New(info_.Env(), "Expected a state made by torchSeed for state but received one with index " +
                                             std::to_string(state[624]) + " and flag " + std::to_string(state[625]))
          .ThrowAsJavaScriptException();
    }
    return state;
  }

  bool Check(bool condition, const std::string& message) {
    if (ok_ && !condition) {
      ok_ = false;
      Napi::RangeError::New(info_.Env(), message).ThrowAsJavaScriptException();
    }
    return ok_;
  }

 private:
  uint64_t Fail(bool range, const char* what, const char* name, const Napi::Value& value) {
    ok_ = false;
    const std::string message = Expected(what, name, value);
    if (range) {
      Napi::RangeError::New(info_.Env(), message).ThrowAsJavaScriptException();
    } else {
      Napi::TypeError::New(info_.Env(), message).ThrowAsJavaScriptException();
    }
    return 0;
  }

  const Napi::CallbackInfo& info_;
  bool ok_ = true;
};

// The part of a Float32Array or Float64Array that a call writes to: `out` at argument `i`, optional `begin` and `end`
// at `range` and `range + 1`, all of it by default.
struct Out {
  Out(Arguments* a, size_t i, size_t range) {
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

  const void* data() const { return f64 ? static_cast<const void*>(f64) : f32; }
  size_t bytes() const { return size * (f64 ? sizeof *f64 : sizeof *f32); }

  float* f32 = nullptr;
  double* f64 = nullptr;
  size_t size = 0;
};

// torchSeed(state: Uint32Array(628), seedLow, seedHigh): torch.manual_seed.
Napi::Value TorchSeed(const Napi::CallbackInfo& info) {
  Arguments a(info);
  uint32_t* state = a.Words(0, "state", noise::kTorchStateLength);
  const uint32_t low = a.Word(1, "seedLow"), high = a.Word(2, "seedHigh");
  if (a.ok()) noise::TorchSeed(state, low, high);
  return info.Env().Undefined();
}

// torchRandn(state, out, begin = 0, end = out.length): one torch.randn of end - begin values into out[begin, end).
Napi::Value TorchRandn(const Napi::CallbackInfo& info) {
  Arguments a(info);
  uint32_t* state = a.TorchState(0);
  const Out out(&a, 1, 2);
  a.Check(!Overlap(state, noise::kTorchStateLength * sizeof *state, out.data(), out.bytes()),
          "Expected separate memory for state and out but received buffers that overlap");
  if (!a.ok() || out.size == 0) return info.Env().Undefined();
  if (out.f64 != nullptr) {
    noise::TorchRandn(state, out.f64, out.size);
  } else {
    noise::TorchRandn(state, out.f32, out.size);
  }
  return info.Env().Undefined();
}

// torchSkip(state, n, isDouble): leaves the state as one torch.randn of n float32 or float64 values does.
Napi::Value TorchSkip(const Napi::CallbackInfo& info) {
  Arguments a(info);
  uint32_t* state = a.TorchState(0);
  // Bounded, because the time it takes grows with n.
  const uint64_t n = a.Integer(1, "n", uint64_t{1} << 32, "an integer from 0 to 2^32");
  const bool is_double = a.Boolean(2, "isDouble");
  if (a.ok()) noise::TorchSkip(state, n, is_double);
  return info.Env().Undefined();
}

// philoxRandn(seedLow, seedHigh, step, stream, first, out, begin = 0, end = out.length): elements first, first + 1, ...
// of the noise of (seed, step, stream) into out[begin, end).
Napi::Value PhiloxRandn(const Napi::CallbackInfo& info) {
  Arguments a(info);
  const uint64_t low = a.Word(0, "seedLow"), high = a.Word(1, "seedHigh");
  const uint32_t step = a.Word(2, "step"), stream = a.Word(3, "stream");
  const uint64_t first = a.Count(4, "first");
  const Out out(&a, 5, 6);
  if (!a.ok() || out.size == 0) return info.Env().Undefined();
  const uint64_t seed = low | (high << 32);
  if (out.f64 != nullptr) {
    noise::PhiloxRandn(seed, step, stream, first, out.f64, out.size);
  } else {
    noise::PhiloxRandn(seed, step, stream, first, out.f32, out.size);
  }
  return info.Env().Undefined();
}

// philoxBlock(counter: Uint32Array(4), keyLow, keyHigh): replaces the counter by its random bits. For tests.
Napi::Value PhiloxBlock(const Napi::CallbackInfo& info) {
  Arguments a(info);
  uint32_t* counter = a.Words(0, "counter", 4);
  const uint32_t low = a.Word(1, "keyLow"), high = a.Word(2, "keyHigh");
  if (a.ok()) noise::Philox4x32(counter, low, high);
  return info.Env().Undefined();
}

// noiseElementary(x: Float64Array(n), out: Float64Array(3 n)): log x, sin 2 pi x, cos 2 pi x for each x. For tests.
Napi::Value NoiseElementary(const Napi::CallbackInfo& info) {
  Arguments a(info);
  size_t n = 0, length = 0;
  const double* x = a.Doubles(0, "x", &n);
  double* out = a.Doubles(1, "out", &length);
  if (!a.Check(length == 3 * n, "Expected three values per argument for out but received a Float64Array of length " +
                                    std::to_string(length))) {
    return info.Env().Undefined();
  }
  for (size_t i = 0; i < n; ++i) {
    out[3 * i] = noise::Log(x[i]);
    noise::SinCosTurn(x[i], &out[3 * i + 1], &out[3 * i + 2]);
  }
  return info.Env().Undefined();
}

// noiseWord(word, out: Float64Array(3)): log((word + 1/2) / 2^32), sin and cos of 2 pi word / 2^32 in single precision.
// For tests.
Napi::Value NoiseWord(const Napi::CallbackInfo& info) {
  Arguments a(info);
  size_t length = 0;
  const uint32_t word = a.Word(0, "word");
  double* out = a.Doubles(1, "out", &length);
  if (!a.Check(length == 3, "Expected 3 values for out but received " + std::to_string(length))) {
    return info.Env().Undefined();
  }
  float sine, cosine;
  noise::SinCosWord(word, &sine, &cosine);
  out[0] = noise::LogUniform(word);
  out[1] = sine;
  out[2] = cosine;
  return info.Env().Undefined();
}

}  // namespace

void InitNoise(Napi::Env env, Napi::Object exports) {
  exports.Set("torchSeed", Napi::Function::New<TorchSeed>(env, "torchSeed"));
  exports.Set("torchRandn", Napi::Function::New<TorchRandn>(env, "torchRandn"));
  exports.Set("torchSkip", Napi::Function::New<TorchSkip>(env, "torchSkip"));
  exports.Set("philoxRandn", Napi::Function::New<PhiloxRandn>(env, "philoxRandn"));
  exports.Set("philoxBlock", Napi::Function::New<PhiloxBlock>(env, "philoxBlock"));
  exports.Set("noiseElementary", Napi::Function::New<NoiseElementary>(env, "noiseElementary"));
  exports.Set("noiseWord", Napi::Function::New<NoiseWord>(env, "noiseWord"));
}

}  // namespace dpm::addon
