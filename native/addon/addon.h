// The N-API surface: one file per group of exported functions, each checks every argument and then calls.
#pragma once

#define NAPI_DISABLE_CPP_EXCEPTIONS
// In a worker that is being ended nothing can be thrown any more; without this the attempt would end the process.
#define NODE_API_SWALLOW_UNTHROWABLE_EXCEPTIONS
#include <napi.h>

namespace dpm::addon {

void InitStep(Napi::Env env, Napi::Object exports);          // step.cpp
void InitCoefficients(Napi::Env env, Napi::Object exports);  // coefficients.cpp
void InitNoise(Napi::Env env, Napi::Object exports);         // noise.cpp
void InitCuda(Napi::Env env, Napi::Object exports);          // cuda.cpp
void InitLimit(Napi::Env env, Napi::Object exports);         // limit.cpp

}  // namespace dpm::addon
