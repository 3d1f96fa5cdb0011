// uniPCRow(rows, index, form, predictorOrder, correctorOrder, bh1, nodes) -> status
#include "../../coefficients/unipc.h"
#include "arguments.h"

namespace dpm::addon {

Napi::Value AddonUniPCRow(const Napi::CallbackInfo& info) {
  RowArguments arguments(info);
  double* row = arguments.Row(0);
  UniPC update{};
  update.form = static_cast<Form>(arguments.Index(2, "form", 2));
  update.predictor_order = arguments.Index(3, "predictorOrder", 4);
  update.corrector_order = arguments.Index(4, "correctorOrder", 4);
  update.bh1 = arguments.Index(5, "bh1", 2) == 1;
  const auto nodes = arguments.Array(6, "nodes", 5 * kNodeLength);
  update.target = arguments.NodeAt(nodes, 0, "nodes");
  update.current = arguments.NodeAt(nodes, 1, "nodes");
  for (int i = 0; i < 3; ++i) update.history[i] = arguments.NodeAt(nodes, 2 + i, "nodes");
  if (!arguments.ok()) return info.Env().Undefined();
  return ToNumber(info, UniPCRow(row, update));
}

}  // namespace dpm::addon
