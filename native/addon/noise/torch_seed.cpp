// torchSeed(state: Uint32Array(628), seedLow, seedHigh): torch.manual_seed.
#include "../../noise/torch.h"
#include "arguments.h"

namespace dpm::addon {

Napi::Value AddonTorchSeed(const Napi::CallbackInfo& info) {
  NoiseArguments a(info);
  uint32_t* state = a.Words(0, "state", noise::kTorchStateLength);
  const uint32_t low = a.Word(1, "seedLow"), high = a.Word(2, "seedHigh");
  if (a.ok()) noise::TorchSeed(state, low, high);
  return info.Env().Undefined();
}

}  // namespace dpm::addon
