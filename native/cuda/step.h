// The fused step on the device: one pass over memory, one launch, for every step that has no quantile to find.
#pragma once

#include "body.h"

namespace dpm::cuda {

// grid: (blocks of a sample, samples); dynamic shared memory: kRowWords words.
template <NetType kType, bool kGeneral, int V>
struct StepKernel {
  template <int W>
  using BodyOf = Body<kType, kGeneral, W>;

  DPM_DEVICE static void Run(const StepArgs& a) {
    const Shared<uint32_t> shared = DynamicShared();
    DPM_ROLLED
    for (uint32_t sample = BlockY(); sample < a.batch; sample += GridY()) {
      const Row r = ResolveRow(a, sample, shared);
      bool finite = true;
      if (!r.selects) {
        const uint32_t head = Head<kGeneral, V>(a, sample, 0, a.n);
        const size_t vectors = (a.n - head) / V, tail = head + vectors * V;
        const size_t stride = static_cast<size_t>(GridX()) * BlockThreads();
        DPM_ROLLED
        for (size_t j = static_cast<size_t>(BlockX()) * BlockThreads() + ThreadIndex(); j < vectors; j += stride) {
          finite = BodyOf<V>::Step(a, r, sample, head + j * V, false, {}) && finite;
        }
        if constexpr (kGeneral) {
          // Fewer than V elements before the vectors, fewer than V after them: one a thread.
          const size_t edge = ThreadIndex() < head ? ThreadIndex() : tail + (ThreadIndex() - head);
          if (BlockX() == 0 && edge < a.n && (edge < head || edge >= tail))
            finite = BodyOf<1>::Step(a, r, sample, edge, false, {}) && finite;
        }
        if (!finite && a.flags) AtomicOr(a.flags + sample, kNotFinite);
      } else if (BlockX() == 0 && ThreadIndex() == 0 && a.flags) {
        AtomicOr(a.flags + sample, kNeedsSelection);
      }
      // The next sample's row goes where this one's is.
      if (sample + GridY() < a.batch) BlockSync();
    }
  }
};

}  // namespace dpm::cuda
