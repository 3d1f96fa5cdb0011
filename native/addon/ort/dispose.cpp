// ortDispose(value): frees what a run has left on a device, once no run reads it any more. A second time does nothing.
#include "handles.h"

namespace dpm::addon {

napi_value AddonOrtDispose(napi_env env, napi_callback_info info) {
  napi_value value = nullptr;
  size_t argc = 1;
  napi_get_cb_info(env, info, &argc, &value, nullptr, nullptr);
  DisposeValue(env, value);
  return nullptr;
}

}  // namespace dpm::addon
