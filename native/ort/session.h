// A session of our own: how it is made, and what its graph declares.
#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "library.h"

namespace dpm::ort {

enum class Device : int { cpu = 0, webgpu = 1, cuda = 2, coreml = 3 };

using Pairs = std::vector<std::pair<std::string, std::string>>;

struct Settings {
  std::string path;             // of the graph, or what to call it where there are bytes
  const void* bytes = nullptr;  // the graph itself, for as long as the session is being made
  size_t size = 0;
  Device device = Device::cpu;
  int device_id = 0;       // of several CUDA cards
  void* stream = nullptr;  // CUDA: work is queued there
  int threads = 0;         // of one operator; 0: onnxruntime's own choice
  int optimization = ORT_ENABLE_ALL;
  bool memory_pattern = true;
  bool shared_memory = false;                               // runs take theirs from the pool of the process
  Pairs config;                                             // onnxruntime's session.* entries
  Pairs provider;                                           // settings of the execution provider
  std::vector<std::pair<std::string, int64_t>> dimensions;  // symbolic dimensions that are known
};

// An input or output. Symbolic dimensions are -1, with their names beside them.
struct Declared {
  std::string name;
  ONNXTensorElementDataType type = ONNX_TENSOR_ELEMENT_DATA_TYPE_UNDEFINED;  // undefined: no tensor
  std::vector<int64_t> dims;
  std::vector<std::string> symbols;
};

// Bytes of one element; 0 for types that have none of their own, strings above all.
size_t ElementBytes(ONNXTensorElementDataType type);

// Lets a load that is under way be given up from another thread.
class LoadCancellation {
 public:
  void Cancel();

 private:
  friend class Session;
  void Watch(const OrtApi* api, OrtSessionOptions* options);
  std::mutex mutex_;
  const OrtApi* api_ = nullptr;  // null: not loading, or too old to be told
  OrtSessionOptions* options_ = nullptr;
  bool cancelled_ = false;
};

class Session {
 public:
  static std::unique_ptr<Session> Open(std::shared_ptr<Library> library, const Settings& settings,
                                       LoadCancellation* cancellation, std::string* problem);
  ~Session();
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;

  const Library& library() const { return *library_; }
  const std::shared_ptr<Library>& shared_library() const { return library_; }
  OrtSession* get() const { return session_; }
  Device device() const { return device_; }
  bool has_stream() const { return has_stream_; }
  // Where outputs stay that are to stay on the device.
  const OrtMemoryInfo* memory() const { return memory_ ? memory_ : library_->cpu(); }
  const std::vector<Declared>& inputs() const { return inputs_; }
  const std::vector<Declared>& outputs() const { return outputs_; }

 private:
  explicit Session(std::shared_ptr<Library> library) : library_(std::move(library)) {}
  std::string Create(const Settings& settings, LoadCancellation* cancellation);
  std::string Configure(const Settings& settings, OrtSessionOptions* options);
  std::string AppendCuda(const Settings& settings, OrtSessionOptions* options);
  std::string Describe(bool inputs, std::vector<Declared>* out);

  std::shared_ptr<Library> library_;
  OrtSession* session_ = nullptr;
  OrtMemoryInfo* memory_ = nullptr;
  Device device_ = Device::cpu;
  bool has_stream_ = false;
  bool holds_pool_ = false;
  std::vector<Declared> inputs_, outputs_;
};

}  // namespace dpm::ort
