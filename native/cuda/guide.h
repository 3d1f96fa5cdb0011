// Guidance whose weights the answers decide, on the device: sums over each sample's pairs, with native/cpu's order of
// summation (reduce.h), then entries of its row in the card's memory, where the step that follows finds them.
#pragma once

#include "../step/guidance.h"
#include "body.h"
#include "guide_args.h"

namespace dpm::cuda {

static_assert(kPairShared == kPairSums * kPairTile * sizeof(double), "terms of a tile");

struct CardRoot {
  DPM_DEVICE double operator()(double x) const { return SquareRoot(x); }
};

// Where a sample's weights are, behind the sums.
DPM_DEVICE double* WeightsOf(const GuideArgs& a, uint32_t stretches, uint32_t sample) {
  return a.work + static_cast<size_t>(a.batch) * stretches * kPairSums + static_cast<size_t>(sample) * kGuideOperands;
}

DPM_DEVICE void LoadNumbers(const double* from, int count, double* to) {
  for (int k = 0; k < count; ++k) to[k] = Load1(from + k);
}

// The sums of one stretch of one sample: of what the variant looks at, or (kSecond) of what rescaling does. grid:
// (stretches, samples); dynamic shared memory: kPairSums * kPairTile doubles.
template <NetType kType, bool kSecond>
struct PairKernel {
  DPM_DEVICE static double State(const void* from, size_t i) {
    if constexpr (kType == NetType::f64) {
      return Load1(static_cast<const double*>(from) + i);
    } else {
      return Load1(static_cast<const float*>(from) + i);
    }
  }
  DPM_DEVICE static double Output(const void* from, size_t i) {
    if constexpr (kType == NetType::f64) {
      return Load1(static_cast<const double*>(from) + i);
    } else {
      using Element = typename Network<kType>::Element;
      return Network<kType>::ToFloat(Load1(static_cast<const Element*>(from) + i));
    }
  }

  DPM_DEVICE static void Run(const GuideArgs& a) {
    EverythingBefore();
    LetNextBegin();
    const Shared<double> terms = DynamicShared().As<double>();
    const size_t begin = static_cast<size_t>(BlockX()) * kReduceBlock;
    const uint32_t length = static_cast<uint32_t>(a.n - begin < kReduceBlock ? a.n - begin : kReduceBlock);
    DPM_ROLLED
    for (uint32_t sample = BlockY(); sample < a.batch; sample += GridY()) {
      double ca[kGuideOperands], cb[kGuideOperands];
      if (kSecond) {
        double w[kGuideOperands];
        LoadNumbers(WeightsOf(a, GridX(), sample), kGuideOperands, w);
        RescalePair(w, ca, cb);
      } else {
        double g[kGuideLength];
        LoadNumbers(a.guide, kGuideLength, g);
        GuidePair(g, a.kept != nullptr, ca, cb);
      }
      const size_t state = sample * a.n + begin, network = sample * a.m_stride + begin;
      // Sixteen threads a sum: one for each of its running ones.
      const uint32_t q = ThreadIndex() / kReduceLanes, lane = ThreadIndex() % kReduceLanes;
      double sum = 0;
      DPM_ROLLED
      for (uint32_t tile = 0; tile < length; tile += kPairTile) {
        const uint32_t count = length - tile < kPairTile ? length - tile : kPairTile;
        DPM_ROLLED
        for (uint32_t i = ThreadIndex(); i < count; i += BlockThreads()) {
          double A = 0, B = 0;
          const auto add = [&](int k, double value) { A = A + ca[k] * value, B = B + cb[k] * value; };
          if (ca[0] != 0 || cb[0] != 0) add(0, State(a.x, state + tile + i));
          if (ca[1] != 0 || cb[1] != 0) add(1, Output(a.m, network + tile + i));
          if (ca[2] != 0 || cb[2] != 0) add(2, Output(a.u, network + tile + i));
          if (a.kept && (ca[3] != 0 || cb[3] != 0)) add(3, State(a.kept, state + tile + i));
          terms[i] = A;
          terms[kPairTile + i] = B;
          terms[2 * kPairTile + i] = A * A;
          terms[3 * kPairTile + i] = A * B;
          terms[4 * kPairTile + i] = B * B;
        }
        BlockSync();
        if (q < kPairSums) {
          DPM_UNROLL_4
          for (uint32_t i = lane; i < count; i += kReduceLanes) sum = sum + terms[q * kPairTile + i];
        }
        BlockSync();
      }
      if (q < kPairSums) terms[q * kReduceLanes + lane] = sum;
      BlockSync();
      DPM_ROLLED
      for (uint32_t width = kReduceLanes / 2; width > 0; width /= 2) {
        const uint32_t at = q * kReduceLanes + lane;
        if (q < kPairSums && lane < width) terms[at] = terms[at] + terms[at + width];
        BlockSync();
      }
      if (q < kPairSums && lane == 0) {
        const double all = terms[q * kReduceLanes];
        Store1(a.work + (static_cast<size_t>(sample) * GridX() + BlockX()) * kPairSums + q, all);
      }
      BlockSync();
    }
  }
};

// From the sums to the weights, and to the row unless they are to be rescaled (kSecond: they have been). One thread a
// sample; `stretches` as PairKernel's grid had them.
template <bool kSecond>
struct GuideEnd {
  DPM_DEVICE static void Run(const GuideArgs& a, uint32_t stretches) {
    EverythingBefore();
    LetNextBegin();
    double g[kGuideLength];
    LoadNumbers(a.guide, kGuideLength, g);
    const uint32_t stride = GridX() * BlockThreads();
    DPM_ROLLED
    for (uint32_t sample = BlockX() * BlockThreads() + ThreadIndex(); sample < a.batch; sample += stride) {
      double sums[kPairSums] = {}, w[kGuideOperands], factor = 1;
      if (kSecond || a.looks) {
        DPM_ROLLED
        for (uint32_t k = 0; k < stretches; ++k) {
          const double* const from = a.work + (static_cast<size_t>(sample) * stretches + k) * kPairSums;
          for (int q = 0; q < kPairSums; ++q) sums[q] = sums[q] + Load1(from + q);
        }
      }
      double* const weights = WeightsOf(a, stretches, sample);
      if (kSecond) {
        LoadNumbers(weights, kGuideOperands, w);
        factor = RescaleFactor(g, sums, static_cast<double>(a.n), CardRoot());
      } else {
        GuideWeights(g, a.kept != nullptr, sums, CardRoot(), w);
        for (int k = 0; k < kGuideOperands; ++k) Store1(weights + k, w[k]);
      }
      if (!kSecond && a.rescales) continue;
      double row[kGuideOperands];
      GuidePrediction(g, w, factor, row);
      for (int k = 0; k < kGuideOperands; ++k) {
        Store1(a.rows + static_cast<size_t>(sample) * kRowLength + kCx + k, row[k]);
      }
    }
  }
};

}  // namespace dpm::cuda
