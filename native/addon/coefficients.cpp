#include "addon.h"

namespace dpm::addon {

void InitCoefficients(Napi::Env, Napi::Object) {}

}  // namespace dpm::addon
