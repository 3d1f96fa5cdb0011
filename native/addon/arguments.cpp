#include "arguments.h"

#include <cmath>
#include <cstdlib>

namespace dpm::addon {

namespace {

const char* ArrayName(int type) {
  static const char* const names[] = {"an Int8Array",   "a Uint8Array",    "a Uint8ClampedArray", "an Int16Array",
                                      "a Uint16Array",  "an Int32Array",   "a Uint32Array",       "a Float32Array",
                                      "a Float64Array", "a BigInt64Array", "a BigUint64Array",    "a Float16Array"};
  return type >= 0 && type <= kFloat16ArrayType ? names[type] : "a typed array";
}

std::string Allowed(int allow) {
  std::string text;
  const auto add = [&](int bit, const char* name) {
    if (!(allow & bit)) return;
    if (!text.empty()) text += " or ";
    text += name;
  };
  add(kAllowF32, "a Float32Array");
  add(kAllowF64, "a Float64Array");
  add(kAllowF16, "a Uint16Array or Float16Array of float16");
  add(kAllowBytes, "a Uint8Array");
  return text;
}

std::string Quote(napi_env env, napi_value value) {
  // However long the string is, no more of it is copied than is shown.
  constexpr size_t kShown = 40;
  char text[kShown + 1] = "";
  size_t copied = 0, length = 0;
  napi_get_value_string_utf8(env, value, text, sizeof text, &copied);
  napi_get_value_string_utf8(env, value, nullptr, 0, &length);
  for (size_t i = 0; i < copied; ++i) {
    if (static_cast<unsigned char>(text[i]) < 0x20 || text[i] == 0x7f) text[i] = ' ';
  }
  return "'" + std::string(text, copied) + (length > copied ? "...'" : "'");
}

}  // namespace

std::string Describe(napi_env env, napi_value value) {
  napi_valuetype type = napi_undefined;
  napi_typeof(env, value, &type);
  switch (type) {
    case napi_undefined:
      return "undefined";
    case napi_null:
      return "null";
    case napi_boolean:
      return "a boolean";
    case napi_number: {
      napi_value text = nullptr;
      char characters[32] = "";
      napi_coerce_to_string(env, value, &text);
      napi_get_value_string_utf8(env, text, characters, sizeof characters, nullptr);
      return characters;
    }
    case napi_string:
      return Quote(env, value);
    case napi_symbol:
      return "a symbol";
    case napi_function:
      return "a function";
    case napi_bigint:
      return "a bigint";
    default:
      break;
  }
  bool yes = false;
  if (napi_is_typedarray(env, value, &yes) == napi_ok && yes) {
    napi_typedarray_type kind = static_cast<napi_typedarray_type>(kFloat16ArrayType);
    napi_get_typedarray_info(env, value, &kind, nullptr, nullptr, nullptr, nullptr);
    return ArrayName(static_cast<int>(kind));
  }
  if (napi_is_array(env, value, &yes) == napi_ok && yes) return "an array";
  return "an object";
}

bool ReadView(napi_env env, napi_value value, const char* name, int allow, View* view) {
  // Node versions that do not know Float16Array leave the type as it is.
  napi_typedarray_type kind = static_cast<napi_typedarray_type>(kFloat16ArrayType);
  if (napi_get_typedarray_info(env, value, &kind, &view->length, &view->data, nullptr, nullptr) != napi_ok) {
    napi_valuetype type = napi_undefined;
    napi_typeof(env, value, &type);
    if ((allow & kAllowAbsent) && (type == napi_undefined || type == napi_null)) {
      *view = View{};
      return true;
    }
    ThrowType(env,
              std::string("Expected ") + Allowed(allow) + " for " + name + " but received " + Describe(env, value));
    return false;
  }
  view->js_type = static_cast<int>(kind);
  view->present = true;
  int bit = 0;
  switch (static_cast<int>(kind)) {
    case napi_float32_array:
      view->type = Type::f32, bit = kAllowF32;
      break;
    case napi_float64_array:
      view->type = Type::f64, bit = kAllowF64;
      break;
    case napi_uint16_array:
    case kFloat16ArrayType:
      view->type = Type::f16, bit = kAllowF16;
      break;
    case napi_uint8_array:
      bit = kAllowBytes;
      break;
  }
  if (!(allow & bit)) {
    ThrowType(env, std::string("Expected ") + Allowed(allow) + " for " + name + " but received " + ArrayName(kind));
    return false;
  }
  return true;
}

bool ReadNumber(napi_env env, napi_value value, const char* name, double* out) {
  if (napi_get_value_double(env, value, out) == napi_ok) return true;
  ThrowType(env, std::string("Expected a number for ") + name + " but received " + Describe(env, value));
  return false;
}

bool ReadInteger(napi_env env, napi_value value, const char* name, double low, double high, int64_t* out) {
  double number = 0;
  if (!ReadNumber(env, value, name, &number)) return false;
  if (!(number >= low && number <= high) || number != std::floor(number)) {
    const auto whole = [](double bound) { return std::to_string(static_cast<int64_t>(bound)); };
    ThrowRange(env, "Expected an integer from " + whole(low) + " to " + whole(high) + " for " + name +
                        " but received " + Describe(env, value));
    return false;
  }
  *out = static_cast<int64_t>(number);
  return true;
}

}  // namespace dpm::addon
