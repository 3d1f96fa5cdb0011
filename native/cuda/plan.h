// Which kernel runs a step, and on how many blocks with how much shared memory: a pure function of the call's shape and
// of the card.
#pragma once

#include <cstddef>
#include <cstdint>

#include "args.h"

namespace dpm::cuda {

constexpr uint32_t kMostCluster = 16;

struct Card {
  uint32_t multiprocessors = 0;
  uint32_t shared_bytes = 0;           // that one block may have (the opt-in limit)
  uint32_t shared_multiprocessor = 0;  // that the blocks of a multiprocessor have together
  bool cooperative = false;
  bool dependent = false;  // may a launch begin while the one before it still runs?
  // How many clusters of this many blocks run at the same time: with one block on a multiprocessor, which has all its
  // shared memory, and with two, which have half of it each. 0: none.
  uint32_t clusters[2][kMostCluster + 1] = {};
};

struct Wish {
  uint64_t batch = 1, n = 0;
  NetType type = NetType::f32;
  bool general = false;   // see Body: rare operands, or buffers that are not aligned
  bool quantile = false;  // rows may ask for a quantile
};

// wide, wide_select: in double precision, without and with a quantile.
enum class Kernel : int { step = 0, cluster = 1, team = 2, wide = 3, wide_select = 4 };

struct Plan {
  Kernel kernel = Kernel::step;
  uint32_t grid_x = 1, grid_y = 1, threads = 32;
  uint32_t shared_bytes = 0;
  bool cooperative = false;
  TeamArgs team;               // but for the workspace
  size_t workspace_words = 0;  // zero before the first launch; a launch leaves them zero
};

constexpr uint32_t kVector = 4;  // elements that a thread handles at a time: 16 bytes of state

constexpr uint32_t kStepThreads = 256;
// Of the plain step a multiprocessor holds so many blocks (kernels.cu sees to it): as many are launched, and no more.
constexpr uint32_t StepBlocks(bool) { return 2; }
constexpr uint32_t TeamThreads(bool general) { return general ? 256 : 512; }
// Blocks of a team that a multiprocessor holds: of the fast variant two of half the size.
constexpr uint32_t MostEach(bool general) { return general ? 1 : 2; }
constexpr uint32_t kWideThreads = 256, kReduceThreads = 256, kNoiseThreads = 256;
constexpr uint32_t kWideBlocks = 16;          // of the step in double precision, for a multiprocessor
constexpr uint32_t kMostBlocks = 0x7fffffff;  // of a grid in x
constexpr uint32_t kLeastSlice = 2048;        // of a team's block: less is not worth another one
constexpr uint32_t kReservedShared = 1024;    // of every block, by the driver

constexpr uint64_t DivideUp(uint64_t a, uint64_t b) { return (a + b - 1) / b; }
constexpr uint64_t RoundUp(uint64_t a, uint64_t b) { return DivideUp(a, b) * b; }

inline bool Multiple(const void* pointer, size_t bytes) { return reinterpret_cast<uintptr_t>(pointer) % bytes == 0; }

// Can the fast variant serve this call? See Body.
inline bool IsFast(const StepArgs& a) {
  if (a.g || a.d3 || a.p || a.out2 || (a.noise && !a.z)) return false;
  if (a.n % kVector != 0 || a.m_stride % kVector != 0) return false;
  const void* const all[] = {a.x, a.m, a.u, a.base, a.d1, a.d2, a.z, a.d0, a.out, a.next[0], a.next[1]};
  for (const void* pointer : all) {
    if (!Multiple(pointer, 16)) return false;
  }
  return true;
}

// Predictions that a block's shared memory holds, `each` blocks on a multiprocessor.
inline uint32_t Room(const Card& card, uint32_t each) {
  const uint32_t all = card.shared_multiprocessor / each;
  uint32_t bytes = all > kReservedShared ? all - kReservedShared : 0;
  if (bytes > card.shared_bytes) bytes = card.shared_bytes;
  return bytes / 4 > kSharedPredictions ? (bytes / 4 - kSharedPredictions) / 8 * 8 : 0;
}

// Teams share no more than this many words of workspace on any card and for any call, so that one allocation serves.
inline size_t MostWorkspaceWords(const Card& card) {
  return card.cooperative ? static_cast<size_t>(card.multiprocessors / 2) * kWorkspaceWords : 0;
}

// Blocks that draw n numbers: four a thread, and at most so many, which go on from where they stand.
inline uint32_t NoiseBlocks(uint64_t n) {
  const uint64_t blocks = DivideUp(DivideUp(n, 4), kNoiseThreads);
  return static_cast<uint32_t>(blocks < 65535 ? blocks : 65535);
}

// Vectors of a warp at a time: one a thread, or as many as a thread loads at once (kAtOnce of body.h) where `warps`
// have so many to do.
inline void DealOut(TeamArgs& team, const Wish& wish, uint64_t samples, uint64_t warps) {
  const uint64_t vectors = VectorsOf(wish.n, kVector);
  team.chunk = !wish.general && samples * DivideUp(vectors, 64) >= warps ? 64 : 32;
  team.chunks = static_cast<uint32_t>(DivideUp(vectors, team.chunk));
}

// The plain step: as many blocks as run at the same time, and all of them about equally much.
inline void PlanStep(Plan& plan, const Card& card, const Wish& wish) {
  const uint64_t most = card.multiprocessors * StepBlocks(wish.general);
  DealOut(plan.team, wish, wish.batch, most * (kStepThreads / 32));
  const uint64_t chunks = wish.batch * plan.team.chunks;
  // Small steps are spread over more of the card by smaller blocks.
  plan.threads = kStepThreads;
  while (plan.threads > 64 && DivideUp(chunks, plan.threads / 32) < card.multiprocessors) plan.threads /= 2;
  const uint64_t useful = DivideUp(chunks, plan.threads / 32);
  plan.grid_x = static_cast<uint32_t>(useful < most ? useful : most);
}

// In double precision without a quantile: an element a thread.
inline void PlanWide(Plan& plan, const Card& card, const Wish& wish) {
  plan.kernel = Kernel::wide;
  plan.threads = kWideThreads;
  while (plan.threads > 64 && wish.batch * DivideUp(wish.n, plan.threads) < card.multiprocessors) plan.threads /= 2;
  plan.grid_y = static_cast<uint32_t>(wish.batch < 65535 ? wish.batch : 65535);
  const uint64_t most = DivideUp(static_cast<uint64_t>(card.multiprocessors) * kWideBlocks, plan.grid_y);
  const uint64_t blocks = DivideUp(wish.n, plan.threads);
  plan.grid_x = static_cast<uint32_t>(blocks < most ? blocks : most);
  plan.shared_bytes = 4 * kWideNumbers;
}

// Teams of `size` blocks, `each` of them on a multiprocessor, `at_once` teams at the same time.
struct TeamPlan {
  Kernel kernel = Kernel::team;
  uint32_t size = 1, each = 1;
  uint64_t at_once = 1;
};

// Nanoseconds for every element that a multiprocessor holds, by which the second half of the teams begins later where
// teams have several samples: about what the first half takes to read its own, as measured on an H200.
constexpr double kLater = 0.24;

inline void Stagger(Plan& plan, const Wish& wish, uint32_t each) {
  if (!plan.cooperative || plan.team.teams < 2 || wish.batch <= plan.team.teams) return;
  const uint32_t slice = plan.team.rounds * (plan.threads / 32) * plan.team.chunk * kVector;
  plan.team.later = static_cast<uint32_t>(kLater * each * slice);
}

inline void Take(Plan& plan, const Card& card, const Wish& wish, const TeamPlan& team) {
  plan.kernel = team.kernel;
  plan.threads = TeamThreads(wish.general) / team.each;
  plan.team.size = team.size;
  const uint32_t warps = plan.threads / 32;
  DealOut(plan.team, wish, 1, static_cast<uint64_t>(warps) * team.size);
  plan.team.rounds = static_cast<uint32_t>(DivideUp(plan.team.chunks, static_cast<uint64_t>(warps) * team.size));
  const uint32_t round = warps * plan.team.chunk * kVector, room = Room(card, team.each) / round;
  plan.team.resident = plan.team.rounds < room ? plan.team.rounds : room;
  plan.shared_bytes = 4 * (kSharedPredictions + plan.team.resident * round);
  plan.cooperative = team.kernel == Kernel::team && team.size > 1;
  const uint64_t most = plan.cooperative ? team.at_once : kMostBlocks / team.size;
  plan.team.teams = static_cast<uint32_t>(wish.batch < most ? wish.batch : most);
  plan.grid_x = plan.team.size * plan.team.teams;
  plan.workspace_words = plan.cooperative ? static_cast<size_t>(plan.team.teams) * kWorkspaceWords : 0;
  Stagger(plan, wish, team.each);
}

// Nanoseconds that a thresholded step is thought to take, from what was measured on an H200: per team and sample what
// finding the quantile takes; per element what its instructions take on one multiprocessor, and what its traffic takes
// with all of the card busy. The two overlap, but not wholly.
constexpr double kClusterFixed = 7200, kClusterBlock = 43, kGridFixed = 10500, kGridBlock = 2;
constexpr double kLargeCluster = 1500;  // of more than eight blocks
constexpr double kHalfBlocks =
    0.79;  // of a cluster's, where two blocks share a multiprocessor: their barriers are shorter
constexpr double kGridLaunch = 1500;  // nothing of it overlaps with the launch before
constexpr double kElementOnOne = 0.286, kElementOnAll = 0.727, kApart = 0.335, kMadeAgain = 1;
constexpr double kGeneralOnOne = 2;  // of the general variant
// What is left of finding quantiles where half of the teams reads meanwhile (Stagger), with one and two blocks on a
// multiprocessor.
constexpr double kStaggered[] = {0.56, 0.49};

// All that is only an estimate. A plan that keeps the card busy is preferred to one that leaves more than a tenth of it
// idle, if there is work for all of it and the estimates do not lie apart.
constexpr double kFull = 0.9, kSlowerAllowed = 1.05;
constexpr uint64_t kMuch = 16384;  // elements for a multiprocessor

// Nanoseconds, and the share of the card that works on average until the busiest block is done.
struct Judged {
  double time, share;
};

inline Judged Judge(const Card& card, const Wish& wish, const TeamPlan& team, const Plan& plan) {
  const double rounds = static_cast<double>(DivideUp(wish.batch, team.at_once));
  const double size = team.size;
  // Elements of the busiest block.
  const double slice = static_cast<double>(DivideUp(plan.team.chunks, team.size)) * plan.team.chunk * kVector;
  const bool grid = team.kernel == Kernel::team && team.size > 1;
  double fixed = grid ? kGridFixed + kGridBlock * size : kClusterFixed;
  if (team.kernel == Kernel::cluster) {
    fixed += kClusterBlock * size + (team.size > 8 ? kLargeCluster : 0);
    if (team.each > 1 && team.size <= 8) fixed *= kHalfBlocks;
  }
  const double again_and_again = plan.team.later != 0 ? kStaggered[team.each - 1] : 1;
  const double lost = static_cast<double>(plan.team.rounds - plan.team.resident) / plan.team.rounds;
  const double again = 1 + kMadeAgain * lost;
  const double one = rounds * team.each * slice * (wish.general ? kGeneralOnOne : kElementOnOne);
  const double mean = static_cast<double>(wish.batch) * static_cast<double>(wish.n) / card.multiprocessors;
  const double all = mean * kElementOnAll;
  return {fixed * (1 + (rounds - 1) * again_and_again) + (grid ? kGridLaunch : 0) +
              again * (one > all ? one + kApart * all : all + kApart * one),
          mean / (rounds * team.each * slice)};
}

inline void PlanThreshold(Plan& plan, const Card& card, const Wish& wish) {
  TeamPlan best, full;
  double least = 0, least_full = 0;
  const auto consider = [&](const TeamPlan& team) {
    Plan candidate;
    Take(candidate, card, wish, team);
    // A cluster keeps all of a sample.
    if (team.kernel == Kernel::cluster && candidate.team.resident < candidate.team.rounds) return;
    const Judged judged = Judge(card, wish, team, candidate);
    if (least == 0 || judged.time < least) least = judged.time, best = team;
    if (judged.share < kFull) return;
    if (least_full == 0 || judged.time < least_full) least_full = judged.time, full = team;
  };
  for (uint32_t each = 1; each <= MostEach(wish.general); ++each) {
    // A block alone, and several of them.
    consider({Kernel::team, 1, each, static_cast<uint64_t>(card.multiprocessors) * each});
    for (uint32_t size = 1; size <= kMostCluster; ++size) {
      const uint32_t at_once = card.clusters[each - 1][size];
      if (size > 8 && size < kMostCluster) continue;  // were never the best
      if (at_once == 0 || (size > 1 && DivideUp(wish.n, size) < kLeastSlice)) continue;
      consider({Kernel::cluster, size, each, at_once});
    }
    if (!card.cooperative) continue;
    const uint32_t blocks = card.multiprocessors * each;
    for (uint32_t size = 2 * each; size <= blocks; ++size) {  // no more teams than MostWorkspaceWords says
      if (DivideUp(wish.n, size) < kLeastSlice) break;
      consider({Kernel::team, size, each, blocks / size});
    }
  }
  const bool much = wish.batch * wish.n >= kMuch * card.multiprocessors;
  Take(plan, card, wish, much && least_full > 0 && least_full < kSlowerAllowed * least ? full : best);
}

// Batch and n are at least 1; n is below 2^32, batch below 2^31.
inline Plan MakePlan(const Card& of, const Wish& wish) {
  Plan plan;
  Card card = of;
  if (card.multiprocessors == 0) card.multiprocessors = 1;
  if (wish.type != NetType::f64) {
    wish.quantile ? PlanThreshold(plan, card, wish) : PlanStep(plan, card, wish);
  } else if (!wish.quantile) {
    PlanWide(plan, card, wish);
  } else {
    plan.kernel = Kernel::wide_select;
    plan.threads = kWideThreads;
    plan.grid_x = static_cast<uint32_t>(wish.batch);
    plan.shared_bytes = 4 * (kSharedPredictions + kWideNumbers);
  }
  return plan;
}

}  // namespace dpm::cuda
