// From which sizes on work is shared out, written around the caches or guessed at.
#pragma once

#include <cstddef>

#include "pool.h"
#include "step.h"

namespace dpm {

#if defined(DPM_SMALL_SIZES)
// For fuzzing: small inputs reach every path.
constexpr size_t kTask = 256, kThreadedFrom = 1024, kStreamFrom = 2048, kStreamAfterLookFrom = 8192, kGuessFrom = 1024,
                 kSpareKeys = 64;
#else
// Elements of one task: small enough to share out, large enough for a thread to be worth waking.
constexpr size_t kTask = 65536;
// Below this many elements a sleeping thread takes longer to wake than the step takes.
constexpr size_t kThreadedFrom = 524288;
// From this many bytes an operand on, results are written around the caches. Chosen by a step that is followed by one
// read of what it wrote, as a network's input and the next step's history are: of half a megabyte, which such stores
// write faster, the write and the read together take nearly twice as long by them (npm run bench:stores).
constexpr size_t kStreamFrom = 2 << 20;
// The same where a pass that only reads comes first. Writing around the caches is then, on some processors, twice as
// slow as after other such writing, unless memory has to be waited for in any case.
constexpr size_t kStreamAfterLookFrom = 4 << 20;
// From this many elements on, guessing where the quantile lies saves more than it costs.
constexpr size_t kGuessFrom = 4096;
// Keys that a task may hold beyond twice those it needs.
constexpr size_t kSpareKeys = 4096;
#endif
constexpr size_t kMostParts = 256;

// How many threads a call on so many elements is worth.
inline int Threads(int asked, size_t elements) {
  if (asked > 0) return asked;
  return elements >= kThreadedFrom ? HardwareThreads() : 1;
}

inline size_t Bytes(Type type) { return type == Type::f16 ? 2 : type == Type::f32 ? 4 : 8; }

}  // namespace dpm
