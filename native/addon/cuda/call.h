// A call of one of lib/cuda's functions: its arguments, read one after the other, and what it answers. Pointers are
// bigints, a stream is the bigint that cudaStreamCreate returned. Failures of CUDA throw an Error that names call and
// size, with CUDA's name of the error as `code`.
#pragma once

#include <unordered_map>

#include "../arguments.h"
#include "library.h"

namespace dpm::addon {

constexpr double kMostBytes = 9007199254740991.0;

class Waiter;

// What JavaScript of one environment has taken and not given back. A worker that ends collects no garbage: this is then
// freed. Used on the environment's thread alone.
enum class Kind { graph, memory, event, stream };  // in the order in which they are freed
struct Taken {
  struct One {
    Kind kind;
    int device;
  };
  std::unordered_map<void*, One> all;
  std::unordered_map<void*, Waiter*> waiters;  // of streams that something has been waited for on (waiter.h)
};

size_t ElementBytes(napi_typedarray_type type);

napi_value CudaError(napi_env env, const std::string& what, int code);
napi_value BigInt(napi_env env, const void* pointer);
inline std::string OnCard(int64_t device) { return " on card " + std::to_string(device); }

// After the first wrong argument an exception is pending and all else is zero.
class CudaCall {
 public:
  CudaCall(napi_env env, napi_callback_info info);
  const cuda::Api& api() const { return *api_; }
  Taken& taken() const { return *taken_; }
  bool ok() const { return ok_; }

  napi_value Value() { return values_[next_++]; }
  void* Pointer(const char* name, bool optional = false);
  void* Handle(const char* name);
  int64_t Integer(const char* name, double low, double high);
  // Any typed array: its bytes. Absent where null is allowed and given.
  View Bytes(const char* name, bool optional = false);

  // A handle that is freed with the environment unless it is given back before.
  napi_value Take(void* handle, Kind kind, int64_t device);
  void GiveBack(void* handle) { taken_->all.erase(handle); }
  // undefined, or the exception for a call that failed.
  napi_value Done(const std::string& what, int code);
  napi_value Done(const char* what, int code) { return code ? Done(std::string(what), code) : nullptr; }

 private:
  static constexpr size_t kMost = 12;
  napi_env env_;
  napi_value values_[kMost] = {};
  size_t next_ = 0;
  const cuda::Api* api_ = nullptr;
  Taken* taken_ = nullptr;
  bool ok_ = true;
};

// One handle, one call without a result. kLast: there is no handle afterwards.
template <int (*cuda::Api::*kFunction)(void*), bool kLast = false>
napi_value HandleCall(napi_env env, napi_callback_info info, const char* name, const char* what) {
  CudaCall a(env, info);
  void* const handle = a.Handle(name);
  if (!a.ok()) return nullptr;
  if (kLast) a.GiveBack(handle);
  return a.Done(what, (a.api().*kFunction)(handle));
}

}  // namespace dpm::addon
