// ortClose(network): a promise for the end of all runs before it and of the session.
#include "bridge.h"

namespace dpm::addon {

napi_value AddonOrtClose(napi_env env, napi_callback_info info) {
  napi_value network = nullptr;
  size_t argc = 1;
  napi_get_cb_info(env, info, &argc, &network, nullptr, nullptr);
  const std::shared_ptr<Bridge> bridge = UnwrapNetwork(env, network);
  if (!bridge) return nullptr;
  if (bridge->closed()) {
    napi_throw_error(env, nullptr, "Expected an open network but received one that has been closed");
    return nullptr;
  }
  return bridge->Close(env, network);
}

}  // namespace dpm::addon
