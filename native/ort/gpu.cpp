#include "gpu.h"

namespace dpm::ort {

std::mutex& GpuLock::Mutex() {
  // Never destroyed: a thread may still wait for it when the process ends.
  static std::mutex* const mutex = new std::mutex;
  return *mutex;
}

}  // namespace dpm::ort
