// The step with dynamic thresholding as one kernel: the blocks of a team share a sample, keep its prediction on the
// chip (the first vector of every thread in registers, the others in shared memory), find the exact quantile of |P|,
// then clip, divide and update. Every tensor crosses memory once (as far as the prediction fits: what does not is made
// again).
//
// The quantile is native/cpu's: linear interpolation in double between the two order statistics around ratio (n - 1),
// s = min(max(quantile, floor), cap), NaN if any prediction is NaN. Keys are the bits of |P|, whose order is that of
// the numbers. Only keys between floor and cap are counted: those at the floor or below and those at the cap or above
// cannot move s.
//
// Keys are counted from the cap down, by the upper bits of how far they are from it: 2048 bins, which reach to the
// floor. That finds the bin of the one that is looked for; mostly few others share it, and these few are collected from
// all blocks and ranked. Where they are many, their next bits are counted first. What every block has to read of the
// others is small: the sums of 32 groups of bins, the 64 bins of one group, and the keys of one bin.
#pragma once

#include "body.h"

namespace dpm::cuda {

// What a team does together. What its blocks have to decide each of them decides for itself, from the same numbers.
//   Begin(which)        this launch's `which`-th selection: from here on the block's shared memory is its own again
//   Sync(meanwhile)     all threads of all blocks meet; orders what they do below. meanwhile(): what may be done until
//                       the last one has come, and touches nothing of the team's
//   Publish()           the block's bins are complete: after the next Sync they are part of the team's
//   PublishCounts(from) so are its counts from that one on
//   Retire(which)       after the first Sync of a selection
//   Group, Bins         of the team, by all warps: the sum of the lane's group; two bins of a group
//   Count               by a warp: what Sum and Most make the team's sum and maximum of
//   List(key)           keeps a key for Collect(count), which brings the team's `count` keys into kSharedAll
//   Deepen, Deepened    around another round of bins, which begin as zero
//   Selected()          the block has had its last look at the others of this selection
//   Leave(selections)   after the last sample

#if defined(DPM_CUDA_EMULATION) || __CUDA_ARCH__ >= 900
// A cluster: the blocks see each other's shared memory.
struct ClusterTeam {
  static constexpr bool kKeepsAll = true;  // the planner takes clusters for samples that fit
  Shared<uint32_t> shared;
  uint32_t rank, size;
  bool read;  // has this block looked at others since it last knew that they had finished looking?

  DPM_DEVICE static uint32_t Index(const TeamArgs& t) { return BlockX() / t.size; }
  DPM_DEVICE static ClusterTeam Join(const TeamArgs&, Shared<uint32_t> shared) {
    return {shared, ClusterRank(), ClusterSize(), false};
  }
  template <class F>
  DPM_DEVICE void Sync(F meanwhile) const {
    ClusterArrive();
    meanwhile();
    ClusterWait();
  }
  // The others have finished with this block's counts of the sample before.
  DPM_DEVICE void Begin(uint32_t) {
    if (read) ClusterWait();
    read = false;
  }
  DPM_DEVICE void Publish() const {}
  DPM_DEVICE void PublishCounts(uint32_t) const {}
  DPM_DEVICE void Retire(uint32_t) const {}
  // A block a warp, so that all reads are under way at the same time; then their sum.
  DPM_DEVICE uint32_t Group(uint32_t group) const {
    const uint32_t warps = BlockThreads() / 32;
    DPM_ROLLED
    for (uint32_t block = ThreadIndex() / 32; block < size; block += warps) {
      shared[kSharedParts + block * kGroups + group] = LoadRemote(shared, kSharedGroups + group, block);
    }
    BlockSync();
    uint32_t sum = 0;
    DPM_UNROLL_4
    for (uint32_t block = 0; block < size; ++block) sum += shared[kSharedParts + block * kGroups + group];
    BlockSync();
    return sum;
  }
  DPM_DEVICE void Bins(uint32_t group, uint32_t* to) const {
    const uint32_t lane = ThreadIndex() % 32, warps = BlockThreads() / 32;
    DPM_ROLLED
    for (uint32_t block = ThreadIndex() / 32; block < size; block += warps) {
      uint32_t two[2];
      LoadRemote2(shared, kSharedBins + group * kGroupBins + 2 * lane, block, two);
      DPM_UNROLL
      for (uint32_t k = 0; k < 2; ++k) shared[kSharedParts + block * kGroupBins + 32 * k + lane] = two[k];
    }
    BlockSync();
    to[0] = to[1] = 0;
    DPM_UNROLL_4
    for (uint32_t block = 0; block < size; ++block) {
      DPM_UNROLL
      for (uint32_t k = 0; k < 2; ++k) to[k] += shared[kSharedParts + block * kGroupBins + 32 * k + lane];
    }
    BlockSync();
  }
  DPM_DEVICE uint32_t Count(uint32_t which) const {
    const uint32_t lane = ThreadIndex() % 32;
    return lane < size ? LoadRemote(shared, kSharedCounts + which, lane) : 0;
  }
  DPM_DEVICE uint32_t Sum(uint32_t count) const { return WarpSum(count); }
  DPM_DEVICE uint32_t Most(uint32_t count) const { return WarpMax(count); }
  DPM_DEVICE void List(uint32_t key) const {
    const uint32_t at = FetchAdd(shared, kSharedCounts + kListed, 1);
    shared[kSharedList + at] = key;
  }
  // A warp reads a block's list, which ends with the first zero: no key is.
  DPM_DEVICE void Collect(uint32_t count) const {
    const uint32_t lane = ThreadIndex() % 32, warps = BlockThreads() / 32;
    DPM_ROLLED
    for (uint32_t block = ThreadIndex() / 32; block < size; block += warps) {
      DPM_ROLLED
      for (uint32_t at = 0; at < count; at += 32) {
        const uint32_t key = LoadRemote(shared, kSharedList + at + lane, block);
        const uint32_t there = WarpBallot(key != 0);
        if (there == 0) break;
        uint32_t first = 0;
        if (lane == 0) first = FetchAdd(shared, kSharedCounts + kCollected, CountBits(there));
        first = WarpRead(first, 0);
        if (key != 0) shared[kSharedAll + first + CountBits(there & ((1u << lane) - 1))] = key;
        if (there != 0xffffffffu) break;
      }
    }
  }
  DPM_DEVICE void Deepen() const { ClusterSync(); }
  DPM_DEVICE void Deepened() const {}
  DPM_DEVICE void Selected() {
    ClusterArrive();
    read = true;
  }
  // No block may end while another still reads its counts.
  DPM_DEVICE void Leave(uint32_t) const {
    if (read) ClusterWait();
  }
};
#endif

// Blocks that run at the same time and meet in global memory: any card, any size. A team of one block meets nobody.
struct GridTeam {
  static constexpr bool kKeepsAll = false;
  Shared<uint32_t> shared;
  uint32_t rank, size;
  uint32_t* workspace;
  uint32_t meet, bins;  // where they are there, of this selection; those of the bits that are counted
  bool read;

  DPM_DEVICE static uint32_t Index(const TeamArgs& t) { return BlockX() / t.size; }
  DPM_DEVICE static GridTeam Join(const TeamArgs& t, Shared<uint32_t> shared) {
    uint32_t* const workspace =
        t.size > 1 ? t.workspace + static_cast<size_t>(BlockX() / t.size) * kWorkspaceWords : nullptr;
    return {shared, BlockX() % t.size, t.size, workspace, 0, 0, false};
  }
  static DPM_DEVICE GridTeam Alone(Shared<uint32_t> shared) { return {shared, 0, 1, nullptr, 0, 0, false}; }
  template <class F>
  DPM_DEVICE void Sync(F meanwhile) const {
    if (size == 1) {
      meanwhile();
      BlockSync();
    } else {
      const uint32_t wanted = TeamArrive(workspace + kTeamBarrier, size);
      meanwhile();
      TeamWait(workspace + kTeamBarrier, size, wanted);
    }
  }
  DPM_DEVICE void Sync() const {
    Sync([] {});
  }
  DPM_DEVICE static uint32_t Meet(uint32_t which) { return kTeamMeets + which % kMeets * kMeetWords; }
  DPM_DEVICE void Begin(uint32_t which) {
    if (read) BlockSync();
    read = false;
    if (size > 1) meet = bins = Meet(which);
  }
  DPM_DEVICE void Publish() const {
    if (size == 1) return;
    BlockSync();
    DPM_ROLLED
    for (uint32_t i = ThreadIndex(); i < kBins + kGroups; i += BlockThreads()) {
      const uint32_t count = shared[kSharedBins + i];
      if (count != 0) AtomicAdd(workspace + bins + i, count);
    }
  }
  DPM_DEVICE void PublishCounts(uint32_t from) const {
    if (size == 1) return;
    BlockSync();
    if (from == kAbove && ThreadIndex() / 32 == BlockThreads() / 32 - 1) PublishList();
    const uint32_t which = from + ThreadIndex();
    if (which >= kListed) return;
    const uint32_t count = shared[kSharedCounts + which];
    if (count == 0) return;
    if (which == kCapped) {
      AtomicAdd(workspace + meet + kMeetCounts + which, count);
    } else {
      AtomicMax(workspace + meet + kMeetCounts + which, count);
    }
  }
  // By one warp.
  DPM_DEVICE void PublishList() const {
    const uint32_t lane = ThreadIndex() % 32, count = shared[kSharedCounts + kListed];
    if (count == 0) return;
    uint32_t first = 0;
    if (lane == 0) first = FetchAdd(workspace + meet + kMeetCounts + kListed, count);
    first = WarpRead(first, 0);
    DPM_ROLLED
    for (uint32_t i = lane; i < count; i += 32)
      StoreWord(workspace + meet + kMeetList + first + i, shared[kSharedList + i]);
  }
  // Everybody has left the selection before.
  DPM_DEVICE void Retire(uint32_t which) const {
    if (size > 1 && which > 0) Clear(Meet(which - 1), kMeetWords);
  }
  DPM_DEVICE uint32_t Group(uint32_t group) const {
    return size == 1 ? shared[kSharedGroups + group] : LoadWord(workspace + bins + kMeetGroups + group);
  }
  DPM_DEVICE void Bins(uint32_t group, uint32_t* to) const {
    const uint32_t bin = group * kGroupBins + 2 * (ThreadIndex() % 32);
    DPM_UNROLL
    for (uint32_t k = 0; k < 2; ++k)
      to[k] = size == 1 ? shared[kSharedBins + bin + k] : LoadWord(workspace + bins + bin + k);
  }
  DPM_DEVICE uint32_t Count(uint32_t which) const {
    return size == 1 ? shared[kSharedCounts + which] : LoadWord(workspace + meet + kMeetCounts + which);
  }
  DPM_DEVICE uint32_t Sum(uint32_t count) const { return count; }
  DPM_DEVICE uint32_t Most(uint32_t count) const { return count; }
  DPM_DEVICE void List(uint32_t key) const {
    const uint32_t at = FetchAdd(shared, kSharedCounts + kListed, 1);
    shared[(size == 1 ? kSharedAll : kSharedList) + at] = key;
  }
  DPM_DEVICE void Collect(uint32_t count) const {
    if (size == 1) return;
    DPM_ROLLED
    for (uint32_t i = ThreadIndex(); i < count; i += BlockThreads()) {
      shared[kSharedAll + i] = LoadWord(workspace + meet + kMeetList + i);
    }
  }
  // Others may still read the bins of the upper bits: further ones lie apart.
  DPM_DEVICE void Deepen() {
    if (size > 1) bins = kTeamDeep;
  }
  DPM_DEVICE void Deepened() const {
    if (size == 1) return;
    Sync();
    Clear(bins, kBins + kGroups);
    Sync();
  }
  DPM_DEVICE void Clear(uint32_t from, uint32_t words) const {
    const uint32_t stride = size * BlockThreads();
    DPM_ROLLED
    for (uint32_t i = rank * BlockThreads() + ThreadIndex(); i < words; i += stride) StoreWord(workspace + from + i, 0);
  }
  DPM_DEVICE void Selected() { read = true; }
  // Leaves the workspace as it was found.
  DPM_DEVICE void Leave(uint32_t selections) const {
    if (size == 1 || selections == 0) return;
    if (!TeamLeave(workspace + kTeamLeft, size, shared + kSharedLeft)) return;
    uint32_t* const last = workspace + Meet(selections - 1);
    DPM_ROLLED
    for (uint32_t i = ThreadIndex(); i < kMeetWords; i += BlockThreads()) StoreWord(last + i, 0);
    if (ThreadIndex() < kTeamMeets) StoreWord(workspace + ThreadIndex(), 0);
  }
};

// Divisions by one number, each rounded as IEEE says: y is the rounded reciprocal, and from a quotient that is less
// than one unit in the last place off, as q1 is, the exact rest gives the rounded one (Markstein 1990, "Computation of
// elementary functions on the IBM RISC System/6000 processor"). Where something could leave the normal numbers, or
// zero's sign be lost, the division is the processor's own.
struct Divisor {
  float s, y;
  bool usual;

  DPM_DEVICE static Divisor Of(float s) {
    const bool usual = s >= 0x1p-20f && s <= 0x1p20f;
    return {s, usual ? 1 / s : 0, usual};
  }
  // |p| <= s, but for NaN.
  DPM_DEVICE float Into(float p) const {
    const float q0 = p * y;
    const float q1 = MultiplyAdd(MultiplyAdd(-s, q0, p), y, q0);
    return MultiplyAdd(MultiplyAdd(-s, q1, p), y, q1);
  }
  DPM_DEVICE bool IsUsual(float p) const { return Absolute(p) >= 0x1p-100f; }
  // Four of them.
  DPM_DEVICE void Divide(float* p) const {
    if (usual && IsUsual(p[0]) && IsUsual(p[1]) && IsUsual(p[2]) && IsUsual(p[3])) {
      DPM_UNROLL
      for (int k = 0; k < 4; ++k) p[k] = Into(p[k]);
    } else {
      DPM_UNROLL
      for (int k = 0; k < 4; ++k) p[k] = p[k] / s;
    }
  }
  // clip(p, -s, s) / s of four. None of them is NaN, or else s is: they may be taken for numbers.
  DPM_DEVICE void Scale(float* p) const {
    DPM_UNROLL
    for (int k = 0; k < 4; ++k) p[k] = Least(Largest(p[k], -s), s);
    Divide(p);
  }
};

template <class Team, NetType kType, bool kGeneral, int V>
struct ThresholdKernel {
  using Vector = Body<kType, kGeneral, V>;
  using Single = Body<kType, kGeneral, 1>;
  static constexpr int U = kAtOnce<kGeneral>;
  static_assert(V == 4, "wide accesses are of four elements");
  // Chunks ahead of the one that is loaded, that are asked for.
  static constexpr uint32_t kAhead = 4;

  // What one thread does in a sample: its vectors of every chunk that is its warp's turn, and perhaps one of the
  // elements before and after the vectors.
  struct Share {
    uint32_t chunk, rounds, resident, turns;  // chunks that are taken in a round
    uint32_t lane, warp, rank, size;
    uint32_t head, vectors;
    bool edge;
    size_t edge_at;  // element of the sample
    Shared<float> predictions;
    Values<1> edge_p[1];

    // The thread's first vector of that round, and how many it has.
    DPM_DEVICE uint32_t Chunk(uint32_t round) const { return warp * size + rank + round * turns; }
    DPM_DEVICE uint32_t Vector(uint32_t round) const { return Chunk(round) * chunk + lane; }
    DPM_DEVICE int Count(uint32_t round) const { return CountOf<U>(Vector(round), chunk, vectors); }
    DPM_DEVICE size_t At(uint32_t round) const { return head + static_cast<size_t>(Vector(round)) * V; }
    DPM_DEVICE uint32_t Place(uint32_t round, int u) const {
      const uint32_t warps = BlockThreads() / 32;
      return ((round * warps + warp) * chunk + lane + 32 * u) * V;
    }
  };

  DPM_DEVICE static Share ShareOf(const StepArgs& a, const TeamArgs& t, const Team& team, uint32_t sample,
                                  Shared<uint32_t> shared) {
    Share s;
    const uint32_t warps = BlockThreads() / 32;
    s.chunk = t.chunk, s.rounds = t.rounds, s.resident = t.resident;
    s.turns = team.size * warps, s.rank = team.rank, s.size = team.size;
    s.lane = Held(ThreadIndex() % 32), s.warp = Held(ThreadIndex() / 32);
    s.head = Head<kGeneral, V>(a, sample);
    s.vectors = static_cast<uint32_t>((a.n - s.head) / V);
    s.predictions = (shared + kSharedPredictions).As<float>();
    const size_t tail = s.head + static_cast<size_t>(s.vectors) * V;
    s.edge_at = ThreadIndex() < s.head ? ThreadIndex() : tail + (ThreadIndex() - s.head);
    s.edge = kGeneral && team.rank == 0 && s.edge_at < a.n && (s.edge_at < s.head || s.edge_at >= tail);
    return s;
  }

  // How many vectors of predictions the block keeps. Chunks come in turn, so that those that are there are the first of
  // every block; the last of the sample may be short.
  DPM_DEVICE static uint32_t KeptBy(uint32_t rank, uint32_t size, const Share& s) {
    const uint32_t warps = BlockThreads() / 32, lane = ThreadIndex() % 32, chunks = (s.vectors + s.chunk - 1) / s.chunk;
    // In the last round there are `rest` chunks; a lane stands for a warp.
    const uint32_t whole = s.rounds - 1, rest = chunks - whole * s.turns, turn = lane * size + rank;
    const uint32_t mine = whole * warps + CountBits(WarpBallot(lane < warps && turn < rest));
    const bool last = WarpBallot(lane < warps && turn + 1 == (rest != 0 ? rest : s.turns)) != 0;
    const uint32_t all = mine * s.chunk - (last ? chunks * s.chunk - s.vectors : 0);
    const uint32_t room = (Team::kKeepsAll ? s.rounds : s.resident) * warps * s.chunk;
    return all < room ? all : room;
  }

  DPM_DEVICE static bool Keeps(const Share& s, uint32_t round) { return Team::kKeepsAll || round < s.resident; }
  DPM_DEVICE static Values<V> Kept(const Share& s, uint32_t round, int u) {
    Values<V> p;
    DPM_UNROLL
    for (int k = 0; k < V; k += 4) Load4(s.predictions, s.Place(round, u) + k, p.v + k);
    return p;
  }
  DPM_DEVICE static void Keep(const Share& s, uint32_t round, int u, const Values<V>& p) {
    DPM_UNROLL
    for (int k = 0; k < V; k += 4) Store4(s.predictions, s.Place(round, u) + k, p.v + k);
  }
  DPM_DEVICE static void Make(const StepArgs& a, const Row& r, uint32_t sample, const Share& s, uint32_t round,
                              Values<V>* p) {
    Operands<V> o[U] = {};
    Vector::template LoadPrediction<U>(a, sample, Unknown(s.At(round)), s.Count(round), r.mask & Bits(kTermX, 4), o);
    DPM_UNROLL
    for (int u = 0; u < U; ++u) p[u] = Vector::Predict(r, o[u]);
  }

  static constexpr uint32_t kInfinity = 0x7f800000u;
  DPM_DEVICE static uint32_t KeyOf(float p) { return FloatToWord(p) & 0x7fffffffu; }

  // look(p) for vectors of predictions, so that every one of the block's is some thread's, and then(p) for those of
  // which it says true. What is kept lies in a row, whoever has put it there: taken as it lies, four vectors at a time,
  // it asks for a third of the instructions.
  template <class Look, class Then>
  DPM_DEVICE static void ForEachVector(const StepArgs& a, const Row& r, uint32_t sample, const Team& team,
                                       const Share& s, Look look, Then then) {
    constexpr uint32_t kTogether = kVectorsTogether;
    const uint32_t threads = BlockThreads(), kept = KeptBy(team.rank, team.size, s);
    DPM_ROLLED
    for (uint32_t j = ThreadIndex(); j < kept; j += kTogether * threads) {
      Values<V> p[kTogether] = {};
      DPM_UNROLL
      for (uint32_t k = 0; k < kTogether; ++k) {
        if (j + k * threads < kept) Load4(s.predictions, (j + k * threads) * V, p[k].v);
      }
      bool any = false, wanted[kTogether];
      DPM_UNROLL
      for (uint32_t k = 0; k < kTogether; ++k) {
        wanted[k] = j + k * threads < kept && look(p[k]);
        any = any || wanted[k];
      }
      if (!any) continue;
      DPM_UNROLL
      for (uint32_t k = 0; k < kTogether; ++k) {
        if (wanted[k]) then(p[k]);
      }
    }
    if constexpr (!Team::kKeepsAll) {
      DPM_ROLLED
      for (uint32_t round = s.resident; round < s.rounds; ++round) {
        const int count = s.Count(round);
        if (count == 0) break;
        Values<V> p[U] = {};
        Make(a, r, sample, s, round, p);
        DPM_UNROLL
        for (int u = 0; u < U; ++u) {
          if (u < count && look(p[u])) then(p[u]);
        }
      }
    }
  }
  // f(key) for every prediction of the block, by some thread.
  template <class F>
  DPM_DEVICE static void ForEachKey(const StepArgs& a, const Row& r, uint32_t sample, const Team& team, const Share& s,
                                    F f) {
    ForEachVector(
        a, r, sample, team, s,
        [&](const Values<V>& p) {
          DPM_UNROLL
          for (int k = 0; k < V; ++k) f(KeyOf(p.v[k]));
          return false;
        },
        [](const Values<V>&) {});
    if (kGeneral && s.edge) f(KeyOf(s.edge_p[0].v[0]));
  }

  // What is counted: keys from `top` down, in bins of 2^shift.
  struct Window {
    uint32_t top, shift;
    // Bits of a key's distance from the top that no bin shows, where `bits` of it are of interest.
    DPM_DEVICE static uint32_t Below(uint32_t bits) { return bits > kLevelBits ? bits - kLevelBits : 0; }
    // One key more, from a lane. What is above the top or below the bins is counted too, lanes apart: as fast as not to
    // be, for the lanes of a warp would hardly ever agree on a branch.
    DPM_DEVICE void Count(Shared<uint32_t> shared, uint32_t key, uint32_t lane) const {
      const uint32_t bin = (top - key) >> shift, none = kBins + lane;
      CountOne(shared, kSharedBins + (bin < none ? bin : none));
    }
    // The least key of a bin; of what lies below all of them the largest.
    DPM_DEVICE uint32_t Least(uint32_t bin) const { return top - ((bin + 1) << shift) + 1; }
    DPM_DEVICE uint32_t Rest() const { return top - (kBins << shift); }
  };
  static_assert(kSharedGroups == kSharedBins + kBins && kGroups == 32, "see Window::Count");
  DPM_DEVICE static Window WindowOf(const Row& r) {
    // Rows that select have floor < cap.
    const float floor = static_cast<float>(r.floor), cap = static_cast<float>(r.cap);
    const uint32_t low = floor > 0 ? FloatToWord(floor) : 0, high = cap > 0 ? FloatToWord(cap) : 0;
    uint32_t bits = 0;
    for (uint32_t most = high > low + 1 ? high - low - 2 : 0; most != 0; most >>= 1) ++bits;
    return {high - 1, Window::Below(bits)};
  }

  // Asks for the warp's part of some buffers, `count` rounds from `first` on: each(element) by one lane for every line
  // of float32, which is two of a network's in 16 bits.
  template <class F>
  DPM_DEVICE static void PrefetchRounds(const Share& s, uint32_t first, uint32_t count, F each) {
    constexpr uint32_t kLine = kLineBytes / sizeof(float) / V, kTogether = 32 / (32 * U / kLine);
    const uint32_t lane = s.lane, line = lane % (32 / kTogether) * kLine;
    DPM_ROLLED
    for (uint32_t k = lane / (32 / kTogether); k < count && first + k < s.rounds; k += kTogether) {
      const uint32_t j = s.Chunk(first + k) * s.chunk + line;
      if (line < s.chunk && j < s.vectors) each(static_cast<size_t>(j) * V);
    }
  }
  DPM_DEVICE static void PrefetchPrediction(const StepArgs& a, uint32_t terms, uint32_t sample, const Share& s,
                                            uint32_t first, uint32_t count) {
    if (kGeneral) return;
    using Element = typename Vector::Element;
    PrefetchRounds(s, first, count, [&](size_t i) {
      const size_t at = sample * a.n + i, network = sample * a.m_stride + i;
      if (terms & Bit(kTermX)) PrefetchLine(a.x + at);
      if (terms & Bit(kTermM)) PrefetchLine(static_cast<const Element*>(a.m) + network);
      if (terms & Bit(kTermU)) PrefetchLine(static_cast<const Element*>(a.u) + network);
    });
  }
  DPM_DEVICE static void PrefetchUpdate(const StepArgs& a, const Row& r, uint32_t sample, const Share& s) {
    if (kGeneral) return;
    PrefetchRounds(s, 1, s.rounds, [&](size_t i) {
      const size_t at = sample * a.n + i;
      if ((r.mask & Both(kA)) && a.base != a.x) PrefetchLine(a.base + at);
      if (r.mask & Both(kB1)) PrefetchLine(a.d1 + at);
      if (r.mask & Both(kB2)) PrefetchLine(a.d2 + at);
      if (r.mask & Both(kN)) PrefetchLine(a.z + at);
    });
  }

  // What counting a sample's upper bits needs and finds.
  struct Counting {
    Shared<uint32_t> shared;
    Window window;
    uint32_t lane;
    uint32_t capped, largest;  // keys at the cap or above, and the largest of them

    template <int N>
    DPM_DEVICE void Count(const Values<N>& p) {
      uint32_t beyond = 0;
      DPM_UNROLL
      for (int k = 0; k < N; ++k) {
        window.Count(shared, KeyOf(p.v[k]), lane);
        beyond |= window.top - KeyOf(p.v[k]);
      }
      if (static_cast<int32_t>(beyond) >= 0) return;
      DPM_UNROLL
      for (int k = 0; k < N; ++k) {
        capped += (window.top - KeyOf(p.v[k])) >> 31;
        largest = KeyOf(p.v[k]) > largest ? KeyOf(p.v[k]) : largest;
      }
    }
  };

  // Makes the predictions, keeps them and counts their upper bits; `first` are the operands of the thread's first
  // round. False if one is not finite.
  DPM_DEVICE static bool MakeAll(const StepArgs& a, const Row& r, uint32_t sample, Share& s, const Window& w,
                                 const Operands<V>* first, Shared<uint32_t> shared) {
    Counting c{shared, w, s.lane, 0, 0};
    if (IsUsual(a, r, s)) {
      MakeUsual(a, r, sample, s, first, c);
    } else {
      Operands<V> o[U];
      DPM_UNROLL
      for (int u = 0; u < U; ++u) o[u] = first[u];
      DPM_ROLLED
      for (uint32_t round = 0;;) {
        const int count = s.Count(round);
        PrefetchPrediction(a, r.mask, sample, s, round + 1 + kAhead, 1);
        Values<V> p[U];
        DPM_UNROLL
        for (int u = 0; u < U; ++u) p[u] = Vector::Predict(r, o[u]);
        const bool more = round + 1 < s.rounds;
        if (more) {
          // Before they are needed, so that they come while this round is counted.
          Operands<V> next[U] = {};
          const size_t i = Unknown(s.At(round + 1));
          Vector::template LoadPrediction<U>(a, sample, i, s.Count(round + 1), r.mask & Bits(kTermX, 4), next);
          DPM_UNROLL
          for (int u = 0; u < U; ++u) o[u] = next[u];
        }
        DPM_UNROLL
        for (int u = 0; u < U; ++u) {
          if (u >= count) continue;
          if (Keeps(s, round)) Keep(s, round, u, p[u]);
          c.Count(p[u]);
        }
        if (!more) break;
        ++round;
      }
    }
    if (kGeneral && s.edge) {
      Operands<1> one[1] = {};
      Single::template LoadPrediction<1>(a, sample, s.edge_at, 1, r.mask & Bits(kTermX, 4), one);
      s.edge_p[0] = Single::Predict(r, one[0]);
      c.Count(s.edge_p[0]);
    }
    const uint32_t capped = WarpSum(c.capped), largest = WarpMax(c.largest);
    if (c.lane == 0 && capped != 0) {
      AtomicAdd(shared, kSharedCounts + kCapped, capped);
      AtomicMax(shared, kSharedCounts + kLargest, largest);
    }
    return c.largest < kInfinity;
  }

  // ---- the usual rows -----------------------------------------------------------------------------------------------
  // Nearly all rows that ask for a quantile predict x0 from x and one or two outputs of a network, keep it, and
  // continue from x with it and perhaps one earlier prediction. For them the two loops over a sample are written
  // without the questions that other rows need: they take a third of the instructions, which is what bounds this
  // kernel.

  DPM_DEVICE static bool IsUsual(const StepArgs& a, const Row& r, const Share& s) {
    constexpr uint32_t kNeeded = Bit(kTermX) | Bit(kTermM) | Bit(kTermFirst + kA) | Bit(kTermFirst + kBp);
    constexpr uint32_t kAllowed = kNeeded | Bit(kTermU) | Bit(kTermFirst + kB1);
    const uint32_t first = r.mask & Bits(0, kTermSecond);
    return !kGeneral && r.selects && r.d0_is_p && (first & kNeeded) == kNeeded && (first & ~kAllowed) == 0 &&
           a.base == a.x && a.out && a.d0 && (Team::kKeepsAll || s.resident == s.rounds);
  }

  // A term that is not the first of its sum, and one that is: -0 + t is t.
  DPM_DEVICE static void AddTo(Values<V>& sum, float c, const Values<V>& operand) {
    DPM_UNROLL
    for (int k = 0; k < V; ++k) sum.v[k] = sum.v[k] + c * operand.v[k];
  }
  DPM_DEVICE static Values<V> Times(float c, const Values<V>& operand) {
    Values<V> product;
    DPM_UNROLL
    for (int k = 0; k < V; ++k) product.v[k] = c * operand.v[k];
    return product;
  }

  DPM_DEVICE static void MakeUsual(const StepArgs& a, const Row& r, uint32_t sample, const Share& s,
                                   const Operands<V>* first, Counting& c) {
    using Element = typename Vector::Element;
    const float* const xs = a.x + sample * a.n;
    const Element* const ms = static_cast<const Element*>(a.m) + sample * a.m_stride;
    const Element* const us = r.Has(kTermU) ? static_cast<const Element*>(a.u) + sample * a.m_stride : nullptr;
    const Passing passing = PassingBy();  // all but x, which the update needs again
    Values<V> x[U], m[U], u2[U];
    DPM_UNROLL
    for (int u = 0; u < U; ++u) x[u] = first[u].x, m[u] = first[u].m, u2[u] = first[u].u;
    DPM_ROLLED
    for (uint32_t round = 0;;) {
      const int count = s.Count(round);
      Values<V> p[U];
      DPM_UNROLL
      for (int u = 0; u < U; ++u) {
        p[u] = Times(r.c[kTermX], x[u]);
        AddTo(p[u], r.c[kTermM], m[u]);
        if (us) AddTo(p[u], r.c[kTermU], u2[u]);
      }
      const bool more = round + 1 < s.rounds;
      if (more) {
        // Before they are needed, so that they come while this round is counted.
        PrefetchPrediction(a, r.mask, sample, s, round + 1 + kAhead, 1);
        const int next = s.Count(round + 1);
        const size_t i = Unknown(static_cast<size_t>(s.Vector(round + 1)) * V);
        DPM_UNROLL
        for (int u = 0; u < U; ++u) {
          x[u] = m[u] = u2[u] = {};
          if (u >= next) continue;
          Load<NetType::f32, true, V>(xs + i + u * Vector::kStride, x[u].v);
          LoadPassing<kType>(ms + i + u * Vector::kStride, m[u].v, passing);
          if (us) LoadPassing<kType>(us + i + u * Vector::kStride, u2[u].v, passing);
        }
      }
      DPM_UNROLL
      for (int u = 0; u < U; ++u) {
        if (u >= count) continue;
        Keep(s, round, u, p[u]);
        c.Count(p[u]);
      }
      if (!more) break;
      ++round;
    }
  }

  DPM_DEVICE static void UpdateUsual(const StepArgs& a, const Row& r, uint32_t sample, const Share& s,
                                     const Operands<V>* first) {
    const size_t begin = sample * a.n;
    const bool has_d1 = (r.mask & Both(kB1)) != 0;
    const Divisor by = Divisor::Of(r.s);
    const Passing passing = PassingBy();
    Values<V> x[U], d1[U];
    DPM_UNROLL
    for (int u = 0; u < U; ++u) x[u] = first[u].x, d1[u] = first[u].d1;
    DPM_ROLLED
    for (uint32_t round = 0; round < s.rounds; ++round) {
      const int count = s.Count(round), next = round + 1 < s.rounds ? s.Count(round + 1) : 0;
      const size_t at = begin + Unknown(static_cast<size_t>(s.Vector(round)) * V);
      Values<V> p[U], sum[U];
      DPM_UNROLL
      for (int u = 0; u < U; ++u) {
        DPM_UNROLL
        for (int k = 0; k < V; ++k) p[u].v[k] = by.s;
        if (u < count) p[u] = Kept(s, round, u);
        sum[u] = Times(r.c[kTermFirst + kA], x[u]);
      }
      Values<V> old[U];
      DPM_UNROLL
      for (int u = 0; u < U; ++u) old[u] = d1[u];
      const size_t ahead = begin + Unknown(static_cast<size_t>(s.Vector(round + 1)) * V);
      DPM_UNROLL
      for (int u = 0; u < U; ++u) {
        x[u] = d1[u] = {};
        if (u >= next) continue;
        Load16(a.x + ahead + u * Vector::kStride, x[u].v, passing);
        if (has_d1) Load16(a.d1 + ahead + u * Vector::kStride, d1[u].v, passing);
      }
      DPM_UNROLL
      for (int u = 0; u < U; ++u) {
        by.Scale(p[u].v);
        AddTo(sum[u], r.c[kTermFirst + kBp], p[u]);
        if (has_d1) AddTo(sum[u], r.c[kTermFirst + kB1], old[u]);
      }
      DPM_UNROLL
      for (int u = 0; u < U; ++u) {
        if (u >= count) continue;
        const size_t to = at + u * Vector::kStride;
        Store16(a.out + to, sum[u].v, passing);
        if (a.next[0]) StoreNext<true, V>(a.next[0], a.next_type, to, sum[u].v);
        if (a.next[1]) StoreNext<true, V>(a.next[1], a.next_type, to, sum[u].v);
        Store16(a.d0 + to, p[u].v, passing);
      }
    }
  }

  // The sums of the groups of this block's bins. All threads; what they have counted so far.
  DPM_DEVICE static void SumGroups(Shared<uint32_t> shared) {
    BlockSync();
    // As many threads share a group as there are warps: a power of two.
    const uint32_t log = LowestBit(BlockThreads()) - 5, each = kGroupBins >> log;
    uint32_t sum = 0;
    DPM_ROLLED
    for (uint32_t k = 0; k < each; k += 4) {
      uint32_t four[4];
      Load4(shared, kSharedBins + ThreadIndex() * each + k, four);
      sum += four[0] + four[1] + four[2] + four[3];
    }
    DPM_ROLLED
    for (uint32_t bits = 1; bits < 1u << log; bits *= 2) sum += WarpOther(sum, bits);
    if ((ThreadIndex() & ((1u << log) - 1)) == 0) shared[kSharedGroups + (ThreadIndex() >> log)] = sum;
  }

  struct Found {
    uint32_t bin, rank, count, total;  // rank inside the bin, from the top, counted from 1; total: of all bins
  };

  // The bin that holds the rank-th key from the top; its count is 0 if there are fewer. All threads of a warp.
  template <class AnyTeam>
  DPM_DEVICE static Found FindBin(const AnyTeam& team, uint32_t rank) {
    return FindBin(team, team.Group(ThreadIndex() % 32), rank);
  }
  // `sum`: of the group with the lane's number.
  template <class AnyTeam>
  DPM_DEVICE static Found FindBin(const AnyTeam& team, uint32_t sum, uint32_t rank) {
    const uint32_t lane = ThreadIndex() % 32, upto = WarpPrefixSum(sum);
    const uint32_t total = WarpRead(upto, 31);
    const uint32_t groups = WarpBallot(rank > upto - sum && rank <= upto);
    if (groups == 0) return {0, 0, 0, total};  // all warps find the same
    const uint32_t group = LowestBit(groups);
    uint32_t bins[2];
    team.Bins(group, bins);
    const uint32_t pair = bins[0] + bins[1];
    const uint32_t before = WarpRead(upto - sum, group) + WarpPrefixSum(pair) - pair;
    const bool first = rank > before && rank <= before + bins[0];
    const bool second = rank > before + bins[0] && rank <= before + pair;
    const uint32_t owner = LowestBit(WarpBallot(first || second));
    const uint32_t bin = group * kGroupBins + 2 * lane + (first ? 0 : 1);
    const uint32_t inside = rank - before - (first ? 0 : bins[0]);
    return {WarpRead(bin, owner), WarpRead(inside, owner), WarpRead(first ? bins[0] : bins[1], owner), total};
  }

  // What the first warp tells the block (words of kSharedFound), and what follows:
  enum Next : uint32_t {
    kKnown,   // the bound itself is `word`
    kRank,    // the `rank`-th from the top of the `count` keys from `word` on that share all but `shift` bits
    kDeeper,  // the same, but they are too many to be ranked
    kBeside,  // between the largest key up to `word` and the least above
  };
  enum FoundWord : uint32_t { kNext, kWord, kShift, kRankIn, kCountOf, kLast, kOver };

  DPM_DEVICE static void Tell(Shared<uint32_t> shared, Next next, uint32_t word, uint32_t shift = 0, uint32_t rank = 0,
                              uint32_t count = 0) {
    if (ThreadIndex() != 0) return;
    const Shared<uint32_t> found = shared + kSharedFound;
    found[kNext] = next;
    found[kWord] = word;
    found[kShift] = shift;
    found[kRankIn] = rank;
    found[kCountOf] = count;
  }
  // Where all keys of a bin are equal, only the first from the top has another above it.
  DPM_DEVICE static void TellBin(Shared<uint32_t> shared, const Found& f, const Window& w, bool interpolates) {
    const Next next =
        w.shift == 0 ? (f.rank > 1 || !interpolates ? kKnown : kRank) : (f.count > kMostListed ? kDeeper : kRank);
    Tell(shared, next, w.Least(f.bin), w.shift, f.rank, f.count);
  }

  // Lists the keys of a bin, `width` of them from `first` on, if that is wanted; the complement of the thread's least
  // key above it, 0 if there is none. Branches only where there is a key in the bin.
  DPM_DEVICE static uint32_t Gather(const StepArgs& a, const Row& r, uint32_t sample, Team& team, const Share& s,
                                    uint32_t first, uint32_t width, bool lists) {
    // Distances from the first key above the bin: of the bin's keys the largest, as numbers without a sign.
    const uint32_t after = first + width, inside = 0u - width;
    uint32_t least = 0xffffffffu;
    const auto look = [&](uint32_t key) {
      const uint32_t distance = key - after;
      least = distance < least ? distance : least;
      return distance >= inside;
    };
    const auto list = [&](uint32_t key) {
      if (key - after >= inside) team.List(key);
    };
    ForEachVector(
        a, r, sample, team, s,
        [&](const Values<V>& p) {
          bool any = false;
          DPM_UNROLL
          for (int k = 0; k < V; ++k) any = look(KeyOf(p.v[k])) || any;
          return any;
        },
        [&](const Values<V>& p) {
          if (!lists) return;
          DPM_UNROLL
          for (int k = 0; k < V; ++k) list(KeyOf(p.v[k]));
        });
    if (kGeneral && s.edge && look(KeyOf(s.edge_p[0].v[0])) && lists) list(KeyOf(s.edge_p[0].v[0]));
    return least < 0x80000000u ? ~(after + least) : 0;
  }

  // The rank-th of the listed keys from the top, and for a rank above 1 the one before it.
  struct Ranked {
    uint32_t last, later;
  };
  static constexpr uint32_t kFew = 64;
  DPM_DEVICE static Ranked RankListed(Shared<uint32_t> shared, uint32_t first, uint32_t shift, uint32_t rank,
                                      uint32_t count) {
    return count <= kFew ? RankFew(shared, rank, count) : RankMany(shared, first, shift, rank, count);
  }
  // Each by itself: how many come before it. As many lanes share a key as there are for each; equal keys come in the
  // order of the list, so that every rank is somebody's.
  DPM_DEVICE static Ranked RankFew(Shared<uint32_t> shared, uint32_t rank, uint32_t count) {
    uint32_t log = 0;
    while (log < 5 && count << (log + 1) <= BlockThreads()) ++log;
    const uint32_t part = ThreadIndex() & ((1u << log) - 1), at_once = BlockThreads() >> log;
    const Shared<uint32_t> found = shared + kSharedDigits;
    DPM_ROLLED
    for (uint32_t begin = 0; begin < count; begin += at_once) {
      const uint32_t i = begin + (ThreadIndex() >> log);
      const uint32_t mine = i < count ? shared[kSharedAll + i] : 0;
      uint32_t before = 0;
      DPM_ROLLED
      for (uint32_t other = 4 * part; other < count; other += 4u << log) {
        uint32_t keys[4];
        Load4(shared, kSharedAll + other, keys);
        DPM_UNROLL
        for (uint32_t k = 0; k < 4; ++k) {
          before += other + k < count && (keys[k] > mine || (keys[k] == mine && other + k < i)) ? 1 : 0;
        }
      }
      DPM_ROLLED
      for (uint32_t bits = 1; bits < 1u << log; bits *= 2) before += WarpOther(before, bits);
      if (i >= count || part != 0) continue;
      if (before + 1 == rank) found[0] = mine;
      if (before + 2 == rank) found[1] = mine;
    }
    BlockSync();
    return {found[0], found[1]};
  }
  // All that is left of them is `shift` bits of how far they are from `first`: five of them at a time.
  DPM_DEVICE static Ranked RankMany(Shared<uint32_t> shared, uint32_t first, uint32_t shift, uint32_t rank,
                                    uint32_t count) {
    const uint32_t lane = ThreadIndex() % 32;
    uint32_t last = 0;
    Shared<uint32_t> digits = shared + kSharedDigits;
    DPM_ROLLED
    for (uint32_t bits = shift; bits != 0; digits = digits + 32) {
      const uint32_t low = bits > kDigitBits ? bits - kDigitBits : 0;
      DPM_ROLLED
      for (uint32_t i = ThreadIndex(); i < count; i += BlockThreads()) {
        const uint32_t distance = shared[kSharedAll + i] - first;
        if (distance >> bits == last >> bits) CountOne(digits, (distance - last) >> low);
      }
      BlockSync();
      // From the top.
      const uint32_t with = digits[31 - lane], upto = WarpPrefixSum(with);
      const uint32_t at = LowestBit(WarpBallot(upto >= rank));
      rank -= WarpRead(upto - with, at);
      last += (31 - at) << low;
      bits = low;
    }
    if (rank > 1) return {first + last, first + last};  // equal ones come before it
    uint32_t nearest = 0;                               // the complement of how far the least above it is
    DPM_ROLLED
    for (uint32_t i = ThreadIndex(); i < count; i += BlockThreads()) {
      const uint32_t distance = shared[kSharedAll + i] - first;
      if (distance > last && ~distance > nearest) nearest = ~distance;
    }
    nearest = WarpMax(nearest);
    if (lane == 0) AtomicMax(digits, 0, nearest);
    BlockSync();
    const uint32_t least = digits[0];
    return {first + last, first + ~least};
  }

  // Where the quantile lies: between the keep-th largest and the one before it.
  struct Place {
    double weight;
    uint32_t keep;
    bool interpolates;
  };
  DPM_DEVICE static Place PlaceOf(const StepArgs& a, const Row& r) {
    const double position = r.ratio * static_cast<double>(a.n - 1);
    uint64_t k = static_cast<uint64_t>(position);
    if (k > a.n - 1) k = a.n - 1;
    const double weight = position - static_cast<double>(k);
    const uint32_t keep = static_cast<uint32_t>(a.n - k);
    return {weight, keep, weight > 0 && keep > 1};
  }

  // min(max(q, floor), cap), and NaN if that is what q is.
  DPM_DEVICE static float Bounded(const Row& r, float q) {
    const float low = static_cast<float>(r.floor), high = static_cast<float>(r.cap);
    return q < low ? (low < high ? low : high) : (q > high ? high : q);
  }

  // min(max(quantile, floor), cap) of |P|, whose upper bits have been counted.
  DPM_DEVICE static float Bound(const StepArgs& a, const Row& r, uint32_t sample, Team& team, const Share& s,
                                const Window& w, const Place& place, uint32_t which, Shared<uint32_t> shared) {
    const Shared<uint32_t> found = shared + kSharedFound;
    const uint32_t keep = place.keep;
    const bool interpolates = place.interpolates;

    SumGroups(shared);
    team.Publish();
    team.PublishCounts(kCapped);
    team.Sync([&] { PrefetchUpdate(a, r, sample, s); });
    team.Retire(which);
    // Read before it is known whether it is needed: what is far takes its time.
    const uint32_t some = team.Count(kCapped), large = team.Count(kLargest);
    const uint32_t group = team.Group(ThreadIndex() % 32);
    const uint32_t capped = team.Sum(some), largest = team.Most(large);
    if (largest > kInfinity) {
      Tell(shared, kKnown, 0x7fc00000u);
    } else if (keep <= capped) {
      Tell(shared, kKnown, FloatToWord(static_cast<float>(r.cap)));  // both neighbours are at the cap or above
    } else {
      const Found f = FindBin(team, group, keep - capped);
      const uint64_t above = static_cast<uint64_t>(f.total) + capped;
      if (above + 1 < keep) {
        Tell(shared, kKnown, FloatToWord(static_cast<float>(r.floor)));
      } else if (above + 1 == keep) {
        Tell(shared, kBeside, w.Rest());
      } else {
        TellBin(shared, f, w, interpolates);
      }
    }
    BlockSync();
    DPM_ROLLED
    while (found[kNext] == kDeeper) {
      const uint32_t bits = found[kShift], rank = found[kRankIn];
      const Window deeper{found[kWord] + (1u << bits) - 1, Window::Below(bits)};
      team.Deepen();
      DPM_ROLLED
      for (uint32_t i = 4 * ThreadIndex(); i < kBins; i += 4 * BlockThreads()) Store4(shared, kSharedBins + i, 0);
      BlockSync();
      ForEachKey(a, r, sample, team, s, [&](uint32_t key) { deeper.Count(shared, key, ThreadIndex() % 32); });
      SumGroups(shared);
      team.Publish();
      team.Sync([] {});
      TellBin(shared, FindBin(team, rank), deeper, interpolates);
      team.Deepened();
      BlockSync();
    }
    const uint32_t next = found[kNext], word = found[kWord], shift = found[kShift], rank = found[kRankIn];
    if (next == kKnown) {
      team.Selected();
      return Bounded(r, WordToFloat(word));
    }
    const bool lists = next == kRank && shift != 0;
    const uint32_t count = lists ? found[kCountOf] : 0;
    uint32_t above_all = 0, below_all = 0;  // the complement of the least key above, the largest below
    if (next == kRank) {
      above_all = Gather(a, r, sample, team, s, word, 1u << shift, lists);
    } else {
      ForEachKey(a, r, sample, team, s, [&](uint32_t key) {
        if (key > word) {
          above_all = ~key > above_all ? ~key : above_all;
        } else {
          below_all = key > below_all ? key : below_all;
        }
      });
    }
    above_all = WarpMax(above_all);
    below_all = WarpMax(below_all);
    if (ThreadIndex() % 32 == 0) {
      AtomicMax(shared, kSharedCounts + kAbove, above_all);
      AtomicMax(shared, kSharedCounts + kBelow, below_all);
    }
    team.PublishCounts(kAbove);
    team.Sync([] {});
    if (ThreadIndex() < 32) {
      const uint32_t above = team.Most(team.Count(kAbove)), below = team.Most(team.Count(kBelow));
      if (ThreadIndex() == 0) {
        found[kOver] = ~above;
        found[kLast] = next == kBeside ? below : word;
      }
    }
    team.Collect(count);
    team.Selected();
    BlockSync();
    float last = WordToFloat(found[kLast]), later = WordToFloat(found[kOver]);
    if (lists) {
      const Ranked ranked = RankListed(shared, word, shift, rank, count);
      last = WordToFloat(ranked.last);
      if (rank > 1) later = WordToFloat(ranked.later);
    }
    const double below = last;
    double value = below;
    if (interpolates && later != below) value = below + place.weight * (static_cast<double>(later) - below);
    return Bounded(r, static_cast<float>(value));
  }

  // clip(p, -s, s) / s, or the clip alone.
  DPM_DEVICE static void Transformed(const Row& r, const Divisor& by, Values<V>& p) {
    if (r.transform != Transform::clamp && r.transform != Transform::quantile) return;
    DPM_UNROLL
    for (int k = 0; k < V; ++k) p.v[k] = Clip(p.v[k], by.s);
    if (r.transform == Transform::quantile) by.Divide(p.v);
  }

  // The step from the predictions on, for all elements of the thread; `o` are the operands of its first round. False if
  // a prediction is not finite that was not looked at before.
  DPM_DEVICE static bool Update(const StepArgs& a, const Row& r, uint32_t sample, Share& s, uint32_t terms,
                                Operands<V>* o) {
    if (IsUsual(a, r, s)) {
      UpdateUsual(a, r, sample, s, o);
      return true;
    }
    bool finite = true, loaded = true;
    const Divisor by = Divisor::Of(r.s);
    DPM_ROLLED
    for (uint32_t round = 0; round < s.rounds;) {
      const int count = s.Count(round);
      if (count == 0) break;
      const size_t i = Unknown(s.At(round));
      const bool kept = r.selects && Keeps(s, round);
      Values<V> p[U] = {};
      if (kept) {
        DPM_UNROLL
        for (int u = 0; u < U; ++u) {
          if (u < count) p[u] = Kept(s, round, u);
        }
      } else {
        Vector::template Predictions<U>(a, r, sample, i, count, o, p);
      }
      DPM_UNROLL
      for (int u = 0; u < U; ++u) {
        if (!r.selects) finite = (u >= count || Vector::Finite(p[u])) && finite;
        Transformed(r, by, p[u]);
      }
      // The first round has loaded x.
      Vector::template Apply<U>(a, r, sample, i, count, (loaded || !kept) && Vector::SharesX(a, r), o, p);
      if (++round >= s.rounds) break;
      const bool next_kept = r.selects && Keeps(s, round);
      Operands<V> next[U] = {};
      Vector::template LoadFirst<U>(a, sample, Unknown(s.At(round)), s.Count(round),
                                    next_kept ? terms & Both(kB1) : terms, next);
      DPM_UNROLL
      for (int u = 0; u < U; ++u) o[u] = next[u];
      loaded = false;
    }
    if (kGeneral && s.edge) {
      Operands<1> one[1] = {};
      if (r.selects) {
        Values<1> p[1] = {s.edge_p[0]};
        Single::Transformed(r, p[0]);
        Single::template LoadHistory<1>(a, sample, s.edge_at, 1, r.mask, one);
        Single::template Apply<1>(a, r, sample, s.edge_at, 1, false, one, p);
      } else {
        finite = Single::StepOne(a, r, sample, s.edge_at) && finite;
      }
    }
    return finite;
  }

  // Of the first round the update needs the network's outputs only where its predictions were not kept: registers that
  // are not needed while the quantile is looked for.
  DPM_DEVICE static void ForgetNetwork(const StepArgs& a, const Row& r, uint32_t sample, const Share& s,
                                       Operands<V>* first) {
    DPM_UNROLL
    for (int u = 0; u < U; ++u) first[u].m = first[u].u = first[u].g = {};
    if (Keeps(s, 0)) return;
    Vector::template LoadPrediction<U>(a, sample, Unknown(s.At(0)), s.Count(0), r.mask & Bits(kTermX, 4), first);
  }

  // The samples of this team, one after the other.
  DPM_DEVICE static void Run(const StepArgs& a, const TeamArgs& t) {
    EverythingBefore();
    LetNextBegin();
    const Shared<uint32_t> shared = DynamicShared();
    Team team = Team::Join(t, shared);
    uint32_t selections = 0;
    // So that one half of the teams reads and writes while the other one looks for its quantiles, and does neither.
    if (t.later != 0 && Team::Index(t) >= t.teams / 2) LetPass(t.later);
    DPM_ROLLED
    for (uint32_t sample = Team::Index(t); sample < a.batch; sample += t.teams) {
      const double number = FetchRow(a, sample);
      Share s = ShareOf(a, t, team, sample, shared);
      Operands<V> first[U] = {};
      if (!kGeneral) Vector::template LoadFirst<U>(a, sample, s.At(0), s.Count(0), Vector::FirstTerms(a), first);
      PrefetchPrediction(a, Vector::FirstTerms(a), sample, s, 1, kAhead);
      team.Begin(selections);
      DPM_ROLLED
      for (uint32_t i = 4 * ThreadIndex(); i < kSharedFound; i += 4 * BlockThreads()) Store4(shared, i, 0);
      Row r = ResolveRow<kGeneral>(a, number);
      const uint32_t terms = Vector::FirstTerms(a, r);
      if (kGeneral) Vector::template LoadFirst<U>(a, sample, s.At(0), s.Count(0), terms, first);
      bool finite = true;
      if (r.selects) {
        const Window w = WindowOf(r);
        const Place place = PlaceOf(a, r);
        BlockSync();
        finite = MakeAll(a, r, sample, s, w, first, shared);
        r.s = Bound(a, r, sample, team, s, w, place, selections++, shared);
        ForgetNetwork(a, r, sample, s, first);
      }
      finite = Update(a, r, sample, s, terms, first) && finite;
      if (!finite && a.flags) AtomicOr(a.flags + sample, kNotFinite);
    }
    team.Leave(selections);
  }
};

}  // namespace dpm::cuda
