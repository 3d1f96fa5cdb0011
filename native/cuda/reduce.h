// The error of an adaptive step (Lu et al. 2022, "DPM-Solver": DPM-Solver-12 and -23), with native/cpu's order of
// summation: the terms are made side by side, the sums taken one after the other, so that the bits are those of the
// CPU.
#pragma once

#include "body.h"

namespace dpm::cuda {

// The sum of one stretch of one sample. grid: (stretches, samples); dynamic shared memory: kReduceTile doubles.
template <class T>
struct ErrorKernel {
  DPM_DEVICE static double Term(const ErrorArgs& a, size_t at) {
    const double l = Load1(static_cast<const T*>(a.low) + at), p = Load1(static_cast<const T*>(a.previous) + at);
    const double al = l < 0 ? -l : l, ap = p < 0 ? -p : p;
    const double reach = a.rtol * (al > ap ? al : ap);
    const double h = Load1(static_cast<const T*>(a.high) + at);
    const double ratio = (h - l) / (reach > a.atol ? reach : a.atol);
    return ratio * ratio;
  }

  DPM_DEVICE static void Run(const ErrorArgs& a) {
    EverythingBefore();
    LetNextBegin();
    const Shared<double> terms = DynamicShared().As<double>();
    const size_t begin = static_cast<size_t>(BlockX()) * kReduceBlock;
    const size_t length = a.n - begin < kReduceBlock ? a.n - begin : kReduceBlock;
    DPM_ROLLED
    for (uint32_t sample = BlockY(); sample < a.batch; sample += GridY()) {
      double sum = 0;
      DPM_ROLLED
      for (size_t tile = 0; tile < length; tile += kReduceTile) {
        const size_t count = length - tile < kReduceTile ? length - tile : kReduceTile;
        DPM_ROLLED
        for (size_t i = ThreadIndex(); i < count; i += BlockThreads()) {
          terms[i] = Term(a, sample * a.n + begin + tile + i);
        }
        BlockSync();
        if (ThreadIndex() < kReduceLanes) {
          DPM_UNROLL_4
          for (size_t i = ThreadIndex(); i < count; i += kReduceLanes) sum = sum + terms[i];
        }
        BlockSync();
      }
      if (ThreadIndex() < kReduceLanes) terms[ThreadIndex()] = sum;
      BlockSync();
      DPM_ROLLED
      for (uint32_t width = kReduceLanes / 2; width > 0; width /= 2) {
        if (ThreadIndex() < width) terms[ThreadIndex()] = terms[ThreadIndex()] + terms[ThreadIndex() + width];
        BlockSync();
      }
      if (ThreadIndex() == 0) {
        const double all = terms[0];
        Store1(a.partial + static_cast<size_t>(sample) * GridX() + BlockX(), all);
      }
      // No barrier before the next sample: the sum lies where only the thread that has read it will write.
    }
  }
};

// From the sums of the stretches to the errors. One thread a sample; `stretches` as ErrorKernel's grid had them.
struct ErrorEnd {
  DPM_DEVICE static void Run(const ErrorArgs& a, uint32_t stretches) {
    EverythingBefore();
    LetNextBegin();
    const uint32_t stride = GridX() * BlockThreads();
    DPM_ROLLED
    for (uint32_t sample = BlockX() * BlockThreads() + ThreadIndex(); sample < a.batch; sample += stride) {
      double sum = 0;
      DPM_ROLLED
      for (uint32_t k = 0; k < stretches; ++k) {
        sum = sum + Load1(a.partial + static_cast<size_t>(sample) * stretches + k);
      }
      Store1(a.out + sample, SquareRoot(sum / static_cast<double>(a.n)));
    }
  }
};

}  // namespace dpm::cuda
