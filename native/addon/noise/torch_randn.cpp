// torchRandn(state, out, begin = 0, end = out.length): one torch.randn of end - begin values into out[begin, end).
#include "../../noise/torch.h"
#include "../arguments.h"
#include "arguments.h"

namespace dpm::addon {

Napi::Value AddonTorchRandn(const Napi::CallbackInfo& info) {
  NoiseArguments a(info);
  uint32_t* state = a.TorchState(0);
  const Out out(&a, 1, 2);
  a.Check(!Overlap(state, noise::kTorchStateLength * sizeof *state, out.data(), out.bytes()),
          "Expected separate memory for state and out but received buffers that overlap");
  if (!a.ok() || out.size == 0) return info.Env().Undefined();
  if (out.f64 != nullptr) {
    noise::TorchRandn(state, out.f64, out.size);
  } else {
    noise::TorchRandn(state, out.f32, out.size);
  }
  return info.Env().Undefined();
}

}  // namespace dpm::addon
