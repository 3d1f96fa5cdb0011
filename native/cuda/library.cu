// The shared library: cards, memory, streams, events, graphs, and the launch of a step.
#include <cuda_runtime.h>

#include <cstring>
#include <mutex>
#include <new>

#include "api.h"
#include "kernels.h"
#include "stages.h"

namespace dpm::cuda {
namespace {

// The error of a call, and none left behind for somebody else to find.
int Result(cudaError_t error) {
  if (error != cudaSuccess) cudaGetLastError();
  return error;
}

// The caller's device comes back at the end of the scope.
class OnDevice {
 public:
  explicit OnDevice(int device) {
    if (Result(cudaGetDevice(&before_))) before_ = -1;
    error_ = Result(cudaSetDevice(device));
  }
  ~OnDevice() {
    if (before_ >= 0) Result(cudaSetDevice(before_));
  }
  OnDevice(const OnDevice&) = delete;
  OnDevice& operator=(const OnDevice&) = delete;
  int error() const { return error_; }

 private:
  int before_ = -1;
  int error_ = 0;
};

#define DPM_TRY(call)                                     \
  do {                                                    \
    if (const int error_ = (call); error_) return error_; \
  } while (false)

// ---- cards ----------------------------------------------------------------------------------------------------------

constexpr int kMostDevices = 64;
constexpr Kernel kKernels[] = {Kernel::step, Kernel::cluster, Kernel::team};
constexpr Kernel kWideKernels[] = {Kernel::wide, Kernel::wide_select};
constexpr NetType kTypes[] = {NetType::f32, NetType::f16, NetType::bf16};

// Found out once a card and never changed; what fails (a card that is full, say) is tried again.
struct Prepared {
  std::mutex mutex;
  bool done = false, loaded = false;
  Card card;
};
Prepared prepared_[kMostDevices];

int Attribute(int device, cudaDeviceAttr attribute, int* value) {
  return Result(cudaDeviceGetAttribute(value, attribute, device));
}

// Do clusters of this many blocks with all the shared memory there is fit the card?
bool ClustersFit(const void* kernel, uint32_t size, uint32_t threads, uint32_t shared) {
  cudaLaunchAttribute attribute;
  attribute.id = cudaLaunchAttributeClusterDimension;
  attribute.val.clusterDim = {size, 1, 1};
  cudaLaunchConfig_t config = {};
  config.gridDim = dim3(size);
  config.blockDim = dim3(threads);
  config.dynamicSmemBytes = shared;
  config.attrs = &attribute;
  config.numAttrs = 1;
  int clusters = 0;
  return Result(cudaOccupancyMaxActiveClusters(&clusters, kernel, &config)) == 0 && clusters > 0;
}

// Kernels compiled for cards without clusters have none, even where the driver has translated them for a card that
// does.
int CompiledFor(int* architecture) {
  cudaFuncAttributes attributes;
  DPM_TRY(Result(cudaFuncGetAttributes(&attributes, KernelFor(Kernel::cluster, NetType::f32, false))));
  *architecture = attributes.ptxVersion;
  return 0;
}

int Examine(int device, Card* out) {
  int multiprocessors = 0, shared = 0, cooperative = 0, clusters = 0, architecture = 0;
  DPM_TRY(Attribute(device, cudaDevAttrMultiProcessorCount, &multiprocessors));
  DPM_TRY(Attribute(device, cudaDevAttrMaxSharedMemoryPerBlockOptin, &shared));
  DPM_TRY(Attribute(device, cudaDevAttrCooperativeLaunch, &cooperative));
  DPM_TRY(Attribute(device, cudaDevAttrClusterLaunch, &clusters));
  DPM_TRY(CompiledFor(&architecture));
  if (architecture < 90) clusters = 0;
  Card card;
  card.multiprocessors = static_cast<uint32_t>(multiprocessors);
  card.shared_bytes = static_cast<uint32_t>(shared);
  card.cooperative = cooperative != 0;
  bool sixteen = clusters != 0, eight = clusters != 0;
  for (const Kernel kernel : kKernels) {
    if (kernel == Kernel::step || (kernel == Kernel::cluster && !clusters)) continue;
    for (const NetType type : kTypes) {
      for (const bool general : {false, true}) {
        const void* const f = KernelFor(kernel, type, general);
        DPM_TRY(Result(cudaFuncSetAttribute(f, cudaFuncAttributeMaxDynamicSharedMemorySize, shared)));
        if (kernel != Kernel::cluster) continue;
        const bool allowed = Result(cudaFuncSetAttribute(f, cudaFuncAttributeNonPortableClusterSizeAllowed, 1)) == 0;
        const uint32_t threads = TeamThreads(general);
        sixteen = sixteen && allowed && ClustersFit(f, 16, threads, card.shared_bytes);
        eight = eight && ClustersFit(f, 8, threads, card.shared_bytes);
      }
    }
  }
  card.max_cluster = sixteen ? 16 : eight ? 8 : 0;
  *out = card;
  return 0;
}

int Prepare(int device, Card* out) {
  if (device < 0 || device >= kMostDevices) return kErrorArgument;
  Prepared& p = prepared_[device];
  const std::lock_guard<std::mutex> lock(p.mutex);
  if (!p.done) DPM_TRY(Examine(device, &p.card));
  p.done = true;
  *out = p.card;
  return 0;
}

// The driver loads a kernel when it is first asked for, which may wait for the card: not to happen during a capture.
int LoadKernels(int device) {
  Prepared& p = prepared_[device];
  const std::lock_guard<std::mutex> lock(p.mutex);
  if (p.loaded) return 0;
  cudaFuncAttributes attributes;
  const auto load = [&](const void* kernel) { return Result(cudaFuncGetAttributes(&attributes, kernel)); };
  for (const Kernel kernel : kKernels) {
    for (const NetType type : kTypes) {
      for (const bool general : {false, true}) DPM_TRY(load(KernelFor(kernel, type, general)));
    }
  }
  for (const Kernel kernel : kWideKernels) DPM_TRY(load(KernelFor(kernel, NetType::f64, true)));
  for (const bool wide : {false, true}) {
    DPM_TRY(load(ErrorKernelFor(wide)));
    DPM_TRY(load(NoiseKernelFor(wide)));
  }
  DPM_TRY(load(ErrorEndKernel()));
  p.loaded = true;
  return 0;
}

int Count(int* devices, int* driver) {
  *devices = 0;
  *driver = 0;
  if (Result(cudaDriverGetVersion(driver))) *driver = 0;
  return Result(cudaGetDeviceCount(devices));
}

int Device(int index, DeviceInfo* info) {
  std::memset(static_cast<void*>(info), 0, sizeof *info);
  int devices = 0, driver = 0;
  DPM_TRY(Count(&devices, &driver));
  if (index < 0 || index >= devices) return kErrorArgument;
  const OnDevice scope(index);
  DPM_TRY(scope.error());
  cudaDeviceProp properties;
  DPM_TRY(Result(cudaGetDeviceProperties(&properties, index)));
  static_assert(sizeof info->name == sizeof properties.name, "the name is copied whole");
  std::memcpy(info->name, properties.name, sizeof info->name);
  info->major = properties.major;
  info->minor = properties.minor;
  size_t free_bytes = 0, all_bytes = 0;
  DPM_TRY(Result(cudaMemGetInfo(&free_bytes, &all_bytes)));
  info->memory_bytes = all_bytes;
  info->free_bytes = free_bytes;
  return Prepare(index, &info->card);
}

const char* ErrorName(int code) {
  if (code == kErrorArgument) return "bad argument";
  return cudaGetErrorName(static_cast<cudaError_t>(code));
}
const char* ErrorText(int code) {
  if (code == kErrorArgument) return "an argument is out of range";
  return cudaGetErrorString(static_cast<cudaError_t>(code));
}

// ---- memory ---------------------------------------------------------------------------------------------------------

int Alloc(int device, uint64_t bytes, void** out) {
  *out = nullptr;
  const OnDevice scope(device);
  DPM_TRY(scope.error());
  return Result(cudaMalloc(out, bytes ? bytes : 1));
}
int Free(int device, void* memory) {
  const OnDevice scope(device);
  DPM_TRY(scope.error());
  return Result(cudaFree(memory));
}
// ---- streams --------------------------------------------------------------------------------------------------------

struct PageLocked {
  static int Alloc(void** out, uint64_t bytes) { return Result(cudaHostAlloc(out, bytes, cudaHostAllocPortable)); }
  static int Free(void* memory) { return Result(cudaFreeHost(memory)); }
};

struct Stream {
  int device;
  cudaStream_t stream;
  bool own;
  // For teams that meet in global memory; launches on one stream follow each other, so that one is enough, as large as
  // any call may need. A graph has one of its own, as it may run beside its stream: it is made before the capture, and
  // goes over to the graph that has used it.
  uint32_t *workspace, *graph_workspace;
  bool capturing, workspace_captured;
  Stages<PageLocked> stages;
};
Stream& Of(void* stream) { return *static_cast<Stream*>(stream); }

int StreamCreate(int device, void* existing, bool wrap, void** out) {
  *out = nullptr;
  const OnDevice scope(device);
  DPM_TRY(scope.error());
  cudaStream_t stream = static_cast<cudaStream_t>(existing);
  if (!wrap) DPM_TRY(Result(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking)));
  Stream* const made = new (std::nothrow) Stream{device, stream, !wrap, nullptr, nullptr, false, false, {}};
  if (!made) {
    if (!wrap) Result(cudaStreamDestroy(stream));
    return kErrorMemory;
  }
  *out = made;
  return 0;
}
int StreamDestroy(void* stream) {
  Stream& s = Of(stream);
  const OnDevice scope(s.device);
  int error = scope.error();
  const auto keep = [&](int other) { error = error ? error : other; };
  for (uint32_t* const workspace : {s.workspace, s.graph_workspace}) {
    if (workspace) keep(Result(cudaFree(workspace)));
  }
  keep(s.stages.Clear());
  if (s.own) keep(Result(cudaStreamDestroy(s.stream)));
  delete &s;
  return error;
}
// Somebody else's stream may be a default stream, whose handle means another one on every card.
int StreamWait(void* stream) {
  const OnDevice scope(Of(stream).device);
  DPM_TRY(scope.error());
  return Result(cudaStreamSynchronize(Of(stream).stream));
}
int StreamQuery(void* stream) {
  const OnDevice scope(Of(stream).device);
  DPM_TRY(scope.error());
  return Result(cudaStreamQuery(Of(stream).stream));
}
void* StreamPointer(void* stream) { return Of(stream).stream; }

int StageTake(void* stream, uint64_t bytes, void** out) {
  Stream& s = Of(stream);
  const OnDevice scope(s.device);
  DPM_TRY(scope.error());
  return s.stages.Take(bytes, out);
}
int StageReturn(void* stream, void* memory) { return Of(stream).stages.Return(memory); }

int Copy(void* stream, void* to, const void* from, uint64_t bytes) {
  const OnDevice scope(Of(stream).device);
  DPM_TRY(scope.error());
  return Result(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDefault, Of(stream).stream));
}
int Zero(void* stream, void* to, uint64_t bytes) {
  const OnDevice scope(Of(stream).device);
  DPM_TRY(scope.error());
  return Result(cudaMemsetAsync(to, 0, bytes, Of(stream).stream));
}

// ---- events ---------------------------------------------------------------------------------------------------------

int EventCreate(int device, void** out) {
  *out = nullptr;
  const OnDevice scope(device);
  DPM_TRY(scope.error());
  cudaEvent_t event;
  DPM_TRY(Result(cudaEventCreate(&event)));
  *out = event;
  return 0;
}
int EventDestroy(void* event) { return Result(cudaEventDestroy(static_cast<cudaEvent_t>(event))); }
int EventRecord(void* event, void* stream) {
  const OnDevice scope(Of(stream).device);
  DPM_TRY(scope.error());
  return Result(cudaEventRecord(static_cast<cudaEvent_t>(event), Of(stream).stream));
}
int EventWait(void* event) { return Result(cudaEventSynchronize(static_cast<cudaEvent_t>(event))); }
int StreamAfter(void* stream, void* event) {
  const OnDevice scope(Of(stream).device);
  DPM_TRY(scope.error());
  return Result(cudaStreamWaitEvent(Of(stream).stream, static_cast<cudaEvent_t>(event), 0));
}
int EventMilliseconds(void* from, void* to, float* out) {
  return Result(cudaEventElapsedTime(out, static_cast<cudaEvent_t>(from), static_cast<cudaEvent_t>(to)));
}

// ---- a step ---------------------------------------------------------------------------------------------------------

// Not cleared: that is queued, and belongs to the stream or to the graph whose workspace it is.
int MakeWorkspace(const Card& card, uint32_t** to) {
  const size_t bytes = MostWorkspaceWords(card) * 4;
  if (*to || bytes == 0) return 0;
  void* made = nullptr;
  DPM_TRY(Result(cudaMalloc(&made, bytes)));
  *to = static_cast<uint32_t*>(made);
  return 0;
}
int ClearWorkspace(const Stream& s, const Card& card, uint32_t* workspace) {
  return Result(cudaMemsetAsync(workspace, 0, MostWorkspaceWords(card) * 4, s.stream));
}

// Zero before the first launch; every launch leaves it so. A graph clears its own at the beginning of every run, as
// there is no telling which stream it will be launched on.
int TakeWorkspace(Stream& s, const Card& card, uint32_t** out) {
  if (s.capturing) {
    if (!s.workspace_captured) DPM_TRY(ClearWorkspace(s, card, s.graph_workspace));
    s.workspace_captured = true;
    *out = s.graph_workspace;
    return 0;
  }
  if (!s.workspace) {
    uint32_t* made = nullptr;
    DPM_TRY(MakeWorkspace(card, &made));
    if (const int error = ClearWorkspace(s, card, made); error) {
      Result(cudaFree(made));
      return error;
    }
    s.workspace = made;
  }
  *out = s.workspace;
  return 0;
}

int LaunchStep(void* stream, const StepArgs* args, NetType type, bool quantile, Plan* used) {
  StepArgs a = *args;
  Stream& s = Of(stream);
  if (a.batch == 0 || a.n == 0 || a.batch > 0x7fffffffu || a.n > 0xffffffffu || !a.rows) return kErrorArgument;
  Card card;
  const OnDevice scope(s.device);
  DPM_TRY(scope.error());
  DPM_TRY(Prepare(s.device, &card));
  Wish wish;
  wish.batch = a.batch;
  wish.n = a.n;
  wish.type = type;
  wish.general = !IsFast(a);
  wish.quantile = quantile;
  const Plan plan = MakePlan(card, wish);
  if (used) *used = plan;
  TeamArgs team = plan.team;
  if (plan.workspace_words) {
    if (plan.workspace_words > MostWorkspaceWords(card)) return kErrorArgument;
    DPM_TRY(TakeWorkspace(s, card, &team.workspace));
  }
  cudaLaunchAttribute attribute;
  cudaLaunchConfig_t config = {};
  config.gridDim = dim3(plan.grid_x, plan.grid_y);
  config.blockDim = dim3(plan.threads);
  config.dynamicSmemBytes = plan.shared_bytes;
  config.stream = s.stream;
  config.attrs = &attribute;
  if (plan.kernel == Kernel::cluster) {
    attribute.id = cudaLaunchAttributeClusterDimension;
    attribute.val.clusterDim = {plan.team.size, 1, 1};
    config.numAttrs = 1;
  } else if (plan.cooperative) {
    attribute.id = cudaLaunchAttributeCooperative;
    attribute.val.cooperative = 1;
    config.numAttrs = 1;
  }
  void* parameters[] = {&a, &team};
  return Result(cudaLaunchKernelExC(&config, KernelFor(plan.kernel, type, wish.general), parameters));
}

int LaunchErrorNorm(void* stream, const ErrorArgs* args) {
  ErrorArgs a = *args;
  Stream& s = Of(stream);
  if (a.batch == 0 || a.batch > 0x7fffffffu || a.n == 0 || a.n > 0xffffffffu) return kErrorArgument;
  const OnDevice scope(s.device);
  DPM_TRY(scope.error());
  uint32_t stretches = static_cast<uint32_t>(DivideUp(a.n, kReduceBlock));
  cudaLaunchConfig_t config = {};
  config.gridDim = dim3(stretches, a.batch < 65535 ? a.batch : 65535);
  config.blockDim = dim3(kReduceThreads);
  config.dynamicSmemBytes = kReduceTile * sizeof(double);
  config.stream = s.stream;
  void* parameters[] = {&a, &stretches};
  DPM_TRY(Result(cudaLaunchKernelExC(&config, ErrorKernelFor(a.wide), parameters)));
  const uint64_t blocks = DivideUp(a.batch, kReduceThreads);
  config.gridDim = dim3(static_cast<uint32_t>(blocks < 1024 ? blocks : 1024));
  config.dynamicSmemBytes = 0;
  return Result(cudaLaunchKernelExC(&config, ErrorEndKernel(), parameters));
}

template <class T>
int Noise(void* stream, uint64_t seed, uint32_t step, uint32_t number, T* to, uint64_t n) {
  if (n == 0) return 0;
  const OnDevice scope(Of(stream).device);
  DPM_TRY(scope.error());
  NoiseArgs a;
  a.seed = seed, a.to = to, a.n = n, a.step = step, a.stream = number;
  cudaLaunchConfig_t config = {};
  config.gridDim = dim3(NoiseBlocks(n));
  config.blockDim = dim3(kNoiseThreads);
  config.stream = Of(stream).stream;
  void* parameters[] = {&a};
  return Result(cudaLaunchKernelExC(&config, NoiseKernelFor(sizeof(T) == 8), parameters));
}

// ---- graphs ---------------------------------------------------------------------------------------------------------

struct Graph {
  int device;
  cudaGraphExec_t ready;
  cudaEvent_t launched;  // the last launch: it has to be over before anything of this is freed
  uint32_t* workspace;   // of its launches alone: they follow each other, but not what runs on streams meanwhile
};

int CaptureBegin(void* stream) {
  Stream& s = Of(stream);
  const OnDevice scope(s.device);
  DPM_TRY(scope.error());
  Card card;
  DPM_TRY(Prepare(s.device, &card));
  DPM_TRY(LoadKernels(s.device));
  DPM_TRY(MakeWorkspace(card, &s.graph_workspace));
  DPM_TRY(Result(cudaStreamBeginCapture(s.stream, cudaStreamCaptureModeThreadLocal)));
  s.capturing = true;
  s.workspace_captured = false;
  return 0;
}

int Instantiate(Graph& made, cudaGraph_t graph) {
  DPM_TRY(Result(cudaGraphInstantiate(&made.ready, graph, 0)));
  return Result(cudaEventCreateWithFlags(&made.launched, cudaEventDisableTiming));
}
int CaptureEnd(void* stream, void** out) {
  *out = nullptr;
  Stream& s = Of(stream);
  s.capturing = false;
  const OnDevice scope(s.device);
  DPM_TRY(scope.error());
  cudaGraph_t graph = nullptr;
  DPM_TRY(Result(cudaStreamEndCapture(s.stream, &graph)));
  Graph* const made = new (std::nothrow) Graph{s.device, nullptr, nullptr, nullptr};
  const int error = made ? Instantiate(*made, graph) : kErrorMemory;
  Result(cudaGraphDestroy(graph));
  if (error) {
    if (made && made->ready) Result(cudaGraphExecDestroy(made->ready));
    delete made;
    return error;
  }
  // The next capture makes itself another one.
  if (s.workspace_captured) {
    made->workspace = s.graph_workspace;
    s.graph_workspace = nullptr;
  }
  *out = made;
  return 0;
}
int GraphLaunch(void* graph, void* stream) {
  const Graph& g = *static_cast<Graph*>(graph);
  // Inside another graph it would live on without its workspace.
  if (Of(stream).capturing) return cudaErrorStreamCaptureUnsupported;
  const OnDevice scope(Of(stream).device);
  DPM_TRY(scope.error());
  DPM_TRY(Result(cudaGraphLaunch(g.ready, Of(stream).stream)));
  return Result(cudaEventRecord(g.launched, Of(stream).stream));
}
int GraphDestroy(void* graph) {
  Graph* const g = static_cast<Graph*>(graph);
  const OnDevice scope(g->device);
  int error = scope.error();
  const auto keep = [&](int other) { error = error ? error : other; };
  keep(Result(cudaEventSynchronize(g->launched)));
  keep(Result(cudaEventDestroy(g->launched)));
  keep(Result(cudaGraphExecDestroy(g->ready)));
  if (g->workspace) keep(Result(cudaFree(g->workspace)));
  delete g;
  return error;
}

constexpr Api kApi = {
    kApiVersion, CUDART_VERSION,    Count,         Device,       ErrorName,     ErrorText,       Alloc,
    Free,        StageTake,         StageReturn,   Copy,         Zero,          StreamCreate,    StreamDestroy,
    StreamWait,  StreamQuery,       StreamPointer, EventCreate,  EventDestroy,  EventRecord,     EventWait,
    StreamAfter, EventMilliseconds, LaunchStep,    Noise<float>, Noise<double>, LaunchErrorNorm, CaptureBegin,
    CaptureEnd,  GraphLaunch,       GraphDestroy,
};

}  // namespace
}  // namespace dpm::cuda

#if defined(_WIN32)
#define DPM_EXPORT extern "C" __declspec(dllexport)
#else
#define DPM_EXPORT extern "C" __attribute__((visibility("default")))
#endif

DPM_EXPORT const dpm::cuda::Api* dpmSolverCuda() { return &dpm::cuda::kApi; }
