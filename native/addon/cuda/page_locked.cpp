#include <map>
#include <mutex>

#include "transfers.h"

namespace dpm::addon {
namespace {

// Of the whole process, as an array may be given to another thread.
struct Ranges {
  std::mutex mutex;
  std::map<uintptr_t, size_t> all;  // from where, and how long
};
// Never destroyed: arrays may outlive everything.
Ranges& TheRanges() {
  static Ranges* const ranges = new Ranges;
  return *ranges;
}

void Forget(napi_env, void* data, void*) {
  Ranges& ranges = TheRanges();
  {
    const std::lock_guard<std::mutex> lock(ranges.mutex);
    ranges.all.erase(reinterpret_cast<uintptr_t>(data));
  }
  TheLibrary().api->stage_return(data);
}

}  // namespace

bool IsPageLocked(const void* data, size_t bytes) {
  Ranges& ranges = TheRanges();
  const std::lock_guard<std::mutex> lock(ranges.mutex);
  const uintptr_t from = reinterpret_cast<uintptr_t>(data);
  auto after = ranges.all.upper_bound(from);
  if (after == ranges.all.begin()) return false;
  --after;
  return from + bytes <= after->first + after->second;
}

// (device, bytes): an ArrayBuffer that the card reads and writes by itself, or null where there can be none
napi_value AddonCudaPageLocked(napi_env env, napi_callback_info info) {
  CudaCall a(env, info);
  const int64_t device = a.Integer("device", 0, 1023), bytes = a.Integer("bytes", 1, kMostBytes);
  if (!a.ok()) return nullptr;
  napi_value result = nullptr;
  napi_get_null(env, &result);
  void* memory = nullptr;
  if (a.api().stage_take(static_cast<int>(device), static_cast<uint64_t>(bytes), &memory)) return result;
  Ranges& ranges = TheRanges();
  {
    const std::lock_guard<std::mutex> lock(ranges.mutex);
    ranges.all[reinterpret_cast<uintptr_t>(memory)] = static_cast<size_t>(bytes);
  }
  // Some who embed Node allow no memory of others.
  napi_value buffer = nullptr;
  if (napi_create_external_arraybuffer(env, memory, static_cast<size_t>(bytes), Forget, nullptr, &buffer) != napi_ok) {
    Forget(env, memory, nullptr);
    return result;
  }
  return buffer;
}

}  // namespace dpm::addon
