// limit: the step's traffic without its arithmetic, what bench/step measures the step against. Not for users.
#include <algorithm>

#include "../../cpu/kernels.h"
#include "../../cpu/pool.h"
#include "../arguments.h"

namespace dpm::addon {

// (nontemporal: 0 or 1, threads, d0, out, in, in, in, in or null), all float32 of one length. Without arguments an
// empty call; with a Uint8Array only, how many bytes after the start of a cache line that begins; with two arrays only,
// both are read once, on one thread. With a number of samples as a ninth argument, on one thread, each of them is read
// once more before: all inputs but the last.
napi_value AddonLimit(napi_env env, napi_callback_info info) {
  napi_value argv[9];
  size_t argc = 9;
  napi_get_cb_info(env, info, &argc, argv, nullptr, nullptr);
  if (argc == 0) return nullptr;
  static const char* const names[] = {
      "d0", "out", "the first input", "the second input", "the third input", "the fourth input"};
  if (argc == 1) {
    View bytes;
    if (!ReadView(env, argv[0], "bytes", kAllowBytes, &bytes)) return nullptr;
    napi_value result = nullptr;
    napi_create_uint32(env, static_cast<uint32_t>(reinterpret_cast<uintptr_t>(bytes.data) % 64), &result);
    return result;
  }
  if (argc == 2) {
    View view[2];
    for (int k = 0; k < 2; ++k) {
      if (!ReadView(env, argv[k], names[k], kAllowF32, &view[k])) return nullptr;
    }
    const float* const in[2] = {static_cast<float*>(view[0].data), static_cast<float*>(view[1].data)};
    volatile float seen = ActiveKernels().limit_read(in, 2, std::min(view[0].length, view[1].length));
    static_cast<void>(seen);
    return nullptr;
  }
  int64_t nontemporal, threads;
  if (!ReadInteger(env, argv[0], "nontemporal", 0, 1, &nontemporal) ||
      !ReadInteger(env, argv[1], "threads", 1, 1024, &threads)) {
    return nullptr;
  }
  View view[6];
  for (int k = 0; k < 6; ++k) {
    if (!ReadView(env, argv[k + 2], names[k], kAllowF32 | (k == 5 ? kAllowAbsent : 0), &view[k])) return nullptr;
    if (view[k].present && view[k].length != view[0].length) {
      ThrowRange(env, "Expected " + std::to_string(view[0].length) + " elements for " + names[k] + " but received " +
                          std::to_string(view[k].length));
      return nullptr;
    }
  }
  constexpr size_t kTask = 65536;
  const size_t n = view[0].length;
  const auto part = [&](size_t begin, size_t end) {
    const float* in[4];
    float* out[2];
    for (int k = 0; k < 2; ++k) out[k] = static_cast<float*>(view[k].data) + begin;
    for (int k = 0; k < 4; ++k) in[k] = view[k + 2].present ? static_cast<float*>(view[k + 2].data) + begin : nullptr;
    ActiveKernels().limit(in, in[3] ? 4 : 3, out, end - begin, nontemporal != 0);
  };
  if (argc == 9) {
    int64_t samples;
    if (!ReadInteger(env, argv[8], "samples", 1, static_cast<int64_t>(n), &samples)) return nullptr;
    const size_t each = n / static_cast<size_t>(samples);
    volatile float seen = 0;  // or the reading would be left out
    for (size_t begin = 0; begin + each <= n; begin += each) {
      const float* in[3];
      for (int k = 0; k < 3; ++k) {
        in[k] = view[k + 2].present ? static_cast<float*>(view[k + 2].data) + begin : nullptr;
      }
      seen = seen + ActiveKernels().limit_read(in, view[5].present ? 3 : 2, each);
      part(begin, begin + each);
    }
  } else if (threads == 1) {
    part(0, n);
  } else {
    ParallelFor(static_cast<int>(threads), (n + kTask - 1) / kTask,
                [&](size_t task) { part(task * kTask, std::min(n, (task + 1) * kTask)); });
  }
  return nullptr;
}

}  // namespace dpm::addon
