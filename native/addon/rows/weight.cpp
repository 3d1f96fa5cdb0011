// weight(form, k, h, tau2), what rows are made of. For tests.
#include "arguments.h"

namespace dpm::addon {

Napi::Value AddonWeight(const Napi::CallbackInfo& info) {
  RowArguments arguments(info);
  const auto form = static_cast<Form>(arguments.Index(0, "form", 2));
  const int k = arguments.Index(1, "k", 5);
  const double h = arguments.Number(2, "h");
  const double tau2 = arguments.Number(3, "tau2");
  if (!arguments.ok()) return info.Env().Undefined();
  return Napi::Number::New(info.Env(), Weight(form, k, h, tau2));
}

}  // namespace dpm::addon
