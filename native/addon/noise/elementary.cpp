// noiseElementary(x: Float64Array(n), out: Float64Array(3 n)): log x, sin 2 pi x, cos 2 pi x for each x. For tests.
#include "../../noise/elementary.h"

#include "arguments.h"

namespace dpm::addon {

Napi::Value AddonNoiseElementary(const Napi::CallbackInfo& info) {
  NoiseArguments a(info);
  size_t n = 0, length = 0;
  const double* x = a.Doubles(0, "x", &n);
  double* out = a.Doubles(1, "out", &length);
  if (!a.Check(length == 3 * n, "Expected three values per argument for out but received a Float64Array of length " +
                                    std::to_string(length))) {
    return info.Env().Undefined();
  }
  for (size_t i = 0; i < n; ++i) {
    out[3 * i] = noise::Log(x[i]);
    noise::SinCosTurn(x[i], &out[3 * i + 1], &out[3 * i + 2]);
  }
  return info.Env().Undefined();
}

}  // namespace dpm::addon
