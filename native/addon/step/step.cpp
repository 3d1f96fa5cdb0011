// step: the fused step over one batch.
#include <string>

#include "results.h"

namespace dpm::addon {

namespace {

// Positions of the arguments of `step`; lib/addon/native.ts calls with the same.
enum StepArgument : int {
  kArgRows,
  kArgFirst,
  kArgBatch,
  kArgFlags,
  kArgThreads,
  kArgScratch,
  kArgX,
  kArgM,
  kArgU,
  kArgG,
  kArgBase,
  kArgP,
  kArgD1,
  kArgD2,
  kArgD3,
  kArgZ,
  kArgD0,
  kArgOut,
  kArgOut2,
  kArgNext,
  kArgCount,
};
constexpr const char* kNames[kArgCount] = {"rows", "first", "batch", "flags", "threads", "scratch", "x",
                                           "m",    "u",     "g",     "base",  "p",       "d1",      "d2",
                                           "d3",   "z",     "d0",    "out",   "out2",    "next"};
// Besides, bit kFlagAbsent + k says that the k-th buffer is not there, and the one after these that there is no
// scratch: to find that out costs as much as all the rest of a call.
constexpr int kFlagCheckFinite = 1, kFlagDoubled = 2, kFlagAbsent = 2;
constexpr int kFlagNoScratch = 1 << (kFlagAbsent + kArgCount - kArgX), kMostFlags = 2 * kFlagNoScratch - 1;

// What is to be checked for shared memory: the outputs, and everything that is read while they are written.
struct Range {
  const char* name;
  const void* data;
  size_t bytes;
  Type type;
};

bool CheckMemory(napi_env env, const Range* outputs, int output_count, const Range* inputs, int input_count) {
  for (int o = 0; o < output_count; ++o) {
    const Range& out = outputs[o];
    for (int p = 0; p < o; ++p) {
      if (Overlap(out.data, out.bytes, outputs[p].data, outputs[p].bytes)) {
        ThrowRange(env, std::string("Expected separate memory for ") + outputs[p].name + " and " + out.name +
                            " but received buffers that overlap");
        return false;
      }
    }
    for (int i = 0; i < input_count; ++i) {
      const Range& in = inputs[i];
      if (!Overlap(out.data, out.bytes, in.data, in.bytes)) continue;
      const bool same = out.data == in.data && out.bytes == in.bytes && out.type == in.type;
      if (same && out.type != Type::none) continue;  // element by element: read, then written
      ThrowRange(env, std::string("Expected ") + out.name + " to be " + in.name +
                          " itself or to share no memory with it but received buffers that overlap");
      return false;
    }
  }
  return true;
}

// Is a typed array's memory an ArrayBuffer, and no SharedArrayBuffer?
bool OwnMemory(napi_env env, napi_value array) {
  napi_value buffer = nullptr;
  bool own = false;
  return napi_get_typedarray_info(env, array, nullptr, nullptr, nullptr, &buffer, nullptr) == napi_ok &&
         napi_is_arraybuffer(env, buffer, &own) == napi_ok && own;
}

}  // namespace

napi_value AddonStep(napi_env env, napi_callback_info info) {
  napi_value argv[kArgCount];
  size_t argc = kArgCount;
  napi_get_cb_info(env, info, &argc, argv, nullptr, nullptr);

  View rows, scratch;
  int64_t first, batch, flags, threads;
  if (!ReadView(env, argv[kArgRows], "rows", kAllowF64, &rows) ||
      !ReadInteger(env, argv[kArgFirst], "first", 0, kMostElements, &first) ||
      !ReadInteger(env, argv[kArgBatch], "batch", 1, kMostElements, &batch) ||
      !ReadInteger(env, argv[kArgFlags], "flags", 0, kMostFlags, &flags) ||
      !ReadInteger(env, argv[kArgThreads], "threads", 0, 1024, &threads) ||
      (!(flags & kFlagNoScratch) &&
       !ReadView(env, argv[kArgScratch], "scratch", kAllowBytes | kAllowAbsent, &scratch))) {
    return nullptr;
  }
  // Keys are moved about in there: another thread's hand in it would send them out of bounds.
  if (scratch.present && !OwnMemory(env, argv[kArgScratch])) {
    ThrowType(env, "Expected memory of this thread's own for scratch but received shared memory");
    return nullptr;
  }
  if (!RowsReach(env, rows, first, batch)) return nullptr;
  const double* row = static_cast<const double*>(rows.data) + static_cast<size_t>(first) * kRowLength;

  View view[kArgCount];
  for (int k = kArgX; k < kArgCount; ++k) {
    if (flags >> (kFlagAbsent + k - kArgX) & 1) continue;
    const bool network = k == kArgM || k == kArgU || k == kArgG || k == kArgNext;
    const int allow = kAllowF32 | kAllowF64 | kAllowAbsent | (network ? kAllowF16 : 0);
    if (!ReadView(env, argv[k], kNames[k], allow, &view[k])) return nullptr;
  }
  // The state's type and size come from the first of these that is there.
  int lead = -1;
  for (const int k : {kArgX, kArgBase, kArgP, kArgOut}) {
    if (lead < 0 && view[k].present) lead = k;
  }
  if (lead < 0) {
    ThrowType(env, "Expected one of x, base, p and out for step but received none");
    return nullptr;
  }
  StepCall call;
  call.state = view[lead].type;
  call.batch = static_cast<size_t>(batch);
  const size_t total = view[lead].length;
  if (total == 0 || total % call.batch != 0) {
    ThrowRange(env, std::string("Expected a multiple of the batch (") + Size(call.batch) +
                        "), not zero, elements for " + kNames[lead] + " but received " + Size(total));
    return nullptr;
  }
  call.n = total / call.batch;
  call.rows = row;
  call.check_finite = flags & kFlagCheckFinite;
  call.threads = static_cast<int>(threads);
  call.scratch = scratch.data;
  call.scratch_bytes = scratch.length;

  for (int k = kArgX; k < kArgCount; ++k) {
    if (!view[k].present || k == kArgNext) continue;
    const bool network = k == kArgM || k == kArgU || k == kArgG;
    if (view[k].type != call.state && !(network && view[k].type == Type::f16)) {
      ThrowType(env, std::string("Expected ") + (call.state == Type::f64 ? "a Float64Array" : "a Float32Array") +
                         (network ? " or float16" : "") + " as " + kNames[lead] + " is for " + kNames[k] +
                         " but received " + Describe(env, argv[k]));
      return nullptr;
    }
    if (k != kArgM && k != kArgU && view[k].length != total) {
      ThrowRange(env, LengthMessage(kNames[k], Size(total), view[k].length));
      return nullptr;
    }
  }
  // A network that also predicts a variance returns longer samples: the first n elements of each count.
  const bool doubled = flags & kFlagDoubled;
  const View &m = view[kArgM], &u = view[kArgU];
  if (m.present) {
    const size_t parts = doubled ? 2 * call.batch : call.batch;
    if (m.length % parts != 0 || m.length / parts < call.n) {
      ThrowRange(env,
                 LengthMessage("m", Size(parts * call.n) + " (" + Size(parts) + " samples of " + Size(call.n) + ")",
                               m.length));
      return nullptr;
    }
    call.m_stride = m.length / parts;
  }
  if (u.present && !m.present) {
    ThrowType(env, "Expected m beside u but received " + Describe(env, argv[kArgM]));
    return nullptr;
  }
  if (doubled && !m.present) {
    ThrowType(env, "Expected a doubled m for m but received " + Describe(env, argv[kArgM]));
    return nullptr;
  }
  if (u.present && (doubled || u.length != m.length)) {
    ThrowRange(env, doubled ? "Expected no u beside a doubled m but received one"
                            : LengthMessage("u", Size(m.length) + " as m has", u.length));
    return nullptr;
  }
  const View& next = view[kArgNext];
  if (next.present && ((next.length != total && next.length != 2 * total) || !view[kArgOut].present)) {
    ThrowRange(env, view[kArgOut].present ? LengthMessage("next", Size(total) + " or " + Size(2 * total), next.length)
                                          : std::string("Expected out beside next but received none"));
    return nullptr;
  }

  bool given = false, made = false;
  for (size_t b = 0; b < call.batch; ++b) {
    const double transform = row[b * kRowLength + kTransform];
    if (!(transform == 0 || transform == 1 || transform == 2 || transform == 3)) {
      ThrowRange(env, "Expected a transform from 0 to 3 in row " + Size(first + b) + " but received another number");
      return nullptr;
    }
    const double* r = row + b * kRowLength;
    // The bounds divide: as float32 they must not have become zero.
    const auto positive = [&](double bound) {
      return (call.state == Type::f64 ? bound : static_cast<double>(static_cast<float>(bound))) > 0;
    };
    if (transform == 2 && !(r[kRatio] >= 0 && r[kRatio] <= 1 && positive(r[kFloor]) && positive(r[kCap]))) {
      ThrowRange(env, "Expected a ratio from 0 to 1 and a positive floor and cap in row " + Size(first + b) +
                          " but received others");
      return nullptr;
    }
    if (transform == 1 && !(r[kFloor] >= 0)) {
      ThrowRange(env, "Expected a bound from 0 on for the clamp of row " + Size(first + b) + " but received another");
      return nullptr;
    }
    (transform == 3 ? given : made) = true;
  }
  if (given && (made || !view[kArgP].present)) {
    ThrowRange(env, made ? "Expected transform 3 in all rows of a call or in none but received a mixture"
                         : "Expected p for rows with transform 3 but received none");
    return nullptr;
  }
  if (made && !m.present && !view[kArgX].present) {
    ThrowType(env, "Expected x or m to predict from but received neither");
    return nullptr;
  }

  // m, and u where it is the first half of m, cover only part of a longer sample: for them nothing may coincide then.
  const bool strided = call.m_stride != call.n;
  const auto half = [&](int part) -> Range {
    const size_t bytes = doubled ? m.bytes() / 2 : m.bytes();
    return {"m", static_cast<const char*>(m.data) + part * bytes, bytes, strided ? Type::none : m.type};
  };
  Range inputs[16], outputs[6];
  int input_count = 0, output_count = 0;
  for (const int k : {kArgX, kArgG, kArgBase, kArgD1, kArgD2, kArgD3, kArgZ}) {
    if (view[k].present) inputs[input_count++] = {kNames[k], view[k].data, view[k].bytes(), view[k].type};
  }
  if (m.present) inputs[input_count++] = half(0);
  if (m.present && doubled) inputs[input_count++] = half(1);
  if (u.present) inputs[input_count++] = {"u", u.data, u.bytes(), strided ? Type::none : u.type};
  if (given) inputs[input_count++] = {"p", view[kArgP].data, view[kArgP].bytes(), view[kArgP].type};
  inputs[input_count++] = {"rows", rows.data, rows.bytes(), Type::none};
  for (const int k : {kArgD0, kArgOut, kArgOut2}) {
    if (view[k].present) outputs[output_count++] = {kNames[k], view[k].data, view[k].bytes(), view[k].type};
  }
  if (!given && view[kArgP].present) {
    outputs[output_count++] = {"p", view[kArgP].data, view[kArgP].bytes(), Type::none};
  }
  if (next.present) outputs[output_count++] = {"next", next.data, next.bytes(), Type::none};
  if (scratch.present) outputs[output_count++] = {"scratch", scratch.data, scratch.length, Type::none};
  if (!CheckMemory(env, outputs, output_count, inputs, input_count)) return nullptr;

  const auto buffer = [&](int k) { return Buffer{view[k].present ? view[k].data : nullptr, view[k].type}; };
  call.x = buffer(kArgX);
  call.m = buffer(kArgM);
  call.u = buffer(kArgU);
  if (doubled && m.present) {
    call.u = call.m;
    call.m.data = static_cast<char*>(m.data) + m.bytes() / 2;
  }
  call.g = buffer(kArgG);
  call.base = buffer(kArgBase);
  call.p = buffer(kArgP);
  call.d1 = buffer(kArgD1);
  call.d2 = buffer(kArgD2);
  call.d3 = buffer(kArgD3);
  call.z = buffer(kArgZ);
  call.d0 = buffer(kArgD0);
  call.out = buffer(kArgOut);
  call.out2 = buffer(kArgOut2);
  if (next.present) {
    call.next[0] = {next.data, next.type};
    if (next.length != total) call.next[1] = {static_cast<char*>(next.data) + next.bytes() / 2, next.type};
  }
  const int64_t status = Step(call);
  if (status == kStepOutOfMemory) return OutOfMemory(env, "the quantile's working space");
  return Number(env, static_cast<double>(status));
}

}  // namespace dpm::addon
