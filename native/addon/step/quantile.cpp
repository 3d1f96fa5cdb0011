// quantile(x, batch, ratio, threads, out: Float64Array of batch)
#include "results.h"

namespace dpm::addon {

napi_value AddonQuantile(napi_env env, napi_callback_info info) {
  napi_value argv[5];
  size_t argc = 5;
  napi_get_cb_info(env, info, &argc, argv, nullptr, nullptr);
  View x, out;
  int64_t batch, threads;
  double ratio;
  if (!ReadView(env, argv[0], "x", kAllowF32 | kAllowF64, &x) ||
      !ReadInteger(env, argv[1], "batch", 1, kMostElements, &batch) || !ReadNumber(env, argv[2], "ratio", &ratio) ||
      !ReadInteger(env, argv[3], "threads", 0, 1024, &threads) || !ReadView(env, argv[4], "out", kAllowF64, &out)) {
    return nullptr;
  }
  if (!(ratio >= 0 && ratio <= 1)) {
    ThrowRange(env, "Expected a number from 0 to 1 for ratio but received " + Describe(env, argv[2]));
    return nullptr;
  }
  if (x.length == 0 || x.length % batch != 0 || out.length != static_cast<size_t>(batch)) {
    ThrowRange(env, "Expected whole samples in x and one number a sample in out but received " + Size(x.length) +
                        " and " + Size(out.length) + " elements for a batch of " + Size(batch));
    return nullptr;
  }
  const size_t n = x.length / batch;
  const Results results(out.length, out);
  for (int64_t b = 0; b < batch && results.values(); ++b) {
    const void* sample = static_cast<const char*>(x.data) + b * (x.bytes() / batch);
    results.values()[b] = Quantile(sample, x.type, n, ratio, static_cast<int>(threads));
    if (results.values()[b] == -1) return OutOfMemory(env, "the quantile's working space");
  }
  if (!results.values()) return OutOfMemory(env, "the quantiles' working space");
  results.Write();
  return nullptr;
}

}  // namespace dpm::addon
