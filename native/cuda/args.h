// What a kernel is given. Plain data: the same bytes on both sides of a launch.
#pragma once

#include <cstddef>
#include <cstdint>

#include "../step/row.h"

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

// The thresholded kernels' share of a sample: blocks of a team take `slice` elements each, in order, and keep the
// predictions of the first `resident` of them (a multiple of 8) in shared memory; they make the rest again.
struct TeamArgs {
  uint64_t slice = 0;     // a multiple of 8
  uint32_t resident = 0;  // a multiple of 8
  uint32_t size = 1;      // blocks of a team
  uint32_t teams = 1;
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
constexpr uint32_t kReduceBlock = 65536, kReduceLanes = 16;
constexpr uint32_t kReduceTile = 2048;  // terms in shared memory at a time

// Noise into a buffer: n elements of one sample, float32 or float64.
struct NoiseArgs {
  uint64_t seed = 0;
  void* to = nullptr;
  uint64_t n = 0;
  uint32_t step = 0, stream = 0;
};

// ---- the thresholded kernels' shared memory, in words ---------------------------------------------------------------

constexpr uint32_t kLevelBits = 11, kBins = 1u << kLevelBits, kLevels = 3;
// A level: its bins and two counts beside them (keys at the cap or above, NaN); 2 unused.
constexpr uint32_t kCapped = kBins, kNaN = kBins + 1, kLevelWords = kBins + 4;
constexpr uint32_t kRowWords = 2 * kRowLength + 32;  // the row, then what it resolves to
constexpr uint32_t kSharedLevels = kRowWords;
constexpr uint32_t kSharedNeighbours = kSharedLevels + kLevels * kLevelWords;  // next above, next below; 2 unused
constexpr uint32_t kSharedScan = kSharedNeighbours + 4;                        // sums of the warps
constexpr uint32_t kSharedFound = kSharedScan + 32;                            // bin and rank in it; 2 unused
constexpr uint32_t kSharedEdge = kSharedFound + 4;                             // predictions before and after vectors
constexpr uint32_t kSharedPredictions = kSharedEdge + 16;
static_assert(kSharedPredictions % 4 == 0, "predictions are read 16 bytes at a time");

// Two words of barrier (and two unused), the levels, the neighbours.
constexpr uint32_t kTeamLevels = 4, kTeamNeighbours = kTeamLevels + kLevels * kLevelWords;
constexpr uint32_t kWorkspaceWords = kTeamNeighbours + 4;

}  // namespace dpm::cuda
