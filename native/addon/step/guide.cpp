// guide(rows, first, batch, guide, threads, x, m, kept): the prediction's entries of each sample's row, from what the
// network gave it without and with the condition (native/step/guidance.h).
#include "../../cpu/guide.h"

#include "../../step/guidance.h"
#include "results.h"

namespace dpm::addon {

namespace {

// Are these such numbers as lib/solver/guidance.ts makes?
bool Valid(const double* g) {
  for (int k = 0; k < kGuideLength; ++k) {
    if (!(g[k] - g[k] == 0)) return false;
  }
  const double kind = g[kGuideKind];
  return (kind == 0 || kind == kGuideZeroStar || kind == kGuideApg) && g[kGuideNorm] >= 0 && g[kGuideRescale] >= 0 &&
         g[kGuideRescale] <= 1 && g[kGuideQm] != 0;
}

}  // namespace

napi_value AddonGuide(napi_env env, napi_callback_info info) {
  napi_value argv[8];
  size_t argc = 8;
  napi_get_cb_info(env, info, &argc, argv, nullptr, nullptr);
  View rows, guide, x, m, kept;
  int64_t first, batch, threads;
  const int state = kAllowF32 | kAllowF64;
  if (!ReadView(env, argv[0], "rows", kAllowF64, &rows) ||
      !ReadInteger(env, argv[1], "first", 0, kMostElements, &first) ||
      !ReadInteger(env, argv[2], "batch", 1, kMostElements, &batch) ||
      !ReadView(env, argv[3], "guide", kAllowF64, &guide) || !ReadInteger(env, argv[4], "threads", 0, 1024, &threads) ||
      !ReadView(env, argv[5], "x", state, &x) || !ReadView(env, argv[6], "m", state | kAllowF16, &m) ||
      !ReadView(env, argv[7], "kept", state | kAllowAbsent, &kept)) {
    return nullptr;
  }
  if (!RowsReach(env, rows, first, batch)) return nullptr;
  const double* parameters = static_cast<const double*>(guide.data);
  if (guide.length != kGuideLength || !Valid(parameters)) {
    ThrowRange(env, "Expected the " + std::to_string(kGuideLength) +
                        " numbers of a kind of guidance for guide but received others");
    return nullptr;
  }
  const size_t samples = static_cast<size_t>(batch);
  if (x.length == 0 || x.length % samples != 0) {
    ThrowRange(env, "Expected a multiple of the batch (" + Size(samples) + "), not zero, elements for x but received " +
                        Size(x.length));
    return nullptr;
  }
  const size_t n = x.length / samples;
  if ((m.type != x.type && m.type != Type::f16) || (kept.present && kept.type != x.type)) {
    ThrowType(env, std::string("Expected ") + (x.type == Type::f64 ? "a Float64Array" : "a Float32Array") +
                       " as x is for kept and, or float16, for m but received another kind");
    return nullptr;
  }
  if (m.length % (2 * samples) != 0 || m.length / (2 * samples) < n) {
    ThrowRange(env, LengthMessage("m", Size(2 * x.length) + " (" + Size(2 * samples) + " samples of " + Size(n) + ")",
                                  m.length));
    return nullptr;
  }
  if (kept.present && kept.length != x.length) {
    ThrowRange(env, LengthMessage("kept", Size(x.length), kept.length));
    return nullptr;
  }
  const Results weights(kGuideOperands * samples, View());
  if (!weights.values()) return OutOfMemory(env, "the guidance's working space");
  GuideCall call;
  call.state = x.type;
  call.batch = samples;
  call.n = n;
  call.guide = parameters;
  call.x = {x.data, x.type};
  call.u = {m.data, m.type};
  call.m = {static_cast<char*>(m.data) + m.bytes() / 2, m.type};
  call.m_stride = m.length / (2 * samples);
  if (kept.present) call.kept = {kept.data, kept.type};
  call.threads = static_cast<int>(threads);
  call.out = weights.values();
  if (!Guide(call)) return OutOfMemory(env, "the guidance's working space");
  double* row = static_cast<double*>(rows.data) + static_cast<size_t>(first) * kRowLength;
  for (size_t b = 0; b < samples; ++b) {
    std::memcpy(row + b * kRowLength + kCx, weights.values() + b * kGuideOperands, kGuideOperands * sizeof(double));
  }
  return nullptr;
}

}  // namespace dpm::addon
