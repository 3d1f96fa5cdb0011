// ortShutdown(library): gives up all runs of all networks that were opened with it and waits for their threads, which
// takes milliseconds. For the end of the process: onnxruntime must not be at work while the process takes itself apart.
#include "bridge.h"

namespace dpm::addon {

napi_value AddonOrtShutdown(napi_env env, napi_callback_info info) {
  napi_value library = nullptr;
  size_t argc = 1;
  napi_get_cb_info(env, info, &argc, &library, nullptr, nullptr);
  const LibraryHandle* const handle = UnwrapLibrary(env, library);
  if (!handle) return nullptr;
  const std::vector<Bridge*> all = *handle->open;
  for (Bridge* const bridge : all) bridge->Stop();
  return nullptr;
}

}  // namespace dpm::addon
