// ortRun(network, id, feeds, fetches): a promise for what the run has made, a list of [index, type, dims, data].
//
// feeds and fetches are lists of [index, type, data, ...dims]: of the input or output, onnxruntime's element type, and
// where it is: a typed array, a value on a device that an earlier run has made, or the address of memory on the
// session's CUDA card. A fetch may be [index, 3] or [index, 4]: the run makes it on the host, where `data` is then an
// ArrayBuffer, or on the device, where it is a value. Until the promise is settled no memory in it may be touched.
#include "bridge.h"
#include "values.h"

namespace dpm::addon {
namespace {

using Place = ort::Operand::Place;

bool Fail(napi_env env, const char* list, uint32_t at, const std::string& text) {
  ThrowType(env, "Expected " + text + " for " + list + "[" + std::to_string(at) + "]");
  return false;
}

// Where the operand is. Memory is `*bytes` long, a value or an address is as long as it says.
bool ReadData(napi_env env, napi_value value, const char* list, uint32_t at, ort::Operand* operand, size_t* bytes) {
  napi_typedarray_type kind = static_cast<napi_typedarray_type>(kFloat16ArrayType);
  size_t length = 0;
  if (napi_get_typedarray_info(env, value, &kind, &length, &operand->data, nullptr, nullptr) == napi_ok) {
    static constexpr size_t kBytes[] = {1, 1, 1, 2, 2, 4, 4, 4, 8, 8, 8, 2};
    operand->place = Place::host;
    *bytes = length * (kind <= kFloat16ArrayType ? kBytes[kind] : 0);
    return true;
  }
  uint64_t address = 0;
  bool lossless = false;
  if (napi_get_value_bigint_uint64(env, value, &address, &lossless) == napi_ok) {
    operand->place = Place::cuda;
    operand->data = reinterpret_cast<void*>(static_cast<uintptr_t>(address));
    *bytes = operand->bytes;
    return lossless || Fail(env, list, at, "an address");
  }
  bool disposed = false;
  operand->place = Place::value;
  operand->value = UnwrapValue(env, value, &disposed);
  *bytes = operand->bytes;
  if (operand->value) return true;
  return Fail(env, list, at,
              disposed ? "a value that has not been disposed of" : "a typed array, a value or an address");
}

bool ReadOperand(napi_env env, napi_value entry, const char* list, uint32_t at, bool fetch, ort::Operand* operand) {
  uint32_t length = 0;
  if (!ReadLength(env, entry, &length) || length < 2) return Fail(env, list, at, "an array of two or more");
  const auto number = [&](uint32_t i, double high, double* out) {
    napi_value value = nullptr;
    return napi_get_element(env, entry, i, &value) == napi_ok && napi_get_value_double(env, value, out) == napi_ok &&
           *out >= 0 && *out <= high && *out == static_cast<double>(static_cast<uint64_t>(*out));
  };
  double index = 0, type = 0;
  if (!number(0, 65535, &index) || !number(1, 64, &type)) return Fail(env, list, at, "an index and a type");
  operand->index = static_cast<size_t>(index);
  if (length == 2) {
    operand->place = static_cast<Place>(static_cast<int>(type));
    const bool makes = operand->place == Place::make_host || operand->place == Place::make_device;
    return (fetch && makes) || Fail(env, list, at, "3 or 4, and only of fetches,");
  }
  operand->type = static_cast<ONNXTensorElementDataType>(static_cast<int>(type));
  operand->bytes = ort::ElementBytes(operand->type);
  if (operand->bytes == 0) return Fail(env, list, at, "a type whose elements have a size");
  for (uint32_t i = 3; i < length; ++i) {
    double dim = 0;
    if (!number(i, 9007199254740991.0, &dim)) return Fail(env, list, at, "dims");
    operand->dims.push_back(static_cast<int64_t>(dim));
    if (dim > 0 && operand->bytes > 9007199254740991u / static_cast<uint64_t>(dim)) {
      return Fail(env, list, at, "dims of less than 2^53 bytes");
    }
    operand->bytes *= static_cast<size_t>(dim);
  }
  napi_value data = nullptr;
  size_t bytes = 0;
  if (napi_get_element(env, entry, 2, &data) != napi_ok) return false;
  if (!ReadData(env, data, list, at, operand, &bytes)) return false;
  if (bytes != operand->bytes) {
    return Fail(env, list, at, std::to_string(operand->bytes) + " bytes and not " + std::to_string(bytes));
  }
  // An empty array has no address, and onnxruntime wants one.
  static char nothing;
  if (!operand->data && bytes == 0) operand->data = &nothing;
  return true;
}

bool ReadOperands(napi_env env, napi_value list, const char* name, bool fetch, std::vector<ort::Operand>* out) {
  uint32_t count = 0;
  if (!ReadLength(env, list, &count)) {
    ThrowType(env, std::string("Expected an array for ") + name + " but received " + Describe(env, list));
    return false;
  }
  for (uint32_t i = 0; i < count; ++i) {
    napi_value entry = nullptr;
    if (napi_get_element(env, list, i, &entry) != napi_ok) return false;
    out->emplace_back();
    if (!ReadOperand(env, entry, name, i, fetch, &out->back())) return false;
  }
  return true;
}

napi_value Made(napi_env env, Bridge&, ort::Task& task) {
  ort::RunTask& run = static_cast<ort::RunTask&>(task);
  const napi_value list = MakeArray(env, run.made.size());
  for (size_t i = 0; i < run.made.size(); ++i) {
    ort::RunTask::Made& made = run.made[i];
    size_t bytes = ort::ElementBytes(made.type);
    const napi_value entry = MakeArray(env, 4), dims = MakeArray(env, made.dims.size());
    napi_value data = nullptr;
    for (size_t k = 0; k < made.dims.size(); ++k) {
      bytes *= static_cast<size_t>(made.dims[k]);
      SetElement(env, dims, k, MakeNumber(env, static_cast<double>(made.dims[k])));
    }
    if (made.device) {
      data = WrapValue(env, made.device);
    } else {
      void* to = nullptr;
      const void* const from = made.host.data();
      if (ort::ElementBytes(made.type) == 0 || (bytes > 0 && !from)) {
        napi_throw_error(env, nullptr, "Expected an output of numbers but received another");
        return nullptr;
      }
      if (napi_create_arraybuffer(env, bytes, &to, &data) == napi_ok && bytes > 0) std::memcpy(to, from, bytes);
    }
    if (!data) return nullptr;
    SetElement(env, entry, 0, MakeNumber(env, static_cast<double>(made.index)));
    SetElement(env, entry, 1, MakeNumber(env, made.type));
    SetElement(env, entry, 2, dims);
    SetElement(env, entry, 3, data);
    SetElement(env, list, i, entry);
  }
  return list;
}

}  // namespace

napi_value AddonOrtRun(napi_env env, napi_callback_info info) {
  napi_value argv[4];
  size_t argc = 4;
  napi_get_cb_info(env, info, &argc, argv, nullptr, nullptr);
  const std::shared_ptr<Bridge> bridge = UnwrapNetwork(env, argv[0]);
  int64_t id = 0;
  auto task = std::make_unique<ort::RunTask>();
  if (!bridge || !ReadInteger(env, argv[1], "id", 2, 4294967295.0, &id) ||
      !ReadOperands(env, argv[2], "feeds", false, &task->feeds) ||
      !ReadOperands(env, argv[3], "fetches", true, &task->fetches)) {
    return nullptr;
  }
  if (bridge->closed()) {
    napi_throw_error(env, nullptr, "Expected an open network but received one that has been closed");
    return nullptr;
  }
  const napi_value keep = MakeArray(env, 3);
  for (size_t i = 0; i < 3; ++i) SetElement(env, keep, i, argv[i == 0 ? 0 : i + 1]);
  return bridge->Post(env, std::move(task), keep, static_cast<uint32_t>(id), Made);
}

}  // namespace dpm::addon
