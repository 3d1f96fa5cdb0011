// The shared library: cards, memory, streams, events, graphs, and the launch of a step.
#include <cuda_runtime.h>

#include <atomic>
#include <cstring>
#include <mutex>
#include <new>

#include "../noise/philox.h"
#include "api.h"
#include "kernels.h"

namespace dpm::cuda {
namespace {

// The caller's device comes back at the end of the scope.
class OnDevice {
 public:
  explicit OnDevice(int device) {
    if (cudaGetDevice(&before_) != cudaSuccess) before_ = -1;
    error_ = cudaSetDevice(device);
  }
  ~OnDevice() {
    if (before_ >= 0) cudaSetDevice(before_);
  }
  OnDevice(const OnDevice&) = delete;
  OnDevice& operator=(const OnDevice&) = delete;
  int error() const { return error_; }

 private:
  int before_ = -1;
  int error_ = 0;
};

// The error of a call, and none left behind for somebody else to find.
int Result(cudaError_t error) {
  if (error != cudaSuccess) cudaGetLastError();
  return error;
}

#define DPM_TRY(call)                                     \
  do {                                                    \
    if (const int error_ = (call); error_) return error_; \
  } while (false)

// ---- cards ----------------------------------------------------------------------------------------------------------

constexpr int kMostDevices = 64;
constexpr Kernel kKernels[] = {Kernel::step, Kernel::cluster, Kernel::team};
constexpr NetType kTypes[] = {NetType::f32, NetType::f16, NetType::bf16};

// Found out once a card and never changed.
struct Prepared {
  std::once_flag once;
  int error = 0;
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

int Prepare(int device, Card* out) {
  if (device < 0 || device >= kMostDevices) return kErrorArgument;
  Prepared& p = prepared_[device];
  std::call_once(p.once, [&] {
    p.error = [&]() -> int {
      int multiprocessors = 0, shared = 0, cooperative = 0, clusters = 0;
      DPM_TRY(Attribute(device, cudaDevAttrMultiProcessorCount, &multiprocessors));
      DPM_TRY(Attribute(device, cudaDevAttrMaxSharedMemoryPerBlockOptin, &shared));
      DPM_TRY(Attribute(device, cudaDevAttrCooperativeLaunch, &cooperative));
      DPM_TRY(Attribute(device, cudaDevAttrClusterLaunch, &clusters));
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
            const bool allowed =
                Result(cudaFuncSetAttribute(f, cudaFuncAttributeNonPortableClusterSizeAllowed, 1)) == 0;
            const uint32_t threads = TeamThreads(general);
            sixteen = sixteen && allowed && ClustersFit(f, 16, threads, card.shared_bytes);
            eight = eight && ClustersFit(f, 8, threads, card.shared_bytes);
          }
        }
      }
      card.max_cluster = sixteen ? 16 : eight ? 8 : 0;
      p.card = card;
      return 0;
    }();
  });
  *out = p.card;
  return p.error;
}

int Count(int* devices, int* driver) {
  *devices = 0;
  *driver = 0;
  cudaDriverGetVersion(driver);
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

struct Stream {
  int device;
  cudaStream_t stream;
  bool own;
  // For teams that meet in global memory; launches on one stream follow each other, so that one is enough. As large as
  // any call may need: it never moves, and what a graph has captured it keeps (see CaptureEnd).
  uint32_t* workspace;
  bool capturing, workspace_captured;
  // Page-locked memory for copies, kept for the next one: making and freeing it takes longer than most copies. A run
  // begins with five of them, and ends with two.
  struct Stage {
    void* data;
    uint64_t bytes;
    bool busy;
  } stages[8];
};
Stream& Of(void* stream) { return *static_cast<Stream*>(stream); }

int StreamCreate(int device, void* existing, bool wrap, void** out) {
  *out = nullptr;
  const OnDevice scope(device);
  DPM_TRY(scope.error());
  cudaStream_t stream = static_cast<cudaStream_t>(existing);
  if (!wrap) DPM_TRY(Result(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking)));
  Stream* const made = new (std::nothrow) Stream{device, stream, !wrap, nullptr, false, false, {}};
  if (!made) {
    if (!wrap) cudaStreamDestroy(stream);
    return kErrorMemory;
  }
  *out = made;
  return 0;
}
int StreamDestroy(void* stream) {
  Stream& s = Of(stream);
  const OnDevice scope(s.device);
  int error = scope.error();
  if (!error && s.workspace) error = Result(cudaFree(s.workspace));
  for (Stream::Stage& stage : s.stages) {
    if (stage.data) cudaFreeHost(stage.data);
  }
  if (s.own) {
    const int second = Result(cudaStreamDestroy(s.stream));
    error = error ? error : second;
  }
  delete &s;
  return error;
}
int StreamWait(void* stream) { return Result(cudaStreamSynchronize(Of(stream).stream)); }
int StreamQuery(void* stream) { return Result(cudaStreamQuery(Of(stream).stream)); }
void* StreamPointer(void* stream) { return Of(stream).stream; }

int StageTake(void* stream, uint64_t bytes, void** out) {
  *out = nullptr;
  Stream& s = Of(stream);
  const OnDevice scope(s.device);
  DPM_TRY(scope.error());
  // The smallest that is large enough; otherwise one that has none yet, or the first, grows.
  Stream::Stage* best = nullptr;
  for (Stream::Stage& stage : s.stages) {
    if (stage.busy) continue;
    const bool fits = stage.bytes >= bytes;
    if (!best || (fits != (best->bytes >= bytes) ? fits : fits ? stage.bytes < best->bytes : stage.bytes == 0)) {
      best = &stage;
    }
  }
  if (!best) return Result(cudaHostAlloc(out, bytes ? bytes : 1, cudaHostAllocPortable));
  if (best->bytes < bytes || !best->data) {
    if (best->data) cudaFreeHost(best->data);
    *best = {};
    // So that it does not grow a little each time; what is large is as large as it has to be.
    uint64_t rounded = 4096;
    while (rounded < bytes && rounded < uint64_t{1} << 26) rounded *= 2;
    if (rounded < bytes) rounded = bytes;
    DPM_TRY(Result(cudaHostAlloc(&best->data, rounded, cudaHostAllocPortable)));
    best->bytes = rounded;
  }
  best->busy = true;
  *out = best->data;
  return 0;
}
int StageReturn(void* stream, void* memory) {
  for (Stream::Stage& stage : Of(stream).stages) {
    if (stage.data != memory) continue;
    stage.busy = false;
    return 0;
  }
  return Result(cudaFreeHost(memory));
}

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
  return Result(cudaEventRecord(static_cast<cudaEvent_t>(event), Of(stream).stream));
}
int EventWait(void* event) { return Result(cudaEventSynchronize(static_cast<cudaEvent_t>(event))); }
int StreamAfter(void* stream, void* event) {
  return Result(cudaStreamWaitEvent(Of(stream).stream, static_cast<cudaEvent_t>(event), 0));
}
int EventMilliseconds(void* from, void* to, float* out) {
  return Result(cudaEventElapsedTime(out, static_cast<cudaEvent_t>(from), static_cast<cudaEvent_t>(to)));
}

// ---- a step ---------------------------------------------------------------------------------------------------------

// Zero to begin with; every launch leaves it so. Not during a capture, which allows no allocation: CaptureBegin does
// it.
int EnsureWorkspace(Stream& s, const Card& card) {
  const size_t words = MostWorkspaceWords(card);
  if (s.workspace || words == 0) return 0;
  void* made = nullptr;
  DPM_TRY(Result(cudaMalloc(&made, words * 4)));
  if (const int error = Result(cudaMemsetAsync(made, 0, words * 4, s.stream)); error) {
    cudaFree(made);
    return error;
  }
  s.workspace = static_cast<uint32_t*>(made);
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
    if (!s.capturing) DPM_TRY(EnsureWorkspace(s, card));
    team.workspace = s.workspace;
    s.workspace_captured = s.workspace_captured || s.capturing;
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
__global__ void __launch_bounds__(256) Randn(uint64_t seed, uint32_t step, uint32_t number, T* to, uint64_t n) {
  const uint64_t stride = static_cast<uint64_t>(gridDim.x) * blockDim.x;
  for (uint64_t block = static_cast<uint64_t>(blockIdx.x) * blockDim.x + threadIdx.x; 4 * block < n; block += stride) {
    T four[4];
    noise::PhiloxNormal4(seed, block, step, number, four);
#pragma unroll
    for (int k = 0; k < 4; ++k) {
      if (4 * block + k < n) to[4 * block + k] = four[k];
    }
  }
}

template <class T>
int Noise(void* stream, uint64_t seed, uint32_t step, uint32_t number, T* to, uint64_t n) {
  if (n == 0) return 0;
  const OnDevice scope(Of(stream).device);
  DPM_TRY(scope.error());
  const uint64_t blocks = DivideUp(DivideUp(n, 4), 256);
  Randn<<<static_cast<uint32_t>(blocks < 65535 ? blocks : 65535), 256, 0, Of(stream).stream>>>(seed, step, number, to,
                                                                                               n);
  return Result(cudaGetLastError());
}

// ---- graphs ---------------------------------------------------------------------------------------------------------

struct Graph {
  int device;
  cudaGraphExec_t ready;
  uint32_t* workspace;  // of its launches alone: they follow each other, but not what runs on streams meanwhile
};

int CaptureBegin(void* stream) {
  Stream& s = Of(stream);
  const OnDevice scope(s.device);
  DPM_TRY(scope.error());
  Card card;
  DPM_TRY(Prepare(s.device, &card));
  DPM_TRY(EnsureWorkspace(s, card));
  DPM_TRY(Result(cudaStreamBeginCapture(s.stream, cudaStreamCaptureModeThreadLocal)));
  s.capturing = true;
  s.workspace_captured = false;
  return 0;
}
int CaptureEnd(void* stream, void** out) {
  *out = nullptr;
  Stream& s = Of(stream);
  s.capturing = false;
  const OnDevice scope(s.device);
  DPM_TRY(scope.error());
  cudaGraph_t graph = nullptr;
  DPM_TRY(Result(cudaStreamEndCapture(s.stream, &graph)));
  Graph* const made = new (std::nothrow) Graph{s.device, nullptr, nullptr};
  int error = made ? Result(cudaGraphInstantiate(&made->ready, graph, 0)) : kErrorMemory;
  cudaGraphDestroy(graph);
  if (error) {
    delete made;
    return error;
  }
  // The stream makes itself another one when it needs it.
  if (s.workspace_captured) {
    made->workspace = s.workspace;
    s.workspace = nullptr;
  }
  *out = made;
  return 0;
}
int GraphLaunch(void* graph, void* stream) {
  const OnDevice scope(Of(stream).device);
  DPM_TRY(scope.error());
  return Result(cudaGraphLaunch(static_cast<Graph*>(graph)->ready, Of(stream).stream));
}
int GraphDestroy(void* graph) {
  Graph* const g = static_cast<Graph*>(graph);
  const OnDevice scope(g->device);
  int error = scope.error();
  if (!error) error = Result(cudaGraphExecDestroy(g->ready));
  // Waits for launches that still run.
  if (g->workspace) {
    const int second = Result(cudaFree(g->workspace));
    error = error ? error : second;
  }
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
