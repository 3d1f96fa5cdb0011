#include "library.h"

#include <cstdlib>
#include <mutex>

#include "pool.h"

#if defined(_WIN32)
#include <windows.h>
#else
#include <dlfcn.h>
#endif

namespace dpm::ort {
namespace {

using GetApiBase = const OrtApiBase*(ORT_API_CALL*)();

// Neither call loads anything, and both keep what they find for as long as the process lives: Node unloads an addon
// with the last worker that uses it, and a thread of ours may still be in the library then.
#if defined(_WIN32)
GetApiBase Loaded(const std::string& path, bool* found) {
  HMODULE module = nullptr;
  *found = GetModuleHandleExW(GET_MODULE_HANDLE_EX_FLAG_PIN, Wide(path).c_str(), &module) != 0;
  return *found ? reinterpret_cast<GetApiBase>(GetProcAddress(module, "OrtGetApiBase")) : nullptr;
}
#else
GetApiBase Loaded(const std::string& path, bool* found) {
  void* const library = dlopen(path.c_str(), RTLD_NOW | RTLD_NOLOAD | RTLD_NODELETE);
  *found = library != nullptr;
  return *found ? reinterpret_cast<GetApiBase>(dlsym(library, "OrtGetApiBase")) : nullptr;
}
#endif

// The environment is the process's, and so is what is registered with it.
std::mutex pool_mutex;
int pool_holders = 0;

// "1.20.1" is at least 1.20. Asked for a table that it does not have, onnxruntime writes to the terminal.
bool HasApi(const std::string& version) {
  char* rest = nullptr;
  const long major = std::strtol(version.c_str(), &rest, 10);
  const long minor = *rest == '.' ? std::strtol(rest + 1, nullptr, 10) : 0;
  return major > 1 || (major == 1 && minor >= static_cast<long>(kApiVersion));
}

}  // namespace

#if defined(_WIN32)
std::wstring Wide(const std::string& text) {
  const int length = MultiByteToWideChar(CP_UTF8, 0, text.data(), static_cast<int>(text.size()), nullptr, 0);
  std::wstring wide(static_cast<size_t>(length), L'\0');
  MultiByteToWideChar(CP_UTF8, 0, text.data(), static_cast<int>(text.size()), &wide[0], length);
  return wide;
}
#endif

std::shared_ptr<Library> Library::Find(const std::vector<std::string>& paths, OrtLoggingLevel level,
                                       std::string* problem) {
  GetApiBase get = nullptr;
  std::string path;
  for (const std::string& candidate : paths) {
    bool found = false;
    get = Loaded(candidate, &found);
    if (!found) continue;
    path = candidate;
    break;
  }
  if (path.empty()) {
    *problem = "Expected the library of onnxruntime-node to be loaded";
    for (const std::string& candidate : paths) *problem += (&candidate == &paths[0] ? " from " : " or ") + candidate;
    *problem += " but found none";
    return nullptr;
  }
  const OrtApiBase* const base = get ? get() : nullptr;
  if (!base) {
    *problem = "Expected onnxruntime's C API in " + path + " but found no OrtGetApiBase";
    return nullptr;
  }
  std::shared_ptr<Library> library(new Library);
  library->path_ = path;
  library->version_ = base->GetVersionString();
  library->base_ = base;
  library->api_ = HasApi(library->version_) ? base->GetApi(kApiVersion) : nullptr;
  if (!library->api_) {
    *problem = "Expected onnxruntime 1." + std::to_string(kApiVersion) + " or newer in " + path + " but found " +
               library->version_;
    return nullptr;
  }
  const OrtApi& api = library->api();
  *problem = library->Problem(api.CreateEnv(level, "dpm-solver", &library->env_));
  if (problem->empty()) {
    *problem = library->Problem(api.CreateCpuMemoryInfo(OrtArenaAllocator, OrtMemTypeDefault, &library->cpu_));
  }
  return problem->empty() ? library : nullptr;
}

Library::~Library() {
  if (cpu_) api_->ReleaseMemoryInfo(cpu_);
  if (env_) api_->ReleaseEnv(env_);
}

const OrtApi* Library::Newer(uint32_t version) const {
  char* rest = nullptr;
  std::strtol(version_.c_str(), &rest, 10);
  const unsigned long minor = *rest == '.' ? std::strtoul(rest + 1, nullptr, 10) : 0;
  return minor >= version ? base_->GetApi(version) : nullptr;
}

std::string Library::HoldPool() const {
  const std::lock_guard<std::mutex> lock(pool_mutex);
  Pool* const pool = Pool::Get(*api_);
  if (!pool) return "onnxruntime has no allocator for the CPU";
  if (pool_holders == 0) {
    const std::string problem = Problem(api_->RegisterAllocator(env_, pool));
    if (!problem.empty()) return problem;
    pool->Keep(true);
  }
  ++pool_holders;
  return std::string();
}

void Library::DropPool() const {
  const std::lock_guard<std::mutex> lock(pool_mutex);
  Pool* const pool = Pool::Get(*api_);
  if (--pool_holders > 0) return pool->Trim();
  api_->ReleaseStatus(api_->UnregisterAllocator(env_, pool->info()));
  pool->Keep(false);
}

std::string Library::Problem(OrtStatus* status) const {
  if (!status) return std::string();
  const std::string text = api_->GetErrorMessage(status);
  api_->ReleaseStatus(status);
  const std::string line = text.substr(0, text.find_first_of("\r\n"));
  return line.empty() ? "an error without a message" : line;
}

}  // namespace dpm::ort
