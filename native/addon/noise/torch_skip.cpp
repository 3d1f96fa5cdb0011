// torchSkip(state, n, isDouble): leaves the state as one torch.randn of n float32 or float64 values does.
#include "../../noise/torch.h"
#include "arguments.h"

namespace dpm::addon {

Napi::Value AddonTorchSkip(const Napi::CallbackInfo& info) {
  NoiseArguments a(info);
  uint32_t* state = a.TorchState(0);
  // Bounded, because the time it takes grows with n.
  const uint64_t n = a.Integer(1, "n", uint64_t{1} << 32, "an integer from 0 to 2^32");
  const bool is_double = a.Boolean(2, "isDouble");
  if (a.ok()) noise::TorchSkip(state, n, is_double);
  return info.Env().Undefined();
}

}  // namespace dpm::addon
