// The interface of the shared library dpm-solver-cuda: one exported function that returns a table of functions. The
// addon opens the library on first use; a machine without a card, or without the library, loses nothing else.
//
// Every function returns 0 or the number of a CUDA error, or one of the codes below. Each works on its card and leaves
// the caller's selection as it was; `count` and `device` leave the cards alone. Pointers into a card's memory are
// void*; a stream is what stream_create made.
#pragma once

#include <cstddef>
#include <cstdint>

#include "args.h"
#include "guide_args.h"
#include "plan.h"

namespace dpm::cuda {

constexpr int kApiVersion = 4;
constexpr const char* kApiSymbol = "dpmSolverCuda";

// CUDA's own numbers.
constexpr int kErrorMemory = 2, kErrorDriver = 35, kErrorNoDevice = 100, kErrorNotReady = 600;
// Ours: far from CUDA's.
constexpr int kErrorArgument = 100001;

struct DeviceInfo {
  char name[256];
  int major, minor;
  uint64_t memory_bytes;
  bool used;            // does the process have a context there? Otherwise free_bytes is not known.
  uint64_t free_bytes;  // what can be had, with what has been freed and is kept for the next one
  bool clusters;
  Card card;  // but for what is only found out when the card is first used
};

struct Api {
  int version;
  int runtime;  // CUDA's version that the library was built with, 1000 major + 10 minor

  // How many cards there are, and the CUDA version that the driver supports (0 where there is no driver).
  int (*count)(int* devices, int* driver);
  int (*device)(int index, DeviceInfo* info);
  const char* (*error_name)(int code);
  const char* (*error_text)(int code);

  // What is freed may still be used by what has been queued: it is given to nobody else before that is done.
  int (*alloc)(int device, uint64_t bytes, void** out);
  int (*free)(int device, void* memory);
  // Page-locked memory of the host, for copies that run beside it with any card; some is kept for the next one.
  int (*stage_take)(int device, uint64_t bytes, void** out);
  int (*stage_return)(void* memory);
  // Queued on the stream; either side may be of the host (page-locked, or the call waits) or of the card.
  int (*copy)(void* stream, void* to, const void* from, uint64_t bytes);
  int (*zero)(void* stream, void* to, uint64_t bytes);

  // `existing` is a cudaStream_t of somebody else, or null for a new stream.
  int (*stream_create)(int device, void* existing, bool wrap, void** out);
  int (*stream_destroy)(void* stream);
  int (*stream_wait)(void* stream);   // blocks until all that was queued is done
  int (*stream_query)(void* stream);  // 0 done, kErrorNotReady
  void* (*stream_pointer)(void* stream);

  int (*event_create)(int device, bool timed, void** out);
  int (*event_destroy)(void* event);
  int (*event_record)(void* event, void* stream);
  int (*event_wait)(void* event);
  int (*stream_after)(void* stream, void* event);  // what is queued from now on waits for the event
  int (*event_milliseconds)(void* from, void* to, float* out);

  // Queues one step. `quantile`: rows may ask for one. The plan that was used, if `plan` is not null.
  int (*step)(void* stream, const StepArgs* args, NetType type, bool quantile, Plan* plan);
  // Queues noise: elements of one sample as native/noise/philox.h defines them.
  int (*noise)(void* stream, uint64_t seed, uint32_t step, uint32_t number, float* to, uint64_t n);

  // Queues noise in double precision: the same words, see philox.h.
  int (*noise_wide)(void* stream, uint64_t seed, uint32_t step, uint32_t number, double* to, uint64_t n);
  // Queues the error of an adaptive step.
  int (*error_norm)(void* stream, const ErrorArgs* args);
  // Queues a kernel that does nothing: what a launch takes.
  int (*nothing)(void* stream);

  // What is queued between begin and end becomes a graph that is launched as one. It owns what its kernels need besides
  // their operands, so that it outlives the stream; launches of one graph follow each other.
  int (*capture_begin)(void* stream);
  int (*capture_end)(void* stream, void** graph);
  int (*graph_launch)(void* graph, void* stream);
  int (*graph_destroy)(void* graph);

  // Queues what weighs the two answers of each sample: entries of its row, for the step that is queued next.
  int (*guide)(void* stream, const GuideArgs* args);
};

using ApiFunction = const Api* (*)();

}  // namespace dpm::cuda
