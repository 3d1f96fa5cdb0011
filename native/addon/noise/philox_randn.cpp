// philoxRandn(seedLow, seedHigh, step, stream, first, out, begin = 0, end = out.length): elements first, first + 1, ...
// of the noise of (seed, step, stream) into out[begin, end).
#include "../../noise/philox.h"
#include "arguments.h"

namespace dpm::addon {

Napi::Value AddonPhiloxRandn(const Napi::CallbackInfo& info) {
  NoiseArguments a(info);
  const uint64_t low = a.Word(0, "seedLow"), high = a.Word(1, "seedHigh");
  const uint32_t step = a.Word(2, "step"), stream = a.Word(3, "stream");
  const uint64_t first = a.Count(4, "first");
  const Out out(&a, 5, 6);
  if (!a.ok() || out.size == 0) return info.Env().Undefined();
  const uint64_t seed = low | (high << 32);
  if (out.f64 != nullptr) {
    noise::PhiloxRandn(seed, step, stream, first, out.f64, out.size);
  } else {
    noise::PhiloxRandn(seed, step, stream, first, out.f32, out.size);
  }
  return info.Env().Undefined();
}

}  // namespace dpm::addon
