#include "collector.h"

namespace dpm::addon {

// (device, memory, bytes, told): as cudaAlloc was asked
napi_value AddonCudaFree(napi_env env, napi_callback_info info) {
  CudaCall a(env, info);
  const int64_t device = a.Integer("device", 0, 1023);
  void* const memory = a.Handle("memory");
  const int64_t bytes = a.Integer("bytes", 0, kMostBytes), told = a.Integer("told", 0, 1);
  if (!a.ok()) return nullptr;
  if (told) TellCollector(env, static_cast<int>(device), -bytes);
  a.GiveBack(memory);
  return a.Done("Freeing " + std::to_string(bytes) + " bytes" + OnCard(device),
                a.api().free(static_cast<int>(device), memory));
}

}  // namespace dpm::addon
