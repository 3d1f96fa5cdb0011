// saSolverRow(rows, index, form, predictorOrder, correctorOrder, tau2, lastTau2, nodes) -> status
#include "../../coefficients/adams.h"
#include "arguments.h"

namespace dpm::addon {

Napi::Value AddonSaSolverRow(const Napi::CallbackInfo& info) {
  RowArguments arguments(info);
  double* row = arguments.Row(0);
  SaSolver update{};
  update.form = static_cast<Form>(arguments.Index(2, "form", 2));
  update.predictor_order = arguments.Index(3, "predictorOrder", 5);
  update.corrector_order = arguments.Index(4, "correctorOrder", 5);
  update.tau2 = arguments.Number(5, "tau2");
  update.last_tau2 = arguments.Number(6, "lastTau2");
  const auto nodes = arguments.Array(7, "nodes", 5 * kNodeLength);
  update.target = arguments.NodeAt(nodes, 0, "nodes");
  update.current = arguments.NodeAt(nodes, 1, "nodes");
  for (int i = 0; i < 3; ++i) update.history[i] = arguments.NodeAt(nodes, 2 + i, "nodes");
  if (!arguments.ok()) return info.Env().Undefined();
  return ToNumber(info, SaSolverRow(row, update));
}

}  // namespace dpm::addon
