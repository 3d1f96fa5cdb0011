// What is queued on a stream, recorded and launched as one.
#pragma once

#include "launch.h"

namespace dpm::cuda {

struct Graph {
  int device;
  cudaGraphExec_t ready;
  cudaEvent_t launched;  // the last launch: it has to be over before anything of this is freed
  uint32_t* workspace;   // of its launches alone: they follow each other, but not what runs on streams meanwhile
};

inline void CountCapture(int device, int change) {
  Memory& m = MemoryOf(device);
  const std::lock_guard<std::mutex> lock(m.mutex);
  m.captures += change;
  FreeWaiting(m);
}

inline int CaptureBegin(void* stream) {
  Stream& s = Of(stream);
  const OnDevice scope(s.device);
  DPM_TRY(scope.error());
  if (!s.capturing) DPM_TRY(MakeWorkspace(s, &s.graph_workspace));
  DPM_TRY(Result(cudaStreamBeginCapture(s.stream, cudaStreamCaptureModeThreadLocal)));
  CountCapture(s.device, 1);
  s.capturing = true;
  s.workspace_captured = false;
  return 0;
}

inline int Instantiate(Graph& made, cudaGraph_t graph) {
  DPM_TRY(Result(cudaGraphInstantiate(&made.ready, graph, 0)));
  return MakeMark(&made.launched);
}
inline int CaptureEnd(void* stream, void** out) {
  *out = nullptr;
  Stream& s = Of(stream);
  const OnDevice scope(s.device);
  DPM_TRY(scope.error());
  cudaGraph_t graph = nullptr;
  const int ended = Result(cudaStreamEndCapture(s.stream, &graph));
  if (s.capturing) CountCapture(s.device, -1);
  s.capturing = false;
  DPM_TRY(ended);
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
inline int GraphLaunch(void* graph, void* stream) {
  const Graph& g = *static_cast<Graph*>(graph);
  // Inside another graph it would live on without its workspace.
  if (Of(stream).capturing) return cudaErrorStreamCaptureUnsupported;
  const OnDevice scope(Of(stream).device);
  DPM_TRY(scope.error());
  DPM_TRY(Result(cudaGraphLaunch(g.ready, Of(stream).stream)));
  return Result(cudaEventRecord(g.launched, Of(stream).stream));
}
inline int GraphDestroy(void* graph) {
  Graph* const g = static_cast<Graph*>(graph);
  const OnDevice scope(g->device);
  int error = scope.error();
  const auto keep = [&](int other) { error = error ? error : other; };
  keep(Result(cudaEventSynchronize(g->launched)));
  keep(Result(cudaEventDestroy(g->launched)));
  keep(Result(cudaGraphExecDestroy(g->ready)));
  if (g->workspace) keep(GiveMemory(g->device, g->workspace));
  delete g;
  return error;
}

}  // namespace dpm::cuda
