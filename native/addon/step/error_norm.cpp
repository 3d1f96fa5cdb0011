// errorNorm(low, high, previous, batch, atol, rtol, threads, out: Float64Array of batch)
#include "results.h"

namespace dpm::addon {

napi_value AddonErrorNorm(napi_env env, napi_callback_info info) {
  napi_value argv[8];
  size_t argc = 8;
  napi_get_cb_info(env, info, &argc, argv, nullptr, nullptr);
  View low, high, previous, out;
  int64_t batch, threads;
  double atol, rtol;
  const int state = kAllowF32 | kAllowF64;
  if (!ReadView(env, argv[0], "low", state, &low) || !ReadView(env, argv[1], "high", state, &high) ||
      !ReadView(env, argv[2], "previous", state, &previous) ||
      !ReadInteger(env, argv[3], "batch", 1, kMostElements, &batch) || !ReadNumber(env, argv[4], "atol", &atol) ||
      !ReadNumber(env, argv[5], "rtol", &rtol) || !ReadInteger(env, argv[6], "threads", 0, 1024, &threads) ||
      !ReadView(env, argv[7], "out", kAllowF64, &out)) {
    return nullptr;
  }
  for (const int k : {4, 5}) {
    if (!((k == 4 ? atol : rtol) >= 0)) {
      ThrowRange(env, std::string("Expected a number from 0 on for ") + (k == 4 ? "atol" : "rtol") + " but received " +
                          Describe(env, argv[k]));
      return nullptr;
    }
  }
  if (high.type != low.type || previous.type != low.type || high.length != low.length ||
      previous.length != low.length || low.length == 0 || low.length % batch != 0 ||
      out.length != static_cast<size_t>(batch)) {
    ThrowRange(env,
               "Expected low, high and previous of one type and length, whole samples, and one number a sample in "
               "out but received others");
    return nullptr;
  }
  const size_t n = low.length / batch, bytes = low.bytes() / batch;
  const Results results(out.length, out);
  bool out_of_memory = !results.values();
  for (int64_t b = 0; b < batch && !out_of_memory; ++b) {
    const auto at = [&](const View& view) { return static_cast<const char*>(view.data) + b * bytes; };
    results.values()[b] =
        ErrorNorm(at(low), at(high), at(previous), low.type, n, atol, rtol, static_cast<int>(threads), &out_of_memory);
  }
  if (out_of_memory) return OutOfMemory(env, "the error norm's working space");
  results.Write();
  return nullptr;
}

}  // namespace dpm::addon
