// A CUDA library without CUDA: the table of native/cuda/api.h over the host's memory, with the kernels run by the
// emulation. What lib/cuda and the addon do is then tested where there is no card: the same tests run on a real one.
//
// One card of four multiprocessors and 1 GiB; noise from seed 0xdead is a fault from which the card does not recover.
// What is queued during a capture is kept and not run; allocating and freeing are refused meanwhile, as on a card.
#include <cstdlib>
#include <cstring>
#include <functional>
#include <map>
#include <vector>

#include "cuda/api.h"
#include "cuda/plan.h"
#include "cuda/reduce.h"
#include "cuda/step.h"
#include "cuda/threshold.h"
#include "cuda/wide.h"

namespace dpm::cuda {
namespace {

constexpr Card kCard = {4, 65536, 4, true};
constexpr int kFault = 700, kInvalid = 1, kCaptureUnsupported = 900;
int sticky_ = 0;
std::map<const void*, uint64_t> memory_;
constexpr uint64_t kMemory = 1u << 30;
uint64_t used_ = 0;
uint64_t clock_ = 0;

using Work = std::function<int()>;
struct Graph {
  std::vector<Work> work;
};
struct Stream {
  void* pointer;
  Graph* capturing = nullptr;
};
int capturing_ = 0;  // streams that are

// Runs it, or keeps it for the graph.
int Queue(void* stream, Work work) {
  if (sticky_) return sticky_;
  if (Graph* const graph = static_cast<Stream*>(stream)->capturing) {
    graph->work.push_back(std::move(work));
    return 0;
  }
  return work();
}

int Count(int* devices, int* driver) {
  *devices = 1, *driver = 13000;
  return sticky_;
}
int Device(int, DeviceInfo* info) {
  std::memset(static_cast<void*>(info), 0, sizeof *info);
  std::strcpy(info->name, "Emulated card");
  info->major = 9;
  info->memory_bytes = kMemory;
  info->free_bytes = kMemory - used_;
  info->card = kCard;
  return sticky_;
}
const char* ErrorName(int code) {
  return code == kErrorMemory          ? "cudaErrorMemoryAllocation"
         : code == kFault              ? "cudaErrorIllegalAddress"
         : code == kCaptureUnsupported ? "cudaErrorStreamCaptureUnsupported"
                                       : "cudaErrorInvalidValue";
}
const char* ErrorText(int code) {
  return code == kErrorMemory          ? "out of memory"
         : code == kFault              ? "an illegal memory access was encountered"
         : code == kCaptureUnsupported ? "operation not permitted when stream is capturing"
                                       : "invalid argument";
}
int Alloc(int, uint64_t bytes, void** out) {
  *out = nullptr;
  if (sticky_) return sticky_;
  if (capturing_) return kCaptureUnsupported;
  if (bytes > kMemory - used_) return kErrorMemory;
  if (posix_memalign(out, 256, bytes ? bytes : 1) != 0) return kErrorMemory;
  if (bytes < 1u << 20) std::memset(*out, 0xa5, bytes);
  memory_[*out] = bytes;
  used_ += bytes;
  return 0;
}
int Free(int, void* memory) {
  const auto found = memory_.find(memory);
  if (found == memory_.end()) return kInvalid;
  if (capturing_) return kCaptureUnsupported;
  used_ -= found->second;
  memory_.erase(found);
  std::free(memory);
  return sticky_;
}
int StageTake(void*, uint64_t bytes, void** out) {
  *out = std::malloc(bytes ? bytes : 1);
  return sticky_;
}
int StageReturn(void*, void* memory) {
  std::free(memory);
  return 0;
}
int Copy(void* stream, void* to, const void* from, uint64_t bytes) {
  return Queue(stream, [=] {
    std::memcpy(to, from, bytes);
    return 0;
  });
}
int Zero(void* stream, void* to, uint64_t bytes) {
  return Queue(stream, [=] {
    std::memset(to, 0, bytes);
    return 0;
  });
}
int StreamCreate(int, void* existing, bool wrap, void** out) {
  *out = new Stream{wrap ? existing : std::malloc(1)};
  return sticky_;
}
int StreamDestroy(void* stream) {
  delete static_cast<Stream*>(stream);
  return sticky_;
}
int Fine(void*) { return sticky_; }
void* StreamPointer(void* stream) { return static_cast<Stream*>(stream)->pointer; }
int EventCreate(int, void** out) {
  *out = new uint64_t{0};
  return sticky_;
}
int EventDestroy(void* event) {
  delete static_cast<uint64_t*>(event);
  return sticky_;
}
int EventRecord(void* event, void* stream) {
  if (static_cast<Stream*>(stream)->capturing) return kCaptureUnsupported;
  *static_cast<uint64_t*>(event) = ++clock_;
  return sticky_;
}
int StreamAfter(void*, void*) { return sticky_; }
int EventMilliseconds(void* from, void* to, float* out) {
  *out = static_cast<float>(*static_cast<uint64_t*>(to) - *static_cast<uint64_t*>(from));
  return sticky_;
}

template <NetType kType, bool kGeneral>
void Launch(const StepArgs& a, const Plan& plan) {
  static uint32_t workspace[16 * kWorkspaceWords];
  TeamArgs team = plan.team;
  team.workspace = plan.workspace_words ? workspace : nullptr;
  if (team.workspace) emulation::KnowBuffer(workspace, sizeof workspace, 4, true);
  emulation::Launch launch;
  launch.grid_x = plan.grid_x, launch.grid_y = plan.grid_y, launch.threads = plan.threads;
  launch.shared_words = plan.shared_bytes / 4;
  launch.team = plan.kernel == Kernel::step ? 1 : plan.team.size;
  launch.cluster = plan.kernel == Kernel::cluster;
  launch.blocks = emulation::Order::descending;
  emulation::Run(launch, [&] {
    if (plan.kernel == Kernel::step) {
      StepKernel<kType, kGeneral, kVector<Kernel::step, kType, kGeneral>>::Run(a);
    } else if (plan.kernel == Kernel::cluster) {
      ThresholdKernel<ClusterTeam, kType, kGeneral, kVector<Kernel::cluster, kType, kGeneral>>::Run(a, team);
    } else {
      ThresholdKernel<GridTeam, kType, kGeneral, kVector<Kernel::team, kType, kGeneral>>::Run(a, team);
    }
  });
}
template <bool kGeneral>
void LaunchType(const StepArgs& a, const Plan& plan, NetType type) {
  if (type == NetType::f16) return Launch<NetType::f16, kGeneral>(a, plan);
  if (type == NetType::bf16) return Launch<NetType::bf16, kGeneral>(a, plan);
  Launch<NetType::f32, kGeneral>(a, plan);
}

void Known() {
  emulation::ForgetBuffers();
  for (const auto& [pointer, bytes] : memory_) emulation::KnowBuffer(pointer, bytes, 2, true);
}

template <bool kSelects>
void LaunchWide(const StepArgs& a, const Plan& plan) {
  emulation::Launch launch;
  launch.grid_x = plan.grid_x, launch.grid_y = plan.grid_y, launch.threads = plan.threads;
  launch.shared_words = plan.shared_bytes / 4;
  emulation::Run(launch, [&] { WideKernel<kSelects>::Run(a); });
}

int Step(void* stream, const StepArgs* args, NetType type, bool quantile, Plan* used) {
  Wish wish;
  wish.batch = args->batch, wish.n = args->n, wish.type = type, wish.quantile = quantile;
  wish.general = !IsFast(*args);
  const Plan plan = MakePlan(kCard, wish);
  if (used) *used = plan;
  return Queue(stream, [a = *args, plan, type, general = wish.general] {
    Known();
    if (plan.kernel == Kernel::wide) {
      LaunchWide<false>(a, plan);
    } else if (plan.kernel == Kernel::wide_select) {
      LaunchWide<true>(a, plan);
    } else {
      general ? LaunchType<true>(a, plan, type) : LaunchType<false>(a, plan, type);
    }
    return 0;
  });
}
template <class T>
int Noise(void* stream, uint64_t seed, uint32_t step, uint32_t number, T* to, uint64_t n) {
  if (seed == 0xdead) sticky_ = kFault;
  return Queue(stream, [=] {
    for (uint64_t i = 0; i < n; i += 4) {
      T four[4];
      noise::PhiloxNormal4(seed, i / 4, step, number, four);
      for (uint64_t k = 0; k < 4 && i + k < n; ++k) to[i + k] = four[k];
    }
    return 0;
  });
}
int ErrorNorm(void* stream, const ErrorArgs* args) {
  return Queue(stream, [a = *args] {
    Known();
    emulation::Launch launch;
    launch.grid_x = static_cast<uint32_t>(DivideUp(a.n, kReduceBlock)), launch.grid_y = a.batch;
    launch.threads = kReduceThreads;
    launch.shared_words = 2 * kReduceTile;
    emulation::Run(launch, [&] { a.wide ? ErrorKernel<double>::Run(a) : ErrorKernel<float>::Run(a); });
    const uint32_t stretches = launch.grid_x;
    launch.grid_x = launch.grid_y = 1, launch.shared_words = 0;
    Known();
    emulation::Run(launch, [&] { ErrorEnd::Run(a, stretches); });
    return 0;
  });
}
int CaptureBegin(void* stream) {
  if (sticky_) return sticky_;
  static_cast<Stream*>(stream)->capturing = new Graph;
  ++capturing_;
  return 0;
}
int CaptureEnd(void* stream, void** graph) {
  *graph = static_cast<Stream*>(stream)->capturing;
  static_cast<Stream*>(stream)->capturing = nullptr;
  --capturing_;
  return sticky_;
}
int GraphLaunch(void* graph, void*) {
  if (sticky_) return sticky_;
  for (const Work& work : static_cast<Graph*>(graph)->work) {
    if (const int code = work()) return code;
  }
  return 0;
}
int GraphDestroy(void* graph) {
  delete static_cast<Graph*>(graph);
  return sticky_;
}

constexpr Api kApi = {
    kApiVersion,
    13000,
    Count,
    Device,
    ErrorName,
    ErrorText,
    Alloc,
    Free,
    StageTake,
    StageReturn,
    Copy,
    Zero,
    StreamCreate,
    StreamDestroy,
    Fine,
    Fine,
    StreamPointer,
    EventCreate,
    EventDestroy,
    EventRecord,
    Fine,
    StreamAfter,
    EventMilliseconds,
    Step,
    Noise<float>,
    Noise<double>,
    ErrorNorm,
    CaptureBegin,
    CaptureEnd,
    GraphLaunch,
    GraphDestroy,
};

}  // namespace
}  // namespace dpm::cuda

extern "C" __attribute__((visibility("default"))) const dpm::cuda::Api* dpmSolverCuda() { return &dpm::cuda::kApi; }
