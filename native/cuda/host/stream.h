// Streams with what they need beside the work that is queued on them, and events.
#pragma once

#include <chrono>
#include <new>

#include "../stages.h"
#include "memory.h"

namespace dpm::cuda {

struct PageLocked {
  static int Alloc(void** out, uint64_t bytes) { return Result(cudaHostAlloc(out, bytes, cudaHostAllocPortable)); }
  static int Free(void* memory) { return Result(cudaFreeHost(memory)); }
};

// The plans of the calls that came last: a run repeats a few.
struct PlanCache {
  static constexpr int kEntries = 4;
  struct Entry {
    Wish wish;
    Plan plan;
    bool filled = false;
  } entries[kEntries];
  int next = 0;
};

struct Stream {
  int device;
  cudaStream_t stream;
  bool own;
  const Card* card;
  cudaEvent_t mark;  // for waits, and for memory that is freed
  // For teams that meet in global memory; launches on one stream follow each other, so that one is enough, as large as
  // any call may need. A graph has one of its own, as it may run beside its stream: it is made before the capture, and
  // goes over to the graph that has used it.
  uint32_t *workspace, *graph_workspace;
  bool capturing, workspace_captured;
  PlanCache plans;
};
inline Stream& Of(void* stream) { return *static_cast<Stream*>(stream); }

// A wait that lets the processor do something else, and measures nothing.
inline int MakeMark(cudaEvent_t* out) {
  return Result(cudaEventCreateWithFlags(out, cudaEventBlockingSync | cudaEventDisableTiming));
}

// ---- the teams' working space ---------------------------------------------------------------------------------------
// Zero before the first launch; every launch leaves it so.

inline int MakeWorkspace(const Stream& s, uint32_t** to) {
  const size_t bytes = MostWorkspaceWords(*s.card) * 4;
  if (*to || bytes == 0) return 0;
  void* made = nullptr;
  DPM_TRY(TakeMemory(s.device, bytes, &made));
  *to = static_cast<uint32_t*>(made);
  return 0;
}
inline int ClearWorkspace(const Stream& s, uint32_t* workspace) {
  return Result(cudaMemsetAsync(workspace, 0, MostWorkspaceWords(*s.card) * 4, s.stream));
}
inline int PrepareWorkspace(Stream& s) {
  if (s.workspace) return 0;
  uint32_t* made = nullptr;
  DPM_TRY(MakeWorkspace(s, &made));
  if (const int error = made ? ClearWorkspace(s, made) : 0; error) {
    GiveMemory(s.device, made);
    return error;
  }
  s.workspace = made;
  return 0;
}
// A graph clears its own at the beginning of every run, as there is no telling which stream it will be launched on.
inline int TakeWorkspace(Stream& s, uint32_t** out) {
  if (s.capturing) {
    if (!s.workspace_captured) DPM_TRY(ClearWorkspace(s, s.graph_workspace));
    s.workspace_captured = true;
    *out = s.graph_workspace;
    return 0;
  }
  DPM_TRY(PrepareWorkspace(s));
  *out = s.workspace;
  return 0;
}

// ---- streams --------------------------------------------------------------------------------------------------------

inline int StreamDestroy(void* stream) {
  Stream& s = Of(stream);
  const OnDevice scope(s.device);
  int error = scope.error();
  const auto keep = [&](int other) { error = error ? error : other; };
  for (uint32_t* const workspace : {s.workspace, s.graph_workspace}) {
    if (workspace) keep(GiveMemory(s.device, workspace));
  }
  {
    // What is freed from now on still comes after what was queued here.
    Memory& m = MemoryOf(s.device);
    const std::lock_guard<std::mutex> lock(m.mutex);
    for (size_t k = 0; k < m.users.size(); ++k) {
      if (m.users[k].mark != s.mark) continue;
      if (m.pool && !IsCapturing(s.stream)) keep(Follow(m, m.users[k]));
      m.users.erase(m.users.begin() + static_cast<std::ptrdiff_t>(k));
      break;
    }
  }
  if (s.mark) keep(Result(cudaEventDestroy(s.mark)));
  if (s.own) keep(Result(cudaStreamDestroy(s.stream)));
  delete &s;
  return error;
}

inline int FillStream(Stream& s, void* existing) {
  DPM_TRY(Prepare(s.device, &s.card));
  if (s.own) DPM_TRY(Result(cudaStreamCreateWithFlags(&s.stream, cudaStreamNonBlocking)));
  if (!s.own) s.stream = static_cast<cudaStream_t>(existing);
  DPM_TRY(MakeMark(&s.mark));
  Memory& m = MemoryOf(s.device);
  {
    const std::lock_guard<std::mutex> lock(m.mutex);
    DPM_TRY(MakePool(s.device, m));
    m.users.push_back({s.stream, s.mark});
  }
  // Somebody else may capture their stream at any time, and then nothing can be allocated.
  return s.own || IsCapturing(s.stream) ? 0 : PrepareWorkspace(s);
}
inline int StreamCreate(int device, void* existing, bool wrap, void** out) {
  *out = nullptr;
  const OnDevice scope(device);
  DPM_TRY(scope.error());
  Stream* const made =
      new (std::nothrow) Stream{device, nullptr, !wrap, nullptr, nullptr, nullptr, nullptr, false, false, {}};
  if (!made) return kErrorMemory;
  if (const int error = FillStream(*made, existing); error) {
    made->own = made->own && made->stream;
    StreamDestroy(made);
    return error;
  }
  *out = made;
  return 0;
}
inline int StreamWait(void* stream) {
  const Stream& s = Of(stream);
  const OnDevice scope(s.device);
  DPM_TRY(scope.error());
  if (IsCapturing(s.stream)) return cudaErrorStreamCaptureUnsupported;
  DPM_TRY(Result(cudaEventRecord(s.mark, s.stream)));
  // To be woken takes tens of microseconds: what is done sooner is not slept for.
  const auto begin = std::chrono::steady_clock::now();
  while (std::chrono::steady_clock::now() - begin < std::chrono::microseconds(50)) {
    const int error = Result(cudaEventQuery(s.mark));
    if (error != cudaErrorNotReady) return error;
  }
  return Result(cudaEventSynchronize(s.mark));
}
// Somebody else's stream may be a default stream, whose handle means another one on every card.
inline int StreamQuery(void* stream) {
  const OnDevice scope(Of(stream).device);
  DPM_TRY(scope.error());
  return Result(cudaStreamQuery(Of(stream).stream));
}
inline void* StreamPointer(void* stream) { return Of(stream).stream; }

// Never destroyed: arrays may outlive everything.
inline Stages<PageLocked>& TheStages() {
  static Stages<PageLocked>* const stages = new Stages<PageLocked>;
  return *stages;
}
inline int StageTake(int device, uint64_t bytes, void** out) {
  *out = nullptr;
  const OnDevice scope(device);
  DPM_TRY(scope.error());
  return TheStages().Take(bytes, out);
}
inline int StageReturn(void* memory) { return TheStages().Return(memory); }

inline int Copy(void* stream, void* to, const void* from, uint64_t bytes) {
  const OnDevice scope(Of(stream).device);
  DPM_TRY(scope.error());
  return Result(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDefault, Of(stream).stream));
}
inline int Zero(void* stream, void* to, uint64_t bytes) {
  const OnDevice scope(Of(stream).device);
  DPM_TRY(scope.error());
  return Result(cudaMemsetAsync(to, 0, bytes, Of(stream).stream));
}

// ---- events ---------------------------------------------------------------------------------------------------------

inline int EventCreate(int device, bool timed, void** out) {
  *out = nullptr;
  const OnDevice scope(device);
  DPM_TRY(scope.error());
  cudaEvent_t event;
  DPM_TRY(Result(
      cudaEventCreateWithFlags(&event, cudaEventBlockingSync | (timed ? cudaEventDefault : cudaEventDisableTiming))));
  *out = event;
  return 0;
}
inline int EventDestroy(void* event) { return Result(cudaEventDestroy(static_cast<cudaEvent_t>(event))); }
inline int EventRecord(void* event, void* stream) {
  const OnDevice scope(Of(stream).device);
  DPM_TRY(scope.error());
  return Result(cudaEventRecord(static_cast<cudaEvent_t>(event), Of(stream).stream));
}
inline int EventWait(void* event) { return Result(cudaEventSynchronize(static_cast<cudaEvent_t>(event))); }
inline int StreamAfter(void* stream, void* event) {
  const OnDevice scope(Of(stream).device);
  DPM_TRY(scope.error());
  return Result(cudaStreamWaitEvent(Of(stream).stream, static_cast<cudaEvent_t>(event), 0));
}
inline int EventMilliseconds(void* from, void* to, float* out) {
  return Result(cudaEventElapsedTime(out, static_cast<cudaEvent_t>(from), static_cast<cudaEvent_t>(to)));
}

}  // namespace dpm::cuda
