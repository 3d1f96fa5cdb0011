// What the addon exports.
#include "addon.h"

namespace dpm::addon {
namespace {

using Function = Napi::Value (*)(const Napi::CallbackInfo&);

napi_value Call(Function function, napi_env env, napi_callback_info info) {
  return function(Napi::CallbackInfo(env, info));
}

// What Node calls for a function that takes node-addon-api's wrapper.
template <Function function>
napi_value Wrapped(napi_env env, napi_callback_info info) {
  return Call(function, env, info);
}

constexpr struct {
  const char* name;
  napi_callback function;
} kFunctions[] = {
    {"step", AddonStep},
    {"quantile", AddonQuantile},
    {"errorNorm", AddonErrorNorm},
    {"standardDeviation", AddonStandardDeviation},
    {"convert", AddonConvert},
    {"scratchBytes", AddonScratchBytes},
    {"info", AddonInfo},
#if !defined(__wasm__)
    {"limit", AddonLimit},
    {"ortLibrary", AddonOrtLibrary},
    {"ortOpen", AddonOrtOpen},
    {"ortRun", AddonOrtRun},
    {"ortCancel", AddonOrtCancel},
    {"ortClose", AddonOrtClose},
    {"ortDispose", AddonOrtDispose},
    {"ortShutdown", AddonOrtShutdown},
#endif
    {"predictionRow", Wrapped<AddonPredictionRow>},
    {"updateRow", Wrapped<AddonUpdateRow>},
    {"uniPCRow", Wrapped<AddonUniPCRow>},
    {"saSolverRow", Wrapped<AddonSaSolverRow>},
    {"lmsRow", Wrapped<AddonLmsRow>},
    {"ddimRow", Wrapped<AddonDdimRow>},
    {"pndmRow", Wrapped<AddonPndmRow>},
    {"edmPredictionRow", Wrapped<AddonEdmPredictionRow>},
    {"keepNoise", Wrapped<AddonKeepNoise>},
    {"elementary", Wrapped<AddonElementary>},
    {"phi", Wrapped<AddonPhi>},
    {"weight", Wrapped<AddonWeight>},
    {"torchSeed", Wrapped<AddonTorchSeed>},
    {"torchRandn", Wrapped<AddonTorchRandn>},
    {"torchSkip", Wrapped<AddonTorchSkip>},
    {"philoxRandn", Wrapped<AddonPhiloxRandn>},
    {"philoxBlock", Wrapped<AddonPhiloxBlock>},
    {"noiseElementary", Wrapped<AddonNoiseElementary>},
    {"noiseWord", Wrapped<AddonNoiseWord>},
};

Napi::Object Init(Napi::Env env, Napi::Object exports) {
  for (const auto& f : kFunctions) {
    napi_value value;
    if (napi_create_function(env, f.name, NAPI_AUTO_LENGTH, f.function, nullptr, &value) == napi_ok) {
      napi_set_named_property(env, exports, f.name, value);
    }
  }
#if !defined(__wasm__)
  InitCuda(env, exports);
#endif
  return exports;
}

}  // namespace
}  // namespace dpm::addon

// NODE_API_MODULE defines functions, which are to be in no namespace.
static Napi::Object InitModule(Napi::Env env, Napi::Object exports) { return dpm::addon::Init(env, exports); }

NODE_API_MODULE(dpm_solver, InitModule)
