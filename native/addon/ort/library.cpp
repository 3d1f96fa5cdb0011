// ortLibrary(paths): { library, path, version, providers }, where library is for ortOpen. Throws where onnxruntime-node
// has loaded none of these, or one that is too old.
#include "handles.h"
#include "values.h"

namespace dpm::addon {

napi_value AddonOrtLibrary(napi_env env, napi_callback_info info) {
  napi_value list = nullptr;
  size_t argc = 1;
  napi_get_cb_info(env, info, &argc, &list, nullptr, nullptr);
  std::vector<std::string> paths;
  uint32_t count = 0;
  bool fits = ReadLength(env, list, &count) && count > 0;
  for (uint32_t i = 0; fits && i < count; ++i) {
    napi_value path = nullptr;
    paths.emplace_back();
    fits = napi_get_element(env, list, i, &path) == napi_ok && ReadText(env, path, &paths.back());
  }
  if (!fits) {
    ThrowType(env, "Expected an array of paths for paths but received " + Describe(env, list));
    return nullptr;
  }
  std::string problem;
  auto handle = std::make_unique<LibraryHandle>();
  handle->library = ort::Library::Find(paths, &problem);
  if (!handle->library) {
    napi_throw_error(env, nullptr, problem.c_str());
    return nullptr;
  }
  const ort::Library& library = *handle->library;
  char** names = nullptr;
  int length = 0;
  if (!library.Problem(library.api().GetAvailableProviders(&names, &length)).empty()) length = 0;
  napi_value result = nullptr;
  napi_create_object(env, &result);
  const napi_value providers = MakeArray(env, static_cast<size_t>(length));
  for (int i = 0; i < length; ++i) SetElement(env, providers, static_cast<size_t>(i), MakeText(env, names[i]));
  if (names) library.api().ReleaseStatus(library.api().ReleaseAvailableProviders(names, length));
  SetProperty(env, result, "path", MakeText(env, library.path()));
  SetProperty(env, result, "version", MakeText(env, library.version()));
  SetProperty(env, result, "providers", providers);
  const napi_value object = WrapLibrary(env, handle.release());
  if (!object) return nullptr;
  SetProperty(env, result, "library", object);
  return result;
}

}  // namespace dpm::addon
