#include "collector.h"

namespace dpm::addon {

// (device, bytes, told): bigint. told: 1 if the garbage collector is to know of it.
napi_value AddonCudaAlloc(napi_env env, napi_callback_info info) {
  CudaCall a(env, info);
  const int64_t device = a.Integer("device", 0, 1023), bytes = a.Integer("bytes", 0, kMostBytes);
  const int64_t told = a.Integer("told", 0, 1);
  if (!a.ok()) return nullptr;
  void* memory = nullptr;
  const int code = a.api().alloc(static_cast<int>(device), static_cast<uint64_t>(bytes), &memory);
  if (code) return a.Done("Allocating " + std::to_string(bytes) + " bytes" + OnCard(device), code);
  if (told) TellCollector(env, static_cast<int>(device), bytes);
  return a.Take(memory, Kind::memory, device);
}

}  // namespace dpm::addon
