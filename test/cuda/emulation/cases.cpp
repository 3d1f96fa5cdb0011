// Random steps through the kernels under emulation, compared with the CPU path bit for bit.
// Usage: cases [--cases N] [--seed S] [--only step|cluster|team|wide|error|noise] [--verbose]
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <memory>
#include <random>
#include <string>
#include <type_traits>
#include <vector>

#include "cpu/guide.h"
#include "cpu/kernels.h"
#include "cpu/step.h"
#include "cuda/guide.h"
#include "cuda/noise.h"
#include "cuda/plan.h"
#include "cuda/reduce.h"
#include "cuda/step.h"
#include "cuda/threshold.h"
#include "cuda/wide.h"

namespace dpm {

// One instruction set is enough for a reference: all of them give the same bits.
const Kernels& ActiveKernels() {
#if defined(__x86_64__)
  return *KernelsSse2();
#else
  return *KernelsNeon();
#endif
}

namespace cuda {
namespace {

using emulation::Launch;
using emulation::Order;

std::mt19937_64 random_;
uint32_t Below(uint32_t n) { return static_cast<uint32_t>(random_() % n); }
bool Chance(double p) { return static_cast<double>(random_() >> 11) * 0x1p-53 < p; }
double Uniform(double low, double high) { return low + (high - low) * static_cast<double>(random_() >> 11) * 0x1p-53; }
double Normal() { return std::normal_distribution<double>()(random_); }
template <class T>
T Pick(std::initializer_list<T> list) {
  return list.begin()[Below(static_cast<uint32_t>(list.size()))];
}

// Elements of 2, 4 or 8 bytes, `shift` of them past an address that is a multiple of 16; not one byte more than that.
struct Operand {
  std::unique_ptr<char, void (*)(void*)> memory{nullptr, std::free};
  size_t bytes = 0, size = 4, shift = 0, count = 0;
  bool Present() const { return memory != nullptr; }
  void* Data() const { return memory ? memory.get() + shift * size : nullptr; }
  template <class T>
  T* As() const {
    return static_cast<T*>(Data());
  }
  void Make(size_t elements, size_t element_size, size_t by) {
    size = element_size, shift = by, count = elements;
    bytes = (elements + by) * element_size;
    void* p = nullptr;
    if (posix_memalign(&p, 16, bytes ? bytes : 1) != 0) std::abort();
    memory.reset(static_cast<char*>(p));
    std::memset(p, 0x5a, bytes);
  }
  Operand Clone() const {
    Operand other;
    if (!memory) return other;
    other.Make(count, size, shift);
    std::memcpy(other.memory.get(), memory.get(), bytes);
    return other;
  }
};

enum Name { kX, kM, kU, kG, kBase, kP, kD1, kD2, kD3, kZ, kD0, kOut, kOut2, kNext0, kNext1, kNames };
const char* const kNameOf[kNames] = {"x",  "m", "u",  "g",   "base", "p",     "d1",   "d2",
                                     "d3", "z", "d0", "out", "out2", "next0", "next1"};

struct Memory {
  Operand own[kNames];
  int alias[kNames];  // whose memory an operand is
  Memory() {
    for (int k = 0; k < kNames; ++k) alias[k] = k;
  }
  const Operand& Of(int name) const { return own[alias[name]]; }
  Memory Clone() const {
    Memory other;
    for (int k = 0; k < kNames; ++k) other.own[k] = own[k].Clone(), other.alias[k] = alias[k];
    return other;
  }
};

struct Case {
  Kernel kernel = Kernel::step;
  NetType type = NetType::f32;
  bool general = false;
  size_t batch = 1, n = 1, m_stride = 1;
  bool doubled = false;
  NetType next_type = NetType::f32;
  NetType state = NetType::f32;
  bool philox = false;
  bool given = false;
  std::vector<double> rows;
  std::vector<uint32_t> keys;
  Memory memory;
  Launch launch;
  TeamArgs team;
  std::string Describe() const {
    char text[400];
    std::snprintf(
        text, sizeof text,
        "kernel %d type %d general %d batch %zu n %zu stride %zu doubled %d next %d philox %d given %d threads "
        "%u grid %u,%u team %u chunk %u chunks %u rounds %u resident %u teams %u",
        static_cast<int>(kernel), static_cast<int>(type), general, batch, n, m_stride, doubled,
        static_cast<int>(next_type), philox, given, launch.threads, launch.grid_x, launch.grid_y, team.size, team.chunk,
        team.chunks, team.rounds, team.resident, team.teams);
    return text;
  }
};

size_t SizeOf(NetType type) { return type == NetType::f64 ? 8 : type == NetType::f32 ? 4 : 2; }
double Decode(NetType type, const void* from, size_t i) {
  if (type == NetType::f64) return static_cast<const double*>(from)[i];
  if (type == NetType::f32) return static_cast<const float*>(from)[i];
  const uint16_t h = static_cast<const uint16_t*>(from)[i];
  const uint32_t bits = type == NetType::f16 ? HalfToFloatBits(h) : BfloatToFloatBits(h);
  float f;
  std::memcpy(&f, &bits, 4);
  return f;
}
void Encode(NetType type, void* to, size_t i, double value) {
  if (type == NetType::f64) {
    static_cast<double*>(to)[i] = value;
    return;
  }
  const float f = type == NetType::f32 ? static_cast<float>(value) : RoundToOdd(value);
  uint32_t bits;
  std::memcpy(&bits, &f, 4);
  if (type == NetType::f32) {
    static_cast<float*>(to)[i] = f;
  } else {
    static_cast<uint16_t*>(to)[i] = type == NetType::f16 ? FloatBitsToHalf(bits) : FloatBitsToBfloat(bits);
  }
}

double Coefficient() {
  if (Chance(0.2)) return 0;
  if (Chance(0.15)) return Pick({1.0, -1.0});
  if (Chance(0.02)) return 1e-60;  // zero in float32, yet a term
  return Normal();
}

void MakeRow(double* row, bool quantile, bool given) {
  for (int k = 0; k < kRowLength; ++k) row[k] = 0;
  for (int k = kCx; k <= kCg; ++k) row[k] = Coefficient();
  for (int k = 0; k < kSumLength; ++k) row[kFirst + k] = Coefficient(), row[kSecond + k] = Coefficient();
  row[kEp] = 1;
  if (Chance(0.3)) {
    for (int k = kEp; k <= kEu; ++k) row[k] = Coefficient();
  }
  row[kTransform] = given ? 3 : quantile && Chance(0.85) ? 2 : Below(2);
  row[kRatio] = Pick({0.995, 0.995, 0.95, 0.5, 1.0, 0.0, Uniform(0, 1), Uniform(0.9, 1)});
  row[kFloor] = Pick({1.0, 1.0, 1.0, 0.25, 1e-3, 2.5, 1e-42, 30.0});
  row[kCap] = Pick({1.5, 1.5, 100.0, 3.0, std::numeric_limits<double>::infinity(), 1e300});
  if (Chance(0.1)) row[kCap] = row[kFloor];
  if (Chance(0.05)) row[kCap] = row[kFloor] * 0.5;
  if (Chance(0.05)) row[kCap] = row[kFloor] * (1 + 1e-12);  // apart in double only
  if (Chance(0.1)) row[kCap] = row[kFloor] * (1 + Uniform(0, 1e-5));
}

// In double precision: x itself is the result, and lies so close to the middle between two float16 or bfloat16 that a
// rounding to float32 on the way would move it there.
void MakeTies(Case& c) {
  for (size_t b = 0; b < c.batch; ++b) {
    double* const row = c.rows.data() + b * kRowLength;
    for (int k = 0; k < kRowLength; ++k) row[k] = 0;
    row[kCx] = row[kEp] = row[kFirst + kBp] = 1;
  }
  const int bits = c.next_type == NetType::bf16 ? 8 : 11;  // of the significand
  double* const x = c.memory.own[kX].As<double>();
  for (size_t i = 0; i < c.memory.own[kX].count; ++i) {
    const double half = (2.0 * Below(1u << (bits - 1)) + 1) / (1u << bits);  // of units in the last place
    const double middle = 1 + half;
    x[i] = std::ldexp(Chance(0.5) ? middle : -middle, static_cast<int>(Below(8)) - 4) * (1 + Pick({-0x1p-40, 0x1p-40}));
  }
}

Case MakeCase(int only) {
  Case c;
  c.kernel = only >= 0 ? static_cast<Kernel>(only)
                       : Pick({Kernel::step, Kernel::step, Kernel::cluster, Kernel::cluster, Kernel::team});
  if (c.kernel == Kernel::wide && Chance(0.5)) c.kernel = Kernel::wide_select;
  const bool wide = c.kernel == Kernel::wide || c.kernel == Kernel::wide_select;
  c.type = Pick({NetType::f32, NetType::f32, NetType::f16, NetType::bf16});
  c.next_type = Pick({NetType::f32, NetType::f16, NetType::bf16});
  if (wide) {
    c.type = c.state = NetType::f64;
    if (Chance(0.5)) c.next_type = NetType::f64;
  }
  const size_t state = SizeOf(c.state);
  c.general = wide || Chance(0.5);
  c.batch = 1 + Below(3);
  c.n = Chance(0.15) ? 1 + Below(12) : Pick({8u, 24u, 40u, 100u, 256u, 333u, 512u, 1000u, 1021u, 2048u}) + Below(3);
  c.m_stride = c.n + (Chance(0.2) ? Pick({c.n, size_t{8}}) : 0);
  if (!c.general) {
    c.n = (c.n + 3) / 4 * 4;
    c.m_stride = (c.m_stride + 3) / 4 * 4;
  }
  const bool quantile = (c.kernel != Kernel::step && c.kernel != Kernel::wide) || Chance(0.1);
  c.given = c.general && Chance(0.1);
  c.doubled = Chance(0.3);
  c.philox = c.general && Chance(0.4);

  Memory& m = c.memory;
  const size_t total = c.batch * c.n;
  const auto shift = [&] { return c.general && Chance(0.3) ? Below(8) : 0; };
  const auto have = [&](int name, double chance, size_t count, size_t size) {
    if (Chance(chance)) m.own[name].Make(count, size, shift());
  };
  have(kX, 0.9, total, state);
  have(kM, m.own[kX].Present() ? 0.95 : 1, c.batch * c.m_stride * (c.doubled ? 2 : 1), SizeOf(c.type));
  c.doubled = c.doubled && m.own[kM].Present();
  if (!c.doubled && m.own[kM].Present()) have(kU, 0.4, c.batch * c.m_stride, SizeOf(c.type));
  if (c.general) have(kG, 0.3, total, SizeOf(c.type));
  if (Chance(0.5) && m.own[kX].Present()) {
    m.alias[kBase] = kX;
  } else {
    have(kBase, 0.9, total, state);
  }
  if (c.general) have(kP, c.given ? 1 : 0.4, total, state);
  have(kD1, 0.6, total, state);
  have(kD2, 0.4, total, state);
  if (c.general) have(kD3, 0.3, total, state);
  if (!c.philox) have(kZ, 0.3, total, state);
  const auto result = [&](int name, double chance) {
    if (!Chance(chance)) return;
    if (Chance(0.4)) {  // in place
      const int over = Pick({kX, kBase, kD1, kD2, kD3, kZ});
      bool taken = !m.own[over].Present() || m.alias[over] != over;
      for (int k = 0; k < name; ++k) taken = taken || (k >= kD0 && m.alias[k] == over);
      if (!taken) {
        m.alias[name] = over;
        return;
      }
    }
    m.own[name].Make(total, state, shift());
  };
  result(kD0, 0.8);
  result(kOut, 0.9);
  if (c.general) result(kOut2, 0.4);
  if (m.Of(kOut).Present()) {
    have(kNext0, 0.6, total, SizeOf(c.next_type));
    if (m.own[kNext0].Present()) have(kNext1, 0.5, total, SizeOf(c.next_type));
  }

  const int pattern = static_cast<int>(Below(8));
  const double scale = Pick({1.0, 1.0, 0.3, 2.8, 20.0});
  const auto number = [&]() -> double {
    if (pattern == 0) return std::round(4 * scale * Normal()) / 4;  // ties
    if (pattern == 1) return scale;
    return scale * Normal();
  };
  for (int name = kX; name <= kZ; ++name) {
    Operand& o = m.own[name];
    if (!o.Present()) continue;
    const NetType type = name == kM || name == kU || name == kG ? c.type : c.state;
    if (name == kP && !c.given) continue;
    for (size_t i = 0; i < o.count; ++i) Encode(type, o.Data(), i, number());
  }
  if (Chance(0.12)) {
    Operand& o = m.own[m.own[kM].Present() ? kM : kX];
    const NetType type = m.own[kM].Present() ? c.type : c.state;
    const float bad = Pick({std::numeric_limits<float>::infinity(), std::numeric_limits<float>::quiet_NaN()});
    const uint32_t times = Chance(0.3) ? 1 + Below(static_cast<uint32_t>(o.count)) : 1;
    for (uint32_t k = 0; k < times; ++k) {
      Encode(type, o.Data(), Below(static_cast<uint32_t>(o.count)), Chance(0.5) ? -bad : bad);
    }
  }
  c.rows.resize(c.batch * kRowLength);
  c.keys.resize(c.batch * 4);
  for (size_t b = 0; b < c.batch; ++b) {
    double* const row = c.rows.data() + b * kRowLength;
    MakeRow(row, quantile, c.given);
    if (Chance(0.1) && c.n > 2) {
      // A rank just below or above a whole number, closer than single precision tells apart.
      const double rank = 1 + Below(static_cast<uint32_t>(c.n - 2));
      row[kRatio] = rank * (1 + Pick({-2.5e-8, 2.5e-8})) / static_cast<double>(c.n - 1);
    }
  }
  for (uint32_t& word : c.keys) word = static_cast<uint32_t>(random_());
  if (wide && m.own[kX].Present() && Chance(0.2)) MakeTies(c);

  Launch& l = c.launch;
  l.blocks = Pick({Order::ascending, Order::descending, Order::random});
  l.fibers = Pick({Order::ascending, Order::descending, Order::random});
  l.seed = random_();
  l.threads = Pick({32u, 64u, 128u});
  if (c.kernel == Kernel::step || c.kernel == Kernel::wide) {
    l.grid_x = 1 + Below(4);
    l.grid_y = 1 + Below(static_cast<uint32_t>(c.batch));
    l.shared_words = kWideNumbers;
    if (c.kernel == Kernel::wide) return c;
    const uint64_t vectors = VectorsOf(c.n, kVector);
    c.team.chunk = !c.general && Chance(0.7) ? 64 : 32;
    c.team.chunks = static_cast<uint32_t>(DivideUp(vectors, c.team.chunk));
    l.grid_y = 1;
    l.shared_words = 0;
    return c;
  }
  if (c.kernel == Kernel::wide_select) {
    l.grid_x = 1 + Below(static_cast<uint32_t>(c.batch));
    l.shared_words = kSharedPredictions + kWideNumbers;
    return c;
  }
  TeamArgs& t = c.team;
  t.size = c.kernel == Kernel::cluster ? Pick({1u, 2u, 4u, 8u}) : Pick({1u, 2u, 3u, 5u});
  const uint32_t warps = l.threads / 32;
  t.chunk = !c.general && Chance(0.7) ? 64 : 32;
  t.chunks = static_cast<uint32_t>(DivideUp(VectorsOf(c.n, kVector), t.chunk));
  t.rounds = static_cast<uint32_t>(DivideUp(t.chunks, t.size * warps));
  t.resident = c.kernel == Kernel::cluster || Chance(0.6) ? t.rounds : Below(t.rounds + 1);
  t.teams = 1 + Below(static_cast<uint32_t>(c.batch));
  l.team = t.size;
  l.cluster = c.kernel == Kernel::cluster;
  if (l.cluster && Chance(0.7)) t.teams = static_cast<uint32_t>(c.batch);
  l.grid_x = t.size * t.teams;
  l.shared_words = kSharedPredictions + t.resident * warps * t.chunk * kVector;
  return c;
}

template <NetType kType, bool kGeneral>
void RunKernel(const Case& c, const StepArgs& a) {
  switch (c.kernel) {
    case Kernel::step:
      return emulation::Run(c.launch, [&] { StepKernel<kType, kGeneral, kVector>::Run(a, c.team); });
    case Kernel::cluster:
      return emulation::Run(c.launch, [&] { ThresholdKernel<ClusterTeam, kType, kGeneral, kVector>::Run(a, c.team); });
    default:
      return emulation::Run(c.launch, [&] { ThresholdKernel<GridTeam, kType, kGeneral, kVector>::Run(a, c.team); });
  }
}

template <bool kGeneral>
void RunType(const Case& c, const StepArgs& a) {
  if (c.kernel == Kernel::wide) return emulation::Run(c.launch, [&] { WideKernel<false>::Run(a); });
  if (c.kernel == Kernel::wide_select) return emulation::Run(c.launch, [&] { WideKernel<true>::Run(a); });
  switch (c.type) {
    case NetType::f16:
      return RunKernel<NetType::f16, kGeneral>(c, a);
    case NetType::bf16:
      return RunKernel<NetType::bf16, kGeneral>(c, a);
    default:
      return RunKernel<NetType::f32, kGeneral>(c, a);
  }
}

[[noreturn]] void Wrong(const Case& c, const std::string& what) {
  std::fflush(stdout);
  std::fprintf(stderr, "wrong: %s\n  %s\n", what.c_str(), c.Describe().c_str());
  std::_Exit(2);
}

void OnDevice(Case& c, std::vector<uint32_t>& flags) {
  const Memory& m = c.memory;
  StepArgs a;
  a.rows = c.rows.data();
  a.x = m.Of(kX).As<float>();
  a.m = m.Of(kM).Data();
  a.u = m.Of(kU).Data();
  if (c.doubled) {
    a.u = a.m;
    a.m = m.Of(kM).As<char>() + c.batch * c.m_stride * SizeOf(c.type);
  }
  a.g = m.Of(kG).Data();
  a.base = m.Of(kBase).As<float>();
  a.p = m.Of(kP).As<float>();
  a.d1 = m.Of(kD1).As<float>();
  a.d2 = m.Of(kD2).As<float>();
  a.d3 = m.Of(kD3).As<float>();
  a.z = m.Of(kZ).As<float>();
  a.noise = c.philox ? c.keys.data() : nullptr;
  a.d0 = m.Of(kD0).As<float>();
  a.out = m.Of(kOut).As<float>();
  a.out2 = m.Of(kOut2).As<float>();
  a.next[0] = m.Of(kNext0).Data();
  a.next[1] = m.Of(kNext1).Data();
  a.next_type = static_cast<int>(c.next_type);
  a.flags = flags.data();
  a.n = c.n;
  a.m_stride = c.m_stride;
  a.batch = static_cast<uint32_t>(c.batch);

  emulation::ForgetBuffers();
  for (int k = 0; k < kNames; ++k) {
    const Operand& o = m.own[k];
    if (!o.Present()) continue;
    emulation::KnowBuffer(o.Data(), o.count * o.size, o.size, k < kD0 && !(k == kP && !c.given));
  }
  emulation::KnowBuffer(c.rows.data(), c.rows.size() * 8, 8, true);
  emulation::KnowBuffer(c.keys.data(), c.keys.size() * 4, 4, true);
  emulation::KnowBuffer(flags.data(), flags.size() * 4, 4, true);
  std::vector<uint32_t> workspace;
  if (c.kernel == Kernel::team && c.team.size > 1) {
    workspace.assign(static_cast<size_t>(c.team.teams) * kWorkspaceWords, 0);
    c.team.workspace = workspace.data();
    emulation::KnowBuffer(workspace.data(), workspace.size() * 4, 4, true);
  }
  c.general ? RunType<true>(c, a) : RunType<false>(c, a);
  for (const uint32_t word : workspace) {
    if (word != 0) Wrong(c, "the workspace was not left as it was found");
  }
}

// The CPU's step, a sample at a time; per sample whether its predictions are finite.
template <class T>
void OnProcessor(const Case& c, const Memory& m, std::vector<bool>& finite, bool check) {
  const size_t n = c.n;
  constexpr Type kType = sizeof(T) == 8 ? Type::f64 : Type::f32;
  std::vector<T> network[3], z, next;
  for (size_t b = 0; b < c.batch; ++b) {
    const auto decode = [&](std::vector<T>& to, const void* from, size_t first) {
      to.resize(n);
      for (size_t i = 0; i < n; ++i) to[i] = static_cast<T>(Decode(c.type, from, first + i));
      return Buffer{to.data(), kType};
    };
    const auto state = [&](int name) {
      const Operand& o = m.Of(name);
      return o.Present() ? Buffer{o.As<T>() + b * n, kType} : Buffer{};
    };
    StepCall call;
    call.state = kType;
    call.batch = 1, call.n = n, call.m_stride = n;
    call.rows = c.rows.data() + b * kRowLength;
    call.check_finite = check;
    call.threads = 1;
    call.x = state(kX), call.base = state(kBase), call.p = state(kP);
    call.d1 = state(kD1), call.d2 = state(kD2), call.d3 = state(kD3), call.z = state(kZ);
    call.d0 = state(kD0), call.out = state(kOut), call.out2 = state(kOut2);
    const size_t second = c.doubled ? c.batch * c.m_stride : 0;
    if (m.Of(kM).Present()) call.m = decode(network[0], m.Of(kM).Data(), second + b * c.m_stride);
    if (c.doubled) call.u = decode(network[1], m.Of(kM).Data(), b * c.m_stride);
    if (m.Of(kU).Present()) call.u = decode(network[1], m.Of(kU).Data(), b * c.m_stride);
    if (m.Of(kG).Present()) call.g = decode(network[2], m.Of(kG).Data(), b * n);
    if (c.philox) {
      const uint32_t* const key = c.keys.data() + 4 * b;
      z.resize((n + 3) / 4 * 4);
      for (size_t i = 0; i < n; i += 4) {
        noise::PhiloxNormal4(key[0] | static_cast<uint64_t>(key[1]) << 32, i / 4, key[2], key[3], z.data() + i);
      }
      call.z = {z.data(), kType};
    }
    next.assign(n, 0);
    if (m.Of(kNext0).Present()) call.next[0] = {next.data(), kType};
    finite[b] = Step(call) == kStepDone;
    for (const int k : {kNext0, kNext1}) {
      if (!m.Of(k).Present()) continue;
      for (size_t i = 0; i < n; ++i) Encode(c.next_type, m.Of(k).Data(), b * n + i, next[i]);
    }
  }
}

bool Same(NetType type, const void* a, const void* b, size_t i) {
  const double x = Decode(type, a, i), y = Decode(type, b, i);
  if (x != x && y != y) return true;
  return std::memcmp(&x, &y, 8) == 0;
}

void Check(Case& c) {
  Memory reference = c.memory.Clone(), checked = c.memory.Clone();
  const Memory before = c.memory.Clone();
  std::vector<bool> finite(c.batch), ignored(c.batch);
  const auto processor = c.state == NetType::f64 ? OnProcessor<double> : OnProcessor<float>;
  processor(c, reference, ignored, false);
  processor(c, checked, finite, true);
  std::vector<uint32_t> flags(c.batch, 0);
  OnDevice(c, flags);
  for (size_t b = 0; b < c.batch; ++b) {
    const double* const row = c.rows.data() + b * kRowLength;
    const bool selects = row[kTransform] == 2 && row[kFloor] < row[kCap];
    if (selects && (c.kernel == Kernel::step || c.kernel == Kernel::wide)) {
      // Refused: the flag says so, and nothing was written.
      if (flags[b] != kNeedsSelection) Wrong(c, "a row that needs a selection was not refused");
      for (int k = 0; k < kNames; ++k) {
        const Operand &mine = c.memory.Of(k), &old = before.Of(k);
        const size_t bytes = c.n * mine.size;
        if (!mine.Present() || k == kM || k == kU) continue;
        if (std::memcmp(mine.As<char>() + b * bytes, old.As<char>() + b * bytes, bytes) != 0) {
          Wrong(c, "a row that needs a selection was not refused");
        }
      }
      continue;
    }
    if (flags[b] != (finite[b] ? 0 : kNotFinite)) {
      Wrong(c, "flags of sample " + std::to_string(b) + ": " + std::to_string(flags[b]));
    }
    for (int k = 0; k < kNames; ++k) {
      const Operand& mine = c.memory.Of(k);
      if (!mine.Present() || (k >= kM && k <= kG)) continue;
      const NetType type = k >= kNext0 ? c.next_type : c.state;
      for (size_t i = b * c.n; i < (b + 1) * c.n; ++i) {
        if (Same(type, mine.Data(), reference.Of(k).Data(), i)) continue;
        char text[200];
        std::snprintf(text, sizeof text, "%s[%zu] is %.17g, not %.17g (transform %g ratio %g floor %g cap %g)",
                      kNameOf[k], i, Decode(type, mine.Data(), i), Decode(type, reference.Of(k).Data(), i),
                      row[kTransform], row[kRatio], row[kFloor], row[kCap]);
        Wrong(c, text);
      }
    }
  }
}

// The error of an adaptive step, compared with the CPU's.
template <class T>
void CheckError() {
  ErrorArgs a;
  a.wide = sizeof(T) == 8;
  a.batch = 1 + Below(3);
  a.n = Chance(0.3) ? 1 + Below(40) : Chance(0.8) ? 1 + Below(5000) : kReduceBlock * (1 + Below(2)) - 20 + Below(40);
  a.atol = Pick({0.0078, 1e-3, 1.0}), a.rtol = Pick({0.05, 1e-3, 0.0});
  const size_t total = a.batch * a.n;
  std::vector<T> low(total), high(total), previous(total);
  for (size_t i = 0; i < total; ++i) {
    low[i] = static_cast<T>(Normal()), previous[i] = static_cast<T>(Normal());
    high[i] = low[i] + static_cast<T>(0.01 * Normal());
  }
  if (Chance(0.1)) high[Below(static_cast<uint32_t>(total))] = std::numeric_limits<T>::quiet_NaN();
  const uint32_t stretches = static_cast<uint32_t>(DivideUp(a.n, kReduceBlock));
  std::vector<double> partial(a.batch * stretches), out(a.batch);
  a.low = low.data(), a.high = high.data(), a.previous = previous.data(), a.partial = partial.data();
  a.out = out.data();
  Launch l;
  l.blocks = Pick({Order::ascending, Order::descending, Order::random});
  l.fibers = Pick({Order::ascending, Order::descending, Order::random});
  l.seed = random_();
  l.threads = Pick({32u, 64u, 128u, 256u});
  l.grid_x = stretches, l.grid_y = 1 + Below(a.batch);
  l.shared_words = 2 * kReduceTile;
  emulation::ForgetBuffers();
  for (const std::vector<T>* v : {&low, &high, &previous}) {
    emulation::KnowBuffer(v->data(), v->size() * sizeof(T), sizeof(T), true);
  }
  emulation::KnowBuffer(partial.data(), partial.size() * 8, 8, false);
  emulation::Run(l, [&] { ErrorKernel<T>::Run(a); });
  emulation::ForgetBuffers();
  emulation::KnowBuffer(partial.data(), partial.size() * 8, 8, true);
  emulation::KnowBuffer(out.data(), out.size() * 8, 8, false);
  l.grid_x = 1 + Below(2), l.grid_y = 1, l.shared_words = 0;
  emulation::Run(l, [&] { ErrorEnd::Run(a, stretches); });
  for (uint32_t b = 0; b < a.batch; ++b) {
    bool out_of_memory = false;
    const double expected = ErrorNorm(low.data() + b * a.n, high.data() + b * a.n, previous.data() + b * a.n,
                                      a.wide ? Type::f64 : Type::f32, a.n, a.atol, a.rtol, 1, &out_of_memory);
    if (Same(NetType::f64, &out[b], &expected, 0)) continue;
    std::fprintf(stderr, "wrong: the error of sample %u of %u (n %llu, wide %d) is %.17g, not %.17g\n", b, a.batch,
                 static_cast<unsigned long long>(a.n), a.wide, out[b], expected);
    std::_Exit(2);
  }
}

// Guidance whose weights the answers decide, compared with the CPU's.
template <NetType kType>
void CheckGuide() {
  constexpr bool kWide = kType == NetType::f64;
  using T = std::conditional_t<kWide, double, float>;
  using Element = std::conditional_t<kWide, double, std::conditional_t<kType == NetType::f32, float, uint16_t>>;
  GuideArgs a;
  a.type = kType;
  a.batch = 1 + Below(3);
  a.n = Chance(0.3) ? 1 + Below(40) : Chance(0.8) ? 1 + Below(5000) : kReduceBlock * (1 + Below(2)) - 20 + Below(40);
  a.m_stride = a.n;
  const int kind = static_cast<int>(Below(3));
  const bool keeps = kind == 2 && Chance(0.5);
  const double rescale = kind == 0 || Chance(0.5) ? 0.7 : 0;
  const double guide[kGuideLength] = {static_cast<double>(kind),
                                      Normal(),
                                      0.3,
                                      Pick({0.0, 0.5, 20.0}),
                                      rescale,
                                      static_cast<double>(Below(2)),
                                      Normal(),
                                      Normal(),
                                      Normal(),
                                      Normal()};
  const size_t total = a.batch * a.n;
  std::vector<T> x(total), kept(total);
  std::vector<Element> m(total), u(total);
  for (size_t i = 0; i < total; ++i) {
    x[i] = static_cast<T>(Normal()), kept[i] = static_cast<T>(Normal());
    for (std::vector<Element>* to : {&m, &u}) {
      if constexpr (sizeof(Element) == 2) {
        uint32_t bits;
        const float value = static_cast<float>(Normal());
        std::memcpy(&bits, &value, 4);
        (*to)[i] = FloatBitsToHalf(bits);
      } else {
        (*to)[i] = static_cast<Element>(Normal());
      }
    }
  }
  const uint32_t stretches = static_cast<uint32_t>(DivideUp(a.n, kReduceBlock));
  std::vector<double> work(a.batch * (stretches * kPairSums + kGuideOperands)), rows(a.batch * kRowLength, 7);
  a.rows = rows.data(), a.guide = guide, a.x = x.data(), a.m = m.data(), a.u = u.data(), a.work = work.data();
  a.kept = keeps ? kept.data() : nullptr;
  a.looks = kind != 0, a.rescales = rescale != 0;
  Launch l;
  l.blocks = Pick({Order::ascending, Order::descending, Order::random});
  l.fibers = Pick({Order::ascending, Order::descending, Order::random});
  l.seed = random_();
  const uint32_t threads = Pick({96u, 128u, 256u});
  const auto know = [&] {
    emulation::ForgetBuffers();
    for (const std::vector<T>* v : {&x, &kept}) emulation::KnowBuffer(v->data(), total * sizeof(T), sizeof(T), true);
    for (const std::vector<Element>* v : {&m, &u}) {
      emulation::KnowBuffer(v->data(), total * sizeof(Element), sizeof(Element), true);
    }
    emulation::KnowBuffer(guide, sizeof guide, 8, true);
    emulation::KnowBuffer(work.data(), work.size() * 8, 8, true);
    emulation::KnowBuffer(rows.data(), rows.size() * 8, 8, true);
  };
  for (const bool second : {false, true}) {
    if (second && !a.rescales) break;
    if (second || a.looks) {
      know();
      l.threads = threads, l.grid_x = stretches, l.grid_y = 1 + Below(a.batch), l.shared_words = kPairShared / 4;
      emulation::Run(l, [&] { second ? PairKernel<kType, true>::Run(a) : PairKernel<kType, false>::Run(a); });
    }
    know();
    l.threads = 32, l.grid_x = 1 + Below(2), l.grid_y = 1, l.shared_words = 0;
    emulation::Run(l, [&] { second ? GuideEnd<true>::Run(a, stretches) : GuideEnd<false>::Run(a, stretches); });
  }
  std::vector<double> expected(a.batch * kGuideOperands);
  GuideCall c;
  const Type state = kWide ? Type::f64 : Type::f32, network = sizeof(Element) == 2 ? Type::f16 : state;
  c.state = state, c.batch = a.batch, c.n = c.m_stride = a.n, c.guide = guide, c.threads = 1, c.out = expected.data();
  c.x = {x.data(), state}, c.m = {m.data(), network}, c.u = {u.data(), network};
  if (keeps) c.kept = {kept.data(), state};
  Guide(c);
  for (uint32_t b = 0; b < a.batch; ++b) {
    for (int k = 0; k < kGuideOperands; ++k) {
      const double found = rows[b * kRowLength + kCx + k];
      if (std::memcmp(&found, &expected[b * kGuideOperands + k], 8) == 0) continue;
      std::fprintf(stderr, "wrong: weight %d of sample %u of %u (n %llu, kind %d) is %.17g, not %.17g\n", k, b, a.batch,
                   static_cast<unsigned long long>(a.n), kind, found, expected[b * kGuideOperands + k]);
      std::_Exit(2);
    }
  }
}

// Noise by itself, compared with the CPU's: elements of a sample, one block of Philox after the other.
template <class T>
void CheckNoise() {
  NoiseArgs a;
  a.n = Chance(0.5) ? 1 + Below(20) : 1 + Below(3000);
  a.seed = random_(), a.step = static_cast<uint32_t>(random_()), a.stream = static_cast<uint32_t>(random_());
  const size_t shift = Below(4);
  std::vector<T> to(a.n + shift), expected(RoundUp(a.n, 4));
  a.to = to.data() + shift;
  for (size_t i = 0; i < a.n; i += 4) noise::PhiloxNormal4(a.seed, i / 4, a.step, a.stream, expected.data() + i);
  Launch l;
  l.blocks = Pick({Order::ascending, Order::descending, Order::random});
  l.fibers = Pick({Order::ascending, Order::descending, Order::random});
  l.seed = random_();
  l.threads = Pick({32u, 64u, 256u});
  l.grid_x = 1 + Below(4);
  emulation::ForgetBuffers();
  emulation::KnowBuffer(a.to, a.n * sizeof(T), sizeof(T), false);
  emulation::Run(l, [&] { NoiseKernel<T>::Run(a); });
  if (std::memcmp(a.to, expected.data(), a.n * sizeof(T)) == 0) return;
  std::fprintf(stderr, "wrong: noise of %llu elements (%zu bytes each)\n", static_cast<unsigned long long>(a.n),
               sizeof(T));
  std::_Exit(2);
}

}  // namespace
}  // namespace cuda
}  // namespace dpm

int main(int argc, char** argv) {
  using namespace dpm::cuda;
  uint64_t cases = 200, seed = 1;
  constexpr int kOnlyError = 100, kOnlyNoise = 101, kOnlyGuide = 102;
  int only = -1;
  bool verbose = false;
  for (int k = 1; k < argc; ++k) {
    const std::string word = argv[k];
    if (word == "--verbose") {
      verbose = true;
    } else if (k + 1 < argc) {
      const std::string value = argv[++k];
      if (word == "--cases") cases = std::stoull(value);
      if (word == "--seed") seed = std::stoull(value);
      if (word == "--only") {
        const std::string names[] = {"step", "cluster", "team", "wide"};
        only = value == "noise" ? kOnlyNoise : value == "guide" ? kOnlyGuide : kOnlyError;
        for (int name = 0; name < 4; ++name) only = value == names[name] ? name : only;
      }
    }
  }
  for (uint64_t k = 0; k < cases; ++k) {
    random_.seed(seed + k);
    if (only == kOnlyError) {
      Chance(0.5) ? CheckError<double>() : CheckError<float>();
      continue;
    }
    if (only == kOnlyNoise) {
      Chance(0.5) ? CheckNoise<double>() : CheckNoise<float>();
      continue;
    }
    if (only == kOnlyGuide) {
      switch (Below(3)) {
        case 0:
          CheckGuide<NetType::f64>();
          break;
        case 1:
          CheckGuide<NetType::f16>();
          break;
        default:
          CheckGuide<NetType::f32>();
      }
      continue;
    }
    Case c = MakeCase(only);
    if (verbose) {
      std::printf("%llu: %s\n", static_cast<unsigned long long>(seed + k), c.Describe().c_str());
      std::fflush(stdout);
    }
    Check(c);
  }
  const emulation::Totals& t = emulation::Counted();
  std::printf("%llu cases as on the CPU: %llu blocks, %llu threads, %llu barriers, %llu accesses\n",
              static_cast<unsigned long long>(cases), static_cast<unsigned long long>(t.blocks),
              static_cast<unsigned long long>(t.fibers), static_cast<unsigned long long>(t.barriers),
              static_cast<unsigned long long>(t.accesses));
  std::fflush(stdout);
  std::_Exit(0);  // the fibers' stacks are nobody's to free
}
