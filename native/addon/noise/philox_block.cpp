// philoxBlock(counter: Uint32Array(4), keyLow, keyHigh): replaces the counter by its random bits. For tests.
#include "../../noise/philox.h"
#include "arguments.h"

namespace dpm::addon {

Napi::Value AddonPhiloxBlock(const Napi::CallbackInfo& info) {
  NoiseArguments a(info);
  uint32_t* counter = a.Words(0, "counter", 4);
  const uint32_t low = a.Word(1, "keyLow"), high = a.Word(2, "keyHigh");
  if (a.ok()) noise::Philox4x32(counter, low, high);
  return info.Env().Undefined();
}

}  // namespace dpm::addon
