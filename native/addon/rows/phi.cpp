// phi(k, z), what rows are made of. For tests.
#include "../../coefficients/phi.h"

#include "arguments.h"

namespace dpm::addon {

Napi::Value AddonPhi(const Napi::CallbackInfo& info) {
  RowArguments arguments(info);
  const int k = arguments.Index(0, "k", 5);
  const double z = arguments.Number(1, "z");
  if (!arguments.ok()) return info.Env().Undefined();
  return Napi::Number::New(info.Env(), Phi(k, z));
}

}  // namespace dpm::addon
