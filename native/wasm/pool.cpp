// The pool of a build without threads: the caller does all of the work.
#include "cpu/pool.h"

namespace dpm {

int HardwareThreads() { return 1; }

void Parallel(int, size_t count, void (*body)(void*, size_t), void* context) {
  for (size_t i = 0; i < count; ++i) body(context, i);
}

}  // namespace dpm
