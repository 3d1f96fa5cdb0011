#include "addon.h"

namespace {

Napi::Object Init(Napi::Env env, Napi::Object exports) {
  dpm::addon::InitStep(env, exports);
  dpm::addon::InitCoefficients(env, exports);
  dpm::addon::InitNoise(env, exports);
#if !defined(__wasm__)
  dpm::addon::InitCuda(env, exports);
  dpm::addon::InitLimit(env, exports);
#endif
  return exports;
}

}  // namespace

NODE_API_MODULE(dpm_solver, Init)
