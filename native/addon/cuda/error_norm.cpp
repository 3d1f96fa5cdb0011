#include "call.h"

namespace dpm::addon {

// (stream, low, high, previous, partial, out, batch, n, wide, tolerances: Float64Array of atol and rtol)
napi_value AddonCudaErrorNorm(napi_env env, napi_callback_info info) {
  CudaCall a(env, info);
  void* const stream = a.Handle("stream");
  cuda::ErrorArgs e;
  e.low = a.Handle("low");
  e.high = a.Handle("high");
  e.previous = a.Handle("previous");
  e.partial = static_cast<double*>(a.Handle("partial"));
  e.out = static_cast<double*>(a.Handle("out"));
  const int64_t batch = a.Integer("batch", 1, 2147483647), n = a.Integer("n", 1, 4294967295.0);
  const int64_t wide = a.Integer("wide", 0, 1);
  const View tolerances = a.Bytes("tolerances");
  if (!a.ok()) return nullptr;
  if (tolerances.length != 16) {
    ThrowRange(env, "Expected two float64 numbers for tolerances but received others");
    return nullptr;
  }
  e.batch = static_cast<uint32_t>(batch);
  e.n = static_cast<uint64_t>(n);
  e.wide = wide != 0;
  e.atol = static_cast<const double*>(tolerances.data)[0];
  e.rtol = static_cast<const double*>(tolerances.data)[1];
  return a.Done("The error of " + std::to_string(batch) + " samples of " + std::to_string(n) + " elements",
                a.api().error_norm(stream, &e));
}

}  // namespace dpm::addon
