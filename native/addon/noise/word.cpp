// noiseWord(word, out: Float64Array(3)): log((word + 1/2) / 2^32), sin and cos of 2 pi word / 2^32 in single precision.
// For tests.
#include "../../noise/elementary.h"
#include "../../noise/philox.h"
#include "arguments.h"

namespace dpm::addon {

Napi::Value AddonNoiseWord(const Napi::CallbackInfo& info) {
  NoiseArguments a(info);
  size_t length = 0;
  const uint32_t word = a.Word(0, "word");
  double* out = a.Doubles(1, "out", &length);
  if (!a.Check(length == 3, "Expected 3 values for out but received " + std::to_string(length))) {
    return info.Env().Undefined();
  }
  float sine, cosine;
  noise::SinCosWord(word, &sine, &cosine);
  out[0] = noise::LogUniform(word);
  out[1] = sine;
  out[2] = cosine;
  return info.Env().Undefined();
}

}  // namespace dpm::addon
