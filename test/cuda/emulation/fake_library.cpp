// A CUDA library without CUDA: the table of native/cuda/api.h over the host's memory, with the kernels run by the
// emulation. What lib/cuda and the addon do is then tested where there is no card: the same tests run on a real one.
//
// Cards of four multiprocessors and 1 GiB, one of them or as many as DPM_EMULATED_CARDS says; noise from seed 0xdead is
// a fault from which they do not recover. What is queued runs as late as it may: when something waits for it, so that
// memory that is freed, reused or read too early shows. What is queued during a capture is kept and not run; allocating
// is refused meanwhile, as on a card. Kernels run their blocks and threads in another order every time.
// With DPM_EMULATED_NULL what is queued is forgotten: what is left is the time that the host takes.
#include <cstdlib>
#include <cstring>
#include <deque>
#include <functional>
#include <map>
#include <mutex>
#include <set>
#include <vector>

#include "cuda/api.h"
#include "cuda/guide.h"
#include "cuda/noise.h"
#include "cuda/plan.h"
#include "cuda/reduce.h"
#include "cuda/stages.h"
#include "cuda/step.h"
#include "cuda/threshold.h"
#include "cuda/wide.h"

namespace dpm::cuda {
namespace {

Card TheCard() {
  Card card;
  card.multiprocessors = 4;
  card.shared_bytes = card.shared_multiprocessor = 32768;
  card.cooperative = true;
  for (const uint32_t size : {1u, 2u, 4u}) card.clusters[0][size] = 4 / size, card.clusters[1][size] = 8 / size;
  return card;
}
const Card kCard = TheCard();
const bool kNull = std::getenv("DPM_EMULATED_NULL") != nullptr;
constexpr int kFault = 700, kInvalid = 1, kHandle = 400, kCaptureUnsupported = 900;
// Threads of the addon wait for events while the main one queues.
std::recursive_mutex mutex_;
#define DPM_LOCKED const std::lock_guard<std::recursive_mutex> lock(mutex_)

int sticky_ = 0;
struct Allocation {
  int device;
  uint64_t bytes;
};
std::map<const void*, Allocation> memory_;
std::set<int> used_;  // cards on which something has been done
constexpr uint64_t kMemory = 1u << 30;
uint64_t clock_ = 0;

int Cards() {
  const char* const cards = std::getenv("DPM_EMULATED_CARDS");
  return cards ? std::atoi(cards) : 1;
}
uint64_t Used(int device) {
  uint64_t used = 0;
  for (const auto& [pointer, one] : memory_) used += one.device == device ? one.bytes : 0;
  return used;
}

struct Host {
  static int Alloc(void** out, uint64_t bytes) {
    *out = std::malloc(bytes);
    if (*out) std::memset(*out, 0xdd, bytes);
    return *out ? 0 : kErrorMemory;
  }
  static int Free(void* memory) {
    std::free(memory);
    return 0;
  }
};

Stages<Host> stages_;

using Work = std::function<int()>;
struct Stream {
  int device;
  void* pointer;
  struct Graph* capturing = nullptr;
  std::deque<Work> queue;
  uint64_t done = 0;  // how much has run of what was ever queued
};
struct Graph {
  std::vector<Work> work;
  Stream* stream = nullptr;  // of the last launch, and where in it
  uint64_t position = 0;
};
struct Event {
  int device;
  Stream* stream = nullptr;
  uint64_t position = 0, time = 0;
};
std::set<Stream*> streams_;
int capturing_ = 0;  // streams that are

Stream& Of(void* stream) { return *static_cast<Stream*>(stream); }
uint64_t Queued(const Stream& s) { return s.done + s.queue.size(); }

// Freed, but what was queued before may still use it.
struct Freed {
  void* memory;
  uint64_t bytes;
  std::vector<std::pair<Stream*, uint64_t>> after;
};
std::vector<Freed> freed_;
void Release() {
  for (size_t k = 0; k < freed_.size();) {
    bool over = true;
    for (const auto& [stream, position] : freed_[k].after)
      over = over && (streams_.count(stream) == 0 || stream->done >= position);
    if (over) std::free(freed_[k].memory);
    if (over)
      freed_.erase(freed_.begin() + static_cast<std::ptrdiff_t>(k));
    else
      ++k;
  }
}

// Runs what was queued on the stream up to there.
void RunUntil(Stream* stream, uint64_t position) {
  if (streams_.count(stream) == 0) return;  // a stream that is destroyed finishes first
  while (stream->done < position && !stream->queue.empty()) {
    const Work work = std::move(stream->queue.front());
    stream->queue.pop_front();
    if (const int code = work(); code && !sticky_) sticky_ = code;
    ++stream->done;
  }
  Release();
}

// Keeps it for later, or for the graph.
int Queue(void* stream, Work work) {
  if (sticky_) return sticky_;
  if (kNull) return 0;
  if (Graph* const graph = Of(stream).capturing) {
    graph->work.push_back(std::move(work));
  } else {
    Of(stream).queue.push_back(std::move(work));
  }
  return 0;
}

int Count(int* devices, int* driver) {
  DPM_LOCKED;
  *devices = Cards(), *driver = 13000;
  return sticky_;
}
int Device(int device, DeviceInfo* info) {
  DPM_LOCKED;
  std::memset(static_cast<void*>(info), 0, sizeof *info);
  std::strcpy(info->name, "Emulated card");
  info->major = 9;
  info->memory_bytes = kMemory;
  info->used = used_.count(device) != 0;
  if (info->used) info->free_bytes = kMemory - Used(device);
  info->clusters = true;
  info->card = kCard;
  return sticky_;
}
const char* ErrorName(int code) {
  return code == kErrorMemory          ? "cudaErrorMemoryAllocation"
         : code == kFault              ? "cudaErrorIllegalAddress"
         : code == kHandle             ? "cudaErrorInvalidResourceHandle"
         : code == kErrorNotReady      ? "cudaErrorNotReady"
         : code == kCaptureUnsupported ? "cudaErrorStreamCaptureUnsupported"
                                       : "cudaErrorInvalidValue";
}
const char* ErrorText(int code) {
  return code == kErrorMemory          ? "out of memory"
         : code == kFault              ? "an illegal memory access was encountered"
         : code == kHandle             ? "invalid resource handle"
         : code == kErrorNotReady      ? "device not ready"
         : code == kCaptureUnsupported ? "operation not permitted when stream is capturing"
                                       : "invalid argument";
}
int Alloc(int device, uint64_t bytes, void** out) {
  DPM_LOCKED;
  *out = nullptr;
  if (sticky_) return sticky_;
  if (capturing_) return kCaptureUnsupported;
  used_.insert(device);
  Release();
  if (bytes > kMemory - Used(device)) return kErrorMemory;
  if (posix_memalign(out, 256, bytes ? bytes : 1) != 0) return kErrorMemory;
  if (bytes < 1u << 20) std::memset(*out, 0xa5, bytes);
  memory_[*out] = {device, bytes};
  return 0;
}
// Nothing waits for it: the memory is given back when all that was queued before has run.
int Free(int device, void* memory) {
  DPM_LOCKED;
  const auto found = memory_.find(memory);
  if (found == memory_.end() || found->second.device != device) return kInvalid;
  Freed one{memory, found->second.bytes, {}};
  memory_.erase(found);
  for (Stream* const stream : streams_) {
    if (stream->device == device && !stream->queue.empty()) one.after.emplace_back(stream, Queued(*stream));
  }
  freed_.push_back(std::move(one));
  Release();
  return sticky_;
}
int StageTake(int device, uint64_t bytes, void** out) {
  DPM_LOCKED;
  *out = nullptr;
  if (sticky_) return sticky_;
  if (capturing_) return kCaptureUnsupported;
  used_.insert(device);
  return stages_.Take(bytes, out);
}
int StageReturn(void* memory) {
  DPM_LOCKED;
  return stages_.Return(memory);
}
int Copy(void* stream, void* to, const void* from, uint64_t bytes) {
  DPM_LOCKED;
  return Queue(stream, [=] {
    std::memcpy(to, from, bytes);
    return 0;
  });
}
int Zero(void* stream, void* to, uint64_t bytes) {
  DPM_LOCKED;
  return Queue(stream, [=] {
    std::memset(to, 0, bytes);
    return 0;
  });
}
int StreamCreate(int device, void* existing, bool wrap, void** out) {
  DPM_LOCKED;
  used_.insert(device);
  Stream* const made = new Stream;
  made->device = device;
  made->pointer = wrap ? existing : static_cast<void*>(made);
  streams_.insert(made);
  *out = made;
  return sticky_;
}
int StreamDestroy(void* stream) {
  DPM_LOCKED;
  RunUntil(&Of(stream), UINT64_MAX);
  streams_.erase(&Of(stream));
  delete &Of(stream);
  return sticky_;
}
int StreamWait(void* stream) {
  DPM_LOCKED;
  if (Of(stream).capturing) return kCaptureUnsupported;
  RunUntil(&Of(stream), UINT64_MAX);
  return sticky_;
}
// Something happens between two questions, so that whoever asks until it is done comes to an end.
int StreamQuery(void* stream) {
  DPM_LOCKED;
  if (sticky_) return sticky_;
  if (Of(stream).queue.empty()) return 0;
  RunUntil(&Of(stream), Of(stream).done + 1);
  return kErrorNotReady;
}
void* StreamPointer(void* stream) { return Of(stream).pointer; }
int EventCreate(int device, bool, void** out) {
  DPM_LOCKED;
  used_.insert(device);
  *out = new Event{device};
  return sticky_;
}
int EventDestroy(void* event) {
  DPM_LOCKED;
  const Event* const e = static_cast<Event*>(event);
  RunUntil(e->stream, e->position);
  delete e;
  return sticky_;
}
int EventRecord(void* event, void* stream) {
  DPM_LOCKED;
  Event* const e = static_cast<Event*>(event);
  if (Of(stream).capturing) return kCaptureUnsupported;
  if (e->device != Of(stream).device) return kHandle;
  const int code = Queue(stream, [e] {
    e->time = ++clock_;
    return 0;
  });
  e->stream = &Of(stream);
  e->position = Queued(Of(stream));
  return code;
}
int EventWait(void* event) {
  DPM_LOCKED;
  const Event* const e = static_cast<Event*>(event);
  RunUntil(e->stream, e->position);
  return sticky_;
}
int StreamAfter(void* stream, void* event) {
  DPM_LOCKED;
  const Event e = *static_cast<Event*>(event);
  return Queue(stream, [e] {
    RunUntil(e.stream, e.position);
    return 0;
  });
}
int EventMilliseconds(void* from, void* to, float* out) {
  DPM_LOCKED;
  const Event *const a = static_cast<Event*>(from), *const b = static_cast<Event*>(to);
  if (sticky_) return sticky_;
  if (a->time == 0 || b->time == 0) return kErrorNotReady;
  *out = static_cast<float>(b->time - a->time);
  return 0;
}

// Another order every time, and the same ones in every process.
void Skew(emulation::Launch& launch) {
  using emulation::Order;
  constexpr Order kOrders[] = {Order::descending, Order::random, Order::ascending};
  const uint64_t count = emulation::Counted().launches;
  launch.blocks = kOrders[count % 3], launch.fibers = kOrders[count / 3 % 3];
  launch.seed = count + 1;
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
  Skew(launch);
  emulation::Run(launch, [&] {
    if (plan.kernel == Kernel::step) {
      StepKernel<kType, kGeneral, kVector>::Run(a, team);
    } else if (plan.kernel == Kernel::cluster) {
      ThresholdKernel<ClusterTeam, kType, kGeneral, kVector>::Run(a, team);
    } else {
      ThresholdKernel<GridTeam, kType, kGeneral, kVector>::Run(a, team);
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
  for (const auto& [pointer, one] : memory_) emulation::KnowBuffer(pointer, one.bytes, 2, true);
  for (const Freed& one : freed_) emulation::KnowBuffer(one.memory, one.bytes, 2, true);
}

template <bool kSelects>
void LaunchWide(const StepArgs& a, const Plan& plan) {
  emulation::Launch launch;
  launch.grid_x = plan.grid_x, launch.grid_y = plan.grid_y, launch.threads = plan.threads;
  launch.shared_words = plan.shared_bytes / 4;
  Skew(launch);
  emulation::Run(launch, [&] { WideKernel<kSelects>::Run(a); });
}

int Step(void* stream, const StepArgs* args, NetType type, bool quantile, Plan* used) {
  DPM_LOCKED;
  Wish wish;
  wish.batch = args->batch, wish.n = args->n, wish.type = type, wish.quantile = quantile;
  wish.general = !IsFast(*args);
  if (kNull) {
    if (used) *used = Plan();
    return sticky_;
  }
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
  DPM_LOCKED;
  if (seed == 0xdead) sticky_ = kFault;
  return Queue(stream, [=] {
    Known();
    NoiseArgs a;
    a.seed = seed, a.to = to, a.n = n, a.step = step, a.stream = number;
    emulation::Launch launch;
    launch.grid_x = NoiseBlocks(n), launch.threads = kNoiseThreads;
    Skew(launch);
    emulation::Run(launch, [&] { NoiseKernel<T>::Run(a); });
    return 0;
  });
}
int ErrorNorm(void* stream, const ErrorArgs* args) {
  DPM_LOCKED;
  return Queue(stream, [a = *args] {
    Known();
    emulation::Launch launch;
    launch.grid_x = static_cast<uint32_t>(DivideUp(a.n, kReduceBlock)), launch.grid_y = a.batch;
    launch.threads = kReduceThreads;
    launch.shared_words = 2 * kReduceTile;
    Skew(launch);
    emulation::Run(launch, [&] { a.wide ? ErrorKernel<double>::Run(a) : ErrorKernel<float>::Run(a); });
    const uint32_t stretches = launch.grid_x;
    launch.grid_x = launch.grid_y = 1, launch.shared_words = 0;
    Known();
    emulation::Run(launch, [&] { ErrorEnd::Run(a, stretches); });
    return 0;
  });
}
template <bool kSecond>
void Pairs(const emulation::Launch& launch, const GuideArgs& a) {
  emulation::Run(launch, [&] {
    switch (a.type) {
      case NetType::f16:
        return PairKernel<NetType::f16, kSecond>::Run(a);
      case NetType::bf16:
        return PairKernel<NetType::bf16, kSecond>::Run(a);
      case NetType::f64:
        return PairKernel<NetType::f64, kSecond>::Run(a);
      default:
        return PairKernel<NetType::f32, kSecond>::Run(a);
    }
  });
}
int Guide(void* stream, const GuideArgs* args) {
  DPM_LOCKED;
  return Queue(stream, [a = *args] {
    const uint32_t stretches = static_cast<uint32_t>(DivideUp(a.n, kReduceBlock));
    for (const bool second : {false, true}) {
      if (second && !a.rescales) break;
      emulation::Launch launch;
      launch.threads = kReduceThreads;
      if (second || a.looks) {
        Known();
        launch.grid_x = stretches, launch.grid_y = a.batch;
        launch.shared_words = kPairShared / 4;
        Skew(launch);
        second ? Pairs<true>(launch, a) : Pairs<false>(launch, a);
      }
      Known();
      launch.grid_x = launch.grid_y = 1, launch.shared_words = 0;
      Skew(launch);
      emulation::Run(launch, [&] { second ? GuideEnd<true>::Run(a, stretches) : GuideEnd<false>::Run(a, stretches); });
    }
    return 0;
  });
}
int Nothing(void* stream) {
  DPM_LOCKED;
  return Queue(stream, [] { return 0; });
}
int CaptureBegin(void* stream) {
  DPM_LOCKED;
  if (sticky_) return sticky_;
  if (Of(stream).capturing) return kCaptureUnsupported;
  Of(stream).capturing = new Graph;
  ++capturing_;
  return 0;
}
int CaptureEnd(void* stream, void** graph) {
  DPM_LOCKED;
  *graph = Of(stream).capturing;
  if (!*graph) return kCaptureUnsupported;
  Of(stream).capturing = nullptr;
  --capturing_;
  return sticky_;
}
int GraphLaunch(void* graph, void* stream) {
  DPM_LOCKED;
  Graph* const g = static_cast<Graph*>(graph);
  if (Of(stream).capturing) return kCaptureUnsupported;
  const int code = Queue(stream, [g, before = g->stream, position = g->position] {
    // Launches of one graph follow each other, whatever their streams.
    RunUntil(before, position);
    for (const Work& work : g->work) {
      if (const int code = work()) return code;
    }
    return 0;
  });
  g->stream = &Of(stream), g->position = Queued(Of(stream));
  return code;
}
int GraphDestroy(void* graph) {
  DPM_LOCKED;
  const Graph* const g = static_cast<Graph*>(graph);
  RunUntil(g->stream, g->position);
  delete g;
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
    StreamWait,
    StreamQuery,
    StreamPointer,
    EventCreate,
    EventDestroy,
    EventRecord,
    EventWait,
    StreamAfter,
    EventMilliseconds,
    Step,
    Noise<float>,
    Noise<double>,
    ErrorNorm,
    Nothing,
    CaptureBegin,
    CaptureEnd,
    GraphLaunch,
    GraphDestroy,
    Guide,
};

}  // namespace
}  // namespace dpm::cuda

extern "C" __attribute__((visibility("default"))) const dpm::cuda::Api* dpmSolverCuda() { return &dpm::cuda::kApi; }
