// cudaInfo, cudaPlan, and device memory, streams, events, graphs and steps for lib/cuda: everything through the table
// of native/cuda/api.h, from a shared library that lies beside the addon and is opened on first use.
#include "../cuda/api.h"

#if defined(_WIN32)
#include <windows.h>
#else
#include <dlfcn.h>
#endif

#include <cstdlib>
#include <new>
#include <unordered_map>

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
  const Api* const api = function ? function() : nullptr;
  if (!api || api->version != cuda::kApiVersion) {
    library.reason = "the CUDA library " + library.path + " does not belong to this version of the addon";
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

constexpr const char* kKernelNames[] = {"step", "cluster", "team", "wide", "wide-select"};

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
  result.Set("kernel", kKernelNames[static_cast<int>(plan.kernel)]);
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

// ---- memory, streams, steps -----------------------------------------------------------------------------------------
// For lib/cuda, which owns the handles: pointers are bigints, a stream is the bigint that cudaStreamCreate returned.
// Failures of CUDA throw an Error that names call and size, with CUDA's name of the error as `code`.

constexpr double kMostBytes = 9007199254740991.0;

std::string CudaMessage(const std::string& what, int code) {
  const Api& api = *TheLibrary().api;
  return what + " failed: " + api.error_name(code) + " (" + api.error_text(code) + ")";
}

napi_value CudaError(napi_env env, const std::string& what, int code) {
  napi_value text, name, error = nullptr;
  const std::string message = CudaMessage(what, code);
  const char* const code_name = TheLibrary().api->error_name(code);
  napi_create_string_utf8(env, message.c_str(), message.size(), &text);
  napi_create_string_utf8(env, code_name, NAPI_AUTO_LENGTH, &name);
  napi_create_error(env, name, text, &error);
  return error;
}

// ---- what is left when a thread ends --------------------------------------------------------------------------------
// A worker that ends collects no garbage: what its JavaScript had taken and not given back is freed then. One for every
// environment, used on its thread alone.

enum class Kind { graph, memory, event, stream };  // in the order in which they are freed

struct Taken {
  struct One {
    Kind kind;
    int device;
  };
  std::unordered_map<void*, One> all;
  int transfers = 0;  // that have not ended
};

void FreeTaken(void* data) {
  Taken* const taken = static_cast<Taken*>(data);
  const Api* const api = TheLibrary().api;
  // Node lets copies end before it comes here. If it did not, their streams would have to stay.
  if (api && taken->transfers == 0) {
    for (const Kind kind : {Kind::graph, Kind::memory, Kind::event, Kind::stream}) {
      for (const auto& [handle, one] : taken->all) {
        if (one.kind != kind) continue;
        if (kind == Kind::graph) api->graph_destroy(handle);
        if (kind == Kind::memory) api->free(one.device, handle);
        if (kind == Kind::event) api->event_destroy(handle);
        if (kind == Kind::stream) api->stream_destroy(handle);
      }
    }
  }
  delete taken;
}

// The arguments of a call, read one after the other; after the first wrong one an exception is pending and all else is
// zero.
class Arguments {
 public:
  Arguments(napi_env env, napi_callback_info info) : env_(env) {
    size_t count = kMost;
    void* data = nullptr;
    napi_get_cb_info(env, info, &count, values_, nullptr, &data);
    taken_ = static_cast<Taken*>(data);
    api_ = TheLibrary().api;
    if (!api_) Fail("Expected the CUDA library but " + TheLibrary().reason);
  }
  const Api& api() const { return *api_; }
  Taken& taken() const { return *taken_; }
  // A handle that is freed with the environment unless it is given back before.
  napi_value Take(void* handle, Kind kind, int64_t device) {
    taken_->all[handle] = {kind, static_cast<int>(device)};
    napi_value value = nullptr;
    napi_create_bigint_uint64(env_, static_cast<uint64_t>(reinterpret_cast<uintptr_t>(handle)), &value);
    return value;
  }
  void GiveBack(void* handle) { taken_->all.erase(handle); }
  bool ok() const { return ok_; }
  napi_value Value() { return values_[next_++]; }
  void* Pointer(const char* name, bool optional = false) {
    napi_value value = Value();
    if (!ok_) return nullptr;
    napi_valuetype type = napi_undefined;
    napi_typeof(env_, value, &type);
    if (optional && (type == napi_null || type == napi_undefined)) return nullptr;
    uint64_t address = 0;
    bool lossless = false;
    if (napi_get_value_bigint_uint64(env_, value, &address, &lossless) != napi_ok || !lossless) {
      ThrowType(env_,
                std::string("Expected an address as a bigint for ") + name + " but received " + Describe(env_, value));
      ok_ = false;
      return nullptr;
    }
    return reinterpret_cast<void*>(static_cast<uintptr_t>(address));
  }
  void* Handle(const char* name) {
    void* const handle = Pointer(name);
    if (ok_ && !handle) {
      ThrowRange(env_, std::string("Expected a living handle for ") + name + " but received 0");
      ok_ = false;
    }
    return handle;
  }
  int64_t Integer(const char* name, double low, double high) {
    int64_t value = 0;
    napi_value from = Value();
    if (ok_ && !ReadInteger(env_, from, name, low, high, &value)) ok_ = false;
    return value;
  }
  // Any typed array or DataView-less buffer: its bytes.
  View Bytes(const char* name) {
    View view;
    napi_value from = Value();
    if (!ok_) return view;
    napi_typedarray_type kind = static_cast<napi_typedarray_type>(kFloat16ArrayType);
    if (napi_get_typedarray_info(env_, from, &kind, &view.length, &view.data, nullptr, nullptr) != napi_ok) {
      ThrowType(env_, std::string("Expected a typed array for ") + name + " but received " + Describe(env_, from));
      ok_ = false;
      return view;
    }
    static const size_t sizes[] = {1, 1, 1, 2, 2, 4, 4, 4, 8, 8, 8, 2};
    view.length *= sizes[static_cast<int>(kind) <= kFloat16ArrayType ? static_cast<int>(kind) : 0];
    view.present = true;
    return view;
  }
  // undefined, or the exception for a call that failed.
  napi_value Done(const std::string& what, int code) {
    if (code) napi_throw(env_, CudaError(env_, what, code));
    return nullptr;
  }

 private:
  static constexpr size_t kMost = 12;
  void Fail(const std::string& message) {
    napi_throw_error(env_, nullptr, message.c_str());
    ok_ = false;
  }
  napi_env env_;
  napi_value values_[kMost] = {};
  size_t next_ = 0;
  const Api* api_ = nullptr;
  Taken* taken_ = nullptr;
  bool ok_ = true;
};

napi_value BigInt(napi_env env, const void* pointer) {
  napi_value value = nullptr;
  napi_create_bigint_uint64(env, static_cast<uint64_t>(reinterpret_cast<uintptr_t>(pointer)), &value);
  return value;
}

std::string OnCard(int64_t device) { return " on card " + std::to_string(device); }

// (device, bytes): bigint
napi_value AllocFunction(napi_env env, napi_callback_info info) {
  Arguments a(env, info);
  const int64_t device = a.Integer("device", 0, 1023), bytes = a.Integer("bytes", 0, kMostBytes);
  if (!a.ok()) return nullptr;
  void* memory = nullptr;
  const int code = a.api().alloc(static_cast<int>(device), static_cast<uint64_t>(bytes), &memory);
  if (code) return a.Done("Allocating " + std::to_string(bytes) + " bytes" + OnCard(device), code);
  // So that the garbage collector knows what hangs on a small object.
  int64_t all = 0;
  napi_adjust_external_memory(env, bytes, &all);
  return a.Take(memory, Kind::memory, device);
}

// (device, memory, bytes)
napi_value FreeFunction(napi_env env, napi_callback_info info) {
  Arguments a(env, info);
  const int64_t device = a.Integer("device", 0, 1023);
  void* const memory = a.Handle("memory");
  const int64_t bytes = a.Integer("bytes", 0, kMostBytes);
  if (!a.ok()) return nullptr;
  int64_t all = 0;
  napi_adjust_external_memory(env, -bytes, &all);
  a.GiveBack(memory);
  return a.Done("Freeing " + std::to_string(bytes) + " bytes" + OnCard(device),
                a.api().free(static_cast<int>(device), memory));
}

// (device, existing: bigint | null): bigint
napi_value StreamCreateFunction(napi_env env, napi_callback_info info) {
  Arguments a(env, info);
  const int64_t device = a.Integer("device", 0, 1023);
  const napi_value given = a.Value();
  napi_valuetype type = napi_undefined;
  if (a.ok()) napi_typeof(env, given, &type);
  void* existing = nullptr;
  const bool wrap = type == napi_bigint;
  if (wrap) {
    uint64_t address = 0;
    bool lossless = false;
    napi_get_value_bigint_uint64(env, given, &address, &lossless);
    existing = reinterpret_cast<void*>(static_cast<uintptr_t>(address));
  }
  if (!a.ok()) return nullptr;
  void* stream = nullptr;
  const int code = a.api().stream_create(static_cast<int>(device), existing, wrap, &stream);
  return code ? a.Done("Making a stream" + OnCard(device), code) : a.Take(stream, Kind::stream, device);
}

// One handle, one call without a result. kLast: there is no handle afterwards.
template <int (*Api::*kFunction)(void*), bool kLast = false>
napi_value HandleFunction(napi_env env, napi_callback_info info, const char* name, const char* what) {
  Arguments a(env, info);
  void* const handle = a.Handle(name);
  if (!a.ok()) return nullptr;
  if (kLast) a.GiveBack(handle);
  return a.Done(what, (a.api().*kFunction)(handle));
}
napi_value StreamDestroyFunction(napi_env env, napi_callback_info info) {
  return HandleFunction<&Api::stream_destroy, true>(env, info, "stream", "Destroying a stream");
}
napi_value StreamWaitFunction(napi_env env, napi_callback_info info) {
  return HandleFunction<&Api::stream_wait>(env, info, "stream", "Waiting for a stream");
}
napi_value EventDestroyFunction(napi_env env, napi_callback_info info) {
  return HandleFunction<&Api::event_destroy, true>(env, info, "event", "Destroying an event");
}
napi_value EventWaitFunction(napi_env env, napi_callback_info info) {
  return HandleFunction<&Api::event_wait>(env, info, "event", "Waiting for an event");
}
napi_value CaptureBeginFunction(napi_env env, napi_callback_info info) {
  return HandleFunction<&Api::capture_begin>(env, info, "stream", "Beginning a capture");
}
napi_value GraphDestroyFunction(napi_env env, napi_callback_info info) {
  return HandleFunction<&Api::graph_destroy, true>(env, info, "graph", "Destroying a graph");
}

// (stream): boolean, whether all is done
napi_value StreamQueryFunction(napi_env env, napi_callback_info info) {
  Arguments a(env, info);
  void* const stream = a.Handle("stream");
  if (!a.ok()) return nullptr;
  const int code = a.api().stream_query(stream);
  if (code && code != cuda::kErrorNotReady) return a.Done("Asking a stream", code);
  napi_value result = nullptr;
  napi_get_boolean(env, code == 0, &result);
  return result;
}
// (stream): bigint, its cudaStream_t
napi_value StreamPointerFunction(napi_env env, napi_callback_info info) {
  Arguments a(env, info);
  void* const stream = a.Handle("stream");
  return a.ok() ? BigInt(env, a.api().stream_pointer(stream)) : nullptr;
}
// (stream, event)
napi_value StreamAfterFunction(napi_env env, napi_callback_info info) {
  Arguments a(env, info);
  void* const stream = a.Handle("stream");
  void* const event = a.Handle("event");
  return a.ok() ? a.Done("Making a stream wait", a.api().stream_after(stream, event)) : nullptr;
}
// (device): bigint
napi_value EventCreateFunction(napi_env env, napi_callback_info info) {
  Arguments a(env, info);
  const int64_t device = a.Integer("device", 0, 1023);
  if (!a.ok()) return nullptr;
  void* event = nullptr;
  const int code = a.api().event_create(static_cast<int>(device), &event);
  return code ? a.Done("Making an event" + OnCard(device), code) : a.Take(event, Kind::event, device);
}
// (event, stream)
napi_value EventRecordFunction(napi_env env, napi_callback_info info) {
  Arguments a(env, info);
  void* const event = a.Handle("event");
  void* const stream = a.Handle("stream");
  return a.ok() ? a.Done("Recording an event", a.api().event_record(event, stream)) : nullptr;
}
// (from, to): number of milliseconds
napi_value EventMillisecondsFunction(napi_env env, napi_callback_info info) {
  Arguments a(env, info);
  void* const from = a.Handle("from");
  void* const to = a.Handle("to");
  if (!a.ok()) return nullptr;
  float milliseconds = 0;
  const int code = a.api().event_milliseconds(from, to, &milliseconds);
  if (code) return a.Done("Measuring between events", code);
  napi_value result = nullptr;
  napi_create_double(env, milliseconds, &result);
  return result;
}
// (stream, to, from, bytes): between addresses of cards
napi_value CopyFunction(napi_env env, napi_callback_info info) {
  Arguments a(env, info);
  void* const stream = a.Handle("stream");
  void* const to = a.Handle("to");
  const void* const from = a.Handle("from");
  const int64_t bytes = a.Integer("bytes", 0, kMostBytes);
  if (!a.ok()) return nullptr;
  return a.Done("Copying " + std::to_string(bytes) + " bytes on the card",
                a.api().copy(stream, to, from, static_cast<uint64_t>(bytes)));
}
// (stream, to, bytes)
napi_value ZeroFunction(napi_env env, napi_callback_info info) {
  Arguments a(env, info);
  void* const stream = a.Handle("stream");
  void* const to = a.Handle("to");
  const int64_t bytes = a.Integer("bytes", 0, kMostBytes);
  if (!a.ok()) return nullptr;
  return a.Done("Clearing " + std::to_string(bytes) + " bytes", a.api().zero(stream, to, static_cast<uint64_t>(bytes)));
}

// ---- copies between an array and the card, and waiting, as promises -------------------------------------------------

struct Transfer {
  const Api* api = nullptr;
  napi_async_work work = nullptr;
  napi_deferred deferred = nullptr;
  napi_ref array = nullptr;
  void *stream = nullptr, *stage = nullptr, *event = nullptr;
  void* to = nullptr;                     // a download's array
  bool queued = false, recorded = false;  // the copy, and the event behind it
  Taken* taken = nullptr;
  uint64_t bytes = 0;
  int code = 0;
  std::string what;
};

void FinishTransfer(napi_env env, napi_status, void* data) {
  Transfer* const t = static_cast<Transfer*>(data);
  // The array may have been detached meanwhile: ask it again where it is.
  if (t->array) {
    napi_value array = nullptr;
    View view;
    napi_typedarray_type kind;
    napi_get_reference_value(env, t->array, &array);
    void* memory = nullptr;
    size_t length = 0;
    if (t->to && !t->code &&
        napi_get_typedarray_info(env, array, &kind, &length, &memory, nullptr, nullptr) == napi_ok && memory == t->to) {
      std::memcpy(memory, t->stage, t->bytes);
    }
    napi_delete_reference(env, t->array);
  }
  if (t->stage) t->api->stage_return(t->stream, t->stage);
  if (t->event) t->api->event_destroy(t->event);
  if (t->code) {
    napi_reject_deferred(env, t->deferred, CudaError(env, t->what, t->code));
  } else {
    napi_value nothing = nullptr;
    napi_get_undefined(env, &nothing);
    napi_resolve_deferred(env, t->deferred, nothing);
  }
  napi_delete_async_work(env, t->work);
  --t->taken->transfers;
  delete t;
}

void WaitForTransfer(napi_env, void* data) {
  Transfer* const t = static_cast<Transfer*>(data);
  if (t->recorded) {
    t->code = t->api->event_wait(t->event);
  } else if (t->queued) {
    // Nothing marks its end, and its memory must not go to another copy before.
    t->api->stream_wait(t->stream);
  }
}

// (stream, device, memory, array, direction): promise. Direction 0 uploads, 1 downloads, 2 only waits for the stream.
napi_value TransferFunction(napi_env env, napi_callback_info info) {
  Arguments a(env, info);
  void* const stream = a.Handle("stream");
  const int64_t device = a.Integer("device", 0, 1023);
  void* const memory = a.Pointer("memory", true);
  const napi_value array = a.Value();
  const int64_t direction = a.Integer("direction", 0, 2);
  if (!a.ok()) return nullptr;
  View view;
  if (direction != 2) {
    Arguments again(env, info);
    again.Value(), again.Value(), again.Value();
    view = again.Bytes("array");
    if (!again.ok()) return nullptr;
    if (!memory) {
      ThrowRange(env, "Expected a living tensor but received one that was disposed");
      return nullptr;
    }
  }
  const Api& api = a.api();
  Transfer* const t = new (std::nothrow) Transfer;
  if (!t) {
    napi_throw_error(env, nullptr, "Out of memory: a copy could not be begun");
    return nullptr;
  }
  t->api = &api;
  t->taken = &a.taken();
  t->stream = stream;
  t->bytes = view.length;
  t->what = direction == 2 ? "Waiting for a stream"
                           : (direction == 0 ? "Copying " : "Copying back ") + std::to_string(view.length) + " bytes" +
                                 (direction == 0 ? " to" : " from") + " card " + std::to_string(device);
  if (direction != 2) {
    t->code = api.stage_take(stream, t->bytes, &t->stage);
    if (!t->code && direction == 0) {
      std::memcpy(t->stage, view.data, t->bytes);
      t->code = api.copy(stream, memory, t->stage, t->bytes);
    } else if (!t->code) {
      t->to = view.data;
      t->code = api.copy(stream, t->stage, memory, t->bytes);
    }
    t->queued = t->code == 0;
  }
  if (!t->code) t->code = api.event_create(static_cast<int>(device), &t->event);
  if (!t->code) t->code = api.event_record(t->event, stream);
  t->recorded = t->code == 0;
  ++t->taken->transfers;
  napi_value promise = nullptr, name = nullptr;
  napi_create_string_utf8(env, "dpm-solver cuda", NAPI_AUTO_LENGTH, &name);
  if (direction == 1) napi_create_reference(env, array, 1, &t->array);
  napi_create_promise(env, &t->deferred, &promise);
  napi_create_async_work(env, nullptr, name, WaitForTransfer, FinishTransfer, t, &t->work);
  napi_queue_async_work(env, t->work);
  return promise;
}

// (stream, device, memory, array, direction): the same copies while this thread waits.
napi_value TransferNowFunction(napi_env env, napi_callback_info info) {
  Arguments a(env, info);
  void* const stream = a.Handle("stream");
  const int64_t device = a.Integer("device", 0, 1023);
  void* const memory = a.Handle("memory");
  const View view = a.Bytes("array");
  const int64_t direction = a.Integer("direction", 0, 1);
  if (!a.ok()) return nullptr;
  const Api& api = a.api();
  void* stage = nullptr;
  int code = api.stage_take(stream, view.length, &stage);
  if (!code && direction == 0) std::memcpy(stage, view.data, view.length);
  if (!code)
    code = direction == 0 ? api.copy(stream, memory, stage, view.length) : api.copy(stream, stage, memory, view.length);
  if (!code) code = api.stream_wait(stream);
  if (!code && direction == 1) std::memcpy(view.data, stage, view.length);
  if (stage) api.stage_return(stream, stage);
  return a.Done((direction == 0 ? "Copying " : "Copying back ") + std::to_string(view.length) + " bytes" +
                    (direction == 0 ? " to" : " from") + " card " + std::to_string(device),
                code);
}

// ---- the step -------------------------------------------------------------------------------------------------------

// Positions in the array of addresses; lib/cuda/step.ts fills it with the same.
enum StepPointer : int {
  kAtRows,
  kAtX,
  kAtM,
  kAtU,
  kAtG,
  kAtBase,
  kAtP,
  kAtD1,
  kAtD2,
  kAtD3,
  kAtZ,
  kAtNoise,
  kAtFlags,
  kAtD0,
  kAtOut,
  kAtOut2,
  kAtNext,
  kAtNext2,
  kPointerCount,
};

// (stream, addresses: BigUint64Array, batch, n, mStride, type, nextType, quantile): the kernel that was taken
napi_value CudaStepFunction(napi_env env, napi_callback_info info) {
  Arguments a(env, info);
  void* const stream = a.Handle("stream");
  const View view = a.Bytes("addresses");
  const int64_t batch = a.Integer("batch", 1, 2147483647), n = a.Integer("n", 1, 4294967295.0);
  const int64_t m_stride = a.Integer("mStride", 0, 4294967295.0), type = a.Integer("type", 0, 4);
  const int64_t next_type = a.Integer("nextType", 0, 4), quantile = a.Integer("quantile", 0, 1);
  if (!a.ok()) return nullptr;
  if (view.length != kPointerCount * 8) {
    ThrowRange(env, "Expected " + std::to_string(int{kPointerCount}) + " addresses but received others");
    return nullptr;
  }
  const auto at = [&](int which) {
    return reinterpret_cast<void*>(static_cast<uintptr_t>(static_cast<const uint64_t*>(view.data)[which]));
  };
  const auto floats = [&](int which) { return static_cast<float*>(at(which)); };
  cuda::StepArgs s;
  s.rows = static_cast<const double*>(at(kAtRows));
  s.x = floats(kAtX), s.m = at(kAtM), s.u = at(kAtU), s.g = at(kAtG), s.base = floats(kAtBase), s.p = floats(kAtP);
  s.d1 = floats(kAtD1), s.d2 = floats(kAtD2), s.d3 = floats(kAtD3), s.z = floats(kAtZ);
  s.noise = static_cast<const uint32_t*>(at(kAtNoise));
  s.flags = static_cast<uint32_t*>(at(kAtFlags));
  s.d0 = floats(kAtD0), s.out = floats(kAtOut), s.out2 = floats(kAtOut2);
  s.next[0] = at(kAtNext), s.next[1] = at(kAtNext2);
  s.n = static_cast<uint64_t>(n);
  s.m_stride = static_cast<uint64_t>(m_stride);
  s.batch = static_cast<uint32_t>(batch);
  s.next_type = static_cast<int>(next_type);
  cuda::Plan plan;
  const int code = a.api().step(stream, &s, static_cast<cuda::NetType>(type), quantile != 0, &plan);
  if (code)
    return a.Done("A step of " + std::to_string(batch) + " samples of " + std::to_string(n) + " elements", code);
  napi_value name = nullptr;
  napi_create_string_utf8(env, kKernelNames[static_cast<int>(plan.kernel)], NAPI_AUTO_LENGTH, &name);
  return name;
}

// (stream, seedLow, seedHigh, step, number, to, n, wide)
napi_value CudaNoiseFunction(napi_env env, napi_callback_info info) {
  Arguments a(env, info);
  void* const stream = a.Handle("stream");
  const double most = 4294967295.0;
  const int64_t low = a.Integer("seedLow", 0, most), high = a.Integer("seedHigh", 0, most);
  const int64_t step = a.Integer("step", 0, most), number = a.Integer("stream", 0, most);
  void* const to = a.Handle("to");
  const int64_t n = a.Integer("n", 0, kMostBytes), wide = a.Integer("wide", 0, 1);
  if (!a.ok()) return nullptr;
  const uint64_t seed = static_cast<uint64_t>(low) | static_cast<uint64_t>(high) << 32;
  const uint32_t at[] = {static_cast<uint32_t>(step), static_cast<uint32_t>(number)};
  const uint64_t count = static_cast<uint64_t>(n);
  return a.Done("Drawing " + std::to_string(n) + " numbers",
                wide ? a.api().noise_wide(stream, seed, at[0], at[1], static_cast<double*>(to), count)
                     : a.api().noise(stream, seed, at[0], at[1], static_cast<float*>(to), count));
}

// (stream, low, high, previous, partial, out, batch, n, wide, tolerances: Float64Array of atol and rtol)
napi_value CudaErrorNormFunction(napi_env env, napi_callback_info info) {
  Arguments a(env, info);
  void* const stream = a.Handle("stream");
  cuda::ErrorArgs e;
  e.low = a.Handle("low");
  e.high = a.Handle("high");
  e.previous = a.Handle("previous");
  e.partial = static_cast<double*>(a.Handle("partial"));
  e.out = static_cast<double*>(a.Handle("out"));
  const int64_t batch = a.Integer("batch", 1, 2147483647), n = a.Integer("n", 1, 4294967295.0);
  const int64_t wide = a.Integer("wide", 0, 1);
  const View tolerances = a.Bytes("tolerances");
  if (!a.ok()) return nullptr;
  if (tolerances.length != 16) {
    ThrowRange(env, "Expected two float64 numbers for tolerances but received others");
    return nullptr;
  }
  e.batch = static_cast<uint32_t>(batch);
  e.n = static_cast<uint64_t>(n);
  e.wide = wide != 0;
  e.atol = static_cast<const double*>(tolerances.data)[0];
  e.rtol = static_cast<const double*>(tolerances.data)[1];
  return a.Done("The error of " + std::to_string(batch) + " samples of " + std::to_string(n) + " elements",
                a.api().error_norm(stream, &e));
}

// (stream): bigint
napi_value CaptureEndFunction(napi_env env, napi_callback_info info) {
  Arguments a(env, info);
  void* const stream = a.Handle("stream");
  if (!a.ok()) return nullptr;
  void* graph = nullptr;
  const int code = a.api().capture_end(stream, &graph);
  return code ? a.Done("Ending a capture", code) : a.Take(graph, Kind::graph, 0);
}
// (graph, stream)
napi_value GraphLaunchFunction(napi_env env, napi_callback_info info) {
  Arguments a(env, info);
  void* const graph = a.Handle("graph");
  void* const stream = a.Handle("stream");
  return a.ok() ? a.Done("Launching a graph", a.api().graph_launch(graph, stream)) : nullptr;
}

}  // namespace

void InitCuda(Napi::Env env, Napi::Object exports) {
  const struct {
    const char* name;
    napi_callback function;
  } functions[] = {
      {"cudaInfo", InfoFunction},
      {"cudaPlan", PlanFunction},
      {"cudaAlloc", AllocFunction},
      {"cudaFree", FreeFunction},
      {"cudaStreamCreate", StreamCreateFunction},
      {"cudaStreamDestroy", StreamDestroyFunction},
      {"cudaStreamWait", StreamWaitFunction},
      {"cudaStreamQuery", StreamQueryFunction},
      {"cudaStreamPointer", StreamPointerFunction},
      {"cudaStreamAfter", StreamAfterFunction},
      {"cudaEventCreate", EventCreateFunction},
      {"cudaEventDestroy", EventDestroyFunction},
      {"cudaEventRecord", EventRecordFunction},
      {"cudaEventWait", EventWaitFunction},
      {"cudaEventMilliseconds", EventMillisecondsFunction},
      {"cudaCopy", CopyFunction},
      {"cudaZero", ZeroFunction},
      {"cudaTransfer", TransferFunction},
      {"cudaTransferNow", TransferNowFunction},
      {"cudaStep", CudaStepFunction},
      {"cudaErrorNorm", CudaErrorNormFunction},
      {"cudaNoise", CudaNoiseFunction},
      {"cudaCaptureBegin", CaptureBeginFunction},
      {"cudaCaptureEnd", CaptureEndFunction},
      {"cudaGraphLaunch", GraphLaunchFunction},
      {"cudaGraphDestroy", GraphDestroyFunction},
  };
  Taken* const taken = new (std::nothrow) Taken;
  if (!taken || napi_add_env_cleanup_hook(env, FreeTaken, taken) != napi_ok) {
    delete taken;
    return;
  }
  for (const auto& f : functions) {
    napi_value value;
    if (napi_create_function(env, f.name, NAPI_AUTO_LENGTH, f.function, taken, &value) == napi_ok) {
      exports.Set(f.name, Napi::Value(env, value));
    }
  }
}

}  // namespace dpm::addon
