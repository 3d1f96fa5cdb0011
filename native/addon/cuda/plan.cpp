#include "../../cuda/plan.h"

#include "kernel_names.h"

namespace dpm::addon {

// (card: Float64Array, batch, n, type, general, quantile): the launch planner, a pure function. The card:
// multiprocessors, bytes of shared memory of a block and of a multiprocessor, whether blocks can wait for each other,
// then how many clusters of 1, 2, ... 16 blocks run at once with one block on a multiprocessor, and with two.
napi_value AddonCudaPlan(napi_env env, napi_callback_info info) {
  constexpr size_t kArguments = 6, kCardLength = 4 + 2 * cuda::kMostCluster;
  napi_value argv[kArguments];
  size_t argc = kArguments;
  napi_get_cb_info(env, info, &argc, argv, nullptr, nullptr);
  View view;
  if (!ReadView(env, argv[0], "card", kAllowF64, &view)) return nullptr;
  const double* const of = static_cast<const double*>(view.data);
  bool whole = view.length == kCardLength;
  for (size_t k = 0; whole && k < kCardLength; ++k) whole = of[k] >= 0 && of[k] <= 1 << 24;
  if (!whole) {
    ThrowRange(env,
               "Expected " + std::to_string(kCardLength) + " numbers from 0 to 16777216 for card but received others");
    return nullptr;
  }
  static const struct {
    const char* name;
    double low, high;
  } arguments[] = {
      {"batch", 1, 2147483647}, {"n", 1, 4294967295.0}, {"type", 0, 4}, {"general", 0, 1}, {"quantile", 0, 1}};
  int64_t value[kArguments - 1];
  for (size_t k = 0; k + 1 < kArguments; ++k) {
    const auto& one = arguments[k];
    if (!ReadInteger(env, argv[k + 1], one.name, one.low, one.high, &value[k])) return nullptr;
  }
  cuda::Card card;
  card.multiprocessors = static_cast<uint32_t>(of[0]);
  card.shared_bytes = static_cast<uint32_t>(of[1]);
  card.shared_multiprocessor = static_cast<uint32_t>(of[2]);
  card.cooperative = of[3] != 0;
  for (size_t k = 0; k < 2 * cuda::kMostCluster; ++k) {
    card.clusters[k / cuda::kMostCluster][1 + k % cuda::kMostCluster] = static_cast<uint32_t>(of[4 + k]);
  }
  cuda::Wish wish;
  wish.batch = static_cast<uint64_t>(value[0]);
  wish.n = static_cast<uint64_t>(value[1]);
  wish.type = static_cast<cuda::NetType>(value[2]);
  wish.general = value[3] != 0;
  wish.quantile = value[4] != 0;
  const cuda::Plan plan = cuda::MakePlan(card, wish);
  Napi::Env wrapped(env);
  Napi::Object result = Napi::Object::New(wrapped);
  result.Set("kernel", kKernelNames[static_cast<int>(plan.kernel)]);
  result.Set("grid", plan.grid_x);
  result.Set("gridY", plan.grid_y);
  result.Set("threads", plan.threads);
  result.Set("sharedBytes", plan.shared_bytes);
  result.Set("cooperative", plan.cooperative);
  result.Set("team", plan.team.size);
  result.Set("teams", plan.team.teams);
  result.Set("chunk", plan.team.chunk);
  result.Set("chunks", plan.team.chunks);
  result.Set("rounds", plan.team.rounds);
  result.Set("resident", plan.team.resident);
  result.Set("workspaceBytes", static_cast<double>(plan.workspace_words * 4));
  return result;
}

}  // namespace dpm::addon
