// scratchBytes(float64: 0 or 1, batch, n, ratio, threads): how much scratch a step of quantile rows asks for
#include "results.h"

namespace dpm::addon {

napi_value AddonScratchBytes(napi_env env, napi_callback_info info) {
  napi_value argv[5];
  size_t argc = 5;
  napi_get_cb_info(env, info, &argc, argv, nullptr, nullptr);
  int64_t wide, batch, n, threads;
  double ratio;
  if (!ReadInteger(env, argv[0], "wide", 0, 1, &wide) ||
      !ReadInteger(env, argv[1], "batch", 1, kMostElements, &batch) ||
      !ReadInteger(env, argv[2], "n", 0, kMostElements, &n) || !ReadNumber(env, argv[3], "ratio", &ratio) ||
      !ReadInteger(env, argv[4], "threads", 0, 1024, &threads)) {
    return nullptr;
  }
  if (!(ratio >= 0 && ratio <= 1)) {
    ThrowRange(env, "Expected a number from 0 to 1 for ratio but received " + Describe(env, argv[3]));
    return nullptr;
  }
  if (static_cast<double>(batch) * static_cast<double>(n) > kMostElements) {
    ThrowRange(env, "Expected at most 2^53 - 1 elements in all for batch times n but received " + Size(batch) +
                        " times " + Size(n));
    return nullptr;
  }
  return Number(
      env, static_cast<double>(ScratchBytes(wide ? Type::f64 : Type::f32, batch, n, ratio, static_cast<int>(threads))));
}

}  // namespace dpm::addon
