// predictionRow, updateRow and those of the other samplers: rows of coefficients for the fused step. elementary, phi,
// weight: what they are made of, exported so that tests can measure it.
#include <cmath>
#include <string>

#include "arguments.h"
#include "coefficients/diffusers.h"
#include "coefficients/elementary.h"
#include "coefficients/phi.h"
#include "coefficients/rows.h"
#include "coefficients/unipc.h"
#include "step/row.h"

namespace dpm::addon {
namespace {

constexpr int kNodeLength = 4;  // alpha, sigma, lambda, end

// What came instead, in words.
std::string Describe(const Napi::Value& value) {
  if (value.IsTypedArray()) {
    const auto array = value.As<Napi::TypedArray>();
    return (array.TypedArrayType() == napi_float64_array ? "a Float64Array of length " : "a typed array of length ") +
           std::to_string(array.ElementLength());
  }
  return addon::Describe(value.Env(), value);
}

// Reads arguments by position. After the first that does not fit, an exception is pending and the rest is not read.
class Arguments {
 public:
  explicit Arguments(const Napi::CallbackInfo& info) : info_(info) {}

  bool ok() const { return ok_; }

  // An integer in [0, count).
  int Index(int i, const char* name, size_t count) {
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

  double Number(int i, const char* name) {
    if (!ok_) return 0;
    const Napi::Value value = info_[i];
    if (!value.IsNumber()) return Fail<Napi::TypeError>("a number", name, value), 0;
    return value.As<Napi::Number>().DoubleValue();
  }

  struct Doubles {
    double* data = nullptr;
    size_t length = 0;
  };

  // A Float64Array, of any length if `length` is 0.
  Doubles Array(int i, const char* name, size_t length = 0) {
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

  // rows, index: one whole row in an array of rows.
  double* Row(int i) {
    const Doubles rows = Array(i, "rows");
    if (ok_ && (rows.length == 0 || rows.length % kRowLength != 0)) {
      Fail<Napi::RangeError>("a Float64Array of one or more rows of length " + std::to_string(kRowLength), "rows",
                             info_[i]);
    }
    const int index = Index(i + 1, "index", rows.length / kRowLength);
    return ok_ ? rows.data + static_cast<size_t>(index) * kRowLength : nullptr;
  }

  // The `i`th of the nodes in `from`; `name` is the argument's.
  Node NodeAt(const Doubles& from, int i, const char* name) {
    if (!ok_) return {};
    const double* p = from.data + i * kNodeLength;
    if (p[3] != 0 && p[3] != 1 && p[3] != 2) {
      Fail<Napi::RangeError>("0, 1 or 2", std::string("the end in ") + name, Napi::Number::New(info_.Env(), p[3]));
      return {};
    }
    return {p[0], p[1], p[2], static_cast<End>(static_cast<int>(p[3]))};
  }

 private:
  template <typename Error>
  void Fail(const std::string& expected, const std::string& name, const Napi::Value& value) {
    ok_ = false;
    Error::New(info_.Env(), "Expected " + expected + " for " + name + " but received " + Describe(value))
        .ThrowAsJavaScriptException();
  }

  const Napi::CallbackInfo& info_;
  bool ok_ = true;
};

Napi::Value Number(const Napi::CallbackInfo& info, double x) { return Napi::Number::New(info.Env(), x); }

Napi::Value ToNumber(const Napi::CallbackInfo& info, Status status) { return Number(info, static_cast<int>(status)); }

// predictionRow(rows, index, modelType, form, guidance, scale, node) -> status
Napi::Value AddonPredictionRow(const Napi::CallbackInfo& info) {
  Arguments arguments(info);
  double* row = arguments.Row(0);
  const auto model_type = static_cast<ModelType>(arguments.Index(2, "modelType", 5));
  const auto form = static_cast<Form>(arguments.Index(3, "form", 2));
  const auto guidance = static_cast<Guidance>(arguments.Index(4, "guidance", 3));
  const double scale = arguments.Number(5, "scale");
  const Node node = arguments.NodeAt(arguments.Array(6, "node", kNodeLength), 0, "node");
  if (!arguments.ok()) return info.Env().Undefined();
  return ToNumber(info, PredictionRow(row, model_type, form, node, guidance, scale));
}

// updateRow(rows, index, second, method, form, order, taylor, exact, tau2, nodes) -> status
Napi::Value AddonUpdateRow(const Napi::CallbackInfo& info) {
  Arguments arguments(info);
  double* row = arguments.Row(0);
  const bool second = arguments.Index(2, "second", 2) == 1;
  Update update{};
  update.method = static_cast<Method>(arguments.Index(3, "method", 2));
  update.form = static_cast<Form>(arguments.Index(4, "form", 2));
  update.order = arguments.Index(5, "order", 4);  // 0 gives Status::invalid
  update.taylor = arguments.Index(6, "taylor", 2) == 1;
  update.exact = arguments.Index(7, "exact", 2) == 1;
  update.tau2 = arguments.Number(8, "tau2");
  const auto nodes = arguments.Array(9, "nodes", 5 * kNodeLength);
  update.target = arguments.NodeAt(nodes, 0, "nodes");
  update.base = arguments.NodeAt(nodes, 1, "nodes");
  for (int i = 0; i < 3; ++i) update.node[i] = arguments.NodeAt(nodes, 2 + i, "nodes");
  if (!arguments.ok()) return info.Env().Undefined();
  return ToNumber(info, UpdateRow(row + (second ? kSecond : kFirst), update));
}

// uniPCRow(rows, index, form, predictorOrder, correctorOrder, bh1, nodes) -> status
Napi::Value AddonUniPCRow(const Napi::CallbackInfo& info) {
  Arguments arguments(info);
  double* row = arguments.Row(0);
  UniPC update{};
  update.form = static_cast<Form>(arguments.Index(2, "form", 2));
  update.predictor_order = arguments.Index(3, "predictorOrder", 4);
  update.corrector_order = arguments.Index(4, "correctorOrder", 4);
  update.bh1 = arguments.Index(5, "bh1", 2) == 1;
  const auto nodes = arguments.Array(6, "nodes", 5 * kNodeLength);
  update.target = arguments.NodeAt(nodes, 0, "nodes");
  update.current = arguments.NodeAt(nodes, 1, "nodes");
  for (int i = 0; i < 3; ++i) update.history[i] = arguments.NodeAt(nodes, 2 + i, "nodes");
  if (!arguments.ok()) return info.Env().Undefined();
  return ToNumber(info, UniPCRow(row, update));
}

// ddimRow(rows, index, modelType, eta, rederive, nodes) -> status
Napi::Value AddonDdimRow(const Napi::CallbackInfo& info) {
  Arguments arguments(info);
  double* row = arguments.Row(0);
  const auto model_type = static_cast<ModelType>(arguments.Index(2, "modelType", 5));
  const double eta = arguments.Number(3, "eta");
  const bool rederive = arguments.Index(4, "rederive", 2) == 1;
  const auto nodes = arguments.Array(5, "nodes", 2 * kNodeLength);
  const Node current = arguments.NodeAt(nodes, 0, "nodes");
  const Node target = arguments.NodeAt(nodes, 1, "nodes");
  if (!arguments.ok()) return info.Env().Undefined();
  return ToNumber(info, DdimRow(row, model_type, current, target, eta, rederive));
}

// pndmRow(rows, index, v, nodes, weights) -> status
Napi::Value AddonPndmRow(const Napi::CallbackInfo& info) {
  Arguments arguments(info);
  double* row = arguments.Row(0);
  const bool v = arguments.Index(2, "v", 2) == 1;
  const auto nodes = arguments.Array(3, "nodes", 2 * kNodeLength);
  const Node from = arguments.NodeAt(nodes, 0, "nodes");
  const Node to = arguments.NodeAt(nodes, 1, "nodes");
  const auto weights = arguments.Array(4, "weights", 4);
  if (!arguments.ok()) return info.Env().Undefined();
  return ToNumber(info, PndmRow(row, v, from, to, weights.data));
}

// edmPredictionRow(rows, index, v, sigmaData, node) -> status
Napi::Value AddonEdmPredictionRow(const Napi::CallbackInfo& info) {
  Arguments arguments(info);
  double* row = arguments.Row(0);
  const bool v = arguments.Index(2, "v", 2) == 1;
  const double sigma_data = arguments.Number(3, "sigmaData");
  const Node node = arguments.NodeAt(arguments.Array(4, "node", kNodeLength), 0, "node");
  if (!arguments.ok()) return info.Env().Undefined();
  return ToNumber(info, EdmPredictionRow(row, v, sigma_data, node));
}

// keepNoise(rows, index, node) -> status
Napi::Value AddonKeepNoise(const Napi::CallbackInfo& info) {
  Arguments arguments(info);
  double* row = arguments.Row(0);
  const Node node = arguments.NodeAt(arguments.Array(2, "node", kNodeLength), 0, "node");
  if (!arguments.ok()) return info.Env().Undefined();
  return ToNumber(info, KeepNoise(row, node));
}

// elementary(name, x, out): out[i] = f(x[i])
Napi::Value AddonElementary(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  char text[8] = "";  // longer than the longest name
  napi_get_value_string_utf8(env, info[0], text, sizeof text, nullptr);
  const std::string name = text;
  double (*const function)(double) = name == "exp"     ? Exp
                                     : name == "expm1" ? Expm1
                                     : name == "log"   ? Log
                                     : name == "log1p" ? Log1p
                                                       : nullptr;
  if (function == nullptr) {
    Napi::TypeError::New(env, "Expected 'exp', 'expm1', 'log' or 'log1p' for name but received " + Describe(info[0]))
        .ThrowAsJavaScriptException();
    return env.Undefined();
  }
  Arguments arguments(info);
  const auto x = arguments.Array(1, "x");
  const auto out = arguments.Array(2, "out", x.length);
  if (!arguments.ok()) return env.Undefined();
  for (size_t i = 0; i < x.length && i < out.length; ++i) out.data[i] = function(x.data[i]);
  return env.Undefined();
}

// phi(k, z)
Napi::Value AddonPhi(const Napi::CallbackInfo& info) {
  Arguments arguments(info);
  const int k = arguments.Index(0, "k", 5);
  const double z = arguments.Number(1, "z");
  return arguments.ok() ? Number(info, Phi(k, z)) : info.Env().Undefined();
}

// weight(form, k, h, tau2)
Napi::Value AddonWeight(const Napi::CallbackInfo& info) {
  Arguments arguments(info);
  const auto form = static_cast<Form>(arguments.Index(0, "form", 2));
  const int k = arguments.Index(1, "k", 5);
  const double h = arguments.Number(2, "h");
  const double tau2 = arguments.Number(3, "tau2");
  return arguments.ok() ? Number(info, Weight(form, k, h, tau2)) : info.Env().Undefined();
}

}  // namespace

void InitCoefficients(Napi::Env env, Napi::Object exports) {
  exports.Set("predictionRow", Napi::Function::New<AddonPredictionRow>(env, "predictionRow"));
  exports.Set("updateRow", Napi::Function::New<AddonUpdateRow>(env, "updateRow"));
  exports.Set("uniPCRow", Napi::Function::New<AddonUniPCRow>(env, "uniPCRow"));
  exports.Set("ddimRow", Napi::Function::New<AddonDdimRow>(env, "ddimRow"));
  exports.Set("pndmRow", Napi::Function::New<AddonPndmRow>(env, "pndmRow"));
  exports.Set("edmPredictionRow", Napi::Function::New<AddonEdmPredictionRow>(env, "edmPredictionRow"));
  exports.Set("keepNoise", Napi::Function::New<AddonKeepNoise>(env, "keepNoise"));
  exports.Set("elementary", Napi::Function::New<AddonElementary>(env, "elementary"));
  exports.Set("phi", Napi::Function::New<AddonPhi>(env, "phi"));
  exports.Set("weight", Napi::Function::New<AddonWeight>(env, "weight"));
}

}  // namespace dpm::addon
