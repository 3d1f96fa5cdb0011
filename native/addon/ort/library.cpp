// ortLibrary(paths, level): { library, path, version, providers }, where library is for ortOpen. Throws where
// onnxruntime-node has loaded none of these, or one that is too old. `level` is the least of onnxruntime's levels of
// severity, 0 to 4, that is written to the terminal; 2, warnings, where absent.
#include "handles.h"
#include "values.h"

namespace dpm::addon {

napi_value AddonOrtLibrary(napi_env env, napi_callback_info info) {
  napi_value args[2] = {};
  size_t argc = 2;
  napi_get_cb_info(env, info, &argc, args, nullptr, nullptr);
  const napi_value list = args[0];
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
  napi_valuetype type = napi_undefined;
  napi_typeof(env, args[1], &type);
  double level = 2;
  if (type != napi_undefined && (napi_get_value_double(env, args[1], &level) != napi_ok ||
                                 !(level == 0 || level == 1 || level == 2 || level == 3 || level == 4))) {
    ThrowType(env, "Expected 0, 1, 2, 3 or 4 for level but received " + Describe(env, args[1]));
    return nullptr;
  }
  std::string problem;
  auto handle = std::make_unique<LibraryHandle>();
  handle->library = ort::Library::Find(paths, static_cast<OrtLoggingLevel>(static_cast<int>(level)), &problem);
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
