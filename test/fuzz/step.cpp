// The fused step, the quantile, the reductions and the conversions under libFuzzer: any row, any bits, any aliasing
// that the addon lets through, any type, any number of threads, with memory and threads that run out, on every
// instruction set that this processor has; compared bit by bit with a plain reference that is written here from the
// documentation (native/step/row.h). NaN counts as equal to NaN. scripts/fuzz.mjs builds and runs this.
#include "cpu/step.h"

#include <pthread.h>

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <vector>

#include "cpu/guide.h"
#include "cpu/kernels.h"
#include "step/guidance.h"

using namespace dpm;

// ---- what the native code finds instead of the system (linked with --wrap) ------------------------------------------

static bool no_memory = false, no_threads = false;
extern "C" {
void* __real_malloc(size_t bytes);
void* __wrap_malloc(size_t bytes) { return no_memory ? nullptr : __real_malloc(bytes); }
int __real_pthread_create(pthread_t*, const pthread_attr_t*, void* (*)(void*), void*);
int __wrap_pthread_create(pthread_t* thread, const pthread_attr_t* attributes, void* (*entry)(void*), void* argument) {
  return no_threads ? EAGAIN : __real_pthread_create(thread, attributes, entry, argument);
}
}

// In place of dispatch.cpp: the input picks the instruction set.
static const Kernels* active = nullptr;
namespace dpm {
const Kernels& ActiveKernels() { return *active; }
}  // namespace dpm

static std::vector<const Kernels*> Tables() {
  std::vector<const Kernels*> tables;
#if defined(__x86_64__)
  tables.push_back(KernelsSse2());
  if (__builtin_cpu_supports("avx2")) tables.push_back(KernelsAvx2());
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw")) tables.push_back(KernelsAvx512());
#else
  tables.push_back(KernelsNeon());
#endif
  return tables;
}

#define CHECK(condition, ...)                                     \
  do {                                                            \
    if (!(condition)) {                                           \
      std::fprintf(stderr, "%s: %s\n", active->name, #condition); \
      std::fprintf(stderr, __VA_ARGS__);                          \
      std::fputc('\n', stderr);                                   \
      std::abort();                                               \
    }                                                             \
  } while (false)

// ---- bytes into numbers ---------------------------------------------------------------------------------------------

struct Reader {
  const uint8_t* at;
  const uint8_t* end;
  uint8_t Byte() { return at < end ? *at++ : 0; }
  uint32_t Word() {
    uint32_t word = 0;
    for (int k = 0; k < 4; ++k) word |= static_cast<uint32_t>(Byte()) << (8 * k);
    return word;
  }
  uint64_t Long() { return Word() | static_cast<uint64_t>(Word()) << 32; }
  bool Flag() { return Byte() & 1; }
  size_t Below(size_t n) { return n > 256 ? Word() % n : Byte() % n; }
};

struct Random {
  uint64_t state;
  uint64_t Bits() {  // splitmix64
    uint64_t z = state += 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
  }
  double Uniform() { return static_cast<double>(Bits() >> 11) * 0x1p-53; }
};

template <class T>
T FromBits(uint64_t bits) {
  T value;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}

template <class T>
T Special(size_t which) {
  using L = std::numeric_limits<T>;
  const T values[] = {0,
                      -T(0),
                      1,
                      -1,
                      L::infinity(),
                      -L::infinity(),
                      L::quiet_NaN(),
                      L::signaling_NaN(),
                      L::denorm_min(),
                      -L::denorm_min(),
                      L::min(),
                      L::max(),
                      L::lowest(),
                      L::epsilon(),
                      std::nextafter(L::min(), T(0)),
                      T(65520),
                      T(65519.996),
                      T(0x1p-24),
                      T(0x1p-25),
                      T(0x1.8p-25)};
  return values[which % (sizeof values / sizeof *values)];
}

template <class T>
void FillTyped(Reader& in, T* out, size_t n) {
  const uint8_t mode = in.Byte();
  Random random{in.Word()};
  const auto normal = [&] { return static_cast<T>(8 * (random.Uniform() + random.Uniform() - 1)); };
  switch (mode % 8) {
    case 0:
    case 1:  // plain numbers
      for (size_t i = 0; i < n; ++i) out[i] = normal();
      break;
    case 2:  // plain numbers with something special here and there
      for (size_t i = 0; i < n; ++i) out[i] = normal();
      for (size_t k = in.Below(8) + 1; k > 0; --k) out[random.Bits() % n] = Special<T>(in.Byte());
      break;
    case 3:  // any bits
      for (size_t i = 0; i < n; ++i) out[i] = FromBits<T>(random.Bits());
      break;
    case 4: {  // few values, many ties
      T values[4];
      for (T& value : values) value = in.Flag() ? Special<T>(in.Byte()) : normal();
      for (size_t i = 0; i < n; ++i) out[i] = values[random.Bits() % 4];
      break;
    }
    case 5:  // larger and larger, or the other way: every key displaces the one before
      for (size_t i = 0; i < n; ++i) out[i] = static_cast<T>(mode & 8 ? n - i : i + 1) * (random.Bits() & 1 ? 1 : -1);
      break;
    case 6: {  // the input's own bits
      const size_t own = std::min<size_t>(n, 16);
      for (size_t i = 0; i < own; ++i) out[i] = FromBits<T>(sizeof(T) == 8 ? in.Long() : in.Word());
      for (size_t i = own; i < n; ++i) out[i] = out[i % own];
      break;
    }
    default:  // a block of large ones among small ones: guesses from a sample go wrong
      for (size_t i = 0; i < n; ++i) out[i] = normal() * static_cast<T>(0x1p-20);
      for (size_t i = in.Below(n), end = std::min(n, i + 1 + n / 8); i < end; ++i) out[i] = normal() * 100;
  }
}

void Fill(Reader& in, void* out, Type type, size_t n) {
  if (type == Type::f32) return FillTyped(in, static_cast<float*>(out), n);
  if (type == Type::f64) return FillTyped(in, static_cast<double*>(out), n);
  uint16_t* const half = static_cast<uint16_t*>(out);
  Random random{in.Word()};
  if (in.Flag()) {  // any bits
    for (size_t i = 0; i < n; ++i) half[i] = static_cast<uint16_t>(random.Bits());
  } else {  // finite ones
    for (size_t i = 0; i < n; ++i) half[i] = static_cast<uint16_t>(random.Bits() % 0x4800 | (random.Bits() & 0x8000));
  }
}

size_t Bytes(Type type) { return type == Type::f16 ? 2 : type == Type::f32 ? 4 : 8; }

// Memory that ends where the allocation ends, so that the sanitizer sees the first byte read or written past it.
class Memory {
 public:
  Memory() = default;
  Memory(const Memory&) = delete;
  Memory& operator=(const Memory&) = delete;
  ~Memory() {
    for (void* block : blocks_) std::free(block);
  }
  void* Take(size_t bytes, size_t offset) {
    char* const block = static_cast<char*>(std::malloc(bytes + offset + (bytes + offset == 0)));
    blocks_.push_back(block);
    return block + offset;
  }

 private:
  std::vector<void*> blocks_;
};

// ---- the reference --------------------------------------------------------------------------------------------------

double HalfToDouble(uint16_t half) {
  const int exponent = half >> 10 & 31, fraction = half & 1023;
  const double sign = half & 0x8000 ? -1 : 1;
  if (exponent == 31) return fraction ? std::numeric_limits<double>::quiet_NaN() : sign * HUGE_VAL;
  return exponent == 0 ? sign * std::ldexp(fraction, -24) : sign * std::ldexp(1024 + fraction, exponent - 25);
}

// The nearest multiple of the unit in the last place, ties to even, from 65520 on infinity.
uint16_t DoubleToHalf(double value) {
  const uint16_t sign = std::signbit(value) ? 0x8000 : 0;
  if (value != value) return sign | 0x7e00;
  const double magnitude = std::fabs(value);
  if (magnitude >= 65520) return sign | 0x7c00;
  int exponent = magnitude > 0 ? std::max(std::ilogb(magnitude), -14) : -14;
  double units = std::nearbyint(std::ldexp(magnitude, 10 - exponent));  // to even
  if (units == 2048) units = 1024, ++exponent;
  if (units < 1024) return sign | static_cast<uint16_t>(units);
  return sign | static_cast<uint16_t>((exponent + 15) << 10 | (static_cast<int>(units) - 1024));
}

template <class T>
double QuantileOf(const T* p, size_t n, double ratio) {
  std::vector<double> sorted(n);
  for (size_t i = 0; i < n; ++i) {
    if (p[i] != p[i]) return std::numeric_limits<double>::quiet_NaN();
    sorted[i] = std::fabs(static_cast<double>(p[i]));
  }
  std::sort(sorted.begin(), sorted.end());
  const double position = ratio * static_cast<double>(n - 1);
  const size_t k = static_cast<size_t>(std::floor(position));
  const double below = sorted[k], weight = position - static_cast<double>(k);
  const double above = k + 1 < n ? sorted[k + 1] : below;
  return static_cast<double>(static_cast<T>(weight > 0 && above > below ? below + weight * (above - below) : below));
}

template <class T>
struct Result {
  int64_t bad = kStepDone;
  std::vector<T> p, d0, out, out2;
};

struct Term {
  double coefficient;
  const void* data;  // null: not there
  Type type;
};

// c0 v0 + c1 v1 + ... of element i, rounded after every operation.
template <class T>
T Sum(const std::vector<Term>& terms, size_t i) {
  T sum = 0;
  bool first = true;
  for (const Term& term : terms) {
    if (!term.data || term.coefficient == 0) continue;
    const T value = term.type == Type::f16 ? static_cast<T>(HalfToDouble(static_cast<const uint16_t*>(term.data)[i]))
                                           : static_cast<const T*>(term.data)[i];
    const T product = static_cast<T>(term.coefficient) * value;
    sum = first ? product : sum + product;
    first = false;
  }
  return sum;
}

template <class T>
T ClipTo(T p, T s) {
  return p > s ? s : p < -s ? -s : p;
}

template <class T>
Result<T> Reference(const StepCall& c) {
  Result<T> result;
  const size_t total = c.batch * c.n;
  for (std::vector<T>* v : {&result.p, &result.d0, &result.out, &result.out2}) v->resize(total);
  for (size_t b = 0; b < c.batch; ++b) {
    const double* row = c.rows + b * kRowLength;
    const auto at = [&](double coefficient, const Buffer& buffer, size_t element) -> Term {
      return {coefficient, buffer.data ? static_cast<char*>(buffer.data) + element * Bytes(buffer.type) : nullptr,
              buffer.type};
    };
    const size_t first = b * c.n;
    const Type type = sizeof(T) == 4 ? Type::f32 : Type::f64;
    T *const p = &result.p[first], *const d0 = &result.d0[first];
    const Transform transform = static_cast<Transform>(static_cast<int>(row[kTransform]));
    const std::vector<Term> prediction = {at(row[kCx], c.x, first), at(row[kCm], c.m, b * c.m_stride),
                                          at(row[kCu], c.u, b * c.m_stride), at(row[kCg], c.g, first)};
    for (size_t i = 0; i < c.n; ++i) {
      p[i] = transform == Transform::given ? static_cast<const T*>(c.p.data)[first + i] : Sum<T>(prediction, i);
      if (result.bad < 0 && !std::isfinite(p[i])) result.bad = static_cast<int64_t>(b);
    }
    if (transform == Transform::clamp) {
      for (size_t i = 0; i < c.n; ++i) p[i] = ClipTo(p[i], static_cast<T>(row[kFloor]));
    } else if (transform == Transform::quantile) {
      const T floor = static_cast<T>(row[kFloor]), cap = static_cast<T>(row[kCap]);
      T s = cap;
      if (row[kFloor] < row[kCap]) {  // otherwise the quantile does not matter, nor whether there is NaN
        s = static_cast<T>(QuantileOf(p, c.n, row[kRatio]));
        if (s < floor) s = floor;
        if (s > cap) s = cap;
      }
      for (size_t i = 0; i < c.n; ++i) p[i] = ClipTo(p[i], s) / s;
    }
    const bool kept = row[kEp] == 1 && row[kEx] == 0 && row[kEm] == 0 && row[kEu] == 0;
    const std::vector<Term> entry = {{row[kEp], p, type},
                                     at(row[kEx], c.x, first),
                                     at(row[kEm], c.m, b * c.m_stride),
                                     at(row[kEu], c.u, b * c.m_stride)};
    for (size_t i = 0; i < c.n; ++i) d0[i] = kept ? p[i] : Sum<T>(entry, i);
    for (int second = 0; second < 2; ++second) {
      const double* sum = row + (second ? kSecond : kFirst);
      const std::vector<Term> terms = {
          at(sum[kA], c.base, first),      {kept ? sum[kBp] + sum[kB0] : sum[kBp], p, type},
          {kept ? 0 : sum[kB0], d0, type}, at(sum[kB1], c.d1, first),
          at(sum[kB2], c.d2, first),       at(sum[kB3], c.d3, first),
          at(sum[kN], c.z, first)};
      for (size_t i = 0; i < c.n; ++i) (second ? result.out2 : result.out)[first + i] = Sum<T>(terms, i);
    }
  }
  return result;
}

template <class T>
void Same(const char* name, const T* actual, const T* expected, size_t n) {
  for (size_t i = 0; i < n; ++i) {
    const bool nan = expected[i] != expected[i];
    CHECK(nan ? actual[i] != actual[i] : std::memcmp(&actual[i], &expected[i], sizeof(T)) == 0,
          "%s: %.17g at %zu of %zu, expected %.17g", name, static_cast<double>(actual[i]), i, n,
          static_cast<double>(expected[i]));
  }
}

// What the native code writes as the network's next input, from numbers that are known.
void SameNext(const void* actual, Type type, const std::vector<double>& from) {
  for (size_t i = 0; i < from.size(); ++i) {
    if (type == Type::f16) {
      const uint16_t half = static_cast<const uint16_t*>(actual)[i], expected = DoubleToHalf(from[i]);
      CHECK(from[i] != from[i] ? (half & 0x7fff) > 0x7c00 : half == expected,
            "next: %04x at %zu, expected %04x of %.17g", half, i, expected, from[i]);
    } else if (type == Type::f32) {
      const float expected = static_cast<float>(from[i]);
      Same("next", static_cast<const float*>(actual) + i, &expected, 1);
    } else {
      Same("next", static_cast<const double*>(actual) + i, &from[i], 1);
    }
  }
}

// ---- what is fuzzed -------------------------------------------------------------------------------------------------

size_t Size(Reader& in) {
  const uint8_t kind = in.Byte();
  if (kind < 160) return 1 + kind % 80;
  if (kind < 230) return 1 + in.Below(1300);
  if (kind < 250) return 1 + in.Below(4 * 1300);
#if defined(DPM_SMALL_SIZES)
  return 1 + in.Below(16000);
#else
  return in.Byte() < 32 ? 60000 + in.Below(90000) : 4000 + in.Below(6000);
#endif
}

double AnyDouble(Reader& in) {
  switch (in.Byte() % 8) {
    case 0:
      return 0;
    case 1:
      return Special<double>(in.Byte());
    case 2:
      return FromBits<double>(in.Long());
    case 3:
      return in.Flag() ? 1 : -1;
    default:
      return static_cast<double>(static_cast<int32_t>(in.Word())) * 0x1p-30;
  }
}

double Ratio(Reader& in) {
  static const double ratios[] = {0, 0.5, 0.9, 0.99, 0.995, 0.999, 1, 0x1p-1074};
  return in.Flag() ? ratios[in.Byte() % 8] : in.Word() / 4294967295.0;
}

template <class T>
void FuzzStep(Reader& in) {
  const Type state = sizeof(T) == 4 ? Type::f32 : Type::f64;
  Memory memory;
  StepCall c;
  c.state = state;
  c.batch = 1 + (in.Flag() ? in.Below(9) : 0);
  c.n = std::max<size_t>(1, Size(in) / c.batch);
  c.threads = in.Flag() ? static_cast<int>(in.Below(6)) : 1;
  c.check_finite = in.Byte() % 4 != 0;
  const size_t total = c.batch * c.n;

  // The rows: anything in a number's place; where the addon refuses values, only others.
  double* const rows = static_cast<double*>(memory.Take(c.batch * kRowLength * sizeof(double), 0));
  const bool given = in.Byte() % 8 == 0, plain = in.Flag();
  for (size_t b = 0; b < c.batch; ++b) {
    double* const row = rows + b * kRowLength;
    Random random{in.Word()};
    for (int k = 0; k < kRowLength; ++k) {
      row[k] = plain ? (random.Bits() % 4 ? 4 * random.Uniform() - 2 : 0) : AnyDouble(in);
    }
    if (in.Byte() % 4) row[kEp] = 1, row[kEx] = row[kEm] = row[kEu] = 0;
    row[kTransform] = given ? 3 : static_cast<double>(in.Below(3));
    row[kRatio] = Ratio(in);
    const auto positive = [&](double value) {
      const T bound = static_cast<T>(std::fabs(value));
      return bound > 0 ? std::fabs(value) : 1.0;
    };
    row[kFloor] = in.Flag() ? 0x1p-20 : positive(AnyDouble(in));
    row[kCap] = in.Flag() ? HUGE_VAL : positive(AnyDouble(in));
    if (row[kTransform] == 1 && in.Byte() % 8 == 0) row[kFloor] = 0;
  }
  c.rows = rows;

  // The operands.
  const bool longer = in.Byte() % 8 == 0, doubled = in.Byte() % 4 == 0;
  c.m_stride = c.n + (longer ? in.Below(c.n) + 1 : 0);
  const size_t network = c.batch * c.m_stride;
  const uint32_t present = in.Word();
  struct Place {
    Buffer* buffer;
    size_t elements;
    bool may_be_half, is_input;
  };
  Place places[] = {{&c.x, total, false, true},    {&c.m, network, true, true},   {&c.u, network, true, true},
                    {&c.g, total, true, true},     {&c.base, total, false, true}, {&c.p, total, false, given},
                    {&c.d1, total, false, true},   {&c.d2, total, false, true},   {&c.d3, total, false, true},
                    {&c.z, total, false, true},    {&c.d0, total, false, false},  {&c.out, total, false, false},
                    {&c.out2, total, false, false}};
  constexpr int kX = 0, kM = 1, kU = 2, kP = 5, kFirstOutput = 10, kPlaces = 13;
  std::vector<std::pair<char*, size_t>> before;  // inputs, to be found again as they were
  std::vector<std::vector<char>> copies;
  bool taken[kPlaces] = {};  // is where an output will be
  for (int k = 0; k < kFirstOutput; ++k) {
    Place& place = places[k];
    bool here = present >> k & 1 || (k == kP && given);
    if (k == kX && !given && !(present >> kM & 1)) here = true;  // something to predict from
    if (k == kU) here = here && c.m.data;
    if (!here) continue;
    const Type type = place.may_be_half && in.Byte() % 4 == 0 ? Type::f16 : state;
    place.buffer->type = type;
    if (k == kU && (doubled || in.Flag())) {
      // One buffer, the unconditional half first; types then agree.
      place.buffer->type = c.m.type;
      char* const both = static_cast<char*>(memory.Take(2 * network * Bytes(c.m.type), in.Below(8) * Bytes(c.m.type)));
      Fill(in, both, c.m.type, 2 * network);
      c.u.data = both;
      c.m.data = both + network * Bytes(c.m.type);
      continue;
    }
    // Inputs may be one another, or overlap by anything.
    if (k > 0 && in.Byte() % 8 == 0) {
      const int other = static_cast<int>(in.Below(static_cast<size_t>(k)));
      if (places[other].buffer->data && places[other].buffer->type == type &&
          places[other].elements >= place.elements && places[other].is_input && place.is_input) {
        place.buffer->data = places[other].buffer->data;
        continue;
      }
    }
    place.buffer->data = memory.Take(place.elements * Bytes(type), in.Below(20) * Bytes(type));
    Fill(in, place.buffer->data, type, place.elements);
  }
  if (c.u.data && !c.m.data) c.u.data = nullptr;

  // An output may be an input, exactly: if its type is the state's and no other output is there.
  for (int k = kFirstOutput; k < kPlaces; ++k) {
    if (!(present >> k & 1)) continue;
    places[k].buffer->type = state;
    const int other = static_cast<int>(in.Below(20));
    if (other < kFirstOutput) {
      const Place& from = places[other];
      bool fits =
          from.buffer->data && from.buffer->type == state && from.is_input && from.elements == total && !taken[other];
      // Whatever overlaps it has to be exactly there as well.
      const char *begin = static_cast<char*>(from.buffer->data), *end = fits ? begin + total * sizeof(T) : begin;
      for (int i = 0; i < k && fits; ++i) {
        if (!places[i].buffer->data || places[i].buffer == from.buffer) continue;
        const char *a = static_cast<char*>(places[i].buffer->data),
                   *z = a + places[i].elements * Bytes(places[i].buffer->type);
        if (a < end && begin < z) fits = a == begin && z == end && i < kFirstOutput && places[i].is_input;
      }
      if (fits) {
        places[k].buffer->data = from.buffer->data;
        for (int i = 0; i < kFirstOutput; ++i) taken[i] |= places[i].buffer->data == from.buffer->data;
        continue;
      }
    }
    places[k].buffer->data = memory.Take(total * sizeof(T), in.Below(20) * sizeof(T));
    std::memset(places[k].buffer->data, 0x5a, total * sizeof(T));
  }
  const int nexts = c.out.data ? static_cast<int>(in.Byte() % 4) : 0;
  for (int k = 0; k < 2 && k < nexts; ++k) {
    c.next[k].type = k ? c.next[0].type : static_cast<Type>(in.Below(3));
    c.next[k].data = memory.Take(total * Bytes(c.next[k].type), in.Below(20) * Bytes(c.next[k].type));
  }

  // Scratch: none, just enough, too little, and at any address.
  double least = 1;
  bool selects = false;
  for (size_t b = 0; b < c.batch; ++b) {
    const double* row = rows + b * kRowLength;
    if (row[kTransform] != 2 || !(row[kFloor] < row[kCap])) continue;
    selects = true;
    least = std::min(least, row[kRatio]);
  }
  const size_t enough = ScratchBytes(state, c.batch, c.n, least, c.threads);
  const uint8_t scratch = in.Byte() % 4;
  if (scratch) {
    const size_t offset = in.Below(8);
    c.scratch_bytes = scratch == 1 ? in.Below(enough) : enough;
    c.scratch = memory.Take(c.scratch_bytes, offset);
  }

  const Result<T> expected = Reference<T>(c);
  for (const Place& place : places) {
    if (!place.buffer->data || !place.is_input) continue;
    bool output = false;
    for (int k = kFirstOutput; k < kPlaces; ++k) output |= places[k].buffer->data == place.buffer->data;
    if (output) continue;
    before.emplace_back(static_cast<char*>(place.buffer->data), place.elements * Bytes(place.buffer->type));
  }
  before.emplace_back(reinterpret_cast<char*>(rows), c.batch * kRowLength * sizeof(double));
  for (const auto& input : before) copies.emplace_back(input.first, input.first + input.second);

  no_memory = in.Byte() % 16 == 1;
  no_threads = in.Byte() % 16 == 1;
  const bool out_of_memory = no_memory && selects && scratch < 2;
  const int64_t status = Step(c);
  const bool failed = no_memory;
  no_memory = no_threads = false;

  for (size_t k = 0; k < before.size(); ++k) {
    CHECK(std::memcmp(before[k].first, copies[k].data(), before[k].second) == 0, "input %zu was written to", k);
  }
  if (status == kStepOutOfMemory) {
    CHECK(failed && selects && scratch < 2, "out of memory with %zu bytes of scratch", c.scratch_bytes);
    return;
  }
  if (scratch != 1) CHECK(!out_of_memory, "found memory where there was none");
  CHECK(status == (c.check_finite ? expected.bad : kStepDone), "returned %lld, expected %lld",
        static_cast<long long>(status), static_cast<long long>(expected.bad));
  if (status != kStepDone) return;
  if (c.p.data && !given) Same("p", static_cast<const T*>(c.p.data), expected.p.data(), total);
  if (c.d0.data) Same("d0", static_cast<const T*>(c.d0.data), expected.d0.data(), total);
  if (c.out.data) Same("out", static_cast<const T*>(c.out.data), expected.out.data(), total);
  if (c.out2.data) Same("out2", static_cast<const T*>(c.out2.data), expected.out2.data(), total);
  const std::vector<double> next(expected.out.begin(), expected.out.end());
  for (const Buffer& copy : c.next) {
    if (copy.data) SameNext(copy.data, copy.type, next);
  }
}

template <class T>
void FuzzQuantile(Reader& in) {
  Memory memory;
  const size_t n = Size(in);
  T* const x = static_cast<T*>(memory.Take(n * sizeof(T), in.Below(20) * sizeof(T)));
  FillTyped(in, x, n);
  const double ratio = Ratio(in), expected = QuantileOf(x, n, ratio);
  const int threads = static_cast<int>(in.Below(6));
  no_memory = in.Byte() % 16 == 1;
  const double value = Quantile(x, sizeof(T) == 4 ? Type::f32 : Type::f64, n, ratio, threads);
  const bool failed = no_memory;
  no_memory = false;
  CHECK(failed                 ? value == -1
        : expected != expected ? value != value
                               : value == expected,
        "quantile %.17g of %zu elements: %.17g, expected %.17g", ratio, n, value, expected);
}

// The weights of guidance: bits that are the same for every instruction set and number of threads.
template <class T>
void FuzzGuide(T* const* arrays, size_t n, const std::vector<const Kernels*>& tables) {
  const Type type = sizeof(T) == 4 ? Type::f32 : Type::f64;
  for (int kind = 0; kind < 3; ++kind) {
    const double guide[kGuideLength] = {static_cast<double>(kind), 3.5, 0.3, 2, 0.5, 0, 1.25, -0.5, 0.75, -1.5};
    double expected[kGuideOperands], again[kGuideOperands];
    GuideCall call;
    call.state = type;
    call.batch = 1, call.n = n, call.m_stride = n;
    call.guide = guide;
    call.x = {arrays[0], type}, call.u = {arrays[1], type}, call.m = {arrays[2], type};
    if (kind == 2 && n % 2) call.kept = {arrays[1], type};
    call.threads = 1, call.out = expected;
    CHECK(Guide(call), "guidance");
    const Kernels* const chosen = active;
    call.out = again;
    for (const Kernels* table : tables) {
      active = table;
      for (call.threads = 1; call.threads < 4; call.threads += 2) {
        CHECK(Guide(call), "guidance");
        Same("guidance", again, expected, kGuideOperands);
      }
    }
    active = chosen;
  }
}

// Bits that are the same for every instruction set and number of threads; near the sum in extended precision where the
// numbers are near one another.
template <class T>
void FuzzReductions(Reader& in, const std::vector<const Kernels*>& tables) {
  Memory memory;
  const Type type = sizeof(T) == 4 ? Type::f32 : Type::f64;
  const size_t n = 1 + Size(in);
  T* arrays[3];
  for (T*& array : arrays) {
    array = static_cast<T*>(memory.Take(n * sizeof(T), in.Below(20) * sizeof(T)));
    FillTyped(in, array, n);
  }
  const double atol = std::fabs(AnyDouble(in)), rtol = std::fabs(AnyDouble(in));
  no_memory = in.Byte() % 16 == 1;
  const bool none = no_memory;
  bool out_of_memory = false;
  const double error = ErrorNorm(arrays[0], arrays[1], arrays[2], type, n, atol, rtol, 1, &out_of_memory);
  no_memory = false;
  CHECK(out_of_memory == none, "error norm");
  if (none) return;
  const double deviation = StandardDeviation(arrays[0], type, n);
  const Kernels* const chosen = active;
  for (const Kernels* table : tables) {
    active = table;
    for (int threads = 1; threads < 4; threads += 2) {
      const double again = ErrorNorm(arrays[0], arrays[1], arrays[2], type, n, atol, rtol, threads, &out_of_memory);
      Same("error norm", &again, &error, 1);
    }
    const double again = StandardDeviation(arrays[0], type, n);
    Same("standard deviation", &again, &deviation, 1);
  }
  active = chosen;
  FuzzGuide(arrays, n, tables);
  long double sum = 0, squares = 0, ratios = 0, largest = 0;
  bool unknown = false, unknown_before = false;
  for (size_t i = 0; i < n; ++i) {
    const long double l = arrays[0][i], h = arrays[1][i], p = arrays[2][i];
    const long double scale = std::max<long double>(atol, rtol * std::max(std::fabs(l), std::fabs(p)));
    sum += l, squares += l * l, ratios += (h - l) / scale * ((h - l) / scale);
    largest = std::max({largest, std::fabs(l), std::fabs(h), std::fabs(p)});  // NaN is passed over
    unknown |= l != l || h != h;
    unknown_before |= p != p;
  }
  if (unknown) CHECK(error != error, "error norm %.17g of what is NaN", error);
  if (sum != sum) CHECK(deviation != deviation, "standard deviation %.17g of what is NaN", deviation);
  if (unknown || unknown_before) return;
  const bool near = largest < 1e6L && atol > 1e-6 && atol < 1e6 && rtol < 1e6;
  if (!near) return;
  const double expected = static_cast<double>(std::sqrt(ratios / static_cast<long double>(n)));
  CHECK(std::fabs(error - expected) <= 1e-10 * expected, "error norm %.17g, expected %.17g", error, expected);
  const long double mean = sum / static_cast<long double>(n);
  long double squared = 0;
  for (size_t i = 0; i < n; ++i) squared += (arrays[0][i] - mean) * (arrays[0][i] - mean);
  const double spread = static_cast<double>(std::sqrt(squared / static_cast<long double>(n - 1)));
  // The mean's own rounding is all that is left where all are the same.
  CHECK(std::fabs(deviation - spread) <= 1e-10 * spread + 1e-13 * static_cast<double>(largest),
        "standard deviation %.17g, expected %.17g", deviation, spread);
}

void FuzzConvert(Reader& in) {
  Memory memory;
  const Type from = static_cast<Type>(in.Below(3)), to = static_cast<Type>(in.Below(3));
  const size_t n = 1 + Size(in) % 3000;
  void* const source = memory.Take(n * Bytes(from), in.Below(20) * Bytes(from));
  void* const target = memory.Take(n * Bytes(to), in.Below(20) * Bytes(to));
  Fill(in, source, from, n);
  active->convert(source, static_cast<int>(from), target, static_cast<int>(to), n);
  std::vector<double> values(n);
  for (size_t i = 0; i < n; ++i) {
    values[i] = from == Type::f16   ? HalfToDouble(static_cast<uint16_t*>(source)[i])
                : from == Type::f32 ? static_cast<double>(static_cast<float*>(source)[i])
                                    : static_cast<double*>(source)[i];
  }
  SameNext(target, to, values);
}

void FuzzSelect(Reader& in) {
  Memory memory;
  const size_t count = Size(in);
  uint32_t* const keys = static_cast<uint32_t*>(memory.Take(count * 4, in.Below(20) * 4));
  FillTyped(in, reinterpret_cast<float*>(keys), count);
  for (size_t i = 0; i < count; ++i) keys[i] &= 0x7fffffffu;
  const size_t keep = 1 + in.Below(count);
  std::vector<uint32_t> sorted(keys, keys + count);
  std::sort(sorted.begin(), sorted.end(), std::greater<>());
  uint32_t next = 0;
  const uint32_t found = active->select(keys, count, keep, &next);
  CHECK(found == sorted[keep - 1], "key %zu of %zu: %08x, expected %08x", keep, count, found, sorted[keep - 1]);
  CHECK(next == sorted[keep > 1 ? keep - 2 : 0], "the one before: %08x", next);
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const std::vector<const Kernels*> tables = Tables();
  Reader in{data, data + size};
  active = tables[in.Below(tables.size())];
  switch (in.Byte() % 16) {
    case 0:
      FuzzQuantile<float>(in);
      break;
    case 1:
      FuzzQuantile<double>(in);
      break;
    case 2:
      FuzzReductions<float>(in, tables);
      break;
    case 3:
      FuzzReductions<double>(in, tables);
      break;
    case 4:
      FuzzConvert(in);
      break;
    case 5:
      FuzzSelect(in);
      break;
    case 6:
    case 7:
    case 8:
      FuzzStep<double>(in);
      break;
    default:
      FuzzStep<float>(in);
  }
  return 0;
}
