// updateRow(rows, index, second, method, form, order, taylor, exact, tau2, nodes) -> status
#include "../../step/row.h"
#include "arguments.h"

namespace dpm::addon {

Napi::Value AddonUpdateRow(const Napi::CallbackInfo& info) {
  RowArguments arguments(info);
  double* row = arguments.Row(0);
  const bool second = arguments.Index(2, "second", 2) == 1;
  Update update{};
  update.method = static_cast<Method>(arguments.Index(3, "method", 2));
  update.form = static_cast<Form>(arguments.Index(4, "form", 2));
  update.order = arguments.Index(5, "order", 4);  // 0 gives Status::invalid
  update.taylor = arguments.Index(6, "taylor", 2) == 1;
  update.exact = arguments.Index(7, "exact", 2) == 1;
  update.tau2 = arguments.Number(8, "tau2");
  const auto nodes = arguments.Array(9, "nodes", 5 * kNodeLength);
  update.target = arguments.NodeAt(nodes, 0, "nodes");
  update.base = arguments.NodeAt(nodes, 1, "nodes");
  for (int i = 0; i < 3; ++i) update.node[i] = arguments.NodeAt(nodes, 2 + i, "nodes");
  if (!arguments.ok()) return info.Env().Undefined();
  return ToNumber(info, UpdateRow(row + (second ? kSecond : kFirst), update));
}

}  // namespace dpm::addon
