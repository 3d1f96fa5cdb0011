// What the kernels share: a row resolved by one warp, operands read V elements at a time, the sums, the results
// written. The rules are those of native/cpu (row.h): a term takes part if and only if its operand is given and its
// coefficient is not zero, sums run from left to right, every operation rounds.
#pragma once

#include "../noise/philox.h"
#include "args.h"
#include "layer.h"

namespace dpm::cuda {

// Bits of the mask of a row's terms.
enum Term : int {
  kTermX,  // the prediction's
  kTermM,
  kTermU,
  kTermG,
  kTermEp,  // the history entry's
  kTermEx,
  kTermEm,
  kTermEu,
  kTermFirst,                             // a, bp, b0, b1, b2, b3, n
  kTermSecond = kTermFirst + kSumLength,  // the same
  kTermCount = kTermSecond + kSumLength,
};
static_assert(kTermCount <= 32, "one warp resolves a row, one bit a term");

// Words of the resolved row: the coefficients first.
constexpr uint32_t kResolvedMask = kTermCount;

DPM_DEVICE float WordToFloat(uint32_t word) {
  float f;
  memcpy(&f, &word, 4);
  return f;
}
DPM_DEVICE uint32_t FloatToWord(float f) {
  uint32_t word;
  memcpy(&word, &f, 4);
  return word;
}

// A row as every thread sees it.
struct Row {
  Shared<float> c;  // coefficients by Term
  uint32_t mask;    // which terms take part
  Transform transform;
  bool d0_is_p;
  bool selects;  // is there a quantile to be found? Otherwise the floor or the cap decides
  float s;       // the bound of the clip
  Shared<double> numbers;

  DPM_DEVICE bool Has(int term) const { return mask >> term & 1; }
};

// Reads the sample's row into shared memory and resolves it. `words` has kRowWords words, 8-byte aligned. To be called
// by all threads; contains one barrier.
DPM_DEVICE Row ResolveRow(const StepArgs& a, uint32_t sample, Shared<uint32_t> words) {
  const Shared<double> row = words.As<double>();
  const Shared<uint32_t> resolved = words + 2 * kRowLength;
  const double* const from = a.rows + static_cast<size_t>(sample) * kRowLength;
  if (ThreadIndex() < 32) {
    const uint32_t t = ThreadIndex();
    row[t] = LoadDouble(from + t);
    const bool d0_is_p = LoadDouble(from + kEp) == 1 && LoadDouble(from + kEx) == 0 && LoadDouble(from + kEm) == 0 &&
                         LoadDouble(from + kEu) == 0;
    double value = 0;
    bool present = false;
    if (t < kTermEp) {
      value = LoadDouble(from + kCx + t);
      present = t == kTermX   ? a.x != nullptr
                : t == kTermM ? a.m != nullptr
                : t == kTermU ? a.u != nullptr
                              : a.g != nullptr;
    } else if (t < kTermFirst) {
      value = LoadDouble(from + kEp + (t - kTermEp));
      present = !d0_is_p && (t == kTermEp || (t == kTermEx   ? a.x != nullptr
                                              : t == kTermEm ? a.m != nullptr
                                                             : a.u != nullptr));
    } else if (t < kTermCount) {
      const uint32_t term = (t - kTermFirst) % kSumLength;
      const double* const sum = from + (t < kTermSecond ? kFirst : kSecond);
      value = LoadDouble(sum + term);
      // Where the history keeps P itself the two coefficients are one.
      if (term == kBp && d0_is_p) value = value + LoadDouble(sum + kB0);
      present = term == kA    ? a.base != nullptr
                : term == kBp ? true
                : term == kB0 ? !d0_is_p
                : term == kB1 ? a.d1 != nullptr
                : term == kB2 ? a.d2 != nullptr
                : term == kB3 ? a.d3 != nullptr
                              : a.z != nullptr || a.noise != nullptr;
    }
    const uint32_t mask = WarpBallot(present && value != 0);
    if (t < kTermCount) resolved[t] = FloatToWord(static_cast<float>(value));
    if (t == 0) resolved[kResolvedMask] = mask;
  }
  BlockSync();
  Row r;
  r.c = resolved.As<float>();
  r.mask = resolved[kResolvedMask];
  const double transform = row[kTransform], ep = row[kEp], ex = row[kEx], em = row[kEm], eu = row[kEu];
  r.transform = static_cast<Transform>(static_cast<int>(transform));
  r.d0_is_p = ep == 1 && ex == 0 && em == 0 && eu == 0;
  const double floor = row[kFloor], cap = row[kCap];
  r.selects = r.transform == Transform::quantile && floor < cap;
  r.s = static_cast<float>(r.transform == Transform::quantile && cap < floor ? cap : floor);
  r.numbers = row;
  return r;
}

// ---- operands -------------------------------------------------------------------------------------------------------

// float32, float16, bfloat16 in memory.
template <NetType kType>
struct Network;
template <>
struct Network<NetType::f32> {
  using Element = float;
  DPM_DEVICE static float ToFloat(float v) { return v; }
  DPM_DEVICE static float FromFloat(float v) { return v; }
};
template <>
struct Network<NetType::f16> {
  using Element = uint16_t;
  DPM_DEVICE static float ToFloat(uint16_t v) { return HalfToFloat(v); }
  DPM_DEVICE static uint16_t FromFloat(float v) { return FloatToHalf(v); }
};
template <>
struct Network<NetType::bf16> {
  using Element = uint16_t;
  DPM_DEVICE static float ToFloat(uint16_t v) { return WordToFloat(BfloatToFloatBits(v)); }
  DPM_DEVICE static uint16_t FromFloat(float v) { return FloatBitsToBfloat(FloatToWord(v)); }
};

DPM_DEVICE bool Aligned(const void* p, size_t bytes) { return reinterpret_cast<uintptr_t>(p) % bytes == 0; }

// V elements from `from`, in the widest accesses that its address allows; kAligned: it is a multiple of what V need.
template <NetType kType, bool kAligned, int V>
DPM_DEVICE void Load(const typename Network<kType>::Element* from, float* to) {
  if constexpr (kType == NetType::f32 && V % 4 == 0) {
    if (kAligned || Aligned(from, 16)) {
      DPM_UNROLL
      for (int k = 0; k < V; k += 4) Load16(from + k, to + k);
      return;
    }
  } else if constexpr (V == 8 || V == 4) {
    if (kAligned || Aligned(from, 2 * V)) {
      uint32_t words[V / 2];
      if constexpr (V == 8) {
        Load16(from, words);
      } else {
        Load8(from, words);
      }
      DPM_UNROLL
      for (int k = 0; k < V; ++k) {
        to[k] = Network<kType>::ToFloat(static_cast<uint16_t>(words[k / 2] >> (16 * (k % 2))));
      }
      return;
    }
  }
  if constexpr (!kAligned) {
    DPM_UNROLL
    for (int k = 0; k < V; ++k) to[k] = Network<kType>::ToFloat(Load1(from + k));
  }
}

template <NetType kType, bool kAligned, int V>
DPM_DEVICE void Store(typename Network<kType>::Element* to, const float* from) {
  if constexpr (kType == NetType::f32 && V % 4 == 0) {
    if (kAligned || Aligned(to, 16)) {
      DPM_UNROLL
      for (int k = 0; k < V; k += 4) Store16(to + k, from + k);
      return;
    }
  } else if constexpr (V == 8 || V == 4) {
    if (kAligned || Aligned(to, 2 * V)) {
      uint32_t words[V / 2];
      DPM_UNROLL
      for (int k = 0; k < V / 2; ++k) {
        words[k] = Network<kType>::FromFloat(from[2 * k]) |
                   static_cast<uint32_t>(Network<kType>::FromFloat(from[2 * k + 1])) << 16;
      }
      if constexpr (V == 8) {
        Store16(to, words);
      } else {
        Store8(to, words);
      }
      return;
    }
  }
  if constexpr (!kAligned) {
    DPM_UNROLL
    for (int k = 0; k < V; ++k) Store1(to + k, Network<kType>::FromFloat(from[k]));
  }
}

template <bool kAligned, int V>
DPM_DEVICE void StoreNext(void* to, int type, size_t at, const float* from) {
  if (type == static_cast<int>(NetType::f16))
    return Store<NetType::f16, kAligned, V>(static_cast<uint16_t*>(to) + at, from);
  if (type == static_cast<int>(NetType::bf16))
    return Store<NetType::bf16, kAligned, V>(static_cast<uint16_t*>(to) + at, from);
  Store<NetType::f32, kAligned, V>(static_cast<float*>(to) + at, from);
}

// Noise of elements i .. i + V - 1 of a sample. A block of Philox is four of them.
template <int V>
DPM_DEVICE void MakeNoise(const uint32_t* key, size_t i, float* to) {
  const uint64_t seed = LoadWord(key) | static_cast<uint64_t>(LoadWord(key + 1)) << 32;
  const uint32_t step = LoadWord(key + 2), stream = LoadWord(key + 3);
  if constexpr (V % 4 == 0) {
    if (i % 4 == 0) {
      DPM_UNROLL
      for (int k = 0; k < V; k += 4) noise::PhiloxNormal4(seed, i / 4 + k / 4, step, stream, to + k);
      return;
    }
  }
  DPM_UNROLL
  for (int k = 0; k < V; ++k) {
    float four[4];
    noise::PhiloxNormal4(seed, (i + k) / 4, step, stream, four);
    // Not by index: the four stay in registers.
    const size_t which = (i + k) % 4;
    to[k] = which < 2 ? (which == 0 ? four[0] : four[1]) : (which == 2 ? four[2] : four[3]);
  }
}

// ---- sums -----------------------------------------------------------------------------------------------------------

template <int V>
struct Values {
  float v[V];
};

// Adds one term to a sum that began with -0: -0 + t is t for every t, so that the first term is taken as it is.
template <int V>
DPM_DEVICE void Accumulate(Values<V>& sum, float c, const Values<V>& operand) {
  DPM_UNROLL
  for (int k = 0; k < V; ++k) sum.v[k] = sum.v[k] + c * operand.v[k];
}
// A sum without terms is zero.
template <int V>
DPM_DEVICE Values<V> Empty(bool has_terms) {
  Values<V> sum;
  DPM_UNROLL
  for (int k = 0; k < V; ++k) sum.v[k] = has_terms ? -0.0f : 0.0f;
  return sum;
}

DPM_DEVICE constexpr uint32_t Bits(int from, int count) { return ((1u << count) - 1) << from; }

// Which terms need an operand.
constexpr uint32_t kNeedsX = 1u << kTermX | 1u << kTermEx, kNeedsM = 1u << kTermM | 1u << kTermEm;
constexpr uint32_t kNeedsU = 1u << kTermU | 1u << kTermEu, kNeedsG = 1u << kTermG;
DPM_DEVICE constexpr uint32_t Both(int offset) { return 1u << (kTermFirst + offset) | 1u << (kTermSecond + offset); }

template <int V>
struct Operands {
  Values<V> x, m, u, g;                  // the prediction's
  Values<V> base, d1, d2, d3, z, given;  // the update's
};

// kGeneral: everything that a call can say. The fast variant is without what few steps use (g, d3, p, out2, noise made
// here), and all its buffers and sample lengths are multiples of V elements and of 16 bytes.
template <NetType kType, bool kGeneral, int V>
struct Body {
  using Element = typename Network<kType>::Element;

  // The operands of the prediction at element i of the sample.
  DPM_DEVICE static void LoadPrediction(const StepArgs& a, uint32_t sample, size_t i, uint32_t mask, Operands<V>& o) {
    const size_t at = sample * a.n + i, network = sample * a.m_stride + i;
    if (mask & kNeedsX) Load<NetType::f32, !kGeneral, V>(a.x + at, o.x.v);
    if (mask & kNeedsM) Load<kType, !kGeneral, V>(static_cast<const Element*>(a.m) + network, o.m.v);
    if (mask & kNeedsU) Load<kType, !kGeneral, V>(static_cast<const Element*>(a.u) + network, o.u.v);
    if (kGeneral && (mask & kNeedsG)) Load<kType, !kGeneral, V>(static_cast<const Element*>(a.g) + at, o.g.v);
  }

  DPM_DEVICE static void LoadUpdate(const StepArgs& a, uint32_t sample, size_t i, uint32_t mask, bool given,
                                    Operands<V>& o) {
    const size_t at = sample * a.n + i;
    if (mask & Both(kA)) {
      if (a.base == a.x && (mask & kNeedsX)) {
        o.base = o.x;
      } else {
        Load<NetType::f32, !kGeneral, V>(a.base + at, o.base.v);
      }
    }
    if (mask & Both(kB1)) Load<NetType::f32, !kGeneral, V>(a.d1 + at, o.d1.v);
    if (mask & Both(kB2)) Load<NetType::f32, !kGeneral, V>(a.d2 + at, o.d2.v);
    if (kGeneral && (mask & Both(kB3))) Load<NetType::f32, !kGeneral, V>(a.d3 + at, o.d3.v);
    if (kGeneral && given) Load<NetType::f32, !kGeneral, V>(a.p + at, o.given.v);
    if ((mask & Both(kN)) && (!kGeneral || a.z)) Load<NetType::f32, !kGeneral, V>(a.z + at, o.z.v);
  }

  // cx x + cm m + cu u + cg g
  DPM_DEVICE static Values<V> Predict(const Row& r, const Operands<V>& o) {
    Values<V> p = Empty<V>(r.mask & Bits(kTermX, 4));
    if (r.Has(kTermX)) Accumulate(p, r.c[kTermX], o.x);
    if (r.Has(kTermM)) Accumulate(p, r.c[kTermM], o.m);
    if (r.Has(kTermU)) Accumulate(p, r.c[kTermU], o.u);
    if (kGeneral && r.Has(kTermG)) Accumulate(p, r.c[kTermG], o.g);
    return p;
  }

  DPM_DEVICE static bool Finite(const Values<V>& p) {
    bool finite = true;
    DPM_UNROLL
    for (int k = 0; k < V; ++k) finite = finite && (FloatToWord(p.v[k]) & 0x7f800000u) != 0x7f800000u;
    return finite;
  }

  DPM_DEVICE static void Transformed(const Row& r, Values<V>& p) {
    if (r.transform != Transform::clamp && r.transform != Transform::quantile) return;
    DPM_UNROLL
    for (int k = 0; k < V; ++k) p.v[k] = Clip(p.v[k], r.s);
    if (r.transform != Transform::quantile) return;
    DPM_UNROLL
    for (int k = 0; k < V; ++k) p.v[k] = p.v[k] / r.s;
  }

  DPM_DEVICE static Values<V> Update(const Row& r, int terms, const Operands<V>& o, const Values<V>& p,
                                     const Values<V>& d0) {
    Values<V> sum = Empty<V>(r.mask & Bits(terms, kSumLength));
    if (r.Has(terms + kA)) Accumulate(sum, r.c[terms + kA], o.base);
    if (r.Has(terms + kBp)) Accumulate(sum, r.c[terms + kBp], p);
    if (r.Has(terms + kB0)) Accumulate(sum, r.c[terms + kB0], d0);
    if (r.Has(terms + kB1)) Accumulate(sum, r.c[terms + kB1], o.d1);
    if (r.Has(terms + kB2)) Accumulate(sum, r.c[terms + kB2], o.d2);
    if (kGeneral && r.Has(terms + kB3)) Accumulate(sum, r.c[terms + kB3], o.d3);
    if (r.Has(terms + kN)) Accumulate(sum, r.c[terms + kN], o.z);
    return sum;
  }

  // From the prediction before its transform, to everything written. Operands are read before: an output may be the
  // very buffer of an input.
  DPM_DEVICE static void Finish(const StepArgs& a, const Row& r, uint32_t sample, size_t i, Operands<V>& o,
                                Values<V> p) {
    const size_t at = sample * a.n + i;
    if (kGeneral && (r.mask & Both(kN)) && !a.z) MakeNoise<V>(a.noise + 4 * static_cast<size_t>(sample), i, o.z.v);
    Transformed(r, p);
    Values<V> d0 = p;
    if (!r.d0_is_p) {
      d0 = Empty<V>(r.mask & Bits(kTermEp, 4));
      if (r.Has(kTermEp)) Accumulate(d0, r.c[kTermEp], p);
      if (r.Has(kTermEx)) Accumulate(d0, r.c[kTermEx], o.x);
      if (r.Has(kTermEm)) Accumulate(d0, r.c[kTermEm], o.m);
      if (r.Has(kTermEu)) Accumulate(d0, r.c[kTermEu], o.u);
    }
    if (a.out) {
      const Values<V> out = Update(r, kTermFirst, o, p, d0);
      if (kGeneral && a.out2) {
        const Values<V> out2 = Update(r, kTermSecond, o, p, d0);
        Store<NetType::f32, !kGeneral, V>(a.out2 + at, out2.v);
      }
      Store<NetType::f32, !kGeneral, V>(a.out + at, out.v);
      if (a.next[0]) StoreNext<!kGeneral, V>(a.next[0], a.next_type, at, out.v);
      if (a.next[1]) StoreNext<!kGeneral, V>(a.next[1], a.next_type, at, out.v);
    } else if (kGeneral && a.out2) {
      const Values<V> out2 = Update(r, kTermSecond, o, p, d0);
      Store<NetType::f32, !kGeneral, V>(a.out2 + at, out2.v);
    }
    if (kGeneral && a.p && r.transform != Transform::given) Store<NetType::f32, !kGeneral, V>(a.p + at, p.v);
    if (a.d0) Store<NetType::f32, !kGeneral, V>(a.d0 + at, d0.v);
  }

  // The whole step for the elements from i on; false if a prediction is not finite. `kept`: p is the prediction, from
  // an earlier pass.
  DPM_DEVICE static bool Step(const StepArgs& a, const Row& r, uint32_t sample, size_t i, bool kept, Values<V> p) {
    Operands<V> o;
    const bool given = kGeneral && r.transform == Transform::given;
    uint32_t mask = r.mask;
    if (kept || given) mask &= ~Bits(kTermX, 4);
    LoadPrediction(a, sample, i, mask, o);
    LoadUpdate(a, sample, i, mask, given, o);
    if (given) p = o.given;
    if (!kept && !given) p = Predict(r, o);
    const bool finite = Finite(p);
    Finish(a, r, sample, i, o, p);
    return finite;
  }
};

// How many elements of a stretch that begins at element `first` come before the first that vectors of V may start at.
// Vectors follow the state's address; where noise is made here they follow Philox's blocks of four, which begin with
// the sample.
template <bool kGeneral, int V>
DPM_DEVICE uint32_t Head(const StepArgs& a, uint32_t sample, size_t first, size_t count) {
  if (!kGeneral) return 0;
  const size_t from = a.noise && !a.z ? first : first + sample * a.n;
  const size_t head = (V - from % V) % V;
  return static_cast<uint32_t>(head < count ? head : count);
}

}  // namespace dpm::cuda
