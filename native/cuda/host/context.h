// Cards without contexts where none is needed, and calls that leave the caller's context as it was.
//
// A context takes hundreds of megabytes of a card and a tenth of a second, and selecting a card by cudaSetDevice makes
// one, be it only to give back the card that was selected before. So the contexts are pushed and popped, that of a card
// is made when something is first done there, and what a host has in cards is found out without any.
#pragma once

#include <cuda.h>
#include <cuda_runtime.h>

#include <atomic>
#include <mutex>

#include "../api.h"

namespace dpm::cuda {

#define DPM_TRY(call)                                     \
  do {                                                    \
    if (const int error_ = (call); error_) return error_; \
  } while (false)

// The error of a call, and none left behind for somebody else to find.
inline int Result(cudaError_t error) {
  if (error != cudaSuccess) cudaGetLastError();
  return error;
}
// The driver's errors have the numbers of the runtime's.
inline int Result(CUresult error) { return static_cast<int>(error); }

// Functions of the driver, which the library is not linked with: it loads on machines that have none.
struct Driver {
  decltype(&cuDevicePrimaryCtxRetain) retain = nullptr;
  decltype(&cuDevicePrimaryCtxGetState) state = nullptr;
  decltype(&cuCtxGetCurrent) current = nullptr;
  decltype(&cuCtxPushCurrent) push = nullptr;
  decltype(&cuCtxPopCurrent) pop = nullptr;
  int error = 0;
};
template <class F>
int FindInDriver(const char* name, F* to) {
  void* found = nullptr;
  cudaDriverEntryPointQueryResult status;
  DPM_TRY(Result(cudaGetDriverEntryPointByVersion(name, &found, 12000, cudaEnableDefault, &status)));
  if (status != cudaDriverEntryPointSuccess) return cudaErrorInsufficientDriver;
  *to = reinterpret_cast<F>(found);
  return 0;
}
inline int FindDriver(Driver& d) {
  DPM_TRY(FindInDriver("cuDevicePrimaryCtxRetain", &d.retain));
  DPM_TRY(FindInDriver("cuDevicePrimaryCtxGetState", &d.state));
  DPM_TRY(FindInDriver("cuCtxGetCurrent", &d.current));
  DPM_TRY(FindInDriver("cuCtxPushCurrent", &d.push));
  return FindInDriver("cuCtxPopCurrent", &d.pop);
}
inline const Driver& TheDriver() {
  static const Driver driver = [] {
    Driver d;
    d.error = FindDriver(d);
    return d;
  }();
  return driver;
}

constexpr int kMostDevices = 64;

// The context of a card that others in the process use as well (the primary one), kept once it has been asked for.
inline int ContextOf(int device, CUcontext* out) {
  static std::atomic<CUcontext> contexts[kMostDevices];
  static std::mutex mutex;
  if (device < 0 || device >= kMostDevices) return kErrorArgument;
  *out = contexts[device].load(std::memory_order_acquire);
  if (*out) return 0;
  const Driver& driver = TheDriver();
  DPM_TRY(driver.error);
  const std::lock_guard<std::mutex> lock(mutex);
  DPM_TRY(Result(driver.retain(out, device)));
  contexts[device].store(*out, std::memory_order_release);
  return 0;
}

// Is there one, be it of somebody else in the process?
inline bool HasContext(int device) {
  const Driver& driver = TheDriver();
  unsigned int flags = 0;
  int active = 0;
  return driver.error == 0 && driver.state(device, &flags, &active) == CUDA_SUCCESS && active != 0;
}

// On this card until the end of the scope.
class OnDevice {
 public:
  explicit OnDevice(int device) {
    CUcontext wanted = nullptr, current = nullptr;
    error_ = ContextOf(device, &wanted);
    if (error_) return;
    const Driver& driver = TheDriver();
    if (driver.current(&current) == CUDA_SUCCESS && current == wanted) return;
    error_ = Result(driver.push(wanted));
    pushed_ = error_ == 0;
  }
  ~OnDevice() {
    CUcontext ours = nullptr;
    if (pushed_) TheDriver().pop(&ours);
  }
  OnDevice(const OnDevice&) = delete;
  OnDevice& operator=(const OnDevice&) = delete;
  int error() const { return error_; }

 private:
  bool pushed_ = false;
  int error_ = 0;
};

}  // namespace dpm::cuda
