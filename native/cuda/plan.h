// Which kernel runs a step, and on how many blocks with how much shared memory: a pure function of the call's shape and
// of the card.
#pragma once

#include <cstddef>
#include <cstdint>

#include "args.h"

namespace dpm::cuda {

struct Card {
  uint32_t multiprocessors = 0;
  uint32_t shared_bytes = 0;  // that one block may have (the opt-in limit)
  uint32_t max_cluster = 0;   // blocks of a cluster with that much shared memory: 0 (none), 8 or 16
  bool cooperative = false;
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

// Elements that a thread handles at a time: 16 bytes of state, or of 16-bit numbers where registers allow it.
constexpr int VectorOf(Kernel kernel, NetType type, bool general) {
  return type == NetType::f32 || general || kernel != Kernel::step ? 4 : 8;
}
template <Kernel kKernel, NetType kType, bool kGeneral>
constexpr int kVector = VectorOf(kKernel, kType, kGeneral);

constexpr uint32_t kStepThreads = 256;
constexpr uint32_t TeamThreads(bool general) { return general ? 256 : 512; }
constexpr uint32_t kWideThreads = 256, kReduceThreads = 256, kNoiseThreads = 256;
constexpr uint32_t kBlocksPerMultiprocessor = 16;  // of the plain step: more would only resolve more rows
constexpr uint32_t kMostBlocks = 0x7fffffff;       // of a grid in x
constexpr uint32_t kLeastSlice = 2048;             // of a team's block: less is not worth another one

constexpr uint64_t DivideUp(uint64_t a, uint64_t b) { return (a + b - 1) / b; }
constexpr uint64_t RoundUp(uint64_t a, uint64_t b) { return DivideUp(a, b) * b; }

inline bool Multiple(const void* pointer, size_t bytes) { return reinterpret_cast<uintptr_t>(pointer) % bytes == 0; }

// Can the fast variant serve this call? See Body.
inline bool IsFast(const StepArgs& a) {
  if (a.g || a.d3 || a.p || a.out2 || (a.noise && !a.z)) return false;
  if (a.n % 8 != 0 || a.m_stride % 8 != 0) return false;
  const void* const all[] = {a.x, a.m, a.u, a.base, a.d1, a.d2, a.z, a.d0, a.out, a.next[0], a.next[1]};
  for (const void* pointer : all) {
    if (!Multiple(pointer, 16)) return false;
  }
  return true;
}

// Predictions that fit a block's shared memory.
inline uint32_t Resident(const Card& card) {
  const uint32_t words = card.shared_bytes / 4;
  return words > kSharedPredictions ? (words - kSharedPredictions) / 8 * 8 : 0;
}

inline void Share(Plan& plan, const Card& card, uint64_t n, uint32_t size) {
  plan.team.size = size;
  plan.team.slice = RoundUp(DivideUp(n, size), 8);
  const uint32_t room = Resident(card);
  plan.team.resident = plan.team.slice < room ? static_cast<uint32_t>(plan.team.slice) : room;
  plan.shared_bytes = 4 * (kSharedPredictions + plan.team.resident);
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

// Batch and n are at least 1; n is below 2^32, batch below 2^31.
inline Plan MakePlan(const Card& card, const Wish& wish) {
  Plan plan;
  const uint32_t multiprocessors = card.multiprocessors ? card.multiprocessors : 1;
  const bool wide = wish.type == NetType::f64;
  if (wide && wish.quantile) {
    plan.kernel = Kernel::wide_select;
    plan.threads = kWideThreads;
    plan.grid_x = static_cast<uint32_t>(wish.batch);
    plan.shared_bytes = 4 * kSharedPredictions;
    return plan;
  }
  if (!wish.quantile) {
    if (wide) plan.kernel = Kernel::wide;
    const uint32_t vector = wide ? 1 : static_cast<uint32_t>(VectorOf(Kernel::step, wish.type, wish.general));
    const uint64_t vectors = DivideUp(wish.n, vector);
    // Small steps are spread over more of the card by smaller blocks.
    plan.threads = kStepThreads;
    while (plan.threads > 64 && wish.batch * DivideUp(vectors, plan.threads) < multiprocessors) plan.threads /= 2;
    plan.grid_y = static_cast<uint32_t>(wish.batch < 65535 ? wish.batch : 65535);
    const uint64_t most = DivideUp(static_cast<uint64_t>(multiprocessors) * kBlocksPerMultiprocessor, plan.grid_y);
    const uint64_t blocks = DivideUp(vectors, plan.threads);
    plan.grid_x = static_cast<uint32_t>(blocks < most ? blocks : most);
    plan.shared_bytes = 4 * kRowWords;
    return plan;
  }
  plan.threads = TeamThreads(wish.general);
  const uint32_t room = Resident(card);
  const uint64_t needed = room ? DivideUp(wish.n, room) : UINT64_MAX;
  if (needed <= card.max_cluster) {
    uint32_t size = 1;
    while (size < needed) size *= 2;
    // A sample on more blocks, as long as the card has some left and they have enough to do.
    while (2 * size <= card.max_cluster && 2 * size * wish.batch <= multiprocessors &&
           wish.n >= static_cast<uint64_t>(2 * size) * kLeastSlice) {
      size *= 2;
    }
    plan.kernel = Kernel::cluster;
    Share(plan, card, wish.n, size);
    const uint64_t most = kMostBlocks / size;
    plan.team.teams = static_cast<uint32_t>(wish.batch < most ? wish.batch : most);
    plan.grid_x = size * plan.team.teams;
    return plan;
  }
  // One block on every multiprocessor, all at the same time.
  plan.kernel = Kernel::team;
  uint64_t size = 1;
  if (card.cooperative) {
    const uint64_t useful = DivideUp(wish.n, kLeastSlice), spare = multiprocessors / wish.batch;
    const uint64_t wanted = useful < spare ? useful : spare;
    size = needed > wanted ? needed : wanted;
    size = size < 1 ? 1 : size > multiprocessors ? multiprocessors : size;
  }
  Share(plan, card, wish.n, static_cast<uint32_t>(size));
  const uint64_t teams = size > 1 ? multiprocessors / size : wish.batch;
  plan.team.teams = static_cast<uint32_t>(teams < wish.batch ? teams : wish.batch);
  plan.grid_x = plan.team.size * plan.team.teams;
  plan.cooperative = size > 1;
  plan.workspace_words = size > 1 ? static_cast<size_t>(plan.team.teams) * kWorkspaceWords : 0;
  return plan;
}

}  // namespace dpm::cuda
