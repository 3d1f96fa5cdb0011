// standardDeviation(x, batch, out: Float64Array of batch)
#include "results.h"

namespace dpm::addon {

napi_value AddonStandardDeviation(napi_env env, napi_callback_info info) {
  napi_value argv[3];
  size_t argc = 3;
  napi_get_cb_info(env, info, &argc, argv, nullptr, nullptr);
  View x, out;
  int64_t batch;
  if (!ReadView(env, argv[0], "x", kAllowF32 | kAllowF64, &x) ||
      !ReadInteger(env, argv[1], "batch", 1, kMostElements, &batch) ||
      !ReadView(env, argv[2], "out", kAllowF64, &out)) {
    return nullptr;
  }
  if (x.length % batch != 0 || x.length < 2 * static_cast<size_t>(batch) || out.length != static_cast<size_t>(batch)) {
    ThrowRange(env, "Expected whole samples of two or more elements in x and one number a sample in out but received " +
                        Size(x.length) + " and " + Size(out.length) + " elements for a batch of " + Size(batch));
    return nullptr;
  }
  const Results results(out.length, out);
  if (!results.values()) return OutOfMemory(env, "the standard deviations' working space");
  for (int64_t b = 0; b < batch; ++b) {
    const void* sample = static_cast<const char*>(x.data) + b * (x.bytes() / batch);
    results.values()[b] = StandardDeviation(sample, x.type, x.length / batch);
  }
  results.Write();
  return nullptr;
}

}  // namespace dpm::addon
