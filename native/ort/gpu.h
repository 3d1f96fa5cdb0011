// One at a time on WebGPU: all of onnxruntime's WebGPU sessions share one device with one queue and one set of buffers,
// none of which may be used from two threads at once.
#pragma once

#include <mutex>

#include "session.h"

namespace dpm::ort {

class GpuLock {
 public:
  explicit GpuLock(Device device) : locked_(device == Device::webgpu) {
    if (locked_) Mutex().lock();
  }
  ~GpuLock() {
    if (locked_) Mutex().unlock();
  }
  GpuLock(const GpuLock&) = delete;
  GpuLock& operator=(const GpuLock&) = delete;

 private:
  static std::mutex& Mutex();
  const bool locked_;
};

}  // namespace dpm::ort
