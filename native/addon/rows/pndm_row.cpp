// pndmRow(rows, index, v, nodes, weights) -> status
#include "../../coefficients/diffusers.h"
#include "arguments.h"

namespace dpm::addon {

Napi::Value AddonPndmRow(const Napi::CallbackInfo& info) {
  RowArguments arguments(info);
  double* row = arguments.Row(0);
  const bool v = arguments.Index(2, "v", 2) == 1;
  const auto nodes = arguments.Array(3, "nodes", 2 * kNodeLength);
  const Node from = arguments.NodeAt(nodes, 0, "nodes");
  const Node to = arguments.NodeAt(nodes, 1, "nodes");
  const auto weights = arguments.Array(4, "weights", 4);
  if (!arguments.ok()) return info.Env().Undefined();
  return ToNumber(info, PndmRow(row, v, from, to, weights.data));
}

}  // namespace dpm::addon
