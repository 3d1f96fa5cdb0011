// The fused step on the device: one pass over memory, one launch, for every step that has no quantile to find.
#pragma once

#include "body.h"

namespace dpm::cuda {

// Every warp for itself: chunks of the samples' vectors, in turn with all other warps. Operands are loaded beside the
// row, which says which of them are needed. grid: (blocks).
template <NetType kType, bool kGeneral, int V>
struct StepKernel {
  using Vector = Body<kType, kGeneral, V>;
  static constexpr int U = kAtOnce<kGeneral>;

  DPM_DEVICE static void Advance(uint32_t samples, uint32_t rest, uint32_t chunks, uint32_t& sample, uint32_t& chunk) {
    sample += samples, chunk += rest;
    if (chunk < chunks) return;
    chunk -= chunks, ++sample;
  }

  DPM_DEVICE static void Run(const StepArgs& a, const TeamArgs& t) {
    EverythingBefore();
    LetNextBegin();
    const uint32_t warps = BlockThreads() / 32, lane = ThreadIndex() % 32;
    // From turn to turn by whole samples and a rest: a division takes long.
    const uint32_t turn = TurnOf(BlockX(), GridX()), turns = GridX() * warps;
    const uint32_t samples = turns / t.chunks, rest = turns % t.chunks;
    uint32_t sample = turn / t.chunks, chunk = turn % t.chunks;
    Row r = {};
    uint32_t known = 0xffffffffu;  // whose row that is
    DPM_ROLLED
    for (; sample < a.batch; Advance(samples, rest, t.chunks, sample, chunk)) {
      const bool fresh = sample != known;
      const double number = fresh ? FetchRow(a, sample) : 0;
      const uint32_t j = chunk * t.chunk + lane;
      Operands<V> o[U] = {};
      if (!kGeneral) {
        Vector::template LoadFirst<U>(a, sample, Unknown(static_cast<size_t>(j) * V),
                                      CountOf<U>(j, t.chunk, static_cast<uint32_t>(a.n / V)),
                                      fresh ? Vector::FirstTerms(a) : Vector::FirstTerms(a, r), o);
      }
      if (fresh) r = ResolveRow<kGeneral>(a, number);
      known = sample;
      if (r.selects) {
        if (j == 0 && a.flags) AtomicOr(a.flags + sample, kNeedsSelection);
        continue;
      }
      const uint32_t head = Head<kGeneral, V>(a, sample);
      const uint32_t vectors = static_cast<uint32_t>((a.n - head) / V);
      const size_t i = Unknown(head + static_cast<size_t>(j) * V);
      const int count = CountOf<U>(j, t.chunk, vectors);
      bool finite = true;
      if (count > 0) {
        if (kGeneral) Vector::template LoadFirst<U>(a, sample, i, count, Vector::FirstTerms(a, r), o);
        finite = Vector::template Step<U>(a, r, sample, i, count, o);
      }
      if constexpr (kGeneral) {
        // Fewer than V elements before the vectors, fewer than V after them: one a thread of the first chunk.
        const size_t tail = head + static_cast<size_t>(vectors) * V, edge = lane < head ? lane : tail + (lane - head);
        if (j == lane && edge < a.n && (edge < head || edge >= tail)) {
          finite = Body<kType, kGeneral, 1>::StepOne(a, r, sample, edge) && finite;
        }
      }
      if (!finite && a.flags) AtomicOr(a.flags + sample, kNotFinite);
    }
  }
};

}  // namespace dpm::cuda
