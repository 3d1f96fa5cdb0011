#include "addon.h"

namespace dpm::addon {

void InitStep(Napi::Env, Napi::Object) {}

}  // namespace dpm::addon
