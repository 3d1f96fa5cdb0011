#include "../../step/guidance.h"
#include "call.h"

namespace dpm::addon {

// (stream, rows, guide, x, m, u, kept, work, numbers: Float64Array of batch, n, m_stride, type, looks, rescales)
napi_value AddonCudaGuide(napi_env env, napi_callback_info info) {
  CudaCall a(env, info);
  void* const stream = a.Handle("stream");
  cuda::GuideArgs g;
  g.rows = static_cast<double*>(a.Handle("rows"));
  g.guide = static_cast<const double*>(a.Handle("guide"));
  g.x = a.Handle("x");
  g.m = a.Handle("m");
  g.u = a.Handle("u");
  g.kept = a.Pointer("kept", true);
  g.work = static_cast<double*>(a.Handle("work"));
  const View numbers = a.Bytes("numbers");
  if (!a.ok()) return nullptr;
  const double* const number = static_cast<const double*>(numbers.data);
  const auto whole = [&](int k, double most) { return number[k] >= 0 && number[k] <= most; };
  if (numbers.length != 6 * sizeof(double) || !whole(0, 2147483647) || !whole(1, 4294967295.0) ||
      !whole(2, 9007199254740991.0) || !whole(3, 4)) {
    ThrowRange(env, "Expected six float64 numbers for numbers but received others");
    return nullptr;
  }
  g.batch = static_cast<uint32_t>(number[0]);
  g.n = static_cast<uint64_t>(number[1]);
  g.m_stride = static_cast<uint64_t>(number[2]);
  g.type = static_cast<cuda::NetType>(static_cast<int>(number[3]));
  g.looks = number[4] != 0;
  g.rescales = number[5] != 0;
  return a.Done("Guidance of " + std::to_string(g.batch) + " samples of " + std::to_string(g.n) + " elements",
                a.api().guide(stream, &g));
}

}  // namespace dpm::addon
