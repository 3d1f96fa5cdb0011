#include "library.h"

#include <cstdio>

#if defined(_WIN32)
#include <windows.h>
#else
#include <dlfcn.h>
#endif

namespace dpm::addon {
namespace {

#if defined(_WIN32)
constexpr const char* kLibraryName = "dpm-solver-cuda.dll";
#else
constexpr const char* kLibraryName = "dpm-solver-cuda.so";
#endif

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
    library.reason = "there is no CUDA library at " + library.path;
    return library;
  }
  std::string reason;
  void* const handle = Open(library.path, &reason);
  if (!handle) {
    library.reason = "the CUDA library " + library.path + " could not be loaded: " + reason;
    return library;
  }
  const auto function = reinterpret_cast<cuda::ApiFunction>(Symbol(handle));
  const cuda::Api* const api = function ? function() : nullptr;
  if (!api || api->version != cuda::kApiVersion) {
    library.reason = "the CUDA library " + library.path + " does not belong to this version of the addon";
    return library;  // stays open: what it has started may still run
  }
  library.api = api;
  return library;
}

}  // namespace

const Library& TheLibrary() {
  static const Library library = OpenLibrary();
  return library;
}

std::string CudaVersion(int version) {
  return std::to_string(version / 1000) + "." + std::to_string(version % 1000 / 10);
}

Cards CountCards() {
  Cards cards;
  const Library& library = TheLibrary();
  if (!library.api) {
    cards.reason = library.reason;
    return cards;
  }
  const cuda::Api& api = *library.api;
  cards.code = api.count(&cards.count, &cards.driver);
  if (cards.code == cuda::kErrorDriver) {
    cards.reason = "there is no NVIDIA driver on this machine, or it is too old for CUDA " + CudaVersion(api.runtime) +
                   (cards.driver ? " (it supports CUDA " + CudaVersion(cards.driver) + ")" : "");
  } else if (cards.code == cuda::kErrorNoDevice || (cards.code == 0 && cards.count == 0)) {
    cards.reason = "the NVIDIA driver finds no card";
  } else if (cards.code) {
    cards.reason = std::string("CUDA answers ") + api.error_name(cards.code) + ": " + api.error_text(cards.code);
  }
  if (!cards.reason.empty()) cards.count = 0;
  return cards;
}

uint64_t CardMemory(int device) {
  constexpr int kMost = 64;
  static uint64_t known[kMost];
  static const bool filled = [] {
    const Library& library = TheLibrary();
    const int count = CountCards().count;
    for (int k = 0; k < count && k < kMost; ++k) {
      cuda::DeviceInfo info;
      if (library.api->device(k, &info) == 0) known[k] = info.memory_bytes;
    }
    return true;
  }();
  return filled && device >= 0 && device < kMost ? known[device] : 0;
}

}  // namespace dpm::addon
