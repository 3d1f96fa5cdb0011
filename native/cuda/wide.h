// The step in double precision: the same rows and rules, an element a thread. Where a quantile is to be found one block
// has a sample to itself and makes the predictions anew for every digit of their keys: exact, of no size limit, and not
// made for speed.
#pragma once

#include "threshold.h"

namespace dpm::cuda {

// A row, and its numbers in double.
struct WideRow : Row {
  Shared<double> numbers;
};

// kSelects: rows may ask for a quantile. grid: (blocks of a sample, samples), or with kSelects (samples); dynamic
// shared memory: kWideNumbers words, with kSelects as many more as kSharedPredictions.
template <bool kSelects>
struct WideKernel {
  using Row = WideRow;
  struct Operands {
    double x = 0, m = 0, u = 0, g = 0, base = 0, d1 = 0, d2 = 0, d3 = 0, z = 0;
  };

  DPM_DEVICE static double Load(const void* from, size_t i) { return Load1(static_cast<const double*>(from) + i); }
  DPM_DEVICE static void Put(void* to, size_t i, double value) { Store1(static_cast<double*>(to) + i, value); }

  // Of a term of the row, in double: the mask says whether it takes part.
  DPM_DEVICE static double Coefficient(const Row& r, int term) {
    if (term < kTermEp) return r.numbers[kCx + term];
    if (term < kTermFirst) return r.numbers[kEp + (term - kTermEp)];
    const bool first = term < kTermSecond;
    const int sum = first ? int{kFirst} : int{kSecond}, k = term - (first ? kTermFirst : kTermSecond);
    const double value = r.numbers[sum + k];
    return k == kBp && r.d0_is_p ? value + r.numbers[sum + kB0] : value;
  }
  DPM_DEVICE static void Add(const Row& r, int term, double operand, double& sum) {
    if (r.Has(term)) sum = sum + Coefficient(r, term) * operand;
  }
  // -0 + t is t for every t; a sum without terms is zero.
  DPM_DEVICE static double Begin(bool has_terms) { return has_terms ? -0.0 : 0.0; }

  // Which terms need an operand.
  static constexpr uint32_t kNeedsX = Bit(kTermX) | Bit(kTermEx), kNeedsM = Bit(kTermM) | Bit(kTermEm);
  static constexpr uint32_t kNeedsU = Bit(kTermU) | Bit(kTermEu), kNeedsG = Bit(kTermG);

  DPM_DEVICE static void LoadPrediction(const StepArgs& a, uint32_t sample, size_t i, uint32_t mask, Operands& o) {
    const size_t at = sample * a.n + i, network = sample * a.m_stride + i;
    if (mask & kNeedsX) o.x = Load(a.x, at);
    if (mask & kNeedsM) o.m = Load(a.m, network);
    if (mask & kNeedsU) o.u = Load(a.u, network);
    if (mask & kNeedsG) o.g = Load(a.g, at);
  }
  DPM_DEVICE static double Predict(const Row& r, const Operands& o) {
    double p = Begin(r.mask & Bits(kTermX, 4));
    Add(r, kTermX, o.x, p);
    Add(r, kTermM, o.m, p);
    Add(r, kTermU, o.u, p);
    Add(r, kTermG, o.g, p);
    return p;
  }
  DPM_DEVICE static double Update(const Row& r, int terms, const Operands& o, double p, double d0) {
    double sum = Begin(r.mask & Bits(terms, kSumLength));
    Add(r, terms + kA, o.base, sum);
    Add(r, terms + kBp, p, sum);
    Add(r, terms + kB0, d0, sum);
    Add(r, terms + kB1, o.d1, sum);
    Add(r, terms + kB2, o.d2, sum);
    Add(r, terms + kB3, o.d3, sum);
    Add(r, terms + kN, o.z, sum);
    return sum;
  }
  DPM_DEVICE static double Noise(const uint32_t* key, size_t i) {
    const uint64_t seed = LoadWord(key) | static_cast<uint64_t>(LoadWord(key + 1)) << 32;
    double four[4];
    noise::PhiloxNormal4(seed, i / 4, LoadWord(key + 2), LoadWord(key + 3), four);
    const size_t which = i % 4;
    return which < 2 ? (which == 0 ? four[0] : four[1]) : (which == 2 ? four[2] : four[3]);
  }
  DPM_DEVICE static void StoreNext(void* to, int type, size_t at, double value) {
    if (type == static_cast<int>(NetType::f64)) return Put(to, at, value);
    if (type == static_cast<int>(NetType::f16)) {
      return Store1(static_cast<uint16_t*>(to) + at, Network<NetType::f16>::FromFloat(RoundToOdd(value)));
    }
    if (type == static_cast<int>(NetType::bf16)) {
      return Store1(static_cast<uint16_t*>(to) + at, Network<NetType::bf16>::FromFloat(RoundToOdd(value)));
    }
    Store1(static_cast<float*>(to) + at, static_cast<float>(value));
  }

  DPM_DEVICE static uint64_t KeyOf(double p) {
    uint64_t bits;
    memcpy(&bits, &p, 8);
    return bits & 0x7fffffffffffffffu;
  }
  DPM_DEVICE static double FromKey(uint64_t key) {
    double p;
    memcpy(&p, &key, 8);
    return p;
  }
  static constexpr uint64_t kInfinity = 0x7ff0000000000000u;

  // The whole step for one element; false if the prediction is not finite.
  DPM_DEVICE static bool Step(const StepArgs& a, const Row& r, double s, uint32_t sample, size_t i) {
    const size_t at = sample * a.n + i;
    const bool given = r.transform == Transform::given;
    Operands o;
    LoadPrediction(a, sample, i, given ? r.mask & ~Bits(kTermX, 4) : r.mask, o);
    if (r.mask & Both(kA)) o.base = Load(a.base, at);
    if (r.mask & Both(kB1)) o.d1 = Load(a.d1, at);
    if (r.mask & Both(kB2)) o.d2 = Load(a.d2, at);
    if (r.mask & Both(kB3)) o.d3 = Load(a.d3, at);
    if (r.mask & Both(kN)) o.z = a.z ? Load(a.z, at) : Noise(a.noise + 4 * static_cast<size_t>(sample), i);
    double p = given ? Load(a.p, at) : Predict(r, o);
    const bool finite = KeyOf(p) < kInfinity;
    if (r.transform == Transform::clamp || r.transform == Transform::quantile) p = Clip(p, s);
    if (r.transform == Transform::quantile) p = p / s;
    double d0 = p;
    if (!r.d0_is_p) {
      d0 = Begin(r.mask & Bits(kTermEp, 4));
      Add(r, kTermEp, p, d0);
      Add(r, kTermEx, o.x, d0);
      Add(r, kTermEm, o.m, d0);
      Add(r, kTermEu, o.u, d0);
    }
    if (a.out) {
      const double out = Update(r, kTermFirst, o, p, d0);
      Put(a.out, at, out);
      if (a.next[0]) StoreNext(a.next[0], a.next_type, at, out);
      if (a.next[1]) StoreNext(a.next[1], a.next_type, at, out);
    }
    if (a.out2) Put(a.out2, at, Update(r, kTermSecond, o, p, d0));
    if (a.p && !given) Put(a.p, at, p);
    if (a.d0) Put(a.d0, at, d0);
    return finite;
  }

  // The rank-th largest |P|, counted from 1; `first`: no equal one comes before it. `nan`: one is none, and there is no
  // answer. All threads of the block.
  struct Selected {
    uint64_t key;
    bool first, nan;
  };
  DPM_DEVICE static Selected Select(const StepArgs& a, const Row& r, uint32_t sample, uint32_t rank,
                                    Shared<uint32_t> shared) {
    using Search = ThresholdKernel<GridTeam, NetType::f32, true, 4>;
    const GridTeam team = GridTeam::Alone(shared);
    uint64_t key = 0;
    uint32_t above = 64;  // bits from here on are found
    DPM_ROLLED
    for (uint32_t shift = 53; above > 0; shift = shift > kLevelBits ? shift - kLevelBits : 0) {
      BlockSync();  // the last digit's counts have been read
      DPM_ROLLED
      for (uint32_t i = ThreadIndex(); i < kSharedFound; i += BlockThreads()) shared[i] = 0;
      BlockSync();
      const uint64_t bin_mask = (uint64_t{1} << (above - shift)) - 1;
      DPM_ROLLED
      for (size_t i = ThreadIndex(); i < a.n; i += BlockThreads()) {
        Operands o;
        LoadPrediction(a, sample, i, r.mask & Bits(kTermX, 4), o);
        const uint64_t one = KeyOf(Predict(r, o));
        if (one > kInfinity) AtomicMax(shared, kSharedCounts + kLargest, 1);
        if (above == 64 || one >> above == key >> above) {
          CountOne(shared, kSharedBins + static_cast<uint32_t>(~(one >> shift) & bin_mask));
        }
      }
      Search::SumGroups(shared);
      BlockSync();
      if (team.Most(team.Count(kLargest)) != 0) return {0, false, true};
      // Every warp for itself.
      const typename Search::Found found = Search::FindBin(team, rank);
      key |= (~static_cast<uint64_t>(found.bin) & bin_mask) << shift;
      rank = found.rank;
      above = shift;
    }
    return {key, rank == 1, false};
  }

  // min(max(quantile, floor), cap) of |P|.
  DPM_DEVICE static double Bound(const StepArgs& a, const Row& r, uint32_t sample, Shared<uint32_t> shared) {
    const double low = r.numbers[kFloor], high = r.numbers[kCap];
    const double position = r.numbers[kRatio] * static_cast<double>(a.n - 1);
    uint64_t k = static_cast<uint64_t>(position);
    if (k > a.n - 1) k = a.n - 1;
    const double weight = position - static_cast<double>(k);
    const uint32_t keep = static_cast<uint32_t>(a.n - k);
    const Selected last = Select(a, r, sample, keep, shared);
    if (last.nan) return FromKey(kInfinity + 1);
    const double below = FromKey(last.key);
    double value = below;
    if (weight > 0 && keep > 1 && last.first) {
      const double next = FromKey(Select(a, r, sample, keep - 1, shared).key);
      if (next != below) value = below + weight * (next - below);
    }
    return value < low ? (low < high ? low : high) : (value > high ? high : value);
  }

  DPM_DEVICE static void Run(const StepArgs& a) {
    EverythingBefore();
    LetNextBegin();
    const Shared<uint32_t> shared = DynamicShared();
    const uint32_t samples = kSelects ? GridX() : GridY();
    DPM_ROLLED
    for (uint32_t sample = kSelects ? BlockX() : BlockY(); sample < a.batch; sample += samples) {
      const double number = FetchRow(a, sample);
      Row r;
      static_cast<cuda::Row&>(r) = ResolveRow<true>(a, number);
      r.numbers = (shared + (kSelects ? kSharedPredictions : 0)).template As<double>();
      if (ThreadIndex() < kRowLength) r.numbers[ThreadIndex()] = number;
      BlockSync();
      const double floor = r.numbers[kFloor], cap = r.numbers[kCap];
      const bool selects = r.transform == Transform::quantile && floor < cap;
      double s = r.transform == Transform::quantile && cap < floor ? cap : floor;
      if (selects && !kSelects) {
        if (BlockX() == 0 && ThreadIndex() == 0 && a.flags) AtomicOr(a.flags + sample, kNeedsSelection);
      } else {
        if constexpr (kSelects) {
          if (selects) s = Bound(a, r, sample, shared);
        }
        bool finite = true;
        const size_t stride = kSelects ? BlockThreads() : static_cast<size_t>(GridX()) * BlockThreads();
        const size_t first = kSelects ? ThreadIndex() : static_cast<size_t>(BlockX()) * BlockThreads() + ThreadIndex();
        DPM_ROLLED
        for (size_t i = first; i < a.n; i += stride) finite = Step(a, r, s, sample, i) && finite;
        if (!finite && a.flags) AtomicOr(a.flags + sample, kNotFinite);
      }
      if (sample + samples < a.batch) BlockSync();
    }
  }
};

}  // namespace dpm::cuda
