// Kernels, queued.
#pragma once

#include "stream.h"

namespace dpm::cuda {

// A launch on the stream's card. It may begin while the one before it ends, where the card can do that: the kernels
// wait for it themselves, when their blocks are in place (EverythingBefore).
inline int Launch(const Stream& s, const Plan& plan, const void* kernel, void** parameters) {
  cudaLaunchAttribute attributes[2];
  cudaLaunchConfig_t config = {};
  config.gridDim = dim3(plan.grid_x, plan.grid_y);
  config.blockDim = dim3(plan.threads);
  config.dynamicSmemBytes = plan.shared_bytes;
  config.stream = s.stream;
  config.attrs = attributes;
  if (plan.kernel == Kernel::cluster) {
    cudaLaunchAttribute& a = attributes[config.numAttrs++];
    a.id = cudaLaunchAttributeClusterDimension;
    a.val.clusterDim = {plan.team.size, 1, 1};
  }
  if (plan.cooperative) {
    cudaLaunchAttribute& a = attributes[config.numAttrs++];
    a.id = cudaLaunchAttributeCooperative;
    a.val.cooperative = 1;
  } else if (s.card->dependent) {
    cudaLaunchAttribute& a = attributes[config.numAttrs++];
    a.id = cudaLaunchAttributeProgrammaticStreamSerialization;
    a.val.programmaticStreamSerializationAllowed = 1;
  }
  return Result(cudaLaunchKernelExC(&config, kernel, parameters));
}

inline bool Same(const Wish& a, const Wish& b) {
  return a.batch == b.batch && a.n == b.n && a.type == b.type && a.general == b.general && a.quantile == b.quantile;
}
inline const Plan& PlanOf(Stream& s, const Wish& wish) {
  for (PlanCache::Entry& entry : s.plans.entries) {
    if (entry.filled && Same(entry.wish, wish)) return entry.plan;
  }
  PlanCache::Entry& entry = s.plans.entries[s.plans.next];
  s.plans.next = (s.plans.next + 1) % PlanCache::kEntries;
  entry = {wish, MakePlan(*s.card, wish), true};
  return entry.plan;
}

inline int LaunchStep(void* stream, const StepArgs* args, NetType type, bool quantile, Plan* used) {
  StepArgs a = *args;
  Stream& s = Of(stream);
  if (a.batch == 0 || a.n == 0 || a.batch > 0x7fffffffu || a.n > 0xffffffffu || !a.rows) return kErrorArgument;
  Wish wish;
  wish.batch = a.batch;
  wish.n = a.n;
  wish.type = type;
  wish.general = !IsFast(a);
  wish.quantile = quantile;
  const Plan& plan = PlanOf(s, wish);
  if (used) *used = plan;
  const OnDevice scope(s.device);
  DPM_TRY(scope.error());
  TeamArgs team = plan.team;
  if (plan.workspace_words) {
    if (plan.workspace_words > MostWorkspaceWords(*s.card)) return kErrorArgument;
    DPM_TRY(TakeWorkspace(s, &team.workspace));
  }
  void* parameters[] = {&a, &team};
  return Launch(s, plan, KernelFor(plan.kernel, type, wish.general), parameters);
}

inline int LaunchErrorNorm(void* stream, const ErrorArgs* args) {
  ErrorArgs a = *args;
  const Stream& s = Of(stream);
  if (a.batch == 0 || a.batch > 0x7fffffffu || a.n == 0 || a.n > 0xffffffffu) return kErrorArgument;
  const OnDevice scope(s.device);
  DPM_TRY(scope.error());
  uint32_t stretches = static_cast<uint32_t>(DivideUp(a.n, kReduceBlock));
  Plan plan;
  plan.grid_x = stretches, plan.grid_y = a.batch < 65535 ? a.batch : 65535;
  plan.threads = kReduceThreads;
  plan.shared_bytes = kReduceTile * sizeof(double);
  void* parameters[] = {&a, &stretches};
  DPM_TRY(Launch(s, plan, ErrorKernelFor(a.wide), parameters));
  const uint64_t blocks = DivideUp(a.batch, kReduceThreads);
  plan.grid_x = static_cast<uint32_t>(blocks < 1024 ? blocks : 1024), plan.grid_y = 1;
  plan.shared_bytes = 0;
  return Launch(s, plan, ErrorEndKernel(), parameters);
}

inline int LaunchGuide(void* stream, const GuideArgs* args) {
  GuideArgs a = *args;
  const Stream& s = Of(stream);
  if (a.batch == 0 || a.batch > 0x7fffffffu || a.n == 0 || a.n > 0xffffffffu) return kErrorArgument;
  const OnDevice scope(s.device);
  DPM_TRY(scope.error());
  uint32_t stretches = static_cast<uint32_t>(DivideUp(a.n, kReduceBlock));
  for (const bool second : {false, true}) {
    if (second && !a.rescales) break;
    Plan plan;
    plan.threads = kReduceThreads;
    if (second || a.looks) {
      plan.grid_x = stretches, plan.grid_y = a.batch < 65535 ? a.batch : 65535;
      plan.shared_bytes = kPairShared;
      void* parameters[] = {&a};
      DPM_TRY(Launch(s, plan, PairKernelFor(a.type, second), parameters));
    }
    const uint64_t blocks = DivideUp(a.batch, kReduceThreads);
    plan.grid_x = static_cast<uint32_t>(blocks < 1024 ? blocks : 1024), plan.grid_y = 1;
    plan.shared_bytes = 0;
    void* parameters[] = {&a, &stretches};
    DPM_TRY(Launch(s, plan, GuideEndKernelFor(second), parameters));
  }
  return 0;
}

template <class T>
int Noise(void* stream, uint64_t seed, uint32_t step, uint32_t number, T* to, uint64_t n) {
  if (n == 0) return 0;
  const OnDevice scope(Of(stream).device);
  DPM_TRY(scope.error());
  NoiseArgs a;
  a.seed = seed, a.to = to, a.n = n, a.step = step, a.stream = number;
  Plan plan;
  plan.grid_x = NoiseBlocks(n), plan.threads = kNoiseThreads;
  void* parameters[] = {&a};
  return Launch(Of(stream), plan, NoiseKernelFor(sizeof(T) == 8), parameters);
}

inline int Nothing(void* stream) {
  const OnDevice scope(Of(stream).device);
  DPM_TRY(scope.error());
  return Launch(Of(stream), Plan(), NothingKernel(), nullptr);
}

}  // namespace dpm::cuda
