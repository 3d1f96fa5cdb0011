// ortCancel(network, id): ends a run that waits or is under way, or (id 1) the opening of the network; its promise is
// rejected with an error whose `cancelled` is true. An id that is done is no error.
#include "bridge.h"

namespace dpm::addon {

napi_value AddonOrtCancel(napi_env env, napi_callback_info info) {
  napi_value argv[2];
  size_t argc = 2;
  napi_get_cb_info(env, info, &argc, argv, nullptr, nullptr);
  const std::shared_ptr<Bridge> bridge = UnwrapNetwork(env, argv[0]);
  int64_t id = 0;
  if (bridge && ReadInteger(env, argv[1], "id", 1, 4294967295.0, &id)) bridge->Cancel(env, static_cast<uint32_t>(id));
  return nullptr;
}

}  // namespace dpm::addon
