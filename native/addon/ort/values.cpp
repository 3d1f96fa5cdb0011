#include "values.h"

namespace dpm::addon {

napi_value MakeText(napi_env env, const std::string& text) {
  napi_value value = nullptr;
  napi_create_string_utf8(env, text.data(), text.size(), &value);
  return value;
}

napi_value MakeNumber(napi_env env, double number) {
  napi_value value = nullptr;
  napi_create_double(env, number, &value);
  return value;
}

void SetProperty(napi_env env, napi_value object, const char* name, napi_value value) {
  napi_set_named_property(env, object, name, value);
}

void SetElement(napi_env env, napi_value array, size_t index, napi_value value) {
  napi_set_element(env, array, static_cast<uint32_t>(index), value);
}

napi_value MakeArray(napi_env env, size_t length) {
  napi_value value = nullptr;
  napi_create_array_with_length(env, length, &value);
  return value;
}

bool ReadText(napi_env env, napi_value value, std::string* out) {
  size_t length = 0;
  if (napi_get_value_string_utf8(env, value, nullptr, 0, &length) != napi_ok) return false;
  out->resize(length);
  return napi_get_value_string_utf8(env, value, &(*out)[0], length + 1, &length) == napi_ok;
}

bool ReadLength(napi_env env, napi_value value, uint32_t* out) {
  bool is_array = false;
  return napi_is_array(env, value, &is_array) == napi_ok && is_array &&
         napi_get_array_length(env, value, out) == napi_ok;
}

}  // namespace dpm::addon
