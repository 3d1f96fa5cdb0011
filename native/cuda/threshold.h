// The step with dynamic thresholding as one kernel: the blocks of a team share a sample, keep its prediction in their
// shared memory, find the exact quantile of |P| by radix selection on its bits, then clip, divide and update. Every
// tensor crosses memory once (as far as the prediction fits: what does not is made again).
//
// The quantile is native/cpu's: linear interpolation in double between the two order statistics around ratio (n - 1),
// s = min(max(quantile, floor), cap), NaN if any prediction is NaN. Keys are the bits of |P|, whose order is that of
// the numbers. Only keys between floor and cap are counted: those at the floor or below and those at the cap or above
// cannot move s. With floor 1 and cap 1.5 that leaves 22 bits: two levels of 2048 bins instead of three.
#pragma once

#include "body.h"

namespace dpm::cuda {

#if defined(DPM_CUDA_EMULATION) || __CUDA_ARCH__ >= 900
// A cluster: the blocks see each other's shared memory.
struct ClusterTeam {
  Shared<uint32_t> shared;
  uint32_t rank, size;

  DPM_DEVICE static uint32_t Index(const TeamArgs& t) { return BlockX() / t.size; }
  DPM_DEVICE static ClusterTeam Join(const TeamArgs&, Shared<uint32_t> shared) {
    return {shared, ClusterRank(), ClusterSize()};
  }
  DPM_DEVICE void Sync() const { ClusterSync(); }
  // This block's counts of a level are complete: from the next Sync on they count.
  DPM_DEVICE void Publish(uint32_t) const {}
  // The team's counts of four words, the first a multiple of four.
  DPM_DEVICE void Totals(uint32_t level, uint32_t word, uint32_t* to) const {
    to[0] = to[1] = to[2] = to[3] = 0;
    DPM_UNROLL_4
    for (uint32_t block = 0; block < size; ++block) {
      uint32_t one[4];
      LoadRemote4(shared, kSharedLevels + level * kLevelWords + word, block, one);
      DPM_UNROLL
      for (int k = 0; k < 4; ++k) to[k] += one[k];
    }
  }
  DPM_DEVICE void PublishNeighbours() const {}
  DPM_DEVICE void Neighbours(uint32_t* to) const {
    to[0] = to[1] = 0;
    DPM_UNROLL_4
    for (uint32_t block = 0; block < size; ++block) {
      uint32_t one[4];
      LoadRemote4(shared, kSharedNeighbours, block, one);
      DPM_UNROLL
      for (int k = 0; k < 2; ++k) to[k] = one[k] > to[k] ? one[k] : to[k];
    }
  }
  // No block may leave or go on to another sample while another still reads its counts.
  DPM_DEVICE void Leave(bool, bool) const { ClusterSync(); }
};
#endif

// Blocks that run at the same time and meet in global memory: any card, any size. A team of one block meets nobody.
struct GridTeam {
  Shared<uint32_t> shared;
  uint32_t rank, size;
  uint32_t* workspace;

  DPM_DEVICE static uint32_t Index(const TeamArgs& t) { return BlockX() / t.size; }
  DPM_DEVICE static GridTeam Join(const TeamArgs& t, Shared<uint32_t> shared) {
    return {shared, BlockX() % t.size, t.size,
            t.size > 1 ? t.workspace + static_cast<size_t>(BlockX() / t.size) * kWorkspaceWords : nullptr};
  }
  DPM_DEVICE void Sync() const {
    if (size == 1) {
      BlockSync();
    } else {
      TeamSync(workspace, size);
    }
  }
  DPM_DEVICE void Publish(uint32_t level) const {
    if (size == 1) return;
    BlockSync();
    const Shared<uint32_t> mine = shared + (kSharedLevels + level * kLevelWords);
    uint32_t* const all = workspace + kTeamLevels + level * kLevelWords;
    DPM_ROLLED
    for (uint32_t i = ThreadIndex(); i < kLevelWords; i += BlockThreads()) {
      const uint32_t count = mine[i];
      if (count != 0) AtomicAdd(all + i, count);
    }
  }
  DPM_DEVICE void Totals(uint32_t level, uint32_t word, uint32_t* to) const {
    if (size == 1) {
      Load4(shared, kSharedLevels + level * kLevelWords + word, to);
    } else {
      LoadWords4(workspace + kTeamLevels + level * kLevelWords + word, to);
    }
  }
  DPM_DEVICE void PublishNeighbours() const {
    if (size == 1) return;
    BlockSync();
    if (ThreadIndex() < 2)
      AtomicMax(workspace + kTeamNeighbours + ThreadIndex(), shared[kSharedNeighbours + ThreadIndex()]);
  }
  DPM_DEVICE void Neighbours(uint32_t* to) const {
    DPM_UNROLL
    for (uint32_t k = 0; k < 2; ++k) {
      to[k] = size == 1 ? shared[kSharedNeighbours + k] : LoadWord(workspace + kTeamNeighbours + k);
    }
  }
  // Leaves the workspace as it was found.
  DPM_DEVICE void Leave(bool selected, bool more) const {
    if (size == 1) {
      BlockSync();
      return;
    }
    if (!selected) {
      if (more) BlockSync();
      return;
    }
    Sync();
    const uint32_t stride = size * BlockThreads();
    DPM_ROLLED
    for (uint32_t i = kTeamLevels + rank * BlockThreads() + ThreadIndex(); i < kWorkspaceWords; i += stride) {
      StoreWord(workspace + i, 0);
    }
    if (more) Sync();
  }
};

template <class Team, NetType kType, bool kGeneral, int V>
struct ThresholdKernel {
  template <int W>
  using BodyOf = Body<kType, kGeneral, W>;

  // What one thread does in a sample: every `stride`-th vector of the block's slice and perhaps one of the elements
  // before and after the vectors. It alone reads and writes the predictions that it made.
  struct Share {
    size_t first, count;  // the block's slice of the sample
    uint32_t head;
    size_t vectors, resident;  // of them, in shared memory
    bool edge;
    size_t edge_at;  // element of the sample
    Shared<float> edges, predictions;
  };

  DPM_DEVICE static Share ShareOf(const StepArgs& a, const TeamArgs& t, const Team& team, uint32_t sample,
                                  Shared<uint32_t> shared) {
    Share s;
    const uint64_t begin = team.rank * t.slice;
    s.first = begin < a.n ? begin : a.n;
    s.count = a.n - s.first < t.slice ? a.n - s.first : t.slice;
    s.head = Head<kGeneral, V>(a, sample, s.first, s.count);
    s.vectors = (s.count - s.head) / V;
    s.resident = t.resident / V;
    const size_t tail = s.head + s.vectors * V;
    s.predictions = (shared + kSharedPredictions).As<float>();
    s.edge = false;
    if (!kGeneral) return s;
    const size_t at = ThreadIndex() < s.head ? ThreadIndex() : tail + (ThreadIndex() - s.head);
    s.edge = at < s.count && (at < s.head || at >= tail);
    s.edge_at = s.first + at;
    s.edges = (shared + kSharedEdge).As<float>();
    return s;
  }

  template <int W>
  DPM_DEVICE static Values<W> Made(const StepArgs& a, const Row& r, uint32_t sample, size_t i) {
    Operands<W> o;
    BodyOf<W>::LoadPrediction(a, sample, i, r.mask & Bits(kTermX, 4), o);
    return BodyOf<W>::Predict(r, o);
  }

  DPM_DEVICE static Values<V> Kept(const Share& s, size_t j) {
    Values<V> p;
    DPM_UNROLL
    for (int k = 0; k < V; k += 4) Load4(s.predictions, j * V + k, p.v + k);
    return p;
  }

  // f(key) for every prediction of this thread.
  template <class F>
  DPM_DEVICE static void ForEachKey(const StepArgs& a, const Row& r, uint32_t sample, const Share& s, F f) {
    DPM_ROLLED
    for (size_t j = ThreadIndex(); j < s.vectors; j += BlockThreads()) {
      const Values<V> p = j < s.resident ? Kept(s, j) : Made<V>(a, r, sample, s.first + s.head + j * V);
      DPM_UNROLL
      for (int k = 0; k < V; ++k) f(FloatToWord(p.v[k]) & 0x7fffffffu);
    }
    if constexpr (kGeneral) {
      if (s.edge) {
        const float p = s.edges[ThreadIndex()];
        f(FloatToWord(p) & 0x7fffffffu);
      }
    }
  }

  // Keys strictly between `low` and `high` are counted; `range` of them there are, in bins of 2^shift.
  struct Window {
    uint32_t low, high, range;
  };
  DPM_DEVICE static Window WindowOf(const Row& r) {
    const float floor = static_cast<float>(r.numbers[kFloor]), cap = static_cast<float>(r.numbers[kCap]);
    Window w;
    w.low = floor > 0 ? FloatToWord(floor) : 0;
    w.high = FloatToWord(cap);
    w.range = w.high > w.low ? w.high - w.low - 1 : 0;
    return w;
  }
  DPM_DEVICE static uint32_t BitLength(uint32_t value) {
    uint32_t bits = 0;
    while (value != 0) value >>= 1, ++bits;
    return bits;
  }
  // The bits that remain below a level's bins.
  DPM_DEVICE static uint32_t Below(uint32_t bits) { return bits > kLevelBits ? bits - kLevelBits : 0; }

  // Makes the predictions, keeps them and counts the first level; false if one is not finite.
  DPM_DEVICE static bool MakeAll(const StepArgs& a, const Row& r, uint32_t sample, const Share& s, const Window& w,
                                 uint32_t shift, Shared<uint32_t> level) {
    bool finite = true;
    uint32_t capped = 0;
    const auto count = [&](float p) {
      const uint32_t key = FloatToWord(p) & 0x7fffffffu;
      const uint32_t offset = key - w.low - 1;  // of keys up to `low`: beyond the range
      if (offset < w.range) {
        AtomicAdd(level, offset >> shift, 1);
      } else if (key > w.low) {
        ++capped;
      }
      if (key > 0x7f800000u) AtomicAdd(level, kNaN, 1);
    };
    DPM_UNROLL_2
    for (size_t j = ThreadIndex(); j < s.vectors; j += BlockThreads()) {
      const Values<V> p = Made<V>(a, r, sample, s.first + s.head + j * V);
      finite = BodyOf<V>::Finite(p) && finite;
      if (j < s.resident) {
        DPM_UNROLL
        for (int k = 0; k < V; k += 4) Store4(s.predictions, j * V + k, p.v + k);
      }
      DPM_UNROLL
      for (int k = 0; k < V; ++k) count(p.v[k]);
    }
    if constexpr (kGeneral) {
      if (s.edge) {
        const Values<1> p = Made<1>(a, r, sample, s.edge_at);
        finite = BodyOf<1>::Finite(p) && finite;
        s.edges[ThreadIndex()] = p.v[0];
        count(p.v[0]);
      }
    }
    const uint32_t of_warp = WarpSum(capped);
    if (ThreadIndex() % 32 == 0 && of_warp != 0) AtomicAdd(level, kCapped, of_warp);
    return finite;
  }

  struct Found {
    uint32_t bin, rank, total;  // rank inside the bin, from the top, counted from 1; total: of all bins
  };

  // The bin that holds the rank-th key from the top, if there are so many. The same answer in every thread of the team.
  DPM_DEVICE static Found FindBin(const Team& team, Shared<uint32_t> shared, uint32_t level, uint32_t rank) {
    const uint32_t warps = BlockThreads() / 32, group = kBins / BlockThreads();
    const uint32_t first = ThreadIndex() * group;
    uint32_t sum = 0, four[4];
    DPM_ROLLED
    for (uint32_t k = 0; k < group; k += 4) {
      team.Totals(level, first + k, four);
      sum += four[0] + four[1] + four[2] + four[3];
    }
    const uint32_t suffix = WarpSuffixSum(sum);
    const Shared<uint32_t> scan = shared + kSharedScan, found = shared + kSharedFound;
    if (ThreadIndex() % 32 == 0) scan[ThreadIndex() / 32] = suffix;
    BlockSync();
    uint32_t above = suffix - sum, total = 0;
    DPM_ROLLED
    for (uint32_t warp = 0; warp < warps; ++warp) {
      const uint32_t of_warp = scan[warp];
      total += of_warp;
      if (warp > ThreadIndex() / 32) above += of_warp;
    }
    if (rank > above && rank <= above + sum) {
      bool open = true;
      DPM_ROLLED
      for (uint32_t k = group; open; k -= 4) {
        if (k != group) team.Totals(level, first + k - 4, four);
        DPM_UNROLL
        for (int b = 3; b >= 0; --b) {
          if (open && rank <= above + four[b]) {
            found[0] = first + k - 4 + b;
            found[1] = rank - above;
            open = false;
          }
          above += four[b];
        }
      }
    }
    BlockSync();
    Found result{0, 0, total};
    if (rank >= 1 && rank <= total) {
      result.bin = found[0];
      result.rank = found[1];
    }
    return result;
  }

  // min(max(quantile, floor), cap) of |P|, the first level counted and published.
  DPM_DEVICE static float Bound(const StepArgs& a, const Row& r, uint32_t sample, const Team& team, const Share& s,
                                const Window& w, Shared<uint32_t> shared) {
    const float low = static_cast<float>(r.numbers[kFloor]), high = static_cast<float>(r.numbers[kCap]);
    const double position = r.numbers[kRatio] * static_cast<double>(a.n - 1);
    uint64_t k = static_cast<uint64_t>(position);
    if (k > a.n - 1) k = a.n - 1;
    const double weight = position - static_cast<double>(k);
    const uint64_t keep = a.n - k;  // the keep-th largest is the quantile's lower neighbour

    team.Sync();
    uint32_t counts[4];
    team.Totals(0, kCapped, counts);
    const uint32_t capped = counts[0];
    if (counts[kNaN - kCapped] != 0) return WordToFloat(0x7fc00000u);
    if (keep <= capped) return high;  // both neighbours are at the cap or above
    const uint64_t wanted = keep - capped;
    uint32_t rank = wanted > 0xffffffffu ? 0xffffffffu : static_cast<uint32_t>(wanted);
    uint32_t bits = BitLength(w.range ? w.range - 1 : 0);
    uint32_t shift = Below(bits);
    Found found = FindBin(team, shared, 0, rank);
    const uint64_t above_floor = static_cast<uint64_t>(found.total) + capped;
    if (above_floor + 1 < keep) return low < high ? low : high;
    double below;
    uint32_t pivot = w.low;  // the least key that may be the upper neighbour is above it
    bool neighbours = true;
    if (above_floor + 1 > keep) {
      uint32_t base = w.low + 1 + (found.bin << shift);
      rank = found.rank;
      DPM_ROLLED
      for (uint32_t level = 1; shift != 0; ++level) {
        const uint32_t range = 1u << shift;
        shift = Below(shift);
        const Shared<uint32_t> bins = shared + (kSharedLevels + level * kLevelWords);
        ForEachKey(a, r, sample, s, [&](uint32_t key) {
          const uint32_t offset = key - base;
          if (offset < range) AtomicAdd(bins, offset >> shift, 1);
        });
        team.Publish(level);
        team.Sync();
        found = FindBin(team, shared, level, rank);
        rank = found.rank;
        base += found.bin << shift;
      }
      pivot = base;
      // Of equal keys only the first from the top has another above it.
      neighbours = rank == 1;
    }
    neighbours = neighbours && (pivot == w.low || (weight > 0 && keep > 1));
    uint32_t next = pivot, last = pivot;
    if (neighbours) {
      uint32_t above_all = 0, below_all = 0;  // the complement of the least key above, the largest at or below
      ForEachKey(a, r, sample, s, [&](uint32_t key) {
        if (key > pivot) {
          above_all = ~key > above_all ? ~key : above_all;
        } else {
          below_all = key > below_all ? key : below_all;
        }
      });
      above_all = WarpMax(above_all);
      below_all = WarpMax(below_all);
      if (ThreadIndex() % 32 == 0) {
        AtomicMax(shared, kSharedNeighbours, above_all);
        AtomicMax(shared, kSharedNeighbours + 1, below_all);
      }
      team.PublishNeighbours();
      team.Sync();
      uint32_t both[2];
      team.Neighbours(both);
      next = ~both[0];
      last = both[1];
    }
    below = WordToFloat(last);
    double value = below;
    if (weight > 0 && keep > 1 && next != last)
      value = below + weight * (static_cast<double>(WordToFloat(next)) - below);
    const float bound = static_cast<float>(value);
    return bound < low ? (low < high ? low : high) : (bound > high ? high : bound);
  }

  DPM_DEVICE static void Run(const StepArgs& a, const TeamArgs& t) {
    const Shared<uint32_t> shared = DynamicShared();
    const Team team = Team::Join(t, shared);
    DPM_ROLLED
    for (uint32_t sample = Team::Index(t); sample < a.batch; sample += t.teams) {
      const bool more = sample + t.teams < a.batch;
      DPM_ROLLED
      for (uint32_t i = kSharedLevels + ThreadIndex(); i < kSharedScan; i += BlockThreads()) shared[i] = 0;
      Row r = ResolveRow(a, sample, shared);  // its barrier also ends the zeroing
      const Share s = ShareOf(a, t, team, sample, shared);
      bool finite = true;
      if (r.selects) {
        const Window w = WindowOf(r);
        const uint32_t shift = Below(BitLength(w.range ? w.range - 1 : 0));
        finite = MakeAll(a, r, sample, s, w, shift, shared + kSharedLevels);
        team.Publish(0);
        r.s = Bound(a, r, sample, team, s, w, shared);
      }
      DPM_ROLLED
      for (size_t j = ThreadIndex(); j < s.vectors; j += BlockThreads()) {
        const bool kept = r.selects && j < s.resident;
        Values<V> p = {};
        if (kept) p = Kept(s, j);
        finite = BodyOf<V>::Step(a, r, sample, s.first + s.head + j * V, kept, p) && finite;
      }
      if constexpr (kGeneral) {
        if (s.edge) {
          Values<1> p = {};
          if (r.selects) p.v[0] = s.edges[ThreadIndex()];
          finite = BodyOf<1>::Step(a, r, sample, s.edge_at, r.selects, p) && finite;
        }
      }
      if (!finite && a.flags) AtomicOr(a.flags + sample, kNotFinite);
      team.Leave(r.selects, more);
    }
  }
};

}  // namespace dpm::cuda
