#include "call.h"

namespace dpm::addon {

// (stream, seedLow, seedHigh, step, number, to, n, wide)
napi_value AddonCudaNoise(napi_env env, napi_callback_info info) {
  CudaCall a(env, info);
  void* const stream = a.Handle("stream");
  const double most = 4294967295.0;
  const int64_t low = a.Integer("seedLow", 0, most), high = a.Integer("seedHigh", 0, most);
  const int64_t step = a.Integer("step", 0, most), number = a.Integer("stream", 0, most);
  void* const to = a.Handle("to");
  const int64_t n = a.Integer("n", 0, kMostBytes), wide = a.Integer("wide", 0, 1);
  if (!a.ok()) return nullptr;
  const uint64_t seed = static_cast<uint64_t>(low) | static_cast<uint64_t>(high) << 32;
  const uint32_t at[] = {static_cast<uint32_t>(step), static_cast<uint32_t>(number)};
  const uint64_t count = static_cast<uint64_t>(n);
  return a.Done("Drawing " + std::to_string(n) + " numbers",
                wide ? a.api().noise_wide(stream, seed, at[0], at[1], static_cast<double*>(to), count)
                     : a.api().noise(stream, seed, at[0], at[1], static_cast<float*>(to), count));
}

}  // namespace dpm::addon
