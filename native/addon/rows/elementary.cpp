// elementary(name, x, out): out[i] = f(x[i]). For tests.
#include "../../coefficients/elementary.h"

#include <string>

#include "arguments.h"

namespace dpm::addon {

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
    Napi::TypeError::New(
        env, "Expected 'exp', 'expm1', 'log' or 'log1p' for name but received " + RowArguments::Describe(info[0]))
        .ThrowAsJavaScriptException();
    return env.Undefined();
  }
  RowArguments arguments(info);
  const auto x = arguments.Array(1, "x");
  const auto out = arguments.Array(2, "out", x.length);
  if (!arguments.ok()) return env.Undefined();
  for (size_t i = 0; i < x.length && i < out.length; ++i) out.data[i] = function(x.data[i]);
  return env.Undefined();
}

}  // namespace dpm::addon
