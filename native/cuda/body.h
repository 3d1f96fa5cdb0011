// What the kernels share: a row resolved by every warp, operands read V elements at a time, the sums, the results
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

// A row as every thread has it, in registers.
struct Row {
  float c[kTermCount];  // coefficients by Term
  uint32_t mask;        // which terms take part
  Transform transform;
  bool d0_is_p;
  bool selects;  // is there a quantile to be found? Otherwise the floor or the cap decides
  float s;       // the bound of the clip
  double ratio, floor, cap;

  DPM_DEVICE bool Has(int term) const { return mask >> term & 1; }
};

// A lane's number of the sample's row. Every warp reads and resolves its rows by itself: all of it is one load, no
// barrier, and nothing that the next sample's row could overwrite.
DPM_DEVICE double FetchRow(const StepArgs& a, uint32_t sample) {
  return LoadDouble(a.rows + static_cast<size_t>(sample) * kRowLength + ThreadIndex() % 32);
}

DPM_DEVICE constexpr uint32_t Bit(int term) { return 1u << term; }
// The term of either sum.
DPM_DEVICE constexpr uint32_t Both(int offset) { return Bit(kTermFirst + offset) | Bit(kTermSecond + offset); }

// The terms whose operands are there.
DPM_DEVICE uint32_t Present(const StepArgs& a, bool d0_is_p) {
  const uint32_t x = a.x ? Bit(kTermX) : 0, m = a.m ? Bit(kTermM) : 0, u = a.u ? Bit(kTermU) : 0;
  const uint32_t history = Bit(kTermEp) | (x | m | u) << (kTermEx - kTermX);
  return x | m | u | (a.g ? Bit(kTermG) : 0) | Both(kBp) | (d0_is_p ? 0 : history | Both(kB0)) |
         (a.base ? Both(kA) : 0) | (a.d1 ? Both(kB1) : 0) | (a.d2 ? Both(kB2) : 0) | (a.d3 ? Both(kB3) : 0) |
         (a.z || a.noise ? Both(kN) : 0);
}

// By all threads of a warp, with what FetchRow gave. kGeneral as in Body: the fast variant has no use for some terms.
template <bool kGeneral>
DPM_DEVICE Row ResolveRow(const StepArgs& a, double mine) {
  const uint32_t t = ThreadIndex() % 32;
  Row r;
  const double ep = WarpRead(mine, kEp), ex = WarpRead(mine, kEx), em = WarpRead(mine, kEm), eu = WarpRead(mine, kEu);
  r.d0_is_p = ep == 1 && ex == 0 && em == 0 && eu == 0;
  // A lane resolves the term of its number. Where the history keeps P itself bp and b0 are one coefficient.
  const uint32_t at = t < kTermEp ? kCx + t : t < kTermFirst ? kEp + t - kTermEp : kFirst + t - kTermFirst;
  const uint32_t place = t < kTermSecond ? at : kSecond + t - kTermSecond;
  const uint32_t sum_term = (t - kTermFirst) % kSumLength;
  double value = WarpRead(mine, place % 32);
  const double after = WarpRead(mine, (place + kB0 - kBp) % 32);
  const bool in_sum = t >= kTermFirst && t < kTermCount;
  if (in_sum && sum_term == kBp && r.d0_is_p) value = value + after;
  r.mask = WarpBallot(value != 0) & Present(a, r.d0_is_p);
  const float narrow = static_cast<float>(value);
  DPM_UNROLL
  for (int k = 0; k < kTermCount; ++k) {
    const bool rare = k == kTermG || k == kTermFirst + kB3 || k >= kTermSecond;
    r.c[k] = kGeneral || !rare ? WarpRead(narrow, k) : 0;
  }
  r.ratio = WarpRead(mine, kRatio);
  r.floor = WarpRead(mine, kFloor);
  r.cap = WarpRead(mine, kCap);
  r.transform = static_cast<Transform>(WholeOf(WarpRead(mine, kTransform)));
  r.selects = r.transform == Transform::quantile && r.floor < r.cap;
  r.s = static_cast<float>(r.transform == Transform::quantile && r.cap < r.floor ? r.cap : r.floor);
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

template <NetType kType>
DPM_DEVICE void Unpack(const uint32_t* words, float* four) {
  DPM_UNROLL
  for (int k = 0; k < 4; ++k) four[k] = Network<kType>::ToFloat(static_cast<uint16_t>(words[k / 2] >> (16 * (k % 2))));
}

// V elements from `from`, one or four, in one access where its address allows it; kAligned: it does.
template <NetType kType, bool kAligned, int V>
DPM_DEVICE void Load(const typename Network<kType>::Element* from, float* to) {
  if constexpr (V == 4) {
    if (kAligned || Aligned(from, V * sizeof *from)) {
      if constexpr (kType == NetType::f32) {
        Load16(from, to);
      } else {
        uint32_t words[2];
        Load8(from, words);
        Unpack<kType>(words, to);
      }
      return;
    }
  }
  if constexpr (!kAligned) {
    DPM_UNROLL
    for (int k = 0; k < V; ++k) to[k] = Network<kType>::ToFloat(Load1(from + k));
  }
}

// Four elements at an aligned address, for the last time.
template <NetType kType>
DPM_DEVICE void LoadPassing(const typename Network<kType>::Element* from, float* to, Passing passing) {
  if constexpr (kType == NetType::f32) {
    Load16(from, to, passing);
  } else {
    uint32_t words[2];
    Load8(from, words, passing);
    Unpack<kType>(words, to);
  }
}

template <NetType kType, bool kAligned, int V>
DPM_DEVICE void Store(typename Network<kType>::Element* to, const float* from) {
  if constexpr (V == 4) {
    if (kAligned || Aligned(to, V * sizeof *to)) {
      if constexpr (kType == NetType::f32) {
        Store16(to, from);
      } else {
        uint32_t words[2];
        DPM_UNROLL
        for (int k = 0; k < 2; ++k) {
          words[k] = Network<kType>::FromFloat(from[2 * k]) |
                     static_cast<uint32_t>(Network<kType>::FromFloat(from[2 * k + 1])) << 16;
        }
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

// Zero where nothing is loaded: a register that keeps what it had before is taken all the time.
template <int V>
struct Operands {
  Values<V> x = {}, m = {}, u = {}, g = {};                            // the prediction's
  Values<V> base = {}, d1 = {}, d2 = {}, d3 = {}, z = {}, given = {};  // the update's
};

// kGeneral: everything that a call can say. The fast variant is without what few steps use (g, d3, p, out2, noise made
// here), and all its buffers and sample lengths are multiples of V elements and of 16 bytes.
//
// Operands come in three turns, so that those of several vectors can be in flight and still fit the registers: those of
// the prediction and d1, which most steps have; what else the update needs, by when the network's outputs are no longer
// needed; and once more x, m and u for the few rows whose history is not P.
template <NetType kType, bool kGeneral, int V>
struct Body {
  using Element = typename Network<kType>::Element;
  using Loaded = Operands<V>;
  static constexpr int kElements = V;

  // A thread's U vectors lie a warp's width apart; at the end of a sample there are the first `count` of them.
  static constexpr size_t kStride = 32 * V;

  template <int U>
  DPM_DEVICE static void LoadState(const float* from, size_t at, int count, Values<V> Operands<V>::*to,
                                   Operands<V>* o) {
    DPM_UNROLL
    for (int u = 0; u < U; ++u) {
      if (u < count) Load<NetType::f32, !kGeneral, V>(from + at + u * kStride, (o[u].*to).v);
    }
  }
  template <int U>
  DPM_DEVICE static void LoadNetwork(const void* from, size_t at, int count, Values<V> Operands<V>::*to,
                                     Operands<V>* o) {
    DPM_UNROLL
    for (int u = 0; u < U; ++u) {
      if (u < count) Load<kType, !kGeneral, V>(static_cast<const Element*>(from) + at + u * kStride, (o[u].*to).v);
    }
  }
  // The first turn, of the terms in `mask`; the others follow.
  template <int U>
  DPM_DEVICE static void LoadPrediction(const StepArgs& a, uint32_t sample, size_t i, int count, uint32_t mask,
                                        Operands<V>* o) {
    const size_t at = sample * a.n + i, network = sample * a.m_stride + i;
    if (mask & Bit(kTermX)) LoadState<U>(a.x, at, count, &Operands<V>::x, o);
    if (mask & Bit(kTermM)) LoadNetwork<U>(a.m, network, count, &Operands<V>::m, o);
    if (mask & Bit(kTermU)) LoadNetwork<U>(a.u, network, count, &Operands<V>::u, o);
    if (kGeneral && (mask & Bit(kTermG))) LoadNetwork<U>(a.g, at, count, &Operands<V>::g, o);
  }
  template <int U>
  DPM_DEVICE static void LoadHistory(const StepArgs& a, uint32_t sample, size_t i, int count, uint32_t mask,
                                     Operands<V>* o) {
    if (mask & Both(kB1)) LoadState<U>(a.d1, sample * a.n + i, count, &Operands<V>::d1, o);
  }
  template <int U>
  DPM_DEVICE static void LoadRest(const StepArgs& a, uint32_t sample, size_t i, int count, uint32_t mask, bool has_x,
                                  Operands<V>* o) {
    const size_t at = sample * a.n + i;
    if (mask & Both(kA)) {
      if (has_x) {
        DPM_UNROLL
        for (int u = 0; u < U; ++u) o[u].base = o[u].x;
      } else {
        LoadState<U>(a.base, at, count, &Operands<V>::base, o);
      }
    }
    if (mask & Both(kB2)) LoadState<U>(a.d2, at, count, &Operands<V>::d2, o);
    if (kGeneral && (mask & Both(kB3))) LoadState<U>(a.d3, at, count, &Operands<V>::d3, o);
    if ((mask & Both(kN)) && (!kGeneral || a.z)) LoadState<U>(a.z, at, count, &Operands<V>::z, o);
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

  // From the transformed prediction to everything written. Operands are read before: an output may be the very buffer
  // of an input.
  DPM_DEVICE static void Finish(const StepArgs& a, const Row& r, uint32_t sample, size_t i, Operands<V>& o,
                                const Values<V>& p) {
    const size_t at = sample * a.n + i;
    if (kGeneral && (r.mask & Both(kN)) && !a.z) MakeNoise<V>(a.noise + 4 * static_cast<size_t>(sample), i, o.z.v);
    Values<V> d0 = p;
    if (!r.d0_is_p) {
      Operands<V> again;
      LoadPrediction<1>(a, sample, i, 1, r.mask >> (kTermEx - kTermX) & (Bit(kTermX) | Bit(kTermM) | Bit(kTermU)),
                        &again);
      d0 = Empty<V>(r.mask & Bits(kTermEp, 4));
      if (r.Has(kTermEp)) Accumulate(d0, r.c[kTermEp], p);
      if (r.Has(kTermEx)) Accumulate(d0, r.c[kTermEx], again.x);
      if (r.Has(kTermEm)) Accumulate(d0, r.c[kTermEm], again.m);
      if (r.Has(kTermEu)) Accumulate(d0, r.c[kTermEu], again.u);
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

  DPM_DEVICE static bool ReadsP(const Row& r) { return kGeneral && r.transform == Transform::given; }

  // What the first turn loads: with x, if the step begins where the network looked.
  DPM_DEVICE static uint32_t FirstTerms(const StepArgs& a, const Row& r) {
    const uint32_t prediction = ReadsP(r) ? 0 : r.mask & Bits(kTermX, 4);
    return prediction | (r.mask & Both(kB1)) | (SharesX(a, r) && (r.mask & Both(kA)) ? Bit(kTermX) : 0);
  }
  DPM_DEVICE static bool SharesX(const StepArgs& a, const Row& r) { return a.base == a.x && !ReadsP(r); }
  // The same before the row is known.
  DPM_DEVICE static uint32_t FirstTerms(const StepArgs& a) {
    return (a.x ? Bit(kTermX) : 0) | (a.m ? Bit(kTermM) : 0) | (a.u ? Bit(kTermU) : 0) | (a.d1 ? Both(kB1) : 0);
  }
  template <int U>
  DPM_DEVICE static void LoadFirst(const StepArgs& a, uint32_t sample, size_t i, int count, uint32_t mask,
                                   Operands<V>* o) {
    LoadPrediction<U>(a, sample, i, count, mask, o);
    LoadHistory<U>(a, sample, i, count, mask, o);
  }

  template <int U>
  DPM_DEVICE static void Predictions(const StepArgs& a, const Row& r, uint32_t sample, size_t i, int count,
                                     Operands<V>* o, Values<V>* p) {
    if (ReadsP(r)) {
      LoadState<U>(a.p, sample * a.n + i, count, &Operands<V>::given, o);
      DPM_UNROLL
      for (int u = 0; u < U; ++u) p[u] = o[u].given;
    } else {
      DPM_UNROLL
      for (int u = 0; u < U; ++u) p[u] = Predict(r, o[u]);
    }
  }

  // The step from the transformed predictions on. has_x: x has been loaded and is the base.
  template <int U>
  DPM_DEVICE static void Apply(const StepArgs& a, const Row& r, uint32_t sample, size_t i, int count, bool has_x,
                               Operands<V>* o, const Values<V>* p) {
    LoadRest<U>(a, sample, i, count, r.mask, has_x, o);
    DPM_UNROLL
    for (int u = 0; u < U; ++u) {
      if (u < count) Finish(a, r, sample, i + u * kStride, o[u], p[u]);
    }
  }

  // The whole step; false if a prediction is not finite.
  template <int U>
  DPM_DEVICE static bool Step(const StepArgs& a, const Row& r, uint32_t sample, size_t i, int count, Operands<V>* o) {
    Values<V> p[U];
    Predictions<U>(a, r, sample, i, count, o, p);
    bool finite = true;
    DPM_UNROLL
    for (int u = 0; u < U; ++u) {
      finite = (u >= count || Finite(p[u])) && finite;
      Transformed(r, p[u]);
    }
    Apply<U>(a, r, sample, i, count, SharesX(a, r), o, p);
    return finite;
  }
  DPM_DEVICE static bool StepOne(const StepArgs& a, const Row& r, uint32_t sample, size_t i) {
    Operands<V> o[1] = {};
    LoadFirst<1>(a, sample, i, 1, FirstTerms(a, r), o);
    return Step<1>(a, r, sample, i, 1, o);
  }
};

// Vectors of a thread whose operands are loaded before the first of them is used.
template <bool kGeneral>
constexpr int kAtOnce = kGeneral ? 1 : 2;

// How many of a thread's vectors of a chunk, the first of them the j-th of the sample, there are.
template <int U>
DPM_DEVICE int CountOf(uint32_t j, uint32_t chunk, uint32_t vectors) {
  int count = j < vectors ? 1 : 0;
  DPM_UNROLL
  for (int u = 1; u < U; ++u) count += 32u * u < chunk && j + 32 * u < vectors ? 1 : 0;
  return count;
}

// Whose turn this warp's is, among all warps of so many blocks.
DPM_DEVICE uint32_t TurnOf(uint32_t block, uint32_t blocks) { return ThreadIndex() / 32 * blocks + block; }

// How many elements of a sample come before the first that vectors may start at. Vectors follow the state's address;
// where noise is made here they follow Philox's blocks of four, which begin with the sample.
template <bool kGeneral, int V>
DPM_DEVICE uint32_t Head(const StepArgs& a, uint32_t sample) {
  if (!kGeneral || (a.noise && !a.z)) return 0;
  const size_t head = (V - sample * a.n % V) % V;
  return static_cast<uint32_t>(head < a.n ? head : a.n);
}

}  // namespace dpm::cuda
