#include "session.h"

namespace dpm::ort {

size_t ElementBytes(ONNXTensorElementDataType type) {
  switch (type) {
    case ONNX_TENSOR_ELEMENT_DATA_TYPE_UINT8:
    case ONNX_TENSOR_ELEMENT_DATA_TYPE_INT8:
    case ONNX_TENSOR_ELEMENT_DATA_TYPE_BOOL:
      return 1;
    case ONNX_TENSOR_ELEMENT_DATA_TYPE_UINT16:
    case ONNX_TENSOR_ELEMENT_DATA_TYPE_INT16:
    case ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT16:
      return 2;
    case ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT:
    case ONNX_TENSOR_ELEMENT_DATA_TYPE_INT32:
    case ONNX_TENSOR_ELEMENT_DATA_TYPE_UINT32:
      return 4;
    case ONNX_TENSOR_ELEMENT_DATA_TYPE_DOUBLE:
    case ONNX_TENSOR_ELEMENT_DATA_TYPE_INT64:
    case ONNX_TENSOR_ELEMENT_DATA_TYPE_UINT64:
      return 8;
    default:
      return 0;
  }
}

void LoadCancellation::Cancel() {
  const std::lock_guard<std::mutex> lock(mutex_);
  cancelled_ = true;
  if (api_) api_->ReleaseStatus(api_->SessionOptionsSetLoadCancellationFlag(options_, true));
}

void LoadCancellation::Watch(const OrtApi* api, OrtSessionOptions* options) {
  const std::lock_guard<std::mutex> lock(mutex_);
  api_ = api, options_ = options;
  if (api && cancelled_) api->ReleaseStatus(api->SessionOptionsSetLoadCancellationFlag(options, true));
}

std::unique_ptr<Session> Session::Open(std::shared_ptr<Library> library, const Settings& settings,
                                       LoadCancellation* cancellation, std::string* problem) {
  std::unique_ptr<Session> session(new Session(std::move(library)));
  *problem = session->Create(settings, cancellation);
  return problem->empty() ? std::move(session) : nullptr;
}

Session::~Session() {
  const OrtApi& api = library_->api();
  if (session_) api.ReleaseSession(session_);
  if (memory_) api.ReleaseMemoryInfo(memory_);
  if (holds_pool_) library_->DropPool();
}

std::string Session::Create(const Settings& settings, LoadCancellation* cancellation) {
  const OrtApi& api = library_->api();
  OrtSessionOptions* options = nullptr;
  std::string problem = library_->Problem(api.CreateSessionOptions(&options));
  if (!problem.empty()) return problem;
  problem = Configure(settings, options);
  if (problem.empty()) {
    cancellation->Watch(library_->Newer(22), options);
    if (settings.bytes) {
      problem = library_->Problem(
          api.CreateSessionFromArray(library_->env(), settings.bytes, settings.size, options, &session_));
    } else {
#if defined(_WIN32)
      problem = library_->Problem(api.CreateSession(library_->env(), Wide(settings.path).c_str(), options, &session_));
#else
      problem = library_->Problem(api.CreateSession(library_->env(), settings.path.c_str(), options, &session_));
#endif
    }
    cancellation->Watch(nullptr, nullptr);
  }
  api.ReleaseSessionOptions(options);
  device_ = settings.device;
  has_stream_ = settings.stream != nullptr;
  if (problem.empty()) problem = Describe(true, &inputs_);
  if (problem.empty()) problem = Describe(false, &outputs_);
  if (problem.empty() && device_ == Device::cuda) {
    problem = library_->Problem(
        api.CreateMemoryInfo("Cuda", OrtDeviceAllocator, settings.device_id, OrtMemTypeDefault, &memory_));
  }
  if (problem.empty() && device_ == Device::webgpu) {
    // The name that releases before 1.22 have in place of it is tried second.
    for (const char* const name : {"WebGPU_Buf", "WebGPU_Buffer"}) {
      problem = library_->Problem(api.CreateMemoryInfo(name, OrtDeviceAllocator, 0, OrtMemTypeDefault, &memory_));
      if (problem.empty()) break;
    }
  }
  return problem;
}

std::string Session::Configure(const Settings& settings, OrtSessionOptions* options) {
  const OrtApi& api = library_->api();
  std::string problem;
  const auto ok = [&](OrtStatus* status) {
    problem = library_->Problem(status);
    return problem.empty();
  };
  // Errors come back in the status; warnings (initializers that are also inputs) say nothing to who runs an export.
  if (!ok(api.SetSessionLogSeverityLevel(options, ORT_LOGGING_LEVEL_FATAL))) return problem;
  if (settings.threads > 0 && !ok(api.SetIntraOpNumThreads(options, settings.threads))) return problem;
  if (!ok(api.SetSessionGraphOptimizationLevel(options, static_cast<GraphOptimizationLevel>(settings.optimization)))) {
    return problem;
  }
  if (!settings.memory_pattern && !ok(api.DisableMemPattern(options))) return problem;
  if (settings.shared_memory) {
    problem = library_->HoldPool();
    holds_pool_ = problem.empty();
    if (!holds_pool_ || !ok(api.AddSessionConfigEntry(options, "session.use_env_allocators", "1"))) return problem;
  }
  for (const auto& entry : settings.config) {
    if (!ok(api.AddSessionConfigEntry(options, entry.first.c_str(), entry.second.c_str()))) return problem;
  }
  for (const auto& dimension : settings.dimensions) {
    if (!ok(api.AddFreeDimensionOverrideByName(options, dimension.first.c_str(), dimension.second))) return problem;
  }
  if (settings.device == Device::cuda) return AppendCuda(settings, options);
  if (settings.device == Device::cpu) return problem;
  std::vector<const char*> keys, values;
  for (const auto& entry : settings.provider) {
    keys.push_back(entry.first.c_str());
    values.push_back(entry.second.c_str());
  }
  const char* const name = settings.device == Device::webgpu ? "WebGPU" : "CoreML";
  ok(api.SessionOptionsAppendExecutionProvider(options, name, keys.data(), values.data(), keys.size()));
  return problem;
}

std::string Session::AppendCuda(const Settings& settings, OrtSessionOptions* options) {
  const OrtApi& api = library_->api();
  OrtCUDAProviderOptionsV2* cuda = nullptr;
  std::string problem = library_->Problem(api.CreateCUDAProviderOptions(&cuda));
  if (!problem.empty()) return problem;
  std::vector<const char*> keys, values;
  const std::string id = std::to_string(settings.device_id);
  keys.push_back("device_id"), values.push_back(id.c_str());
  for (const auto& entry : settings.provider) {
    keys.push_back(entry.first.c_str());
    values.push_back(entry.second.c_str());
  }
  problem = library_->Problem(api.UpdateCUDAProviderOptions(cuda, keys.data(), values.data(), keys.size()));
  if (problem.empty() && settings.stream) {
    problem = library_->Problem(api.UpdateCUDAProviderOptionsWithValue(cuda, "user_compute_stream", settings.stream));
  }
  if (problem.empty()) problem = library_->Problem(api.SessionOptionsAppendExecutionProvider_CUDA_V2(options, cuda));
  api.ReleaseCUDAProviderOptions(cuda);
  return problem;
}

std::string Session::Describe(bool inputs, std::vector<Declared>* out) {
  const OrtApi& api = library_->api();
  std::string problem;
  const auto ok = [&](OrtStatus* status) {
    problem = library_->Problem(status);
    return problem.empty();
  };
  OrtAllocator* allocator = nullptr;
  size_t count = 0;
  if (!ok(api.GetAllocatorWithDefaultOptions(&allocator))) return problem;
  if (!ok(inputs ? api.SessionGetInputCount(session_, &count) : api.SessionGetOutputCount(session_, &count))) {
    return problem;
  }
  out->resize(count);
  for (size_t i = 0; i < count; ++i) {
    Declared& declared = (*out)[i];
    char* name = nullptr;
    if (!ok(inputs ? api.SessionGetInputName(session_, i, allocator, &name)
                   : api.SessionGetOutputName(session_, i, allocator, &name))) {
      return problem;
    }
    declared.name = name;
    if (!ok(api.AllocatorFree(allocator, name))) return problem;
    OrtTypeInfo* type = nullptr;
    if (!ok(inputs ? api.SessionGetInputTypeInfo(session_, i, &type)
                   : api.SessionGetOutputTypeInfo(session_, i, &type))) {
      return problem;
    }
    const OrtTensorTypeAndShapeInfo* tensor = nullptr;
    size_t rank = 0;
    if (ok(api.CastTypeInfoToTensorInfo(type, &tensor)) && tensor &&
        ok(api.GetTensorElementType(tensor, &declared.type)) && ok(api.GetDimensionsCount(tensor, &rank))) {
      std::vector<const char*> symbols(rank, nullptr);
      declared.dims.resize(rank);
      if (ok(api.GetDimensions(tensor, declared.dims.data(), rank)) &&
          ok(api.GetSymbolicDimensions(tensor, symbols.data(), rank))) {
        for (const char* symbol : symbols) declared.symbols.emplace_back(symbol ? symbol : "");
      }
    }
    api.ReleaseTypeInfo(type);
    if (!problem.empty()) return problem;
  }
  return problem;
}

}  // namespace dpm::ort
