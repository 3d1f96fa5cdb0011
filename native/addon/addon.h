// The N-API surface: one file per exported function, which checks every argument and then calls. module.cpp names them.
#pragma once

#define NAPI_DISABLE_CPP_EXCEPTIONS
// In a worker that is being ended nothing can be thrown any more; without this the attempt would end the process.
#define NODE_API_SWALLOW_UNTHROWABLE_EXCEPTIONS
#include <napi.h>

namespace dpm::addon {

// step/: over tensors. Called so often that they go without node-addon-api's wrappers.
napi_value AddonStep(napi_env env, napi_callback_info info);
napi_value AddonQuantile(napi_env env, napi_callback_info info);
napi_value AddonGuide(napi_env env, napi_callback_info info);
napi_value AddonErrorNorm(napi_env env, napi_callback_info info);
napi_value AddonStandardDeviation(napi_env env, napi_callback_info info);
napi_value AddonConvert(napi_env env, napi_callback_info info);
napi_value AddonScratchBytes(napi_env env, napi_callback_info info);
napi_value AddonInfo(napi_env env, napi_callback_info info);
napi_value AddonLimit(napi_env env, napi_callback_info info);

// rows/: rows of coefficients, and what they are made of.
Napi::Value AddonPredictionRow(const Napi::CallbackInfo& info);
Napi::Value AddonUpdateRow(const Napi::CallbackInfo& info);
Napi::Value AddonUniPCRow(const Napi::CallbackInfo& info);
Napi::Value AddonSaSolverRow(const Napi::CallbackInfo& info);
Napi::Value AddonLmsRow(const Napi::CallbackInfo& info);
Napi::Value AddonDdimRow(const Napi::CallbackInfo& info);
Napi::Value AddonPndmRow(const Napi::CallbackInfo& info);
Napi::Value AddonEdmPredictionRow(const Napi::CallbackInfo& info);
Napi::Value AddonKeepNoise(const Napi::CallbackInfo& info);
Napi::Value AddonElementary(const Napi::CallbackInfo& info);
Napi::Value AddonPhi(const Napi::CallbackInfo& info);
Napi::Value AddonWeight(const Napi::CallbackInfo& info);

// noise/
Napi::Value AddonTorchSeed(const Napi::CallbackInfo& info);
Napi::Value AddonTorchRandn(const Napi::CallbackInfo& info);
Napi::Value AddonTorchSkip(const Napi::CallbackInfo& info);
Napi::Value AddonPhiloxRandn(const Napi::CallbackInfo& info);
Napi::Value AddonPhiloxBlock(const Napi::CallbackInfo& info);
Napi::Value AddonNoiseElementary(const Napi::CallbackInfo& info);
Napi::Value AddonNoiseWord(const Napi::CallbackInfo& info);

// ort/: networks on threads of their own, in the library that onnxruntime-node brings.
napi_value AddonOrtLibrary(napi_env env, napi_callback_info info);
napi_value AddonOrtHardware(napi_env env, napi_callback_info info);
napi_value AddonOrtOpen(napi_env env, napi_callback_info info);
napi_value AddonOrtRun(napi_env env, napi_callback_info info);
napi_value AddonOrtCancel(napi_env env, napi_callback_info info);
napi_value AddonOrtClose(napi_env env, napi_callback_info info);
napi_value AddonOrtDispose(napi_env env, napi_callback_info info);
napi_value AddonOrtShutdown(napi_env env, napi_callback_info info);

// cuda/: for lib/cuda, which owns the handles (cuda/call.h). Their functions get what MakeTaken has made, or null.
void* MakeTaken(napi_env env);
napi_value AddonCudaInfo(napi_env env, napi_callback_info info);
napi_value AddonCudaPlan(napi_env env, napi_callback_info info);
napi_value AddonCudaAlloc(napi_env env, napi_callback_info info);
napi_value AddonCudaFree(napi_env env, napi_callback_info info);
napi_value AddonCudaPageLocked(napi_env env, napi_callback_info info);
napi_value AddonCudaStreamCreate(napi_env env, napi_callback_info info);
napi_value AddonCudaStreamDestroy(napi_env env, napi_callback_info info);
napi_value AddonCudaStreamWait(napi_env env, napi_callback_info info);
napi_value AddonCudaStreamQuery(napi_env env, napi_callback_info info);
napi_value AddonCudaStreamPointer(napi_env env, napi_callback_info info);
napi_value AddonCudaStreamAfter(napi_env env, napi_callback_info info);
napi_value AddonCudaEventCreate(napi_env env, napi_callback_info info);
napi_value AddonCudaEventDestroy(napi_env env, napi_callback_info info);
napi_value AddonCudaEventRecord(napi_env env, napi_callback_info info);
napi_value AddonCudaEventWait(napi_env env, napi_callback_info info);
napi_value AddonCudaEventMilliseconds(napi_env env, napi_callback_info info);
napi_value AddonCudaCopy(napi_env env, napi_callback_info info);
napi_value AddonCudaZero(napi_env env, napi_callback_info info);
napi_value AddonCudaTransfer(napi_env env, napi_callback_info info);
napi_value AddonCudaTransferNow(napi_env env, napi_callback_info info);
napi_value AddonCudaStep(napi_env env, napi_callback_info info);
napi_value AddonCudaGuide(napi_env env, napi_callback_info info);
napi_value AddonCudaErrorNorm(napi_env env, napi_callback_info info);
napi_value AddonCudaNoise(napi_env env, napi_callback_info info);
napi_value AddonCudaNothing(napi_env env, napi_callback_info info);
napi_value AddonCudaCaptureBegin(napi_env env, napi_callback_info info);
napi_value AddonCudaCaptureEnd(napi_env env, napi_callback_info info);
napi_value AddonCudaGraphLaunch(napi_env env, napi_callback_info info);
napi_value AddonCudaGraphDestroy(napi_env env, napi_callback_info info);

}  // namespace dpm::addon
