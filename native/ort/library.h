// onnxruntime's C API, taken from the library that onnxruntime-node has loaded into this process.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "onnxruntime/onnxruntime_c_api.h"

namespace dpm::ort {

// The table that is asked for: that of 1.20, the oldest onnxruntime-node that the package takes. Members of later
// versions are read only after GetApi has given that version's table.
constexpr uint32_t kApiVersion = 20;

class Library {
 public:
  // The library that one of `paths` names, if the process has loaded it: nothing is loaded here. Null with the reason
  // in *problem otherwise. The level counts only where ours is the first environment of the process.
  static std::shared_ptr<Library> Find(const std::vector<std::string>& paths, OrtLoggingLevel level,
                                       std::string* problem);
  ~Library();
  Library(const Library&) = delete;
  Library& operator=(const Library&) = delete;

  const OrtApi& api() const { return *api_; }
  // The table of a newer version, or null where the library is older.
  const OrtApi* Newer(uint32_t version) const;
  // One for the process: onnxruntime counts who holds it, we and onnxruntime-node alike.
  OrtEnv* env() const { return env_; }
  const OrtMemoryInfo* cpu() const { return cpu_; }
  const std::string& path() const { return path_; }
  const std::string& version() const { return version_; }

  // Sessions that say so take the memory of their runs from one pool, the process's: what one has no more use for, the
  // next takes. It is there while somebody holds it; what nobody uses is given back when one drops it.
  std::string HoldPool() const;
  void DropPool() const;

  // What onnxruntime says, which is released, on one line; empty for success.
  std::string Problem(OrtStatus* status) const;

 private:
  Library() = default;

  const OrtApiBase* base_ = nullptr;
  const OrtApi* api_ = nullptr;
  OrtEnv* env_ = nullptr;
  OrtMemoryInfo* cpu_ = nullptr;
  std::string path_, version_;
};

#if defined(_WIN32)
// UTF-8 as JavaScript gives it, in Windows' own encoding.
std::wstring Wide(const std::string& text);
#endif

}  // namespace dpm::ort
