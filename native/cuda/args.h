// What a kernel is given. Plain data: the same bytes on both sides of a launch.
#pragma once

#include <cstddef>
#include <cstdint>

#include "../step/element.h"

namespace dpm::cuda {

// Types of a network's input and output; the values are those of the C interface (api.h). f64 stands for a step in
// double precision throughout: then every `float` of StepArgs is a double.
enum class NetType : int { f16 = 0, f32 = 1, f64 = 2, bf16 = 4 };

// Operands as in native/cpu/step.h: float32, batch * n elements, null where there is none. Pointers are to device
// memory. `d0`, `out` and `out2` may each be the very buffer of an input; nothing else may overlap.
struct StepArgs {
  const double* rows = nullptr;  // batch rows of kRowLength
  const float* x = nullptr;
  const void *m = nullptr, *u = nullptr, *g = nullptr;  // of the network's type; samples of m, u m_stride apart
  const float *base = nullptr, *d1 = nullptr, *d2 = nullptr, *d3 = nullptr, *z = nullptr;
  float* p = nullptr;  // read by rows with Transform::given, written by the others
  float *d0 = nullptr, *out = nullptr, *out2 = nullptr;
  void* next[2] = {nullptr, nullptr};  // copies of `out` in next_type
  // Where there is no z: noise made in the kernel, four words a sample: seed (low, high), step, stream (philox.h).
  const uint32_t* noise = nullptr;
  // One word a sample: kNotFinite is set where a prediction is not finite, kNeedsSelection where a row asks for a
  // quantile of a kernel that finds none (its outputs are then not written).
  uint32_t* flags = nullptr;
  uint64_t n = 0, m_stride = 0;
  uint32_t batch = 0;
  int next_type = static_cast<int>(NetType::f32);
};

constexpr uint32_t kNotFinite = 1, kNeedsSelection = 2;

// Vectors that are dealt out of a sample of n elements: what is less than one goes with the first.
DPM_INLINE uint64_t VectorsOf(uint64_t n, uint32_t vector) { return n < vector ? 1 : n / vector; }

// How a call is spread over blocks. Warps take the vectors of a sample in chunks, one after the other in turn, so that
// all that is read at a time lies together: the plain step all warps of the grid and of all samples in a row, the
// thresholded kernels the warps of a team. First come the first warps of all blocks, then their second ones (TurnOf of
// body.h): no block has two chunks more than another.
struct TeamArgs {
  uint32_t chunk = 32;    // vectors of a warp at a time: one or more for every thread
  uint32_t chunks = 1;    // of a sample
  uint32_t rounds = 1;    // that a warp of a team has at most
  uint32_t resident = 0;  // rounds whose predictions stay in shared memory; what is left is made again
  uint32_t size = 1;      // blocks of a team
  uint32_t teams = 1;
  uint32_t later = 0;             // nanoseconds that the second half of the teams begins after the first
  uint32_t* workspace = nullptr;  // teams that meet in global memory: kWorkspaceWords each, zero before and after
};

// The error of an adaptive step, per sample: sqrt(mean(((high - low) / max(atol, rtol max(|low|, |previous|)))^2)).
// batch * n elements, float32 or (wide) float64.
struct ErrorArgs {
  const void *low = nullptr, *high = nullptr, *previous = nullptr;
  double* partial = nullptr;  // working space: of every sample DivideUp(n, kReduceBlock) sums
  double* out = nullptr;      // batch results
  uint64_t n = 0;
  uint32_t batch = 0;
  bool wide = false;
  double atol = 0, rtol = 0;
};
// Sums run over stretches of this many elements, then over the stretches in order, as in native/cpu: sixteen running
// sums each, folded in one order.
constexpr uint32_t kReduceBlock = 4096, kReduceLanes = 16;
constexpr uint32_t kReduceTile = 2048;  // terms in shared memory at a time

// Noise into a buffer: n elements of one sample, float32 or float64.
struct NoiseArgs {
  uint64_t seed = 0;
  void* to = nullptr;
  uint64_t n = 0;
  uint32_t step = 0, stream = 0;
};

// ---- the thresholded kernels' shared memory, in words ---------------------------------------------------------------

constexpr uint32_t kLevelBits = 11, kBins = 1u << kLevelBits;
constexpr uint32_t kGroups = 32, kGroupBins = kBins / kGroups;  // sums of so many bins, so that one warp finds a bin
// Counts beside the bins: keys at the cap or above, the largest of these, the complement of the least key above and the
// largest key below what is looked for, keys in the list, keys in the team's list; 2 unused.
constexpr uint32_t kCapped = 0, kLargest = 1, kAbove = 2, kBelow = 3, kListed = 4, kCollected = 5, kCountWords = 8;
// So many keys of one bin are listed and ranked; of more of them the next bits are counted. The emulation's samples are
// small, and would hardly ever come so far.
constexpr uint32_t kListWords = 1024;
#if defined(DPM_CUDA_EMULATION)
constexpr uint32_t kMostListed = 96;
#else
constexpr uint32_t kMostListed = kListWords;
#endif

constexpr uint32_t kSharedBins = 0;
constexpr uint32_t kSharedGroups = kSharedBins + kBins;  // while keys are counted, of those that are in no bin
constexpr uint32_t kSharedCounts = kSharedGroups + kGroups;
// Of the keys in the list: 32 counts a digit, and a maximum.
constexpr uint32_t kSharedDigits = kSharedCounts + kCountWords;
constexpr uint32_t kDigitBits = 5, kDigitRounds = 5;
static_assert(kDigitBits * kDigitRounds >= 32 - kLevelBits, "of a listed key the bins have shown the others");
constexpr uint32_t kSharedList = kSharedDigits + 32 * kDigitRounds + 4;  // this block's keys
constexpr uint32_t kSharedAll = kSharedList + kListWords;                // the team's
// What one block's bins are in the sum over a cluster lies where the team's keys come later.
constexpr uint32_t kSharedParts = kSharedAll;
static_assert(16 * kGroupBins <= kListWords, "a group's bins of sixteen blocks");
constexpr uint32_t kSharedFound = kSharedAll + kListWords;  // what was found; all before starts as zero
constexpr uint32_t kSharedLeft = kSharedFound + 8;          // of the last to leave
constexpr uint32_t kSharedPredictions = kSharedLeft + 4;
static_assert(kSharedPredictions % 4 == 0, "predictions are read 16 bytes at a time");

// In double precision the row's numbers lie behind that, and alone where there is no quantile.
constexpr uint32_t kWideNumbers = 2 * kRowLength;

// What a team has in global memory. Counted over and over, its counts would have to be cleared between two barriers of
// a sample; three copies take turns instead, and one barrier is enough. `deep` are the bins of further bits.
constexpr uint32_t kMeetBins = 0, kMeetGroups = kBins, kMeetCounts = kMeetGroups + kGroups;
constexpr uint32_t kMeetList = kMeetCounts + kCountWords, kMeetWords = kMeetList + kListWords;
constexpr uint32_t kMeets = 3;
constexpr uint32_t kTeamBarrier = 0, kTeamLeft = 1, kTeamMeets = 4;  // two words unused
constexpr uint32_t kTeamDeep = kTeamMeets + kMeets * kMeetWords;     // bins and groups
constexpr uint32_t kWorkspaceWords = kTeamDeep + kBins + kGroups;

}  // namespace dpm::cuda
