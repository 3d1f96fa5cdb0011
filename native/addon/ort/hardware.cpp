// ortHardware(library): what onnxruntime has found in this machine, one array for each provider and device that belong
// together: [provider, kind (0 processor, 1 graphics, 2 neural), vendor, vendorId, deviceId, name, value, ...], with
// what else the system says of the device in turn. Empty before onnxruntime 1.22, which looks for nothing.
#include "handles.h"
#include "values.h"

namespace dpm::addon {
namespace {

constexpr uint32_t kHardwareVersion = 22;
constexpr size_t kFixed = 5;

napi_value Row(napi_env env, const OrtApi& api, const OrtEpDevice* device) {
  const OrtHardwareDevice* const hardware = api.EpDevice_Device(device);
  const char* const* names = nullptr;
  const char* const* values = nullptr;
  size_t count = 0;
  const OrtKeyValuePairs* const metadata = api.HardwareDevice_Metadata(hardware);
  if (metadata) api.GetKeyValuePairs(metadata, &names, &values, &count);
  const char* const vendor = api.HardwareDevice_Vendor(hardware);
  const napi_value row = MakeArray(env, kFixed + 2 * count);
  SetElement(env, row, 0, MakeText(env, api.EpDevice_EpName(device)));
  SetElement(env, row, 1, MakeNumber(env, api.HardwareDevice_Type(hardware)));
  SetElement(env, row, 2, MakeText(env, vendor ? vendor : ""));
  SetElement(env, row, 3, MakeNumber(env, api.HardwareDevice_VendorId(hardware)));
  SetElement(env, row, 4, MakeNumber(env, api.HardwareDevice_DeviceId(hardware)));
  for (size_t i = 0; i < count; ++i) {
    SetElement(env, row, kFixed + 2 * i, MakeText(env, names[i]));
    SetElement(env, row, kFixed + 2 * i + 1, MakeText(env, values[i]));
  }
  return row;
}

}  // namespace

napi_value AddonOrtHardware(napi_env env, napi_callback_info info) {
  napi_value object = nullptr;
  size_t argc = 1;
  napi_get_cb_info(env, info, &argc, &object, nullptr, nullptr);
  const LibraryHandle* const handle = UnwrapLibrary(env, object);
  if (!handle) return nullptr;
  const ort::Library& library = *handle->library;
  const OrtApi* const api = library.Newer(kHardwareVersion);
  const OrtEpDevice* const* devices = nullptr;
  size_t count = 0;
  if (!api || !library.Problem(api->GetEpDevices(library.env(), &devices, &count)).empty()) count = 0;
  const napi_value rows = MakeArray(env, count);
  for (size_t i = 0; i < count; ++i) SetElement(env, rows, i, Row(env, *api, devices[i]));
  return rows;
}

}  // namespace dpm::addon
