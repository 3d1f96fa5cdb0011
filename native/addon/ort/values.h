// Values for JavaScript, without node-addon-api's wrappers, which would be a tenth of the addon here.
#pragma once

#include <string>

#include "../arguments.h"

namespace dpm::addon {

napi_value MakeText(napi_env env, const std::string& text);
napi_value MakeNumber(napi_env env, double number);
void SetProperty(napi_env env, napi_value object, const char* name, napi_value value);
void SetElement(napi_env env, napi_value array, size_t index, napi_value value);
napi_value MakeArray(napi_env env, size_t length);

// The text in a string; false where it is none.
bool ReadText(napi_env env, napi_value value, std::string* out);
// How long an array is; false where it is none.
bool ReadLength(napi_env env, napi_value value, uint32_t* out);

}  // namespace dpm::addon
