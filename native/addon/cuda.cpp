// cudaInfo, cudaPlan, and device memory, streams, events, graphs and steps for lib/cuda: everything through the table
// of native/cuda/api.h, from a shared library that lies beside the addon and is opened on first use.
#include "../cuda/api.h"

#if defined(_WIN32)
#include <windows.h>
#else
#include <dlfcn.h>
#endif

#include <cstdlib>

#include "arguments.h"

namespace dpm::addon {
namespace {

using cuda::Api;

// ---- the library ----------------------------------------------------------------------------------------------------

#if defined(_WIN32)
constexpr const char* kLibraryName = "dpm-solver-cuda.dll";
#else
constexpr const char* kLibraryName = "dpm-solver-cuda.so";
#endif

struct Library {
  const Api* api = nullptr;
  std::string path;
  std::string reason;  // why there is no api
};

std::string FirstLine(const char* text) {
  const std::string all = text ? text : "an unknown reason";
  return all.substr(0, all.find('\n'));
}

#if defined(_WIN32)
std::string PathBeside() {
  HMODULE self = nullptr;
  GetModuleHandleExA(GET_MODULE_HANDLE_EX_FLAG_FROM_ADDRESS | GET_MODULE_HANDLE_EX_FLAG_UNCHANGED_REFCOUNT,
                     reinterpret_cast<LPCSTR>(&PathBeside), &self);
  char path[4096];
  const DWORD length = GetModuleFileNameA(self, path, sizeof path);
  std::string folder(path, length < sizeof path ? length : 0);
  folder.erase(folder.find_last_of("\\/") + 1);
  return folder + kLibraryName;
}
bool Exists(const std::string& path) { return GetFileAttributesA(path.c_str()) != INVALID_FILE_ATTRIBUTES; }
void* Open(const std::string& path, std::string* reason) {
  const HMODULE handle = LoadLibraryA(path.c_str());
  if (!handle) *reason = "error " + std::to_string(GetLastError());
  return handle;
}
void* Symbol(void* handle) {
  return reinterpret_cast<void*>(GetProcAddress(static_cast<HMODULE>(handle), cuda::kApiSymbol));
}
#else
std::string PathBeside() {
  Dl_info info;
  if (!dladdr(reinterpret_cast<void*>(&PathBeside), &info) || !info.dli_fname) return kLibraryName;
  std::string folder = info.dli_fname;
  folder.erase(folder.find_last_of('/') + 1);
  return folder + kLibraryName;
}
bool Exists(const std::string& path) {
  std::FILE* const file = std::fopen(path.c_str(), "rb");
  if (file) std::fclose(file);
  return file != nullptr;
}
void* Open(const std::string& path, std::string* reason) {
  void* const handle = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (!handle) *reason = FirstLine(dlerror());
  return handle;
}
void* Symbol(void* handle) { return dlsym(handle, cuda::kApiSymbol); }
#endif

Library OpenLibrary() {
  Library library;
  library.path = PathBeside();
  if (!Exists(library.path)) {
    library.reason = "there is no CUDA library at " + library.path + " (npm run build:cuda builds it)";
    return library;
  }
  std::string reason;
  void* const handle = Open(library.path, &reason);
  if (!handle) {
    library.reason = "the CUDA library " + library.path + " could not be loaded: " + reason;
    return library;
  }
  const auto function = reinterpret_cast<cuda::ApiFunction>(Symbol(handle));
  const Api* const api = function ? function() : nullptr;
  if (!api || api->version != cuda::kApiVersion) {
    library.reason = "the CUDA library " + library.path +
                     " does not belong to this version of the addon (npm run build:cuda builds it anew)";
    return library;  // stays open: what it has started may still run
  }
  library.api = api;
  return library;
}

// Opened once and never closed.
const Library& TheLibrary() {
  static const Library library = OpenLibrary();
  return library;
}

std::string Version(int version) { return std::to_string(version / 1000) + "." + std::to_string(version % 1000 / 10); }

struct Cards {
  int count = 0, driver = 0, code = 0;
  std::string reason;  // why there are none
};

Cards CountCards() {
  Cards cards;
  const Library& library = TheLibrary();
  if (!library.api) {
    cards.reason = library.reason;
    return cards;
  }
  const Api& api = *library.api;
  cards.code = api.count(&cards.count, &cards.driver);
  if (cards.code == cuda::kErrorDriver) {
    cards.reason = "there is no NVIDIA driver on this machine, or it is too old for CUDA " + Version(api.runtime) +
                   (cards.driver ? " (it supports CUDA " + Version(cards.driver) + ")" : "");
  } else if (cards.code == cuda::kErrorNoDevice || (cards.code == 0 && cards.count == 0)) {
    cards.reason = "the NVIDIA driver finds no card";
  } else if (cards.code) {
    cards.reason = std::string("CUDA answers ") + api.error_name(cards.code) + ": " + api.error_text(cards.code);
  }
  if (!cards.reason.empty()) cards.count = 0;
  return cards;
}

// ---- values ---------------------------------------------------------------------------------------------------------

// { available, reason, library, code, driver, runtime, devices: [{ name, memory, free, major, minor, ... }] }
napi_value InfoFunction(napi_env env, napi_callback_info) {
  Napi::Env wrapped(env);
  Napi::Object result = Napi::Object::New(wrapped);
  Cards cards = CountCards();
  const Library& library = TheLibrary();
  Napi::Array devices = Napi::Array::New(wrapped);
  for (int k = 0; k < cards.count; ++k) {
    cuda::DeviceInfo info;
    const int code = library.api->device(k, &info);
    if (code) {
      cards.code = code;
      cards.reason = "card " + std::to_string(k) + " answers " + library.api->error_name(code) + ": " +
                     library.api->error_text(code);
      continue;
    }
    Napi::Object device = Napi::Object::New(wrapped);
    device.Set("index", k);
    device.Set("name", info.name);
    device.Set("memory", static_cast<double>(info.memory_bytes));
    device.Set("free", static_cast<double>(info.free_bytes));
    device.Set("computeCapability", std::to_string(info.major) + "." + std::to_string(info.minor));
    device.Set("multiprocessors", info.card.multiprocessors);
    device.Set("sharedMemory", info.card.shared_bytes);
    device.Set("maxCluster", info.card.max_cluster);
    device.Set("cooperative", info.card.cooperative);
    devices.Set(devices.Length(), device);
  }
  result.Set("available", Napi::Boolean::New(wrapped, devices.Length() > 0));
  result.Set("reason", cards.reason.empty() ? wrapped.Null() : Napi::Value(Napi::String::New(wrapped, cards.reason)));
  result.Set("library", library.path);
  result.Set("code", cards.code);
  result.Set("driver", cards.driver ? Napi::Value(Napi::String::New(wrapped, Version(cards.driver))) : wrapped.Null());
  result.Set("runtime",
             library.api ? Napi::Value(Napi::String::New(wrapped, Version(library.api->runtime))) : wrapped.Null());
  result.Set("devices", devices);
  return result;
}

// (multiprocessors, sharedBytes, maxCluster, cooperative, batch, n, type, general, quantile): the launch planner
napi_value PlanFunction(napi_env env, napi_callback_info info) {
  static const struct {
    const char* name;
    double low, high;
  } arguments[] = {{"multiprocessors", 1, 65536},
                   {"sharedBytes", 0, 1 << 24},
                   {"maxCluster", 0, 16},
                   {"cooperative", 0, 1},
                   {"batch", 1, 2147483647},
                   {"n", 1, 4294967295.0},
                   {"type", 0, 4},
                   {"general", 0, 1},
                   {"quantile", 0, 1}};
  constexpr size_t kCount = sizeof arguments / sizeof *arguments;
  napi_value argv[kCount];
  size_t argc = kCount;
  napi_get_cb_info(env, info, &argc, argv, nullptr, nullptr);
  int64_t value[kCount];
  for (size_t k = 0; k < kCount; ++k) {
    if (!ReadInteger(env, argv[k], arguments[k].name, arguments[k].low, arguments[k].high, &value[k])) return nullptr;
  }
  cuda::Card card;
  card.multiprocessors = static_cast<uint32_t>(value[0]);
  card.shared_bytes = static_cast<uint32_t>(value[1]);
  card.max_cluster = static_cast<uint32_t>(value[2]);
  card.cooperative = value[3] != 0;
  cuda::Wish wish;
  wish.batch = static_cast<uint64_t>(value[4]);
  wish.n = static_cast<uint64_t>(value[5]);
  wish.type = static_cast<cuda::NetType>(value[6]);
  wish.general = value[7] != 0;
  wish.quantile = value[8] != 0;
  const cuda::Plan plan = cuda::MakePlan(card, wish);
  Napi::Env wrapped(env);
  Napi::Object result = Napi::Object::New(wrapped);
  static const char* const names[] = {"step", "cluster", "team"};
  result.Set("kernel", names[static_cast<int>(plan.kernel)]);
  result.Set("grid", plan.grid_x);
  result.Set("gridY", plan.grid_y);
  result.Set("threads", plan.threads);
  result.Set("sharedBytes", plan.shared_bytes);
  result.Set("cooperative", plan.cooperative);
  result.Set("team", plan.team.size);
  result.Set("teams", plan.team.teams);
  result.Set("slice", static_cast<double>(plan.team.slice));
  result.Set("resident", plan.team.resident);
  result.Set("workspaceBytes", static_cast<double>(plan.workspace_words * 4));
  return result;
}

}  // namespace

void InitCuda(Napi::Env env, Napi::Object exports) {
  const struct {
    const char* name;
    napi_callback function;
  } functions[] = {{"cudaInfo", InfoFunction}, {"cudaPlan", PlanFunction}};
  for (const auto& f : functions) {
    napi_value value;
    if (napi_create_function(env, f.name, NAPI_AUTO_LENGTH, f.function, nullptr, &value) == napi_ok) {
      exports.Set(f.name, Napi::Value(env, value));
    }
  }
}

}  // namespace dpm::addon
