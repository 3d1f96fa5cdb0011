// lmsRow(rows, index, order, sigmas) -> status
#include "../../coefficients/adams.h"
#include "arguments.h"

namespace dpm::addon {

Napi::Value AddonLmsRow(const Napi::CallbackInfo& info) {
  RowArguments arguments(info);
  double* row = arguments.Row(0);
  const int order = arguments.Index(2, "order", 5);
  const auto sigmas = arguments.Array(3, "sigmas", 5);
  if (!arguments.ok()) return info.Env().Undefined();
  return ToNumber(info, LmsRow(row, order, sigmas.data));
}

}  // namespace dpm::addon
