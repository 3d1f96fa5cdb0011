// keepNoise(rows, index, node) -> status
#include "../../coefficients/diffusers.h"
#include "arguments.h"

namespace dpm::addon {

Napi::Value AddonKeepNoise(const Napi::CallbackInfo& info) {
  RowArguments arguments(info);
  double* row = arguments.Row(0);
  const Node node = arguments.NodeAt(arguments.Array(2, "node", kNodeLength), 0, "node");
  if (!arguments.ok()) return info.Env().Undefined();
  return ToNumber(info, KeepNoise(row, node));
}

}  // namespace dpm::addon
