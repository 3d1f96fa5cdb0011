// One pool of threads for the process: made on first use, never destroyed (worker threads of Node load the addon too,
// and leave at any time).
#pragma once

#include <cstddef>

namespace dpm {

// Processors that this process may use, at least 1.
int HardwareThreads();

// Calls body(context, i) once for every i in [0, count), on this thread and on up to threads - 1 others. The caller
// works too and waits only for tasks that another thread has begun, never for a sleeping one. Bodies must not throw.
void Parallel(int threads, size_t count, void (*body)(void* context, size_t i), void* context);

template <class F>
void ParallelFor(int threads, size_t count, const F& f) {
  Parallel(
      threads, count, [](void* context, size_t i) { (*static_cast<const F*>(context))(i); },
      const_cast<void*>(static_cast<const void*>(&f)));
}

}  // namespace dpm
