#include "addon.h"

namespace dpm::addon {

void InitNoise(Napi::Env, Napi::Object) {}

}  // namespace dpm::addon
