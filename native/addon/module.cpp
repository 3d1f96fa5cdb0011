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

struct Named {
  const char* name;
  napi_callback function;
};

constexpr Named kFunctions[] = {
    {"step", AddonStep},
    {"quantile", AddonQuantile},
    {"guide", AddonGuide},
    {"errorNorm", AddonErrorNorm},
    {"standardDeviation", AddonStandardDeviation},
    {"convert", AddonConvert},
    {"scratchBytes", AddonScratchBytes},
    {"info", AddonInfo},
#if !defined(__wasm__)
    {"limit", AddonLimit},
    {"ortLibrary", AddonOrtLibrary},
    {"ortHardware", AddonOrtHardware},
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

#if !defined(__wasm__)
constexpr Named kCudaFunctions[] = {
    {"cudaInfo", AddonCudaInfo},
    {"cudaPlan", AddonCudaPlan},
    {"cudaAlloc", AddonCudaAlloc},
    {"cudaFree", AddonCudaFree},
    {"cudaPageLocked", AddonCudaPageLocked},
    {"cudaStreamCreate", AddonCudaStreamCreate},
    {"cudaStreamDestroy", AddonCudaStreamDestroy},
    {"cudaStreamWait", AddonCudaStreamWait},
    {"cudaStreamQuery", AddonCudaStreamQuery},
    {"cudaStreamPointer", AddonCudaStreamPointer},
    {"cudaStreamAfter", AddonCudaStreamAfter},
    {"cudaEventCreate", AddonCudaEventCreate},
    {"cudaEventDestroy", AddonCudaEventDestroy},
    {"cudaEventRecord", AddonCudaEventRecord},
    {"cudaEventWait", AddonCudaEventWait},
    {"cudaEventMilliseconds", AddonCudaEventMilliseconds},
    {"cudaCopy", AddonCudaCopy},
    {"cudaZero", AddonCudaZero},
    {"cudaTransfer", AddonCudaTransfer},
    {"cudaTransferNow", AddonCudaTransferNow},
    {"cudaStep", AddonCudaStep},
    {"cudaGuide", AddonCudaGuide},
    {"cudaErrorNorm", AddonCudaErrorNorm},
    {"cudaNoise", AddonCudaNoise},
    {"cudaNothing", AddonCudaNothing},
    {"cudaCaptureBegin", AddonCudaCaptureBegin},
    {"cudaCaptureEnd", AddonCudaCaptureEnd},
    {"cudaGraphLaunch", AddonCudaGraphLaunch},
    {"cudaGraphDestroy", AddonCudaGraphDestroy},
};
#endif

template <size_t kCount>
void Export(napi_env env, napi_value exports, const Named (&functions)[kCount], void* data) {
  for (const Named& f : functions) {
    napi_value value;
    if (napi_create_function(env, f.name, NAPI_AUTO_LENGTH, f.function, data, &value) == napi_ok) {
      napi_set_named_property(env, exports, f.name, value);
    }
  }
}

Napi::Object Init(Napi::Env env, Napi::Object exports) {
  Export(env, exports, kFunctions, nullptr);
#if !defined(__wasm__)
  // What this environment takes of cards, and gives back when it ends.
  if (void* const taken = MakeTaken(env)) Export(env, exports, kCudaFunctions, taken);
#endif
  return exports;
}

}  // namespace
}  // namespace dpm::addon

// NODE_API_MODULE defines functions, which are to be in no namespace.
static Napi::Object InitModule(Napi::Env env, Napi::Object exports) { return dpm::addon::Init(env, exports); }

NODE_API_MODULE(dpm_solver, InitModule)
