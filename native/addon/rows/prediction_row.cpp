// predictionRow(rows, index, modelType, form, guidance, scale, node) -> status
#include "arguments.h"

namespace dpm::addon {

Napi::Value AddonPredictionRow(const Napi::CallbackInfo& info) {
  RowArguments arguments(info);
  double* row = arguments.Row(0);
  const auto model_type = static_cast<ModelType>(arguments.Index(2, "modelType", 5));
  const auto form = static_cast<Form>(arguments.Index(3, "form", 2));
  const auto guidance = static_cast<Guidance>(arguments.Index(4, "guidance", 3));
  const double scale = arguments.Number(5, "scale");
  const Node node = arguments.NodeAt(arguments.Array(6, "node", kNodeLength), 0, "node");
  if (!arguments.ok()) return info.Env().Undefined();
  return ToNumber(info, PredictionRow(row, model_type, form, node, guidance, scale));
}

}  // namespace dpm::addon
