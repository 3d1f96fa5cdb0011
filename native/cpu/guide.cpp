#include "guide.h"

#include <algorithm>
#include <cmath>

#include "../step/guidance.h"
#include "active.h"
#include "kernels.h"
#include "pool.h"
#include "scratch.h"
#include "sizes.h"

namespace dpm {
namespace {

// As long as a card likes them (native/cuda/reduce.h).
constexpr size_t kPairBlock = 4096;

struct Root {
  double operator()(double x) const { return std::sqrt(x); }
};

template <class T>
const T* At(const Buffer& buffer, size_t element) {
  return buffer.data ? static_cast<const T*>(buffer.data) + element : nullptr;
}

// Over the blocks in order, whatever the threads.
template <class T>
void Sums(const SampleStep<T>& step, size_t n, int threads, const double* a, const double* b, double* partial,
          double* sums) {
  const TypedKernels<T>& kernels = Active<T>();
  const size_t blocks = (n + kPairBlock - 1) / kPairBlock;
  ParallelFor(threads, blocks, [&](size_t block) {
    const size_t begin = block * kPairBlock;
    kernels.pairs(step, begin, std::min(n - begin, kPairBlock), a, b, partial + block * kPairSums);
  });
  for (int q = 0; q < kPairSums; ++q) sums[q] = 0;
  for (size_t block = 0; block < blocks; ++block) {
    for (int q = 0; q < kPairSums; ++q) sums[q] = sums[q] + partial[block * kPairSums + q];
  }
}

template <class T>
bool GuideTyped(const GuideCall& c) {
  const size_t blocks = (c.n + kPairBlock - 1) / kPairBlock;
  const Scratch scratch(nullptr, 0, blocks * kPairSums * sizeof(double));
  double* partial = static_cast<double*>(scratch.data());
  if (!partial) return false;
  const int threads = Threads(c.threads, c.n);
  const bool kept = c.kept.data != nullptr;
  for (size_t sample = 0; sample < c.batch; ++sample) {
    SampleStep<T> step;
    step.in[kSrcX] = At<T>(c.x, sample * c.n);
    step.in[kSrcG] = At<T>(c.kept, sample * c.n);
    const auto output = [&](int source, const Buffer& buffer) {
      if (buffer.type == Type::f16) {
        step.half[source] = At<uint16_t>(buffer, sample * c.m_stride);
      } else {
        step.in[source] = At<T>(buffer, sample * c.m_stride);
      }
    };
    output(kSrcM, c.m);
    output(kSrcU, c.u);
    double a[kGuideOperands], b[kGuideOperands], sums[kPairSums] = {}, w[kGuideOperands], factor = 1;
    if (c.guide[kGuideKind] != 0) {
      GuidePair(c.guide, kept, a, b);
      Sums(step, c.n, threads, a, b, partial, sums);
    }
    GuideWeights(c.guide, kept, sums, Root(), w);
    if (c.guide[kGuideRescale] != 0) {
      RescalePair(w, a, b);
      Sums(step, c.n, threads, a, b, partial, sums);
      factor = RescaleFactor(c.guide, sums, static_cast<double>(c.n), Root());
    }
    GuidePrediction(c.guide, w, factor, c.out + sample * kGuideOperands);
  }
  return true;
}

}  // namespace

bool Guide(const GuideCall& call) {
  return call.state == Type::f64 ? GuideTyped<double>(call) : GuideTyped<float>(call);
}

}  // namespace dpm
