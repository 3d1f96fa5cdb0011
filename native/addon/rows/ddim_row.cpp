// ddimRow(rows, index, modelType, eta, rederive, nodes) -> status
#include "../../coefficients/diffusers.h"
#include "arguments.h"

namespace dpm::addon {

Napi::Value AddonDdimRow(const Napi::CallbackInfo& info) {
  RowArguments arguments(info);
  double* row = arguments.Row(0);
  const auto model_type = static_cast<ModelType>(arguments.Index(2, "modelType", 5));
  const double eta = arguments.Number(3, "eta");
  const bool rederive = arguments.Index(4, "rederive", 2) == 1;
  const auto nodes = arguments.Array(5, "nodes", 2 * kNodeLength);
  const Node current = arguments.NodeAt(nodes, 0, "nodes");
  const Node target = arguments.NodeAt(nodes, 1, "nodes");
  if (!arguments.ok()) return info.Env().Undefined();
  return ToNumber(info, DdimRow(row, model_type, current, target, eta, rederive));
}

}  // namespace dpm::addon
