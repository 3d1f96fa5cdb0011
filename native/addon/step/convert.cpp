// convert(from, to): element by element between float16, float32 and float64, rounding to nearest even
#include "../../cpu/kernels.h"
#include "results.h"

namespace dpm::addon {

napi_value AddonConvert(napi_env env, napi_callback_info info) {
  napi_value argv[2];
  size_t argc = 2;
  napi_get_cb_info(env, info, &argc, argv, nullptr, nullptr);
  View from, to;
  const int any = kAllowF16 | kAllowF32 | kAllowF64;
  if (!ReadView(env, argv[0], "from", any, &from) || !ReadView(env, argv[1], "to", any, &to)) return nullptr;
  if (from.length != to.length) {
    ThrowRange(env, LengthMessage("to", Size(from.length), to.length));
    return nullptr;
  }
  if (from.data != to.data || from.type != to.type) {
    if (Overlap(from.data, from.bytes(), to.data, to.bytes())) {
      ThrowRange(env, "Expected separate memory for from and to but received buffers that overlap");
      return nullptr;
    }
    ActiveKernels().convert(from.data, static_cast<int>(from.type), to.data, static_cast<int>(to.type), from.length);
  }
  return nullptr;
}

}  // namespace dpm::addon
