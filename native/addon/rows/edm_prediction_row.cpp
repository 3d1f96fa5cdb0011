// edmPredictionRow(rows, index, v, sigmaData, node) -> status
#include "../../coefficients/diffusers.h"
#include "arguments.h"

namespace dpm::addon {

Napi::Value AddonEdmPredictionRow(const Napi::CallbackInfo& info) {
  RowArguments arguments(info);
  double* row = arguments.Row(0);
  const bool v = arguments.Index(2, "v", 2) == 1;
  const double sigma_data = arguments.Number(3, "sigmaData");
  const Node node = arguments.NodeAt(arguments.Array(4, "node", kNodeLength), 0, "node");
  if (!arguments.ok()) return info.Env().Undefined();
  return ToNumber(info, EdmPredictionRow(row, v, sigma_data, node));
}

}  // namespace dpm::addon
