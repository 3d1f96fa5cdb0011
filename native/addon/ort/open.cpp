// ortOpen(library, settings): { network, opened }, opened a promise for { inputs, outputs }. settings: { path, bytes?,
// device, deviceId, stream?, threads, optimization, memoryPattern, sharedMemory, config, provider, dimensions }, the
// last three as lists of names and values in turn. inputs and outputs: { name, type, dims, symbols }, type 0 for what
// is no tensor.
#include "bridge.h"
#include "values.h"

namespace dpm::addon {
namespace {

// Reads properties of one object; after the first that does not fit an exception is pending and the rest is not read.
class Reader {
 public:
  Reader(napi_env env, napi_value object) : env_(env), object_(object) {}
  bool ok() const { return ok_; }

  // Null where it cannot be read.
  napi_value Get(const char* name) {
    napi_value value = nullptr;
    if (ok_ && napi_get_named_property(env_, object_, name, &value) != napi_ok) ok_ = false;
    return value;
  }

  void Text(const char* name, std::string* out) {
    const napi_value value = Get(name);
    if (ok_ && !ReadText(env_, value, out)) Fail("a string", name, value);
  }

  int Integer(const char* name, int low, int high) {
    int64_t number = 0;
    const napi_value value = Get(name);
    ok_ = ok_ && ReadInteger(env_, value, name, low, high, &number);
    return static_cast<int>(number);
  }

  void Boolean(const char* name, bool* out) {
    const napi_value value = Get(name);
    if (ok_ && napi_get_value_bool(env_, value, out) != napi_ok) Fail("a boolean", name, value);
  }

  // Undefined means absent.
  bool Given(const char* name, napi_value* out) {
    *out = Get(name);
    napi_valuetype type = napi_undefined;
    if (ok_) napi_typeof(env_, *out, &type);
    return ok_ && type != napi_undefined;
  }

  // Names and values in turn: each pair is given to add(name, value), which says whether it fits.
  template <class Add>
  void List(const char* name, const Add& add) {
    const napi_value list = Get(name);
    uint32_t length = 0;
    if (ok_ && !ReadLength(env_, list, &length)) Fail("an array", name, list);
    for (uint32_t i = 0; ok_ && i + 1 < length; i += 2) {
      napi_value key = nullptr, value = nullptr;
      std::string text;
      if (napi_get_element(env_, list, i, &key) != napi_ok || napi_get_element(env_, list, i + 1, &value) != napi_ok) {
        ok_ = false;
      } else if (!ReadText(env_, key, &text) || !add(text, value)) {
        Fail("names and values in turn", name, value);
      }
    }
  }

  void Fail(const char* expected, const char* name, napi_value value) {
    ok_ = false;
    ThrowType(env_, std::string("Expected ") + expected + " for " + name + " but received " + Describe(env_, value));
  }

 private:
  napi_env env_;
  napi_value object_;
  bool ok_ = true;
};

bool ReadSettings(napi_env env, napi_value object, ort::Settings* settings) {
  napi_valuetype type = napi_undefined;
  napi_typeof(env, object, &type);
  if (type != napi_object) {
    ThrowType(env, "Expected an object for settings but received " + Describe(env, object));
    return false;
  }
  Reader reader(env, object);
  reader.Text("path", &settings->path);
  settings->device = static_cast<ort::Device>(reader.Integer("device", 0, 3));
  settings->device_id = reader.Integer("deviceId", 0, 1023);
  settings->threads = reader.Integer("threads", 0, 1024);
  settings->optimization = reader.Integer("optimization", 0, 99);
  reader.Boolean("memoryPattern", &settings->memory_pattern);
  reader.Boolean("sharedMemory", &settings->shared_memory);
  const auto texts = [&](ort::Pairs* out) {
    return [env, out](const std::string& name, napi_value value) {
      std::string text;
      if (!ReadText(env, value, &text)) return false;
      out->emplace_back(name, text);
      return true;
    };
  };
  reader.List("config", texts(&settings->config));
  reader.List("provider", texts(&settings->provider));
  reader.List("dimensions", [&](const std::string& name, napi_value value) {
    int64_t number = 0;
    if (napi_get_value_int64(env, value, &number) != napi_ok) return false;
    settings->dimensions.emplace_back(name, number);
    return true;
  });
  napi_value bytes = nullptr, stream = nullptr;
  if (reader.Given("bytes", &bytes)) {
    View view;
    if (!ReadView(env, bytes, "bytes", kAllowBytes, &view)) return false;
    settings->bytes = view.data;
    settings->size = view.length;
  }
  if (reader.Given("stream", &stream)) {
    uint64_t address = 0;
    bool lossless = false;
    if (napi_get_value_bigint_uint64(env, stream, &address, &lossless) != napi_ok || !lossless) {
      reader.Fail("an address", "stream", stream);
    }
    settings->stream = reinterpret_cast<void*>(static_cast<uintptr_t>(address));
  }
  return reader.ok();
}

napi_value Declare(napi_env env, const std::vector<ort::Declared>& list) {
  const napi_value all = MakeArray(env, list.size());
  for (size_t i = 0; i < list.size(); ++i) {
    const ort::Declared& declared = list[i];
    napi_value one = nullptr;
    napi_create_object(env, &one);
    const napi_value dims = MakeArray(env, declared.dims.size()), symbols = MakeArray(env, declared.symbols.size());
    for (size_t k = 0; k < declared.dims.size(); ++k) {
      SetElement(env, dims, k, MakeNumber(env, static_cast<double>(declared.dims[k])));
    }
    for (size_t k = 0; k < declared.symbols.size(); ++k)
      SetElement(env, symbols, k, MakeText(env, declared.symbols[k]));
    SetProperty(env, one, "name", MakeText(env, declared.name));
    SetProperty(env, one, "type", MakeNumber(env, declared.type));
    SetProperty(env, one, "dims", dims);
    SetProperty(env, one, "symbols", symbols);
    SetElement(env, all, i, one);
  }
  return all;
}

napi_value Opened(napi_env env, Bridge&, ort::Task& task) {
  const ort::OpenTask& open = static_cast<ort::OpenTask&>(task);
  napi_value result = nullptr;
  napi_create_object(env, &result);
  SetProperty(env, result, "inputs", Declare(env, open.inputs));
  SetProperty(env, result, "outputs", Declare(env, open.outputs));
  return result;
}

}  // namespace

napi_value AddonOrtOpen(napi_env env, napi_callback_info info) {
  napi_value argv[2];
  size_t argc = 2;
  napi_get_cb_info(env, info, &argc, argv, nullptr, nullptr);
  const LibraryHandle* const library = UnwrapLibrary(env, argv[0]);
  if (!library) return nullptr;
  auto task = std::make_unique<ort::OpenTask>();
  task->library = library->library;
  if (!ReadSettings(env, argv[1], &task->settings)) return nullptr;
  const std::shared_ptr<Bridge> bridge = Bridge::Make(env, *library);
  if (!bridge) return nullptr;
  // The object is made now: should nobody wait for the promise, its end is the network's.
  const napi_value network = WrapNetwork(env, bridge);
  if (!network) {
    bridge->Abandon();
    return nullptr;
  }
  const napi_value keep = MakeArray(env, 2);
  SetElement(env, keep, 0, network);
  SetElement(env, keep, 1, argv[1]);
  const napi_value promise = bridge->Post(env, std::move(task), keep, 1, Opened);
  if (!promise) return nullptr;
  napi_value result = nullptr;
  napi_create_object(env, &result);
  SetProperty(env, result, "network", network);
  SetProperty(env, result, "opened", promise);
  return result;
}

}  // namespace dpm::addon
